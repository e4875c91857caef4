"""What may run beside what, and what becomes of it when its caller or the cluster goes."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from warrener.control.operations import ProgressLine
from warrener.control.wire import Refusal, Refused
from warrener.daemon.control_server import Call
from warrener.daemon.errors import DaemonError
from warrener.daemon.steps import Steps
from warrener.daemon.works import Key, Whole, Works
from warrener.facts.ids import NodeName

N1, N2 = NodeName("n1"), NodeName("n2")


class Done(msgspec.Struct):
    """An answer."""

    what: str = "done"


class Caller:
    """Whoever asked: takes lines, may hang up."""

    def __init__(self) -> None:
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lines: list[str] = []

    async def emit(self, line: ProgressLine) -> None:
        self.lines.append(line.text)


def call() -> Call:
    return Caller()  # type: ignore[return-value]  # all that is used of a Call


class Held:
    """A work that goes on when the test says so."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.go_on = asyncio.Event()
        self.steps: Steps | None = None

    async def __call__(self, steps: Steps) -> Done:
        self.steps = steps
        steps.say("n1", "works")
        self.began.set()
        await self.go_on.wait()
        return Done()


async def refused(works: Works, key: Key, what: str = "drained") -> Refused:
    async def never(steps: Steps) -> Done:
        raise AssertionError("it must not begin")

    with pytest.raises(Refused) as caught:
        await works.perform(key, what, never, call())
    return caught.value


async def begun(works: Works, key: Key, what: str = "drained") -> tuple[Held, asyncio.Task[Done]]:
    held = Held()
    task = asyncio.create_task(works.perform(key, what, held, call()))
    await held.began.wait()
    return held, task


@pytest.fixture
async def works() -> AsyncIterator[Works]:
    made = Works()
    yield made
    await made.close()


async def test_a_work_answers_and_tells_its_progress(works: Works) -> None:
    caller = Caller()

    async def work(steps: Steps) -> Done:
        steps.say("n1", "one")
        steps.say("n1", "two", done=True)
        return Done("all")

    answer = await works.perform(N1, "drained", work, caller)  # type: ignore[arg-type]
    assert (answer.what, caller.lines) == ("all", ["one", "two"])


async def test_two_nodes_at_once_but_not_one_twice(works: Works) -> None:
    first, one = await begun(works, N1)
    second, two = await begun(works, N2, "restarted")
    found = await refused(works, N1)
    assert (found.refusal, found.message) == (
        Refusal.BUSY,
        "n1 is being drained already; wait until that is done",
    )
    assert works.begun_before(N2) == [N1]
    assert works.begun_before(N1) == []
    first.go_on.set()
    second.go_on.set()
    assert (await one, await two) == (Done(), Done())
    assert works.begun_before(N2) == []


async def test_what_concerns_the_whole_cluster_excludes_everything(works: Works) -> None:
    held, task = await begun(works, Whole.NODES, "changed")
    for key in (N1, Whole.SESSIONS):
        found = await refused(works, key)
        assert found.message == (
            "the cluster's nodes are being changed; wait until that is done, or end it with "
            "Ctrl-C where it was started"
        )
    found = await refused(works, Whole.NODES)
    assert found.message.startswith("the cluster's nodes are being changed already")
    held.go_on.set()
    await task


async def test_nothing_of_the_whole_begins_while_something_is_done_to_a_node(works: Works) -> None:
    held, task = await begun(works, N1, "restarted")
    found = await refused(works, Whole.LEADERS, "balanced")
    assert found.message == (
        "n1 is being restarted; queue leaders can be balanced when that is done"
    )
    held.go_on.set()
    await task


async def test_what_fails_for_a_reason_is_refused_with_it(works: Works) -> None:
    async def work(steps: Steps) -> Done:
        raise DaemonError("the disk is full")

    with pytest.raises(Refused, match="the disk is full") as caught:
        await works.perform(N1, "drained", work, call())
    assert caught.value.refusal is Refusal.FAILED
    held, task = await begun(works, N1)  # and another can begin
    held.go_on.set()
    await task


async def test_a_bug_stays_a_bug(works: Works) -> None:
    async def work(steps: Steps) -> Done:
        raise KeyError("oops")

    with pytest.raises(KeyError):
        await works.perform(N1, "drained", work, call())


async def test_a_caller_that_hangs_up_is_noted_and_the_work_goes_on(works: Works) -> None:
    held, caller = Held(), Caller()
    task = asyncio.create_task(works.perform(N1, "drained", held, caller))  # type: ignore[arg-type]
    await held.began.wait()
    assert held.steps is not None
    caller.gone.set_result(None)
    await asyncio.sleep(0)
    assert held.steps.abandoned.is_set()
    held.go_on.set()
    assert await task == Done()


async def test_a_close_calls_everything_off_and_lets_nothing_begin(works: Works) -> None:
    _, one = await begun(works, N1)
    _, two = await begun(works, N2)
    await works.close()
    for task in (one, two):
        with pytest.raises(Refused, match="called off: the cluster is being stopped"):
            await task
    assert (await refused(works, N1)).refusal is Refusal.NOT_YET
