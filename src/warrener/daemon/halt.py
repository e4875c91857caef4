"""Stops a cluster from outside: through its daemon, or what a dead daemon left.

    a daemon answers          ask it to stop, follow its progress, wait until it has let go
    a daemon doesn't answer   SIGTERM, then SIGKILL, then clean up after it
    no daemon                 clean up after one that was killed, if there is anything

Each wait is bounded, so that ``warrener down`` always ends.
"""

import os
import signal
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Final

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
) -> Halted:
    """Stops whatever runs in ``folder``. ``stop_leftovers`` returns how many processes it ended.

    Returns when everything is gone; ``DaemonError`` if that can't be brought about.
    """
    try:
        with Client.connect(folder) as client:
            client.call(STOP, StopRequest(), on_progress, timeout=STOP_TIMEOUT)
            _wait_free(folder, LET_GO_TIMEOUT, "after its last word")
        return Halted.CLUSTER
    except NotRunning:
        found = Halted.NOTHING
    except (Unresponsive, BadLine) as error:
        on_progress(ProgressLine("daemon", str(error), failed=True))
        _force(folder, on_progress)
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


def _force(folder: StateFolder, on_progress: Callable[[ProgressLine], None]) -> None:
    for number, patience in ((signal.SIGTERM, TERM_TIMEOUT), (signal.SIGKILL, LET_GO_TIMEOUT)):
        holder = holder_of(folder.lock)
        if holder is None:
            return
        if not _has_open(holder, folder.lock):
            raise DaemonError(
                f"{folder.lock} is held by a process that didn't leave its number; find it with "
                f"`fuser {folder.lock}` and end it"
            )
        on_progress(ProgressLine("daemon", f"sending {number.name} to process {holder.pid}"))
        os.kill(holder.pid, number)
        try:
            _wait_free(folder, patience, f"{patience:g} s after {number.name}")
        except DaemonError:
            if number is signal.SIGKILL:
                raise
        else:
            return


def _wait_free(folder: StateFolder, patience: float, when: str) -> None:
    deadline = time.monotonic() + patience
    while (holder := holder_of(folder.lock)) is not None:
        if time.monotonic() > deadline:
            raise DaemonError(f"the daemon (process {holder.pid}) is still there {when}")
        time.sleep(POLL)


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
