"""Two readings of counters, and what happened between them."""

from dataclasses import replace

import pytest

from warrener.facts.balance import ClientWork
from warrener.facts.ids import NodeName
from warrener.facts.leaders import QueueRates
from warrener.facts.snapshot import ClusterSnapshot, QueueView
from warrener.planner.sampling import (
    BalancerReading,
    HostReading,
    Looked,
    NodeReading,
    Reading,
    make,
)

N1, N2 = NodeName("n1@localhost"), NodeName("n2@localhost")


def published(queue: str, number: float) -> dict[bytes, float]:
    labels = f'channel="c",queue_vhost="/",queue="{queue}",exchange_vhost="/",exchange=""'
    return {f"rabbitmq_detailed_queue_messages_published_total{{{labels}}}".encode(): number}


def delivered(queue: str, number: float) -> dict[bytes, float]:
    labels = f'channel="c",vhost="/",queue="{queue}"'
    return {f"rabbitmq_detailed_channel_messages_delivered_ack_total{{{labels}}}".encode(): number}


def view(*queues: QueueView) -> ClusterSnapshot:
    return ClusterSnapshot(N1, 0.0, "c", (), queues)


Q = QueueView("/", "q", "quorum", N1, (N1, N2), messages_ready=3, messages_unacknowledged=2)


def test_rates_come_from_all_nodes_and_the_others_than_the_leader_are_told() -> None:
    before = Reading(
        100, 0, (N1, N2), {N1: (0.0, published("q", 10)), N2: (0.0, published("q", 5))}
    )
    after = Reading(
        110,
        10,
        (N1, N2),
        {
            N1: (10.0, published("q", 110)),
            N2: (10.0, {**published("q", 105), **delivered("q", 40)}),
        },
    )
    sample = make(before, after, view(Q), Looked({("/", "q"): (4, 20)}, {("/", "q"): (5, 500)}))
    (queue,) = sample.queues
    assert sample.at == 110
    assert sample.seconds == 10
    assert queue.published == pytest.approx(20)
    assert queue.delivered == pytest.approx(4)
    assert queue.entering == {N2: pytest.approx(10)}
    assert queue.leaving == {N2: pytest.approx(4)}
    assert (queue.consumers, queue.prefetch, queue.backlog) == (4, 20, 1.0)
    assert (queue.held, queue.held_bytes) == (5, 500)
    assert sample.missing == ()


def test_a_node_that_did_not_answer_is_missing_and_one_that_came_up_is_counted_from_nothing() -> (
    None
):
    before = Reading(100, 0, (N1,), {})
    after = Reading(110, 10, (N1, N2), {N1: (10.0, {}), N2: (10.0, published("q", 50))})
    sample = make(before, after, view(Q), Looked())
    assert sample.missing == (N1,)
    assert sample.queues[0].published == pytest.approx(5)


def test_the_first_answers_after_a_time_without_any_node_are_not_counted() -> None:
    sample = make(
        Reading(100, 0),
        Reading(110, 10, (N1,), {N1: (10.0, published("q", 1e9))}),
        view(Q),
        Looked(),
    )
    assert sample.missing == (N1,)
    assert sample.queues[0].published == 0


def test_rates_that_somebody_else_told_are_taken_as_they_are() -> None:
    after = Reading(110, 10, told={("/", "q"): QueueRates(7.0, 6.0, 5.0)})
    (queue,) = make(Reading(100, 0), after, view(Q), Looked()).queues
    assert (queue.published, queue.delivered, queue.acked) == (7.0, 6.0, 5.0)


def test_of_many_queues_the_busy_ones_are_kept_and_the_rest_is_summed() -> None:
    views = [QueueView("/", f"q{n}", "classic", N1, messages_ready=1) for n in range(10)]
    told = {("/", f"q{n}"): QueueRates(float(n)) for n in range(4)}  # q0 has none
    after = Reading(110, 10, told=told)
    sample = make(Reading(100, 0), after, view(*views), Looked(), all_up_to=5, busy_up_to=2)
    assert [queue.name for queue in sample.queues] == ["q3", "q2"]
    assert sample.rest.queues == 8
    assert sample.rest.published == pytest.approx(1)
    assert sample.rest.ready == 8
    few = make(Reading(100, 0), after, view(*views), Looked(), all_up_to=10)
    assert len(few.queues) == 10
    assert few.rest.queues == 0


def test_cpu_of_a_process_that_was_started_anew_is_not_guessed() -> None:
    def at(clock: float, pid: int, cpu: float) -> Reading:
        return Reading(
            clock, clock, nodes=(NodeReading(N1, "h", True, pid, cpu, 100, 200, 3, 1.5),)
        )  # fmt: skip

    (node,) = make(at(0, 7, 5.0), at(10, 7, 9.0), view(), Looked()).nodes
    assert node.cpu == pytest.approx(0.4)
    assert (node.mem_used, node.sessions, node.cores) == (100, 3, 1.5)
    (node,) = make(at(0, 7, 5.0), at(10, 8, 9.0), view(), Looked()).nodes
    assert node.cpu is None
    (node,) = make(at(0, 0, 9.0), at(10, 0, 1.0), view(), Looked()).nodes
    assert node.cpu is None


