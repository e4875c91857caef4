"""Which balancing policy suits a workload: all of them tried on it, in simulation. Pure.

    sessions as measured, shuffled -> the balancer's own policy object gives each a home
      -> their messages: in at the home (if another node leads the queue), then at the leader
      -> response times, and how busy each node is

What a message takes at each is what the calibration says, times what the load was seen to cost
(``capacity``). Sessions that end are replaced by such that are like them, for ``TURNOVER``
lifetimes. All of that is done several times over with other chances, each time the same for every
policy: so policies are compared in pairs, and a difference that chance may have made isn't one.

The quickest at today's load is no good if a node is full by it soon, as source hash puts all
sessions of one address on one node. So no policy is advised by which less can be carried than as it
is, nor one by which a node is full below ``ROOM`` times today's load while another policy carries
more.

Not in it: what sessions did before (a node that came back empty), bursts, a session's queues being
several. A session has one queue, whose leaders are dealt out so that nodes lead what they were seen
to lead; where more messages than chance would have it need no way between nodes, as many sessions
have queues that follow them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from warrener.balancer.core.policies import Candidate, Policy, make_policy
from warrener.facts.ids import NodeName
from warrener.facts.settings import PolicyName
from warrener.models.hops import two_stops
from warrener.models.samples import Estimate, interval_of
from warrener.models.terms import WrongInput
from warrener.planner.capacity import Rooms, rooms
from warrener.planner.costs import Act, Calibration, QueueType
from warrener.planner.load import Load
from warrener.planner.sessions import Sessions
from warrener.planner.weights import commands, fitting

REAL: Final = 0.03
"""Part by which the mean response time has to be better to be a real difference, even where chance
is out of the question."""

ROOM: Final = 2.0
"""Times today's load up to which it matters by which policy a node is full first."""

MESSAGES: Final = 25_000
"""Of one trial of one policy."""

TURNOVER: Final = 3.0
"""Lifetimes for which sessions come and go before it counts."""

REPETITIONS: Final = (5, 24)
"""Trials of each policy: as many as ``PLACED`` sessions allow, in these bounds."""

PLACED: Final = 24_000
"""Sessions that are given a node in all the trials of a policy, about: some 5 us each."""

MOST: Final = 8_000
"""Sessions of a trial, those that come again included; of more, a part: chance makes 1 % of skew
then."""

SURE: Final = 0.99
"""Of intervals of differences: there are six of them, one of which is large soon."""

SIMPLE: Final = (
    PolicyName.ROUNDROBIN,
    PolicyName.LEASTCONN,
    PolicyName.WEIGHTED,
    PolicyName.WEIGHTED_LEASTCONN,
    PolicyName.P2C,
    PolicyName.RANDOM,
    PolicyName.SOURCE,
)
"""Of policies that are as good as each other the first is advised: the fewer dice the better."""

WEIGHTED: Final = frozenset(PolicyName) - {PolicyName.ROUNDROBIN, PolicyName.LEASTCONN}

Array = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class PolicyLine:
    """One policy in the trials. Times in s; ``skew``: the busiest node over the mean, 1 at best.
    ``behind``: by how much its mean response time is above the best one's, as a part of it, over
    the same trials. ``equal``: no real difference from the best. ``full``: the part of the trials
    in which some node had more to do than it can; ``full_at``: times today's load at which one has,
    the mean of the trials. ``sound``: no other policy carries more, as far as that matters."""

    policy: PolicyName
    locality: bool
    response_time: Estimate
    p99: Estimate
    skew: Estimate
    behind: Estimate
    equal: bool
    full: float
    full_at: float
    sound: bool
    now: bool


@dataclass(frozen=True, slots=True)
class PolicyAdvice:
    """The policies, the best first: those with locality as it is, and the best one with it the
    other way. ``keep``: what there is now is as good as any. ``weights`` are what the trials went
    by; ``gain`` is by how much the mean response time gets less, as a part; ``found`` in words."""

    lines: tuple[PolicyLine, ...]
    other: PolicyLine | None
    best: PolicyLine
    now: PolicyLine
    keep: bool
    gain: float
    weights: Mapping[NodeName, int]
    found: str
    commands: tuple[str, ...]
    guessed: tuple[str, ...] = ()
    trials: int = 0
    seed: int = 0

    @property
    def as_good(self) -> tuple[PolicyLine, ...]:
        """Those without a real difference from the best."""
        return tuple(line for line in self.lines if line.equal)


