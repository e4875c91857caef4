"""Field tables: pamqp as an oracle both ways, RabbitMQ's own types by hand, hostile bytes."""

import math
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp import decode as pamqp_decode
from pamqp import encode as pamqp_encode

from warrener.amqp import tables
from warrener.amqp.errors import SyntaxViolation
from warrener.amqp.tables import MAX_DEPTH, Timestamp, decode_table, encode_table


def sized(raw: bytes) -> bytes:
    return len(raw).to_bytes(4, "big") + raw


def field(value: bytes, name: bytes = b"k") -> bytes:
    """A table with one field, as bytes."""
    return sized(bytes([len(name)]) + name + value)


# Strings as they come off the wire: any bytes, what isn't UTF-8 escaped.
wire_text = st.binary(max_size=20).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
decimals = st.builds(
    lambda unscaled, scale: Decimal(unscaled).scaleb(-scale),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(0, 255),
)


def nested(leaves: st.SearchStrategy[Any], names: st.SearchStrategy[str]) -> Any:
    values = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
        max_leaves=6,
    )
    return st.dictionaries(names, values, max_size=6)


our_tables = nested(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | wire_text
    | st.binary(max_size=20)
    | decimals
    | st.builds(Timestamp, st.integers(0, 2**64 - 1)),
    wire_text,
)

# What pamqp can hold: UTF-8 only, floats of 32 bits, timestamps up to 2106 (it takes later ones for
# milliseconds).
pamqp_tables = nested(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, width=32)
    | st.text(max_size=20)
    | st.binary(max_size=20).map(bytearray)
    | decimals
    | st.integers(0, 2**32 - 1).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    st.text(max_size=20),
)


def as_ours(value: Any) -> Any:
    """A value of pamqp's as we spell it."""
    match value:
        case bytearray():
            return bytes(value)
        case datetime():
            return Timestamp(int(value.timestamp()))
        case list():
            return [as_ours(item) for item in value]
        case dict():
            return {name: as_ours(item) for name, item in value.items()}
    return value


def as_pamqps(value: Any) -> Any:
    """A value of ours as pamqp spells it."""
    match value:
        case bytes():
            return bytearray(value)
        case Timestamp():
            return value.datetime()
        case list():
            return [as_pamqps(item) for item in value]
        case dict():
            return {name: as_pamqps(item) for name, item in value.items()}
    return value


# -- the oracle ---------------------------------------------------------------------------------


@given(pamqp_tables)
def test_we_read_what_pamqp_writes(table: dict[str, Any]) -> None:
    raw = pamqp_encode.field_table(table)
    assert decode_table(raw, 0) == (as_ours(table), len(raw))


@given(pamqp_tables)
def test_pamqp_reads_what_we_write(table: dict[str, Any]) -> None:
    raw = encode_table(as_ours(table))
    assert pamqp_decode.field_table(raw) == (len(raw), table)


@given(our_tables)
def test_what_we_write_we_read(table: dict[str, Any]) -> None:
    raw = encode_table(table)
    assert decode_table(raw, 0) == (table, len(raw))


@given(our_tables, st.binary(max_size=9), st.binary(max_size=9))
def test_a_table_is_read_where_it_stands(
    table: dict[str, Any], before: bytes, behind: bytes
) -> None:
    raw = encode_table(table)
    found = decode_table(before + raw + behind, len(before))
    assert found == (table, len(before) + len(raw))


