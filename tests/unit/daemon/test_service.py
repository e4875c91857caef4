"""The order of start and stop, and that everything started is stopped however it ends."""

import asyncio
import errno
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from warrener.control import operations as ops
from warrener.control import wire
from warrener.control.state_folder import StateFolder
from warrener.daemon.errors import DaemonError, Interrupted
from warrener.daemon.event_log import EventLog
from warrener.daemon.service import Service
from warrener.daemon.switch import Switch
from warrener.facts.balance import Backend, BackendStatistics, BalancerStatistics
from warrener.facts.happenings import Progress
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState, Unfit
from warrener.facts.settings import PolicyName
from warrener.facts.snapshot import ClusterSnapshot, NodeView, QueueView

N1, N2 = NodeName("n1@localhost"), NodeName("n2@localhost")


@dataclass(frozen=True)
class Node:
    name: NodeName
    state: NodeState = NodeState.RUNNING
    pid: int | None = 7
    host: str = "127.0.0.1"
    amqp_port: int = 5001
    management_port: int = 5002
    prometheus_port: int = 5003


class FakeCluster:
    """Boots when told to; records what was done to it."""

    def __init__(self, story: list[str]) -> None:
        self.story = story
        self.start_with: Callable[[], Awaitable[None]] = self._at_once
        self.stop_with: Callable[[], Awaitable[None]] = self._at_once

    async def _at_once(self) -> None:
        pass

    balancer_port = 5672

    async def prepare(self) -> None:
        self.story.append("cluster prepares")

    async def start(self) -> None:
        self.story.append("cluster starts")
        try:
            await self.start_with()
        except BaseException:
            self.story.append("cluster cleans up")
            raise

    async def stop(self) -> None:
        self.story.append("cluster stops")
        try:
            await self.stop_with()
        except asyncio.CancelledError:
            self.story.append("cluster killed")
            raise

    def nodes(self) -> Sequence[Node]:
        return [Node(N1), Node(N2)]

    def backends(self) -> tuple[Backend, ...]:
        return (Backend(N1, "127.0.0.1", 5001), Backend(N2, "127.0.0.1", 5001))

    def credentials(self) -> tuple[str, str]:
        return ("warrener", "p/w")

    def version(self) -> str:
        return "3.10.8"

    async def look(self) -> ClusterSnapshot:
        nodes = (NodeView(N1, running=True, version="3.10.8"), NodeView(N2, running=True))
        return ClusterSnapshot(N1, 100.0, "warren", nodes, (QueueView("/", "q", "quorum", N2),))


class FakeBalancer:
    """Keeps what it is told."""

    taken: frozenset[int] = frozenset()

    def __init__(self, story: list[str], port: int) -> None:
        self.story = story
        self.port = port
        self.policy = PolicyName.ROUNDROBIN
        self.weights: dict[NodeName, int] = {}
        self.ready = True
        self.snapshots: list[ClusterSnapshot | None] = []

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.port)

    async def start(self) -> None:
        if self.port in self.taken:
            raise OSError(errno.EADDRINUSE, "address in use")
        self.story.append(f"balancer binds {self.port}")

    async def close(self, grace: float = 2.0) -> None:
        self.story.append("balancer closes")

    def set_backends(self, backends: Sequence[Backend]) -> None:
        self.weights = {backend.name: 100 for backend in backends}

    def set_policy(self, policy: PolicyName) -> None:
        self.policy = policy

    def set_weight(self, node: NodeName, weight: int) -> None:
        self.weights[node] = weight

    def apply_snapshot(self, snapshot: ClusterSnapshot | None) -> None:
        self.snapshots.append(snapshot)

    async def wait_ready(self, nodes: int, timeout: float) -> bool:
        return self.ready

    def sessions(self) -> tuple[()]:
        return ()

    def statistics(self) -> BalancerStatistics:
        return BalancerStatistics(
            host="127.0.0.1", port=self.address[1], policy=self.policy, locality=False, sessions=0,
            sessions_total=0, sessions_ended=(), rejected_total=0, bytes_in=0, bytes_out=0,
            published=0, delivered=0,
            backends=tuple(
                BackendStatistics(
                    name=name, host="127.0.0.1", port=5001, weight=weight,
                    unfit=None if self.ready else Unfit.REFUSES, unfit_detail="refused", sessions=0,
                    sessions_total=0, failures_total=0, probes_total=0, probes_failed=0,
                )
                for name, weight in self.weights.items()
            ),
        )  # fmt: skip


class Scene:
    """A service of fakes; ``story`` is what happened in which order."""

    def __init__(self, path: Path) -> None:
        self.story: list[str] = []
        self.folder = StateFolder(path / "state")
        self.folder.prepare()
        self.cluster = FakeCluster(self.story)
        self.balancers: list[FakeBalancer] = []
        self.on_balancer: Callable[[FakeBalancer], None] = lambda _: None
        self.switch = Switch()
        self.is_ready = asyncio.Event()
        self.service = Service(
            name="warren", version="0.0", folder=self.folder, cluster=self.cluster,
            make_balancer=self._make, holder_of_port=lambda port: "nginx (pid 99)",
            events=EventLog(self.folder.events_log, now=lambda: 100.0), reporter=self,
            switch=self.switch, now=lambda: 101.0, monotonic=lambda: 5.0,
        )  # fmt: skip

    def _make(self, port: int) -> FakeBalancer:
        balancer = FakeBalancer(self.story, port)
        self.on_balancer(balancer)
        self.balancers.append(balancer)
        return balancer

    def progress(self, progress: Progress) -> None:
        pass

    def ready(self, status: ops.StatusAnswer, url: ops.UrlAnswer) -> None:
        self.story.append(f"ready at {url.url}")
        self.is_ready.set()

    def kinds(self) -> list[str]:
        return [line.kind for line in self.service.events.recent(100)]


async def ask(folder: StateFolder, operation: Any, request: msgspec.Struct) -> list[Any]:
    """Every line of the answer to one request, decoded; the last one is the answer."""
    reader, writer = await asyncio.open_unix_connection(folder.socket, limit=1 << 20)
    writer.write(wire.encode_request(operation, request))
    answers: list[Any] = []
    while True:
        line = wire.decode_answer(await reader.readline())
        if line.kind is wire.AnswerKind.ERROR:
            refused = wire.decode_body(line.body, wire.ErrorBody)
            writer.close()
            raise wire.Refused(refused.refusal, refused.message)
        streamed = line.kind is wire.AnswerKind.STREAM
        answers.append(
            wire.decode_body(line.body, operation.streams if streamed else operation.answer)
        )
        if not streamed:
            writer.close()
            return answers


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop run until something seen only from outside is so."""
    while not condition():  # noqa: ASYNC110  # nothing there sets an event
        await asyncio.sleep(0)


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
