"""Probes on uvloop, the loop that the daemon runs on: it raises where asyncio's own only warns."""

import asyncio
import socket
import struct
from collections.abc import Callable

import uvloop

from warrener.balancer.shell.probe import ProbeLogin, probe
from warrener.facts.reasons import Unfit
from warrener.testing.fake_broker import FakeBroker

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
LOGIN = ProbeLogin("guest", "secret")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - asks what has no event
            await asyncio.sleep(0.005)


def test_a_connection_lost_between_two_questions_is_a_failure_and_probing_goes_on() -> None:
    """The socket is closed already when the next question is asked."""
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
            await until(lambda: not broker.connections)
            await asyncio.sleep(0.05)  # the reset arrives
            gate.set()
            await until(lambda: told[1:2] == [Unfit.REFUSES])
            await broker.listen()
            await until(lambda: told[-1] is None)
            assert not probing.done()
            probing.cancel()

    uvloop.run(main())
