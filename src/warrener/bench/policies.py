"""What `warrener plan advise` says of balancing policies, held against real runs of all of them.

    python -m warrener.bench.policies --rounds 3 --seconds 4 --json FILE

A cluster without locality, so that a session's home matters; each node has a quota of CPU, as if on
a host of its own (``cores``). Three workloads, of one publisher and one consumer for each of 24
classic queues:

    equal     all send alike, nodes are alike
    few       three send ten times as much as the others, nodes are alike
    unequal   all send alike, one node has twice the CPU of the others

What is offered would take four fifths of the nodes' CPU (``--share``) by what messages cost at a
light load; at a higher one they cost less. The advice is taken while that load goes on under round
robin. Then every policy carries it, with the weights of the advice, in another order in each round;
sessions come in the same order for all of a round.

Measured are the rate that gets through, and the response time from when a message is due until it
is delivered, by Little's law. All clients share an address, so source hash is one node's fate.
"""

import argparse
import contextlib
import json
import random
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from warrener.bench.cores import limited
from warrener.bench.job import measure
from warrener.bench.load import Flow, LoadResult, LoadSpec
from warrener.bench.say import say
from warrener.bench.stand import Stand, temporary_stand
from warrener.bench.topology import declare
from warrener.bench.wire import BenchError
from warrener.control.client import Client
from warrener.control.history_operations import PLAN_LOAD, PlanLoadRequest
from warrener.control.state_folder import StateFolder
from warrener.facts.settings import PolicyName

QUEUES: Final = 24
SHARE: Final = 0.8  # of the nodes' CPU
WITHIN: Final = 0.03  # of the best: what is promised
_DESCRIPTION: Final = '[balancer]\nlocality = false\n[history]\nevery = "2s"\n'
_PROBE: Final = 60.0  # messages a second through each queue, to see what they cost
_SAMPLE: Final = 0.02  # s between two looks at what is on its way
_KNOWN: Final = 90.0  # s for the daemon to see the quotas
_WINDOW: Final = 15  # s of load that the advice goes by


@dataclass(frozen=True, slots=True)
class Workload:
    """``shares`` of all messages by queue; ``cores`` of each node."""

    name: str
    shares: tuple[float, ...]
    cores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """One run. Rates in messages a second, ``response_time`` in s."""

    workload: str
    policy: str
    round: int
    rate: float
    response_time: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one workload. ``rate`` and ``response_time``: those of the advised policy over the best
    one's medians; ``told`` is the advice in words."""

    workload: str
    advised: str
    best_rate: str
    best_response_time: str
    rate: float
    response_time: float
    offered: float
    told: str

    @property
    def holds(self) -> bool:
        """Whether the advised policy carries as much as the best, or within 3 %."""
        return self.rate >= 1 - WITHIN


def workloads(scale: float = 1.0) -> tuple[Workload, ...]:
    """The three; ``scale`` times the cores."""
    alike = tuple(1 / QUEUES for _ in range(QUEUES))
    heavy = 10.0
    total = 3 * heavy + QUEUES - 3
    few = tuple((heavy if at % 8 == 0 else 1.0) / total for at in range(QUEUES))
    even = (0.4 * scale,) * 3
    return (
        Workload("equal", alike, even),
        Workload("few", few, even),
        Workload("unequal", alike, (0.6 * scale, 0.3 * scale, 0.3 * scale)),
    )


def main() -> None:
    """Measures, and prints medians and verdicts; ``--json`` also every sample."""
    parser = argparse.ArgumentParser(description="Advice on policies, held against real runs.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--calibrate", type=float, default=40.0, metavar="S")
    parser.add_argument("--share", type=float, default=SHARE, help="of the nodes' CPU, offered")
    parser.add_argument("--workloads", default="equal,few,unequal")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, default=None, metavar="FILE")
    options = parser.parse_args()
    document = hold(
        rounds=options.rounds,
        seconds=options.seconds,
        calibrate=options.calibrate,
        names=options.workloads.split(","),
        seed=options.seed,
        share=options.share,
    )
    if options.json is not None:
        options.json.write_text(json.dumps(document, indent=2) + "\n")


