"""Leaders shown, planned and moved: what is refused, what stops it, what is told."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.daemon.scene import N1, N2, N3, Node, Scene, ask, until

from warrener.control import operations as ops
from warrener.control.leaders_operations import (
    LeadersBalanceRequest,
    LeadersPlanRequest,
    LeadersShowRequest,
)
from warrener.control.wire import Refusal, Refused
from warrener.daemon import leaders
from warrener.daemon.errors import DaemonError
from warrener.facts.leaders import Fixed, LeaderMove, QueueRates, Short
from warrener.facts.reasons import NodeState, Unfit
from warrener.facts.snapshot import QueueView
from warrener.management.client import Unreachable

ALL = (N1, N2, N3)
PLAN = LeadersPlanRequest(sample=1)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaders, "LOOK", 0)
    monkeypatch.setattr(leaders, "SETTLE", 0)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Three nodes, six quorum queues that n1 leads, 100 messages a second each; and a classic."""
    made = Scene(tmp_path)
    made.cluster.rows[N3] = Node(N3)
    queues = [QueueView("/", f"q{n}", "quorum", N1, ALL, ALL) for n in range(6)]
    made.cluster.queues = (*queues, QueueView("/", "old", "classic", N1))
    made.cluster.rates = {("/", f"q{n}"): QueueRates(100, 100, 100) for n in range(6)}
    return made


