"""A client program's own part: messages, pace, notebook."""

import logging
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.drills.messages import MessageNumber, body_of, number_of
from warrener.drills.notes import Note, NoteKind, TroubleKind, decode_note
from warrener.drills.program import Job, Messages, Notebook, Pace


def job(**changes: object) -> Job:
    return Job(name="p", kind="publisher", url="amqp://", queue="q", **changes)  # type: ignore[arg-type]


def test_messages_are_numbered_on_and_some_are_big() -> None:
    messages = Messages(job(first_number=11, size=50, big_every=3, big_size=200))
    made = [messages.next() for _ in range(6)]
    assert [number for number, _ in made] == [11, 12, 13, 14, 15, 16]
    assert [len(body) for _, body in made] == [50, 50, 200, 50, 50, 200]
    assert all(number_of(body) == number for number, body in made)


@given(st.lists(st.floats(0.001, 0.09), min_size=1, max_size=200), st.integers(1, 1000))
def test_the_pace_is_kept(steps: list[float], rate: int) -> None:
    """Looked at often enough, exactly ``rate`` messages a second are due, rounded down."""
    now, sent = 100.0, 0
    pace = Pace(rate, now)
    for step in steps:
        now += step
        due = pace.due(now)
        for _ in range(due):
            pace.sent()
        sent += due
        assert pace.due(now) == 0
        if rate * 0.01 >= 1:  # a message is due more often than the tenth of a second
            assert abs(sent - (now - 100.0) * rate) <= 1.01
        assert pace.due(now + pace.wait(now) + 1e-6) >= 1


def test_a_pause_is_not_caught_up_on() -> None:
    pace = Pace(100, 0.0)
    assert pace.due(60.0) == 10


def test_each_note_is_written_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    book = Notebook()
    number = MessageNumber(5)

    def last() -> Note:
        (line,) = capfd.readouterr().out.encode().splitlines(keepends=True)
        return decode_note(line)

    for write, kind in (
        (book.published, NoteKind.PUBLISHED),
        (book.confirmed, NoteKind.CONFIRMED),
        (book.refused, NoteKind.REFUSED),
        (book.acked, NoteKind.ACKED),
        (book.republished, NoteKind.REPUBLISHED),
        (book.given_back, NoteKind.GIVEN_BACK),
    ):
        write(number)
        note = last()
        assert (note.kind, note.number) == (kind, number)
    book.returned(number, 312)
    assert last().code == 312
    assert book.delivered(body_of(number, 60), True) == number
    note = last()
    assert (note.kind, note.number, note.redelivered) == (NoteKind.DELIVERED, number, True)
    assert book.delivered(b"rubbish", False) is None
    note = last()
    assert note.kind is NoteKind.DAMAGED
    assert "rubbish" in note.text
    book.given_back(None)
    book.acked(None)  # it couldn't be told which
    book.trouble(TroubleKind.EXCEPTION, ValueError("no"))
    assert last().text == "ValueError: no"
    book.disconnected(ConnectionResetError("cut"))
    note = last()
    assert (note.kind, note.text) == (NoteKind.DISCONNECTED, "ConnectionResetError: cut")
    book.remark("blocked")
    assert last().text == "blocked"
    book.ended()
    assert last().kind is NoteKind.ENDED


def test_a_warning_of_the_library_is_a_trouble(capfd: pytest.CaptureFixture[str]) -> None:
    name = f"library-{os.getpid()}"
    Notebook().watch_log(name)
    logging.getLogger(f"{name}.inner").info("all is well")
    logging.getLogger(f"{name}.inner").warning("unknown tag %d", 7)
    note = decode_note(capfd.readouterr().out.encode())
    assert note.trouble is TroubleKind.COMPLAINT
    assert note.text == f"{name}.inner: unknown tag 7"
