"""Where one queue is and where one exchange leads, by what RabbitMQ answers.

The answers are those of RabbitMQ 3.10.8, recorded from a real cluster; see docs/decisions/0004.
"""

import asyncio
from typing import Any

import msgspec
import pytest

from warrener.cluster.look_up import (
    MAX_BINDINGS,
    NOT_FOUND_OR_DOWN,
    exchange_routes,
    look_up,
    queue_place,
)
from warrener.facts.ids import NodeName
from warrener.facts.places import Binding, ExchangeRoutes, Found, Lookup, LookupKind, QueuePlace
from warrener.management import answers
from warrener.management.client import ManagementError, NotFound, TooLong, Unreachable

N1, N2, N3 = NODES = tuple(NodeName(f"n{i}@localhost") for i in (1, 2, 3))
QUEUE = Lookup(LookupKind.QUEUE, "v", "q")
EXCHANGE = Lookup(LookupKind.EXCHANGE, "v", "x")


def queue(**answer: Any) -> answers.Queue:
    told = {"name": "q", "vhost": "v", "auto_delete": False, "exclusive": False, "state": "live"}
    return msgspec.convert({**told, **answer}, answers.Queue)


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ({"type": "classic", "node": N1}, QueuePlace(N1, "classic")),
        (
            {"type": "classic", "node": N1, "auto_delete": True, "exclusive": True},
            QueuePlace(N1, "classic", True, True, True),
        ),
        (
            {"type": "quorum", "leader": N2, "members": [*NODES], "online": [*NODES]},
            QueuePlace(N2, "quorum"),
        ),
        (
            {"type": "quorum", "leader": None, "members": [*NODES], "online": [N1, N2]},
            QueuePlace(None, "quorum"),
        ),
        (
            {"type": "quorum", "leader": N1, "members": [*NODES], "online": [N1]},
            QueuePlace(N1, "quorum", False),
        ),
        (
            {"type": "quorum", "leader": None, "members": [N3], "online": []},
            QueuePlace(None, "quorum", False),
        ),
        (
            {"type": "quorum", "leader": N1, "members": [N1], "online": [N1], "state": "minority"},
            QueuePlace(N1, "quorum", False),
        ),
        ({"type": "stream", "node": N1}, QueuePlace(N1, "stream")),
        ({"type": "classic", "node": None}, QueuePlace(None, "classic", False)),
    ],
)
def test_the_place_of_a_queue(answer: dict[str, Any], place: QueuePlace) -> None:
    assert queue_place(queue(**answer)) == place


def test_the_routes_of_an_exchange_are_in_order_and_each_once() -> None:
    told = [
        answers.Binding(destination="b", routing_key="k"),
        answers.Binding(destination="a", routing_key="k"),
        answers.Binding(destination="a", routing_key="k"),  # with other arguments
        answers.Binding(destination="a", destination_type="exchange", routing_key="k"),
    ]
    routes = exchange_routes(answers.Exchange(name="x", type="topic"), told)
    assert routes == ExchangeRoutes(
        "topic", (Binding("a", False, "k"), Binding("a", True, "k"), Binding("b", False, "k"))
    )
    assert routes == exchange_routes(answers.Exchange(name="x", type="topic"), told[::-1])


@pytest.mark.parametrize(
    ("told", "plain"),
    [
        ({}, True),
        ({"arguments": []}, True),
        ({"arguments": {"x": 1}, "policy": ""}, True),
        ({"arguments": {"alternate-exchange": "ae"}}, False),
        ({"policy": "ae-for-all"}, False),
        ({"policy": None}, True),
    ],
)
def test_an_alternate_exchange_by_argument_or_perhaps_by_policy(
    told: dict[str, Any], plain: bool
) -> None:
    exchange = answers.Exchange(name="x", type="direct", **told)
    assert exchange_routes(exchange, []).plain is plain


