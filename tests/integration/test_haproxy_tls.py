"""HAProxy as the data plane with TLS on both sides.

First the program itself before nodes that only echo, where certificates can be made wrong at will;
then a cluster with everything on.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pika
import psutil
import pytest
from tests.integration.raw import Raw
from tests.integration.support import Place, balancer_place, eventually
from tests.integration.tls_clients import (
    Traffic,
    ca,
    connection,
    listed,
    rejected,
    says,
    shown,
    trusting,
)
from tests.integration.warren import Warren, running

from warrener.balancer.haproxy.balancer import HaproxyBalancer
from warrener.balancer.haproxy.process import Launch
from warrener.balancer.haproxy.tls import HaproxyTls
from warrener.balancer.shell.tls import BalancerTls
from warrener.cluster.drivers.processes import Child
from warrener.cluster.tls.certificates import (
    Identity,
    Use,
    Wanted,
    make_authority,
    make_certificate,
)
from warrener.facts.settings import BalancerSettings
from warrener.testing.fake_broker import FakeBroker

pytestmark = pytest.mark.timeout(300)

HANDSHAKE = 2.0
HEADER = b"AMQP\x00\x00\x09\x01"
NOW = datetime.now(UTC)


# -- the program before nodes that can be made wrong -------------------------------------------


class Papers:
    """Two CAs of the same name, as in a rotation, and who they issue certificates to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authorities = [make_authority("cluster CA", NOW) for _ in range(2)]
        self.shown, self.trust, self.clients, self.client = (
            folder / name for name in ("shown.pem", "trust.pem", "clients.pem", "client.pem")
        )
        self.show(0)
        self.trusts(0)
        self.clients.write_bytes(self.authorities[0].certificate)
        self.client.write_bytes(self._made(0, Wanted("client", Use.CLIENT)).pem)

    def _made(self, authority: int, wanted: Wanted) -> Identity:
        return make_certificate(self.authorities[authority], wanted, NOW)

    def show(self, authority: int) -> None:
        """A new certificate for the balancer."""
        self.shown.write_bytes(self._made(authority, Wanted("b", Use.BALANCER, ("localhost",))).pem)

    def trusts(self, *authorities: int) -> None:
        """What nodes are verified with."""
        self.trust.write_bytes(b"".join(self.authorities[one].certificate for one in authorities))

    def node(self, name: str, authority: int = 0) -> Path:
        """The file of a node's certificate."""
        path = self.folder / f"{name}-{authority}.pem"
        path.write_bytes(self._made(authority, Wanted(name, Use.NODE, (name, "localhost"))).pem)
        return path

    def trusting(self, authority: int, *, certificate: bool = True) -> ssl.SSLContext:
        """A client's."""
        context = trusting(None)
        context.load_verify_locations(cadata=self.authorities[authority].certificate.decode())
        if certificate:
            context.load_cert_chain(self.client)
        return context


