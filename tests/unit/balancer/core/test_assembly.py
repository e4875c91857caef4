"""Messages that come frame by frame: collected when small, passed on when large."""

import pytest

from warrener.amqp.constants import FRAME_BODY, FRAME_HEADER
from warrener.amqp.frames import encode_frame
from warrener.amqp.methods import BasicPublish, encode_method_frame
from warrener.balancer.core.assembly import Assembly

METHOD = encode_method_frame(1, BasicPublish("", "q"))
HOLD = 100


def header(size: int) -> bytes:
    return encode_frame(FRAME_HEADER, 1, b"\0\x3c\0\0" + size.to_bytes(8) + b"\0\0")


def body(size: int) -> bytes:
    return encode_frame(FRAME_BODY, 1, b"x" * size)


@pytest.mark.parametrize("sizes", [[], [1], [60, 40], [100]])
def test_a_small_message_is_complete_with_its_last_byte_and_taken_as_a_whole(
    sizes: list[int],
) -> None:
    assembly = Assembly(BasicPublish.ID, METHOD)
    assert assembly.streams is None
    assert not assembly.complete
    frames = [header(sum(sizes)), *map(body, sizes)]
    for place, frame in enumerate(frames):
        assert not assembly.complete
        if place == 0:
            assembly.header(frame, HOLD)
        else:
            assembly.body(frame)
    assert assembly.streams is False
    assert assembly.complete
    assert assembly.take() == METHOD + b"".join(frames)


def test_a_large_message_is_taken_as_it_comes() -> None:
    assembly = Assembly(BasicPublish.ID, METHOD)
    assembly.header(header(101), HOLD)
    assert assembly.streams is True
    assert assembly.take() == METHOD + header(101)
    assembly.body(body(100))
    assert not assembly.complete
    assert assembly.take() == body(100)
    assembly.body(body(1))
    assert assembly.complete
    assert assembly.take() == body(1)
    assert assembly.take() == b""


def test_a_header_too_short_to_be_one_promises_nothing() -> None:
    assembly = Assembly(BasicPublish.ID, METHOD)
    short = encode_frame(FRAME_HEADER, 1, b"h" * 13)
    assembly.header(short, HOLD)
    assert assembly.complete
    assert assembly.take() == METHOD + short


def test_a_body_longer_than_promised_is_complete_and_passed_on() -> None:
    """For the broker to complain about."""
    assembly = Assembly(BasicPublish.ID, METHOD)
    assembly.header(header(1), HOLD)
    assembly.body(body(5))
    assert assembly.complete
    assert assembly.take() == METHOD + header(1) + body(5)
