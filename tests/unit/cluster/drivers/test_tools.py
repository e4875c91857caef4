"""RabbitMQ's tools: their end, their words, and that none is left behind."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from warrener.cluster.drivers.host import LocalHost
from warrener.cluster.drivers.tools import failure, nodes_in_maintenance, run_tool
from warrener.cluster.errors import ToolFailed

NOT_THERE = """Will put node n3@localhost into maintenance mode.
Error: unable to perform an operation on node 'n3@localhost'. Please see diagnostics information \
and suggestions below.

Most common reasons for this are:

 * Target node is unreachable
"""

STOPPED = """Will put node n3@localhost into maintenance mode.
03:48:12.918 [warning] This node is being put into maintenance (drain) mode
Error:
{:aborted, {:no_exists, [:rabbit_listener, :n3@localhost]}}
"""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (NOT_THERE, "unable to perform an operation on node 'n3@localhost'"),
        (STOPPED, "{:aborted, {:no_exists, [:rabbit_listener, :n3@localhost]}}"),
        ("sh: erl: not found\n", "sh: erl: not found"),
        ("Error:\n", ""),
        ("\n", ""),
    ],
)
def test_of_a_page_of_advice_one_sentence_says_why(text: str, why: str) -> None:
    assert failure(text) == why


@pytest.mark.parametrize(
    ("words", "drained"),
    [
        ("\u001b[35mmarked for maintenance\u001b[0m", True),
        ("marked for maintenance", True),
        ("draining", True),
        ("not under maintenance", False),
        ("\u001b[32mnot under maintenance\u001b[0m", False),
        ("regular", False),
    ],
)
def test_the_words_for_maintenance(words: str, drained: bool) -> None:
    document = {"maintenance_status": {"n1@localhost": "not under maintenance", "n2@h": words}}
    text = "12:00 [warning] a line before\n" + json.dumps(document)
    assert nodes_in_maintenance(text) == ({"n2@h"} if drained else set())


@pytest.mark.parametrize("text", ["", "no document", "[]", "{}", '{"maintenance_status": 1}'])
def test_words_that_are_no_status(text: str) -> None:
    with pytest.raises(ValueError):
        nodes_in_maintenance(text)


def tool(folder: Path, script: str) -> Path:
    path = folder / "rabbitmq-tool"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return path


async def call(program: Path, folder: Path, timeout: float = 20.0) -> str:
    return await run_tool(
        LocalHost(folder),
        program,
        ["-n", "n1@h", "drain"],
        name="n1",
        environment={"PATH": os.environ["PATH"], "WORD": "hello"},
        folder=folder,
        output=folder / "tool.log",
        timeout=timeout,
    )


async def test_what_it_prints_comes_back_and_stays(tmp_path: Path) -> None:
    text = await call(tool(tmp_path, 'echo "$WORD $*"; echo aside >&2'), tmp_path)
    assert text == "hello -n n1@h drain\naside\n"
    assert (tmp_path / "tool.log").read_text() == text
    assert (tmp_path / "tool.log").stat().st_mode & 0o777 == 0o600


async def test_a_failure_is_told_with_its_reason_and_its_place(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed) as caught:
        await call(tool(tmp_path, "echo 'Error: no such node.'; exit 69"), tmp_path)
    assert str(caught.value) == (
        f"`rabbitmq-tool -n n1@h drain` failed on n1: no such node; all it printed: "
        f"{tmp_path / 'tool.log'}"
    )


async def test_a_tool_that_says_nothing(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match="failed on n1: ended with exit status 7"):
        await call(tool(tmp_path, "exit 7"), tmp_path)


async def test_a_tool_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match=r"can't be run: .*No such file"):
        await call(tmp_path / "none", tmp_path)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_one_that_hangs_is_killed(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match=r"had not ended on n1 after 0\.3 s"):
        await call(tool(tmp_path, "echo $$; exec sleep 60"), tmp_path, timeout=0.3)
    assert gone(int((tmp_path / "tool.log").read_text()))


async def test_one_that_is_called_off_is_killed(tmp_path: Path) -> None:
    output = tmp_path / "tool.log"
    calling = asyncio.create_task(call(tool(tmp_path, "echo $$; exec sleep 60"), tmp_path))
    while not (output.exists() and output.read_text()):  # noqa: ASYNC110
        await asyncio.sleep(0)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    pid = int(output.read_text())
    async with asyncio.timeout(10):
        while not gone(pid):  # noqa: ASYNC110 - reaped by the loop, a moment later
            await asyncio.sleep(0)
