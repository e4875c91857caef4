"""Reading unit by unit gives what stepping frame by frame gives, however the bytes are cut."""

import re
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warrener.amqp.constants import FRAME_BODY, FRAME_END, FRAME_HEADER, FRAME_METHOD, ReplyCode
from warrener.amqp.errors import FrameError
from warrener.amqp.frames import Reassembly, encode_frame
from warrener.amqp.methods import (
    BasicAck,
    BasicDeliver,
    BasicGetOk,
    BasicNack,
    BasicPublish,
    BasicQosOk,
    BasicReturn,
    Method,
    encode_method_frame,
)
from warrener.amqp.units import (
    ACK_SIZE,
    CONTENT,
    TAGS,
    Shapes,
    Unit,
    What,
    body_size_of,
    next_unit,
)

LIMIT = 4096
HOLD = 6000
HEARTBEAT = encode_frame(8, 0, b"")
METHODS: dict[str, Method] = {
    "publish": BasicPublish("", "q"),
    "deliver": BasicDeliver("c", 7, False, "", "q"),
    "get-ok": BasicGetOk(7, False, "", "q", 0),
    "return": BasicReturn(312, "NO_ROUTE", "", "q"),
}


class Stepping(Shapes):
    """Learns nothing."""

    def run_of(self, shape: tuple[int, int, int, int]) -> re.Pattern[bytes] | None:
        return None


class Piece(NamedTuple):
    """What a run falls apart into."""

    what: What
    channel: int
    method: int
    data: bytes


def header(channel: int, size: int, properties: bytes = b"\0\0") -> bytes:
    return encode_frame(FRAME_HEADER, channel, b"\0\x3c\0\0" + size.to_bytes(8) + properties)


def body(channel: int, size: int) -> bytes:
    return encode_frame(FRAME_BODY, channel, b"\xce" * size)


def frames_of(
    size: int, channel: int = 1, method: Method = METHODS["publish"], part: int = LIMIT
) -> list[bytes]:
    parts = [min(part, size - at) for at in range(0, size, part)]
    return [
        encode_method_frame(channel, method),
        header(channel, size),
        *(body(channel, each) for each in parts),
    ]


def message(
    size: int, channel: int = 1, method: Method = METHODS["publish"], part: int = LIMIT
) -> bytes:
    return b"".join(frames_of(size, channel, method, part))


def ack(tag: int, channel: int = 1, multiple: bool = False) -> bytes:
    return encode_method_frame(channel, BasicAck(tag, multiple))


def read(data: bytes, shapes: Shapes | None = None) -> list[Unit]:
    """All units of ``data``, the last one MORE."""
    units: list[Unit] = []
    pos = 0
    while not units or units[-1].what is not What.MORE:
        units.append(next_unit(data, pos, LIMIT, HOLD, shapes or Stepping()))
        pos = units[-1].end
    return units


# -- the oracle -----------------------------------------------------------------------------------


def whole_frames(data: bytes) -> tuple[list[bytes], str]:
    """Frames one by one, and what is wrong with the next one; empty if it is only incomplete."""
    found = []
    pos = 0
    while len(data) - pos >= 7:
        size = int.from_bytes(data[pos + 3 : pos + 7])
        if size > LIMIT:
            return found, f"frame payload of {size} bytes is over the limit of {LIMIT}"
        end = pos + size + 8
        if end > len(data):
            break
        if data[end - 1] != FRAME_END:
            return found, f"frame end should be {FRAME_END:#x}, is {data[end - 1]:#x}"
        found.append(data[pos:end])
        pos = end
    return found, ""


def method_of(frame: bytes) -> int:
    return int.from_bytes(frame[7:11]) if frame[0] == FRAME_METHOD and len(frame) >= 12 else 0


