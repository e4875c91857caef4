"""Stops a cluster from outside: through its daemon, or what a dead daemon left.

    a daemon answers          ask it to stop, follow its progress, wait until it has let go
    a daemon doesn't answer   SIGTERM, then SIGKILL, then clean up after it
    no daemon                 clean up after one that was killed, if there is anything

Each wait is bounded, so that ``warrener down`` always ends.
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from warrener.control.client import Client, NotRunning, Unresponsive
from warrener.control.lock import Held, Holder, Lock, holder_of
from warrener.control.operations import STOP, ProgressLine, StopRequest
from warrener.control.state_folder import StateFolder
from warrener.control.wire import BadLine
from warrener.daemon.errors import DaemonError

STOP_TIMEOUT: Final = 60.0
"""Seconds between two lines of a stopping daemon. A node that has to be killed takes the longest,
and the driver gives it less than this."""

TERM_TIMEOUT: Final = 45.0
"""Seconds a daemon that doesn't answer gets after SIGTERM to stop its nodes in order."""

LET_GO_TIMEOUT: Final = 10.0
"""Seconds from a daemon's last line, or its SIGKILL, until the kernel has taken its lock back."""

POLL: Final = 0.02


class Halted(StrEnum):
    """What there was to stop."""

    NOTHING = "nothing"
    CLUSTER = "cluster"
    LEFTOVERS = "leftovers"  # of a daemon that was killed


def halt(
    folder: StateFolder,
    on_progress: Callable[[ProgressLine], None],
    stop_leftovers: Callable[[Path], int],
    *,
    discard: bool = False,
) -> Halted:
    """Stops whatever runs in ``folder``. ``stop_leftovers`` returns how many processes it ended.
    ``discard``: the data goes too, so nodes are ended by force.

    Returns when everything is gone; ``DaemonError`` if that can't be brought about.
    """
    with _Daemon(folder) as daemon:
        try:
            with Client.connect(folder) as client:
                client.call(STOP, StopRequest(discard), on_progress, timeout=STOP_TIMEOUT)
            daemon.wait_gone(LET_GO_TIMEOUT, "after its last word")
            return Halted.CLUSTER
        except NotRunning:
            found = Halted.NOTHING
        except (Unresponsive, BadLine) as error:
            on_progress(ProgressLine("daemon", str(error), failed=True))
            daemon.force(on_progress)
            found = Halted.CLUSTER
    if not folder.is_ours():
        return found
    try:
        with Lock(folder.lock, now=time.time()):
            ended = stop_leftovers(folder.path)
    except Held as held:
        raise DaemonError(
            f"another `warrener up` (process {held.holder.pid}) began in {folder.path} meanwhile"
        ) from None
    if ended:
        on_progress(ProgressLine("daemon", f"ended {ended} processes it had left", done=True))
        return Halted.LEFTOVERS if found is Halted.NOTHING else found
    return found


class _Daemon:
    """The process that holds a state folder, held by a pidfd: its number can't be reused."""

    def __init__(self, folder: StateFolder) -> None:
        self._folder = folder
        self._pidfd = -1

    def __enter__(self) -> Self:
        holder = holder_of(self._folder.lock)
        if holder is not None and holder.pid not in (0, os.getpid()):
            try:
                self._pidfd = os.pidfd_open(holder.pid)
            except ProcessLookupError:
                return self  # ended just now
            if not _has_open(holder, self._folder.lock):
                self._close()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
        self._pidfd = -1

    def wait_gone(self, patience: float, when: str) -> None:
        """Waits until the process has ended (the lock is let go of a little earlier)."""
        deadline = time.monotonic() + patience
        if self._pidfd >= 0:
            ended = select.poll()
            ended.register(self._pidfd, select.POLLIN)
            ended.poll(patience * 1000)
        while (holder := holder_of(self._folder.lock)) is not None:
            if time.monotonic() > deadline:
                raise DaemonError(f"the daemon (process {holder.pid}) is still there {when}")
            time.sleep(POLL)

    def force(self, on_progress: Callable[[ProgressLine], None]) -> None:
        """SIGTERM, then SIGKILL."""
        if self._pidfd < 0:
            if holder_of(self._folder.lock) is None:
                return
            lock = self._folder.lock
            raise DaemonError(
                f"{lock} is held by a process that didn't leave its number; find it with "
                f"`fuser {lock}` and end it"
            )
        for number, patience in ((signal.SIGTERM, TERM_TIMEOUT), (signal.SIGKILL, LET_GO_TIMEOUT)):
            on_progress(ProgressLine("daemon", f"sends it {number.name}"))
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)
            try:
                self.wait_gone(patience, f"{patience:g} s after {number.name}")
            except DaemonError:
                if number is signal.SIGKILL:
                    raise
            else:
                return


def _has_open(holder: Holder, path: Path) -> bool:
    """Whether that process really has the lock file open: a number alone may be reused."""
    try:
        there = path.stat()
        for entry in Path(f"/proc/{holder.pid}/fd").iterdir():
            try:
                if os.path.samestat(entry.stat(), there):
                    return True
            except FileNotFoundError:
                continue  # closed meanwhile
    except OSError:
        pass
    return False
