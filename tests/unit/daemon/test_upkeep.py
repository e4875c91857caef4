"""Nodes drained, revived, restarted, sessions rebalanced: in which order, and what undoes what."""

import asyncio
from pathlib import Path

import pytest
from tests.unit.daemon.scene import N1, N2, N3, Node, Scene, ask, until

from warrener.control import node_operations as node_ops
from warrener.control import operations as ops
from warrener.control.wire import Refusal, Refused, encode_request
from warrener.daemon import upkeep
from warrener.daemon.errors import DaemonError
from warrener.daemon.parts import MoveSink
from warrener.facts.data_plane import Lack, Unsupported
from warrener.facts.moves import MoveProgress, RebalanceResult, RebalanceShare
from warrener.facts.reasons import NodeState, Unfit
from warrener.facts.snapshot import QueueView
from warrener.management.client import ManagementError

DRAIN = ops.DrainRequest("n2")
QUORUM = QueueView("/", "jobs", "quorum", N2, (N1, N2, N3), (N1, N2, N3))


@pytest.fixture(autouse=True)
def _looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "LOOK", 0)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Three nodes, one quorum queue on all of them."""
    made = Scene(tmp_path)
    made.cluster.rows[N3] = Node(N3)
    made.cluster.queues = (QUORUM,)
    return made


async def refusal(scene: Scene, operation: object, request: object, **options: object) -> Refused:
    with pytest.raises(Refused) as caught:
        await ask(scene.folder, operation, request, **options)  # type: ignore[arg-type]
    return caught.value


class Held:
    """Work that tells how far it is and then waits."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.go_on = asyncio.Event()

    async def move(self, on_progress: MoveSink) -> None:
        on_progress(MoveProgress(12, 40))
        await self.work()

    async def work(self) -> None:
        self.began.set()
        await self.go_on.wait()


# -- drain


async def test_a_drain_moves_sessions_first_then_asks_rabbitmq(scene: Scene) -> None:
    async with scene.running() as balancer:

        async def move(on_progress: MoveSink) -> None:
            on_progress(MoveProgress(4, 5, failed=1))

        balancer.drain_with = move
        *lines, answer = await ask(scene.folder, ops.DRAIN, ops.DrainRequest("n2", timeout=7))
    assert scene.story[:3] == [
        f"{N2} hands over",
        f"balancer drains {N2} within 7 s",
        f"RabbitMQ drains {N2}",
    ]
    assert len(balancer.snapshots) == 3  # at the start, by the observer, after the leaders moved
    assert answer == ops.DrainAnswer(node=N2, moved=3, forced=1, left=2, seconds=0.5)
    assert ops.ProgressLine("n2", "moves sessions, 1 couldn't be moved", count=4, total=5) in lines
    assert ops.ProgressLine("n2", "is put into maintenance mode") in lines
    assert "node.drained" in scene.kinds()
    assert balancer.drained == {N2}


async def test_a_drain_goes_on_without_leaders_handed_over(scene: Scene) -> None:
    async def fail() -> None:
        raise DaemonError("no such function")

    async with scene.running():
        scene.cluster.hand_over_with = fail
        assert (await ask(scene.folder, ops.DRAIN, DRAIN))[-1].moved == 3


async def test_a_drained_node_is_not_drained_again(scene: Scene) -> None:
    async with scene.running():
        scene.cluster.drained.add(N2)
        answer = (await ask(scene.folder, ops.DRAIN, DRAIN))[-1]
        assert answer == ops.DrainAnswer(node=N2, already=True)
        assert scene.story == []


@pytest.mark.parametrize("node", ["n9", "n", "N2@elsewhere"])
async def test_an_unknown_node_is_told_with_the_nearest(scene: Scene, node: str) -> None:
    async with scene.running():
        refused = await refusal(scene, ops.DRAIN, ops.DrainRequest(node))
        assert refused.refusal is Refusal.BAD_ARGUMENT
        assert "There are: n1@localhost, n2@localhost, n3@localhost" in refused.message


