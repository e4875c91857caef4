"""A cluster on this machine: private RabbitMQ nodes as child processes of Warrener.

    start   leftovers of a killed daemon are stopped -> ports are claimed -> files are written
            -> epmd -> all nodes at once, each looking for its peers -> each serves and sees all
    stop    all nodes at once, in order, by force after a while -> epmd -> ports are let go

The nodes form the cluster by themselves (``classic_config`` peer discovery; why, and what it costs:
docs/decisions/0003-forming-the-cluster.md). They boot at once also when they have been a cluster
before: each waits for the tables of the one that stopped last, whichever that was.

Nothing listens anywhere but on loopback; nothing is read from the system's own RabbitMQ; the
password is in private files only.
"""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from warrener.cluster.catalogue.schema import Schema
from warrener.cluster.drivers import replicas
from warrener.cluster.drivers.configuration import Configuration
from warrener.cluster.drivers.epmd import Epmd
from warrener.cluster.drivers.installation import Installation, find_installation
from warrener.cluster.drivers.leftovers import Leftover, find_leftovers, stop_leftovers
from warrener.cluster.drivers.node import LocalNode, Node
from warrener.cluster.drivers.node_config import (
    enabled_in,
    enabled_plugins,
    environment,
    live_changes,
    node_files,
    own_settings,
)
from warrener.cluster.drivers.ports import (
    LOOPBACK,
    ClusterPorts,
    claim_balancer_port,
    claim_block,
    extended,
)
from warrener.cluster.drivers.private_files import (
    Credentials,
    PrivateFiles,
    Record,
    write_private,
)
from warrener.cluster.drivers.processes import Child, kill_marked, mark
from warrener.cluster.drivers.replicas import Holding
from warrener.cluster.drivers.schema_files import load_schema
from warrener.cluster.drivers.upkeep import Upkeep
from warrener.cluster.errors import (
    ClusterError,
    NotRunning,
    NotUnderstood,
    StartFailed,
    StateBroken,
    UnknownNode,
)
from warrener.cluster.leaders.measure import measure
from warrener.cluster.members import (
    MAX_NODES,
    StartPlan,
    by_number,
    next_name,
    number_of,
    plan,
)
from warrener.cluster.spec import ClusterSpec
from warrener.facts.balance import Backend
from warrener.facts.happenings import Event, EventSink, Progress, ProgressSink
from warrener.facts.ids import NodeName, short_name
from warrener.facts.leaders import LeaderMove, NotMoved, RateSample
from warrener.facts.reasons import NodeState
from warrener.facts.replicas import Position, ReplicaMove
from warrener.management.client import ManagementClient

START_TIMEOUT: Final = 120.0
"""Seconds for the whole cluster to come up. Three nodes take 8 to 25 s on two cores; a restart
after a crash replays what the queues hold."""

UNCERTAIN_TIMEOUT: Final = 60.0
"""Seconds, once the others serve, for a node to turn out to be a member. One that is boots as they
do, in 10 s."""

_T = TypeVar("_T")