class Node:
    """Stands in for a node's ``ManagementClient``; an exception is raised, None hangs."""

    def __init__(self, **told: Any) -> None:
        self.told = told
        self.asked: list[str] = []

    async def _tell(self, what: str) -> Any:
        self.asked.append(what)
        told = self.told.get(what)
        if told is None:
            await asyncio.Event().wait()
        if isinstance(told, Exception):
            raise told
        return told

    async def queue(self, vhost: str, name: str) -> Any:
        assert (vhost, name) == ("v", "q")
        return await self._tell("queue")

    async def running(self) -> Any:
        return await self._tell("running")

    async def exchange(self, vhost: str, name: str) -> Any:
        assert (vhost, name) == ("v", "x")
        return await self._tell("exchange")

    async def bindings_from(self, vhost: str, exchange: str, *, limit: int) -> Any:
        assert (vhost, exchange) == ("v", "x")
        assert 100_000 < limit < 10_000_000
        return await self._tell("bindings")


async def ask(lookup: Lookup, *nodes: Node, **options: Any) -> tuple[NodeName, Found]:
    clients: Any = list(zip(NODES, nodes, strict=False))
    return await look_up(clients, lookup, stagger=0.01, **options)


NOT_THERE = NotFound("http://n1", "not found")
AT_N1 = queue(type="classic", node=N1)


async def test_one_answer_is_enough() -> None:
    first, second = Node(queue=AT_N1), Node(queue=AT_N1)
    assert await ask(QUEUE, first, second) == (N1, QueuePlace(N1, "classic"))
    assert (first.asked, second.asked) == (["queue"], [])


async def test_the_node_that_answered_last_is_asked_first() -> None:
    first, second = Node(queue=AT_N1), Node(queue=AT_N1)
    assert (await ask(QUEUE, first, second, first=N2))[0] == N2
    assert first.asked == []


async def test_a_node_that_hangs_or_refuses_costs_little() -> None:
    refusing = Node(queue=Unreachable("http://n1", "no connection"))
    source, found = await ask(QUEUE, Node(), refusing, Node(queue=AT_N1))
    assert (source, found) == (N3, QueuePlace(N1, "classic"))


async def test_when_no_node_answers_that_is_an_error() -> None:
    with pytest.raises(ManagementError):
        await ask(QUEUE, *(Node(queue=Unreachable("http://n", "gone")) for _ in NODES))


async def test_a_queue_that_is_not_found_while_all_nodes_run_is_not_there() -> None:
    node, other = Node(queue=NOT_THERE, running={N1: True, N2: True}), Node(queue=AT_N1)
    assert await ask(QUEUE, node, other) == (N1, None)
    assert other.asked == [], "one node's word is enough"


@pytest.mark.parametrize("running", [{N1: True, N2: False}, None])
async def test_a_queue_that_is_not_found_while_a_node_is_down_may_be_down(
    running: dict[str, bool] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warrener.cluster.look_up.RUNNING_PATIENCE", 0.01)
    node = Node(queue=NOT_THERE, running=running)
    assert await ask(QUEUE, node) == (N1, NOT_FOUND_OR_DOWN)


async def test_an_exchange_and_its_bindings() -> None:
    node = Node(
        exchange=answers.Exchange(name="x", type="direct"),
        bindings=[answers.Binding(destination="q", routing_key="k")],
    )
    _, found = await ask(EXCHANGE, node)
    assert found == ExchangeRoutes("direct", (Binding("q", False, "k"),))


@pytest.mark.parametrize("gone", ["exchange", "bindings"])
async def test_an_exchange_that_is_not_there(gone: str) -> None:
    there = {"exchange": answers.Exchange(name="x", type="direct"), "bindings": []}
    assert await ask(EXCHANGE, Node(**{**there, gone: NOT_THERE})) == (N1, None)


@pytest.mark.parametrize(
    "bindings",
    [
        TooLong("http://n1", "long"),
        [answers.Binding(destination=f"q{number}") for number in range(MAX_BINDINGS + 1)],
    ],
)
async def test_an_exchange_with_too_many_bindings_is_not_followed(bindings: Any) -> None:
    node = Node(exchange=answers.Exchange(name="x", type="fanout"), bindings=bindings)
    assert await ask(EXCHANGE, node) == (N1, ExchangeRoutes("", (), plain=False))
