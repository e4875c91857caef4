"""The screen, headless, at the sizes that people have: what is drawn and what keys do."""

import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from tests.unit.cli.top import scene
from tests.unit.cli.top.scene import N1, N2, Daemon, Figures
from tests.unit.planner.scene import N2 as PLAN_N2
from tests.unit.planner.scene import calibration, load, queue
from textual.events import Key
from textual.pilot import Pilot

from warrener.cli.top.dialogs import Dialog
from warrener.cli.top.readings import Pane, Source
from warrener.cli.top.screen import Top
from warrener.control import operations as ops
from warrener.control import wire
from warrener.control.state_folder import StateFolder
from warrener.planner.calibration_file import write_calibration
from warrener.planner.load_wire import to_wire

SMALL, LARGE = (80, 24), (160, 50)
STEP = ops.ProgressLine("n2", "moves sessions", count=3, total=12)


@pytest.fixture
def figures() -> Figures:
    return Figures()


@pytest.fixture
def daemon(folder: StateFolder, figures: Figures) -> Iterator[Daemon]:
    with Daemon(folder, figures) as made:
        yield made


class Screen:
    """A running ``Top`` and the keys that are pressed on it."""

    def __init__(self, app: Top, pilot: Pilot[None]) -> None:
        self.app = app
        self._pilot = pilot

    async def press(self, *keys: str) -> None:
        await self._pilot.press(*keys)

    def lines(self) -> list[str]:
        """What is on the terminal, as text."""
        return [strip.text.rstrip() for strip in self.app.screen._compositor.render_strips()]

    async def until(self, true: Callable[[], Any], what: str) -> None:
        for _ in range(1000):
            await self._pilot.pause(0.01)
            if true():
                return
        raise AssertionError("\n".join([f"not in 10 s: {what}", *self.lines()]))

    async def shows(self, *texts: str) -> None:
        await self.until(
            lambda: all(text in "\n".join(self.lines()) for text in texts), " and ".join(texts)
        )


@asynccontextmanager
async def opened(folder: StateFolder, size: tuple[int, int] = SMALL) -> AsyncIterator[Screen]:
    app = Top(folder, Source(folder), every=0.2)
    async with app.run_test(size=size) as pilot:
        yield Screen(app, pilot)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_nodes_come_first_and_all_of_it_is_plain_and_fits(
    folder: StateFolder, daemon: Daemon, size: tuple[int, int]
) -> None:
    daemon.figures.status = scene.status(
        nodes=[scene.node(N1), scene.node(N2, **scene.DRAINED), scene.node(scene.N3)]
    )
    async with opened(folder, size) as screen:
        await screen.shows("2 of 3 fit", "n2       ")
        lines = screen.lines()
        assert len(lines) == size[1]
        assert all(line.isascii() for line in lines)
        assert lines[0].startswith("warren: running, up 3h12m  2 of 3 fit  12 sessions")
        assert lines[1].startswith("[1 Nodes 3]  2 Queues 4   3 Sessions 12   4 Events")
        rows = {line.split()[0]: line.split() for line in lines[3:6]}
        assert rows["n1"][:8] == ["n1", "running", "yes", "412M", "13%", "51G", "2", "4"]
        assert rows["n2"][1:3] == ["drained", "drained"]
        assert lines[-1].startswith("?:help  d:drain  v:revive  b:rebalance")
        titles = lines[2].split()
        assert ("WEIGHT" in titles) == (size == LARGE)
        assert titles[-1] == ("VERSION" if size == LARGE else "LOCAL")