class LocalCluster:
    """The cluster in the folder ``state``. One at a time drives a folder; all methods belong to one
    event loop."""

    def __init__(
        self,
        spec: ClusterSpec,
        state: Path,
        *,
        progress: ProgressSink,
        on_event: EventSink,
        start_timeout: float = START_TIMEOUT,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """``settings``: keys of rabbitmq.conf that the cluster's description sets, checked."""
        self.spec = spec
        self.state = state.absolute()
        self._progress = progress
        self._on_event = on_event
        self._start_timeout = start_timeout
        self._files = PrivateFiles(self.state)
        self.configuration = Configuration(self._files, settings or {}, self._schema)
        self._installation: Installation | None = None
        self._record: Record | None = None
        self._ports: ClusterPorts | None = None
        self._nodes: dict[NodeName, Node] = {}
        self._upkeep: Upkeep | None = None
        self._epmd: Epmd | None = None
        self._plan: StartPlan | None = None
        self._holds = contextlib.ExitStack()  # locks of the folder and of ports
        self._balancer_port: int | None = None

    # -- what it is

    @property
    def installation(self) -> Installation:
        """The RabbitMQ it runs. Raises RabbitMQMissing or ErlangMissing."""
        if self._installation is None:
            self._installation = find_installation(self.spec.rabbitmq, os.environ.get("PATH", ""))
        return self._installation

    @property
    def version(self) -> str:
        """The installation's version of RabbitMQ."""
        return self.installation.version

    def _schema(self) -> Schema:
        installation = self.installation
        return load_schema(installation.root, installation.version, self.spec.plugins)

    @property
    def ports(self) -> ClusterPorts:
        """The block of ports; claimed by ``start``, the first time by ``prepare``."""
        assert self._ports is not None, "prepare() first"
        return self._ports

    @property
    def balancer_port(self) -> int:
        """Where a balancer should listen: the port from warrener.toml, else the one of last time,
        5672, or one of the block. Chosen when first asked for; held against other Warreners until
        ``stop``. ``prepare`` comes first. Raises PortTaken."""
        assert self._record is not None, "prepare() first"
        if self._balancer_port is None:
            self._balancer_port, lock = claim_balancer_port(
                self.spec.balancer.host,
                wanted=self.spec.balancer.port,
                last=self._record.balancer_port,
                spares=self.ports.spares,
            )
            self._holds.callback(lock.release)
            self._remember(balancer_port=self._balancer_port)
        return self._balancer_port

    def nodes(self) -> tuple[LocalNode, ...]:
        """Every node as it is now; before ``prepare`` there is none."""
        return tuple(node.view() for node in self._nodes.values())

    def backends(self) -> tuple[Backend, ...]:
        """Where each node serves AMQP."""
        return tuple(Backend(node.name, LOOPBACK, node.ports.amqp) for node in self._nodes.values())

    def credentials(self) -> tuple[str, str]:
        """User and password of an administrator."""
        found = self._files.credentials()
        return found.user, found.password

    def management_clients(self) -> tuple[tuple[NodeName, ManagementClient], ...]:
        """A client for each node's management API. They are closed by ``stop``."""
        return tuple((node.name, node.client) for node in self._nodes.values())

    def find_leftovers(self) -> tuple[Leftover, ...]:
        """Processes of this cluster that no Warrener drives any more."""
        return find_leftovers(self.state)

    # -- start

    async def prepare(self) -> None:
        """Makes everything ready to start: folder, lock, ports, files. ``start`` does this if it
        wasn't done; alone it serves who needs the ports first. ``stop`` undoes it.
        """
        if self._record is not None:
            return
        installation = self.installation
        installation.check_plugins(self.spec.plugins)
        try:
            self._files.prepare()
            self._holds.callback(os.close, self._files.lock())
            record = self._files.read_record() or Record(id=secrets.token_hex(8))
            self._plan = self._start_plan(record)
            if record.base is not None:
                await self._stop_leftovers()
            self._claim_ports(record)
            record = msgspec.structs.replace(
                record,
                base=self.ports.base,
                rabbitmq=installation.version,
            )
            self._files.write_record(record)
            self._write_files(record)
            self._record = record
        except OSError as error:
            self._let_go()
            raise ClusterError(
                f"the state folder {self.state} can't be used: {error}; choose another with "
                f"--state DIR"
            ) from error
        except BaseException:
            self._let_go()
            raise

    async def start(self) -> None:
        """Starts all nodes; returns when each serves and sees all the others.

        Raises a ClusterError, and leaves nothing running then; the same when it is cancelled.
        """
        if self._epmd is not None:
            return  # runs
        await self.prepare()
        record = self._record
        assert record is not None
        try:
            self._epmd = Epmd(
                self.installation,
                port=self.ports.epmd,
                cluster_mark=self._files.mark(record),
                folder=self.state,
                log=self.state / "nodes" / "epmd.log",
            )
            await self._epmd.start(self._on_event)
            await self._start_nodes()
        except BaseException:
            await self._call_off(record)
            raise

    async def _start_nodes(self) -> None:
        """Members at once, then those to come: a node that is new has to find a running cluster,
        or it would found its own."""
        assert self._plan is not None
        plan = self._plan
        deadline = asyncio.get_running_loop().time() + self._start_timeout
        for name in plan.lost:
            self._nodes[name].state = NodeState.LOST
            self._progress(Progress(short_name(name), "has lost its data", failed=True))
            self._on_event(Event("node.data_lost", name))
        for name in plan.uncertain:
            await self._nodes[name].launch()
        serving = list(plan.known)
        new = list(plan.new)
        if plan.known:
            await self._boot([self._nodes[name] for name in plan.known], plan.known, deadline)
            for name in plan.uncertain:
                if name != plan.leaving and await self._turned_out_well(name, serving):
                    serving.append(name)
                else:
                    await self._nodes[name].stop()
            cleared = [name for name in (*plan.uncertain, *plan.gone) if name not in serving]
            await self._works().forget([*cleared, *new])
            for name in cleared:
                await self._clear(name)
            new += [name for name in cleared if name in plan.wanted]
        if new:
            nodes = [self._nodes[name] for name in new]
            await self._boot(nodes, [*serving, *new], deadline)
        members = by_number((*serving, *new, *plan.lost))
        self._write_configs()
        self._remember(members=members, joining=None, leaving=None)

    async def _turned_out_well(self, name: NodeName, serving: Sequence[NodeName]) -> bool:
        """Whether a node that may have joined before Warrener was killed is in the cluster."""
        node = self._nodes[name]
        if node.state is not NodeState.STARTING:
            return False  # it has ended by itself
        try:
            await node.wait_serving([*serving, name], UNCERTAIN_TIMEOUT)
        except StartFailed:
            return False
        return True

    async def _clear(self, name: NodeName) -> None:
        """A node that was on its way is taken away, or prepared to join anew."""
        self._on_event(Event("node.cleared_away", name))
        files = node_files(self.state, name)
        if name in self._planned().wanted:
            self._files.remove_node_data(files.data)
            return
        node = self._nodes.pop(name, None)
        if node is not None:
            await node.client.close()
        self._files.remove_node(files.folder)

    async def _boot(
        self, nodes: Sequence[Node], expected: Sequence[NodeName], deadline: float
    ) -> None:
        for node in nodes:
            await node.launch()
        limit = max(1.0, deadline - asyncio.get_running_loop().time())
        await _all([node.wait_serving(expected, limit) for node in nodes])

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

    # -- the cluster grows and shrinks

    async def add_node(
        self, name: NodeName | None = None, timeout: float | None = None
    ) -> NodeName:
        """One node more: makes it, and returns its name once it serves and is clustered. ``name``
        None: the lowest that is free.

        Raises UnknownNode for a name that can't be, PortTaken, NodeBusy, NotRunning or StartFailed;
        nothing of it is left then.
        """
        name = name if name is not None else next_name(self._nodes)
        if name is None:
            raise UnknownNode(f"the cluster has {MAX_NODES} nodes; more don't fit on one machine")
        if name in self._nodes:
            raise UnknownNode(f"{short_name(name)} is a node of this cluster already")
        try:
            number = number_of(name)
        except ValueError as error:
            raise UnknownNode(f"{error}") from None
        record = self._record
        assert record is not None, "start() first"
        self._ports = extended(self.ports, number)
        self._remember(joining=name)
        self._files.remove_node_data(node_files(self.state, name).data)
        self._nodes[name] = self._make_node(name, record, self._files.credentials())
        self._write_configs()
        try:
            await self._works().perform(name, "added", lambda node: self._join(node, timeout))
        except BaseException:
            await finish(self._unmake(name))
            raise
        self._remember(members=by_number((*self._record_members(), name)), joining=None)
        await self._share_anew()
        return name

    async def _join(self, node: Node, timeout: float | None) -> None:
        """A node without data, into the cluster that runs."""
        works = self._works()
        others = await works.running_others(node)
        if not others:
            raise NotRunning(f"no other node runs whose cluster {node.short} could join")
        await works.forget([node.name])
        self._files.remove_node_data(node.files.data)
        await node.launch()
        limit = timeout if timeout is not None else self._start_timeout
        await node.wait_serving([*others, node.name], limit)

    async def _unmake(self, name: NodeName) -> None:
        """What was begun of a new node is undone. The others may know it already."""
        node = self._nodes.pop(name)
        node.kill()
        await node.stop(0)
        await node.client.close()
        self._write_configs()
        try:
            await self._works().forget([name])
        except ClusterError as error:  # ``joining`` stays: the next start clears it away
            self._on_event(Event("node.not_cleared_away", name, detail={"error": str(error)}))
            return
        self._files.remove_node(node.files.folder)
        self._remember(joining=None)
        self._progress(Progress(node.short, "is taken away again", failed=True))

    async def remove_node(self, name: NodeName) -> None:
        """Stops a node, has the others forget it, and removes what it stored. What it holds alone
        is lost: moving that is the caller's business.

        Raises NodeBusy, NotRunning or ToolFailed; said again, it goes on where it stopped.
        """
        works = self._works()
        await works.perform(name, "removed", self._leave)
        node = self._nodes.pop(name)
        await node.client.close()
        self._write_configs()
        self._files.remove_node(node.files.folder)
        members = [member for member in self._record_members() if member != name]
        self._remember(members=by_number(members), leaving=None)
        await self._share_anew()

    async def _leave(self, node: Node) -> None:
        works = self._works()
        if not await works.running_others(node):
            raise NotRunning(
                f"{node.short} is the only node that runs; the others have to forget it"
            )
        self._remember(leaving=node.name)
        await node.stop()
        await works.forget([node.name])

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
            self._remember(joining=name)
            await node.stop()
            try:
                await self._join(node, timeout)
            except BaseException:
                await finish(node.stop(0))
                node.state = NodeState.LOST
                raise
            self._remember(joining=None)

        await self._works().perform(name, "replaced", work)

    async def _share_anew(self) -> None:
        """Nodes that run get their new share of the machine's memory; at their next start they
        would get it anyway."""
        try:
            text = live_changes(len(self._nodes), self.configuration.by_hand)
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

    def plugins(self) -> frozenset[str]:
        """Those that are enabled by name, on all nodes. Raises StateBroken."""
        try:
            return enabled_in((self.state / "enabled_plugins").read_text())
        except (OSError, ValueError) as error:
            raise StateBroken(f"{self.state / 'enabled_plugins'} can't be read: {error}") from None

    def _write_plugins(self, names: Sequence[str]) -> None:
        write_private(self.state / "enabled_plugins", enabled_plugins(names).encode())

    async def drained_nodes(self) -> frozenset[NodeName]:
        """Which nodes are in maintenance mode, whoever put them there. Takes a second. Raises
        NotRunning or ToolFailed."""
        return await self._works().drained()

    # -- leaders of queues

    async def measure_rates(self, seconds: float) -> RateSample:
        """What goes through the queues; asks the nodes that run and aren't in maintenance mode,
        which closes their ports. Raises NotRunning or ManagementError if none answers."""
        asked = [
            (node.name, f"http://{LOOPBACK}:{node.ports.prometheus}")
            for node in self._nodes.values()
            if node.state is NodeState.RUNNING and not node.drained
        ]
        if not asked:
            raise NotRunning("no node runs whose queues could be measured")
        return await measure(asked, seconds)

    async def move_leaders(self, moves: Sequence[LeaderMove]) -> list[NotMoved]:
        """Hands the leadership of quorum queues over; those that RabbitMQ says it left where they
        were. Raises NotRunning or ToolFailed."""
        return await self._works().move_leaders(moves)

    def _works(self) -> Upkeep:
        assert self._upkeep is not None, "prepare() first"
        return self._upkeep

    # -- what runs beside the nodes

    def start_beside(
        self,
        part: str,
        arguments: Sequence[str],
        *,
        folder: Path,
        output: Path,
        descriptors: Sequence[int] = (),
    ) -> Child:
        """Starts a process that belongs to the cluster without being a node of it. Whoever asks for
        it stops it; if nobody does, ``stop`` ends it, and the next start if a daemon was killed.
        OSError if the program can't be run."""
        assert self._record is not None, "prepare() first"
        return Child.start(
            part,
            arguments,
            environment={"PATH": self.installation.path}
            | mark(self._files.mark(self._record), part),
            folder=folder,
            output=output,
            descriptors=descriptors,
        )

    # -- stop

    async def stop(self) -> None:
        """Stops all nodes in order and at once, by force after a while. Cancelled: by force.

        What is being done to a node is called off first: a restart must not start one again.
        """
        try:
            if self._upkeep is not None:
                await self._upkeep.end()
            await _all([node.stop() for node in self._nodes.values()])
        finally:
            await finish(self._end())

    async def _call_off(self, record: Record) -> None:
        """After a failed or cancelled start. Nodes of a cluster that never was hold nothing."""
        self._progress(Progress("cluster", "is stopped again", failed=True))
        grace = 10.0 if record.members else 0.0
        await finish(self._stop_within(grace))

    async def _stop_within(self, grace: float) -> None:
        await asyncio.gather(*(node.stop(grace) for node in self._nodes.values()))
        await self._end()

    async def _end(self) -> None:
        """What is left when the nodes have stopped; also ends those that haven't."""
        epmd, self._epmd = self._epmd, None
        if epmd is not None:
            await epmd.let_go()
        for node in self._nodes.values():
            node.kill()
            await node.stop(0)
            await node.client.close()
        if self._record is not None:
            await asyncio.to_thread(kill_marked, self._files.mark(self._record))
        if epmd is not None:
            await epmd.wait_gone()
        self._let_go()

    def _let_go(self) -> None:
        self._holds.close()
        self._record = None
        self._balancer_port = None

    # -- the pieces of a start

    def _start_plan(self, record: Record) -> StartPlan:
        on_their_way = [name for name in (record.joining, record.leaving) if name is not None]
        return plan(
            record.members,
            joining=record.joining,
            leaving=record.leaving,
            without_data=[
                name
                for name in (*record.members, *on_their_way)
                if not node_files(self.state, name).has_data(name)
            ],
            wanted=self.spec.nodes,
            given=self.spec.nodes_given,
            folder=str(self.state),
        )

    def _planned(self) -> StartPlan:
        assert self._plan is not None
        return self._plan

    async def _stop_leftovers(self) -> None:
        left = await asyncio.to_thread(find_leftovers, self.state)
        if not left:
            return
        parts = ", ".join(dict.fromkeys(one.part for one in left))
        self._progress(Progress("cluster", f"stops what a killed daemon left running: {parts}"))
        # To the end even if cancelled: the lock on the folder must not be let go before.
        count = await finish(asyncio.to_thread(stop_leftovers, self.state))
        self._on_event(Event("cluster.leftovers_stopped", detail={"processes": count}))

    def _claim_ports(self, record: Record) -> None:
        before = record.base
        self._ports, lock = claim_block(
            number_of(self._planned().names[-1]),
            wanted=self.spec.base_port,
            last=before,
            seed=str(self.state),
        )
        self._holds.callback(lock.release)
        if before is not None and before != self._ports.base:
            self._on_event(
                Event("cluster.ports_moved", detail={"from": before, "to": self._ports.base})
            )

    def _write_files(self, record: Record) -> None:
        files = self._files
        credentials = files.credentials()
        files.prepare_cookie()
        write_private(self.state / "rabbitmq-env.conf", b"")
        self._write_plugins(self.spec.plugins)
        for wrong in self.configuration.read():
            self._progress(Progress("config", f"left out: {wrong}", failed=True))
            self._on_event(Event("config.left_out", detail={"why": wrong}))
        self._nodes = {}
        for name in self._planned().names:
            if name in self._planned().new:
                # A start that was called off: half a database, nobody's data.
                self._files.remove_node_data(node_files(self.state, name).data)
            self._nodes[name] = self._make_node(name, record, credentials)
        self._write_configs()
        self._upkeep = Upkeep(
            self._nodes, self.installation, self._files.mark(record), self._progress
        )
        self.configuration.run_by(self._nodes, self._upkeep)

    def _write_configs(self) -> None:
        """Every node's ``rabbitmq.conf``, for its next start: it depends on who the others are."""
        credentials = self._files.credentials()
        for node in self._nodes.values():
            own = own_settings(
                release=self.installation.release,
                cluster_name=self.spec.name,
                members=tuple(self._nodes),
                ports=node.ports,
                user=credentials.user,
                password=credentials.password,
            )
            text = self.configuration.add_node(node.name, own)
            write_private(node.files.config, text.encode())

    def _make_node(self, name: NodeName, record: Record, credentials: Credentials) -> Node:
        ports = self.ports.node(number_of(name))
        files = node_files(self.state, name)
        files.folder.mkdir(mode=0o700, exist_ok=True)
        cluster_mark = self._files.mark(record)
        return Node(
            name,
            ports=ports,
            files=files,
            server=self.installation.server,
            environment=environment(
                name=name,
                files=files,
                distribution_port=ports.distribution,
                epmd_port=self.ports.epmd,
                path=self.installation.path,
                mark=mark(cluster_mark, short_name(name)),
                inherited=os.environ,
            ),
            cluster_mark=cluster_mark,
            client=ManagementClient(
                f"http://{LOOPBACK}:{ports.management}", credentials.user, credentials.password
            ),
            progress=self._progress,
            on_event=self._on_event,
        )

    def _remember(self, **changes: object) -> None:
        assert self._record is not None
        changed = msgspec.structs.replace(self._record, **changes)
        if changed != self._record:
            self._record = changed
            self._files.write_record(changed)


async def _all(works: Sequence[Awaitable[None]]) -> None:
    """All of them at once; the first failure cancels the rest and is raised as itself."""
    tasks = [asyncio.ensure_future(work) for work in works]
    if not tasks:
        return
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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