@pytest.mark.parametrize("timeout", [0.0, -1.0, 1e9])
async def test_a_time_out_has_to_be_one(scene: Scene, timeout: float) -> None:
    async with scene.running():
        refused = await refusal(scene, ops.DRAIN, ops.DrainRequest("n2", timeout=timeout))
        assert refused.refusal is Refusal.BAD_ARGUMENT
        assert scene.story == []


async def test_nothing_is_begun_that_would_cost_a_majority(scene: Scene) -> None:
    async with scene.running():
        scene.cluster.drained.add(N1)
        refused = await refusal(scene, ops.DRAIN, DRAIN)
        assert refused.refusal is Refusal.UNWISE
        assert refused.message == (
            "n2@localhost should stay: 1 quorum queue (jobs) would lose the majority, as n1 is "
            "drained. With --force I drain it all the same"
        )
        assert scene.story == []
        answer = (await ask(scene.folder, ops.DRAIN, ops.DrainRequest("n2", force=True)))[-1]
        assert answer.moved == 3


async def test_replicas_that_are_about_to_come_are_waited_for(scene: Scene) -> None:
    """Another node has just started: RabbitMQ tells its replicas' state some seconds late."""
    late = QueueView("/", "jobs", "quorum", N2, (N1, N2, N3), (N2, N3))
    async with scene.running():
        scene.cluster.queues = (late,)
        asking = asyncio.create_task(ask(scene.folder, ops.DRAIN, DRAIN))
        looks = scene.cluster.looks
        await until(lambda: scene.cluster.looks > looks + 3)
        assert scene.story == []
        scene.cluster.queues = (QUORUM,)
        *lines, answer = await asking
        assert answer.moved == 3
        assert ops.ProgressLine("n2", "waits for replicas on other nodes") in lines


async def test_replicas_that_do_not_come_keep_the_node(scene: Scene) -> None:
    async with scene.running():
        scene.cluster.queues = (QueueView("/", "jobs", "quorum", N2, (N1, N2, N3), (N2, N3)),)
        asking = asyncio.create_task(refusal(scene, ops.DRAIN, DRAIN))
        looks = scene.cluster.looks
        await until(lambda: scene.cluster.looks > looks + 3)
        scene.now += upkeep.REPLICAS_TIMEOUT + 1
        refused = await asking
        assert refused.refusal is Refusal.UNWISE
        assert "as replicas on n1 are not online" in refused.message
        assert scene.story == []


async def test_the_last_fit_node_is_kept(scene: Scene) -> None:
    async with scene.running() as balancer:
        balancer.unfit = {N1: Unfit.HANGS, N3: Unfit.REFUSES}
        refused = await refusal(scene, ops.DRAIN, DRAIN)
        assert "no other node could take its clients" in refused.message
        assert scene.story == []


async def test_a_node_that_is_down_is_not_drained(scene: Scene) -> None:
    async with scene.running():
        scene.cluster.change(N2, state=NodeState.DOWN)
        refused = await refusal(scene, ops.DRAIN, DRAIN)
        assert "doesn't run (down)" in refused.message
        assert "warrener node restart n2" in refused.message


@pytest.mark.parametrize("how", ["frozen", "unfit"])
async def test_a_node_that_serves_nobody_is_not_drained(scene: Scene, how: str) -> None:
    async with scene.running() as balancer:
        if how == "frozen":
            scene.cluster.change(N2, frozen=True)
        else:
            balancer.unfit = {N2: Unfit.HANGS}
        scene.cluster.drained_error = AssertionError("nobody is asked: it could take long")
        refused = await refusal(scene, ops.DRAIN, DRAIN)
        assert refused.refusal is Refusal.UNWISE
        assert "n2@localhost doesn't serve (" in refused.message
        assert "`warrener node restart n2`" in refused.message
        scene.cluster.drained_error = None
        await ask(scene.folder, ops.DRAIN, ops.DrainRequest("n2", force=True))
        assert scene.cluster.drained == {N2}


