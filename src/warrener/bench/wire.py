"""A blocking AMQP 0-9-1 client, just big enough to open connections and declare queues.

The generators speak through it until a channel is ready, then take the socket over. It announces
``connection.blocked``, because a publisher that a memory or disk alarm blocks must fail with that
reason instead of measuring nothing.
"""

import socket
import ssl
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from warrener.amqp.frames import encode_frame, payload_of
from warrener.amqp.methods import (
    ChannelClose,
    ChannelOpen,
    ChannelOpenOk,
    ConnectionBlocked,
    ConnectionClose,
    ConnectionCloseOk,
    ConnectionOpen,
    ConnectionOpenOk,
    ConnectionStart,
    ConnectionStartOk,
    ConnectionTune,
    ConnectionTuneOk,
    Method,
    decode_method,
    encode_method,
)
from warrener.amqp.tables import Table

PROTOCOL_HEADER: Final = b"AMQP\x00\x00\x09\x01"
CHANNEL: Final = 1
FRAME_MAX: Final = 131_072  # RabbitMQ's own default
_FRAME_METHOD: Final = 1
_FRAME_HEARTBEAT: Final = 8
_FRAME_END: Final = 0xCE

_M = TypeVar("_M", bound=Method)


class BenchError(Exception):
    """A measurement that can't be made or can't be believed; the text says why."""


