"""The process that reckons for the page: ``python -m warrener.daemon.plan_worker``.

    stdin    Given: a load and what messages cost       stdout   a Plan
             Asked: a question about it                          an Answer, or why there is none

It is a process of its own since the balancer's sessions are in the daemon's loop: a thread would
take turns with it at the interpreter's lock (docs/decisions/0033 has figures). It gives way to
everything else on the machine, and ends with its stdin, so also with the daemon.
"""

import os
import struct
import sys
from typing import BinaryIO, Final

import msgspec

from warrener.control.history_operations import PlanLoadAnswer
from warrener.control.plan_history_operations import PlanWorkAnswer
from warrener.daemon.plan_answers import Reckoning
from warrener.dashboard.plan import Plan, Question
from warrener.models.terms import WrongInput
from warrener.planner.by_history import NotTold, by_history
from warrener.planner.costs import Calibration
from warrener.planner.load_wire import from_wire

COMMAND: Final = "warrener plan calibrate"

MODULE: Final = "warrener.daemon.plan_worker"

NICE: Final = 10
"""How far it stands back: nodes and clients are mostly on the same machine."""

MOST: Final = 64 * 1024 * 1024
"""Bytes of one message; a load of 10,000 queues has 4 MB."""

FOUND: Final = b"+"
WRONG: Final = b"-"

_LENGTH: Final = struct.Struct(">I")


class Given(msgspec.Struct, frozen=True, kw_only=True, tag="given"):
    """A load (``number``, read at ``at``, a mean over ``window`` s) and what messages cost; where
    nobody has measured that, ``work`` is what the history has to tell it by."""

    load: PlanLoadAnswer
    calibration: Calibration | None
    work: PlanWorkAnswer | None = None
    number: int
    at: float
    window: float
    why_uncalibrated: str = ""


class Asked(msgspec.Struct, frozen=True, tag="asked"):
    """About the load that was given last."""

    question: Question


_GIVEN_OR_ASKED: Final = msgspec.json.Decoder(Given | Asked)


def read(stream: BinaryIO) -> bytes:
    """The next message. EOFError if there is none, or a part of one."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    if length > MOST:
        raise EOFError
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return content


def write(stream: BinaryIO, content: bytes) -> None:
    """A message. OSError if nobody reads."""
    stream.write(_LENGTH.pack(len(content)) + content)
    stream.flush()


class Worker:
    """Answers one message after the other."""

    def __init__(self) -> None:
        self._reckoning: Reckoning | None = None
        self._told: tuple[PlanWorkAnswer, Calibration] | None = None

    def reply(self, message: bytes) -> bytes:
        """``FOUND`` with JSON, or ``WRONG`` with a sentence."""
        told = _GIVEN_OR_ASKED.decode(message)
        try:
            if isinstance(told, Given):
                return FOUND + msgspec.json.encode(self._plan(told))
            if self._reckoning is None:
                return WRONG + b"there is no load to reckon with yet"
            return FOUND + msgspec.json.encode(self._reckoning.answer(told.question))
        except WrongInput as error:
            return WRONG + str(error).encode()

    def _plan(self, given: Given) -> Plan:
        costs, why = given.calibration, given.why_uncalibrated
        if costs is None and given.work is not None:
            try:
                costs, why = self._by_history(given.work), ""
            except NotTold as error:
                why += f", and the history doesn't tell it: {error}"
        self._reckoning = Reckoning(from_wire(given.load), costs, given.number)
        return self._reckoning.plan(
            at=given.at,
            window=given.window,
            why_uncalibrated=why,
            by_history=costs is not None and given.calibration is None,
        )

    def _by_history(self, work: PlanWorkAnswer) -> Calibration:
        """The regression is done once for what is picked out once."""
        if self._told is None or self._told[0] != work:
            self._told = work, by_history(work, COMMAND)
        return self._told[1]


def main() -> None:
    """Until there is nobody who asks."""
    os.nice(NICE)
    worker = Worker()
    try:
        while True:
            write(sys.stdout.buffer, worker.reply(read(sys.stdin.buffer)))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        sys.stdout = None  # nothing is flushed to who is gone


if __name__ == "__main__":
    main()
