"""The progress of one long operation, on its way to whoever asked for it.

The operation says what it does and never waits for that: a caller that reads slowly, or has gone,
must not hold up a node's restart. Of counts only the newest matters, so a caller that is behind
gets that one. While nothing new is said, the last line is repeated now and then: the caller
takes a long silence for a daemon that hangs.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from warrener.control.operations import ProgressLine
from warrener.facts.happenings import Progress

REPEAT: Final = 5.0
"""Seconds; the client gives up after 30 without a line."""

KEEP: Final = 200
"""Lines that a caller may be behind before the oldest are left out. A node's restart has ten."""


class Steps:
    """What an operation says, and whether its caller still listens (``abandoned``)."""

    def __init__(self, *, repeat: float = REPEAT) -> None:
        self.abandoned = asyncio.Event()
        self._repeat = repeat
        self._lines: deque[ProgressLine] = deque(maxlen=KEEP)
        self._changed = asyncio.Event()
        self._closed = False

    def say(self, subject: str, text: str, *, done: bool = False, failed: bool = False) -> None:
        """One step begins, goes on or ends."""
        self._add(ProgressLine(subject, text, done, failed))

    def count(self, subject: str, text: str, count: int, total: int) -> None:
        """So many of so many."""
        if self._lines and self._lines[-1].total and self._lines[-1].subject == subject:
            self._lines.pop()
        self._add(ProgressLine(subject, text, count=count, total=total))

    def pass_on(self, progress: Progress) -> None:
        """A step of the driver's."""
        self.say(progress.subject, progress.text, done=progress.done, failed=progress.failed)

    def close(self) -> None:
        """Nothing more will be said."""
        self._closed = True
        self._changed.set()

    async def forward(self, emit: Callable[[ProgressLine], Awaitable[None]]) -> None:
        """Hands every line to ``emit``, one after the other, until closed."""
        last: ProgressLine | None = None
        while True:
            while self._lines:
                last = self._lines.popleft()
                await emit(last)
            if self._closed:
                return
            self._changed.clear()
            try:
                async with asyncio.timeout(self._repeat):
                    await self._changed.wait()
            except TimeoutError:
                if last is not None:
                    await emit(last)

    def _add(self, line: ProgressLine) -> None:
        self._lines.append(line)
        self._changed.set()