def oracle(data: bytes) -> tuple[list[Piece], str, bytes]:
    """Pieces, what is wrong then, and what is left when nothing is: as slowly as one can."""
    frames, wrong = whole_frames(data)
    pieces: list[Piece] = []
    used = at = 0
    while at < len(frames):
        frame = frames[at]
        channel, method = int.from_bytes(frame[1:3]), method_of(frame)
        what, count = What.FRAME, 1
        if method in CONTENT:
            taken, problem = content_of(frames[at + 1 :], channel)
            tail = data[used + sum(map(len, frames[at:])) :]
            if problem:
                return pieces, problem, b""
            if taken is None:  # complete so far, and what comes next decides
                if wrong and tail_belongs(tail, frames[at + 1 :], channel):
                    return pieces, wrong, b""
                if len(tail) < 7 or tail_belongs(tail, frames[at + 1 :], channel):
                    return pieces, "", data[used:]
                taken = 0
            if taken:
                what, count = What.MESSAGES, 1 + taken
        elif method == BasicAck.ID and len(frame) == ACK_SIZE:
            what = What.ACKS
        piece = b"".join(frames[at : at + count])
        pieces.append(Piece(what, channel, method, piece))
        used += len(piece)
        at += count
    return pieces, wrong, b"" if wrong else data[used:]


def content_of(frames: list[bytes], channel: int) -> tuple[int | None, str]:
    """How many of the frames behind a method are its content: 0 if they don't follow directly or
    are too much, None if that can't be told yet."""
    if not frames:
        return None, ""
    first = frames[0]
    if first[0] != FRAME_HEADER or int.from_bytes(first[1:3]) != channel or len(first) < 22:
        return 0, ""
    missing = int.from_bytes(first[11:19])
    if missing > HOLD:
        return 0, ""
    count = 1
    for frame in frames[1:]:
        if not missing:
            break
        size = len(frame) - 8
        if frame[0] != FRAME_BODY or int.from_bytes(frame[1:3]) != channel or not size:
            return 0, ""
        if size > missing:
            return 0, f"a body is {size - missing} bytes longer than its header says"
        missing -= size
        count += 1
    return (None if missing else count), ""


def tail_belongs(tail: bytes, frames: list[bytes], channel: int) -> bool:
    """Whether the beginning of a frame in ``tail`` may be the next of a message's content."""
    if len(tail) < 7:
        return True
    if int.from_bytes(tail[1:3]) != channel:
        return False
    size = int.from_bytes(tail[3:7])
    if not frames:
        return tail[0] == FRAME_HEADER and size >= 14
    return tail[0] == FRAME_BODY and size > 0


def pieces_of(data: bytes, units: list[Unit]) -> list[Piece]:
    """Runs cut into their messages and acks."""
    found = []
    pos = 0
    for unit in units:
        count = max(unit.count, 1)
        size, rest = divmod(unit.end - pos, count)
        assert rest == 0, "all of a run are of one size"
        for at in range(pos, unit.end, size):
            found.append(Piece(unit.what, unit.channel, unit.method, data[at : at + size]))
        pos = unit.end
    return found


def outcome(data: bytes, shapes: Shapes) -> tuple[list[Piece], str, bytes]:
    """What ``next_unit`` makes of it, in the oracle's words."""
    units: list[Unit] = []
    pos = 0
    while True:
        try:
            unit = next_unit(data, pos, LIMIT, HOLD, shapes)
        except FrameError as problem:
            if not pos <= problem.at < len(data):
                raise AssertionError("the error is elsewhere") from problem
            return pieces_of(data, units), problem.text, b""
        if unit.what is What.MORE:
            assert unit.end > len(data), "else it would be waited for without end"
            return pieces_of(data, units), "", data[pos:]
        units.append(unit)
        pos = unit.end


def cut_and_joined(data: bytes, cuts: list[int], shapes: Shapes) -> tuple[list[Piece], str, bytes]:
    """The same for bytes that come in chunks, as a session reads them."""
    inbox = Reassembly()
    found: list[Piece] = []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        joined = inbox.join(data[start:end])
        if joined is None:
            continue
        pos = 0
        while True:
            try:
                unit = next_unit(joined, pos, LIMIT, HOLD, shapes)
            except FrameError as problem:
                return found, problem.text, b""
            if unit.what is What.MORE:
                break
            found += pieces_of(joined[pos : unit.end], [unit._replace(end=unit.end - pos)])
            pos = unit.end
        inbox.keep(joined[pos:], unit.end - pos)
    return found, "", inbox.take()


