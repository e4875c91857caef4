"""Takes the steps of a plan in their order, tells how far it is, and stops where it has to.

One step after the other, but for queues: where a description has many, those that follow one
another are declared side by side. RabbitMQ takes 5 ms for a classic queue and 50 for a quorum
queue with three members, most of it waiting; and thousands of lines of progress tell nobody
anything.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from warrener.cluster.topology_steps import MakeQueue, Step, Verb
from warrener.daemon.applying import Executor, StepFailed
from warrener.daemon.steps import Steps
from warrener.facts.happenings import Event

MANY: Final = 20
"""Queues in a row from which they are declared side by side."""

AT_ONCE: Final = 8
"""Declarations under way. More are hardly faster: RabbitMQ's metadata store takes one after the
other; and the client has connections for look-ups beside."""

_DOING: Final = {Verb.MAKE: "is made", Verb.CHANGE: "is changed", Verb.REMOVE: "is removed"}
_DONE: Final = {Verb.MAKE: "made", Verb.CHANGE: "changed", Verb.REMOVE: "removed"}


@dataclass(slots=True)
class Course:
    """How far it came. ``failed`` ended it, ``why`` says with what; ``left`` wasn't done."""

    done: list[Step] = field(default_factory=list)
    failed: Step | None = None
    why: str = ""
    called_off: bool = False
    left: list[Step] = field(default_factory=list)

    def fail(self, step: Step, why: str) -> None:
        """Only the first failure is told; what failed beside it is left."""
        if self.failed is None:
            self.failed, self.why = step, why
        else:
            self.left.append(step)


async def take_all(
    todo: Sequence[Step],
    executor: Executor,
    says: Steps,
    record: Callable[[Event], None],
) -> Course:
    """All of them, until one fails or nobody waits for it any more."""
    course = Course()
    taken = 0
    for run in _runs(todo):
        if says.abandoned.is_set():
            course.called_off = True
            break
        if len(run) == 1:
            subject = f"{taken + 1}/{len(todo)} {run[0].thing} {run[0].subject}"
            await _take_one(run[0], subject, executor, says, record, course)
        else:
            await _take_queues(run, executor, says, record, course)
        taken += len(run)
        if course.failed is not None or course.called_off:
            break
    course.left += todo[taken:]
    return course


def _runs(todo: Sequence[Step]) -> Iterator[list[Step]]:
    """Many queues together, everything else on its own."""
    at = 0
    while at < len(todo):
        end = at
        while end < len(todo) and isinstance(todo[end].action, MakeQueue):
            end += 1
        if end - at < MANY:
            end = at + 1
        yield list(todo[at:end])
        at = end


async def _take_one(
    step: Step,
    subject: str,
    executor: Executor,
    says: Steps,
    record: Callable[[Event], None],
    course: Course,
) -> None:
    what = ", ".join(change.what for change in step.changes[:4])
    about = f": {what}" if what and step.verb is Verb.CHANGE else ""
    says.say(subject, _DOING[step.verb] + about)
    try:
        await executor.take(step.action)
    except StepFailed as error:
        course.fail(step, str(error))
        says.say(subject, course.why, failed=True)
        record(_failed(step, course.why))
        return
    course.done.append(step)
    says.say(subject, _DONE[step.verb] + about, done=True)
    record(Event("apply.step_done", step.subject, detail={"what": f"{step.verb} {step.thing}"}))


async def _take_queues(
    run: Sequence[Step],
    executor: Executor,
    says: Steps,
    record: Callable[[Event], None],
    course: Course,
) -> None:
    waiting = iter(run)
    before = len(course.done)

    async def work() -> None:
        for step in waiting:
            try:
                await executor.take(step.action)
            except StepFailed as error:
                course.fail(step, str(error))
                return
            course.done.append(step)
            says.count("queues", "are declared", len(course.done) - before, len(run))
            if course.failed is not None or says.abandoned.is_set():
                return

    says.count("queues", "are declared", 0, len(run))
    async with asyncio.TaskGroup() as group:
        for number in range(AT_ONCE):
            group.create_task(work(), name=f"declare queues {number}")
    course.left += waiting
    course.called_off = says.abandoned.is_set() and course.failed is None and bool(course.left)
    made = len(course.done) - before
    if made:
        record(Event("apply.step_done", f"{made} queues", detail={"what": "make queue"}))
    if course.failed is not None:
        says.say("queues", f"{course.failed.subject}: {course.why}", failed=True)
        record(_failed(course.failed, course.why))


def _failed(step: Step, why: str) -> Event:
    what = f"{step.verb} {step.thing}"
    return Event("apply.step_failed", step.subject, detail={"what": what, "error": why})
