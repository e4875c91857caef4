"""The service's telemetry: what is served, written, and run, from start to stop."""

import asyncio
import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.unit.daemon.scene import N1, N2, Scene, ask

from warrener.cluster.spec import ClusterSpec
from warrener.control import telemetry_operations as ops
from warrener.control import wire
from warrener.control.operations import STATUS, StatusRequest
from warrener.daemon.errors import DaemonError
from warrener.daemon.parts import Balancer
from warrener.facts.happenings import Event
from warrener.facts.reasons import NodeState
from warrener.facts.telemetry import TelemetrySettings


def described(**changes: Any) -> ClusterSpec:
    return ClusterSpec(telemetry=TelemetrySettings(**changes))


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A scene of a cluster that is described like that."""

    def make(spec: ClusterSpec | None = None) -> Scene:
        from tests.unit.daemon.scene import FakeCluster

        monkeypatch.setattr(FakeCluster, "spec", spec or ClusterSpec())
        return Scene(tmp_path)

    return make


async def scraped(scene: Scene) -> dict[str, dict[str, float]]:
    (told,) = await ask(scene.folder, ops.TELEMETRY, ops.TelemetryRequest())
    token = await asyncio.to_thread(Path(told.token_file).read_text)
    async with (
        aiohttp.ClientSession() as session,
        session.get(told.metrics_url, headers={"Authorization": f"Bearer {token}"}) as response,
    ):
        assert response.status == 200
        text = await response.text()
    return {
        family.name: {",".join(sample.labels.values()): sample.value for sample in family.samples}
        for family in text_string_to_metric_families(text)
    }


async def test_metrics_are_those_of_the_moment(made: Any) -> None:
    scene = made()
    async with scene.running():
        scene.service.events.record(Event("node.unfit", N2))
        found = await scraped(scene)
        assert found["warrener_node_running"] == {N1: 1, N2: 1}
        assert found["warrener_cluster_members"] == {"": 2}
        assert found["warrener_events"]["node.unfit"] == 1
        assert found["warrener_cluster_queues"]["quorum"] == 1
        assert "3.10.8" in next(iter(found["warrener_info"]))
        scene.cluster.change(N2, state=NodeState.DOWN)
        assert (await scraped(scene))["warrener_node_running"] == {N1: 1, N2: 0}


async def test_status_tells_where_metrics_are(made: Any) -> None:
    scene = made()
    async with scene.running():
        (status,) = await ask(scene.folder, STATUS, StatusRequest())
        (told,) = await ask(scene.folder, ops.TELEMETRY, ops.TelemetryRequest())
        assert status.metrics_url == told.metrics_url != ""
        assert (status.prometheus_url, told.prometheus, told.exports) == ("", None, [])
    assert scene.service.telemetry.metrics_url == ""


async def test_metrics_can_be_left_out(made: Any) -> None:
    scene = made(described(enabled=False))
    async with scene.running():
        (told,) = await ask(scene.folder, ops.TELEMETRY, ops.TelemetryRequest())
        assert (told.metrics_url, told.token_file) == ("", "")


async def test_a_port_that_was_asked_for_and_is_taken_is_found_before_any_node_boots(
    made: Any,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        scene = made(described(port=taken.getsockname()[1]))
        with pytest.raises(DaemonError, match="for metrics can't be had"):
            await scene.service.run()
    assert "cluster starts" not in scene.story
    assert scene.story[-2:] == ["balancer closes", "cluster stops"]


async def test_while_nodes_boot_metrics_are_there_as_far_as_they_are_known(made: Any) -> None:
    scene = made()
    booting, boot = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        booting.set()
        await boot.wait()

    scene.cluster.start_with = slow
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.service.run())
        await booting.wait()
        found = await scraped(scene)
        assert found["warrener_cluster_members"] == {"": 2}
        assert "warrener_cluster_view_age_seconds" not in found
        boot.set()
        await scene.is_ready.wait()
        scene.switch.turn()


def targets(folder: Path) -> list[str]:
    groups = json.loads((folder / "targets" / "rabbitmq.json").read_text())
    return [group["labels"]["node"] for group in groups]


async def test_an_export_is_written_and_follows_nodes_that_come_and_go(
    made: Any, tmp_path: Path
) -> None:
    scene, out = made(), tmp_path / "out"
    async with scene.running():
        request = ops.TelemetryExportRequest(folder=str(out), scrape_interval=5.0)
        (answer,) = await ask(scene.folder, ops.TELEMETRY_EXPORT, request)
        assert answer.targets == {"warrener": 1, "rabbitmq": 2}
        assert "prometheus.yml" in answer.files
        config = await asyncio.to_thread((out / "prometheus.yml").read_text)
        assert "scrape_interval: 5s" in config
        await scene.service.telemetry.follow()
        scene.cluster.rows.pop(N1)
        await scene.service.telemetry.follow()
        assert await asyncio.to_thread(targets, out) == [N2]
        assert scene.kinds()[-1] == "telemetry.targets"
        before = len(scene.kinds())
        await scene.service.telemetry.follow()
        assert len(scene.kinds()) == before


@pytest.mark.parametrize(
    ("request_", "refusal", "words"),
    [
        ({"folder": "out"}, wire.Refusal.BAD_ARGUMENT, "isn't an absolute path"),
        ({"folder": "/proc/out"}, wire.Refusal.FAILED, "/proc/out"),
        ({"folder": "/tmp", "alert_after": -1.0}, wire.Refusal.BAD_ARGUMENT, "less than 0"),
    ],
)
async def test_exports_that_are_refused(
    made: Any, request_: dict[str, Any], refusal: wire.Refusal, words: str
) -> None:
    scene = made()
    async with scene.running():
        request = ops.TelemetryExportRequest(**request_)
        with pytest.raises(wire.Refused, match=words) as caught:
            await ask(scene.folder, ops.TELEMETRY_EXPORT, request)
        assert caught.value.refusal is refusal


async def test_a_prometheus_that_cannot_be_run_here_is_said_and_the_cluster_runs(
    made: Any,
) -> None:
    scene = made(described(prometheus=True))
    told: list[str] = []
    with scene.service.tell_also(lambda step: told.append(f"{step.subject} {step.text}")):
        async with scene.running():
            pass
    assert any("telemetry prometheus --out DIR" in line for line in told)


async def test_a_prometheus_that_is_not_installed_is_found_before_any_node_boots(
    made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = made(described(prometheus=True))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(scene.service.telemetry, "_launch", lambda *_: None)
    with pytest.raises(DaemonError, match="no `prometheus` on the PATH"):
        await scene.service.run()
    assert "cluster starts" not in scene.story


async def test_a_balancer_that_fails_to_tell_is_an_error_of_that_scrape_alone(made: Any) -> None:
    scene = made()
    async with scene.running() as balancer:
        works: Balancer = balancer
        figures = works.figures

        async def broken() -> Any:
            raise RuntimeError("a bug")

        balancer.figures = broken
        with pytest.raises(AssertionError):
            await scraped(scene)
        balancer.figures = figures
        await scraped(scene)


async def test_drift_is_counted_where_it_can_be_told(made: Any) -> None:
    scene = made(replace(ClusterSpec(), source="w.toml", text="[telemetry]\n"))
    async with scene.running():
        telemetry = scene.service.telemetry
        await telemetry._look_for_drift()  # the scene has no management API to be asked
        assert (await telemetry.values()).drift is None

        async def two() -> int:
            return 2

        scene.service.describe.drift = two
        await telemetry._look_for_drift()
        assert (await telemetry.values()).drift == 2


async def test_a_bug_in_telemetry_does_not_end_the_cluster(
    made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = made()
    failed = asyncio.Event()

    async def broken() -> Any:
        failed.set()
        raise RuntimeError("a bug")

    monkeypatch.setattr(scene.service.telemetry, "_ends", broken)
    async with scene.running():
        await failed.wait()
        await asyncio.sleep(0.05)
        (status,) = await ask(scene.folder, STATUS, StatusRequest())
        assert status.phase == "running"
