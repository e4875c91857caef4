"""The history on disk: one SQLite file in the state folder. Blocking: its caller has a thread for
it.

One row is one sample of the whole cluster, packed and compressed: what is asked for is always a
stretch of time of everything, and a row a queue would take several times the room. Samples are kept
as they come for a day, then merged by the minute, and removed after ``keep``; the file never gets
larger than ``max_bytes``, the oldest samples go first.

    CREATE TABLE sample (at REAL PRIMARY KEY, fine INTEGER, data BLOB)

A file that isn't a database, is damaged, or was written by another version of this module is put
aside as history.db.broken (an older one of that name is replaced), and a new one is begun.
"""

import contextlib
import os
import sqlite3
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from warrener.planner.samples import Sample, merge

FILE: Final = "history.db"
BROKEN: Final = "history.db.broken"

FINE: Final = 24 * 3600.0
"""Seconds for which samples are kept as they were taken."""

COARSE: Final = 60.0
"""Seconds into which older ones are merged."""

MAX_BYTES: Final = 256 * 1024 * 1024
"""Of the file; the journal beside it is at most some MiB. A week of 200 queues that are all busy
takes 200 MiB."""

MOST: Final = 400
"""Samples that are read for one answer: an hour of them. Each takes 2 ms of CPU for 200 queues, in
the thread, but sessions have to share Python's interpreter with it."""

_VERSION: Final = 1
_TO_THIN: Final = 120
"""Rows that are merged in one go: a quarter of a second for 200 queues."""

_LARGEST: Final = 16 * 1024 * 1024
"""Bytes of a sample, unpacked: more is damage."""


class StoreFailed(Exception):
    """It can't be written or read just now (a full disk, say); the text says why."""


class Store:
    """``on_broken`` is told why a file was put aside. ``StoreFailed`` for what may pass."""

    def __init__(
        self,
        folder: Path,
        *,
        keep: float,
        on_broken: Callable[[str], None],
        max_bytes: int = MAX_BYTES,
        fine: float = FINE,
    ) -> None:
        self._path = folder / FILE
        self._aside = folder / BROKEN
        self._keep = keep
        self._fine = fine
        self._max_bytes = max_bytes
        self._on_broken = on_broken
        self._connection: sqlite3.Connection | None = None

    def add(self, sample: Sample) -> None:
        """Keeps one."""
        data = zlib.compress(msgspec.msgpack.encode(sample), 3)
        with self._opened() as connection, connection:
            connection.execute("INSERT OR REPLACE INTO sample VALUES (?, 1, ?)", (sample.at, data))

    def read(self, since: float, until: float, most: int = MOST) -> list[Sample]:
        """Those of that time, the oldest first. What can't be unpacked is passed over.

        If there are more than ``most``, it is every second, third, ... of them, the newest
        included, each standing for those before it as well: its ``seconds`` are so much longer,
        and ``merged`` so much more.
        """
        when = (since, until)
        with self._opened() as connection:
            (number,) = connection.execute(
                "SELECT count(*) FROM sample WHERE at > ? AND at <= ?", when
            ).fetchone()
            step = max(1, -(-number // most))
            rows = connection.execute(
                "SELECT data FROM (SELECT at, data, row_number() OVER (ORDER BY at DESC) AS n "
                "FROM sample WHERE at > ? AND at <= ?) WHERE (n - 1) % ? = 0 ORDER BY at",
                (*when, step),
            ).fetchall()
        samples = [sample for (data,) in rows if (sample := _unpacked(data)) is not None]
        if step == 1:
            return samples
        return [
            replace(sample, seconds=sample.seconds * step, merged=sample.merged * step)
            for sample in samples
        ]

    def tidy(self, now: float) -> None:
        """Thins, and removes what is too old or too much."""
        with self._opened() as connection:
            with connection:
                connection.execute("DELETE FROM sample WHERE at <= ?", (now - self._keep,))
            self._thin(connection, now - self._fine)
            self._shrink(connection)

    def size(self) -> int:
        """Bytes that samples take in the file."""
        with self._opened() as connection:
            return _used(connection)

    def close(self) -> None:
        """May be used again; it is opened anew then."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    # -- thinner

    def _thin(self, connection: sqlite3.Connection, before: float) -> None:
        """Whole minutes only: the rest of one may be still to come."""
        before -= before % COARSE
        rows = connection.execute(
            "SELECT at, data FROM sample WHERE fine = 1 AND at <= ? ORDER BY at LIMIT ?",
            (before, _TO_THIN),
        ).fetchall()
        minutes: dict[float, list[tuple[float, bytes]]] = defaultdict(list)
        for at, data in rows:
            minutes[-(-at // COARSE)].append((at, data))
        if len(rows) == _TO_THIN and len(minutes) > 1:
            minutes.popitem()  # it may not be whole
        with connection:
            for minute in minutes.values():
                samples = [one for _, data in minute if (one := _unpacked(data)) is not None]
                connection.executemany(
                    "DELETE FROM sample WHERE at = ?", [(at,) for at, _ in minute]
                )
                if samples:
                    merged = merge(samples)
                    packed = zlib.compress(msgspec.msgpack.encode(merged), 3)
                    connection.execute(
                        "INSERT OR REPLACE INTO sample VALUES (?, 0, ?)", (merged.at, packed)
                    )

    def _shrink(self, connection: sqlite3.Connection) -> None:
        while _used(connection) > self._max_bytes:
            with connection:
                gone = connection.execute(
                    "DELETE FROM sample WHERE at IN (SELECT at FROM sample ORDER BY at LIMIT "
                    "max(1, (SELECT count(*) / 10 FROM sample)))"
                ).rowcount
            if gone < 1:
                return

    # -- the file

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._open()
        except sqlite3.OperationalError as error:  # a full disk, a lock: it may pass
            self.close()
            raise StoreFailed(str(error)) from error
        except sqlite3.DatabaseError as error:
            self._put_aside(str(error))
            raise StoreFailed(f"{self._path.name} was damaged: {error}") from error
        except OSError as error:
            self.close()
            raise StoreFailed(str(error)) from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                self._connection = self._connected()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                self._put_aside(str(error))
                self._connection = self._connected()
        return self._connection

    def _connected(self) -> sqlite3.Connection:
        # SQLite gives its journal the file's own mode.
        os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self._path, timeout=1.0)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version not in (0, _VERSION):
                raise sqlite3.DatabaseError(f"written by another version ({version})")
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)
            with connection:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS sample "
                    "(at REAL PRIMARY KEY, fine INTEGER NOT NULL, data BLOB NOT NULL)"
                )
                connection.execute(f"PRAGMA user_version = {_VERSION}")
                connection.execute("SELECT at, fine, data FROM sample LIMIT 1")
        except BaseException:
            connection.close()
            raise
        return connection

    def _put_aside(self, why: str) -> None:
        self.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.replace(self._aside)
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        self._on_broken(why)


def _unpacked(data: object) -> Sample | None:
    try:
        if not isinstance(data, bytes):
            return None
        raw = zlib.decompressobj().decompress(data, _LARGEST)
        return msgspec.msgpack.decode(raw, type=Sample)
    except (zlib.error, msgspec.DecodeError, ValueError):
        return None


def _used(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    used: int = (pages - free) * size
    return used
