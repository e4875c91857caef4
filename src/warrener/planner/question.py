"""What a user asks with ``plan what-if``, read and carried out on a load. Pure.

The order in which things change doesn't depend on how they are written: the load first, then queues
and their consumers, then nodes that come or go in order, then nodes that die.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from warrener.facts.ids import short_name
from warrener.models.terms import WrongInput
from warrener.planner import changes
from warrener.planner.costs import QueueType
from warrener.planner.load import Load

_UNITS: Final = {
    "": 1.0,
    "b": 1.0,
    "kb": 1e3,
    "mb": 1e6,
    "kib": 1024.0,
    "mib": 1024.0**2,
}
_TIMES: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE)
_FACTOR: Final = re.compile(r"x?\s*(\d+(?:\.\d+)?)(%?)", re.IGNORECASE)
_NUMBER: Final = re.compile(r"([+-]?)(\d+)")


@dataclass(frozen=True, slots=True)
class WhatIf:
    """``nodes`` more, or fewer below 0. ``consumers``: by queue, ``+3``, ``-1`` or ``5``; ``body``
    and ``types`` by queue, the name ``*`` for all."""

    load: float = 1.0
    nodes: int = 0
    kill: tuple[str, ...] = ()
    consumers: tuple[tuple[str, str], ...] = ()
    types: tuple[tuple[str, QueueType], ...] = ()
    body: tuple[tuple[str, float], ...] = ()


def read(
    *,
    load: str = "x1",
    nodes: str = "0",
    kill: Sequence[str] = (),
    consumers: Sequence[str] = (),
    queue_type: Sequence[str] = (),
    body: Sequence[str] = (),
) -> WhatIf:
    """As it is typed: ``x2``, ``+1``, ``n2``, ``billing=+3``, ``orders=quorum``, ``4KiB`` or
    ``orders=4KiB``. WrongInput that names what isn't understood."""
    return WhatIf(
        load=factor(load),
        nodes=_more_nodes(nodes),
        kill=tuple(kill),
        consumers=tuple(
            _checked_number(*_pair(text, "--consumers billing=+3")) for text in consumers
        ),
        types=tuple(_type(*_pair(text, "--queue-type orders=quorum")) for text in queue_type),
        body=tuple(_body(text) for text in body),
    )


def words(question: WhatIf) -> str:
    """What is different, in words: ``load x2, 2 nodes more, without n2``."""
    parts = [f"load x{question.load:g}"] if question.load != 1.0 else []
    if question.nodes:
        number = abs(question.nodes)
        which = "more" if question.nodes > 0 else "fewer"
        parts.append(f"{number} node{'s' * (number > 1)} {which}")
    parts += [f"without {name}" for name in question.kill]
    parts += [f"{number} consumers of {_all(name)}" for name, number in question.consumers]
    parts += [f"{_all(name)} {kind}" for name, kind in question.types]
    parts += [f"bodies of {_all(name)} {size:g} B" for name, size in question.body]
    return ", ".join(parts)


def _all(name: str) -> str:
    return "all queues" if name == changes.EVERY else name


def factor(text: str) -> float:
    """``x2``, ``1.5``, ``150%``."""
    match = _FACTOR.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        raise WrongInput(f"the load {text!r} isn't understood; say x2, 1.5 or 150%")
    return float(match[1]) / (100 if match[2] else 1)


def size(text: str) -> float:
    """Bytes: ``100``, ``4KiB``, ``1.5kB``, ``2MB``."""
    match = _SIZE.fullmatch(text.strip())
    unit = _UNITS.get(match[2].lower()) if match is not None else None
    if match is None or unit is None:
        raise WrongInput(f"the size {text!r} isn't understood; say 100, 4KiB or 1.5MB")
    return float(match[1]) * unit


def duration(text: str) -> float:
    """Seconds: ``20ms``, ``1.5s``, ``200us``."""
    match = _SIZE.fullmatch(text.strip())
    unit = _TIMES.get(match[2].lower()) if match is not None else None
    if match is None or unit is None or float(match[1]) == 0:
        raise WrongInput(f"the time {text!r} isn't understood; say 20ms, 1.5s or 200us")
    return float(match[1]) * unit


def asked(load: Load, question: WhatIf, *, same_host: bool) -> Load:
    """The load that the question is about. ``same_host``: nodes that come share the host that is
    there. WrongInput for queues and nodes that there aren't."""
    found = changes.scaled(load, question.load)
    for name, kind in question.types:
        found = changes.with_type(found, name, kind)
    for name, body in question.body:
        found = changes.with_body(found, name, body)
    for name, number in question.consumers:
        found = changes.with_consumers(found, name, _change(number))
    if question.nodes > 0:
        found = changes.with_nodes(found, question.nodes, same_host=same_host)
    elif question.nodes < 0:
        dead = [
            node.name
            for node in found.nodes
            if node.name in question.kill or short_name(node.name) in question.kill
        ]
        found = changes.with_fewer_nodes(found, -question.nodes, staying=dead)
    for typed in question.kill:
        names = [node.name for node in found.nodes if typed in (node.name, short_name(node.name))]
        if len(names) != 1:
            there = ", ".join(short_name(node.name) for node in found.nodes)
            raise WrongInput(f"there is no node {typed}; there are {there or 'none'}")
        found, _ = changes.without_node(found, names[0])
    return found


def stopped(load: Load, question: WhatIf, *, same_host: bool) -> list[str]:
    """The queues that nobody serves any more, by name."""
    left = {queue.full_name for queue in asked(load, question, same_host=same_host).queues}
    return [queue.full_name for queue in load.queues if queue.full_name not in left]


def _pair(text: str, example: str) -> tuple[str, str]:
    name, equals, value = text.rpartition("=")
    if not equals or not name or not value:
        raise WrongInput(f"{text!r} isn't understood; say {example}")
    return name, value


def _more_nodes(text: str) -> int:
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        raise WrongInput(
            f"the number of nodes {text!r} isn't understood; say +1, or -1 for one fewer"
        )
    return int(match[2]) * (-1 if match[1] == "-" else 1)


def _checked_number(name: str, text: str) -> tuple[str, str]:
    if _NUMBER.fullmatch(text) is None:
        raise WrongInput(f"{text!r} consumers of {name} isn't understood; say +3, -1 or 5")
    return name, text


def _change(text: str) -> Callable[[int], int]:
    match = _NUMBER.fullmatch(text)
    assert match is not None, "read() has checked it"
    number = int(match[2])
    if not match[1]:
        return lambda now: number
    return lambda now: now + (number if match[1] == "+" else -number)


def _type(name: str, text: str) -> tuple[str, QueueType]:
    try:
        return name, QueueType(text)
    except ValueError:
        kinds = ", ".join(QueueType)
        raise WrongInput(f"{text!r} is no type of queue; there are {kinds}") from None


def _body(text: str) -> tuple[str, float]:
    name, equals, value = text.rpartition("=")
    return (name, size(value)) if equals else (changes.EVERY, size(text))
