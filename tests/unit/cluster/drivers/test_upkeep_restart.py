"""How long a node gets to stop in order when it is restarted."""

from typing import Any

import pytest

from warrener.cluster.drivers.node import STOP_TIMEOUT
from warrener.cluster.drivers.upkeep import BOOTING_STOP, Upkeep
from warrener.cluster.errors import ToolFailed
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState

N1 = NodeName("n1@localhost")


class FakeNode:
    """Has its data, answers ``answer``, and comes up at once."""

    name = N1
    short = "n1"
    frozen = False
    reachable = True
    pid = 7
    files = None

    def __init__(self, answer: str | Exception | None) -> None:
        self.host = self
        self.state = NodeState.RUNNING
        self.answer = answer
        self.story: list[str] = []

    async def has_data(self, files: object, name: NodeName) -> bool:
        return True

    async def evaluate(self, text: str, timeout: float) -> str | None:
        self.story.append("asked")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def stop(self, timeout: float) -> None:
        self.story.append(f"stopped within {timeout:g} s")

    async def boot(self, members: list[NodeName], timeout: float) -> None:
        self.story.append(f"boots with {', '.join(members)}")


async def restarted(node: Any) -> list[str]:
    await Upkeep({N1: node}, lambda progress: None).restart(node, 120)
    story = node.story
    assert isinstance(story, list)
    return story


async def test_a_node_that_boots_gets_less_time_than_one_that_runs() -> None:
    """RabbitMQ doesn't stop before its boot is over, and this one's never is."""
    assert await restarted(FakeNode("booting")) == [
        "asked",
        f"stopped within {BOOTING_STOP:g} s",
        "boots with n1@localhost",
    ]


@pytest.mark.parametrize("answer", ["ready", "stopped", None, ToolFailed("no answer", "log")])
async def test_any_other_gets_its_time(answer: str | Exception | None) -> None:
    assert f"stopped within {STOP_TIMEOUT:g} s" in await restarted(FakeNode(answer))


@pytest.mark.parametrize(
    ("what", "value"), [("frozen", True), ("reachable", False), ("state", NodeState.DOWN)]
)
async def test_one_that_can_not_answer_is_not_asked(what: str, value: object) -> None:
    node = FakeNode("booting")
    setattr(node, what, value)
    story = await restarted(node)
    assert story[0] == f"stopped within {STOP_TIMEOUT:g} s"
