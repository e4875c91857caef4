"""Why a daemon didn't start, as a sentence for people and an exit code for scripts."""

from typing import Final

FAILED: Final = 1
BAD_INPUT: Final = 2


class DaemonError(Exception):
    """The daemon can't start or go on; the message says why and what to do."""

    def __init__(self, message: str, *, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


class AlreadyRunning(DaemonError):
    """Another daemon holds the state folder."""

    def __init__(self, folder: str, pid: int) -> None:
        super().__init__(f"a cluster is running already in {folder} (daemon: process {pid})")
        self.pid = pid


class Interrupted(DaemonError):
    """Asked to stop before it was ready. Everything started was stopped."""

    def __init__(self) -> None:
        super().__init__("stopped before it was ready; nothing is left running")
