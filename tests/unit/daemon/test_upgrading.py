"""A rolling upgrade: in which order, what a failure leaves behind, and what is said of it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.daemon.fake_management import FakeManagement
from tests.unit.daemon.scene import N1, N2, Scene, ask

from warrener.cluster.drivers.installations import Candidate
from warrener.control.upgrade_operations import UPGRADE, UpgradeAnswer, UpgradeRequest
from warrener.control.wire import Refusal, Refused
from warrener.daemon import upkeep
from warrener.daemon.errors import FAILED, DaemonError
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState
from warrener.facts.snapshot import QueueView

NEW = "/opt/new"


@pytest.fixture(autouse=True)
def _looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "LOOK", 0)


class Stage:
    """Two nodes; n2 leads the only queue. A node started with a root of ``broken`` fails."""

    def __init__(self, scene: Scene, api: FakeManagement) -> None:
        self.scene = scene
        self.api = api
        self.broken: set[Path] = set()
        cluster = scene.cluster
        cluster.queues = (QueueView("/", "q", "quorum", N2, (N1, N2), (N1, N2)),)
        restart = cluster.restart_node

        async def boots(name: NodeName, timeout: float) -> None:
            cluster.change(name, state=NodeState.DOWN, pid=None)
            if cluster.installation_of(name).root in self.broken:
                scene.story.append(f"{name} fails to boot")
                raise DaemonError(f"{name} ended with exit code 1")
            await restart(name, timeout)
            cluster.change(name, pid=100 + len(scene.story))

        cluster.restart_node = boots  # type: ignore[method-assign]

    async def upgrade(self, **options: Any) -> UpgradeAnswer:
        # two nodes: each is half of its queue, which is unwise
        request = UpgradeRequest(to=NEW, **({"force": True} | options))
        answer = (await ask(self.scene.folder, UPGRADE, request))[-1]
        assert isinstance(answer, UpgradeAnswer)
        return answer

    async def refused(self, **options: Any) -> Refused:
        with pytest.raises(Refused) as error:
            await self.upgrade(**options)
        return error.value

    def done(self) -> list[str]:
        words = ("start with", "keeps", "old one", "restart of", "fails", "RabbitMQ drains")
        return [line for line in self.scene.story if any(word in line for word in words)]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    scene, api = Scene(tmp_path), FakeManagement()
    async with api.serving() as client:
        scene.cluster.clients = [client, client]
        async with scene.running():
            yield Stage(scene, api)


async def test_one_after_the_other_those_with_fewer_leaders_first(stage: Stage) -> None:
    answer = await stage.upgrade()
    assert stage.done() == [
        f"{N1} is to start with {NEW}",
        f"RabbitMQ drains {N1}",
        f"restart of {N1} within 120 s",
        f"{N1} keeps it",
        f"{N2} is to start with {NEW}",
        f"RabbitMQ drains {N2}",
        f"restart of {N2} within 120 s",
        f"{N2} keeps it",
    ]
    assert [(row.node, row.state, row.installation) for row in answer.nodes] == [
        (N1, "done", NEW),
        (N2, "done", NEW),
    ]
    assert not answer.mixed
    assert not answer.described
    kinds = stage.scene.kinds()
    assert kinds.count("node.upgraded") == 2
    assert kinds[-1] == "cluster.upgraded"
    again = await stage.upgrade()
    assert [row.state for row in again.nodes] == ["already", "already"]
    assert len(stage.done()) == 8


async def test_a_dry_run_touches_nothing(stage: Stage) -> None:
    stage.scene.cluster.candidate = replace(stage.scene.cluster.candidate, version="3.13.1")
    answer = await stage.upgrade(dry_run=True)
    assert [check.what for check in answer.checks if check.problem] == ["upgrade path", "Erlang"]
    assert [row.state for row in answer.nodes] == ["to do", "to do"]
    assert stage.done() == []


async def test_one_that_does_not_come_up_goes_back_and_it_ends(stage: Stage) -> None:
    stage.broken = {Path(NEW)}
    refused = await stage.refused()
    assert refused.refusal is Refusal.FAILED
    assert refused.message == (
        "n1 runs 3.10.8 as before; no further node was touched. n1, n2 still to be upgraded; the "
        "same command again goes on from there. With /opt/new it failed: n1@localhost ended with "
        "exit code 1"
    )
    assert stage.done() == [
        f"{N1} is to start with {NEW}",
        f"RabbitMQ drains {N1}",
        f"{N1} fails to boot",
        f"{N1} gets its old one back",
        f"restart of {N1} within 120 s",
    ]
    assert "node.upgrade_rolled_back" in stage.scene.kinds()
    stage.broken = set()
    await stage.upgrade()


async def test_of_another_series_it_says_that_there_may_be_no_way_back(stage: Stage) -> None:
    stage.scene.cluster.candidate = Candidate(Path(NEW), "3.11.28", "25.2.3", (), ())
    stage.broken = {Path(NEW), Path("/usr/old")}
    message = (await stage.refused()).message
    assert "n1 has its old installation again, but doesn't run" in message
    assert "`warrener node replace n1` makes it anew from the others" in message


async def test_a_node_that_says_another_version_is_taken_back(stage: Stage) -> None:
    stage.scene.cluster.candidate = Candidate(Path(NEW), "3.10.9", "25.2.3", (), ())
    message = (await stage.refused()).message
    assert "n1 says that it runs 3.10.8, not 3.10.9" in message
    assert f"{N1} gets its old one back" in stage.scene.story


async def test_what_is_wrong_is_told_at_once_and_nothing_is_touched(stage: Stage) -> None:
    cluster = stage.scene.cluster
    cluster.candidate = replace(cluster.candidate, missing_plugins=("rabbitmq_x",))
    cluster.alarmed = {N2}
    message = (await stage.refused()).message
    assert "plugins: /opt/new doesn't have rabbitmq_x" in message
    assert "alarms: n2: memory alarm" in message
    cluster.candidate = replace(cluster.candidate, missing_plugins=())
    refused = await stage.refused(force=False)
    assert (refused.refusal, "With --force" in refused.message) == (Refusal.UNWISE, True)
    assert stage.done() == []


async def test_a_folder_without_rabbitmq_is_bad_input(stage: Stage) -> None:
    for path in ("/elsewhere", "relative"):
        request = UpgradeRequest(to=path)
        with pytest.raises(Refused) as error:
            await ask(stage.scene.folder, UPGRADE, request)
        assert error.value.refusal is Refusal.BAD_ARGUMENT


async def test_hosts_that_can_not_be_asked_are_no_bad_input(stage: Stage) -> None:
    stage.scene.cluster.no_candidate = FAILED
    with pytest.raises(Refused) as error:
        await ask(stage.scene.folder, UPGRADE, UpgradeRequest(to="/elsewhere"))
    assert error.value.refusal is Refusal.FAILED


async def test_unwise_at_a_node_it_is_as_it_was(stage: Stage) -> None:
    """Without --force the first node may not go: half of the queue's replicas would be left."""
    refused = await stage.refused(force=False)
    assert refused.refusal is Refusal.UNWISE
    assert "n1, n2 still to be upgraded" in refused.message
    assert f"{N1} gets its old one back" in stage.scene.story
    assert stage.scene.cluster.rows[N1].pid == 7


