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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from warrener.cluster.catalogue.check import WrongSetting, check_setting
from warrener.cluster.catalogue.schema import Schema
from warrener.cluster.drivers import ssh_checks, ssh_schema, ssh_upgrade
from warrener.cluster.drivers.driven import START_TIMEOUT, DrivenCluster
from warrener.cluster.drivers.host import Host
from warrener.cluster.drivers.host_install import COMMAND, PACKAGE
from warrener.cluster.drivers.installation import Installation
from warrener.cluster.drivers.installations import (
    Candidate,
    after_trial,
    given_to,
    is_described_anew,
    redescribed,
    trial,
    trial_ended,
    wrong_settings,
)
from warrener.cluster.drivers.leftovers import STOP_TIMEOUT
from warrener.cluster.drivers.ports import ClusterPorts, NodePorts, layout
from warrener.cluster.drivers.private_files import Record
from warrener.cluster.drivers.processes import kill_marked
from warrener.cluster.drivers.running import finish
from warrener.cluster.drivers.schema_files import load_schema
from warrener.cluster.drivers.ssh_checks import Look, Wanted
from warrener.cluster.drivers.ssh_connection import Connection
from warrener.cluster.drivers.ssh_host import SshHost
from warrener.cluster.drivers.ssh_leftovers import mark_on, root_on
from warrener.cluster.drivers.ssh_looks import Seen, address_of, common, look_at, without_name
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
from warrener.cluster.upgrade_paths import version_of
from warrener.facts.capability import Capabilities
from warrener.facts.happenings import Event, EventSink, Progress, ProgressSink
from warrener.facts.ids import NodeName, short_name

DEFAULT_BASE: Final = 20_000
"""The first port of a block, the same on every host: 20000 epmd, 20010 AMQP, 20011 management API,
20012 metrics, 20013 Erlang distribution."""


