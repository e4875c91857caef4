"""What RabbitMQ says of where queues are and of where exchanges lead, held against what it does.

A cluster of this module's own; its last test kills a node. How long RabbitMQ takes to answer is
printed (``pytest -rP``); docs/decisions/0004 has the figures.
"""

import asyncio
import contextlib
import os
import signal
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from tests.integration.support import balancer_place, eventually, node_place
from tests.integration.warren import Warren, running

from warrener.balancer.core.directory import Directory
from warrener.balancer.core.routes import Routes
from warrener.cluster.look_up import look_up
from warrener.cluster.observe import Clients, observe
from warrener.facts.ids import NodeName
from warrener.facts.places import ExchangeRoutes, Found, Lookup, LookupKind, QueuePlace
from warrener.management.client import ManagementClient

T = TypeVar("T")

TYPES = ("classic", "quorum", "stream")


@dataclass
class Scene:
    """A cluster that is asked directly, node by node."""

    warren: Warren

    def __post_init__(self) -> None:
        self.rows: list[dict[str, Any]] = self.warren.status()["nodes"]
        self.names = [NodeName(row["name"]) for row in self.rows]

    def with_clients(self, ask: Callable[[Clients], Awaitable[T]]) -> T:
        """What ``ask`` finds out with clients of the nodes' management API."""
        login = balancer_place(self.warren)

        async def main() -> T:
            async with contextlib.AsyncExitStack() as stack:
                clients = [
                    (
                        NodeName(row["name"]),
                        await stack.enter_async_context(
                            ManagementClient(
                                f"http://{row['host']}:{row['management_port']}",
                                login.user,
                                login.password,
                            )
                        ),
                    )
                    for row in self.rows
                ]
                return await ask(clients)

        return asyncio.run(main())

    def look_up(self, lookup: Lookup, first: int = 0) -> Found:
        async def ask(clients: Clients) -> Found:
            return (await look_up(clients, lookup, first=self.names[first]))[1]

        return self.with_clients(ask)

    def look(self, directory: Directory) -> None:
        snapshot = self.with_clients(lambda clients: observe(clients, now=time.time))
        directory.apply_snapshot(snapshot, time.monotonic())

    @contextlib.contextmanager
    def channel(self, node: int) -> Iterator[BlockingChannel]:
        place = node_place(self.warren, self.rows[node])
        connection = pika.BlockingConnection(pika.URLParameters(place.url()))
        try:
            yield connection.channel()
        finally:
            with contextlib.suppress(pika.exceptions.AMQPError):
                connection.close()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with running(tmp_path_factory.mktemp("places")) as warren:
        yield Scene(warren)


def here(type_: str) -> dict[str, str]:
    """Arguments of a queue whose leader is the node where it is declared."""
    locator = "x-queue-master-locator" if type_ == "classic" else "x-queue-leader-locator"
    return {"x-queue-type": type_, locator: "client-local"}


def queue(name: str) -> Lookup:
    return Lookup(LookupKind.QUEUE, "/", name)


def exchange(name: str) -> Lookup:
    return Lookup(LookupKind.EXCHANGE, "/", name)


@pytest.mark.parametrize("type_", TYPES)
def test_a_queue_can_be_found_the_moment_it_is_declared(scene: Scene, type_: str) -> None:
    """Also by another node than the one it was declared on. And a snapshot says the same."""
    directory = Directory()
    took: list[float] = []
    names = [f"{type_}-{number}" for number in range(9)]

    async def ask(clients: Clients) -> None:
        for client in clients:
            await client[1].whoami()  # connected
        for number, name in enumerate(names):
            at = number % 3
            channel.queue_declare(name, durable=True, arguments=here(type_))
            began = time.perf_counter()
            _, found = await look_up(clients, queue(name), first=scene.names[(at + 1) % 3])
            took.append(1000 * (time.perf_counter() - began))
            assert isinstance(found, QueuePlace), name
            assert (found.type, found.usable) == (type_, True)
            assert found.leader == scene.names[0], name

    with scene.channel(0) as channel:
        scene.with_clients(ask)
        print(f"{type_}: {statistics.median(took):.1f} ms, at most {max(took):.1f} ms")
        scene.look(directory)
        for name in names:
            assert directory.place("/", name, time.monotonic()) == QueuePlace(scene.names[0], type_)
            channel.queue_delete(name)
    assert scene.look_up(queue(names[0])) is None


def test_queues_that_go_with_their_user(scene: Scene) -> None:
    with scene.channel(1) as channel:
        name = channel.queue_declare("", exclusive=True, auto_delete=True).method.queue
        expected = QueuePlace(scene.names[1], "classic", True, True, True)
        assert scene.look_up(queue(name)) == expected
        directory = Directory()
        scene.look(directory)
        assert directory.place("/", name, time.monotonic()) == expected


