"""What a balancing policy makes of a workload: sessions that live long, nodes that differ, come and
go. Discrete events, where the policies are the balancer's very own objects.

    sessions come -> the policy gives each a node -> its messages arrive there, by chance or in
    bursts -> the node serves them in order -> response times

A balancer of AMQP places sessions, not messages: it decides a few thousand times, and a node then
gets all that its sessions say. So the sessions go through an event loop, and the millions of
messages between two of its events through running sums (``stations``). When a node dies, its
sessions get other nodes at once; what it had not done arrives there anew (at least once).

Chance comes from one seed: the same questions get the same answers, and two policies meet the same
sessions with the same messages.
"""

import heapq
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from warrener.facts.ids import NodeName
from warrener.models.samples import Estimate, mean_of, percentile_of
from warrener.models.stations import completions
from warrener.models.terms import WrongInput, check_count, check_positive

Array = npt.NDArray[np.float64]

MAX_MESSAGES: Final = 20_000_000
"""They are all kept: some 60 bytes each."""

C = TypeVar("C")
C_contra = TypeVar("C_contra", contravariant=True)


class Chooser(Protocol[C_contra]):
    """A policy, as the balancer has it."""

    def choose(self, candidates: Sequence[C_contra], source: str) -> NodeName: ...


@dataclass(frozen=True, slots=True)
class Balancing(Generic[C]):
    """A policy for one run, and how a node is shown to it: name, weight, sessions it has now."""

    policy: Chooser[C]
    candidate: Callable[[NodeName, int, int], C]


@dataclass(frozen=True, slots=True)
class SimulatedNode:
    """``service_rate`` (1/s) is that of one of ``servers``; ``service_scv`` the squared coefficient
    of variation of a service; ``down``: from when to when it is gone (s)."""

    name: NodeName
    service_rate: float
    servers: int = 1
    service_scv: float = 1.0
    weight: int = 100
    down: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Clients of one kind. ``sessions`` are there on average, ``rate`` (1/s) is what one of them
    sends, on average. ``lifetime`` (s) is how long one stays, on average, before another comes in
    its place; infinite: all stay. ``unevenness``: how much rates differ between sessions (their
    coefficient of variation; 0: all send the same). Bursts: a session sends for ``burst`` s on
    average, then pauses, so that it sends a ``duty`` part of the time; 0: no bursts. ``addresses``:
    how many client addresses there are.
    """

    name: str
    sessions: int
    rate: float
    lifetime: float = math.inf
    unevenness: float = 0.0
    burst: float = 0.0
    duty: float = 1.0
    addresses: int = 1


@dataclass(frozen=True, slots=True)
class NodeResult:
    """One node over the time that counts. ``utilisation``: the part of its capacity that was asked
    of it (above 1: it fell behind). ``sessions`` at the end."""

    name: NodeName
    messages: int
    utilisation: float
    sessions: int


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it. Times in s; the first part of the run (``warm_up``) isn't counted."""

    messages: int
    response_time: Estimate
    waiting_time: Estimate
    p50: Estimate
    p99: Estimate
    nodes: tuple[NodeResult, ...]
    repeated: int  # messages that a node's end made arrive anew
    moved: int  # sessions that a node's end moved

    @property
    def skew(self) -> float:
        """The busiest node's utilisation over the mean: 1 is perfectly even."""
        used = [node.utilisation for node in self.nodes]
        mean = sum(used) / len(used)
        return max(used) / mean if mean else 1.0


def simulate(
    nodes: Sequence[SimulatedNode],
    groups: Sequence[Group],
    balancing: Balancing[C],
    *,
    duration: float,
    seed: int,
    warm_up: float | None = None,
) -> Result:
    """Runs for ``duration`` s of simulated time, of which the first ``warm_up`` (a tenth, if not
    given) don't count.

    WrongInput for what makes no sense, for times with no node alive, or if there would be more
    than ``MAX_MESSAGES``. A million messages take about 1 s.
    """
    warm_up = duration / 10 if warm_up is None else warm_up
    _check(nodes, groups, duration, warm_up)
    world = _World(nodes, groups, balancing, duration, np.random.default_rng(seed))
    world.place_sessions()
    world.send()
    return world.result(warm_up)


