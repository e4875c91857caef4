"""The frame scanner: however a stream is cut, the same frames come out, and only whole ones."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from warrener.amqp.constants import (
    FRAME_BODY,
    FRAME_HEADER,
    FRAME_HEARTBEAT,
    FRAME_METHOD,
    HEARTBEAT,
    ReplyCode,
)
from warrener.amqp.errors import FrameError
from warrener.amqp.frames import (
    NO_METHOD,
    Reassembly,
    Verdict,
    encode_frame,
    is_heartbeat,
    payload_of,
    scan,
)

PUBLISH = 60 << 16 | 40
DELIVER = 60 << 16 | 60
CHANNEL_OPEN = 20 << 16 | 10
CONNECTION_CLOSE = 10 << 16 | 50
PASSING = frozenset({PUBLISH, DELIVER})
LIMIT = 64


class Frame(NamedTuple):
    kind: int
    channel: int
    payload: bytes

    def wire(self) -> bytes:
        """Written by hand, so that it isn't the code under test that says what a frame is."""
        head = bytes([self.kind]) + self.channel.to_bytes(2, "big")
        return head + len(self.payload).to_bytes(4, "big") + self.payload + b"\xce"

    def method(self) -> int:
        if self.kind != 1 or len(self.payload) < 4:
            return NO_METHOD
        return int.from_bytes(self.payload[:4], "big")

    def needs_decision(self) -> bool:
        if self.kind in (2, 3):
            return False
        return len(self.payload) < 4 or self.kind != 1 or self.method() not in PASSING


class Decided(NamedTuple):
    kind: int
    channel: int
    method: int
    wire: bytes


def naive(frames: Iterable[Frame]) -> list[bytes | Decided]:
    """What a scan must show: bytes that pass, and frames to decide about, in order."""
    shown: list[bytes | Decided] = [b""]
    for frame in frames:
        if frame.needs_decision():
            shown += [Decided(frame.kind, frame.channel, frame.method(), frame.wire()), b""]
        else:
            last = shown[-1]
            assert isinstance(last, bytes)
            shown[-1] = last + frame.wire()
    return shown


