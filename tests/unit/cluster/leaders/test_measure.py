"""Counters of every node, twice: who answers, who doesn't."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from warrener.cluster.leaders.measure import measure
from warrener.facts.ids import NodeName
from warrener.management.client import ManagementError

N1, N2 = NodeName("n1@localhost"), NodeName("n2@localhost")


class FakeNode:
    """Serves counters that grow by ``step`` with each reading."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.readings = 0
        self.status = 200
        self.fails_from = 99
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.query_string)
        self.readings += 1
        labels = 'channel="<0.1.0>",queue_vhost="/",queue="q",exchange_vhost="/",exchange=""'
        number = self.step * self.readings
        return web.Response(
            text=f"rabbitmq_detailed_queue_messages_published_total{{{labels}}} {number}\n",
            status=500 if self.readings >= self.fails_from else self.status,
        )


@asynccontextmanager
async def served(node: FakeNode) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/metrics/detailed", node.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def at_once(seconds: float) -> None:
    pass


async def test_all_nodes_are_asked_for_the_families_that_are_needed() -> None:
    one, other = FakeNode(10), FakeNode(20)
    async with served(one) as first, served(other) as second:
        sample = await measure([(N1, first), (N2, second)], 1.0, sleep=at_once)
    assert one.asked == ["family=channel_queue_metrics&family=channel_queue_exchange_metrics"] * 2
    assert sample.missing == ()
    assert sample.rates["/", "q"].published > 0
    assert sample.seconds > 0


@pytest.mark.parametrize("fails_from", [1, 2])
async def test_a_node_that_does_not_answer_is_missing_not_guessed(fails_from: int) -> None:
    one, other = FakeNode(0), FakeNode(20)
    other.fails_from = fails_from
    async with served(one) as first, served(other) as second:
        sample = await measure([(N1, first), (N2, second)], 1.0, sleep=at_once)
    assert (sample.missing, sample.rates) == ((N2,), {})


@pytest.mark.parametrize(("status", "told"), [(404, "3.10 or newer"), (503, "HTTP status 503")])
async def test_nobody_who_answers_is_an_error(status: int, told: str) -> None:
    node = FakeNode(1)
    node.status = status
    async with served(node) as url:
        with pytest.raises(ManagementError, match=told):
            await measure([(N1, url)], 1.0, sleep=at_once)
    with pytest.raises(ManagementError, match="no connection"):
        await measure([(N1, url)], 1.0, sleep=at_once)
