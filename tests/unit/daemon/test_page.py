"""The page's part of the daemon: served from start to stop, shows what the daemon knows."""

import asyncio
import json
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.unit.daemon.scene import N1, N2, Scene, ask

from warrener.control.operations import STATUS, StatusRequest
from warrener.control.page import page_folder, page_link
from warrener.daemon import page as page_module
from warrener.daemon.page import measured
from warrener.dashboard.moment import Hop, QueueMeasure
from warrener.facts.happenings import Event
from warrener.facts.reasons import NodeState
from warrener.planner.load import HostLoad, Load, NodeLoad, QueueLoad
from warrener.telemetry.values import PlanValues, QueuePlan


def anything(_: dict[str, Any]) -> bool:
    return True


async def first(
    scene: Scene, query: str = "view=nodes", wanted: Callable[[dict[str, Any]], bool] = anything
) -> dict[str, Any]:
    """The first document that a viewer gets which is as ``wanted``."""
    url = scene.service.page.url
    token = (page_folder(scene.folder.path) / "token").read_text()
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
        session.get(f"{url}api/live?{query}") as response,
    ):
        assert response.status == 200
        async with asyncio.timeout(10):
            while line := await response.content.readline():
                document: dict[str, Any] = json.loads(line)
                if wanted(document):
                    return document
        raise AssertionError("the stream ended")


def words(document: dict[str, Any]) -> list[str]:
    return [row["word"] for row in document["body"]["rows"]]


async def test_what_is_shown_is_what_the_daemon_knows(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.running():
        assert words(await first(scene)) == ["running", "running"]
        scene.cluster.change(N2, state=NodeState.DOWN)
        scene.service.events.record(Event("node.exited", N2, reason="killed"))
        await first(scene, wanted=lambda told: words(told) == ["running", "down"])
        assert (await first(scene, "view=queues"))["body"]["rows"][0]["name"] == "q"
        events = (await first(scene, "view=events"))["body"]["rows"]
        assert ("node.exited", N2, "killed") in [
            (line["kind"], line["subject"], line["reason"]) for line in events
        ]
        sessions = (await first(scene, "view=sessions&session=1"))["body"]
        assert sessions["channels"] is not None


async def test_the_cluster_is_not_asked_for_viewers(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.running():
        looks = scene.cluster.looks
        await asyncio.gather(*(first(scene) for _ in range(5)))
        assert scene.cluster.looks == looks


async def test_the_token_is_private_and_stays(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.running():
        token_file = page_folder(scene.folder.path) / "token"
        assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
        assert stat.S_IMODE(token_file.parent.stat().st_mode) == 0o700
        token = token_file.read_text()
        (status,) = await ask(scene.folder, STATUS, StatusRequest())
        assert token not in str(status)
        link = page_link(scene.folder.path, status.page_url)
        assert link == f"{status.page_url}#token={token}"
    assert scene.service.page.url == ""
    again = Scene(tmp_path)
    async with again.running():
        assert page_link(scene.folder.path, again.service.page.url) == link


async def test_a_page_that_cannot_be_served_is_no_reason_not_to_start(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await asyncio.to_thread(page_folder(scene.folder.path).write_text, "in the way")
    async with scene.running():
        assert scene.service.page.url == ""
        assert scene.service.events.counts["page.not_served"] == 1


def queue(name: str, **changes: Any) -> QueueLoad:
    made = QueueLoad(
        "/",
        name,
        "quorum",
        N1,
        (N1, N2),
        published=10.0,
        delivered=8.0,
        acked=8.0,
        entering=((N2, 2.0),),
        leaving=((N2, 1.5),),
    )
    return replace(made, **changes)


LOAD = Load(
    nodes=(NodeLoad(N1, "here", cpu=1.0), NodeLoad(N2, "here", cpu=1.0, cores=4.0)),
    hosts=(HostLoad("here", 2.0),),
    queues=(queue("a"), queue("b", entering=(), leaving=())),
)


def test_a_load_becomes_rates_hops_and_shares() -> None:
    found = measured(LOAD, None, 5.0)
    assert found.queues["/", "a"] == QueueMeasure(10.0, 8.0, 8.0, remote=3.5)
    assert found.hops == [Hop(N2, N1, 3.5)]
    assert [found.nodes[name].busy for name in (N1, N2)] == [0.5, 0.25]


def test_what_is_predicted_stands_beside_what_is_measured() -> None:
    plan = PlanValues(
        at=1.0,
        load=1.0,
        capacity=2.0,
        headroom=2.0,
        headroom_without={},
        rho={},
        node_rho={N1: 0.4},
        predicted_time=None,
        measured_time=None,
        predicted_length=0.0,
        measured_length=0.0,
        growing=0,
        memory_alarm_in=None,
        queues={("/", "a"): QueuePlan(0.3, 0.002, 1.0)},
    )
    found = measured(LOAD, plan, 5.0)
    assert found.nodes[N1].rho == 0.4
    one = found.queues["/", "a"]
    assert (one.rho, one.predicted_time, one.predicted_length) == (0.3, 0.002, 1.0)
    assert found.queues["/", "b"].rho is None


async def test_without_history_it_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "MEASURE_EVERY", 0.0)
    scene = Scene(tmp_path)
    async with scene.running():
        await scene.service.page.measure()
        assert (await first(scene, "view=queues"))["body"]["note"]
