"""What spreading leaders by load brings: the same load before and after, in mixed order.

    python -m warrener.bench.leaders_gain --rounds 6 --seconds 5 --node-cores 0.4

Sixty quorum queues whose rates differ a lot (Zipf, exponent 1), twenty led by each node, which is
even for RabbitMQ's own `rabbitmq-queues rebalance`; but the busy ones are all on one node. Then
`warrener leaders balance` moves what it wants to, once. From then on both placements are measured
in turn, another one first in each round, on queues made anew. What is offered in all is nine
tenths (``--offered``) of what the nodes carried with the queues dealt out to them in turn.

Each node has so many cores and no more (see ``cores``), as if on a host of its own: on one machine
without that a busy node takes what the others leave, and there is nothing to gain.
"""

import argparse
import json
import statistics
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from warrener.bench.cores import limited
from warrener.bench.job import measure
from warrener.bench.load import Flow, LoadResult, LoadSpec
from warrener.bench.say import say
from warrener.bench.stand import Stand, temporary_stand
from warrener.bench.topology import declare, delete
from warrener.bench.wire import BenchError

QUEUES: Final = 60
_TOO_MUCH: Final = 100_000.0  # messages a second; a few thousand get through
_KNOWN: Final = 60.0  # s for all leaders to be seen
_SAMPLE: Final = 10.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: messages a second through all queues, confirmed and delivered."""

    round: int
    placement: str
    rate: float


def main() -> None:
    """Measures, and prints medians and the ratio; ``--json`` also every sample."""
    parser = argparse.ArgumentParser(description="What spreading leaders by load brings.")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--node-cores", type=float, default=0.4)
    parser.add_argument("--offered", type=float, default=0.9, metavar="SHARE")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE")
    options = parser.parse_args()
    with temporary_stand(3) as stand:
        pids = {node.short: node.pid for node in stand.nodes if node.pid is not None}
        with limited(pids, options.node_cores):
            offered = options.offered * _capacity(stand, options.seconds)
            say(f"offered: {offered:,.0f} msg/s")
            samples, told = _run(stand, options.rounds, options.seconds, offered)
    by = {name: [s.rate for s in samples if s.placement == name] for name in ("count", "load")}
    for name, rates in by.items():
        say(f"leaders even by {name}: median {statistics.median(rates):,.0f} msg/s of {len(rates)}")
    ratios = sorted(after / before for before, after in zip(by["count"], by["load"], strict=True))
    say(
        f"by load / by count: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )
    if options.json is not None:
        document = {
            "offered": offered,
            "balance": told,
            "samples": [asdict(sample) for sample in samples],
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n")


def _capacity(stand: Stand, seconds: float) -> float:
    """What gets through with the queues dealt out in turn, however much is offered."""
    _place(stand, {f"q{number:02}": number % 3 for number in range(QUEUES)})
    return _load(stand, seconds, _TOO_MUCH).rate


def _run(
    stand: Stand, rounds: int, seconds: float, offered: float
) -> tuple[list[Sample], dict[str, Any]]:
    by_count = {f"q{number:02}": number // (QUEUES // 3) for number in range(QUEUES)}
    _place(stand, by_count)
    told = _balance(stand, seconds, offered)
    names = [node.name for node in stand.nodes]
    by_load = {queue: names.index(leader) for queue, leader in stand.leaders().items()}
    say(
        f"balance: {told['moved']} of {QUEUES} leaders moved, the busiest node carried "
        f"{told['skew_before']:.2f} times the mean, then {told['skew_after']:.2f}"
    )
    samples = []
    for number in range(rounds):
        order = [("count", by_count), ("load", by_load)]
        for name, placement in order if number % 2 else reversed(order):
            _place(stand, placement)
            rate = _load(stand, seconds, offered).rate
            samples.append(Sample(number + 1, name, rate))
            say(f"round {number + 1}: even by {name}: {rate:,.0f} msg/s")
    return samples, told


def _place(stand: Stand, placement: Mapping[str, int]) -> None:
    """The queues made anew, each led by the node that it was declared on."""
    for queue in placement:
        delete(stand.node_target(0), queue)
    for queue, index in placement.items():
        declare(stand.node_target(index), queue, quorum=True)
    deadline = time.monotonic() + _KNOWN
    wanted = {queue: stand.nodes[index].name for queue, index in placement.items()}
    while stand.leaders() != wanted:
        if time.monotonic() > deadline:
            raise BenchError("the queues' leaders aren't where they were declared")
        time.sleep(0.5)


def _spec(stand: Stand, seconds: float, offered: float, *, moving: bool = False) -> LoadSpec:
    total = sum(1 / (number + 1) for number in range(QUEUES))
    flows = tuple(
        Flow(
            f"q{number:02}",
            stand.balancer,
            stand.balancer,
            rate=offered / (number + 1) / total,
        )
        for number in range(QUEUES)
    )
    return LoadSpec(flows, seconds=seconds, warmup=3.0, window=1000, prefetch=500, moving=moving)


def _load(stand: Stand, seconds: float, offered: float) -> LoadResult:
    return measure(_spec(stand, seconds, offered), LoadResult, timeout=seconds + 120)


def _balance(stand: Stand, seconds: float, offered: float) -> dict[str, Any]:
    """`warrener leaders balance` while the load goes on."""
    lasts = 4 * _SAMPLE + seconds
    problems: list[Exception] = []

    def work() -> None:
        try:
            measure(_spec(stand, lasts, offered, moving=True), LoadResult, timeout=lasts + 120)
        except BenchError as error:
            problems.append(error)

    load = threading.Thread(target=work)
    load.start()
    time.sleep(5)
    words = ("leaders", "balance", "--yes", "--sample", f"{_SAMPLE:g}", "--json")
    try:
        done = stand.command(*words, timeout=120)
    finally:
        load.join()
    if problems:
        raise problems[0]
    told = json.loads(done)
    if "moved" not in told:
        raise BenchError("`warrener leaders balance` found nothing to move")
    assert isinstance(told, dict)
    return told


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"leaders_gain: {error}")
