"""One node's process, without RabbitMQ: a shell script stands in for it."""

import asyncio
import os
import secrets
import threading
from pathlib import Path

import pytest

from warrener.cluster.drivers import host as module
from warrener.cluster.drivers.host import LocalHost
from warrener.cluster.drivers.node import Node
from warrener.cluster.drivers.node_config import node_files
from warrener.cluster.drivers.ports import NodePorts
from warrener.cluster.drivers.processes import mark
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState
from warrener.management.client import ManagementClient


def node_that_runs(script: str, folder: Path) -> Node:
    """Its server is this script."""
    server = folder / "server"
    server.write_text(f"#!/bin/sh\n{script}\n")
    server.chmod(0o700)
    name = NodeName("n1@localhost")
    files = node_files(folder, name)
    files.folder.mkdir(parents=True)
    cluster = secrets.token_hex(8)
    return Node(
        name,
        host=LocalHost(folder),
        ports=NodePorts(1, 2, 3, 4),
        files=files,
        server=server,
        environment={"PATH": os.environ["PATH"], **mark(cluster, "n1")},
        cluster_mark=cluster,
        client=ManagementClient("http://127.0.0.1:2", "user", "secret"),
        progress=lambda _: None,
        on_event=lambda _: None,
    )


async def test_a_stop_waits_until_a_node_that_ended_by_itself_is_cleared_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what is started next under the same mark would be killed with it."""
    clearing, go_on = threading.Event(), threading.Event()

    def slowly(cluster: str, part: str | None = None) -> int:
        clearing.set()
        assert go_on.wait(30)
        return 0

    monkeypatch.setattr(module, "kill_marked", slowly)
    node = node_that_runs("exit 0", tmp_path)
    await node.launch()
    assert await asyncio.to_thread(clearing.wait, 30)
    assert node.state is NodeState.DOWN
    stop = asyncio.create_task(node.stop())
    done, _ = await asyncio.wait({stop}, timeout=0.1)
    assert not done
    go_on.set()
    async with asyncio.timeout(30):
        await stop
    await node.client.close()


async def test_a_stop_that_is_called_off_lets_the_clearing_away_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clearing, go_on = threading.Event(), threading.Event()
    cleared = []

    def slowly(cluster: str, part: str | None = None) -> int:
        clearing.set()
        assert go_on.wait(30)
        cleared.append(part)
        return 0

    monkeypatch.setattr(module, "kill_marked", slowly)
    node = node_that_runs("exit 0", tmp_path)
    await node.launch()
    assert await asyncio.to_thread(clearing.wait, 30)
    stop = asyncio.create_task(node.stop())
    await asyncio.wait({stop}, timeout=0.05)
    stop.cancel()
    await asyncio.wait({stop}, timeout=30)
    go_on.set()
    async with asyncio.timeout(30):
        await node.stop()
    assert cleared == ["n1"]
    await node.client.close()
