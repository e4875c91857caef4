"""One HAProxy process: started, watched, started again when it dies.

The listening sockets are the daemon's: they are bound before HAProxy runs and handed to each new
one. So a port that is taken is an ``OSError`` of our own bind, nobody can take it while HAProxy is
away, and who connects meanwhile waits instead of being refused.

HAProxy is a child like the nodes: in a session of its own, marked as the cluster's. It outlives a
daemon that is killed, as they do, and serves on with what it was told last: clients of a cluster
whose supervisor has died should not be thrown out by that. The next ``up`` or ``down`` ends it.
"""

import asyncio
import contextlib
import shutil
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from warrener.balancer.haproxy.config import SOCKET
from warrener.balancer.haproxy.figures import BadAnswer, Info, read_info
from warrener.balancer.haproxy.program import HaproxyError
from warrener.balancer.haproxy.runtime_api import NoAnswer, RuntimeApi
from warrener.balancer.haproxy.tls import Content

START_TIMEOUT: Final = 10.0
"""Seconds until the runtime API answers. An idle machine takes 0.05."""

STOP_TIMEOUT: Final = 2.0
"""Seconds after SIGTERM; HAProxy ends at once unless it is frozen."""

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
"""Seconds between HAProxy's end and its next start, doubled from one time to the next."""

STEADY: Final = 30.0
"""Seconds of life after which the pause is the first one again."""

_LOOK: Final = 0.02
_LAST_WORDS: Final = 600  # characters of its log in an error


class Process(Protocol):
    """A child: ``cluster.drivers.processes.Child``."""

    @property
    def returncode(self) -> int | None: ...
    @property
    def pid(self) -> int: ...
    @property
    def exited(self) -> asyncio.Event: ...
    def send(self, number: signal.Signals) -> None: ...
    async def wait(self, timeout: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class Launch:
    """What is to be started: the arguments, where, who takes its output, which descriptors it
    inherits."""

    arguments: Sequence[str]
    folder: Path
    output: Path
    descriptors: Sequence[int]


Launcher = Callable[[Launch], Process]

CONFIG: Final = "haproxy.cfg"


@dataclass(frozen=True, slots=True)
class Listening:
    """Descriptors of the bound sockets, by who connects there."""

    plain: Sequence[int]
    tls: Sequence[int] = ()


class HaproxyProcess:
    """HAProxy in ``folder``, which is made and removed; what it says goes to ``log``.

    ``render`` gives the files of that folder, as they should be at that moment.
    """

    def __init__(
        self,
        program: str,
        folder: Path,
        log: Path,
        launcher: Launcher,
        render: Callable[[Listening], Mapping[str, Content]],
    ) -> None:
        self.api = RuntimeApi(folder / SOCKET)
        self.info: Info | None = None
        """Of the HAProxy that runs; None while none does."""
        self._program = program
        self._folder = folder
        self._log = log
        self._launcher = launcher
        self._render = render
        self._sockets: list[socket.socket] = []
        self._tls: set[int] = set()  # descriptors of those for clients with TLS
        self._process: Process | None = None

    async def bind(self, host: str, port: int, *, tls: bool = False) -> tuple[str, int]:
        """Takes a port, without listening yet: until HAProxy runs clients are refused. Gives the
        first address. OSError, EADDRINUSE if the port is taken: then none is held any more."""
        first = len(self._sockets)
        try:
            for family, address in await _addresses(host, port):
                bound = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
                self._sockets.append(bound)
                if tls:
                    self._tls.add(bound.fileno())
                # Connections that linger in TIME_WAIT don't count, as with Warrener's own listener.
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                # All on the port that the first one got, if any will do.
                wanted = port or int(self._sockets[first].getsockname()[1])
                bound.bind((address[0], wanted, *address[2:]))
        except OSError:
            self._let_go()
            raise
        host, port = self._sockets[first].getsockname()[:2]
        return host, port

    async def start(self) -> Info:
        """Starts it, and waits until its runtime API answers. HaproxyError with its own words if
        it doesn't get there; nothing is left running then."""
        process = self._launch()
        self._process = process
        try:
            self.info = await self._until_it_answers(process)
        except BaseException:
            await self._end(process)
            raise
        return self.info

    async def wait_ended(self) -> int | None:
        """Until it ends by itself; its exit code."""
        assert self._process is not None, "started first"
        await self._process.exited.wait()
        self.info = None
        return self._process.returncode

    async def close(self) -> None:
        """Ends it, lets go of the port, removes its files."""
        try:
            if self._process is not None:
                await self._end(self._process)
        finally:
            self.info = None
            self._let_go()
            shutil.rmtree(self._folder, ignore_errors=True)

    # -- inside ---------------------------------------------------------------------------------

    def _launch(self) -> Process:
        descriptors = [bound.fileno() for bound in self._sockets]
        try:
            listening = Listening(
                [one for one in descriptors if one not in self._tls],
                [one for one in descriptors if one in self._tls],
            )
            self._write_files(self._render(listening))
        except OSError as error:
            raise HaproxyError(f"HAProxy's files can't be written: {error}") from error
        # -db: in the foreground, and one process
        arguments = (self._program, "-db", "-f", CONFIG)
        try:
            return self._launcher(Launch(arguments, self._folder, self._log, descriptors))
        except OSError as error:
            raise HaproxyError(f"{self._program} can't be run: {error.strerror}") from error

    def _write_files(self, files: Mapping[str, Content]) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        (self._folder / SOCKET).unlink(missing_ok=True)
        for name, content in files.items():
            _write(self._folder / name, content)
        with contextlib.suppress(FileNotFoundError):  # what the one before said is kept
            self._log.replace(self._log.with_name(self._log.name + ".1"))

    async def _until_it_answers(self, process: Process) -> Info:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_TIMEOUT
        while True:
            try:
                return read_info(await self.api.ask("show info"))
            except (NoAnswer, BadAnswer) as error:
                problem = str(error)
            if process.exited.is_set():
                code = process.returncode
                raise HaproxyError(
                    f"{self._program} ended with exit status {code}: {self.last_words()}"
                )
            if loop.time() > deadline:
                raise HaproxyError(
                    f"{self._program} doesn't answer on its socket after {START_TIMEOUT:g} s "
                    f"({problem}); what it said is in {self._log}"
                )
            await asyncio.sleep(_LOOK)

    def last_words(self) -> str:
        """The last thing it said, on one line."""
        try:
            text = self._log.read_text(errors="replace")
        except OSError:
            return "it said nothing"
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        telling = [line for line in lines if line.startswith("[ALERT]")] or lines
        return " / ".join(telling)[-_LAST_WORDS:] or "it said nothing"

    async def _end(self, process: Process) -> None:
        process.send(signal.SIGTERM)
        if not await process.wait(STOP_TIMEOUT):
            process.send(signal.SIGKILL)
            await process.wait(STOP_TIMEOUT)
        self.info = None

    def _let_go(self) -> None:
        for bound in self._sockets:
            bound.close()
        self._sockets.clear()
        self._tls.clear()


def _write(path: Path, content: Content) -> None:
    path.unlink(missing_ok=True)
    if isinstance(content, Path):
        path.symlink_to(content)
        return
    path.touch(mode=0o600)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


async def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))
