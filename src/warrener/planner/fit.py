"""From what was measured to what a message costs: least squares with costs that can't be negative.

The utilisation law for each node and each stretch of time (Denning and Buzen 1978):

    CPU seconds  =  idle x seconds  +  sum over acts of  messages x (base + per_byte x body)

``fit`` takes the runs of a calibration, each with one queue, so that the acts differ from run to
run: publish-only tells PUBLISH from DELIVER, the followers' nodes tell REPLICATE, clients that are
connected to another node tell ENTER and LEAVE. ``passive.passive`` does the same with a history.

``least_squares`` solves it, one type of queue after the other.

The CPU that a message costs falls as load rises, as more go at once (two to five times from a fifth
of the limit to the limit). One figure can't be right for both, and a plan asks for what happens
near the limit: costs are those at saturation. Paced runs are compared with them (``LOAD_MATTERS``).

How costs are booked, where it could be done in other ways:

- A message that enters through another node costs its leader's node something else than one that is
  published there: it comes decoded, over Erlang distribution. ENTER is what is used at the other
  node; leaders of such runs are left out of the fit, and what they use is compared with it (warned
  of from ``LEADER_OFF``).
- A stream is read from the replica at the consumer's node, so DELIVER is there, and LEAVE is zero.
- Dropping the oldest message of a full queue, which publish-only runs do, is in PUBLISH.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

import numpy as np

from warrener.facts.ids import NodeName
from warrener.planner.costs import Act, Calibration, Cost, Limit, QueueType, Wait
from warrener.planner.least_squares import Row, Solved, solve

GRAIN: Final = 0.01
"""CPU s: the kernel's tick, in which the CPU time of a process is told."""

IDLE_NOISE: Final = 0.01
"""Cores: nodes that had no part in a run used up to 0.013 more or less than without any load."""

CLIENT_GRAIN: Final = 0.002
"""CPU s: the generator reads its own time in microseconds; some of it is between two samples."""

LARGE_ERROR: Final = 0.15
"""From here on an error is warned of."""

USED_UP: Final = 0.9
"""Of a host's CPU; what was measured with more than that in use was limited by it."""

LEADER_OFF: Final = 0.25
LOAD_MATTERS: Final = 1.3


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where and when it was measured: as ``Calibration`` has it."""

    taken_at: float
    seconds: float
    cluster: str
    version: str
    hosts: Mapping[NodeName, str]
    cores: Mapping[str, float]
    shares: Mapping[NodeName, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """One queue under load for ``seconds``. ``published``, ``delivered``: messages; ``publisher``,
    ``consumer``: the nodes where they are connected, no consumer: publish-only. ``cpu``, ``client``
    and ``balancer`` are CPU seconds; with ``balancer`` both went through it, and nodes say nothing.
    ``saturated``: as many messages as went, not a paced rate. ``busy``: the part of a host's CPU in
    use, whoever used it, and of a node's share where it has one. ``error``: standard error of the
    rate, as a part of it."""

    type: QueueType
    body: int
    leader: NodeName
    followers: tuple[NodeName, ...]
    publisher: NodeName
    consumer: NodeName | None
    published: float
    delivered: float
    seconds: float
    cpu: Mapping[NodeName, float]
    client: float | None = None
    balancer: float | None = None
    saturated: bool = True
    busy: Mapping[str, float] = field(default_factory=dict)
    error: float = 0.0

    @property
    def local(self) -> bool:
        """Whether both ends are at the leader's node."""
        return self.publisher == self.leader and self.consumer in (None, self.leader)

    def acts(self, node: NodeName) -> dict[Act, float]:
        """What is done there, in messages."""
        done: dict[Act, float] = {}
        if node == self.leader:
            done[Act.PUBLISH] = self.published
        elif node == self.publisher:
            done[Act.ENTER] = self.published
        if node in self.followers:
            done[Act.REPLICATE] = self.published
        if self.consumer is not None:
            reads = self.consumer if self.type is QueueType.STREAM else self.leader
            if node == reads:
                done[Act.DELIVER] = self.delivered
            elif node == self.consumer:
                done[Act.LEAVE] = self.delivered
        return done


