"""One SSH connection to one host: opened when needed, kept, opened again when it broke.

    connect   TCP -> host key (strict) -> login with a key or the agent, never with a password
    ask       one script for ``sh`` on the host, to its end
    follow    a script whose lines come while it runs

A host key that isn't known, or is another one than known, is refused with its fingerprint. A
connection that broke is opened again in the background, with growing pauses; whoever asks
meanwhile hears HostUnreachable at once, and whoever waits (``wait_connected``) goes on after it.

sshd allows ten channels on a connection by default (MaxSessions): the long ones are few, and the
short ones wait for one another.
"""

import asyncio
import contextlib
import getpass
import logging
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

import asyncssh
import structlog

from warrener.cluster.drivers.host_scripts import BEGIN
from warrener.cluster.errors import HostRefused, HostUnreachable
from warrener.cluster.hosts import HostSpec
from warrener.facts.happenings import Event, EventSink
from warrener.facts.ids import short_name

CONNECT_TIMEOUT: Final = 10.0
LOGIN_TIMEOUT: Final = 15.0
ASK_TIMEOUT: Final = 30.0
"""Seconds for a script that only asks."""

KEEPALIVE: Final = 3.0
KEEPALIVES: Final = 3
"""Seconds between two questions whether the host is there, and how many may go unanswered."""

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 10.0
SHORT_CHANNELS: Final = 5

_CHUNK: Final = 64 * 1024

log = structlog.get_logger(__name__)
logging.getLogger("asyncssh").setLevel(logging.WARNING)  # else it tells of each channel


