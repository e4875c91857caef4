"""Time at work against consumers that are simulated one by one, and what becomes of it."""

import heapq
import itertools
import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.balancer.core.scene import deliver, messages
from tests.unit.balancer.core.test_channel import two

from warrener.amqp.methods import BasicAck, BasicCancel, BasicConsume, BasicConsumeOk, ChannelClose
from warrener.balancer.core.journal import Deliveries
from warrener.balancer.core.worktime import (
    PAUSES,
    PAUSES_OF_A_QUEUE,
    QUEUES,
    Arrivals,
    Owed,
    Pauses,
    WorkBook,
    Worktime,
)
from warrener.facts.balance import ClientWork


@given(
    seed=st.integers(0, 1000),
    prefetch=st.integers(1, 20),
    rho=st.floats(0.1, 1.5),
    every=st.integers(1, 5),
)
def test_it_is_the_service_time_whatever_the_load(
    seed: int, prefetch: int, rho: float, every: int
) -> None:
    """One consumer that works on one message after the other and acks ``every`` so many at once;
    messages come at random, faster than it works or slower."""
    chance = random.Random(seed)
    every = min(every, prefetch)
    work, deliveries = Worktime(), Deliveries()
    work.consumes({"q": 1})
    now = free_at = at_work = 0.0
    ready, given_out, tag, done, acked = 0, deque[float](), 0, 0, 0
    arrival = chance.expovariate(rho)
    ends: list[float] = []
    while acked < 400:
        now = min([arrival, *ends[:1]])
        if now == arrival:
            ready += 1
            arrival += chance.expovariate(rho)
        else:
            heapq.heappop(ends)
            done += 1
            if done % every == 0:
                before = deliveries.outstanding
                deliveries.settle(done, multiple=True)
                work.settled(before - deliveries.outstanding, deliveries.outstanding, now)
                acked = done
        while ready and deliveries.outstanding < prefetch:
            ready -= 1
            tag += 1
            deliveries.delivered(tag, 1, settled=False)
            work.given(deliveries.outstanding, now)
            service = chance.expovariate(1.0)
            at_work += service
            free_at = max(free_at, now) + service
            heapq.heappush(ends, free_at)
            given_out.append(service)
    if every == 1:
        mean = sum(list(given_out)[: work.messages]) / work.messages
        assert work.seconds / work.messages == pytest.approx(mean)
    else:  # it has the wait for the last message of each ack in it
        assert work.seconds / work.messages > 0.8


def test_two_consumers_on_a_channel_are_two_at_work() -> None:
    work = Worktime()
    work.consumes({"q": 2})
    work.given(2, 10.0)
    work.settled(1, 1, 11.0)
    work.settled(1, 0, 12.0)
    work.given(5, 20.0)
    work.settled(5, 0, 21.0)
    assert (work.seconds, work.messages) == (2 + 1 + 2, 7)


@pytest.mark.parametrize(("services", "scv"), [("constant", 0.0), ("exponential", 1.0)])
@pytest.mark.parametrize("prefetch", [1, 8])
def test_how_irregular_services_are(services: str, scv: float, prefetch: int) -> None:
    """Whatever waits in the client's buffer, and whenever it comes."""
    chance = random.Random(7)
    work = Worktime()
    work.consumes({"q": 1})
    now, out = 0.0, 0
    for _ in range(20_000):
        if out == 0:
            now += chance.expovariate(0.5)  # nothing to do
            work.given(out := chance.randint(1, prefetch), now)
        now += 1.0 if services == "constant" else chance.expovariate(1.0)
        out -= 1
        work.settled(1, out, now)
    assert (work.times.number, work.times.seconds) == (work.messages, pytest.approx(work.seconds))
    mean = work.times.seconds / work.times.number
    found = work.times.squares / work.times.number / mean**2 - 1
    assert found == pytest.approx(scv, abs=0.05)


