"""Who holds a state folder.

The daemon holds a write lock on ``STATE/lock`` for its whole life. It is an open-file-description
lock (fcntl(2), "Open file description locks"): the kernel lets go of it when the process ends,
however it ends, so a stale lock can't exist; closing another descriptor of the file doesn't drop
it, as with POSIX locks; and one can ask whether it is held without taking it, as one can't with
flock(2), so that a `warrener status` at the wrong moment never makes a `warrener up` fail.

The file's content (pid and start time, as JSON) is only there to name the holder and is trusted
only while the lock is held. A child that was being started when the daemon was killed has the
descriptor for the moment between fork and exec, and the lock with it: held in the name of a process
that is gone, it isn't counted as held, and is waited for.
"""

import fcntl
import os
import struct
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_FLOCK: Final = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, len, pid

_ORPHANED: Final = 5.0
"""Seconds for a killed daemon's child to get from fork to exec; mostly it takes milliseconds."""


class Holder(msgspec.Struct, frozen=True):
    """The process that holds a state folder. ``pid`` 0: it hasn't written its name yet."""

    pid: int
    since: float = 0.0  # seconds since the epoch


class Held(Exception):
    """Another process holds the lock."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(f"held by process {holder.pid}")
        self.holder = holder


class Lock:
    """An exclusive lock on a state folder, as a context manager; ``Held`` if it is taken."""

    def __init__(self, path: Path, *, now: float) -> None:
        self._path = path
        self._now = now
        self._fd = -1

    def __enter__(self) -> Self:
        deadline = time.monotonic() + _ORPHANED
        while True:
            fd = os.open(self._path, _FLAGS, 0o600)
            try:
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _whole_file(fcntl.F_WRLCK))
            except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, says fcntl(2)
                holder = _read(fd)
                os.close(fd)
                if _is_gone(holder) and time.monotonic() < deadline:
                    time.sleep(0.02)
                    continue
                raise Held(holder) from None
            except BaseException:
                os.close(fd)
                raise
            if _same_file(fd, self._path):
                break
            os.close(fd)  # a purge removed the file between our open and our lock: again
        self._fd = fd
        os.ftruncate(fd, 0)
        os.pwrite(fd, msgspec.json.encode(Holder(os.getpid(), self._now)), 0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The file stays (removing it would let two processes lock two files of the same name),
        # empty, so that nobody reads an old name in it.
        os.ftruncate(self._fd, 0)
        os.close(self._fd)
        self._fd = -1


def holder_of(path: Path) -> Holder | None:
    """Who holds the lock at ``path``; None if nobody does."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        found = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _whole_file(fcntl.F_RDLCK))
        if _FLOCK.unpack(found)[0] == fcntl.F_UNLCK:
            return None
        holder = _read(fd)
        return None if _is_gone(holder) else holder
    finally:
        os.close(fd)


def _whole_file(kind: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, 0, 0, 0)


def _read(fd: int) -> Holder:
    try:
        return msgspec.json.decode(os.pread(fd, 4096, 0), type=Holder)
    except msgspec.DecodeError:
        return Holder(0)


def _is_gone(holder: Holder) -> bool:
    """Whether the process that has its name in the file doesn't exist any more."""
    if holder.pid <= 0:
        return False  # just taken
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _same_file(fd: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(fd), there)
