"""Drain, revive and rebalance, with real sockets before fake brokers."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.unit.balancer.shell.test_server import House, eventually

from warrener.amqp.methods import (
    BasicAck,
    BasicConsume,
    BasicConsumeOk,
    BasicDeliver,
    ConfirmSelect,
    ConfirmSelectOk,
    QueueDeclare,
    QueueDeclareOk,
)
from warrener.balancer.shell.probe import ProbeLogin
from warrener.balancer.shell.server import BalancerServer
from warrener.facts.happenings import Event
from warrener.facts.ids import NodeName
from warrener.facts.moves import MoveProgress
from warrener.facts.reasons import Placement, Unfit
from warrener.facts.settings import BalancerSettings
from warrener.testing.fake_broker import FakeBroker, Fault, Queue, Queues
from warrener.testing.playbook import publish
from warrener.testing.raw_client import RawClient

N1, N2, N3 = (NodeName(f"n{i}@localhost") for i in (1, 2, 3))
SETTINGS = BalancerSettings(
    connect_timeout=0.6,
    probe_interval=0.05,
    probe_timeout=0.3,
    settle_timeout=0.6,
    link_linger=0.2,
)


@asynccontextmanager
async def cluster(nodes: int, settings: BalancerSettings = SETTINGS) -> AsyncIterator[House]:
    """A balancer before fake brokers that share their queues."""
    queues: Queues = defaultdict(Queue)
    brokers = [FakeBroker(f"n{i + 1}@localhost", queues) for i in range(nodes)]
    events: list[Event] = []
    for broker in brokers:
        await broker.listen()
    server = BalancerServer(
        settings,
        [broker.backend for broker in brokers],
        probe_login=ProbeLogin("guest", "secret"),
        on_event=events.append,
    )
    await server.start()
    made = House(server, brokers)
    made.events = events
    try:
        assert await server.wait_ready(nodes, 5)
        yield made
    finally:
        await server.close(grace=0.2)
        for client in made.clients:
            await client.leave()
        for broker in brokers:
            await broker.stop()
    assert not [event for event in events if event.kind == "balancer.bug"], events
    assert server.statistics().sessions == 0


def homes(home: House) -> list[int]:
    return [backend.sessions for backend in home.server.statistics().backends]


async def publisher(home: House) -> RawClient:
    client = await home.opened()
    await client.open_channel()
    client.send(ConfirmSelect(), channel=1)
    await client.receive(ConfirmSelectOk)
    return client


async def consumer(home: House, queue: str = "q") -> RawClient:
    client = await home.opened()
    await client.open_channel()
    client.send(BasicConsume(queue, "c"), channel=1)
    await client.receive(BasicConsumeOk)
    return client


async def publish_one(client: RawClient, body: bytes, queue: str = "q") -> None:
    client.send(publish(1, body, queue))
    await client.receive(BasicAck)


async def next_message(client: RawClient) -> tuple[int, bool, bytes]:
    method = await client.receive(BasicDeliver)
    return method.delivery_tag, method.redelivered, await client.content()


async def test_a_drained_node_is_left_by_everybody_and_nobody_notices() -> None:
    async with cluster(2) as home:
        sending = [await publisher(home) for _ in range(4)]
        taking = [await consumer(home) for _ in range(4)]
        assert homes(home) == [4, 4]
        seen: list[MoveProgress] = []
        result = await home.server.drain(N1, timeout=5, on_progress=seen.append)
        assert (result.node, result.moved, result.forced, result.left) == (N1, 4, 0, 0)
        assert (seen[0].done, seen[0].total) == (0, 4)
        assert (seen[-1].done, seen[-1].total) == (4, 4)
        assert homes(home) == [0, 8]
        assert all(N1 not in session.links for session in home.server.sessions())
        for number, client in enumerate(sending):
            await publish_one(client, b"%d" % number)
        got = []
        for client in taking:
            tag, redelivered, body = await next_message(client)
            assert not redelivered
            got.append(body)
            client.send(BasicAck(tag), channel=1)
        assert sorted(got) == [b"0", b"1", b"2", b"3"]
        moves = dict(home.server.statistics().moves)
        assert moves == {"drain": 4}


async def test_a_drained_node_gets_nothing_new_until_it_is_revived() -> None:
    async with cluster(2) as home:
        await home.server.drain(N1, timeout=1)
        assert home.unfit() == [Unfit.DRAINED, None]
        clients = [await home.opened() for _ in range(3)]
        assert homes(home) == [0, 3]
        home.server.revive(N1)
        clients += [await home.opened() for _ in range(2)]
        assert homes(home)[0] > 0
        for client in clients:
            await client.open_channel()


async def test_a_client_that_settles_late_is_waited_for() -> None:
    settings = BalancerSettings(probe_interval=0.05, probe_timeout=0.3, settle_timeout=5)
    async with cluster(2, settings) as home:
        client = await consumer(home)
        sender = await publisher(home)
        await publish_one(sender, b"slow work")
        tag, _, _ = await next_message(client)
        node = home.server.sessions()[0].node
        assert node is not None
        draining = asyncio.create_task(home.server.drain(node, timeout=5))
        await eventually(lambda: any(row.state == "draining" for row in home.server.explain()))
        await publish_one(sender, b"more")
        client.send(BasicAck(tag), channel=1)
        result = await draining
        assert (result.moved, result.forced, result.left) == (1, 0, 0)
        assert await next_message(client) == (tag + 1, False, b"more")


async def test_a_client_that_never_settles_is_moved_by_force_and_hears_it_again() -> None:
    async with cluster(2) as home:
        client = await consumer(home)
        await publish_one(await publisher(home), b"kept")
        assert await next_message(client) == (1, False, b"kept")
        node = home.server.sessions()[0].node
        assert node is not None
        result = await home.server.drain(node, timeout=5)
        assert (result.moved, result.forced, result.left) == (1, 1, 0)
        assert await next_message(client) == (2, True, b"kept")
        client.send(BasicAck(1), channel=1)  # of the delivery before: for nobody
        client.send(BasicAck(2), channel=1)
        await client.close()
        assert not home.brokers[0].queues["q"].messages


async def test_a_session_bound_to_its_node_is_left_there_and_counted() -> None:
    async with cluster(2) as home:
        client = await home.opened()
        await client.open_channel()
        client.send(QueueDeclare("mine", exclusive=True), channel=1)
        await client.receive(QueueDeclareOk)
        client.send(BasicConsume("mine", "c"), channel=1)
        await client.receive(BasicConsumeOk)
        node = home.server.sessions()[0].node
        assert node is not None
        result = await home.server.drain(node, timeout=0.8)
        assert (result.moved, result.left) == (0, 1)
        assert [row.why for row in home.server.explain()] == [Placement.TIED]
        home.server.revive(node)


async def test_the_last_node_cannot_be_left() -> None:
    async with cluster(1) as home:
        client = await home.opened()
        result = await home.server.drain(N1, timeout=0.5)
        assert (result.moved, result.left) == (0, 1)
        home.server.revive(N1)
        await client.open_channel()
        await client.close()


async def test_a_drain_that_is_called_off_revives_its_node() -> None:
    async with cluster(1) as home:
        await home.opened()
        draining = asyncio.create_task(home.server.drain(N1, timeout=60))
        await eventually(lambda: home.unfit() == [Unfit.DRAINED])
        draining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await draining
        assert home.unfit() == [None]


async def test_a_node_that_is_not_there_is_a_key_error() -> None:
    async with cluster(1) as home:
        with pytest.raises(KeyError):
            await home.server.drain(NodeName("n9"), timeout=1)
        with pytest.raises(KeyError):
            home.server.revive(NodeName("n9"))


# -- rebalance ------------------------------------------------------------------------------------


async def test_sessions_spread_evenly_again_after_a_node_came_back() -> None:
    async with cluster(3) as home:
        clients = [await publisher(home) for _ in range(9)]
        await home.server.drain(N3, timeout=5)
        home.server.revive(N3)
        assert homes(home)[2] == 0
        seen: list[MoveProgress] = []
        result = await home.server.rebalance(on_progress=seen.append)
        assert (result.moved, result.failed, result.stopped) == (3, 0, "")
        assert homes(home) == [3, 3, 3]
        assert [share.after for share in result.shares] == [3, 3, 3]
        assert (result.skew_before, result.skew_after) == (pytest.approx(5 / 3), 1.0)
        assert (seen[-1].done, seen[-1].total) == (3, 3)
        for client in clients:
            await publish_one(client, b"still here")
            await client.close()


async def test_a_dry_run_says_what_would_move_and_moves_nothing() -> None:
    async with cluster(2) as home:
        for _ in range(4):
            await publisher(home)
        await home.server.drain(N2, timeout=5)
        home.server.revive(N2)
        result = await home.server.rebalance(dry_run=True)
        assert [(share.before, share.wanted) for share in result.shares] == [(4, 2), (0, 2)]
        assert (result.moved, homes(home)) == (0, [4, 0])
        assert (result.skew_before, result.skew_after) == (2.0, 1.0)


async def test_an_even_spread_needs_no_move() -> None:
    async with cluster(2) as home:
        for _ in range(4):
            await home.opened()
        result = await home.server.rebalance()
        assert (result.moved, result.failed, homes(home)) == (0, 0, [2, 2])


async def test_spreading_stops_at_the_first_node_that_refuses() -> None:
    async with cluster(2) as home:
        for _ in range(6):
            await publisher(home)
        await home.server.drain(N2, timeout=5)
        home.server.revive(N2)
        home.brokers[1].fault = Fault.CLOSE_AFTER_START_OK
        result = await home.server.rebalance()
        assert result.stopped
        assert (result.moved, homes(home)) == (0, [6, 0])
        assert len(home.server.sessions()) == 6
