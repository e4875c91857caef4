"""An AMQP 0-9-1 connection by hand, for what no library lets one see or do.

Frames are made and read by pamqp, so that nothing of Warrener's own codec is used to judge it.
"""

import socket
import time
from types import TracebackType
from typing import Any, TypeVar

from pamqp import commands, frame, header
from pamqp.body import ContentBody
from pamqp.heartbeat import Heartbeat
from tests.integration.support import Place

F = TypeVar("F")

HEADER = b"AMQP\x00\x00\x09\x01"
CAPABILITIES = {
    "authentication_failure_close": True,
    "basic.nack": True,
    "connection.blocked": True,
    "consumer_cancel_notify": True,
    "exchange_exchange_bindings": True,
    "publisher_confirms": True,
}


class Closed(Exception):
    """The peer has closed the socket."""


class Raw:
    """One connection. As a context manager it closes its socket, nothing more."""

    def __init__(self, place: Place, timeout: float = 15.0) -> None:
        self.place = place
        self.socket = socket.create_connection((place.host, place.port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self.heartbeats = 0

    def __enter__(self) -> "Raw":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, *frames: Any, channel: int = 0) -> None:
        """Send bytes as they are, or frames on ``channel``."""
        parts = [f if isinstance(f, bytes) else frame.marshal(f, channel) for f in frames]
        self.socket.sendall(b"".join(parts))

    def receive(self, timeout: float = 15.0) -> tuple[int, Any]:
        """The next frame and its channel. Closed at the end, TimeoutError after ``timeout`` s."""
        deadline = time.monotonic() + timeout
        while True:
            if len(self._buffer) >= 8:
                size = 8 + int.from_bytes(self._buffer[3:7])
                if self._buffer.startswith(b"AMQP"):
                    size = 8
                if len(self._buffer) >= size:
                    _, channel, found = frame.unmarshal(self._buffer[:size])
                    self._buffer = self._buffer[size:]
                    return channel, found
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no frame within {timeout:g} s")
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(262144)
            except ConnectionResetError:
                data = b""
            if not data:
                raise Closed
            self._buffer += data

    def expect(self, kind: type[F], timeout: float = 15.0) -> F:
        """The next frame but heartbeats, which must be a ``kind``."""
        while True:
            _, found = self.receive(timeout)
            if isinstance(found, Heartbeat):
                self.heartbeats += 1
                continue
            assert isinstance(found, kind), f"{found!r} instead of {kind}"
            return found

    def rest(self, timeout: float = 15.0) -> bytes:
        """All bytes until the peer closes."""
        self.socket.settimeout(timeout)
        data = self._buffer
        try:
            while chunk := self.socket.recv(65536):
                data += chunk
        except ConnectionResetError:
            pass
        return data

    def start(self) -> commands.Connection.Start:
        """The protocol header, and the broker's answer."""
        self.send(HEADER)
        return self.expect(commands.Connection.Start)

    def login(self, **how: Any) -> None:
        """Send start-ok; see ``login_bytes``."""
        self.send(self.login_bytes(**how))

    def login_bytes(
        self,
        *,
        mechanism: str = "PLAIN",
        response: str | None = None,
        capabilities: dict[str, Any] | None = None,
        properties: dict[str, Any] | None = None,
    ) -> bytes:
        """start-ok with the place's credentials, unless ``response`` says otherwise."""
        if response is None:
            response = f"\0{self.place.user}\0{self.place.password}"
        told = {
            "product": "raw",
            "capabilities": CAPABILITIES if capabilities is None else capabilities,
            **(properties or {}),
        }
        return frame.marshal(commands.Connection.StartOk(told, mechanism, response, "en_US"), 0)

    def tune(
        self, *, heartbeat: int = 0, frame_max: int | None = None, channel_max: int | None = None
    ) -> commands.Connection.Tune:
        """Answer tune; None takes what is offered."""
        offered = self.expect(commands.Connection.Tune)
        self.send(
            commands.Connection.TuneOk(
                offered.channel_max if channel_max is None else channel_max,
                offered.frame_max if frame_max is None else frame_max,
                heartbeat,
            )
        )
        return offered

    def open(self, *, heartbeat: int = 0, **login: Any) -> "Raw":
        """The whole handshake."""
        self.start()
        self.login(**login)
        self.tune(heartbeat=heartbeat)
        self.send(commands.Connection.Open(self.place.vhost))
        self.expect(commands.Connection.OpenOk)
        return self

    def channel(self, number: int = 1) -> None:
        """Open a channel."""
        self.send(commands.Channel.Open(), channel=number)
        self.expect(commands.Channel.OpenOk)

    @staticmethod
    def content_header(size: int, **properties: Any) -> header.ContentHeader:
        """The frame between a publish and its body."""
        return header.ContentHeader(0, size, commands.Basic.Properties(**properties))

    @staticmethod
    def body(data: bytes) -> ContentBody:
        """A body frame."""
        return ContentBody(data)

    def message(self, queue: str, body: bytes, channel: int = 1, exchange: str = "") -> bytes:
        """The frames of a publish; its body must fit one frame."""
        frames = [
            commands.Basic.Publish(exchange=exchange, routing_key=queue),
            self.content_header(len(body)),
            *([ContentBody(body)] if body else []),
        ]
        return b"".join(frame.marshal(part, channel) for part in frames)

    def publish(self, queue: str, body: bytes, channel: int = 1, exchange: str = "") -> None:
        """Send one message."""
        self.send(self.message(queue, body, channel, exchange))

    def close(self) -> None:
        """connection.close and its answer. RabbitMQ waits for the client to close the socket."""
        self.send(commands.Connection.Close(200, "bye", 0, 0))
        self.expect(commands.Connection.CloseOk)