# -- RabbitMQ's types, by hand ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"t\x00", False),
        (b"t\x01", True),
        (b"t\x02", True),
        (b"b\xff", -1),
        (b"b\x7f", 127),
        (b"B\xff", 255),
        (b"s\xff\xfe", -2),  # a short string in the specification
        (b"u\xff\xfe", 65534),
        (b"I\xff\xff\xff\xfe", -2),
        (b"i\xff\xff\xff\xfe", 2**32 - 2),
        (b"l\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
        (b"L\xff\xff\xff\xff\xff\xff\xff\xfe", -2),  # unsigned in the specification
        (b"f\x3f\x80\x00\x00", 1.0),
        (b"f\x7f\x80\x00\x00", math.inf),
        (b"d\xc0\x00\x00\x00\x00\x00\x00\x00", -2.0),
        (b"D\x02\x00\x00\x01\x3a", Decimal("3.14")),
        (b"D\x02\xff\xff\xfe\xc6", Decimal("-3.14")),  # signed, whatever the specification says
        (b"D\xff\x80\x00\x00\x00", Decimal(-(2**31)).scaleb(-255)),
        (b"S\x00\x00\x00\x00", ""),
        (b"S\x00\x00\x00\x03\xe2\x82\xac", "€"),
        (b"x\x00\x00\x00\x02\x00\xff", b"\x00\xff"),
        (b"V", None),
        (b"T\x00\x00\x00\x00\x4f\xe1\x25\x80", Timestamp(1340155264)),
        (b"T\xff\xff\xff\xff\xff\xff\xff\xff", Timestamp(2**64 - 1)),
        (b"A\x00\x00\x00\x00", []),
        (b"A\x00\x00\x00\x05Vt\x01b\x05", [None, True, 5]),
        (b"F\x00\x00\x00\x00", {}),
        (b"F\x00\x00\x00\x06\x01ab\x05\x00V", {"a": 5, "": None}),
    ],
)
def test_rabbitmqs_field_types(raw: bytes, value: object) -> None:
    table, end = decode_table(field(raw), 0)
    assert table == {"k": value}
    assert type(table["k"]) is type(value)
    assert end == len(field(raw))


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        (None, b"V"),
        (True, b"t\x01"),
        (1, b"I\x00\x00\x00\x01"),
        (2**31 - 1, b"I\x7f\xff\xff\xff"),
        (2**31, b"l\x00\x00\x00\x00\x80\x00\x00\x00"),
        (-(2**31) - 1, b"l\xff\xff\xff\xff\x7f\xff\xff\xff"),
        (1.5, b"d\x3f\xf8\x00\x00\x00\x00\x00\x00"),
        ("é", b"S\x00\x00\x00\x02\xc3\xa9"),
        (b"\xc3", b"x\x00\x00\x00\x01\xc3"),
        (Decimal("3.14"), b"D\x02\x00\x00\x01\x3a"),
        (Decimal("2E+3"), b"D\x00\x00\x00\x07\xd0"),
        (Timestamp(1), b"T\x00\x00\x00\x00\x00\x00\x00\x01"),
        ((1,), b"A\x00\x00\x00\x05I\x00\x00\x00\x01"),
        ({}, b"F\x00\x00\x00\x00"),
    ],
)
def test_how_values_are_written(value: object, raw: bytes) -> None:
    assert encode_table({"k": value}) == field(raw)


@pytest.mark.parametrize("kind", [b"\0", b"U", b"c", b"G", b"\xff"])
def test_other_types_are_refused_by_name(kind: bytes) -> None:
    with pytest.raises(SyntaxViolation, match="unknown field type"):
        decode_table(field(kind + bytes(8)), 0)


@pytest.mark.parametrize("raw", [b"\xff", b"\xc3", b"a\xed\xa0\x80b", b"\xf0\x9f\x98", b"\x80\x00"])
def test_strings_that_are_not_utf_8_survive(raw: bytes) -> None:
    wire = field(b"S" + sized(raw), name=raw)
    assert encode_table(decode_table(wire, 0)[0]) == wire


