"""How long a scrape takes where there are many queues and sessions: values to text, without a wire.

    python -m warrener.bench.scrape --queues 2000 --rounds 30

Once with metrics of the cluster as a whole, once with metrics of every queue. A real scrape has the
HTTP exchange on top, a millisecond on loopback; `tests/integration/test_telemetry.py` has one.
"""

import argparse
import statistics
import time
from dataclasses import replace

import msgspec

from warrener.bench.say import say
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState
from warrener.facts.snapshot import ClusterSnapshot, NodeView, QueueView
from warrener.facts.telemetry import BalancerFigures, Direction, Locality, NodeFigures
from warrener.telemetry.collect import collect
from warrener.telemetry.exposition import Exposition
from warrener.telemetry.values import NodeValues, Values

NODES = tuple(NodeName(f"n{number}@localhost") for number in (1, 2, 3))


class Timed(msgspec.Struct, frozen=True):
    """In milliseconds; ``lines`` and ``bytes`` of the text."""

    queue_metrics: int
    median: float
    worst: float
    lines: int
    bytes: int


def values(queues: int, queue_metrics: int) -> Values:
    """Three nodes with so many quorum queues."""
    found = tuple(
        QueueView(
            "/", f"queue-{number}", "quorum", NODES[number % 3], NODES, NODES,
            messages=number, messages_ready=number, consumers=number % 3,
        )
        for number in range(queues)
    )  # fmt: skip
    messages = tuple((one, two, 1000) for one in Direction for two in Locality)
    return Values(
        version="0",
        rabbitmq="3.10.8",
        driver="local",
        nodes=tuple(NodeValues(name, NodeState.RUNNING, False) for name in NODES),
        figures=BalancerFigures(
            nodes=tuple(NodeFigures(name, 1, 1, 1, 1, messages) for name in NODES)
        ),
        snapshot=ClusterSnapshot(
            NODES[0], 0.0, "bench", tuple(NodeView(name, running=True) for name in NODES), found
        ),
        queue_metrics=queue_metrics,
    )


def timed(told: Values, rounds: int) -> Timed:
    """Makes the text so many times."""
    exposition = Exposition()
    took = []
    text = b""
    for _ in range(rounds):
        began = time.perf_counter()
        text = exposition.text(collect(told))
        took.append((time.perf_counter() - began) * 1000)
    return Timed(
        told.queue_metrics, statistics.median(took), max(took), text.count(b"\n"), len(text)
    )


def main() -> None:
    """Prints it."""
    parser = argparse.ArgumentParser(prog="python -m warrener.bench.scrape")
    parser.add_argument("--queues", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    told = values(given.queues, 0)
    for of_queues in (0, given.queues):
        wanted = replace(told, queue_metrics=of_queues)
        found = timed(wanted, given.rounds)
        say(
            f"{given.queues} queues, {of_queues} with metrics of their own: median "
            f"{found.median:.1f} ms, worst {found.worst:.1f} ms of {given.rounds}; "
            f"{found.lines:,} lines, {found.bytes:,} bytes"
        )


if __name__ == "__main__":
    main()
