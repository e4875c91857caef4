"""The planner's outlook in figures, and when it is worked out."""

import asyncio
import math
from pathlib import Path

from tests.unit.planner.scene import N1, N2, N3, calibration, load, queue

from warrener.control.wire import Refusal, Refused
from warrener.daemon.plan_values import OLD, SELDOM, Planned, plan_values
from warrener.planner.calibration_file import write_calibration
from warrener.planner.costs import QueueType
from warrener.planner.load import Load
from warrener.planner.outlook import outlook


def busy() -> Load:
    return load(
        queue("a", 400.0, consumers=2, service_time=0.004, prefetch=1, ready=1.0, unacked=3.0),
        queue("b", 500.0, consumers=1, service_time=0.004, prefetch=1, ready=9.0),
    )


def test_figures_are_those_of_the_outlook() -> None:
    found = outlook(busy(), calibration())
    values = plan_values(found, 77.0)
    assert (values.at, values.load, values.growing) == (77.0, 900.0, 1)
    assert values.headroom == found.reckoned.breaks_at
    assert values.capacity == found.capacity
    assert set(values.headroom_without) == {N1, N2, N3}
    assert set(values.node_rho) == {N1, N2, N3}
    assert values.rho["consumers"] == max(
        part.utilisation for part in found.reckoned.parts if part.kind == "consumers"
    )
    a, b = found.queues
    assert values.predicted_time == a.response_time
    assert values.predicted_length == a.length
    assert values.measured_length == 13.0
    assert values.queues["/", "a"].rho == max(
        station.utilisation for station in (a.process, a.consumers) if station is not None
    )
    assert values.queues["/", "b"].response_time == math.inf == b.response_time


def test_what_lies_in_a_stream_is_no_length() -> None:
    log = queue("log", 10.0, type=QueueType.STREAM, consumers=1, ready=9_000.0)
    values = plan_values(outlook(load(*busy().queues, log), calibration()), 1.0)
    assert values.measured_length == 13.0


def test_without_load_nothing_is_divided_by_nothing() -> None:
    values = plan_values(outlook(load(), calibration()), 1.0)
    assert (values.load, values.predicted_time, values.measured_time) == (0.0, None, None)
    assert values.headroom == math.inf


class Scene:
    def __init__(self, folder: Path) -> None:
        self.now = 1000.0
        self.loads = 0
        self.refused = False
        self.planned = Planned(folder, self.load, now=lambda: self.now, monotonic=lambda: self.now)

    async def load(self, window: float) -> Load:
        self.loads += 1
        if self.refused:
            raise Refused(Refusal.NOT_YET, "no history yet")
        return busy()

    async def asked(self) -> bool:
        """Asks as a scrape does, and lets what that begins come to its end."""
        known = self.planned.current() is not None
        if self.planned._work is not None:
            await self.planned._work
        return known


async def test_without_a_calibration_there_is_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    assert not await scene.asked()
    assert not await scene.asked()
    assert scene.loads == 0
    await scene.planned.close()


async def test_it_is_worked_out_for_a_scrape_and_seldom(tmp_path: Path) -> None:
    write_calibration(tmp_path, calibration())
    scene = Scene(tmp_path)
    assert not await scene.asked()
    for _ in range(5):
        assert await scene.asked()
    assert scene.loads == 1
    scene.now += SELDOM
    assert await scene.asked()
    assert scene.loads == 2
    await scene.planned.close()


async def test_what_is_old_is_told_no_more(tmp_path: Path) -> None:
    write_calibration(tmp_path, calibration())
    scene = Scene(tmp_path)
    await scene.asked()
    scene.refused = True
    scene.now += OLD - 1
    assert await scene.asked()
    scene.now += 2
    assert not await scene.asked()
    await scene.planned.close()


async def test_closing_ends_what_is_under_way(tmp_path: Path) -> None:
    write_calibration(tmp_path, calibration())
    scene = Scene(tmp_path)
    scene.planned.current()
    await scene.planned.close()
    assert scene.planned._work is not None
    assert scene.planned._work.done()
    await asyncio.sleep(0)