async def test_rates_come_with_the_second_reading(folder: StateFolder, daemon: Daemon) -> None:
    async with opened(folder) as screen:
        await screen.shows("n1  ")
        daemon.figures.messages += 1000

        def has_rates() -> bool:
            row = next(line for line in screen.lines() if line.startswith("n1 "))
            return row.endswith("75%")

        await screen.until(has_rates, "a rate")


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_each_pane_has_its_rows_aligned_under_their_titles(
    folder: StateFolder, daemon: Daemon, size: tuple[int, int]
) -> None:
    async with opened(folder, size) as screen:
        await screen.press("2")
        await screen.shows("[2 Queues 6]", "orders-0005")
        head, first = screen.lines()[2:4]
        at = head.index("READY") + len("READY")
        assert first[:at].endswith(" 5")
        assert first.startswith("orders-0005")
        await screen.press("tab")
        await screen.shows("[3 Sessions 12]", "worker-12")
        assert "10.20.30.1:40001" in screen.lines()[3]
        await screen.press("4")
        await screen.shows("[4 Events]", "node.unfit")
        shown = [line for line in screen.lines() if " node.unfit " in line]
        assert "refuses" in shown[0]
        assert screen.app.panes.events.chosen is not None
        assert screen.app.panes.events.chosen.number == 40  # the newest, at the end
        daemon.figures.events.append(scene.event(41, kind="node.fit"))
        await screen.shows("node.fit")
        await screen.press("shift+tab", "shift+tab", "shift+tab")
        await screen.shows("[1 Nodes 3]")


async def test_rows_are_sorted_reversed_and_filtered_by_keys(
    folder: StateFolder, daemon: Daemon
) -> None:
    daemon.figures.status = scene.status(queues=[scene.queue(number) for number in range(300)])
    async with opened(folder) as screen:
        await screen.press("2")
        await screen.shows("orders-0299", "vREADY")
        await screen.press("r")
        await screen.shows("^READY", "orders-0000")
        await screen.press("end")
        await screen.shows("orders-0299")
        await screen.press("right")
        await screen.shows("vUNACK")
        await screen.press("less_than_sign", "left", "left", "left")
        await screen.shows("TYPE^")
        await screen.press("slash", "q", "2")  # keys that mean something else are typed here
        await screen.shows("none of 300 queues has 'q2' in it")
        await screen.press("backspace", "backspace", *"029", "enter")
        await screen.shows("/029: 11 of 300", "orders-0298")
        await screen.press("escape")
        await screen.shows("by TYPE")


async def test_a_node_is_drained_by_keys_after_a_preview(
    folder: StateFolder, daemon: Daemon
) -> None:
    daemon.figures.answers["drain-node"] = ops.DrainAnswer(node=N2, moved=4, seconds=1.2)
    daemon.figures.steps["drain-node"] = [STEP]
    async with opened(folder) as screen:
        await screen.shows("n2  ")
        await screen.press("down", "d")
        await screen.shows(
            "Drain n2@localhost?",
            "4 sessions on it: channels move to n1, n3, clients stay connected.",
            "2 queues that it leads get another leader first.",
            "y: do it   any other key: leave it",
        )
        assert "drain-node" not in [name for name, _ in daemon.asked]
        await screen.press("y")
        await screen.shows("n2 moves sessions (3 of 12)   x calls it off")
        daemon.figures.status = scene.status(
            nodes=[scene.node(N1), scene.node(N2, **scene.DRAINED), scene.node(scene.N3)]
        )
        daemon.figures.go_on.set()
        await screen.shows("n2 is drained: 4 sessions moved in 1.2 s", "n2       drained")
        assert [r.node for name, r in daemon.asked if name == "drain-node"] == ["n2@localhost"]


async def test_any_other_key_leaves_it(folder: StateFolder, daemon: Daemon) -> None:
    async with opened(folder) as screen:
        await screen.shows("n2  ")
        await screen.press("d")
        await screen.shows("Drain n1@localhost?")
        await screen.press("enter")
        await screen.until(lambda: not isinstance(screen.app.screen, Dialog), "closed")
        assert "drain-node" not in [name for name, _ in daemon.asked]


