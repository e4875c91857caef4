"""Events are kept in memory, on disk and for followers, and recording them never fails."""

import json
from pathlib import Path

from warrener.control.operations import EventLine
from warrener.daemon.event_log import FOLLOWER_BACKLOG, EventLog
from warrener.facts.happenings import Event


def make(path: Path, **limits: int) -> EventLog:
    clock = iter(range(1_000_000))
    return EventLog(path, now=lambda: float(next(clock)), **limits)


def test_an_event_is_in_memory_and_on_disk_with_number_and_time(tmp_path: Path) -> None:
    log = make(tmp_path / "events.jsonl")
    log.record(Event("node.unfit", "n1@localhost", "refuses", {"port": 5672}))
    log.record(Event("daemon.ready"))
    first = EventLine(
        number=1, at=0.0, kind="node.unfit", subject="n1@localhost", reason="refuses",
        detail={"port": 5672},
    )  # fmt: skip
    assert log.recent(10) == [first, EventLine(number=2, at=1.0, kind="daemon.ready")]
    assert log.recent(1) == [EventLine(number=2, at=1.0, kind="daemon.ready")]
    assert log.recent(0) == []
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["node.unfit", "daemon.ready"]
    assert (tmp_path / "events.jsonl").stat().st_mode & 0o777 == 0o600


def test_memory_and_disk_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = make(path, keep=10, max_bytes=1000)
    for _ in range(500):
        log.record(Event("x"))
    assert [line.number for line in log.recent(100)] == list(range(491, 501))
    old = tmp_path / "events.jsonl.1"
    assert path.stat().st_size <= 1000
    assert old.stat().st_size <= 1000
    newest = [json.loads(line)["number"] for line in (old.read_text() + path.read_text()).split()]
    assert newest == list(range(newest[0], 501))


def test_a_new_daemon_appends(tmp_path: Path) -> None:
    for _ in range(2):
        log = make(tmp_path / "events.jsonl")
        log.record(Event("x"))
        log.close()
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 2


def test_a_full_disk_or_missing_folder_is_counted_not_raised(tmp_path: Path) -> None:
    log = make(tmp_path / "gone" / "events.jsonl")
    log.record(Event("x"))
    assert log.lost_on_disk == 1
    assert len(log.recent(10)) == 1
    (tmp_path / "gone").mkdir()
    log.record(Event("y"))
    assert log.lost_on_disk == 1
    assert "y" in (tmp_path / "gone" / "events.jsonl").read_text()


def test_after_close_nothing_is_written_and_nothing_fails(tmp_path: Path) -> None:
    log = make(tmp_path / "events.jsonl")
    log.close()
    log.record(Event("late"))
    assert (tmp_path / "events.jsonl").read_text() == ""
    assert log.lost_on_disk == 0


async def test_a_follower_gets_what_happens_while_it_follows(tmp_path: Path) -> None:
    log = make(tmp_path / "events.jsonl")
    log.record(Event("before"))
    with log.follow() as follower:
        log.record(Event("during"))
        log.end_following()
        assert [line.kind async for line in follower] == ["during"]
    log.record(Event("after"))
    assert follower.missed == 0


async def test_a_slow_follower_misses_events_and_holds_nobody_up(tmp_path: Path) -> None:
    log = make(tmp_path / "events.jsonl")
    with log.follow() as follower:
        for _ in range(FOLLOWER_BACKLOG + 7):
            log.record(Event("x"))
    assert follower.missed == 7


def test_a_watcher_is_called_at_once_for_its_kinds(tmp_path: Path) -> None:
    log = make(tmp_path / "events.jsonl")
    seen: list[int] = []
    log.watch(lambda event: event.kind != "daemon.ready", lambda: seen.append(len(log.recent(100))))
    for kind in ("node.unfit", "daemon.ready", "node.fit"):
        log.record(Event(kind))
    assert seen == [1, 3]
