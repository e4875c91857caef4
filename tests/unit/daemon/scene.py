"""A service whose cluster and balancer are stand-ins: what the tests of the daemon play in.

``Scene.story`` is what was done to the stand-ins, in order. What they do when asked can be
replaced by a test (``start_with``, ``drain_with``, ...).
"""

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from tests.unit.daemon.config_scene import FakeConfiguration

from warrener.cluster.drivers.installation import Installation
from warrener.cluster.drivers.installations import Candidate
from warrener.cluster.spec import ALWAYS_ON, ClusterSpec
from warrener.cluster.tls.cluster import ClusterTls
from warrener.cluster.tls.rotation import Act
from warrener.control import operations as ops
from warrener.control import wire
from warrener.control.state_folder import StateFolder
from warrener.daemon.errors import BAD_INPUT, DaemonError
from warrener.daemon.event_log import EventLog
from warrener.daemon.parts import MoveSink
from warrener.daemon.service import Service
from warrener.daemon.switch import Switch
from warrener.facts.balance import (
    Backend,
    BackendStatistics,
    BalancerStatistics,
    ClientWork,
    SessionStatistics,
)
from warrener.facts.booting import BootLook
from warrener.facts.capability import EVERYTHING, Capabilities
from warrener.facts.happenings import Progress
from warrener.facts.healing import HealingSettings
from warrener.facts.history import HistorySettings
from warrener.facts.ids import NodeName, SessionId
from warrener.facts.leaders import LeaderMove, NotMoved, QueueRates, RateSample
from warrener.facts.moves import ChannelStatistics, DrainResult, RebalanceResult
from warrener.facts.reasons import NodeState, Unfit
from warrener.facts.replicas import GOING, NO_REPLICA, Position, ReplicaMove
from warrener.facts.settings import PolicyName
from warrener.facts.snapshot import ClusterSnapshot, NodeView, QueueView
from warrener.facts.telemetry import BalancerFigures
from warrener.facts.tls import TlsSettings
from warrener.management.client import ManagementClient
from warrener.management.metrics import MetricsPlace

N1, N2, N3 = (NodeName(f"n{number}@localhost") for number in (1, 2, 3))


@dataclass(frozen=True)
class Node:
    name: NodeName
    state: NodeState = NodeState.RUNNING
    pid: int | None = 7
    host: str = "127.0.0.1"
    amqp_port: int = 5001
    management_port: int = 5002
    prometheus_port: int = 5003
    drained: bool = False
    frozen: bool = False