PATTERNS = [
    *("#", "*", "", "a", "a.b", "a.*", "*.b", "a.#", "#.b", "#.a.#", "*.#", "#.*", "*.*"),
    *("a.#.b", "#.#", "a.*.b", "a.", ".a", ".", "a*", "**", "*.a.#", "a.#.*.b", "#.a.#.b.#"),
]
KEYS = [
    *("", "a", "b", "a.b", "b.a", "a.b.c", "a.x.b", "a.x.y.b", "a.a", "a.", ".a", ".", ".."),
    *("a..b", "*", "#", "a*", "ab", "a.#", "#.b", "b.a.c.b", "A", "**", "a.a.b.b"),
]  # fmt: skip


@pytest.mark.parametrize("type_", ["topic", "direct", "fanout"])
def test_messages_go_where_the_routes_say(scene: Scene, type_: str) -> None:
    """Every key against every binding: what is in which queue, and what was foretold."""
    name = f"x-{type_}"
    with scene.channel(2) as channel:
        channel.exchange_declare(name, type_, auto_delete=True)
        queues = {}
        for number, pattern in enumerate(PATTERNS):
            queues[f"r-{number}"] = pattern
            channel.queue_declare(f"r-{number}", exclusive=True)
            channel.queue_bind(f"r-{number}", name, pattern)
        found = scene.look_up(exchange(name))
        assert isinstance(found, ExchangeRoutes)
        assert (found.type, found.plain) == (type_, True)
        assert {(b.destination, b.routing_key) for b in found.bindings} == set(queues.items())
        routes = Routes(found)
        channel.confirm_delivery()
        for key in KEYS:
            channel.basic_publish(name, key, key.encode())
        got: dict[str, set[str]] = {key: set() for key in KEYS}
        for one in queues:
            while (body := channel.basic_get(one, auto_ack=True)[2]) is not None:
                got[body.decode()].add(one)
        for key in KEYS:
            foretold = {target.name for target in routes.targets(key) or ()}
            assert foretold == got[key], f"{key!r}: {[queues[q] for q in foretold ^ got[key]]}"


def test_exchanges_behind_exchanges_and_alternates(scene: Scene) -> None:
    directory = Directory()
    scene.look(directory)

    def destinations(key: str) -> tuple[str, ...] | None:
        while True:
            now = time.monotonic()
            answer = directory.destinations("/", "x-first", key, now)
            if not isinstance(answer, Lookup):
                return answer
            directory.looked_up(answer, scene.look_up(answer), now)

    with scene.channel(0) as channel:
        for name, arguments in [
            ("x-spare", {}),
            ("x-second", {}),
            ("x-first", {"alternate-exchange": "x-spare"}),
        ]:
            channel.exchange_declare(name, "topic", arguments=arguments)
        for name in ("e-1", "e-2", "e-spare"):
            channel.queue_declare(name, exclusive=True)
        channel.queue_bind("e-1", "x-first", "a.*")
        channel.exchange_bind("x-second", "x-first", "#.z")
        channel.exchange_bind("x-first", "x-second", "#")  # a circle
        channel.queue_bind("e-2", "x-second", "#")
        channel.queue_bind("e-spare", "x-spare", "#")
        for key, expected in [("a.b", ("e-1",)), ("a.z", ("e-1", "e-2")), ("b.z", ("e-2",))]:
            assert destinations(key) == expected
        assert destinations("c") is None, "x-spare has it"
        for name in ("x-first", "x-second", "x-spare"):
            channel.exchange_delete(name)
    assert scene.look_up(exchange("x-first")) is None


def test_a_killed_node_takes_its_classic_queues_down_and_its_leaders_away(scene: Scene) -> None:
    """The last test here: the node stays dead."""
    directory = Directory()
    with scene.channel(2) as channel:
        for type_ in ("classic", "quorum"):
            channel.queue_declare(f"k-{type_}", durable=True, arguments=here(type_))
        channel.queue_declare("k-gone", durable=True)
        channel.queue_delete("k-gone")
        scene.look(directory)
        victim = scene.names[2]
        assert directory.place("/", "k-classic", time.monotonic()) == QueuePlace(victim, "classic")
        os.kill(scene.rows[2]["pid"], signal.SIGKILL)
        killed = time.monotonic()
    directory.node_lost(victim)
    down = QueuePlace(None, "classic", usable=False)
    assert directory.place("/", "k-classic", time.monotonic()) == down
    assert directory.place("/", "k-quorum", time.monotonic()) == QueuePlace(None, "quorum")

    def leads() -> QueuePlace | None:
        found = scene.look_up(queue("k-quorum"))
        known = isinstance(found, QueuePlace) and found.leader in scene.names[:2]
        return found if isinstance(found, QueuePlace) and known else None

    elected = eventually("another leader", leads)
    print(f"told {time.monotonic() - killed:.2f} s after the kill: {elected}")
    assert elected.usable
    # "Not found" is RabbitMQ's word for both of these; the snapshot tells them apart.
    cannot_tell = QueuePlace(None, "", usable=False)
    eventually("not found", lambda: scene.look_up(queue("k-classic")) == cannot_tell)
    assert scene.look_up(queue("k-gone")) == cannot_tell
    scene.look(directory)
    assert directory.place("/", "k-classic", time.monotonic()) == down
    assert directory.place("/", "k-gone", time.monotonic()) == queue("k-gone")
