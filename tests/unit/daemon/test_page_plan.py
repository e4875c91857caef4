"""Questions of many viewers: one at a time, the newest of each, what is alike only once."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from tests.unit.planner.scene import calibration, load, queue, work_told

from warrener.control.plan_history_operations import PlanWorkAnswer
from warrener.control.wire import Refusal, Refused
from warrener.daemon.page_plan import COSTS_WINDOW, MOST_WAITING, SELDOM, SOME_TIME, SOON, PagePlan
from warrener.daemon.plan_worker import Given
from warrener.daemon.reckoner import Reckoner, Unanswered
from warrener.dashboard.plan import NoAnswer, Plan, Question, WhyNot
from warrener.planner.calibration_file import FILE, write_calibration
from warrener.planner.load import Load


class FakeReckoner(Reckoner):
    """Answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Given] = []
        self.asked: list[Question] = []
        self.may = asyncio.Semaphore(0)
        self.error: Unanswered | None = None

    async def give(self, given: Given) -> Plan:
        self.given.append(given)
        return Plan(
            number=given.number,
            calibrated=given.calibration is not None,
            why_uncalibrated=given.why_uncalibrated,
        )

    async def ask(self, question: Question) -> bytes:
        self.asked.append(question)
        await self.may.acquire()
        if self.error is not None:
            raise self.error
        return f"{question.load:g} of {len(self.given)}".encode()


class Scene:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = 1000.0
        self.refused = ""
        self.reckoner = FakeReckoner()
        self.plan = PagePlan(
            folder,
            self.load,
            now=lambda: self.clock,
            monotonic=lambda: self.clock,
            work=self.work,
            reckoner=self.reckoner,
        )
        self.picked: list[float] = []
        self.kept = 0.0  # s of history

    async def work(self, window: float) -> PlanWorkAnswer:
        self.picked.append(window)
        if not self.kept:
            raise Refused(Refusal.NOT_YET, "no history is kept")
        return msgspec.structs.replace(work_told([1.0]), seconds=self.kept)

    async def load(self, window: float) -> Load:
        if self.refused:
            raise Refused(Refusal.NOT_YET, self.refused)
        return load(queue("a", 10))

    async def known(self) -> None:
        await asyncio.to_thread(write_calibration, self.folder, calibration())
        await self.plan.bring_up_to_date()

    async def asked(self, number: int) -> None:
        async with asyncio.timeout(5):
            while len(self.reckoner.asked) < number:  # noqa: ASYNC110
                await asyncio.sleep(0)


