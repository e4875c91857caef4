"""When certificates are renewed, and what is done in which order. Pure.

A CA is replaced in two phases, with time for clients to learn of the new one in between:

    STEADY --begin: a new authority is made, both are trusted--> BOTH_TRUSTED
    BOTH_TRUSTED --finish: new certificates by the new one, then the old one is dropped--> STEADY

Each step can be repeated: after a kill -9 between any two the same command goes on from there.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from warrener.cluster.tls.certificates import Described

WARN_BEFORE: Final = timedelta(days=30)


class Phase(StrEnum):
    """What is trusted."""

    STEADY = "steady"
    BOTH_TRUSTED = "both_trusted"  # the old and the new authority


class Act(StrEnum):
    """One step of a rotation."""

    MAKE_NEXT = "make_next"  # a new authority, which nobody trusts yet
    TRUST_BOTH = "trust_both"
    ISSUE = "issue"  # new certificates, by the authority that clients know
    ISSUE_BY_NEXT = "issue_by_next"  # by the new one
    TAKE_OWN = "take_own"  # the user's files are read again
    RELOAD = "reload"  # the balancer and the nodes use what is in the files
    DROP_OLD = "drop_old"  # only the new authority is trusted


def steps(phase: Phase, *, authority: bool, own: bool) -> tuple[Act, ...]:
    """What a rotation does: of all certificates, or (``authority``) one phase of the CA's. ``own``:
    the user brings a certificate."""
    if not authority:
        return (*([Act.TAKE_OWN] if own else []), Act.ISSUE, Act.RELOAD)
    if phase is Phase.STEADY:
        return (Act.MAKE_NEXT, Act.TRUST_BOTH, Act.RELOAD)
    # Trust first, again: should the first phase have ended halfway, nobody may meet a certificate
    # of an authority that he doesn't know yet.
    return (
        Act.TRUST_BOTH,
        Act.RELOAD,
        Act.ISSUE_BY_NEXT,
        Act.RELOAD,
        Act.DROP_OLD,
        Act.RELOAD,
    )


def is_due(described: Described, now: datetime) -> bool:
    """Whether less than a third of a certificate's life is left."""
    return described.ends - now < (described.ends - described.begins) / 3


def warning(described: Described, now: datetime) -> str:
    """What to say of a certificate that expires within 30 days; empty if it doesn't."""
    left = described.ends - now
    if left <= timedelta(0):
        return f"has expired on {described.ends:%Y-%m-%d %H:%M} UTC"
    if left < WARN_BEFORE:
        days = left.days
        return f"expires in {days} day{'s' * (days != 1)}, on {described.ends:%Y-%m-%d %H:%M} UTC"
    return ""