def agree(got: tuple[list[Piece], str, bytes], wanted: tuple[list[Piece], str, bytes]) -> None:
    pieces, wrong, left = got
    assert pieces == wanted[0]
    assert bool(wrong) == bool(wanted[1])
    assert wrong.endswith(wanted[1])
    assert left == wanted[2]


channels = st.integers(1, 3)
contents = st.sampled_from(sorted(METHODS.values(), key=repr))


def interleaved(streams: list[list[bytes]], turns: list[int]) -> bytes:
    """Frames of several channels, each in its own order."""
    left = [list(stream) for stream in streams]
    said = []
    for turn in turns:
        stream = left[turn % len(left)]
        if stream:
            said.append(stream.pop(0))
    return b"".join(said + [frame for stream in left for frame in stream])


parts = st.one_of(
    st.builds(
        lambda count, *message_of: message(*message_of) * count,
        st.integers(1, 12),
        st.sampled_from([0, 1, 100, 101]),
        channels,
        contents,
    ),
    st.builds(
        lambda size, channel, method: message(size, channel, method, 1000),
        st.sampled_from([1000, 1001, 2500, HOLD, HOLD + 1]),
        channels,
        contents,
    ),
    st.builds(
        lambda sizes, turns: interleaved(
            [frames_of(size, channel + 1, part=50) for channel, size in enumerate(sizes)], turns
        ),
        st.lists(st.sampled_from([0, 40, 120]), min_size=2, max_size=3),
        st.lists(st.integers(0, 5), max_size=12),
    ),
    st.builds(
        lambda tag, n, channel: ack(tag, channel) * n,
        st.integers(1, 9),
        st.integers(1, 9),
        channels,
    ),
    st.builds(
        lambda kind, size: encode_frame(kind, 1, b"x" * size), st.integers(0, 9), st.integers(0, 5)
    ),
    st.builds(lambda channel: encode_method_frame(channel, BasicQosOk()), channels),
    st.builds(lambda channel: encode_method_frame(channel, BasicNack(3)), channels),
    st.builds(body, channels, st.integers(0, 3)),
    st.builds(header, channels, st.integers(0, 3)),
    st.builds(encode_method_frame, channels, contents),
    st.just(HEARTBEAT),
)
streams = st.lists(parts, min_size=1, max_size=8).map(b"".join)


def taught(data: bytes) -> Shapes:
    """Shapes that know this stream's runs."""
    shapes = Shapes()
    for _ in range(Shapes.AFTER):
        outcome(data, shapes)
    return shapes


makers = st.sampled_from([lambda _: Stepping(), lambda _: Shapes(), taught])


@settings(max_examples=600, deadline=None)
@given(data=streams, cut=st.integers(0, 40), make=makers)
def test_units_are_what_frame_by_frame_is(
    data: bytes, cut: int, make: Callable[[bytes], Shapes]
) -> None:
    data = data[: len(data) - cut]
    agree(outcome(data, make(data)), oracle(data))


@settings(max_examples=400, deadline=None)
@given(
    data=streams,
    at=st.floats(0, 1, exclude_max=True),
    value=st.integers(0, 255),
    make=makers,
)
def test_one_wrong_octet_is_found_where_frame_by_frame_finds_it(
    data: bytes, at: float, value: int, make: Callable[[bytes], Shapes]
) -> None:
    shapes = make(data)
    spoilt = bytearray(data)
    spoilt[int(at * len(data))] = value
    agree(outcome(bytes(spoilt), shapes), oracle(bytes(spoilt)))


@settings(max_examples=400, deadline=None)
@given(data=streams, cuts=st.lists(st.floats(0, 1), max_size=8), make=makers)
def test_any_split_gives_the_same_pieces(
    data: bytes, cuts: list[float], make: Callable[[bytes], Shapes]
) -> None:
    places = sorted(int(cut * len(data)) for cut in cuts)
    assert cut_and_joined(data, places, make(data)) == outcome(data, Stepping())


# -- kinds of units -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("size", [0, 1, LIMIT, LIMIT + 1, HOLD])
def test_a_whole_message_is_one_unit(name: str, size: int) -> None:
    data = message(size, 7, METHODS[name])
    first, more = read(data)
    assert first == Unit(What.MESSAGES, len(data), FRAME_METHOD, 7, METHODS[name].ID, 1)
    assert (more.what, more.end) == (What.MORE, len(data) + 8)


