"""Probes on uvloop, the loop that the daemon runs on: it raises where asyncio's own only warns."""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatch

import pytest
import uvloop

from warrener.amqp.methods import BasicQosOk, ConnectionClose, encode_method_frame
from warrener.balancer.shell.probe import ProbeLogin, probe
from warrener.facts.balance import Backend
from warrener.facts.ids import NodeName
from warrener.facts.reasons import Unfit
from warrener.testing.fake_broker import FakeBroker, Fault

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
LOGIN = ProbeLogin("guest", "secret")
QOS_OK = encode_method_frame(0, BasicQosOk())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - asks what has no event
            await asyncio.sleep(0.005)


def test_a_connection_lost_between_two_questions_is_known_at_once_and_probing_goes_on() -> None:
    """Two failures without waiting for the next question, as many as a node is unfit after; then
    the usual pace."""
    told: list[Unfit | None] = []

    async def main() -> None:
        gate = asyncio.Event()

        async def sleep(_: float) -> None:
            await gate.wait()

        def report(why: Unfit | None, _: str) -> None:
            told.append(why)

        async with FakeBroker() as broker:
            probing = asyncio.create_task(
                probe(broker.backend, LOGIN, report, interval=0.01, timeout=1.0, sleep=sleep)
            )
            await until(lambda: told == [None])
            for connection in broker.connections:
                its_socket = connection.transport.get_extra_info("socket")
                its_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            await broker.stop()
            await until(lambda: told == [None, Unfit.REFUSES, Unfit.REFUSES])
            await asyncio.sleep(0.05)
            assert len(told) == 3
            await broker.listen()
            gate.set()
            await until(lambda: told[-1] is None)
            assert not probing.done()
            probing.cancel()

    uvloop.run(main())


def test_a_node_that_falls_silent_is_asked_again_without_a_pause() -> None:
    """The time limit was pause enough: two failures in a row make it unfit."""
    told: list[Unfit | None] = []
    pauses: list[float] = []

    async def main() -> None:
        async def sleep(seconds: float) -> None:
            pauses.append(seconds)
            await asyncio.sleep(0 if len(pauses) < 3 else 60)

        async with FakeBroker() as broker:

            def report(why: Unfit | None, _: str) -> None:
                told.append(why)
                broker.fault = Fault.HANG

            probing = asyncio.create_task(
                probe(broker.backend, LOGIN, report, interval=7, timeout=0.1, sleep=sleep)
            )
            await until(lambda: len(told) == 4)
            assert told == [None, Unfit.HANGS, Unfit.HANGS, Unfit.HANGS]
            assert pauses[:2] == [7, 7]  # before the first question, after the second failure
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)

    uvloop.run(main())


def test_a_node_that_hangs_up_on_every_login_is_not_hammered() -> None:
    told: list[Unfit | None] = []
    pauses: list[float] = []

    async def main() -> None:
        async def sleep(seconds: float) -> None:
            pauses.append(seconds)
            await asyncio.sleep(0 if len(pauses) < 5 else 60)

        async with FakeBroker() as broker:

            def report(why: Unfit | None, _: str) -> None:
                told.append(why)
                for connection in broker.connections:
                    connection.transport.abort()

            probing = asyncio.create_task(
                probe(broker.backend, LOGIN, report, interval=7, timeout=1.0, sleep=sleep)
            )
            await until(lambda: len(pauses) >= 5)
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)

    uvloop.run(main())
    logins = told.count(None)
    waited = len(pauses) - logins  # each login begins one pause of its own, cut short
    assert waited > 0
    assert logins <= 2 * waited + 2


@pytest.mark.parametrize(
    ("says", "text"),
    [
        (b"AMQP\x00\x01\x00\x00", "offers another protocol version"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "sends a frame of * bytes"),
        (QOS_OK[:-1] + b"\x00", "sends a frame without its end octet"),
        (QOS_OK, "answers with basic.qos-ok"),
    ],
)
def test_a_node_that_does_not_speak_amqp_is_told_apart(says: bytes, text: str) -> None:
    told: list[tuple[Unfit | None, str]] = []

    async def main() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(says)
            with suppress(OSError):
                await reader.read()
            writer.transport.abort()
            gone.set()

        gone = asyncio.Event()

        async def never(_: float) -> None:
            await asyncio.Event().wait()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        backend = Backend(NodeName("n1"), *server.sockets[0].getsockname()[:2])
        probing = asyncio.create_task(
            probe(
                backend,
                LOGIN,
                lambda why, text: told.append((why, text)),
                interval=1,
                timeout=1.0,
                sleep=never,
            )
        )
        await until(lambda: bool(told))
        probing.cancel()
        await asyncio.gather(probing, return_exceptions=True)
        await gone.wait()
        server.close()
        await server.wait_closed()

    uvloop.run(main())
    ((why, detail),) = told
    assert why is Unfit.NOT_AMQP
    assert fnmatch(detail, text)


@pytest.mark.parametrize(
    ("code", "wanted"),
    [(320, Unfit.REFUSES), (530, None)],
    ids=["a node that goes", "a login that is refused"],
)
def test_a_close_speaks_of_the_node_only_with_320(code: int, wanted: Unfit | None) -> None:
    """Maintenance mode closes connections with 320 and takes no new ones."""
    told: list[Unfit | None] = []

    close = encode_method_frame(0, ConnectionClose(code, "Node was put into maintenance mode"))

    async def main() -> None:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(close)
            with suppress(OSError):
                await reader.read()
            writer.transport.abort()
            gone.set()

        async def never(_: float) -> None:
            await asyncio.Event().wait()

        gone = asyncio.Event()
        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        backend = Backend(NodeName("n1"), *server.sockets[0].getsockname()[:2])
        report = lambda why, _: told.append(why)  # noqa: E731 - what probes are given
        probing = asyncio.create_task(
            probe(backend, LOGIN, report, interval=1, timeout=1.0, sleep=never)
        )
        await until(lambda: bool(told))
        probing.cancel()
        await asyncio.gather(probing, return_exceptions=True)
        await gone.wait()
        server.close()
        await server.wait_closed()

    uvloop.run(main())
    assert told == [wanted]
