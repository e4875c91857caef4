"""How many nodes, queues and consumers a load takes, which prefetch and which window of confirms.

By what messages cost on the cluster that was calibrated, for nodes on a host each with as many
cores. What is looked for is the least of each that keeps to its share:

    queues      each at ``QUEUE_BUSY`` of its own limit at most, and half of the time that 99 of
                100 messages may take (M/D/1)
    nodes       each at ``NODE_BUSY`` at most, ``LOST_BUSY`` with as many gone as may be lost;
                a majority of each queue's replicas is left then
    consumers   the other half of that time (M/M/c); without a time, ``CONSUMERS_BUSY``
    prefetch    the window in which a consumer is idle for 1 % of the time at most, waiting for
                its next message (a closed loop: round trip and service)
    confirms    the window in which a publisher gets its rate through (a closed loop: round trip
                and queue)

Pure. Assumes that publishers come at random, that bodies are of one size, that services are
exponential, and that the balancer sends every client to its queue's leader.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from warrener.facts.ids import NodeName
from warrener.models.queueing import mg1, mmc
from warrener.models.terms import Steady, WrongInput, check_count, check_positive
from warrener.models.windows import Stop, window
from warrener.planner.changes import spread, without_node
from warrener.planner.costs import Calibration, QueueType
from warrener.planner.load import HostLoad, Load, NodeLoad, QueueLoad
from warrener.planner.resources import PartKind, Reckoned, reckon

QUEUE_BUSY: Final = 0.7
NODE_BUSY: Final = 0.7
LOST_BUSY: Final = 0.85
BALANCER_BUSY: Final = 0.7
CONSUMERS_BUSY: Final = 0.8
IDLE: Final = 0.01

MOST_NODES: Final = 60
MOST_QUEUES: Final = 5_000
MOST_CONSUMERS: Final = 1_000_000
MOST_WINDOW: Final = 65_535  # a prefetch is a number of 16 bits

P99: Final = 0.99


class Profile(StrEnum):
    """What the messages are for; see ``warrener init --profile``."""

    ORDERS = "orders"
    LOGS = "logs"
    REALTIME = "realtime"


@dataclass(frozen=True, slots=True)
class Wanted:
    """``rate`` messages/s with bodies of ``body`` bytes, of which 99 of 100 are acked within
    ``p99`` s (None: no matter), with ``survive`` nodes lost. ``service_time``: s that a consumer
    takes for a message, None: not known, then nothing is said of consumers. ``round_trip``: s
    between a client and the cluster. ``cores`` of a node's host; None: as calibrated."""

    rate: float
    body: float
    profile: Profile
    p99: float | None = None
    survive: int = 1
    service_time: float | None = None
    round_trip: float = 0.001
    cores: int | None = None


@dataclass(frozen=True, slots=True)
class Sizing:
    """What it takes. ``consumers`` and ``window`` of each queue; ``window`` in messages that wait
    for their confirm, all publishers of the queue together. ``busy``: the busiest node's
    utilisation, ``busy_lost`` with the nodes gone. ``p99``: what is predicted, s, None: not asked
    or not known. ``notes`` in words."""

    type: QueueType
    nodes: int
    replicas: int
    queues: int
    window: int
    balancers: int
    busy: float
    busy_lost: float
    queue_busy: float
    consumers: int | None = None
    prefetch: int | None = None
    p99: float | None = None
    notes: tuple[str, ...] = ()