async def refusal(scene: Scene, operation: Any, request: Any, **options: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        await ask(scene.folder, operation, request, **options)
    return caught.value


async def planned(scene: Scene, request: LeadersPlanRequest = PLAN) -> Any:
    return (await ask(scene.folder, ops.LEADERS_PLAN, request))[-1]


async def balanced(scene: Scene, **options: Any) -> Any:
    plan = await planned(scene)
    request = LeadersBalanceRequest(plan.plan)
    return (await ask(scene.folder, ops.LEADERS_BALANCE, request, **options))[-1]


# -- show


async def test_what_each_node_carries_is_shown(scene: Scene) -> None:
    async with scene.running():
        line, answer = await ask(
            scene.folder, ops.LEADERS_SHOW, LeadersShowRequest(sample=3, limit=2)
        )
        assert line == ops.ProgressLine("leaders", "measures for 3 s")
        n1, n2, _ = answer.nodes
        assert n1.leaders == {"classic": 1, "quorum": 6}
        assert (n1.published, n1.delivered, n1.load) == (600, 600, 1800)
        assert (n2.leaders, n2.load) == ({}, 6 * 0.75 * 200)
        assert n1.share == pytest.approx(0.5)
        assert answer.skew == pytest.approx(1.5)
        assert [queue.name for queue in answer.queues] == ["q0", "q1"]
        assert (answer.queues_total, answer.queues_active, answer.moves) == (7, 6, 4)
        assert answer.seconds == 3
        assert scene.story == ["measures for 3 s"]


async def test_what_is_fixed_is_told(scene: Scene) -> None:
    scene.cluster.queues = (
        QueueView("/", "classic", "classic", N1),
        QueueView("/", "stream", "stream", N1, ALL),
        QueueView("/", "away", "quorum", None, ALL, (N2,)),
        QueueView("/", "alone", "quorum", N1, ALL, (N1,)),
        QueueView("/", "delayed", "x-delayed", N1),
        QueueView("/", "free", "quorum", N1, ALL, ALL),
    )
    async with scene.running():
        answer = (await ask(scene.folder, ops.LEADERS_SHOW, LeadersShowRequest()))[-1]
        assert {queue.name: queue.fixed for queue in answer.queues} == {
            "classic": Fixed.CLASSIC,
            "stream": Fixed.STREAM,
            "away": Fixed.AWAY,
            "alone": Fixed.ALONE,
            "delayed": Fixed.TYPE,
            "free": None,
        }


async def test_why_a_node_gets_none_is_told(scene: Scene) -> None:
    async with scene.running() as balancer:
        balancer.unfit = {N1: Unfit.HANGS}
        scene.cluster.change(N2, drained=True)
        scene.cluster.alarmed.add(N3)
        answer = (await ask(scene.folder, ops.LEADERS_SHOW, LeadersShowRequest()))[-1]
        assert [node.why_not for node in answer.nodes] == ["hangs", "drained", "memory alarm"]
        scene.cluster.change(N3, state=NodeState.DOWN)
        answer = (await ask(scene.folder, ops.LEADERS_SHOW, LeadersShowRequest()))[-1]
        assert answer.nodes[2].why_not == "not running"


@pytest.mark.parametrize("sample", [0, -1, 1e6])
async def test_a_sample_has_to_be_one(scene: Scene, sample: float) -> None:
    async with scene.running():
        for operation, request in (
            (ops.LEADERS_SHOW, LeadersShowRequest(sample=sample)),
            (ops.LEADERS_PLAN, LeadersPlanRequest(sample=sample)),
        ):
            assert (await refusal(scene, operation, request)).refusal is Refusal.BAD_ARGUMENT
        assert scene.story == []


async def test_a_cluster_that_does_not_tell_is_an_error_in_words(scene: Scene) -> None:
    async def fail() -> None:
        raise Unreachable("http://127.0.0.1:1/metrics/detailed", "no connection")

    async with scene.running():
        scene.cluster.measure_with = fail
        refused = await refusal(scene, ops.LEADERS_SHOW, LeadersShowRequest())
        assert "doesn't tell what its queues do: http://127.0.0.1:1" in refused.message


async def test_the_last_view_does_if_there_is_no_newer_one(scene: Scene) -> None:
    async with scene.running():
        scene.cluster.look_error = Unreachable("http://127.0.0.1:1/api/nodes", "no answer")
        answer = (await ask(scene.folder, ops.LEADERS_SHOW, LeadersShowRequest()))[-1]
        assert answer.queues_total == 7
        scene.service.last_view = lambda: None  # type: ignore[method-assign]
        refused = await refusal(scene, ops.LEADERS_SHOW, LeadersShowRequest())
        assert "doesn't tell what its queues do" in refused.message


async def test_hanging_up_ends_the_measuring(scene: Scene) -> None:
    began = asyncio.Event()

    async def wait() -> None:
        began.set()
        await asyncio.Event().wait()

    async with scene.running():
        scene.cluster.measure_with = wait
        give_up = asyncio.Event()
        asking = asyncio.create_task(refusal(scene, ops.LEADERS_PLAN, PLAN, give_up=give_up))
        await began.wait()
        give_up.set()
        assert (await asking).refusal is Refusal.CALLED_OFF


# -- plan


async def test_a_plan_is_told_with_what_is_expected_of_it(scene: Scene) -> None:
    async with scene.running():
        plan = await planned(scene)
        assert len(plan.moves) == 4
        assert {move.source for move in plan.moves} == {N1}
        assert [node.leaders_expected for node in plan.nodes] == [3, 2, 2]
        assert (plan.skew_before, plan.skew_expected) == (1.5, 1.0)
        assert (plan.short, plan.obstacles) == (None, [])
        assert scene.story == ["measures for 1 s"]


async def test_a_hot_queue_is_named(scene: Scene) -> None:
    scene.cluster.rates = {("/", "q3"): QueueRates(0, 9000, 0)}
    async with scene.running():
        plan = await planned(scene)
        assert (plan.moves, plan.short, plan.short_queue) == ([], Short.HOT_QUEUE, "q3")


@pytest.mark.parametrize("most", [0, 1_000_000])
async def test_the_number_of_moves_has_a_range(scene: Scene, most: int) -> None:
    async with scene.running():
        refused = await refusal(scene, ops.LEADERS_PLAN, LeadersPlanRequest(max_moves=most))
        assert refused.refusal is Refusal.BAD_ARGUMENT


async def test_obstacles_are_told_in_a_dry_run_and_refused_else(scene: Scene) -> None:
    async with scene.running():
        scene.cluster.missing = (N3,)
        plan = await planned(scene)
        assert plan.obstacles == ["n3 didn't tell what its clients do"]
        refused = await refusal(scene, ops.LEADERS_BALANCE, LeadersBalanceRequest(plan.plan))
        assert refused.refusal is Refusal.UNWISE
        assert refused.message == "n3 didn't tell what its clients do; nothing was moved"


# -- balance


async def test_leaders_are_moved_seen_and_measured_again(scene: Scene) -> None:
    async with scene.running():
        answer = await balanced(scene)
        assert scene.story[0] == "measures for 1 s"
        assert scene.story[1].startswith("moves q")
        assert scene.story[2:] == ["measures for 1 s"]
        assert (answer.moved, answer.planned, answer.failed, answer.stopped) == (4, 4, 0, "")
        assert (answer.skew_before, answer.skew_expected, answer.skew_after) == (1.5, 1.0, 1.0)
        assert [node.leaders_after for node in answer.nodes] == [3, 2, 2]
        assert "leaders.balanced" in scene.kinds()
        assert (await planned(scene)).moves == []


async def test_the_balancer_is_told_the_new_leaders_at_once(scene: Scene) -> None:
    async with scene.running() as balancer:
        await balanced(scene)
        newest = balancer.snapshots[-1]
        assert newest is not None
        assert [queue.leader for queue in newest.queues].count(N1) == 3


async def test_a_few_at_a_time(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaders, "BATCH", 3)
    async with scene.running():
        await balanced(scene)
        assert [line.count("q") for line in scene.story if line.startswith("moves")] == [3, 1]


async def test_a_plan_is_carried_out_once_and_only_the_newest(scene: Scene) -> None:
    async with scene.running():
        old = await planned(scene)
        new = await planned(scene)
        for number in (old.plan, 99):
            refused = await refusal(scene, ops.LEADERS_BALANCE, LeadersBalanceRequest(number))
            assert (refused.refusal, "plan again" in refused.message) == (
                Refusal.BAD_ARGUMENT,
                True,
            )
        await ask(scene.folder, ops.LEADERS_BALANCE, LeadersBalanceRequest(new.plan))
        again = await refusal(scene, ops.LEADERS_BALANCE, LeadersBalanceRequest(new.plan))
        assert again.refusal is Refusal.BAD_ARGUMENT


async def test_an_old_plan_is_not_carried_out(scene: Scene) -> None:
    async with scene.running():
        plan = await planned(scene)
        scene.now += leaders.PLAN_AGE + 1
        refused = await refusal(scene, ops.LEADERS_BALANCE, LeadersBalanceRequest(plan.plan))
        assert "the plan is 601 s old" in refused.message


async def test_what_changed_since_is_skipped(scene: Scene) -> None:
    async with scene.running():
        plan = await planned(scene)
        gone, moved, offline = (move.name for move in plan.moves[:3])
        target = plan.moves[2].target
        queues = {queue.name: queue for queue in scene.cluster.queues if queue.name != gone}
        queues[moved] = replace(queues[moved], leader=N2)
        online = tuple(name for name in ALL if name != target)
        queues[offline] = replace(queues[offline], online=online)
        scene.cluster.queues = tuple(queues.values())
        request = LeadersBalanceRequest(plan.plan)
        answer = (await ask(scene.folder, ops.LEADERS_BALANCE, request))[-1]
        assert (answer.moved, answer.skipped, answer.failed) == (1, 3, 0)


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (lambda scene: scene.cluster.alarmed.add(N3), "n3 has a memory alarm, which blocks"),
        (lambda scene: scene.cluster.change(N2, drained=True), "n2 is drained"),
        (lambda scene: scene.balancers[0].unfit.update({N2: Unfit.HANGS}), "n2 isn't fit"),
        (lambda scene: scene.cluster.change(N2, state=NodeState.DOWN), "n2 isn't fit"),
    ],
)
async def test_nothing_is_begun_in_a_cluster_in_trouble(
    scene: Scene, trouble: Any, told: str
) -> None:
    async with scene.running():
        plan = await planned(scene)
        trouble(scene)
        refused = await refusal(scene, ops.LEADERS_BALANCE, LeadersBalanceRequest(plan.plan))
        assert refused.refusal is Refusal.UNWISE
        assert told in refused.message
        assert not any(line.startswith("moves") for line in scene.story)


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (lambda scene: scene.cluster.alarmed.add(N1), "n1 has a memory alarm"),
        (lambda scene: scene.balancers[0].unfit.update({N3: Unfit.REFUSES}), "n3 isn't fit any"),
    ],
)
async def test_it_stops_at_the_first_sign_of_trouble(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, trouble: Any, told: str
) -> None:
    monkeypatch.setattr(leaders, "BATCH", 1)

    async def then(moves: Sequence[LeaderMove]) -> None:
        trouble(scene)

    async with scene.running():
        scene.cluster.move_with = then
        answer = await balanced(scene)
        assert told in answer.stopped
        assert answer.moved + answer.failed == 1


