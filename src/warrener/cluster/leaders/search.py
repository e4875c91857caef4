"""The search for few moves that leave no node busy. Pure.

From the busiest node the move that takes most of its excess without making another node busy;
where none does, two at once: an exchange, or a chain over a third node. At last, moves that turn
out not to be needed are taken back, and two that one can replace are. Where there are few
queues, all that can be is tried as well.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from warrener.cluster.leaders.problem import Problem

_PAIRS: Final = 40  # queues of a node tried in exchanges
_EXCHANGES: Final = 12  # exchanges in one plan
_MERGED: Final = 24  # moves up to which it is tried to make one of two
_STEPS: Final = 20_000  # of an exhaustive search: 30 ms
_DEPTH: Final = 200  # queues in it; deeper it would only go astray


def few_moves(problem: Problem, tolerance: float) -> list[int]:
    """The end of a search, or of a small exhaustive one where that is better."""
    search = Search(problem, problem.leaders, tolerance)
    search.run()
    found = search.leaders
    done = not problem.busy(found, tolerance)
    if done and problem.number(found) <= 1:
        return found
    return _exhaustive(problem, tolerance, problem.number(found) if done else None) or found


def _exhaustive(problem: Problem, tolerance: float, below: int | None) -> list[int] | None:
    """The fewest moves (less than ``below``) that leave no node busy, as far as ``_STEPS`` steps
    go: through all that can be with a handful of queues, hardly anywhere with thousands."""
    limits = problem.limits(tolerance)
    eps = 1e-9 * (1.0 + problem.mean)
    shifts, start = problem.shifts, problem.leaders
    order = sorted(range(len(shifts)), key=lambda q: -shifts[q])
    loads = list(problem.base)
    if len(order) > _DEPTH:
        return None
    choice = list(start)
    best: list[int] | None = None
    fewest = below if below is not None else len(order) + 1
    steps = _STEPS

    def go_on(depth: int, moves: int) -> None:
        nonlocal best, fewest, steps
        steps -= 1
        if moves >= fewest or steps < 0:
            return
        if depth == len(order):
            best, fewest = list(choice), moves
            return
        queue = order[depth]
        shift, here = shifts[queue], start[queue]
        others = sorted(
            (n for n in problem.targets[queue] if n != here), key=lambda n: loads[n] - limits[n]
        )
        for node in (here, *others):
            if loads[node] + shift <= limits[node] + eps:
                loads[node] += shift
                choice[queue] = node
                go_on(depth + 1, moves + (node != here))
                loads[node] -= shift
        choice[queue] = here

    go_on(0, 0)
    return best


class Search:
    """Moves leaders until no node is over its limit, or nothing helps any more.

    ``_at[s][d]`` are the queues that s leads and d may lead, as sorted (shift, queue). What a move
    gains depends only on how much is shifted from where to where, and rises and falls with the
    amount at few points; so of a thousand queues only those next to these points are looked at.
    """

    def __init__(self, problem: Problem, leaders: Sequence[int], tolerance: float) -> None:
        self._problem = problem
        self.leaders = list(leaders)
        self._limits = problem.limits(tolerance)
        self._over = [
            load - limit for load, limit in zip(problem.loads(leaders), self._limits, strict=True)
        ]
        self._counts = list(problem.counts)
        for queue, leader in enumerate(leaders):
            self._counts[problem.leaders[queue]] -= 1
            self._counts[leader] += 1
        size = len(problem.nodes)
        self._at: list[list[list[tuple[float, int]]]] = [
            [[] for _ in range(size)] for _ in range(size)
        ]
        for queue in sorted(range(len(leaders)), key=lambda q: (problem.shifts[q], q)):
            for target in problem.targets[queue]:
                if target != leaders[queue]:
                    entry = (problem.shifts[queue], queue)
                    self._at[leaders[queue]][target].append(entry)
        self._eps = 1e-9 * (1.0 + problem.mean)

    def run(self) -> None:
        """``leaders`` is the result."""
        self._greedy()
        for _ in range(_EXCHANGES):
            if not self._exchange():
                break
            self._greedy()
        self._take_back()
        self._merge()

    # -- gains

    def _gain(self, changes: Sequence[tuple[int, float]]) -> tuple[float, float, float]:
        """Of changes of some nodes' loads: how much less is over the limits, the same squared, and
        how far the busiest of these nodes ends below its limit."""
        linear = square = 0.0
        highest = float("-inf")
        for node, change in changes:
            before = max(0.0, self._over[node])
            ends = self._over[node] + change
            after = max(0.0, ends)
            linear += before - after
            square += before * before - after * after
            highest = max(highest, ends)
        return linear, square, -highest

    def _helps(self, gain: tuple[float, float, float]) -> bool:
        linear, square, _ = gain
        eps = self._eps
        return linear > eps or (linear > -eps and square > eps * (1.0 + self._problem.mean))

    def _near(self, source: int, target: int, amounts: Iterable[float]) -> Iterator[int]:
        """The queues of these sizes, or next to them."""
        queues = self._at[source][target]
        places: set[int] = set()
        for amount in amounts:
            place = bisect_left(queues, (amount, -1))
            places.update((place - 1, place))
        # the first and the last of those that are equally big come to the same
        return (queues[place][1] for place in places if 0 <= place < len(queues))

    def _useful(self, source: int, target: int) -> tuple[float, ...]:
        """Amounts where the gain of a shift changes its slope, or the balance is best."""
        excess, room = self._over[source], -self._over[target]
        return excess, room, (excess + room) / 2

    # -- steps

    def _shift(self, queue: int, target: int) -> None:
        problem = self._problem
        shift = problem.shifts[queue]
        source = self.leaders[queue]
        entry = (shift, queue)
        for other in problem.targets[queue]:
            if other != source:
                listed = self._at[source][other]
                del listed[bisect_left(listed, entry)]
            if other != target:
                insort(self._at[target][other], entry)
        self._over[source] -= shift
        self._over[target] += shift
        self._counts[source] -= 1
        self._counts[target] += 1
        self.leaders[queue] = target

    def _best(self, source: int) -> tuple[int, int] | None:
        """(queue, target) of the move that helps ``source`` most; None if none does."""
        best = None
        found = None
        for target in range(len(self._over)):
            if target == source:
                continue
            for queue in self._near(source, target, self._useful(source, target)):
                shift = self._problem.shifts[queue]
                gain = self._gain(((source, -shift), (target, shift)))
                if not self._helps(gain):
                    continue
                moved = self.leaders[queue] != self._problem.leaders[queue]  # costs no further move
                rank = (*(round(part, 6) for part in gain), moved, -self._counts[target], -queue)
                if best is None or rank > best:
                    best, found = rank, (queue, target)
        return found

    def _busy(self) -> list[int]:
        over = self._over
        return sorted((n for n in range(len(over)) if over[n] > self._eps), key=lambda n: -over[n])

    def _greedy(self) -> None:
        for _ in range(2 * len(self.leaders) + 1):
            found = next(filter(None, map(self._best, self._busy())), None)
            if found is None:
                return
            self._shift(*found)

    def _exchange(self) -> bool:
        """Two moves at once, where no single one helps; whether there were any."""
        for source in self._busy():
            best = None
            found = None
            for target in range(len(self._over)):
                if target == source:
                    continue
                for first, second, third in self._pairs(source, target):
                    out, back = self._problem.shifts[first], self._problem.shifts[second]
                    changes = {source: -out, target: out - back}
                    changes[third] = changes.get(third, 0.0) + back
                    gain = self._gain(tuple(changes.items()))
                    if self._helps(gain):
                        rank = (*(round(part, 6) for part in gain), -first, -second)
                        if best is None or rank > best:
                            best, found = rank, ((second, third), (first, target))
            if found is not None:
                for queue, node in found:
                    self._shift(queue, node)
                return True
        return False

    def _pairs(self, source: int, target: int) -> Iterator[tuple[int, int, int]]:
        """(queue that goes from source to target, queue that leaves target, for which node)."""
        queues = self._at[source][target]
        step = max(1, len(queues) // _PAIRS)
        excess, room, middle = self._useful(source, target)
        for shift, first in queues[::step]:
            for third in range(len(self._over)):
                if third == target:
                    continue
                amounts = [shift - room, shift - middle, shift - excess]
                if third != source:
                    amounts.append(-self._over[third])
                for second in self._near(target, third, amounts):
                    yield first, second, third

    def _take_back(self) -> None:
        """Moves that aren't needed."""
        problem = self._problem
        moved = [q for q in range(len(self.leaders)) if self.leaders[q] != problem.leaders[q]]
        for queue in sorted(moved, key=lambda q: problem.shifts[q]):
            shift, now, then = problem.shifts[queue], self.leaders[queue], problem.leaders[queue]
            linear, square, _ = self._gain(((now, -shift), (then, shift)))
            if linear >= -self._eps and square >= -self._eps:
                self._shift(queue, then)

    def _merge(self) -> None:
        """Two moves off one node that a single one can replace."""
        problem = self._problem
        moved = [q for q in range(len(self.leaders)) if self.leaders[q] != problem.leaders[q]]
        if len(moved) > _MERGED:
            return
        for one in moved:
            for other in moved:
                if one < other and problem.leaders[one] == problem.leaders[other]:
                    self._try_one_for_two(one, other)

    def _try_one_for_two(self, one: int, other: int) -> None:
        problem = self._problem
        now = self.leaders[one], self.leaders[other]
        source = problem.leaders[one]
        if source in now:
            return  # was taken back meanwhile
        before = self._excess()
        self._shift(one, source)
        self._shift(other, source)
        found = self._best(source)
        if found is not None:
            queue, target = found
            back = self.leaders[queue]
            self._shift(queue, target)
            if self._excess() <= before + self._eps:
                return
            self._shift(queue, back)
        self._shift(one, now[0])
        self._shift(other, now[1])

    def _excess(self) -> float:
        return sum(max(0.0, over) for over in self._over)