def test_what_neither_the_cluster_nor_its_clients_used_is_the_others() -> None:
    def at(clock: float, busy: float, node: float, client: dict[int, float] | None) -> Reading:
        return Reading(clock, clock, hosts=(HostReading("h", 2, busy, {1: node}, client),))

    (host,) = make(
        at(0, 100, 10, {9: 1.0}), at(10, 115, 15, {9: 3.0, 10: 50.0}), view(), Looked()
    ).hosts
    assert host.others == pytest.approx(0.8)  # 15 - 5 - 2 in 10 s; 10 may be hours old
    assert host.clients == pytest.approx(0.2)
    (host,) = make(at(0, 100, 10, None), at(10, 115, 15, None), view(), Looked()).hosts
    assert host.others == pytest.approx(1.0)
    assert host.clients is None


def test_the_balancers_counters_become_rates_and_what_it_does_not_count_stays_unknown() -> None:
    def at(clock: float, count: int | None) -> Reading:
        told = BalancerReading("h", int(clock) * 50, int(clock) * 20, count, count, 5, clock / 4)
        return Reading(clock, clock, balancer=told)

    balancer = make(at(0, 0), at(10, 300), view(), Looked()).balancer
    assert balancer is not None
    assert (balancer.bytes_in, balancer.bytes_out, balancer.published) == (50, 20, 30)
    assert balancer.cpu == pytest.approx(0.25)
    balancer = make(at(0, None), at(10, None), view(), Looked()).balancer
    assert balancer is not None
    assert balancer.published is None


def test_readings_at_one_moment_are_refused() -> None:
    with pytest.raises(ValueError, match="apart"):
        make(Reading(1, 1), Reading(1, 1), None, Looked())


def test_what_consumers_did_is_by_the_second() -> None:
    after = Reading(110, 10, work={("/", "q"): ClientWork(15.0, 600)})
    (queue,) = make(Reading(100, 0), after, view(Q), Looked()).queues
    assert (queue.at_work, queue.worked) == (1.5, 60.0)
    (queue,) = make(Reading(100, 0), Reading(110, 10), view(Q), Looked()).queues
    assert (queue.at_work, queue.worked) == (0.0, 0.0)


def turned_of(
    prefetch: int, ready: int, acked: float, type: str = Q.type, **more: float
) -> float | None:
    """What is kept of the turnaround of two consumers that settled 50 a second, each taking 20 ms,
    with pauses of 5 and of 35 ms in turn."""
    pauses = (0.005, 0.035) * 50
    work = {("/", "q"): ClientWork(10.0, 500, pauses=pauses, **more)}  # type: ignore[arg-type]  # by name
    after = Reading(110, 10, told={("/", "q"): QueueRates(50.0, 50.0, acked)}, work=work)
    seen = view(replace(Q, messages_ready=ready, type=type))
    (queue,) = make(Reading(100, 0), after, seen, Looked({("/", "q"): (2, prefetch)})).queues
    assert queue.turned in (0.0, 50.0)
    return queue.turned_seconds / queue.turned if queue.turned else None


def test_the_turnaround_is_kept_where_all_of_the_consumers_were_seen() -> None:
    assert turned_of(prefetch=1, ready=3, acked=50.0) == pytest.approx(0.005)
    assert turned_of(prefetch=1, ready=100, acked=50.0) == pytest.approx(0.02)  # never empty
    assert turned_of(prefetch=2, ready=3, acked=50.0) is None
    assert turned_of(prefetch=1, ready=3, acked=100.0) is None  # others ack by another way


def test_stalls_are_by_the_second() -> None:
    work = {("/", "q"): ClientWork(confirmed=500, stalled=20, stalled_seconds=5.0)}
    (queue,) = make(Reading(100, 0), Reading(110, 10, work=work), view(Q), Looked()).queues
    assert (queue.confirmed, queue.stalled, queue.stalled_seconds) == (50.0, 2.0, 0.5)


def test_stalls_are_not_in_the_turnaround_of_a_queue_with_a_backlog() -> None:
    """Two consumers that do 50 a second are busy for 40 ms with each. A fifth of the messages come
    in stalls of 0.4 s, of which all but 20 ms are lost: 19 % of the time."""
    stalls = {"confirmed": 500, "stalled": 100, "stalled_seconds": 20.0}
    told = turned_of(1, 100, 50.0, "quorum", **stalls)
    assert told == pytest.approx(0.81 * 0.04 - 0.02, rel=0.01)
    assert turned_of(1, 100, 50.0, "classic", **stalls) == pytest.approx(0.02)
    assert turned_of(1, 3, 50.0, "quorum", **stalls) == pytest.approx(0.005)  # the shortest
    assert turned_of(1, 100, 50.0, "quorum", confirmed=500) == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("scv", "publishers", "told"),
    [(1.0, 1, True), (0.0, 1, False), (0.0, 20, True), (4.0, 1, True)],
)
def test_the_turnaround_is_not_told_where_publishes_are_regular(
    scv: float, publishers: int, told: bool
) -> None:
    """Many that are regular each are as at random together."""
    seen = {"spaced": 500, "arrival_spread": 500 * scv, "square": 500**2 / publishers}
    assert (turned_of(1, 3, 50.0, **seen) is not None) is told
    assert turned_of(1, 100, 50.0, **seen) == pytest.approx(0.02)  # a backlog tells it anyhow
