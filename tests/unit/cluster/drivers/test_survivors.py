"""Nodes that wait for one that has lost its data: which of them goes on, and when."""

import asyncio
import itertools
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.unit.daemon.scene import until

from warrener.cluster.drivers import survivors
from warrener.cluster.drivers.boot_log import WAITS_FOR_TABLES
from warrener.cluster.drivers.node import Node
from warrener.cluster.drivers.survivors import going_on_without, names_in, who_loads
from warrener.cluster.errors import ToolFailed
from warrener.facts.happenings import Event, Progress
from warrener.facts.ids import NodeName

N1, N2, N3, N4 = (NodeName(f"n{number}@localhost") for number in range(1, 5))


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        ("[]\n", []),
        ("[n1@localhost]", [N1]),
        ("[n1@localhost,\n 'n2@my-host.example']", [N1, NodeName("n2@my-host.example")]),
    ],
)
def test_the_nodes_in_an_answer(answer: str, names: list[NodeName]) -> None:
    assert names_in(answer) == frozenset(names)


def test_of_those_left_the_one_that_ran_longest_loads() -> None:
    for order in itertools.permutations([N1, N2, N3]):
        went_before = {name: set(order[:place]) for place, name in enumerate(order)}
        assert who_loads(went_before, [N4]) == order[-1]


def test_the_only_one_left_loads() -> None:
    assert who_loads({N1: set()}, [N2]) == N1


def test_nodes_that_died_at_once_know_the_same() -> None:
    assert who_loads({N1: set(), N2: set(), N3: set()}, [N4]) == N1


def test_who_outlived_the_lost_one_needs_no_help() -> None:
    assert who_loads({N1: set(), N2: {N1, N3}}, [N3]) is None


def test_two_sides_that_saw_each_other_go_are_left_alone() -> None:
    assert who_loads({N1: {N2}, N2: {N1}}, [N3]) is None


class Booting:
    """Two nodes that boot, and what they are asked."""

    def __init__(self) -> None:
        self.nodes = [SimpleNamespace(name=name, stage="") for name in (N1, N2)]
        self.asked: list[tuple[str, str]] = []
        self.told: list[Progress] = []
        self.events: list[Event] = []
        self.answers = {N1: "[]", N2: f"[{N1}]"}

    async def ask(self, node: Node, text: str) -> str:
        self.asked.append((node.name, text))
        answer = self.answers[node.name]
        if answer == "down":
            raise ToolFailed("doesn't answer", "its.log")
        return answer

    def going_on(self) -> Any:
        nodes = cast(list[Node], self.nodes)
        return going_on_without([N3], nodes, self.ask, self.told.append, self.events.append)

    async def looks(self) -> None:
        for _ in range(10 * survivors.LOOKS):
            await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survivors, "LOOK", 0)


async def test_while_all_wait_the_last_one_is_told_to_go_on() -> None:
    booting = Booting()
    async with booting.going_on():
        booting.nodes[0].stage = WAITS_FOR_TABLES
        await booting.looks()
        assert booting.asked == []  # the other one may yet be the one that is waited for
        booting.nodes[1].stage = WAITS_FOR_TABLES
        await until(lambda: len(booting.asked) == 3)
        for node in booting.nodes:
            node.stage = "recovering queues"
    assert booting.asked[2] == (N2, survivors.LOAD)
    assert [event.kind for event in booting.events] == ["node.boots_without"]
    assert [(one.subject, one.text) for one in booting.told] == [
        ("n2", "doesn't wait for n3 any longer")
    ]
    before = list(booting.asked)
    await booting.looks()
    assert booting.asked == before  # over with the body


async def test_a_node_that_does_not_answer_is_asked_again() -> None:
    booting = Booting()
    booting.answers[N2] = "down"
    for node in booting.nodes:
        node.stage = WAITS_FOR_TABLES
    async with booting.going_on():
        await booting.looks()
        assert booting.events == []
        booting.answers[N2] = "[]"
        await until(lambda: bool(booting.events))
