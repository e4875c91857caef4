"""The load generator's counters against a naive parser: any split of the bytes, same counts."""

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.amqp.errors import ProtocolViolation
from warrener.amqp.frames import encode_frame
from warrener.amqp.methods import (
    BasicAck,
    BasicCancel,
    BasicDeliver,
    BasicNack,
    ChannelClose,
    ConnectionBlocked,
    ConnectionClose,
    ConnectionUnblocked,
    encode_method_frame,
)
from warrener.bench.counting import Confirms, Deliveries
from warrener.bench.wire import BenchError, BrokerClosed

HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"
BODY = 12


def delivery(tag: int, body: bytes = b"w" * BODY, *, redelivered: bool = False) -> bytes:
    header = struct.pack(">HHQH", 60, 0, len(body), 0)
    return (
        encode_method_frame(1, BasicDeliver("bench", tag, redelivered, "", "q1"))
        + encode_frame(2, 1, header)
        + encode_frame(3, 1, body)
    )


def confirm(tag: int, *, multiple: bool = False) -> bytes:
    return encode_method_frame(1, BasicAck(tag, multiple))


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def naive_bodies(data: bytes) -> int:
    """Body frames in whole frames, counted one by one."""
    pos = bodies = 0
    while pos < len(data):
        kind, _, size = struct.unpack_from(">BHI", data, pos)
        bodies += kind == 3
        pos += size + 8
    return bodies


class Oracle:
    """Which numbers are confirmed, as a set."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.published = 0

    def publish(self, count: int) -> None:
        self.open |= set(range(self.published + 1, self.published + count + 1))
        self.published += count


@given(
    count=st.integers(0, 700),
    beats=st.lists(st.integers(0, 700), max_size=4),
    redelivered=st.sets(st.integers(1, 700), max_size=3),
    cuts=st.lists(st.integers(0, 1 << 20), max_size=40),
)
def test_any_split_counts_the_same_deliveries(
    count: int, beats: list[int], redelivered: set[int], cuts: list[int]
) -> None:
    frames = [delivery(tag, redelivered=tag in redelivered) for tag in range(1, count + 1)]
    for beat in beats:
        frames.insert(beat % (len(frames) + 1), HEARTBEAT)
    data = b"".join(frames)
    deliveries = Deliveries(BODY)
    counted = sum(deliveries.feed(chunk) for chunk in split(data, cuts))
    assert counted == deliveries.count == deliveries.tag == naive_bodies(data) == count
    assert deliveries.redelivered == len([tag for tag in redelivered if tag <= count])


def test_more_deliveries_in_one_chunk_than_one_step_proves() -> None:
    deliveries = Deliveries(BODY)
    deliveries.feed(b"".join(delivery(tag) for tag in range(1, 20_001)))
    assert deliveries.count == 20_000


def test_each_body_is_passed_on_when_asked_for() -> None:
    bodies: list[bytes] = []
    deliveries = Deliveries(BODY, bodies.append)
    data = b"".join(delivery(tag, b"%012d" % tag) for tag in (1, 2, 3))
    for i in range(len(data)):
        deliveries.feed(data[i : i + 1])
    assert bodies == [b"000000000001", b"000000000002", b"000000000003"]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (delivery(12), "delivery 12 follows delivery 10"),
        (delivery(10), "delivery 10 follows delivery 10"),
        (delivery(11, b"w" * (BODY + 1)), "13 bytes"),
        (delivery(11)[:-1] + b"\x00", "0x0"),
        (encode_frame(3, 1, b"w" * BODY), "type 3"),
        (delivery(11)[: -BODY - 8] + HEARTBEAT, "not followed by its header and its body"),
    ],
    ids=["gap", "twice", "size", "end octet", "body alone", "heartbeat within"],
)
def test_deliveries_that_may_not_come_are_errors(bad: bytes, said: str) -> None:
    good = b"".join(delivery(tag) for tag in range(1, 11))
    with pytest.raises(BenchError, match=said):
        Deliveries(BODY).feed(good + bad)


def of_a_stream(tag: int, offset: int) -> bytes:
    """A delivery with the header that a stream's have: where in the stream it is."""
    table = b"\x0fx-stream-offsetl" + offset.to_bytes(8)
    header = struct.pack(">HHQHI", 60, 0, BODY, 0x2000, len(table)) + table
    return (
        encode_method_frame(1, BasicDeliver("bench", tag, False, "", "q1"))
        + encode_frame(2, 1, header)
        + encode_frame(3, 1, b"w" * BODY)
    )


def test_headers_that_differ_are_passed_over_at_full_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"".join(of_a_stream(tag, 1_000 + 7 * tag) for tag in range(1, 1_001))
    slow = []
    step_one = Deliveries._step_one

    def step(self: Deliveries, chunk: bytes, pos: int) -> int:
        slow.append(pos)
        return step_one(self, chunk, pos)

    monkeypatch.setattr(Deliveries, "_step_one", step)
    deliveries = Deliveries(BODY, headers=True)
    for at in range(0, len(data), 5_000):
        deliveries.feed(data[at : at + 5_000])
    assert deliveries.count == 1_000
    assert len(slow) < 30  # the first, and what is cut by the ends of chunks


