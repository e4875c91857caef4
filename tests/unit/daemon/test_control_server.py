"""The control server lives through whatever a client sends or a handler raises."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from warrener.control import wire
from warrener.control.operations import (
    EVENTS,
    SET_POLICY,
    STATUS,
    URL,
    EventLine,
    EventsAnswer,
    EventsRequest,
    SetPolicyAnswer,
    SetPolicyRequest,
    StatusRequest,
    UrlAnswer,
    UrlRequest,
)
from warrener.daemon import control_server
from warrener.daemon.control_server import Call, ControlServer, Handler
from warrener.daemon.errors import DaemonError
from warrener.facts.settings import PolicyName


async def set_policy(request: SetPolicyRequest, call: Call) -> SetPolicyAnswer:
    return SetPolicyAnswer(policy=request.policy, before=PolicyName.RANDOM)


async def broken(request: StatusRequest, call: Call) -> SetPolicyAnswer:
    raise RuntimeError("a bug")


async def failing(request: UrlRequest, call: Call) -> UrlAnswer:
    raise DaemonError("n1 doesn't answer")


async def events(request: EventsRequest, call: Call) -> EventsAnswer:
    for number in range(request.last):
        await call.emit(EventLine(number=number, at=0.0, kind="x"))
    if request.follow:
        await call.gone
    return EventsAnswer(sent=request.last, missed=0)


HANDLERS: Mapping[str, Handler] = {
    SET_POLICY.name: set_policy,
    STATUS.name: broken,
    URL.name: failing,
    EVENTS.name: events,
}
ASK = wire.encode_request(SET_POLICY, SetPolicyRequest(PolicyName.P2C))


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[ControlServer]:
    async with asyncio.TaskGroup() as group:
        server = ControlServer(path, HANDLERS)
        await server.start(group)
        try:
            yield server
        finally:
            await server.close()


class Peer:
    """A client that may send any bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, data: bytes) -> Any:
        self.writer.write(data)
        return await self.line()

    async def line(self) -> Any:
        return json.loads(await self.reader.readline())


@asynccontextmanager
async def peer(path: Path) -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        yield Peer(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_requests_are_answered_one_after_another(tmp_path: Path) -> None:
    async with serving(tmp_path / "s"), peer(tmp_path / "s") as client:
        client.writer.write(ASK + ASK)
        for _ in range(2):
            answer = await client.line()
            assert (answer["kind"], answer["body"]["policy"]) == ("answer", "p2c")


async def test_a_bad_request_gets_an_error_and_the_connection_goes_on(tmp_path: Path) -> None:
    async with serving(tmp_path / "s"), peer(tmp_path / "s") as client:
        answer = await client.ask(b"\x00\xff{]\n")
        assert (answer["kind"], answer["body"]["refusal"]) == ("error", "not_json")
        assert (await client.ask(ASK))["kind"] == "answer"


async def test_a_bug_in_a_handler_is_an_error_line_and_a_traceback_in_the_log(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path / "s"), peer(tmp_path / "s") as client:
        answer = await client.ask(wire.encode_request(STATUS, StatusRequest()))
        assert answer["body"]["refusal"] == "internal"
        assert "RuntimeError: a bug" in answer["body"]["message"]
        assert (await client.ask(ASK))["kind"] == "answer"


async def test_what_the_daemon_cannot_do_is_told_in_its_words(tmp_path: Path) -> None:
    async with serving(tmp_path / "s"), peer(tmp_path / "s") as client:
        answer = await client.ask(wire.encode_request(URL, UrlRequest()))
        assert answer["body"] == {"refusal": "failed", "message": "n1 doesn't answer"}


async def test_an_endless_line_is_refused_and_hung_up_on(tmp_path: Path) -> None:
    async with serving(tmp_path / "s"), peer(tmp_path / "s") as client:
        answer = await client.ask(b"x" * (wire.MAX_REQUEST + 1000))
        assert answer["body"]["refusal"] == "too_long"
        with contextlib.suppress(ConnectionResetError):  # much of it was never read
            assert await client.reader.read() == b""


async def test_a_client_that_shut_its_sending_side_is_still_answered(tmp_path: Path) -> None:
    async with serving(tmp_path / "s"), peer(tmp_path / "s") as client:
        client.writer.write(ASK)
        client.writer.write_eof()
        assert (await client.line())["kind"] == "answer"
        assert await client.reader.read() == b""


async def test_a_handler_is_told_when_its_client_hangs_up(tmp_path: Path) -> None:
    async with serving(tmp_path / "s") as server:
        async with peer(tmp_path / "s") as client:
            await client.ask(wire.encode_request(EVENTS, EventsRequest(last=1, follow=True)))
            (task,) = server._connections
        await asyncio.wait_for(task, 5.0)


async def test_more_connections_than_allowed_are_refused(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(control_server, "MAX_CONNECTIONS", 1)
    async with serving(tmp_path / "s"), peer(tmp_path / "s") as first:
        assert (await first.ask(ASK))["kind"] == "answer"
        async with peer(tmp_path / "s") as second:
            assert (await second.line())["body"]["refusal"] == "failed"


async def test_close_lets_an_answer_out_hangs_up_on_the_idle_and_removes_the_socket(
    tmp_path: Path, monkeypatch: Any
) -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def slow(request: SetPolicyRequest, call: Call) -> SetPolicyAnswer:
        begun.set()
        await release.wait()
        return await set_policy(request, call)

    monkeypatch.setitem(HANDLERS, SET_POLICY.name, slow)
    async with serving(tmp_path / "s") as server:
        async with peer(tmp_path / "s") as idle, peer(tmp_path / "s") as busy:
            busy.writer.write(ASK)
            await begun.wait()
            closing = asyncio.create_task(server.close())
            assert await idle.reader.read() == b""
            release.set()
            assert (await busy.line())["kind"] == "answer"
            assert await busy.reader.read() == b""
            await closing
        assert not (tmp_path / "s").exists()


async def test_close_ends_a_handler_that_does_not_end(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(control_server, "CLOSE_GRACE", 0.01)
    async with serving(tmp_path / "s") as server, peer(tmp_path / "s") as client:
        await client.ask(wire.encode_request(EVENTS, EventsRequest(last=1, follow=True)))
        await server.close()
        assert await client.reader.read() == b""


async def test_a_client_that_never_reads_costs_only_its_own_connection(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(control_server, "CLOSE_GRACE", 0.01)
    async with (
        serving(tmp_path / "s"),
        peer(tmp_path / "s") as deaf,
        peer(tmp_path / "s") as client,
    ):
        deaf.writer.write(wire.encode_request(EVENTS, EventsRequest(last=1_000_000)))
        for _ in range(50):
            assert (await client.ask(ASK))["kind"] == "answer"
