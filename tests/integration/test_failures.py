"""Nodes that die, freeze, stop and drain under load, in a cluster of this module's own.

Each failure happens once, while three kinds of clients watch: those on the node, whose sessions
must go on elsewhere; those on other nodes, which must notice nothing; and new ones, which must get
in. How long things took is printed (``pytest -rP``). What becomes of channels under load is the
ledger's matter (``test_ledger``).
"""

import asyncio
import contextlib
import json
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aio_pika
import pika
import psutil
import pytest
from pamqp import commands
from tests.integration.raw import Raw
from tests.integration.support import (
    Place,
    balancer_place,
    eventually,
    management,
    node_place,
    tool,
)
from tests.integration.warren import Warren, running

pytestmark = pytest.mark.alone

KILL_ANSWERED = 2.0
"""Seconds until a client of a killed node is served by another one."""

FREEZE_ANSWERED = 20.0
"""The same for a frozen node: two missed heartbeats of the link, or one and the word of the probes,
then another link."""

PAUSE = 0.005
"""Seconds between two rounds of a worker: load, but some of two cores is left for the cluster."""

HANDSHAKE = 10.0
"""Seconds that a client gives its handshake."""


@pytest.fixture(scope="module")
def warren(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warren]:
    with running(tmp_path_factory.mktemp("fresh-failures")) as made:
        yield made


@pytest.fixture
def place(warren: Warren) -> Place:
    """The balancer, with every node fit and wanted."""
    eventually("all nodes fit", lambda: all(n["fit"] for n in warren.status()["nodes"]), 60)
    return balancer_place(warren)


def node_of(warren: Warren, index: int) -> dict[str, Any]:
    row = warren.status()["nodes"][index]
    assert isinstance(row, dict)
    return row


