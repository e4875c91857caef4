"""Leaders of queues: measured and shown, planned, and moved with care.

    show      counters twice, a view of the cluster between them -> loads
    plan      the same -> the fewest moves; kept under a number
    balance   the plan of that number -> a few moves at a time, each batch seen in the view before
              the next -> measured again

Only the last one changes anything, and it excludes what is done to nodes and sessions (``Works``).
It stops at the first sign of trouble; what was moved stays where it is, as each move is whole. The
plan is made before it is asked for, so that what is carried out is what was shown.

The balancer's channels follow the leaders by themselves, as each view tells it where they are.
What takes long where there are thousands of queues (a plan up to half a second) is worked out in a
thread, as sessions are served on the event loop.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import structlog

from warrener.cluster.leaders.plan import plan
from warrener.cluster.leaders.terms import Plan, PlannedMove
from warrener.control.leaders_operations import (
    LeadersBalanceAnswer,
    LeadersBalanceRequest,
    LeadersPlanAnswer,
    LeadersPlanRequest,
    LeadersShowAnswer,
    LeadersShowRequest,
)
from warrener.control.operations import Phase
from warrener.control.wire import Refusal, Refused
from warrener.daemon import leaders_report as report
from warrener.daemon.control_server import Call
from warrener.daemon.errors import DaemonError
from warrener.daemon.leaders_report import Measured
from warrener.daemon.parts import Balancer
from warrener.daemon.steps import Steps
from warrener.daemon.works import Whole, Works
from warrener.facts.happenings import Event
from warrener.facts.ids import NodeName, short_name
from warrener.facts.leaders import LeaderMove
from warrener.facts.snapshot import ClusterSnapshot
from warrener.management.client import ManagementError

if TYPE_CHECKING:  # the service makes this
    from warrener.daemon.service import Service

BATCH: Final = 20
"""Moves at once: RabbitMQ's tool takes half a second whether it is one or twenty."""

LOOK: Final = 0.25
"""Seconds between two looks for new leaders."""

SEEN_WITHIN: Final = 5.0
"""Seconds for a batch's new leaders to be seen; mostly the first look has them."""

LEADERLESS: Final = 5.0
"""Seconds that a queue may be without leader; an election takes half of one."""

FAILURES: Final = 3
"""Moves that RabbitMQ doesn't make until it is given up, and a tenth of those that were tried."""

LOOKS: Final = 3
"""Times that the cluster is asked how it is, when it doesn't answer and no recent view is there."""

SETTLE: Final = 2.0
"""Seconds for channels to follow their leaders before it is measured again."""

PLAN_AGE: Final = 600.0
"""Seconds after which a plan is too old to be carried out."""

LONGEST_SAMPLE: Final = 300.0
MOST_MOVES: Final = 100_000

