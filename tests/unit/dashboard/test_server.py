"""Who gets what from the page's server, and that nothing anybody sends ends or swells it."""

import asyncio
import contextlib
import json
import re
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp
import pytest
import uvloop
from tests.unit.dashboard.moments import moment, queue, status

from warrener.control.operations import ChannelLine
from warrener.dashboard import live as live_module
from warrener.dashboard import server as server_module
from warrener.dashboard.live import Live
from warrener.dashboard.loopback import LOOPBACK
from warrener.dashboard.moment import Moment
from warrener.dashboard.plan import NoAnswer, Question, WhyNot
from warrener.dashboard.server import HEADERS, PageServer, assets

TOKEN = "t" * 43
LIVE = "/api/live?view=nodes"


class Scene:
    def __init__(self) -> None:
        self.queues = 1
        self.error: Exception | None = None
        self.asked_sessions: list[bool] = []
        self.asked_twice = asyncio.Event()
        self.live = Live(self.read, self.channels)
        self.asked: list[tuple[Question, str]] = []
        self.no_answer: NoAnswer | None = None
        self.server = PageServer(self.live, TOKEN, planner=self.plan)
        self.clock = 0.0

    async def read(self, sessions: bool) -> Moment:
        self.asked_sessions.append(sessions)
        if len(self.asked_sessions) > 1:
            self.asked_twice.set()
        if self.error is not None:
            raise self.error
        self.clock += 1.0
        return moment(self.clock, status(queues=[queue(f"q{n}") for n in range(self.queues)]))

    async def plan(self, question: Question, viewer: str) -> bytes:
        self.asked.append((question, viewer))
        if self.no_answer is not None:
            raise self.no_answer
        return b'{"asked": true}'

    def channels(self, session: int) -> Sequence[ChannelLine]:
        return []

    async def get(
        self, path: str = "/", token: str | None = TOKEN, method: str = "GET", **headers: str
    ) -> tuple[int, "aiohttp.typedefs.LooseHeaders", str]:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            given["Authorization"] = f"Bearer {token}"
        url = f"http://{LOOPBACK}:{self.server.port}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, headers=given) as response,
        ):
            streams = response.content_type == "application/x-ndjson"
            text = await (response.content.readline() if streams else response.read())
            return response.status, dict(response.headers), text.decode()

    async def status_of(self, path: str = LIVE, token: str | None = TOKEN, **headers: str) -> int:
        return (await self.get(path, token, **headers))[0]


@asynccontextmanager
async def serving(port: int = 0) -> AsyncIterator[Scene]:
    scene = Scene()
    await scene.server.start(port)
    running = asyncio.create_task(scene.live.run())
    try:
        yield scene
    finally:
        await scene.server.close()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "t", "ü"])
async def test_without_the_right_token_there_is_nothing(token: str | None) -> None:
    async with serving() as scene:
        code, headers, text = await scene.get(LIVE, token)
        assert code == 401
        assert "WWW-Authenticate" in headers
        assert "warren" not in text.replace("warrener", "")
        assert await scene.status_of(f"{LIVE}&token={TOKEN}", token) == 401
        assert scene.asked_sessions == []


async def test_a_document_is_pushed_to_who_has_it() -> None:
    async with serving() as scene:
        code, _, text = await scene.get(LIVE)
        assert code == 200
        told = json.loads(text)
        assert (told["view"], told["head"]["cluster"]) == ("nodes", "warren")
        assert [row["short"] for row in told["body"]["rows"]] == ["n1", "n2", "n3"]


async def test_another_name_for_loopback_is_not_answered() -> None:
    """A name that was made to lead here: what DNS rebinding does."""
    async with serving() as scene:
        port = scene.server.port
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", "", f"127.0.0.1:{port}1"):
            assert await scene.status_of("/", None, Host=host) == 421
            assert await scene.status_of(LIVE, Host=host) == 421
        assert await scene.status_of(LIVE, Host=f"localhost:{port}") == 200


