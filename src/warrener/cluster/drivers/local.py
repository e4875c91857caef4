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
from warrener.cluster.drivers.configuration import Configuration
from warrener.cluster.drivers.installation import Installation, find_installation
from warrener.cluster.drivers.leftovers import Leftover, find_leftovers, stop_leftovers
from warrener.cluster.drivers.node import LocalNode, Node
from warrener.cluster.drivers.node_config import (
    enabled_plugins,
    environment,
    epmd_environment,
    node_files,
    own_settings,
)
from warrener.cluster.drivers.ports import (
    LOOPBACK,
    ClusterPorts,
    NodePorts,
    claim_balancer_port,
    claim_block,
)
from warrener.cluster.drivers.private_files import (
    Credentials,
    PrivateFiles,
    Record,
    write_private,
)
from warrener.cluster.drivers.processes import Child, kill_marked, mark, told_end
from warrener.cluster.drivers.schema_files import load_schema
from warrener.cluster.drivers.upkeep import Upkeep
from warrener.cluster.errors import ClusterError, MembersDiffer, StartFailed
from warrener.cluster.spec import ClusterSpec
from warrener.facts.balance import Backend
from warrener.facts.happenings import Event, EventSink, Progress, ProgressSink
from warrener.facts.ids import NodeName, short_name
from warrener.facts.reasons import NodeState
from warrener.management.client import ManagementClient

START_TIMEOUT: Final = 120.0
"""Seconds for the whole cluster to come up. Three nodes take 8 to 25 s on two cores; a restart
after a crash replays what the queues hold."""

