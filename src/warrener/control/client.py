"""A blocking client of a daemon's control socket: standard library and msgspec only.

    with Client.connect(folder) as client:
        answer = client.call(STATUS, StatusRequest())
        for line in client.stream(EVENTS, EventsRequest(follow=True)): ...

It is plain and blocking on purpose: `warrener url` has to be quick, and an event loop is not.
"""

import contextlib
import socket
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import msgspec

from warrener.control import wire
from warrener.control.lock import Holder, holder_of
from warrener.control.operations import Operation, Request
from warrener.control.state_folder import StateFolder, connect

_Answer = TypeVar("_Answer", bound=msgspec.Struct)

CONNECT_TIMEOUT = 5.0
ANSWER_TIMEOUT = 30.0
"""Seconds between two lines. Operations that take longer stream progress in between."""


class NotRunning(Exception):
    """No daemon holds this state folder."""

    def __init__(self, folder: StateFolder) -> None:
        super().__init__(f"no cluster is running in {folder.path}")
        self.folder = folder


class Unresponsive(Exception):
    """A daemon holds the state folder but doesn't answer."""

    def __init__(self, holder: Holder, why: str) -> None:
        super().__init__(f"the daemon (process {holder.pid}) doesn't answer: {why}")
        self.holder = holder


class Client:
    """One connection to one daemon; requests go one after another."""

    def __init__(self, stream: socket.socket, holder: Holder) -> None:
        self._stream = stream
        self._holder = holder
        self._received = bytearray()

    @classmethod
    def connect(cls, folder: StateFolder, *, timeout: float = CONNECT_TIMEOUT) -> Self:
        """Connects to the daemon of ``folder``: ``NotRunning`` or ``Unresponsive`` if it can't."""
        holder = holder_of(folder.lock)
        if holder is None:
            raise NotRunning(folder)
        try:
            return cls(connect(folder.socket, timeout), holder)
        except OSError as error:
            # It may have ended between the two looks.
            if holder_of(folder.lock) is None:
                raise NotRunning(folder) from None
            raise Unresponsive(holder, f"{folder.socket.name}: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()

    def call(
        self,
        operation: Operation[Request, _Answer],
        request: Request,
        on_line: Callable[[Any], None] = lambda _: None,
        *,
        timeout: float | None = ANSWER_TIMEOUT,
    ) -> _Answer:
        """Asks, hands each streamed line to ``on_line`` and returns the answer.

        ``Refused`` if the daemon refuses; ``Unresponsive`` if ``timeout`` seconds pass between
        two lines (None: wait for ever) or the connection breaks; ``BadLine`` if what comes isn't
        of this wire.
        """
        lines = self.stream(operation, request, timeout=timeout)
        while True:
            try:
                on_line(next(lines))
            except StopIteration as end:
                return cast(_Answer, end.value)  # StopIteration.value is untyped

    def stream(
        self,
        operation: Operation[Request, _Answer],
        request: Request,
        *,
        timeout: float | None = ANSWER_TIMEOUT,
    ) -> Generator[Any, None, _Answer]:
        """Asks and yields each streamed line; the answer is the generator's return value."""
        self._stream.settimeout(timeout)
        try:
            self._stream.sendall(wire.encode_request(operation, request))
        except OSError as error:
            raise Unresponsive(self._holder, str(error)) from None
        while True:
            line = wire.decode_answer(self._read_line())
            match line.kind:
                case wire.AnswerKind.STREAM:
                    if operation.streams is None:
                        raise wire.BadLine(f"{operation.name} streams nothing, but a line came")
                    yield wire.decode_body(line.body, operation.streams)
                case wire.AnswerKind.ANSWER:
                    return wire.decode_body(line.body, operation.answer)
                case wire.AnswerKind.ERROR:
                    refused = wire.decode_body(line.body, wire.ErrorBody)
                    raise wire.Refused(refused.refusal, refused.message)

    def give_up(self) -> None:
        """Tells the daemon that the request being answered is not wanted any more, and goes on
        reading: an operation that can be called off says what became of it. Safe to call from a
        signal handler; nothing can be asked on this connection afterwards."""
        with contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_WR)

    def _read_line(self) -> bytes:
        searched = 0
        while True:
            end = self._received.find(b"\n", searched)
            if end >= 0:
                line = bytes(self._received[:end])
                del self._received[: end + 1]
                return line
            searched = len(self._received)
            if searched > wire.MAX_ANSWER:
                raise wire.BadLine(f"an answer line of more than {wire.MAX_ANSWER} bytes")
            try:
                chunk = self._stream.recv(1 << 18)
            except TimeoutError:
                raise Unresponsive(
                    self._holder, f"nothing for {self._stream.gettimeout():g} s"
                ) from None
            except OSError as error:
                raise Unresponsive(self._holder, str(error)) from None
            if not chunk:
                raise Unresponsive(self._holder, "it hung up")
            self._received += chunk
