"""The client against a scripted HTTP server on loopback: what it asks, and each way to fail."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from warrener.management.client import (
    FEW_QUEUES,
    WITHOUT_STATISTICS,
    AccessRefused,
    BadAnswer,
    ManagementClient,
    ManagementError,
    NotFound,
    TimedOut,
    TooLong,
    Unreachable,
    segment,
)

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
PASSWORD = "s3cret-päss"


@asynccontextmanager
async def serving(answer: Answer, **options: object) -> AsyncIterator[ManagementClient]:
    """A client of a server that gives ``answer`` to everything."""
    server = web.Server(answer)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    _, port = runner.addresses[0]
    try:
        base = f"http://127.0.0.1:{port}/"
        async with ManagementClient(base, "warrener", PASSWORD, **options) as client:  # type: ignore[arg-type]  # timeout, max_answer
            yield client
    finally:
        await runner.cleanup()


def always(status: int = 200, text: str = "", **headers: str) -> Answer:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, text=text, headers=headers)

    return answer


async def test_asks_as_the_user_and_reads_in_part() -> None:
    seen = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        seen.append((request.method, request.path, request.headers["Authorization"]))
        return web.json_response({"name": "warrener", "tags": ["administrator"], "new_field": 1})

    async with serving(answer) as client:
        user = await client.whoami()
    assert (user.name, user.tags) == ("warrener", ["administrator"])
    login = b64encode(f"warrener:{PASSWORD}".encode()).decode()
    assert seen == [("GET", "/api/whoami", f"Basic {login}")]


async def test_nodes_of_which_little_is_known() -> None:
    text = '[{"name": "n1@a", "running": true, "uptime": 5}, {"name": "n2@a", "running": false}]'
    async with serving(always(text=text)) as client:
        up, down = await client.nodes()
    assert (up.name, up.running, up.uptime) == ("n1@a", True, 5)
    assert (down.name, down.running, down.mem_used) == ("n2@a", False, 0)


async def test_few_queues_are_read_with_their_statistics() -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        assert (request.query["page"], request.query["page_size"]) == ("1", str(FEW_QUEUES))
        return web.json_response({"items": [{"name": "a", "consumers": 2}], "page_count": 1})

    async with serving(answer) as client:
        (queue,) = await client.queues()
    assert (queue.name, queue.vhost, queue.consumers) == ("a", "/", 2)


async def test_many_queues_are_read_with_totals_only() -> None:
    asked = []
    many = [{"name": f"q{number}", "messages": number} for number in range(FEW_QUEUES + 1)]

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        asked.append("page" if "page" in request.query else "totals")
        if asked[-1] == "page":
            pages = (len(many) + FEW_QUEUES - 1) // FEW_QUEUES
            return web.json_response({"items": many[:FEW_QUEUES], "page_count": pages})
        assert request.query["disable_stats"] == request.query["enable_queue_totals"] == "true"
        return web.json_response(many)

    async with serving(answer) as client:
        assert len(await client.queues()) == FEW_QUEUES + 1
        assert asked == ["page", "totals"]
        assert (await client.queues())[-1].messages == FEW_QUEUES
        assert asked == ["page", "totals", "totals"], "it remembers"
        many.pop()
        assert len(await client.queues()) == FEW_QUEUES
        assert len(await client.queues()) == FEW_QUEUES
        assert asked == ["page", "totals", "totals", "totals", "page"], "and forgets"


async def test_queues_of_busy_nodes_are_read_with_totals_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For a while; then statistics are asked for again."""
    monkeypatch.setattr("warrener.management.client.PAGE_PATIENCE", 0.05)
    asked = []
    busy = asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        asked.append("page" if "page" in request.query else "totals")
        if asked[-1] == "totals":
            return web.json_response([{"name": "a", "messages": 7}])
        await busy.wait()
        return web.json_response({"items": [{"name": "a", "consumers": 2}], "page_count": 1})

    async with serving(answer) as client:
        (queue,) = await client.queues()
        assert (queue.messages, asked) == (7, ["page", "totals"])
        busy.set()
        for _ in range(WITHOUT_STATISTICS):
            await client.queues()
        assert asked[2:] == ["totals"] * WITHOUT_STATISTICS
        (queue,) = await client.queues()
    assert (queue.consumers, asked[-1]) == (2, "page")


