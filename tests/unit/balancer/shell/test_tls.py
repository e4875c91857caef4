"""TLS at the balancer against fake brokers: who is let in, what is counted, who waits for whom."""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.unit.balancer.shell.test_server import FAST, LOGIN, House, deliver, eventually

from warrener.amqp.constants import PROTOCOL_HEADER
from warrener.amqp.methods import BasicAck, ConfirmSelect, ConfirmSelectOk
from warrener.balancer.shell.server import BalancerServer
from warrener.balancer.shell.tls import BalancerTls
from warrener.cluster.tls.certificates import (
    Identity,
    Use,
    Wanted,
    make_authority,
    make_certificate,
)
from warrener.cluster.tls.contexts import client_context, server_context
from warrener.facts.reasons import SessionEnd, Unfit
from warrener.facts.settings import BalancerSettings
from warrener.facts.tls import TlsVersion
from warrener.testing.fake_broker import FakeBroker, Fault
from warrener.testing.playbook import publish
from warrener.testing.raw_client import RawClient

SHORT = replace(FAST, handshake_timeout=0.7, connect_timeout=0.5)


class Papers:
    """A CA and certificates in a folder."""

    def __init__(self, folder: Path) -> None:
        now = datetime.now(UTC)
        self._folder = folder
        self._authority = make_authority("a CA", now)
        self.ca = self._write("ca.pem", self._authority.certificate)
        self.other_ca = self._write("other.pem", make_authority("a CA", now).certificate)
        self.balancer = self.make("balancer", Use.BALANCER, "127.0.0.1")
        self.n1 = self.make("n1", Use.NODE, "n1", "127.0.0.1")
        self.n2 = self.make("n2", Use.NODE, "n2", "127.0.0.1")
        self.client = self.make("client", Use.CLIENT)

    def make(self, name: str, use: Use, *names: str) -> Path:
        made: Identity = make_certificate(
            self._authority, Wanted(name, use, names), datetime.now(UTC)
        )
        return self._write(f"{name}.pem", made.pem)

    def _write(self, name: str, data: bytes) -> Path:
        (self._folder / name).write_bytes(data)
        return self._folder / name

    def shows(self, identity: Path, clients: Path | None = None) -> ssl.SSLContext:
        return server_context(identity, TlsVersion.V1_2, clients)

    def trusts(self, authorities: Path | None = None) -> ssl.SSLContext:
        return client_context(authorities or self.ca, TlsVersion.V1_2)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


@asynccontextmanager
async def house(
    papers: Papers,
    settings: BalancerSettings = SHORT,
    *,
    nodes: int = 1,
    identity: Path | None = None,
    clients: Path | None = None,
    trusted: Path | None = None,
    fit: bool = True,
) -> AsyncIterator[House]:
    """A balancer with TLS before fake brokers with TLS. ``identity``: what all brokers show."""
    async with AsyncExitStack() as stack:
        shown = [papers.n1, papers.n2]
        brokers = [
            await stack.enter_async_context(
                FakeBroker(f"n{number + 1}@localhost", tls=papers.shows(identity or shown[number]))
            )
            for number in range(nodes)
        ]
        shows, trusts = papers.shows(papers.balancer, clients), papers.trusts(trusted)
        made = House(None, brokers)  # type: ignore[arg-type]  # made next, it needs the events
        server = BalancerServer(
            settings,
            [broker.backend for broker in brokers],
            probe_login=LOGIN,
            on_event=made.events.append,
            tls=BalancerTls(lambda: shows, lambda: trusts),
        )
        made.server = server
        await server.start()
        try:
            if fit:
                assert await server.wait_ready(nodes, 10)
            yield made
        finally:
            await server.close(grace=0.2)
            for client in made.clients:
                await client.leave()
        assert not [event for event in made.events if event.kind == "balancer.bug"], made.events
        assert server.statistics().sessions == 0


async def connect(home: House, context: ssl.SSLContext) -> RawClient:
    host, port = home.server.address
    client = RawClient(
        *await asyncio.open_connection(host, port, ssl=context, server_hostname="127.0.0.1")
    )
    home.clients.append(client)
    return client


async def plain(home: House) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*home.server.address)


async def test_a_message_goes_there_and_back(papers: Papers) -> None:
    async with house(papers) as home:
        client = await connect(home, papers.trusts())
        await client.open()
        await client.open_channel()
        client.send(ConfirmSelect(), channel=1)
        await client.receive(ConfirmSelectOk)
        client.send(publish(1, b"x" * 1_000_000))
        assert (await client.receive(BasicAck)).delivery_tag == 1
        statistics = home.server.statistics()
        assert statistics.tls
        assert statistics.plain_port is None
        assert (statistics.sessions, statistics.tls_rejected) == (1, 0)
        await client.close()