def test_messages_acked_together_and_consumers_beside_each_other_have_no_times_of_their_own() -> (
    None
):
    work = Worktime()
    work.consumes({"q": 1})
    work.given(3, 0.0)
    work.settled(2, 1, 1.0)
    assert work.times.number == 0
    work.settled(1, 0, 1.5)  # this one has: it was begun when the others were done
    assert (work.times.number, work.times.seconds) == (1, 0.5)
    work.consumes({"q": 2})
    work.given(2, 2.0)
    work.settled(1, 1, 3.0)
    assert work.times.number == 1


# -- publishes


def spaced(*gaps: tuple[float, int]) -> ClientWork:
    """Publishes after so many seconds, so many at once; the first ones at 0."""
    arrivals, book, now = Arrivals(), WorkBook(), 0.0
    arrivals.came("q", 1, now)
    for gap, count in gaps:
        now += gap
        arrivals.came("q", count, now)
    book.add("/", Worktime(), arrivals, Owed())
    return book.take().get(("/", "q"), ClientWork())


def test_how_irregular_publishes_are() -> None:
    chance = random.Random(3)
    even = spaced(*[(0.1, 1)] * 50)
    assert (even.spaced, even.arrival_spread) == (50, pytest.approx(0.0, abs=1e-9))
    at_random = spaced(*[(chance.expovariate(10), 1) for _ in range(20_000)])
    assert at_random.arrival_spread / at_random.spaced == pytest.approx(1.0, abs=0.05)
    in_tens = spaced(*[(1.0, 10)] * 500)
    assert in_tens.arrival_spread / in_tens.spaced == pytest.approx(9.0, rel=0.01)


def test_few_publishes_at_random_are_not_taken_for_even_ones() -> None:
    chance = random.Random(5)
    few = [spaced(*[(chance.expovariate(1), 1) for _ in range(3)]) for _ in range(5_000)]
    mean = sum(one.arrival_spread for one in few) / sum(one.spaced for one in few)
    assert mean == pytest.approx(1.0, abs=0.06)
    assert spaced((1.0, 1)) == ClientWork()  # one says nothing


def test_how_many_publish_alike() -> None:
    book = WorkBook()
    for number in (40, 40, 20):
        arrivals = Arrivals()
        for at in range(number + 1):
            arrivals.came("q", 1, float(at))
        book.add("/", Worktime(), arrivals, Owed())
    told = book.take()["/", "q"]
    assert told.spaced**2 / told.square == pytest.approx(100**2 / (2 * 40**2 + 20**2))


def test_a_channel_that_publishes_to_two_queues_tells_nothing() -> None:
    arrivals, book = Arrivals(), WorkBook()
    for at, queue in enumerate("qqqrqqqq"):
        arrivals.came(queue, 1, float(at))
    book.add("/", Worktime(), arrivals, Owed())
    assert book.take() == {}


def test_what_is_dropped_counts_up_to_the_last_news() -> None:
    work = Worktime()
    work.consumes({"q": 1})
    work.given(2, 10.0)
    work.settled(1, 1, 11.0)
    work.dropped()
    work.given(1, 20.0)
    work.settled(1, 0, 21.0)
    assert (work.seconds, work.messages) == (2.0, 2)


def test_consumers_of_two_queues_cant_be_told_apart() -> None:
    work = Worktime()
    work.consumes({"q": 1})
    work.given(1, 0.0)
    work.settled(1, 0, 1.0)
    work.consumes({"q": 1, "r": 1})
    assert work.servers == 0
    work.settled(1, 0, 2.0)
    work.consumes({"r": 1})
    assert work.servers == 0
    assert (work.queue, work.seconds, work.messages) == ("q", 1.0, 1)


def test_a_book_adds_up_and_starts_anew() -> None:
    book = WorkBook()
    for _ in range(2):
        work = Worktime()
        work.consumes({"q": 1})
        work.given(1, 0.0)
        work.settled(1, 0, 2.0)
        book.add("/", work, Arrivals(), Owed())
        book.add("/", work, Arrivals(), Owed())  # nothing new
    assert book.take() == {("/", "q"): ClientWork(4.0, 2, 2, 4.0, 8.0)}
    assert book.take() == {}


