"""Which measurement comes when. Pure: the same seed gives the same run.

Rounds are outermost, so that each path is measured early and late in the run; within a round and a
workload the order of the paths is shuffled, and all of them get their clients in the same order of
connecting, because behind a balancer that order decides who lands where. The two paths that tell
what observation costs take turns in coming first: it is a few hundredths, and chance might give one
of them the better place in most rounds.

Memory of idle sessions comes first, while the balancers are fresh.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from warrener.bench.workloads import OBSERVATION, Kind, Route, Workload


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement. ``round`` counts from 1; ``connect_order`` is as in ``LoadSpec``."""

    round: int
    workload: Workload
    path: Route
    connect_order: tuple[int, ...]


def schedule(
    workloads: Sequence[Workload], paths: Sequence[Route] | None, rounds: int, seed: int
) -> tuple[Step, ...]:
    """All steps in order. ``paths`` None: each workload's own; combinations that say nothing
    (memory of a balancer on a straight connection) are left out."""
    idle = [w for w in workloads if w.kind is Kind.IDLE]
    others = [w for w in workloads if w.kind is not Kind.IDLE]
    return tuple(
        step
        for group in (idle, others)
        for round_ in range(1, rounds + 1)
        for workload in group
        for step in _steps(workload, paths, round_, seed)
    )


def _steps(workload: Workload, paths: Sequence[Route] | None, round_: int, seed: int) -> list[Step]:
    chance = random.Random(f"{seed} {workload.name} {round_}")  # noqa: S311  # an order, no secret
    chosen = [p for p in (workload.paths if paths is None else paths) if workload.goes(p)]
    clients = list(range(2 * workload.queues))
    chance.shuffle(chosen)
    chance.shuffle(clients)
    places = [at for at, path in enumerate(chosen) if path in OBSERVATION]
    if len(places) == len(OBSERVATION):
        turn = OBSERVATION if round_ % 2 else reversed(OBSERVATION)
        for at, path in zip(places, turn, strict=True):
            chosen[at] = path
    return [Step(round_, workload, path, tuple(clients)) for path in chosen]
