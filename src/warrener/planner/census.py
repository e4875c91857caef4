"""Two counts of a balancer's sessions, and what they did between them. Pure.

A count has each session's messages so far. Rates are what they went up by; of a session that was
opened since, what it has done since it was opened. Sessions of about the same rate are one kind.

How long sessions stay comes out of Little's law, W = L / X: of those that ended, not of those that
came, so that a crowd which has just arrived isn't taken for one that leaves as fast.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from warrener.facts.balance import BalancerStatistics, SessionStatistics
from warrener.facts.ids import SessionId
from warrener.planner.sessions import SessionKind

IDLE: Final = 0.01
"""Messages a second below which a session does nothing: one heartbeat's worth."""

STEPS: Final = 4.0
"""Kinds for each doubling of the rate: a kind's sessions are within a tenth of its mean."""

YOUNGEST: Final = 1.0
"""s that a session counts as old at least: its first messages come at once."""

ADDRESSES: Final = 1000
"""That are told; with more, no single one matters."""


@dataclass(frozen=True, slots=True)
class Count:
    """At ``at`` (s of a clock that nobody sets): sessions that were opened so far, and the messages
    of each that is open; of all together those that were local and remote, None: not counted."""

    at: float
    opened: int
    messages: Mapping[SessionId, int] = field(default_factory=dict)
    local: int | None = None
    remote: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """``lifetime`` infinite: none ended. ``opened`` a second."""

    seconds: float
    kinds: tuple[SessionKind, ...]
    opened: float
    lifetime: float
    addresses: Mapping[str, int]
    local: float | None
    remote: float | None


def count(
    at: float, statistics: BalancerStatistics, sessions: Iterable[SessionStatistics]
) -> Count:
    """As they stand."""
    return Count(
        at=at,
        opened=statistics.sessions_total,
        messages={one.id: one.published + one.delivered for one in sessions},
        local=statistics.messages_local,
        remote=statistics.messages_remote,
    )


def compare(before: Count, after: Count, sessions: Iterable[SessionStatistics]) -> Found:
    """What happened between two counts; ``sessions`` are those of ``after``."""
    seconds = max(after.at - before.at, 1e-9)
    rates: list[float] = []
    addresses: Counter[str] = Counter()
    for one in sessions:
        addresses[one.client.rpartition(":")[0] or one.client] += 1
        so_far = after.messages.get(one.id, 0)
        was = before.messages.get(one.id)
        if was is None:
            rates.append(so_far / max(YOUNGEST, after.at - one.opened_at))
        else:
            rates.append(max(0, so_far - was) / seconds)
    opened = max(0, after.opened - before.opened)
    ended = max(0, opened - (len(after.messages) - len(before.messages)))
    mean = (len(after.messages) + len(before.messages)) / 2
    return Found(
        seconds=seconds,
        kinds=tuple(kinds(rates)),
        opened=opened / seconds,
        lifetime=mean * seconds / ended if ended else math.inf,
        addresses=dict(addresses.most_common(ADDRESSES)),
        local=_rate(before.local, after.local, seconds),
        remote=_rate(before.remote, after.remote, seconds),
    )


def kinds(rates: Iterable[float]) -> list[SessionKind]:
    """Sessions of about the same rate together, the busiest first."""
    by: dict[int | None, list[float]] = defaultdict(list)
    for rate in rates:
        by[round(STEPS * math.log2(rate)) if rate >= IDLE else None].append(rate)
    found = [SessionKind(len(some), sum(some) / len(some)) for some in by.values()]
    return sorted(found, key=lambda kind: -kind.rate)


def _rate(before: int | None, after: int | None, seconds: float) -> float | None:
    if before is None or after is None:
        return None
    return max(0, after - before) / seconds
