"""Time passes by itself, in order, and costs none."""

import asyncio
import time

import pytest

from warrener.testing.virtual_time import run


def test_an_hour_takes_no_time() -> None:
    async def main() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert run(main()) == pytest.approx(3600)
    assert time.monotonic() - began < 5


def test_timers_fire_in_their_order() -> None:
    async def main() -> list[float]:
        order: list[float] = []

        async def after(seconds: float) -> None:
            await asyncio.sleep(seconds)
            order.append(seconds)

        await asyncio.gather(*(after(seconds) for seconds in (3.0, 1.0, 2.0)))
        return order

    assert run(main()) == [1.0, 2.0, 3.0]


def test_a_time_limit_is_reached() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.5):
                await asyncio.sleep(10)
        return asyncio.get_running_loop().time()

    assert run(main()) == pytest.approx(2.5)


def test_a_deadlock_is_told() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(AssertionError, match="never happen"):
        run(main())
