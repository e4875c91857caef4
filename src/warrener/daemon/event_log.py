"""What happened: a ring in memory, JSON lines on disk, and followers.

``record`` is the ``EventSink`` that every room is given. It is called on the event loop, takes
some microseconds and never raises: an event that can't be written (disk full) is still in the
ring and counted as lost on disk.

A follower that reads too slowly misses events instead of holding up the daemon, and is told how
many.
"""

import contextlib
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from warrener.control.operations import EventLine
from warrener.daemon.feed import Feed
from warrener.facts.happenings import Event

KEEP: Final = 1000
"""Events in memory: some hundred KiB, and more than a screenful of any incident."""

MAX_BYTES: Final = 8 * 1024 * 1024
"""Of events.jsonl before it becomes events.jsonl.1; so 16 MiB at most, some 100,000 events."""

FOLLOWER_BACKLOG: Final = 1000
"""Events a follower may be behind."""


class EventLog:
    """The daemon's record of events. ``now`` is seconds since the epoch."""

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], float],
        keep: int = KEEP,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._path = path
        self._now = now
        self._max_bytes = max_bytes
        self._ring: deque[EventLine] = deque(maxlen=keep)
        self._followers: set[Feed[EventLine]] = set()
        self._count = 0
        self._fd = -1
        self._size = 0
        self._closed = False
        self._watchers: list[tuple[Callable[[Event], bool], Callable[[], None]]] = []
        self.lost_on_disk = 0
        self.counts: Counter[str] = Counter()  # by kind
        with contextlib.suppress(OSError):  # then each record tries again, and counts
            self._open()

    def record(self, event: Event) -> None:
        """Keeps an event, writes it, and hands it to the followers."""
        self._count += 1
        self.counts[event.kind] += 1
        line = EventLine(
            number=self._count,
            at=self._now(),
            kind=event.kind,
            subject=event.subject,
            reason=event.reason,
            detail=event.detail,
        )
        self._ring.append(line)
        for follower in self._followers:
            follower.offer(line)
        try:
            self._write(msgspec.json.encode(line) + b"\n")
        except (OSError, ValueError):  # a full disk, or text that no encoding has a place for
            self.lost_on_disk += 1
        for wanted, callback in self._watchers:
            if wanted(event):
                callback()

    def watch(self, wanted: Callable[[Event], bool], callback: Callable[[], None]) -> None:
        """Calls back, at once, whenever an event that is ``wanted`` is recorded. Neither may raise
        or take time."""
        self._watchers.append((wanted, callback))

    def recent(self, last: int) -> list[EventLine]:
        """The ``last`` newest events that are in memory, oldest first."""
        return list(self._ring)[-last:] if last > 0 else []

    @contextlib.contextmanager
    def follow(self) -> Iterator[Feed[EventLine]]:
        """Everything recorded inside the ``with``, until the log is closed."""
        follower: Feed[EventLine] = Feed(FOLLOWER_BACKLOG)
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)

    def end_following(self) -> None:
        """Ends the followers, after what they have been offered."""
        for follower in self._followers:
            follower.close()

    def close(self) -> None:
        """Closes the file; later events are only kept in memory."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._closed = True

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._fd).st_size

    def _write(self, data: bytes) -> None:
        if self._closed:
            return
        if self._fd < 0:
            self._open()
        if self._size + len(data) > self._max_bytes and self._size > 0:
            os.close(self._fd)
            self._fd = -1
            self._path.replace(self._path.with_name(self._path.name + ".1"))
            self._open()
        self._size += os.write(self._fd, data)
