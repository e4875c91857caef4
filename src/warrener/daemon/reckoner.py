"""Whom the page's questions are handed to: one process (``plan_worker``), one message at a time.

It is started when it is first needed, ended when nobody has asked for a while, and started again
should it die: it is told the load anew then. The pipes are read and written in a thread, which
waits and doesn't reckon.
"""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
import structlog

from warrener.daemon.plan_worker import FOUND, MODULE, Asked, Given, read, write
from warrener.dashboard.plan import Plan, Question

IDLE: Final = 60.0
"""Seconds without a message until the process ends: it has some 110 MiB."""

PATIENCE: Final = 30.0
"""Seconds for one answer; 9 nodes and 2,000 queues took 1 to 2 with all losses on a busy
machine."""

log = structlog.get_logger(__name__)


class Unanswered(Exception):
    """A sentence that says why. ``by_question``: it is the question that is wrong."""

    def __init__(self, message: str, *, by_question: bool = False) -> None:
        super().__init__(message)
        self.by_question = by_question


class Reckoner:
    """``give``, then ``ask``; ``close`` in the end."""

    def __init__(self, *, idle: float = IDLE, patience: float = PATIENCE) -> None:
        self._idle = idle
        self._patience = patience
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reckoner")
        self._process: subprocess.Popen[bytes] | None = None
        self._given: bytes | None = None
        self._resting: asyncio.TimerHandle | None = None
        self._closed = False
        self.started = 0  # processes so far

    @property
    def pid(self) -> int | None:
        """None while there is no process."""
        return self._process.pid if self._process is not None else None

    async def give(self, given: Given) -> Plan:
        """Has it reckon with that from now on. ``Unanswered``."""
        encoded = msgspec.json.encode(given)
        plan = msgspec.json.decode(await self._exchange(encoded), type=Plan)
        self._given = encoded
        return plan

    async def ask(self, question: Question) -> bytes:
        """An ``Answer`` as JSON. ``Unanswered``."""
        return await self._exchange(msgspec.json.encode(Asked(question)))

    async def close(self) -> None:
        """The process is gone afterwards."""
        self._closed = True
        self._stay()
        self._kill()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._end)
        self._thread.shutdown(wait=False)

    async def _exchange(self, message: bytes) -> bytes:
        if self._closed:
            raise Unanswered("the daemon is stopping")
        self._stay()
        loop = asyncio.get_running_loop()
        talking = loop.run_in_executor(self._thread, self._talk, message)
        try:
            done, _ = await asyncio.wait({talking}, timeout=self._patience)
            if not done:
                self._kill()
            reply = await talking
        except (OSError, EOFError) as error:
            log.warning("reckoner_failed", error=repr(error), timed_out=not done)
            why = f"it took longer than {self._patience:g} s" if not done else "its process ended"
            raise Unanswered(f"the planner gave no answer: {why}") from None
        finally:
            if not self._closed:
                self._resting = loop.call_later(self._idle, self._rest)
        if reply[:1] != FOUND:
            raise Unanswered(reply[1:].decode(errors="replace"), by_question=True)
        return reply[1:]

    def _stay(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None

    def _rest(self) -> None:
        self._resting = None
        if not self._closed:
            self._thread.submit(self._end)

    def _kill(self) -> None:
        process = self._process
        if process is not None:
            process.kill()

    # -- in the thread

    def _talk(self, message: bytes) -> bytes:
        try:
            if self._process is None:
                self._process = self._start()
                if self._given is not None:
                    self._send(self._process, self._given)
            return self._send(self._process, message)
        except (OSError, EOFError):
            self._end()
            raise

    def _start(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise EOFError
        self.started += 1
        return subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in a terminal is the daemon's
        )

    def _send(self, process: subprocess.Popen[bytes], message: bytes) -> bytes:
        assert process.stdin is not None, "it was started with pipes"
        assert process.stdout is not None, "it was started with pipes"
        write(process.stdin, message)  # type: ignore[arg-type]  # a pipe is a binary stream
        return read(process.stdout)  # type: ignore[arg-type]

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()  # it keeps nothing
        process.wait()
        for pipe in (process.stdin, process.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:
                pass  # what was still to be written goes nowhere
