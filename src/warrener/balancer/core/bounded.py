"""When things happened to queues and exchanges, for a while, with a limit."""

from typing import Final, TypeVar

NEGATIVE_AGE: Final = 2.0
"""Seconds until something that wasn't found is asked for again: the interval of snapshots, which
would bring a queue anyway."""

MAX_NOTED: Final = 20_000
"""Times kept of one kind. The shell carries out 2,000 look-ups a second at most, and after ten
seconds without a snapshot, which makes them superfluous, the view is given up."""

Key = tuple[str, str]
"""A queue or an exchange: virtual host, name."""

_K = TypeVar("_K")
_V = TypeVar("_V")


def make_room(kept: dict[_K, _V], limit: int = MAX_NOTED) -> None:
    """Of too many the oldest goes."""
    if len(kept) >= limit:
        del kept[next(iter(kept))]


def note(times: dict[_K, float], key: _K, now: float) -> None:
    """Keeps when something happened, in the order of time."""
    times.pop(key, None)  # so that it goes to the end
    make_room(times)
    times[key] = now


def forget_older(times: dict[_K, float], limit: float) -> None:
    """Forgets what happened before ``limit``."""
    for key in [key for key, at in times.items() if at < limit]:
        del times[key]