async def test_what_goes_on_can_be_called_off_and_leaving_needs_a_second_key(
    folder: StateFolder, daemon: Daemon
) -> None:
    daemon.figures.steps["drain-node"] = [STEP]
    async with opened(folder) as screen:
        await screen.shows("n2  ")
        await screen.press("d")
        await screen.shows("Drain n1@localhost?")
        await screen.press("y")
        await screen.shows("x calls it off")
        await screen.press("b")
        await screen.shows("one thing after the other")
        await screen.press("q")
        await screen.shows("q again: leaves, and calls it off")
        await screen.press("x")
        await screen.shows("That didn't work", "called off: undone")
        assert daemon.hung_up.is_set()
        await screen.press("a")
        await screen.press("q")
        await screen.until(lambda: not screen.app.is_running, "left")


async def test_a_rebalancing_is_shown_by_its_dry_run(folder: StateFolder, daemon: Daemon) -> None:
    share = ops.ShareLine(node=N1, before=12, wanted=4, after=12)
    other = ops.ShareLine(node=N2, before=0, wanted=8, after=0)
    plan = ops.RebalanceAnswer(
        dry_run=True,
        shares=[share, other],
        moved=0,
        failed=0,
        skew_before=3.0,
        skew_after=1.0,
        stopped="",
        seconds=0.1,
    )
    daemon.figures.answers["rebalance"] = plan
    async with opened(folder) as screen:
        await screen.press("3", "b")
        await screen.shows("Rebalance sessions?", "n1      12 -> 4", "8 sessions moved")
        daemon.figures.answers["rebalance"] = msgspec.structs.replace(
            plan, dry_run=False, moved=8, skew_after=1.0
        )
        await screen.press("y")
        await screen.shows("8 sessions moved in 0.1 s; the largest share is 1.00 times the mean")
        assert [r.dry_run for name, r in daemon.asked if name == "rebalance"] == [True, False]


async def test_a_refusal_is_shown_as_it_was_said(folder: StateFolder, daemon: Daemon) -> None:
    text = "n2@localhost can't be drained: 3 quorum queues would lose their majority"
    daemon.figures.answers["drain-node"] = wire.Refused(wire.Refusal.UNWISE, text)
    daemon.figures.answers["rebalance"] = wire.Refused(wire.Refusal.BUSY, "n1 is being restarted")
    async with opened(folder) as screen:
        await screen.shows("n1  ")
        await screen.press("d")
        await screen.shows("Drain n1@localhost?")
        await screen.press("y")
        await screen.shows("That didn't work", text[:60])
        await screen.press("a", "b")
        await screen.shows("That didn't work", "n1 is being restarted")


async def test_a_node_is_drained_on_the_nodes_pane_only(
    folder: StateFolder, daemon: Daemon
) -> None:
    async with opened(folder) as screen:
        await screen.press("2")
        await screen.shows("orders-0005")
        await screen.press("d")
        await screen.shows("choose a node first: 1 shows them")


async def test_a_daemon_that_goes_is_told_and_one_that_comes_is_read(
    folder: StateFolder, figures: Figures
) -> None:
    with Daemon(folder, figures):
        async with opened(folder) as screen:
            await screen.shows("n1  ")
    async with opened(folder) as screen:
        await screen.shows("no daemon runs here: connects again once one does", "nothing read yet")
        with Daemon(folder, figures):
            await screen.shows("3 of 3 fit", "n1  ")
        await screen.shows("no daemon runs here", "(last seen ", "n1  ")


async def test_sessions_that_the_data_plane_does_not_know_say_why(
    folder: StateFolder, daemon: Daemon
) -> None:
    why = "HAProxy passes bytes, it knows no users, names or channels"
    daemon.figures.answers["sessions"] = wire.Refused(wire.Refusal.UNSUPPORTED, why)
    async with opened(folder) as screen:
        await screen.press("3")
        await screen.shows(why)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_help_has_keys_and_the_columns_of_the_pane(
    folder: StateFolder, daemon: Daemon, size: tuple[int, int]
) -> None:
    async with opened(folder, size) as screen:
        await screen.press("question_mark")
        await screen.shows("drain, revive the chosen node", "Columns of nodes")
        await screen.press("down", "down")
        await screen.shows("of them through the node that leads their queue")
        screen.app.screen.post_message(Key("z", "z"))
        screen.app.screen.post_message(Key("z", "z"))  # the second comes before it is gone
        await screen.until(lambda: not isinstance(screen.app.screen, Dialog), "closed")