@dataclass(slots=True)
class _Session:
    """``stays``: from when on it is at which node (their number)."""

    number: int
    source: str
    rate: float
    group: Group
    begins: float
    ends: float
    stays: list[tuple[float, int]] = field(default_factory=list)


class _World(Generic[C]):
    def __init__(
        self,
        nodes: Sequence[SimulatedNode],
        groups: Sequence[Group],
        balancing: Balancing[C],
        duration: float,
        chance: np.random.Generator,
    ) -> None:
        self._nodes = nodes
        self._groups = groups
        self._balancing = balancing
        self._duration = duration
        # Messages have a stream of chance of their own: no policy changes them.
        self._chance, self._messages, self._services = chance.spawn(3)
        self._sessions: list[_Session] = []
        self._counts = [0] * len(nodes)
        self._moved = 0
        self._repeated = 0
        self._arrived: Array = np.zeros(0)
        self._done: Array = np.zeros(0)
        self._service: Array = np.zeros(0)
        self._at: npt.NDArray[np.int32] = np.zeros(0, dtype=np.int32)

    # -- sessions

    def place_sessions(self) -> None:
        """Goes through all comings and goings, of sessions and nodes."""
        alive = [True] * len(self._nodes)
        open_at: list[set[int]] = [set() for _ in self._nodes]
        order = itertools.count()
        events: list[tuple[float, int, str, int]] = []
        for number, node in enumerate(self._nodes):
            for begin, end in node.down:
                heapq.heappush(events, (begin, next(order), "node goes", number))
                heapq.heappush(events, (end, next(order), "node comes", number))
        for session in self._coming():
            self._sessions.append(session)
            heapq.heappush(events, (session.begins, next(order), "session comes", session.number))
            if session.ends < self._duration:
                heapq.heappush(events, (session.ends, next(order), "session goes", session.number))
        while events:
            now, _, what, number = heapq.heappop(events)
            if now >= self._duration:
                break
            if what == "session comes":
                self._place(self._sessions[number], now, alive, open_at)
            elif what == "session goes":
                at = self._sessions[number].stays[-1][1]
                open_at[at].discard(number)
                self._counts[at] -= 1
            elif what == "node comes":
                alive[number] = True
            else:
                alive[number] = False
                homeless = sorted(open_at[number])
                open_at[number] = set()
                self._counts[number] = 0
                self._moved += len(homeless)
                for one in homeless:
                    self._place(self._sessions[one], now, alive, open_at)

    def _place(
        self, session: _Session, now: float, alive: Sequence[bool], open_at: list[set[int]]
    ) -> None:
        fit = [number for number, is_alive in enumerate(alive) if is_alive]
        if not fit:
            raise WrongInput(f"after {now:g} s no node is alive")
        candidates = [
            self._balancing.candidate(
                self._nodes[number].name, self._nodes[number].weight, self._counts[number]
            )
            for number in fit
        ]
        name = self._balancing.policy.choose(candidates, session.source)
        chosen = next(number for number in fit if self._nodes[number].name == name)
        self._counts[chosen] += 1
        open_at[chosen].add(session.number)
        session.stays.append((now, chosen))

    def _coming(self) -> list[_Session]:
        """All sessions of the run, by when they begin. Those of the start come in a second, so that
        groups mix."""
        drawn = []
        for group in self._groups:
            for _ in range(group.sessions):
                begins = float(self._chance.uniform(0.0, min(1.0, self._duration / 100)))
                while begins < self._duration:
                    ends = math.inf
                    if math.isfinite(group.lifetime):
                        ends = begins + float(self._chance.exponential(group.lifetime))
                    drawn.append((begins, ends, group, *self._kind(group)))
                    begins = ends
        drawn.sort(key=lambda one: one[0])
        return [
            _Session(number, source, rate, group, begins, ends)
            for number, (begins, ends, group, rate, source) in enumerate(drawn)
        ]

    def _kind(self, group: Group) -> tuple[float, str]:
        """A session's rate, and its address."""
        rate = group.rate
        if group.unevenness > 0:
            shape = group.unevenness**-2
            rate *= float(self._chance.gamma(shape, 1.0 / shape))
        return rate, f"{group.name}-{self._chance.integers(group.addresses)}"

    # -- messages

    def send(self) -> None:
        """All messages arrive and are served, from one change of the nodes to the next."""
        sessions = self._sessions
        expected = sum(one.rate * (min(one.ends, self._duration) - one.begins) for one in sessions)
        if expected > MAX_MESSAGES:
            raise WrongInput(
                f"that would be {expected:,.0f} messages; up to {MAX_MESSAGES:,} can be simulated: "
                f"take a shorter time"
            )
        times = [self._times(one) for one in sessions]
        who = np.repeat(np.arange(len(sessions)), [len(one) for one in times])
        arrived = np.concatenate(times) if times else np.zeros(0)
        order = np.argsort(arrived, kind="stable")
        who, arrived = who[order], arrived[order]
        means = np.array([1.0 / node.service_rate for node in self._nodes])
        units = _Units(self._services, len(arrived))
        self._serve(who, arrived, means, units)

    def _times(self, session: _Session) -> Array:
        """When a session sends: at random, in bursts if it has any."""
        begin, end = session.begins, min(session.ends, self._duration)
        group = session.group
        if group.burst <= 0 or group.duty >= 1:
            number = self._messages.poisson(session.rate * (end - begin))
            return np.sort(self._messages.uniform(begin, end, number))
        pause = group.burst * (1.0 / group.duty - 1.0)
        rounds = int((end - begin) / (group.burst + pause) * 1.5) + 20
        lengths = np.empty(2 * rounds)
        lengths[0::2] = self._messages.exponential(group.burst, rounds)
        lengths[1::2] = self._messages.exponential(pause, rounds)
        if self._messages.random() > group.duty:  # as it is found at any moment: pausing
            lengths[0] = 0.0
        ends = begin + np.cumsum(lengths)
        starts = ends - lengths
        on, off = starts[0::2], ends[0::2]
        on, off = np.minimum(on, end), np.minimum(off, end)
        numbers = self._messages.poisson(session.rate / group.duty * (off - on))
        return np.sort(
            np.repeat(on, numbers)
            + self._messages.random(int(numbers.sum())) * np.repeat(off - on, numbers)
        )

    def _serve(
        self, who: npt.NDArray[np.int64], arrived: Array, means: Array, units: "_Units"
    ) -> None:
        sent = arrived.copy()
        homes = self._homes(who, arrived)
        done = np.full(len(arrived), math.inf)
        service = np.zeros(len(arrived))
        for number, node in enumerate(self._nodes):
            service_of = units.of(node.service_scv) * means[number]
            mine = homes == number
            service[mine] = service_of[mine]
        # Deaths in order: what a node has not done then arrives at others, which may die later.
        free_at = np.zeros(len(self._nodes))
        for death, number in sorted(
            (begin, number) for number, node in enumerate(self._nodes) for begin, _ in node.down
        ):
            mine = np.flatnonzero((homes == number) & (arrived < death) & np.isinf(done))
            ends = self._completed(number, arrived[mine], service[mine], free_at[number])
            finished = ends <= death
            done[mine[finished]] = ends[finished]
            lost = mine[~finished]
            arrived[lost] = death
            homes[lost] = self._homes(who[lost], arrived[lost])
            for other, node in enumerate(self._nodes):
                anew = lost[homes[lost] == other]
                service[anew] = units.of(node.service_scv)[anew] * means[other]
            self._repeated += len(lost)
            free_at[number] = death
        for number in range(len(self._nodes)):
            mine = np.flatnonzero((homes == number) & np.isinf(done))
            mine = mine[np.argsort(arrived[mine], kind="stable")]
            done[mine] = self._completed(number, arrived[mine], service[mine], free_at[number])
        self._arrived, self._done, self._service, self._at = sent, done, service, homes

    def _completed(self, number: int, arrived: Array, service: Array, free_at: float) -> Array:
        order = np.argsort(arrived, kind="stable")
        found = np.empty(len(arrived))
        servers = self._nodes[number].servers
        found[order] = completions(arrived[order], service[order], servers, free_at)
        return found

    def _homes(self, who: npt.NDArray[np.int64], at: Array) -> npt.NDArray[np.int32]:
        """Which node each session is at, at each time; ``who`` need not be in order."""
        begins = [stay[0] for one in self._sessions for stay in one.stays]
        nodes = np.array([stay[1] for one in self._sessions for stay in one.stays], dtype=np.int32)
        counts = np.array([len(one.stays) for one in self._sessions])
        first = np.concatenate([[0], np.cumsum(counts)])
        homes = nodes[first[who]] if len(who) else np.zeros(0, dtype=np.int32)
        starts = np.array(begins)
        for later in range(1, int(counts.max(initial=1))):
            has = counts[who] > later
            index = first[who[has]] + later
            moved = at[has] >= starts[index]
            chosen = np.flatnonzero(has)[moved]
            homes[chosen] = nodes[index[moved]]
        return homes

    # -- what came of it

    def result(self, warm_up: float) -> Result:
        """Of the messages that were sent after ``warm_up``."""
        counted = self._arrived >= warm_up
        if not counted.any():
            raise WrongInput("no message was sent in the time that counts; take a longer time")
        response = (self._done - self._arrived)[counted]
        waiting = response - self._service[counted]
        length = self._duration - warm_up
        rows = []
        for number, node in enumerate(self._nodes):
            mine = counted & (self._at == number)
            up = length - sum(
                max(0.0, min(end, self._duration) - max(begin, warm_up)) for begin, end in node.down
            )
            work = float(self._service[mine].sum())
            rows.append(
                NodeResult(
                    node.name,
                    int(mine.sum()),
                    work / (up * node.servers) if up > 0 else 0.0,
                    self._counts[number],
                )
            )
        return Result(
            messages=len(response),
            response_time=mean_of(response),
            waiting_time=mean_of(waiting),
            p50=percentile_of(response, 0.5),
            p99=percentile_of(response, 0.99),
            nodes=tuple(rows),
            repeated=self._repeated,
            moved=self._moved,
        )