async def test_scripts_of_other_sites_are_not_answered() -> None:
    async with serving() as scene:
        port = scene.server.port
        for origin in (
            "http://evil.example",
            "null",
            f"https://127.0.0.1:{port}",
            "http://127.0.0.1:1",
        ):
            assert await scene.status_of(LIVE, Origin=origin) == 403
        for site in ("cross-site", "same-site", "none"):
            assert await scene.status_of(LIVE, Sec_Fetch_Site=site) == 403
        own = {"Origin": f"http://127.0.0.1:{port}", "Sec_Fetch_Site": "same-origin"}
        assert await scene.status_of(LIVE, **own) == 200


async def test_every_answer_has_the_headers_that_keep_others_out() -> None:
    async with serving() as scene:
        for path in ("/", "/static/page.js", "/static/none", "/none", LIVE, "/api/live?view=none"):
            _, headers, _ = await scene.get(path)
            for name, value in HEADERS.items():
                assert dict(headers)[name] == value, path
            assert "Set-Cookie" not in dict(headers)
        policy = HEADERS["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


async def test_assets_need_no_token_and_nothing_else_is_served() -> None:
    async with serving() as scene:
        code, headers, _ = await scene.get("/", None)
        assert (code, dict(headers)["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert await scene.status_of("/static/page.js", None) == 200
        for path in (
            "/static/../server.py",
            "/static/%2e%2e%2fserver.py",
            "/static/x",
            "/server.py",
        ):
            assert await scene.status_of(path, None) == 404
        assert (await scene.get("/", None, method="POST"))[0] == 405


def test_the_page_has_no_inline_script_and_asks_nobody_else() -> None:
    for name, (content, _) in assets().items():
        text = content.decode()
        without_names = text.replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://", without_names), name
        assert "innerHTML" not in text, name
    page = assets()["index.html"][0].decode()
    assert re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL) == [""]
    assert not re.search(r"<style|style=|\son\w+=", page)


@pytest.mark.parametrize(
    "query",
    ["", "view=none", "view=queues&offset=-1", "view=queues&offset=x", "view=map&session=y"],
)
async def test_what_is_no_question_is_refused(query: str) -> None:
    async with serving() as scene:
        assert await scene.status_of(f"/api/live?{query}") == 400


PLAN = "/api/plan?viewer=0123-abcd"


async def test_a_question_is_passed_on_as_it_was_understood() -> None:
    async with serving() as scene:
        code, headers, text = await scene.get(f"{PLAN}&load=2&kill=n1&queue=a%26b%3D1")
        assert (code, json.loads(text)) == (200, {"asked": True})
        assert dict(headers)["Content-Type"] == "application/json; charset=utf-8"
        asked = Question(load=2.0, kill=("n1",), queue="a&b=1")
        assert scene.asked == [(asked, "0123-abcd")]


async def test_a_question_needs_the_token_and_our_own_page() -> None:
    async with serving() as scene:
        assert await scene.status_of(PLAN, None) == 401
        assert await scene.status_of(f"{PLAN}&token={TOKEN}", "wrong") == 401
        assert await scene.status_of(PLAN, Origin="http://evil.example") == 403
        assert await scene.status_of(PLAN, Sec_Fetch_Site="cross-site") == 403
        assert await scene.status_of(PLAN, Host="evil.example") == 421
        assert (await scene.get(PLAN, method="POST"))[0] == 405
        assert scene.asked == []


@pytest.mark.parametrize(
    "query", ["", "viewer=1", "viewer=0123-abcd&load=many", "viewer=0123-abcd&what=else"]
)
async def test_what_is_no_question_of_the_planner_s_is_refused(query: str) -> None:
    async with serving() as scene:
        assert await scene.status_of(f"/api/plan?{query}") == 400
        assert scene.asked == []


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (WhyNot.UNKNOWN, 404),
        (WhyNot.OVERTAKEN, 409),
        (WhyNot.WRONG, 422),
        (WhyNot.FAILED, 502),
        (WhyNot.BUSY, 503),
    ],
)
async def test_why_there_is_no_answer_is_told(reason: WhyNot, code: int) -> None:
    async with serving() as scene:
        scene.no_answer = NoAnswer(reason, "there is no node n9")
        told, _, text = await scene.get(PLAN)
        assert (told, text) == (code, "there is no node n9\n")


