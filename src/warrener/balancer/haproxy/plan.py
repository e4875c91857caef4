"""What HAProxy should have, and the commands that bring it there. Pure.

HAProxy has one backend for each policy, and the same servers in each: a runtime command chooses
the backend that new sessions go to, so that a change of policy touches no session and needs no
reload. A node is told of to HAProxy under a *slot*, a server line that is there from the start.
Adding servers at runtime is possible as well, but HAProxy 2.6 then gives nodes no share or a wrong
one where the policy hashes (docs/decisions/0010-haproxy-as-data-plane.md).
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from warrener.facts.balance import Backend, BackendStatistics
from warrener.facts.ids import NodeName, short_name
from warrener.facts.reasons import Unfit
from warrener.facts.settings import PolicyName

SLOTS: Final = 16
"""Nodes at most. A cluster on one machine has nine; each slot is a line in every backend."""

MAX_WEIGHT: Final = 256
"""HAProxy's own limit."""

POLICY_KEY: Final = "policy"
POLICY_MAP: Final = "policy.map"
"""The map, a file in HAProxy's folder, whose one entry says which backend gets new sessions."""

NAMES_MAP: Final = "names.map"
"""The map that says for which name the certificate of a slot's node has to be."""

ALGORITHMS: Final[Mapping[PolicyName, tuple[str, ...]]] = {
    PolicyName.ROUNDROBIN: ("balance roundrobin",),
    PolicyName.WEIGHTED: ("balance roundrobin",),
    PolicyName.RANDOM: ("balance random(1)",),
    PolicyName.SOURCE: ("balance source", "hash-type consistent"),
    PolicyName.LEASTCONN: ("balance leastconn",),
    PolicyName.WEIGHTED_LEASTCONN: ("balance leastconn",),
    PolicyName.P2C: ("balance random(2)",),
}
"""Each policy in HAProxy's words."""

EVEN: Final = frozenset({PolicyName.ROUNDROBIN, PolicyName.LEASTCONN})
"""Policies that don't go by weights: HAProxy's own do, so all are the same there."""

_SLOT_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,40}")


class Admission(StrEnum):
    """What HAProxy calls a server's state, as the runtime API takes it."""

    READY = "ready"
    DRAIN = "drain"  # no new sessions
    MAINT = "maint"  # likewise; HAProxy counts it as down


@dataclass(frozen=True, slots=True)
class Server:
    """One slot as it should be. ``even`` and ``weighted``: its weight, 0 to 256, under policies
    that treat nodes alike and under the others. ``server_name``: its node speaks TLS, with a
    certificate for this name; empty: it doesn't, or there is no node."""

    slot: str
    host: str
    port: int
    admission: Admission
    even: int
    weighted: int
    server_name: str = ""

    def weight(self, policy: PolicyName) -> int:
        """Under that policy."""
        return self.even if policy in EVEN else self.weighted


@dataclass(frozen=True, slots=True)
class Seen:
    """One slot of one backend as HAProxy has it."""

    host: str
    port: int
    admission: Admission
    weight: int


@dataclass(frozen=True, slots=True)
class Spot:
    """Where in HAProxy a server is."""

    policy: PolicyName
    slot: str

    def __str__(self) -> str:
        return f"{self.policy}/{self.slot}"


class TooManyNodes(Exception):
    """More nodes than there are slots."""