def test_a_book_has_an_end() -> None:
    book = WorkBook()
    for number in range(QUEUES + 5):
        work = Worktime()
        work.consumes({f"reply-{number}": 1})
        work.given(1, 0.0)
        work.settled(1, 0, 1.0)
        book.add("/", work, Arrivals(), Owed())
    assert len(book.take()) == QUEUES


# -- in a session


def taken(play: object) -> dict[tuple[str, str], ClientWork]:
    session = play.session  # type: ignore[attr-defined]
    session.hand_in_work()
    return dict(session.board._budget.work.take())


def test_a_session_sees_its_consumers_work() -> None:
    play = two(("q", "n1")).consumer()
    play.node_sends(deliver(1), deliver(2))
    play.after(0.25).client_sends((1, BasicAck(1, False)))
    play.after(0.5).client_sends((1, BasicAck(2, False)))
    assert taken(play) == {("/", "q"): ClientWork(0.75, 2, 2, 0.75, 0.25**2 + 0.5**2)}
    play.after(5.0)  # nothing to do
    play.node_sends(deliver(3)).after(0.1).client_sends((1, BasicAck(3, False)))
    play.client_sends((1, BasicCancel("c"))).client_sends((1, ChannelClose(200, "", 0, 0)))
    assert taken(play) == {
        ("/", "q"): ClientWork(*map(pytest.approx, (0.1, 1, 1, 0.1, 0.01)), pauses=(5.0,))
    }


def test_a_session_sees_when_publishes_come() -> None:
    play = two(("q", "n1")).channel(confirms=True)
    for _ in range(4):
        play.after(0.25).client_sends(messages("a", "b"))
    told = taken(play)["/", "q"]
    assert told.spaced in (6, 7), "the first pair may come as one run"
    assert told.square == told.spaced**2
    assert told.arrival_spread / told.spaced > 1, "in pairs"


def test_without_acks_nothing_is_to_be_seen() -> None:
    play = two(("q", "n1")).channel()
    play.client_sends((1, BasicConsume("q", "c", no_ack=True))).node_answers(BasicConsumeOk("c"))
    play.node_sends(deliver(1))
    assert taken(play) == {}


def test_pauses_are_from_the_last_ack_to_the_next_delivery() -> None:
    work = Worktime()
    work.consumes({"q": 1})
    work.given(1, 5.0)  # the first one: nobody knows for how long it had been waiting
    work.settled(1, 0, 6.0)
    work.given(1, 6.25)
    work.given(2, 6.5)
    work.settled(1, 1, 7.0)
    work.settled(1, 0, 8.0)
    work.given(3, 8.5)
    work.settled(3, 0, 9.0)
    work.dropped()  # the link: what comes next was not waited for
    work.given(1, 20.0)
    assert work.pauses.take() == (0.25, 0.5)
    work.settled(1, 0, 21.0)
    work.consumes({"q": 1, "other": 1})
    work.given(1, 22.0)
    assert work.pauses.take() == ()


def test_two_consumers_on_a_channel_have_no_pauses() -> None:
    work = Worktime()
    work.consumes({"q": 2})
    for at in range(10):
        work.given(1, 2.0 * at)
        work.settled(1, 0, 2.0 * at + 1)
    assert work.pauses.take() == ()


def test_of_many_pauses_some_are_kept_of_all_of_the_time() -> None:
    pauses = Pauses()
    for at in range(10_000):
        pauses.add(float(at))
    kept = pauses.take()
    assert PAUSES / 2 - 1 <= len(kept) < PAUSES
    assert sum(kept) / len(kept) == pytest.approx(5_000, rel=0.05)
    steps = {after - before for before, after in itertools.pairwise(kept)}
    assert steps == {max(steps)}
    pauses.add(1.0)
    assert pauses.take() == (1.0,)


