"""A message body proves which message it is and that nothing of it is missing or foreign."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.drills.messages import LEAST_SIZE, Damaged, MessageNumber, body_of, number_of

NUMBERS = st.integers(1, 10**12).map(MessageNumber)
SIZES = st.integers(LEAST_SIZE, 5_000)


@given(NUMBERS, SIZES)
def test_a_body_tells_its_number(number: MessageNumber, size: int) -> None:
    body = body_of(number, size)
    assert len(body) == size
    assert number_of(body) == number


@given(NUMBERS, SIZES, st.data())
def test_a_changed_byte_shows(number: MessageNumber, size: int, data: st.DataObject) -> None:
    body = bytearray(body_of(number, size))
    at = data.draw(st.integers(0, size - 1))
    body[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Damaged):
        number_of(bytes(body))


@given(NUMBERS, SIZES, st.data())
def test_a_missing_or_doubled_piece_shows(
    number: MessageNumber, size: int, data: st.DataObject
) -> None:
    body = body_of(number, size)
    begin = data.draw(st.integers(0, size - 1))
    end = data.draw(st.integers(begin + 1, size))
    for wrong in (body[:begin] + body[end:], body[:end] + body[begin:]):
        with pytest.raises(Damaged):
            number_of(wrong)


def test_a_piece_of_another_message_shows() -> None:
    first, second = body_of(MessageNumber(7), 1000), body_of(MessageNumber(8), 1000)
    with pytest.raises(Damaged, match="message 7: 1000 bytes, not all of them its own"):
        number_of(first[:500] + second[500:])


@pytest.mark.parametrize("body", [b"", b"hello", b"1/2", b"/40;" * 10, b"7/;" * 20])
def test_what_was_never_a_message_is_damaged(body: bytes) -> None:
    with pytest.raises(Damaged):
        number_of(body)


def test_too_small_a_body_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 40 bytes"):
        body_of(MessageNumber(1), 39)