async def test_called_off_between_two_nodes(stage: Stage) -> None:
    give_up = asyncio.Event()
    restart = stage.scene.cluster.restart_node

    async def then_gives_up(name: NodeName, timeout: float) -> None:
        await restart(name, timeout)
        give_up.set()
        await asyncio.sleep(0.05)

    stage.scene.cluster.restart_node = then_gives_up  # type: ignore[method-assign]
    request = UpgradeRequest(to=NEW, force=True)
    with pytest.raises(Refused) as error:
        await ask(stage.scene.folder, UPGRADE, request, give_up=give_up)
    assert error.value.refusal is Refusal.CALLED_OFF
    assert "n1 runs 3.10.8 from /opt/new, n2 still to be upgraded" in error.value.message


async def test_feature_flags_are_enabled_only_if_that_is_asked(stage: Stage) -> None:
    flag = {"name": "new_thing", "state": "disabled", "stability": "stable"}
    wild = {"name": "wild", "state": "disabled", "stability": "experimental"}
    stage.api.flags = [flag, wild]
    answer = await stage.upgrade()
    assert (answer.flags_off, answer.flags_enabled) == (["new_thing"], [])
    assert stage.api.story == []
    answer = await stage.upgrade(flags=True)
    assert (answer.flags_off, answer.flags_enabled) == ([], ["new_thing"])
    assert stage.api.story == ["PUT feature-flags/new_thing/enable"]


async def test_only_the_named_nodes(stage: Stage) -> None:
    answer = await stage.upgrade(nodes=["n2"])
    assert [(row.node, row.state) for row in answer.nodes] == [(N1, "not asked for"), (N2, "done")]