def test_a_run_is_one_unit_once_its_shape_is_known() -> None:
    one = message(100)
    units = read(one * 50, Shapes())
    assert [unit.count for unit in units] == [1, 1, 1, 50 - 3, 0]
    assert units[3].end == 50 * len(one)


def test_a_run_is_of_one_channel() -> None:
    shapes = Shapes()
    read(message(100) * 8, shapes)
    data = message(100, 1) * 3 + message(100, 2) * 2 + message(100, 1)
    assert [(u.channel, u.count) for u in read(data, shapes)[:-1]] == [(1, 3), (2, 2), (1, 1)]


def test_channels_may_take_turns_inside_a_run_only_between_messages() -> None:
    """Sizes and order are those of a run, the channels aren't."""
    shapes = Shapes()
    read(message(100) * 8, shapes)
    mixed = message(100, 1) + b"".join(
        [encode_method_frame(1, METHODS["publish"]), header(2, 100), body(1, 100)]
    )
    units = read(mixed, shapes)
    assert [unit.what for unit in units[:-1]] == [What.MESSAGES, *[What.FRAME] * 3]


def test_acks_on_one_channel_are_one_unit() -> None:
    data = ack(1) + ack(2, multiple=True) + ack(3, 2) + ack(4, 2) + HEARTBEAT
    first, second, beat, _ = read(data)
    assert (first.what, first.channel, first.count) == (What.ACKS, 1, 2)
    assert (second.what, second.channel, second.count) == (What.ACKS, 2, 2)
    assert beat.what is What.FRAME
    assert list(TAGS.iter_unpack(data[: first.end])) == [(1, 0), (2, 1)]


@pytest.mark.parametrize("frame", [encode_method_frame(3, BasicQosOk()), HEARTBEAT, body(3, 4)])
def test_any_other_frame_is_a_unit_of_its_own(frame: bytes) -> None:
    first, second, _ = read(frame * 2)
    assert first.what is second.what is What.FRAME
    assert (first.end, second.end) == (len(frame), 2 * len(frame))
    assert first.kind == frame[0]
    assert first.channel == int.from_bytes(frame[1:3])


def test_a_message_larger_than_is_held_comes_frame_by_frame() -> None:
    data = message(HOLD + 1)
    assert [unit.what for unit in read(data)[:-1]] == [What.FRAME] * 4
    beginning = data[: len(data) - 100]
    assert [unit.what for unit in read(beginning)[:-1]] == [What.FRAME] * 3


def test_a_message_that_is_held_is_waited_for_as_a_whole() -> None:
    data = message(HOLD)
    for end in range(len(data)):
        (more,) = read(data[:end])
        assert more.what is What.MORE
        assert end < more.end <= len(data) + 7


def test_interleaved_messages_come_frame_by_frame() -> None:
    data = interleaved([frames_of(10, 1), frames_of(10, 2)], [0, 1] * 3)
    units = read(data)[:-1]
    assert [(unit.what, unit.channel) for unit in units] == [
        (What.FRAME, channel) for channel in [1, 2] * 3
    ]
    assert [unit.method for unit in units] == [BasicPublish.ID] * 2 + [0] * 4


@pytest.mark.parametrize("size", [0, 3])
def test_a_header_too_short_to_be_one_is_left_to_the_broker(size: int) -> None:
    data = encode_method_frame(1, METHODS["publish"]) + encode_frame(FRAME_HEADER, 1, b"h" * 13)
    assert [unit.what for unit in read(data + body(1, size))[:-1]] == [What.FRAME] * 3


def test_an_empty_body_frame_is_left_to_the_broker() -> None:
    data = encode_method_frame(1, METHODS["publish"]) + header(1, 5) + body(1, 0) + body(1, 5)
    assert [unit.what for unit in read(data)[:-1]] == [What.FRAME] * 4


@pytest.mark.parametrize("parts", [[6], [3, 3]])
def test_a_body_longer_than_its_header_says_is_an_unexpected_frame(parts: list[int]) -> None:
    data = encode_method_frame(1, METHODS["publish"]) + header(1, 5)
    data += b"".join(body(1, each) for each in parts)
    with pytest.raises(FrameError, match="1 bytes longer than its header says") as caught:
        read(data)
    assert caught.value.code is ReplyCode.UNEXPECTED_FRAME


