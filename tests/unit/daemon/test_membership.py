"""Nodes added, removed, made anew: in which order, what is refused, what an interruption leaves."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.daemon.scene import N1, N2, N3, Node, Scene, ask

from warrener.control import node_operations as ops
from warrener.control import operations
from warrener.control.wire import Refusal, Refused
from warrener.daemon import replica_moves, upkeep
from warrener.daemon.errors import DaemonError
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState
from warrener.facts.replicas import Spread
from warrener.facts.snapshot import QueueView
from warrener.management.client import ManagementError

N4 = NodeName("n4@localhost")


@pytest.fixture(autouse=True)
def _looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "LOOK", 0)
    monkeypatch.setattr(replica_moves, "SYNC_LOOK", 0)


def quorum(name: str, *members: NodeName) -> QueueView:
    return QueueView("/", name, "quorum", members[0], members, members)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Four nodes, three quorum queues of three replicas."""
    made = Scene(tmp_path)
    made.cluster.rows |= {N3: Node(N3), N4: Node(N4)}
    made.cluster.queues = (
        quorum("a", N1, N2, N3),
        quorum("b", N2, N3, N4),
        quorum("c", N1, N3, N4),
    )
    return made


async def refusal(scene: Scene, operation: object, request: object, **options: object) -> Refused:
    with pytest.raises(Refused) as caught:
        await ask(scene.folder, operation, request, **options)  # type: ignore[arg-type]
    return caught.value


def story(scene: Scene) -> list[str]:
    """Without the end of the service."""
    return [line for line in scene.story if line not in ("balancer closes", "cluster stops")]


def members(scene: Scene, name: str) -> set[NodeName]:
    return set(next(queue.members for queue in scene.cluster.queues if queue.name == name))


# -- add


async def test_a_node_joins_is_found_fit_and_takes_its_share(scene: Scene) -> None:
    del scene.cluster.rows[N4]
    scene.cluster.queues = tuple(
        quorum(f"q{at}", *(N1, N2, N3)[at % 3 :], *(N1, N2, N3)[: at % 3]) for at in range(4)
    )
    async with scene.running() as balancer:
        *lines, answer = await ask(scene.folder, ops.ADD_NODE, ops.AddNodeRequest("n4"))
        assert N4 in balancer.weights
    assert scene.story[0] == f"{N4} is made"
    assert (answer.node, answer.nodes, answer.replicas, answer.failed) == (N4, 4, 3, {})
    assert all(len(queue.members) == 3 for queue in scene.cluster.queues)
    given = [line for line in scene.story if line.startswith("replica of")]
    taken = [line for line in scene.story if line.startswith("no replica of")]
    assert len(given) == len(taken) == 3
    assert scene.story.index(given[-1]) < scene.story.index(taken[0])
    assert operations.ProgressLine("n4", "starts") in lines
    assert "node.added" in scene.kinds()


async def test_a_node_that_joined_and_got_no_replicas_is_given_them_when_it_is_said_again(
    scene: Scene,
) -> None:
    """A daemon that was killed while replicas moved; the one after it."""
    scene.cluster.not_spread = (N4,)
    scene.cluster.queues = (quorum("few", N1, N2),)
    async with scene.running():
        answer = (await ask(scene.folder, ops.ADD_NODE, ops.AddNodeRequest("n4", balance=False)))[
            -1
        ]
    assert (answer.node, answer.replicas) == (N4, 1)
    assert story(scene) == [f"replica of few on {N4}"]
    assert scene.cluster.not_spread == ()
    assert "node.added" not in scene.kinds()


async def test_a_node_counts_as_without_replicas_until_it_has_all(scene: Scene) -> None:
    scene.cluster.refused_replicas = {"a", "b", "c"}
    async with scene.running():
        await ask(scene.folder, ops.ADD_NODE, ops.AddNodeRequest("n5"))
        assert scene.cluster.not_spread == ("n5@localhost",)
        scene.cluster.refused_replicas = set()
        await ask(scene.folder, ops.ADD_NODE, ops.AddNodeRequest("n5"))
        assert scene.cluster.not_spread == ()