def fit(
    runs: Iterable[Run],
    *,
    idle: Mapping[NodeName, float],
    around: Surroundings,
    balancer_idle: float = 0.0,
    waits: Mapping[QueueType, Wait] | None = None,
    warnings: Sequence[str] = (),
) -> Calibration:
    """The costs behind ``runs``; ``idle``: cores of each node without traffic. ``waits`` and
    ``warnings`` are passed on, these before what the figures give reason for."""
    runs = list(runs)
    told = list(warnings)
    costs: dict[QueueType, Mapping[Act, Cost]] = {}
    limits: dict[QueueType, tuple[Limit, ...]] = {}
    for kind in QueueType:
        of_kind = [run for run in runs if run.type is kind and run.balancer is None]
        if not of_kind:
            continue
        bodies = sorted({run.body for run in of_kind})
        saturated = [run for run in of_kind if run.saturated]
        solved = solve(list(_rows(saturated, idle, sized=len(bodies) > 1)))
        costs[kind] = _costs(solved, bodies, f"{kind} queues", told)
        remote = any(run.consumer not in (None, run.leader) for run in of_kind)
        if not costs[kind]:
            told.append(
                f"{kind} queues: no costs, as no node's CPU could be read while they were measured"
            )
        elif kind is QueueType.STREAM and remote:
            costs[kind] = {**costs[kind], Act.LEAVE: Cost(0.0)}
        limits[kind] = _limits(of_kind)
        told += _of_leaders(of_kind, costs[kind], idle)
        told += _of_load(of_kind, idle)
        told += _of_limits(kind, limits[kind])
    return Calibration(
        taken_at=around.taken_at,
        seconds=around.seconds,
        cluster=around.cluster,
        version=around.version,
        hosts=around.hosts,
        cores=around.cores,
        costs=costs,
        limits=limits,
        idle=dict(idle),
        client=_client(runs, told),
        balancer=_balancer(runs, balancer_idle, told),
        waits=waits or {},
        warnings=tuple(told),
        shares=around.shares,
    )


def _rows(runs: Iterable[Run], idle: Mapping[NodeName, float], *, sized: bool) -> Iterable[Row]:
    for run in runs:
        for node, used in run.cpu.items():
            if node == run.leader and not run.local and run.type is not QueueType.STREAM:
                continue
            if node == run.leader and run.publisher != run.leader:
                continue
            acts = run.acts(node)
            if not acts:
                continue
            value = used - idle.get(node, 0.0) * run.seconds
            terms: dict[str, float] = {}
            for act, messages in acts.items():
                terms |= _terms(act, messages, run.body, sized=sized)
            yield Row(terms, value, _noise(run.seconds))


def _noise(seconds: float) -> float:
    return GRAIN + IDLE_NOISE * seconds


def _terms(act: str, messages: float, body: int, *, sized: bool) -> dict[str, float]:
    """``sized``: bodies of several sizes were measured. With one, base and bytes are one figure."""
    terms = {f"{act} base": messages}
    return {**terms, f"{act} per_byte": messages * body} if sized else terms


def _costs(
    solved: Solved, bodies: Sequence[int], whose: str, told: list[str]
) -> Mapping[Act, Cost]:
    found: dict[Act, Cost] = {}
    unsure, nothing, apart = [], [], []
    for act in Act:
        if f"{act} base" not in solved.names:
            continue
        cost, apart_here = _cost(solved, act, bodies)
        found[act] = cost
        if apart_here:
            apart.append(act)
        elif cost.at(bodies[-1]) <= 0:
            nothing.append(act)
        elif cost.error > LARGE_ERROR:
            unsure.append(f"{act} ±{cost.error:.0%}")
    if apart:
        told.append(f"{whose}: {' and '.join(apart)} can't be told apart by what was measured")
    if unsure:
        told.append(f"{whose}: not measured well: {', '.join(unsure)}")
    if nothing:
        told.append(f"{whose}: {', '.join(nothing)} cost too little to be measured")
    return found


def _cost(solved: Solved, act: str, bodies: Sequence[int]) -> tuple[Cost, bool]:
    """And whether another act could stand for it."""
    base = solved.value(f"{act} base")
    per_byte = solved.value(f"{act} per_byte")
    mine = {f"{act} base", f"{act} per_byte"}
    apart = any(group & mine and not group <= mine for group in solved.together)
    errors = [0.0]
    for body in bodies:
        value = base + per_byte * body
        deviation = solved.error({f"{act} base": 1.0, f"{act} per_byte": float(body)})
        errors.append(min(1.0, deviation / value) if value > 0 else 1.0)
    return Cost(base, per_byte, 1.0 if apart else max(errors)), apart


