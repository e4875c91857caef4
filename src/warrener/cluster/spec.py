"""What is wanted of a cluster: ``warrener.toml``, read and judged.

``load_spec`` reads the file and gives a ``ClusterSpec``, or raises ``SpecError`` with every mistake
in the file at once: each names the key, the line and column, what is allowed, and the nearest right
spelling. Without a file everything has its default. The defaults live here (and, for the balancer,
in ``facts.settings.BalancerSettings``) and nowhere else.

    name = "orders"

    [cluster]
    nodes = 3
    rabbitmq = "/opt/rabbitmq_server-4.1.0"
    plugins = ["rabbitmq_shovel"]

    [balancer]
    port = 5672
    policy = "leastconn"
    handshake_timeout = "10s"
    high_water = "512KiB"
    weights = { n1 = 100, n2 = 50 }    # or "auto": they follow what nodes can carry
    locality = true
    outage_timeout = "30s"
    journal_limit = "16MiB"
    data_plane = "haproxy"
    haproxy = "/usr/sbin/haproxy"

and what the cluster should hold (``wanted``: virtual hosts, users, policies, queues) and RabbitMQ's
own settings (``config_table``); docs/description.md has every key.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from warrener.cluster import (
    attach_file,
    config_table,
    healing_file,
    history_file,
    hosts,
    telemetry_file,
    tls_file,
    topology_checks,
)
from warrener.cluster.attach import Attach
from warrener.cluster.hosts import HostSpec
from warrener.cluster.members import HOST, MAX_NODES, node_names
from warrener.cluster.mistakes import Mistake, SpecError, dotted, nearest
from warrener.cluster.spec_file import (
    DEFAULT_NAME,
    DEFAULT_NODES,
    BalancerSection,
    SpecFile,
    mistake_of,
)
from warrener.cluster.toml_places import Path as KeyPath
from warrener.cluster.toml_places import Place, places
from warrener.cluster.topology_file import wanted
from warrener.cluster.wanted import Scalar, Wanted
from warrener.facts.data_plane import WHY_HAPROXY_LACKS, DataPlane, Lack
from warrener.facts.healing import HealingSettings
from warrener.facts.history import HistorySettings
from warrener.facts.ids import NodeName, short_name
from warrener.facts.settings import BalancerSettings
from warrener.facts.telemetry import TelemetrySettings
from warrener.facts.tls import TlsPart, TlsSettings

__all__ = [
    "MAX_NODES",
    "ClusterSpec",
    "Mistake",
    "SpecError",
    "load_spec",
    "parse_spec",
    "read_text",
]

ALWAYS_ON: Final = ("rabbitmq_management", "rabbitmq_prometheus")

AUTO: Final = "auto"
"""In place of a table of weights."""

_NO_HISTORY: Final = "weights follow it, and `enabled = false` stands under [history]"

_MAX_FILE: Final = 1024 * 1024  # a description of a cluster, not data


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """A cluster as wanted.

    ``nodes`` is how many a new cluster gets; ``nodes_given``: somebody said so, and a cluster that
    was formed already is to have as many; ``more_may_run``: should it have more, they are started
    all the same, and whoever said so takes them away. ``rabbitmq`` is an installation's root, None:
    Debian's. ``base_port`` is the first port of the cluster's block, None: chosen. ``plugins``
    includes those that are always on. ``balancer.port`` 0 means: chosen (5672 if it is free).
    ``wanted`` is what it should hold, ``config`` has RabbitMQ's settings by their names in
    ``rabbitmq.conf``.
    """

    name: str = DEFAULT_NAME
    nodes: int = DEFAULT_NODES
    rabbitmq: Path | None = None
    plugins: tuple[str, ...] = ALWAYS_ON
    base_port: int | None = None
    balancer: BalancerSettings = field(default_factory=BalancerSettings)
    nodes_given: bool = False
    more_may_run: bool = False
    wanted: Wanted = field(default_factory=Wanted)
    config: Mapping[str, Scalar] = field(default_factory=dict)
    tls: TlsSettings = field(default_factory=TlsSettings)
    history: HistorySettings = field(default_factory=HistorySettings)
    healing: HealingSettings = field(default_factory=HealingSettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    source: str = ""  # the file it was read from; empty: all defaults
    hosts: tuple[HostSpec, ...] = ()  # of nodes on other machines: of all nodes, or none
    attach: Attach | None = None  # somebody else runs it
    name_given: bool = False
    text: str = field(default="", repr=False, compare=False)  # what it was read from

    @property
    def node_names(self) -> tuple[NodeName, ...]:
        return self.possible_names[: self.nodes]

    @property
    def possible_names(self) -> tuple[NodeName, ...]:
        """Of the nodes that there may be, in the order in which they come."""
        return tuple(host.name for host in self.hosts) if self.hosts else node_names(MAX_NODES)

    def with_nodes(self, nodes: int) -> "ClusterSpec":
        """The same with another number of nodes; SpecError if that can't be."""
        source = self.source or "--nodes"
        if self.attach is not None:
            text = "somebody else runs the cluster; how many nodes it has is settled there"
            raise SpecError("--nodes", [Mistake("", text)])
        if not 1 <= nodes <= MAX_NODES:
            raise SpecError(
                "--nodes", [Mistake("", f"{nodes} is out of range", f"1 to {MAX_NODES}")]
            )
        if self.hosts and nodes > len(self.hosts):
            text = f"{nodes} nodes, but {source} names hosts for {len(self.hosts)}"
            raise SpecError("--nodes", [Mistake("", text, f"up to {len(self.hosts)}")])
        spec = replace(self, nodes=nodes, nodes_given=True)
        unknown = [name for name in self.balancer.weights if name not in spec.node_names]
        if unknown:
            allowed = ", ".join(short_name(name) for name in spec.node_names)
            raise SpecError(
                source,
                [
                    Mistake(
                        f"balancer.weights.{short_name(name)}",
                        f"no such node with --nodes {nodes}",
                        allowed,
                    )
                    for name in unknown
                ],
            )
        return spec

    def with_attach(self, attach: Attach) -> "ClusterSpec":
        """The same for a cluster that somebody else runs; SpecError if the file has what is
        Warrener's to set in a cluster of its own only."""
        if self.nodes_given or self.config:
            table = "[cluster]" if self.nodes_given else "[config]"
            text = f"{table} is for a cluster that Warrener runs, not for --attach"
            raise SpecError(self.source or "--attach", [Mistake("", text)])
        return replace(self, attach=attach, tls=tls_file.beside_attach(self.tls))

    def with_auto_weights(self) -> "ClusterSpec":
        """The same with weights that follow what nodes can carry; SpecError if that can't be."""
        if not self.history.enabled:
            text = f"not without a history: {_NO_HISTORY}"
            raise SpecError("--weights auto", [Mistake("", text)])
        return replace(self, balancer=replace(self.balancer, weights={}, auto_weights=True))

    def with_data_plane(self, data_plane: DataPlane) -> "ClusterSpec":
        """The same with another data plane; SpecError if that can't be."""
        if self.attach is not None and data_plane is DataPlane.HAPROXY:
            text = "not with a cluster that somebody else runs: it takes Warrener's own balancer"
            raise SpecError("--data-plane", [Mistake("", text)])
        return replace(self, balancer=replace(self.balancer, data_plane=data_plane))