def one_each(warren: Warren, raws: list[Raw]) -> list[list[Raw]]:
    """The connections by the node that they are on: round robin gives each node as many."""
    nodes = [node["name"] for node in warren.status()["nodes"]]
    where = {
        line["client"]: nodes.index(line["node"])
        for line in json.loads(warren.ok("sessions", "--json"))["sessions"]
    }
    found: list[list[Raw]] = [[] for _ in nodes]
    for raw in raws:
        host, port = raw.socket.getsockname()
        found[where[f"{host}:{port}"]].append(raw)
    assert {len(here) for here in found} == {len(raws) // len(nodes)}
    return found


@contextlib.contextmanager
def watched(warren: Warren, place: Place, victim: int) -> Iterator[list["Watcher"]]:
    """Four sessions on each node; those on ``victim`` wait, the others work."""
    here = one_each(warren, [Raw(place).open() for _ in range(12)])
    watchers = [Watcher(raw) for raw in here.pop(victim)]
    workers = [Worker(raw) for raws in here for raw in raws]
    try:
        yield watchers
    finally:
        for worker in workers:
            worker.stop.set()
        for worker in workers:
            worker.end()


class Watcher:
    """A client of the node that fails, idle until then."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw

    def goes_on(self, patience: float) -> float:
        """Open a channel and use it, on whatever node; seconds that it took."""
        started = time.monotonic()
        with contextlib.closing(self.raw.socket):
            self.raw.send(commands.Channel.Open(), channel=1)
            self.raw.expect(commands.Channel.OpenOk, patience)
            self.raw.send(commands.Confirm.Select(), channel=1)
            self.raw.expect(commands.Confirm.SelectOk)
            took = time.monotonic() - started
            self.raw.close()
        return took


class Worker:
    """A client of another node: publishes with confirms and gets, all the time."""

    def __init__(self, raw: Raw) -> None:
        self.rounds = 0
        self.slowest = 0.0
        self.problem: BaseException | None = None
        self.stop = threading.Event()
        self._raw = raw
        self._raw.channel()
        self._raw.send(commands.Confirm.Select(), channel=1)
        self._raw.expect(commands.Confirm.SelectOk)
        self._raw.send(commands.Queue.Declare(exclusive=True), channel=1)
        self._queue = self._raw.expect(commands.Queue.DeclareOk).queue
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        raw, queue = self._raw, self._queue
        try:
            while not self.stop.wait(PAUSE):
                started = time.monotonic()
                body = b"%d" % self.rounds
                raw.publish(queue, body)
                raw.expect(commands.Basic.Ack)
                raw.send(commands.Basic.Get(queue=queue, no_ack=True), channel=1)
                raw.expect(commands.Basic.GetOk)
                raw.receive()
                assert raw.receive()[1].value == body
                self.slowest = max(self.slowest, time.monotonic() - started)
                self.rounds += 1
            raw.close()
        except BaseException as problem:
            self.problem = problem
        finally:
            raw.socket.close()

    def end(self) -> None:
        """It must have noticed nothing."""
        self.stop.set()
        self._thread.join(30)
        assert self.problem is None, repr(self.problem)
        assert self.rounds > 10
        assert self.slowest < 5


class Newcomers:
    """Clients that connect, publish one message under confirms to a quorum queue and leave, one
    after the other: some come while the queue has no leader."""

    def __init__(self, place: Place, queue: str) -> None:
        self.confirmed = 0
        self.slowest = 0.0
        self.problem: BaseException | None = None
        self.stop = threading.Event()
        self._place = place
        self._queue = queue
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        try:
            while not self.stop.wait(PAUSE):
                started = time.monotonic()
                with pika.BlockingConnection(pika.URLParameters(self._place.url())) as connection:
                    channel = connection.channel()
                    channel.confirm_delivery()
                    body = b"%d" % self.confirmed
                    channel.basic_publish("", self._queue, body, mandatory=True)
                self.slowest = max(self.slowest, time.monotonic() - started)
                self.confirmed += 1
        except BaseException as problem:
            self.problem = problem

    def end(self) -> None:
        """None was refused or cut off."""
        self.stop.set()
        self._thread.join(60)
        assert self.problem is None, repr(self.problem)
        print(f"killed: {self.confirmed} newcomers, the slowest took {self.slowest:.2f} s")
        assert self.confirmed > 10


@contextlib.contextmanager
def newcomers(warren: Warren, place: Place, victim: int) -> Iterator[None]:
    """Clients that come and go, each to one of three quorum queues that ``victim`` leads. What they
    were confirmed is there afterwards, once."""
    queues = [f"test-{uuid.uuid4().hex[:8]}" for _ in range(3)]
    parameters = pika.URLParameters(node_place(warren, node_of(warren, victim)).url())
    with pika.BlockingConnection(parameters) as connection:
        for queue in queues:
            connection.channel().queue_declare(
                queue, durable=True, arguments={"x-queue-type": "quorum"}
            )
    coming = [Newcomers(place, queue) for queue in queues]
    try:
        yield
    finally:
        for one in coming:
            one.stop.set()
        for one in coming:
            one.end()
    with pika.BlockingConnection(pika.URLParameters(place.url())) as connection:
        channel = connection.channel()
        for one, queue in zip(coming, queues, strict=True):
            bodies = []
            while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
                bodies.append(int(got[2]))
            assert bodies == sorted(bodies)
            assert set(bodies) == set(range(one.confirmed))
            channel.queue_delete(queue)


def connect_at_once(place: Place, number: int) -> list[float]:
    """Open that many sessions side by side; seconds that each took."""

    def one(_: int) -> float:
        started = time.monotonic()
        with Raw(place).open() as raw:
            took = time.monotonic() - started
            raw.channel()
            raw.close()
        return took

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(one, range(number)))


def beam(node: dict[str, Any]) -> psutil.Process:
    """The Erlang VM of a node."""
    process = psutil.Process(node["pid"])
    return next(p for p in (process, *process.children(recursive=True)) if "beam" in p.name())


def unfit(warren: Warren, index: int) -> Any:
    """The reason, once it is unfit."""
    node = node_of(warren, index)
    return not node["fit"] and (node["unfit_reason"], node["unfit_detail"])


# -- in this order: what a cluster recovers from comes first ------------------------------------


def test_a_frozen_node(warren: Warren, place: Place) -> None:
    """SIGSTOP: connections stand, nothing comes. Later SIGCONT, and the node is used again."""
    node = node_of(warren, 2)
    process = beam(node)
    with watched(warren, place, 2) as watchers:
        begun = [Raw(place) for _ in range(3)]
        for raw in begun:
            raw.start()
        half_way = one_each(warren, begun)[2][0]
        os.kill(process.pid, signal.SIGSTOP)
        frozen_at = time.monotonic()
        try:
            half_way.login()  # of this handshake the node has heard the beginning
            took = connect_at_once(place, 9)  # a third of them meets the frozen node
            print(f"frozen: nine new sessions took {max(took):.2f} s at most")
            assert max(took) < HANDSHAKE
            half_way.tune()
            half_way.send(commands.Connection.Open("/"))
            half_way.expect(commands.Connection.OpenOk)
            print(f"frozen: a handshake begun there took {time.monotonic() - frozen_at:.2f} s more")
            assert time.monotonic() - frozen_at < HANDSHAKE
            half_way.close()
            for raw in begun:
                raw.socket.close()
            reason, detail = eventually("unfit", lambda: unfit(warren, 2))
            assert reason == "hangs", detail
            for watcher in watchers:
                watcher.goes_on(FREEZE_ANSWERED)
            print(f"frozen: its clients were all served after {time.monotonic() - frozen_at:.2f} s")
            took = connect_at_once(place, 9)
            print(f"frozen, known: nine new sessions took {max(took):.2f} s at most")
            assert max(took) < 2
        finally:
            os.kill(process.pid, signal.SIGCONT)
        eventually("fit again", lambda: node_of(warren, 2)["fit"], 30)
        again = [Raw(place).open() for _ in range(3)]
        assert len(one_each(warren, again)[2]) == 1
        for raw in again:
            raw.close()
            raw.socket.close()


def test_a_node_that_is_stopped_gracefully(warren: Warren, place: Place) -> None:
    """rabbitmqctl stop_app: its sessions go on elsewhere. start_app: back again."""
    node = node_of(warren, 1)
    with watched(warren, place, 1) as watchers:
        tool(node, "rabbitmqctl", "stop_app")
        for watcher in watchers:
            watcher.goes_on(KILL_ANSWERED)
        assert max(connect_at_once(place, 9)) < HANDSHAKE
        reason, _ = eventually("unfit", lambda: unfit(warren, 1))
        assert reason in ("refuses", "not_running")
        tool(node, "rabbitmqctl", "start_app")
        eventually("fit again", lambda: node_of(warren, 1)["fit"], 30)


def test_a_node_that_is_drained(warren: Warren, place: Place) -> None:
    """Maintenance mode that somebody else began: sessions go elsewhere, revived it is used."""
    node = node_of(warren, 1)
    with watched(warren, place, 1) as watchers:
        tool(node, "rabbitmq-upgrade", "drain")
        for watcher in watchers:
            watcher.goes_on(KILL_ANSWERED)
        assert max(connect_at_once(place, 9)) < HANDSHAKE
        reason, _ = eventually("unfit", lambda: unfit(warren, 1))
        assert reason in ("drained", "refuses")
        tool(node, "rabbitmq-upgrade", "revive")
        eventually("fit again", lambda: node_of(warren, 1)["fit"], 30)


async def test_a_node_that_is_killed(warren: Warren, place: Place) -> None:
    """SIGKILL, with raw clients, an aio-pika consumer and publishers that have just connected, none
    of which notices anything."""
    node = node_of(warren, 2)
    process = beam(node)
    name = f"test-{uuid.uuid4().hex[:8]}"
    got: list[bytes] = []
    direct = await aio_pika.connect(node_place(warren, node_of(warren, 0)).url())
    sender = await direct.channel()
    # Led by the first node, not by the one that dies.
    spelling = "leader" if int(node["version"].split(".")[0]) >= 4 else "master"
    here = {f"x-queue-{spelling}-locator": "client-local"}
    await sender.declare_queue(name, durable=True, arguments=here)
    with contextlib.ExitStack() as coming, watched(warren, place, 2) as watchers:
        robust = await robust_on(warren, place, 2)
        reconnects: list[object] = []
        robust.reconnect_callbacks.add(reconnects.append)
        channel = await robust.channel()
        queue = await channel.declare_queue(name, durable=True, arguments=here)

        async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            got.append(message.body)
            await message.ack()

        await queue.consume(take)
        await sender.default_exchange.publish(aio_pika.Message(b"before"), name)
        await wait_for(lambda: got == [b"before"])
        coming.enter_context(newcomers(warren, place, 2))
        await asyncio.sleep(0.5)
        os.kill(process.pid, signal.SIGKILL)
        killed_at = time.monotonic()
        took = await asyncio.to_thread(connect_at_once, place, 9)
        print(f"killed: nine new sessions took {max(took):.2f} s at most")
        assert max(took) < 2
        for watcher in watchers:
            await asyncio.to_thread(watcher.goes_on, KILL_ANSWERED)
        await sender.default_exchange.publish(aio_pika.Message(b"after"), name)
        await wait_for(lambda: got == [b"before", b"after"])
        print(f"killed: all that after {time.monotonic() - killed_at:.2f} s")
        assert reconnects == []
        reason, _ = await asyncio.to_thread(eventually, "unfit", lambda: unfit(warren, 2))
        assert reason in ("refuses", "not_running")
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        await robust.close()
        await asyncio.sleep(1)  # for more newcomers after the election
    await sender.queue_delete(name)
    await direct.close()
    balancer = warren.status()["balancer"]
    assert balancer["sessions"] == 0
    assert not {"node_lost", "node_silent", "internal"} & balancer["sessions_ended"].keys()


def test_a_leader_without_sessions_is_killed_right_before_a_publisher_connects(
    warren: Warren,
) -> None:
    """Nobody has a link to the node, so only the probes can tell that it died. As in the README's
    tour."""
    if node_of(warren, 2)["state"] != "running":
        warren.ok("node", "restart", "n3")
    place = balancer_place(warren)
    queue = f"test-{uuid.uuid4().hex[:8]}"
    for number in range(3):
        eventually("all nodes fit", lambda: all(n["fit"] for n in warren.status()["nodes"]), 60)
        with pika.BlockingConnection(pika.URLParameters(place.url())) as connection:
            arguments = {"x-queue-type": "quorum"}
            connection.channel().queue_declare(queue, durable=True, arguments=arguments)
        leader = management(warren).get(f"/queues/%2F/{queue}")["leader"]
        node = next(row for row in warren.status()["nodes"] if row["name"] == leader)
        eventually("no sessions", lambda: not warren.status()["balancer"]["sessions"])
        beam(node).send_signal(signal.SIGKILL)
        started = time.monotonic()
        with pika.BlockingConnection(pika.URLParameters(place.url())) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            for at in range(10):
                channel.basic_publish("", queue, b"%d" % at, mandatory=True)
        print(f"killed {leader}, round {number + 1}: confirmed {time.monotonic() - started:.2f} s")
        warren.ok("node", "restart", leader)
    with pika.BlockingConnection(pika.URLParameters(place.url())) as connection:
        channel = connection.channel()
        got = [channel.basic_get(queue, auto_ack=True)[2] for _ in range(30)]
        assert got == [b"%d" % at for at in range(10)] * 3
        channel.queue_delete(queue)


async def robust_on(
    warren: Warren, place: Place, index: int
) -> aio_pika.abc.AbstractRobustConnection:
    """An aio-pika connection to that node."""
    made = {}
    for number in range(3):
        query = f"reconnect_interval=0.2&name=robust-{number}"
        made[f"robust-{number}"] = await aio_pika.connect_robust(place.url(query))
    lines = json.loads(warren.ok("sessions", "--json"))["sessions"]
    node = node_of(warren, index)["name"]
    (name,) = [line["name"] for line in lines if line["name"] in made and line["node"] == node]
    chosen = made.pop(name)
    for other in made.values():
        await other.close()
    return chosen


async def wait_for(true: Any) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - asks what has no event
            await asyncio.sleep(0.02)
