"""The sockets of one session: they tell the session what happened and do what it says.

Who stops reading when whom is slow: when the client doesn't take what is written to it, the links
are no longer read; when a link doesn't, the client isn't. Each direction holds at most the high
water mark, one chunk as read from the socket (256 KB) and one frame.
"""

import asyncio
import errno
from collections.abc import Iterable
from typing import Any, Final, Protocol, cast

from warrener.balancer.core.commands import (
    AbortClient,
    AbortLink,
    CloseClient,
    CloseLink,
    Command,
    Connect,
    Finished,
    HoldClient,
    LookUp,
    SendClient,
    SendLink,
    Wake,
)
from warrener.balancer.core.session import Session
from warrener.facts.balance import Backend
from warrener.facts.ids import SessionId
from warrener.facts.places import Lookup

LINGER: Final = 10.0
"""Seconds a closed socket has to take what is still to be written."""

_OWN_FAULT: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
)
"""Errors of connect that say nothing about the node."""


class Host(Protocol):
    """What a session's sockets need of the server."""

    loop: asyncio.AbstractEventLoop
    high_water: int

    def link_options(self, backend: Backend) -> dict[str, Any]: ...
    def new_session(self, ports: "SessionPorts", client: str, source: str) -> Session | None: ...
    def look_up(self, ports: "SessionPorts", lookup: Lookup) -> None: ...
    def session_finished(self, ports: "SessionPorts", finished: Finished) -> None: ...
    def own(self, task: "asyncio.Task[None]") -> None: ...
    def bug(self, where: str, problem: BaseException) -> None: ...


class SessionPorts(asyncio.Protocol):
    """The client's socket, and the links' by number."""

    __slots__ = ("_connecting", "_held", "_host", "_links", "_transport", "session")

    session: Session

    def __init__(self, host: Host) -> None:
        self._host = host
        self._transport: asyncio.Transport | None = None
        self._links: dict[int, LinkPort] = {}
        self._connecting: dict[int, asyncio.Task[None]] | None = None
        self._held = False

    @property
    def id(self) -> SessionId:
        """The session's."""
        return self.session.id

    # -- from the client's socket ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        source, port = (str(peer[0]), peer[1]) if peer else ("unknown", 0)
        client = f"[{source}]:{port}" if ":" in source else f"{source}:{port}"
        session = self._host.new_session(self, client, source)
        if session is None:
            self._transport.close()
            self._transport = None
            return
        self.session = session
        self._transport.set_write_buffer_limits(high=self._host.high_water)

    def data_received(self, data: bytes) -> None:
        """The client sent."""
        if self._transport is None:
            return
        try:
            self._run(self.session.client_data(data, self._host.loop.time()))
        except Exception as problem:
            self.broken(problem)

    def eof_received(self) -> bool:
        """The client sends no more; AMQP knows no half-closed connection."""
        self._client_gone("")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The client's socket is gone."""
        self._client_gone(_describe(exc) if exc else "")

    def pause_writing(self) -> None:
        """The client is slow."""
        self.session.set_client_writable(False, self._host.loop.time())
        for link in self._links.values():
            link.read(False)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.session.set_client_writable(True, self._host.loop.time())
        for link in self._links.values():
            link.read(True)

    def _client_gone(self, detail: str) -> None:
        if self._transport is not None:
            transport, self._transport = self._transport, None
            self.run(self.session.client_lost(self._host.loop.time(), detail))
            transport.close()

    # -- to the sockets -------------------------------------------------------------------------

    def run(self, commands: Iterable[Command]) -> None:
        """Carry out what the session says."""
        try:
            self._run(commands)
        except Exception as problem:
            self.broken(problem)

    def broken(self, problem: Exception) -> None:
        """Our own bug: this session ends, the others don't notice."""
        self._host.bug(f"session {self.session.id}", problem)
        if not self.session.finished:
            self.abandon()

    def _run(self, commands: Iterable[Command]) -> None:
        for command in commands:
            match command:
                case SendLink(number, data):
                    if (link := self._links.get(number)) is not None:  # else it broke just now
                        link.write(data)
                case SendClient(data):
                    transport = self._transport
                    # A socket that broke is known as closed a moment before it is told as lost,
                    # and uvloop takes no write in between.
                    if transport is not None and not transport.is_closing():
                        transport.write(data)
                case HoldClient(hold):
                    self._held = hold
                    self.update_client_reading()
                case Wake(after):
                    self._host.loop.call_later(after, self._wake)
                case LookUp(lookup):
                    self._host.look_up(self, lookup)
                case Connect(number, backend):
                    self._connect(number, backend)
                case CloseLink(number):
                    self._close_link(number, abort=False)
                case AbortLink(number):
                    self._close_link(number, abort=True)
                case CloseClient():
                    self._close_client(abort=False)
                case AbortClient():
                    self._close_client(abort=True)
                case Finished():
                    self._host.session_finished(self, command)

    def abandon(self) -> None:
        """Drop everything at once: the balancer stops and the peers had their time."""
        for number in list(self._links):
            self._close_link(number, abort=True)
        self._close_client(abort=True)
        for _ in range(2):  # the first time it may still have something to say for its client
            if not self.session.finished:
                self._run(self.session.client_lost(self._host.loop.time(), "cut off"))

    def update_client_reading(self) -> None:
        """Read from the client, unless a link is slow or the session holds it back."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._held or any(link.slow for link in self._links.values()):
            transport.pause_reading()
        else:
            transport.resume_reading()

    def _close_client(self, *, abort: bool) -> None:
        transport, self._transport = self._transport, None
        if transport is None:
            return
        if abort:
            transport.abort()
        else:
            _close_in_time(transport, self._host.loop)

    # -- links ----------------------------------------------------------------------------------

    def _connect(self, number: int, backend: Backend) -> None:
        name = f"session {self.session.id} link {number}"
        task = self._host.loop.create_task(self._open_link(number, backend), name=name)
        self._connecting = {**(self._connecting or {}), number: task}
        self._host.own(task)

    async def _open_link(self, number: int, backend: Backend) -> None:
        loop = self._host.loop
        try:
            await loop.create_connection(
                lambda: LinkPort(self, number, self._host.high_water),
                backend.host,
                backend.port,
                **self._host.link_options(backend),
            )
        except OSError as error:
            self._forget_connecting(number)
            detail = _describe(error)
            if error.errno in _OWN_FAULT:
                self.run(self.session.link_impossible(number, loop.time(), detail))
            else:
                self.run(self.session.link_lost(number, loop.time(), detail))

    def _forget_connecting(self, number: int) -> None:
        if self._connecting is not None:
            self._connecting.pop(number, None)
            self._connecting = self._connecting or None

    def link_made(self, link: "LinkPort") -> None:
        """A link's socket stands."""
        self._forget_connecting(link.number)
        self._links[link.number] = link
        if not self.session.client_writable:
            link.read(False)
        self.run(self.session.link_connected(link.number, self._host.loop.time()))

    def link_received(self, number: int, data: bytes) -> None:
        """A node sent."""
        try:
            self._run(self.session.link_data(number, data, self._host.loop.time()))
        except Exception as problem:
            self.broken(problem)

    def looked_up(self, lookup: Lookup) -> None:
        """The directory has what the session asked for."""
        if not self.session.finished:
            try:
                self._run(self.session.looked_up(lookup, self._host.loop.time()))
            except Exception as problem:
                self.broken(problem)

    def _wake(self) -> None:
        if not self.session.finished:
            self.tick(self._host.loop.time())

    def tick(self, now: float) -> None:
        """Time passes."""
        try:
            self._run(self.session.tick(now))
        except Exception as problem:
            self.broken(problem)

    def link_writable(self, link: "LinkPort") -> None:
        """A node got slow, or has caught up."""
        now = self._host.loop.time()
        self.session.set_link_writable(link.number, not link.slow, now)
        self.update_client_reading()

    def link_gone(self, link: "LinkPort", detail: str) -> None:
        """A link's socket is gone."""
        if self._links.pop(link.number, None) is not None:
            self.update_client_reading()
            now = self._host.loop.time()
            self.run(self.session.link_lost(link.number, now, detail))

    def _close_link(self, number: int, *, abort: bool) -> None:
        task = self._connecting.get(number) if self._connecting else None
        if task is not None:
            self._forget_connecting(number)
            task.cancel()
        link = self._links.pop(number, None)
        if link is not None:
            link.close(abort=abort, loop=self._host.loop)
            self.update_client_reading()