class Slots:
    """Which node has which slot. Slots that are named after a node keep the name for good."""

    def __init__(self, backends: Sequence[Backend], number: int = SLOTS) -> None:
        names = [short_name(backend.name) for backend in backends]
        usable = len(set(names)) == len(names) and all(map(_SLOT_NAME.fullmatch, names))
        named = names[:number] if usable else []
        spare = [f"spare-{count}" for count in range(1, number + 1 - len(named))]
        self._named = frozenset(named)
        self._slots: dict[str, Backend | None] = dict.fromkeys([*named, *spare])
        self.assign(backends, {})

    def assign(self, backends: Sequence[Backend], sessions: Mapping[str, int]) -> None:
        """Gives each node a slot; nodes that stay keep theirs. Of the free ones those with the
        fewest ``sessions`` still open are taken first. Raises TooManyNodes, or ValueError for a
        host that is no address: the runtime API takes nothing else."""
        for backend in backends:
            ipaddress.ip_address(backend.host)
        if len(backends) > len(self._slots):
            raise TooManyNodes(
                f"HAProxy is set up for {len(self._slots)} nodes, and there are {len(backends)}"
            )
        wanted = {backend.name: backend for backend in backends}
        for slot, before in self._slots.items():
            self._slots[slot] = wanted.pop(before.name, None) if before is not None else None
        for name, backend in wanted.items():
            free = [slot for slot, taken in self._slots.items() if taken is None]
            # A node's own slot first, then the quietest, then one that isn't named after another.
            free.sort(
                key=lambda slot: (
                    slot != short_name(name),
                    sessions.get(slot, 0),
                    slot in self._named,
                )
            )
            self._slots[free[0]] = backend

    def of(self, name: NodeName) -> str | None:
        """A node's slot; None if it has none."""
        for slot, backend in self._slots.items():
            if backend is not None and backend.name == name:
                return slot
        return None

    def plan(self, rows: Sequence[BackendStatistics]) -> tuple[Server, ...]:
        """How each slot should be, given what the node table says of the nodes."""
        known = {row.name: row for row in rows}
        weights = _weights(rows)
        found = []
        for slot, backend in self._slots.items():
            row = known.get(backend.name) if backend is not None else None
            if backend is None or row is None:
                found.append(Server(slot, "127.0.0.1", 1, Admission.MAINT, 1, 1))
            else:
                even, weighted = weights[row.name]
                found.append(
                    Server(
                        slot,
                        backend.host,
                        backend.port,
                        _admission(row),
                        even,
                        weighted,
                        backend.server_name,
                    )
                )
        return tuple(found)


def _admission(row: BackendStatistics) -> Admission:
    if row.unfit is None:
        return Admission.READY
    return Admission.DRAIN if row.unfit is Unfit.DRAINED else Admission.MAINT


def _weights(rows: Sequence[BackendStatistics]) -> dict[NodeName, tuple[int, int]]:
    """Even and weighted weight of each node.

    0 is "only if no other node is fit", under every policy. HAProxy's 0 is "never"; so a node has
    it only while there is a fit one with more.
    """
    others = any(row.weight for row in rows if row.unfit is None)
    scaled = scale([row.weight for row in rows])
    found = {}
    for row, weighted in zip(rows, scaled, strict=True):
        last_resort = 0 if others else 1
        found[row.name] = (1, weighted) if row.weight else (last_resort, last_resort)
    return found


def scale(weights: Sequence[int]) -> list[int]:
    """Weights of any size as HAProxy's, 1 to 256, in the same proportion as far as that goes: exact
    where the largest is 256 or less, else the smallest may get more than its share."""
    most = max(weights, default=0)
    if most <= 0:
        return [1 for _ in weights]
    if most <= MAX_WEIGHT:
        factor = MAX_WEIGHT // most
        return [max(1, weight * factor) for weight in weights]
    return [max(1, round(weight * MAX_WEIGHT / most)) for weight in weights]


def commands(
    servers: Sequence[Server],
    policy: PolicyName,
    seen: Mapping[Spot, Seen],
    seen_policy: PolicyName | None,
    seen_names: Mapping[str, str] | None = None,
) -> list[str]:
    """What the runtime API has to be told; nothing if all is as it should be. ``seen_names``: the
    map of names, None: nodes are spoken to without TLS."""
    told = []
    if seen_names is not None:
        # First: until a slot's address has followed, its node doesn't pass for another one.
        told += [
            f"set map {NAMES_MAP} {server.slot} {server.server_name}"
            for server in servers
            if server.server_name and seen_names.get(server.slot) != server.server_name
        ]
    for backend in ALGORITHMS:
        for server in servers:
            told += _difference(server, Spot(backend, server.slot), seen)
    if seen_policy is not policy:
        # Last: the backend is in order by then.
        told.append(f"set map {POLICY_MAP} {POLICY_KEY} {policy}")
    return told


def _difference(server: Server, spot: Spot, seen: Mapping[Spot, Seen]) -> list[str]:
    is_ = seen.get(spot)
    told = []
    moved = is_ is None or (is_.host, is_.port) != (server.host, server.port)
    admission = None if is_ is None else is_.admission
    if moved and server.admission is Admission.MAINT:
        moved = False  # where a server is matters when it is used
    if moved and admission is not Admission.MAINT:
        # Nobody is to be sent to the old address with the new one's rights.
        told.append(f"set server {spot} state {Admission.MAINT}")
        admission = Admission.MAINT
    if moved:
        told.append(f"set server {spot} addr {server.host} port {server.port}")
    weight = server.weight(spot.policy)
    if is_ is None or is_.weight != weight:
        told.append(f"set server {spot} weight {weight}")
    if admission is not server.admission:
        told.append(f"set server {spot} state {server.admission}")
    return told
