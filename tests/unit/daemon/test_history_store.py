"""The history's file: kept, thinned, bounded, and begun anew when it is broken."""

import random
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from warrener.daemon.history_store import BROKEN, FILE, Store, StoreFailed
from warrener.facts.ids import NodeName
from warrener.planner.samples import NodeSample, QueueSample, Sample, merge

N1 = NodeName("n1@localhost")
DAY = 24 * 3600.0


def sample(at: float, published: float = 5.0, seconds: float = 10.0) -> Sample:
    return Sample(
        at,
        seconds,
        (NodeSample(N1, "127.0.0.1", cpu=0.5),),
        queues=(QueueSample("/", "jobs", "quorum", N1, (N1,), published, entering={N1: 1.5}),),
    )


@pytest.fixture
def broken() -> list[str]:
    return []


@pytest.fixture
def make(tmp_path: Path, broken: list[str]) -> Callable[..., Store]:
    def made(**more: float) -> Store:
        return Store(tmp_path, keep=7 * DAY, on_broken=broken.append, **more)  # type: ignore[arg-type]  # by name

    return made


def test_what_was_kept_is_there_also_after_it_was_opened_anew(
    make: Callable[..., Store], tmp_path: Path
) -> None:
    store = make()
    for at in (10, 20, 30):
        store.add(sample(at))
    store.close()
    assert make().read(10, 30) == [sample(20), sample(30)]
    assert not (tmp_path / BROKEN).exists()


def test_nobody_else_may_read_it(make: Callable[..., Store], tmp_path: Path) -> None:
    store = make()
    store.add(sample(10))
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob(f"{FILE}*")}
    assert modes == {0o600}
    assert len(list(tmp_path.glob(f"{FILE}*"))) == 3  # with the journal and its index
    assert sqlite3.connect(tmp_path / FILE).execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_after_a_day_samples_become_minutes_with_the_same_mean(make: Callable[..., Store]) -> None:
    store = make()
    for number in range(1, 13):
        store.add(sample(10.0 * number, float(number)))
    store.tidy(DAY + 65)
    first, *rest = store.read(0, 120)
    assert (first.at, first.seconds, first.merged) == (60, 60, 6)
    assert first.queues[0].published == pytest.approx(3.5)
    assert len(rest) == 6  # the second minute isn't a day old as a whole
    store.tidy(DAY + 120)
    assert [one.merged for one in store.read(0, 120)] == [6, 6]
    before = store.read(0, 120)
    store.tidy(DAY + 500)
    assert store.read(0, 120) == before


def test_of_very_many_samples_some_stand_for_all(make: Callable[..., Store]) -> None:
    store = make()
    for number in range(1, 31):
        store.add(sample(10.0 * number, float(number)))
    found = store.read(0, 1000, most=10)
    assert [one.at for one in found] == [10.0 * number for number in range(3, 31, 3)]
    assert {one.seconds for one in found} == {30}
    assert merge(found).seconds == 300
    assert merge(found).merged == 30
    assert merge(found).queues[0].published == pytest.approx(15.5, abs=1.01)
    assert len(store.read(0, 1000, most=30)) == 30


def test_what_is_too_old_goes(make: Callable[..., Store]) -> None:
    store = make()
    store.add(sample(10))
    store.add(sample(20_000))
    store.tidy(7 * DAY + 10)
    assert [one.at for one in store.read(0, 1e9)] == [20_000]


def test_the_file_stays_below_its_limit_and_keeps_the_newest(
    make: Callable[..., Store], tmp_path: Path
) -> None:
    limit = 100_000
    store = make(max_bytes=limit)
    for at in range(3000):
        store.add(sample(float(at)))
        if at % 50 == 0:
            store.tidy(float(at))
    store.tidy(3000.0)
    assert store.size() <= limit
    kept = store.read(-1, 1e9)
    assert 50 < len(kept) < 2000
    assert kept[-1].at == 2999
    store.close()
    assert (tmp_path / FILE).stat().st_size <= 2 * limit


@pytest.mark.parametrize(
    "content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\7" * 5000]
)
def test_a_broken_file_is_put_aside_and_a_new_one_begun(
    make: Callable[..., Store], tmp_path: Path, broken: list[str], content: bytes
) -> None:
    (tmp_path / FILE).write_bytes(content)
    store = make()
    store.add(sample(10))
    assert store.read(0, 100) == [sample(10)]
    assert (tmp_path / BROKEN).read_bytes() == content
    assert len(broken) == 1


def test_one_of_another_version_is_put_aside(
    make: Callable[..., Store], tmp_path: Path, broken: list[str]
) -> None:
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    make().add(sample(10))
    assert broken == ["written by another version (99)"]


def test_damage_while_it_is_open_loses_that_call_only(
    make: Callable[..., Store], tmp_path: Path, broken: list[str]
) -> None:
    store = make()
    for at in range(12):  # more than SQLite has in memory
        queues = (QueueSample("/", random.Random(at).randbytes(200_000).hex(), "classic", N1),)
        store.add(Sample(float(at), 10, (), queues=queues))
    store.close()
    store.read(100, 101)  # open, its journal empty
    size = (tmp_path / FILE).stat().st_size
    assert size > 2_100_000
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with pytest.raises(StoreFailed, match="damaged"):
        store.read(-1, 1e9)
    assert len(broken) == 1
    store.add(sample(1000))
    assert store.read(0, 1e9) == [sample(1000)]


def test_a_row_that_is_damaged_is_passed_over(make: Callable[..., Store], tmp_path: Path) -> None:
    store = make()
    store.add(sample(10))
    store.add(sample(20))
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("UPDATE sample SET data = ? WHERE at = 10", (b"x\x9c\x03garbage",))
    connection.close()
    assert store.read(0, 100) == [sample(20)]


def test_a_folder_that_is_gone_is_an_error_that_may_pass(
    make: Callable[..., Store], tmp_path: Path
) -> None:
    store = Store(tmp_path / "gone", keep=DAY, on_broken=lambda _: None)
    with pytest.raises(StoreFailed):
        store.add(sample(10))
    (tmp_path / "gone").mkdir()
    store.add(sample(10))
    assert store.read(0, 100) == [sample(10)]