class FakeCluster:
    """Boots when told to; records what was done to it."""

    capabilities: Capabilities = EVERYTHING
    name = "warren"

    def __init__(self, story: list[str]) -> None:
        self.story = story
        self.looks = 0
        self.clients: list[ManagementClient] = []
        self.more_plugins: frozenset[str] = frozenset()
        self.start_with: Callable[[], Awaitable[None]] = self._at_once
        self.stop_with: Callable[[], Awaitable[None]] = self._at_once
        self.hand_over_with: Callable[[], Awaitable[None]] = self._at_once
        self.drain_with: Callable[[], Awaitable[None]] = self._at_once
        self.revive_with: Callable[[], Awaitable[None]] = self._at_once
        self.restart_with: Callable[[], Awaitable[None]] = self._at_once
        self.membership_with: Callable[[], Awaitable[None]] = self._at_once
        self.positions_with: Callable[[], Awaitable[None]] = self._at_once
        self.refused_replicas: set[str] = set()
        self.going_for: dict[str, int] = {}  # queues whose old replica goes after so many looks
        self.there_all_the_same: set[str] = set()  # queues whose list of members is wrong
        self.vanishes: dict[str, int] = {}  # queues that lose a new replica, so often
        self.silent_for: dict[str, int] = {}  # queues with a replica that isn't seen, so often
        self.lags: list[int] = []  # of new replicas, at each look
        self.progress: Callable[[Progress], None] = lambda _: None
        self.rows = {name: Node(name) for name in (N1, N2)}
        self.configuration = FakeConfiguration(story, (N1, N2, N3))
        self.not_spread: tuple[NodeName, ...] = ()
        self.drained: set[NodeName] = set()
        self.drained_error: Exception | None = None
        self.look_error: Exception | None = None
        self.queues: tuple[QueueView, ...] = (QueueView("/", "q", "quorum", N2),)
        self.alarmed: set[NodeName] = set()
        self.rates: dict[tuple[str, str], QueueRates] = {}
        self.shares: dict[NodeName, float] = {}
        self.missing: tuple[NodeName, ...] = ()
        self.stuck: set[str] = set()  # queues that don't move
        self.installations: dict[NodeName, Path] = {}
        self.boots: dict[NodeName, BootLook] = {}
        self.measure_with: Callable[[], Awaitable[None]] = self._at_once
        self.move_with: Callable[[Sequence[LeaderMove]], Awaitable[None]] = self._moves_at_once

    async def _at_once(self) -> None:
        pass

    async def _moves_at_once(self, moves: Sequence[LeaderMove]) -> None:
        pass

    def change(self, name: NodeName, **changes: Any) -> None:
        """Another state, say, of one of the nodes."""
        self.rows[name] = replace(self.rows[name], **changes)

    balancer_port = 5672
    telemetry_ports = (0, 0)

    async def prepare(self) -> None:
        self.story.append("cluster prepares")

    async def start(self) -> None:
        self.story.append("cluster starts")
        try:
            await self.start_with()
        except BaseException:
            self.story.append("cluster cleans up")
            raise

    async def stop(self, *, discard: bool = False) -> None:
        self.story.append("cluster is discarded" if discard else "cluster stops")
        try:
            await self.stop_with()
        except asyncio.CancelledError:
            self.story.append("cluster killed")
            raise

    async def hand_over_node(self, name: NodeName) -> None:
        self.story.append(f"{name} hands over")
        await self.hand_over_with()

    async def drain_node(self, name: NodeName) -> None:
        self.story.append(f"RabbitMQ drains {name}")
        self.progress(Progress(name.partition("@")[0], "is put into maintenance mode"))
        await self.drain_with()
        self.drained.add(name)

    async def revive_node(self, name: NodeName) -> None:
        self.story.append(f"RabbitMQ revives {name}")
        await self.revive_with()
        self.drained.discard(name)

    async def restart_node(self, name: NodeName, timeout: float) -> None:
        self.story.append(f"restart of {name} within {timeout:g} s")
        try:
            await self.restart_with()
        except asyncio.CancelledError:
            self.story.append("restart called off")
            raise
        self.drained.discard(name)
        self.change(name, state=NodeState.RUNNING, pid=8)

    def metrics_places(self) -> Sequence[MetricsPlace]:
        return ()

    async def cpu_shares(self) -> dict[NodeName, float]:
        return self.shares

    async def measure_rates(self, seconds: float) -> RateSample:
        self.story.append(f"measures for {seconds:g} s")
        await self.measure_with()
        return RateSample(seconds, self.rates, self.missing)

    async def move_leaders(self, moves: Sequence[LeaderMove]) -> Sequence[NotMoved]:
        self.story.append(f"moves {', '.join(move.name for move in moves)}")
        await self.move_with(moves)
        targets = {(move.vhost, move.name): move.target for move in moves}
        self.queues = tuple(
            queue
            if queue.name in self.stuck
            else replace(queue, leader=targets.get((queue.vhost, queue.name), queue.leader))
            for queue in self.queues
        )
        return [NotMoved(move, "timeout") for move in moves if move.name in self.stuck]

    async def drained_nodes(self) -> frozenset[NodeName]:
        if self.drained_error is not None:
            raise self.drained_error
        return frozenset(self.drained)

    def nodes(self) -> Sequence[Node]:
        return list(self.rows.values())

    def backends(self) -> tuple[Backend, ...]:
        return tuple(Backend(name, "127.0.0.1", 5001) for name in self.rows)

    spec = ClusterSpec()
    tls = ClusterTls(TlsSettings(), Path("nowhere"), cluster="scene")

    async def perform_tls(self, act: Act) -> None:
        self.story.append(f"tls: {act}")
        self.tls.perform(act)

    async def reload_tls(self) -> None:
        self.story.append("tls: nodes reload")
        self.tls.reload()

    candidate = Candidate(Path("/opt/new"), "3.10.8", "25.2.3", (), ())
    no_candidate = BAD_INPUT  # the exit code, where another path is asked for

    async def look_at_installation(self, path: Path, names: Sequence[NodeName]) -> Candidate:
        if path != self.candidate.root:
            raise DaemonError(f"no RabbitMQ in {path}", exit_code=self.no_candidate)
        return self.candidate

    def installation_of(self, name: NodeName) -> Installation:
        root = self.installations.get(name, Path("/usr/old"))
        return Installation(root, "3.10.8", Path("/bin/erl"), Path("/bin/epmd"), "")

    def try_installation(self, name: NodeName, path: Path) -> None:
        self.story.append(f"{name} is to start with {path}")
        self.before = self.installation_of(name).root
        self.installations[name] = path

    def settle_installation(self, name: NodeName, *, keep: bool) -> None:
        self.story.append(f"{name} {'keeps it' if keep else 'gets its old one back'}")
        if not keep:
            self.installations[name] = self.before

    def management(self) -> Sequence[ManagementClient]:
        return self.clients

    def plugins(self) -> frozenset[str]:
        return frozenset(ALWAYS_ON) | self.more_plugins

    def rename(self, name: str) -> None:
        self.story.append(f"renamed {name}")

    async def set_plugins(self, names: Sequence[str]) -> None:
        self.story.append(f"plugins {' '.join(names)}")
        self.more_plugins = frozenset(names)

    def credentials(self) -> tuple[str, str]:
        return ("warrener", "p/w")

    def version(self) -> str:
        return "3.10.8"

    async def boot_look(self, name: NodeName) -> BootLook:
        if name not in self.boots:
            raise DaemonError(f"{name} doesn't say")
        self.story.append(f"{name} is asked about its boot")
        return self.boots[name]

    async def stop_app(self, name: NodeName) -> None:
        self.story.append(f"RabbitMQ stops on {name}")
        await self.restart_with()

    async def start_app(self, name: NodeName) -> None:
        self.story.append(f"RabbitMQ starts on {name}")
        await self.restart_with()

    async def add_node(self, name: NodeName | None, timeout: float) -> NodeName:
        name = name or NodeName("n3@localhost")
        self.story.append(f"{name} is made")
        self.progress(Progress(name.partition("@")[0], "starts"))
        await self.membership_with()
        self.rows[name] = Node(name)
        self.not_spread += (name,)
        return name

    def unspread(self) -> Sequence[NodeName]:
        return self.not_spread

    def spread(self, name: NodeName) -> None:
        self.not_spread = tuple(one for one in self.not_spread if one != name)

    async def remove_node(self, name: NodeName) -> None:
        self.story.append(f"{name} is forgotten")
        await self.membership_with()
        del self.rows[name]

    async def replace_node(self, name: NodeName, timeout: float) -> None:
        self.story.append(f"{name} is made anew")
        await self.membership_with()
        self.change(name, state=NodeState.RUNNING, pid=9)
        self.queues = tuple(
            queue  # whose members are its coordinator's business, which forgets nobody
            if queue.type == "stream"
            else replace(queue, members=tuple(node for node in queue.members if node != name))
            for queue in self.queues
        )

    async def add_replicas(self, moves: Sequence[ReplicaMove]) -> dict[int, str]:
        self.story += [f"replica of {move.queue} on {move.to}" for move in moves]
        refused = {at: "no" for at, move in enumerate(moves) if move.queue in self.refused_replicas}
        for at, move in enumerate(moves):
            if self.going_for.get(move.queue, 0):
                self.going_for[move.queue] -= 1
                refused[at] = GOING
        self._members(moves, refused, lambda queue, move: (*queue.members, move.to))
        return refused

    async def delete_replicas(self, moves: Sequence[ReplicaMove]) -> dict[int, str]:
        self.story += [f"no replica of {move.queue} on {move.away}" for move in moves]
        self._members(
            moves, {}, lambda queue, move: [node for node in queue.members if node != move.away]
        )
        return {}

    def _members(
        self,
        moves: Sequence[ReplicaMove],
        refused: dict[int, str],
        changed: Callable[[QueueView, ReplicaMove], Any],
    ) -> None:
        done = {move.queue: move for at, move in enumerate(moves) if at not in refused}
        self.queues = tuple(
            replace(queue, members=tuple(changed(queue, done[queue.name])))
            if queue.name in done
            else queue
            for queue in self.queues
        )

    async def replica_positions(self, moves: Sequence[ReplicaMove]) -> list[Position]:
        await self.positions_with()
        lag = self.lags.pop(0) if self.lags else 0
        held = {queue.name: queue.members for queue in self.queues}
        for move in moves:
            if self.silent_for.get(move.queue, 0):
                self.silent_for[move.queue] -= 1
                held[move.queue] = ()
        return [
            Position(
                100,
                100 - lag
                if move.to in held[move.queue] or move.queue in self.there_all_the_same
                else NO_REPLICA,
            )
            for move in moves
        ]

    def _vanish(self, queue: QueueView) -> QueueView:
        """Without its newest member, if it is to vanish once more."""
        left = self.vanishes.get(queue.name, 0)
        if not left:
            return queue
        self.vanishes[queue.name] = left - 1
        return replace(queue, members=queue.members[:-1])

    def unreachable(self) -> dict[NodeName, str]:
        return {}

    async def look(self, *, whole: bool = False) -> ClusterSnapshot:
        self.looks += 1
        if self.look_error is not None:
            raise self.look_error
        if whole and any(line.startswith("replica of") for line in self.story):
            self.queues = tuple(self._vanish(queue) for queue in self.queues)
        nodes = tuple(
            NodeView(
                name,
                running=row.state is NodeState.RUNNING,
                mem_alarm=name in self.alarmed,
                version="3.10.8",
            )
            for name, row in self.rows.items()
        )
        return ClusterSnapshot(N1, 100.0, "warren", nodes, self.queues)


