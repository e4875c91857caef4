"""Mutated streams to the listening port, beside a session that must not notice."""

import asyncio
import importlib.util
import os
import sys
from pathlib import Path
from random import Random
from types import ModuleType
from typing import cast

import pytest
import uvloop

from warrener.amqp.methods import BasicQos, BasicQosOk
from warrener.balancer.shell.probe import ProbeLogin
from warrener.balancer.shell.server import BalancerServer
from warrener.facts.happenings import Event
from warrener.facts.settings import BalancerSettings
from warrener.testing.fake_broker import FakeBroker
from warrener.testing.raw_client import RawClient

SIDE_BY_SIDE = 32


def _load(name: str) -> ModuleType:
    """A module beside this one: tests are no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


mutations = _load("mutations")


class Sender(asyncio.Protocol):
    """Sends a stream and leaves after a moment."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._data)
        asyncio.get_running_loop().call_later(0.002, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self.done.set_result(None)


async def flood(first: int, number: int) -> None:
    events: list[Event] = []
    async with FakeBroker("n1@localhost") as one, FakeBroker("n2@localhost") as two:
        server = BalancerServer(
            BalancerSettings(probe_interval=0.2),
            [one.backend, two.backend],
            probe_login=ProbeLogin("guest", "secret"),
            on_event=events.append,
        )
        await server.start()
        assert await server.wait_ready(2, 5)
        host, port = server.address
        good = await RawClient.connect(host, port)
        await good.open()
        await good.open_channel()
        seeds = iter(range(first, first + number))

        async def send_some() -> None:
            for seed in seeds:
                data = mutations.stream(mutations.CLIENT_STREAMS, Random(seed))
                _, sender = await asyncio.get_running_loop().create_connection(
                    lambda data=data: Sender(data),
                    host,
                    port,  # type: ignore[misc]
                )
                await sender.done
                if seed % 500 == 0:
                    async with asyncio.timeout(5):  # the good session still gets its answers
                        await lock.acquire()
                        good.send(BasicQos(0, 1), channel=1)
                        await good.receive(BasicQosOk)
                        lock.release()

        lock = asyncio.Lock()
        await asyncio.gather(*(send_some() for _ in range(SIDE_BY_SIDE)))
        async with asyncio.timeout(15):
            while server.statistics().sessions > 1:  # noqa: ASYNC110 - asks what has no event
                await asyncio.sleep(0.05)
        await good.close()
        await server.close(grace=1)
        assert not [event for event in events if event.kind in ("balancer.bug", "node.unfit")]
        assert sum(backend.sessions for backend in server.statistics().backends) == 0
        assert server.statistics().sessions_total >= number


def test_mutated_streams_at_the_port_leave_the_others_alone() -> None:
    uvloop.run(flood(20_000_000, 1_000))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_20_000_mutated_streams_at_the_port() -> None:
    uvloop.run(flood(30_000_000, int(os.environ.get("WARRENER_FUZZ_PORT", "20000"))))
