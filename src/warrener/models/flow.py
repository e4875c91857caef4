"""How much a network of limits carries, and what holds it up: max-flow and min-cut.

    source -> clients -> balancer -> nodes -> links between them -> queues -> consumers -> sink

Every part is an edge with a capacity in 1/s; what limits a place (a node's CPU, a queue's one
process) is an edge through it. The greatest flow is the whole's capacity; the edges of a least cut
are what it is limited by (Ford and Fulkerson 1956): all of them have to grow for more to go
through, those that are in every least cut each by itself.

The cut is worked out in whole numbers by Dinic's algorithm (SciPy's), at a resolution of 2e-9 of
the largest flow there could be; the value is the cut's, without rounding.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from warrener.models.terms import WrongInput

_UNITS: Final = 2**29
"""What the largest flow there could be is in whole numbers; SciPy's are of 32 bits. An edge without
a limit gets twice as much, so that it is never full."""


class Edge(NamedTuple):
    """From one place to another, up to ``capacity`` (1/s; infinite: no limit). ``what`` says what
    it stands for, to whoever made it."""

    source: str
    target: str
    capacity: float
    what: str = ""


@dataclass(frozen=True, slots=True)
class Worth:
    """What a single edge is worth: ``gain`` (1/s) more flow if it had no limit, all else the
    same. One more unit of capacity brings one more of flow until then."""

    edge: Edge
    gain: float


@dataclass(frozen=True, slots=True)
class Flow:
    """The greatest flow, 1/s. ``cut``: the edges of the least cut that is next to the source, the
    largest first; ``flows``: what goes through each edge, in the order in which they were given
    (one of many ways, if there are several)."""

    value: float
    cut: tuple[Edge, ...]
    flows: tuple[float, ...]

    @property
    def is_unlimited(self) -> bool:
        """Whether nothing limits it."""
        return math.isinf(self.value)


def max_flow(edges: Sequence[Edge], source: str, sink: str) -> Flow:
    """The greatest flow from ``source`` to ``sink``, and what limits it.

    Edges between the same two places count together. WrongInput for capacities below 0, and for
    places that no edge has.
    """
    net = _Net(edges, source, sink)
    if net.is_unlimited:
        return Flow(math.inf, (), tuple(math.inf for _ in edges))
    before = net.reached_from_source()
    cut = [edge for edge in edges if net.crosses(edge, before) and edge.capacity > 0]
    cut.sort(key=lambda edge: (-edge.capacity, edge.source, edge.target))
    value = math.fsum(edge.capacity for edge in cut)
    return Flow(value, tuple(cut), tuple(net.flows(edges)))


def worths(edges: Sequence[Edge], source: str, sink: str) -> list[Worth]:
    """The edges that would bring more by themselves, by how much, the most first. Empty if more
    than one limit has to be raised for anything to change."""
    net = _Net(edges, source, sink)
    if net.is_unlimited:
        return []
    before, after = net.reached_from_source(), net.reaching_sink()
    value = max_flow(edges, source, sink).value
    found = []
    for at, edge in enumerate(edges):
        if not (before[net.number[edge.source]] and after[net.number[edge.target]]):
            continue
        if math.isinf(edge.capacity) or net.is_slack(edge):
            continue
        freed = [*edges[:at], edge._replace(capacity=math.inf), *edges[at + 1 :]]
        gain = max_flow(freed, source, sink).value - value
        found.append(Worth(edge, gain))
    return sorted(found, key=lambda worth: (-worth.gain, worth.edge.source, worth.edge.target))


def without(edges: Sequence[Edge], lost: Iterable[str], source: str, sink: str) -> Flow:
    """The greatest flow when the places ``lost`` are gone, with all that leads through them."""
    gone = set(lost)
    left = [
        edge._replace(capacity=0.0) if gone & {edge.source, edge.target} else edge for edge in edges
    ]
    return max_flow(left, source, sink)


def each_lost(
    edges: Sequence[Edge], places: Mapping[str, Sequence[str]], source: str, sink: str
) -> dict[str, Flow]:
    """N-1: the greatest flow with each of ``places`` gone in turn. A name stands for all the places
    that go with it (a node, and its share of everything)."""
    return {name: without(edges, lost, source, sink) for name, lost in places.items()}


Integers = npt.NDArray[np.integer]
Flags = npt.NDArray[np.bool_]


class _Net:
    """The edges as matrices, solved."""

    def __init__(self, edges: Sequence[Edge], source: str, sink: str) -> None:
        names = {name: None for edge in edges for name in (edge.source, edge.target)}
        self.number = {name: at for at, name in enumerate(names)}
        for name in (source, sink):
            if name not in self.number:
                raise WrongInput(f"no edge begins or ends at {name}")
        if source == sink:
            raise WrongInput(f"{source} is both source and sink")
        for edge in edges:
            if math.isnan(edge.capacity) or edge.capacity < 0:
                raise WrongInput(
                    f"the capacity from {edge.source} to {edge.target} is {edge.capacity}; it has "
                    f"to be 0 or more"
                )
        self._source, self._sink = self.number[source], self.number[sink]
        self._rows = np.array([self.number[edge.source] for edge in edges])
        self._columns = np.array([self.number[edge.target] for edge in edges])
        capacities = np.array([edge.capacity for edge in edges])
        endless = self._matrix(np.isinf(capacities).astype(np.int32))
        self.is_unlimited = bool(self._reached(endless, self._source)[self._sink])
        if self.is_unlimited:
            return
        self._unit = self._most(capacities) / _UNITS
        whole = np.minimum(capacities / self._unit, 2 * _UNITS)
        together = self._matrix(np.round(whole).astype(np.int64))
        together.data = np.minimum(together.data, 2 * _UNITS).astype(np.int32)
        self._whole = together
        solved = maximum_flow(self._whole, self._source, self._sink)
        self._flow = csr_array(solved.flow)
        # What could go through in addition: forwards what is free, backwards what flows.
        self._residual = csr_array(self._whole - self._flow)
        self._residual.eliminate_zeros()

    def _most(self, capacities: npt.NDArray[np.float64]) -> float:
        """No flow is greater: what leaves the source, what arrives at the sink, or all limits. Not
        0, also where nothing gets through."""
        limits = capacities[np.isfinite(capacities)].sum()
        leaving = capacities[self._rows == self._source].sum()
        arriving = capacities[self._columns == self._sink].sum()
        return float(min(leaving, arriving, limits)) or float(limits) or 1.0

    def _matrix(self, values: Integers) -> csr_array:
        size = len(self.number)
        matrix = csr_array((values, (self._rows, self._columns)), shape=(size, size))
        matrix.sum_duplicates()
        return matrix

    def _reached(self, matrix: csr_array, start: int) -> Flags:
        matrix = csr_array(matrix)
        matrix.eliminate_zeros()
        flags = np.zeros(len(self.number), dtype=np.bool_)
        flags[breadth_first_order(matrix, start, return_predecessors=False)] = True
        return flags

    def reached_from_source(self) -> Flags:
        """The places that more could still get to."""
        return self._reached(self._residual, self._source)

    def reaching_sink(self) -> Flags:
        """The places from which more could still get to the sink."""
        return self._reached(csr_array(self._residual.T), self._sink)

    def crosses(self, edge: Edge, before: Flags) -> bool:
        return bool(before[self.number[edge.source]] and not before[self.number[edge.target]])

    def is_slack(self, edge: Edge) -> bool:
        return bool(self._residual[self.number[edge.source], self.number[edge.target]] > 0)

    def flows(self, edges: Sequence[Edge]) -> list[float]:
        """Of parallel edges each its part of what they carry together."""
        together = csr_array(
            (np.array([edge.capacity for edge in edges]), (self._rows, self._columns)),
            shape=self._whole.shape,
        )
        through = np.maximum(np.asarray(self._flow[self._rows, self._columns]), 0) * self._unit
        capacity = np.asarray(together[self._rows, self._columns])
        endless = Counter((e.source, e.target) for e in edges if math.isinf(e.capacity))
        shares = []
        for edge, carried, total in zip(edges, through, capacity, strict=True):
            if math.isinf(edge.capacity):
                share = 1.0 / endless[edge.source, edge.target]
            else:
                share = edge.capacity / total if total else 0.0
            shares.append(min(edge.capacity, float(carried * share)))
        return shares
