"""Reads what the history is made of: counters of nodes, CPU of processes, the balancer's figures.

What it costs is kept small. Counters come from each node's own metrics, all nodes at once; queues
and memory from the observer's last look, which is there anyway; CPU from /proc. Once a minute, and
less often where it takes long, the cluster is asked for its consumers and for the size of what lies
in its busiest queues, and this machine for the processes that the balancer's clients are.
"""

import asyncio
import contextlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
import psutil
import structlog

from warrener.cluster.drivers.cpu_share import Here, cpu_share
from warrener.cluster.leaders.measure import BIG
from warrener.cluster.leaders.rates import FAMILIES, Counters, counters
from warrener.daemon.parts import Balancer, Cluster
from warrener.daemon.report import DrivenNode
from warrener.facts.balance import BalancerStatistics
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState
from warrener.facts.snapshot import ClusterSnapshot
from warrener.management.client import ManagementClient, ManagementError, NotFound, segment
from warrener.management.metrics import MetricsPlace, read_metrics
from warrener.planner.samples import Key
from warrener.planner.sampling import BalancerReading, HostReading, Looked, NodeReading, Reading

SELDOM: Final = 60.0
"""Seconds from one look at consumers, sizes and clients to the next."""

NEWS: Final = 10.0
"""The same if a queue has consumers that weren't seen yet."""

SHARES: Final = 20.0
"""Seconds from one look at nodes' quotas of CPU to the next."""

LIGHT: Final = 50
"""Times as long as it took until it is done again: 2 % of the time at most."""

SIZES: Final = 20
"""Queues whose content's size is asked for, one by one: some 3 ms each."""

PATIENCE: Final = 5.0
"""Seconds for one of these questions."""

_RUNTIME: Final = b"erlang_vm_statistics_runtime_milliseconds "
_CORES: Final = b"erlang_vm_logical_processors "
_SCHEDULERS: Final = b"erlang_vm_schedulers_online "

log = structlog.get_logger(__name__)


class _QueueName(msgspec.Struct):
    name: str
    vhost: str = "/"


class _Consumer(msgspec.Struct):
    """One element of ``GET /api/consumers``."""

    queue: _QueueName
    prefetch_count: Any = 0


class _Held(msgspec.Struct):
    """Of ``GET /api/queues/VHOST/NAME``."""

    messages: Any = 0
    message_bytes: Any = 0


class Where(Protocol):
    """What of the service is read; the service itself, or a stand-in."""

    cluster: Cluster
    balancer: Balancer | None

    def last_view(self) -> ClusterSnapshot | None: ...
    def now(self) -> float: ...
    def monotonic(self) -> float: ...


