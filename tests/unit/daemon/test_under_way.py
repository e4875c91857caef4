"""An act while it goes on: its lines are bounded, and counts take the place of counts."""

import asyncio

from warrener.control.operation import ProgressLine
from warrener.control.operations import UrlRequest
from warrener.daemon.under_way import LINES, UnderWay
from warrener.dashboard.acts import ActKind, Said
from warrener.dashboard.previews import Draft
from warrener.facts.ids import NodeName
from warrener.facts.reasons import ActEnd


class Told:
    """An act, and how often there was something new."""

    def __init__(self, act: ActKind = ActKind.DRAIN) -> None:
        self.news = 0
        draft = Draft(act, "Drain n2?", NodeName("n2@localhost"), doing="drains n2")
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.act = UnderWay(7, draft, "ops", 5.0, gone, self._new)

    def _new(self) -> None:
        self.news += 1


async def test_a_count_takes_the_place_of_the_one_before() -> None:
    told = Told()
    await told.act.emit(ProgressLine("n2", "gets no new sessions"))
    for count in (1, 2, 3):
        await told.act.emit(ProgressLine("n2", "moves", count=count, total=3))
    line = told.act.line()
    assert line.lines == [Said(1, "n2 gets no new sessions"), Said(2, "n2 moves (3 of 3)")]
    assert (line.count, line.total, told.news) == (3, 3, 4)
    await told.act.emit(ProgressLine("n2", "is in maintenance mode"))
    line = told.act.line()
    assert [said.number for said in line.lines] == [1, 2, 3]
    assert (line.count, line.total) == (0, 0)


async def test_the_same_again_is_no_news() -> None:
    told = Told()
    for _ in range(3):
        await told.act.emit(ProgressLine("n2", "waits"))
    await told.act.emit(UrlRequest())  # no progress at all
    assert (len(told.act.lines), told.news) == (1, 1)


async def test_its_lines_are_bounded() -> None:
    told = Told()
    for number in range(3 * LINES):
        await told.act.emit(ProgressLine("n2", f"step {number}"))
    assert len(told.act.line().lines) == LINES
    assert told.act.line().lines[-1] == Said(3 * LINES, f"n2 step {3 * LINES - 1}")


async def test_what_can_be_called_off() -> None:
    for act in ActKind:
        wanted = act in (ActKind.DRAIN, ActKind.REBALANCE, ActKind.LEADERS)
        assert Told(act).act.can_be_called_off is wanted
    told = Told()
    told.act.end = ActEnd.DONE
    assert not told.act.line().can_be_called_off
