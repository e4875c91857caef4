"""What the planner is told of sessions."""

import asyncio
import math
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.daemon.scene import N1, N2, Scene, ask
from tests.unit.planner.test_census import session
from tests.unit.planner.test_policies import work

from warrener.control.balance_operations import PLAN_SESSIONS, PlanSessionsRequest
from warrener.control.wire import Refused
from warrener.daemon.census import KEPT
from warrener.facts.data_plane import Lack, Unsupported
from warrener.planner.load_wire import sessions_from_wire


async def test_rates_since_the_count_before(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.running() as balancer:
        balancer.open = (session(1, 100), session(2, 500, client="10.0.0.2:9"))
        scene.service._census.take()
        scene.now += 60
        balancer.open = (session(1, 700), session(2, 500, client="10.0.0.2:9"))
        (answer,) = await ask(scene.folder, PLAN_SESSIONS, PlanSessionsRequest())
    assert answer.seconds == 60
    assert [(line.sessions, line.rate) for line in answer.kinds] == [(1, 10), (1, 0)]
    assert answer.lifetime is None
    assert answer.addresses == {"10.0.0.1": 1, "10.0.0.2": 1}
    assert answer.weights == {N1: 100, N2: 100}
    assert (answer.locality, answer.follows_capacity, answer.can_be_placed) == (False, False, True)


async def test_without_a_count_it_is_since_they_were_opened(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.running() as balancer:
        scene.now = 25
        balancer.opened = 1
        balancer.open = (session(1, 100, opened_at=5.0),)
        (answer,) = await ask(scene.folder, PLAN_SESSIONS, PlanSessionsRequest())
        assert [(line.sessions, line.rate) for line in answer.kinds] == [(1, 5)]
        assert answer.lifetime is None
        balancer.open = ()
        (answer,) = await ask(scene.folder, PLAN_SESSIONS, PlanSessionsRequest())
        assert answer.kinds == ()


async def test_counts_are_few_and_the_window_chooses(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.running() as balancer:
        await asyncio.sleep(0)  # the first count is taken
        for minute in range(30):
            scene.now = 60.0 * minute
            balancer.open = (session(1, minute * minute),)
            scene.service._census.take()
        assert len(scene.service._census._counts) == KEPT
        scene.now += 30
        (short,) = await ask(scene.folder, PLAN_SESSIONS, PlanSessionsRequest(100))
        (whole,) = await ask(scene.folder, PLAN_SESSIONS, PlanSessionsRequest(3600))
    assert short.seconds == 90
    assert whole.seconds == 630


async def test_a_data_plane_that_passes_bytes_tells_how_many(tmp_path: Path) -> None:
    def refuse() -> None:
        raise Unsupported(Lack.SESSIONS)

    scene = Scene(tmp_path)
    async with scene.running() as balancer:
        balancer.sessions = refuse
        whole = balancer.statistics()
        balancer.statistics = lambda: replace(whole, sessions=40)
        scene.service._census.take()
        (answer,) = await ask(scene.folder, PLAN_SESSIONS, PlanSessionsRequest())
    assert [(line.sessions, line.rate) for line in answer.kinds] == [(40, 0)]
    assert "HAProxy doesn't tell sessions apart" in answer.warnings[0]
    load = work(1, 1, 1)
    told = sessions_from_wire(answer, replace(load, through_balancer=400))
    assert told.rate == pytest.approx(400)
    assert math.isinf(told.lifetime)


async def test_while_it_stops_there_is_no_answer(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.running():
        pass
    with pytest.raises(Refused, match="the cluster is stopping"):
        await scene.service._census.plan_sessions(PlanSessionsRequest(), None)  # type: ignore[arg-type]  # no call is needed
