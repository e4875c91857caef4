"""A cluster on other hosts, over SSH: one private RabbitMQ node on each.

    start   all hosts are looked at, at once; nothing is touched unless all are ready
            -> leftovers of a killed daemon are stopped there -> files -> an epmd on each host
            -> all nodes at once, as in ``local``
    stop    all nodes in order, at once -> epmds -> connections

The state folder here has what is to be remembered, and every node's files; a host has a folder of
its own for the cluster (``FOLDER/ID``) with a copy of what its node reads, its data and its logs.
Nodes listen on their host's address alone, at the same ports everywhere.

A node outlives the connection and the daemon. While a host isn't reached its node is
``unreachable``, not down: the management API and the balancer's probes tell how it is.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from warrener.cluster.catalogue.check import WrongSetting, check_setting
from warrener.cluster.catalogue.schema import Schema
from warrener.cluster.drivers import host_scripts, ssh_checks
from warrener.cluster.drivers.driven import START_TIMEOUT, DrivenCluster
from warrener.cluster.drivers.host import Host
from warrener.cluster.drivers.installation import Installation
from warrener.cluster.drivers.installations import Candidate
from warrener.cluster.drivers.leftovers import STOP_TIMEOUT, Leftover
from warrener.cluster.drivers.ports import ClusterPorts, NodePorts, layout
from warrener.cluster.drivers.private_files import PrivateFiles, Record
from warrener.cluster.drivers.processes import kill_marked
from warrener.cluster.drivers.schema_files import load_schema
from warrener.cluster.drivers.ssh_checks import Look
from warrener.cluster.drivers.ssh_connection import Connection
from warrener.cluster.drivers.ssh_host import SshHost
from warrener.cluster.errors import (
    ClusterError,
    HostsNotReady,
    HostUnreachable,
    MembersDiffer,
    PortTaken,
    SettingRefused,
    UnknownNode,
)
from warrener.cluster.hosts import HostSpec
from warrener.cluster.mistakes import SpecError
from warrener.cluster.spec import ClusterSpec, load_spec
from warrener.facts.capability import Can, Capabilities, Impossible
from warrener.facts.happenings import Event, EventSink, Progress, ProgressSink
from warrener.facts.ids import NodeName, short_name

DEFAULT_BASE: Final = 20_000
"""The first port of a block, the same on every host: 20000 epmd, 20010 AMQP, 20011 management API,
20012 metrics, 20013 Erlang distribution."""


_ON_HOSTS: Final = Capabilities(
    lacks={
        Can.UPGRADE: (
            "nodes on other hosts can't be given another RabbitMQ yet: install it on all hosts "
            "while the cluster is down"
        )
    },
    driver="ssh",
)


class SshCluster(DrivenCluster):
    """See the module."""

    def __init__(
        self,
        spec: ClusterSpec,
        state: Path,
        *,
        progress: ProgressSink,
        on_event: EventSink,
        start_timeout: float = START_TIMEOUT,
    ) -> None:
        super().__init__(
            spec, state, progress=progress, on_event=on_event, start_timeout=start_timeout
        )
        self._machines: dict[NodeName, SshHost] = {}
        self._there: dict[NodeName, Installation] = {}

    # -- what runs there

    @property
    def installation(self) -> Installation:
        """One of the hosts'; their versions are the same."""
        assert self._there, "prepare() first"
        return next(iter(self._there.values()))

    @property
    def version(self) -> str:
        """Empty until the hosts were looked at."""
        return self.installation.version if self._there else ""

    def _installation_of(self, name: NodeName) -> Installation:
        return self._there[name]

    @property
    def capabilities(self) -> Capabilities:
        return _ON_HOSTS

    def look_at_installation(self, path: Path) -> Candidate:
        """Not possible here."""
        raise Impossible(Can.UPGRADE, _ON_HOSTS.why_not(Can.UPGRADE))

    def try_installation(self, name: NodeName, path: Path) -> None:
        """Not possible here."""
        raise Impossible(Can.UPGRADE, _ON_HOSTS.why_not(Can.UPGRADE))

    def settle_installation(self, name: NodeName, *, keep: bool) -> None:
        """There is nothing to settle."""

    def _schema(self) -> Schema:
        return load_schema(self._schema_folder, self.version, self.spec.plugins)

    @property
    def _schema_folder(self) -> Path:
        """A copy of what the hosts' RabbitMQ knows of configuration."""
        return self.state / "installation" / self.version

    # -- hosts

    async def _find_installation(self) -> None:
        """It is on the hosts."""

    async def _reach_hosts(self, record: Record) -> Record:
        if record.members and not record.hosts:
            raise MembersDiffer(
                f"the cluster in {self.state} runs on this machine, and {self.spec.source} names "
                f"other hosts; choose another folder with --state DIR"
            )
        wanted = {host.name: host for host in record.hosts}
        wanted |= {host.name: host for host in self.spec.hosts}
        self._refuse_moved(record, wanted.values())
        needed = [
            name
            for name in wanted
            if name in (*record.members, record.joining, record.leaving, *self.spec.node_names)
        ]
        await self._look([wanted[name] for name in needed], record)
        self.installation.check_plugins(self.spec.plugins)
        await self._fetch_schema()
        self._check_settings()
        return msgspec.structs.replace(record, hosts=tuple(wanted[name] for name in sorted(needed)))

    def _refuse_moved(self, record: Record, wanted: Iterable[HostSpec]) -> None:
        for host in wanted:
            for member in record.members:
                if short_name(member) == short_name(host.name) and member != host.name:
                    raise MembersDiffer(
                        f"{short_name(member)} is {member} in the cluster in {self.state}: a node "
                        f"can't be moved to {host.host}; add a node there under a name of its own, "
                        f"and `warrener node remove {short_name(member)}` afterwards"
                    )

    async def _look(self, specs: Sequence[HostSpec], record: Record) -> None:
        """All at once. Raises HostsNotReady with everything that is in the way on any of them."""
        self._progress(Progress("hosts", f"looks at {', '.join(s.host for s in specs)}"))
        looks: dict[NodeName, Look] = {}
        times: dict[NodeName, float] = {}
        found: dict[NodeName, list[str]] = {}

        async def look(spec: HostSpec) -> None:
            try:
                looks[spec.name], times[spec.name] = await self._look_at(spec, record)
            except (ClusterError, OSError) as error:
                found[spec.name] = [_without_name(str(error))]
                return
            found[spec.name] = ssh_checks.problems(
                looks[spec.name], self._machines[spec.name].address, self.spec.rabbitmq
            )

        async with asyncio.TaskGroup() as group:
            for spec in specs:
                group.create_task(look(spec), name=f"look:{spec.host}")
        common = ssh_checks.differences(looks)
        if any(found.values()) or common:
            rows = [(f"{short_name(s.name)} ({s.host})", found[s.name]) for s in specs]
            raise HostsNotReady(ssh_checks.report(rows, common))
        for name, skew in ssh_checks.skews(looks, times).items():
            text = f"its clock is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"
            self._progress(Progress(short_name(name), text, failed=True))
            self._on_event(Event("host.clock_differs", name, detail={"seconds": round(skew)}))
        for name, seen in looks.items():
            there = ssh_checks.installation(seen)
            assert there is not None, "else it would have been a problem"
            self._there[name] = there
        text = f"ready: RabbitMQ {self.version} on each"
        self._progress(Progress("hosts", text, done=True))

    async def _look_at(self, spec: HostSpec, record: Record) -> tuple[Look, float]:
        address = await _address(spec)
        connection = Connection(spec, self._on_event)
        await connection.open()
        try:
            wanted = str(self.spec.rabbitmq) if self.spec.rabbitmq is not None else ""
            script = host_scripts.look(wanted, _MORE_PATH, spec.folder, address)
            began = time.time()
            text = (await connection.ask(script)).decode("utf-8", "replace")
            middle = (began + time.time()) / 2
            seen = ssh_checks.read_look(text)
        except BaseException:
            await connection.close()
            raise
        self._machines[spec.name] = SshHost(
            connection,
            state=self.state,
            root=root_on(spec, seen.home, record.id),
            address=address,
            cluster=mark_on(self._files, record, spec.host),
        )
        return seen, middle

    async def _fetch_schema(self) -> None:
        """From one of the hosts, once for each version."""
        folder = self._schema_folder
        if (folder / "plugins").is_dir():
            return
        name, there = next(iter(self._there.items()))
        connection = self._machines[name].connection
        data = await connection.ask(host_scripts.schema_files(there.root), timeout=120)
        await asyncio.to_thread(unpack, data, folder)

    def _check_settings(self) -> None:
        mistakes = []
        for key, value in self.spec.config.items():
            try:
                checked = check_setting(key, value, self.configuration.schema)
                self.configuration.describe(key, checked.value)
            except WrongSetting as wrong:
                mistakes.append(f"  {wrong}")
        if mistakes:
            what = f"{self.spec.source}, [config], for RabbitMQ {self.version}:"
            raise SettingRefused("\n".join([what, *mistakes]))

    def _host(self, name: NodeName) -> Host:
        return self._machines[name]

    def _mark_on(self, host: Host, record: Record) -> str:
        assert isinstance(host, SshHost)
        return host.cluster

    @property
    def _inherited(self) -> Mapping[str, str]:
        return {}

    async def _let_go(self) -> None:
        await super()._let_go()
        machines, self._machines = self._machines, {}
        await asyncio.gather(*(machine.connection.close() for machine in machines.values()))

    # -- names and ports

    def _possible_names(self, record: Record) -> tuple[NodeName, ...]:
        return self.spec.possible_names if self.spec.hosts else tuple(h.name for h in record.hosts)

    def _new_name(self, name: NodeName | None) -> NodeName:
        self._read_hosts_anew()
        for host in self.spec.hosts:
            if name is None and host.name not in self._nodes:
                return host.name
            if name is not None and short_name(name) == short_name(host.name):
                return host.name
        which = f"{short_name(name)}" if name is not None else "another node"
        raise UnknownNode(
            f"{self.spec.source or 'warrener.toml'} has no table [[node]] for {which}; add one "
            f"with its `name`, its `host` and `driver`, and say this again"
        )

    def _read_hosts_anew(self) -> None:
        """A host that was written into the file since the start."""
        if not self.spec.source:
            return
        try:
            spec = load_spec(Path(self.spec.source))
        except SpecError as error:
            raise UnknownNode(f"the file with the hosts has mistakes:\n{error}") from None
        self.spec = replace(self.spec, hosts=spec.hosts)

    async def _make_room(self, name: NodeName) -> None:
        assert self._record is not None
        spec = next(host for host in self.spec.hosts if host.name == name)
        await self._look([spec], self._record)
        versions = {there.version for there in self._there.values()}
        if len(versions) > 1:
            raise HostsNotReady(
                f"{short_name(name)} has RabbitMQ {self._there[name].version}, the others "
                f"{self.version}; install the same one"
            )
        await self._refuse_taken([name], self.ports)
        hosts = {host.name: host for host in (*self._record.hosts, spec)}
        self._remember(hosts=tuple(hosts[name] for name in sorted(hosts)))
        if self._epmds:
            epmd = self._make_epmd(self._machines[name], name)
            await epmd.start(self._on_event)
            self._epmds.append(epmd)

    async def _leave_host(self, name: NodeName) -> None:
        """Its epmd ends, the cluster's folder there goes, and the connection. A host that isn't
        reached keeps them."""
        assert self._record is not None
        machine = self._machines.pop(name, None)
        self._there.pop(name, None)
        if machine is None:
            return
        try:
            for epmd in [epmd for epmd in self._epmds if epmd.host is machine]:
                self._epmds.remove(epmd)
                await epmd.let_go()
            await machine.kill_marked(machine.cluster)
            await machine.remove_all()
        except (HostUnreachable, OSError) as error:
            self._on_event(Event("node.not_cleared_away", name, detail={"error": str(error)}))
        finally:
            await machine.connection.close()
        self._remember(hosts=tuple(host for host in self._record.hosts if host.name != name))

    def _node_ports(self, name: NodeName) -> NodePorts:
        return self.ports.node(1)

    async def _claim_ports(self, record: Record) -> None:
        base = self.spec.base_port or record.base or DEFAULT_BASE
        self._ports = layout(base, 1)
        await self._refuse_taken(self._planned().names, self._ports)

    async def _refuse_taken(self, names: Sequence[NodeName], ports: ClusterPorts) -> None:
        async def look(name: NodeName) -> None:
            machine = self._machines[name]
            for port in await machine.taken(ports.node_ports()):
                what = f"{ports.node_ports()[port].removeprefix('n1')} on {machine.told(Path())}"
                advice = "end that process, or choose another `base_port` under [cluster]"
                raise PortTaken(port, what, await machine.holder(port), advice)

        await asyncio.gather(*(look(name) for name in names))

    # -- what is left

    async def _stop_leftovers(self, record: Record) -> None:
        async def stop(machine: SshHost) -> int:
            left = await machine.find_marked()
            if not left:
                return 0
            parts = ", ".join(sorted({part for _, part, _ in left}))
            text = f"stops what a killed daemon left running: {parts}"
            self._progress(Progress(str(machine.told(Path())), text))
            return await machine.stop_marked(STOP_TIMEOUT)

        ended = sum(await asyncio.gather(*map(stop, self._machines.values())))
        if ended:
            self._on_event(Event("cluster.leftovers_stopped", detail={"processes": ended}))

    async def _kill_everything(self, record: Record) -> None:
        async def kill(machine: SshHost) -> None:
            with contextlib.suppress(HostUnreachable, OSError):
                await machine.kill_marked(machine.cluster)

        await asyncio.gather(*map(kill, self._machines.values()))
        await asyncio.to_thread(kill_marked, self._files.mark(record))  # what runs beside the nodes


