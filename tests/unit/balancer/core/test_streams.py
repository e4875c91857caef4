"""Stream offsets are read from content headers as pamqp writes them for a broker."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands as pamqp_commands
from pamqp import header as pamqp_header

from warrener.amqp.constants import FRAME_BODY, FRAME_HEADER
from warrener.amqp.frames import encode_frame
from warrener.amqp.methods import BasicConsume, BasicDeliver, encode_method_frame
from warrener.balancer.core.streams import offset_of, resumed_after


def delivered(properties: dict[str, Any], tag: str = "c", body: bytes = b"hello") -> bytes:
    """A delivery whose content header pamqp has written."""
    header = pamqp_header.ContentHeader(
        0, len(body), pamqp_commands.Basic.Properties(**properties)
    ).marshal()
    return (
        encode_method_frame(1, BasicDeliver(tag, 1, False, "", "s"))
        + encode_frame(FRAME_HEADER, 1, header)
        + encode_frame(FRAME_BODY, 1, body)
    )


others = st.fixed_dictionaries(
    {},
    optional={
        "content_type": st.text(max_size=40).filter(bool),
        "content_encoding": st.text(max_size=40).filter(bool),
        "delivery_mode": st.sampled_from([1, 2]),
        "priority": st.integers(1, 9),
        "correlation_id": st.text(max_size=20).filter(bool),
        "reply_to": st.text(max_size=20).filter(bool),
        "message_id": st.text(max_size=20).filter(bool),
        "app_id": st.text(max_size=20).filter(bool),
    },
)
headers = st.dictionaries(
    st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1, max_size=9),
    st.integers(-(2**40), 2**40) | st.text(max_size=9) | st.booleans(),
    max_size=4,
)


@given(others, headers, st.integers(0, 2**62))
def test_the_offset_is_found_among_all_other_properties(
    other: dict[str, Any], table: dict[str, Any], offset: int
) -> None:
    message = delivered({**other, "headers": {**table, "x-stream-offset": offset}})
    assert offset_of(message) == offset


@given(others, headers)
def test_a_message_without_an_offset_has_none(other: dict[str, Any], table: dict[str, Any]) -> None:
    assert offset_of(delivered({**other, "headers": table})) is None
    assert offset_of(delivered(other)) is None


@pytest.mark.parametrize("offset", ["first", "12", None, 1.5])
def test_an_offset_that_is_no_number_is_none(offset: object) -> None:
    assert offset_of(delivered({"headers": {"x-stream-offset": offset}})) is None


@given(st.integers(0, 80), st.integers(0, 255))
def test_a_header_that_makes_no_sense_has_no_offset_or_another_but_breaks_nothing(
    at: int, octet: int
) -> None:
    message = bytearray(delivered({"content_type": "x", "headers": {"x-stream-offset": 7}}))
    start = int.from_bytes(message[3:7]) + 8 + 7 + 12  # behind the body size
    message[min(start + at, len(message) - 1)] = octet
    found = offset_of(bytes(message))
    assert found is None or isinstance(found, int)


def test_a_consumer_goes_on_behind_the_last_message_it_was_given() -> None:
    method = BasicConsume("s", "c", arguments={"x-stream-offset": "first", "x-priority": 3})
    message = delivered({"headers": {"x-stream-offset": 41}})
    again = resumed_after(method, message)
    assert again == BasicConsume("s", "c", arguments={"x-stream-offset": 42, "x-priority": 3})


def test_a_consumer_that_was_given_nothing_begins_where_it_wanted_to() -> None:
    method = BasicConsume("s", "c", arguments={"x-stream-offset": "next"})
    assert resumed_after(method, None) is method
    assert resumed_after(method, delivered({})) is method


def test_a_consumer_without_arguments_gets_the_offset_too() -> None:
    message = delivered({"headers": {"x-stream-offset": 0}})
    again = resumed_after(BasicConsume("s", "c"), message)
    assert again.arguments == {"x-stream-offset": 1}
