"""Automatic weights in the daemon: what is looked up, set, told and refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.daemon.scene import N1, N2, Scene, ask

from warrener.control import operations as ops
from warrener.control.balance_operations import AUTO_WEIGHTS, AutoWeightsRequest
from warrener.control.wire import Refusal, Refused
from warrener.facts.history import HistorySettings
from warrener.planner.load import HostLoad, Load, NodeLoad


def quotas(scene: Scene, *cores: float) -> None:
    """What the history says that nodes may use."""
    load = Load(
        nodes=tuple(
            NodeLoad(name, "127.0.0.1", cores=quota)
            for name, quota in zip((N1, N2), cores, strict=True)
        ),
        hosts=(HostLoad("127.0.0.1", 8),),
        queues=(),
    )

    async def known(window: float) -> Load:
        return load

    scene.service.history.load = known  # type: ignore[method-assign]  # a stand-in


async def follow(scene: Scene) -> list[dict[str, Any]]:
    """One look; the changes that were told."""
    before = len(scene.service.events.recent(1000))
    await scene.service.weighing.follow()
    new = scene.service.events.recent(1000)[before:]
    return [
        {"node": line.subject, "reason": line.reason, **line.detail}
        for line in new
        if line.kind == "weight.followed"
    ]


async def test_weights_go_to_where_capacity_is_step_by_step(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.running() as balancer:
        (answer,) = await ask(scene.folder, AUTO_WEIGHTS, AutoWeightsRequest(True))
        assert (answer.on, answer.before) == (True, False)
        quotas(scene, 1.2, 0.4)
        first = await follow(scene)
        assert balancer.weights == {N1: 125, N2: 80}
        assert first[0] == {
            "node": N1,
            "reason": "capacity",
            "was": 100,
            "is": 125,
            "wanted": 150,
            "cores": 1.2,
            "free": 1.2,
            "why": "1.20 cores (its quota): 1.20 for sessions",
        }
        await follow(scene)
        await follow(scene)
        assert balancer.weights == {N1: 150, N2: 51}
        assert await follow(scene) == []  # near enough
        (status,) = await ask(scene.folder, ops.STATUS, ops.StatusRequest())
        assert status.balancer.auto_weights
        assert status.nodes[0].weight_reason == (
            "1.20 cores (its quota): 1.20 for sessions, fits 150"
        )


async def test_by_hand_is_refused_while_it_is_on(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.running() as balancer:
        await ask(scene.folder, AUTO_WEIGHTS, AutoWeightsRequest(True))
        with pytest.raises(Refused, match="auto-weights off` leaves them to you"):
            await ask(scene.folder, ops.SET_WEIGHT, ops.SetWeightRequest("n1", 5))
        (answer,) = await ask(scene.folder, AUTO_WEIGHTS, AutoWeightsRequest(False))
        assert (answer.on, answer.before, answer.weights) == (False, True, {N1: 100, N2: 100})
        await ask(scene.folder, ops.SET_WEIGHT, ops.SetWeightRequest("n1", 5))
        assert balancer.weights[N1] == 5
        (status,) = await ask(scene.folder, ops.STATUS, ops.StatusRequest())
        assert not status.balancer.auto_weights
        assert scene.kinds().count("weights.auto") == 2


async def test_a_node_that_nobody_wants_used_stays_so(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.running() as balancer:
        balancer.weights[N2] = 0
        scene.service.weighing.set(True)
        quotas(scene, 0.4, 1.2)
        await follow(scene)
        assert balancer.weights == {N1: 80, N2: 0}


async def test_what_is_not_known_changes_nothing_and_is_told_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.running() as balancer:
        scene.service.weighing.set(True)
        known = scene.service.history.load

        async def nothing(window: float) -> Load:
            raise Refused(Refusal.NOT_YET, "there is no history of the last 60 s")

        scene.service.history.load = nothing  # type: ignore[method-assign]  # a stand-in
        assert await follow(scene) == await follow(scene) == []
        assert balancer.weights == {N1: 100, N2: 100}
        assert scene.kinds().count("weights.unknown") == 1
        scene.service.history.load = known  # type: ignore[method-assign]  # as it was


async def test_a_calibration_is_gone_by_if_there_is_one(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.running() as balancer:
        scene.service.weighing.set(True)
        (scene.folder.path / "calibration.json").write_text("{}")
        quotas(scene, 1.2, 0.4)
        await follow(scene)
        assert balancer.weights == {N1: 100, N2: 100}
        (trouble,) = [
            line.detail["error"]
            for line in scene.service.events.recent(100)
            if line.kind == "weights.unknown"
        ]
        assert "calibration.json" in str(trouble)


async def test_without_a_history_it_can_not_be_switched_on(tmp_path: Path) -> None:
    scene = Scene(tmp_path, history=HistorySettings(enabled=False))
    async with scene.running():
        with pytest.raises(Refused, match="weights follow the history, and none is kept"):
            await ask(scene.folder, AUTO_WEIGHTS, AutoWeightsRequest(True))


async def test_the_description_says_whether_it_is_on(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    spec = scene.cluster.spec
    scene.cluster.spec = replace(spec, balancer=replace(spec.balancer, auto_weights=True))
    from warrener.daemon.weighing import Weighing

    assert Weighing(scene.service).on
    assert not scene.service.weighing.on
