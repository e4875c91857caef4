"""New replicas are still there in the end, or it is told that they aren't."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.daemon.scene import N1, N2, N3, Node, Scene

from warrener.daemon import replica_moves
from warrener.daemon.replica_moves import AGAIN, PUT_BACK, VANISHED, ReplicaMoves, held_by
from warrener.daemon.steps import Steps
from warrener.facts.replicas import ReplicaMove
from warrener.facts.snapshot import QueueView

STREAM = QueueView("/", "log", "stream", N1, (N1, N2), (N1, N2))
COMES = ReplicaMove("/", "log", "stream", to=N3)
MOVES = ReplicaMove("/", "log", "stream", to=N3, away=N2)


@pytest.fixture(autouse=True)
def _looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_moves, "SYNC_LOOK", 0)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Three nodes, a stream on two of them."""
    made = Scene(tmp_path)
    made.cluster.rows[N3] = Node(N3)
    made.cluster.queues = (STREAM,)
    return made


@pytest.fixture
def steps() -> Steps:
    return Steps()


def added(scene: Scene) -> int:
    return scene.story.count(f"replica of log on {N3}")


async def test_what_stays_is_added_once(scene: Scene, steps: Steps) -> None:
    moving = ReplicaMoves(scene.service, steps)
    assert not moving.added
    assert await moving.move([COMES]) == ({}, False)
    assert moving.added
    view, failed = await moving.look_again()
    assert failed == {}
    assert [queue.name for queue in held_by(N3, view)] == ["log"]
    assert added(scene) == 1


async def test_one_that_vanishes_is_added_again_and_that_is_told(
    scene: Scene, steps: Steps
) -> None:
    scene.cluster.vanishes = {"log": 2}
    moving = ReplicaMoves(scene.service, steps)
    await moving.move([COMES])
    view, failed = await moving.look_again()
    assert failed == {}
    assert held_by(N3, view) != []
    assert added(scene) == 3
    vanished = [e for e in scene.service.events.recent(10) if e.kind == "replica.vanished"]
    assert [(one.subject, one.detail["queue"]) for one in vanished] == [(N3, "log")] * 2
    assert "1 new one vanished, added once more" in [line.text for line in steps._lines]


async def test_one_that_never_stays_is_given_up(scene: Scene, steps: Steps) -> None:
    scene.cluster.vanishes = {"log": 100}
    moving = ReplicaMoves(scene.service, steps)
    await moving.move([COMES])
    _, failed = await moving.look_again()
    assert failed == {"log": f"its new replica on {N3} vanished, and was added {AGAIN} times"}
    assert added(scene) == 1 + AGAIN


async def test_a_replica_that_was_moved_on_is_not_put_back(scene: Scene, steps: Steps) -> None:
    moving = ReplicaMoves(scene.service, steps)
    await moving.move([COMES])
    await moving.move([ReplicaMove("/", "log", "stream", to=None, away=N3)])
    _, failed = await moving.look_again()
    assert (failed, added(scene)) == ({}, 1)


async def test_a_queue_that_was_deleted_meanwhile_is_not_missed(scene: Scene, steps: Steps) -> None:
    moving = ReplicaMoves(scene.service, steps)
    await moving.move([COMES])
    scene.cluster.queues = ()
    assert (await moving.look_again())[1] == {}
    scene.cluster.queues = (replace(STREAM, type="quorum"),)
    assert (await moving.look_again())[1] == {}, "another one of that name"


async def test_an_old_replica_that_is_on_its_way_out_is_waited_for(
    scene: Scene, steps: Steps
) -> None:
    scene.cluster.going_for = {"log": 3}
    moving = ReplicaMoves(scene.service, steps)
    assert await moving.move([MOVES]) == ({}, False)
    assert added(scene) == 4
    assert set(scene.cluster.queues[0].members) == {N1, N3}


async def test_one_that_does_not_go_is_told_and_nothing_is_taken_away(
    scene: Scene, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica_moves, "GOING_TIMEOUT", -1.0)
    scene.cluster.going_for = {"log": 1000}
    moving = ReplicaMoves(scene.service, steps)
    failed, _ = await moving.move([MOVES])
    assert failed == {"log": f"a replica on {N3}: the old one is still being deleted"}
    assert scene.cluster.queues[0].members == (N1, N2)


async def test_one_that_is_not_seen_while_it_should_catch_up_is_added_again(
    scene: Scene, steps: Steps
) -> None:
    """Before the other one goes, so the queue never has less."""
    looks = 0

    async def vanishes_at_first() -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            scene.cluster.queues = (STREAM,)
        scene.now += VANISHED / 2

    scene.cluster.positions_with = vanishes_at_first
    moving = ReplicaMoves(scene.service, steps)
    assert await moving.move([MOVES]) == ({}, False)
    assert scene.story == [
        f"replica of log on {N3}",
        f"replica of log on {N3}",
        f"no replica of log on {N2}",
    ]
    assert "replica.vanished" in scene.kinds()


async def test_one_that_is_only_not_listed_is_left_alone(scene: Scene, steps: Steps) -> None:
    """Its queue's list of members is wrong, and who keeps the replicas says that it is there."""
    moving = ReplicaMoves(scene.service, steps)
    await moving.move([COMES])
    scene.cluster.queues = (STREAM,)
    scene.cluster.there_all_the_same = {"log"}
    view, failed = await moving.look_again()
    assert held_by(N3, view) == []
    assert (failed, added(scene)) == ({}, 1)


async def test_one_that_is_listed_and_not_seen_is_waited_for(scene: Scene, steps: Steps) -> None:
    """A stream's list of members says nothing of whether they run."""
    moving = ReplicaMoves(scene.service, steps)
    await moving.move([COMES])
    scene.cluster.silent_for = {"log": 3}
    _, failed = await moving.look_again()
    assert (failed, added(scene)) == ({}, 1)
    assert scene.cluster.silent_for == {"log": 0}


async def test_one_that_is_listed_and_never_seen_is_told(
    scene: Scene, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving = ReplicaMoves(scene.service, steps)
    await moving.move([COMES])
    monkeypatch.setattr(replica_moves, "SYNC_TIMEOUT", -1.0)
    scene.cluster.silent_for = {"log": 1000}
    _, failed = await moving.look_again()
    assert failed == {"log": f"its replica on {N3} doesn't catch up"}


async def test_what_comes_back_by_itself_is_not_added(scene: Scene, steps: Steps) -> None:
    scene.cluster.queues = (replace(STREAM, members=(N1, N2, N3)),)
    scene.cluster.silent_for = {"log": 5}

    async def time_goes_by() -> None:
        scene.now += VANISHED

    scene.cluster.positions_with = time_goes_by
    moving = ReplicaMoves(scene.service, steps)
    assert await moving.wait_for([COMES]) == {}
    assert scene.cluster.silent_for == {"log": 0}
    assert added(scene) == 0
    assert moving.added, "and it is looked at again"


async def test_what_does_not_come_back_is_added_and_then_told(scene: Scene, steps: Steps) -> None:
    scene.cluster.queues = (replace(STREAM, members=(N1, N2, N3)),)
    scene.cluster.silent_for = {"log": 1000}

    async def time_goes_by() -> None:
        scene.now += PUT_BACK / 2

    scene.cluster.positions_with = time_goes_by
    moving = ReplicaMoves(scene.service, steps)
    assert await moving.wait_for([COMES]) == {"log": f"its replica on {N3} doesn't catch up"}
    assert 1 <= added(scene) <= AGAIN
