"""One question, one answer; whatever is on the other side, it ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from warrener.balancer.haproxy import runtime_api
from warrener.balancer.haproxy.runtime_api import NoAnswer, RuntimeApi

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(path: Path, answer: Answer) -> AsyncIterator[list[bytes]]:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        await answer(asked[-1], writer)
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        yield asked


async def echo(line: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(line + b"\n")


async def test_an_answer_is_all_that_comes_until_the_end(tmp_path: Path) -> None:
    async with serving(tmp_path / "s", echo) as asked:
        assert await RuntimeApi(tmp_path / "s").ask("show info") == "show info\n\n"
    assert asked == [b"show info\n"]


async def test_commands_go_together_as_far_as_they_fit(tmp_path: Path) -> None:
    commands = [f"set server weighted/n{number} state ready" for number in range(400)]
    async with serving(tmp_path / "s", echo) as asked:
        said = await RuntimeApi(tmp_path / "s").tell(commands)
    assert len(asked) == 2
    assert ";".join(said).split(";") == commands


async def test_a_payload_has_no_empty_line_but_the_last(tmp_path: Path) -> None:
    got = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"\n\n"))
        writer.write(b"Success!\n")
        writer.close()

    async with await asyncio.start_unix_server(serve, tmp_path / "s"):
        said = await RuntimeApi(tmp_path / "s").give("set ssl cert a.pem", b"one\n\n \r\ntwo")
    assert (got, said) == ([b"set ssl cert a.pem <<\none\ntwo\n\n"], "Success!\n")


async def test_a_second_line_cannot_be_smuggled_in(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="two lines"):
        await RuntimeApi(tmp_path / "s").tell(["set server a/b weight 1\nquit"])


@pytest.mark.parametrize(("name", "problem"), [("none", "No such file"), ("no/folder", "No such")])
async def test_nobody_there(tmp_path: Path, name: str, problem: str) -> None:
    with pytest.raises(NoAnswer, match=problem):
        await RuntimeApi(tmp_path / name).ask("show info")


async def test_a_path_may_be_longer_than_a_sockets_address(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    with runtime_api.socket_address(folder / "s") as short:
        async with serving(Path(short), echo):
            assert await RuntimeApi(folder / "s").ask("show info") == "show info\n\n"


async def test_silence_ends(tmp_path: Path) -> None:
    over = asyncio.Event()

    async def silent(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"half")
        await over.wait()

    async with serving(tmp_path / "s", silent):
        with pytest.raises(NoAnswer, match=r"no answer within 0\.05 s"):
            await RuntimeApi(tmp_path / "s", timeout=0.05).ask("show info")
        over.set()


async def test_an_endless_answer_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_api, "MAX_ANSWER", 1000)

    async def endless(_: bytes, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(b"x" * 100)
            await asyncio.sleep(0)

    async with serving(tmp_path / "s", endless):
        with pytest.raises(NoAnswer, match="more than 1000 bytes"):
            await RuntimeApi(tmp_path / "s").ask("show info")
