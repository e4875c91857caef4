"""What passes from a consumer's ack until it has its next message, told from its pauses. Pure.

With a prefetch of 1 that time keeps a consumer from working as its service does. The balancer sees
every pause from an ack to the next delivery, but not whether a message was waiting meanwhile: where
none was, the pause has the wait for the next publish in it as well. The pauses that don't are the
shortest, and how many they are follows from the queue itself: of the messages that are done, as
many leave others waiting behind as arriving ones find all consumers busy (up and down, a queue
passes each length equally often), which for arrivals and services at random is Erlang's C. So

    turnaround = mean of the shortest C(rate * (service + turnaround), consumers) of the pauses

which is solved by putting in what came out, from 0 on. Services may be as regular or irregular as
they like, that hardly changes who finds all busy; of regular arrivals far fewer do, so of those it
isn't told. The longest of the pauses that count and the
shortest of those that don't lie in among each other, so it comes out too short, the more so the
longer its own longest are. Of a queue that is known not to have been empty all pauses count, and
the utilisation law holds: c / rate = service + turnaround.
"""

from collections.abc import Sequence
from typing import Final

from warrener.models.queueing import erlang_c

ENOUGH: Final = 20
"""Pauses that have to count for a mean of them."""

REGULAR: Final = 0.7
"""The arrivals' squared coefficient of variation below which they are."""

OFTEN: Final = 0.3
"""The part of the pauses from which they tell it. Where fewer do, the shortest of those in which
nothing was there are many among them, and it makes little difference to anything."""

_ROUNDS: Final = 60


def turnaround(
    pauses: Sequence[float],
    *,
    rate: float,
    service_time: float,
    consumers: int,
    empty: bool = True,
    arrival_scv: float = 1.0,
) -> float | None:
    """Seconds; None if the pauses don't tell. ``rate``: messages a second that all ``consumers``
    settle, ``service_time``: s that one of them takes for one, ``empty``: whether the queue may
    have been empty meanwhile, ``arrival_scv``: of what comes to it, all publishers together."""
    if consumers < 1 or rate <= 0.0 or len(pauses) < ENOUGH:
        return None
    if not empty:
        return sum(pauses) / len(pauses)
    if arrival_scv < REGULAR:
        return None
    sums = [0.0]
    for pause in sorted(pauses):
        sums.append(sums[-1] + pause)
    found, count = 0.0, 0
    for _ in range(_ROUNDS):
        before = count
        offered = rate * (service_time + found)
        share = erlang_c(offered, consumers) if offered < consumers else 1.0
        count = round(share * len(pauses))
        if count == before:
            break
        found = sums[count] / count if count else 0.0
    return found if count >= max(ENOUGH, OFTEN * len(pauses)) else None