class LinkPort(asyncio.Protocol):
    """The socket of a link."""

    __slots__ = ("_high_water", "_owner", "_transport", "number", "slow")

    def __init__(self, owner: SessionPorts, number: int, high_water: int) -> None:
        self.number = number
        self.slow = False
        self._owner = owner
        self._high_water = high_water
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The node took the connection."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._high_water)
        self._owner.link_made(self)

    def data_received(self, data: bytes) -> None:
        """The node sent."""
        self._owner.link_received(self.number, data)

    def eof_received(self) -> bool:
        """The node sends no more."""
        self._owner.link_gone(self, "the node closed it")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._owner.link_gone(self, _describe(exc) if exc else "the node closed it")

    def pause_writing(self) -> None:
        """The node is slow."""
        self.slow = True
        self._owner.link_writable(self)

    def resume_writing(self) -> None:
        """The node has caught up."""
        self.slow = False
        self._owner.link_writable(self)

    def write(self, data: bytes) -> None:
        """Send to the node."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.write(data)

    def read(self, go_on: bool) -> None:
        """Read from the node, or stop."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if go_on:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def close(self, *, abort: bool, loop: asyncio.AbstractEventLoop) -> None:
        """Close the socket; what it still says doesn't matter any more."""
        transport = self._transport
        if transport is None:
            return
        if abort:
            transport.abort()
        else:
            _close_in_time(transport, loop)


def _close_in_time(transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
    """Close when all is written, or when the peer has had its time."""
    transport.close()
    if transport.get_write_buffer_size():
        loop.call_later(LINGER, transport.abort)


def _describe(error: Exception) -> str:
    """A socket's error in the words of the operating system."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return str(error) or type(error).__name__
