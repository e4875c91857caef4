"""Scanning by shape gives what stepping gives, on good bytes and on bad ones."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warrener.amqp.errors import FrameError
from warrener.amqp.frames import Scan, Shapes, encode_frame, scan
from warrener.amqp.methods import BY_ID, BasicAck, BasicDeliver, BasicPublish, encode_method_frame

PASSING = frozenset(id_ for id_ in BY_ID if id_ >> 16 > 20)
LIMIT = 4096


class Stepping(Shapes):
    """Learns nothing."""

    def run_of(self, shape: tuple[int, int, int, int]) -> re.Pattern[bytes] | None:
        return None


def message(channel: int, key: str, header: int, body: int, *, deliver: bool) -> bytes:
    method = BasicDeliver("c", 7, False, "", key) if deliver else BasicPublish("", key)
    return (
        encode_method_frame(channel, method)
        + encode_frame(2, channel, b"h" * header)
        + encode_frame(3, channel, b"\xce" * body)
    )


runs = st.lists(
    st.one_of(
        st.builds(
            lambda number, **kind: message(**kind) * number,
            st.integers(1, 12),
            channel=st.integers(1, 2),
            key=st.sampled_from(["q", "orders.eu"]),
            header=st.sampled_from([14, 20]),
            body=st.sampled_from([0, 1, 100]),
            deliver=st.booleans(),
        ),
        st.integers(1, 9).map(lambda n: encode_method_frame(1, BasicAck(n, False)) * n),
        st.just(encode_frame(2, 1, b"h" * 14) + encode_frame(3, 1, b"") * 3),
        st.just(encode_frame(8, 0, b"")),
    ),
    min_size=1,
    max_size=8,
).map(b"".join)


def outcome(data: bytes, shapes: Shapes) -> Scan | tuple[int, str]:
    try:
        return scan(data, 0, LIMIT, PASSING, shapes)
    except FrameError as problem:
        return problem.at, problem.text


@settings(max_examples=400)
@given(data=runs, cut=st.integers(0, 30), taught=st.booleans())
def test_a_run_scans_as_its_frames_do(data: bytes, cut: int, taught: bool) -> None:
    data = data[: len(data) - cut]
    shapes = Shapes()
    if taught:
        for _ in range(Shapes.AFTER):
            outcome(data, shapes)
    assert outcome(data, shapes) == outcome(data, Stepping())


@settings(max_examples=400)
@given(data=runs, at=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_one_wrong_octet_is_found_where_stepping_finds_it(
    data: bytes, at: float, value: int
) -> None:
    shapes = Shapes()
    for _ in range(Shapes.AFTER):
        outcome(data, shapes)
    spoilt = bytearray(data)
    spoilt[int(at * len(data))] = value
    assert outcome(bytes(spoilt), shapes) == outcome(bytes(spoilt), Stepping())


def test_a_run_is_stepped_over_in_one_match() -> None:
    """Else the property tests above would hold of a scanner that never uses what it learned."""
    one = message(1, "q", 14, 100, deliver=False)
    shapes = Shapes()
    scan(one * Shapes.AFTER, 0, LIMIT, PASSING, shapes)
    shape = (int.from_bytes(one[3:7]), BasicPublish.ID, 14, 100)
    pattern = shapes.run_of(shape)
    assert pattern is not None
    run = pattern.match(one * 1000)
    assert run is not None
    assert run.end() == 1000 * len(one)


@pytest.mark.parametrize("number", [Shapes.KEPT, 20 * Shapes.KEPT])
def test_what_is_remembered_is_bounded(number: int) -> None:
    shapes = Shapes()
    for size in range(number):
        for _ in range(1 + size % (Shapes.AFTER + 1)):
            shapes.run_of((10, BasicPublish.ID, 14, size))
    assert len(shapes._known) <= Shapes.KEPT
    assert len(shapes._seen) <= 4 * Shapes.KEPT