async def test_a_queue_that_stays_without_leader_stops_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaders, "BATCH", 1)

    async def lose(moves: Sequence[LeaderMove]) -> None:
        scene.cluster.stuck.add(moves[0].name)
        scene.cluster.queues = tuple(
            replace(queue, leader=None if queue.name == moves[0].name else queue.leader)
            for queue in scene.cluster.queues
        )

    async with scene.running():
        scene.cluster.move_with = lose
        plan = await planned(scene)
        request = LeadersBalanceRequest(plan.plan)
        asking = asyncio.create_task(ask(scene.folder, ops.LEADERS_BALANCE, request))
        await until(lambda: any(line.startswith("moves") for line in scene.story))
        for _ in range(50):
            await asyncio.sleep(0)
        scene.now += leaders.LEADERLESS + 1
        answer = (await asking)[-1]
        assert "has been without leader for 6 s" in answer.stopped
        assert [line.startswith("moves") for line in scene.story].count(True) == 1


async def test_moves_that_rabbitmq_does_not_make_are_counted_and_end_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaders, "SEEN_WITHIN", -1)
    monkeypatch.setattr(leaders, "BATCH", 1)
    async with scene.running():
        scene.cluster.stuck = {f"q{n}" for n in range(6)}
        answer = await balanced(scene)
        assert (answer.moved, answer.failed) == (0, 3)
        assert "3 of 3 leaders didn't move" in answer.stopped