class Reader:
    """``read`` for each sample, ``look`` at what changes seldom."""

    def __init__(self, service: Where) -> None:
        self._service = service
        self._processes: dict[int, psutil.Process] = {}
        self._cores_of: dict[NodeName, int] = {}
        self._schedulers: dict[NodeName, int] = {}
        self._shares: Mapping[NodeName, float] = {}
        self._own_share: float | None = None
        self._clients: frozenset[int] | None = None
        self._clients_here = False
        self.looked = Looked()
        self._look_at = -1.0
        self._look_sooner = -1.0
        self._shares_at = -1.0

    # -- each time

    async def read(self, *, queues: bool = True) -> Reading:
        """Everything as it stands. What can't be had is left out; without ``queues`` the nodes
        aren't asked for anything."""
        at, clock = self._service.now(), self._service.monotonic()
        cluster = self._service.cluster
        places = list(cluster.metrics_places()) if queues else []
        told = None
        readings: Mapping[NodeName, tuple[float, Counters]] = {}
        if places:
            readings = await self._counters(places)
        if queues and not readings and cluster.capabilities.theirs:
            with contextlib.suppress(ManagementError):
                told = (await cluster.measure_rates(1.0)).rates
        here = cluster.capabilities.driver == "local"
        runtime = {} if here else await self._runtimes(places)
        statistics = self._service.balancer.statistics() if self._service.balancer else None
        return Reading(
            at=at,
            clock=clock,
            asked=tuple(place.node for place in places),
            counters=readings,
            told=told,
            nodes=tuple(self._nodes(cluster.nodes(), here, runtime, statistics)),
            hosts=tuple(self._hosts(cluster.nodes(), here, statistics)),
            balancer=None if statistics is None else self._balancer(statistics, here),
            work=self._service.balancer.take_work() if self._service.balancer else {},
        )

    async def _counters(
        self, places: Sequence[MetricsPlace]
    ) -> Mapping[NodeName, tuple[float, Counters]]:
        async def one(place: MetricsPlace) -> tuple[float, Counters] | None:
            try:
                text = await read_metrics(place.url, FAMILIES, verify=place.verify)
            except ManagementError as error:
                log.info("history_counters_missing", node=place.node, error=str(error))
                return None
            clock = self._service.monotonic()
            if len(text) > BIG // 8:
                return clock, await asyncio.to_thread(counters, text)
            return clock, counters(text)

        found = await asyncio.gather(*(one(place) for place in places))
        return {
            place.node: reading
            for place, reading in zip(places, found, strict=True)
            if reading is not None
        }

    async def _runtimes(self, places: Sequence[MetricsPlace]) -> Mapping[NodeName, float]:
        """CPU seconds as each node's Erlang VM tells them, where its process is out of reach."""

        async def one(place: MetricsPlace) -> float | None:
            try:
                text = await read_metrics(place.url, (), verify=place.verify)
            except ManagementError:
                return None
            cores = _metric(text, _CORES)
            if cores is not None:
                self._cores_of[place.node] = int(cores)
            schedulers = _metric(text, _SCHEDULERS)
            if schedulers is not None:
                self._schedulers[place.node] = int(schedulers)
            runtime = _metric(text, _RUNTIME)
            return None if runtime is None else runtime / 1000

        found = await asyncio.gather(*(one(place) for place in places))
        return {
            place.node: seconds
            for place, seconds in zip(places, found, strict=True)
            if seconds is not None
        }

    def _nodes(
        self,
        nodes: Iterable[DrivenNode],
        here: bool,
        runtime: Mapping[NodeName, float],
        statistics: BalancerStatistics | None,
    ) -> Iterable[NodeReading]:
        snapshot = self._service.last_view()
        views = {view.name: view for view in snapshot.nodes} if snapshot else {}
        sessions = {one.name: one.sessions for one in statistics.backends} if statistics else {}
        for node in nodes:
            view = views.get(node.name)
            pid = node.pid if here else None
            yield NodeReading(
                name=node.name,
                host=node.host,
                running=node.state is NodeState.RUNNING,
                pid=pid or 0,
                cpu=self._cpu(pid) if pid else runtime.get(node.name),
                mem_used=view.mem_used if view else 0,
                mem_limit=view.mem_limit if view else 0,
                sessions=sessions.get(node.name, 0),
                cores=self.share(node.name),
            )

    def share(self, name: NodeName) -> float | None:
        """Cores that a node may use, where that is less than its host has: by its control group, or
        by the Erlang VM's schedulers, which are as many as it was given when it started."""
        here = self._service.cluster.capabilities.driver == "local"
        host = self._cores_here() if here else self._cores_of.get(name)
        found = [self._shares.get(name), None if here else self._schedulers.get(name)]
        share = min((one for one in found if one is not None), default=None)
        return share if share is not None and host is not None and share < host else None

    def _cores_here(self) -> float:
        """This machine's, or what of it Warrener and with it its nodes may use."""
        cores = float(psutil.cpu_count() or 1)
        return cores if self._own_share is None else min(cores, self._own_share)

    def _hosts(
        self, nodes: Iterable[DrivenNode], here: bool, statistics: BalancerStatistics | None
    ) -> Iterable[HostReading]:
        if not here:
            cores: dict[str, int] = {}
            for node in nodes:
                if found := self._cores_of.get(node.name):
                    cores[node.host] = max(found, cores.get(node.host, 0))
            for name, number in cores.items():
                yield HostReading(name, number)
            return
        pids = {node.pid for node in nodes if node.pid} | {os.getpid()}
        if statistics is not None and statistics.pid:
            pids.add(statistics.pid)
        times, there = psutil.cpu_times(), self._cores_here()
        busy = sum(times) - times.idle - times.iowait - times.guest - times.guest_nice
        yield HostReading(
            name=next((node.host for node in nodes), "127.0.0.1"),
            cores=there,
            # What other containers do is no part of this one's.
            busy=busy if there == psutil.cpu_count() else None,
            ours=self._cpus(pids),
            clients=None if self._clients is None else self._cpus(self._clients - pids),
        )

    def _balancer(self, statistics: BalancerStatistics, here: bool) -> BalancerReading:
        pid = statistics.pid or os.getpid()
        host = ""
        if here:
            host = next((node.host for node in self._service.cluster.nodes()), "")
        return BalancerReading(
            host=host,
            bytes_in=statistics.bytes_in,
            bytes_out=statistics.bytes_out,
            published=statistics.published,
            delivered=statistics.delivered,
            pid=pid,
            cpu=self._cpu(pid),
            clients_on=host if self._clients_here else "",
        )

    def _cpus(self, pids: Iterable[int]) -> dict[int, float]:
        found = ((pid, self._cpu(pid)) for pid in pids)
        return {pid: used for pid, used in found if used is not None}

    def _cpu(self, pid: int) -> float | None:
        """CPU seconds that a process of this machine has used, its children's that have ended
        included."""
        try:
            process = self._processes.get(pid)
            if process is None:
                process = self._processes[pid] = psutil.Process(pid)
            times = process.cpu_times()
        except psutil.Error:
            self._processes.pop(pid, None)
            return None
        return times.user + times.system + times.children_user + times.children_system

    # -- seldom

    async def look(self) -> None:
        """Quotas, and consumers, sizes and clients, each if it is time."""
        await self._look_at_shares()
        now = self._service.monotonic()
        if now < (self._look_sooner if self._has_news() else self._look_at):
            return
        began = self._service.monotonic()
        self.looked = Looked(await self._consumers(), await self._held())
        if self._service.cluster.capabilities.driver == "local":
            await self._find_clients()
        took = self._service.monotonic() - began
        self._look_at = began + max(SELDOM, LIGHT * took)
        self._look_sooner = began + max(NEWS, LIGHT * took)

    async def _look_at_shares(self) -> None:
        """Some files a node; by themselves, so that they need not wait for what takes long."""
        began = self._service.monotonic()
        if began < self._shares_at:
            return
        self._shares = await self._service.cluster.cpu_shares()
        if self._service.cluster.capabilities.driver == "local":
            self._own_share = await cpu_share(Here(), os.getpid())
        took = self._service.monotonic() - began
        self._shares_at = began + max(SHARES, LIGHT * took)

    def _has_news(self) -> bool:
        """Whether a queue has got its first consumers since."""
        snapshot, seen = self._service.last_view(), self.looked.consumers
        if snapshot is None or seen is None:
            return False
        return any(
            queue.consumers > 0 and (queue.vhost, queue.name) not in seen
            for queue in snapshot.queues
        )

    async def _consumers(self) -> Mapping[Key, tuple[int, int]] | None:
        params = {"columns": "queue.name,queue.vhost,prefetch_count"}
        consumers = await self._ask("/api/consumers", list[_Consumer], params)
        if consumers is None:
            return None
        found: dict[Key, tuple[int, int]] = {}
        for one in consumers:
            key = (one.queue.vhost, one.queue.name)
            prefetch = one.prefetch_count if isinstance(one.prefetch_count, int) else 0
            number, least = found.get(key, (0, 0))
            limits = [limit for limit in (least, prefetch) if limit > 0]
            found[key] = (number + 1, min(limits, default=0))
        return found

    async def _held(self) -> Mapping[Key, tuple[int, int]]:
        """Of the queues that hold the most; one that held some before keeps what was seen then."""
        snapshot = self._service.last_view()
        if snapshot is None:
            return {}
        holding = [queue for queue in snapshot.queues if queue.messages > 0]
        holding.sort(key=lambda queue: -queue.messages)
        found = {}
        for queue in holding[:SIZES]:
            path = f"/api/queues/{segment(queue.vhost)}/{segment(queue.name)}"
            held = await self._ask(path, _Held, {"columns": "messages,message_bytes"})
            if held is None:
                break  # a cluster that doesn't answer isn't asked nineteen times more
            messages, size = held.messages, held.message_bytes
            if isinstance(messages, int) and isinstance(size, int) and messages > 0:
                found[queue.vhost, queue.name] = (messages, size)
        return found

    async def _ask(self, path: str, kind: type[Any], params: Mapping[str, str]) -> Any:
        """The answer of the first node that gives one; None if none does. A queue that is gone
        meanwhile is answered as empty."""
        for client in self._clients_of_cluster():
            try:
                return await client.get(path, kind, params, timeout=PATIENCE)
            except NotFound:
                return kind()
            except ManagementError as error:
                log.info("history_look_failed", error=str(error))
        return None

    def _clients_of_cluster(self) -> Sequence[ManagementClient]:
        snapshot = self._service.last_view()
        running = {view.name for view in snapshot.nodes if view.running} if snapshot else set()
        clients = self._service.cluster.management()
        names = [node.name for node in self._service.cluster.nodes()]
        if len(clients) == len(names):
            both = zip(names, clients, strict=True)
            return [client for name, client in both if name in running][:2]
        return clients[:2]

    async def _find_clients(self) -> None:
        """The processes of this machine that are connected to the balancer or to the nodes."""
        balancer = self._service.balancer
        if balancer is None:
            return
        statistics = balancer.statistics()
        ports = {balancer.address[1], *(node.amqp_port for node in self._service.cluster.nodes())}
        if statistics.plain_port:
            ports.add(statistics.plain_port)
        found = await asyncio.to_thread(_connected_to, ports)
        self._clients = None if found is None else frozenset(found) - {os.getpid()}
        self._clients_here = bool(self._clients)
        gone = [pid for pid, process in self._processes.items() if not process.is_running()]
        for pid in gone:
            del self._processes[pid]


def _metric(text: bytes, name: bytes) -> float | None:
    """The value of a metric without labels."""
    at = text.find(b"\n" + name)
    if at < 0:
        return None
    start = at + 1 + len(name)
    with contextlib.suppress(ValueError):
        return float(text[start : text.find(b"\n", start)])
    return None


def _connected_to(ports: Collection[int]) -> set[int] | None:
    """Processes with a connection to one of these ports; None if that can't be told, as some are
    another user's."""
    try:
        connections = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        return None
    found = {
        one.pid
        for one in connections
        if one.status == psutil.CONN_ESTABLISHED and one.raddr and one.raddr.port in ports
    }
    return None if None in found else {pid for pid in found if pid is not None}
