"""A client that speaks AMQP frame by frame, so that a test can do what no library would."""

import asyncio
from contextlib import suppress
from typing import Self, TypeVar

from warrener.amqp.constants import FRAME_BODY, FRAME_HEADER, FRAME_METHOD, PROTOCOL_HEADER
from warrener.amqp.methods import (
    ChannelOpen,
    ChannelOpenOk,
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
    encode_method_frame,
)

_M = TypeVar("_M", bound=Method)


class RawClient:
    """One connection. ``connect`` opens the socket, ``open`` does the handshake."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, host: str, port: int) -> Self:
        """A TCP connection, nothing said yet."""
        return cls(*await asyncio.open_connection(host, port))

    async def open(
        self,
        user: str = "guest",
        password: str = "secret",  # noqa: S107 - the fake broker's
        vhost: str = "/",
        *,
        heartbeat: int = 0,
        announce: bool = True,
    ) -> ConnectionTune:
        """The handshake up to open-ok; what the broker offered in tune."""
        self.send(PROTOCOL_HEADER)
        await self.receive(ConnectionStart)
        capabilities = {"authentication_failure_close": True} if announce else {}
        response = f"\0{user}\0{password}".encode()
        self.send(ConnectionStartOk({"capabilities": capabilities}, "PLAIN", response, "en_US"))
        tune = await self.receive(ConnectionTune)
        self.send(ConnectionTuneOk(tune.channel_max, tune.frame_max, heartbeat))
        self.send(ConnectionOpen(vhost))
        await self.receive(ConnectionOpenOk)
        return tune

    async def open_channel(self, number: int = 1) -> None:
        """channel.open and its answer."""
        self.send(ChannelOpen(), channel=number)
        await self.receive(ChannelOpenOk)

    def send(self, what: bytes | Method, channel: int = 0) -> None:
        """Write raw bytes or a method."""
        data = what if isinstance(what, bytes) else encode_method_frame(channel, what)
        self.writer.write(data)

    async def frame(self) -> tuple[int, int, bytes]:
        """The next frame: type, channel, payload. IncompleteReadError at the end."""
        head = await self.reader.readexactly(7)
        size = int.from_bytes(head[3:])
        payload = await self.reader.readexactly(size + 1)
        return head[0], int.from_bytes(head[1:3]), payload[:-1]

    async def receive(self, kind: type[_M]) -> _M:
        """The next method, which must be a ``kind``; heartbeats are passed over."""
        while True:
            frame_type, _, payload = await self.frame()
            if frame_type == FRAME_METHOD:
                method = decode_method(payload)
                if not isinstance(method, kind):
                    raise AssertionError(f"wanted {kind.__name__}, got {method}")
                return method

    async def content(self) -> bytes:
        """The body of the message whose method has just been received."""
        kind, _, header = await self.frame()
        assert kind == FRAME_HEADER
        missing = int.from_bytes(header[4:12])
        parts = []
        while missing > 0:
            kind, _, body = await self.frame()
            assert kind == FRAME_BODY
            parts.append(body)
            missing -= len(body)
        return b"".join(parts)

    async def close(self) -> None:
        """Close as the protocol wants it."""
        self.send(ConnectionClose(200, "done"))
        await self.receive(ConnectionCloseOk)
        await self.leave()

    async def leave(self) -> None:
        """Close the socket without a word."""
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()

    async def at_end(self) -> bool:
        """Whether the other side has closed: reads, and drops, what is still there."""
        with suppress(OSError):
            while await self.reader.read(65536):
                pass
        return True
