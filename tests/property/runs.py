"""Runs: what a seed stands for, and what is done with one that fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.property.dice import Dice, smallest
from tests.property.network import Plan
from tests.property.oracle import Oracle
from tests.property.records import Broken, Tally
from tests.property.transcript import Passed, Word, describe
from tests.property.world import World

from warrener.balancer.core import channel, switchboard
from warrener.testing.simulated_client import Habits

CALM = ("drain", "drain", "revive", "revive", "rehome", "elect", "elect")
STORM = ("crash", "crash", "start", "start", "start", "freeze", "thaw", "thaw", "cut", "cut")
STORM += ("maintenance", *CALM)


@dataclass(frozen=True, slots=True)
class Kind:
    """A family of runs. ``survives``: sessions and channels must live, whatever happens."""

    name: str
    survives: bool
    calm: bool
    classic: bool = False
    plain: bool = False
    no_ack: bool = False
    refuses: bool = False
    clumsy: bool = False
    large: bool = False  # messages that are too large to be held

    def check(self, tally: Tally) -> None:
        """Whether these runs showed what they are for."""
        assert tally.confirmed, "nothing was confirmed"
        assert tally.delivered, "nothing was delivered"
        assert tally.settled, "nothing was settled"
        assert tally.moved, "no channel was moved"
        if self.calm:
            assert not tally.replayed
            assert not tally.swallowed
            assert not tally.duplicates
        else:
            assert tally.replayed
            assert tally.swallowed
            assert tally.duplicates


KINDS = (
    Kind("calm", survives=True, calm=True),
    Kind("calm, all sorts", survives=False, calm=True, classic=True, plain=True, no_ack=True),
    Kind("storm", survives=True, calm=False, refuses=True),
    Kind(
        "storm, all sorts",
        survives=False,
        calm=False,
        classic=True,
        plain=True,
        no_ack=True,
        refuses=True,
    ),
    Kind("storm, clumsy clients", survives=False, calm=False, clumsy=True),
)


def plan_of(kind: Kind, seed: int) -> Plan:
    """The plan of a run."""
    dice = Dice(seed)
    dice.below(2)
    quorum = ("q1", "q2", "q3")[: 1 + dice.below(3)]
    classic = ("c1", "c2")[: 1 + dice.below(2)] if kind.classic else ()
    habits = Habits(
        channels=1 + dice.below(3),
        queues=quorum + classic,
        exchanges=("", "", "", "direct", "fanout") if dice.one_in(3) else ("",),
        publishes=not dice.one_in(6),
        plain=kind.plain,
        consumes=not dice.one_in(6),
        no_ack=kind.no_ack,
        gets=dice.one_in(2),
        requeues=not kind.calm and dice.one_in(3),
        mandatory=dice.one_in(2),
        closes=dice.one_in(2),
        pipelines=dice.one_in(3),
        interleaves=dice.one_in(3),
        clumsy=kind.clumsy,
    )
    return Plan(
        habits,
        quorum=quorum,
        classic=classic,
        troubles=CALM if kind.calm else STORM,
        refuses=kind.refuses,
        locality=not dice.one_in(4),
        early=dice.one_in(8),
        informed=not dice.one_in(5),
        mixed=dice.one_in(3),
        hold=100 if kind.large and dice.one_in(2) else 1 << 20,
    )


def steps_of(seed: int) -> list[int]:
    """The steps of a run, each a seed of its own."""
    dice = Dice(seed ^ 0x5EED)
    return [seed * 1_000_003 + at for at in range(30 + dice.below(170))]


def run(kind: Kind, seed: int, steps: list[int]) -> tuple[World, Tally]:
    """One run and its judgement. Raises what is wrong."""
    plan = plan_of(kind, seed)
    with holding(plan.hold):
        return _run(kind, plan, seed, steps)


@contextmanager
def holding(size: int) -> Iterator[None]:
    """Messages over ``size`` bytes aren't held: a limit that is no setting, and too large here."""
    before = channel.HOLD_MESSAGE
    channel.HOLD_MESSAGE = switchboard.HOLD_MESSAGE = size  # type: ignore[misc]
    try:
        yield
    finally:
        channel.HOLD_MESSAGE = switchboard.HOLD_MESSAGE = before  # type: ignore[misc]


def _run(kind: Kind, plan: Plan, seed: int, steps: list[int]) -> tuple[World, Tally]:
    world = World(plan, Dice(seed))
    try:
        if not plan.early:
            world.shake_hands()
        for step in steps:
            world.step(step)
        left = world.finish()
        oracle = Oracle(
            world.transcript,
            calm=kind.calm,
            survives=kind.survives and not plan.early,
            clumsy=kind.clumsy,
        )
        tally = oracle.judge()
        if left:
            raise Broken(f"not done in the end: {left}")
        if world.halfway() and world.ended_well:
            raise Broken(f"the client is left with {world.halfway()}")
    except Exception as problem:
        problem.world = world  # type: ignore[attr-defined]  # for the transcript
        raise
    return world, tally


def many(kind: Kind, first: int, number: int) -> Tally:
    """Runs ``first`` to ``first + number - 1``; the first failure is made small and told."""
    tally = Tally()
    for seed in range(first, first + number):
        steps = steps_of(seed)
        try:
            _, one = run(kind, seed, steps)
        except Exception as problem:
            raise AssertionError(explain(kind, seed, steps, problem)) from None
        tally.add(one)
    return tally


def explain(kind: Kind, seed: int, steps: list[int], problem: Exception) -> str:
    """A failure, as small as can be had in a while, with its transcript."""
    wanted = (type(problem), _gist(problem))

    def fails(shorter: list[int]) -> bool:
        try:
            run(kind, seed, shorter)
        except Exception as other:
            return (type(other), _gist(other)) == wanted
        return False

    small = smallest(steps, fails)
    try:
        run(kind, seed, small)
    except Exception as other:
        problem = other
    world = getattr(problem, "world", None)
    lines = []
    at = getattr(problem, "at", -1)
    if world is not None:
        for number, entry in enumerate(world.transcript):
            if isinstance(entry, Word) and not entry.channel and "Close" not in str(entry.method):
                continue  # the handshake
            if isinstance(entry, Passed) and lines and "Passed" in lines[-1]:
                lines.pop()
            mark = ">>" if number == at else "  "
            lines.append(f"{mark} {describe(entry)}")
    first = steps[0] if steps else 0
    chosen = [step - first for step in small]
    return (
        f"{kind.name}, seed {seed}, steps {chosen}: {type(problem).__name__}: {problem}\n"
        + "\n".join(lines)
    )


def _gist(problem: Exception) -> str:
    """A failure's text without its numbers."""
    return "".join(char for char in str(problem)[:60] if not char.isdigit())
