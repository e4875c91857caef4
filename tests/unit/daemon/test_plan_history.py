"""What the planner gets of the daemon's history, over the control socket."""

from pathlib import Path

import pytest
from tests.unit.daemon.scene import N1, Scene, ask
from tests.unit.daemon.test_history import keep, sample

from warrener.control.plan_history_operations import (
    PLAN_POINTS,
    PLAN_WORK,
    PlanPointsRequest,
    PlanWorkRequest,
)
from warrener.control.wire import Refusal, Refused
from warrener.daemon import history as module
from warrener.facts.capability import Capabilities


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(module, "FIRST", 3600.0)  # samples only when a test takes one
    return Scene(tmp_path)


async def test_what_nodes_had_to_do(scene: Scene) -> None:
    async with scene.running():
        await keep(scene, sample(80.0, 10.0), sample(90.0, 20.0))
        (answer,) = await ask(scene.folder, PLAN_WORK, PlanWorkRequest())
        assert answer.cluster == "warren"
        assert (answer.seconds, len(answer.stretches)) == (20, 2)
        assert not answer.told_by_nodes
        scene.cluster.capabilities = Capabilities(driver="ssh")
        (answer,) = await ask(scene.folder, PLAN_WORK, PlanWorkRequest())
        assert answer.told_by_nodes
        assert answer.hosts == {N1: "127.0.0.1"}
        first, last = answer.stretches
        assert first.cpu == {N1: 0.5}
        assert first.rates == {}  # the queues' leader isn't among the nodes of that sample
        assert last.passed == 60
        (none,) = await ask(scene.folder, PLAN_WORK, PlanWorkRequest(5.0))
        assert none.stretches == []


async def test_how_single_queues_did(scene: Scene) -> None:
    async with scene.running():
        await keep(scene, sample(80.0, 10.0), sample(90.0, 20.0))
        wanted = [("/", "jobs.a"), ("/", "none")]
        (answer,) = await ask(scene.folder, PLAN_POINTS, PlanPointsRequest(60.0, wanted))
        (line,) = answer.queues
        assert line.name == "jobs.a"
        assert line.points == [(10, 0, 0), (20, 0, 0)]
        with pytest.raises(Refused) as refused:
            await ask(scene.folder, PLAN_POINTS, PlanPointsRequest(0.0, wanted))
        assert refused.value.refusal is Refusal.BAD_ARGUMENT
