"""Each call as RabbitMQ's API has it: method, path, body; and answers as its versions give them."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from warrener.management import topology as api
from warrener.management.client import BadAnswer, ManagementClient


@asynccontextmanager
async def serving(
    answer: Any, status: int = 200
) -> AsyncIterator[tuple[ManagementClient, list[Any]]]:
    """A client of a server that gives one answer to everything, and what it was asked."""
    asked: list[Any] = []

    async def answers(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        path = request.raw_path.partition("?")[0]
        asked.append((request.method, path, json.loads(body) if body else None))
        return web.json_response(answer, status=status)

    runner = web.ServerRunner(web.Server(answers), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    _, port = runner.addresses[0]
    try:
        async with ManagementClient(f"http://127.0.0.1:{port}", "u", "p") as client:
            yield client, asked
    finally:
        await runner.cleanup()


KEPT = api.UserAnswer(name="u/1", password_hash="hash", hashing_algorithm="sha256")

CHANGES: dict[str, tuple[Callable[[ManagementClient], Awaitable[None]], tuple[Any, ...]]] = {
    "virtual host": (
        lambda c: api.put_vhost(
            c, "/", description="d", tags=("a", "b"), default_queue_type="quorum"
        ),
        ("PUT", "/api/vhosts/%2F", {
            "description": "d", "tags": "a,b", "defaultqueuetype": "quorum",
            "default_queue_type": "quorum",
        }),
    ),
    "no virtual host": (lambda c: api.delete_vhost(c, "v"), ("DELETE", "/api/vhosts/v", None)),
    "user": (
        lambda c: api.put_user(c, "u/1", tags=("x", "y"), password="pw"),
        ("PUT", "/api/users/u%2F1", {"tags": "x,y", "password": "pw"}),
    ),
    "user with its password": (
        lambda c: api.put_user(c, "u/1", tags=(), kept=KEPT),
        ("PUT", "/api/users/u%2F1", {
            "tags": "", "password_hash": "hash", "hashing_algorithm": "sha256",
        }),
    ),
    "no user": (lambda c: api.delete_user(c, "u"), ("DELETE", "/api/users/u", None)),
    "limit": (
        lambda c: api.set_limit(c, "user", "u", "max-channels", 3),
        ("PUT", "/api/user-limits/u/max-channels", {"value": 3}),
    ),
    "no limit": (
        lambda c: api.set_limit(c, "vhost", "/", "max-queues", None),
        ("DELETE", "/api/vhost-limits/%2F/max-queues", None),
    ),
    "permission": (
        lambda c: api.put_permission(c, "u", "/", configure="c", write="w", read="r"),
        ("PUT", "/api/permissions/%2F/u", {"configure": "c", "write": "w", "read": "r"}),
    ),
    "no permission": (
        lambda c: api.delete_permission(c, "u", "v"), ("DELETE", "/api/permissions/v/u", None)
    ),
    "policy": (
        lambda c: api.put_policy(
            c, "/", "p", operator=False, pattern="x", apply_to="queues", priority=2,
            definition={"expires": 1},
        ),
        ("PUT", "/api/policies/%2F/p", {
            "pattern": "x", "apply-to": "queues", "priority": 2, "definition": {"expires": 1},
        }),
    ),
    "no operator policy": (
        lambda c: api.delete_policy(c, "/", "p", operator=True),
        ("DELETE", "/api/operator-policies/%2F/p", None),
    ),
    "queue": (
        lambda c: api.put_queue(c, "/", "q", arguments={"x-queue-type": "quorum"}),
        ("PUT", "/api/queues/%2F/q", {"durable": True, "arguments": {"x-queue-type": "quorum"}}),
    ),
    "cluster name": (
        lambda c: api.put_cluster_name(c, "n"), ("PUT", "/api/cluster-name", {"name": "n"})
    ),
    "definitions": (
        lambda c: api.put_definitions(c, {"users": []}),
        ("POST", "/api/definitions", {"users": []}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
async def test_changes(name: str) -> None:
    change, expected = CHANGES[name]
    async with serving({}) as (client, asked):
        await change(client)
    assert asked == [expected]


@pytest.mark.parametrize("name", [name for name in CHANGES if name.startswith("no ")])
async def test_what_is_not_there_is_removed_already(name: str) -> None:
    async with serving({"error": "Object Not Found"}, 404) as (client, _):
        await CHANGES[name][0](client)


async def test_users_show_no_hash() -> None:
    async with serving([{"name": "u", "password_hash": "h4sh", "tags": ["a"]}]) as (client, _):
        (user,) = await api.users(client)
    assert user.password_hash == "h4sh"
    assert "h4sh" not in repr(user)


async def test_limits() -> None:
    """A negative limit is none; the value may be a list where it is empty."""
    answer = [
        {"user": "u", "value": {"max-channels": 3, "max-connections": -1}},
        {"user": "v", "value": []},
    ]
    async with serving(answer) as (client, _):
        assert await api.user_limits(client) == {"u": {"max-channels": 3}, "v": {}}


async def test_policies() -> None:
    answer = [{"vhost": "/", "name": "p", "apply-to": "queues", "pattern": "x", "priority": 1}]
    async with serving(answer) as (client, asked):
        (policy,) = await api.policies(client, operator=True)
    assert (policy.apply_to, policy.priority) == ("queues", 1)
    assert asked[0][1] == "/api/operator-policies"


async def test_a_queue_that_is_not_there() -> None:
    async with serving({"error": "Object Not Found"}, 404) as (client, _):
        assert await api.queue(client, "/", "q") is None


async def test_answers_of_something_else() -> None:
    async with serving({"not": "a list"}) as (client, _):
        with pytest.raises(BadAnswer, match="not what RabbitMQ"):
            await api.users(client)
    async with serving([]) as (client, _):
        with pytest.raises(BadAnswer, match="not an object of definitions"):
            await api.definitions(client)