def hold(
    *,
    rounds: int,
    seconds: float,
    calibrate: float = 40.0,
    names: Sequence[str] = ("equal", "few", "unequal"),
    seed: int = 1,
    share: float = SHARE,
) -> dict[str, Any]:
    """All of it on a cluster of its own: ``verdicts`` and ``runs``, as plain values."""
    chosen = [one for one in workloads() if one.name in names]
    if not chosen:
        raise BenchError(f"no workload of these: {', '.join(one.name for one in workloads())}")
    runs: list[Run] = []
    verdicts: list[Verdict] = []
    with temporary_stand(3, _DESCRIPTION) as stand:
        for at in range(QUEUES):
            declare(stand.node_target(at), f"p{at:02}")
        say("calibrates")
        words = ("--seconds", f"{calibrate:g}", "--types", "classic", "--body", "100")
        stand.command("plan", "calibrate", "--yes", *words, timeout=4 * calibrate + 60)
        for workload in chosen:
            with _quotas(stand, workload.cores):
                done, verdict = _workload(stand, workload, rounds, seconds, seed, share)
            runs += done
            verdicts.append(verdict)
    return {
        "verdicts": [asdict(verdict) | {"holds": verdict.holds} for verdict in verdicts],
        "runs": [asdict(run) for run in runs],
    }