_ON_HOSTS: Final = Capabilities(lacks={}, driver="ssh")


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
        self._there: dict[NodeName, Installation] = {}  # what each node starts with
        self._before: dict[NodeName, Installation] = {}  # a trial's, until it is settled
        self._tried: dict[tuple[NodeName, Path], Installation] = {}  # looked at, to be given

    # -- what runs there

    @property
    def installation(self) -> Installation:
        """One of the hosts'; the oldest version while a rolling upgrade is under way."""
        assert self._there, "prepare() first"
        return min(self._there.values(), key=lambda there: version_of(there.version))

    @property
    def version(self) -> str:
        """Empty until the hosts were looked at."""
        return self.installation.version if self._there else ""

    def _installation_of(self, name: NodeName) -> Installation:
        return self._there[name]

    @property
    def capabilities(self) -> Capabilities:
        return _ON_HOSTS

    # -- another RabbitMQ under its nodes

    async def look_at_installation(self, path: Path, names: Sequence[NodeName]) -> Candidate:
        """What is there to be known of the installation at ``path`` on the hosts of these nodes.
        Raises RabbitMQMissing, or another ClusterError if they can't be asked or differ."""
        machines = {name: self._machines[name] for name in names}
        wanted = Wanted(path)

        async def look(name: NodeName, machine: SshHost) -> tuple[NodeName, Look]:
            seen = await look_at(machine.connection, machine.spec, machine.address, wanted)
            assert seen.look is not None
            return name, seen.look

        try:
            looks = dict(await asyncio.gather(*(look(*item) for item in machines.items())))
        except OSError as error:
            raise ClusterError(f"the hosts can't be looked at: {error}") from None
        found = ssh_upgrade.installations(
            looks, path, {n: m.spec.host for n, m in machines.items()}
        )
        name, there = next(iter(found.items()))
        await self._fetch_schema(name, there)
        schema = load_schema(self._schema_folder(there), there.version, tuple(self.plugins()))
        settings = {**self.configuration.chosen, **self.configuration.described}
        self._tried |= {(name, there.root): there for name, there in found.items()}
        return ssh_upgrade.candidate(found, looks, self.plugins(), wrong_settings(settings, schema))

    def try_installation(self, name: NodeName, path: Path) -> None:
        """From its next start on a node runs the RabbitMQ at ``path``, which was looked at.
        ``settle_installation`` says whether it does."""
        assert self._record is not None
        new = self._tried[name, path]
        before = self._before[name] = self._there[name]
        self._remember(**trial(self._record, name, before, new, self._given))
        self._use(name, new)

    def settle_installation(self, name: NodeName, *, keep: bool) -> None:
        """The node serves with it; or its next start is with its old one again."""
        assert self._record is not None
        before = self._before.pop(name)
        self._remember(**trial_ended(self._record, keep=keep))
        if not keep:
            self._use(name, before)
        self.configuration.forget_schema()

    def _use(self, name: NodeName, installation: Installation) -> None:
        self._there[name] = installation
        self._nodes[name].server = installation.server
        self._write_configs()

    @property
    def _given(self) -> str:
        """``rabbitmq`` of the description."""
        return str(self.spec.rabbitmq) if self.spec.rabbitmq is not None else ""

    def _schema(self) -> Schema:
        there = self.installation
        return load_schema(self._schema_folder(there), there.version, self.spec.plugins)

    def _schema_folder(self, there: Installation) -> Path:
        """A copy of what a host's RabbitMQ knows of configuration."""
        return self.state / "installation" / there.version

    # -- hosts

    async def _find_installation(self) -> None:
        """It is on the hosts."""

    async def _reach_hosts(self, record: Record) -> Record:
        if record.members and not record.hosts:
            raise MembersDiffer(
                f"the cluster in {self.state} runs on this machine, and {self.spec.source} names "
                f"other hosts; choose another folder with --state DIR"
            )
        record = after_trial(record)
        wanted = {host.name: host for host in record.hosts}
        wanted |= {host.name: host for host in self.spec.hosts}
        self._refuse_moved(record, wanted.values())
        needed = [
            name
            for name in wanted
            if name in (*record.members, record.joining, record.leaving, *self.spec.node_names)
        ]
        await self._look([wanted[name] for name in needed], record)
        if is_described_anew(record, self._given):
            record = redescribed(record, self._there)
        self.installation.check_plugins(self.spec.plugins)
        for name, there in self._there.items():
            await self._fetch_schema(name, there)
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
        """All at once. Raises HostsNotReady with everything that is in the way on any of them. What
        is only missing is installed, where the description says so."""
        self._progress(Progress("hosts", f"looks at {', '.join(s.host for s in specs)}"))
        seen = await self._look_at_all(specs, record)
        others = any(set(one.problems) - set(one.installable) for one in seen)
        if not others and any(one.installable for one in seen):
            todo = [self._install(one) for one in seen if one.installable]
            for failed in await asyncio.gather(*todo, return_exceptions=True):
                if failed is not None:
                    raise failed
            seen = await self._look_at_all(specs, record)
        upgraded = bool(record.installations) and not is_described_anew(record, self._given)
        differing = common(seen, mixed=upgraded)
        if any(one.problems for one in seen) or differing:
            rows = [(one.name, one.problems) for one in seen]
            raise HostsNotReady(ssh_checks.report(rows, differing))
        looks = {one.spec.name: one.look for one in seen if one.look is not None}
        times = {one.spec.name: one.at for one in seen}
        for name, skew in ssh_checks.skews(looks, times).items():
            text = f"its clock is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"
            self._progress(Progress(short_name(name), text, failed=True))
            self._on_event(Event("host.clock_differs", name, detail={"seconds": round(skew)}))
        for name, look in looks.items():
            there = ssh_checks.installation(look)
            assert there is not None, "else it would have been a problem"
            self._there[name] = there
        text = f"ready: {ssh_checks.told(self._there, looks, {s.name: s for s in specs})}"
        self._progress(Progress("hosts", text, done=True))

    async def _look_at_all(self, specs: Sequence[HostSpec], record: Record) -> list[Seen]:
        async def look(spec: HostSpec) -> Seen:
            try:
                return await self._look_at(spec, record)
            except (ClusterError, OSError) as error:
                return Seen(spec, problems=[without_name(str(error))])

        return await asyncio.gather(*map(look, specs))

    async def _look_at(self, spec: HostSpec, record: Record) -> Seen:
        machine = self._machines.get(spec.name)
        address = await address_of(spec)
        connection = Connection(spec, self._on_event) if machine is None else machine.connection
        await connection.open()
        try:
            seen = await look_at(connection, spec, address, self._wanted(spec.name, record))
        except BaseException:
            if machine is None:
                await connection.close()
            raise
        assert seen.look is not None
        self._machines[spec.name] = SshHost(
            connection,
            state=self.state,
            root=root_on(spec, seen.look.home, record.id),
            address=address,
            cluster=mark_on(self._files, record, spec.host),
            manager=ssh_checks.manager(seen.look, spec),
        )
        return seen

    def _wanted(self, name: NodeName, record: Record) -> Wanted:
        used = None if is_described_anew(record, self._given) else given_to(record, name)
        if used is None:
            return Wanted(self.spec.rabbitmq)
        return Wanted(Path(used.root), upgraded=True)

    async def _install(self, seen: Seen) -> None:
        """To its end, also if we are cancelled: the host's packages are to be whole."""
        assert seen.look is not None
        machine = self._machines[seen.spec.name]
        short = short_name(seen.spec.name)
        self._progress(Progress(short, f"installs RabbitMQ: {COMMAND}"))
        try:
            await finish(machine.install(seen.look.install))
        except HostUnreachable as error:
            raise HostsNotReady(
                f"{error}; what apt has begun there it finishes by itself: say this again then"
            ) from None
        except OSError as error:
            self._progress(Progress(short, "RabbitMQ could not be installed", failed=True))
            log = machine.told(machine.root.parent / "install.log")
            raise HostsNotReady(
                f"RabbitMQ could not be installed {error}; all that apt said is in {log}"
            ) from None
        self._progress(Progress(short, "has RabbitMQ installed", done=True))
        self._on_event(Event("host.installed", seen.spec.name, detail={"package": PACKAGE}))

    async def _fetch_schema(self, name: NodeName, there: Installation) -> None:
        folder = self._schema_folder(there)
        await ssh_schema.fetch(self._machines[name].connection, there.root, folder)

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
        others = {there.version for one, there in self._there.items() if one != name}
        if self._there[name].version not in others:
            raise HostsNotReady(
                f"{short_name(name)} has RabbitMQ {self._there[name].version}, the others "
                f"{', '.join(sorted(others))}; install the same one"
            )
        await self._fetch_schema(name, self._there[name])
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