class Reader:
    """Drives Reassembly and scan as a session does."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.inbox = Reassembly()
        self.shown: list[bytes | Decided] = [b""]
        self.contents = 0
        self.handed = 0  # bytes given to scan, counted each time
        self.joins = 0  # times that there was something to scan
        self.forwarded = 0

    def feed(self, chunk: bytes) -> None:
        data = self.inbox.join(chunk)
        if data is None:
            return
        self.joins += 1
        self.handed += len(data)
        pos = 0
        while True:
            found = scan(data, pos, self.limit, PASSING)
            self.contents += found.contents
            last = self.shown[-1]
            assert isinstance(last, bytes)
            self.shown[-1] = last + data[pos : found.end]
            if found.verdict is Verdict.MORE:
                break
            wire = data[found.end : found.next_end]
            self.shown += [Decided(found.kind, found.channel, found.method, wire), b""]
            pos = found.next_end
        self.forwarded += found.end
        self.inbox.keep(data[found.end :], found.next_end - found.end)

    def bytes_shown(self) -> bytes:
        return b"".join(part if isinstance(part, bytes) else part.wire for part in self.shown)


methods = st.builds(
    lambda method, rest: method.to_bytes(4, "big") + rest,
    st.sampled_from([PUBLISH, DELIVER, CHANNEL_OPEN, CONNECTION_CLOSE, 0xFFFFFFFF, 0]),
    st.binary(max_size=12),
)
payloads = st.one_of(
    st.binary(max_size=4), methods, st.just(b"\xce" * 9), st.binary(min_size=LIMIT, max_size=LIMIT)
)
frame_lists = st.lists(
    st.builds(
        Frame,
        st.one_of(st.sampled_from([1, 1, 2, 3, 3, 8]), st.integers(0, 255)),
        st.one_of(st.sampled_from([0, 1, 7, 65535]), st.integers(0, 65535)),
        payloads,
    ),
    max_size=12,
)


@st.composite
def cut_streams(draw: st.DrawFn) -> tuple[list[Frame], list[bytes]]:
    frames = draw(frame_lists)
    stream = b"".join(frame.wire() for frame in frames)
    return frames, cut(stream, draw(cuts_of(len(stream))))


def cuts_of(size: int) -> st.SearchStrategy[Sequence[int]]:
    few = st.lists(st.integers(0, size), max_size=20)
    steps = st.integers(1, 16).map(lambda step: list(range(0, size, step)))
    return st.one_of(few, steps)


def cut(stream: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(cuts), len(stream)]
    return [stream[a:b] for a, b in pairwise(edges) if a < b]


# -- any split gives the same frames ------------------------------------------------------------


@given(cut_streams())
def test_any_split_gives_the_frames_of_a_naive_parser(
    case: tuple[list[Frame], list[bytes]],
) -> None:
    frames, chunks = case
    reader = Reader()
    for chunk in chunks:
        reader.feed(chunk)
    assert reader.shown == naive(frames)
    assert reader.contents == sum(frame.kind == FRAME_HEADER for frame in frames)
    assert reader.inbox.kept == 0


@given(cut_streams())
def test_no_byte_is_lost_added_or_held_back_longer_than_its_frame(
    case: tuple[list[Frame], list[bytes]],
) -> None:
    """After every chunk: all whole frames are out, the rest is kept, together the input."""
    frames, chunks = case
    ends = [0]
    for frame in frames:
        ends.append(ends[-1] + len(frame.wire()))
    reader, came = Reader(), b""
    for chunk in chunks:
        reader.feed(chunk)
        came += chunk
        whole = max(end for end in ends if end <= len(came))
        assert reader.bytes_shown() == came[:whole]
        assert reader.inbox.kept == len(came) - whole


@given(frame_lists, st.data())
def test_a_stream_that_ends_inside_a_frame_leaves_its_beginning_to_be_taken(
    frames: list[Frame], data: st.DataObject
) -> None:
    stream = b"".join(frame.wire() for frame in frames)
    stop = data.draw(st.integers(0, len(stream)))
    reader = Reader()
    for chunk in cut(stream[:stop], data.draw(cuts_of(stop))):
        reader.feed(chunk)
    left = reader.inbox.take()
    assert reader.bytes_shown() + left == stream[:stop]
    assert reader.inbox.kept == 0
    assert reader.inbox.take() == b""


@given(frame_lists, st.binary(max_size=40))
def test_scanning_from_an_offset_is_scanning_what_lies_behind_it(
    frames: list[Frame], before: bytes
) -> None:
    stream = b"".join(frame.wire() for frame in frames)
    plain = scan(stream, 0, LIMIT, PASSING)
    moved = scan(before + stream, len(before), LIMIT, PASSING)
    assert moved == plain._replace(
        end=plain.end + len(before), next_end=plain.next_end + len(before)
    )


# -- what needs a decision ----------------------------------------------------------------------


@pytest.mark.parametrize("size", range(4))
@pytest.mark.parametrize("kind", [0, 1, 4, 5, 8, 0x41, 255])
@pytest.mark.parametrize("behind", [b"", b"\x03", HEARTBEAT, PUBLISH.to_bytes(4, "big") * 4])
def test_frames_too_short_for_a_method_are_decided_without_one(
    kind: int, size: int, behind: bytes
) -> None:
    """The octets that follow a short frame are never taken for its method."""
    payload = PUBLISH.to_bytes(4, "big")[:size]
    wire = Frame(kind, 9, payload).wire()
    found = scan(wire + behind, 0, LIMIT, PASSING)
    assert found == (0, Verdict.DECIDE, len(wire), kind, 9, NO_METHOD, 0)
    assert payload_of(wire + behind, found.end, found.next_end) == payload


class Everything:
    """Passing methods: all there could be."""

    def __contains__(self, method: object) -> bool:
        return True


@pytest.mark.parametrize("behind", [b"", b"\x03" * 20])
@pytest.mark.parametrize("size", range(4))
def test_a_short_method_frame_is_decided_even_if_every_method_passes(
    size: int, behind: bytes
) -> None:
    assert scan(Frame(1, 9, b"\0" * size).wire() + behind, 0, LIMIT, Everything())[:2] == (
        0,
        Verdict.DECIDE,
    )


@pytest.mark.parametrize("size", range(5))
@pytest.mark.parametrize("kind", [FRAME_HEADER, FRAME_BODY])
def test_content_of_any_size_passes(kind: int, size: int) -> None:
    wire = Frame(kind, 9, CHANNEL_OPEN.to_bytes(4, "big").ljust(size)[:size]).wire()
    found = scan(wire, 0, LIMIT, frozenset())
    assert (found.end, found.verdict) == (len(wire), Verdict.MORE)
    assert found.contents == (kind == FRAME_HEADER)


@pytest.mark.parametrize("channel", [0, 1, 65535])
@pytest.mark.parametrize("payload", [b"", b"\0", b"1234", b"12345678"])
def test_heartbeats_are_found_on_any_channel_and_with_any_payload(
    channel: int, payload: bytes
) -> None:
    found = scan(Frame(FRAME_HEARTBEAT, channel, payload).wire(), 0, LIMIT, PASSING)
    assert found.verdict is Verdict.DECIDE
    assert is_heartbeat(found.kind)
    assert (found.channel, found.method) == (channel, NO_METHOD)


def test_only_type_8_is_a_heartbeat() -> None:
    assert [kind for kind in range(256) if is_heartbeat(kind)] == [8]
    assert Frame(8, 0, b"").wire() == HEARTBEAT


def test_the_passing_methods_pass_and_no_others() -> None:
    for method in (PUBLISH, DELIVER, CHANNEL_OPEN, PUBLISH + 1, PUBLISH - 1):
        wire = Frame(1, 3, method.to_bytes(4, "big")).wire()
        found = scan(wire, 0, LIMIT, PASSING)
        if method in PASSING:
            assert (found.end, found.verdict) == (len(wire), Verdict.MORE)
        else:
            assert found == (0, Verdict.DECIDE, len(wire), 1, 3, method, 0)


# -- what can't be a frame ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [1, 2, 3, 8, 99])
def test_a_payload_at_the_limit_is_taken_and_one_over_is_a_frame_error(kind: int) -> None:
    for limit in (0, 1, 2, 3, 4, LIMIT):
        reader = Reader(limit)
        reader.feed(Frame(kind, 1, b"\0" * limit).wire())
        assert reader.bytes_shown() == Frame(kind, 1, b"\0" * limit).wire()
        with pytest.raises(FrameError, match=f"{limit + 1} bytes is over the limit of {limit}"):
            reader.feed(Frame(kind, 1, b"\0" * (limit + 1)).wire())


@given(frame_lists, st.integers(LIMIT + 1, 2**32 - 1), st.data())
def test_a_frame_over_the_limit_is_refused_before_its_payload_comes(
    frames: list[Frame], size: int, data: st.DataObject
) -> None:
    """However it is cut: by the eighth octet of such a frame it is known, and nothing is kept for
    a payload that was only announced."""
    stream = b"".join(frame.wire() for frame in frames)
    stream += b"\x03\x00\x01" + size.to_bytes(4, "big") + b"x"
    chunks = cut(stream, data.draw(cuts_of(len(stream))))
    reader = Reader()
    with pytest.raises(FrameError) as caught:  # noqa: PT012  # which chunk it is, is not the point
        for chunk in chunks:
            reader.feed(chunk)
    assert caught.value.code is ReplyCode.FRAME_ERROR
    assert str(size) in caught.value.text


@given(frame_lists.filter(bool), st.data())
def test_a_wrong_end_octet_on_any_frame_is_a_frame_error_however_it_is_cut(
    frames: list[Frame], data: st.DataObject
) -> None:
    which = data.draw(st.integers(0, len(frames) - 1))
    wrong = data.draw(st.integers(0, 255).filter(lambda octet: octet != 0xCE))
    wires = [frame.wire() for frame in frames]
    wires[which] = wires[which][:-1] + bytes([wrong])
    good = b"".join(wires[:which])
    stream = b"".join(wires)
    reader = Reader()
    chunks = cut(stream, data.draw(cuts_of(len(stream))))
    came = 0
    with pytest.raises(FrameError, match=f"frame end should be 0xce, is {wrong:#x}"):  # noqa: PT012  # as above
        for chunk in chunks:
            came += len(chunk)
            reader.feed(chunk)
    assert good.startswith(reader.bytes_shown())  # nothing of the bad frame, or behind it
    at = len(good) + len(wires[which])
    assert came - len(chunk) < at <= came  # noticed with the chunk that brought the octet


@given(st.binary(max_size=200), st.data())
@example(b"GET / HTTP/1.1\r\n\r\n", None)
def test_noise_gives_frames_or_a_frame_error(noise: bytes, data: st.DataObject | None) -> None:
    reader = Reader()
    cuts = data.draw(cuts_of(len(noise))) if data is not None else []
    try:
        for chunk in cut(noise, cuts):
            reader.feed(chunk)
    except FrameError:
        return
    assert reader.bytes_shown() + reader.inbox.take() == noise


# -- cost ---------------------------------------------------------------------------------------


def test_a_frame_of_many_chunks_is_joined_once() -> None:
    """64 KiB in chunks of 16: without Reassembly's ``wanted`` that would copy 134 MB."""
    body = Frame(FRAME_BODY, 1, b"x" * 65536).wire()
    reader = Reader(65536)
    for chunk in cut(body, range(0, len(body), 16)):
        reader.feed(chunk)
    assert reader.bytes_shown() == body
    assert reader.joins == 2  # the first chunk, which has the header, and the whole
    assert reader.handed == len(body) + 16


