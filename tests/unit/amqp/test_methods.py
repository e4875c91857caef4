"""The method codec: pamqp as an oracle both ways for every method, hostile bytes, secrets."""

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp import commands as pamqp_commands
from pamqp.base import Frame as PamqpMethod

from warrener.amqp.constants import FRAME_METHOD, ReplyCode
from warrener.amqp.errors import SyntaxViolation
from warrener.amqp.frames import encode_frame
from warrener.amqp.methods import (
    BY_ID,
    METHOD_NAMES,
    BasicAck,
    BasicConsume,
    BasicNack,
    BasicPublish,
    ChannelOpen,
    ConnectionClose,
    ConnectionCloseOk,
    ConnectionSecureOk,
    ConnectionStart,
    ConnectionStartOk,
    ConnectionTune,
    ConnectionUpdateSecret,
    ExchangeDeclare,
    Method,
    QueueDeclare,
    decode_method,
    encode_method,
    encode_method_frame,
    method_name,
    printable,
    short_text,
)

NUMBERS = {"octet": 8, "short": 16, "long": 32, "longlong": 64}

# Off the wire: any bytes, what isn't UTF-8 escaped.
wire_strings = st.binary(max_size=255).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
small_tables = st.dictionaries(
    st.text(max_size=8),
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8),
    max_size=3,
)


def value_of(wire: str, *, strings: st.SearchStrategy[str], longlong_bits: int = 64) -> Any:
    match wire:
        case "bit":
            return st.booleans()
        case "shortstr":
            return strings
        case "longstr":
            return st.binary(max_size=40)
        case "table":
            return small_tables
        case "longlong":
            return st.integers(0, 2**longlong_bits - 1)
    return st.integers(0, 2 ** NUMBERS[wire] - 1)


def methods_of(cls: type[Method], **how: Any) -> st.SearchStrategy[Method]:
    """Methods of one class with fields of every kind."""
    return st.builds(cls, *(value_of(wire, **how) for _, wire in cls.WIRE))


def one_of_each(group: int, **how: Any) -> st.SearchStrategy[tuple[Method, ...]]:
    """All methods of one class of AMQP, such as 60 for basic."""
    return st.tuples(*(methods_of(cls, **how) for id_, cls in BY_ID.items() if id_ >> 16 == group))


every_group = pytest.mark.parametrize("group", sorted({id_ >> 16 for id_ in BY_ID}))
oracle_strings = st.text(max_size=20)
any_method = st.sampled_from(list(BY_ID.values())).flatmap(
    lambda cls: methods_of(cls, strings=wire_strings)
)


# -- the oracle ---------------------------------------------------------------------------------


def pamqps(cls: type[Method]) -> PamqpMethod:
    """pamqp's value for the same method, empty, without opinions on which names are allowed."""
    theirs = pamqp_commands.INDEX_MAPPING[cls.ID]
    members = {"__slots__": theirs.__slots__, "validate": lambda self: None}
    made = type(theirs.__name__, (theirs,), members)
    return made.__new__(made)  # __init__ warns of deprecated methods


def pamqps_name(name: str) -> str:
    return {"no_wait": "nowait", "type": "exchange_type"}.get(name, name)


def spelled_as_ours(name: str) -> str:
    """``queue.declare-ok`` for pamqp's ``Queue.DeclareOk``."""
    class_name, _, method = name.partition(".")
    dashed = "".join(f"-{char.lower()}" if char.isupper() else char for char in method)
    return f"{class_name.lower()}.{dashed[1:]}"


