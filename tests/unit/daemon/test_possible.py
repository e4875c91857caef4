"""What the driver lacks is refused before anything is done."""

from pathlib import Path
from typing import Any

import pytest
from tests.unit.daemon.scene import Scene, ask

from warrener.control import config_operations as config_ops
from warrener.control import count_operations as spread_ops
from warrener.control import node_operations as node_ops
from warrener.control import operations as ops
from warrener.control.registry import OPERATIONS
from warrener.control.wire import Refusal, Refused
from warrener.daemon.possible import NEEDS
from warrener.facts.capability import WITHOUT_HOSTS, Can, Capabilities

REQUESTS: list[tuple[Any, Any]] = [
    (node_ops.ADD_NODE, node_ops.AddNodeRequest()),
    (node_ops.REMOVE_NODE, node_ops.RemoveNodeRequest("n2")),
    (node_ops.REPLACE_NODE, node_ops.ReplaceNodeRequest("n2")),
    (node_ops.STOP_APP, node_ops.StopAppRequest("n2")),
    (node_ops.START_APP, node_ops.StartAppRequest("n2")),
    (ops.RESTART, ops.RestartRequest("n2")),
    (ops.LEADERS_PLAN, ops.LeadersPlanRequest()),
    (config_ops.SET_CONFIG, config_ops.SetConfigRequest("heartbeat", "20")),
]


def without_hosts(scene: Scene, **more: str) -> None:
    lacks = {**WITHOUT_HOSTS, **{Can(name): why for name, why in more.items()}}
    scene.cluster.capabilities = Capabilities(lacks, theirs=True, driver="attached")


def test_what_needs_something_is_an_operation() -> None:
    assert set(NEEDS) <= set(OPERATIONS)
    assert set(NEEDS.values()) == set(Can) - {Can.MAINTENANCE, Can.PLUGINS}


@pytest.mark.parametrize(("operation", "request_"), REQUESTS, ids=lambda one: str(one)[:30])
async def test_refused_with_the_drivers_reason(
    tmp_path: Path, operation: Any, request_: Any
) -> None:
    scene = Scene(tmp_path)
    without_hosts(scene)
    async with scene.running():
        with pytest.raises(Refused) as caught:
            await ask(scene.folder, operation, request_)
        assert scene.story == []
    assert caught.value.refusal is Refusal.UNSUPPORTED
    assert caught.value.message == WITHOUT_HOSTS[NEEDS[operation.name]]


async def test_a_plan_that_only_shows_is_made(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    without_hosts(scene)
    async with scene.running():
        request = ops.LeadersPlanRequest(sample=0.5, dry_run=True)
        answer = (await ask(scene.folder, ops.LEADERS_PLAN, request))[-1]
    assert answer.moves == []


async def test_lacking_rights_are_told_the_same_way(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    without_hosts(scene, count_leaders="user 'x' may not")
    async with scene.running():
        with pytest.raises(Refused, match="user 'x' may not"):
            await ask(scene.folder, spread_ops.LEADERS_SPREAD, spread_ops.LeadersSpreadRequest())


async def test_a_drain_says_what_of_it_was_not_done(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    without_hosts(scene)
    async with scene.running():
        answer = (await ask(scene.folder, ops.DRAIN, ops.DrainRequest("n2")))[-1]
        status = (await ask(scene.folder, ops.STATUS, ops.StatusRequest()))[-1]
    assert answer.moved == 3
    assert "maintenance mode isn't switched on" in answer.note
    assert status.driver == "attached"


async def test_a_node_that_is_down_is_started_by_somebody_else(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    without_hosts(scene)
    async with scene.running():
        scene.cluster.change(scene.cluster.nodes()[1].name, state="down")
        with pytest.raises(Refused, match="whoever runs the cluster has to start it"):
            await ask(scene.folder, ops.DRAIN, ops.DrainRequest("n2"))
