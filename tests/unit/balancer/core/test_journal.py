"""Numbers, deliveries and publishes of a channel against oracles that keep every number."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warrener.balancer.core.journal import ACK_ALL, Deliveries, Numbers, Publishes

# -- sets of numbers ------------------------------------------------------------------------------

intervals = st.tuples(st.integers(1, 40), st.integers(0, 6)).map(lambda it: (it[0], it[0] + it[1]))


@settings(max_examples=300)
@given(st.lists(st.one_of(intervals, st.integers(0, 45)), max_size=20))
def test_numbers_are_a_set(steps: list[tuple[int, int] | int]) -> None:
    """Any order of adding intervals and raising the floor."""
    numbers = Numbers()
    oracle: set[int] = set()
    for step in steps:
        if isinstance(step, int):
            numbers.raise_floor(step)
            oracle.update(range(1, step + 1))
        elif not oracle.intersection(range(step[0], step[1] + 1)):
            numbers.add(*step)
            oracle.update(range(step[0], step[1] + 1))
        floor = 0
        while floor + 1 in oracle:
            floor += 1
        assert numbers.floor == floor
        assert numbers.above == len([number for number in oracle if number > floor])
    assert [number for number in range(1, 60) if number in numbers] == sorted(oracle)
    for first, last in [(1, 60), (5, 9), (20, 20), (30, 10)]:
        wanted = [number for number in range(first, last + 1) if number not in oracle]
        assert numbers.missing(first, last) == wanted


def test_one_missing_number_does_not_make_the_others_pile_up() -> None:
    numbers = Numbers()
    for number in range(2, 10_000):
        numbers.add(number, number)
    assert (numbers.floor, numbers.above) == (0, 9_998)
    assert len(numbers._by_start) == len(numbers._by_end) == 1
    numbers.add(1, 1)
    assert (numbers.floor, numbers.above, len(numbers._by_start)) == (9_999, 0, 0)


@pytest.mark.parametrize("again", [1, 2, 4, 6])
def test_a_number_at_an_end_may_be_added_twice(again: int) -> None:
    """A client that acks twice; the broker closes its channel."""
    numbers = Numbers()
    numbers.add(1, 2)
    numbers.add(4, 6)
    numbers.add(again, again)
    assert (numbers.floor, numbers.above) == (2, 3)


# -- deliveries -----------------------------------------------------------------------------------


class Client:
    """What is true of a channel's deliveries, one by one."""

    def __init__(self) -> None:
        self.deliveries = Deliveries()
        self.given: dict[int, tuple[int, int]] = {}  # client's tag -> link, the link's tag
        self.unsettled: set[int] = set()
        self.link = 1
        self.link_tag = 0

    def gets(self, count: int, *, settled: bool) -> None:
        self.link_tag += count
        self.deliveries.delivered(self.link_tag, count, settled=settled)
        for tag in range(self.link_tag - count + 1, self.link_tag + 1):
            number = len(self.given) + 1
            self.given[number] = self.link, tag
            if not settled:
                self.unsettled.add(number)

    def settles(self, tag: int, multiple: bool) -> None:
        link_tag = self.deliveries.settle(tag, multiple)
        if multiple:
            self.unsettled = {number for number in self.unsettled if number > tag}
        else:
            self.unsettled.discard(tag)
        link, wanted = self.given[tag]
        assert link_tag == (wanted if link == self.link else None)

    def moves(self) -> None:
        self.deliveries.left()
        self.unsettled.clear()
        self.link += 1
        self.link_tag = 0


def steps(*kinds: str) -> st.SearchStrategy[list[tuple[str, int, int, bool]]]:
    """What happens, how often, to which one, and a choice."""
    one = st.tuples(st.sampled_from(kinds), st.integers(1, 5), st.integers(0, 10**6), st.booleans())
    return st.lists(one, max_size=20)