_BALANCED: Final = "balanced"
_SUBJECT: Final = "leaders"
_Answer = TypeVar("_Answer", bound=msgspec.Struct)
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A plan that may be asked for."""

    number: int
    at: float
    plan: Plan
    sample: float
    max_moves: int
    obstacles: tuple[str, ...]


@dataclass(slots=True)
class Course:
    """How the moves of a plan go. ``stopped``: why it ended early."""

    moved: int = 0
    skipped: int = 0
    failed: int = 0
    stopped: str = ""
    called_off: bool = False
    fit: frozenset[NodeName] = frozenset()
    leaderless_since: dict[tuple[str, str], float] = field(default_factory=dict)
    leaderless_before: frozenset[tuple[str, str]] = frozenset()
    blind_since: float | None = None


class Leaders:
    """The three operations."""

    def __init__(self, service: "Service", works: Works) -> None:
        self._service = service
        self._works = works
        self._kept: _Kept | None = None
        self._number = 0

    # -- what can be asked for

    async def show(self, request: LeadersShowRequest, call: Call) -> LeadersShowAnswer:
        _check_sample(request.sample)
        self._balancer()

        async def work(steps: Steps) -> LeadersShowAnswer:
            measured = await self.measured(request.sample, steps)
            planned = await asyncio.to_thread(plan, measured.nodes, measured.queues)
            return await asyncio.to_thread(report.show, measured, planned, request.limit)

        return await _accompanied(work, call, "leaders shown")

    async def plan(self, request: LeadersPlanRequest, call: Call) -> LeadersPlanAnswer:
        _check_sample(request.sample)
        if not 1 <= request.max_moves <= MOST_MOVES:
            raise Refused(
                Refusal.BAD_ARGUMENT,
                f"the number of moves is 1 to {MOST_MOVES}, not {request.max_moves}",
            )
        self._balancer()
        if not request.dry_run:
            self._works.refuse_if_busy(Whole.LEADERS, _BALANCED)

        async def work(steps: Steps) -> LeadersPlanAnswer:
            measured = await self.measured(request.sample, steps)
            planned = await asyncio.to_thread(
                plan, measured.nodes, measured.queues, max_moves=request.max_moves
            )
            self._number += 1
            self._kept = _Kept(
                self._number,
                self._service.monotonic(),
                planned,
                request.sample,
                request.max_moves,
                tuple(report.obstacles(measured)),
            )
            return report.planned(self._number, measured, planned)

        return await _accompanied(work, call, "leaders planned")

    async def balance(self, request: LeadersBalanceRequest, call: Call) -> LeadersBalanceAnswer:
        self._balancer()
        kept = self._kept
        if kept is None or kept.number != request.plan:
            raise Refused(
                Refusal.BAD_ARGUMENT,
                f"there is no plan {request.plan}, or a newer one; plan again",
            )
        age = self._service.monotonic() - kept.at
        if age > PLAN_AGE:
            raise Refused(Refusal.BAD_ARGUMENT, f"the plan is {age:.0f} s old; plan again")
        self._kept = None  # once only
        return await self._works.perform(
            Whole.LEADERS, _BALANCED, lambda steps: self._balance(kept, steps), call
        )

    # -- measuring

    async def measured(self, seconds: float, steps: Steps) -> Measured:
        """Rates, and the view of the cluster that was current meanwhile."""
        steps.say(_SUBJECT, f"measures for {seconds:g} s")
        balancer = self._balancer()
        measuring = asyncio.create_task(
            self._service.cluster.measure_rates(seconds), name="measure rates"
        )
        try:
            snapshot = await self._view()
            sample = await measuring
        except ManagementError as error:
            raise DaemonError(f"the cluster doesn't tell what its queues do: {error}") from error
        finally:
            measuring.cancel()
        backends = {backend.name: backend for backend in balancer.statistics().backends}
        return await asyncio.to_thread(report.measured, snapshot, sample, backends, self._drained())

    async def _view(self) -> ClusterSnapshot:
        """As new as can be had: a busy node may need longer for its statistics than is waited."""
        for _ in range(LOOKS - 1):
            try:
                return await self._service.cluster.look()
            except ManagementError as error:
                log.warning("look_failed", error=str(error))
                if (snapshot := self._service.last_view()) is not None:
                    return snapshot
        return await self._service.cluster.look()

    def _drained(self) -> frozenset[NodeName]:
        """Those that were drained from here. One that somebody else drained isn't fit, as it has
        closed its ports; to ask RabbitMQ's tool for it would take a second each time."""
        return frozenset(row.name for row in self._service.cluster.nodes() if row.drained)

    def _balancer(self) -> Balancer:
        balancer = self._service.balancer
        if balancer is None or self._service.phase is not Phase.RUNNING:
            raise Refused(
                Refusal.NOT_YET,
                f"the cluster is {self._service.phase}; `warrener status` shows how far it is",
            )
        return balancer

    # -- moving

    async def _balance(self, kept: _Kept, steps: Steps) -> LeadersBalanceAnswer:
        began = self._service.monotonic()
        planned = kept.plan
        course = await self.carry_out(planned, kept.obstacles, steps)
        if course.called_off:
            raise Refused(
                Refusal.CALLED_OFF,
                f"called off: {course.moved} of {len(planned.moves)} leaders were moved and stay "
                f"where they are",
            )
        after = await self._measured_after(kept, steps)
        steps.say(
            _SUBJECT,
            course.stopped or "moved",
            done=not course.stopped,
            failed=bool(course.stopped),
        )
        return report.balanced(
            planned,
            after,
            moved=course.moved,
            skipped=course.skipped,
            failed=course.failed,
            stopped=course.stopped,
            seconds=self._service.monotonic() - began,
        )

    async def carry_out(self, planned: Plan, obstacles: Sequence[str], steps: Steps) -> Course:
        """The moves, a batch at a time, until something goes wrong or nobody waits for them any
        more. ``Refused`` if nothing should be moved now; ``obstacles`` are known already."""
        snapshot = await self._service.look_now()
        if snapshot is None:
            raise Refused(Refusal.UNWISE, "the cluster doesn't tell how it is; nothing was moved")
        if why := [*obstacles, *self._obstacles(snapshot, planned)]:
            why = list(dict.fromkeys(why))
            raise Refused(Refusal.UNWISE, f"{'; '.join(why)}; nothing was moved")
        course = Course(
            fit=self._fit(snapshot),
            leaderless_before=frozenset(
                (queue.vhost, queue.name) for queue in snapshot.queues if queue.leader is None
            ),
        )
        total = len(planned.moves)
        for start in range(0, total, BATCH):
            steps.count(_SUBJECT, _told(course), start, total)
            if steps.abandoned.is_set():
                course.called_off = True
                break
            snapshot = await self._move(planned.moves[start : start + BATCH], snapshot, course)
            if course.stopped:
                break
        steps.count(_SUBJECT, _told(course), course.moved + course.skipped + course.failed, total)
        self._service.events.record(
            Event(
                "leaders.balanced",
                detail={
                    "moved": course.moved,
                    "skipped": course.skipped,
                    "failed": course.failed,
                    "stopped": "called off" if course.called_off else course.stopped,
                },
            )
        )
        return course

    async def _measured_after(self, kept: _Kept, steps: Steps) -> Plan | None:
        """How it came out; None if that can't be known. Not if nobody waits for it any more."""
        if steps.abandoned.is_set() or not kept.plan.moves:
            return None
        await asyncio.sleep(SETTLE)
        try:
            measured = await self.measured(kept.sample, steps)
        except (DaemonError, Refused) as error:
            log.warning("leaders_not_measured", error=str(error))
            return None
        return await asyncio.to_thread(
            plan, measured.nodes, measured.queues, max_moves=kept.max_moves
        )

    async def _move(
        self, moves: Sequence[PlannedMove], snapshot: ClusterSnapshot, course: Course
    ) -> ClusterSnapshot:
        """A batch, until its leaders are seen; the newest view."""
        queues = {(queue.vhost, queue.name): queue for queue in snapshot.queues}
        orders = []
        for move in moves:
            queue = queues.get((move.vhost, move.name))
            if queue is None or queue.leader != move.source or move.target not in queue.online:
                course.skipped += 1  # gone, or somebody else moved it
            else:
                orders.append(
                    LeaderMove(move.vhost, move.name, move.type, move.source, move.target)
                )
        if not orders:
            return snapshot
        try:
            for left in await self._service.cluster.move_leaders(orders):
                log.warning(
                    "leader_not_moved",
                    vhost=left.move.vhost,
                    queue=left.move.name,
                    target=left.move.target,
                    why=left.why,
                )
        except DaemonError as error:
            course.stopped = error.message
        waiting = {(order.vhost, order.name): order.target for order in orders}
        deadline = self._service.monotonic() + SEEN_WITHIN
        while True:
            seen = await self._service.look_now()
            now = self._service.monotonic()
            if seen is not None:
                snapshot = seen
                for queue in seen.queues:
                    key = queue.vhost, queue.name
                    if waiting.get(key) == queue.leader and key in waiting:
                        del waiting[key]
                        course.moved += 1
            trouble = self._trouble(seen, course, now)
            course.stopped = course.stopped or trouble
            if not waiting or course.stopped or now > deadline:
                break
            await asyncio.sleep(LOOK)
        course.failed += len(waiting)
        tried = course.moved + course.failed
        if not course.stopped and course.failed >= max(FAILURES, tried // 10):
            course.stopped = (
                f"{course.failed} of {tried} leaders didn't move; the daemon's log says why"
            )
        return snapshot

    # -- trouble

    def _obstacles(self, snapshot: ClusterSnapshot, planned: Plan) -> list[str]:
        """Why the plan can't be carried out now."""
        found = report.alarms(snapshot)
        fit, drained = self._fit(snapshot), self._drained()
        for name in sorted({move.target for move in planned.moves}):
            if name in drained:
                found.append(f"{short_name(name)} is drained")
            elif name not in fit:
                found.append(f"{short_name(name)} isn't fit")
        return found

    def _fit(self, snapshot: ClusterSnapshot) -> frozenset[NodeName]:
        runs = {view.name for view in snapshot.nodes if view.running}
        backends = self._balancer().statistics().backends
        return frozenset(one.name for one in backends if one.unfit is None and one.name in runs)

    def _trouble(self, seen: ClusterSnapshot | None, course: Course, now: float) -> str:
        """The first sign of it; empty if there is none."""
        if seen is None:
            course.blind_since = now if course.blind_since is None else course.blind_since
            blind = now - course.blind_since > LEADERLESS
            return "the cluster doesn't tell how it is" if blind else ""
        course.blind_since = None
        if lost := course.fit - self._fit(seen):
            return f"{', '.join(sorted(map(short_name, lost)))} isn't fit any more"
        if alarms := report.alarms(seen):
            return "; ".join(alarms)
        without = {
            (queue.vhost, queue.name) for queue in seen.queues if queue.leader is None
        } - course.leaderless_before
        course.leaderless_since = {
            key: course.leaderless_since.get(key, now) for key in sorted(without)
        }
        for (_, name), since in course.leaderless_since.items():
            if now - since > LEADERLESS:
                return f"{name} has been without leader for {now - since:.0f} s"
        return ""


def _told(course: Course) -> str:
    failed = f", {course.failed} didn't" if course.failed else ""
    return f"move{failed}"


async def _accompanied(
    work: Callable[[Steps], Coroutine[Any, Any, _Answer]], call: Call, name: str
) -> _Answer:
    """``work`` that only looks: its steps are passed on, and it ends when its caller hangs up."""
    steps = Steps()
    task = asyncio.create_task(work(steps), name=name)
    task.add_done_callback(lambda _: steps.close())

    def hung_up(_: "asyncio.Future[None]") -> None:
        task.cancel()

    call.gone.add_done_callback(hung_up)
    try:
        await steps.forward(call.emit)
        await asyncio.wait({task})
    finally:
        call.gone.remove_done_callback(hung_up)
        task.cancel()
    if task.cancelled():
        raise Refused(Refusal.CALLED_OFF, "called off; nothing was changed")
    try:
        return task.result()
    except DaemonError as error:
        raise Refused(Refusal.FAILED, error.message) from None


def _check_sample(seconds: float) -> None:
    if not 0.5 <= seconds <= LONGEST_SAMPLE:
        raise Refused(
            Refusal.BAD_ARGUMENT,
            f"it can be measured for 0.5 to {LONGEST_SAMPLE:g} s, not {seconds:g}",
        )
