"""The page's planner: which load it is about, and questions of many viewers one at a time.

    every 15 s, while somebody looks   history + calibration ─► reckoner ─► Plan, for all views
                                       (or, every 10 min at most, what the last day tells of
                                       costs)
    a question                         known? else it waits ─► reckoner ─► the same answer for all

Each viewer waits for one answer only: a newer question of its takes the place of the one that
waits. Questions that are alike are reckoned once, until there is another load.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from warrener.control.plan_history_operations import PlanWorkAnswer
from warrener.control.wire import Refused
from warrener.daemon.plan_worker import Given
from warrener.daemon.reckoner import Reckoner, Unanswered
from warrener.dashboard.plan import NoAnswer, Plan, Question, WhyNot
from warrener.planner.calibration_file import FILE, BrokenCalibration, read_calibration
from warrener.planner.costs import Calibration
from warrener.planner.load import Load
from warrener.planner.load_wire import to_wire

WINDOW: Final = 300.0
"""Seconds of history that it goes by, as `warrener plan show` does."""

SELDOM: Final = 15.0
"""Seconds from one load to the next at the least; a sample comes every ten."""

LIGHT: Final = 50
"""Times as long as it took until there is another."""

SOON: Final = 5.0
"""Seconds until the next try where there is no history yet, and from one look whether there is
another calibration to the next."""

SOME_TIME: Final = 600.0
"""Seconds for which what the history tells of costs is good; less while it is young."""

YOUNG: Final = 0.2
"""Times the history's length, that is."""

COSTS_WINDOW: Final = 24 * 3600.0
"""Seconds of history that those go by, as `warrener plan show` does."""

MOST_WAITING: Final = 32
"""As many as there may be viewers."""

MOST_KEPT: Final = 64
"""Answers that are kept for who asks the same: some 20 KiB each."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Wait:
    question: Question
    answer: asyncio.Future[bytes] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


def _stamp(folder: Path) -> int | None:
    """Another one for another calibration; None: there is none."""
    try:
        return (folder / FILE).stat().st_mtime_ns
    except OSError:
        return None


class PagePlan:
    """``look`` whenever something is shown, ``ask``; ``close`` in the end."""

    def __init__(
        self,
        folder: Path,
        load: Callable[[float], Awaitable[Load]],
        *,
        now: Callable[[], float],
        monotonic: Callable[[], float],
        work: Callable[[float], Awaitable[PlanWorkAnswer]] | None = None,
        reckoner: Reckoner | None = None,
    ) -> None:
        self._folder = folder
        self._load = load
        self._work = work
        self._picked: PlanWorkAnswer | None = None
        self._picked_until = -math.inf
        self._now = now
        self._monotonic = monotonic
        self._reckoner = reckoner or Reckoner()
        self._due = -math.inf
        self._glance = -math.inf
        self._stamp: int | None = None  # of the calibration that was read last
        self._number = 0
        self._looking: asyncio.Task[None] | None = None
        self._answering: asyncio.Task[None] | None = None
        self._waiting: dict[str, _Wait] = {}  # by viewer, who has waited longest first
        self._kept: dict[Question, bytes] = {}
        self.plan = Plan(
            why_not="there is no history yet, the first of it comes after some seconds"
        )

    def look(self) -> None:
        """Somebody looks: what there is is brought up to date if it is due."""
        now = self._monotonic()
        if now >= self._glance:
            self._glance = now + SOON
            if self._due < math.inf and _stamp(self._folder) != self._stamp:
                self._due = now
        if now >= self._due and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self.bring_up_to_date(), name="page plan")

    async def bring_up_to_date(self) -> None:
        """Now, whether it is due or not."""
        began = self._monotonic()
        self._due = math.inf
        wait = SOON
        try:
            self.plan = await self._made()
            self._kept.clear()
            wait = max(SELDOM, LIGHT * (self._monotonic() - began))
        except (Refused, Unanswered) as error:
            self.plan = Plan(why_not=error.message if isinstance(error, Refused) else str(error))
        except Exception:
            log.exception("page_plan_failed")
            wait = SELDOM
        finally:
            self._due = began + wait

    async def _made(self) -> Plan:
        load = await self._load(WINDOW)
        calibration: Calibration | None = None
        work, why = None, ""
        self._stamp = _stamp(self._folder)
        try:
            calibration = await asyncio.to_thread(read_calibration, self._folder)
            if calibration is None:
                why = "nobody has measured what a message costs here"
                work = await self._costs_told()
        except BrokenCalibration as error:
            why = str(error)
        self._number += 1
        return await self._reckoner.give(
            Given(
                load=to_wire(load),
                calibration=calibration,
                work=work,
                number=self._number,
                at=self._now(),
                window=WINDOW,
                why_uncalibrated=why,
            )
        )

    async def _costs_told(self) -> PlanWorkAnswer | None:
        """What the history has to tell of them; None if nobody can say."""
        began = self._monotonic()
        if self._work is not None and began >= self._picked_until:
            try:
                self._picked = await self._work(COSTS_WINDOW)
            except Refused as error:
                log.info("page_plan_without_history", why=error.message)
                self._picked = None
            good = min(SOME_TIME, YOUNG * self._picked.seconds) if self._picked else 0.0
            took = self._monotonic() - began
            self._picked_until = began + max(SELDOM, LIGHT * took, good)
        return self._picked

    async def ask(self, question: Question, viewer: str) -> bytes:
        """An ``Answer`` as JSON, of the load that was seen last. Who asks looks as well, so that
        somebody without the page gets answers of today, too. ``NoAnswer``."""
        self.look()
        if self.plan.number == 0:
            raise NoAnswer(WhyNot.UNKNOWN, self.plan.why_not)
        kept = self._kept.get(question)
        if kept is not None:
            return kept
        older = self._waiting.get(viewer)
        if older is None and len(self._waiting) >= MOST_WAITING:
            raise NoAnswer(WhyNot.BUSY, "too many questions at once")
        wait = _Wait(question)
        self._waiting[viewer] = wait  # in the place of the older one
        if older is not None and not older.answer.done():
            older.answer.set_exception(NoAnswer(WhyNot.OVERTAKEN, "there is a newer question"))
        if self._answering is None or self._answering.done():
            self._answering = asyncio.create_task(self._answer_all(), name="page plan answers")
        return await wait.answer

    async def _answer_all(self) -> None:
        while self._waiting:
            question = self._waiting[next(iter(self._waiting))].question
            answer = await self._answer(question)
            for viewer, wait in list(self._waiting.items()):
                if wait.question == question:
                    del self._waiting[viewer]
                    if wait.answer.done():
                        continue  # its viewer has gone
                    if isinstance(answer, NoAnswer):
                        wait.answer.set_exception(answer)
                    else:
                        wait.answer.set_result(answer)

    async def _answer(self, question: Question) -> bytes | NoAnswer:
        number = self._number
        try:
            answer = await self._reckoner.ask(question)
        except Unanswered as error:
            return NoAnswer(WhyNot.WRONG if error.by_question else WhyNot.FAILED, str(error))
        if number == self._number == self.plan.number:
            if len(self._kept) >= MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[question] = answer
        return answer

    async def close(self) -> None:
        """Nothing is reckoned any more; who waits is told."""
        for task in (self._looking, self._answering):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        for wait in self._waiting.values():
            if not wait.answer.done():
                wait.answer.set_exception(NoAnswer(WhyNot.FAILED, "the daemon is stopping"))
        self._waiting.clear()
        await self._reckoner.close()