async def heal(scene: Scene) -> None:
    scene.balancers[0].unfit = {}


async def test_without_a_view_of_the_queues_only_force_drains(scene: Scene) -> None:
    async with scene.running():
        scene.cluster.look_error = ManagementError("http://n1", "no connection")
        refused = await refusal(scene, ops.DRAIN, DRAIN)
        assert refused.refusal is Refusal.UNWISE
        assert "doesn't tell" in refused.message


async def test_where_rabbitmq_can_not_be_asked_the_drivers_word_counts(scene: Scene) -> None:
    async with scene.running():
        scene.cluster.drained_error = DaemonError("no node runs")
        scene.cluster.change(N2, drained=True)
        answer = (await ask(scene.folder, ops.DRAIN, DRAIN))[-1]
        assert answer.already


async def test_giving_up_while_sessions_move_undoes_it(scene: Scene) -> None:
    held = Held()
    async with scene.running() as balancer:
        balancer.drain_with = held.move
        give_up = asyncio.Event()
        asking = asyncio.create_task(refusal(scene, ops.DRAIN, DRAIN, give_up=give_up))
        await held.began.wait()
        assert balancer.drained == {N2}
        give_up.set()
        refused = await asking
        assert refused.refusal is Refusal.CALLED_OFF
        assert "n2@localhost takes sessions again" in refused.message
        assert scene.story[2:] == ["moving stops", f"balancer revives {N2}"]
        assert balancer.drained == set()
        assert "node.drain_undone" in scene.kinds()


async def test_a_caller_that_dies_while_sessions_move_undoes_it(scene: Scene) -> None:
    held = Held()
    async with scene.running() as balancer:
        balancer.drain_with = held.move
        _, writer = await asyncio.open_unix_connection(scene.folder.socket)
        writer.write(encode_request(ops.DRAIN, DRAIN))
        await held.began.wait()
        writer.transport.abort()
        await until(lambda: f"balancer revives {N2}" in scene.story)
        assert f"RabbitMQ drains {N2}" not in scene.story


async def test_once_rabbitmqs_own_drain_has_begun_it_is_finished(scene: Scene) -> None:
    held = Held()
    async with scene.running() as balancer:
        scene.cluster.drain_with = held.work
        give_up = asyncio.Event()
        asking = asyncio.create_task(ask(scene.folder, ops.DRAIN, DRAIN, give_up=give_up))
        await held.began.wait()
        give_up.set()
        for _ in range(20):
            await asyncio.sleep(0)
        held.go_on.set()
        assert (await asking)[-1].moved == 3
        assert balancer.drained == {N2}
        assert scene.cluster.drained == {N2}


async def test_a_drain_that_rabbitmq_refuses_gives_the_node_back(scene: Scene) -> None:
    async def fail() -> None:
        raise DaemonError("`rabbitmq-upgrade drain` failed on n2: oh no")

    async with scene.running() as balancer:
        scene.cluster.drain_with = fail
        refused = await refusal(scene, ops.DRAIN, DRAIN)
        assert (refused.refusal, refused.message) == (
            Refusal.FAILED,
            "`rabbitmq-upgrade drain` failed on n2: oh no",
        )
        assert balancer.drained == set()


async def test_a_bug_while_moving_gives_the_node_back_as_well(scene: Scene) -> None:
    async def fail(on_progress: MoveSink) -> None:
        raise ValueError("a bug")

    async with scene.running() as balancer:
        balancer.drain_with = fail
        refused = await refusal(scene, ops.DRAIN, DRAIN)
        assert refused.refusal is Refusal.INTERNAL
        assert balancer.drained == set()


# -- one at a time


