"""Where the nodes of a cluster that somebody else runs are reached from here. Pure.

RabbitMQ tells its listeners by address and port. An address may be of all interfaces (``::``), then
the host is the one in the node's name; or of loopback, then it means something here only if the
cluster is on this machine. Names and addresses may mean nothing from here at all (containers, NAT):
then the description says where a node is, or, for the node that answers at a URL, the URL's host
does.
"""

import ipaddress
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from warrener.facts.ids import NodeName
from warrener.management.listeners import Listener

AMQP: Final = "amqp"
AMQPS: Final = "amqp/ssl"
METRICS: Final = "http/prometheus"

_LOOPBACK_NAMES: Final = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})


@dataclass(frozen=True, slots=True)
class Known:
    """What the search for addresses goes by. ``given``: AMQP addresses from the description.
    ``answers``: for a node, the host of the URL at which it answers. ``here``: whether the cluster
    is on this machine. ``resolves``: whether a host name means anything here. ``own``: ports of
    this machine that Warrener itself listens on. ``tls``: nodes are spoken to with it."""

    resolves: Callable[[str], bool]
    given: Mapping[NodeName, tuple[str, int]] = field(default_factory=dict)
    answers: Mapping[NodeName, str] = field(default_factory=dict)
    here: bool = False
    own: Collection[int] = ()
    tls: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node serves something; ``why_not`` if that isn't known from here."""

    host: str = ""
    port: int = 0
    why_not: str = ""

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port


def amqp_place(node: NodeName, listeners: Iterable[Listener], known: Known) -> Place:
    """Where the node serves AMQP."""
    if node in known.given:
        place = Place(*known.given[node])
    else:
        place = listener_place(node, listeners, AMQPS if known.tls else AMQP, known)
    if place.port in known.own and is_loopback(place.host):
        return Place(why_not=f"{place.host}:{place.port} is Warrener's own balancer")
    return place


def listener_place(
    node: NodeName, listeners: Iterable[Listener], protocol: str, known: Known
) -> Place:
    """Where the node listens for ``protocol``."""
    mine = [one for one in listeners if one.node == node]
    found = [one for one in mine if one.protocol == protocol]
    if not found:
        return Place(why_not=_has_none(protocol, {one.protocol for one in mine}))
    listener = min(found, key=lambda one: is_loopback(one.ip_address) and not known.here)
    if is_loopback(listener.ip_address):
        if not known.here:
            return Place(
                why_not=f"listens for {protocol} on its own loopback interface only "
                f"({listener.ip_address}:{listener.port})"
            )
        return Place(listener.ip_address, listener.port)
    if not _is_wildcard(listener.ip_address):
        return Place(listener.ip_address, listener.port)
    host = host_of(node)
    if known.resolves(host):
        return Place(host, listener.port)
    if node in known.answers:
        return Place(known.answers[node], listener.port)
    return Place(
        why_not=f"the host name {host!r} isn't known here; say where it is under [attach] in "
        f'warrener.toml: nodes = {{ "{node}" = "HOST:{listener.port}" }}'
    )


def _has_none(protocol: str, others: Collection[str]) -> str:
    if protocol == AMQP and AMQPS in others:
        return (
            "has no listener for amqp, only for amqp with TLS; [tls] with links = true in "
            "warrener.toml speaks that"
        )
    if protocol == AMQPS and AMQP in others:
        return (
            "has no listener for amqp with TLS, only for amqp without; links = false under [tls] "
            "in warrener.toml does without TLS"
        )
    return f"has no listener for {protocol}"


def host_of(node: NodeName) -> str:
    """The host in a node's name."""
    return node.partition("@")[2]


def bracketed(host: str) -> str:
    """As it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Whether that is the own machine, by name or by address."""
    if host.lower() in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_wildcard(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return address in ("", "any")