async def test_without_history_there_is_no_answer_and_a_reason(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.refused = "no history is kept"
    await scene.plan.bring_up_to_date()
    assert scene.plan.plan.why_not == "no history is kept"
    with pytest.raises(NoAnswer, match="no history is kept") as why:
        await scene.plan.ask(Question(), "one")
    assert why.value.reason is WhyNot.UNKNOWN
    await scene.plan.close()


async def test_without_calibration_it_says_so_and_a_broken_one_is_named(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await scene.plan.bring_up_to_date()
    assert (scene.plan.plan.number, scene.plan.plan.calibrated) == (1, False)
    assert "nobody has measured" in scene.plan.plan.why_uncalibrated
    await asyncio.to_thread((tmp_path / FILE).write_text, "{}")
    await scene.plan.bring_up_to_date()
    assert FILE in scene.plan.plan.why_uncalibrated
    await scene.known()
    assert scene.plan.plan.calibrated
    await scene.plan.close()


async def test_the_history_is_asked_where_nobody_has_measured_and_not_too_often(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    await scene.plan.bring_up_to_date()
    assert scene.picked == [COSTS_WINDOW]
    assert scene.reckoner.given[-1].work is None
    for kept, good in ((60.0, SELDOM), (1_000.0, 200.0), (86_400.0, SOME_TIME)):
        scene.kept = kept
        scene.clock += SOME_TIME
        before = len(scene.picked)
        await scene.plan.bring_up_to_date()
        scene.clock += good - 1
        await scene.plan.bring_up_to_date()
        assert len(scene.picked) == before + 1
        assert scene.reckoner.given[-1].work is not None
        scene.clock += 1
        await scene.plan.bring_up_to_date()
        assert len(scene.picked) == before + 2
    await scene.known()
    assert scene.reckoner.given[-1].work is None
    await scene.plan.close()


async def test_it_is_brought_up_to_date_when_that_is_due(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.plan.look()
    scene.plan.look()
    await asyncio.sleep(0)
    assert scene.plan._looking is not None
    await scene.plan._looking
    assert len(scene.reckoner.given) == 1
    scene.clock += SOON
    scene.plan.look()
    assert scene.plan._looking.done()
    await asyncio.to_thread(write_calibration, tmp_path, calibration())
    scene.plan.look()
    assert scene.plan._looking.done()
    scene.clock += SOON  # there is a calibration by now, which is noticed sooner
    scene.plan.look()
    await scene.plan._looking
    assert len(scene.reckoner.given) == 2
    assert scene.plan.plan.calibrated
    scene.clock += SELDOM - 1
    scene.plan.look()
    assert scene.plan._looking.done()
    scene.clock += 1
    scene.plan.look()
    await scene.plan._looking
    assert len(scene.reckoner.given) == 3
    await scene.plan.close()


async def test_who_asks_looks_as_well(tmp_path: Path) -> None:
    """A script with the token, and no page open anywhere."""
    scene = Scene(tmp_path)
    await scene.known()
    scene.reckoner.may.release()
    assert await scene.plan.ask(Question(load=2), "a") == b"2 of 1"
    assert len(scene.reckoner.given) == 1
    scene.clock += SELDOM + 1
    await scene.plan.ask(Question(load=2), "a")  # kept, and of the load before
    async with asyncio.timeout(5):
        while len(scene.reckoner.given) < 2 or scene.plan.plan.number < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
    scene.reckoner.may.release()
    assert await scene.plan.ask(Question(load=2), "a") == b"2 of 2"


async def test_a_viewer_s_newer_question_takes_the_place_of_the_one_that_waits(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    await scene.known()
    first = asyncio.create_task(scene.plan.ask(Question(load=2.0), "one"))
    await scene.asked(1)
    others = [
        asyncio.create_task(scene.plan.ask(Question(load=times), "two")) for times in (3.0, 4.0)
    ]
    await asyncio.sleep(0)
    with pytest.raises(NoAnswer) as why:
        await others[0]
    assert why.value.reason is WhyNot.OVERTAKEN
    scene.reckoner.may.release()
    scene.reckoner.may.release()
    assert (await first, await others[1]) == (b"2 of 1", b"4 of 1")
    assert [question.load for question in scene.reckoner.asked] == [2.0, 4.0]
    await scene.plan.close()


async def test_the_question_that_is_being_reckoned_is_overtaken_too(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await scene.known()
    first = asyncio.create_task(scene.plan.ask(Question(load=2.0), "one"))
    await scene.asked(1)
    second = asyncio.create_task(scene.plan.ask(Question(load=3.0), "one"))
    await asyncio.sleep(0)
    scene.reckoner.may.release()
    scene.reckoner.may.release()
    with pytest.raises(NoAnswer):
        await first
    assert await second == b"3 of 1"
    await scene.plan.close()


async def test_what_many_ask_is_reckoned_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await scene.known()
    asking = [
        asyncio.create_task(scene.plan.ask(Question(load=2.0), f"viewer {number}"))
        for number in range(5)
    ]
    scene.reckoner.may.release()
    assert set(await asyncio.gather(*asking)) == {b"2 of 1"}
    assert await scene.plan.ask(Question(load=2.0), "another") == b"2 of 1"  # it is kept
    assert len(scene.reckoner.asked) == 1
    await scene.plan.bring_up_to_date()  # about another load it has another answer
    scene.reckoner.may.release()
    assert await scene.plan.ask(Question(load=2.0), "another") == b"2 of 2"
    await scene.plan.close()


async def test_too_many_are_refused_and_a_failure_is_told(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await scene.known()
    asking = [
        asyncio.create_task(scene.plan.ask(Question(load=2.0), f"viewer {number}"))
        for number in range(MOST_WAITING)
    ]
    await scene.asked(1)
    with pytest.raises(NoAnswer) as why:
        await scene.plan.ask(Question(load=3.0), "one more")
    assert why.value.reason is WhyNot.BUSY
    scene.reckoner.error = Unanswered("its process ended")
    scene.reckoner.may.release()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert {one.reason for one in found if isinstance(one, NoAnswer)} == {WhyNot.FAILED}
    assert len(found) == MOST_WAITING
    await scene.plan.close()


async def test_who_waits_when_it_closes_is_told(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await scene.known()
    waiting = asyncio.create_task(scene.plan.ask(Question(load=2.0), "one"))
    await scene.asked(1)
    await scene.plan.close()
    with pytest.raises(NoAnswer, match="stopping"):
        await waiting