async def test_a_node_has_one_operation_at_a_time_and_others_are_answered(scene: Scene) -> None:
    held = Held()
    async with scene.running() as balancer:
        balancer.drain_with = held.move
        asking = asyncio.create_task(ask(scene.folder, ops.DRAIN, DRAIN))
        await held.began.wait()
        for operation, request in (
            (ops.DRAIN, DRAIN),
            (ops.REVIVE, ops.ReviveRequest("n2")),
            (ops.RESTART, ops.RestartRequest("n2@localhost")),
        ):
            refused = await refusal(scene, operation, request)
            assert refused.refusal is Refusal.BUSY
            assert refused.message.startswith("n2@localhost is being drained already")
        refused = await refusal(scene, ops.REBALANCE, ops.RebalanceRequest())
        assert refused.message == (
            "n2@localhost is being drained; sessions can be rebalanced when that is done"
        )
        (status,) = await ask(scene.folder, ops.STATUS, ops.StatusRequest())
        assert [node.being_drained for node in status.nodes] == [False, True, False]
        held.go_on.set()
        await asking
        assert (await ask(scene.folder, ops.REVIVE, ops.ReviveRequest("n2")))[-1].node == N2


async def test_two_nodes_that_leave_at_once_count_for_each_other(scene: Scene) -> None:
    held = Held()
    async with scene.running() as balancer:
        balancer.drain_with = held.move
        asking = asyncio.create_task(ask(scene.folder, ops.DRAIN, DRAIN))
        await held.began.wait()
        refused = await refusal(scene, ops.DRAIN, ops.DrainRequest("n1"))
        assert "would lose the majority, as n2 is being taken out" in refused.message
        held.go_on.set()
        await asking


async def test_down_ends_what_is_under_way_before_the_balancer_closes(scene: Scene) -> None:
    held = Held()
    async with scene.running() as balancer:
        balancer.drain_with = held.move
        asking = asyncio.create_task(refusal(scene, ops.DRAIN, DRAIN))
        await held.began.wait()
        scene.switch.turn()
        refused = await asking
    assert refused.message == "called off: the cluster is being stopped"
    assert scene.story.index("moving stops") < scene.story.index("balancer closes")


async def test_down_during_a_restart_calls_it_off(scene: Scene) -> None:
    held = Held()
    async with scene.running():
        scene.cluster.restart_with = held.work
        asking = asyncio.create_task(refusal(scene, ops.RESTART, ops.RestartRequest("n2")))
        await held.began.wait()
        scene.switch.turn()
        refused = await asking
    assert refused.refusal is Refusal.CALLED_OFF
    assert scene.story.index("restart called off") < scene.story.index("balancer closes")
    assert scene.story[-1] == "cluster stops"


# -- RabbitMQ inside its Erlang VM


async def test_rabbitmq_stops_when_sessions_have_moved_off_and_starts_again(scene: Scene) -> None:
    async with scene.running() as balancer:
        stopped = (await ask(scene.folder, node_ops.STOP_APP, node_ops.StopAppRequest("n2")))[-1]
        assert stopped.drained.moved == 3
        assert scene.story == [
            f"{N2} hands over",
            f"balancer drains {N2} within 60 s",
            f"RabbitMQ stops on {N2}",
            f"balancer revives {N2}",
        ]
        started = (await ask(scene.folder, node_ops.START_APP, node_ops.StartAppRequest("n2")))[-1]
        assert (started.node, started.not_online) == (N2, [])
        assert balancer.drained == set()
    assert {"node.app_stopped", "node.app_started"} <= set(scene.kinds())


async def test_rabbitmq_is_not_stopped_where_queues_would_stop(scene: Scene) -> None:
    async with scene.running():
        scene.cluster.drained.add(N1)
        refused = await refusal(scene, node_ops.STOP_APP, node_ops.StopAppRequest("n2"))
        assert refused.refusal is Refusal.UNWISE
        assert refused.message.endswith("With --force I stop it all the same")
        request = node_ops.StopAppRequest("n2", force=True)
        assert (await ask(scene.folder, node_ops.STOP_APP, request))[-1].node == N2