def load_spec(path: Path | None) -> ClusterSpec:
    """The cluster described by ``path``; all defaults if it is None. Raises SpecError."""
    if path is None:
        return ClusterSpec()
    return parse_spec(read_text(path), source=str(path), folder=path.parent)


def read_text(path: Path) -> str:
    """The text of a description, not judged yet. Raises SpecError."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise SpecError(
            str(path), [Mistake("", f"can't be read: {error.strerror or error}")]
        ) from None
    if len(raw) > _MAX_FILE:
        raise SpecError(str(path), [Mistake("", f"is longer than {_MAX_FILE // 1024} KiB")])
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        raise SpecError(
            str(path),
            [Mistake("", "is not UTF-8 text, as TOML has to be", place=Place(line, column))],
        ) from None


def parse_spec(
    text: str,
    *,
    source: str = "warrener.toml",
    folder: Path = Path(),
    release: tuple[int, int] | None = None,
) -> ClusterSpec:
    """The cluster described by ``text``. A relative ``rabbitmq`` path starts at ``folder``.

    ``release`` of RabbitMQ, where it is known: then keys that it doesn't have are mistakes, too.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(source, [_syntax_mistake(error, text)]) from None
    except RecursionError:
        raise SpecError(source, [Mistake("", "is nested too deeply")]) from None
    where = places(text)
    mistakes = _mistakes_between_keys(document, where)
    mistakes += hosts.mistakes(document, where)
    mistakes += topology_checks.mistakes(document, where, release)
    mistakes += config_table.mistakes(document, where, release)
    mistakes += tls_file.mistakes(document, where, folder)
    mistakes += attach_file.mistakes(document, where)
    document, auto = _without_auto(document)
    try:
        file = SpecFile.model_validate(document)
    except ValidationError as error:
        mistakes += [mistake_of(item, document, where) for item in error.errors()]
        raise SpecError(source, mistakes) from None
    if mistakes:
        raise SpecError(source, mistakes)
    return replace(_build(file, source, folder, auto_weights=auto), text=text)