@dataclass(frozen=True, slots=True)
class _Work:
    """What is simulated. Stations are nodes, or hosts that nodes share; costs in CPU seconds."""

    nodes: tuple[NodeName, ...]
    station: Numbers  # of each node
    capacity: Array  # of each station, cores that are left for messages
    cores: Array  # of each node
    base: Array  # of each node: cores spent wherever sessions are
    grows: Array  # of each node: the part of that which grows with the load
    led: Array  # of each node: the part of all messages whose queue it leads
    entry: float  # of a message whose queue another node leads
    main: Array  # of a message, at each node that leads


@dataclass(frozen=True, slots=True)
class _Chances:
    """One trial's sessions and messages, the same for every policy."""

    rates: Array
    sources: Sequence[str]
    leaders: Numbers  # of sessions; -1: the queue follows its session
    order: Numbers  # sessions as they come, those that come again included
    arrived: Array
    who: Numbers
    entries: Array  # in units of their mean
    mains: Array


def choose(
    load: Load,
    calibration: Calibration,
    sessions: Sessions,
    *,
    seed: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> PolicyAdvice:
    """Tries every policy. ``progress`` is told trials done and to do. WrongInput if there are no
    sessions, or none of them does anything, or the load makes no sense."""
    if not sessions.number:
        raise WrongInput("no client is connected to the balancer")
    if sessions.rate <= 0:
        raise WrongInput("none of the sessions sends or gets anything")
    found = rooms(load, calibration)
    if len(found.nodes) < 2:
        raise WrongInput("there is one node: any policy chooses it")
    fit = {node: weight or 1 for node, weight in fitting(found).items()}
    now_weights = {node: sessions.weights.get(node) or 1 for node in fit}
    work, follows = _work(load, calibration, found, sessions)
    number = min(sessions.number, MOST)
    again = 0
    if math.isfinite(sessions.lifetime):
        again = min(round(TURNOVER * number), MOST)
    least, most = REPETITIONS
    trials = min(most, max(least, round(PLACED / (number + again))))
    placed = _placed(sessions)
    tried = _settings(sessions)
    runs: dict[tuple[PolicyName, bool, bool], list[_Served]] = {key: [] for key in tried}
    for trial in range(trials):
        chances = _chances(sessions, work, follows, number, again, [seed, trial])
        homes: dict[tuple[PolicyName, bool], Numbers] = {}
        served: dict[tuple[bytes, float], _Served] = {}
        for done, (policy, locality, present) in enumerate(tried):
            progress(trial * len(tried) + done, trials * len(tried))
            if (policy, present) not in homes:
                chance = _Chance(np.random.default_rng([seed, trial, 1]))
                weights = now_weights if present else fit
                homes[policy, present] = _homes(
                    make_policy(policy, chance), weights, chances, work.nodes
                )
            share = placed if locality else 0.0
            # Many policies place sessions alike, and where all goes to leaders homes don't matter.
            matters = share < 1 or follows > 0
            alike = (homes[policy, present].tobytes() if matters else b"", share)
            if alike not in served:
                served[alike] = _served(work, chances, homes[policy, present], share)
            runs[policy, locality, present].append(served[alike])
    progress(trials * len(tried), trials * len(tried))
    return _advice(sessions, fit, runs, found, trials, seed)


def _settings(sessions: Sessions) -> list[tuple[PolicyName, bool, bool]]:
    """What is tried: policy, locality, whether with the weights that there are now."""
    here = sessions.locality
    tried = [(policy, here, False) for policy in PolicyName]
    tried.append((sessions.policy, here, True))
    if sessions.can_be_placed:
        tried += [(policy, not here, False) for policy in PolicyName]
    return tried


def _placed(sessions: Sessions) -> float:
    """The part of messages that locality sends to their queue's leader: as seen, else all."""
    if sessions.locality and sessions.local is not None:
        return sessions.local
    return 1.0


# -- what is simulated


def _work(
    load: Load, calibration: Calibration, found: Rooms, sessions: Sessions
) -> tuple[_Work, float]:
    """And which part of the sessions has queues that follow them."""
    nodes = tuple(room.node for room in found.nodes)
    led = dict.fromkeys(nodes, 0.0)
    mains = dict.fromkeys(nodes, 0.0)
    copies = dict.fromkeys(nodes, 0.0)
    entering = leaving = crossing = total = 0.0
    for queue in load.queues:
        if queue.leader not in led:
            continue
        passed = queue.published + queue.delivered
        total += passed
        led[queue.leader] += passed
        for act, rate in ((Act.PUBLISH, queue.published), (Act.DELIVER, queue.delivered)):
            mains[queue.leader] += rate * (calibration.cost(queue.type, act, queue.body) or 0.0)
        if queue.type is not QueueType.CLASSIC:
            copy = calibration.cost(queue.type, Act.REPLICATE, queue.body) or 0.0
            for member in queue.members:
                if member != queue.leader and member in copies:
                    copies[member] += queue.published * copy
        enter = calibration.cost(queue.type, Act.ENTER, queue.body) or 0.0
        leave = calibration.cost(queue.type, Act.LEAVE, queue.body) or 0.0
        entering += queue.published * enter
        leaving += queue.delivered * leave
        crossing += queue.published * sum(part for _, part in queue.entering)
        crossing += queue.delivered * sum(part for _, part in queue.leaving)
    if total <= 0:
        raise WrongInput("no message went through a queue whose leader is known")
    scale = found.scale
    speed = {room.node: room.speed for room in found.nodes}
    stations = list(dict.fromkeys(room.shared or room.node for room in found.nodes))
    station = np.array([stations.index(room.shared or room.node) for room in found.nodes])
    # What clients that don't come through the balancer do is there whatever it does.
    outside = max(0.0, 1.0 - sessions.rate / total)
    grows = np.array(
        [scale * (copies[room.node] + outside * mains[room.node]) for room in found.nodes]
    )
    base = grows + np.array([room.idle for room in found.nodes])
    cores = np.array([room.cores for room in found.nodes])
    free = np.maximum(cores - base, 0.02 * cores)
    every = sum(mains.values()) / total
    work = _Work(
        nodes=nodes,
        station=station,
        capacity=np.bincount(station, weights=free).astype(np.float64),
        cores=cores,
        base=base,
        grows=grows,
        led=np.array([led[node] / total for node in nodes]),
        entry=scale * (entering + leaving) / total,
        main=np.array(
            [
                scale * (mains[node] / led[node] if led[node] > 0 else every) / speed[node]
                for node in nodes
            ]
        ),
    )
    return work, _follows(sessions, found, work.led, crossing / total)


def _follows(sessions: Sessions, found: Rooms, led: Array, crossing: float) -> float:
    """Without locality, messages whose queue is led by chance cross as often as leaders are
    elsewhere; if fewer do, the rest belongs to queues that are declared where the session is."""
    if sessions.locality:
        return 0.0
    weights = np.array([max(1, sessions.weights.get(room.node, 1)) for room in found.nodes])
    weighted = sessions.policy in WEIGHTED
    homes = weights / weights.sum() if weighted else np.full(len(led), 1 / len(led))
    by_chance = 1.0 - float(homes @ led)
    return min(1.0, max(0.0, 1.0 - crossing / by_chance)) if by_chance > 0 else 0.0


def _chances(
    sessions: Sessions, work: _Work, follows: float, number: int, again: int, seed: list[int]
) -> _Chances:
    chance = np.random.default_rng(seed)
    part = number / sessions.number
    rates = np.repeat(
        [kind.rate for kind in sessions.kinds], [kind.sessions for kind in sessions.kinds]
    )
    chance.shuffle(rates)
    rates = rates[:number]
    if rates.sum() <= 0:
        rates = np.full(number, sessions.rate / sessions.number)
    rates *= part * sessions.rate / rates.sum()  # what was drawn may be a little more or less
    leaders = _led(rates, work.led)
    leaders[chance.random(number) < follows] = -1
    return_of = chance.integers(number, size=again)
    # The same cluster at the same load: with a part of the sessions it is that part of all messages
    # that is left out, not of what nodes have to do.
    total = float(rates.sum()) / part
    arrived = np.cumsum(chance.exponential(1.0 / total, MESSAGES))
    who = np.searchsorted(np.cumsum(rates) / rates.sum(), chance.random(MESSAGES))
    return _Chances(
        rates=rates,
        sources=_sources(sessions, number, chance),
        leaders=leaders,
        order=np.concatenate([chance.permutation(number), return_of]),
        arrived=arrived,
        who=np.minimum(who, number - 1).astype(np.intp),
        entries=chance.exponential(1.0, MESSAGES),
        mains=chance.exponential(1.0, MESSAGES),
    )


def _led(rates: Array, shares: Array) -> Numbers:
    """The leader of each session's queue, so that nodes lead what they were seen to lead: that was
    measured, and isn't a matter of chance. The busiest session first, to the node that lacks
    most."""
    lacks = shares * rates.sum()
    leaders = np.zeros(len(rates), dtype=np.intp)
    for session in np.argsort(-rates, kind="stable").tolist():
        leaders[session] = at = int(lacks.argmax())
        lacks[at] -= rates[session]
    return leaders


def _sources(sessions: Sessions, number: int, chance: np.random.Generator) -> list[str]:
    """Each session's address: those that there are, else others in each trial."""
    if not sessions.addresses:
        return [f"{address}" for address in chance.integers(1 << 32, size=number)]
    names = np.repeat(list(sessions.addresses), list(sessions.addresses.values()))
    return [str(one) for one in chance.choice(names, size=number, replace=len(names) < number)]


@dataclass(frozen=True, slots=True)
class _Served:
    """What came of a trial: times in s, the busiest node over the mean, times the load at which a
    node or host is full."""

    mean: float
    p99: float
    skew: float
    full_at: float


class _Chance:
    """What policies throw their dice with."""

    def __init__(self, chance: np.random.Generator) -> None:
        self._chance = chance

    def random(self) -> float:
        return float(self._chance.random())


def _homes(
    policy: Policy, weights: Mapping[NodeName, int], chances: _Chances, nodes: Sequence[NodeName]
) -> Numbers:
    """Each session's node, after all comings and goings. One that comes again has ended before."""
    at = {node: index for index, node in enumerate(nodes)}
    homes = np.full(len(chances.rates), -1, dtype=np.intp)
    candidates = [Candidate(node, weights[node], 0) for node in nodes]
    for session in chances.order.tolist():
        was = homes[session]
        if was >= 0:
            before = candidates[was]
            candidates[was] = replace(before, sessions=before.sessions - 1)
        index = at[policy.choose(candidates, chances.sources[session])]
        homes[session] = index
        chosen = candidates[index]
        candidates[index] = replace(chosen, sessions=chosen.sessions + 1)
    return homes


def _served(work: _Work, chances: _Chances, homes: Numbers, placed: float) -> _Served:
    """One trial of one policy."""
    follows = chances.leaders < 0
    leaders = np.where(follows, homes, chances.leaders)
    home, leader = homes[chances.who], leaders[chances.who]
    # Channels are placed one by one; of a session's messages it is a part.
    spread = (np.arange(len(home)) * 0.6180339887498949) % 1.0
    enters = (home != leader) & (spread >= placed)
    entry = np.where(enters, chances.entries * work.entry, 0.0)
    main = chances.mains * work.main[leader]
    station = work.station
    response = two_stops(
        chances.arrived, station[home], entry, station[leader], main, work.capacity
    )
    seconds = float(chances.arrived[-1])
    # Of means, not of what was drawn: how busy a node is isn't a matter of some seconds.
    rate = len(home) / seconds
    sent = chances.rates / chances.rates.sum() * rate
    crossing = (homes != leaders) * (1.0 - placed)
    entries = np.bincount(homes, weights=sent * crossing * work.entry, minlength=len(work.nodes))
    mains = np.bincount(leaders, weights=sent * work.main[leaders], minlength=len(work.nodes))
    used = (work.base + entries + mains) / work.cores
    asked = np.bincount(station, weights=work.grows + entries + mains)
    there = work.capacity + np.bincount(station, weights=work.grows)
    skew = float(used.max() / used.mean())
    return _Served(
        mean=float(response.mean()),
        p99=float(np.quantile(response, 0.99)),
        skew=skew,
        full_at=float((there / np.maximum(asked, 1e-12)).min()),
    )


# -- what it comes to


def _advice(
    sessions: Sessions,
    fit: Mapping[NodeName, int],
    runs: Mapping[tuple[PolicyName, bool, bool], Sequence[_Served]],
    found: Rooms,
    trials: int,
    seed: int,
) -> PolicyAdvice:
    means = {key: np.array([one.mean for one in rows]) for key, rows in runs.items()}
    full_at = {key: float(np.mean([one.full_at for one in rows])) for key, rows in runs.items()}
    here = sessions.locality
    present = (sessions.policy, here, True)
    keys = [(policy, here, False) for policy in PolicyName]
    most = max(full_at[key] for key in (*keys, present))

    def sound(key: tuple[PolicyName, bool, bool]) -> bool:
        at = full_at[key]
        return at >= (1.0 - REAL) * full_at[present] and at >= min(ROOM, (1.0 - REAL) * most)

    good = [key for key in keys if sound(key)] or [max(keys, key=lambda key: full_at[key])]
    best = min(good, key=lambda key: float(means[key].mean()))

    def line(key: tuple[PolicyName, bool, bool]) -> PolicyLine:
        rows = runs[key]
        behind = interval_of(means[key] / means[best] - 1.0, SURE)
        return PolicyLine(
            policy=key[0],
            locality=key[1],
            response_time=interval_of(means[key]),
            p99=interval_of(np.array([one.p99 for one in rows])),
            skew=interval_of(np.array([one.skew for one in rows])),
            behind=behind,
            equal=sound(key) and (behind.low <= 0 or behind.value < REAL),
            full=sum(one.full_at <= 1.0 for one in rows) / len(rows),
            full_at=full_at[key],
            sound=sound(key),
            now=key[0] is sessions.policy and key[1] is here,
        )

    lines = sorted((line(key) for key in keys), key=lambda one: one.response_time.value)
    other = None
    if sessions.can_be_placed:
        others = [key for key in runs if key[1] is not here]
        other = line(min(others, key=lambda key: float(means[key].mean())))
    now = line(present)
    near = [line(key) for key in good if line(key).behind.value < REAL]
    first = min(near, key=lambda one: SIMPLE.index(one.policy))
    worse = interval_of(means[present] / means[first.policy, here, False] - 1.0, SURE)
    keep = now.equal or (now.sound and (worse.low <= 0 or worse.value < REAL))
    gain = 1.0 - first.response_time.value / now.response_time.value
    todo: list[str] = []
    if not keep and first.policy in WEIGHTED and not sessions.follows_capacity:
        todo += commands(sessions.weights, fit)
    if not keep and first.policy is not sessions.policy:
        todo.append(f"warrener balance set-policy {first.policy}")
    return PolicyAdvice(
        lines=tuple(lines),
        other=other,
        best=first,
        now=now,
        keep=keep,
        gain=gain,
        weights=fit,
        found=_found(now, first, lines, keep=keep, gain=gain),
        commands=tuple(todo),
        guessed=found.guessed,
        trials=trials,
        seed=seed,
    )


def _found(
    now: PolicyLine, best: PolicyLine, lines: Sequence[PolicyLine], *, keep: bool, gain: float
) -> str:
    equal = [line.policy for line in lines if line.equal]
    if keep and len(equal) == len(lines):
        return f"no real difference between the policies; {now.policy}, as it is, is as good as any"
    if not keep and gain < REAL and now.full <= best.full:
        weights = " with weights that fit" if best.policy is now.policy else ""
        return (
            f"by {best.policy}{weights} a node is full at {best.full_at:.2f} times today's load, "
            f"by {now.policy}, as it is, at {now.full_at:.2f} times"
        )
    if keep and not now.equal:
        return f"{now.policy}, as it is, is nearly the best: {best.policy} would bring {gain:.0%}"
    if keep:
        rest = [one for one in equal if one is not now.policy]
        also = f"; no real difference to {', '.join(rest)}" if rest else ""
        return f"{now.policy}, as it is, is the best{also}"
    worst = ""
    if now.full > best.full:
        worst = " and no node has more to do than it can"
    elif best.full_at > (1.0 + REAL) * now.full_at:
        worst = (
            f"; a node is full at {best.full_at:.2f} times today's load, not at {now.full_at:.2f}"
        )
    if best.policy is now.policy:
        return f"{now.policy}, as it is, with weights that fit: {gain:.0%} shorter response times"
    return (
        f"{best.policy} instead of {now.policy} makes the mean response time {gain:.0%} shorter, "
        f"{_ms(best.response_time)} instead of {_ms(now.response_time)}{worst}"
    )


def _ms(one: Estimate) -> str:
    if math.isfinite(one.half_width):
        return f"{one.value * 1e3:.3g} ± {one.half_width * 1e3:.2g} ms"
    return f"{one.value * 1e3:.3g} ms"
