"""A feed never blocks who offers, and ends after what was offered."""

import asyncio

from warrener.daemon.feed import Feed


async def test_items_come_in_order_and_the_feed_ends_after_them() -> None:
    feed: Feed[int] = Feed(10)
    for item in (1, 2, 3):
        feed.offer(item)
    feed.close()
    assert [item async for item in feed] == [1, 2, 3]
    assert feed.missed == 0


async def test_a_waiting_reader_is_woken_by_an_item_and_by_the_end() -> None:
    feed: Feed[int] = Feed(10)

    async def collect() -> list[int]:
        return [item async for item in feed]

    reader = asyncio.create_task(collect())
    await asyncio.sleep(0)
    feed.offer(1)
    await asyncio.sleep(0)
    feed.offer(2)
    await asyncio.sleep(0)
    feed.close()
    assert await reader == [1, 2]


async def test_a_slow_reader_misses_the_newer_items_and_they_are_counted() -> None:
    feed: Feed[int] = Feed(2)
    for item in range(5):
        feed.offer(item)
    feed.close()
    assert [item async for item in feed] == [0, 1]
    assert feed.missed == 3