def as_longstr(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def test_we_know_the_methods_that_pamqp_knows_by_the_same_names() -> None:
    theirs = {id_: cls.name for id_, cls in pamqp_commands.INDEX_MAPPING.items()}
    assert {id_: spelled_as_ours(name) for id_, name in theirs.items()} == METHOD_NAMES
    assert len(METHOD_NAMES) == 64


@every_group
@given(data=st.data())
@settings(max_examples=15)
def test_pamqp_reads_what_we_write(group: int, data: st.DataObject) -> None:
    for ours in data.draw(one_of_each(group, strings=oracle_strings, longlong_bits=63)):
        payload = encode_method(ours)
        assert int.from_bytes(payload[:4], "big") == pamqp_commands.INDEX_MAPPING[ours.ID].index
        theirs = pamqps(type(ours))
        theirs.unmarshal(payload[4:])
        for name, wire in ours.WIRE:
            value = getattr(theirs, pamqps_name(name))
            assert getattr(ours, name) == (as_longstr(value) if wire == "longstr" else value)


@every_group
@given(data=st.data())
@settings(max_examples=15)
def test_we_read_what_pamqp_writes_and_write_the_same(group: int, data: st.DataObject) -> None:
    for wanted in data.draw(one_of_each(group, strings=oracle_strings, longlong_bits=63)):
        theirs = pamqps(type(wanted))
        expected = []
        for name, wire in wanted.WIRE:
            value = getattr(wanted, name)
            if wire == "longstr":
                value = value.hex()  # pamqp takes text there
            setattr(theirs, pamqps_name(name), value)
            expected.append(as_longstr(value) if wire == "longstr" else value)
        payload = wanted.ID.to_bytes(4, "big") + theirs.marshal()
        ours = decode_method(payload)
        assert ours == type(wanted)(*expected)
        if "table" not in dict(ours.WIRE).values():  # a table's integers have several spellings
            assert encode_method(ours) == payload


# -- round trips --------------------------------------------------------------------------------


@every_group
@given(data=st.data())
@settings(max_examples=15)
def test_what_we_write_we_read(group: int, data: st.DataObject) -> None:
    """Strings of any bytes and numbers of the whole range included."""
    for method in data.draw(one_of_each(group, strings=wire_strings)):
        assert decode_method(encode_method(method)) == method


@given(any_method, st.binary(max_size=8))
def test_bytes_behind_the_last_argument_are_left_alone(method: Method, more: bytes) -> None:
    assert decode_method(encode_method(method) + more) == method


def test_no_arguments_are_an_empty_table() -> None:
    assert decode_method(encode_method(QueueDeclare("q"))) == QueueDeclare("q", arguments={})


def test_a_method_frame_is_a_frame_around_the_payload() -> None:
    method = BasicAck(7, multiple=True)
    assert encode_method_frame(3, method) == encode_frame(FRAME_METHOD, 3, encode_method(method))


# -- by hand ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "payload"),
    [
        (
            QueueDeclare("q", durable=True, auto_delete=True, arguments={}),
            b"\x00\x32\x00\x0a\x00\x00\x01q\x0a\x00\x00\x00\x00",
        ),
        (
            QueueDeclare("", True, False, True, False, True, {}),
            b"\x00\x32\x00\x0a\x00\x00\x00\x15\x00\x00\x00\x00",
        ),
        (
            ExchangeDeclare("x", "fanout", no_wait=True, arguments={}),
            b"\x00\x28\x00\x0a\x00\x00\x01x\x06fanout\x10\x00\x00\x00\x00",
        ),
        (
            BasicConsume("q", "t", no_ack=True, arguments={}),
            b"\x00\x3c\x00\x14\x00\x00\x01q\x01t\x02\x00\x00\x00\x00",
        ),
        (BasicPublish("", "q", immediate=True), b"\x00\x3c\x00\x28\x00\x00\x00\x01q\x02"),
        (BasicNack(1, multiple=True, requeue=False), b"\x00\x3c\x00\x78" + bytes(7) + b"\x01\x01"),
        (BasicNack(1, multiple=False, requeue=True), b"\x00\x3c\x00\x78" + bytes(7) + b"\x01\x02"),
        (ConnectionTune(2047, 131072, 60), b"\x00\x0a\x00\x1e\x07\xff\x00\x02\x00\x00\x00\x3c"),
        (ConnectionCloseOk(), b"\x00\x0a\x00\x33"),
        (ChannelOpen(), b"\x00\x14\x00\x0a\x00"),
    ],
)
def test_bits_that_follow_each_other_share_an_octet(method: Method, payload: bytes) -> None:
    """Written by hand from the specification: lowest bit first, then the next field's octet."""
    assert encode_method(method) == payload
    assert decode_method(payload) == method


@pytest.mark.parametrize("octet", range(32))
def test_each_bit_is_its_own_field(octet: int) -> None:
    payload = b"\x00\x32\x00\x0a\x00\x00\x00" + bytes([octet | 0xE0]) + b"\x00\x00\x00\x00"
    method = decode_method(payload)
    assert isinstance(method, QueueDeclare)
    bits = (
        method.passive,
        method.durable,
        method.exclusive,
        method.auto_delete,
        method.no_wait,
    )
    assert bits == tuple(octet >> place & 1 == 1 for place in range(5))


def test_reserved_fields_are_skipped_whatever_they_hold() -> None:
    """Old clients put an access ticket there."""
    assert decode_method(b"\x00\x3c\x00\x28\xbe\xef\x01x\x01k\x01") == BasicPublish("x", "k", True)


def test_names() -> None:
    assert method_name(QueueDeclare.ID) == QueueDeclare.name() == "queue.declare"
    assert method_name(60 << 16 | 999) == "method 60.999"


# -- what can't be written ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    [
        BasicPublish("x" * 256, ""),
        BasicPublish("", "é" * 128),
        ConnectionTune(65536, 0, 0),
        ConnectionTune(-1, 0, 0),
        ConnectionTune(0, 2**32, 0),
        BasicAck(2**64),
        BasicAck(-1),
        ConnectionStart(256, 9, {}, b"", b""),
        QueueDeclare("q", arguments={"x-max-length": 2**63}),
        QueueDeclare("q", arguments={"x": object()}),
        QueueDeclare("\ud800"),
    ],
)
def test_a_value_that_its_field_cannot_hold_is_a_value_error(method: Method) -> None:
    with pytest.raises(ValueError):
        encode_method(method)


