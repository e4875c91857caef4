"""One node's process, without RabbitMQ: a shell script stands in for it."""

import asyncio
import os
import secrets
import threading
from pathlib import Path

import pytest

from warrener.cluster.drivers import host as module
from warrener.cluster.drivers import node as node_module
from warrener.cluster.drivers.host import LocalHost
from warrener.cluster.drivers.node import Node
from warrener.cluster.drivers.node_config import node_files
from warrener.cluster.drivers.ports import NodePorts
from warrener.cluster.drivers.processes import mark
from warrener.cluster.errors import StartFailed
from warrener.facts.happenings import Event, EventSink
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState
from warrener.management.client import ManagementClient


def node_that_runs(
    script: str, folder: Path, on_event: EventSink = lambda _: None, **environment: str
) -> Node:
    """Its server is this script."""
    server = folder / "server"
    server.write_text(f"#!/bin/sh\n{script}\n")
    server.chmod(0o700)
    name = NodeName("n1@localhost")
    files = node_files(folder, name)
    files.folder.mkdir(parents=True)
    files.logs.mkdir(parents=True, exist_ok=True)
    cluster = secrets.token_hex(8)
    return Node(
        name,
        host=LocalHost(folder),
        ports=NodePorts(1, 2, 3, 4),
        files=files,
        server=server,
        environment={
            "PATH": os.environ["PATH"],
            "ERL_FLAGS": "",
            **mark(cluster, "n1"),
            **environment,
        },
        cluster_mark=cluster,
        client=ManagementClient("http://127.0.0.1:2", "user", "secret"),
        progress=lambda _: None,
        on_event=on_event,
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


SERVER = """
trap 'echo terminated >> "$STORY"; exit 0' TERM
echo up >> "$STORY"
while :; do sleep 0.02; done
"""


def with_erl_call(folder: Path, script: str) -> dict[str, str]:
    """An environment in which ``erl_call`` is this script, and both it and ``SERVER`` tell what
    they do in a file."""
    programs = folder / "programs"
    programs.mkdir()
    program = programs / "erl_call"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    return {"PATH": f"{programs}:{os.environ['PATH']}", "STORY": str(folder / "story")}


async def serving(node: Node, folder: Path) -> None:
    """Launched, and taken for one that serves."""
    await node.launch()
    async with asyncio.timeout(30):
        while not (folder / "story").exists():  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.01)
    node.state = NodeState.RUNNING


async def test_before_it_is_stopped_its_statistics_are(tmp_path: Path) -> None:
    asked = with_erl_call(
        tmp_path,
        """grep -q rabbit_mgmt_db_handler && echo asked >> "$STORY"; echo '{ok, "b2s="}'""",
    )
    node = node_that_runs(SERVER, tmp_path, **asked)
    await serving(node, tmp_path)
    assert await node.evaluate("rabbit_mgmt_db_handler.", 5) == "ok"
    await node.stop()
    assert (tmp_path / "story").read_text().split() == ["up", "asked", "asked", "terminated"]
    await node.client.close()


@pytest.mark.parametrize(
    "script", ["exit 1", "echo '{error, nonsense}'", "exec sleep 60", 'rm "$0"; exit 127']
)
async def test_a_node_that_does_not_answer_is_stopped_all_the_same(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warrener.cluster.drivers.node.QUIET_TIMEOUT", 0.3)
    node = node_that_runs(SERVER, tmp_path, **with_erl_call(tmp_path, script))
    await serving(node, tmp_path)
    async with asyncio.timeout(20):
        await node.stop()
    assert (tmp_path / "story").read_text().split() == ["up", "terminated"]
    await node.client.close()


async def test_without_erl_call_it_is_not_tried_again(tmp_path: Path) -> None:
    story = with_erl_call(tmp_path, 'echo tried >> "$STORY"; exit 127')
    node = node_that_runs(SERVER, tmp_path, **story)
    await serving(node, tmp_path)
    assert await node.evaluate("ok.", 5) is None
    assert await node.evaluate("ok.", 5) is None
    await node.stop()
    assert (tmp_path / "story").read_text().split() == ["up", "tried", "terminated"]
    await node.client.close()


BEGUN = 'echo "Error: not this time"; exec sleep 60'


@pytest.mark.parametrize(
    ("script", "tries"),
    [
        (f"test -e tried || {{ touch tried; exec sleep 60; }}; {BEGUN}", 2),
        (BEGUN, 1),
        ("exec sleep 60", 2),
    ],
)
async def test_one_that_says_nothing_is_started_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, tries: int
) -> None:
    """And no more often; one that says anything at all is waited for."""
    monkeypatch.setattr(node_module, "SILENCE", 0.5)
    events: list[Event] = []
    begun = tmp_path / "begun"
    node = node_that_runs(f"echo >> {begun}; {script}", tmp_path, events.append)
    with pytest.raises(StartFailed, match=r"did not come up within 1.5 s"):
        await node.boot([node.name], 1.5)
    repeated = [event.detail for event in events if event.kind == "node.boot_repeated"]
    assert repeated == [{"why": "has said nothing for 0.5 s"}] * (tries - 1)
    assert begun.read_text() == "\n" * tries
    await node.stop(0)
    await node.client.close()
