"""The observer tells the balancer what is known, and when nothing recent is."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from warrener.daemon.event_log import EventLog
from warrener.daemon.observer import STALE_AFTER, Observer, is_news
from warrener.facts.happenings import Event
from warrener.facts.ids import NodeName
from warrener.facts.reasons import MoveReason, Unfit
from warrener.facts.snapshot import ClusterSnapshot
from warrener.management.client import ManagementError
from warrener.testing.virtual_time import run

N1 = NodeName("n1@localhost")


class Scene:
    """An observer whose looks are scripted: a snapshot, or an error to raise."""

    def __init__(self, *looks: ClusterSnapshot | Exception) -> None:
        self.time = 100.0
        self.views: list[ClusterSnapshot | None] = []
        self.events: list[Event] = []
        self._looks = iter(looks)
        self.observer = Observer(
            self._look, self.views.append, self.events.append, now=lambda: self.time
        )

    async def _look(self) -> ClusterSnapshot:
        look = next(self._looks)
        if isinstance(look, Exception):
            raise look
        return look

    async def looks_at(self, *times: float) -> None:
        for time in times:
            self.time = time
            await self.observer.look_once()

    def kinds(self) -> Sequence[str]:
        return [event.kind for event in self.events]


def taken(at: float) -> ClusterSnapshot:
    return ClusterSnapshot(N1, at, "warren", ())


async def test_a_look_that_succeeds_is_passed_on() -> None:
    scene = Scene(taken(100.0))
    assert scene.observer.view().source is None
    await scene.looks_at(100.5)
    assert scene.views == [taken(100.0)]
    view = scene.observer.view()
    assert (view.source, view.taken_at, view.age, view.error) == (N1, 100.0, 0.5, "")
    assert scene.kinds() == []


async def test_while_nobody_answers_the_last_view_ages_and_then_is_given_up_once() -> None:
    lost = ManagementError("http://h:1", "all nodes refuse")
    scene = Scene(taken(100.0), lost, lost, lost, taken(130.0))
    await scene.looks_at(100.0, 102.0)
    assert scene.views == [taken(100.0)]
    assert scene.observer.view().error == "http://h:1: all nodes refuse"
    await scene.looks_at(100.0 + STALE_AFTER + 1, 120.0)
    assert scene.views == [taken(100.0), None]
    assert scene.observer.view().age == 20.0
    await scene.looks_at(130.0)
    assert scene.views == [taken(100.0), None, taken(130.0)]
    assert scene.observer.view().error == ""
    assert scene.kinds() == ["cluster.view_lost", "cluster.view_back"]


async def test_a_cluster_that_was_never_seen_is_unknown_at_once() -> None:
    scene = Scene(ManagementError("http://h:1", "refused"))
    await scene.looks_at(100.0)
    assert scene.views == [None]
    assert scene.observer.view().age is None


async def test_a_bug_in_a_look_does_not_end_the_observer() -> None:
    scene = Scene(ZeroDivisionError("oops"), taken(102.0))
    await scene.looks_at(100.0, 102.0)
    assert scene.views == [None, taken(102.0)]


async def test_a_clock_set_back_makes_no_negative_age() -> None:
    scene = Scene(taken(100.0))
    await scene.looks_at(100.0)
    scene.time = 50.0
    assert scene.observer.view().age == 0.0


class Looking:
    """An observer that runs in virtual time; a look takes ``takes`` seconds."""

    def __init__(self, takes: float = 0.0) -> None:
        self.loop = asyncio.get_running_loop()
        self.takes = takes
        self.looks: list[float] = []  # when they began
        self.observer = Observer(
            self._look,
            lambda view: None,
            lambda event: None,
            now=self.loop.time,
            monotonic=self.loop.time,
        )
        self.task = asyncio.create_task(self.observer.run())

    async def _look(self) -> ClusterSnapshot:
        self.looks.append(round(self.loop.time(), 3))
        await asyncio.sleep(self.takes)
        return taken(self.loop.time())

    async def until(self, time: float) -> None:
        await asyncio.sleep(time - self.loop.time())


def test_it_looks_every_two_seconds() -> None:
    async def main() -> None:
        scene = Looking(takes=0.25)
        await scene.until(7.0)
        assert scene.looks == [0.0, 2.25, 4.5, 6.75]

    run(main())


def test_it_looks_at_once_and_then_fast_for_a_while_when_something_happened() -> None:
    async def main() -> None:
        scene = Looking()
        await scene.until(5.0)
        scene.observer.look_soon()
        await scene.until(10.0)
        assert scene.looks == [0.0, 2.0, 4.0, 5.0, 5.5, 6.0, 6.5, 7.0, 9.0]

    run(main())


def test_looks_keep_their_distance_however_much_happens() -> None:
    async def main() -> None:
        scene = Looking()
        for step in range(1, 40):
            await scene.until(step * 0.1)
            scene.observer.look_soon()
        await scene.until(4.0)
        assert scene.looks == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]

    run(main())


def test_long_looks_take_half_of_the_time_at_most() -> None:
    """Many queues: a look takes RabbitMQ seconds of its processors."""

    async def main() -> None:
        scene = Looking(takes=1.0)
        await scene.until(3.5)
        scene.observer.look_soon()
        await scene.until(9.0)
        assert scene.looks == [0.0, 3.0, 5.0, 8.0]

    run(main())


def test_what_happens_during_a_look_brings_another_one() -> None:
    """It may have been asked before."""

    async def main() -> None:
        scene = Looking(takes=0.3)
        await scene.until(0.1)
        scene.observer.look_soon()
        await scene.until(0.7)
        assert scene.looks == [0.0, 0.6]

    run(main())


def test_who_wants_a_look_now_gets_one_that_began_after_asking() -> None:
    async def main() -> None:
        scene = Looking(takes=0.3)
        await scene.until(0.1)
        await scene.observer.look_once()
        assert scene.looks == [0.0, 0.3]
        assert scene.loop.time() == pytest.approx(0.6)

    run(main())


@pytest.mark.parametrize(
    ("event", "news"),
    [
        (Event("node.unfit", N1, Unfit.REFUSES), True),
        (Event("node.exited", N1), True),
        (Event("node.fit", N1), True),
        (Event("sessions.moved", "", MoveReason.FAILOVER), True),
        (Event("sessions.moved", "", MoveReason.LOCALITY), False),
        (Event("sessions.ended", "", "client_lost"), False),
    ],
)
def test_what_is_news(event: Event, news: bool) -> None:
    """Sessions that come and go move to their queues' leaders all the time: that is none."""
    assert is_news(event) is news


def test_a_node_that_comes_or_goes_is_news(tmp_path: Path) -> None:
    async def main() -> None:
        scene = Looking()
        events = EventLog(tmp_path / "events.jsonl", now=scene.loop.time)
        events.watch(is_news, scene.observer.look_soon)
        await scene.until(1.0)
        events.record(Event("daemon.ready"))
        await scene.until(1.2)
        assert scene.looks == [0.0]
        events.record(Event("node.unfit", N1))
        await scene.until(1.3)
        assert scene.looks == [0.0, 1.2]

    run(main())
