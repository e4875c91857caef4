"""Looks at the cluster every two seconds and tells the balancer what it says of itself.

After something happened to a node (``look_soon``) it looks at once, and every half a second for the
next two seconds: a new leader of a quorum queue is told 0.2 to 0.5 s after the old one was killed.

A look asks one node's management API for nodes and queues. While no node answers, the last view
is kept and its age shown; once it is too old to act on, the balancer is told that nothing is
known and goes by its own probes alone (plain balancing goes on).
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from warrener.control.operations import ViewStatus
from warrener.facts.happenings import Event, EventSink
from warrener.facts.reasons import MoveReason
from warrener.facts.snapshot import ClusterSnapshot
from warrener.management.client import ManagementError

INTERVAL: Final = 2.0
"""Seconds between looks. RabbitMQ itself refreshes its statistics every 5 s; which nodes run and
which queues exist is current at each look."""

STALE_AFTER: Final = 10.0
"""Seconds after which a view is not acted on: five looks missed, and longer than one time-out."""

SOONEST: Final = 0.5
"""Seconds from one look's beginning to the next one's, however much happens."""

HURRY: Final = 2.0
"""Seconds that looks follow one another so fast. Elections and restarts of listeners are over by
then, and if not, the next look is two seconds away."""

_NEWS: Final = frozenset(
    {
        "node.drained",
        "node.exited",
        "node.fit",
        "node.revived",
        "node.unfit",
    }
)


log = structlog.get_logger(__name__)


def is_news(event: Event) -> bool:
    """Whether the last view is probably wrong after this event. Channels that fail over may know of
    a dead node before anybody else; those that move for another reason move all the time."""
    if event.kind == "sessions.moved":
        return event.reason == MoveReason.FAILOVER
    return event.kind in _NEWS


class Observer:
    """``look`` takes a snapshot; ``on_view`` gets it, or None when nothing recent is known."""

    def __init__(
        self,
        look: Callable[[], Awaitable[ClusterSnapshot]],
        on_view: Callable[[ClusterSnapshot | None], None],
        on_event: EventSink,
        *,
        now: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._on_view = on_view
        self._on_event = on_event
        self._now = now
        self._monotonic = monotonic
        self._told_stale = False
        self._began = self._ended = monotonic()
        self._hurry_until = self._began
        self._woken = asyncio.Event()
        self._looking = asyncio.Lock()
        self.snapshot: ClusterSnapshot | None = None
        self.error = ""

    async def run(self) -> None:
        """Looks for ever."""
        while True:
            await self.look_once()
            await self._pause()

    def look_soon(self) -> None:
        """Something happened that the next look will show; doesn't wait for it."""
        self._hurry_until = self._monotonic() + HURRY
        self._woken.set()

    def next_look(self) -> float:
        """When the next look is due, by the monotonic clock. Looks take half of the time at most:
        RabbitMQ needs seconds for one where there are many queues."""
        soonest = max(self._began + SOONEST, self._ended + (self._ended - self._began))
        return soonest if soonest <= self._hurry_until else self._ended + INTERVAL

    async def _pause(self) -> None:
        while (left := self.next_look() - self._monotonic()) > 0:
            self._woken.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._woken.wait()

    async def look_once(self) -> None:
        """One look that begins after this was called; never raises but when cancelled."""
        async with self._looking:  # one after the other: an older view never replaces a newer one
            self._began = self._monotonic()
            try:
                await self._look_and_tell()
            finally:
                self._ended = self._monotonic()

    async def _look_and_tell(self) -> None:
        try:
            snapshot = await self._look()
        except ManagementError as error:
            self._failed(str(error))
        except Exception as error:
            log.exception("observe_failed")
            self._failed(f"{type(error).__name__}: {error}")
        else:
            if self.error:
                self._on_event(Event("cluster.view_back", snapshot.source))
            self.error = ""
            self._told_stale = False
            self.snapshot = snapshot
            self._on_view(snapshot)

    def view(self) -> ViewStatus:
        """How good the present snapshot is."""
        snapshot = self.snapshot
        return ViewStatus(
            source=snapshot.source if snapshot else None,
            taken_at=snapshot.taken_at if snapshot else None,
            age=max(0.0, self._now() - snapshot.taken_at) if snapshot else None,
            error=self.error,
        )

    def _failed(self, error: str) -> None:
        if not self.error:
            self._on_event(Event("cluster.view_lost", detail={"error": error}))
        self.error = error
        age = self.view().age
        if (age is None or age > STALE_AFTER) and not self._told_stale:
            self._told_stale = True
            self._on_view(None)
