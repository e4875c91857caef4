"""The balancer's sockets against fake brokers: what the loop, the probes and the limits do."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from tests.unit.balancer.core.scene import content

from warrener.amqp.constants import PROTOCOL_HEADER
from warrener.amqp.methods import (
    BasicAck,
    BasicDeliver,
    BasicGet,
    BasicGetOk,
    ChannelOpen,
    ConfirmSelect,
    ConfirmSelectOk,
    ConnectionClose,
    ConnectionCloseOk,
    ConnectionStart,
    encode_method_frame,
)
from warrener.balancer.shell.probe import ProbeLogin
from warrener.balancer.shell.server import BalancerServer
from warrener.facts.happenings import Event
from warrener.facts.reasons import Unfit
from warrener.facts.settings import BalancerSettings, PolicyName
from warrener.testing.fake_broker import FakeBroker, Fault
from warrener.testing.playbook import publish
from warrener.testing.raw_client import RawClient

FAST = BalancerSettings(
    connect_timeout=0.6, handshake_timeout=3.0, probe_interval=0.05, probe_timeout=0.3
)
LOGIN = ProbeLogin("guest", "secret")


def deliver(tag: int, body: bytes) -> bytes:
    """A delivery to a consumer on channel 1."""
    return encode_method_frame(1, BasicDeliver("c", tag, False, "", "q")) + content(1, body)


class House:
    """A balancer before fake brokers."""

    def __init__(self, server: BalancerServer, brokers: list[FakeBroker]) -> None:
        self.server = server
        self.brokers = brokers
        self.events: list[Event] = []
        self.clients: list[RawClient] = []

    async def client(self) -> RawClient:
        client = await RawClient.connect(*self.server.address)
        self.clients.append(client)
        return client

    async def opened(self, **options: int) -> RawClient:
        client = await self.client()
        await client.open(**options)  # type: ignore[arg-type]  # heartbeat only
        return client

    def unfit(self) -> list[Unfit | None]:
        return [backend.unfit for backend in self.server.statistics().backends]


async def eventually(condition: Callable[[], bool], timeout: float = 5.0) -> None:
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - asks what has no event
            await asyncio.sleep(0.01)


@asynccontextmanager
async def house(
    nodes: int = 2, settings: BalancerSettings = FAST, *, login: ProbeLogin | None = LOGIN
) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        brokers = [
            await stack.enter_async_context(FakeBroker(f"n{i + 1}@localhost")) for i in range(nodes)
        ]
        events: list[Event] = []
        server = BalancerServer(
            settings,
            [broker.backend for broker in brokers],
            probe_login=login,
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
        assert not [e for e in events if e.kind == "balancer.bug"], events
        assert sum(backend.sessions for backend in server.statistics().backends) == 0
        assert server.statistics().sessions == 0


async def test_a_message_goes_there_and_back() -> None:
    async with house() as home:
        client = await home.opened()
        await client.open_channel()
        client.send(ConfirmSelect(), channel=1)
        await client.receive(ConfirmSelectOk)
        client.send(publish(1, b"hello"))
        assert (await client.receive(BasicAck)).delivery_tag == 1
        client.send(BasicGet("q"), channel=1)
        await client.receive(BasicGetOk)
        assert await client.content() == b"hello"
        await client.close()
        await eventually(lambda: home.server.statistics().sessions == 0)
        statistics = home.server.statistics()
        assert (statistics.published, statistics.delivered) == (1, 1)
        assert dict(statistics.sessions_ended) == {"client_closed": 1}


async def test_figures_tell_what_went_where_and_how_long_it_took() -> None:
    async with house(nodes=1) as home:
        client = await home.opened()
        await client.open_channel()
        client.send(ConfirmSelect(), channel=1)
        await client.receive(ConfirmSelectOk)
        client.send(publish(1, b"hello"))
        await client.receive(BasicAck)
        (node,) = (await home.server.figures()).nodes or ()
        assert (node.channels, node.links) == (1, 1)
        assert node.bytes_in > 5
        assert node.bytes_out > 5
        assert sum(count for _, _, count in node.messages) == 1
        await client.close()
        await eventually(lambda: home.server.statistics().sessions == 0)
        figures = await home.server.figures()
        assert [(row.channels, row.links) for row in figures.nodes or ()] == [(0, 0)]
        assert [row.count for row in figures.decisions or ()] == [1]
        assert figures.handshakes is not None
        assert figures.handshakes.number == 1
        assert figures.confirms is not None
        assert figures.confirms.number == 1
        assert figures.loop_lag is not None


async def test_a_message_of_64_mib_comes_back_as_it_was() -> None:
    body = bytes(range(256)) * (64 * 1024 * 4)
    async with house(1) as home:
        client = await home.opened()
        await client.open_channel()
        client.send(ConfirmSelect(), channel=1)
        await client.receive(ConfirmSelectOk)
        client.send(publish(1, body))
        await client.receive(BasicAck)
        client.send(BasicGet("q"), channel=1)
        await client.receive(BasicGetOk)
        assert await client.content() == body
        await client.close()


async def test_sessions_take_turns_over_the_nodes() -> None:
    async with house(2) as home:
        clients = [await home.opened() for _ in range(6)]
        assert [backend.sessions for backend in home.server.statistics().backends] == [3, 3]
        home.server.set_policy(PolicyName.WEIGHTED)
        home.server.set_weight(home.brokers[0].name, 0)
        more = [await home.opened() for _ in range(4)]
        assert [backend.sessions for backend in home.server.statistics().backends] == [3, 7]
        for client in clients + more:
            await client.close()


@pytest.mark.parametrize(
    "fault",
    [
        Fault.CLOSE_AT_ONCE,
        Fault.HANG_AFTER_HEADER,
        Fault.CLOSE_AFTER_START_OK,
        Fault.HANG_AFTER_START_OK,
        Fault.HANG_AFTER_OPEN,
        Fault.FORCE_CLOSE_AFTER_OPEN,
        Fault.HANG,
    ],
)
async def test_a_node_that_fails_in_the_handshake_is_passed_over(fault: Fault) -> None:
    """Whichever of the two nodes has its turn, the client gets through in its time."""
    slow_probes = BalancerSettings(
        connect_timeout=0.6, handshake_timeout=3.0, probe_interval=60, probe_timeout=1
    )
    async with house(2, slow_probes) as home:
        home.brokers[0].fault = fault
        clients = [await home.opened() for _ in range(2)]
        assert home.server.statistics().backends[1].sessions == 2
        for client in clients:
            await client.close()


async def works(client: RawClient, body: bytes) -> None:
    """A message goes there and back on channel 1, which is under confirms."""
    client.send(publish(1, body))
    await client.receive(BasicAck)
    client.send(BasicGet("q"), channel=1)
    await client.receive(BasicGetOk)
    assert await client.content() == body


async def test_a_node_that_dies_is_replaced_and_no_client_hears_of_it() -> None:
    async with house(2) as home:
        clients = [await home.opened() for _ in range(4)]
        for client in clients:
            await client.open_channel()
            client.send(ConfirmSelect(), channel=1)
            await client.receive(ConfirmSelectOk)
            await works(client, b"before")
        await home.brokers[0].stop()
        for client in clients:
            await asyncio.wait_for(works(client, b"after"), 5)
        await eventually(lambda: home.unfit() == [Unfit.REFUSES, None])
        after = [await home.opened() for _ in range(3)]
        assert [backend.sessions for backend in home.server.statistics().backends] == [0, 7]
        for client in [*clients, *after]:
            await client.close()
        statistics = home.server.statistics()
        assert dict(statistics.moves) == {"failover": 2}
        assert dict(statistics.sessions_ended) == {"client_closed": 7}


async def test_a_message_under_way_when_its_node_hangs_is_sent_to_another() -> None:
    settings = BalancerSettings(
        connect_timeout=0.6, probe_interval=0.05, probe_timeout=0.3, link_heartbeat=1
    )
    async with house(2, settings) as home:
        client = await home.opened()
        await client.open_channel()
        client.send(ConfirmSelect(), channel=1)
        await client.receive(ConfirmSelectOk)
        home.brokers[0].fault = Fault.HANG
        await asyncio.wait_for(works(client, b"hello"), 6)
        assert home.unfit() == [Unfit.HANGS, None]
        assert home.server.statistics().replayed == 1
        await client.close()


async def test_without_any_node_a_session_waits_and_is_then_closed() -> None:
    settings = BalancerSettings(
        connect_timeout=0.6, probe_interval=0.05, probe_timeout=0.3, outage_timeout=2.5
    )
    async with house(1, settings) as home:
        client = await home.opened()
        await home.brokers[0].stop()
        await eventually(lambda: home.unfit() == [Unfit.REFUSES])
        await home.brokers[0].listen()
        await asyncio.wait_for(client.open_channel(), 5)
        await home.brokers[0].stop()
        close = await asyncio.wait_for(client.receive(ConnectionClose), 5)
        assert (close.reply_code, "no node could be reached" in close.reply_text) == (320, True)
        client.send(ConnectionCloseOk())
        assert await client.at_end()
        assert dict(home.server.statistics().sessions_ended) == {"no_fit_node": 1}


async def test_a_node_that_comes_back_is_taken_again() -> None:
    async with house(1) as home:
        await home.brokers[0].stop()
        await eventually(lambda: home.unfit() == [Unfit.REFUSES])
        await home.brokers[0].listen()
        await eventually(lambda: home.unfit() == [None])
        client = await home.opened()
        await client.close()


async def test_probes_make_no_new_connection_each_time() -> None:
    async with house(1) as home:
        before = home.brokers[0].opened
        probes = home.server.statistics().backends[0].probes_total
        await eventually(lambda: home.server.statistics().backends[0].probes_total > probes + 10)
        assert home.brokers[0].opened == before


async def test_a_probe_whose_login_is_refused_still_finds_the_node_alive() -> None:
    async with house(1, login=ProbeLogin("guest", "wrong")) as home:
        assert home.unfit() == [None]


async def test_a_probe_without_a_login_finds_the_node_alive() -> None:
    async with house(1, login=None) as home:
        assert home.unfit() == [None]


async def test_no_node_up_closes_the_client_in_time() -> None:
    async with house(1) as home:
        await home.brokers[0].stop()
        await eventually(lambda: home.unfit() != [None])
        client = await home.client()
        client.send(PROTOCOL_HEADER)
        assert await asyncio.wait_for(client.at_end(), 3)
        assert dict(home.server.statistics().sessions_ended) == {"no_fit_node": 1}


async def test_too_many_sessions_are_turned_away_and_the_others_go_on() -> None:
    settings = BalancerSettings(max_sessions=2, probe_interval=0.05)
    async with house(1, settings) as home:
        first, second = await home.opened(), await home.opened()
        third = await home.client()
        assert await third.at_end()
        assert home.server.statistics().rejected_total == 1
        assert (await home.server.figures()).rejected == (("limit", 1),)
        await first.close()
        await eventually(lambda: home.server.statistics().sessions == 1)
        fourth = await home.opened()
        for client in (second, fourth):
            await client.close()


async def test_a_slow_node_stops_the_reading_of_its_client_and_memory_stays_bounded() -> None:
    async with house(1) as home:
        home.brokers[0].fault = Fault.STOP_READING
        client = await home.opened()
        await client.open_channel()
        flood = publish(1, b"x" * 100_000)
        sent = 0
        stalled = 0
        while stalled < 30 and sent < 100_000_000:
            if client.writer.transport.get_write_buffer_size() > 1_000_000:
                stalled += 1
                await asyncio.sleep(0.01)
                continue
            stalled = 0
            client.send(flood)
            sent += len(flood)
            await asyncio.sleep(0)
        taken = home.server.sessions()[0].bytes_in
        # high water + one chunk + the sockets' own buffers on both sides
        assert taken < 20_000_000
        assert sent < 100_000_000
        home.brokers[0].reset_all()
        await client.leave()


async def test_a_slow_client_stops_the_reading_of_its_node() -> None:
    async with house(1) as home:
        client = await home.opened()
        other = await home.opened()
        for each in (client, other):
            await each.open_channel()
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]  # be a slow client
        chunk = deliver(1, b"x" * 20)
        link = next(iter(home.brokers[0].connections))
        links = [c for c in home.brokers[0].connections if not c.transport.is_closing()]
        assert link in links
        for _ in range(200):
            for each in links:
                closing = each.transport.is_closing()  # the probe's, which makes nothing of this
                if not closing and each.transport.get_write_buffer_size() < 2_000_000:
                    each.transport.write(chunk * 5_000)
            await asyncio.sleep(0.005)
        session = home.server.sessions()[0]
        assert session.bytes_out < 20_000_000
        assert home.server.sessions()[1].bytes_out > session.bytes_out
        await client.leave()
        home.brokers[0].reset_all()
        await other.leave()


async def test_nodelay_is_on_for_both_sides() -> None:
    async with house(1) as home:
        client = await home.opened()
        ports = home.server.all_ports()[0]
        client_socket = ports._transport.get_extra_info("socket")
        link_socket = next(iter(ports._links.values()))._transport.get_extra_info("socket")
        for each in (client_socket, link_socket):
            assert each.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        await client.close()


async def test_shutting_down_tells_every_client() -> None:
    async with house(1) as home:
        clients = [await home.opened() for _ in range(20)]
        closing = asyncio.create_task(home.server.close(grace=2))
        for client in clients:
            close = await client.receive(ConnectionClose)
            assert (close.reply_code, "shutting down" in close.reply_text) == (320, True)
            client.send(ConnectionCloseOk())
        await asyncio.wait_for(closing, 1.5)


async def test_a_port_that_is_taken_is_an_error() -> None:
    async with house(1) as home:
        taken = home.server.address[1]
        other = BalancerServer(BalancerSettings(port=taken), [])
        with pytest.raises(OSError):
            await other.start()
        await other.close(grace=0)


async def test_a_client_may_say_its_header_slowly_but_not_forever() -> None:
    settings = BalancerSettings(handshake_timeout=0.5, probe_interval=0.05)
    async with house(1, settings) as home:
        slow = await home.client()
        slow.send(PROTOCOL_HEADER[:4])
        quick = await home.opened()
        assert await asyncio.wait_for(slow.at_end(), 3)
        await quick.close()


async def test_a_foreign_protocol_gets_the_brokers_own_answer() -> None:
    async with house(1) as home:
        client = await home.client()
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert await client.reader.read(100) == PROTOCOL_HEADER
        assert await client.at_end()


async def test_nodes_can_be_exchanged_while_it_runs() -> None:
    async with house(1) as home, FakeBroker("n9@localhost") as new:
        old = await home.opened()
        home.server.set_backends([new.backend])
        assert await home.server.wait_ready(1, 5)
        client = await home.opened()
        assert home.server.statistics().backends[0].sessions == 1
        await old.open_channel()  # still lives on the node that was taken out
        await old.close()
        await client.close()


async def test_a_client_sees_the_brokers_own_properties() -> None:
    async with house(1) as home:
        client = await home.client()
        client.send(PROTOCOL_HEADER)
        start = await client.receive(ConnectionStart)
        assert start.server_properties["product"] == "FakeBroker"
        await client.leave()


async def test_sockets_that_break_while_both_sides_talk_are_no_bug() -> None:
    """Resets from both sides, again and again, with bytes under way in both directions."""
    async with house(2) as home:
        for _ in range(30):
            clients = [await home.opened() for _ in range(4)]
            for client in clients:
                client.send(ChannelOpen(), channel=1)
                client.send(publish(1, b"x" * 50_000) * 20)
            home.brokers[0].say_to_all(deliver(1, b"x" * 20) * 1_000)
            for client in clients[::2]:
                client.writer.transport.abort()
            home.brokers[1].reset_all()
            await asyncio.sleep(0)
            home.brokers[0].reset_all()
            await eventually(lambda: home.unfit() == [None, None])
        # house() itself checks that no bug was told and no session leaked


async def test_a_bug_in_one_session_ends_that_session_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with house(1) as home:
        victim, other = await home.opened(), await home.opened()

        def explode(*_: object) -> None:
            raise ZeroDivisionError("boom")

        session = home.server.all_ports()[0].session
        with monkeypatch.context() as patch:
            patch.setattr(type(session), "tick", explode)
            await eventually(lambda: home.server.statistics().sessions == 0)
        assert await victim.at_end()
        assert await other.at_end()
        again = await home.opened()  # the clock still runs, and new clients are served
        await again.close()
        bugs = [event for event in home.events if event.kind == "balancer.bug"]
        assert len(bugs) == 2
        assert bugs[0].detail["problem"] == "ZeroDivisionError: boom"
        home.events.clear()