async def test_a_plain_port_beside_it_is_there_if_it_is_asked_for(papers: Papers) -> None:
    async with house(papers, replace(SHORT, plain=True)) as home:
        port = home.server.statistics().plain_port
        assert port is not None
        assert port != home.server.address[1]
        client = await RawClient.connect("127.0.0.1", port)
        home.clients.append(client)
        await client.open()
        await client.close()


async def test_both_ports_are_closed(papers: Papers) -> None:
    async with house(papers, replace(SHORT, plain=True)) as home:
        ports = [home.server.statistics().plain_port, home.server.address[1]]
    for port in ports:
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_a_port_that_is_taken_is_told(papers: Papers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = replace(SHORT, tls_port=other.getsockname()[1], plain=True)
        server = BalancerServer(
            settings, (), tls=BalancerTls(lambda: papers.shows(papers.balancer))
        )
        with pytest.raises(OSError, match="in use"):
            await server.start()
        await server.close()


async def test_the_certificate_of_now_is_shown_to_who_comes_now(papers: Papers) -> None:
    """And who came before isn't touched."""
    shown = [papers.shows(papers.balancer)]
    async with FakeBroker() as broker:
        server = BalancerServer(
            SHORT, [broker.backend], probe_login=LOGIN, tls=BalancerTls(lambda: shown[-1])
        )
        await server.start()
        assert await server.wait_ready(1, 10)
        home = House(server, [broker])
        first = await connect(home, papers.trusts())
        await first.open()
        shown.append(papers.shows(papers.make("renewed", Use.BALANCER, "127.0.0.1")))
        await server.reload_tls()
        second = await connect(home, papers.trusts())
        one, two = (
            client.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            for client in (first, second)
        )
        assert one != two
        await first.open_channel()  # goes on
        for client in (first, second):
            await client.leave()
        await server.close(grace=0.2)


# -- who isn't let in ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (PROTOCOL_HEADER, "not TLS"),
        (b"GET / HTTP/1.1\r\n\r\n", "not TLS (HTTP)"),
        (b"\x16\x03\x01\xff\xff" + bytes(100), "encrypted"),
        (os.urandom(100), ""),
    ],
    ids=["amqp", "http", "a record that is too long", "noise"],
)
async def test_what_is_no_tls_ends_at_once_and_is_counted(
    papers: Papers, said: bytes, why: str
) -> None:
    async with house(papers) as home:
        reader, writer = await plain(home)
        writer.write(said)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(5):
                await reader.read()
        writer.close()
        await eventually(lambda: home.server.statistics().tls_rejected == 1)
        assert home.server.statistics().rejected_total == 1
        await eventually(lambda: any(e.kind == "sessions.ended" for e in home.events))
        told = next(event for event in home.events if event.kind == "sessions.ended")
        assert told.reason == SessionEnd.TLS_HANDSHAKE
        if why != "encrypted":
            assert str(told.detail["detail"]).startswith(why)


async def test_half_a_handshake_ends_with_its_time_and_holds_nobody_up(papers: Papers) -> None:
    async with house(papers) as home:
        loop = asyncio.get_running_loop()
        began = loop.time()
        waiting = [await plain(home) for _ in range(20)]
        for number, (_, writer) in enumerate(waiting):
            writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[: number % 12])
        client = await connect(home, papers.trusts())
        await client.open()
        assert loop.time() - began < SHORT.handshake_timeout
        for reader, writer in waiting:
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(10):
                    await reader.read()
            writer.close()
        await eventually(lambda: home.server.statistics().tls_rejected == 20)
        await client.close()


async def test_a_byte_now_and_then_does_not_buy_time(papers: Papers) -> None:
    async with house(papers) as home:
        reader, writer = await plain(home)
        loop = asyncio.get_running_loop()
        began = loop.time()
        ends = asyncio.ensure_future(reader.read())
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)
        for byte in hello:
            if ends.done():
                break
            with contextlib.suppress(RuntimeError, ConnectionError):
                writer.write(bytes([byte]))
            await asyncio.wait({ends}, timeout=0.05)
        assert ends.done()
        assert loop.time() - began < SHORT.handshake_timeout + 3
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await ends


async def test_after_the_handshake_amqp_s_time_begins(papers: Papers) -> None:
    """A client that shakes hands and then says nothing ends as one without TLS does."""
    async with house(papers) as home:
        client = await connect(home, papers.trusts())
        async with asyncio.timeout(SHORT.handshake_timeout + 5):
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await client.reader.read()
        ended = dict(home.server.statistics().sessions_ended or ())
        assert ended == {"client_slow_handshake": 1}


