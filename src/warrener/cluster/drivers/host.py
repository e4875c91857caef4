"""What a node's life needs of the machine that it runs on.

    LocalHost (here)    this machine: subprocess, psutil, files
    SshHost (ssh_host)  another one: the same, said to a POSIX shell over SSH

The daemon's state folder has the files of every node; they are the truth. A host has what its node
needs at the same places below a folder of its own (``path``), which is the state folder itself on
this machine: ``deliver`` brings it there before it is used, and is nothing to do locally.
"""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from warrener.cluster.drivers.cpu_share import read
from warrener.cluster.drivers.node_config import NodeFiles
from warrener.cluster.drivers.ports import LOOPBACK, holder, taken
from warrener.cluster.drivers.processes import Child, kill_marked, told_end
from warrener.facts.ids import NodeName

MAX_OUTPUT: Final = 16 * 1024 * 1024
"""Bytes of what a tool printed."""

KILL_TIMEOUT: Final = 5.0
"""Seconds after SIGKILL; the kernel itself is slow then, writing back or freeing memory."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A program's end. ``returncode`` None: it had not ended in time and was killed."""

    returncode: int | None
    text: str


class Process(Protocol):
    """A process that was started on a host. ``exited`` is set when it has ended."""

    @property
    def pid(self) -> int: ...
    @property
    def exited(self) -> asyncio.Event: ...
    @property
    def returncode(self) -> int | None:
        """None while it runs, or if nobody can tell; negative: the signal that ended it."""

    @property
    def vm_pid(self) -> int:
        """The Erlang VM: the process itself, or one below it."""

    @property
    def frozen(self) -> bool:
        """Whether the VM is stopped (SIGSTOP)."""

    @property
    def reachable(self) -> bool:
        """False while nobody can tell how it is."""

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the VM, SIGKILL also to what started it. Nothing happens if it has
        ended."""

    async def wait(self, timeout: float) -> bool:
        """Whether it has ended within ``timeout`` seconds."""


def how_it_ended(process: Process) -> str:
    """For people."""
    if process.exited.is_set() and process.returncode is None:
        return (
            "ended, and nobody saw how (its host was started anew, or what looked after it ended)"
        )
    return told_end(process.returncode)


class Host(Protocol):
    """A machine with a folder of its own for one cluster. What can't be done because the machine
    isn't reached raises HostUnreachable; locally that doesn't happen."""

    @property
    def address(self) -> str:
        """An IP address: where its nodes listen, and are reached."""

    @property
    def look_every(self) -> float:
        """Seconds between two looks at a file that grows."""

    def path(self, local: Path) -> Path:
        """Where a file of the state folder is on the host."""

    def told(self, path: Path) -> Path:
        """A file on the host, for people: with the host's name if it isn't this machine."""

    async def deliver(self, files: NodeFiles) -> None:
        """All that the node reads is there from here on, private, and the folders that it writes
        to. OSError if that can't be."""

    async def deliver_file(self, local: Path) -> None:
        """One file of the state folder."""

    async def remove_file(self, local: Path) -> None:
        """The same file is there no longer."""

    async def has_data(self, files: NodeFiles, name: NodeName) -> bool:
        """Whether the node has a database. Without one, a member that boots founds a cluster."""

    async def remove_folder(self, local: Path) -> None:
        """A folder with all that is in it, if it is there."""

    async def tail(self, local: Path, offset: int, limit: int) -> tuple[int, str]:
        """A file's size (0 if it isn't there), and the last ``limit`` bytes of what is behind
        ``offset``; from the beginning if it is shorter (it was rotated)."""

    async def read(self, paths: Sequence[Path]) -> Mapping[Path, str]:
        """What small files of the host's own have in them (``/proc`` and the like); those that
        aren't there or can't be read are left out."""

    async def spawn(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        output: Path,
    ) -> Process:
        """Starts a process in a session of its own, its output in ``output`` (replaced, 0600).
        Paths are the state folder's. OSError if that can't be."""

    async def run(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        output: Path,
        timeout: float,
    ) -> Ran:
        """A program to its end. It is killed after ``timeout`` seconds, as when this is cancelled.
        What it printed is in ``output`` as well. OSError if it can't be run."""

    async def kill_marked(self, cluster: str, part: str | None = None) -> int:
        """Ends a cluster's processes, or those of a part of it, at once; how many there were."""

    async def taken(self, ports: Collection[int]) -> list[int]:
        """Those that can't be listened on."""

    async def holder(self, port: int) -> str:
        """Who listens there: ``"redis-server (pid 712)"``; empty if that can't be seen."""


class LocalHost:
    """This machine. ``state`` is the cluster's folder."""

    address: Final = LOOPBACK
    look_every: Final = 0.1  # one fstat

    def __init__(self, state: Path) -> None:
        self._state = state

    def path(self, local: Path) -> Path:
        return local

    def told(self, path: Path) -> Path:
        return path

    async def deliver(self, files: NodeFiles) -> None:
        files.logs.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def deliver_file(self, local: Path) -> None:
        """It is where it belongs."""

    async def remove_file(self, local: Path) -> None:
        local.unlink(missing_ok=True)  # noqa: ASYNC240

    async def has_data(self, files: NodeFiles, name: NodeName) -> bool:
        return files.has_data(name)

    async def remove_folder(self, local: Path) -> None:
        if local.exists():  # noqa: ASYNC240
            shutil.rmtree(local)

    async def tail(self, local: Path, offset: int, limit: int) -> tuple[int, str]:
        return tail(local, offset, limit)

    async def read(self, paths: Sequence[Path]) -> Mapping[Path, str]:
        return read(paths)

    async def spawn(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        output: Path,
    ) -> Process:
        return Child.start(name, arguments, environment=environment, folder=folder, output=output)

    async def run(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        output: Path,
        timeout: float,
    ) -> Ran:
        child = Child.start(
            Path(arguments[0]).name,
            arguments,
            environment=environment,
            folder=folder,
            output=output,
        )
        try:
            ended = await child.wait(timeout)
        finally:
            if not child.exited.is_set():
                child.send(signal.SIGKILL)
        if not ended:
            await child.wait(KILL_TIMEOUT)
            return Ran(None, "")
        return Ran(child.returncode, await asyncio.to_thread(_read, output))

    async def kill_marked(self, cluster: str, part: str | None = None) -> int:
        # In a thread: it looks at every process there is, and the balancer's loop, which may be
        # this one, must not wait for that.
        return await asyncio.to_thread(kill_marked, cluster, part)

    async def taken(self, ports: Collection[int]) -> list[int]:
        return taken(LOOPBACK, ports)

    async def holder(self, port: int) -> str:
        return await asyncio.to_thread(holder, port)


def tail(path: Path, offset: int, limit: int) -> tuple[int, str]:
    """``Host.tail`` of a file here."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(offset if offset <= size else 0, size - limit))
            return size, file.read(limit).decode("utf-8", "replace")
    except OSError:
        return 0, ""


def _read(path: Path) -> str:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(MAX_OUTPUT).decode("utf-8", "replace")
    return ""
