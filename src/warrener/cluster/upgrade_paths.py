"""Which RabbitMQ may follow which, and the Erlang each runs on. Pure tables, and their reading.

From RabbitMQ's own guides, as of August 2026: "Upgrading RabbitMQ", section "RabbitMQ Version
Upgradability" (rabbitmq.com/docs/upgrade), and "Erlang Version Requirements", both matrices
(rabbitmq.com/docs/which-erlang). A rolling upgrade goes from one release series to another that the
table names; within a series any newer patch release will do. RabbitMQ supports no downgrade, not
even to an older patch release.

The tables end where the guides do. A series that isn't in them yet isn't refused for its Erlang,
but for its path: whether a node can join the others is nothing to be guessed.
"""

import re
from collections.abc import Mapping
from typing import Final

Release = tuple[int, int]
Version = tuple[int, ...]

UPGRADES: Final[Mapping[Release, tuple[Release, ...]]] = {
    (3, 8): ((3, 9),),
    (3, 9): ((3, 10),),
    (3, 10): ((3, 11),),
    (3, 11): ((3, 12),),
    (3, 12): ((3, 13),),
    (3, 13): ((4, 0), (4, 1), (4, 2)),
    (4, 0): ((4, 1), (4, 2)),
    (4, 1): ((4, 2),),
    (4, 2): ((4, 3),),
}
"""Series -> the series that may follow it."""

AT_LEAST: Final[Mapping[Release, Version]] = {(3, 11): (3, 11, 18)}
"""The patch release that a series has to be at before it is left."""

_ERLANG: Final[tuple[tuple[Version, Version, Version], ...]] = (
    # RabbitMQ from here on, Erlang at least, at most (as far as it is told: 27 is any 27.x)
    ((3, 9, 0), (23, 2), (24, 3)),
    ((3, 9, 28), (24, 3, 4, 2), (25, 2)),
    ((3, 10, 0), (23, 2), (24, 3)),
    ((3, 10, 5), (23, 2), (25, 2)),
    ((3, 10, 8), (24, 2), (25, 2)),
    ((3, 10, 14), (24, 3), (25, 2)),
    ((3, 10, 19), (24, 3, 4, 8), (25, 3)),
    ((3, 11, 0), (25, 0), (25, 3)),
    ((3, 12, 0), (25, 0), (26, 0)),
    ((3, 12, 5), (25, 0), (26, 1)),
    ((3, 12, 10), (25, 0), (26, 2)),
    ((3, 13, 0), (26, 0), (26, 2)),
    ((4, 0, 0), (26, 2), (26, 2)),
    ((4, 0, 4), (26, 2), (27,)),
    ((4, 2, 9), (27, 0), (27,)),
    ((4, 3, 0), (26, 2), (27,)),
    ((4, 3, 3), (27, 0), (27,)),
)
_LAST_ERLANG: Final[Release] = (4, 3)

_NO_DOWNGRADE: Final = "RabbitMQ can't go back to an older version: its data may be converted"


def version_of(text: str) -> Version:
    """(3, 10, 8) of "3.10.8" and of "3.10.8-1"; empty if it isn't a version."""
    match = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(number) for number in match[0].split(".")) if match else ()


def why_no_path(now: str, wanted: str) -> str:
    """Why a node that runs ``now`` can't be upgraded to ``wanted``; empty if it can, or if both are
    the same version."""
    before, after = version_of(now), version_of(wanted)
    if len(before) < 2 or len(after) < 2:
        return (
            f"{now if len(before) < 2 else wanted!r} is no version of RabbitMQ that is understood"
        )
    if before == after:
        return ""
    if after < before:
        return f"{wanted} is older than {now}, and {_NO_DOWNGRADE}"
    series, target = (before[0], before[1]), (after[0], after[1])
    if series == target:
        return ""
    allowed = UPGRADES.get(series, ())
    if target not in allowed:
        way = path(series, target)
        if not way:
            return f"no path from {now} to {wanted} is known (rabbitmq.com/docs/upgrade)"
        return (
            f"{wanted} can't follow {now} directly (rabbitmq.com/docs/upgrade); the way is "
            f"{' -> '.join(f'{major}.{minor}' for major, minor in way)}, one rolling upgrade each"
        )
    least = AT_LEAST.get(series, ())
    if before < least:
        needed = ".".join(map(str, least))
        return f"{target[0]}.{target[1]} takes at least {needed} before it; upgrade to that first"
    return ""


def path(series: Release, target: Release) -> tuple[Release, ...]:
    """The shortest way from one series to another, both included; empty if there is none."""
    ways: list[tuple[Release, ...]] = [(series,)]
    while ways:
        way = ways.pop(0)
        if way[-1] == target:
            return way
        ways += [(*way, following) for following in UPGRADES.get(way[-1], ())]
    return ()


def why_wrong_erlang(rabbitmq: str, erlang: str) -> str:
    """Why this RabbitMQ doesn't run on this Erlang; empty if it does, or if it isn't known."""
    version, runtime = version_of(rabbitmq), version_of(erlang)
    if not version or not runtime or version[:2] > _LAST_ERLANG:
        return ""
    rows = [row for row in _ERLANG if row[0] <= version]
    if not rows:
        return ""
    _, least, most = rows[-1]
    if least <= runtime and runtime[: len(most)] <= most:
        return ""
    shown = [".".join(map(str, one)) for one in (least, most)]
    return (
        f"RabbitMQ {rabbitmq} runs on Erlang {shown[0]} to {shown[1]}.x, and the one on the PATH "
        f"is {erlang} (rabbitmq.com/docs/which-erlang)"
    )


def is_series_change(now: str, wanted: str) -> bool:
    """Whether nodes of both versions are of different series: going back isn't safe then."""
    return version_of(now)[:2] != version_of(wanted)[:2]