def test_a_changed_body_isnt_counted_where_headers_may_differ() -> None:
    deliveries = Deliveries(BODY, headers=True)
    deliveries.feed(of_a_stream(1, 5))
    with pytest.raises(BenchError, match="0x1"):
        deliveries.feed(of_a_stream(2, 6)[:-1] + b"\x01")


ONE = delivery(9)
HEADER_AT = len(ONE) - 20 - 22
BODY_AT = len(ONE) - 20
PROVEN = [0, 8, 10, 24, HEADER_AT - 1, HEADER_AT, BODY_AT - 1, BODY_AT, len(ONE) - 1]


@given(at=st.sampled_from(PROVEN), which=st.integers(1, 29), flip=st.integers(1, 255))
def test_a_changed_octet_among_the_proven_ones_is_never_counted(
    at: int, which: int, flip: int
) -> None:
    """Types, class, method, the tag's low octet and end octets, in any delivery of a chunk."""
    stream = bytearray(b"".join(delivery(tag) for tag in range(1, 31)))
    stream[which * len(ONE) + at] ^= flip
    deliveries = Deliveries(BODY)
    deliveries.feed(bytes(stream[: len(ONE)]))  # now the form is known
    with pytest.raises((BenchError, ProtocolViolation)):
        deliveries.feed(bytes(stream[len(ONE) :]))
    assert deliveries.count == which


@given(
    batches=st.lists(
        st.tuples(st.integers(1, 50), st.integers(0, 1 << 30), st.booleans()), max_size=30
    ),
    cuts=st.lists(st.integers(0, 1 << 20), max_size=40),
)
def test_any_split_counts_the_same_confirms(
    batches: list[tuple[int, int, bool]], cuts: list[int]
) -> None:
    """Singles in any order and multiples, as a broker may give them."""
    oracle = Oracle()
    frames = []
    confirmed: set[int] = set()
    for count, pick, multiple in batches:
        oracle.publish(count)
        tag = sorted(oracle.open)[pick % len(oracle.open)]
        settled = {t for t in oracle.open if t <= tag} if multiple else {tag}
        oracle.open -= settled
        confirmed |= settled
        frames.append(confirm(tag, multiple=multiple))
        if pick % 5 == 0:
            frames.append(HEARTBEAT)
    confirms = Confirms()
    chunks = split(b"".join(frames), cuts)
    counted = sum(confirms.feed(chunk, oracle.published) for chunk in chunks)
    assert counted == confirms.confirmed == len(confirmed)
    contiguous = next(n for n in range(oracle.published + 1) if n + 1 not in confirmed)
    assert confirms.contiguous == contiguous


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (confirm(101), "confirm 101 came after 100 publishes"),
        (confirm(1) + confirm(1), "confirm 1 came twice"),
        (confirm(3) + confirm(3), "confirm 3 came twice"),
        (confirm(5, multiple=True) + confirm(5, multiple=True), "confirm 5 came twice"),
        (encode_frame(3, 1, b"x"), "type 3"),
        (confirm(1)[:-1] + b"\x00", "0x0"),
    ],
    ids=["future", "twice", "twice early", "twice multiple", "body", "end octet"],
)
def test_confirms_that_may_not_come_are_errors(data: bytes, said: str) -> None:
    with pytest.raises(BenchError, match=said):
        Confirms().feed(data, 100)


@pytest.mark.parametrize("counts", ["confirms", "deliveries"])
@pytest.mark.parametrize(
    ("method", "channel", "said"),
    [
        (ConnectionClose(320, "CONNECTION_FORCED - gone"), 0, "320 CONNECTION_FORCED - gone"),
        (ChannelClose(404, "NOT_FOUND - no queue"), 1, "404 NOT_FOUND - no queue"),
        (ConnectionBlocked("low on memory"), 0, "low on memory"),
        (BasicNack(1, False, False), 1, "basic.nack"),
        (BasicCancel("bench", True), 1, "basic.cancel"),
    ],
    ids=["connection", "channel", "blocked", "nack", "cancel"],
)
def test_what_the_broker_refuses_is_an_error_with_its_text(
    counts: str, method: object, channel: int, said: str
) -> None:
    data = encode_method_frame(channel, method)  # type: ignore[arg-type]
    if counts == "confirms":
        with pytest.raises(BrokerClosed, match=said):
            Confirms().feed(confirm(1) + data, 5)
    else:
        with pytest.raises(BrokerClosed, match=said):
            Deliveries(BODY).feed(delivery(1) + delivery(2) + data)


def test_unblocked_is_passed_over() -> None:
    confirms = Confirms()
    data = confirm(1) + encode_method_frame(0, ConnectionUnblocked()) + confirm(2)
    assert confirms.feed(data, 2) == 2
