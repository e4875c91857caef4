"""Notes survive being written down; a line that isn't one is a mistake that shows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.drills.messages import MessageNumber
from warrener.drills.notes import BadNote, Note, NoteKind, TroubleKind, decode_note, encode_note

AT = st.floats(0, 1e7)
NUMBERS = st.integers(1, 10**12).map(MessageNumber)
TEXTS = st.text(max_size=50)
NOTES = st.one_of(
    st.builds(
        Note,
        AT,
        st.sampled_from(
            [
                NoteKind.PUBLISHED,
                NoteKind.CONFIRMED,
                NoteKind.REFUSED,
                NoteKind.ACKED,
                NoteKind.REPUBLISHED,
                NoteKind.GIVEN_BACK,
            ]
        ),
        NUMBERS,
    ),
    st.builds(Note, AT, st.just(NoteKind.RETURNED), NUMBERS, code=st.integers(300, 320)),
    st.builds(Note, AT, st.just(NoteKind.DELIVERED), NUMBERS, st.booleans()),
    st.builds(
        Note,
        AT,
        st.just(NoteKind.TROUBLE),
        trouble=st.sampled_from(list(TroubleKind)),
        text=TEXTS,
    ),
    st.builds(
        Note,
        AT,
        st.sampled_from([NoteKind.REMARK, NoteKind.DAMAGED, NoteKind.DISCONNECTED]),
        text=TEXTS,
    ),
    st.builds(Note, AT, st.just(NoteKind.ENDED)),
)


@given(NOTES)
def test_a_note_survives_its_line(note: Note) -> None:
    line = encode_note(note)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_note(line) == note


def test_what_other_languages_write_is_read() -> None:
    """JavaScript has no integers."""
    assert decode_note(b'[12, "published", 3]') == Note(12.0, NoteKind.PUBLISHED, MessageNumber(3))
    line = b'[1.5, "trouble", "channel closed", "404"]'
    assert decode_note(line) == Note(
        1.5, NoteKind.TROUBLE, trouble=TroubleKind.CHANNEL_CLOSED, text="404"
    )


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"[1]",
        b'[1, "flown", 3]',
        b'[1, "published"]',
        b'[1, "published", 3, 4]',
        b'[1, "published", "three"]',
        b'["now", "ended"]',
        b'[1, "delivered", 3, 1]',
        b'[1, "published", true]',
        b'[1, "trouble", "ennui", "text"]',
        b'[1, "published", 3',
    ],
)
def test_a_line_that_is_no_note_is_refused(line: bytes) -> None:
    with pytest.raises(BadNote):
        decode_note(line)
