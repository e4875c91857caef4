"""One reading for all viewers, pushed to each as it can take it.

    something happened   ┐
    a second has gone by ┴─► read a Moment ─► viewers wake ─► a document by what each wants

Nothing is read while nobody looks. A viewer that is slow gets the newest document when it has taken
the one before; those between are left out, nothing is kept for it.
"""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

import msgspec
import structlog

from warrener.control.operations import ChannelLine
from warrener.dashboard.document import document
from warrener.dashboard.documents.terms import View, Wanted
from warrener.dashboard.moment import Moment

EVERY: Final = 1.0
"""Seconds from one reading to the next while nothing happens."""

SOONEST: Final = 0.25
"""Seconds from one reading to the next, however much happens: four a second are as many as an eye
can use."""

OVER: Final = 4.0
"""Seconds that rates are worked out over."""

MOST_VIEWERS: Final = 32
"""Each takes a descriptor and one encoded document a second, some 50 KiB for a page of queues."""

_WITH_SESSIONS: Final = frozenset({View.SESSIONS, View.MAP})

log = structlog.get_logger(__name__)


class Full(Exception):
    """There are as many viewers as there may be."""


class Live:
    """``run`` until cancelled; ``viewing`` for as long as somebody looks.

    ``read(sessions)`` gives what is known now, with sessions only if they are wanted;
    ``channels(session)`` those of one session.
    """

    def __init__(
        self,
        read: Callable[[bool], Awaitable[Moment]],
        channels: Callable[[int], Sequence[ChannelLine]],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._channels = channels
        self._monotonic = monotonic
        self._recent: deque[Moment] = deque()
        self._number = 0
        self._made: dict[Wanted, bytes] = {}
        self._wants: Counter[View] = Counter()
        self._news = asyncio.Event()  # for the viewers; replaced at each reading
        self._wake = asyncio.Event()
        self._closed = False
        self.readings = 0

    @property
    def viewers(self) -> int:
        """How many look now."""
        return self._wants.total()

    @contextlib.contextmanager
    def viewing(self, view: View) -> Iterator[None]:
        """Counts one in. ``Full``."""
        if self.viewers >= MOST_VIEWERS:
            raise Full
        if not self._with_sessions() and view in _WITH_SESSIONS and self._recent:
            # The last reading lacks what this one wants to see.
            self._recent.clear()
        self._wants[view] += 1
        self._wake.set()
        try:
            yield
        finally:
            self._wants[view] -= 1

    def soon(self) -> None:
        """Something happened; may be called often."""
        if self.viewers:
            self._wake.set()

    async def newer(self, than: int, wanted: Wanted) -> tuple[int, bytes] | None:
        """The newest document past number ``than``, as JSON and a line's end; waits for it. None:
        there are no more."""
        while not self._closed and (self._number <= than or not self._recent):
            await self._news.wait()
        if self._closed:
            return None
        made = self._made.get(wanted)
        if made is None:
            made = self._make(wanted)
            self._made[wanted] = made
        return self._number, made

    def close(self) -> None:
        """Every viewer's last document was sent."""
        self._closed = True
        self._news.set()

    async def run(self) -> None:
        """Reads whenever it is due and somebody looks."""
        while True:
            await self._wait_due()
            began = self._monotonic()
            try:
                moment = await self._read(self._with_sessions())
            except Exception:
                log.exception("page_read_failed")
                await asyncio.sleep(EVERY)
            else:
                self._publish(moment)
            # Big clusters take longer: never more than half of the time.
            took = self._monotonic() - began
            await asyncio.sleep(max(SOONEST - took, took))

    async def _wait_due(self) -> None:
        if not self.viewers:
            self._recent.clear()  # rates over the time in which nobody looked mean little
            while not self.viewers:
                self._wake.clear()
                await self._wake.wait()
        elif self._recent:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), EVERY - SOONEST)
        self._wake.clear()

    def _publish(self, moment: Moment) -> None:
        self.readings += 1
        self._number += 1
        self._recent.append(moment)
        while len(self._recent) > 2 and moment.clock - self._recent[1].clock >= OVER:
            self._recent.popleft()
        self._made.clear()
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _make(self, wanted: Wanted) -> bytes:
        moment, oldest = self._recent[-1], self._recent[0]
        before = oldest if oldest is not moment else None
        channels = None if wanted.session is None else self._channels(wanted.session)
        return msgspec.json.encode(document(moment, before, wanted, self._number, channels)) + b"\n"

    def _with_sessions(self) -> bool:
        return any(self._wants[view] for view in _WITH_SESSIONS)