async def test_handshakes_count_against_the_limit_of_sessions(papers: Papers) -> None:
    async with house(papers, replace(SHORT, max_sessions=3, handshake_timeout=5)) as home:
        silent = [await plain(home) for _ in range(3)]
        await eventually(lambda: home.server._tls_listener.shaking == 3)  # type: ignore[union-attr]
        reader, writer = await plain(home)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        assert home.server.statistics().tls_rejected == 1
        for _, one in silent:
            one.transport.abort()
        await eventually(lambda: home.server.statistics().tls_rejected == 4)
        client = await connect(home, papers.trusts())
        await client.open()
        await client.close()


async def test_a_client_has_to_show_a_certificate_where_that_is_asked_for(papers: Papers) -> None:
    async with house(papers, clients=papers.ca) as home:
        context = papers.trusts()
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # so that connecting tells
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connect(home, context)
        await eventually(lambda: home.server.statistics().tls_rejected == 1)
        context = papers.trusts()
        context.load_cert_chain(papers.client)
        client = await connect(home, context)
        await client.open()
        await client.close()


# -- nodes --------------------------------------------------------------------------------------


async def test_a_node_with_another_s_certificate_is_not_fit(papers: Papers) -> None:
    """n1's port is served by who has n2's: the probe says so, and nobody is sent there."""
    async with house(papers, identity=papers.n2, fit=False) as home:
        await eventually(lambda: home.unfit() == [Unfit.REFUSES])
        detail = home.server.statistics().backends[0].unfit_detail
        assert "Hostname mismatch" in detail
        assert home.brokers[0].opened == 0


async def test_a_node_of_another_ca_is_not_fit(papers: Papers) -> None:
    async with house(papers, trusted=papers.other_ca, fit=False) as home:
        await eventually(lambda: home.unfit() == [Unfit.REFUSES])
        assert "CERTIFICATE_VERIFY_FAILED" in home.server.statistics().backends[0].unfit_detail


async def test_a_node_without_tls_is_not_fit(papers: Papers) -> None:
    async with FakeBroker() as broker:
        trusts = papers.trusts()
        server = BalancerServer(
            SHORT,
            [replace(broker.backend, server_name="n1")],
            probe_login=LOGIN,
            tls=BalancerTls(None, lambda: trusts),
        )
        await server.start()
        assert not await server.wait_ready(1, 0.5)
        await server.close()
        assert broker.opened == 0


def test_a_node_with_tls_is_never_connected_to_unverified() -> None:
    backend = replace(FakeBroker().backend, server_name="n1")
    with pytest.raises(AssertionError, match="nothing to verify it with"):
        BalancerTls().link_options(backend)


async def test_a_link_that_is_not_verified_fails_over(papers: Papers) -> None:
    """A session whose node's certificate got bad after the probe goes to the next one."""
    async with house(papers, nodes=2, settings=replace(SHORT, probe_interval=30)) as home:
        first = home.brokers[0]
        await first.stop()
        first._tls = papers.shows(papers.n2)
        await first.listen()
        for _ in range(4):
            client = await connect(home, papers.trusts())
            await client.open()
            await client.close()
        assert home.brokers[1].opened >= 4


# -- who waits for whom -------------------------------------------------------------------------


async def test_a_slow_node_stops_the_reading_of_its_client(papers: Papers) -> None:
    async with house(papers) as home:
        home.brokers[0].fault = Fault.STOP_READING
        client = await connect(home, papers.trusts())
        await client.open()
        await client.open_channel()
        flood = publish(1, b"x" * 100_000)
        sent = stalled = 0
        while stalled < 30 and sent < 100_000_000:
            if client.writer.transport.get_write_buffer_size() > 1_000_000:
                stalled += 1
                await asyncio.sleep(0.01)
                continue
            stalled = 0
            client.send(flood)
            sent += len(flood)
            await asyncio.sleep(0)
        # high water, what TLS holds on both sides, the sockets' own buffers
        assert home.server.sessions()[0].bytes_in < 20_000_000
        assert sent < 100_000_000
        home.brokers[0].reset_all()
        await client.leave()


async def test_a_slow_client_stops_the_reading_of_its_node(papers: Papers) -> None:
    async with house(papers) as home:
        client = await connect(home, papers.trusts())
        await client.open()
        await client.open_channel()
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]  # be a slow client
        chunk = deliver(1, b"x" * 20)
        for _ in range(200):
            for each in list(home.brokers[0].connections):
                closing = each.transport.is_closing()  # the probe's, which makes nothing of this
                if not closing and each.transport.get_write_buffer_size() < 2_000_000:
                    each.transport.write(chunk * 5_000)
            await asyncio.sleep(0.005)
        assert home.server.sessions()[0].bytes_out < 20_000_000
        await client.leave()
        home.brokers[0].reset_all()