async def test_all_viewers_share_a_reading_and_too_many_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_module, "MOST_VIEWERS", 5)
    async with serving() as scene:
        url = f"http://{LOOPBACK}:{scene.server.port}{LIVE}"
        own = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession(headers=own) as session:
            responses = [await session.get(url) for _ in range(5)]
            for response in responses:
                await response.content.readline()
            assert scene.live.viewers == 5
            assert scene.live.readings <= 2
            assert await scene.status_of() == 503
            for response in responses:
                response.close()
            # They are found gone when they are sent something.
            async with asyncio.timeout(10):
                while scene.live.viewers:
                    scene.live.soon()
                    await asyncio.sleep(0.05)
            assert await scene.status_of() == 200


async def test_a_viewer_that_reads_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "PATIENCE", 0.5)
    monkeypatch.setattr(live_module, "EVERY", 0.02)
    monkeypatch.setattr(live_module, "SOONEST", 0.01)
    async with serving() as scene:
        scene.queues = 2000
        stream = socket.socket()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(stream, (LOOPBACK, scene.server.port))
        request = (
            f"GET /api/live?view=queues HTTP/1.1\r\nHost: 127.0.0.1:{scene.server.port}\r\n"
            f"Authorization: Bearer {TOKEN}\r\n\r\n"
        )
        await loop.sock_sendall(stream, request.encode())
        try:
            async with asyncio.timeout(30):
                while not scene.server.dropped:  # noqa: ASYNC110  it happens in the kernel's time
                    await asyncio.sleep(0.05)
            # Others have been served all the while.
            assert await scene.status_of() == 200
        finally:
            stream.close()


async def test_a_reading_that_fails_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "EVERY", 0.02)
    monkeypatch.setattr(live_module, "SOONEST", 0.01)
    async with serving() as scene:
        scene.error = RuntimeError("a bug")
        waiting = asyncio.create_task(scene.get(LIVE))
        await scene.asked_twice.wait()
        scene.error = None
        assert (await waiting)[0] == 200


async def test_sessions_are_only_read_for_who_looks_at_them() -> None:
    async with serving() as scene:
        await scene.get("/api/live?view=queues")
        assert scene.asked_sessions == [False]
    async with serving() as scene:
        await scene.get("/api/live?view=sessions")
        assert scene.asked_sessions == [True]


async def test_nothing_is_read_while_nobody_looks() -> None:
    async with serving() as scene:
        scene.live.soon()
        await scene.get("/", None)
        assert scene.asked_sessions == []


async def test_a_port_that_is_taken_is_left_to_who_has_it() -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with serving(port) as scene:
            assert scene.server.port not in (0, port)
    async with serving(port) as scene:
        assert scene.server.port == port
        assert scene.server.url == f"http://127.0.0.1:{port}/"
    assert scene.server.url == ""


async def test_closing_ends_the_viewers() -> None:
    async with serving() as scene:
        url = f"http://{LOOPBACK}:{scene.server.port}{LIVE}"
        own = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession(headers=own) as session, session.get(url) as response:
            await response.content.readline()
            await scene.server.close()
            with contextlib.suppress(aiohttp.ClientError):  # cut off or ended in order
                async with asyncio.timeout(5):
                    await response.content.read()


def test_it_serves_on_the_loop_that_the_daemon_has() -> None:
    async def play() -> None:
        async with serving() as scene:
            assert await scene.status_of() == 200

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(play())
