"""What a client program writes down: one line for each thing that happened to it.

A line is a JSON array, ``[at, kind, ...]``; ``at`` is the machine's monotonic clock in seconds (in
Python ``time.monotonic``, in node ``process.hrtime``), one clock for all programs. A publish is
noted before it is sent and everything else after it came, so that a program that is cut off has
never received what it didn't send.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from warrener.drills.messages import MessageNumber

NO_MESSAGE: Final = MessageNumber(0)
"""In notes that aren't about a message."""


class NoteKind(StrEnum):
    """The first word of a note; what follows it is in the table below."""

    PUBLISHED = "published"  # number
    CONFIRMED = "confirmed"  # number: basic.ack
    REFUSED = "refused"  # number: basic.nack
    RETURNED = "returned"  # number, reply code
    DELIVERED = "delivered"  # number, redelivered
    DAMAGED = "damaged"  # what came instead of a message
    ACKED = "acked"  # number
    REPUBLISHED = "republished"  # number: sent once more, unconfirmed or refused before
    GIVEN_BACK = "given back"  # number: its connection was lost before it could be acked
    DISCONNECTED = "disconnected"  # text: the client will connect again
    TROUBLE = "trouble"  # TroubleKind, text
    REMARK = "remark"  # text: worth knowing, nothing wrong (connection.blocked)
    ENDED = "ended"  # the last one: the client closed its connection as it wanted


class TroubleKind(StrEnum):
    """What a client noticed that it should not have noticed."""

    CONNECTION_CLOSED = "connection closed"
    CHANNEL_CLOSED = "channel closed"
    CONSUMER_CANCELLED = "consumer cancelled"
    EXCEPTION = "exception"
    COMPLAINT = "complaint"  # its library logged a warning
    DIED = "died"  # the program ended before it was told to


@dataclass(frozen=True, slots=True)
class Note:
    """One line. Which fields mean something is up to ``kind``."""

    at: float
    kind: NoteKind
    number: MessageNumber = NO_MESSAGE
    redelivered: bool = False
    code: int = 0
    trouble: TroubleKind | None = None
    text: str = ""


class BadNote(Exception):
    """A line that no program should write: a mistake in a program, not in what it watches."""


_FIELDS: Final[dict[NoteKind, tuple[tuple[str, type], ...]]] = {
    NoteKind.PUBLISHED: (("number", int),),
    NoteKind.CONFIRMED: (("number", int),),
    NoteKind.REFUSED: (("number", int),),
    NoteKind.RETURNED: (("number", int), ("code", int)),
    NoteKind.DELIVERED: (("number", int), ("redelivered", bool)),
    NoteKind.DAMAGED: (("text", str),),
    NoteKind.ACKED: (("number", int),),
    NoteKind.REPUBLISHED: (("number", int),),
    NoteKind.GIVEN_BACK: (("number", int),),
    NoteKind.DISCONNECTED: (("text", str),),
    NoteKind.TROUBLE: (("trouble", str), ("text", str)),
    NoteKind.REMARK: (("text", str),),
    NoteKind.ENDED: (),
}
_KINDS: Final = {str(kind): kind for kind in NoteKind}
_LINE: Final = msgspec.json.Decoder(list[int | float | bool | str])


def encode_note(note: Note) -> bytes:
    """The line, with its end."""
    values = [getattr(note, field) for field, _ in _FIELDS[note.kind]]
    return msgspec.json.encode([note.at, note.kind, *values]) + b"\n"


def decode_note(line: bytes) -> Note:
    """Raises BadNote. By hand: a minute of load is a hundred thousand of them."""
    try:
        at, word, *values = _LINE.decode(line)
        kind = _KINDS[str(word)]
        named: dict[str, Any] = {}
        for (field, what), value in zip(_FIELDS[kind], values, strict=True):
            if type(value) is not what:
                raise BadNote(f"{line[:200]!r}: {field} is no {what.__name__}")
            named[field] = value
        if kind is NoteKind.TROUBLE:
            named["trouble"] = TroubleKind(named["trouble"])
        return Note(float(at), kind, **named)
    except (ValueError, KeyError, msgspec.DecodeError) as error:
        raise BadNote(f"{line[:200]!r}: {error}") from error