@dataclass
class Plane:
    """A HAProxy before two nodes, which Warrener's probes have nothing to say about: what it
    verifies it verifies itself."""

    balancer: HaproxyBalancer
    papers: Papers
    brokers: list[FakeBroker]
    contexts: list[ssl.SSLContext]
    children: list[Child]

    async def fit(self, *numbers: int) -> None:
        """These are the nodes, and they may be used."""
        self.balancer.set_backends([self.brokers[one].backend for one in numbers])
        for one in numbers:
            self.balancer._probed(self.brokers[one].name, None, "")
        assert await self.balancer.wait_ready(len(numbers), 10)

    async def connect(
        self, authority: int = 0, *, certificate: bool = True
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client that has shaken hands."""
        context = self.papers.trusting(authority, certificate=certificate)
        host, port = self.balancer.address
        return await asyncio.open_connection(host, port, ssl=context, server_hostname="localhost")

    async def reaches(self, authority: int = 0, *, certificate: bool = True) -> int | None:
        """The node that a client gets to; None: to no one."""
        before = [set(broker.connections) for broker in self.brokers]
        try:
            reader, writer = await self.connect(authority, certificate=certificate)
            writer.write(HEADER)
            first = await asyncio.wait_for(reader.read(1), 5)
        except OSError:
            return None
        there = [one.connections - had for one, had in zip(self.brokers, before, strict=True)]
        writer.transport.abort()
        assert first in (b"", b"\x01")
        return next(n for n, new in enumerate(there) if new) if first else None


@asynccontextmanager
async def plane(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, nodes: Sequence[str] = ("n1", "n2")
) -> AsyncIterator[Plane]:
    """``nodes``: for whom each one's certificate is."""
    monkeypatch.setattr("warrener.balancer.haproxy.balancer.Probes.set_backends", lambda *_: None)
    papers = Papers(folder)
    children: list[Child] = []

    def launch(wanted: Launch) -> Child:
        children.append(
            Child.start(
                "haproxy",
                wanted.arguments,
                environment={"PATH": os.environ["PATH"]},
                folder=wanted.folder,
                output=wanted.output,
                descriptors=wanted.descriptors,
            )
        )
        return children[-1]

    placeholder = make_authority("nobody", NOW).pem
    contexts = []
    async with contextlib.AsyncExitStack() as stack:
        brokers = []
        for number, name in enumerate(nodes, start=1):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(papers.node(name))
            contexts.append(context)
            made = FakeBroker(f"n{number}@localhost", tls=context)
            brokers.append(await stack.enter_async_context(made))
        balancer = HaproxyBalancer(
            BalancerSettings(handshake_timeout=HANDSHAKE, connect_timeout=1.0),
            [one.backend for one in brokers[:1]],  # the second one gets a spare slot
            folder=folder / "haproxy",
            log_file=folder / "haproxy.log",
            launcher=launch,
            path=os.environ["PATH"],
            tls=BalancerTls(),
            haproxy_tls=HaproxyTls(papers.shown, papers.clients, papers.trust, placeholder),
        )
        await balancer.start()
        stack.push_async_callback(balancer.close)
        yield Plane(balancer, papers, brokers, contexts, children)


async def test_clients_and_nodes_are_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with plane(tmp_path, monkeypatch) as made:
        await made.fit(0, 1)
        assert sorted([await made.reaches() or 0 for _ in range(4)]) == [0, 0, 1, 1]
        assert await made.reaches(certificate=False) is None
        assert await made.reaches(1) is None  # the client trusts another CA of the same name
        async with asyncio.timeout(5):
            while made.balancer.statistics().tls_rejected < 2:  # noqa: ASYNC110 - HAProxy's count
                await asyncio.sleep(0.1)


async def test_a_node_with_anothers_certificate_gets_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in a slot of its own nor in a spare one. HAProxy tries no other node then, as it
    does after a connect that fails: probes verify in the same way and find it unfit first."""
    async with plane(tmp_path, monkeypatch, nodes=("n2", "n2")) as made:
        await made.fit(0)
        assert await made.reaches() is None
        await made.fit(1)
        assert await made.reaches() == 1
        await made.fit(0, 1)
        assert {await made.reaches() for _ in range(4)} == {None, 1}
    async with plane(tmp_path, monkeypatch, nodes=("n1", "n1")) as made:
        await made.fit(1)
        assert await made.reaches() is None


async def test_a_node_that_is_dead_or_frozen_costs_a_client_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unlike without TLS also one whose kernel accepts and that says nothing: the time limit of a
    connect is that of the handshake as well."""
    async with plane(tmp_path, monkeypatch) as made:
        for frozen in (False, True):
            with socket.create_server(("127.0.0.1", 0)) as bound:
                made.brokers[0]._port = bound.getsockname()[1]
                if not frozen:
                    bound.close()
                await made.fit(0, 1)
                began = time.monotonic()
                assert [await made.reaches() for _ in range(2)] == [1, 1]
                assert time.monotonic() - began < (3.5 if frozen else 1.0)


async def test_half_handshakes_end_in_time_and_quiet_sessions_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence, half of a ClientHello, one that comes drop by drop; the limit counts from the
    begin. A session that says nothing for longer than that stays."""
    async with plane(tmp_path, monkeypatch) as made:
        await made.fit(0, 1)
        reader, writer = await made.connect()
        writer.write(HEADER)
        assert await reader.read(1) == b"\x01"
        began = time.monotonic()
        half = [await asyncio.open_connection(*made.balancer.address) for _ in range(12)]
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300)

        async def ends(number: int) -> float:
            its_reader, its_writer = half[number]
            with contextlib.suppress(ConnectionError):
                its_writer.write(hello[:number])
                while number == 11 and not its_reader.at_eof():
                    its_writer.write(b"\x00")
                    await asyncio.sleep(0.1)
                await its_reader.read()
            its_writer.transport.abort()
            return time.monotonic() - began

        took = await asyncio.wait_for(asyncio.gather(*map(ends, range(12))), 20)
        assert HANDSHAKE - 0.5 < min(took) <= max(took) < HANDSHAKE + 2
        await asyncio.sleep(HANDSHAKE)
        await asyncio.wait_for(_still_open(reader), 5)
        writer.transport.abort()


async def _still_open(reader: asyncio.StreamReader) -> None:
    """What comes is bytes of connection.start, then nothing, and not the end."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            while await reader.read(4096):
                pass
            raise AssertionError("the session was ended")


async def test_certificates_and_cas_change_under_open_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rotation of the CA and back: HAProxy 2.6.12 dies of another order of the same commands.
    Each change counts for who connects from then on."""
    async with plane(tmp_path, monkeypatch) as made:
        papers = made.papers
        await made.fit(0, 1)
        kept = [await made.connect() for _ in range(4)]
        for reader, writer in kept:
            writer.write(HEADER)
            assert await reader.read(1) == b"\x01"
        old, new = 0, 1
        for _ in range(2):
            papers.trusts(old, new)
            await made.balancer.reload_tls()
            assert await made.reaches(old) is not None
            for number, context in enumerate(made.contexts, start=1):
                context.load_cert_chain(papers.node(f"n{number}", new))
            papers.show(new)
            await made.balancer.reload_tls()
            assert await made.reaches(new) is not None
            assert await made.reaches(old) is None
            papers.trusts(new)
            await made.balancer.reload_tls()
            assert None not in [await made.reaches(new) for _ in range(4)]
            papers.trusts(old)  # nodes show the new one's: nobody gets there
            await made.balancer.reload_tls()
            assert await made.reaches(new) is None
            papers.trusts(new)
            await made.balancer.reload_tls()
            old, new = new, old
        for reader, writer in kept:
            await _still_open(reader)
            writer.transport.abort()
        assert len(made.children) == 1


async def test_a_file_too_long_for_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And costs no session."""
    async with plane(tmp_path, monkeypatch) as made:
        await made.fit(0, 1)
        made.papers.trust.write_bytes(made.papers.authorities[0].certificate * 30)
        with pytest.raises(Exception, match=r"hasn't taken .*trust\.pem \(1\d{4} bytes, of 16,000"):
            await made.balancer.reload_tls()
        assert await made.reaches() is not None
        assert len(made.children) == 1


# -- a cluster ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def warren(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warren]:
    folder = tmp_path_factory.mktemp("haproxy-tls")
    file = folder / "warrener.toml"
    # One node, and TLS where HAProxy has to do with it: a rotation boots a tool several times.
    file.write_text(
        "[tls]\nmanagement = false\ninter_node = false\n"
        '[balancer]\ndata_plane = "haproxy"\nplain = true\nhandshake_timeout = "3s"\n'
    )
    with running(folder / "a cluster", "-f", str(file), "--nodes", "1") as made:
        yield made


def pid(warren: Warren) -> int:
    """HAProxy's; 0 while there is none."""
    return int(warren.status()["balancer"]["pid"] or 0)


def test_clients_verify_it_and_work_and_nobody_else_does(warren: Warren) -> None:
    status = warren.status()
    assert status["tls"] == ["clients", "links"]
    assert status["balancer"]["tls"] is True
    before = rejected(warren)
    with connection(warren, ca(warren)) as made:
        channel = made.channel()
        channel.queue_declare("first")
        channel.confirm_delivery()
        channel.basic_publish("", "first", b"x" * 3_000_000)
        assert channel.basic_get("first", auto_ack=True)[2] == b"x" * 3_000_000
    port = status["balancer"]["port"]
    with (
        socket.create_connection(("127.0.0.1", port)) as raw,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        trusting(None).wrap_socket(raw, server_hostname="127.0.0.1")
    for at in (port, status["nodes"][0]["amqp_port"]):
        assert not says(at, HEADER).startswith(b"\x01")
    eventually("both are counted", lambda: rejected(warren) >= before + 2)
    place = balancer_place(warren)
    plain = Place("plain", place.host, status["balancer"]["plain_port"], place.user, place.password)
    with Raw(plain).open() as client:
        client.channel()


def test_keys_are_private_and_in_one_place(warren: Warren) -> None:
    folder = warren.state / "haproxy"
    links = {path.name for path in folder.iterdir() if path.is_symlink()}
    assert links == {"certificate.pem", "trust.pem"}
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    key = (warren.state / "tls" / "balancer.pem").read_bytes().partition(b"-----BEGIN CERT")[0]
    for path in folder.iterdir():
        if not path.is_socket() and path.name not in links:
            assert key not in path.read_bytes(), path
    process = Path(f"/proc/{pid(warren)}")
    assert b"PRIVATE" not in (process / "environ").read_bytes() + (process / "cmdline").read_bytes()


def test_rotations_disconnect_nobody(warren: Warren, tmp_path: Path) -> None:
    """A new CA in its two phases, with new certificates: one HAProxy, and traffic goes on."""
    haproxy, port = pid(warren), balancer_place(warren).port
    old = tmp_path / "old.pem"
    shutil.copy(ca(warren), old)
    with Traffic(warren, "rotated") as traffic:
        traffic.goes_on()
        before = shown(port)
        warren.ok("tls", "rotate", "--ca")
        connection(warren, old).close()
        warren.ok("tls", "rotate", "--ca")
        assert before != shown(port) == listed(warren)["balancer certificate"]
        connection(warren, ca(warren)).close()
        with (
            socket.create_connection(("127.0.0.1", port)) as raw,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            trusting(old).wrap_socket(raw, server_hostname="127.0.0.1")
        traffic.goes_on()
    assert pid(warren) == haproxy
    assert all(node["fit"] for node in warren.status()["nodes"])


def test_a_haproxy_that_dies_comes_back_with_what_is_there(warren: Warren) -> None:
    before = pid(warren)
    os.kill(before, signal.SIGKILL)
    eventually("there is another one", lambda: pid(warren) not in (before, 0), 20)

    def shows_what_there_is() -> bool:
        with contextlib.suppress(OSError):
            told = listed(warren)["balancer certificate"]
            return shown(balancer_place(warren).port) == told
        return False

    eventually("it shows the certificate that there is", shows_what_there_is, 20)
    assert psutil.Process(pid(warren)).name() == "haproxy"
    eventually("its nodes are fit", lambda: all(n["fit"] for n in warren.status()["nodes"]), 20)
    with connection(warren, ca(warren)) as made:
        assert isinstance(made, pika.BlockingConnection)
        assert made.is_open
