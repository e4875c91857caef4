"""What happens, told as it happens: progress of a long step, and events for the record."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step is. ``subject`` is a node's name or what is made.

    ``text`` is for people.
    """

    subject: str
    text: str
    done: bool = False
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """Something Warrener saw or did. ``kind`` is a dotted word such as ``node.unfit``; ``reason``
    is a value of one of the enums in ``facts.reasons`` where there is one."""

    kind: str
    subject: str = ""
    reason: str = ""
    detail: dict[str, str | int | float | bool] = field(default_factory=dict)


ProgressSink = Callable[[Progress], None]
EventSink = Callable[[Event], None]
