"""Requests that act: who is let in, what is no question, and that a viewer that goes away ends only
its preview."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from tests.unit.dashboard.moments import moment

from warrener.control.operations import ChannelLine
from warrener.dashboard import acting
from warrener.dashboard.acting import ActError, Peer
from warrener.dashboard.acts import (
    ActKind,
    Ask,
    AskDrain,
    AskPolicy,
    AskRebalance,
    AskWeight,
    Began,
    Preview,
    Stale,
)
from warrener.dashboard.live import Live
from warrener.dashboard.loopback import LOOPBACK
from warrener.dashboard.moment import Moment
from warrener.dashboard.server import PageServer
from warrener.facts.settings import PolicyName

TOKEN = "t" * 43
DRAIN = {"act": "drain", "node": "n1"}


def preview(id_: str = "x") -> Preview:
    return Preview(
        id=id_, act=ActKind.DRAIN, node="n1", title="Drain n1?", lines=[], refusals=[], sheets=[],
        button="Drain n1",
    )  # fmt: skip


class Scene:
    """A server whose acts are written down."""

    def __init__(self) -> None:
        self.asked: list[Ask] = []
        self.confirmed: list[tuple[str, Peer]] = []
        self.ended: list[int] = []
        self.error: ActError | None = None
        self.found: Began | Stale = Began(7)
        self.previewing = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.gone = asyncio.Event()
        self.done = asyncio.Event()
        live = Live(self.read, self.channels)
        self.server = PageServer(live, TOKEN, acts=self)

    async def read(self, sessions: bool) -> Moment:
        return moment()

    def channels(self, session: int) -> list[ChannelLine]:
        return []

    async def preview(self, ask: Ask, gone: "asyncio.Future[None]") -> Preview:
        gone.add_done_callback(lambda _: (self.gone.set(), self.go_on.set()))
        self.asked.append(ask)
        self.previewing.set()
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        return preview()

    async def confirm(self, preview: str, peer: Peer) -> Began | Stale:
        self.confirmed.append((preview, peer))
        self.previewing.set()
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        self.done.set()
        return self.found

    async def call_off(self, number: int, peer: Peer) -> None:
        if self.error is not None:
            raise self.error
        self.ended.append(number)

    @property
    def untouched(self) -> bool:
        return not (self.asked or self.confirmed or self.ended)

    async def send(
        self, path: str, body: Any, token: str | None = TOKEN, method: str = "POST", **headers: str
    ) -> tuple[int, str]:
        given = {"Content-Type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            given["Authorization"] = f"Bearer {token}"
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = f"http://{LOOPBACK}:{self.server.port}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, headers=given, data=data) as response,
        ):
            return response.status, await response.text()


@asynccontextmanager
async def serving() -> AsyncIterator[Scene]:
    scene = Scene()
    await scene.server.start(0)
    try:
        yield scene
    finally:
        await scene.server.close()


PATHS = {
    "/api/preview": DRAIN,
    "/api/act": {"preview": "x"},
    "/api/call-off": {"number": 1},
}


async def test_what_is_asked_reaches_who_does_it() -> None:
    async with serving() as scene:
        for body, ask in (
            (DRAIN, AskDrain("n1")),
            ({"act": "rebalance"}, AskRebalance()),
            ({"act": "policy", "policy": "p2c"}, AskPolicy(PolicyName.P2C)),
            ({"act": "policy"}, AskPolicy()),
            ({"act": "weight", "node": "n1", "weight": 0}, AskWeight("n1", 0)),
        ):
            code, text = await scene.send("/api/preview", body)
            assert (code, json.loads(text)["title"]) == (200, "Drain n1?")
            assert scene.asked[-1] == ask
        assert await scene.send("/api/act", {"preview": "x"}) == (202, '{"number":7}')
        (found,) = scene.confirmed
        assert found[0] == "x"
        assert (found[1].host, found[1].own_port) == (LOOPBACK, scene.server.port)
        assert (await scene.send("/api/call-off", {"number": 7}))[0] == 204
        assert scene.ended == [7]


@pytest.mark.parametrize("path", PATHS)
async def test_the_guards_are_those_of_the_page(path: str) -> None:
    async with serving() as scene:
        body, port = PATHS[path], scene.server.port
        for token in (None, "", "wrong", TOKEN[:-1]):
            assert (await scene.send(path, body, token))[0] == 401
        assert (await scene.send(path, body, Host="evil.example"))[0] == 421
        for origin in ("http://evil.example", "null", f"https://127.0.0.1:{port}"):
            assert (await scene.send(path, body, Origin=origin))[0] == 403
        for site in ("cross-site", "same-site", "none"):
            assert (await scene.send(path, body, Sec_Fetch_Site=site))[0] == 403
        assert scene.untouched


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_is_done_by_another_method(path: str) -> None:
    async with serving() as scene:
        for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"):
            assert (await scene.send(path, PATHS[path], method=method))[0] == 405
        assert scene.untouched


@pytest.mark.parametrize("path", PATHS)
async def test_a_form_of_another_site_is_no_request(path: str) -> None:
    """What a browser sends elsewhere without asking: these three types."""
    async with serving() as scene:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            code, text = await scene.send(path, PATHS[path], Content_Type=kind)
            assert (code, "application/json" in text) == (415, True)
        assert scene.untouched


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        {},
        {"act": "purge"},
        {"act": "drain"},
        {"act": "drain", "node": ""},
        {"act": "drain", "node": 5},
        {"act": "drain", "node": "n" * 201},
        {"act": "drain", "node": "n1", "force": True},
        {"act": "weight", "node": "n1", "weight": "5"},
        {"act": "weight", "node": "n1", "weight": 1.5},
        {"act": "policy", "policy": "best"},
        {"act": "rebalance", "dry_run": False},
        b'{"act":"drain","node":"n1"}{"act":"drain","node":"n2"}',
        b"[" * 900,
    ],
)
async def test_what_is_no_question_is_refused_with_a_sentence(body: Any) -> None:
    async with serving() as scene:
        code, text = await scene.send("/api/preview", body)
        assert (code, text.startswith("not what can be asked: ")) == (400, True)
        assert scene.untouched


async def test_a_preview_is_confirmed_by_its_id_alone() -> None:
    async with serving() as scene:
        for body in (DRAIN, {"preview": ""}, {"preview": 1}, {"preview": "x", "node": "n2"}, {}):
            assert (await scene.send("/api/act", body))[0] == 400
        for body in ({"number": "1"}, {"number": 0}, {"number": True}, {}):
            assert (await scene.send("/api/call-off", body))[0] == 400
        assert scene.untouched


async def test_a_body_is_bounded() -> None:
    async with serving() as scene:
        code, text = await scene.send("/api/preview", {"act": "drain", "node": "n" * 5000})
        assert (code, text) == (413, "the body is too long\n")
        assert scene.untouched


async def test_a_body_that_does_not_come_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acting, "BODY_TIMEOUT", 0.05)
    async with serving() as scene:
        reader, writer = await asyncio.open_connection(LOOPBACK, scene.server.port)
        writer.write(
            f"POST /api/act HTTP/1.1\r\nHost: 127.0.0.1:{scene.server.port}\r\n"
            f"Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
            f"Content-Length: 20\r\n\r\n{{".encode()
        )
        async with asyncio.timeout(10):
            assert b" 408 " in await reader.readline()
        writer.close()
        assert scene.untouched


async def test_refusals_are_told_with_their_code() -> None:
    async with serving() as scene:
        for code in (400, 404, 409, 503):
            scene.error = ActError(code, "no node 'n9'")
            for path, body in PATHS.items():
                assert await scene.send(path, body) == (code, "no node 'n9'\n")


async def test_a_stale_preview_is_answered_with_one_of_now() -> None:
    async with serving() as scene:
        scene.found = Stale("it has changed", preview("y"))
        code, text = await scene.send("/api/act", {"preview": "x"})
        assert (code, json.loads(text)["preview"]["id"]) == (409, "y")


async def test_too_many_previews_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acting, "MOST_PREVIEWS", 1)
    async with serving() as scene:
        scene.go_on.clear()
        first = asyncio.create_task(scene.send("/api/preview", DRAIN))
        await scene.previewing.wait()
        assert (await scene.send("/api/preview", DRAIN))[0] == 503
        scene.go_on.set()
        assert (await first)[0] == 200
        assert (await scene.send("/api/preview", DRAIN))[0] == 200


async def test_a_viewer_that_goes_away_ends_its_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acting, "LOOK", 0.01)
    async with serving() as scene:
        scene.go_on.clear()
        asking = asyncio.create_task(scene.send("/api/preview", DRAIN))
        await scene.previewing.wait()
        asking.cancel()
        async with asyncio.timeout(10):
            await scene.gone.wait()


async def test_a_viewer_that_goes_away_does_not_end_what_it_confirmed() -> None:
    async with serving() as scene:
        scene.go_on.clear()
        asking = asyncio.create_task(scene.send("/api/act", {"preview": "x"}))
        await scene.previewing.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        scene.go_on.set()
        async with asyncio.timeout(10):
            await scene.done.wait()


async def test_without_somebody_who_acts_there_is_no_such_path() -> None:
    scene = Scene()
    scene.server = PageServer(Live(scene.read, scene.channels), TOKEN)
    await scene.server.start(0)
    try:
        assert (await scene.send("/api/preview", DRAIN))[0] == 404
    finally:
        await scene.server.close()
