"""A cluster that somebody else runs, known by its management API and nothing else.

    prepare   who am I, what may I? -> one look -> where do its nodes serve AMQP?
              -> a port for the balancer
    look      one URL answers for all; who the members are and where they listen is new each time
    stop      connections are closed, the port is let go: nothing of the cluster's is touched

Whom to ask and whom to believe: ``sources``.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
import structlog

from warrener.cluster.attach import Attach
from warrener.cluster.drivers.addresses import (
    METRICS,
    Known,
    Place,
    amqp_place,
    bracketed,
    is_loopback,
    listener_place,
)
from warrener.cluster.drivers.attached_ports import claim_ports
from warrener.cluster.drivers.attached_record import RECORD, Record, read_record
from warrener.cluster.drivers.ports import layout
from warrener.cluster.drivers.private_files import PrivateFiles, write_private
from warrener.cluster.drivers.sources import Sources, View
from warrener.cluster.errors import ClusterError, NotRunning, StateInUse, UnknownNode
from warrener.cluster.leaders.measure import measure
from warrener.cluster.observe import Clients
from warrener.facts.balance import Backend
from warrener.facts.capability import WITHOUT_HOSTS, Can, Capabilities
from warrener.facts.happenings import Event, EventSink, Progress, ProgressSink
from warrener.facts.ids import NodeName, short_name
from warrener.facts.leaders import RateSample
from warrener.facts.places import Found, Lookup
from warrener.facts.reasons import NodeState
from warrener.facts.settings import BalancerSettings
from warrener.facts.snapshot import ClusterSnapshot
from warrener.facts.tls import TlsPart, TlsSettings
from warrener.management import listeners as api
from warrener.management.answers import words
from warrener.management.client import (
    AccessRefused,
    BadAnswer,
    ManagementClient,
    ManagementError,
    NotFound,
    Unreachable,
)
from warrener.management.metrics import MetricsPlace
from warrener.management.verify import Verify

RESOLVE_TIMEOUT: Final = 2.0  # s
RESOLVED_FOR: Final = 30.0
"""Seconds that the outcome of a name look-up is believed; each connection resolves anew anyway."""

UNRESOLVED_FOR: Final = 5.0
RATES_AGE: Final = 5.0
"""Seconds over which RabbitMQ's own rates are reckoned."""

NO_TLS: Final = TlsSettings()

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AttachedNode:
    """A member as it was seen last. Ports are 0 where nobody told one."""

    name: NodeName
    state: NodeState
    host: str = ""
    amqp_port: int = 0
    management_port: int = 0
    prometheus_port: int = 0
    drained: bool = False
    pid: int | None = None  # on a host that isn't ours
    frozen: bool = False


