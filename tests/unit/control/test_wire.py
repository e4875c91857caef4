"""The control wire: round trips, and a typed refusal for whatever else comes."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.control import wire
from warrener.control.operations import (
    SET_POLICY,
    SET_WEIGHT,
    STATUS,
    SetWeightAnswer,
    SetWeightRequest,
    StatusRequest,
)
from warrener.control.registry import OPERATIONS
from warrener.facts.ids import NodeName


def test_a_request_round_trips() -> None:
    line = wire.encode_request(SET_WEIGHT, SetWeightRequest("n1", 50))
    assert line == b'{"v":1,"op":"set-weight","args":{"node":"n1","weight":50}}\n'
    assert wire.decode_request(line) == (SET_WEIGHT, SetWeightRequest("n1", 50))


def test_arguments_with_defaults_may_be_left_out() -> None:
    assert wire.decode_request(b'{"v":1,"op":"status"}') == (STATUS, StatusRequest())


def test_an_answer_round_trips() -> None:
    answer = SetWeightAnswer(node=NodeName("n1@localhost"), weight=1, before=100)
    line = wire.decode_answer(wire.encode_answer(wire.AnswerKind.ANSWER, answer))
    assert line.kind is wire.AnswerKind.ANSWER
    assert wire.decode_body(line.body, SetWeightAnswer) == answer


@pytest.mark.parametrize(
    ("line", "refusal", "text"),
    [
        (b"", wire.Refusal.NOT_JSON, "not a request line"),
        (b"GET / HTTP/1.1", wire.Refusal.NOT_JSON, "not a request line"),
        (b'{"op":"status"}', wire.Refusal.NOT_JSON, "`v`"),
        (b'{"v":2,"op":"status"}', wire.Refusal.VERSION, "version 1"),
        (b'{"v":1,"op":"reboot"}', wire.Refusal.UNKNOWN_OPERATION, "'reboot'; there are: status"),
        (b'{"v":1,"op":"set-weight","args":{}}', wire.Refusal.BAD_ARGUMENT, "`node`"),
        (b'{"v":1,"op":"set-policy","args":{"policy":"best"}}', wire.Refusal.BAD_ARGUMENT, "best"),
        (b'{"v":1,"op":"status","args":{"no":1}}', wire.Refusal.BAD_ARGUMENT, "`no`"),
        (b'{"v":1,"op":"status","args":[]}', wire.Refusal.BAD_ARGUMENT, "object"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(
    line: bytes, refusal: wire.Refusal, text: str
) -> None:
    with pytest.raises(wire.Refused, match=text) as caught:
        wire.decode_request(line)
    assert caught.value.refusal is refusal


@given(st.binary(max_size=200))
def test_no_bytes_whatever_do_anything_but_decode_or_refuse(line: bytes) -> None:
    with pytest.raises(wire.Refused):
        wire.decode_request(line)
    with pytest.raises(wire.BadLine):
        wire.decode_answer(line)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    ),
    st.sampled_from(sorted(OPERATIONS)),
)
def test_arguments_of_any_shape_are_taken_or_refused(args: object, op: str) -> None:
    line = msgspec.json.encode({"v": 1, "op": op, "args": args})
    outcome = _decoded_or_refused(line)
    assert outcome is wire.Refusal.BAD_ARGUMENT or isinstance(outcome, OPERATIONS[op].request)


def _decoded_or_refused(line: bytes) -> msgspec.Struct | wire.Refusal:
    try:
        return wire.decode_request(line)[1]
    except wire.Refused as refused:
        return refused.refusal


def test_an_answer_of_another_version_says_what_to_do() -> None:
    with pytest.raises(wire.BadLine, match="the `warrener` that started it"):
        wire.decode_answer(b'{"v":9,"kind":"answer","body":{}}')


def test_a_body_of_the_wrong_shape_is_a_bad_line() -> None:
    with pytest.raises(wire.BadLine, match="isn't what was asked"):
        wire.decode_body(msgspec.Raw(b'{"policy":1}'), SET_POLICY.answer)
