"""RabbitMQ's own rebalancing: asked for, and watched until leaders stay."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.unit.daemon.scene import N1, N2, Scene, ask
from tests.unit.management.test_client import serving

from warrener.control import count_operations as ops
from warrener.control.wire import Refusal, Refused
from warrener.daemon import counting
from warrener.facts.snapshot import QueueView
from warrener.management.client import ManagementClient

QUEUES = tuple(QueueView("/", f"q{n}", "quorum", N1, (N1, N2), (N1, N2)) for n in range(3))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "LOOK", 0)
    monkeypatch.setattr(counting, "SETTLED", 0)


def nobody() -> ManagementClient:
    """A client of a port that nobody listens on."""
    return ManagementClient("http://127.0.0.1:1", "u", "p")


@asynccontextmanager
async def rabbitmq(scene: Scene, status: int = 204) -> AsyncIterator[list[str]]:
    """Moves one leader when it is asked to."""
    asked: list[str] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.path)
        first, *rest = scene.cluster.queues
        scene.cluster.queues = (replace(first, leader=N2), *rest)
        return web.Response(status=status, text="no")

    scene.cluster.queues = (*QUEUES, QueueView("/", "c", "classic", N2))
    async with serving(answer) as client, nobody() as away:
        scene.cluster.clients = [away, client]
        yield asked


async def spread(scene: Scene) -> Any:
    return (await ask(scene.folder, ops.LEADERS_SPREAD, ops.LeadersSpreadRequest()))[-1]


async def test_leaders_before_and_after(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.running(), rabbitmq(scene) as asked:
        answer = await spread(scene)
        assert "leaders.spread" in scene.kinds()
    assert asked == ["/api/rebalance/queues"]  # the first node is away
    lines = [(line.node, line.before, line.after) for line in answer.nodes]
    assert lines == [(N1, 3, 2), (N2, 0, 1)]
    assert (answer.moved, answer.settled) == (1, True)


async def test_what_rabbitmq_refuses(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.running(), rabbitmq(scene, status=403):
        with pytest.raises(Refused, match="may not do this") as caught:
            await spread(scene)
    assert caught.value.refusal is Refusal.FAILED


async def test_nobody_there(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.running(), nobody() as away:
        scene.cluster.clients = [away]
        with pytest.raises(Refused, match="no node answers"):
            await spread(scene)
