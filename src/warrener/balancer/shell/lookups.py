"""Carries out look-ups: each once, however many ask for it, a few at a time.

    ask ──> waiting, oldest first ──> at most AT_ONCE under way ──> Directory.looked_up, callbacks
    poll ─> Directory.stale_lookups ─┘

Whatever happens to a look-up, it ends: with an answer, or with None after ``TIME_LIMIT`` seconds
from being asked, or at once if too many wait. Then the directory is told and everybody who asked
is called back. Nobody is ever called back from inside ``ask``.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from warrener.balancer.core.directory import Directory
from warrener.facts.places import Found, Lookup

AT_ONCE: Final = 8
"""Requests to RabbitMQ under way. One takes 1 to 5 ms of one of its processors: eight keep two
busy, which is as much as finding a queue may cost those who use queues."""

TIME_LIMIT: Final = 3.0
"""Seconds. A quorum queue with a member on a node that hangs takes RabbitMQ 2.0 to 2.3. Who asks
waits for no more than one (and goes on as if nothing were known); an answer that comes later is
good for the next."""

MAX_WAITING: Final = 1_000
"""Look-ups that aren't under way yet: what is carried out in half a second. More than that means
that RabbitMQ can't keep up, and that whoever waits longest would have waited in vain."""

POLL: Final = 0.25
"""Seconds between looks for what has to be refreshed: how late a session that didn't wait for an
exchange's routes gets to know them."""

LookUp = Callable[[Lookup], Awaitable[Found]]
OnBug = Callable[[str, BaseException], None]


@dataclass(frozen=True, slots=True)
class LookUpStatistics:
    """Counts since the start; ``waiting`` and ``under_way`` now. ``slowest`` in seconds."""

    asked: int
    carried_out: int
    failed: int  # of them: out of time, or our bug
    refused: int  # too many waited, or nobody can be asked
    waiting: int
    under_way: int
    slowest: float


@dataclass(slots=True)
class _Asked:
    at: float
    callbacks: list[Callable[[], None]] = field(default_factory=list)


class LookUps:
    """Look-ups by ``look_up``, answered to ``directory``. Without ``look_up`` nothing is found.

    ``on_bug`` is told of exceptions that are nobody's fault but ours: of ``look_up``, which has to
    keep the cluster's failures to itself, and of callbacks.
    """

    def __init__(
        self,
        look_up: LookUp | None,
        directory: Directory,
        loop: asyncio.AbstractEventLoop,
        *,
        on_bug: OnBug | None = None,
        time_limit: float = TIME_LIMIT,
    ) -> None:
        self._look_up = look_up
        self._directory = directory
        self._loop = loop
        self._on_bug = on_bug or self._tell_loop
        self._time_limit = time_limit
        self._asked: dict[Lookup, _Asked] = {}  # oldest first
        self._waiting: dict[Lookup, None] = {}  # of them, the ones that aren't under way
        self._tasks: dict[Lookup, asyncio.Task[None]] = {}
        self._poll: asyncio.Task[None] | None = None
        self._closed = False
        self._asked_total = 0
        self._carried_out = 0
        self._failed = 0
        self._refused = 0
        self._slowest = 0.0

    def start(self) -> None:
        """Begin to refresh what is in use."""
        if self._poll is None and not self._closed:
            self._poll = self._loop.create_task(self._refresh(), name="look-ups")

    async def close(self) -> None:
        """Call everything off; nobody is called back any more."""
        self._closed = True
        self._asked.clear()
        self._waiting.clear()
        tasks = list(self._tasks.values())
        if self._poll is not None:
            tasks.append(self._poll)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def ask(self, lookup: Lookup, callback: Callable[[], None] | None = None) -> None:
        """Carry a look-up out and call back when the directory has the answer."""
        if self._closed:
            return
        self._asked_total += 1
        asked = self._asked.get(lookup)
        if asked is None:
            asked = self._asked[lookup] = _Asked(self._loop.time())
            if self._look_up is None or len(self._waiting) >= MAX_WAITING:
                self._refused += 1
                self._loop.call_soon(self._answer, lookup, None)
            else:
                self._waiting[lookup] = None
                self._begin()
        if callback is not None:
            asked.callbacks.append(callback)

    def statistics(self) -> LookUpStatistics:
        """A frozen view."""
        return LookUpStatistics(
            asked=self._asked_total,
            carried_out=self._carried_out,
            failed=self._failed,
            refused=self._refused,
            waiting=len(self._waiting),
            under_way=len(self._tasks),
            slowest=self._slowest,
        )

    # -- inside ---------------------------------------------------------------------------------

    def _begin(self) -> None:
        while self._waiting and len(self._tasks) < AT_ONCE:
            lookup = next(iter(self._waiting))
            del self._waiting[lookup]
            task = self._loop.create_task(self._carry_out(lookup), name=f"look up {lookup.name!r}")
            self._tasks[lookup] = task

    async def _carry_out(self, lookup: Lookup) -> None:
        if self._look_up is None:
            raise AssertionError("a look-up was begun, but nobody can carry it out")
        found: Found = None
        self._carried_out += 1
        began = self._loop.time()
        try:
            async with asyncio.timeout_at(self._asked[lookup].at + self._time_limit):
                found = await self._look_up(lookup)
        except TimeoutError:
            self._failed += 1
        except Exception as problem:
            self._failed += 1
            self._on_bug(f"look up {lookup.kind} {lookup.name!r}", problem)
        del self._tasks[lookup]
        self._slowest = max(self._slowest, self._loop.time() - began)
        self._answer(lookup, found)
        self._begin()

    def _answer(self, lookup: Lookup, found: Found) -> None:
        if self._closed:
            return
        asked = self._asked.pop(lookup)
        self._directory.looked_up(lookup, found, self._loop.time())
        for callback in asked.callbacks:
            try:
                callback()
            except Exception as problem:
                self._on_bug("the callback of a look-up", problem)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(POLL)
            try:
                for lookup in self._directory.stale_lookups(self._loop.time()):
                    self.ask(lookup)
            except Exception as problem:
                self._on_bug("refreshing exchanges", problem)

    def _tell_loop(self, where: str, problem: BaseException) -> None:
        self._loop.call_exception_handler({"message": where, "exception": problem})
