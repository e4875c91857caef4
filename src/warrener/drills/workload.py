"""Client programs under load, as processes of their own, and the books of what they saw.

    with Workload(programs, url, folder) as load:
        load.wait_flowing()                  # everybody has sent or got something just now
        with load.fault("n2 killed"):
            kill(...)
            load.wait_flowing()
        load.stop_publishers()               # what is unconfirmed is waited for
        load.wait_drained()                  # what was confirmed has come, and is acked
        load.stop_consumers()
        verdict = load.verdict()

Each program writes its notes to a file of its own in ``folder``: a pipe would make a client wait
for whoever reads it. Programs know nothing of each other and recover from nothing.
"""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import msgspec

from warrener.drills.ledger import Fault, Ledger, Verdict
from warrener.drills.notes import Note, NoteKind, TroubleKind, decode_note
from warrener.drills.program import Job

NUMBERS: Final = 1_000_000_000
"""Each publisher has so many numbers of its own."""

_LOOK: Final = 0.1  # s between two looks at what programs wrote
_WORDS: Final = 2_000  # characters of what a dead program said last


class Role(StrEnum):
    """What a program is for."""

    PUBLISHER = "publisher"
    CONSUMER = "consumer"


@dataclass(frozen=True, slots=True)
class Program:
    """One client. ``job`` is completed with the URL and, for a publisher, its numbers."""

    role: Role
    command: tuple[str, ...]
    job: Job


class NotInTime(Exception):
    """Something that the workload waited for didn't happen; the text says who is behind."""


class _Running:
    """One program's process, and how far its notes are read."""

    def __init__(self, program: Program, url: str, first: int, folder: Path) -> None:
        self.role = program.role
        self.name = program.job.name
        self.queue = program.job.queue
        self.ended = False
        self.gone = False
        self._log = folder / f"{self.name}.log"
        notes = folder / f"{self.name}.notes"
        with notes.open("wb") as out, self._log.open("wb") as errors:
            self.process = subprocess.Popen(
                program.command,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=errors,
                start_new_session=True,  # Ctrl-C reaches whoever runs the drill, who ends it
            )
        self._notes: IO[bytes] = notes.open("rb")
        self._unread = b""
        self._dead = False
        job = msgspec.structs.replace(program.job, url=url, first_number=first)
        self._tell(msgspec.json.encode(job))

    def _tell(self, line: bytes) -> None:
        stdin = self.process.stdin
        assert stdin is not None, "a pipe was asked for"
        with contextlib.suppress(BrokenPipeError):  # it died, and is in the books as dead
            stdin.write(line + b"\n")
            stdin.flush()

    def stop(self) -> None:
        """Tells it to; how it ends is in its notes."""
        self._tell(b"stop")

    def look(self) -> None:
        """Fetches what it wrote. Quick, so that all programs are looked at at one time."""
        if not self._notes.closed:
            self._dead = self.process.poll() is not None  # first: then all that it wrote is there
            self._unread += self._notes.read()

    def read(self) -> Iterator[Note]:
        """New notes, as of the last ``look``; the last one of a program that died is made up."""
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            note = decode_note(line)
            self.ended |= note.kind is NoteKind.ENDED
            yield note
        if self._dead and not self.gone:
            self.gone = True
            if not self.ended or self.process.returncode != 0:
                text = f"exit code {self.process.returncode}; {self._last_words()}"
                now = time.monotonic()
                yield Note(now, NoteKind.TROUBLE, trouble=TroubleKind.DIED, text=text)

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-_WORDS:].strip()

    def end(self) -> None:
        """By force."""
        self.process.kill()
        self.process.wait()
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        self._notes.close()


class Workload:
    """A context manager; all of its methods belong to one thread. The books outlive it."""

    def __init__(self, programs: Sequence[Program], url: str, folder: Path) -> None:
        self.ledger = Ledger()
        self._programs = tuple(programs)
        self._url = url
        self._folder = folder
        self._running: list[_Running] = []

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            for index, program in enumerate(self._programs):
                first = index * NUMBERS + 1
                self._running.append(_Running(program, self._url, first, self._folder))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        for one in self._running:
            one.end()

    # -- what has happened so far

    def read(self) -> Ledger:
        """Takes all new notes into the books."""
        for one in self._running:
            one.look()
        for one in self._running:
            for note in one.read():
                self.ledger.take(one.name, one.queue, note)
        return self.ledger

    def verdict(self) -> Verdict:
        """What the books say now."""
        return self.read().verdict()

    def counts(self, kind: NoteKind) -> dict[str, int]:
        """Notes of that kind so far, by client."""
        ledger = self.read()
        return {one.name: ledger.counts[one.name, kind] for one in self._running}

    # -- what to wait for

    def wait_flowing(self, timeout: float = 30.0, least: int = 5) -> float:
        """Until each publisher got ``least`` confirms and each consumer as many deliveries, from
        now on. Gives the seconds that took. Raises NotInTime; at once if one of them has ended,
        since nothing will ever move for it."""
        begun = time.monotonic()
        before = self._progress()

        def behind() -> list[str]:
            now = self._progress()
            names = [name for name, count in now.items() if count - before[name] < least]
            dead = [one.name for one in self._running if one.gone and one.name in names]
            if dead:
                raise NotInTime(f"nothing moves any more for {', '.join(dead)}: ended")
            return names

        self._wait("nothing moves for:", behind, timeout)
        return time.monotonic() - begun

    def _progress(self) -> dict[str, int]:
        confirmed, delivered = self.counts(NoteKind.CONFIRMED), self.counts(NoteKind.DELIVERED)
        return {
            one.name: (confirmed if one.role is Role.PUBLISHER else delivered)[one.name]
            for one in self._running
        }

    def run_for(self, seconds: float) -> None:
        """Lets the load run, and keeps reading."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.read()
            time.sleep(min(_LOOK, left))

    @contextlib.contextmanager
    def fault(self, label: str) -> Iterator[None]:
        """Something is broken on purpose in this block, and everything runs again at its end."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.ledger.fault(Fault(label, begin, time.monotonic()))

    # -- the end

    def stop_publishers(self, timeout: float = 60.0) -> None:
        """Each waits for what is unconfirmed and closes. Raises NotInTime."""
        self._stop(Role.PUBLISHER, timeout)

    def wait_drained(self, timeout: float = 60.0) -> None:
        """Until every confirmed message has come and every delivery is acked, or nothing more has
        come for ``timeout`` s: what is missing then is for the verdict."""
        quiet_since = time.monotonic()
        seen = -1
        while time.monotonic() - quiet_since < timeout:
            ledger = self.read()
            if not ledger.outstanding() and not ledger.unacked():
                return
            now = ledger.counts.total()
            if now != seen:
                seen, quiet_since = now, time.monotonic()
            time.sleep(_LOOK)

    def stop_consumers(self, timeout: float = 30.0) -> None:
        """Each acks what it has and closes. Raises NotInTime."""
        self._stop(Role.CONSUMER, timeout)

    def _stop(self, role: Role, timeout: float) -> None:
        concerned = [one for one in self._running if one.role is role]
        for one in concerned:
            one.stop()

        def left() -> list[str]:
            self.read()
            return [one.name for one in concerned if not one.gone]

        self._wait("not stopped:", left, timeout)

    def _wait(self, what: str, left: Callable[[], list[str]], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while names := left():
            if time.monotonic() >= deadline:
                raise NotInTime(f"{what} {', '.join(names)}, within {timeout:g} s")
            time.sleep(_LOOK)