async def test_replicas_may_be_left_where_they_are(scene: Scene) -> None:
    request = ops.AddNodeRequest("n5", Spread.NONE, balance=False)
    async with scene.running():
        answer = (await ask(scene.folder, ops.ADD_NODE, request))[-1]
    assert answer.replicas == 0
    assert story(scene) == ["n5@localhost is made"]


async def test_a_new_replica_is_waited_for_before_the_old_one_goes(scene: Scene) -> None:
    scene.cluster.lags = [100, 50, 0]
    async with scene.running():
        *lines, _ = await ask(scene.folder, ops.ADD_NODE, ops.AddNodeRequest("n5"))
    waits = [line.text for line in lines if "catch up" in line.text]
    assert waits == ["waits for 1 new replica to catch up"] * 2


async def test_a_replica_that_does_not_catch_up_leaves_the_old_one(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica_moves, "SYNC_TIMEOUT", -1.0)
    scene.cluster.lags = [100] * 10
    async with scene.running():
        answer = (await ask(scene.folder, ops.ADD_NODE, ops.AddNodeRequest("n5")))[-1]
    ((queue, why),) = answer.failed.items()
    assert why == "its replica on n5@localhost doesn't catch up"
    assert len(members(scene, queue)) == 4


async def test_a_refused_replica_is_told_and_nothing_is_taken_away(scene: Scene) -> None:
    scene.cluster.refused_replicas = {"a", "b", "c"}
    async with scene.running():
        answer = (await ask(scene.folder, ops.ADD_NODE, ops.AddNodeRequest("n5")))[-1]
    assert list(answer.failed.values()) == ["a replica on n5@localhost: no"]
    assert not any(line.startswith("no replica") for line in scene.story)


async def test_a_node_that_does_not_come_up_is_a_failure(scene: Scene) -> None:
    async def fail() -> None:
        raise DaemonError("n5 did not come up within 120 s")

    async with scene.running() as balancer:
        scene.cluster.membership_with = fail
        found = await refusal(scene, ops.ADD_NODE, ops.AddNodeRequest("n5"))
        assert (found.refusal, found.message) == (
            Refusal.FAILED,
            "n5 did not come up within 120 s",
        )
        assert len(balancer.weights) == 4


async def test_nothing_is_added_while_a_node_is_down_unless_forced(scene: Scene) -> None:
    async with scene.running():
        scene.cluster.change(N2, state=NodeState.DOWN)
        found = await refusal(scene, ops.ADD_NODE, ops.AddNodeRequest())
        assert found.message == (
            "n2 is down: a node that joins now could not reach them; `warrener node restart n2` "
            "first. With --force I go on all the same"
        )
        request = ops.AddNodeRequest("n5", Spread.NONE, force=True)
        assert (await ask(scene.folder, ops.ADD_NODE, request))[-1].nodes == 5


async def test_nothing_else_goes_on_meanwhile(scene: Scene) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        began.set()
        await go_on.wait()

    async with scene.running():
        scene.cluster.membership_with = wait
        task = asyncio.create_task(ask(scene.folder, ops.ADD_NODE, ops.AddNodeRequest("n5")))
        await began.wait()
        found = await refusal(scene, operations.DRAIN, operations.DrainRequest("n2"))
        assert found.message.startswith("the cluster's nodes are being changed")
        go_on.set()
        await task


# -- remove


async def test_a_node_goes_when_nothing_is_on_it_any_more(scene: Scene) -> None:
    async with scene.running() as balancer:
        answer = (
            await ask(scene.folder, ops.REMOVE_NODE, ops.RemoveNodeRequest("n4", balance=False))
        )[-1]
        assert N4 not in balancer.weights
    assert story(scene) == [
        f"{N4} hands over",
        f"balancer drains {N4} within 60 s",
        f"replica of b on {N1}",
        f"replica of c on {N2}",
        f"no replica of b on {N4}",
        f"no replica of c on {N4}",
        f"{N4} is forgotten",
    ]
    assert (answer.nodes, answer.moved, answer.thinned, answer.lost) == (3, 2, [], [])
    assert answer.drained is not None
    assert answer.drained.moved == 3
    assert "node.removed" in scene.kinds()