@settings(max_examples=300)
@given(steps("get", "get", "no-ack", "settle", "settle", "move"))
def test_every_settling_reaches_the_link_that_delivered_or_nobody(
    story: list[tuple[str, int, int, bool]],
) -> None:
    client = Client()
    for what, count, which, multiple in story:
        settleable = sorted(client.given if multiple else client.unsettled)
        if what == "move":
            client.moves()
        elif what != "settle":
            client.gets(count, settled=what == "no-ack")
        elif settleable:
            client.settles(settleable[which % len(settleable)], multiple)
        assert client.deliveries.highest == len(client.given)
        assert client.deliveries.outstanding == len(client.unsettled)


def test_all_so_far_is_all_of_this_link() -> None:
    client = Client()
    client.gets(3, settled=False)
    client.moves()
    client.gets(2, settled=False)
    assert client.deliveries.settle(ACK_ALL, True) == ACK_ALL
    assert client.deliveries.outstanding == 0


def test_an_ack_of_many_that_ends_before_the_move_is_nobodys() -> None:
    client = Client()
    client.gets(3, settled=False)
    client.moves()
    client.gets(2, settled=False)
    assert client.deliveries.settle(3, True) is None
    assert client.deliveries.outstanding == 2
    assert client.deliveries.settle(4, True) == 1
    assert client.deliveries.outstanding == 1


def test_a_tag_that_was_never_given_is_the_brokers_to_complain_about() -> None:
    client = Client()
    client.gets(2, settled=False)
    assert client.deliveries.settle(9, False) == 9
    assert client.deliveries.outstanding == 2
    client.moves()
    assert client.deliveries.settle(9, False) == 7
    assert client.deliveries.outstanding == 0


def test_tags_that_a_broker_leaves_out_are_waited_for_by_nobody() -> None:
    deliveries = Deliveries()
    deliveries.delivered(1, 1, settled=False)
    deliveries.delivered(5, 1, settled=False)
    assert deliveries.outstanding == 2


def test_recover_leaves_nothing_to_settle() -> None:
    client = Client()
    client.gets(4, settled=False)
    client.deliveries.all_returned()
    assert client.deliveries.outstanding == 0
    assert client.deliveries.settle(2, False) == 2  # still the link's: only the count has changed


# -- publishes ------------------------------------------------------------------------------------


def bodies(first: int, count: int) -> bytes:
    """Messages of one size that say their number."""
    return b"".join(b"%06d" % number for number in range(first, first + count))


class Publisher:
    """What is true of a channel's publishes, one by one."""

    def __init__(self) -> None:
        self.publishes = Publishes()
        self.sent = 0
        self.unconfirmed: set[int] = set()
        self.link: list[int] = []  # the client's numbers, in the order of this link
        self.told: set[int] = set()  # positions on this link that the broker has told of
        self.stale: set[int] = set()  # positions whose publish was sent again since

    def publish(self, count: int) -> None:
        first = self.sent + 1
        self.publishes.published(bodies(first, count), count)
        self.sent += count
        self.unconfirmed.update(range(first, self.sent + 1))
        self.link.extend(range(first, self.sent + 1))

    def confirm(self, position: int, multiple: bool) -> None:
        """Position from 1, as the link counts."""
        number = self.publishes.confirmed(position, multiple)
        last = self.link[position - 1]
        done = {last}
        if multiple:
            done = {self.link[at] for at in range(position) if at + 1 not in self.told}
            self.told.update(range(1, position))
        self.told.add(position)
        if position in self.stale:
            assert number is None
            return
        self.unconfirmed -= done
        assert number == last

    def moves(self, *, first_alone: bool) -> None:
        self.publishes.left()
        self.link, self.told, self.stale = [], set(), set()
        wanted = sorted(self.unconfirmed)
        if first_alone and wanted:
            assert self.publishes.replay_first() == bodies(wanted[0], 1)
            self.link = [wanted[0]]
            self.confirm(1, False)
            wanted = wanted[1:]
        assert self.publishes.replay() == (b"".join(bodies(n, 1) for n in wanted), len(wanted))
        self.link += wanted


