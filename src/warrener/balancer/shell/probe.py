"""Asks a node again and again whether it serves AMQP.

A probe holds one connection of its own to each node: opened by the full handshake, then asked once
an interval for a basic.qos round trip on its channel. That notices a hung node as surely as a new
connection each time would, and costs the broker no connection churn and no lines in its log; a
health check that hangs up in the middle of a handshake writes a warning into RabbitMQ's log every
time. Once in a while the connection is made anew, so that a listener that takes no new connections
is noticed as well (sessions notice it at once: a failed handshake counts as a failed probe).
Between two questions it listens: a node that dies or goes into maintenance is known that moment,
whether it has sessions or not.

A login that the broker refuses still proves that the node serves AMQP. Without a login the probe
stops at connection.start and comes less often.
"""

import asyncio
import errno
import math
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from warrener.amqp.constants import (
    FRAME_END,
    FRAME_METHOD,
    FRAME_MIN_SIZE,
    HEARTBEAT,
    PROTOCOL_HEADER,
    ReplyCode,
)
from warrener.amqp.errors import ProtocolViolation
from warrener.amqp.methods import (
    BasicQos,
    BasicQosOk,
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
    ConnectionUnblocked,
    Method,
    decode_method,
    encode_method_frame,
)
from warrener.facts.balance import Backend
from warrener.facts.reasons import Unfit

RENEW: Final = 30.0
"""Seconds after which the probe's connection is made anew."""

BARE_PACE: Final = 5
"""Without a login a probe comes this many times less often: each one is a warning in the log."""

_MAX_FRAME: Final = 128 * 1024
_OUT_OF_BAND: Final = (ConnectionBlocked, ConnectionUnblocked)

Report = Callable[[Unfit | None, str], None]
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ProbeLogin:
    """With what a probe logs in."""

    user: str
    password: str = field(repr=False)
    vhost: str = "/"


class _Refused(Exception):
    """The broker answered properly that it doesn't want us: it serves AMQP."""


class _Going(Exception):
    """The broker closes with 320: it stops, or goes into maintenance."""


class _Conversation:
    """Methods to and from one node."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive(self, *kinds: type[Method]) -> Method:
        """The next method, which must be one of ``kinds``."""
        while True:
            head = await self._reader.readexactly(7)
            if head.startswith(b"AMQP"):
                raise ProtocolViolationByNode("offers another protocol version")
            size = int.from_bytes(head[3:7])
            if size > _MAX_FRAME:
                raise ProtocolViolationByNode(f"sends a frame of {size} bytes")
            payload = await self._reader.readexactly(size + 1)
            if payload[-1] != FRAME_END:
                raise ProtocolViolationByNode("sends a frame without its end octet")
            if head[0] != FRAME_METHOD:
                continue
            method = decode_method(payload[:-1])
            if isinstance(method, ConnectionClose):
                self.send(0, ConnectionCloseOk())
                if method.reply_code == ReplyCode.CONNECTION_FORCED:
                    raise _Going(method.reply_text)
                raise _Refused(method.reply_text)
            if isinstance(method, kinds):
                return method
            if not isinstance(method, _OUT_OF_BAND):
                raise ProtocolViolationByNode(f"answers with {method.name()}")

    def send(self, channel: int, method: Method) -> None:
        """Write a method; a probe's few bytes never wait."""
        self.raw(encode_method_frame(channel, method))

    def raw(self, data: bytes) -> None:
        """Write bytes. ConnectionResetError if the connection is gone: uvloop would raise a
        RuntimeError, where asyncio's own loop lets the next read find out."""
        if self._writer.is_closing():
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        self._writer.write(data)

    async def login(self, login: ProbeLogin | None) -> None:
        """The handshake up to an open channel; without a login up to connection.start."""
        self.raw(PROTOCOL_HEADER)
        await self.receive(ConnectionStart)
        if login is None:
            return
        properties = {
            "product": "Warrener",
            "connection_name": "warrener probe",
            "capabilities": {"authentication_failure_close": True},
        }
        response = f"\0{login.user}\0{login.password}".encode()
        self.send(0, ConnectionStartOk(properties, "PLAIN", response, "en_US"))
        tune = await self.receive(ConnectionTune)
        assert isinstance(tune, ConnectionTune)
        frame_max = min(tune.frame_max or _MAX_FRAME, _MAX_FRAME)
        self.send(0, ConnectionTuneOk(1, max(frame_max, FRAME_MIN_SIZE), tune.heartbeat))
        self.send(0, ConnectionOpen(login.vhost))
        await self.receive(ConnectionOpenOk)
        self.send(1, ChannelOpen())
        await self.receive(ChannelOpenOk)

    async def listen(self, pause: Awaitable[None]) -> None:
        """Hears out what the node says by itself until ``pause`` is over. Raises what ``receive``
        does, IncompleteReadError when the connection ends."""
        hearing = asyncio.ensure_future(self.receive())
        pausing = asyncio.ensure_future(pause)
        try:
            await asyncio.wait({hearing, pausing}, return_when=asyncio.FIRST_COMPLETED)
            if hearing.done():
                hearing.result()
            else:
                pausing.result()
        finally:
            for task in (hearing, pausing):
                task.cancel()
            await asyncio.gather(hearing, pausing, return_exceptions=True)

    async def ask(self) -> None:
        """One round trip through the node's reader and a channel process."""
        self.raw(HEARTBEAT)
        self.send(1, BasicQos(0, 1))
        await self.receive(BasicQosOk)

    async def say_goodbye(self) -> None:
        """Close as the protocol wants it, so that the broker logs nothing odd."""
        self.send(0, ConnectionClose(200, "the probe's connection is made anew"))
        await self.receive(ConnectionCloseOk)


