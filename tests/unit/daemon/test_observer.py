"""The observer tells the balancer what is known, and when nothing recent is."""

from collections.abc import Sequence

from warrener.daemon.observer import STALE_AFTER, Observer
from warrener.facts.happenings import Event
from warrener.facts.ids import NodeName
from warrener.facts.snapshot import ClusterSnapshot
from warrener.management.client import ManagementError

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