class _Units:
    """Service times as parts of their mean, by variability; the same for every policy."""

    def __init__(self, chance: np.random.Generator, number: int) -> None:
        self._chance = chance
        self._number = number
        self._made: dict[float, Array] = {}

    def of(self, scv: float) -> Array:
        if scv not in self._made:
            if scv == 0:
                made = np.ones(self._number)
            elif scv == 1:
                made = self._chance.exponential(1.0, self._number)
            else:
                made = self._chance.gamma(1.0 / scv, scv, self._number)
            self._made[scv] = made
        return self._made[scv]


def _check(
    nodes: Sequence[SimulatedNode], groups: Sequence[Group], duration: float, warm_up: float
) -> None:
    check_positive("the duration", duration)
    check_positive("the warm-up", warm_up, zero=True)
    if warm_up >= duration:
        raise WrongInput(f"the warm-up ({warm_up:g} s) has to be shorter than {duration:g} s")
    names = [node.name for node in nodes]
    if not names or len(set(names)) != len(names):
        raise WrongInput(f"each node needs a name of its own; there are {names}")
    for node in nodes:
        check_positive(f"the service rate of {node.name}", node.service_rate)
        check_positive(f"the service's variability of {node.name}", node.service_scv, zero=True)
        check_count(f"the servers of {node.name}", node.servers)
        check_count(f"the weight of {node.name}", node.weight)
        last = 0.0
        for begin, end in node.down:
            if not last <= begin < end:
                raise WrongInput(f"{node.name} is down from {begin} to {end} s: not in order")
            last = end
    if not groups:
        raise WrongInput("there is no group of clients")
    for group in groups:
        check_count(f"the sessions of {group.name}", group.sessions)
        check_positive(f"the rate of {group.name}", group.rate, zero=True)
        check_count(f"the addresses of {group.name}", group.addresses)
        check_positive(f"the bursts of {group.name}", group.burst, zero=True)
        check_positive(f"the unevenness of {group.name}", group.unevenness, zero=True)
        if not group.lifetime > 0:
            raise WrongInput(f"the lifetime of {group.name} is {group.lifetime}; more than 0")
        if not 0 < group.duty <= 1:
            raise WrongInput(f"the duty of {group.name} is {group.duty}; above 0, up to 1")
