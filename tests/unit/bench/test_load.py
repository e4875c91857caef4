"""The pure parts of the load generator."""

import pamqp.commands
import pamqp.frame
import pytest
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from warrener.bench.load import encode_publish, in_connect_order
from warrener.bench.wire import BenchError


@pytest.mark.parametrize("persistent", [False, True])
def test_a_publish_is_what_pamqp_reads(persistent: bool) -> None:
    data = encode_publish("q1", b"hello", persistent=persistent)
    frames = []
    while data:
        size, channel, frame = pamqp.frame.unmarshal(data)
        assert channel == 1
        frames.append(frame)
        data = data[size:]
    publish, header, body = frames
    assert isinstance(publish, pamqp.commands.Basic.Publish)
    assert (publish.exchange, publish.routing_key, publish.mandatory) == ("", "q1", False)
    assert isinstance(header, ContentHeader)
    assert header.body_size == 5
    assert header.properties.delivery_mode == (2 if persistent else None)
    assert isinstance(body, ContentBody)
    assert body.value == b"hello"


def test_clients_connect_as_listed_unless_told() -> None:
    listed = [(0, False), (0, True), (1, False), (1, True)]
    assert list(in_connect_order(2, ())) == listed
    assert list(in_connect_order(2, (3, 0, 2, 1))) == [listed[i] for i in (3, 0, 2, 1)]


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 1, 2, 2), (1, 2, 3, 4)])
def test_an_order_that_forgets_or_doubles_a_client_is_refused(order: tuple[int, ...]) -> None:
    with pytest.raises(BenchError, match="connect_order"):
        list(in_connect_order(2, order))