async def test_queues_are_not_thinned_unless_forced(scene: Scene) -> None:
    del scene.cluster.rows[N4]
    scene.cluster.queues = (quorum("a", N1, N2, N3),)
    async with scene.running():
        found = await refusal(scene, ops.REMOVE_NODE, ops.RemoveNodeRequest("n3"))
        assert found.refusal is Refusal.UNWISE
        assert found.message.startswith(
            f"{N3} should stay: 1 quorum queue (a) would be left with 2 replicas, and no node for"
        )
        assert scene.story == []
        request = ops.RemoveNodeRequest("n3", force=True)
        answer = (await ask(scene.folder, ops.REMOVE_NODE, request))[-1]
        assert answer.thinned == ["a"]
        assert members(scene, "a") == {N1, N2}


async def test_what_lives_on_the_node_alone_is_not_lost_unless_forced(scene: Scene) -> None:
    alone = QueueView("orders", "old", "classic", N4, messages=1200)
    scene.cluster.queues = (*scene.cluster.queues, alone)
    async with scene.running():
        found = await refusal(scene, ops.REMOVE_NODE, ops.RemoveNodeRequest("n4"))
        assert found.refusal is Refusal.UNWISE
        assert found.message.startswith(
            f"{N4} should stay: 1 classic queue (orders/old) lives on it alone, 1,200 messages in"
        )
        request = ops.RemoveNodeRequest("n4", force=True)
        answer = (await ask(scene.folder, ops.REMOVE_NODE, request))[-1]
        assert answer.lost == ["orders/old"]


async def test_a_node_stays_while_another_is_down(scene: Scene) -> None:
    async with scene.running():
        scene.cluster.change(N2, state=NodeState.LOST)
        found = await refusal(scene, ops.REMOVE_NODE, ops.RemoveNodeRequest("n4"))
        assert "n2 is lost: queues might lose their majority; `warrener node replace n2`" in (
            found.message
        )


async def test_a_dead_node_can_be_removed(scene: Scene) -> None:
    async with scene.running():
        scene.cluster.change(N4, state=NodeState.DOWN, pid=None)
        answer = (
            await ask(scene.folder, ops.REMOVE_NODE, ops.RemoveNodeRequest("n4", balance=False))
        )[-1]
    assert answer.drained is None
    assert scene.story[0] == f"replica of b on {N1}"
    assert story(scene)[-1] == f"{N4} is forgotten"


async def test_the_only_node_stays(scene: Scene) -> None:
    for name in (N2, N3, N4):
        del scene.cluster.rows[name]
    async with scene.running():
        found = await refusal(scene, ops.REMOVE_NODE, ops.RemoveNodeRequest("n1", force=True))
        assert "is the only node; `warrener down --purge`" in found.message


async def test_a_replica_without_successor_keeps_the_node(scene: Scene) -> None:
    async with scene.running() as balancer:
        scene.cluster.refused_replicas = {"b"}
        found = await refusal(scene, ops.REMOVE_NODE, ops.RemoveNodeRequest("n4"))
        assert found.message == (
            f"{N4} stays: b: a replica on {N1}: no; with --force it goes all the same"
        )
        assert N4 in members(scene, "b")
        assert balancer.drained == set()
    assert "node.removal_undone" in scene.kinds()


async def test_a_caller_that_hangs_up_stops_it_between_two_batches(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica_moves, "BATCH", 1)
    give_up, go_on = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        give_up.set()
        await asyncio.wait({asyncio.create_task(go_on.wait())}, timeout=0.2)

    async with scene.running() as balancer:
        scene.cluster.positions_with = wait
        request = ops.RemoveNodeRequest("n4")
        found = await refusal(scene, ops.REMOVE_NODE, request, give_up=give_up)
        assert found.refusal is Refusal.CALLED_OFF
        assert members(scene, "b") == {N1, N2, N3}
        assert N4 in members(scene, "c")
        assert balancer.drained == set()
        assert N4 in balancer.weights