# -- what no field can hold ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "table",
    [
        {"k": 2**63},
        {"k": -(2**63) - 1},
        {"k": object()},
        {"k": {1, 2}},
        {"k": [b"fine", object()]},
        {"k": {"deep": 2**64}},
        {"k": Decimal("NaN")},
        {"k": Decimal("Infinity")},
        {"k": Decimal(2**31)},
        {"k": Decimal("1E-256")},
        {"k": Decimal("1.0000000000000000000000000000000001")},
        {"k": Timestamp(-1)},
        {"k": Timestamp(2**64)},
        {"k" * 256: 1},
        {"é" * 128: 1},
        {"\ud800": 1},  # half a character, and no escaped byte
    ],
)
def test_a_value_that_no_field_holds_is_a_value_error(table: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        encode_table(table)


def test_a_timestamp_is_a_time_where_there_is_one() -> None:
    assert Timestamp(1340155264).datetime() == datetime(2012, 6, 20, 1, 21, 4, tzinfo=UTC)
    with pytest.raises((OverflowError, ValueError)):
        Timestamp(2**64 - 1).datetime()


# -- nesting ------------------------------------------------------------------------------------


def nest(levels: str) -> bytes:
    """A table in which the value of each level, F or A, holds the next; the innermost holds V."""
    inner = b"V"
    for kind in reversed(levels):
        inner = kind.encode() + sized(b"\x01k" + inner if kind == "F" else inner)
    return field(inner)


@pytest.mark.parametrize("pattern", ["F", "A", "FA", "AF", "AAF"])
def test_nesting_is_read_up_to_the_limit_and_refused_behind_it(pattern: str) -> None:
    deepest = (pattern * MAX_DEPTH)[:MAX_DEPTH]
    table, _ = decode_table(nest(deepest), 0)
    assert encode_table(table) == nest(deepest)
    for levels in (MAX_DEPTH + 1, 2_000):
        with pytest.raises(SyntaxViolation, match=f"nested deeper than {MAX_DEPTH}"):
            decode_table(nest((pattern * levels)[:levels]), 0)


# -- hostile bytes ------------------------------------------------------------------------------


@given(our_tables)
@settings(max_examples=25)
def test_a_table_cut_short_anywhere_is_a_syntax_violation(table: dict[str, Any]) -> None:
    raw = encode_table(table)
    for end in range(len(raw)):
        with pytest.raises(SyntaxViolation):
            decode_table(raw[:end], 0)


def mutate(raw: bytes, changes: list[tuple[int, int, int]]) -> bytes:
    """Octets set, taken out and put in."""
    out = bytearray(raw)
    for where, how, octet in changes:
        at = where % (len(out) + 1)
        if how == 0:
            out[at : at + 1] = bytes([octet])
        elif how == 1:
            del out[at : at + 1 + octet % 4]
        else:
            out[at:at] = bytes([octet])
    return bytes(out)


changes = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.integers(0, 2),
        st.sampled_from(list(b"tbBsuIilLfdDSxATFV\x00\x01\xff\x7f\x80")) | st.integers(0, 255),
    ),
    min_size=1,
    max_size=6,
)


@given(our_tables, changes)
@settings(max_examples=150)
def test_a_damaged_table_is_a_table_or_a_syntax_violation(
    table: dict[str, Any], how: list[tuple[int, int, int]]
) -> None:
    check_hostile(mutate(encode_table(table), how))


structured_noise = st.lists(
    st.sampled_from([b"F", b"A", b"V", b"\x01k", b"\0\0\0", b"\x05", b"S", b"\x10", b"t\x01"])
    | st.binary(max_size=3),
    max_size=60,
).map(b"".join)


@given(structured_noise)
@settings(max_examples=200)
def test_noise_is_a_table_or_a_syntax_violation(noise: bytes) -> None:
    check_hostile(sized(noise))


def check_hostile(raw: bytes) -> None:
    """Nothing but a value or SyntaxViolation; and what can be read can be written and read."""
    try:
        table, end = decode_table(raw, 0)
    except SyntaxViolation:
        return
    assert end == 4 + int.from_bytes(raw[:4], "big") <= len(raw)
    again, _ = decode_table(encode_table(table), 0)
    assert repr(again) == repr(table)  # repr, since NaN isn't equal to itself


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (b"\x01kI", "over the table's end"),
        (b"\x01kS\0\0\0\x03ab", "over the table's end"),
        (b"\x05k", "over the table's end"),
        (b"\x01kA\0\0\0\x01I", "over the array's end"),
        (b"\x01kF\0\0\0\x03\x01kI", "over the table's end"),
    ],
)
def test_a_value_that_reaches_over_the_end_of_what_holds_it_is_refused(
    fields: bytes, text: str
) -> None:
    """Also when there are octets enough behind it: they belong to the next argument."""
    with pytest.raises(SyntaxViolation, match=text):
        decode_table(sized(fields) + b"VVVVVVVV", 0)


def test_a_length_that_is_only_claimed_costs_nothing() -> None:
    for kind in (b"S", b"x", b"A", b"F"):
        with pytest.raises(SyntaxViolation, match="greater than what is there"):
            decode_table(field(kind + b"\xff\xff\xff\xff"), 0)


@given(structured_noise)
@settings(max_examples=25)
def test_decoding_takes_no_more_steps_than_there_are_octets(noise: bytes) -> None:
    """Tables that overlap (an inner length that reaches over the outer end) aren't read twice."""
    steps = 0
    value = tables._value

    def counted(data: bytes, pos: int, depth: int) -> tuple[Any, int]:
        nonlocal steps
        steps += 1
        return value(data, pos, depth)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "_value", counted)
        for raw in (sized(noise), b"\x00\x00\x00\x08" + noise * 20):
            steps = 0
            with suppress(SyntaxViolation):
                decode_table(raw, 0)
            assert steps <= len(raw)
