"""Child processes: started in a session of their own, watched without polling, found again.

Every process of a cluster, and whatever that process starts in turn, carries a mark in its
environment: the cluster's random id with the identity of its state folder, and which part it is
(``epmd``, ``n1``). The mark is how a cluster's processes are told from all others, at a stop as
after the death of the daemon that started them: a pid can be used again by somebody else, a mark
can't. It also covers helpers (``inet_gethost``, ``erl_child_setup``) that no pid file knows.

PR_SET_PDEATHSIG is not used: it follows the thread that forked, not the process, and a broker with
unconsumed messages should not lose its replicas at the moment its supervisor crashes. Instead the
next ``up`` and ``down`` find what is left (leftovers.py).
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

import psutil

from warrener.cluster.drivers.marks import MARK_CLUSTER, MARK_PART, mark

__all__ = ["Child", "kill_marked", "mark", "marked", "marks_ending", "part_of", "told_end"]

_ENVIRON_LIMIT: Final = 128 * 1024  # Linux allows more in all, but ours is a few KiB


class Child:
    """A process that was started here. ``exited`` is set when it has ended and been reaped."""

    def __init__(self, process: subprocess.Popen[bytes], name: str) -> None:
        self.name = name
        self.pid = process.pid
        self.exited = asyncio.Event()
        self._process = process
        self._vm: psutil.Process | None = None
        self._loop = asyncio.get_running_loop()
        self._pidfd = os.pidfd_open(process.pid)
        self._loop.add_reader(self._pidfd, self._ended)

    @classmethod
    def start(
        cls,
        name: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        output: Path,
        descriptors: Sequence[int] = (),
    ) -> "Child":
        """Starts a process in a new session, its output in ``output`` (replaced, 0600). It
        inherits ``descriptors``, under their numbers.

        A session of its own: Ctrl-C in a terminal reaches Warrener alone, which stops the cluster
        in order.
        """
        with _open_private(output) as out:
            process = subprocess.Popen(
                arguments,
                env=dict(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o077,
                pass_fds=descriptors,
            )
        return cls(process, name)

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.returncode

    @property
    def vm_pid(self) -> int:
        """The Erlang VM's process, if it is one. RabbitMQ's script execs into it, so this is the
        process we started; should a version's script stay as its parent, it is found below it."""
        if self._vm is None:
            with contextlib.suppress(psutil.Error):
                started = psutil.Process(self.pid)
                for process in (started, *started.children(recursive=True)):
                    if process.name().startswith("beam"):
                        self._vm = process
                        break
        return self._vm.pid if self._vm is not None else self.pid

    @property
    def frozen(self) -> bool:
        """Whether it is stopped (SIGSTOP): it answers nobody."""
        try:
            return bool(psutil.Process(self.vm_pid).status() == psutil.STATUS_STOPPED)
        except psutil.Error:
            return False

    @property
    def reachable(self) -> bool:
        """It is on this machine."""
        return True

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the VM, or to the process if it isn't one; SIGKILL to both. Nothing
        happens if it has ended."""
        if self.exited.is_set():
            return
        if self.vm_pid != self.pid and self._vm is not None:
            with contextlib.suppress(psutil.Error):
                self._vm.send_signal(number)
            if number is not signal.SIGKILL:
                return
        self._process.send_signal(number)

    async def wait(self, timeout: float) -> bool:
        """Whether it has ended within ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self.exited.wait()
        except TimeoutError:
            return False
        return True

    def _ended(self) -> None:
        if self._process.poll() is None:
            return
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.exited.set()


def told_end(returncode: int | None) -> str:
    """How a process ended, for people."""
    if returncode is None:
        return "still runs"
    if returncode < 0:
        try:
            return f"was killed by {signal.Signals(-returncode).name}"
        except ValueError:
            return f"was killed by signal {-returncode}"
    return f"ended with exit status {returncode}"


def marked(cluster: str, part: str | None = None) -> list[psutil.Process]:
    """The living processes that carry a cluster's mark (and are that part of it).

    Processes of other users can't be read, nor could they be ended; they are left out.
    """
    wanted = f"{MARK_CLUSTER}={cluster}".encode()
    wanted_part = f"{MARK_PART}={part}".encode()
    found = []
    for pid in _pids():
        try:
            # First the handle, which remembers the start time, then the look at its environment:
            # if the pid changes hands in between, psutil refuses to signal the new owner.
            process = psutil.Process(pid)
            variables = _environment(pid)
        except (psutil.Error, OSError):
            continue
        if wanted in variables and (part is None or wanted_part in variables):
            found.append(process)
    return found


def marks_ending(end: str) -> set[str]:
    """The cluster marks of living processes that end like this."""
    prefix = f"{MARK_CLUSTER}=".encode()
    found = set()
    for pid in _pids():
        try:
            variables = _environment(pid)
        except OSError:
            continue
        found |= {v[len(prefix) :].decode() for v in variables if v.startswith(prefix)}
    return {mark for mark in found if mark.endswith(end)}


def part_of(process: psutil.Process) -> str:
    """Which part of a cluster a marked process is; empty if it has gone."""
    try:
        variables = _environment(process.pid)
    except OSError:
        return ""
    prefix = f"{MARK_PART}=".encode()
    for variable in variables:
        if variable.startswith(prefix):
            return variable.removeprefix(prefix).decode(errors="replace")
    return ""


def kill_marked(cluster: str, part: str | None = None) -> int:
    """Ends such processes at once; how many there were. Those that exec or fork meanwhile are
    met in another round."""
    killed = 0
    for _ in range(5):
        found = marked(cluster, part)
        if not found:
            break
        for process in found:
            try:
                process.kill()
                killed += 1
            except psutil.Error:
                continue
        psutil.wait_procs(found, timeout=1.0)
    return killed


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _environment(pid: int) -> list[bytes]:
    """Empty for a zombie."""
    with open(f"/proc/{pid}/environ", "rb") as file:
        return file.read(_ENVIRON_LIMIT).split(b"\0")


def _open_private(path: Path) -> IO[bytes]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "wb")
