"""What a Prometheus is asked, and what its answers come to."""

import math

import pytest

from warrener.facts.ids import NodeName
from warrener.facts.snapshot import ClusterSnapshot, NodeView, QueueView
from warrener.planner.prometheus import (
    DETAILED,
    NotScraped,
    Series,
    Steps,
    queries,
    samples,
    steps,
)
from warrener.planner.samples import Sample
from warrener.planner.sampling import Looked

N1, N2 = NodeName("n1@localhost"), NodeName("n2@localhost")
VIEW = ClusterSnapshot(
    N1,
    0.0,
    "warren",
    (NodeView(N1, True), NodeView(N2, True)),
    (QueueView("/", "q", "quorum", N1),),
)
OVER = Steps(20.0, 60.0)
Q = {"vhost": "/", "queue": "q"}


def one(labels: dict[str, str], *values: float) -> Series:
    return Series(labels, [(100.0 + 20 * number, value) for number, value in enumerate(values)])


def identity(instance: str, node: str, cluster: str = "warren") -> Series:
    labels = {"instance": instance, "rabbitmq_node": node, "rabbitmq_cluster": cluster}
    return one(labels, 1.0)


def answers(**more: list[Series]) -> dict[str, list[Series]]:
    told: dict[str, list[Series]] = {name: [] for name in queries(OVER)}
    told["identity"] = [identity("a:1", N1), identity("b:1", N2), identity("x:1", N1, "other")]
    told["ready"] = [one({"instance": "a:1", **Q}, 0.0, 3.0)]
    return told | {
        name.replace("_", " ", name.startswith("delivered")): at for name, at in more.items()
    }


def made(told: dict[str, list[Series]], looked: Looked = Looked()) -> list[Sample]:  # noqa: B008  a value
    return samples(told, OVER, VIEW, {N1: "h", N2: "h"}, looked)


def test_windows_are_asked_in_thirty_steps_of_fifteen_seconds_at_least() -> None:
    assert steps(60) == Steps(15, 60)
    assert steps(600) == Steps(20, 60)
    assert steps(86_400) == Steps(2880, 2880)


def test_every_query_goes_over_the_range() -> None:
    asked = queries(Steps(20, 60))
    assert all("[60s]" in query for name, query in asked.items() if name != "identity")
    assert asked["published"] == (
        "sum by (instance, queue_vhost, queue) "
        "(rate(rabbitmq_detailed_queue_messages_published_total[60s]))"
    )


def test_rates_states_and_nodes() -> None:
    told = answers(
        published=[
            one({"instance": "a:1", "queue_vhost": "/", "queue": "q"}, 30.0, 40.0),
            one({"instance": "b:1", "queue_vhost": "/", "queue": "q"}, 10.0, 10.0),
            one({"instance": "x:1", "queue_vhost": "/", "queue": "q"}, 9.0, 9.0),
        ],
        delivered_0=[one({"instance": "b:1", **Q}, 5.0, 5.0)],
        delivered_2=[one({"instance": "b:1", **Q}, 7.0, 7.0)],
        acked=[one({"instance": "b:1", **Q}, 12.0, math.nan)],
        unacked=[one({"instance": "a:1", **Q}, 2.0, 4.0)],
        consumers=[one({"instance": "a:1", **Q}, 1.0, 1.0)],
        cpu=[one({"instance": "a:1"}, 0.5, 0.7)],
        memory=[one({"instance": "a:1"}, 1000.0, 1000.0)],
        limit=[one({"instance": "a:1"}, 4000.0, 4000.0)],
        cores=[one({"instance": "a:1"}, 8.0, 8.0)],
        connections=[one({"instance": "a:1"}, 3.0, 3.0)],
    )
    first, second = made(told, Looked({("/", "q"): (1, 25)}))
    assert (first.at, first.seconds) == (100.0, 20.0)
    (queue,) = first.queues
    assert queue.published == pytest.approx(40)
    assert queue.entering == {N2: 10.0}
    assert queue.delivered == pytest.approx(12)
    assert queue.leaving == {N2: 12.0}
    assert (queue.acked, queue.ready, queue.unacked, queue.backlog) == (12, 0, 2, 0)
    assert (queue.consumers, queue.prefetch, queue.leader) == (1, 25, N1)
    assert second.queues[0].acked == 0  # NaN is no number
    assert second.queues[0].backlog == 1
    node, other = first.nodes
    assert (node.cpu, node.mem_used, node.mem_limit, node.sessions) == (0.5, 1000, 4000, 3)
    assert other.cpu is None
    assert first.hosts[0].cores == 8
    assert first.missing == ()


def test_sizes_where_they_are_scraped() -> None:
    told = answers(
        held=[one({"instance": "a:1", **Q}, 4.0)], held_bytes=[one({"instance": "a:1", **Q}, 800.0)]
    )
    assert made(told)[0].queues[0].held_bytes / made(told)[0].queues[0].held == 200
    del told["held_bytes"][0]
    assert made(told)[0].queues[0].held == 0


def test_a_node_that_is_not_scraped_is_missing() -> None:
    told = answers(identity=[identity("a:1", N1)])
    assert made(told)[0].missing == (N2,)


def test_what_is_not_scraped_is_said_with_what_to_scrape() -> None:
    with pytest.raises(NotScraped, match=r'rabbitmq_cluster="warren"\}: it has to scrape') as error:
        made(answers(identity=[identity("a:1", N1, "other")]))
    assert DETAILED in str(error.value)
    with pytest.raises(NotScraped, match="besides /metrics"):
        made(answers(ready=[]))
