"""The state folder: where one cluster's daemon, nodes, logs and data live.

    STATE/WARRENER         marker: this folder is Warrener's, and may be purged
    STATE/.gitignore       "*": data and credentials don't belong into a repository
    STATE/lock             held by the daemon (lock.py)
    STATE/control.sock     where the daemon listens (0600)
    STATE/log/             daemon.log, events.jsonl
    STATE/...              the rest is the cluster driver's

The folder is 0700. A folder with other people's files in it is never adopted, and a folder
without the marker is never purged.
"""

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEFAULT: Final = ".warrener"
ENVIRONMENT: Final = "WARRENER_STATE"

_MARKER: Final = "WARRENER"
_MARKER_TEXT: Final = (
    "This folder holds the state of a RabbitMQ cluster that Warrener runs.\n"
    "`warrener down --purge` stops the cluster and removes the folder with all its data.\n"
)
_MARKER_HEAD: Final = b"This folder holds the state of a RabbitMQ cluster that Warrener runs."


class NotOurs(Exception):
    """The folder isn't one of Warrener's; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class StateFolder:
    """Paths in a state folder, and the two things done to it as a whole."""

    path: Path

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def socket(self) -> Path:
        return self.path / "control.sock"

    @property
    def logs(self) -> Path:
        return self.path / "log"

    @property
    def daemon_log(self) -> Path:
        return self.logs / "daemon.log"

    @property
    def events_log(self) -> Path:
        return self.logs / "events.jsonl"

    def is_ours(self) -> bool:
        """Whether the marker is there and says what Warrener writes into it."""
        try:
            with (self.path / _MARKER).open("rb") as marker:
                return marker.read(len(_MARKER_HEAD)) == _MARKER_HEAD
        except OSError:
            return False

    def prepare(self) -> None:
        """Makes the folder, or takes one that is Warrener's or empty. ``NotOurs`` otherwise."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self.is_ours():
                if any(self.path.iterdir()):
                    raise NotOurs(
                        f"{self.path} has files in it that aren't Warrener's; choose an empty or "
                        f"new folder with --state DIR"
                    )
                _write(self.path / ".gitignore", "*\n")
                _write(self.path / _MARKER, _MARKER_TEXT)
            self.path.chmod(0o700)
            self.logs.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise NotOurs(
                f"can't use {self.path} as the state folder: {error.strerror}; "
                f"choose another with --state DIR"
            ) from error

    def purge(self) -> None:
        """Removes the folder and everything in it. ``NotOurs`` unless the marker is there.

        The caller holds the lock. The marker goes last: a purge that was interrupted can be
        finished by the next one.
        """
        if self.path.is_symlink():
            raise NotOurs(
                f"{self.path} is a symbolic link; purge the folder it leads to: "
                f"--state {self.path.resolve()}"
            )
        if not self.is_ours():
            raise NotOurs(
                f"{self.path} is not a Warrener state folder (its marker file {_MARKER} is "
                f"missing), so nothing in it was removed"
            )
        for entry in list(self.path.iterdir()):
            if entry.name == _MARKER:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)
        (self.path / _MARKER).unlink()
        self.path.rmdir()


@contextlib.contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """An address for ``path`` that fits into ``sockaddr_un``, valid inside the ``with``.

    The kernel's limit is 107 bytes and a state folder may be anywhere. So the folder is opened
    and named by its descriptor: ``/proc/self/fd/7/control.sock`` (proc(5); systemd and others do
    the same). ``FileNotFoundError`` if the folder doesn't exist.
    """
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listen(path: Path, backlog: int = 64) -> socket.socket:
    """A listening, non-blocking socket at ``path``, mode 0600.

    A socket file that a dead daemon left is replaced; the caller holds the lock, so no living
    one can be there.
    """
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with socket_address(path) as address:
            # Before bind(2) the mode of the socket's own inode is what the file gets, so that
            # there is no moment at which others could connect (the folder is 0700 anyway).
            os.fchmod(listener.fileno(), 0o600)
            listener.bind(address)
        listener.listen(backlog)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def connect(path: Path, timeout: float) -> socket.socket:
    """A blocking connection to the daemon at ``path``. ``OSError`` if nobody listens."""
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.settimeout(timeout)
        with socket_address(path) as address:
            stream.connect(address)
    except BaseException:
        stream.close()
        raise
    return stream


def _write(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)
