"""The endpoint: who gets metrics, and that nothing anybody sends ends it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from warrener.daemon.errors import DaemonError
from warrener.daemon.metrics_server import LOOPBACK, MetricsServer

TOKEN = "t" * 40


class Scene:
    def __init__(self) -> None:
        self.scrapes = 0
        self.hold: asyncio.Event | None = None
        self.error: Exception | None = None
        self.server = MetricsServer(self.scrape, TOKEN)

    async def scrape(self) -> bytes:
        self.scrapes += 1
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error
        return b"a 1\n"

    async def get(
        self, token: str | None = TOKEN, path: str = "/metrics", method: str = "GET"
    ) -> tuple[int, str]:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        url = f"http://{LOOPBACK}:{self.server.port}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, headers=headers) as response,
        ):
            return response.status, await response.text()

    async def raw(self, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(LOOPBACK, self.server.port)
        writer.write(data)
        writer.write_eof()
        try:
            return await asyncio.wait_for(reader.read(), 5)
        except ConnectionError:
            return b""
        finally:
            writer.close()


@asynccontextmanager
async def serving() -> AsyncIterator[Scene]:
    scene = Scene()
    await scene.server.start([])
    try:
        yield scene
    finally:
        await scene.server.close()


async def test_who_has_the_token_gets_the_text() -> None:
    async with serving() as scene:
        assert await scene.get() == (200, "a 1\n")
        assert scene.server.scrapes == 1


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "t", "ä" * 40])
async def test_who_has_not_gets_nothing(token: str | None) -> None:
    async with serving() as scene:
        status, text = await scene.get(token)
        assert status == 401
        assert TOKEN not in text
        assert scene.scrapes == 0


async def test_other_paths_and_methods_are_refused() -> None:
    async with serving() as scene:
        assert (await scene.get(path="/"))[0] == 404
        assert (await scene.get(path="/metrics/../../etc/passwd"))[0] == 404
        assert (await scene.get(method="POST"))[0] == 405
        assert await scene.get() == (200, "a 1\n")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\x01\x02\xff" * 100,
        b"AMQP\x00\x00\x09\x01",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nAuthorization: Bearer " + b"x" * 100_000 + b"\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\nx",
        b"GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET " + b"/a" * 50_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=range(8),
)
async def test_whatever_is_sent_it_goes_on(
    data: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    async with serving() as scene:
        answer = await scene.raw(data)
        assert b" 200 " not in answer
        assert await scene.get() == (200, "a 1\n")
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")


async def test_an_error_of_ours_is_told_as_one_and_not_in_detail() -> None:
    async with serving() as scene:
        scene.error = RuntimeError("secret detail")
        status, text = await scene.get()
        assert status == 500
        assert "secret" not in text
        scene.error = None
        assert (await scene.get())[0] == 200


async def test_those_that_scrape_at_once_share_one_scrape() -> None:
    async with serving() as scene:
        scene.hold = asyncio.Event()
        asked = [asyncio.create_task(scene.get()) for _ in range(5)]
        await asyncio.sleep(0.2)
        scene.hold.set()
        assert [status for status, _ in await asyncio.gather(*asked)] == [200] * 5
        assert scene.scrapes == 1


async def test_one_that_hangs_up_takes_nothing_from_the_others() -> None:
    async with serving() as scene:
        scene.hold = asyncio.Event()
        impatient, patient = (asyncio.create_task(scene.get()) for _ in range(2))
        await asyncio.sleep(0.1)
        impatient.cancel()
        await asyncio.sleep(0.05)
        scene.hold.set()
        assert (await patient)[0] == 200


async def test_the_port_is_the_first_that_is_free_or_any() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken, socket.create_server((LOOPBACK, 0)) as free:
        port, other = taken.getsockname()[1], free.getsockname()[1]
        free.close()
        server = MetricsServer(Scene().scrape, TOKEN)
        await server.start([port, other])
        assert server.url == f"http://{LOOPBACK}:{other}/metrics"
        await server.close()
        assert server.url == ""
        await server.start([port])
        assert server.port not in (0, port)
        await server.close()


async def test_a_port_that_was_asked_for_and_is_taken_is_an_error() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        server = MetricsServer(Scene().scrape, TOKEN)
        with pytest.raises(DaemonError, match=rf"port {port} for metrics.*\[telemetry\]"):
            await server.start([port], must=True)


async def test_closing_cuts_off_who_waits() -> None:
    async with serving() as scene:
        scene.hold = asyncio.Event()
        waiting = asyncio.create_task(scene.get())
        await asyncio.sleep(0.1)
        await asyncio.wait_for(scene.server.close(), 5)
        result = await asyncio.gather(waiting, return_exceptions=True)
        assert isinstance(result[0], aiohttp.ClientError) or result[0][0] >= 500
