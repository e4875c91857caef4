"""What became of an operation, in sentences: the command line, `warrener top` and the page say the
same. Pure.

Where a sentence ends with what to do next, who shows it says how that is done there (``again``): a
command, a key, a button.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from warrener.control.leaders_operations import LeadersBalanceAnswer
from warrener.control.operation import ProgressLine
from warrener.control.operations import (
    DrainAnswer,
    RebalanceAnswer,
    ReviveAnswer,
    SetPolicyAnswer,
    SetWeightAnswer,
)
from warrener.control.spread import LeadersSpread, SpreadBy
from warrener.facts.ids import short_name
from warrener.facts.leaders import Short

NAMED: Final = 5
"""Names in a sentence; the rest is a number."""

SHORT: Final = {
    Short.HOT_QUEUE: "the queue {queue} alone is more than a node's share, and can't be split",
    Short.FIXED: "what can't be moved (classic queues, streams, followers) is more than its share",
    Short.MEMBERS: "none of its queues has a member online on a node with room",
    Short.LUMPS: "none of its queues is of a size that would help",
    Short.MAX_MOVES: "it would take more moves than --max-moves allows",
}
"""Why a node stays more than a tenth over the mean."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it, in a sentence or two."""

    text: str
    failed: bool = False


def number(count: int, what: str) -> str:
    """``1 session``, ``1,200 sessions``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def some(names: list[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(names) - NAMED + 1} more" if len(names) > NAMED else ""
    return ", ".join(names[: NAMED - 1 if more else NAMED]) + more


def amount(number: float) -> str:
    """A rate or a load: 12,345, 7.3, 0."""
    return f"{number:,.0f}" if number >= 100 or number == 0 else f"{number:.1f}"


def progress(line: ProgressLine) -> str:
    """A step in words."""
    counted = f" ({line.count} of {line.total})" if line.total else ""
    return f"{line.subject} {line.text}{counted}"


def moved(answer: DrainAnswer) -> str:
    """What became of a node's sessions, in words."""
    if answer.why_left:
        if not answer.left:
            return "no session was on it"
        cut = (
            f"RabbitMQ disconnected its {number(answer.left, 'session')}, which connect again "
            f"elsewhere"
        )
        return f"{cut} ({answer.why_left})"
    parts = [f"{number(answer.moved, 'session')} moved in {answer.seconds:.1f} s"]
    if answer.forced:
        parts.append(f"{answer.forced} of them get unsettled deliveries again")
    if answer.left:
        kept = "they stay" if answer.note else "RabbitMQ took them off"
        parts.append(f"{number(answer.left, 'session')} couldn't be moved; {kept}")
    return "; ".join(parts)


def spread_told(spread: LeadersSpread, again: str) -> str:
    """What became of the leaders after a change to the nodes. ``again``: what spreads them."""
    if spread.why and not spread.moved:
        return f"The leaders of queues were left where they are: {spread.why}. {again} spreads them"
    by_number = spread.by is SpreadBy.NUMBER
    quiet = " (by number, as next to nothing went through their queues)" if by_number else ""
    if not spread.planned:
        return f"The leaders of queues are spread evenly{quiet}"
    told = (
        f"{spread.moved} of {spread.planned} leaders of queues moved to spread them{quiet}: the "
        f"busiest node had {spread.skew_before:.2f} times the mean"
    )
    if spread.why:
        return f"{told}. It ended early: {spread.why}. {again} goes on"
    more = f". There are more to move: {again}" if spread.more else ""
    return f"{told}, {spread.skew_expected:.2f} by plan now{more}"


def drained(answer: DrainAnswer) -> Outcome:
    """A node out of service."""
    name = short_name(answer.node)
    if answer.already:
        return Outcome(f"{name} is drained already")
    note = f". {answer.note}" if answer.note else ""
    return Outcome(f"{name} is drained: {moved(answer)}{note}")


def revived(answer: ReviveAnswer, spread: str) -> Outcome:
    """A node back in service; ``spread`` says what became of the leaders."""
    name = short_name(answer.node)
    if answer.not_online:
        lost = f"its replicas of {some(answer.not_online)} are not online"
        return Outcome(f"{name} runs, but {lost}; its log says why", failed=True)
    if answer.already:
        return Outcome(f"{name} is not drained, and fit")
    return Outcome(f"{name} is fit again after {answer.seconds:.1f} s. {spread}")


def rebalanced(answer: RebalanceAnswer) -> Outcome:
    """Open sessions spread again."""
    done = f"{number(answer.moved, 'session')} moved in {answer.seconds:.1f} s"
    failed = f", {answer.failed} couldn't be" if answer.failed else ""
    if answer.stopped:
        return Outcome(f"stopped early: {answer.stopped}. {done}{failed}", failed=True)
    skew = f"the largest share is {answer.skew_after:.2f} times the mean"
    return Outcome(f"{done}{failed}; {skew}")


def leaders_moved(answer: LeadersBalanceAnswer) -> str:
    """How many leaders another node leads now, and what that did to the loads."""
    parts = [f"{answer.moved:,} of {answer.planned:,} leaders moved in {answer.seconds:.1f} s"]
    if answer.skipped:
        parts.append(f"{answer.skipped:,} skipped: they were led by another node by then")
    if answer.failed:
        parts.append(f"{answer.failed:,} didn't move")
    after = "" if answer.skew_after is None else f", measured now {answer.skew_after:.2f}"
    return (
        f"{'; '.join(parts)}. The busiest node carried {answer.skew_before:.2f} times the mean, "
        f"expected {answer.skew_expected:.2f}{after}"
    )


def leaders_balanced(answer: LeadersBalanceAnswer) -> Outcome:
    """Leaders moved as a plan had it."""
    done = leaders_moved(answer)
    if answer.stopped:
        return Outcome(f"stopped early: {answer.stopped}. {done}", failed=True)
    return Outcome(done)


def told(answer: msgspec.Struct, *, again: str, spread: str = "") -> Outcome:
    """Any of these answers. ``again`` is what spreads leaders, ``spread`` what is said of them
    where nothing became of them."""
    match answer:
        case DrainAnswer():
            return drained(answer)
        case ReviveAnswer():
            leaders = spread if answer.leaders is None else spread_told(answer.leaders, again)
            return revived(answer, leaders)
        case RebalanceAnswer():
            return rebalanced(answer)
        case LeadersBalanceAnswer():
            return leaders_balanced(answer)
        case SetPolicyAnswer():
            return Outcome(f"The policy is {answer.policy} (before: {answer.before})")
        case SetWeightAnswer():
            name = short_name(answer.node)
            return Outcome(f"{name} has weight {answer.weight} (before: {answer.before})")
        case _:
            raise AssertionError(f"no act answers with {type(answer).__name__}")