class FakeBalancer:
    """Keeps what it is told."""

    taken: frozenset[int] = frozenset()

    def __init__(self, story: list[str], port: int) -> None:
        self.story = story
        self.port = port
        self.policy = PolicyName.ROUNDROBIN
        self.weights: dict[NodeName, int] = {}
        self.ready = True
        self.work: Mapping[tuple[str, str], ClientWork] = {}
        self.unfit: dict[NodeName, Unfit] = {}
        self.snapshots: list[ClusterSnapshot | None] = []
        self.drained: set[NodeName] = set()
        self.drain_with: Callable[[MoveSink], Awaitable[None]] = self._at_once
        self.rebalance_with: Callable[[MoveSink], Awaitable[None]] = self._at_once
        self.rebalanced = RebalanceResult((), 0, 0, 1.0, 1.0, "", 0.0)
        self.open: tuple[SessionStatistics, ...] = ()
        self.locality = False
        self.opened = 9
        self.channels: tuple[ChannelStatistics, ...] = ()

    async def _at_once(self, on_progress: MoveSink) -> None:
        pass

    async def drain(self, node: NodeName, *, timeout: float, on_progress: MoveSink) -> DrainResult:
        self.story.append(f"balancer drains {node} within {timeout:g} s")
        self.drained.add(node)
        try:
            await self.drain_with(on_progress)
        except asyncio.CancelledError:
            self.story.append("moving stops")
            raise
        return DrainResult(node, moved=3, forced=1, left=2, seconds=0.5)

    async def reload_tls(self) -> None:
        self.story.append("tls: balancer reloads")

    def revive(self, node: NodeName) -> None:
        self.story.append(f"balancer revives {node}")
        self.drained.discard(node)

    async def rebalance(self, *, dry_run: bool, on_progress: MoveSink) -> RebalanceResult:
        self.story.append(f"balancer rebalances{' not really' * dry_run}")
        try:
            await self.rebalance_with(on_progress)
        except asyncio.CancelledError:
            self.story.append("moving stops")
            raise
        return self.rebalanced

    def explain(self, session: SessionId | None) -> tuple[ChannelStatistics, ...]:
        if session is not None and session not in {one.id for one in self.open}:
            raise KeyError(session)
        return tuple(one for one in self.channels if session in (None, one.session))

    async def figures(self) -> BalancerFigures:
        return BalancerFigures()

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
        return self.ready or nodes <= 0

    def sessions(self) -> tuple[SessionStatistics, ...]:
        return self.open

    def take_work(self) -> Mapping[tuple[str, str], ClientWork]:
        taken, self.work = self.work, {}
        return taken

    def statistics(self) -> BalancerStatistics:
        return BalancerStatistics(
            host="127.0.0.1", port=self.address[1], policy=self.policy, locality=self.locality,
            sessions=0, sessions_total=self.opened, sessions_ended=(), rejected_total=0,
            bytes_in=0, bytes_out=0, published=0, delivered=0,
            backends=tuple(
                BackendStatistics(
                    name=name, host="127.0.0.1", port=5001, weight=weight,
                    unfit=self._unfit(name), unfit_detail="refused", sessions=0,
                    sessions_total=0, failures_total=0, probes_total=0, probes_failed=0,
                )
                for name, weight in self.weights.items()
            ),
        )  # fmt: skip

    def _unfit(self, name: NodeName) -> Unfit | None:
        if name in self.drained:
            return Unfit.DRAINED
        return self.unfit.get(name) if self.ready else Unfit.REFUSES