def test_pauses_of_a_queues_channels_come_together_and_are_bounded() -> None:
    book = WorkBook()
    for _ in range(40):
        work = Worktime()
        work.consumes({"q": 1})
        for at in range(200):
            work.given(1, 2.0 * at)
            work.settled(1, 0, 2.0 * at + 1)
        book.add("/", work, Arrivals(), Owed())
    told = book.take()["/", "q"]
    assert told.messages == 40 * 200
    assert set(told.pauses) == {1.0}
    assert len(told.pauses) == PAUSES_OF_A_QUEUE


# -- stalls


def owed_of(owed: Owed) -> tuple[int, int, float]:
    return owed.messages, owed.stalled, owed.seconds


def test_a_broker_that_confirms_nothing_for_long_stalls() -> None:
    owed = Owed()
    owed.published(1, 0.0)
    owed.confirmed(0, 0.002)
    assert owed_of(owed) == (1, 0, 0.0)
    owed.published(1, 1.0)
    owed.published(3, 1.1)  # two more, 100 ms later
    owed.confirmed(1, 1.3)  # 300 ms without a word, for all three of them
    assert owed_of(owed) == (3, 3, pytest.approx(0.3 + 2 * 0.2))
    owed.confirmed(0, 1.301)
    assert owed_of(owed) == (4, 3, pytest.approx(0.7))


def test_a_broker_that_owes_nothing_may_be_silent() -> None:
    owed = Owed()
    for at in range(10):
        owed.published(1, float(at))
        owed.confirmed(0, at + 0.01)
    assert owed_of(owed) == (10, 0, 0.0)


def test_confirms_that_come_all_the_time_are_no_stall_however_late() -> None:
    owed = Owed()
    for at in range(100):  # each 50 ms after its publish, one every 10 ms
        owed.published(min(at, 4) + 1, at / 100)
        if at >= 5:
            owed.confirmed(4, at / 100 + 0.005)
    assert owed.stalled <= 5  # the first of them did wait


def test_what_is_usual_is_no_stall() -> None:
    owed = Owed()
    for _ in range(30):
        owed.timed(0.04)
    owed.published(1, 0.0)
    owed.confirmed(0, 0.06)
    assert owed.stalled == 0
    owed.published(1, 1.0)
    owed.confirmed(0, 1.5)
    assert owed.stalled == 1


@given(st.floats(0.0005, 0.2))
def test_what_is_usual_is_about_the_median(median: float) -> None:
    owed, chance = Owed(), random.Random(4)
    owed.timed(0.01)
    for _ in range(400):
        owed.timed(chance.lognormvariate(0.0, 0.5) * median)
    assert median / 2 < owed.usual < 2 * median


def test_a_book_has_the_stalls_of_channels_that_publish_to_one_queue() -> None:
    book = WorkBook()
    for queues in ("q", "q", "qr"):
        owed, arrivals = Owed(), Arrivals()
        for queue in queues:
            arrivals.came(queue, 1, 0.0)
        owed.published(1, 0.0)
        owed.confirmed(0, 0.5)
        book.add("/", Worktime(), arrivals, owed)
        book.add("/", Worktime(), arrivals, owed)  # nothing new
    assert book.take() == {
        ("/", "q"): ClientWork(confirmed=2, stalled=2, stalled_seconds=1.0),
    }


def test_a_session_sees_its_broker_stall() -> None:
    play = two(("q", "n1")).channel(confirms=True)
    play.client_sends(messages("a"))
    play.after(0.01).node_sends((1, BasicAck(1, False)))
    play.client_sends(messages("b", "c"))
    play.after(0.5).node_sends((1, BasicAck(3, True)))
    told = taken(play)["/", "q"]
    assert (told.confirmed, told.stalled) == (3, 2)
    assert told.stalled_seconds == pytest.approx(1.0)
