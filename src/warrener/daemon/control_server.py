"""The server side of the control socket (``warrener.control`` has the wire and the client).

One connection takes one request after another. Its task reads the requests, calls the handler and
writes what the handler emits; a second small task keeps reading, so that a client that hangs up
is noticed while a handler streams. Whatever a client sends or a handler raises, the daemon lives:
the client gets a typed error line, and the daemon's log the traceback.

A client that doesn't read blocks only its own task (``drain``); the socket's buffers and the
bounded queue of one connection are all the memory it can hold.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import structlog

from warrener.control import wire
from warrener.control.state_folder import listen
from warrener.daemon.errors import DaemonError
from warrener.facts.data_plane import Unsupported

MAX_CONNECTIONS: Final = 64
"""Only the owner can connect at all; this bounds what a script gone wrong can hold."""

PIPELINE: Final = 8
"""Requests read ahead of the one being answered."""

CLOSE_GRACE: Final = 1.0
"""Seconds for the last lines to reach clients that do read."""

log = structlog.get_logger(__name__)


class Call(Protocol):
    """One request being answered: where the handler sends what comes before the answer. On the
    control socket, or of a viewer of the page."""

    @property
    def gone(self) -> "asyncio.Future[None]":
        """Done once whoever asked has hung up."""

    async def emit(self, body: msgspec.Struct) -> None:
        """Streams one line. ``ConnectionError`` once nobody takes it any more."""


class SocketCall:
    """A ``Call`` on the control socket."""

    def __init__(self, writer: asyncio.StreamWriter, gone: asyncio.Future[None]) -> None:
        self._writer = writer
        self.gone = gone

    async def emit(self, body: msgspec.Struct) -> None:
        """Streams one line. ``ConnectionError`` once the client is gone."""
        self._writer.write(wire.encode_answer(wire.AnswerKind.STREAM, body))
        await self._writer.drain()


Handler = Callable[[Any, Call], Awaitable[msgspec.Struct]]


@dataclass(slots=True, eq=False)
class _Connection:
    """``busy`` while a request is being answered: such a connection may finish at the end."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    gone: asyncio.Future[None]
    busy: bool = False


class ControlServer:
    """Serves ``handlers`` (operation name -> coroutine) on a unix socket at ``path``."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler]) -> None:
        self._path = path
        self._handlers = handlers
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._count = 0
        self._closing = False

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Listens; connections become tasks of ``group``."""

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(self._connections) >= MAX_CONNECTIONS or self._closing:
                why = f"more than {MAX_CONNECTIONS} control connections"
                writer.write(wire.encode_refusal(wire.Refused(wire.Refusal.FAILED, why)))
                writer.close()
                return
            self._count += 1
            gone = asyncio.get_running_loop().create_future()
            connection = _Connection(reader, writer, gone)
            task = group.create_task(self._serve(connection), name=f"control-{self._count}")
            self._connections[task] = connection
            task.add_done_callback(self._connections.pop)

        self._server = await asyncio.start_unix_server(
            connected, sock=listen(self._path), limit=wire.MAX_REQUEST
        )

    async def close(self) -> None:
        """Takes no more requests, lets those being answered end, hangs up on the others."""
        if self._server is None:
            return
        self._closing = True
        self._server.close()
        self._path.unlink(missing_ok=True)
        for task, connection in self._connections.items():
            if not connection.busy:
                task.cancel()
        if self._connections:
            _, late = await asyncio.wait(set(self._connections), timeout=CLOSE_GRACE)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        self._server = None

    async def _serve(self, connection: _Connection) -> None:
        writer = connection.writer
        try:
            await self._converse(connection)
            writer.close()
            async with asyncio.timeout(CLOSE_GRACE):
                await writer.wait_closed()
        except (ConnectionError, TimeoutError):
            pass  # hung up, or reads nothing; nobody is left to tell
        except Exception:
            log.exception("control_connection_failed")
        finally:
            writer.transport.abort()

    async def _converse(self, connection: _Connection) -> None:
        lines: asyncio.Queue[bytes | wire.Refused | None] = asyncio.Queue(PIPELINE)
        reading = asyncio.create_task(
            _read_lines(connection.reader, lines, connection.gone), name="control-reader"
        )
        try:
            while not self._closing and (line := await lines.get()) is not None:
                if isinstance(line, wire.Refused):
                    connection.writer.write(wire.encode_refusal(line))
                    return
                connection.busy = True
                await self._answer(line, connection)
                connection.busy = False
        finally:
            reading.cancel()

    async def _answer(self, line: bytes, connection: _Connection) -> None:
        name = ""
        try:
            operation, request = wire.decode_request(line)
            name = operation.name
            handler = self._handlers.get(operation.name)
            if handler is None:
                raise AssertionError(f"operation {operation.name} is registered, but not handled")
            answer = await handler(request, SocketCall(connection.writer, connection.gone))
            reply = wire.encode_answer(wire.AnswerKind.ANSWER, answer)
        except wire.Refused as refused:
            reply = wire.encode_refusal(refused)
        except Unsupported as error:
            reply = wire.encode_refusal(wire.Refused(wire.Refusal.UNSUPPORTED, str(error)))
        except DaemonError as error:
            reply = wire.encode_refusal(wire.Refused(wire.Refusal.FAILED, error.message))
        except ConnectionError:
            raise
        except Exception as error:
            # Not the line: a description may have passwords in it.
            log.exception("control_handler_failed", operation=name, bytes=len(line))
            reply = wire.encode_refusal(
                wire.Refused(
                    wire.Refusal.INTERNAL,
                    f"a bug in Warrener ({type(error).__name__}: {error}); the traceback is in "
                    f"{self._path.parent / 'log' / 'daemon.log'}",
                )
            )
        connection.writer.write(reply)
        await connection.writer.drain()


async def _read_lines(
    reader: asyncio.StreamReader,
    lines: asyncio.Queue[bytes | wire.Refused | None],
    gone: asyncio.Future[None],
) -> None:
    try:
        while True:
            await lines.put((await reader.readuntil(b"\n"))[:-1])
    except asyncio.LimitOverrunError:
        await lines.put(
            wire.Refused(
                wire.Refusal.TOO_LONG, f"a request line of more than {wire.MAX_REQUEST} bytes"
            )
        )
    except (asyncio.IncompleteReadError, ConnectionError):
        # Half of a line is no request. What was asked before is still answered: a client may
        # shut down its sending side and wait (``socat`` does).
        gone.set_result(None)
        await lines.put(None)
