"""Steps of a plan in their order; many queues side by side."""

import asyncio
from typing import Any

import pytest

from warrener.cluster.topology_steps import MakeQueue, NameCluster, Step, Thing, Verb
from warrener.cluster.wanted import Queue
from warrener.daemon.applying import StepFailed
from warrener.daemon.steps import Steps
from warrener.daemon.taking import AT_ONCE, MANY, Course, take_all
from warrener.facts.happenings import Event

NAME = Step(Verb.CHANGE, Thing.CLUSTER, "shop", (), NameCluster("shop"))


def queue(number: int) -> Step:
    name = f"q{number:03}"
    return Step(Verb.MAKE, Thing.QUEUE, name, (), MakeQueue(Queue("/", name, None, {})))


class Fake:
    """An executor that notes how many actions are under way."""

    def __init__(self, fails: str = "") -> None:
        self.taken: list[str] = []
        self.under_way = 0
        self.most = 0
        self.fails = fails
        self.steps = Steps()
        self.events: list[Event] = []
        self.hangs_up_at = -1

    async def take(self, action: Any) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        name = action.queue.name if isinstance(action, MakeQueue) else action.name
        if name == self.fails:
            raise StepFailed("no")
        self.taken.append(name)
        if len(self.taken) == self.hangs_up_at:
            self.steps.abandoned.set()

    async def all(self, todo: list[Step]) -> Course:
        return await take_all(todo, self, self.steps, self.events.append)  # type: ignore[arg-type]


async def said(fake: Fake) -> list[tuple[str, str, int, int]]:
    lines = []

    async def emit(line: Any) -> None:
        lines.append((line.subject, line.text, line.count, line.total))

    fake.steps.close()
    await fake.steps.forward(emit)
    return lines


@pytest.mark.parametrize("queues", [1, MANY - 1, MANY, 200])
async def test_all_are_taken_whatever_their_number(queues: int) -> None:
    fake = Fake()
    todo = [NAME, *(queue(number) for number in range(queues)), NAME]
    course = await fake.all(todo)
    assert sorted(fake.taken) == sorted(["shop", "shop", *(f"q{n:03}" for n in range(queues))])
    assert (fake.taken[0], fake.taken[-1]) == ("shop", "shop")
    assert len(course.done) == len(todo)
    assert (course.failed, course.left, course.called_off) == (None, [], False)
    assert fake.most == (1 if queues < MANY else AT_ONCE)


async def test_many_queues_are_one_count_and_one_event() -> None:
    fake = Fake()
    await fake.all([queue(number) for number in range(200)])
    assert await said(fake) == [("queues", "are declared", 200, 200)]
    assert [event.subject for event in fake.events] == ["200 queues"]


async def test_a_failure_ends_it_after_what_is_under_way() -> None:
    fake = Fake(fails="q050")
    todo = [queue(number) for number in range(200)] + [NAME]
    course = await fake.all(todo)
    assert course.failed is todo[50]
    assert course.why == "no"
    assert 50 <= len(course.done) < 50 + AT_ONCE
    assert len(course.done) + len(course.left) + 1 == len(todo)
    assert course.left[-1] is NAME
    assert fake.events[-1].kind == "apply.step_failed"


async def test_who_hangs_up_ends_it_after_what_is_under_way() -> None:
    fake = Fake()
    fake.hangs_up_at = 30
    todo = [queue(number) for number in range(200)] + [NAME]
    course = await fake.all(todo)
    assert course.called_off
    assert 30 <= len(course.done) < 30 + AT_ONCE
    assert len(course.done) + len(course.left) == len(todo)
