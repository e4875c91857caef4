"""The names people type: workloads and paths, and which go together. Pure."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

_SMALL: Final = 100  # bytes
_LARGE: Final = 4_096


class Route(StrEnum):
    """The way a client takes to its queue: a path, in the words of the command line."""

    DIRECT = "direct"  # straight to the node that leads the queue
    REMOTE = "remote"  # straight to another node
    HAPROXY_ROUNDROBIN = "haproxy-roundrobin"
    HAPROXY_LEASTCONN = "haproxy-leastconn"
    HAPROXY_PINNED = "haproxy-pinned"  # HAProxy that knows only the node that leads the first queue
    WARRENER = "warrener"
    WARRENER_PINNED = "warrener-pinned"  # weight 0 for all nodes but that one
    WARRENER_UNOBSERVED = "warrener-unobserved"  # a second Warrener, whatever watches it off
    WARRENER_OBSERVED = "warrener-observed"  # the same with all of it on

    @property
    def balancer(self) -> str:
        """``haproxy``, ``warrener``, or nothing for a straight connection."""
        name = self.value.partition("-")[0]
        return name if name in ("haproxy", "warrener") else ""


OBSERVATION: Final = (Route.WARRENER_UNOBSERVED, Route.WARRENER_OBSERVED)
"""The pair that tells what it costs to be observed."""


class Kind(StrEnum):
    """What a workload measures."""

    LOAD = "load"
    LATENCY = "latency"
    SETUP = "setup"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Workload:
    """One workload. ``queues`` is how many it uses, ``paths`` which it takes unless told."""

    name: str
    kind: Kind
    unit: str
    paths: tuple[Route, ...]
    queues: int = 0
    quorum: bool = False
    body: int = _SMALL

    def goes(self, path: Route) -> bool:
        """Whether the workload says anything about this path."""
        if path in OBSERVATION:
            return self.kind in (Kind.LOAD, Kind.LATENCY)
        if self.kind is Kind.IDLE:
            return bool(path.balancer)
        return self.queues > 0 or path is not Route.REMOTE  # remote of what, without a queue?


_PLAIN: Final = (
    Route.DIRECT,
    Route.REMOTE,
    Route.HAPROXY_ROUNDROBIN,
    Route.HAPROXY_LEASTCONN,
    Route.WARRENER,
)


def _load_paths(queues: int, *, quorum: bool, body: int) -> tuple[Route, ...]:
    """Pinned is a question about one queue (six are led by three nodes), and about what a balancer
    costs a message: large bodies say less about that. Observation costs most where most goes
    through, and takes its time to measure: once is enough unless it is asked for."""
    if body != _SMALL:
        return _PLAIN
    if queues == 1:
        return tuple(path for path in Route if path not in OBSERVATION)
    return _PLAIN if quorum else (*_PLAIN, *OBSERVATION)


def _loads() -> list[Workload]:
    return [
        Workload(
            name=f"{'quorum' if quorum else 'classic'}-{queues}{suffix}",
            kind=Kind.LOAD,
            unit="msg/s",
            paths=_load_paths(queues, quorum=quorum, body=body),
            queues=queues,
            quorum=quorum,
            body=body,
        )
        for body, suffix in ((_SMALL, ""), (_LARGE, "-4k"))
        for quorum in (False, True)
        for queues in (1, 6)
    ]


WORKLOADS: Final[dict[str, Workload]] = {
    workload.name: workload
    for workload in (
        *_loads(),
        Workload("latency", Kind.LATENCY, "ms", _PLAIN, queues=6),
        Workload(
            "setup",
            Kind.SETUP,
            "connections/s",
            tuple(p for p in _PLAIN if p is not Route.REMOTE),
        ),
        Workload(
            "idle-memory", Kind.IDLE, "KiB/session", (Route.HAPROXY_ROUNDROBIN, Route.WARRENER)
        ),
    )
}


class UnknownName(ValueError):
    """A workload or path that there isn't; the text says which was probably meant."""


_T = TypeVar("_T")


def parse_workloads(text: str) -> tuple[Workload, ...]:
    """Workloads from a list with commas, in the order given, each once."""
    return tuple(WORKLOADS[name] for name in _names(text, list(WORKLOADS), "workload"))


def parse_paths(text: str) -> tuple[Route, ...]:
    """Paths from a list with commas, in the order given, each once."""
    return tuple(Route(name) for name in _names(text, [p.value for p in Route], "path"))


def _names(text: str, known: Sequence[str], what: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UnknownName(f"no {what} is named. There are: {', '.join(known)}")
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
            hint = f": did you mean {near[0]!r}?" if near else "."
            raise UnknownName(f"no {what} {name!r}{hint} There are: {', '.join(known)}")
    return list(dict.fromkeys(names))
