"""What is asked of the daemon, and how events are followed by asking again."""

import pytest
from tests.unit.cli.top.scene import Daemon, Figures, event

from warrener.cli.top.readings import EVENTS_KEPT, Pane, Source, join
from warrener.control import wire
from warrener.control.client import NotRunning, Unresponsive
from warrener.control.state_folder import StateFolder

ALL = frozenset(Pane)


def test_one_connection_reads_it_all(folder: StateFolder) -> None:
    with Daemon(folder, Figures()) as daemon:
        source = Source(folder)
        reading = source.read(ALL)
        source.close()
    assert [name for name, _ in daemon.asked] == [
        "status",
        "sessions",
        "history",
        "plan-work",
        "traffic",
        "events",
    ]
    assert reading.sessions is not None
    assert reading.traffic is not None
    assert (len(reading.status.queues), len(reading.sessions.sessions)) == (6, 12)
    assert (len(reading.events), reading.note(Pane.SESSIONS)) == (40, "")


def test_what_a_daemon_refuses_is_a_note_and_the_rest_is_there(folder: StateFolder) -> None:
    figures = Figures()
    for name in ("sessions", "history", "traffic"):
        figures.answers[name] = wire.Refused(wire.Refusal.UNSUPPORTED, f"no {name}")
    with Daemon(folder, figures):
        source = Source(folder)
        reading = source.read(ALL)
        source.close()
    assert reading.note(Pane.SESSIONS) == "no sessions"
    assert reading.note(Pane.QUEUES) == "no history"
    assert (reading.sessions, reading.traffic, reading.history) == (None, None, None)
    assert len(reading.events) == 40


def test_rates_of_the_history_are_asked_for_every_few_seconds(folder: StateFolder) -> None:
    clock = [100.0]
    with Daemon(folder, Figures()) as daemon:
        source = Source(folder, monotonic=lambda: clock[0])
        for clock[0] in (100.0, 102.0, 104.0, 106.0):
            assert source.read(frozenset({Pane.QUEUES})).history is not None
        source.close()
    assert [name for name, _ in daemon.asked].count("history") == 2


def test_no_daemon_is_an_error_and_the_next_one_is_read(folder: StateFolder) -> None:
    source = Source(folder)
    with Daemon(folder, Figures()):
        source.read(ALL)
    with pytest.raises((NotRunning, Unresponsive)):
        source.read(ALL)
    with pytest.raises(NotRunning):
        source.read(ALL)
    figures = Figures(events=[event(1)])
    with Daemon(folder, figures):
        assert len(source.read(ALL).events) == 1
        source.close()


def test_only_new_events_are_asked_for_unless_some_are_missing(folder: StateFolder) -> None:
    figures = Figures()
    with Daemon(folder, figures) as daemon:
        source = Source(folder)
        source.read(ALL)
        figures.events += [event(41), event(42)]
        assert source.read(ALL).events[-1].number == 42
        figures.events = [event(number) for number in range(1, 301)]
        assert len(source.read(ALL).events) == 300
        source.close()
    lasts = [request.last for name, request in daemon.asked if name == "events"]
    assert lasts == [1000, 100, 100, 1000]


def test_events_are_joined_without_gaps_or_repetitions() -> None:
    known = [event(number) for number in range(1, 6)]
    assert join(known, []) == tuple(known)
    joined = join(known, [event(number) for number in range(4, 8)])
    assert joined is not None
    assert [line.number for line in joined] == [1, 2, 3, 4, 5, 6, 7]
    assert join(known, [event(7)]) is None  # 6 is missing
    assert join(known, [event(1)]) is None  # counted anew
    many = join(known, [event(number) for number in range(6, 6 + EVENTS_KEPT)])
    assert many is not None
    assert len(many) == EVENTS_KEPT