async def test_nothing_is_stopped_or_started_on_a_node_that_is_down(scene: Scene) -> None:
    async with scene.running():
        scene.cluster.change(N2, state=NodeState.DOWN)
        for operation, request in (
            (node_ops.STOP_APP, node_ops.StopAppRequest("n2")),
            (node_ops.START_APP, node_ops.StartAppRequest("n2")),
        ):
            refused = await refusal(scene, operation, request)
            assert "doesn't run (down)" in refused.message
            assert "`warrener node restart n2`" in refused.message


async def test_a_rabbitmq_that_does_not_stop_leaves_the_node_in_service(scene: Scene) -> None:
    async def fail() -> None:
        raise DaemonError("it hangs")

    async with scene.running() as balancer:
        scene.cluster.restart_with = fail
        refused = await refusal(scene, node_ops.STOP_APP, node_ops.StopAppRequest("n2"))
        assert refused.message == "it hangs"
        assert balancer.drained == set()


# -- revive


async def test_a_revived_node_is_given_back_and_found_fit(scene: Scene) -> None:
    async with scene.running() as balancer:
        scene.cluster.drained.add(N2)
        balancer.drained.add(N2)
        *_, answer = await ask(scene.folder, ops.REVIVE, ops.ReviveRequest("n2"))
        assert scene.story == [
            f"RabbitMQ revives {N2}",
            f"balancer revives {N2}",
            "measures for 3 s",
        ]
        assert (answer.node, answer.already, answer.not_online) == (N2, False, [])
        assert "node.revived" in scene.kinds()


async def test_a_node_that_is_fit_needs_no_reviving(scene: Scene) -> None:
    async with scene.running():
        assert (await ask(scene.folder, ops.REVIVE, ops.ReviveRequest("n2")))[-1].already
        assert scene.story == []


async def test_a_node_that_rabbitmq_calls_revived_but_does_not_serve(scene: Scene) -> None:
    async def fail() -> None:
        raise DaemonError("its AMQP port 21264 is taken by nc (pid 5)")

    async with scene.running() as balancer:
        scene.cluster.drained.add(N2)
        balancer.drained.add(N2)
        scene.cluster.revive_with = fail
        refused = await refusal(scene, ops.REVIVE, ops.ReviveRequest("n2"))
        assert "taken by nc" in refused.message
        assert balancer.drained == {N2}
        # RabbitMQ's own mark is gone by now; unfit as the node is, it is revived once more.
        scene.cluster.drained.clear()
        scene.cluster.revive_with = scene.cluster._at_once
        assert not (await ask(scene.folder, ops.REVIVE, ops.ReviveRequest("n2")))[-1].already


async def test_a_node_that_does_not_become_fit_in_time_is_told(scene: Scene) -> None:
    async with scene.running() as balancer:
        scene.cluster.drained.add(N2)
        balancer.unfit = {N2: Unfit.REFUSES}

        async def later() -> None:
            scene.now += 100

        scene.cluster.revive_with = later
        asking = asyncio.create_task(refusal(scene, ops.REVIVE, ops.ReviveRequest("n2", timeout=9)))
        await until(lambda: f"balancer revives {N2}" in scene.story)
        for _ in range(50):
            await asyncio.sleep(0)
        scene.now += 10
        assert (await asking).message == (
            "n2@localhost runs, but the balancer has not found it fit within 9 s: refuses (refused)"
        )


async def test_a_node_that_is_down_is_restarted_not_revived(scene: Scene) -> None:
    async with scene.running():
        scene.cluster.change(N2, state=NodeState.STOPPED)
        refused = await refusal(scene, ops.REVIVE, ops.ReviveRequest("n2"))
        assert "`warrener node restart n2` starts it" in refused.message


# -- restart


async def test_a_restart_gives_the_node_back_when_it_is_fit(scene: Scene) -> None:
    async with scene.running() as balancer:
        balancer.drained.add(N2)
        *_, answer = await ask(scene.folder, ops.RESTART, ops.RestartRequest("n2", timeout=33))
        assert scene.story == [
            f"restart of {N2} within 33 s",
            f"balancer revives {N2}",
            "measures for 3 s",
        ]
        assert (answer.pid, answer.drained, answer.not_online) == (8, None, [])
        assert "node.restarted" in scene.kinds()