def _limits(runs: Iterable[Run]) -> tuple[Limit, ...]:
    whole = [run for run in runs if run.local and run.consumer is not None and run.saturated]
    limits = []
    for body, group in groupby(sorted(whole, key=lambda run: run.body), lambda run: run.body):
        same = list(group)
        rates = np.array([min(run.published, run.delivered) / run.seconds for run in same])
        rate = float(np.mean(rates))
        errors = [run.error for run in same]
        if len(same) > 1 and rate > 0:
            errors.append(float(np.std(rates, ddof=1) / np.sqrt(len(same)) / rate))
        used_up = any(part >= USED_UP for run in same for part in run.busy.values())
        limits.append(Limit(rate, body, max(errors), used_up))
    return tuple(limits)


def _of_limits(kind: QueueType, limits: Sequence[Limit]) -> list[str]:
    used_up = [f"{limit.body:g} B" for limit in limits if limit.at_least]
    if not used_up:
        return []
    return [
        f"{kind} queues: a host's CPU was used up before the queue was ({', '.join(used_up)}): "
        f"one may do more where there is more CPU"
    ]


def _of_leaders(
    runs: Iterable[Run], costs: Mapping[Act, Cost], idle: Mapping[NodeName, float]
) -> list[str]:
    """Where what comes and goes through other nodes costs the leader's something else than it is
    reckoned with."""
    found = []
    for way in (Act.ENTER, Act.LEAVE):
        used = reckoned = 0.0
        for run in runs:
            remote = run.publisher if way is Act.ENTER else run.consumer
            if remote in (None, run.leader) or run.leader not in run.cpu:
                continue
            used += run.cpu[run.leader] - idle.get(run.leader, 0.0) * run.seconds
            for act, messages in run.acts(run.leader).items():
                reckoned += messages * (costs[act].at(run.body) if act in costs else 0.0)
        if reckoned > 0 and abs(used / reckoned - 1) > LEADER_OFF:
            more = "more" if used > reckoned else "less"
            verb = "enter" if way is Act.ENTER else "leave"
            found.append(
                f"{next(iter(runs)).type} queues: messages that {verb} through another node cost "
                f"the leader's {abs(used / reckoned - 1):.0%} {more} than it is reckoned with"
            )
    return found


def _of_load(runs: Sequence[Run], idle: Mapping[NodeName, float]) -> list[str]:
    """Where a message at a low rate costs more than one at the limit."""
    ratios = []
    for body in sorted({run.body for run in runs}):
        each: dict[bool, list[float]] = {True: [], False: []}
        for run in runs:
            if run.body != body or not run.local or run.consumer is None or not run.delivered:
                continue
            used = sum(
                cpu - idle.get(node, 0.0) * run.seconds
                for node, cpu in run.cpu.items()
                if run.acts(node)
            )
            each[run.saturated].append(used / run.delivered)
        if each[True] and each[False] and np.mean(each[True]) > 0:
            ratios.append(float(np.mean(each[False]) / np.mean(each[True])))
    if not ratios or max(ratios) < LOAD_MATTERS:
        return []
    return [
        f"{runs[0].type} queues: at a low rate a message costs up to {max(ratios):.1f} times what "
        f"it does at the limit, where many go at once; the figures are those at the limit"
    ]


def _client(runs: Iterable[Run], told: list[str]) -> Mapping[Act, Cost]:
    counted = [
        (run, run.client)
        for run in runs
        if run.client is not None and run.balancer is None and run.saturated
    ]
    bodies = sorted({run.body for run, _ in counted})
    sized = len(bodies) > 1
    rows = []
    for run, used in counted:
        terms = _terms(Act.PUBLISH, run.published, run.body, sized=sized)
        if run.consumer is not None:
            terms |= _terms(Act.DELIVER, run.delivered, run.body, sized=sized)
        rows.append(Row(terms, used, CLIENT_GRAIN))
    return _costs(solve(rows), bodies, "clients", told) if rows else {}


def _balancer(runs: Iterable[Run], idle: float, told: list[str]) -> Cost | None:
    through = [(run, run.balancer - idle * run.seconds) for run in runs if run.balancer is not None]
    if not through:
        return None
    bodies = sorted({run.body for run, _ in through})
    rows = []
    for run, used in through:
        passed = run.published + run.delivered
        terms = _terms("passes", passed, run.body, sized=len(bodies) > 1)
        rows.append(Row(terms, used, _noise(run.seconds)))
    cost, _ = _cost(solve(rows), "passes", bodies)
    if cost.error > LARGE_ERROR:
        told.append(f"the balancer: not measured well: ±{cost.error:.0%}")
    return cost
