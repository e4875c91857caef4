"""Progress reaches the caller in order, counts only as the newest, and never holds up the work."""

import asyncio

from warrener.control.operations import ProgressLine
from warrener.daemon.steps import KEEP, Steps
from warrener.facts.happenings import Progress


class Caller:
    """Takes lines one at a time, each when the test lets it."""

    def __init__(self) -> None:
        self.lines: list[ProgressLine] = []
        self.takes = asyncio.Semaphore(0)

    async def emit(self, line: ProgressLine) -> None:
        self.lines.append(line)
        await self.takes.acquire()


async def take_all(line: ProgressLine) -> None:
    pass


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_everything_said_comes_in_order() -> None:
    steps, caller = Steps(), Caller()
    steps.say("n1", "stops")
    steps.pass_on(Progress("n1", "stopped", done=True))
    steps.say("n1", "no", failed=True)
    steps.close()
    for _ in range(3):
        caller.takes.release()
    await steps.forward(caller.emit)
    assert caller.lines == [
        ProgressLine("n1", "stops"),
        ProgressLine("n1", "stopped", done=True),
        ProgressLine("n1", "no", failed=True),
    ]


async def test_a_slow_caller_gets_the_newest_count_and_no_step_is_lost() -> None:
    steps, caller = Steps(), Caller()
    forwarding = asyncio.create_task(steps.forward(caller.emit))
    steps.say("n1", "begins")
    await settle()
    for number in range(1000):
        steps.count("n1", "moves", number, 1000)
    steps.say("n1", "ends")
    steps.close()
    for _ in range(3):
        caller.takes.release()
    await forwarding
    assert [(line.text, line.count) for line in caller.lines] == [
        ("begins", 0),
        ("moves", 999),
        ("ends", 0),
    ]


async def test_a_caller_that_reads_nothing_costs_a_bounded_number_of_lines() -> None:
    steps, caller = Steps(), Caller()
    for number in range(10 * KEEP):
        steps.say("n1", str(number))
    steps.close()
    for _ in range(KEEP):
        caller.takes.release()
    await steps.forward(caller.emit)
    assert len(caller.lines) == KEEP
    assert caller.lines[-1].text == str(10 * KEEP - 1)


async def test_a_silence_is_filled_with_the_last_line() -> None:
    steps = Steps(repeat=0)
    told: list[ProgressLine] = []

    async def emit(line: ProgressLine) -> None:
        told.append(line)
        if len(told) == 3:
            steps.close()

    steps.say("n1", "boots")
    await steps.forward(emit)
    assert told == [ProgressLine("n1", "boots")] * 3