async def test_one_queue_is_asked_for_without_statistics() -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        assert request.raw_path.startswith("/api/queues/%2F/a%20b?")
        assert request.query["disable_stats"] == "true"
        assert {"node", "leader", "exclusive"} <= {*request.query["columns"].split(",")}
        return web.json_response(
            {"name": "a b", "leader": "n1@a", "auto_delete": True, "exclusive": False}
        )

    async with serving(answer) as client:
        queue = await client.queue("/", "a b")
    assert (queue.name, queue.leader, queue.auto_delete, queue.exclusive) == (
        "a b",
        "n1@a",
        True,
        False,
    )


async def test_a_queue_that_is_not_there() -> None:
    text = '{"error": "Object Not Found", "reason": "Not Found"}'
    async with serving(always(404, text)) as client:
        with pytest.raises(NotFound):
            await client.queue("/", "q")


async def test_which_nodes_run() -> None:
    text = '[{"name": "n1@a", "running": true}, {"name": "n2@a", "running": false}]'
    async with serving(always(text=text)) as client:
        assert await client.running() == {"n1@a": True, "n2@a": False}


async def test_an_exchange() -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        assert request.raw_path.startswith("/api/exchanges/%2F/x%2Fy?")
        return web.json_response(
            {"name": "x/y", "type": "topic", "arguments": {"alternate-exchange": "ae"}}
        )

    async with serving(answer) as client:
        exchange = await client.exchange("/", "x/y")
    assert (exchange.type, exchange.arguments, exchange.policy) == (
        "topic",
        {"alternate-exchange": "ae"},
        "",
    )