class ProtocolViolationByNode(ProtocolViolation):
    """The node's answer isn't AMQP 0-9-1."""

    def __init__(self, text: str) -> None:
        super().__init__(ReplyCode.FRAME_ERROR, text)


async def probe(
    backend: Backend,
    login: ProbeLogin | None,
    report: Report,
    *,
    interval: float,
    timeout: float,
    sleep: Sleep = asyncio.sleep,
    options: Callable[[Backend], dict[str, Any]] = lambda backend: {},
) -> None:
    """Probe ``backend`` until cancelled; ``report`` gets each outcome (None for a success).
    ``options``: what asyncio is told to connect."""
    hurried = False  # asked again at once, because it was alive a moment ago
    while True:
        writer = None
        alive = False
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await asyncio.open_connection(
                    backend.host, backend.port, **options(backend)
                )
                conversation = _Conversation(reader, writer)
                await conversation.login(login)
            report(None, "")
            if login is None:
                await sleep(interval * BARE_PACE)
                continue
            alive = True
            for _ in range(math.ceil(RENEW / interval)):
                await conversation.listen(sleep(interval))
                hurried = False
                async with asyncio.timeout(timeout):
                    await conversation.ask()
                report(None, "")
            async with asyncio.timeout(timeout):
                await conversation.say_goodbye()
        except _Going as goodbye:
            report(Unfit.REFUSES, str(goodbye))
            # At once, for once: a node in maintenance takes no connection any more.
            hurried = alive and not hurried
            if not hurried:
                await sleep(interval)
        except _Refused:
            report(None, "")
            await sleep(interval * BARE_PACE)
        except TimeoutError:
            what = "connection" if writer is None else "answer"
            report(Unfit.HANGS, f"no {what} within {timeout:g} s")
            hurried = alive and not hurried  # it has had its time already
            if not hurried:
                await sleep(interval)
        except ProtocolViolation as violation:
            report(Unfit.NOT_AMQP, violation.text)
            await sleep(interval)
        except (OSError, asyncio.IncompleteReadError) as error:
            report(Unfit.REFUSES, getattr(error, "strerror", None) or "closed the connection")
            hurried = alive and not hurried  # so that a crash is known quickly
            if not hurried:
                await sleep(interval)
        finally:
            if writer is not None:
                writer.transport.abort()
