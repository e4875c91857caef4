import pytest

from warrener.amqp.constants import FRAME_BODY, FRAME_HEADER, FRAME_METHOD
from warrener.amqp.frames import encode_frame
from warrener.amqp.methods import BasicAck, BasicPublish, encode_method_frame
from warrener.testing.simulated_wire import (
    ContentAssembler,
    Frame,
    FrameSplitter,
    Malformed,
    Message,
    body_of,
    encode_message,
)

MESSAGE = Message(17, 4, body_of(17))  # a long body


def frames_of(data: bytes) -> list[Frame]:
    return list(FrameSplitter().feed(data))


def assemble(*frames: bytes) -> list[object]:
    contents = ContentAssembler()
    said = [contents.take(frame) for frame in frames_of(b"".join(frames))]
    return [one for one in said if one is not None]


def test_frames_come_out_whole_however_they_are_cut() -> None:
    data = b"".join(encode_message(3, BasicPublish("", "q"), MESSAGE, 50))
    for size in (1, 2, 7, 8, 100, len(data)):
        splitter = FrameSplitter()
        frames = [
            frame
            for at in range(0, len(data), size)
            for frame in splitter.feed(data[at : at + size])
        ]
        assert frames == frames_of(data)
        assert splitter.rest == 0


def test_a_wrong_end_octet_is_malformed() -> None:
    with pytest.raises(Malformed, match="ends in 0xcc"):
        frames_of(encode_method_frame(1, BasicAck(1))[:-1] + b"\xcc")


@pytest.mark.parametrize("step", [7, 50, 1 << 16])
def test_a_message_survives_its_frames(step: int) -> None:
    said = assemble(*encode_message(3, BasicPublish("", "q"), MESSAGE, step))
    assert said == [(3, BasicPublish("", "q"), MESSAGE)]
    assert MESSAGE.whole


def test_other_channels_may_speak_in_the_middle_of_a_content() -> None:
    one = encode_message(1, BasicPublish("", "q"), MESSAGE, 100)
    two = encode_message(2, BasicPublish("", "r"), Message(2, 0, body_of(2)))
    mixed = [one[0], two[0], one[1], encode_method_frame(3, BasicAck(1)), *two[1:], *one[2:]]
    assert [said[0] for said in assemble(*mixed)] == [3, 2, 1]  # type: ignore[index]


def test_its_own_channel_may_not() -> None:
    method, header, *_ = encode_message(1, BasicPublish("", "q"), MESSAGE)
    with pytest.raises(Malformed, match=r"basic\.ack in the middle"):
        assemble(method, header, encode_method_frame(1, BasicAck(1)))
    with pytest.raises(Malformed, match="second header"):
        assemble(method, header, header)
    with pytest.raises(Malformed, match="before its header"):
        assemble(method, encode_frame(FRAME_BODY, 1, b"x"))


def test_content_without_its_method_is_malformed() -> None:
    with pytest.raises(Malformed, match="belongs to no content"):
        assemble(encode_frame(FRAME_BODY, 1, b"x"))


def test_a_body_longer_than_promised_is_malformed() -> None:
    *frames, last = encode_message(1, BasicPublish("", "q"), MESSAGE)
    with pytest.raises(Malformed, match="longer"):
        assemble(*frames, encode_frame(FRAME_BODY, 1, frames_of(last)[0].payload + b"x"))


def test_an_unknown_frame_type_is_malformed() -> None:
    method, *_ = encode_message(1, BasicPublish("", "q"), MESSAGE)
    with pytest.raises(Malformed, match="type 4"):
        assemble(method, encode_frame(4, 1, b""))


def test_a_changed_body_is_noticed() -> None:
    assert not Message(17, 0, body_of(17)[:-1]).whole
    assert not Message(16, 0, body_of(17)).whole


def test_bodies_of_many_sizes_occur_the_empty_one_included() -> None:
    sizes = {len(body_of(number)) for number in range(1, 400)}
    assert 0 in sizes
    assert max(sizes) > 300
    assert len(sizes) > 50


def test_kinds_of_frames_are_in_order() -> None:
    kinds = [
        frame.kind for frame in frames_of(b"".join(encode_message(1, BasicPublish(), MESSAGE)))
    ]
    assert kinds == [FRAME_METHOD, FRAME_HEADER, FRAME_BODY]
