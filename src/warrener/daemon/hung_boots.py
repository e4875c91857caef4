"""When a node hangs in its boot, and what is to be done about it. Pure.

A boot may take its time: it waits for tables of nodes that aren't there yet, copies them, recovers
queues. One wait never ends by itself (RabbitMQ 3.10.8 on Erlang 25 after a partition, docs/
partitions.md): for Erlang's name service, although all others are there and connected. A healthy
node does that in milliseconds; RabbitMQ's own remedy, where it works, comes after 20 s. So a node
that waits for just this at every look, for a minute by default, is restarted, ``TRIES`` times at
most with twice the patience each time, and then left to people.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from warrener.facts.booting import BootLook, BootState, BootWait
from warrener.facts.ids import NodeName

TRIES: Final = 3
"""A restart mended it in every run; where three don't, something else is wrong."""

FORGOTTEN_AFTER: Final = 3600.0
"""Seconds after which a restart doesn't count any more."""


class Verdict(StrEnum):
    """What is to be done about a node."""

    NOTHING = "nothing"
    RESTART = "restart"
    GIVE_UP = "give_up"  # told once


@dataclass(frozen=True, slots=True)
class Case:
    """What is remembered of a node; times by a monotonic clock. ``since``: it hung at every look
    from then on. ``left_down``: a restart has failed, which leaves the node stopped."""

    since: float | None = None
    restarts: tuple[float, ...] = ()
    left_down: bool = False
    given_up: bool = False


def hangs(
    look: BootLook, node: NodeName, serving: Collection[NodeName], members: Collection[NodeName]
) -> bool:
    """Whether nothing justifies the wait: it is for names alone, and all nodes that serve, a
    majority of the cluster with this one, are connected with it. Where fewer are there, the network
    isn't whole yet and waiting is right."""
    others = set(serving) - {node}
    return (
        look.state is BootState.BOOTING
        and look.waits is BootWait.NAMES
        and bool(others)
        and 2 * (len(others) + 1) > len(members)
        and others <= look.connected
    )


def pause(case: Case, patience: float) -> float:
    """Seconds for which the node has to hang before something is done: ``patience`` before the
    first restart, twice as long before each further one."""
    return patience * float(2 ** len(case.restarts))


def judge(case: Case, *, hung: bool, now: float, patience: float) -> tuple[Case, Verdict]:
    """The case after one more look, and what is to be done. ``hung``: it hangs, or it is still down
    after a restart that failed."""
    case = replace(case, restarts=tuple(at for at in case.restarts if now - at < FORGOTTEN_AFTER))
    if not hung:
        return replace(case, since=None, left_down=False, given_up=False), Verdict.NOTHING
    since = now if case.since is None else case.since
    case = replace(case, since=since)
    if case.given_up or now - since < pause(case, patience):
        return case, Verdict.NOTHING
    if len(case.restarts) >= TRIES:
        return replace(case, given_up=True), Verdict.GIVE_UP
    return replace(case, since=None, restarts=(*case.restarts, now)), Verdict.RESTART
