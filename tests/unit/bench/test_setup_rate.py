"""Opening and closing connections, against a fake broker."""

import asyncio

import pytest

from warrener.bench.setup_rate import SetupSpec, run_setup
from warrener.bench.wire import BenchError, Target
from warrener.testing.fake_broker import PASSWORD, FakeBroker, Fault


async def test_connections_are_counted_and_all_closed() -> None:
    async with FakeBroker() as broker:
        target = Target(broker.backend.host, broker.backend.port, "guest", PASSWORD)
        spec = SetupSpec((target,), clients=2, warmup=0.05, seconds=0.1)
        result = await asyncio.to_thread(run_setup, spec)
        assert result.connections > 0
        assert result.rate > 0


async def test_a_refused_connection_is_an_error_with_the_brokers_text() -> None:
    async with FakeBroker() as broker:
        target = Target(broker.backend.host, broker.backend.port, "guest", PASSWORD)
        broker.fault = Fault.FORCE_CLOSE_AFTER_OPEN
        with pytest.raises(BenchError, match="320"):
            await asyncio.to_thread(run_setup, SetupSpec((target,), clients=2))