@pytest.mark.parametrize("there", [True, False])
async def test_while_a_node_hangs_an_exchange_is_found_among_all(
    there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RabbitMQ collects statistics for a single exchange, and waits for them for ever."""
    monkeypatch.setattr("warrener.management.client.STATISTICS_PATIENCE", 0.05)
    hang = asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("/x"):
            await hang.wait()
        assert request.path == "/api/exchanges/v"
        assert request.query["disable_stats"] == "true"
        return web.json_response(
            [{"name": "X", "type": "fanout"}, {"name": "x" if there else "z", "type": "direct"}]
        )

    async with serving(answer) as client:
        if there:
            assert (await client.exchange("v", "x")).type == "direct"
        else:
            with pytest.raises(NotFound):
                await client.exchange("v", "x")
        hang.set()


async def test_what_is_bound_to_an_exchange() -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        assert request.path == "/api/exchanges/v/x/bindings/source"
        return web.json_response(
            [
                {"destination": "q", "destination_type": "queue", "routing_key": "a.#"},
                {"destination": "y", "destination_type": "exchange", "routing_key": ""},
            ]
        )

    async with serving(answer) as client:
        first, second = await client.bindings_from("v", "x", limit=1000)
        assert (first.destination, first.destination_type, first.routing_key) == (
            "q",
            "queue",
            "a.#",
        )
        assert second.destination_type == "exchange"
        with pytest.raises(TooLong, match="longer than 50 bytes"):
            await client.bindings_from("v", "x", limit=50)


async def test_quoted_names_stay_quoted() -> None:
    seen = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        seen.append((request.method, request.raw_path, await request.text()))
        return web.Response(status=201)

    async with serving(answer) as client:
        path = f"/api/queues/{segment('/')}/{segment('ä b%/c')}"
        await client.put_json(path, {"durable": True})
        await client.delete(path, {"if-empty": "true"})
        assert await client.post_json("/api/rebalance/queues", {}) is None
    assert seen == [
        ("PUT", "/api/queues/%2F/%C3%A4%20b%25%2Fc", '{"durable":true}'),
        ("DELETE", "/api/queues/%2F/%C3%A4%20b%25%2Fc?if-empty=true", ""),
        ("POST", "/api/rebalance/queues", "{}"),
    ]


REFUSAL = '{"error": "not_authorised", "reason": "Access refused."}'
FAILURES: dict[str, tuple[Answer, type[ManagementError], str]] = {
    "wrong password": (
        always(401, REFUSAL),
        AccessRefused,
        "user 'warrener' or its password is not accepted",
    ),
    "too few rights, as 3.10.8 says it": (
        always(401, '{"error": "not_authorised", "reason": "Not monitor user"}'),
        AccessRefused,
        "user 'warrener' may not do this: not_authorised: Not monitor user",
    ),
    "forbidden": (
        always(403, REFUSAL),
        AccessRefused,
        "user 'warrener' may not do this: not_authorised: Access refused.",
    ),
    "not found": (
        always(404, '{"error":"Object Not Found","reason":"Not Found"}'),
        NotFound,
        "not found: Object Not Found: Not Found",
    ),
    "failing": (always(500, "<h1>oops\n</h1>"), BadAnswer, "HTTP status 500: <h1>oops </h1>"),
    "elsewhere": (
        always(302, "", Location="http://192.0.2.1/"),
        BadAnswer,
        "HTTP status 302: no reason given",
    ),
    "not JSON": (
        always(200, "<html>"),
        BadAnswer,
        "not what RabbitMQ's management API answers (JSON is malformed: invalid character "
        "(byte 0)); is it another service?",
    ),
    "other JSON": (
        always(200, "[1]"),
        BadAnswer,
        "not what RabbitMQ's management API answers (Expected `object`, got `array`); "
        "is it another service?",
    ),
    "nested too deeply": (
        always(200, "[" * 100_000),
        BadAnswer,
        "not what RabbitMQ's management API answers",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_failures_have_a_type_and_say_where(name: str) -> None:
    answer, kind, text = FAILURES[name]
    async with serving(answer) as client:
        with pytest.raises(ManagementError) as caught:
            await client.whoami()
        assert type(caught.value) is kind
        assert str(caught.value).startswith(f"{client.base_url}/api/whoami: {text}")
        assert PASSWORD not in str(caught.value)


async def test_an_answer_that_is_too_long_is_not_read_to_its_end() -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b"x" * 100_000)
        return response

    async with serving(answer, max_answer=150_000) as client:
        with pytest.raises(BadAnswer, match="longer than 150,000 bytes"):
            await client.whoami()


async def test_a_node_that_hangs_is_given_up() -> None:
    release = asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    async with serving(answer, timeout=0.05) as client:
        with pytest.raises(TimedOut, match=r"/api/whoami: no answer within 0.05 s"):
            await client.whoami()
        release.set()


async def test_a_port_where_nobody_listens() -> None:
    async with ManagementClient("http://127.0.0.1:1", "warrener", PASSWORD) as client:
        with pytest.raises(Unreachable, match="no connection: Connect"):
            await client.whoami()


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (b"", Unreachable),
        (b"\x00\x01\x02 not HTTP\r\n\r\n", BadAnswer),
        (b"AMQP\0\0\x09\x01", None),
    ],
)
async def test_a_service_that_does_not_speak_http(
    sent: bytes, kind: type[ManagementError] | None
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, ManagementClient(f"http://127.0.0.1:{port}", "u", "p") as client:
        with pytest.raises(kind or ManagementError):
            await client.whoami()


async def test_can_be_used_again_after_close() -> None:
    async with serving(always(text='{"name": "warrener"}')) as client:
        await client.whoami()
        await client.close()
        assert (await client.whoami()).name == "warrener"


def test_its_repr_has_no_password() -> None:
    client = ManagementClient("http://127.0.0.1:1/", "warrener", PASSWORD)
    assert repr(client) == "ManagementClient('http://127.0.0.1:1', 'warrener')"
