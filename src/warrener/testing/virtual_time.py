"""An event loop whose clock jumps: a test of time limits that takes no time.

``run(main())`` runs a coroutine as ``asyncio.run`` does. Whenever everything waits, the clock goes
to the next timer at once, so ``asyncio.sleep(60)`` returns immediately, 60 s later by
``loop.time()``. The idea is trio's ``MockClock(autojump_threshold=0)``. Sockets, threads and
subprocesses live by the real clock and have no place in here: when nothing but them could go on,
``run`` says so instead of hanging.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class _Jumping(selectors.DefaultSelector):
    """Tells how long the loop would have waited, and doesn't."""

    def __init__(self) -> None:
        super().__init__()
        self.on_wait: Callable[[float], None] = lambda seconds: None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise AssertionError("everything waits for something that will never happen")
        self.on_wait(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop behind ``run``; ``time`` starts at 0."""

    def __init__(self) -> None:
        selector = _Jumping()
        self._virtual_now = 0.0
        super().__init__(selector)
        selector.on_wait = self._advance

    def time(self) -> float:
        """Seconds that passed in here."""
        return self._virtual_now

    def _advance(self, seconds: float) -> None:
        self._virtual_now += max(seconds, 0.0)


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """What ``main`` returns. Tasks that it leaves behind are cancelled."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
