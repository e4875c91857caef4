"""A station that is stopped now and then, all of its servers at once: a broker whose disk doesn't
sync, or that elects a leader. Nothing that has come gets to a server then, and no server gets its
next one; each finishes what it has.

Who comes during a stall waits for its end, and behind those that came during it as well, as long as
it takes to work them off. By the decomposition of a queue with interruptions that don't depend on
it (Fuhrmann and Cooper, Operations Research 33 (1985); for breakdowns Gaver, J. Royal Statistical
Society B 24 (1962)), with a mean wait for the end of a stall of e, over all arrivals:

    R = R of a station that has the rest of the time, + e + e rho / (1 - rho)

Exact for one server that stops at once and arrivals at random. Here a server stops when it is done
with what it has, so that of a stall as long as D it loses D - x (1 - exp(-D / x)), x the mean time
that it still has work (exponential). Within 8 % of a simulation with 4 servers up to rho = 0.88,
stalls of 10 to 600 ms where a service takes 20 (``tests/unit/models/test_interruptions.py``).
"""

import math
from dataclasses import dataclass

from warrener.models.terms import WrongInput, check_positive


@dataclass(frozen=True, slots=True)
class Stalls:
    """As arrivals meet them. ``wait``: mean s until the end of a stall, 0 for those that come
    outside of one; ``share``: the part of all that come in one."""

    wait: float
    share: float

    @classmethod
    def met(cls, messages: float, stalled: float, seconds: float) -> "Stalls":
        """By what was counted: ``stalled`` of so many ``messages`` (more than 0) came in a stall,
        and waited ``seconds`` together until its end."""
        return cls(wait=seconds / messages, share=min(1.0, stalled / messages))

    @property
    def length(self) -> float:
        """Mean s of a stall, each counted as often as it is long: they are met in their middle."""
        return 2.0 * self.wait / self.share if self.share > 0 else 0.0


def lost(stalls: Stalls, in_hand: float) -> float:
    """The part of a stall in which servers stand still that have work for another ``in_hand`` s on
    the average when it begins. WrongInput for times below 0."""
    check_positive("what servers have in hand", in_hand, zero=True)
    _check(stalls)
    if stalls.length <= 0:
        return 0.0
    if in_hand <= 0:
        return 1.0
    ratio = stalls.length / in_hand
    return 1.0 + math.expm1(-ratio) / ratio


def available(stalls: Stalls, in_hand: float) -> float:
    """The part of all time in which servers get work."""
    return 1.0 - stalls.share * lost(stalls, in_hand)


def delay(stalls: Stalls, in_hand: float, utilisation: float) -> float:
    """Mean s that stalls add to R, beside what ``available`` does to the service time;
    ``utilisation`` is that with it. Infinite from 1 on."""
    check_positive("the utilisation", utilisation, zero=True)
    part = lost(stalls, in_hand)
    if stalls.wait <= 0:
        return 0.0
    if utilisation >= 1:
        return math.inf
    return stalls.wait * (1.0 + part**2 * utilisation / (1.0 - utilisation))


def _check(stalls: Stalls) -> None:
    check_positive("the wait for the end of a stall", stalls.wait, zero=True)
    if not 0.0 <= stalls.share <= 1.0:
        raise WrongInput(f"the part that comes in a stall is {stalls.share}; it has to be 0 to 1")