class AttachedCluster:
    """See the module. All methods belong to one event loop. ``tls`` gives what https is verified
    with, None: there is none; ``speaks``: which connections of the balancer have TLS."""

    def __init__(
        self,
        attach: Attach,
        password: str,
        state: Path,
        *,
        tls: Callable[[], ssl.SSLContext] | None,
        balancer: BalancerSettings,
        speaks: TlsSettings = NO_TLS,
        progress: ProgressSink,
        on_event: EventSink,
        now: Callable[[], float],
    ) -> None:
        self.attach = attach
        self.state = state.absolute()
        self._password = password
        self._balancer = balancer
        self._progress = progress
        self._on_event = on_event
        self._holds = ExitStack()
        self._speaks = speaks
        self._ports: Mapping[bool, int] = {}  # the balancer's; True: with TLS
        self._record: Record | None = None
        self._tags: frozenset[str] = frozenset()
        verify = None if tls is None else Verify(tls)
        self._sources = Sources(
            attach.urls,
            lambda url: ManagementClient(url, attach.user, password, verify=verify),
            on_event=on_event,
            now=now,
        )
        self._resolved: dict[str, tuple[bool, float]] = {}
        self._nodes: dict[NodeName, AttachedNode] = {}
        self._places: dict[NodeName, Place] = {}
        self._drained: set[NodeName] = set()
        self._view: View | None = None

    # -- what it is

    @property
    def capabilities(self) -> Capabilities:
        """What can be done by the API, as this user."""
        lacks = dict(WITHOUT_HOSTS)
        if self._tags and "administrator" not in self._tags:
            shown = ", ".join(sorted(self._tags))
            told = f"user {self.attach.user!r} may not: it has the tags {shown}, and"
            lacks[Can.DESCRIBE] = (
                f"{told} virtual hosts, users, their limits and all policies take `administrator`"
            )
            lacks[Can.COUNT_LEADERS] = f"{told} RabbitMQ's rebalancing takes `administrator`"
        return Capabilities(lacks, theirs=True, driver="attached")

    @property
    def balancer_port(self) -> int:
        """Where the balancer should listen without TLS, if it does; ``prepare`` comes first."""
        return self._ports[False]

    @property
    def tls_port(self) -> int:
        """Where it should listen with TLS, if it does; ``prepare`` comes first."""
        return self._ports[True]

    @property
    def version(self) -> str:
        """RabbitMQ's, of a node that runs; empty before ``prepare``."""
        views = self._view.snapshot.nodes if self._view else ()
        return next((node.version for node in views if node.version), "")

    @property
    def name(self) -> str:
        """What the cluster calls itself."""
        return self._view.snapshot.cluster_name if self._view else ""

    def nodes(self) -> tuple[AttachedNode, ...]:
        """The members, by name."""
        return tuple(self._nodes.values())

    def backends(self) -> tuple[Backend, ...]:
        """Where each member serves AMQP, or did: those whose address is known."""
        return tuple(
            Backend(name, *place.address, server_name=self._server_name(place))
            for name, place in self._places.items()
            if not place.why_not and name in self._nodes
        )

    def _server_name(self, place: Place) -> str:
        if not self._speaks.has(TlsPart.LINKS):
            return ""
        return self.attach.certificate_name or place.host

    def unreachable(self) -> dict[NodeName, str]:
        """Running members that nothing is known of where to connect, and why."""
        return {
            name: place.why_not
            for name, place in self._places.items()
            if place.why_not and self._nodes[name].state is NodeState.RUNNING
        }

    def credentials(self) -> tuple[str, str]:
        """The user that was given."""
        return self.attach.user, self._password

    def management_clients(self) -> Clients:
        """Whom one can ask, by URL."""
        return self._sources.clients()

    def settings(self) -> Mapping[NodeName, tuple[api.WholeNode, Sequence[api.Listener]]]:
        """What the last view says of each running node's configuration."""
        if self._view is None:
            return {}
        return {
            NodeName(node.name): (
                node,
                [one for one in self._view.listeners if one.node == node.name],
            )
            for node in self._view.nodes
            if node.running
        }

    def plugins(self) -> frozenset[str]:
        """Those that are enabled by name on every running node."""
        sets = [frozenset(words(node.enabled_plugins)) for node, _ in self.settings().values()]
        return frozenset.intersection(*sets) if sets else frozenset()

    # -- start and stop

    async def prepare(self) -> None:
        """Raises ClusterError, which says what is wrong; nothing is held then."""
        try:
            self._record = self._read_record()
            self._progress(Progress("cluster", f"asks {', '.join(self.attach.urls)}"))
            self._tags = await self._introduce()
            await self.look()
            self._claim_ports()
            await self.look()
            self._must_have_backends()
            self._remember()
            self._tell()
        except ManagementError as error:
            await self.stop()
            raise ClusterError(str(error)) from error
        except OSError as error:
            await self.stop()
            raise ClusterError(f"the state folder {self.state} can't be used: {error}") from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Lets go of everything that is ours."""
        await self._sources.close()
        self._holds.close()

    def _read_record(self) -> Record | None:
        if PrivateFiles(self.state).read_record() is not None:
            raise StateInUse(
                f"{self.state} holds a cluster that Warrener runs itself; choose another folder "
                f"for this one with --state DIR"
            )
        return read_record(self.state)

    async def _introduce(self) -> frozenset[str]:
        """What the user is, by the first URL that answers. A wrong password is one everywhere, so
        no second URL is asked then."""
        away = []
        for url, client in self._sources.given():
            try:
                name, tags = await api.who(client)
            except Unreachable as error:
                away.append(str(error))
                continue
            except AccessRefused as error:
                raise ClusterError(self._refused(error)) from None
            except (NotFound, BadAnswer) as error:
                raise ClusterError(
                    f"{url} answers, but not as RabbitMQ's management API does: {error.text}"
                ) from None
            if name != self.attach.user:
                raise ClusterError(f"{url} answers, but not as RabbitMQ's management API does")
            if not tags & {"administrator", "monitoring"}:
                shown = ", ".join(sorted(tags)) or "none"
                raise ClusterError(f"{url}: {_too_little(name)} (its tags: {shown})")
            return tags
        what = "none of the URLs answers: " if len(away) > 1 else ""
        raise ClusterError(what + "; ".join(away))

    def _refused(self, error: AccessRefused) -> str:
        if "management user" in error.text:
            return f"{error.url}: {_too_little(self.attach.user)} (it has none)"
        return (
            f"{error}. The password is read from --password-file, from the environment "
            f"(WARRENER_PASSWORD) or as warrener.toml says"
        )

    @property
    def telemetry_ports(self) -> tuple[int, int]:
        """Where the daemon's metrics may listen; no Prometheus is run beside such a cluster."""
        base = self._record.base if self._record is not None else None
        return (0, 0) if base is None else (layout(base, 0).metrics, 0)

    def _claim_ports(self) -> None:
        record = self._record
        near = {place.port for place in self._places.values() if is_loopback(place.host)}
        self._ports, base = claim_ports(
            self._balancer, self._speaks, record, near, seed=str(self.state), holds=self._holds
        )
        self._record = Record(
            urls=self.attach.urls,
            user=self.attach.user,
            balancer_port=self._ports.get(False),
            tls_port=self._ports.get(True),
            base=base,
        )

    def _remember(self) -> None:
        assert self._record is not None
        record = msgspec.structs.replace(self._record, cluster_name=self.name)
        write_private(self.state / RECORD, msgspec.json.encode(record) + b"\n")

    def _must_have_backends(self) -> None:
        if not self.backends():
            why = "; ".join(f"{name} {why}" for name, why in self.unreachable().items())
            raise ClusterError(
                f"the cluster {self.name} is there, but none of its nodes can be connected to: "
                f"{why or 'none of them runs'}"
            )

    def _tell(self) -> None:
        runs = sum(node.state is NodeState.RUNNING for node in self._nodes.values())
        number = len(self._nodes)
        text = f"{self.name}: RabbitMQ {self.version}, {number} node{'s' * (number != 1)}"
        down = f", {number - runs} of them down" if runs < number else ""
        self._progress(Progress("cluster", text + down, done=True))
        for can in (Can.DESCRIBE, Can.COUNT_LEADERS):
            if why := self.capabilities.why_not(can):
                self._progress(Progress("rights", why))
        for name, why in self.unreachable().items():
            self._progress(Progress(short_name(name), f"can't be reached: it {why}", failed=True))

    # -- looking

    async def look(self) -> ClusterSnapshot:
        """The cluster as it is now. ManagementError if nobody tells."""
        view = await self._sources.look(set(self._nodes))
        await self._take(view)
        return view.snapshot

    async def look_up(self, lookup: Lookup) -> Found:
        """Where one queue is, or one exchange leads. ManagementError if nobody tells."""
        return await self._sources.look_up(lookup)

    # -- what is seen

    async def _take(self, view: View) -> None:
        known = await self._known(view)
        first = self._view is None
        before = self._nodes
        self._view = view
        running = {node.name: node.running for node in view.snapshot.nodes}
        places = {}
        for name in running:
            place = amqp_place(name, view.listeners, known)
            old = self._places.get(name)
            # A node that stops, or is down, tells of no listener: it is where it was.
            places[name] = old if old and place.why_not and not old.why_not else place
        self._places = places
        self._drained &= set(running)
        self._nodes = {
            name: self._row(name, runs, view.listeners, known) for name, runs in running.items()
        }
        if not first:
            for name in self._nodes.keys() - before.keys():
                self._on_event(Event("node.found", name, detail={"where": _shown(places[name])}))
            for name in before.keys() - self._nodes.keys():
                self._on_event(Event("node.gone", name))
        await self._sources.find(self._urls(view, known), all_run=all(running.values()))

    def _row(
        self, name: NodeName, runs: bool, listeners: Sequence[api.Listener], known: Known
    ) -> AttachedNode:
        place = self._places[name]
        return AttachedNode(
            name=name,
            state=NodeState.RUNNING if runs else NodeState.DOWN,
            host=place.host,
            amqp_port=place.port,
            management_port=listener_place(name, listeners, self._scheme, known).port,
            prometheus_port=listener_place(name, listeners, METRICS, known).port,
            drained=name in self._drained,
        )

    @property
    def _scheme(self) -> str:
        return urlsplit(self.attach.urls[0]).scheme

    def _urls(self, view: View, known: Known) -> list[str]:
        """Management APIs that the cluster tells of. Not those of nodes whose place was given: what
        the cluster says of their addresses doesn't hold here."""
        path = urlsplit(self.attach.urls[0]).path
        urls = []
        for node in view.snapshot.nodes:
            place = listener_place(node.name, view.listeners, self._scheme, known)
            if node.running and not place.why_not and node.name not in self.attach.nodes:
                urls.append(f"{self._scheme}://{bracketed(place.host)}:{place.port}{path}")
        return urls

    async def _known(self, view: View) -> Known:
        hosts = {node.name.partition("@")[2] for node in view.snapshot.nodes}
        resolved = await self._resolve(hosts)
        if not all(resolved.values()):
            await self._sources.identify()
        answers = {
            node: urlsplit(url).hostname or "" for url, node in self._sources.behind().items()
        }
        here = any(is_loopback(urlsplit(url).hostname or "") for url in self.attach.urls)
        return Known(
            resolves=lambda host: resolved.get(host, False),
            given=self.attach.nodes,
            answers=answers,
            here=here,
            own=tuple(self._ports.values()),
            tls=self._speaks.has(TlsPart.LINKS),
        )

    async def _resolve(self, hosts: Iterable[str]) -> dict[str, bool]:
        loop = asyncio.get_running_loop()

        async def ask(host: str) -> bool:
            known, at = self._resolved.get(host, (False, -RESOLVED_FOR))
            if loop.time() - at < (RESOLVED_FOR if known else UNRESOLVED_FOR):
                return known
            try:
                async with asyncio.timeout(RESOLVE_TIMEOUT):
                    await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
                found = True
            except (OSError, TimeoutError, UnicodeError):
                found = False
            self._resolved[host] = found, loop.time()
            return found

        names = list(hosts)
        return dict(zip(names, await asyncio.gather(*map(ask, names)), strict=True))

    # -- what can be done

    def drain(self, name: NodeName) -> None:
        """The balancer is to leave it alone; RabbitMQ isn't told."""
        self._must_know(name)
        self._drained.add(name)
        self._nodes[name] = replace(self._nodes[name], drained=True)

    def revive(self, name: NodeName) -> None:
        """The opposite. NotRunning if RabbitMQ says that it is in maintenance mode."""
        self._must_know(name)
        if name in self._in_maintenance():
            raise NotRunning(
                f"{name} is in RabbitMQ's own maintenance mode, which the management API can't "
                f"end: `rabbitmq-upgrade revive` on its host does; Warrener takes it back by itself"
            )
        self._drained.discard(name)
        self._nodes[name] = replace(self._nodes[name], drained=False)

    def drained_nodes(self) -> frozenset[NodeName]:
        """From here, or as far as RabbitMQ's API tells (3.10.8 doesn't)."""
        return frozenset(self._drained) | self._in_maintenance()

    def _in_maintenance(self) -> frozenset[NodeName]:
        views = self._view.snapshot.nodes if self._view else ()
        return frozenset(view.name for view in views if view.being_drained)

    def _must_know(self, name: NodeName) -> None:
        if name not in self._nodes:
            raise UnknownNode(f"{name} is no member of the cluster any more")

    def metrics_places(self) -> list[MetricsPlace]:
        """Where the running nodes' metrics are; none if some of them can't be asked there."""
        running = [node for node in self._nodes.values() if node.state is NodeState.RUNNING]
        places = [
            MetricsPlace(node.name, f"http://{bracketed(node.host)}:{node.prometheus_port}")
            for node in running
            if node.prometheus_port and node.host and node.name not in self.attach.nodes
        ]
        return places if len(places) == len(running) else []

    async def measure_rates(self, seconds: float) -> RateSample:
        """What goes through the queues: by each running node's metrics where all of them can be
        asked, else as the management API has it, some seconds old. ManagementError if nobody
        tells."""
        asked = [(place.node, place.url) for place in self.metrics_places()]
        if asked:
            try:
                sample = await measure(asked, seconds)
            except ManagementError as error:
                log.info("metrics_not_reachable", error=str(error))
            else:
                if not sample.missing:
                    return sample
        return RateSample(RATES_AGE, await self._sources.rates(), ())


def _too_little(user: str) -> str:
    return (
        f"user {user!r} may not look at the nodes: it needs the tag `monitoring`, or "
        f"`administrator` for users, virtual hosts and policies (`rabbitmqctl set_user_tags "
        f"{user} monitoring`)"
    )


def _shown(place: Place) -> str:
    return place.why_not or f"{place.host}:{place.port}"
