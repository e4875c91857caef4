"""The process that reckons: what it is told and says, and that it comes and goes."""

import asyncio
import contextlib
import io
import os
import signal
import struct
from collections.abc import AsyncIterator

import msgspec
import psutil
import pytest
from tests.unit.planner.scene import calibration, load, queue, work_told

from warrener.daemon.plan_worker import FOUND, WRONG, Asked, Given, Worker, read, write
from warrener.daemon.reckoner import Reckoner, Unanswered
from warrener.dashboard.plan import Answer, Plan, Question
from warrener.planner.load_wire import to_wire


def given(number: int = 1, *, calibrated: bool = True) -> Given:
    return Given(
        load=to_wire(load(queue("a", 100, consumers=1, service_time=0.005))),
        calibration=calibration() if calibrated else None,
        number=number,
        at=5.0,
        window=300.0,
    )


def test_a_worker_is_given_a_load_and_asked_about_it() -> None:
    worker = Worker()
    asked = msgspec.json.encode(Asked(Question(load=2.0)))
    assert worker.reply(asked)[:1] == WRONG
    told = worker.reply(msgspec.json.encode(given()))
    assert told[:1] == FOUND
    assert msgspec.json.decode(told[1:], type=Plan).calibrated
    answer = msgspec.json.decode(worker.reply(asked)[1:], type=Answer)
    assert answer.after is not None
    assert answer.after.published == 200
    wrong = worker.reply(msgspec.json.encode(Asked(Question(kill=("n9",)))))
    assert wrong[:1] == WRONG
    assert b"no node n9" in wrong


def test_where_nobody_has_measured_the_history_tells_what_messages_cost() -> None:
    worker = Worker()
    rates = [100.0 * number for number in range(40)]

    def plan(rates: list[float]) -> Plan:
        asked = msgspec.structs.replace(
            given(calibrated=False), work=work_told(rates), why_uncalibrated="nobody did"
        )
        return msgspec.json.decode(worker.reply(msgspec.json.encode(asked))[1:], type=Plan)

    told = plan(rates)
    assert (told.calibrated, told.by_history, told.why_uncalibrated) == (True, True, "")
    assert told.breaks_at is not None
    answer = msgspec.json.decode(
        worker.reply(msgspec.json.encode(Asked(Question(load=2.0))))[1:], type=Answer
    )
    assert any(
        "of history; `warrener plan calibrate` measures it" in warning
        for warning in answer.warnings
    )
    untold = plan([100.0] * 40)  # it hasn't varied
    assert (untold.calibrated, untold.by_history) == (False, False)
    assert untold.why_uncalibrated.startswith("nobody did, and the history doesn't tell it: ")
    measured = msgspec.structs.replace(given(), work=None)
    told = msgspec.json.decode(worker.reply(msgspec.json.encode(measured))[1:], type=Plan)
    assert (told.calibrated, told.by_history) == (True, False)


@pytest.mark.parametrize(
    "raw", [b"", b"\0\0", struct.pack(">I", 5) + b"four", struct.pack(">I", 2**31)]
)
def test_a_message_that_is_cut_off_or_too_long_is_none(raw: bytes) -> None:
    with pytest.raises(EOFError):
        read(io.BytesIO(raw))


def test_messages_come_out_as_they_went_in() -> None:
    stream = io.BytesIO()
    write(stream, b"one")
    write(stream, b"")
    stream.seek(0)
    assert (read(stream), read(stream)) == (b"one", b"")


@contextlib.asynccontextmanager
async def reckoning(*, idle: float = 60.0, patience: float = 30.0) -> AsyncIterator[Reckoner]:
    made = Reckoner(idle=idle, patience=patience)
    try:
        yield made
    finally:
        await made.close()


async def test_one_process_answers_all_and_is_gone_afterwards() -> None:
    async with reckoning() as reckoner:
        assert reckoner.pid is None
        plan = await reckoner.give(given(4))
        assert plan.number == 4
        process = psutil.Process(reckoner.pid)
        assert process.nice() > 0
        answers = await asyncio.gather(*(reckoner.ask(Question(load=n)) for n in (1.0, 2.0, 3.0)))
        assert [msgspec.json.decode(one, type=Answer).number for one in answers] == [4, 4, 4]
        assert reckoner.started == 1
        with pytest.raises(Unanswered, match="no node n9") as why:
            await reckoner.ask(Question(kill=("n9",)))
        assert why.value.by_question
    assert not process.is_running()
    with pytest.raises(Unanswered, match="stopping"):
        await reckoner.ask(Question())


async def test_one_that_dies_is_started_again_and_told_the_load() -> None:
    async with reckoning() as reckoner:
        await reckoner.give(given(4))
        assert reckoner.pid is not None
        os.kill(reckoner.pid, signal.SIGKILL)
        # It is noticed at the next question, which has no answer then.
        with contextlib.suppress(Unanswered):
            await reckoner.ask(Question())
        assert msgspec.json.decode(await reckoner.ask(Question()), type=Answer).number == 4
        assert reckoner.started == 2


async def test_one_that_hangs_is_ended() -> None:
    async with reckoning() as reckoner:
        await reckoner.give(given())
        assert reckoner.pid is not None
        os.kill(reckoner.pid, signal.SIGSTOP)
        reckoner._patience = 0.1
        with pytest.raises(Unanswered, match="longer than"):
            await reckoner.ask(Question())
        reckoner._patience = 30.0
        await reckoner.ask(Question())
        assert reckoner.started == 2


async def test_nobody_asks_so_it_ends() -> None:
    async with reckoning(idle=0.0) as reckoner:
        await reckoner.give(given())
        async with asyncio.timeout(10):
            while reckoner.pid is not None:  # noqa: ASYNC110  it happens in a thread's time
                await asyncio.sleep(0.01)
        await reckoner.ask(Question())
        assert reckoner.started == 2


async def test_it_ends_with_who_started_it() -> None:
    """Its stdin ends, as it does when the daemon is killed."""
    async with reckoning() as reckoner:
        await reckoner.give(given())
        process = reckoner._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        assert await asyncio.to_thread(process.wait, 10) == 0
