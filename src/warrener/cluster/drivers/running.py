"""What is done to a driven cluster that runs: to one of its nodes, to which nodes there are, to who
leads and keeps which queues.

``DrivenCluster`` starts and stops it and has its files; this is its other half.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import TypeVar

from warrener.cluster.drivers import boot_look, replicas
from warrener.cluster.drivers.configuration import Configuration
from warrener.cluster.drivers.cpu_share import cpu_share
from warrener.cluster.drivers.host import Host
from warrener.cluster.drivers.installation import Installation
from warrener.cluster.drivers.installations import Candidate
from warrener.cluster.drivers.membership import Membership
from warrener.cluster.drivers.node import Node
from warrener.cluster.drivers.node_config import (
    enabled_in,
    enabled_plugins,
    live_changes,
    node_files,
)
from warrener.cluster.drivers.private_files import (
    Credentials,
    PrivateFiles,
    Record,
    write_private,
)
from warrener.cluster.drivers.replicas import Holding
from warrener.cluster.drivers.upkeep import Upkeep
from warrener.cluster.errors import (
    ClusterError,
    HostUnreachable,
    NotRunning,
    NotUnderstood,
    StateBroken,
    UnknownNode,
)
from warrener.cluster.leaders.measure import measure
from warrener.cluster.members import by_number
from warrener.cluster.tls.cluster import ClusterTls
from warrener.cluster.tls.node_settings import CLEAR_CACHES
from warrener.facts.booting import BootLook
from warrener.facts.capability import EVERYTHING, Capabilities
from warrener.facts.happenings import Event, EventSink, Progress, ProgressSink
from warrener.facts.ids import NodeName, short_name
from warrener.facts.leaders import LeaderMove, NotMoved, RateSample
from warrener.facts.reasons import NodeState
from warrener.facts.replicas import Position, ReplicaMove
from warrener.management.metrics import MetricsPlace

_T = TypeVar("_T")


class Running:
    """See the module. Attributes are ``DrivenCluster``'s, which sets them."""

    state: Path
    configuration: Configuration
    tls: ClusterTls
    _files: PrivateFiles
    _record: Record | None
    _nodes: dict[NodeName, Node]
    _upkeep: Upkeep | None
    _progress: ProgressSink
    _on_event: EventSink
    _start_timeout: float

    @property
    @abstractmethod
    def installation(self) -> Installation: ...

    @property
    def capabilities(self) -> Capabilities:
        """What can be done here."""
        return EVERYTHING

    # -- one node of a cluster that runs

    async def hand_over_node(self, name: NodeName) -> None:
        """Other nodes lead its quorum queues from here on, as far as that can be: without this they
        are without a leader for a moment when it is drained. Raises NodeBusy, NotRunning or
        ToolFailed."""
        await self._works().perform(name, "relieved", self._works().hand_over)

    async def drain_node(self, name: NodeName) -> None:
        """RabbitMQ's maintenance mode, on. Raises NodeBusy, NotRunning or ToolFailed."""
        await self._works().perform(name, "drained", self._works().drain)

    async def revive_node(self, name: NodeName) -> None:
        """RabbitMQ's maintenance mode, off. Raises NodeBusy, NotRunning, ToolFailed, or
        ReviveFailed if the node doesn't serve although RabbitMQ says that it does."""
        await self._works().perform(name, "revived", self._works().revive)

    async def boot_look(self, name: NodeName) -> BootLook:
        """How far RabbitMQ is on a node whose Erlang VM runs. Takes some milliseconds, and changes
        nothing. Raises NotRunning, ToolFailed or NotUnderstood."""
        answer = await self._works().ask(name, boot_look.LOOK)
        try:
            return boot_look.parse(answer)
        except ValueError as error:
            raise NotUnderstood(f"{short_name(name)}'s boot isn't understood: {error}") from None

    async def stop_app(self, name: NodeName) -> None:
        """Stops RabbitMQ on a node; its Erlang VM stays. Raises NodeBusy, NotRunning or
        ToolFailed."""
        await self._works().perform(name, "stopped", self._works().stop_app)

    async def start_app(self, name: NodeName) -> None:
        """Starts RabbitMQ on a node whose Erlang VM runs. Raises as ``stop_app``."""
        await self._works().perform(name, "started", self._works().start_app)

    async def restart_node(self, name: NodeName, timeout: float | None = None) -> None:
        """Stops a node if it runs (in order; a frozen one is thawed first) and starts it; returns
        when it serves and is clustered. ``timeout`` is for the start, by default that of the
        cluster's. Raises NodeBusy or StartFailed; the node is stopped then."""
        limit = timeout if timeout is not None else self._start_timeout
        works = self._works()
        await works.perform(name, "restarted", lambda node: works.restart(node, limit))

    # -- another RabbitMQ under its nodes

    def installation_of(self, name: NodeName) -> Installation:
        """What a node runs, or starts with. Raises RabbitMQMissing or ErlangMissing."""
        return self._installation_of(name)

    @abstractmethod
    async def look_at_installation(self, path: Path, names: Sequence[NodeName]) -> Candidate: ...
    @abstractmethod
    def try_installation(self, name: NodeName, path: Path) -> None: ...
    @abstractmethod
    def settle_installation(self, name: NodeName, *, keep: bool) -> None: ...

    # -- the cluster grows and shrinks

    async def add_node(
        self, name: NodeName | None = None, timeout: float | None = None
    ) -> NodeName:
        """One node more: makes it, and returns its name once it serves and is clustered. ``name``
        None: the lowest that is free.

        Raises UnknownNode for a name that can't be, PortTaken, NodeBusy, NotRunning or StartFailed;
        nothing of it is left then.
        """
        record = self._record
        assert record is not None, "start() first"
        name = self._new_name(name)
        if name in self._nodes:
            raise UnknownNode(f"{short_name(name)} is a node of this cluster already")
        await self._make_room(name)
        self._remember(joining=name)
        files = node_files(self.state, name)
        await self._host(name).remove_folder(files.data)
        self._nodes[name] = self._make_node(name, record, self._files.credentials())
        self._write_configs()
        try:
            await self._works().perform(name, "added", lambda node: self._join(node, timeout))
        except BaseException:
            await finish(self._unmake(name))
            raise
        self._remember(
            members=by_number((*self._record_members(), name)),
            joining=None,
            unspread=by_number((*self.unspread(), name)),
        )
        await self._share_anew()
        return name

    async def _join(self, node: Node, timeout: float | None) -> None:
        """A node without data, into the cluster that runs."""
        works = self._works()
        others = await works.running_others(node)
        if not others:
            raise NotRunning(f"no other node runs whose cluster {node.short} could join")
        await self._membership().forget([node.name])
        await node.host.remove_folder(node.files.data)
        limit = timeout if timeout is not None else self._start_timeout
        await node.boot([node.name], limit)
        await self._membership().join_if_alone(node, others[0])
        await node.wait_serving([*others, node.name], limit)
        await self._membership().streams_follow()

    async def _unmake(self, name: NodeName) -> None:
        """What was begun of a new node is undone. The others may know it already."""
        node = self._nodes.pop(name)
        self.tls.forget_node(name)
        node.kill()
        await node.stop(0)
        await node.client.close()
        self._write_configs()
        try:
            await self._membership().forget([name])
            await node.host.remove_folder(node.files.folder)
        except ClusterError as error:  # ``joining`` stays: the next start clears it away
            self._on_event(Event("node.not_cleared_away", name, detail={"error": str(error)}))
            return
        self._files.remove_node(node.files.folder)
        self._remember(joining=None)
        await self._leave_host(name)
        self._progress(Progress(node.short, "is taken away again", failed=True))

    async def remove_node(self, name: NodeName) -> None:
        """Stops a node, has the others forget it, and removes what it stored. What it holds alone
        is lost: moving that is the caller's business.

        Raises NodeBusy, NotRunning or ToolFailed; said again, it goes on where it stopped.
        """
        works = self._works()
        await works.perform(name, "removed", self._leave)
        node = self._nodes.pop(name)
        self.tls.forget_node(name)
        await node.client.close()
        self._write_configs()
        await self._remove_all_of(node)
        members = [member for member in self._record_members() if member != name]
        self._remember(members=by_number(members), leaving=None)
        await self._leave_host(name)
        self.spread(name)
        await self._share_anew()

    async def _remove_all_of(self, node: Node) -> None:
        """What a node that is no member any more has stored, its logs included."""
        try:
            await node.host.remove_folder(node.files.folder)
        except HostUnreachable as error:
            self._on_event(Event("node.not_cleared_away", node.name, detail={"error": str(error)}))
        self._files.remove_node(node.files.folder)

    async def _leave_host(self, name: NodeName) -> None:
        """What is there for a node that is no more, beside its files."""

    async def _leave(self, node: Node) -> None:
        works = self._works()
        if not await works.running_others(node):
            raise NotRunning(
                f"{node.short} is the only node that runs; the others have to forget it"
            )
        if not node.reachable and await node.greets():
            raise HostUnreachable(
                f"{node.short} can't be stopped: its host {node.host.address} is not reached over "
                f"SSH, and the node serves all the same"
            )
        await self._membership().streams_follow(without=[node.name])
        self._remember(leaving=node.name)
        await node.stop()
        await self._membership().forget([node.name])

    async def replace_node(self, name: NodeName, timeout: float | None = None) -> None:
        """Makes a node anew: stopped if it runs, forgotten by the others, its data removed, joined
        again under its name. What it held alone is lost.

        Raises NodeBusy, NotRunning, ToolFailed or StartFailed; said again, it goes on.
        """

        async def work(node: Node) -> None:
            works = self._works()
            if not await works.running_others(node):
                raise NotRunning(
                    f"{node.short} can't be replaced: no other node runs whose cluster it could "
                    f"join"
                )
            await node.host.has_data(node.files, name)  # raises if its host isn't reached
            await self._membership().streams_follow(without=[name])
            self._remember(joining=name)
            await node.stop()
            try:
                await self._join(node, timeout)
            except BaseException:
                await finish(node.stop(0))
                node.state = NodeState.LOST
                raise
            self._remember(joining=None, unspread=by_number((*self.unspread(), name)))

        await self._works().perform(name, "replaced", work)

    def unspread(self) -> tuple[NodeName, ...]:
        """Nodes that have joined a cluster and were not given their share of replicas: that is
        somebody else's business, who says so with ``spread``."""
        return self._record.unspread if self._record is not None else ()

    def spread(self, name: NodeName) -> None:
        """A node has its replicas."""
        self._remember(unspread=tuple(one for one in self.unspread() if one != name))

    async def _share_anew(self) -> None:
        """Nodes that run get their new share of the machine's memory; at their next start they
        would get it anyway."""
        try:
            host = next(iter(self._nodes.values())).host
            shared_by = sum(1 for node in self._nodes.values() if node.host is host)
            by_hand = self.configuration.by_hand
            text = live_changes(len(self._nodes), by_hand, shared_by)
            await self._works().eval_somewhere(text)
        except ClusterError as error:
            self._on_event(Event("cluster.not_shared_anew", detail={"error": str(error)}))

    async def holdings(self) -> list[Holding]:
        """Who has a replica of which queue, as RabbitMQ itself knows it now. Takes a second. Raises
        NotRunning or ToolFailed."""
        answer = await self._works().eval_somewhere(replicas.LISTING)
        try:
            return replicas.holdings(answer)
        except ValueError as error:
            raise NotUnderstood(f"RabbitMQ's list of replicas isn't understood: {error}") from None

    async def add_replicas(self, moves: Sequence[ReplicaMove]) -> dict[int, str]:
        """Adds the replicas on ``to``: the numbers of the moves that failed, and why. They are not
        in sync yet. Raises NotRunning or ToolFailed."""
        return self._failures(await self._works().eval_somewhere(replicas.adding(moves)))

    async def delete_replicas(self, moves: Sequence[ReplicaMove]) -> dict[int, str]:
        """Takes the replicas on ``away`` away, as ``add_replicas``."""
        text = replicas.deleting(moves)
        return self._failures(await self._works().eval_somewhere(text, without=moves[0].away))

    async def replica_positions(self, moves: Sequence[ReplicaMove]) -> list[Position]:
        """How far the replicas on ``to`` are. Raises NotRunning or ToolFailed."""
        answer = await self._works().eval_somewhere(replicas.asking(moves))
        try:
            return replicas.positions(answer, len(moves))
        except ValueError as error:
            raise NotUnderstood(
                f"RabbitMQ's word on its replicas isn't understood: {error}"
            ) from None

    def _failures(self, answer: str) -> dict[int, str]:
        try:
            return replicas.failures(answer)
        except ValueError as error:
            raise NotUnderstood(
                f"RabbitMQ's word on its replicas isn't understood: {error}"
            ) from None

    def _record_members(self) -> tuple[NodeName, ...]:
        assert self._record is not None
        return self._record.members

    async def set_plugins(self, names: Sequence[str]) -> None:
        """Exactly these plugins on every node that runs, at once; the others read the same list
        when they start. Raises UnknownPlugin, NotRunning or ToolFailed."""
        self.installation.check_plugins(names)
        before = self.plugins()
        try:
            await self._works().set_plugins(names)
        except BaseException:
            # The tool writes the list first. Put back, so that it tells what is to be done again.
            self._write_plugins(sorted(before))
            raise
        self._write_plugins(names)  # what it wrote may be on another machine

    def plugins(self) -> frozenset[str]:
        """Those that are enabled by name, on all nodes. Raises StateBroken."""
        try:
            return enabled_in((self.state / "enabled_plugins").read_text())
        except (OSError, ValueError) as error:
            raise StateBroken(f"{self.state / 'enabled_plugins'} can't be read: {error}") from None

    def _write_plugins(self, names: Sequence[str]) -> None:
        write_private(self.state / "enabled_plugins", enabled_plugins(names).encode())

    async def reload_tls(self) -> None:
        """What is in the files of ``tls`` is used for connections that begin now: by us, and by
        every node that runs. Raises ClusterError."""
        self.tls.reload()
        running = [node for node in self._nodes.values() if node.state is NodeState.RUNNING]
        for node in running:
            await node.host.deliver(node.files)
        if running:
            await self._works().eval_somewhere(CLEAR_CACHES)

    async def drained_nodes(self) -> frozenset[NodeName]:
        """Which nodes are in maintenance mode, whoever put them there. Takes a second. Raises
        NotRunning or ToolFailed."""
        return await self._works().drained()

    # -- leaders of queues

    def metrics_places(self) -> list[MetricsPlace]:
        """Where the metrics are of the nodes that run and aren't in maintenance mode."""
        return [
            MetricsPlace(
                node.name,
                f"{self.tls.scheme}://{node.host.address}:{node.ports.prometheus}",
                self.tls.management(node.name),
            )
            for node in self._nodes.values()
            if node.state is NodeState.RUNNING and not node.drained
        ]

    async def cpu_shares(self) -> dict[NodeName, float]:
        """Cores that each running node may use of its host, where something limits it (a
        container's quota, say) or the host tells how many there are."""
        running = [(node, node.pid) for node in self._nodes.values() if node.pid is not None]
        shares = await asyncio.gather(*(cpu_share(node.host, pid) for node, pid in running))
        return {
            node.name: share
            for (node, _), share in zip(running, shares, strict=True)
            if share is not None
        }

    async def measure_rates(self, seconds: float) -> RateSample:
        """What goes through the queues; asks the nodes that run and aren't in maintenance mode,
        which closes their ports. Raises NotRunning or ManagementError if none answers."""
        asked = [(place.node, place.url) for place in self.metrics_places()]
        if not asked:
            raise NotRunning("no node runs whose queues could be measured")
        return await measure(asked, seconds, verify=self.tls.management)

    async def move_leaders(self, moves: Sequence[LeaderMove]) -> list[NotMoved]:
        """Hands the leadership of quorum queues over; those that RabbitMQ says it left where they
        were. Raises NotRunning or ToolFailed."""
        return await self._works().move_leaders(moves)

    def _works(self) -> Upkeep:
        assert self._upkeep is not None, "prepare() first"
        return self._upkeep

    def _membership(self) -> Membership:
        return Membership(self._works(), self._nodes, self._progress, self._on_event)

    # -- where it is

    @abstractmethod
    def _installation_of(self, name: NodeName) -> Installation: ...
    @abstractmethod
    def _host(self, name: NodeName) -> Host: ...
    @abstractmethod
    def _new_name(self, name: NodeName | None) -> NodeName: ...
    @abstractmethod
    async def _make_room(self, name: NodeName) -> None: ...

    # -- of the cluster's files

    @abstractmethod
    def _make_node(self, name: NodeName, record: Record, credentials: Credentials) -> Node: ...
    @abstractmethod
    def _write_configs(self) -> None: ...
    @abstractmethod
    def _remember(self, **changes: object) -> None: ...


async def finish(work: Awaitable[_T]) -> _T:
    """``work`` to its end, also if we are cancelled meanwhile; the cancellation is raised then."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                raise
            cancelled = error
        except Exception:  # noqa: S110  raised below by result()
            pass
    result = task.result()
    if cancelled is not None:
        raise cancelled
    return result