async def test_a_restart_with_drain_moves_sessions_off_first(scene: Scene) -> None:
    async with scene.running():
        *_, answer = await ask(scene.folder, ops.RESTART, ops.RestartRequest("n2", drain=True))
        assert scene.story == [
            f"{N2} hands over",
            f"balancer drains {N2} within 60 s",
            f"RabbitMQ drains {N2}",
            f"restart of {N2} within 120 s",
            f"balancer revives {N2}",
            "measures for 3 s",
        ]
        assert answer.drained.moved == 3


async def test_a_drained_node_may_be_restarted_whoever_else_is_away(scene: Scene) -> None:
    async with scene.running():
        scene.cluster.drained |= {N1, N2}
        *_, answer = await ask(scene.folder, ops.RESTART, ops.RestartRequest("n2", drain=True))
        assert answer.drained.already
        assert scene.story[0].startswith("restart of")


async def test_a_running_node_is_not_stopped_where_that_costs_a_majority(scene: Scene) -> None:
    async with scene.running():
        scene.cluster.change(N1, state=NodeState.DOWN)
        refused = await refusal(scene, ops.RESTART, ops.RestartRequest("n2"))
        assert "would lose the majority, as n1 doesn't run. With --force I restart" in (
            refused.message
        )
        assert scene.story == []
        await ask(scene.folder, ops.RESTART, ops.RestartRequest("n2", force=True))


@pytest.mark.parametrize("state", [NodeState.DOWN, NodeState.STOPPED])
async def test_a_node_that_is_down_is_started_whatever_else_is(
    scene: Scene, state: NodeState
) -> None:
    async with scene.running():
        scene.cluster.change(N1, state=NodeState.DOWN)
        scene.cluster.change(N2, state=state)
        await ask(scene.folder, ops.RESTART, ops.RestartRequest("n2", drain=True))
        assert scene.story[0].startswith("restart of")


async def test_an_unfit_node_is_restarted_without_asking(scene: Scene) -> None:
    """Frozen, say: nothing is lost that wasn't, and there is nobody to drain it."""
    async with scene.running() as balancer:
        balancer.unfit = {N2: Unfit.HANGS}
        scene.cluster.restart_with = lambda: heal(scene)
        await ask(scene.folder, ops.RESTART, ops.RestartRequest("n2", drain=True))
        assert scene.story[0].startswith("restart of")


async def test_a_restart_goes_on_without_its_caller(scene: Scene) -> None:
    held = Held()
    async with scene.running():
        scene.cluster.restart_with = held.work
        give_up = asyncio.Event()
        request = ops.RestartRequest("n2")
        asking = asyncio.create_task(ask(scene.folder, ops.RESTART, request, give_up=give_up))
        await held.began.wait()
        give_up.set()
        for _ in range(20):
            await asyncio.sleep(0)
        held.go_on.set()
        assert (await asking)[-1].pid == 8


async def test_a_start_that_fails_is_told_in_the_drivers_words(scene: Scene) -> None:
    async def fail() -> None:
        raise DaemonError("n2 was killed by SIGKILL while it booted; its log: /s/log")

    async with scene.running():
        scene.cluster.restart_with = fail
        refused = await refusal(scene, ops.RESTART, ops.RestartRequest("n2"))
        assert refused.message == "n2 was killed by SIGKILL while it booted; its log: /s/log"


