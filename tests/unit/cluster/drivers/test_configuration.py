"""Three layers make a node's file; the record of what was chosen outlives the process."""

import asyncio
import base64
import json
from pathlib import Path
from typing import cast

import pytest

from warrener.cluster.catalogue.schema import Schema, read_schema
from warrener.cluster.drivers.configuration import Configuration
from warrener.cluster.drivers.node import Node
from warrener.cluster.drivers.node_config import node_files
from warrener.cluster.drivers.private_files import PrivateFiles
from warrener.cluster.drivers.upkeep import Upkeep
from warrener.cluster.errors import StateBroken, ToolFailed
from warrener.facts.ids import NodeName

N1 = NodeName("n1@localhost")
SCHEMA = Schema.of(
    "3.10.8",
    read_schema(
        """
        {mapping, "heartbeat", "rabbit.heartbeat", [{datatype, integer}]}.
        {mapping, "vm_memory_high_watermark.relative", "rabbit.w", [{datatype, float}]}.
        {mapping, "vm_memory_high_watermark.absolute", "rabbit.w", [{datatype, string}]}.
        """
    )[0],
)
OWN = {"cluster_name": "orders", "vm_memory_high_watermark.relative": "0.133"}


class FakeNode:
    def __init__(self, state: Path) -> None:
        self.files = node_files(state, N1)
        self.files.folder.mkdir(parents=True, exist_ok=True)


def made(state: Path, described: dict[str, str] | None = None) -> Configuration:
    files = PrivateFiles(state)
    files.prepare()
    it = Configuration(files, described or {}, lambda: SCHEMA)
    assert it.read() == []
    it.add_node(N1, OWN)
    it.run_by({N1: cast(Node, FakeNode(state))}, cast(Upkeep, None))
    return it


def test_later_layers_come_over_earlier_ones(tmp_path: Path) -> None:
    it = made(tmp_path, {"heartbeat": "20"})
    assert it.settings(N1) == {**OWN, "heartbeat": "20"}
    assert it.settings(N1, {"heartbeat": "30"})["heartbeat"] == "20"  # warrener.toml's word
    it.describe("heartbeat", None)
    assert it.settings(N1, {"heartbeat": "30"})["heartbeat"] == "30"
    assert it.by_hand == frozenset()
    it.describe("heartbeat", "40")
    assert it.settings(N1, {"heartbeat": "30"})["heartbeat"] == "40"
    assert it.by_hand == {"heartbeat"}
    absolute = it.settings(N1, {"vm_memory_high_watermark.absolute": "1GB"})
    assert "vm_memory_high_watermark.relative" not in absolute


def test_what_was_chosen_is_in_every_file_and_outlives_the_process(tmp_path: Path) -> None:
    made(tmp_path).record({"heartbeat": "30"})
    file = tmp_path / "nodes" / "n1" / "rabbitmq.conf"
    assert "heartbeat = 30\n" in file.read_text()
    for path in (file, tmp_path / "config.json"):
        assert path.stat().st_mode & 0o777 == 0o600
    assert made(tmp_path).settings(N1)["heartbeat"] == "30"


def test_a_value_that_is_only_tried_is_not_recorded(tmp_path: Path) -> None:
    """Killed at this moment, the next start has the old one."""
    made(tmp_path).write_file(N1, {"heartbeat": "30"})
    assert "heartbeat" not in made(tmp_path).settings(N1)


def test_what_this_rabbitmq_does_not_take_is_left_out_and_told(tmp_path: Path) -> None:
    made(tmp_path).record({"heartbeat": "30"})
    (tmp_path / "config.json").write_text('{"settings":{"heartbeat":"30","gone.key":"1"}}')
    it = Configuration(PrivateFiles(tmp_path), {}, lambda: SCHEMA)
    (told,) = it.read()
    assert told.startswith("gone.key: RabbitMQ 3.10.8 has no such key")
    it.add_node(N1, OWN)
    assert it.settings(N1) == {**OWN, "heartbeat": "30"}
    assert it.chosen["gone.key"] == "1"  # for a version that takes it


def test_a_damaged_record_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(StateBroken, match=r"config\.json is damaged"):
        Configuration(PrivateFiles(tmp_path), {}, lambda: SCHEMA).read()


def is_private(path: Path) -> bool:
    return path.stat().st_mode & 0o077 == 0


class Asked:
    """Stands for a node's Erlang, and for the host that a file is brought to."""

    def __init__(self, error: str = "") -> None:
        self.error = error
        self.by_tool: list[bool] = []

    async def deliver_file(self, local: Path) -> None:
        pass

    async def remove_file(self, local: Path) -> None:
        pass

    def path(self, local: Path) -> Path:
        return local

    def told(self, path: Path) -> Path:
        return path

    async def evaluate(self, node: FakeNode, script: Path, *, by_tool: bool = False) -> str:
        assert is_private(script)
        self.by_tool.append(by_tool)
        answer = {"error": self.error, "rows": [["rabbit.heartbeat", "60", "30", False]]}
        words = "09:44:58.732 [error] heartbeat should be a number\n" if by_tool else ""
        if self.error == "none":
            return "no answer"
        encoded = base64.b64encode(json.dumps(answer).encode()).decode()
        return f'{words}{{warrener,<<"{encoded}">>}}'


def asked(state: Path, error: str = "") -> tuple[Configuration, Asked]:
    it, there, node = made(state), Asked(error), FakeNode(state)
    node.host = there  # type: ignore[attr-defined]
    it.run_by({N1: cast(Node, node)}, cast(Upkeep, there))
    return it, there


async def test_what_is_in_force_is_asked_the_quick_way(tmp_path: Path) -> None:
    it, there = asked(tmp_path)
    told = await it.values(N1, ["rabbit.heartbeat"])
    assert (told.values["rabbit.heartbeat"].in_force, told.error) == ("60", "")
    assert there.by_tool == [False]
    assert not (tmp_path / "nodes" / "n1" / "ask.erl").exists()


async def test_what_is_wrong_with_a_file_is_asked_of_the_tool_which_prints_it(
    tmp_path: Path,
) -> None:
    it, there = asked(tmp_path, error="{error,transform_datatypes}")
    told = await it.values(N1, ["rabbit.heartbeat"])
    assert told.error == "heartbeat should be a number"
    assert there.by_tool == [False, True]


async def test_two_who_ask_the_same_node_do_not_take_each_others_files(tmp_path: Path) -> None:
    it, there = asked(tmp_path)
    evaluate = there.evaluate

    async def slow(node: FakeNode, script: Path, *, by_tool: bool = False) -> str:
        await asyncio.sleep(0.01)  # another one's time to take the file away
        return await evaluate(node, script, by_tool=by_tool)

    there.evaluate = slow  # type: ignore[method-assign]
    await asyncio.gather(
        it.values(N1, ["rabbit.heartbeat"]),
        it.check(N1, {"heartbeat": "30"}, ["rabbit.heartbeat"]),
        it.values(N1, ["rabbit.heartbeat"]),
    )
    assert there.by_tool == [False] * 3
    assert not list((tmp_path / "nodes" / "n1").glob("ask*"))
    assert not (tmp_path / "nodes" / "n1" / "candidate.conf").exists()


async def test_an_answer_that_is_not_understood_is_told(tmp_path: Path) -> None:
    it, _ = asked(tmp_path, error="none")
    with pytest.raises(ToolFailed, match="isn't understood"):
        await it.values(N1, ["rabbit.heartbeat"])