@settings(max_examples=200)
@given(steps("publish", "publish", "confirm", "confirm", "confirm", "move"))
def test_confirms_are_told_under_the_clients_numbers_and_the_rest_is_said_again(
    story: list[tuple[str, int, int, bool]],
) -> None:
    publisher = Publisher()
    publishes = publisher.publishes
    for what, count, which, choice in story:
        open_ = [at for at in range(1, len(publisher.link) + 1) if at not in publisher.told]
        if what == "publish":
            publisher.publish(count)
        elif what == "move":
            publisher.moves(first_alone=choice)
        elif open_:
            publisher.confirm(open_[which % len(open_)], choice)
        if which % 3 == 0:
            publishes.compact()
        assert publishes.sent == publisher.sent
        assert publishes.outstanding == len(publisher.unconfirmed)
        assert publishes.bytes >= 6 * len(publisher.unconfirmed)
        if publishes.straight:
            assert publisher.link == list(range(1, len(publisher.link) + 1))
    publishes.compact()
    needed = 6 * len(publisher.unconfirmed)
    assert needed <= publishes.bytes <= needed + 6 * 4, "at most one run is kept for its end"


def test_what_is_confirmed_in_order_is_dropped_at_once() -> None:
    publishes = Publishes()
    publishes.published(bodies(1, 10), 10)
    publishes.published(bodies(11, 10), 10)
    publishes.confirmed(10, True)
    assert publishes.bytes == 60
    publishes.confirmed(20, True)
    assert (publishes.bytes, publishes.outstanding) == (0, 0)


def test_the_first_publish_that_was_tried_alone_and_refused_is_tried_again() -> None:
    """On a channel opened anew, and once more on the same one; late answers are of no meaning."""
    publishes = Publishes()
    publishes.published(bodies(1, 3), 3)
    publishes.left()
    assert publishes.replay_first() == bodies(1, 1)
    assert publishes.number_of(1) == 1
    publishes.left()
    assert publishes.replay_first() == bodies(1, 1)
    assert publishes.confirmed(1, False) == 1
    assert publishes.replay() == (bodies(2, 2), 2)
    assert publishes.number_of(1) is None
    assert publishes.confirmed(3, True) == 3
    assert publishes.outstanding == 0


def test_the_first_publish_is_taken_from_a_run_that_is_confirmed_in_part() -> None:
    publishes = Publishes()
    publishes.published(bodies(1, 5), 5)
    publishes.confirmed(2, False)
    publishes.confirmed(1, False)
    publishes.left()
    assert publishes.replay_first() == bodies(3, 1)
    publishes.confirmed(1, False)
    assert publishes.replay() == (bodies(4, 2), 2)


def test_a_confirm_of_more_than_was_published_is_cut() -> None:
    publishes = Publishes()
    publishes.published(bodies(1, 2), 2)
    assert publishes.confirmed(9, True) == 2


def test_a_publish_that_is_not_kept_binds_until_it_is_confirmed() -> None:
    publishes = Publishes()
    publishes.published(bodies(1, 1), 1)
    publishes.published_unkept()
    publishes.published(bodies(3, 1), 1)
    assert not publishes.carriable
    assert (publishes.outstanding, publishes.bytes) == (3, 12)
    publishes.confirmed(1, False)
    assert not publishes.carriable
    publishes.confirmed(2, False)
    assert publishes.carriable
    publishes.left()
    assert publishes.replay() == (bodies(3, 1), 1)
    assert publishes.confirmed(1, False) == 3


def test_a_publish_that_is_not_kept_may_be_confirmed_out_of_order() -> None:
    publishes = Publishes()
    publishes.published(bodies(1, 1), 1)
    publishes.published_unkept()
    publishes.confirmed(2, False)
    assert publishes.carriable
