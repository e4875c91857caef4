"""Advice on the balancer: its policy, tried in simulation, and weights that fit. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from warrener.facts.ids import NodeName, short_name
from warrener.models.terms import WrongInput
from warrener.planner.advice import About, Advice
from warrener.planner.capacity import rooms
from warrener.planner.costs import Calibration
from warrener.planner.load import Load
from warrener.planner.policies import REAL, WEIGHTED, PolicyAdvice, choose
from warrener.planner.sessions import Sessions
from warrener.planner.weights import commands, fitting


@dataclass(frozen=True, slots=True)
class FittingWeight:
    """A node's weight as it is (0: it has none) and as it fits, with the evidence in words."""

    node: NodeName
    now: int
    fits: int
    why: str


@dataclass(frozen=True, slots=True)
class Balancing:
    """``policies`` None: they weren't tried, for the reason ``untried``. ``follows``: weights are
    automatic."""

    pieces: tuple[Advice, ...]
    weights: tuple[FittingWeight, ...]
    policies: PolicyAdvice | None
    untried: str = ""
    follows: bool = False
    warnings: tuple[str, ...] = ()


def balancing(
    load: Load,
    calibration: Calibration,
    sessions: Sessions,
    *,
    seed: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Balancing:
    """What the balancer's policy and weights should be. WrongInput if the load makes no sense."""
    found = rooms(load, calibration)
    weights = [
        FittingWeight(room.node, sessions.weights.get(room.node, 0), fits, room.told)
        for room, fits in zip(found.nodes, fitting(found).values(), strict=True)
    ]
    tried, untried = None, ""
    try:
        tried = choose(load, calibration, sessions, seed=seed, progress=progress)
    except WrongInput as error:
        untried = str(error)
    return Balancing(
        pieces=(*_policy(tried), *_weights(tried, sessions, weights)),
        weights=tuple(weights),
        policies=tried,
        untried=untried,
        follows=sessions.follows_capacity,
        warnings=(*sessions.warnings, *found.guessed),
    )


def _policy(tried: PolicyAdvice | None) -> Iterator[Advice]:
    if tried is None or tried.keep or tried.best.policy is tried.now.policy:
        return
    now, best = tried.now, tried.best
    weights = (
        " with weights that fit" if best.policy in WEIGHTED and len(tried.commands) > 1 else ""
    )
    full = (
        f"; in {now.full:.0%} of the trials a node has more to do than it can, then in "
        f"{best.full:.0%}"
        if now.full > best.full
        else ""
    )
    later = (
        f"; a node is full at {best.full_at:.2f} times today's load instead of {now.full_at:.2f}"
        if best.full_at > (1 + REAL) * now.full_at
        else ""
    )
    less = f", {tried.gain:.0%} less" if tried.gain > 0 else ""
    yield Advice(
        About.POLICY,
        "balancer",
        f"with {now.policy} a message takes {now.response_time.value * 1e3:.3g} ms on the average "
        f"and the busiest node does {now.skew.value:.2f} times the mean, in {tried.trials} trials",
        f"the policy {best.policy}{weights}",
        f"{best.response_time.value * 1e3:.3g} ms{less}, and {best.skew.value:.2f} times the "
        f"mean{full or later}",
        command=" && ".join(tried.commands),
        urgent=now.full > best.full,
    )


def _weights(
    tried: PolicyAdvice | None, sessions: Sessions, weights: Sequence[FittingWeight]
) -> Iterator[Advice]:
    """Where the policy stays and goes by weights that don't fit."""
    if sessions.follows_capacity or sessions.policy not in WEIGHTED:
        return
    now: Mapping[NodeName, int] = {one.node: one.now for one in weights}
    todo = commands(now, {one.node: one.fits for one in weights})
    stays = tried is None or tried.keep or tried.best.policy is sessions.policy
    if not todo or not stays:
        return
    brings = "all nodes run full at the same load"
    if tried is not None:
        then = next(line for line in tried.lines if line.policy is sessions.policy)
        gain = 1.0 - then.response_time.value / tried.now.response_time.value
        real = f", {gain:.0%} less" if gain > REAL else ", no real difference at today's load"
        brings += f"; a message takes {then.response_time.value * 1e3:.3g} ms{real}"
    off = "; ".join(f"{short_name(one.node)} has {one.why}" for one in weights if one.now)
    yield Advice(
        About.WEIGHTS,
        "balancer",
        f"weights don't fit what nodes have: {off}",
        ", ".join(f"{short_name(one.node)} {one.fits}" for one in weights if one.now),
        brings,
        command=" && ".join(todo),
    )
