"""The lines on a control socket: one JSON object per line, UTF-8, in both directions.

    -> {"v":1,"op":"set-weight","args":{"node":"n1","weight":50}}
    <- {"v":1,"kind":"answer","body":{"node":"n1@localhost","weight":50,"before":100}}

A request is answered by zero or more ``stream`` lines and then exactly one ``answer`` or
``error``. After that the connection takes the next request. Bad input is a ``Refused`` with a
closed ``Refusal`` code and a sentence; it is never an exception in the daemon.
"""

from enum import StrEnum
from typing import Any, Final, TypeVar

import msgspec

from warrener.control.operations import Operation
from warrener.control.registry import OPERATIONS

VERSION: Final = 1

MAX_REQUEST: Final = 4 * 1024 * 1024
"""Bytes of a request line. The longest has a description of a cluster in it (1 MiB at most, and
twice that when each character is escaped) and passwords; others are below 1 KiB."""

MAX_ANSWER: Final = 64 * 1024 * 1024
"""Bytes of an answer line. A queue takes about 300 bytes, so this is some 200,000 queues."""

_T = TypeVar("_T")


class Refusal(StrEnum):
    """Why a request was not carried out."""

    TOO_LONG = "too_long"
    NOT_JSON = "not_json"
    VERSION = "version"  # the two sides speak different versions of this wire
    UNKNOWN_OPERATION = "unknown_operation"
    BAD_ARGUMENT = "bad_argument"  # wrong type, out of range, or not the name of anything
    NOT_YET = "not_yet"  # the cluster is still starting, or already stopping
    UNWISE = "unwise"  # possible, but it would do harm; the request's ``force`` overrides it
    BUSY = "busy"  # something that can't go on at the same time is under way
    UNSUPPORTED = "unsupported"  # the data plane or the driver in use can't do it
    FAILED = "failed"  # it was tried
    CALLED_OFF = "called_off"  # the asker hung up or the daemon stops; what was begun is undone
    INTERNAL = "internal"  # our bug; the daemon's log has the traceback


BAD_INPUT: Final = frozenset({Refusal.BAD_ARGUMENT, Refusal.UNKNOWN_OPERATION})
"""The refusals that are the asker's mistake: exit code 2 on the command line."""


class Refused(Exception):
    """A request that can't be carried out, with a sentence for people."""

    def __init__(self, refusal: Refusal, message: str) -> None:
        super().__init__(message)
        self.refusal = refusal
        self.message = message


class BadLine(Exception):
    """The other side's line is not one of this wire."""


class RequestLine(msgspec.Struct, frozen=True):
    """``args`` stays raw until the operation says what type it has."""

    v: int
    op: str
    args: msgspec.Raw = msgspec.Raw(b"{}")


class AnswerKind(StrEnum):
    """What a line from the daemon is; the last two end the request."""

    STREAM = "stream"
    ANSWER = "answer"
    ERROR = "error"


class AnswerLine(msgspec.Struct, frozen=True):
    v: int
    kind: AnswerKind
    body: msgspec.Raw


class ErrorBody(msgspec.Struct, frozen=True):
    refusal: Refusal
    message: str


def encode_request(operation: Operation[Any, Any], request: msgspec.Struct) -> bytes:
    """The line that asks for ``operation``, newline included."""
    args = msgspec.Raw(msgspec.json.encode(request))
    return msgspec.json.encode(RequestLine(VERSION, operation.name, args)) + b"\n"


def decode_request(line: bytes) -> tuple[Operation[Any, Any], msgspec.Struct]:
    """What a request line asks for; ``Refused`` says what is wrong with it."""
    try:
        request = msgspec.json.decode(line, type=RequestLine)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(Refusal.NOT_JSON, f"not a request line: {error}") from None
    if request.v != VERSION:
        raise Refused(
            Refusal.VERSION,
            f"this daemon speaks version {VERSION} of the control wire, the request is of version "
            f"{request.v}; use the `warrener` that started it",
        )
    operation = OPERATIONS.get(request.op)
    if operation is None:
        known = ", ".join(OPERATIONS)
        raise Refused(
            Refusal.UNKNOWN_OPERATION, f"no operation {request.op[:100]!r}; there are: {known}"
        )
    try:
        return operation, msgspec.json.decode(request.args, type=operation.request)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(Refusal.BAD_ARGUMENT, f"{operation.name}: {error}") from None


def encode_answer(kind: AnswerKind, body: msgspec.Struct) -> bytes:
    """One line from the daemon, newline included."""
    return (
        msgspec.json.encode(AnswerLine(VERSION, kind, msgspec.Raw(msgspec.json.encode(body))))
        + b"\n"
    )


def encode_refusal(refused: Refused) -> bytes:
    """The error line for a refusal."""
    return encode_answer(AnswerKind.ERROR, ErrorBody(refused.refusal, refused.message))


def decode_answer(line: bytes) -> AnswerLine:
    """Splits a line from the daemon; its body is decoded by ``decode_body``."""
    try:
        answer = msgspec.json.decode(line, type=AnswerLine)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadLine(f"not a line of a Warrener daemon: {error}") from None
    if answer.v != VERSION:
        raise BadLine(
            f"the daemon speaks version {answer.v} of the control wire, this is version {VERSION}; "
            f"use the `warrener` that started it"
        )
    return answer


def decode_body(body: msgspec.Raw, kind: type[_T]) -> _T:
    """An answer's body as its struct."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadLine(f"the daemon's answer isn't what was asked for: {error}") from None
