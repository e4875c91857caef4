"""The order of start and stop, and that everything started is stopped however it ends."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.unit.daemon.scene import N1, N2, Scene, ask, until

from warrener.control import operations as ops
from warrener.control import wire
from warrener.daemon.errors import DaemonError, Interrupted
from warrener.facts.balance import SessionStatistics
from warrener.facts.happenings import Event
from warrener.facts.ids import ChannelNumber, NodeName, SessionId
from warrener.facts.moves import ChannelStatistics
from warrener.facts.reasons import MoveReason, Placement
from warrener.facts.settings import PolicyName

URL = "amqp://warrener:p%2Fw@127.0.0.1:5672/%2F"


async def test_start_run_and_stop_in_order(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.service.run())
        await scene.is_ready.wait()
        scene.switch.turn()
    assert scene.story == [
        "cluster prepares",
        "balancer binds 5672",
        "cluster starts",
        f"ready at {URL}",
        "balancer closes",
        "cluster stops",
    ]
    assert scene.kinds() == ["daemon.ready", "daemon.stopping", "daemon.stopped"]
    assert not scene.folder.socket.exists()


async def test_a_taken_port_names_its_holder_before_any_node_boots(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.on_balancer = lambda balancer: setattr(balancer, "taken", {5672})
    with pytest.raises(DaemonError, match=r"5672 is taken: nginx \(pid 99\).*warrener.toml"):
        await scene.service.run()
    assert scene.story == ["cluster prepares", "cluster stops"]
    assert "daemon.failed" in scene.kinds()


async def test_a_cluster_that_fails_to_start_takes_the_balancer_with_it(tmp_path: Path) -> None:
    async def fail() -> None:
        raise DaemonError("n2 didn't boot")

    scene = Scene(tmp_path)
    scene.cluster.start_with = fail
    with pytest.raises(DaemonError, match="n2 didn't boot"):
        await scene.service.run()
    assert scene.story[3:] == ["cluster cleans up", "balancer closes", "cluster stops"]
    assert not scene.folder.socket.exists()


async def test_nodes_that_the_balancer_cannot_reach_are_a_failure_with_reasons(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    scene.on_balancer = lambda balancer: setattr(balancer, "ready", False)
    with pytest.raises(DaemonError, match="n1@localhost: refuses refused; n2@localhost"):
        await scene.service.run()
    assert scene.story[-2:] == ["balancer closes", "cluster stops"]


async def test_a_start_is_interrupted_by_the_switch(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    async def boot() -> None:
        scene.switch.turn()
        await asyncio.Event().wait()

    scene.cluster.start_with = boot
    with pytest.raises(Interrupted):
        await scene.service.run()
    assert scene.story[3:] == ["cluster cleans up", "balancer closes", "cluster stops"]


async def test_a_second_turn_of_the_switch_hurries_the_stop(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    async def hang() -> None:
        scene.switch.turn()
        await asyncio.Event().wait()

    scene.cluster.stop_with = hang
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.service.run())
        await scene.is_ready.wait()
        scene.switch.turn()
    assert scene.story[-2:] == ["cluster stops", "cluster killed"]


async def test_a_stop_that_fails_still_stops_the_rest(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    async def fail() -> None:
        raise RuntimeError("a bug")

    scene.cluster.stop_with = fail
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.service.run())
        await scene.is_ready.wait()
        scene.switch.turn()
    assert not scene.folder.socket.exists()
    assert scene.kinds()[-1] == "daemon.stopped"


async def test_operations_while_it_runs(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.service.run())
        await scene.is_ready.wait()
        folder, balancer = scene.folder, scene.balancers[0]
        (status,) = await ask(folder, ops.STATUS, ops.StatusRequest())
        assert (status.phase, status.cluster) == (ops.Phase.RUNNING, "warren")
        assert [node.leaders for node in status.nodes] == [0, 1]
        assert [queue.name for queue in status.queues] == ["q"]
        assert (status.management.source, status.management.age) == (N1, 1.0)
        (short,) = await ask(folder, ops.STATUS, ops.StatusRequest(queues=False))
        assert short.queues == []
        assert [node.leaders for node in short.nodes] == [0, 1]
        (url,) = await ask(folder, ops.URL, ops.UrlRequest())
        assert (url.url, url.password) == (URL, "p/w")
        (policy,) = await ask(folder, ops.SET_POLICY, ops.SetPolicyRequest(PolicyName.P2C))
        assert (policy.before, policy.policy) == (PolicyName.ROUNDROBIN, PolicyName.P2C)
        assert balancer.policy is PolicyName.P2C
        (weight,) = await ask(folder, ops.SET_WEIGHT, ops.SetWeightRequest("n2", 7))
        assert (weight.node, weight.before, weight.weight) == (N2, 100, 7)
        assert balancer.weights[N2] == 7
        (sessions,) = await ask(folder, ops.SESSIONS, ops.SessionsRequest())
        assert sessions == ops.SessionsAnswer(total=0, sessions=[])
        events = await ask(folder, ops.EVENTS, ops.EventsRequest())
        assert [line.kind for line in events[:-1]] == ["daemon.ready"]
        assert events[-1] == ops.EventsAnswer(sent=1, missed=0)
        scene.switch.turn()


@pytest.mark.parametrize(("node", "weight"), [("n9", 5), ("n1", -1), ("n1", 1001)])
async def test_a_bad_weight_is_refused(tmp_path: Path, node: str, weight: int) -> None:
    scene = Scene(tmp_path)
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.service.run())
        await scene.is_ready.wait()
        with pytest.raises(wire.Refused) as caught:
            await ask(scene.folder, ops.SET_WEIGHT, ops.SetWeightRequest(node, weight))
        assert caught.value.refusal is wire.Refusal.BAD_ARGUMENT
        assert set(scene.balancers[0].weights.values()) == {100}
        scene.switch.turn()


async def test_while_it_starts_status_answers_and_the_rest_waits(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    booting, boot = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        booting.set()
        await boot.wait()

    scene.cluster.start_with = slow
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.service.run())
        await booting.wait()
        (status,) = await ask(scene.folder, ops.STATUS, ops.StatusRequest())
        assert (status.phase, status.management.source) == (ops.Phase.STARTING, None)
        for operation, request in (
            (ops.URL, ops.UrlRequest()),
            (ops.SET_POLICY, ops.SetPolicyRequest(PolicyName.P2C)),
            (ops.SESSIONS, ops.SessionsRequest()),
        ):
            with pytest.raises(wire.Refused, match="is starting"):
                await ask(scene.folder, operation, request)
        boot.set()
        await scene.is_ready.wait()
        scene.switch.turn()


async def test_stop_streams_progress_and_answers_when_all_is_gone(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.service.run())
        await scene.is_ready.wait()
        lines = await ask(scene.folder, ops.STOP, ops.StopRequest())
    assert lines[-1] == ops.StopAnswer(seconds=0.0)
    assert ops.ProgressLine("balancer", "closed", done=True) in lines
    assert scene.story[-1] == "cluster stops"


async def test_what_is_removed_afterwards_is_discarded(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.service.run())
        await scene.is_ready.wait()
        await ask(scene.folder, ops.STOP, ops.StopRequest(discard=True))
    assert scene.story[-1] == "cluster is discarded"


async def test_two_may_ask_to_stop_and_nobody_is_hurried(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    release = asyncio.Event()
    scene.cluster.stop_with = release.wait  # type: ignore[assignment]
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.service.run())
        await scene.is_ready.wait()
        asking = [group.create_task(ask(scene.folder, ops.STOP, ops.StopRequest()))]
        await until(lambda: "cluster stops" in scene.story)
        (status,) = await ask(scene.folder, ops.STATUS, ops.StatusRequest())
        assert status.phase is ops.Phase.STOPPING
        asking.append(group.create_task(ask(scene.folder, ops.STOP, ops.StopRequest())))
        await until(lambda: scene.kinds().count("daemon.stop_asked") == 2)
        release.set()
    assert all(task.result()[-1] == ops.StopAnswer(seconds=0.0) for task in asking)
    assert "cluster killed" not in scene.story


async def test_following_events_ends_with_the_daemon(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.service.run())
        await scene.is_ready.wait()
        following = group.create_task(
            ask(scene.folder, ops.EVENTS, ops.EventsRequest(last=1, follow=True))
        )
        await until(lambda: bool(scene.service.events._followers))
        scene.switch.turn()
    *lines, answer = following.result()
    assert [line.kind for line in lines] == ["daemon.ready", "daemon.stopping", "daemon.stopped"]
    assert answer == ops.EventsAnswer(sent=3, missed=0)


async def test_the_observer_feeds_the_balancer(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.service.run())
        await scene.is_ready.wait()
        assert scene.balancers[0].snapshots[0] is not None
        scene.switch.turn()


async def test_news_of_a_node_bring_the_next_look_forward(tmp_path: Path) -> None:
    service = Scene(tmp_path).service
    planned = service._observer.next_look()
    service.events.record(Event("daemon.ready"))
    assert service._observer.next_look() == planned
    service.events.record(Event("node.unfit", N1))
    assert service._observer.next_look() < planned


def open_session(number: int) -> SessionStatistics:
    return SessionStatistics(
        id=SessionId(number), client="10.0.0.1:5000", user="w", vhost="/", name="app", node=N1,
        state="open", channels=2, opened_at=1.0, bytes_in=1, bytes_out=2, published=3, delivered=4,
        links=(N1, N2), moves=2, parked=1, journal_bytes=9, messages_local=5, messages_remote=6,
    )  # fmt: skip


def open_channel(session: int, number: int, queue: str, node: NodeName | None) -> ChannelStatistics:
    return ChannelStatistics(
        session=SessionId(session), client="10.0.0.1:5000", number=ChannelNumber(number),
        state="open", node=node, queue=queue, leader=N2, why=Placement.LEADER, since=2.0,
        moves=((MoveReason.LOCALITY, 2),), consumers=3, parked=1, unsettled=4, unconfirmed=5,
        journal_bytes=6, messages_local=7, messages_remote=8,
    )  # fmt: skip


async def test_explain_chooses_sorts_and_bounds(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.running() as balancer:
        balancer.open = (open_session(4), open_session(7))
        balancer.channels = (
            open_channel(7, 1, "jobs.a", N2),
            open_channel(4, 2, "", None),
            open_channel(4, 1, "jobs.b", N1),
            open_channel(4, 3, "orders", N2),
        )

        async def explain(**fields: Any) -> tuple[int, list[tuple[int, int]]]:
            (answer,) = await ask(scene.folder, ops.EXPLAIN, ops.ExplainRequest(**fields))
            return answer.total, [(line.session, line.channel) for line in answer.channels]

        assert await explain() == (4, [(4, 1), (4, 2), (4, 3), (7, 1)])
        assert await explain(limit=2) == (4, [(4, 1), (4, 2)])
        assert await explain(session=7) == (1, [(7, 1)])
        assert await explain(queue="jobs.*") == (2, [(4, 1), (7, 1)])
        assert await explain(queue="orders") == (1, [(4, 3)])
        assert await explain(node="n2") == (2, [(4, 3), (7, 1)])
        assert await explain(node="n2", queue="j*", session=4) == (0, [])
        (answer,) = await ask(scene.folder, ops.EXPLAIN, ops.ExplainRequest(session=7))
        assert answer.session is not None
        assert (answer.session.links, answer.session.moves) == ((N1, N2), 2)
        (line,) = answer.channels
        assert (line.age, line.moves, line.why) == (3.0, {"locality": 2}, Placement.LEADER)
        (sessions,) = await ask(scene.folder, ops.SESSIONS, ops.SessionsRequest())
        assert sessions.sessions[0].messages_local == 5


@pytest.mark.parametrize(
    ("number", "why"), [(5, "it has ended"), (99, "it has not been; there were 9"), (0, "not been")]
)
async def test_a_session_that_is_not_open(tmp_path: Path, number: int, why: str) -> None:
    scene = Scene(tmp_path)
    async with scene.running():
        with pytest.raises(wire.Refused, match=f"no session {number}: .*{why}") as caught:
            await ask(scene.folder, ops.EXPLAIN, ops.ExplainRequest(session=number))
        assert caught.value.refusal is wire.Refusal.BAD_ARGUMENT
