"""Nodes are forgotten and join, and the coordinator of streams follows before it goes on."""

from pathlib import Path
from typing import cast

import pytest
from tests.unit.cluster.drivers.test_stream_coordinator import N1, N2, printed
from tests.unit.cluster.drivers.test_upkeep import FakeNode

from warrener.cluster.drivers import membership
from warrener.cluster.drivers.membership import Membership
from warrener.cluster.drivers.node import Node
from warrener.cluster.drivers.upkeep import Upkeep
from warrener.facts.happenings import Event, Progress
from warrener.facts.reasons import NodeState

FOLLOWS = printed("led", N1, N1, N1, N1)
BEHIND = printed("led", f"{N1} {N2}", N1, N1, N1)
MISSING = printed("led", N1, N1, f"{N1} {N2}", f"{N1} {N2}")
ALONE = printed("alone", f"{N1} {N2}", N1, N1, f"{N1} {N2}")
NONE = printed("none", "", "", N1, N1)


class Cluster:
    """One node that answers in turn, the last answer for good."""

    def __init__(self, folder: Path, *answers: str) -> None:
        self.node = FakeNode(folder, None)
        self.node.reachable = True  # type: ignore[attr-defined]
        self.node.evaluate = self.evaluate  # type: ignore[method-assign]
        self.answers = list(answers)
        self.events: list[Event] = []
        self.progress: list[Progress] = []
        nodes = {N1: cast(Node, self.node)}
        works = Upkeep(nodes, self.progress.append)
        self.membership = Membership(works, nodes, self.progress.append, self.events.append)
        self.asked = 0

    async def evaluate(self, text: str, timeout: float) -> str | None:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "_FOLLOW_LOOK", 0)


@pytest.mark.parametrize("answer", [FOLLOWS, NONE])
async def test_one_that_follows_is_asked_once(tmp_path: Path, answer: str) -> None:
    cluster = Cluster(tmp_path, answer)
    assert await cluster.membership.streams_follow()
    assert (cluster.asked, cluster.events, cluster.progress) == (1, [], [])


async def test_it_is_waited_for(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, BEHIND, "Error: noproc", ALONE, MISSING, FOLLOWS)
    assert await cluster.membership.streams_follow()
    assert (cluster.asked, cluster.events) == (5, [])


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (BEHIND, "nobody missing, n2 left over"),
        (MISSING, "n2 missing, nobody left over"),
        (ALONE, "it has no leader"),
        ("Error", "not a text in base64: 'Error'"),
    ],
)
async def test_one_that_does_not_is_told_and_that_is_all(
    tmp_path: Path, answer: str, why: str
) -> None:
    cluster = Cluster(tmp_path, answer)
    assert not await cluster.membership.streams_follow(timeout=0)
    (event,) = cluster.events
    assert (event.kind, event.detail) == ("streams.coordinator_behind", {"why": why})


async def test_a_node_that_goes_is_not_waited_for(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, MISSING)
    assert await cluster.membership.streams_follow(timeout=0, without=[N2])
    assert not await cluster.membership.streams_follow(timeout=0, without=[N1])
    assert cluster.asked == 1, "nobody but it is there to be asked"


async def test_what_takes_longer_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "_FOLLOW_TOLD", -1.0)
    cluster = Cluster(tmp_path, BEHIND, BEHIND, FOLLOWS)
    assert await cluster.membership.streams_follow()
    assert [(one.subject, one.text) for one in cluster.progress] == [
        ("streams", "their coordinator follows the cluster")
    ]


async def test_a_node_that_does_not_answer_is_not_asked(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, FOLLOWS)
    cluster.node.state = NodeState.DOWN
    assert not await cluster.membership.streams_follow(timeout=0)
    assert cluster.asked == 0
    assert "no node runs" in str(cluster.events[0].detail["why"])