async def test_a_tool_that_fails_ends_it(scene: Scene) -> None:
    async def fail(moves: Sequence[LeaderMove]) -> None:
        raise DaemonError("`rabbitmqctl eval` failed on n1: oh no")

    async with scene.running():
        scene.cluster.move_with = fail
        answer = await balanced(scene)
        assert answer.stopped == "`rabbitmqctl eval` failed on n1: oh no"
        assert answer.moved == 0


async def test_giving_up_ends_it_after_the_moves_under_way(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaders, "BATCH", 1)
    began, go_on, give_up = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def hold(moves: Sequence[LeaderMove]) -> None:
        began.set()
        await go_on.wait()

    async with scene.running():
        scene.cluster.move_with = hold
        plan = await planned(scene)
        request = LeadersBalanceRequest(plan.plan)
        asking = asyncio.create_task(refusal(scene, ops.LEADERS_BALANCE, request, give_up=give_up))
        await began.wait()
        give_up.set()
        for _ in range(20):
            await asyncio.sleep(0)
        go_on.set()
        refused = await asking
        assert refused.refusal is Refusal.CALLED_OFF
        assert refused.message.startswith("called off: 1 of 4 leaders were moved and stay")


async def test_nodes_and_leaders_exclude_each_other(scene: Scene) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def hold(moves: Sequence[LeaderMove]) -> None:
        began.set()
        await go_on.wait()

    async with scene.running():
        scene.cluster.move_with = hold
        plan = await planned(scene)
        request = LeadersBalanceRequest(plan.plan)
        asking = asyncio.create_task(ask(scene.folder, ops.LEADERS_BALANCE, request))
        await began.wait()
        for operation, other in (
            (ops.DRAIN, ops.DrainRequest("n2")),
            (ops.RESTART, ops.RestartRequest("n2")),
            (ops.REBALANCE, ops.RebalanceRequest()),
            (ops.LEADERS_PLAN, PLAN),
        ):
            refused = await refusal(scene, operation, other)
            assert refused.refusal is Refusal.BUSY
            assert refused.message.startswith("queue leaders are being balanced")
        dry = await planned(scene, LeadersPlanRequest(sample=1, dry_run=True))
        assert dry.plan > plan.plan
        go_on.set()
        await asking

        held = asyncio.Event()
        began.clear()

        async def drain() -> None:
            began.set()
            await held.wait()

        scene.cluster.drain_with = drain
        draining = asyncio.create_task(ask(scene.folder, ops.DRAIN, ops.DrainRequest("n2")))
        await began.wait()
        refused = await refusal(scene, ops.LEADERS_PLAN, PLAN)
        assert refused.message.startswith("n2@localhost is being drained")
        refused = await refusal(scene, ops.LEADERS_BALANCE, LeadersBalanceRequest(dry.plan))
        assert refused.refusal is Refusal.BUSY
        held.set()
        await draining


async def test_down_ends_it(scene: Scene) -> None:
    began = asyncio.Event()

    async def hold(moves: Sequence[LeaderMove]) -> None:
        began.set()
        await asyncio.Event().wait()

    async with scene.running():
        scene.cluster.move_with = hold
        plan = await planned(scene)
        request = LeadersBalanceRequest(plan.plan)
        asking = asyncio.create_task(refusal(scene, ops.LEADERS_BALANCE, request))
        await began.wait()
        scene.switch.turn()
        assert (await asking).message == "called off: the cluster is being stopped"
