"""What a message costs, out of the history of a cluster at work: no run of its own. Pure.

The same regression as of a calibration (``fit``), over whatever the cluster did:

    CPU seconds  =  idle x seconds  +  sum over acts of  messages x cost

A history tells only what has varied. Where acts always came together (in most clusters what is
published is delivered at once), it tells what they cost together and not what each does: that is
right for the same proportions, and said. Where a load never changed at all, idle CPU and work can't
be told apart, and where those of two types of queues did so in step, neither can they: nothing is
said of such a type; nor where the error is above ``USELESS``.

It is per message whatever its body, at the rates that there were (messages cost less when many go
at once), and has no limits of single queues: those show at saturation only.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from warrener.facts.ids import NodeName
from warrener.planner.costs import Act, Calibration, Cost, CostsFrom, QueueType
from warrener.planner.fit import GRAIN, IDLE_NOISE, LARGE_ERROR, Surroundings
from warrener.planner.least_squares import Row, Solved, solve
from warrener.planner.work import Stretch

ROWS_FOR_EACH: Final = 5
"""Rows of a history for each unknown, or it is called too short."""

USELESS: Final = 0.5
"""Standard error, as a part of the cost, from which on nothing is said of it."""

_IDLE: Final = "idle"


def passive(
    stretches: Sequence[Stretch], *, around: Surroundings, warnings: Sequence[str] = ()
) -> Calibration:
    """The costs behind what a cluster did, with warnings of what can't be told; ``warnings`` come
    first. ``costs`` is empty where nothing can be said."""
    rows = list(_of_nodes(stretches))
    solved = solve(rows)
    told = list(warnings)
    if rows and len(rows) < ROWS_FOR_EACH * len(solved.names):
        told.append(
            f"too short a history: {len(rows)} measurements for {len(solved.names)} unknowns, and "
            f"{ROWS_FOR_EACH} for each are needed"
        )
    work = _work(stretches)
    costs: dict[QueueType, Mapping[Act, Cost]] = {}
    for kind in QueueType:
        if kind in work and (found := _costs(kind, work[kind], solved, told)):
            costs[kind] = found
    if not work:
        told.append("nothing went through the queues, so nothing can be said of what it costs")
    elif costs:
        told.append(
            "what messages cost is told by the history, at the rates that there were: near its "
            "limit RabbitMQ handles many at once, for less, so the cluster carries rather more"
        )
    client = _client(stretches, told)
    return Calibration(
        taken_at=around.taken_at,
        seconds=around.seconds,
        cluster=around.cluster,
        version=around.version,
        hosts=around.hosts,
        cores=around.cores,
        costs=costs,
        limits={},
        idle=_idle(stretches, solved),
        client={} if client is None else dict.fromkeys((Act.PUBLISH, Act.DELIVER), client),
        balancer=_balancer(stretches, told),
        warnings=tuple(told),
        shares=around.shares,
        source=CostsFrom.HISTORY,
    )


def _noise(seconds: float) -> float:
    return GRAIN + IDLE_NOISE * seconds


# -- nodes


def _of_nodes(stretches: Iterable[Stretch]) -> Iterator[Row]:
    for stretch in stretches:
        for node, cores in stretch.cpu.items():
            terms = {f"{_IDLE} {node}": stretch.seconds}
            for kind, acts in stretch.rates.get(node, {}).items():
                for act, rate in acts.items():
                    terms[f"{kind} {act}"] = rate * stretch.seconds
            yield Row(terms, cores * stretch.seconds, _noise(stretch.seconds))


def _work(stretches: Iterable[Stretch]) -> Mapping[QueueType, Mapping[Act, float]]:
    """How often each act was done, all together, at nodes whose CPU is known."""
    done: dict[QueueType, dict[Act, float]] = {}
    for stretch in stretches:
        for node, of_node in stretch.rates.items():
            for kind, acts in of_node.items() if node in stretch.cpu else ():
                for act, rate in acts.items():
                    sums = done.setdefault(kind, defaultdict(float))
                    sums[act] += rate * stretch.seconds
    return done


def _costs(
    kind: QueueType, work: Mapping[Act, float], solved: Solved, told: list[str]
) -> Mapping[Act, Cost]:
    """Of one type of queue; empty if they can't be told from idle CPU, or hardly."""
    parts = {f"{kind} {act}": times for act, times in work.items()}
    together = sum(solved.value(name) * times for name, times in parts.items())
    error = solved.error(parts) / together if together > 0 else 1.0
    if not solved.determined(parts):
        told.append(
            f"{kind} queues: what their messages cost can't be told from what nodes use without "
            f"any, or for other types of queues: their load hardly varied, or only with that of "
            f"others"
        )
        return {}
    if error > USELESS:
        told.append(
            f"{kind} queues: too little went through them for the CPU that it cost to be told"
        )
        return {}
    found: dict[Act, Cost] = {}
    unsure = []
    for act in Act:
        name = f"{kind} {act}"
        if name not in parts:
            continue
        value = solved.value(name)
        alone = min(1.0, solved.error({name: 1.0}) / value) if value > 0 else 1.0
        if not solved.told(name):
            alone = 1.0
        if alone > LARGE_ERROR:
            unsure.append(f"{act} ±{alone:.0%}" if alone < 1 else act.value)
        # In the proportions that there were, errors of one are made up for by another's.
        found[act] = Cost(value, 0.0, min(alone, error))
    if len(unsure) > 1:
        told.append(
            f"{kind} queues: {', '.join(unsure)} rise and fall together, and can't be told apart "
            f"well; in the history's proportions they are known to ±{error:.0%}"
        )
    elif error > LARGE_ERROR:
        told.append(f"{kind} queues: not known well: ±{error:.0%}")
    return found


def _idle(stretches: Iterable[Stretch], solved: Solved) -> dict[NodeName, float]:
    names = dict.fromkeys(node for stretch in stretches for node in stretch.cpu)
    return {node: solved.value(f"{_IDLE} {node}") for node in names}


# -- who stands beside the nodes


def _balancer(stretches: Iterable[Stretch], told: list[str]) -> Cost | None:
    known = [
        (one.seconds, one.balancer, one.balanced)
        for one in stretches
        if one.balancer is not None and one.balanced is not None
    ]
    return _beside("the balancer", known, told)


def _client(stretches: Iterable[Stretch], told: list[str]) -> Cost | None:
    """What a message costs clients on this machine, each way."""
    known = [(one.seconds, one.clients, one.passed) for one in stretches if one.clients is not None]
    return _beside("clients on this machine", known, told)


def _beside(
    whose: str, known: Sequence[tuple[float, float, float]], told: list[str]
) -> Cost | None:
    """``known``: seconds, cores used, messages/s. None, with the reason, if it can't be told."""
    if not any(rate * cores > 0 for _, cores, rate in known):
        return None
    solved = solve(
        [
            Row({_IDLE: seconds, "passes": rate * seconds}, cores * seconds, _noise(seconds))
            for seconds, cores, rate in known
        ]
    )
    value = solved.value("passes")
    error = solved.error({"passes": 1.0}) / value if value > 0 else 1.0
    if error > USELESS or not solved.told("passes"):
        told.append(f"what a message costs {whose} can't be told by the history")
        return None
    return Cost(value, 0.0, error)
