"""Samples merged: means by time, of whatever is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.facts.ids import NodeName
from warrener.planner.samples import (
    UNKNOWN,
    BalancerSample,
    HostSample,
    NodeSample,
    QueueSample,
    RestSample,
    Sample,
    merge,
)

N1, N2 = NodeName("n1@localhost"), NodeName("n2@localhost")


def queue(published: float, **more: object) -> QueueSample:
    return QueueSample("/", "q", "quorum", N1, (N1, N2), published, **more)  # type: ignore[arg-type]  # by name


def sample(at: float, seconds: float, published: float | None, **more: object) -> Sample:
    queues = () if published is None else (queue(published),)
    return Sample(at, seconds, (NodeSample(N1, "h", cpu=published),), queues=queues, **more)  # type: ignore[arg-type]  # by name


def test_rates_are_weighted_by_time() -> None:
    merged = merge([sample(10, 10, 100), sample(40, 30, 20)])
    assert merged.at == 40
    assert merged.seconds == 40
    assert merged.merged == 2
    assert merged.queues[0].published == pytest.approx(40)
    assert merged.nodes[0].cpu == pytest.approx(40)


def test_a_queue_that_a_sample_lacks_had_no_traffic_then_but_was_as_long_as_it_was() -> None:
    first = Sample(10, 10, (), queues=(queue(100, ready=8.0, backlog=1.0),))
    merged = merge([first, sample(20, 10, None)])
    assert merged.queues[0].published == pytest.approx(50)
    assert merged.queues[0].ready == pytest.approx(8)
    assert merged.queues[0].backlog == pytest.approx(1)


def test_what_is_not_known_is_no_zero() -> None:
    merged = merge([sample(10, 10, 4), Sample(20, 10, (NodeSample(N1, "h", cpu=None),))])
    assert merged.nodes[0].cpu == pytest.approx(4)
    nothing = merge(
        [Sample(10, 10, (NodeSample(N1, "h"),)), Sample(20, 10, (NodeSample(N1, "h"),))]
    )
    assert nothing.nodes[0].cpu is None


def test_leaders_and_hosts_are_those_of_the_newest_whatever_the_order() -> None:
    moved = Sample(20, 10, (), queues=(QueueSample("/", "q", "quorum", N2),))
    merged = merge([moved, sample(10, 10, 5)])
    assert merged.queues[0].leader == N2


def test_flows_through_other_nodes_hosts_balancer_and_rest() -> None:
    def one(at: float, number: float) -> Sample:
        return Sample(
            at,
            10,
            (),
            hosts=(HostSample("h", 2, number, None),),
            queues=(queue(10, entering={N2: number}),),
            rest=RestSample(3, number, number, number, number, number),
            balancer=BalancerSample("h", number, number, number, None, number, "h"),
        )

    merged = merge([one(10, 2), one(20, 4)])
    assert merged.queues[0].entering == {N2: pytest.approx(3)}
    assert merged.hosts == (HostSample("h", 2, pytest.approx(3), None),)
    assert merged.rest == RestSample(3, *(pytest.approx(3) for _ in range(5)))
    assert merged.balancer is not None
    assert merged.balancer.bytes_in == pytest.approx(3)
    assert merged.balancer.delivered is None


def test_nothing_to_merge_is_refused() -> None:
    with pytest.raises(ValueError, match="no samples"):
        merge([])


@given(
    st.lists(st.tuples(st.floats(1, 60), st.floats(0, 1e5)), min_size=2, max_size=12),
    st.integers(1, 11),
)
def test_merging_in_two_steps_gives_the_same(parts: list[tuple[float, float]], cut: int) -> None:
    """So thinning a day later, or not, makes no difference to a mean."""
    samples = [sample(at, seconds, rate) for at, (seconds, rate) in enumerate(parts, 1)]
    cut = min(cut, len(samples) - 1)
    whole = merge(samples)
    steps = merge([merge(samples[:cut]), merge(samples[cut:])])
    assert steps.queues[0].published == pytest.approx(whole.queues[0].published, rel=1e-6, abs=1e-6)
    assert steps.seconds == pytest.approx(whole.seconds)
    assert steps.merged == whole.merged


def test_the_prefetch_is_that_of_the_newest_who_told() -> None:
    """Consumers that have left since had one."""
    queues = [QueueSample("/", "q", "quorum", None, prefetch=number) for number in (5, 1, UNKNOWN)]
    samples = [Sample(at, 10, (), queues=(queue,)) for at, queue in enumerate(queues)]
    assert merge(samples).queues[0].prefetch == 1
    assert merge(samples[2:]).queues[0].prefetch == UNKNOWN