async def test_without_a_word_from_the_cluster_nothing_is_removed(scene: Scene) -> None:
    async with scene.running():
        scene.cluster.look_error = ManagementError("http://n1", "no connection")
        found = await refusal(scene, ops.REMOVE_NODE, ops.RemoveNodeRequest("n4"))
        assert "no node tells which queues there are" in found.message
        assert scene.story == []


# -- replace


async def test_a_lost_node_is_made_anew_and_gets_its_replicas_back(scene: Scene) -> None:
    async with scene.running():
        scene.cluster.change(N4, state=NodeState.LOST, pid=None)
        answer = (
            await ask(scene.folder, ops.REPLACE_NODE, ops.ReplaceNodeRequest("n4", balance=False))
        )[-1]
    assert story(scene) == [
        f"{N4} is made anew",
        f"balancer revives {N4}",
        f"replica of b on {N4}",
        f"replica of c on {N4}",
    ]
    assert (answer.replicas, answer.pid, answer.failed, answer.lost) == (2, 9, {}, [])
    assert "node.replaced" in scene.kinds()


async def test_streams_come_back_by_themselves_and_that_is_waited_for(scene: Scene) -> None:
    log = QueueView("/", "log", "stream", N1, (N1, N4), (N1, N4))
    scene.cluster.queues = (*scene.cluster.queues, log)
    scene.cluster.silent_for = {"log": 4}
    async with scene.running():
        scene.cluster.change(N4, state=NodeState.LOST, pid=None)
        answer = (
            await ask(scene.folder, ops.REPLACE_NODE, ops.ReplaceNodeRequest("n4", balance=False))
        )[-1]
    assert scene.cluster.silent_for == {"log": 0}
    assert not [line for line in scene.story if "log" in line]
    assert (answer.replicas, answer.failed) == (3, {})


async def test_said_again_it_still_mends_queues_with_too_few_replicas(scene: Scene) -> None:
    """What the node had isn't known any more: it was forgotten before Warrener was killed."""
    scene.cluster.queues = (quorum("b", N2, N3), quorum("c", N1, N3), quorum("a", N1, N2, N3))
    async with scene.running():
        scene.cluster.change(N4, state=NodeState.LOST, pid=None)
        answer = (await ask(scene.folder, ops.REPLACE_NODE, ops.ReplaceNodeRequest("n4")))[-1]
    assert answer.replicas == 2


async def test_a_node_that_serves_is_not_thrown_away_unless_forced(scene: Scene) -> None:
    async with scene.running():
        found = await refusal(scene, ops.REPLACE_NODE, ops.ReplaceNodeRequest("n4"))
        assert found.refusal is Refusal.UNWISE
        assert f"{N4} serves, and all that is stored on it would be removed" in found.message
        request = ops.ReplaceNodeRequest("n4", force=True)
        answer = (await ask(scene.folder, ops.REPLACE_NODE, request))[-1]
        assert answer.replicas == 2
    assert scene.story[:3] == [
        f"{N4} hands over",
        f"balancer drains {N4} within 60 s",
        f"{N4} is made anew",
    ]


async def test_a_dead_node_with_data_of_its_own_is_not_thrown_away_unless_forced(
    scene: Scene,
) -> None:
    alone = QueueView("/", "old", "classic", N4)
    scene.cluster.queues = (*scene.cluster.queues, alone)
    async with scene.running():
        scene.cluster.change(N4, state=NodeState.DOWN, pid=None)
        found = await refusal(scene, ops.REPLACE_NODE, ops.ReplaceNodeRequest("n4"))
        assert "1 classic queue (old) lives on it alone, empty at the moment" in found.message
        request = ops.ReplaceNodeRequest("n4", force=True)
        answer = (await ask(scene.folder, ops.REPLACE_NODE, request))[-1]
        assert answer.lost == ["old"]


async def test_exclusive_queues_do_not_count(scene: Scene) -> None:
    mine = replace(QueueView("/", "mine", "classic", N4), exclusive=True)
    scene.cluster.queues = (*scene.cluster.queues, mine)
    async with scene.running():
        assert (await ask(scene.folder, ops.REMOVE_NODE, ops.RemoveNodeRequest("n4")))[-1].nodes
