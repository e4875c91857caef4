"""What is evaluated on a node: the quick way, and by RabbitMQ's tool where that doesn't answer."""

from pathlib import Path
from typing import cast

import pytest

from warrener.cluster.drivers.erl_call import of_file
from warrener.cluster.drivers.host import Ran
from warrener.cluster.drivers.node import Node
from warrener.cluster.drivers.node_config import node_files
from warrener.cluster.drivers.upkeep import Upkeep
from warrener.cluster.errors import NotRunning, ToolFailed
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState

N1 = NodeName("n1@localhost")


class FakeNode:
    """A node that runs; and its host, where the tool prints something else."""

    def __init__(self, state: Path, answer: str | None, status: int = 0) -> None:
        self.name, self.short, self.state, self.frozen = N1, "n1", NodeState.RUNNING, False
        self.files = node_files(state, N1)
        self.server = Path("/rabbitmq/sbin/rabbitmq-server")
        self.host = self
        self.answer = answer
        self.status = status
        self.said: list[str] = []

    def tool_environment(self) -> dict[str, str]:
        return {}

    async def evaluate(self, text: str, timeout: float) -> str | None:
        self.said.append(text)
        return self.answer

    def path(self, local: Path) -> Path:
        return Path("/there") / local.name

    def told(self, path: Path) -> Path:
        return path

    async def deliver_file(self, local: Path) -> None:
        self.said.append(f"brought {local.name}")

    async def remove_file(self, local: Path) -> None:
        self.said.append(f"removed {local.name}")

    async def run(self, arguments: list[str], **_: object) -> Ran:
        self.said.append(" ".join(arguments))
        return Ran(self.status, "printed")


def upkeep(node: FakeNode) -> tuple[Upkeep, Node]:
    real = cast(Node, node)
    return Upkeep({N1: real}, lambda _: None), real


SCRIPT = Path("/here/ask.erl")
QUICK = of_file(Path("/there/ask.erl"))
TOOL = "/rabbitmq/sbin/rabbitmqctl -n n1@localhost -q eval_file /there/ask.erl"


async def test_a_file_is_evaluated_the_quick_way(tmp_path: Path) -> None:
    node = FakeNode(tmp_path, "answered")
    it, real = upkeep(node)
    assert await it.evaluate(real, SCRIPT) == "answered"
    assert node.said == ["brought ask.erl", QUICK, "removed ask.erl"]


async def test_without_an_answer_the_tool_is_asked(tmp_path: Path) -> None:
    node = FakeNode(tmp_path, None)
    it, real = upkeep(node)
    assert await it.evaluate(real, SCRIPT) == "printed"
    assert node.said == ["brought ask.erl", QUICK, TOOL, "removed ask.erl"]


async def test_who_wants_to_read_what_it_says_asks_the_tool_at_once(tmp_path: Path) -> None:
    node = FakeNode(tmp_path, "answered")
    it, real = upkeep(node)
    assert await it.evaluate(real, SCRIPT, by_tool=True) == "printed"
    assert node.said == ["brought ask.erl", TOOL, "removed ask.erl"]


async def test_the_file_is_gone_also_when_it_fails(tmp_path: Path) -> None:
    node = FakeNode(tmp_path, None, status=1)
    it, real = upkeep(node)
    with pytest.raises(ToolFailed, match="eval_file"):
        await it.evaluate(real, SCRIPT)
    assert node.said[-1] == "removed ask.erl"


async def test_a_node_that_does_not_run_is_not_asked(tmp_path: Path) -> None:
    node = FakeNode(tmp_path, "answered")
    node.state = NodeState.DOWN
    it, real = upkeep(node)
    with pytest.raises(NotRunning):
        await it.evaluate(real, SCRIPT)
    assert node.said == []