def size(wanted: Wanted, calibration: Calibration) -> Sizing:
    """WrongInput for a question that makes no sense or that nothing answers, with the reason."""
    _check(wanted)
    kind = _type(wanted)
    limit = calibration.limit(kind, wanted.body)
    if limit is None or not calibration.costs.get(kind):
        raise WrongInput(
            f"what a {kind} queue costs wasn't measured; `warrener plan calibrate --types {kind}` "
            f"does"
        )
    notes = []
    if limit.at_least:
        notes.append(
            f"a {kind} queue takes at least {limit.rate:,.0f} messages/s here: the CPU was used up "
            f"before it was, so fewer queues may do where there is more"
        )
    budget = wanted.p99 / 2 if wanted.p99 is not None else None
    queues = _queues(wanted, limit.rate, budget)
    nodes, queues, load, busy, lost = _nodes(wanted, kind, queues, calibration)
    each = wanted.rate / queues
    station = mg1(each, limit.rate, 0.0)
    assert isinstance(station, Steady), "_queues() has seen to it"
    consumers = prefetch = p99 = None
    if wanted.service_time is not None and kind is not QueueType.STREAM:
        consumers, taken = _consumers(each, wanted.service_time, budget)
        prefetch = prefetch_for(wanted.service_time, wanted.round_trip)
        # Not exact: the two waits add up, their percentiles don't. It is on the safe side.
        p99 = station.percentile(P99) + taken.percentile(P99)
    elif wanted.service_time is None:
        notes.append(
            "how long a consumer takes isn't known: --service-time 5ms says how many it needs"
        )
    else:
        notes.append(
            "a stream's consumers read on their own; one for each queue keeps up, or it lags"
        )
    balancers = 1
    if calibration.balancer is not None:
        spent = 2 * wanted.rate * calibration.balancer.at(wanted.body)
        balancers = max(1, math.ceil(spent / BALANCER_BUSY))
    else:
        notes.append("what a message costs the balancer wasn't measured")
    unknown = reckon(load, calibration).unknown
    notes += [
        f"{what} wasn't measured and is left out" for what in unknown if "balancer" not in what
    ]
    return Sizing(
        type=kind,
        nodes=nodes,
        replicas=len(load.queues[0].members) or 1,
        queues=queues,
        window=_window(each, limit.rate, wanted.round_trip),
        balancers=balancers,
        busy=busy,
        busy_lost=lost,
        queue_busy=each / limit.rate,
        consumers=consumers,
        prefetch=prefetch,
        p99=p99,
        notes=tuple(notes),
    )


def _check(wanted: Wanted) -> None:
    check_positive("the rate", wanted.rate)
    check_positive("the size of bodies", wanted.body, zero=True)
    check_positive("the round trip", wanted.round_trip, zero=True)
    check_count("the number of nodes that may be lost", wanted.survive, least=0)
    if wanted.p99 is not None:
        check_positive("the time for 99 of 100", wanted.p99)
    if wanted.service_time is not None:
        check_positive("a consumer's time", wanted.service_time)
    if wanted.cores is not None:
        check_count("the number of cores", wanted.cores)


def _type(wanted: Wanted) -> QueueType:
    """Nothing lost: replicated by Raft. Throughput: streams. Latency: one copy, unless it has to
    survive a node."""
    match wanted.profile:
        case Profile.ORDERS:
            return QueueType.QUORUM
        case Profile.LOGS:
            return QueueType.STREAM
        case Profile.REALTIME:
            return QueueType.QUORUM if wanted.survive else QueueType.CLASSIC


def _queues(wanted: Wanted, limit: float, budget: float | None) -> int:
    def enough(queues: int) -> bool:
        each = wanted.rate / queues
        if each > QUEUE_BUSY * limit:
            return False
        station = mg1(each, limit, 0.0)
        return budget is None or (isinstance(station, Steady) and station.percentile(P99) <= budget)

    found = _least(enough, 1, MOST_QUEUES)
    if found is None:
        if wanted.rate / MOST_QUEUES > QUEUE_BUSY * limit:
            raise WrongInput(f"{wanted.rate:,.0f} messages/s take more than {MOST_QUEUES:,} queues")
        raise WrongInput(
            f"one message takes a queue {1 / limit * 1e3:.2g} ms by itself, so that 99 of 100 "
            f"can't be done within {wanted.p99} s"
        )
    return found


