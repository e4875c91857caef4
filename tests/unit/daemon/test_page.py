"""The page's part of the daemon: served from start to stop, shows what the daemon knows."""

import asyncio
import json
import math
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from tests.unit.daemon.scene import N1, N2, Scene, ask

from warrener.control.operations import STATUS, StatusRequest
from warrener.control.page import page_folder, page_link
from warrener.daemon import page as page_module
from warrener.daemon.page import measured
from warrener.dashboard.moment import Hop, QueueMeasure
from warrener.dashboard.plan import Plan, QueueFigures
from warrener.facts.happenings import Event
from warrener.facts.ids import short_name
from warrener.facts.reasons import NodeState
from warrener.planner.costs import QueueType
from warrener.planner.load import HostLoad, Load, NodeLoad, QueueLoad


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
        assert sessions["channels"] == [], "it has ended, and the view goes on"


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
    found = measured(LOAD, Plan(), 5.0)
    assert found.queues["/", "a"] == QueueMeasure(
        10.0, 8.0, 8.0, remote=3.5, measured_time=0.0, measured_length=0.0
    )
    assert found.hops == [Hop(N2, N1, 3.5)]
    assert [found.nodes[name].busy for name in (N1, N2)] == [0.5, 0.25]


def figures(**changes: Any) -> QueueFigures:
    made = QueueFigures(
        vhost="/",
        name="a",
        rho=0.3,
        time=0.002,
        length=1.0,
        grows=False,
        measured_time=0.004,
        measured_length=2.0,
    )
    return msgspec.structs.replace(made, **changes)


def test_what_is_predicted_stands_beside_what_is_measured() -> None:
    growing = figures(name="b", time=None, length=None, grows=True)
    plan = Plan(
        number=1, calibrated=True, node_rho={short_name(N1): 0.4}, queues=[figures(), growing]
    )
    found = measured(LOAD, plan, 5.0)
    assert found.nodes[N1].rho == 0.4
    a, b = found.queues["/", "a"], found.queues["/", "b"]
    assert (a.rho, a.predicted_time, a.predicted_length) == (0.3, 0.002, 1.0)
    assert (a.measured_time, a.measured_length) == (0.004, 2.0)
    assert (b.predicted_time, b.predicted_length) == (math.inf, math.inf)


def test_without_calibration_nothing_is_predicted_and_what_was_measured_is_told() -> None:
    load = replace(LOAD, queues=(queue("a", ready=3.0, unacked=1.0), queue("c", acked=0.0)))
    found = measured(load, Plan(number=1, queues=[figures()]), 5.0)
    a, c = found.queues["/", "a"], found.queues["/", "c"]
    assert (a.rho, a.predicted_time) == (None, None)
    assert (a.measured_time, a.measured_length) == (0.5, 4.0)  # L / X
    assert (c.measured_time, c.measured_length) == (None, 0.0)
    stream = replace(LOAD, queues=(queue("a", type=QueueType.STREAM, ready=3.0),))
    a = measured(stream, Plan(), 5.0).queues["/", "a"]
    assert (a.measured_time, a.measured_length) == (None, None), "it keeps what was read"


async def test_a_question_without_history_is_answered_with_why(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.running():
        token = (page_folder(scene.folder.path) / "token").read_text()
        url = f"{scene.service.page.url}api/plan?viewer=12345678"
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
            async with session.get(url) as response:
                assert response.status == 404
                assert "history" in await response.text()
            told = await first(scene, "view=planner")
            assert told["body"]["number"] == 0
            assert told["body"]["why_not"]


async def test_without_history_it_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "MEASURE_EVERY", 0.0)
    scene = Scene(tmp_path)
    async with scene.running():
        await scene.service.page.measure()
        assert (await first(scene, "view=queues"))["body"]["note"]