@pytest.mark.parametrize("place", range(3))
def test_a_missing_end_octet_is_found_in_every_frame_of_a_message(place: int) -> None:
    frames = frames_of(10)
    frames[place] = frames[place][:-1] + b"\0"
    with pytest.raises(FrameError, match="frame end should be 0xce, is 0x0") as caught:
        read(message(10) + b"".join(frames), taught(message(10) * 8))
    assert caught.value.code is ReplyCode.FRAME_ERROR
    assert caught.value.at == len(message(10)) + sum(map(len, frames[:place]))


@pytest.mark.parametrize("kind", [FRAME_METHOD, FRAME_HEADER, FRAME_BODY, 8])
@pytest.mark.parametrize("tail", [0, 1, 4, 100])
def test_a_frame_over_the_limit_is_found_by_its_head(kind: int, tail: int) -> None:
    head = bytes([kind]) + b"\0\1" + (LIMIT + 1).to_bytes(4)
    with pytest.raises(FrameError, match="over the limit of 4096"):
        read(head + b"x" * tail)


@pytest.mark.parametrize("before", [1, 2])
def test_a_content_frame_over_the_limit_is_found_before_it_arrives(before: int) -> None:
    frames = frames_of(10)[:before]
    kind = FRAME_HEADER if before == 1 else FRAME_BODY
    head = bytes([kind]) + b"\0\1" + (LIMIT + 1).to_bytes(4)
    with pytest.raises(FrameError, match="over the limit of 4096"):
        read(b"".join(frames) + head)


# -- the last bytes -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_a_frame_of_up_to_ten_bytes_at_the_end_is_a_unit(size: int) -> None:
    """Too short for a method id: 7 to 10 bytes are left where 11 are looked at elsewhere."""
    frame = encode_frame(FRAME_BODY, 2, b"x" * size)
    first, more = read(frame)
    assert first == Unit(What.FRAME, 8 + size, FRAME_BODY, 2, 0, 0)
    assert (more.what, more.end) == (What.MORE, 16 + size)
    for cut in range(len(frame)):
        (more,) = read(frame[:cut])
        assert (more.what, more.end) == (What.MORE, len(frame) if cut >= 7 else 8)


def test_a_short_tail_with_a_wrong_end_is_refused() -> None:
    with pytest.raises(FrameError, match="frame end"):
        read(HEARTBEAT[:-1] + b"\0")


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_a_method_frame_too_short_for_an_id_is_a_frame_without_one(size: int) -> None:
    for behind in (b"", message(10)):
        first = read(encode_frame(FRAME_METHOD, 1, b"x" * size) + behind)[0]
        assert (first.what, first.end, first.method) == (What.FRAME, 8 + size, 0)


def test_an_ack_of_another_size_is_left_to_the_broker() -> None:
    odd = encode_frame(FRAME_METHOD, 1, BasicAck.ID.to_bytes(4) + b"x" * 10)
    assert [unit.what for unit in read(ack(1) + odd)[:-1]] == [What.ACKS, What.FRAME]


# -- what is remembered ---------------------------------------------------------------------------


def test_what_is_remembered_is_bounded() -> None:
    shapes = Shapes()
    for size in range(20 * Shapes.KEPT):
        for _ in range(1 + size % (Shapes.AFTER + 1)):
            shapes.run_of((10, BasicPublish.ID, 14, size))
    assert len(shapes._known) <= Shapes.KEPT


def test_a_stream_of_changing_sizes_compiles_nothing() -> None:
    shapes = Shapes()
    for _ in range(50):
        for size in (100, 101, 102):
            assert shapes.run_of((10, BasicPublish.ID, 14, size)) is None
    assert not shapes._known


@given(size=st.integers(0, 2**64 - 1), properties=st.binary(max_size=9))
def test_the_body_size_is_read_from_a_header(size: int, properties: bytes) -> None:
    payload = b"\0\x3c\0\0" + size.to_bytes(8) + b"\0\0" + properties
    assert body_size_of(payload) == size