def _without_auto(document: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The document without ``weights = "auto"``, and whether it stood there."""
    balancer = document.get("balancer")
    if not isinstance(balancer, dict) or balancer.get("weights") != AUTO:
        return document, False
    rest = {key: value for key, value in balancer.items() if key != "weights"}
    return {**document, "balancer": rest}, True


def _syntax_mistake(error: tomllib.TOMLDecodeError, text: str) -> Mistake:
    message = str(error)
    match = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", message)
    if match is None:
        return Mistake("", f"not TOML: {message}")
    if match[2] is None:
        lines = text.splitlines() or [""]
        return Mistake("", f"not TOML: {match[1]}", place=Place(len(lines), len(lines[-1]) + 1))
    return Mistake("", f"not TOML: {match[1]}", place=Place(int(match[2]), int(match[3])))


def _mistakes_between_keys(
    document: Mapping[str, Any], where: Mapping[KeyPath, Place]
) -> list[Mistake]:
    """What takes two keys to see. Keys that are wrong by themselves are left to pydantic."""
    mistakes: list[Mistake] = []
    cluster, balancer = document.get("cluster", {}), document.get("balancer", {})
    if not isinstance(cluster, dict) or not isinstance(balancer, dict):
        return mistakes
    nodes, weights = cluster.get("nodes", DEFAULT_NODES), balancer.get("weights")
    known = "attach" not in document  # else: names that only the cluster knows
    if known and isinstance(weights, dict) and type(nodes) is int and 1 <= nodes <= MAX_NODES:
        names = hosts.names_in(document) or node_names(nodes)
        mistakes += _mistakes_in_names(weights, names, where)
    if balancer.get("data_plane") == DataPlane.HAPROXY and balancer.get("locality") in (True, "on"):
        path = ("balancer", "locality")
        text = f'not with data_plane "haproxy": {WHY_HAPROXY_LACKS[Lack.EXPLAIN]}'
        mistakes.append(
            Mistake(dotted(path), text, "false, or no such line", place=where.get(path))
        )
    history = document.get("history")
    if weights == AUTO and isinstance(history, dict) and history.get("enabled") is False:
        path = ("balancer", "weights")
        text = f'"auto" needs a history: {_NO_HISTORY}'
        mistakes.append(Mistake(dotted(path), text, "a table of weights", place=where.get(path)))
    mistakes += _mistakes_in_parts(
        balancer,
        where,
        ("connect_timeout", "handshake_timeout"),
        lambda part, whole: (
            f"one node's share ({part:g} s) is longer than the whole handshake ({whole:g} s)"
        ),
    )
    mistakes += _mistakes_in_parts(
        balancer,
        where,
        ("journal_limit", "journal_total"),
        lambda part, whole: (
            f"one session's journal ({part:,} bytes) is larger than all of them together "
            f"({whole:,} bytes)"
        ),
    )
    return mistakes


def _mistakes_in_parts(
    balancer: Mapping[str, Any],
    where: Mapping[KeyPath, Place],
    keys: tuple[str, str],
    told: Callable[[float, float], str],
) -> list[Mistake]:
    """A part that is larger than its whole; told where it is given, or else where the whole is."""
    values = []
    for key in keys:
        given = {key: balancer[key]} if key in balancer else {}
        try:
            values.append(getattr(BalancerSection.model_validate(given), key))
        except ValidationError:
            return []
    part, whole = values
    if part <= whole:
        return []
    path = ("balancer", keys[0] if keys[0] in balancer else keys[1])
    allowed = f"a {keys[0]} up to {keys[1]}"
    return [Mistake(dotted(path), told(part, whole), allowed, place=where.get(path))]


def _mistakes_in_names(
    weights: Mapping[str, Any], names: tuple[NodeName, ...], where: Mapping[KeyPath, Place]
) -> list[Mistake]:
    mistakes = []
    seen = set()
    short = [short_name(name) for name in names]
    for given in weights:
        path = ("balancer", "weights", given)
        full = _full_name(given, names)
        if full not in names:
            close = nearest(short_name(full), short, cutoff=0.5)  # one letter of two will do
            text, allowed = "no such node", ", ".join(short)
            mistakes.append(Mistake(dotted(path), text, allowed, close, where.get(path)))
        elif full in seen:
            text = "this node's weight is given twice"
            mistakes.append(Mistake(dotted(path), text, place=where.get(path)))
        seen.add(full)
    return mistakes


def _full_name(given: str, names: Iterable[NodeName]) -> NodeName:
    """The node that is meant; as it is given, or ``n4@localhost``, if it is none of ``names``."""
    unknown = NodeName(given if "@" in given else f"{given}@{HOST}")
    return next((name for name in names if given in (name, short_name(name))), unknown)


def _build(file: SpecFile, source: str, folder: Path, *, auto_weights: bool) -> ClusterSpec:
    settings = {key: value for key, value in file.balancer if key not in ("weights", "haproxy")}
    machines = hosts.hosts(file.node, file.ssh, folder)
    nodes = len(file.node) or file.cluster.nodes
    names = [host.name for host in machines] or node_names(nodes)
    weights = {_full_name(given, names): weight for given, weight in file.balancer.weights.items()}
    rabbitmq = None
    if file.cluster.rabbitmq is not None:
        rabbitmq = Path(file.cluster.rabbitmq)
        if not machines:  # on hosts it is a path there
            rabbitmq = folder / rabbitmq.expanduser()
    tls = tls_file.settings(file.tls, folder)
    tls = tls if file.attach is None else tls_file.beside_attach(tls)
    return ClusterSpec(
        name=file.name,
        nodes=nodes,
        nodes_given="nodes" in file.cluster.model_fields_set or bool(file.node),
        rabbitmq=rabbitmq,
        plugins=tuple(dict.fromkeys((*ALWAYS_ON, *file.cluster.plugins))),
        base_port=file.cluster.base_port,
        balancer=BalancerSettings(
            **settings,
            weights=weights,
            auto_weights=auto_weights,
            haproxy=_program(file.balancer.haproxy, folder),
        ),
        wanted=wanted(
            users=file.user,
            vhosts=file.vhost,
            policies=file.policy,
            operator_policies=file.operator_policy,
            queues=file.queue,
            defaults=file.queues,
        ),
        config=config_table.flatten(file.config),
        tls=tls,
        history=history_file.settings(file.history),
        healing=healing_file.settings(file.healing),
        telemetry=telemetry_file.settings(file.telemetry),
        source=source,
        hosts=machines,
        attach=attach_file.attach_of(file.attach, folder, tls=tls.has(TlsPart.LINKS)),
        name_given="name" in file.model_fields_set,
    )


def _program(given: str, folder: Path) -> str:
    """A bare name is looked for on the PATH; anything with a slash is a path from ``folder`` on."""
    if "/" not in given and not given.startswith("~"):
        return given
    return str(folder / Path(given).expanduser())
