"""Asks HAProxy's runtime API: a line of commands on its socket, an answer until it hangs up.

One connection for each question. They are a few a second, and a connection that is kept would have
to be minded when HAProxy is started anew.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from warrener.control.state_folder import socket_address

TIMEOUT: Final = 5.0
"""Seconds for an answer; HAProxy takes a millisecond for the longest."""

MAX_ANSWER: Final = 4 * 1024 * 1024
"""Bytes. Statistics of seven backends with sixteen servers each are 27 KB."""

_MAX_LINE: Final = 8 * 1024
"""Bytes of commands on one line; HAProxy takes up to its buffer of 16 KiB."""


class NoAnswer(Exception):
    """HAProxy isn't there, is silent, or says more than it should."""


class RuntimeApi:
    """The runtime API at the socket ``path``. ``NoAnswer`` from everything that asks."""

    def __init__(self, path: Path, *, timeout: float = TIMEOUT) -> None:
        self._path = path
        self._timeout = timeout

    async def ask(self, question: str) -> str:
        """One command's answer."""
        return await self._exchange(question)

    async def tell(self, commands: Sequence[str]) -> list[str]:
        """Carries out commands, in order; what HAProxy says to them, line by line, without empty
        lines. It says something to some that it carries out, and doesn't number its answers:
        whether all was done is seen by asking for the outcome."""
        said = []
        for line in _lines(commands):
            answer = await self._exchange(line)
            said += [word for word in answer.split("\n") if word.strip()]
        return said

    async def give(self, command: str, payload: bytes) -> str:
        """A command with a payload, such as a certificate; what HAProxy says to it. It takes less
        than its buffer of 16 KiB, and hangs up without a word on more."""
        # An empty line ends a payload. Nothing of it is told in errors: there are keys in it.
        lines = [line for line in payload.decode("latin-1").splitlines() if line.strip()]
        return await self._exchange(f"{command} <<", "\n".join([*lines, ""]))

    async def _exchange(self, line: str, payload: str = "") -> str:
        if "\n" in line:
            raise AssertionError(f"two lines in one command: {line!r}")
        try:
            async with asyncio.timeout(self._timeout):
                with socket_address(self._path) as address:
                    reader, writer = await asyncio.open_unix_connection(address)
                try:
                    writer.write(f"{line}\n{payload}".encode("latin-1" if payload else "utf-8"))
                    if payload:
                        writer.write(b"\n")
                    answer = await _read_to_end(reader)
                finally:
                    writer.transport.abort()
        except TimeoutError:
            raise NoAnswer(f"no answer within {self._timeout:g} s") from None
        except OSError as error:
            raise NoAnswer(error.strerror or str(error)) from None
        return answer.decode(errors="replace")


async def _read_to_end(reader: asyncio.StreamReader) -> bytes:
    answer = bytearray()
    while data := await reader.read(65536):
        answer += data
        if len(answer) > MAX_ANSWER:
            raise NoAnswer(f"an answer of more than {MAX_ANSWER} bytes")
    return bytes(answer)


def _lines(commands: Sequence[str]) -> list[str]:
    """As many commands on a line as fit."""
    lines: list[str] = []
    for command in commands:
        if lines and len(lines[-1]) + len(command) + 1 <= _MAX_LINE:
            lines[-1] += f";{command}"
        else:
            lines.append(command)
    return lines
