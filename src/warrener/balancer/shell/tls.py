"""TLS at the balancer: the listener that clients shake hands with, and what links are opened with.

A client counts as a session once its handshake is through. Until then it costs a socket and a
task, has ``handshake_timeout`` seconds, and is one of at most so many: whoever says nothing, half
of it, or something else than TLS ends there, is counted, and touches nobody else.

The contexts are asked for anew for each connection, so a renewed certificate is shown from the next
one on, while those that are open go on.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from warrener.facts.balance import Backend

ACCEPT_PAUSE: Final = 1.0
"""Seconds without accepting when the process has no descriptor left; asyncio's own pause."""

_AT_ONCE: Final = 100
"""Connections accepted before others are looked after again."""

_OUT_OF_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

Context = Callable[[], ssl.SSLContext]


@dataclass(frozen=True, slots=True)
class BalancerTls:
    """``clients`` gives what is shown to clients, None: none of them is served with TLS. ``links``
    gives what nodes are verified with that have a ``server_name``."""

    clients: Context | None = None
    links: Context | None = None

    def link_options(self, backend: Backend) -> dict[str, Any]:
        """What asyncio is told to connect to a node: nothing if it has no TLS. The certificate is
        verified in any case."""
        if not backend.server_name:
            return {}
        if self.links is None:
            raise AssertionError(f"{backend.name} has TLS and nothing to verify it with")
        return {"ssl": self.links(), "server_hostname": backend.server_name}


class TlsListener:
    """Accepts clients at one address. ``make`` makes the protocol that gets a client once its
    handshake is through; ``rejected`` is told why one isn't, in a few words; ``room`` says how
    many more handshakes may be under way."""

    def __init__(
        self,
        context: Context,
        make: Callable[[], asyncio.Protocol],
        *,
        timeout: float,
        room: Callable[[], int],
        rejected: Callable[[str], None],
        spawn: Callable[[Coroutine[object, object, None], str], object],
    ) -> None:
        self._context = context
        self._make = make
        self._timeout = timeout
        self._room = room
        self._rejected = rejected
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._sockets: list[socket.socket] = []
        self._shaking = 0

    async def start(self, host: str, port: int, backlog: int) -> tuple[str, int]:
        """Listens; the address. OSError (EADDRINUSE) if the port is taken."""
        self._context()  # an unreadable certificate is noticed here, not by the first client
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        try:
            for family, address in dict.fromkeys((one[0], one[4]) for one in found):
                made = socket.create_server(address, family=family, backlog=backlog)
                self._sockets.append(made)
                made.setblocking(False)
        except BaseException:
            self.close()
            raise
        for made in self._sockets:
            self._loop.add_reader(made, self._accept, made)
        name = self._sockets[0].getsockname()
        return str(name[0]), int(name[1])

    def close(self) -> None:
        """Accepts nobody any more. Handshakes under way are tasks of whoever spawned them."""
        for made in self._sockets:
            self._loop.remove_reader(made)
            made.close()
        self._sockets.clear()

    @property
    def shaking(self) -> int:
        """Handshakes under way."""
        return self._shaking

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                client, _address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _OUT_OF_FILES:
                    raise
                self._loop.remove_reader(listening)
                self._loop.call_later(ACCEPT_PAUSE, self._go_on, listening)
                return
            if self._room() <= 0:
                client.close()
                self._rejected("too many sessions and handshakes")
                continue
            client.setblocking(False)
            with contextlib.suppress(OSError):  # it may be gone already
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._shaking += 1
            self._spawn(self._shake(client), "TLS handshake")

    def _go_on(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            self._loop.add_reader(listening, self._accept, listening)

    async def _shake(self, client: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._make, client, ssl=self._context(), ssl_handshake_timeout=self._timeout
            )
        except OSError as error:  # SSLError is one, and so are resets and the time limit
            self._rejected(_why(error, self._timeout))
        finally:
            self._shaking -= 1


def _why(error: OSError, timeout: float) -> str:
    """In OpenSSL's words for the kind of failure; nothing that the client sent is in it."""
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or type(error).__name__).lower().replace("_", " ")
        return _PLAIN_WORDS.get(reason, reason)
    if isinstance(error, ConnectionAbortedError):
        return f"no TLS handshake within {timeout:g} s"
    return "hung up during the TLS handshake"


_PLAIN_WORDS: Final = {
    "wrong version number": "not TLS (AMQP without TLS, perhaps)",
    "http request": "not TLS (HTTP)",
    "peer did not return a certificate": "no client certificate",
    "certificate verify failed": "a client certificate that isn't trusted",
    "tlsv1 alert unknown ca": "the client doesn't trust our certificate",
    "sslv3 alert bad certificate": "the client doesn't accept our certificate",
}