def _nodes(
    wanted: Wanted, kind: QueueType, queues: int, calibration: Calibration
) -> tuple[int, int, Load, float, float]:
    """How many, the queues with at least one for each, their load, how busy the busiest is, and how
    busy with nodes lost."""
    least = 1 if kind is QueueType.CLASSIC else max(1, 2 * wanted.survive + 1)
    if kind is QueueType.CLASSIC:
        least += wanted.survive
    for nodes in range(least, MOST_NODES + 1):
        number = max(queues, nodes)
        load = _load(wanted, kind, number, nodes, calibration)
        busy = _busiest(reckon(load, calibration))
        left = load
        for node in load.nodes[: wanted.survive]:
            left, _ = without_node(left, node.name)
        lost = _busiest(reckon(left, calibration)) if wanted.survive else busy
        if busy <= NODE_BUSY and lost <= LOST_BUSY:
            return nodes, number, load, busy, lost
    raise WrongInput(
        f"{wanted.rate:,.0f} messages/s in {kind} queues take more than {MOST_NODES} nodes of "
        f"{_cores(wanted, calibration):.3g} cores"
    )


def _load(
    wanted: Wanted, kind: QueueType, queues: int, nodes: int, calibration: Calibration
) -> Load:
    names = [NodeName(f"n{number}@host-{number}") for number in range(1, nodes + 1)]
    hosts = [f"host-{number}" for number in range(1, nodes + 1)]
    each = wanted.rate / queues
    members = min(nodes, max(3, 2 * wanted.survive + 1))
    one = QueueLoad(
        vhost="/",
        name="",
        type=kind,
        leader=None,
        members=() if kind is QueueType.CLASSIC else tuple(names[:members]),
        published=each,
        delivered=each,
        acked=each,
        body=wanted.body,
    )
    return spread(
        Load(
            nodes=tuple(NodeLoad(n, host) for n, host in zip(names, hosts, strict=True)),
            hosts=tuple(HostLoad(host, _cores(wanted, calibration)) for host in hosts),
            queues=tuple(replace(one, name=f"q{number}") for number in range(queues)),
        )
    )


def _cores(wanted: Wanted, calibration: Calibration) -> float:
    return wanted.cores or calibration.node_cores() or 1.0


def _busiest(reckoned: Reckoned) -> float:
    nodes = [part.utilisation for part in reckoned.parts if part.kind is PartKind.NODE]
    return max(nodes, default=0.0)


def _consumers(rate: float, service_time: float, budget: float | None) -> tuple[int, Steady]:
    """Of one queue, and how they do."""

    def station(number: int) -> Steady | None:
        found = mmc(rate, 1 / service_time, number)
        return found if isinstance(found, Steady) else None

    def enough(number: int) -> bool:
        found = station(number)
        if found is None:
            return False
        if budget is None:
            return found.utilisation <= CONSUMERS_BUSY
        return found.percentile(P99) <= budget

    # Of an exponential time 1 in 100 takes 4.6 times the mean, however many there are.
    alone = -math.log(1 - P99) * service_time
    if budget is not None and alone >= budget:
        raise WrongInput(
            f"of messages that take a consumer {service_time} s on the average, 1 in 100 takes "
            f"{alone:.3g} s by itself; within {2 * budget:.3g} s in all it can't be done, however "
            f"many consumers there are"
        )
    least = max(1, math.ceil(rate * service_time))
    found = _least(enough, least, max(least, MOST_CONSUMERS))
    taken = station(found) if found is not None else None
    if found is None or taken is None:
        raise WrongInput(f"one queue would need more than {MOST_CONSUMERS:,} consumers")
    return found, taken


def prefetch_for(service_time: float, round_trip: float) -> int:
    """The least with which a consumer waits ``IDLE`` of its time for its next message. Times in
    s."""
    stops = [Stop("consumer", service_time)]
    wanted = (1 - IDLE) / service_time
    found = _least(
        lambda number: window(stops, number, round_trip).throughput >= wanted, 1, MOST_WINDOW
    )
    return found or MOST_WINDOW


def _window(rate: float, limit: float, round_trip: float) -> int:
    stops = [Stop("queue", 1 / limit)]
    found = _least(
        lambda number: window(stops, number, round_trip).throughput >= rate, 1, MOST_WINDOW
    )
    return found or MOST_WINDOW


def _least(enough: Callable[[int], bool], least: int, most: int) -> int | None:
    """The least number that is enough, of those from which on all are; None if none is."""
    low, high = least - 1, least
    while not enough(high):
        if high >= most:
            return None
        low, high = high, min(most, 2 * high)
    while high - low > 1:
        middle = (low + high) // 2
        if enough(middle):
            high = middle
        else:
            low = middle
    return high
