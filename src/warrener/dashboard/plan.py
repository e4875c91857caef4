"""What the planner's view asks, and what it is told. Values only: whoever has a planner answers.

    Given (a load, what messages cost) ─► Plan      what every view may show of it
    Question (what if ...)             ─► Answer    before and after, side by side

Rates in messages/s, times in s, lengths in messages, CPU in cores. None stands for what isn't known
or has no bound: a load that breaks nothing, the response time of a queue that grows.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

LEAST_LOAD: Final = 0.1
MOST_LOAD: Final = 20.0
MOST_NODES: Final = 20
"""More, or fewer, than there are."""

MOST_CONSUMERS: Final = 1000

_Name = Annotated[str, Meta(min_length=1, max_length=255)]


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What if there were ``load`` times the traffic, so many ``nodes`` more (fewer, below 0), those
    of ``kill`` were dead, ``queue`` (with its virtual host, if that isn't the default one) had so
    many ``consumers``. ``losses``: what is left without each node is wanted, too, which takes as
    long again for each."""

    load: Annotated[float, Meta(ge=LEAST_LOAD, le=MOST_LOAD)] = 1.0
    nodes: Annotated[int, Meta(ge=-MOST_NODES, le=MOST_NODES)] = 0
    kill: Annotated[tuple[_Name, ...], Meta(max_length=MOST_NODES)] = ()
    queue: Annotated[str, Meta(max_length=600)] = ""
    consumers: Annotated[int, Meta(ge=0, le=MOST_CONSUMERS)] | None = None
    losses: bool = False

    @property
    def changes(self) -> bool:
        """Whether anything would be different."""
        fewer = self.queue != "" and self.consumers is not None
        return self.load != 1.0 or self.nodes != 0 or bool(self.kill) or fewer


_VIEWER: Final = re.compile(r"[A-Za-z0-9-]{8,40}")


def read(pairs: Iterable[tuple[str, str]]) -> tuple[Question, str]:
    """A question as it comes in a request, and whose it is (``viewer``: a name that the page makes
    up for its tab). ValueError that says what isn't understood."""
    values: dict[str, Any] = {}
    kill: list[str] = []
    for name, value in pairs:
        if name == "kill":
            kill.append(value)
        elif name in values:
            raise ValueError(f"{name} is given twice")
        else:
            values[name] = value
    viewer = values.pop("viewer", "")
    if not _VIEWER.fullmatch(viewer):
        raise ValueError("viewer: 8 to 40 letters, digits and dashes")
    try:
        question = msgspec.convert({**values, "kill": sorted(set(kill))}, Question, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    if not math.isfinite(question.load):
        raise ValueError("load: a number")
    return question, viewer


class WhyNot(StrEnum):
    """Why a question has no answer."""

    UNKNOWN = "unknown"  # there is nothing to reckon with yet
    WRONG = "wrong"  # it names what there isn't, or can't be
    OVERTAKEN = "overtaken"  # the same viewer has asked something else
    BUSY = "busy"
    FAILED = "failed"


class NoAnswer(Exception):
    """With a sentence for whoever asked."""

    def __init__(self, reason: WhyNot, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the least cut, or what breaks ``first``, as the map has it: ``kind`` as the planner
    names it. Of a host all its ``nodes``; queues and consumers by leader and type, with the first
    few ``names`` of so many ``queues``."""

    kind: str
    cut: bool = True
    first: bool = False
    nodes: Sequence[str] = ()
    leader: str = ""
    type: str = ""
    queues: int = 0
    names: Sequence[str] = ()


class QueueFigures(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One queue, for those who show all of them."""

    vhost: str
    name: str
    rho: float | None
    time: float | None
    length: float | None
    grows: bool
    measured_time: float | None
    measured_length: float | None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The load as it is. ``number``: which load it was, 0 for none yet; ``first``: what breaks
    first, at ``breaks_at`` times of today's, which makes ``carries``; ``max_flow``: if every queue
    got as much as it takes, limited by the ``cut``, the first few of so many in words. ``why_not``
    there is nothing, ``why_uncalibrated`` nothing is known of what messages cost. ``by_history``:
    that is told by the history since ``taken_at``, nobody has measured it."""

    number: int = 0
    at: float | None = None
    window: float = 0.0
    calibrated: bool = False
    taken_at: float | None = None
    by_history: bool = False
    first: str = ""
    breaks_at: float | None = None
    remedy: str = ""
    carries: float | None = None
    max_flow: float | None = None
    cut: Sequence[str] = ()
    cut_total: int = 0
    marks: Sequence[Mark] = ()
    node_rho: Mapping[str, float] = {}
    queues: Sequence[QueueFigures] = ()
    why_not: str = ""
    why_uncalibrated: str = ""


class NodeSide(msgspec.Struct, frozen=True, kw_only=True):
    """One node: what comes into the queues that it leads, what would use up its CPU, how busy that
    is, R and L over its queues. ``queues``: so many does it lead."""

    name: str
    host: str
    running: bool
    queues: int
    arrivals: float
    service: float | None
    rho: float | None
    rho_measured: float | None
    time: float | None
    time_measured: float | None
    length: float | None
    length_measured: float | None
    growing: int


class PartSide(msgspec.Struct, frozen=True, kw_only=True):
    """Something that can be used up. ``capacity`` and ``used`` in ``unit``."""

    kind: str
    name: str
    words: str
    unit: str
    capacity: float
    used: float
    rho: float | None
    breaks_at: float | None
    at_least: bool


class LossSide(msgspec.Struct, frozen=True, kw_only=True):
    """Without this node: times the load that the others take, and the queues that stop."""

    node: str
    breaks_at: float | None
    capacity: float | None
    first: str
    stopped: Sequence[str]
    stopped_total: int


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """Before, or after. ``error``: standard error of ``capacity`` as a part of it; ``cut``: the
    least cut in words, the first few of ``cut_total``; ``busiest`` by kind of part; ``growing``:
    sentences about queues that grow, ``stalling``: about those that wait for brokers that stall,
    the worst first, a few of both. ``losses``: None if they weren't asked for."""

    published: float
    capacity: float | None
    breaks_at: float | None
    error: float
    first: str
    remedy: str
    max_flow: float | None
    cut: Sequence[str]
    cut_total: int
    busiest: Mapping[str, float]
    time: float | None
    length: float | None
    nodes_running: int
    nodes: Sequence[NodeSide]
    parts: Sequence[PartSide]
    growing: Sequence[str]
    growing_total: int
    stalling: Sequence[str]
    losses: Sequence[LossSide] | None


class QueueSide(msgspec.Struct, frozen=True, kw_only=True):
    """One queue, before or after. ``service``: the least of what it and its consumers get
    through."""

    leader: str
    arrivals: float
    service: float | None
    consumers: int
    rho: float | None
    time: float | None
    length: float | None
    grows: float
    memory_alarm_in: float | None


class QueuePair(msgspec.Struct, frozen=True, kw_only=True):
    """One queue, and what was measured of it. ``after``: None if nobody serves it then, or nothing
    was asked."""

    name: str
    type: str
    before: QueueSide | None
    after: QueueSide | None
    time_measured: float | None
    length_measured: float | None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """``asked``: what is different, in words; empty (and no ``after``): nothing. ``queues``: the
    busiest, of so many; ``stopped``: those that nobody serves any more."""

    number: int
    calibrated: bool
    asked: str
    before: Side
    after: Side | None
    queues: Sequence[QueuePair]
    queues_total: int
    queues_active: int
    stopped: Sequence[str]
    stopped_total: int
    warnings: Sequence[str]
