"""The client's side of a drill: the job that a program is given, the notebook that it writes.

    first line of stdin   the job, one JSON document (so no password is in the arguments)
    a second line, or end  stop: publish no more, wait for what is unconfirmed; or consume no more
    stdout                 notes

A program written in another language needs no more than that.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable

import msgspec

from warrener.drills.messages import Damaged, MessageNumber, body_of, number_of
from warrener.drills.notes import Note, NoteKind, TroubleKind, encode_note


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a program shall do. Sizes in bytes, times in seconds.

    A publisher sends ``rate`` messages a second to ``queue`` through the default exchange,
    mandatory and persistent, with at most ``window`` of them unconfirmed; every ``big_every``-th
    one has ``big_size`` bytes (0: none), so that bodies of several frames are among them. A
    consumer takes at most ``prefetch`` at a time and acks each after ``work``.
    """

    name: str
    kind: str  # which of its clients the program shall be
    url: str
    queue: str
    first_number: int = 1
    rate: float = 100.0
    window: int = 300
    size: int = 100
    big_every: int = 0
    big_size: int = 0
    prefetch: int = 50
    work: float = 0.002
    heartbeat: int = 10


def read_job() -> Job:
    """The job from the first line of stdin."""
    return msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)


def stop_when_told(then: Callable[[], None] = lambda: None) -> threading.Event:
    """An event that is set when stdin says stop; ``then`` is called in a thread of its own."""
    told = threading.Event()

    def wait() -> None:
        sys.stdin.buffer.readline()
        told.set()
        then()

    threading.Thread(target=wait, name="stop", daemon=True).start()
    return told


class Messages:
    """The messages of a publisher, one after the other."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._next = job.first_number

    def next(self) -> tuple[MessageNumber, bytes]:
        """Number and body."""
        number = MessageNumber(self._next)
        self._next += 1
        job = self._job
        big = job.big_every and (number - job.first_number) % job.big_every == job.big_every - 1
        return number, body_of(number, job.big_size if big else job.size)


class Pace:
    """How many messages are due at a rate. What couldn't be sent in time is not caught up on, past
    a tenth of a second or two messages: a flood after every pause would measure something else."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._done_until = now
        self._most = max(0.1, 2 / rate)  # s

    def due(self, now: float) -> int:
        """Messages to send now."""
        self._done_until = max(self._done_until, now - self._most)
        return int((now - self._done_until) * self._rate)

    def sent(self, number: int = 1) -> None:
        """So many were."""
        self._done_until += number / self._rate

    def wait(self, now: float) -> float:
        """Seconds until the next one is due."""
        return max(0.0, self._done_until + 1 / self._rate - now)


class Notebook:
    """Writes notes to stdout, each at once: what a program knew when it died is in the books.
    Threads may share it."""

    def published(self, number: MessageNumber) -> None:
        """To be called before it is sent."""
        self._note(NoteKind.PUBLISHED, number)

    def confirmed(self, number: MessageNumber) -> None:
        """basic.ack came."""
        self._note(NoteKind.CONFIRMED, number)

    def refused(self, number: MessageNumber) -> None:
        """basic.nack came."""
        self._note(NoteKind.REFUSED, number)

    def returned(self, number: MessageNumber, code: int) -> None:
        """basic.return came."""
        self._write(encode_note(Note(time.monotonic(), NoteKind.RETURNED, number, code=code)))

    def delivered(self, body: bytes, redelivered: bool) -> MessageNumber | None:
        """A delivery came; gives its number, None if it can't be told."""
        at = time.monotonic()
        try:
            number = number_of(body)
        except Damaged as damage:
            self._write(encode_note(Note(at, NoteKind.DAMAGED, text=str(damage))))
            return None
        self._write(encode_note(Note(at, NoteKind.DELIVERED, number, redelivered)))
        return number

    def acked(self, number: MessageNumber | None) -> None:
        """Its ack was sent."""
        if number is not None:
            self._note(NoteKind.ACKED, number)

    def republished(self, number: MessageNumber) -> None:
        """To be called before it is sent once more."""
        self._note(NoteKind.REPUBLISHED, number)

    def given_back(self, number: MessageNumber | None) -> None:
        """It can't be acked any more; the broker delivers it again."""
        if number is not None:
            self._note(NoteKind.GIVEN_BACK, number)

    def disconnected(self, why: object) -> None:
        """The connection was lost, and there will be another one."""
        text = f"{type(why).__name__}: {why}"
        self._write(encode_note(Note(time.monotonic(), NoteKind.DISCONNECTED, text=text)))

    def trouble(self, kind: TroubleKind, text: object) -> None:
        """Something happened that a client should not notice."""
        words = text if isinstance(text, str) else f"{type(text).__name__}: {text}"
        self._write(encode_note(Note(time.monotonic(), NoteKind.TROUBLE, trouble=kind, text=words)))

    def remark(self, text: str) -> None:
        """Worth knowing."""
        self._write(encode_note(Note(time.monotonic(), NoteKind.REMARK, text=text)))

    def ended(self) -> None:
        """The last note: the client has closed its connection as it wanted."""
        self._write(encode_note(Note(time.monotonic(), NoteKind.ENDED)))

    def watch_log(self, *loggers: str) -> None:
        """From here on, a warning that one of these libraries logs is a trouble."""
        for name in loggers:
            logging.getLogger(name).addHandler(_Complaints(self))

    def _note(self, kind: NoteKind, number: MessageNumber) -> None:
        self._write(encode_note(Note(time.monotonic(), kind, number)))

    def _write(self, line: bytes) -> None:
        os.write(sys.stdout.fileno(), line)


class _Complaints(logging.Handler):
    def __init__(self, notebook: Notebook) -> None:
        super().__init__(logging.WARNING)
        self._notebook = notebook

    def emit(self, record: logging.LogRecord) -> None:
        self._notebook.trouble(TroubleKind.COMPLAINT, f"{record.name}: {record.getMessage()}")