_MORE_PATH: Final = "/usr/local/sbin:/usr/sbin:/sbin:/usr/lib/erlang/bin:/usr/local/lib/erlang/bin"


def root_on(spec: HostSpec, home: str, cluster: str) -> Path:
    """A cluster's folder on a host."""
    folder = spec.folder
    if folder.startswith("~/"):
        folder = f"{home}/{folder[2:]}"
    return Path(folder) / cluster


def mark_on(files: PrivateFiles, record: Record, host: str) -> str:
    """What marks a cluster's processes on a host."""
    return f"{files.mark(record)}@{host}"


async def _address(spec: HostSpec) -> str:
    """The IPv4 address of a host. Raises HostUnreachable."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(
            spec.host, None, family=socket.AF_INET, type=socket.SOCK_STREAM
        )
    except OSError as error:
        raise HostUnreachable(f"the name {spec.host} has no IPv4 address: {error}") from None
    return str(found[0][4][0])


def _without_name(text: str) -> str:
    """Without ``n1 (HOST)`` in front: the report says it."""
    _, found, rest = text.partition(") ")
    return rest if found and " " not in text.partition(" (")[0] else text


def unpack(data: bytes, folder: Path) -> None:
    """What ``host_scripts.schema_files`` printed, as files below ``folder``/plugins."""
    new = folder.with_name(f"{folder.name}.new")
    plugins = new / "plugins"
    plugins.mkdir(mode=0o700, parents=True, exist_ok=True)
    at = 0
    while at < len(data):
        end = data.index(b"\n", at)
        size, _, name = data[at:end].decode("utf-8").partition(" ")
        path = plugins / name
        if ".." in path.parts or name.startswith("/"):
            raise HostUnreachable(f"a host names a file {name!r} of its RabbitMQ")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        at = end + 1 + int(size)
        path.write_bytes(data[end + 1 : at])
    new.replace(folder)


async def _each_host(state: Path) -> list[SshHost]:
    """Connected to; of a cluster that no daemon drives. Raises HostUnreachable or HostRefused."""
    files = PrivateFiles(state)
    record = files.read_record()
    machines: list[SshHost] = []
    if record is None:
        return machines
    try:
        for spec in record.hosts:
            connection = Connection(spec, lambda event: None)
            await connection.open()
            home = (await connection.ask(host_scripts.script("cd && pwd\n"))).decode().strip()
            machines.append(
                SshHost(
                    connection,
                    state=state,
                    root=root_on(spec, home, record.id),
                    address=spec.host,
                    cluster=mark_on(files, record, spec.host),
                )
            )
    except BaseException:
        for machine in machines:
            await machine.connection.close()
        raise
    return machines


async def stop_leftovers(state: Path, *, remove: bool = False) -> int:
    """Stops what a killed daemon left on the hosts; how many processes that were. ``remove``: and
    removes the cluster's folders there. Raises HostUnreachable or HostRefused."""
    machines = await _each_host(state)
    try:
        ended = await asyncio.gather(
            *(machine.stop_marked(0 if remove else STOP_TIMEOUT) for machine in machines)
        )
        if remove:
            await asyncio.gather(*(machine.remove_all() for machine in machines))
        return sum(ended)
    finally:
        for machine in machines:
            await machine.connection.close()


async def find_leftovers(state: Path) -> tuple[Leftover, ...]:
    """What a killed daemon left on the hosts. Raises HostUnreachable or HostRefused."""
    machines = await _each_host(state)
    try:
        rows = await asyncio.gather(*(machine.find_marked() for machine in machines))
        return tuple(
            Leftover(part, pid, program, 0.0) for row in rows for pid, part, program in row
        )
    finally:
        for machine in machines:
            await machine.connection.close()