async def test_a_terminal_that_changes_its_size(folder: StateFolder, daemon: Daemon) -> None:
    async with opened(folder) as screen:
        await screen.shows("n1  ")
        await screen._pilot.resize_terminal(*LARGE)
        await screen.shows("VERSION")
        await screen._pilot.resize_terminal(40, 8)
        await screen.shows("NODE")
        assert all(len(line) <= 40 for line in screen.lines())


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_leaving(folder: StateFolder, daemon: Daemon, key: str) -> None:
    async with opened(folder) as screen:
        await screen.shows("n1  ")
        await screen.press(key)
        await screen.until(lambda: not screen.app.is_running, "left")
        assert screen.app.return_code == 0


async def test_ctrl_c_leaves_from_a_dialog_too(folder: StateFolder, daemon: Daemon) -> None:
    async with opened(folder) as screen:
        await screen.shows("n1  ")
        await screen.press("question_mark")
        await screen.press("ctrl+c")
        await screen.until(lambda: not screen.app.is_running, "left")


async def test_a_signal_leaves_in_order(folder: StateFolder, daemon: Daemon) -> None:
    async with opened(folder) as screen:
        await screen.shows("n1  ")
        signal.raise_signal(signal.SIGTERM)
        await screen.until(lambda: not screen.app.is_running, "left")
        assert screen.app.return_code == 128 + signal.SIGTERM


async def test_only_what_is_looked_at_is_asked_for(folder: StateFolder, daemon: Daemon) -> None:
    async with opened(folder) as screen:
        await screen.shows("n1  ")
        assert {name for name, _ in daemon.asked} == {"status", "traffic", "history"}
        assert not any(r.queues for name, r in daemon.asked if name == "status")
        await screen.press("4")
        await screen.shows("node.unfit")
        assert screen.app.pane is Pane.EVENTS
        daemon.asked.clear()
        await screen.until(lambda: len(daemon.asked) > 8, "readings")
        assert {name for name, _ in daemon.asked[2:]} == {"status", "events"}
        assert {r.last for name, r in daemon.asked if name == "events"} <= {100, 1000}


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_the_plan_fits_and_says_what_breaks_first(
    folder: StateFolder, daemon: Daemon, size: tuple[int, int]
) -> None:
    queues = (queue("jobs", 4_000), queue("billing", 90, PLAN_N2, consumers=4, service_time=0.02))
    write_calibration(folder.path, calibration())
    daemon.figures.answers["plan-load"] = to_wire(load(*queues))
    async with opened(folder, size) as screen:
        await screen.press("5")
        await screen.shows("Carries 8180/s, 2.00 times", "What helps: split it in two")
        lines = screen.lines()
        assert len(lines) == size[1]
        assert all(line.isascii() and len(line) <= size[0] for line in lines)
        assert "[5 Plan]" in lines[1]
        assert lines[5].startswith("Busy (rho): n1 ")
        head = next(at for at, line in enumerate(lines) if line.startswith("PART"))
        assert lines[head].rstrip().endswith("BREAKS AT")
        assert lines[head + 1].split() == ["queue", "jobs", "8000/s", "4000/s", "50%", "2.00", "x"]
        assert "what would help: split it in two" in "\n".join(lines)
        await screen.press("slash", *"node", "enter")
        await screen.shows("/node: 3 of ")
        await screen.press("1")
        await screen.shows("[1 Nodes 3]", "n1  ")
        assert not any(line.startswith("Carries") for line in screen.lines())


async def test_without_costs_the_plan_says_what_to_do(folder: StateFolder, daemon: Daemon) -> None:
    async with opened(folder) as screen:
        await screen.press("5")
        await screen.shows("nobody has measured what a message costs here", "plan calibrate")