class BrokerClosed(BenchError):
    """The broker (or the balancer) closed the connection or the channel, or blocked us.

    ``code`` is its reply code, 0 where there is none.
    """

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Target:
    """Where one client connects. ``label`` names it in errors, without the password. With ``ca``,
    a file of authorities, it speaks TLS and verifies that the server is ``server_name`` (empty:
    ``host``)."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    vhost: str = "/"
    ca: str = ""
    server_name: str = ""

    @property
    def label(self) -> str:
        """For errors and logs."""
        return f"{self.host}:{self.port} (vhost {self.vhost!r}, user {self.user!r})"

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Read ``amqp://user:password@host:port/vhost``, or ``amqps://...?cacertfile=FILE``.

        Raises ValueError with what is wrong, never with the password.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("amqp", "amqps"):
            raise ValueError(f"an AMQP URL starts with amqp://, this one with {parts.scheme!r}")
        ca = "".join(parse_qs(parts.query).get("cacertfile", []))
        if parts.scheme == "amqps" and not ca:
            raise ValueError("an AMQP URL with amqps:// needs ?cacertfile=FILE")
        if not parts.hostname:
            raise ValueError("the AMQP URL names no host")
        try:
            port = parts.port or 5672
        except ValueError:
            raise ValueError("the AMQP URL's port is not a number from 1 to 65535") from None
        vhost = unquote(parts.path[1:]) if len(parts.path) > 1 else "/"
        return cls(
            parts.hostname,
            port,
            unquote(parts.username or "guest"),
            unquote(parts.password or "guest"),
            vhost,
            ca,
        )


def connect(target: Target, timeout: float) -> socket.socket:
    """A connection, after the handshake if it has TLS. OSError."""
    made = socket.create_connection((target.host, target.port), timeout)
    if not target.ca:
        return made
    try:
        context = ssl.create_default_context(cafile=target.ca)
        return context.wrap_socket(made, server_hostname=target.server_name or target.host)
    except BaseException:
        made.close()
        raise


def client_properties(name: str) -> Table:
    """What a client says of itself in connection.start-ok."""
    return {
        "product": "Warrener bench",
        "connection_name": name,
        "capabilities": {
            "connection.blocked": True,
            "authentication_failure_close": True,
            "publisher_confirms": True,
            "basic.nack": True,
        },
    }


def plain_response(target: Target) -> bytes:
    """The SASL PLAIN response (RFC 4616)."""
    return b"\0" + target.user.encode() + b"\0" + target.password.encode()


def refusal(method: Method) -> BrokerClosed | None:
    """The error that a method from the broker stands for, None if it is none."""
    if isinstance(method, ConnectionClose):
        return BrokerClosed(
            f"connection closed: {method.reply_code} {method.reply_text}", method.reply_code
        )
    if isinstance(method, ChannelClose):
        return BrokerClosed(
            f"channel closed: {method.reply_code} {method.reply_text}", method.reply_code
        )
    if isinstance(method, ConnectionBlocked):
        return BrokerClosed(f"the broker blocks publishers: {method.reason}")
    return None


class Wire:
    """One connection with channel 1 open, in blocking mode. Close it, or use it in ``with``."""

    def __init__(self, target: Target, *, name: str = "warrener-bench", timeout: float = 10.0):
        """Connect and do the whole handshake.

        Raises BenchError with the target and the broker's own text.
        """
        self.target = target
        self.channel_max = 0
        self.frame_max = FRAME_MAX
        self._buffer = bytearray()
        try:
            self.sock = connect(target, timeout)
        except OSError as error:
            raise BenchError(f"can't connect to {target.label}: {error}") from None
        try:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._handshake(name)
        except BaseException:
            self.sock.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.sock.close()

    def _handshake(self, name: str) -> None:
        self._send_bytes(PROTOCOL_HEADER)
        self.expect(ConnectionStart, 0)
        response = plain_response(self.target)
        self.send(ConnectionStartOk(client_properties(name), "PLAIN", response, "en_US"), 0)
        tune = self.expect(ConnectionTune, 0)
        self.channel_max = tune.channel_max
        if tune.frame_max:
            self.frame_max = min(FRAME_MAX, tune.frame_max)
        # No heartbeats: the generators check for progress themselves.
        self.send(ConnectionTuneOk(tune.channel_max, self.frame_max, 0), 0)
        self.send(ConnectionOpen(self.target.vhost), 0)
        self.expect(ConnectionOpenOk, 0)
        self.call(ChannelOpen(), ChannelOpenOk)

    def send(self, method: Method, channel: int = CHANNEL) -> None:
        """Send one method."""
        self._send_bytes(encode_frame(_FRAME_METHOD, channel, encode_method(method)))

    def call(self, method: Method, answer: type[_M]) -> _M:
        """Send ``method`` on channel 1 and wait for its answer."""
        self.send(method)
        return self.expect(answer, CHANNEL)

    def expect(self, wanted: type[_M], channel: int) -> _M:
        """The next method, which has to be a ``wanted`` on ``channel``.

        Raises BrokerClosed if it is a close, BenchError for anything else.
        """
        while True:
            kind, got_channel, payload = self._read_frame()
            if kind != _FRAME_HEARTBEAT:
                break
        if kind != _FRAME_METHOD:
            raise BenchError(f"{self.target.label} sent a frame of type {kind}, not a method")
        method = decode_method(payload)
        if isinstance(method, wanted) and got_channel == channel:
            return method
        closed = refusal(method)
        if closed is not None:
            raise BrokerClosed(f"{self.target.label}: {closed}", closed.code)
        raise BenchError(
            f"{self.target.label} answered {method.name()} on channel {got_channel}; "
            f"{wanted.name()} on channel {channel} was due"
        )

    def rest(self) -> bytes:
        """What was received beyond the last method: where whoever takes the socket over starts."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def close(self) -> None:
        """Close in order: connection.close, wait for close-ok, drop the socket."""
        try:
            self.send(ConnectionClose(200, "bench done"), 0)
            while True:  # deliveries on their way are passed over
                kind, channel, payload = self._read_frame()
                if kind != _FRAME_METHOD or channel != 0:
                    continue
                if isinstance(decode_method(payload), ConnectionCloseOk):
                    return
        finally:
            self.sock.close()

    def _send_bytes(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise BenchError(f"lost {self.target.label}: {error}") from None

    def _read_frame(self) -> tuple[int, int, bytes]:
        buffer = self._buffer
        self._fill(7)
        end = int.from_bytes(buffer[3:7]) + 8
        self._fill(end)
        kind, channel = buffer[0], int.from_bytes(buffer[1:3])
        if buffer[end - 1] != _FRAME_END:
            raise BenchError(f"{self.target.label} sent a frame without its end octet")
        payload = payload_of(bytes(buffer[:end]), 0, end)
        del buffer[:end]
        return kind, channel, payload

    def _fill(self, size: int) -> None:
        while len(self._buffer) < size:
            try:
                data = self.sock.recv(65_536)
            except TimeoutError:
                raise BenchError(f"{self.target.label} said nothing in time") from None
            except OSError as error:
                raise BenchError(f"lost {self.target.label}: {error}") from None
            if not data:
                raise BrokerClosed(f"{self.target.label} dropped the connection")
            self._buffer += data