async def test_replicas_that_stay_away_are_revived_once_and_then_told(scene: Scene) -> None:
    async with scene.running():
        scene.cluster.queues = (QueueView("/", "jobs", "quorum", N1, (N1, N2, N3), (N1, N3)),)

        async def look_later() -> None:
            scene.now += upkeep.REPLICAS_TIMEOUT + 1

        scene.cluster.revive_with = look_later
        asking = asyncio.create_task(
            ask(scene.folder, ops.RESTART, ops.RestartRequest("n2", force=True))
        )
        await until(lambda: f"balancer revives {N2}" in scene.story)
        for _ in range(100):
            await asyncio.sleep(0)
        scene.now += upkeep.REPLICAS_TIMEOUT + 1
        await until(lambda: f"RabbitMQ revives {N2}" in scene.story)
        for _ in range(100):
            await asyncio.sleep(0)
        scene.now += upkeep.REPLICAS_TIMEOUT + 1
        assert (await asking)[-1].not_online == ["jobs"]
        assert scene.story.count(f"RabbitMQ revives {N2}") == 1


# -- rebalance

DONE = RebalanceResult(
    (RebalanceShare(N1, 4, 2, 2), RebalanceShare(N2, 0, 2, 2)), 2, 0, 2.0, 1.0, "", 0.1
)


async def test_a_rebalancing_is_told_in_full(scene: Scene) -> None:
    async with scene.running() as balancer:

        async def move(on_progress: MoveSink) -> None:
            on_progress(MoveProgress(1, 2))

        balancer.rebalance_with = move
        balancer.rebalanced = DONE
        *lines, answer = await ask(scene.folder, ops.REBALANCE, ops.RebalanceRequest())
        assert lines == [
            ops.ProgressLine("sessions", "move", count=1, total=2),
            ops.ProgressLine("sessions", "moved", done=True),
        ]
        assert answer.shares[1] == ops.ShareLine(node=N2, before=0, wanted=2, after=2)
        assert (answer.moved, answer.skew_before, answer.skew_after) == (2, 2.0, 1.0)
        assert "sessions.rebalanced" in scene.kinds()


async def test_a_dry_run_is_one(scene: Scene) -> None:
    async with scene.running():
        (answer,) = await ask(scene.folder, ops.REBALANCE, ops.RebalanceRequest(dry_run=True))
        assert answer.dry_run
        assert scene.story == ["balancer rebalances not really"]
        assert "sessions.rebalanced" not in scene.kinds()


async def test_giving_up_a_rebalancing_stops_it_and_nodes_wait_for_it(scene: Scene) -> None:
    held = Held()
    async with scene.running() as balancer:
        balancer.rebalance_with = held.move
        give_up = asyncio.Event()
        asking = asyncio.create_task(
            refusal(scene, ops.REBALANCE, ops.RebalanceRequest(), give_up=give_up)
        )
        await held.began.wait()
        refused = await refusal(scene, ops.DRAIN, DRAIN)
        assert refused.refusal is Refusal.BUSY
        assert "sessions are being rebalanced" in refused.message
        give_up.set()
        assert (await asking).refusal is Refusal.CALLED_OFF
        assert scene.story[-1] == "moving stops"


async def test_before_it_runs_nothing_of_this_can_be_asked(scene: Scene) -> None:
    held = Held()
    scene.cluster.start_with = held.work
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.service.run())
        await held.began.wait()
        for operation, request in (
            (ops.DRAIN, DRAIN),
            (ops.REVIVE, ops.ReviveRequest("n2")),
            (ops.RESTART, ops.RestartRequest("n2")),
            (ops.REBALANCE, ops.RebalanceRequest()),
            (ops.EXPLAIN, ops.ExplainRequest()),
        ):
            assert "is starting" in (await refusal(scene, operation, request)).message
        held.go_on.set()
        await scene.is_ready.wait()
        scene.switch.turn()


# -- a data plane that can't


async def test_what_the_data_plane_cannot_do_is_refused_with_its_reason(scene: Scene) -> None:
    async def cannot(_: MoveSink) -> None:
        raise Unsupported(Lack.REBALANCE)

    async with scene.running() as balancer:
        balancer.rebalance_with = cannot
        refused = await refusal(scene, ops.REBALANCE, ops.RebalanceRequest())
    assert refused.refusal is Refusal.UNSUPPORTED
    assert "HAProxy passes bytes, it can't take an open session" in refused.message
