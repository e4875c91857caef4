"""The consumers of a channel: kept in order, counted, parked with growing pauses."""

import pytest

from warrener.amqp.methods import BasicConsume, BasicQos
from warrener.balancer.core.consumers import Consumer, Consumers


def consumer(tag: str, *, no_ack: bool = False, stream: bool = False) -> Consumer:
    arguments = {"x-stream-offset": "first"} if stream else {}
    return Consumer(BasicConsume("q", tag, no_ack=no_ack, arguments=arguments), BasicQos(0, 10))


def filled(*made: Consumer) -> Consumers:
    consumers = Consumers()
    for each in made:
        consumers.add(each)
    return consumers


def test_consumers_are_kept_in_the_order_in_which_they_were_made() -> None:
    consumers = filled(consumer("b"), consumer("a"), consumer("c"))
    assert [each.tag for each in consumers] == ["b", "a", "c"]
    consumers.remove("a")
    consumers.remove("never there")
    assert [each.tag for each in consumers] == ["b", "c"]
    assert (len(consumers), consumers.get("a")) == (2, None)
    for each in consumers:  # may change while it is gone through
        consumers.remove(each.tag)
    assert len(consumers) == 0


@pytest.mark.parametrize(
    ("no_acks", "settles"),
    [((), True), ((False,), True), ((True,), False), ((True, True), False), ((True, False), None)],
)
def test_whether_deliveries_are_to_be_settled_is_known_unless_consumers_differ(
    no_acks: tuple[bool, ...], settles: bool | None
) -> None:
    consumers = filled(*(consumer(str(n), no_ack=no_ack) for n, no_ack in enumerate(no_acks)))
    assert consumers.settles is settles
    assert consumers.stepped is (settles is None)


def test_deliveries_of_streams_are_looked_at_one_by_one() -> None:
    consumers = filled(consumer("a"), consumer("s", stream=True))
    assert consumers.stepped
    consumers.remove("s")
    assert not consumers.stepped
    consumers.add(Consumer(BasicConsume("s", "t"), None, stream=True))  # known by the queue's type
    assert consumers.stepped
    consumers.clear()
    assert not consumers.stepped


def test_a_consumer_without_arguments_is_no_streams() -> None:
    assert not Consumer(BasicConsume("q", "c"), None).is_stream


def test_a_parked_consumer_keeps_when_it_began_to_wait_and_tries_less_and_less_often() -> None:
    one = consumer("c")
    pauses = []
    for now in range(100, 110):
        one.park(now, "down")
        pauses.append(round(one.retry_at - now, 3))
    assert one.parked_since == 100
    assert one.why_parked == "down"
    assert pauses == sorted(pauses)
    assert pauses[0] < 0.5
    assert pauses[-1] == pauses[-2] == 4.0
    one.resume()
    assert (one.parked_since, one.attempts, one.why_parked) == (None, 0, "")
    one.park(200, "down again")
    assert one.parked_since == 200
    assert round(one.retry_at - 200, 3) == pauses[0]


def test_parking_settles_the_question_whether_the_queue_is_gone() -> None:
    one = consumer("c")
    one.judging = True
    one.park(1, "down")
    assert not one.judging


def test_parked_consumers_are_counted() -> None:
    consumers = filled(consumer("a"), consumer("b"))
    first = consumers.get("a")
    assert first is not None
    first.park(0.0, "down")  # at time 0, too
    assert consumers.parked() == 1
    first.resume()
    assert consumers.parked() == 0


# -- what a link calls them -----------------------------------------------------------------------


def test_a_consumer_begun_twice_on_a_link_has_another_tag_there_of_the_same_length() -> None:
    one, other = consumer("ctag"), consumer("cta\x01")
    consumers = filled(one, other)
    seen = {one.link_tag, other.link_tag}
    for _ in range(100):
        consumers.rename(one)
        assert len(one.link_tag.encode("utf-8", "surrogateescape")) == 4
        assert one.link_tag not in seen
        seen.add(one.link_tag)
        assert consumers.on_link(one.link_tag) is one
    assert consumers.on_link("cta\x01") is other
    assert consumers.get("ctag") is one
    assert consumers.has_aliases
    assert consumers.stepped


def test_late_deliveries_under_an_older_tag_are_still_the_consumers() -> None:
    one = consumer("c")
    consumers = filled(one)
    consumers.rename(one)
    first = one.link_tag
    consumers.rename(one)
    assert consumers.on_link(first) is consumers.on_link("c") is one


def test_the_next_link_calls_consumers_as_the_client_does() -> None:
    one = consumer("c")
    consumers = filled(one)
    consumers.rename(one)
    consumers.new_link()
    assert one.link_tag == "c"
    assert not consumers.has_aliases
    assert not consumers.stepped


@pytest.mark.parametrize("tag", ["\u00e9", "\u20ac\u20ac", "\udcff", "x" * 255])
def test_a_tag_of_any_octets_can_be_replaced(tag: str) -> None:
    one = consumer(tag)
    filled(one).rename(one)
    wanted = tag.encode("utf-8", "surrogateescape")
    got = one.link_tag.encode("utf-8", "surrogateescape")
    assert (len(got), got != wanted) == (len(wanted), True)