def test_the_longest_short_string_fits() -> None:
    method = BasicPublish("é" * 127 + "x", "")
    assert decode_method(encode_method(method)) == method


# -- hostile bytes ------------------------------------------------------------------------------


@every_group
@given(data=st.data())
@settings(max_examples=6)
def test_a_method_cut_short_anywhere_is_a_syntax_violation_that_names_it(
    group: int, data: st.DataObject
) -> None:
    for method in data.draw(one_of_each(group, strings=st.text(max_size=6))):
        payload = encode_method(method)
        for end in range(4):
            with pytest.raises(SyntaxViolation, match="fewer than 4 bytes"):
                decode_method(payload[:end])
        for end in range(4, len(payload)):
            with pytest.raises(SyntaxViolation, match=method.name()) as caught:
                decode_method(payload[:end])
            assert caught.value.code is ReplyCode.SYNTAX_ERROR
            assert caught.value.method == (method.ID >> 16, method.ID & 0xFFFF)


octet_changes = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=5)


@given(any_method, octet_changes, st.integers(0, 300))
@settings(max_examples=200)
def test_a_damaged_method_is_a_method_or_a_syntax_violation(
    method: Method, changes: list[tuple[int, int]], stop: int
) -> None:
    payload = bytearray(encode_method(method))
    for where, octet in changes:
        payload[where % len(payload)] = octet
    check_hostile(bytes(payload[: 4 + stop]))


@given(st.sampled_from(list(BY_ID)), st.binary(max_size=80))
@settings(max_examples=200)
def test_noise_as_arguments_is_a_method_or_a_syntax_violation(id_: int, noise: bytes) -> None:
    check_hostile(id_.to_bytes(4, "big") + noise)


def check_hostile(payload: bytes) -> None:
    try:
        method = decode_method(payload)
    except SyntaxViolation:
        return
    again = decode_method(encode_method(method))
    for each in fields(method):  # type: ignore[arg-type]  # every method is a dataclass
        # repr, since a NaN in a table isn't equal to itself
        assert repr(getattr(again, each.name)) == repr(getattr(method, each.name))


@pytest.mark.parametrize("id_", [0, 10 << 16, 60 << 16 | 999, 0xFFFFFFFF])
def test_an_unknown_method_is_a_syntax_violation(id_: int) -> None:
    with pytest.raises(SyntaxViolation, match="is unknown") as caught:
        decode_method(id_.to_bytes(4, "big") + b"\0" * 20)
    assert caught.value.method == (id_ >> 16, id_ & 0xFFFF)


# -- texts --------------------------------------------------------------------------------------


@given(st.text(max_size=40), st.integers(1, 12))
def test_a_short_text_fits_a_short_string_and_never_cuts_a_character(text: str, times: int) -> None:
    text *= times
    short = short_text(text)
    raw = text.encode()
    if len(raw) <= 255:
        assert short == text
        return
    assert short.endswith("...")
    assert text.startswith(short[:-3])
    assert 252 <= len(short.encode()) <= 255  # no shorter than a character of 4 bytes makes it
    assert decode_method(encode_method(ConnectionClose(320, short))) == ConnectionClose(320, short)


@given(st.binary(min_size=240, max_size=400))
def test_a_short_text_of_any_bytes_fits_a_short_string(raw: bytes) -> None:
    short = short_text(raw.decode("utf-8", "surrogateescape"))
    assert len(short.encode("utf-8", "surrogateescape")) <= 255


@given(wire_strings)
def test_a_peers_text_can_be_logged_as_json_on_one_line(text: str) -> None:
    """A vhost, user or connection name of arbitrary bytes must not break status or the event log,
    nor move a terminal's cursor."""
    shown = printable(text)
    assert len(shown) == len(text)
    assert shown.isprintable()
    assert json.loads(json.dumps(shown).encode("utf-8")) == shown
    if text.isprintable():
        assert shown == text


def test_what_is_not_printable_is_shown_as_such() -> None:
    assert printable("orders") == "orders"
    assert printable("a\udcffb\x1b[2J\n") == "a\ufffdb\ufffd[2J\ufffd"


@pytest.mark.parametrize(
    "method",
    [
        ConnectionStartOk({}, "PLAIN", b"\0me\0s3cret", "en_US"),
        ConnectionSecureOk(b"s3cret"),
        ConnectionUpdateSecret(b"s3cret", "renewed"),
    ],
)
def test_secrets_are_written_to_the_wire_and_not_to_repr(method: Method) -> None:
    assert b"s3cret" in encode_method(method)
    assert "s3cret" not in repr(method)
