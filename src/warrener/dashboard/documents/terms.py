"""What the documents of all views share. Pure."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec

from warrener.control.operations import ChannelLine, NodeStatus
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState

PAGE: Final = 100
"""Rows of a list in one document: more than fit on a screen."""


class View(StrEnum):
    """What can be looked at."""

    MAP = "map"
    NODES = "nodes"
    QUEUES = "queues"
    SESSIONS = "sessions"
    EVENTS = "events"
    PLANNER = "planner"


class Level(StrEnum):
    """How something is, for the eye. Never the only sign of it: a word stands beside it."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    OFF = "off"  # on purpose


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a viewer looks at. ``sort`` is one of the view's columns, empty: its usual order;
    ``session``: whose channels are wanted, too."""

    view: View
    search: str = ""
    offset: int = 0
    sort: str = ""
    descending: bool = False
    session: int | None = None


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list: rows from ``offset`` on, of ``matching`` out of ``total``."""

    total: int
    matching: int
    offset: int
    rows: list[Any]
    note: str = ""
    channels: list[ChannelLine] | None = None


def rate(before: int | None, after: int | None, seconds: float) -> float | None:
    """Of a counter, which may have begun anew."""
    if before is None or after is None:
        return None
    return max(0, after - before) / seconds


def up(found: Iterable[NodeStatus]) -> frozenset[NodeName]:
    """Those that serve, as far as is known."""
    return frozenset(
        node.name
        for node in found
        if node.state in (NodeState.RUNNING, NodeState.UNREACHABLE) and node.running is not False
    )


def total(found: Iterable[float | None]) -> float | None:
    """Of what is known; None if nothing is."""
    known = [value for value in found if value is not None]
    return sum(known) if known else None


def all_in(words: Sequence[str], text: str) -> bool:
    """Whether a text has every word."""
    return all(word in text for word in words)


def within(offset: int, number: int) -> int:
    """Where a page begins: the last one, if the list has become shorter."""
    return min(offset, max(0, (number - 1) // PAGE * PAGE))
