"""What one operation of the control socket is, apart from the list of them all.

Families of operations stand in modules of their own and are listed in ``operations.OPERATIONS``.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

Request = TypeVar("Request", bound=msgspec.Struct)
Answer = TypeVar("Answer", bound=msgspec.Struct)


class ProgressLine(msgspec.Struct, frozen=True):
    """``facts.happenings.Progress`` on the wire. Where there is something to count, ``count`` of
    ``total`` are done; ``total`` is 0 elsewhere."""

    subject: str
    text: str
    done: bool = False
    failed: bool = False
    count: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Operation(Generic[Request, Answer]):
    """One thing that can be asked. ``streams`` is what may come before the answer."""

    name: str
    request: type[Request]
    answer: type[Answer]
    streams: type[msgspec.Struct] | None = None