class Scene:
    """A service of fakes; ``story`` is what happened in which order."""

    def __init__(
        self,
        path: Path,
        *,
        history: HistorySettings | None = None,
        healing: HealingSettings | None = None,
    ) -> None:
        self.story: list[str] = []
        self.folder = StateFolder(path / "state")
        self.folder.prepare()
        self.cluster = FakeCluster(self.story)
        if history is not None:
            self.cluster.spec = ClusterSpec(history=history)
        if healing is not None:
            self.cluster.spec = ClusterSpec(healing=healing)
        self.balancers: list[FakeBalancer] = []
        self.on_balancer: Callable[[FakeBalancer], None] = lambda _: None
        self.switch = Switch()
        self.is_ready = asyncio.Event()
        self.now = 5.0
        self.service = Service(
            name="warren", version="0.0", folder=self.folder, cluster=self.cluster,
            make_balancer=self._make, holder_of_port=lambda port: "nginx (pid 99)",
            events=EventLog(self.folder.events_log, now=lambda: 100.0), reporter=self,
            switch=self.switch, now=lambda: 101.0, monotonic=lambda: self.now,
        )  # fmt: skip
        self.cluster.progress = self.service.progress

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FakeBalancer]:
        """The service runs inside; its story begins anew there."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.service.run())
            await self.is_ready.wait()
            self.story.clear()
            yield self.balancers[0]
            self.switch.turn()

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


async def ask(
    folder: StateFolder,
    operation: Any,
    request: msgspec.Struct,
    *,
    give_up: asyncio.Event | None = None,
) -> list[Any]:
    """Every line of the answer to one request, decoded; the last one is the answer. ``give_up``
    set: the request isn't wanted any more, but its last word is."""
    reader, writer = await asyncio.open_unix_connection(folder.socket, limit=1 << 20)
    writer.write(wire.encode_request(operation, request))
    if give_up is not None:
        await give_up.wait()
        writer.write_eof()
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
