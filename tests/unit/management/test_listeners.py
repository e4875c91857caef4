"""What the management API tells of a cluster that isn't one's own."""

from typing import Any

import pytest
from aiohttp import web
from tests.unit.management.test_client import always, serving

from warrener.management import listeners as api
from warrener.management.client import AccessRefused, BadAnswer


def answers(told: Any) -> Any:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response(told)

    return answer


async def test_listeners_come_with_the_overview() -> None:
    listener = {"node": "n1@a", "protocol": "amqp", "ip_address": "::", "port": 5672, "opts": []}
    async with serving(answers({"node": "n1@a", "listeners": [listener]})) as client:
        told = await api.overview(client)
    assert told.node == "n1@a"
    assert told.listeners == (
        api.Listener(node="n1@a", protocol="amqp", ip_address="::", port=5672),
    )


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        (["monitoring", "policymaker"], {"monitoring", "policymaker"}),
        ("administrator, x", {"administrator", "x"}),
        ("", set()),
        (None, set()),
    ],
)
async def test_tags_as_every_version_writes_them(tags: Any, told: set[str]) -> None:
    async with serving(answers({"name": "ops", "tags": tags})) as client:
        assert await api.who(client) == ("ops", told)


async def test_rates() -> None:
    stats = {"publish_details": {"rate": 1.5}, "deliver_get_details": {"rate": "?"}}
    told = [{"name": "q", "vhost": "/", "message_stats": stats}, {"name": "idle"}]
    async with serving(answers(told)) as client:
        found = await api.rates(client)
    assert found["/", "q"].published == 1.5
    assert found["/", "q"].delivered == found["/", "idle"].acked == 0.0


@pytest.mark.parametrize("told", ['{"node": []}', "[]", "3"])
async def test_another_service(told: str) -> None:
    async with serving(always(text=told)) as client:
        with pytest.raises(BadAnswer, match="is it another service"):
            await api.overview(client)


async def test_rebalancing_takes_an_administrator() -> None:
    refusal = '{"error": "not_authorised", "reason": "Not administrator user"}'
    async with serving(always(401, refusal)) as client:
        with pytest.raises(AccessRefused, match=r"may not do this.*Not administrator"):
            await api.rebalance_by_count(client)


async def test_rebalancing_is_asked_for() -> None:
    seen = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        seen.append((request.method, request.path))
        return web.Response(status=204)

    async with serving(answer) as client:
        await api.rebalance_by_count(client)
    assert seen == [("POST", "/api/rebalance/queues")]
