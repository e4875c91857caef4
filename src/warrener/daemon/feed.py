"""A bounded stream from one who must not wait to one who may be slow, on one event loop."""

import asyncio
from collections import deque
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Feed(Generic[T]):
    """``offer`` never blocks; ``async for`` takes what was offered until ``close``.

    A reader that is ``limit`` items behind misses the newer ones, and ``missed`` counts them.
    """

    def __init__(self, limit: int) -> None:
        self.missed = 0
        self._limit = limit
        self._items: deque[T] = deque()
        self._closed = False
        self._changed = asyncio.Event()

    def offer(self, item: T) -> None:
        if len(self._items) >= self._limit:
            self.missed += 1
            return
        self._items.append(item)
        self._changed.set()

    def close(self) -> None:
        """Ends the iteration after what has been offered."""
        self._closed = True
        self._changed.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._items.popleft()
