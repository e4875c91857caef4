"""Tags written into frames that pass, held against decoding and encoding the whole method."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.balancer.core.scene import content, encode

from warrener.amqp.methods import BasicAck, BasicDeliver, BasicGetOk
from warrener.balancer.core.rewriting import (
    ack_frame,
    consumer_tag,
    delivery_tag,
    get_ok_tag,
    retag,
)

channels = st.integers(1, 65535)
tags = st.integers(0, 2**62)
texts = st.text(max_size=60)


@given(channels, tags, st.booleans())
def test_an_ack_is_what_encoding_makes_of_it(channel: int, tag: int, multiple: bool) -> None:
    assert ack_frame(channel, tag, multiple) == encode((channel, BasicAck(tag, multiple)))


@given(channels, texts, tags, st.booleans(), texts, texts, st.binary(max_size=9), tags)
def test_a_delivery_keeps_all_but_its_tag(
    channel: int,
    consumer: str,
    tag: int,
    again: bool,
    exchange: str,
    key: str,
    body: bytes,
    offset: int,
) -> None:
    method = BasicDeliver(consumer, tag, again, exchange, key)
    before = encode((channel, method)) + content(channel, body)
    after = encode((channel, replace(method, delivery_tag=tag + offset))) + content(channel, body)
    assert delivery_tag(before, 0) == tag
    assert consumer_tag(before, 0) == consumer.encode()
    assert retag(before, 1, offset) == after


@given(channels, tags, st.booleans(), texts, texts, st.integers(0, 9), tags)
def test_the_answer_to_a_get_keeps_all_but_its_tag(
    channel: int, tag: int, again: bool, exchange: str, key: str, count: int, offset: int
) -> None:
    method = BasicGetOk(tag, again, exchange, key, count)
    before = encode((channel, method)) + content(channel, b"body")
    after = encode((channel, replace(method, delivery_tag=tag + offset))) + content(
        channel, b"body"
    )
    assert get_ok_tag(before, 0) == tag
    assert retag(before, 1, offset, get_ok=True) == after


@given(st.lists(st.sampled_from(["aa", "b" * 20, "cc"]), min_size=1, max_size=6), tags)
def test_every_delivery_of_a_run_gets_a_new_tag(consumers: list[str], offset: int) -> None:
    """Of one size, which doesn't mean that their tags lie at the same place in them."""

    def run(shift: int) -> bytes:
        return b"".join(
            encode((1, BasicDeliver(name, number + shift, False, "", "k" * (40 - len(name)))))
            + content(1, b"same")
            for number, name in enumerate(consumers, 1)
        )

    before = run(0)
    assert retag(before, len(consumers), offset) == run(offset)
    stride = len(before) // len(consumers)
    for number, name in enumerate(consumers):
        assert delivery_tag(before, number * stride) == number + 1
        assert consumer_tag(before, number * stride) == name.encode()
