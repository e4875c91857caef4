"""The configuration looked at and changed: in which order, and what a failure leaves behind."""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from tests.unit.daemon.config_scene import FakeConfiguration
from tests.unit.daemon.scene import N1, N2, N3, Node, Scene, ask

from warrener.cluster.drivers.config_scripts import Told
from warrener.control.config_operations import (
    CONFIG,
    SECRET,
    SET_CONFIG,
    ConfigRequest,
    SetConfigAnswer,
    SetConfigRequest,
)
from warrener.control.wire import Refusal, Refused
from warrener.daemon import upkeep
from warrener.daemon.errors import DaemonError
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState
from warrener.facts.snapshot import QueueView

NODES = [N1, N2, N3]


@pytest.fixture(autouse=True)
def _looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "LOOK", 0)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Three nodes; a restart puts the file in force and gives the node another process."""
    made = Scene(tmp_path)
    made.cluster.rows[N3] = Node(N3)
    made.cluster.queues = (QueueView("/", "jobs", "quorum", N2, (N1, N2, N3), (N1, N2, N3)),)
    restart = made.cluster.restart_node

    async def boots(name: NodeName, timeout: float) -> None:
        made.cluster.change(name, state=NodeState.DOWN, pid=None)
        await restart(name, timeout)
        made.cluster.change(name, pid=100 + len(made.story))
        of(made).boot(name)

    made.cluster.restart_node = boots  # type: ignore[method-assign]
    return made


def of(scene: Scene) -> FakeConfiguration:
    return scene.cluster.configuration


async def change(scene: Scene, key: str, value: str | None, **options: object) -> SetConfigAnswer:
    request = SetConfigRequest(key, value, **options)  # type: ignore[arg-type]
    answer = (await ask(scene.folder, SET_CONFIG, request))[-1]
    assert isinstance(answer, SetConfigAnswer)
    return answer


async def refused(scene: Scene, key: str, value: str | None, **options: object) -> Refused:
    with pytest.raises(Refused) as caught:
        await change(scene, key, value, **options)
    return caught.value


# -- live


async def test_a_live_key_is_recorded_then_put_in_force_on_every_node(scene: Scene) -> None:
    async with scene.running():
        answer = await change(scene, "heartbeat", "30")
        assert scene.story == [
            "recorded {'heartbeat': '30'}",
            *(f"{name} takes rabbit.heartbeat" for name in NODES),
        ]
        assert (answer.applies, answer.nodes, answer.already) == ("live", NODES, False)
        assert [of(scene).in_force[name]["heartbeat"] for name in NODES] == ["30"] * 3
        assert (await change(scene, "heartbeat", "30")).already
        back = await change(scene, "heartbeat", None)
        assert (back.before, back.after, back.default) == ("30", None, "60")
        assert of(scene).chosen == {}
        assert "config.set" in scene.kinds()


async def test_a_dry_run_touches_nothing(scene: Scene) -> None:
    async with scene.running():
        answer = await change(scene, "connection_max", "500", dry_run=True)
        assert (answer.applies, answer.nodes, answer.dry_run) == ("restart", NODES, True)
        assert scene.story == []
        assert of(scene).chosen == {}


async def test_a_live_key_that_one_node_refuses_is_taken_back_on_all(scene: Scene) -> None:
    def fail(name: NodeName) -> None:
        if name == N2 and of(scene).chosen:
            raise DaemonError("no such function")

    async with scene.running():
        of(scene).apply_with = fail
        error = await refused(scene, "heartbeat", "30")
        assert error.refusal is Refusal.FAILED
        assert "no such function" in error.message
        assert of(scene).chosen == {}
        assert [of(scene).in_force[name].get("heartbeat") for name in NODES] == [None] * 3


# -- restart


async def test_a_restart_key_goes_node_by_node_and_is_recorded_after_the_first(
    scene: Scene,
) -> None:
    async with scene.running():
        answer = await change(scene, "connection_max", "500")
        steps = [
            line for line in scene.story if line.startswith(("RabbitMQ drains", "recorded", "rest"))
        ]
        assert steps == [
            f"RabbitMQ drains {N1}", f"restart of {N1} within 120 s",
            "recorded {'connection_max': '500'}",
            f"RabbitMQ drains {N2}", f"restart of {N2} within 120 s",
            f"RabbitMQ drains {N3}", f"restart of {N3} within 120 s",
        ]  # fmt: skip
        assert answer.nodes == NODES
        assert [of(scene).in_force[name]["connection_max"] for name in NODES] == ["500"] * 3


def failing_on(scene: Scene, bad: NodeName) -> None:
    boots = scene.cluster.restart_node

    async def fails(name: NodeName, timeout: float) -> None:
        if name == bad and "connection_max" in of(scene).files[name]:
            scene.cluster.change(name, state=NodeState.STOPPED, pid=None)
            raise DaemonError(f"{name} ended while it booted; its log: bad option")
        await boots(name, timeout)

    scene.cluster.restart_node = fails  # type: ignore[method-assign]


async def test_a_node_that_does_not_come_back_gets_its_old_file(scene: Scene) -> None:
    async with scene.running():
        failing_on(scene, N1)
        error = await refused(scene, "connection_max", "500")
        assert error.refusal is Refusal.FAILED
        assert error.message.startswith(
            "n1 runs with its old configuration again; no further node was touched. "
            "With connection_max = 500 it failed: "
        )
        assert "its log: bad option" in error.message
        assert of(scene).chosen == {}
        assert all("connection_max" not in of(scene).files[name] for name in NODES)
        assert scene.cluster.rows[N1].state is NodeState.RUNNING
        assert not any(f"drains {name}" in line for name in (N2, N3) for line in scene.story)
        assert "config.rolled_back" in scene.kinds()


async def test_one_that_fails_later_restores_the_record_and_says_what_is_left(
    scene: Scene,
) -> None:
    async with scene.running():
        failing_on(scene, N2)
        error = await refused(scene, "connection_max", "500")
        assert "On n1 the new value is in force until its next start" in error.message
        assert of(scene).chosen == {}
        assert of(scene).in_force[N1]["connection_max"] == "500"
        drift = (await ask(scene.folder, CONFIG, ConfigRequest()))[-1]
        assert [row.key for row in drift.rows if row.drift] == ["connection_max"]
        await change(scene, "connection_max", None)  # the way back
        assert "connection_max" not in of(scene).in_force[N1]


async def test_what_was_interrupted_is_finished_by_the_same_command(scene: Scene) -> None:
    async with scene.running():
        of(scene).record({"connection_max": "500"})
        of(scene).boot(N1)
        answer = await change(scene, "connection_max", "500")
        assert answer.nodes == [N2, N3]
        assert not answer.already
        assert f"restart of {N1} within 120 s" not in scene.story


async def test_a_drained_node_is_not_restarted_unasked(scene: Scene) -> None:
    async with scene.running():
        scene.cluster.drained.add(N3)
        error = await refused(scene, "connection_max", "500")
        assert error.refusal is Refusal.UNWISE
        assert "n3 is drained" in error.message
        assert scene.story == []


async def test_nodes_that_do_not_run_get_it_at_their_start(scene: Scene) -> None:
    async with scene.running():
        of(scene).down.add(N3)
        answer = await change(scene, "heartbeat", "30")
        assert (answer.nodes, answer.waiting) == ([N1, N2], [N3])
        assert of(scene).files[N3]["heartbeat"] == "30"


async def test_a_key_of_a_plugin_that_is_off_is_only_written(scene: Scene) -> None:
    async with scene.running():
        answer = await change(scene, "mqtt.prefetch", "20")
        assert (answer.nodes, scene.story) == ([], ["recorded {'mqtt.prefetch': '20'}"])


# -- refused


@pytest.mark.parametrize(
    ("key", "value"), [("hartbeat", "3"), ("heartbeat", "x"), ("cluster_name", "y")]
)
async def test_bad_input_is_refused_before_anything(scene: Scene, key: str, value: str) -> None:
    async with scene.running():
        assert (await refused(scene, key, value)).refusal is Refusal.BAD_ARGUMENT
        assert scene.story == []


async def test_what_rabbitmq_refuses_is_begun_nowhere(scene: Scene) -> None:
    async with scene.running():
        of(scene).refuse = "RabbitMQ would not start with that: no file"
        error = await refused(scene, "connection_max", "1")
        assert "no file" in error.message
        assert scene.story == []


# -- looking


async def test_secrets_are_never_told(scene: Scene) -> None:
    async with scene.running():
        answer = await change(scene, "ssl_options.password", "hunter2")
        shown = (await ask(scene.folder, CONFIG, ConfigRequest("ssl_options")))[-1]
        assert answer.after == SECRET
        assert shown.rows[0].file == SECRET
        assert "hunter2" not in str(scene.service.events.recent(100))


async def test_unknown_keys_and_patterns_without_a_match_are_bad_input(scene: Scene) -> None:
    async with scene.running():
        for request in (ConfigRequest("hartbeat", exact=True), ConfigRequest("zzz")):
            with pytest.raises(Refused) as caught:
                await ask(scene.folder, CONFIG, request)
            assert caught.value.refusal is Refusal.BAD_ARGUMENT


# -- what a description says


async def test_what_a_description_sets_is_not_set_beside_it(scene: Scene) -> None:
    async with scene.running():
        of(scene).described["heartbeat"] = "20"
        found = await refused(scene, "heartbeat", "30")
        assert found.refusal is Refusal.BAD_ARGUMENT
        assert found.message == (
            "heartbeat is set in warrener.toml, under [config]; change it there, and "
            "`warrener apply` puts it in force"
        )
        assert scene.story == []


async def test_a_check_that_is_refused_waits_for_the_other_nodes_checks(scene: Scene) -> None:
    """Each has a file of its own lying about, which the next command would write anew."""
    under_way: set[NodeName] = set()
    check = of(scene).check

    async def slow(name: NodeName, chosen: Mapping[str, str], targets: Iterable[str]) -> Told:
        if name == N1:
            raise DaemonError("no such file")
        under_way.add(name)
        for _ in range(20):
            await asyncio.sleep(0)
        under_way.discard(name)
        return await check(name, chosen, targets)

    of(scene).check = slow  # type: ignore[method-assign]
    async with scene.running():
        assert (await refused(scene, "heartbeat", "30")).message == "no such file"
        assert under_way == set()
