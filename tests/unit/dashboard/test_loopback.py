"""An application on loopback: which port it gets, and that nothing is left."""

import contextlib
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from warrener.dashboard.loopback import LOOPBACK, LoopbackSite


async def hello(request: web.Request) -> web.Response:
    return web.Response(text="hello")


@contextlib.asynccontextmanager
async def served(*ports: int) -> AsyncIterator[LoopbackSite]:
    app = web.Application()
    app.router.add_get("/", hello)
    site = LoopbackSite()
    await site.start(app, ports)
    try:
        yield site
    finally:
        await site.close()


async def test_it_listens_on_the_first_port_that_is_free_and_on_none_afterwards() -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        busy = other.getsockname()[1]
        async with served(busy, 0) as site, aiohttp.ClientSession() as client:
            assert site.port not in (0, busy)
            url = f"http://{LOOPBACK}:{site.port}/"
            async with client.get(url) as answer:
                assert await answer.text() == "hello"
        assert site.port == 0
        async with aiohttp.ClientSession() as client:
            with pytest.raises(aiohttp.ClientConnectorError):
                await client.get(url)


async def test_without_a_free_port_it_says_so() -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            async with served(other.getsockname()[1]):
                pass