@contextlib.contextmanager
def _quotas(stand: Stand, cores: Sequence[float]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for node, quota in zip(stand.nodes, cores, strict=True):
            if node.pid is None:
                raise BenchError(f"{node.name} doesn't run")
            stack.enter_context(limited({node.short: node.pid}, quota, name="warrener-policies"))
        yield


def _workload(
    stand: Stand, workload: Workload, rounds: int, seconds: float, seed: int, share: float
) -> tuple[list[Run], Verdict]:
    offered = _offered(stand, workload, seconds, share)
    _wait_known(stand, workload.cores)
    say(f"{workload.name}: {offered:,.0f} msg/s are offered")
    told = _advice(stand, workload, offered, _order(seed, workload, 0))
    found = told["policies"]
    if found is None:
        raise BenchError(f"{workload.name}: no advice: {told['untried']}")
    advised = str(found["now" if found["keep"] else "best"]["policy"])
    say(f"{workload.name}: advised is {advised}: {found['found']}")
    runs = []
    for number in range(rounds):
        policies = list(PolicyName)
        _chance(seed, workload, -1 - number).shuffle(policies)
        order = _order(seed, workload, number + 1)
        for policy in policies:
            runs.append(_run(stand, workload, policy, told, offered, seconds, order, number + 1))
    _set(stand, PolicyName.ROUNDROBIN, {})
    return runs, _verdict(workload, advised, runs, offered, str(found["found"]))


def _chance(seed: int, workload: Workload, number: int) -> random.Random:
    return random.Random(f"{seed} {workload.name} {number}")  # noqa: S311  # an order, no secret


def _order(seed: int, workload: Workload, number: int) -> list[int]:
    """In which sessions come. As they are listed, round robin would put each queue's publisher
    at a place that goes with its leader's."""
    order = list(range(2 * QUEUES))
    _chance(seed, workload, number).shuffle(order)
    return order


def _verdict(
    workload: Workload, advised: str, runs: Sequence[Run], offered: float, told: str
) -> Verdict:
    rates, times = {}, {}
    for one in PolicyName:
        mine = [run for run in runs if run.policy == one]
        rates[str(one)] = statistics.median(run.rate for run in mine)
        times[str(one)] = statistics.median(run.response_time for run in mine)
    fastest, quickest = max(rates, key=lambda p: rates[p]), min(times, key=lambda p: times[p])
    verdict = Verdict(
        workload=workload.name,
        advised=advised,
        best_rate=fastest,
        best_response_time=quickest,
        rate=rates[advised] / rates[fastest],
        response_time=times[advised] / times[quickest],
        offered=offered,
        told=told,
    )
    for policy in sorted(rates, key=lambda p: -rates[p]):
        mark = "  <- advised" if policy == advised else ""
        say(f"  {policy:20} {rates[policy]:9,.0f} msg/s  {times[policy] * 1e3:9.2f} ms{mark}")
    say(
        f"{workload.name}: {advised} carries {verdict.rate:.1%} of what {fastest} does, its "
        f"response time is {verdict.response_time:.2f} times that of {quickest}: "
        f"{'holds' if verdict.holds else 'DOES NOT HOLD'}"
    )
    return verdict


# -- single runs


def _run(
    stand: Stand,
    workload: Workload,
    policy: PolicyName,
    told: Mapping[str, Any],
    offered: float,
    seconds: float,
    order: Sequence[int],
    number: int,
) -> Run:
    _set(stand, policy, {one["node"]: int(one["fits"]) for one in told["weights"]})
    result = _load(stand, workload, offered, seconds, order)
    time_ = _response_time(result)
    say(
        f"{workload.name}, round {number}: {policy}: {result.rate:,.0f} msg/s, {time_ * 1e3:.2f} ms"
    )
    return Run(workload.name, policy, number, result.rate, time_)


def _set(stand: Stand, policy: PolicyName, weights: Mapping[str, int]) -> None:
    for node in stand.nodes:
        weight = str(weights.get(node.name, 100))
        stand.command("balance", "set-weight", node.name, weight, timeout=20)
    stand.command("balance", "set-policy", policy, timeout=20)


def _load(
    stand: Stand, workload: Workload, offered: float, seconds: float, order: Sequence[int] = ()
) -> LoadResult:
    flows = tuple(
        Flow(f"p{at:02}", stand.balancer, stand.balancer, rate=offered * share)
        for at, share in enumerate(workload.shares)
    )
    spec = LoadSpec(
        flows,
        seconds=seconds,
        warmup=1.5,
        window=200,
        prefetch=200,
        connect_order=tuple(order),
        sample_every=_SAMPLE,
    )
    return measure(spec, LoadResult, timeout=seconds + 120)


def _response_time(result: LoadResult) -> float:
    """From when a message is due until it is delivered: L / X."""
    waiting = statistics.fmean(sample.due - sample.delivered for sample in result.samples)
    return waiting / result.delivered_rate


def _offered(stand: Stand, workload: Workload, seconds: float, share: float) -> float:
    """So many messages a second that they take ``share`` of the nodes' CPU, by what a lighter load
    is seen to cost."""
    processes = [psutil.Process(node.pid) for node in stand.nodes if node.pid is not None]

    def used() -> float:
        return sum(sum(process.cpu_times()[:2]) for process in processes)

    rate = _PROBE * QUEUES * sum(workload.cores) / 1.2
    before = used()
    result = _load(stand, workload, rate, seconds)
    cost = (used() - before) / result.published
    return share * sum(workload.cores) / cost


def _wait_known(stand: Stand, cores: Sequence[float]) -> None:
    """Until the history has the quotas: the daemon looks at them once a minute."""
    wanted = {node.name: quota for node, quota in zip(stand.nodes, cores, strict=True)}
    deadline = time.monotonic() + _KNOWN
    while True:
        with Client.connect(StateFolder(stand.state)) as client:
            load = client.call(PLAN_LOAD, PlanLoadRequest(10.0))
        known = {str(node.name): node.cores for node in load.nodes}
        if all(abs((known.get(name) or 0) - quota) < 0.01 for name, quota in wanted.items()):
            return
        if time.monotonic() > deadline:
            raise BenchError(f"the daemon doesn't know the nodes' quotas: {known}")
        time.sleep(2.0)


def _advice(
    stand: Stand, workload: Workload, offered: float, order: Sequence[int]
) -> dict[str, Any]:
    """`warrener plan advise` while the load goes on under round robin."""
    lasts = _WINDOW + 12.0
    problems: list[Exception] = []

    def work() -> None:
        try:
            _load(stand, workload, offered, lasts, order)
        except BenchError as error:
            problems.append(error)

    load = threading.Thread(target=work)
    load.start()
    time.sleep(_WINDOW + 4.0)
    try:
        said = stand.command("plan", "advise", "--window", f"{_WINDOW}s", "--json", timeout=60)
    finally:
        load.join()
    if problems:
        raise problems[0]
    told = json.loads(said)["balancing"]
    assert isinstance(told, dict)
    return told


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"policies: {error}")