_EPMD_TIMEOUT: Final = 10.0
_EPMD_PAUSE: Final = 1.0  # s between two starts of an epmd that keeps ending


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
        self._epmd: Child | None = None
        self._keeper: asyncio.Task[None] | None = None
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
            self._check_members(record)
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
            await self._start_epmd(record)
            await self._start_nodes(record)
        except BaseException:
            await self._call_off(record)
            raise
        self._remember(members=self.spec.node_names)

    async def _start_nodes(self, record: Record) -> None:
        """Members at once, then those to come: a node that is new has to find a running cluster,
        or it would found its own."""
        deadline = asyncio.get_running_loop().time() + self._start_timeout
        known = [node for node in self._nodes.values() if node.name in record.members]
        new = [node for node in self._nodes.values() if node.name not in record.members]
        if known:
            await self._boot(known, record.members, deadline)
        if new:
            await self._boot(new, self.spec.node_names, deadline)

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

    async def restart_node(self, name: NodeName, timeout: float | None = None) -> None:
        """Stops a node if it runs (in order; a frozen one is thawed first) and starts it; returns
        when it serves and is clustered. ``timeout`` is for the start, by default that of the
        cluster's. Raises NodeBusy or StartFailed; the node is stopped then."""
        limit = timeout if timeout is not None else self._start_timeout
        works = self._works()
        await works.perform(name, "restarted", lambda node: works.restart(node, limit))

    async def drained_nodes(self) -> frozenset[NodeName]:
        """Which nodes are in maintenance mode, whoever put them there. Takes a second. Raises
        NotRunning or ToolFailed."""
        return await self._works().drained()

    def _works(self) -> Upkeep:
        assert self._upkeep is not None, "prepare() first"
        return self._upkeep

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
            await _finish(self._end())

    async def _call_off(self, record: Record) -> None:
        """After a failed or cancelled start. Nodes of a cluster that never was hold nothing."""
        self._progress(Progress("cluster", "is stopped again", failed=True))
        grace = 10.0 if record.members else 0.0
        await _finish(self._stop_within(grace))

    async def _stop_within(self, grace: float) -> None:
        await asyncio.gather(*(node.stop(grace) for node in self._nodes.values()))
        await self._end()

    async def _end(self) -> None:
        """What is left when the nodes have stopped; also ends those that haven't."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        for node in self._nodes.values():
            node.kill()
            await node.stop(0)
            await node.client.close()
        epmd, self._epmd = self._epmd, None
        if self._record is not None:
            await asyncio.to_thread(kill_marked, self._files.mark(self._record))
        if epmd is not None:
            await epmd.wait(_EPMD_TIMEOUT)
        self._let_go()

    def _let_go(self) -> None:
        self._holds.close()
        self._record = None
        self._balancer_port = None

    # -- the pieces of a start

    def _check_members(self, record: Record) -> None:
        gone = [name for name in record.members if name not in self.spec.node_names]
        if gone:
            names = ", ".join(short_name(name) for name in gone)
            raise MembersDiffer(
                f"the cluster in {self.state} has {len(record.members)} nodes and "
                f"{self.spec.nodes} are wanted: {names} would be lost with the data on it; start "
                f"it with --nodes {len(record.members)}, or remove the cluster and all its data "
                f"first with `warrener down --purge`"
            )

    async def _stop_leftovers(self) -> None:
        left = await asyncio.to_thread(find_leftovers, self.state)
        if not left:
            return
        parts = ", ".join(dict.fromkeys(one.part for one in left))
        self._progress(Progress("cluster", f"stops what a killed daemon left running: {parts}"))
        # To the end even if cancelled: the lock on the folder must not be let go before.
        count = await _finish(asyncio.to_thread(stop_leftovers, self.state))
        self._on_event(Event("cluster.leftovers_stopped", detail={"processes": count}))

    def _claim_ports(self, record: Record) -> None:
        before = record.base
        self._ports, lock = claim_block(
            self.spec.nodes, wanted=self.spec.base_port, last=before, seed=str(self.state)
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
        plugins = enabled_plugins(self.spec.plugins)
        write_private(self.state / "enabled_plugins", plugins.encode())
        for wrong in self.configuration.read():
            self._progress(Progress("config", f"left out: {wrong}", failed=True))
            self._on_event(Event("config.left_out", detail={"why": wrong}))
        self._nodes = {}
        for name, ports in zip(self.spec.node_names, self.ports.nodes, strict=True):
            self._nodes[name] = self._make_node(name, ports, record, credentials)
        self._upkeep = Upkeep(
            self._nodes, self.installation, self._files.mark(record), self._progress
        )
        self.configuration.run_by(self._nodes, self._upkeep)

    def _make_node(
        self, name: NodeName, ports: NodePorts, record: Record, credentials: Credentials
    ) -> Node:
        files = node_files(self.state, name)
        if not record.members:
            # A start that was called off: half a database, nobody's data.
            self._files.remove_node_data(files.data)
        files.folder.mkdir(mode=0o700, exist_ok=True)
        own = own_settings(
            release=self.installation.release,
            cluster_name=self.spec.name,
            members=self.spec.node_names,
            ports=ports,
            user=credentials.user,
            password=credentials.password,
        )
        write_private(files.config, self.configuration.add_node(name, own).encode())
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

    # -- epmd

    async def _start_epmd(self, record: Record) -> None:
        self._launch_epmd(record)
        deadline = asyncio.get_running_loop().time() + _EPMD_TIMEOUT
        while not await self._epmd_answers():
            assert self._epmd is not None
            ended = self._epmd.exited.is_set()
            if ended or asyncio.get_running_loop().time() > deadline:
                how = told_end(self._epmd.returncode)
                raise StartFailed("epmd", f"doesn't listen ({how})", (), self._epmd_log)
            await asyncio.sleep(0.02)
        self._keeper = asyncio.create_task(self._keep_epmd(record), name="keep:epmd")

    def _launch_epmd(self, record: Record) -> None:
        installation = self.installation
        self._epmd = Child.start(
            "epmd",
            # In the foreground, so that it is ours to stop, and on loopback only.
            [str(installation.epmd), "-address", LOOPBACK, "-port", str(self.ports.epmd)],
            environment=epmd_environment(installation.path, mark(self._files.mark(record), "epmd")),
            folder=self.state,
            output=self._epmd_log,
        )

    @property
    def _epmd_log(self) -> Path:
        return self.state / "nodes" / "epmd.log"

    async def _epmd_answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(LOOPBACK, self.ports.epmd)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    async def _keep_epmd(self, record: Record) -> None:
        """Nodes that run don't need epmd and register again by themselves when it is back; a node
        that starts does need it."""
        while True:
            assert self._epmd is not None
            await self._epmd.exited.wait()
            how = told_end(self._epmd.returncode)
            self._on_event(Event("epmd.exited", "epmd", NodeState.DOWN.value, {"how": how}))
            await asyncio.sleep(_EPMD_PAUSE)
            self._launch_epmd(record)


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


async def _finish(work: Awaitable[_T]) -> _T:
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