class Connection:
    """See the module. ``on_event`` hears ``host.unreachable`` and ``host.reachable``."""

    def __init__(self, spec: HostSpec, on_event: EventSink) -> None:
        self.spec = spec
        self._on_event = on_event
        self._connection: asyncssh.SSHClientConnection | None = None
        self._connected = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._channels = asyncio.Semaphore(SHORT_CHANNELS)
        self._why = "it was not connected to yet"

    @property
    def name(self) -> str:
        """For people: ``n1 (10.0.0.1)``."""
        return f"{short_name(self.spec.name)} ({self.spec.host})"

    @property
    def connected(self) -> bool:
        return self._connected.is_set()

    async def open(self) -> None:
        """Connects, and keeps the connection from here on. Raises HostRefused or HostUnreachable;
        nothing is tried again then."""
        if self._keeper is not None:
            return
        self._connection = await self._connect()
        self._connected.set()
        self._keeper = asyncio.create_task(self._keep(), name=f"ssh:{self.spec.host}")

    async def close(self) -> None:
        """For good, as far as ``open`` isn't called again."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        self._connected.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            with contextlib.suppress(TimeoutError, OSError, asyncssh.Error):
                async with asyncio.timeout(2):
                    await connection.wait_closed()
            connection.abort()

    async def wait_connected(self) -> None:
        """Until the host can be asked."""
        await self._connected.wait()

    # -- asking

    async def ask(self, text: str, *, timeout: float = ASK_TIMEOUT) -> bytes:
        """What a script prints. Raises HostUnreachable, also after ``timeout`` seconds, or OSError
        if it ends with an error."""
        return await self._ask("sh -s", text.encode(), timeout)

    async def put(self, command: str, data: bytes) -> None:
        """Runs a command that takes ``data`` on its standard input. Raises as ``ask``."""
        await self._ask(command, data, ASK_TIMEOUT)

    async def _ask(self, command: str, data: bytes, timeout: float) -> bytes:
        connection = self._usable()
        try:
            async with self._channels, asyncio.timeout(timeout):
                if data:
                    done = await connection.run(command, input=data, encoding=None)
                else:  # asyncssh takes an empty input for none, and leaves it open
                    done = await connection.run(command, stdin=asyncssh.DEVNULL, encoding=None)
        except TimeoutError:
            raise HostUnreachable(
                f"{self.name} didn't answer within {timeout:g} s over SSH"
            ) from None
        except (asyncssh.Error, OSError) as error:
            raise HostUnreachable(f"{self.name} can't be asked over SSH: {error}") from error
        if done.exit_status is None or done.exit_status < 0:
            raise HostUnreachable(f"the SSH connection to {self.name} broke")
        told = bytes(done.stdout or b"")  # type: ignore[arg-type]  # bytes, as encoding is None
        begin = BEGIN.encode()
        told = told.partition(begin)[2] if begin in told else told
        if done.exit_status:
            words = bytes(done.stderr or b"") or told  # type: ignore[arg-type]  # as above
            said = words.decode("utf-8", "replace").strip()[-300:]
            raise OSError(f"on {self.name}: {said or f'exit status {done.exit_status}'}")
        return told

    async def follow(self, text: str) -> AsyncGenerator[bytes, None]:
        """The lines of a script, as they come, with their ends. Raises HostUnreachable when the
        connection breaks; what ends the iteration ends the script."""
        connection = self._usable()
        try:
            process = await connection.create_process("sh -s", encoding=None)
        except (asyncssh.Error, OSError) as error:
            raise HostUnreachable(f"{self.name} can't be asked over SSH: {error}") from error
        begin, rest, begun = BEGIN.strip().encode(), b"", False
        try:
            process.stdin.write(text.encode())
            process.stdin.write_eof()
            while data := await process.stdout.read(_CHUNK):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    if begun:
                        yield line + b"\n"
                    begun = begun or line.endswith(begin)
            if rest:
                yield rest
        except (asyncssh.Error, OSError) as error:
            raise HostUnreachable(f"the SSH connection to {self.name} broke: {error}") from error
        finally:
            process.close()

    def _usable(self) -> asyncssh.SSHClientConnection:
        if self._connection is None or not self._connected.is_set():
            raise HostUnreachable(f"{self.name} is not reached over SSH: {self._why}")
        return self._connection

    # -- the connection itself

    async def _keep(self) -> None:
        while True:
            assert self._connection is not None
            await self._connection.wait_closed()
            self._connected.clear()
            self._why = "the connection broke"
            self._on_event(Event("host.unreachable", self.spec.host, detail={"why": self._why}))
            pause = FIRST_PAUSE
            while not self._connected.is_set():
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
                try:
                    self._connection = await self._connect()
                except HostUnreachable as error:
                    if str(error) != self._why:
                        self._why = str(error)
                        log.warning("host_not_reached", host=self.spec.host, why=self._why)
                    continue
                self._connected.set()
            self._on_event(Event("host.reachable", self.spec.host))

    async def _connect(self) -> asyncssh.SSHClientConnection:
        spec = self.spec
        where = f"{spec.host}, port {spec.port}"
        known = Path(spec.known_hosts)
        keys: dict[str, object] = {"client_keys": [spec.key]} if spec.key else {}
        try:
            return await asyncssh.connect(
                spec.host,
                spec.port,
                config=None,
                username=spec.user or getpass.getuser(),
                known_hosts=str(known) if known.exists() else b"",  # noqa: ASYNC240
                password_auth=False,
                kbdint_auth=False,
                host_based_auth=False,
                gss_auth=False,
                gss_kex=False,
                connect_timeout=CONNECT_TIMEOUT,
                login_timeout=LOGIN_TIMEOUT,
                keepalive_interval=KEEPALIVE,
                keepalive_count_max=KEEPALIVES,
                **keys,
            )
        except asyncssh.HostKeyNotVerifiable:
            raise HostRefused(await self._strange_key()) from None
        except asyncssh.PermissionDenied as error:
            how = f"the key {spec.key}" if spec.key else "any key of the SSH agent or of ~/.ssh"
            raise HostRefused(
                f"{self.name} doesn't let {spec.user or getpass.getuser()} in with {how} "
                f"({error.reason}); put the public key into ~/.ssh/authorized_keys there, or "
                f"correct `user` and `key` in warrener.toml"
            ) from None
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            raise HostRefused(
                f"the key {spec.key} for {self.name} can't be used: {error}; one with a passphrase "
                f"has to be in the SSH agent (`ssh-add {spec.key}`), and `key` out of warrener.toml"
            ) from None
        except FileNotFoundError as error:
            raise HostRefused(f"the key for {self.name} is missing: {error}") from None
        except TimeoutError:
            raise HostUnreachable(
                f"{self.name} is not reached over SSH: no answer from {where} within "
                f"{CONNECT_TIMEOUT:g} s"
            ) from None
        except (asyncssh.Error, OSError) as error:
            number = error.errno if isinstance(error, OSError) else None
            told = os.strerror(number) if number else str(error)
            raise HostUnreachable(f"{self.name} is not reached over SSH: {where}: {told}") from None

    async def _strange_key(self) -> str:
        spec = self.spec
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                key = await asyncssh.get_server_host_key(spec.host, spec.port, config=None)
        except (TimeoutError, asyncssh.Error, OSError):
            key = None
        shown = f"{key.get_algorithm()} {key.get_fingerprint()}" if key else "not told"
        listed = spec.host if spec.port == 22 else f"[{spec.host}]:{spec.port}"
        compare = (
            "compare it with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` (or another "
            "of the keys there) says on the host itself"
        )
        before = _known_keys(Path(spec.known_hosts), spec)
        if before:
            return (
                f"the host key of {self.name} has CHANGED: it is {shown} now, and "
                f"{', '.join(before)} in {spec.known_hosts}. Somebody may be listening in, or the "
                f"host was set up anew: {compare}. If it is right: `ssh-keygen -R '{listed}' -f "
                f"{spec.known_hosts}`, then add the new one"
            )
        return (
            f"the host key of {self.name} is not known: {shown} is not in {spec.known_hosts}; "
            f"{compare}. If it is right: `ssh-keyscan -p {spec.port} {spec.host} >> "
            f"{spec.known_hosts}`"
        )


def _known_keys(path: Path, spec: HostSpec) -> list[str]:
    try:
        known = asyncssh.read_known_hosts(str(path))
        keys = known.match(spec.host, spec.host, spec.port)[0]
    except (OSError, ValueError, asyncssh.Error):
        return []
    return [f"{key.get_algorithm()} {key.get_fingerprint()}" for key in keys]