def test_a_header_that_comes_octet_by_octet_costs_one_join_more() -> None:
    body = Frame(FRAME_BODY, 1, b"x" * 1000).wire()
    reader = Reader(1000)
    for octet in body:
        reader.feed(bytes([octet]))
    assert reader.bytes_shown() == body
    assert reader.joins == 3


@given(cut_streams())
def test_no_byte_is_handed_to_the_scanner_more_than_three_times(
    case: tuple[list[Frame], list[bytes]],
) -> None:
    """As it comes, when the header is complete, when the frame is."""
    _, chunks = case
    reader = Reader()
    for chunk in chunks:
        reader.feed(chunk)
    assert reader.handed <= 3 * sum(map(len, chunks))


def test_a_chunk_of_whole_frames_that_all_pass_is_the_same_object_to_forward() -> None:
    """One write, no copy: join gives the chunk itself, and the scan ends at its end."""
    chunk = b"".join(
        Frame(kind, 1, payload).wire()
        for kind, payload in [(1, PUBLISH.to_bytes(4, "big") + b"..."), (2, b"h" * 14), (3, b"")]
    )
    inbox = Reassembly()
    assert inbox.join(chunk) is chunk
    found = scan(chunk, 0, LIMIT, PASSING)
    assert (found.end, found.verdict, found.contents) == (len(chunk), Verdict.MORE, 1)
    inbox.keep(chunk[found.end :], found.next_end - found.end)
    assert inbox.join(chunk) is chunk


def test_keeping_twice_without_a_join_is_our_bug() -> None:
    inbox = Reassembly()
    inbox.keep(b"\x01", 8)
    with pytest.raises(AssertionError, match="once"):
        inbox.keep(b"\x01", 8)


# -- writing ------------------------------------------------------------------------------------


@given(st.integers(0, 255), st.integers(0, 65535), st.binary(max_size=300))
def test_a_frame_we_write_is_the_one_read(kind: int, channel: int, payload: bytes) -> None:
    wire = encode_frame(kind, channel, payload)
    assert wire == Frame(kind, channel, payload).wire()
    assert payload_of(b"before" + wire + b"behind", 6, 6 + len(wire)) == payload


def test_frame_types_are_the_specifications() -> None:
    assert (FRAME_METHOD, FRAME_HEADER, FRAME_BODY, FRAME_HEARTBEAT) == (1, 2, 3, 8)
