"""How long a consumer takes for one message, told from outside. Pure.

Where messages pass the balancer, it sees each delivery and ack, so it knows how long consumers have
something to work on, and how much they get done in that time (``balancer.core.worktime``). That one
over the other is it, whatever the load and the prefetch.

Elsewhere there is what RabbitMQ tells: every five seconds how many messages are out. The time from
delivery to ack has the wait in the client's own buffer in it, as much as the prefetch allows. So it
depends on what the queue looks like:

    it holds messages all the time, and its consumers all they may
        They are never idle, so c consumers that ack a rate x take c / x each (utilisation law with
        a utilisation of 1: Denning and Buzen, 1978).
    prefetch 1
        A message that is out is one being worked on: S = L / x (Little, 1961), L unacked on the
        average.
    a larger prefetch and no backlog
        What waits is in the clients' buffers: each consumer is a queue of its own. As an M/M/1 it
        holds rho / (1 - rho) messages (Kleinrock, 1975), so rho = (L / c) / (1 + L / c), and
        S = rho c / x. Clients that take messages more evenly than at random hold fewer, so their S
        comes out too short.

The way to the client and back is in all of them.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ALWAYS: Final = 0.9
"""The part of the time from which a queue counts as never empty. Looks are few: one in ten may be
of the moment after a burst."""

FULL: Final = 0.75
"""The part of what consumers may hold from which they count as busy all the time; acks that are on
their way, and those for many messages at once, take the rest."""


SEEN: Final = 0.3
"""The part of what is acked that the balancer has to have seen to speak for all of it."""


class ServiceFrom(StrEnum):
    """How a service time was told, or why it can't be."""

    WATCHED = "watched"  # time at work over messages
    SATURATED = "saturated"  # c / x
    LITTLE = "little"  # L / x
    BUFFERED = "buffered"  # an M/M/1 in each client
    NO_TRAFFIC = "no_traffic"
    NO_CONSUMERS = "no_consumers"
    UNKNOWN = "unknown"  # what the consumers may hold
    NO_ACKS = "no_acks"  # delivered without: nobody tells when a client is done
    STARVED = "starved"  # messages are there, consumers have room, and don't get them


@dataclass(frozen=True, slots=True)
class ServiceTime:
    """``seconds`` for one message of one consumer, None if ``why`` says that it can't be told."""

    seconds: float | None
    why: ServiceFrom


def service_time(
    *,
    delivered: float,
    acked: float,
    consumers: float,
    prefetch: int,
    unacked: float,
    backlog: float,
    at_work: float = 0.0,
    worked: float = 0.0,
) -> ServiceTime:
    """Rates in 1/s; ``consumers`` and ``unacked``: mean numbers; ``prefetch`` of each consumer, 0:
    no limit, below: not known; ``backlog``: the part of the time in which messages were ready.
    ``at_work``: consumers that the balancer saw busy on the average, ``worked``: messages a second
    that they settled."""
    if delivered <= 0 and acked <= 0:
        return ServiceTime(None, ServiceFrom.NO_TRAFFIC)
    if consumers <= 0:
        return ServiceTime(None, ServiceFrom.NO_CONSUMERS)
    if at_work > 0 and worked >= SEEN * max(acked, delivered):
        return ServiceTime(at_work / worked, ServiceFrom.WATCHED)
    if acked <= 0 or unacked <= 0:
        return ServiceTime(None, ServiceFrom.NO_ACKS)
    if prefetch < 0:
        return ServiceTime(None, ServiceFrom.UNKNOWN)
    if backlog >= ALWAYS and prefetch > 0:
        if unacked >= FULL * consumers * prefetch:
            return ServiceTime(consumers / acked, ServiceFrom.SATURATED)
        return ServiceTime(None, ServiceFrom.STARVED)
    if prefetch == 1:
        return ServiceTime(unacked / acked, ServiceFrom.LITTLE)
    each = unacked / consumers
    rho = each / (1 + each)
    return ServiceTime(rho * consumers / acked, ServiceFrom.BUFFERED)


WORDS: Final = {
    ServiceFrom.WATCHED: "seen from delivery to ack at the balancer",
    ServiceFrom.SATURATED: "its consumers are busy all the time",
    ServiceFrom.LITTLE: "by the messages that are out on the average",
    ServiceFrom.BUFFERED: "by what waits in the clients' buffers, each taken as an M/M/1",
    ServiceFrom.NO_TRAFFIC: "nothing was delivered",
    ServiceFrom.NO_CONSUMERS: "it has no consumers",
    ServiceFrom.UNKNOWN: "its consumers' prefetch isn't known yet",
    ServiceFrom.NO_ACKS: "nothing was acked, or nothing was seen unacked",
    ServiceFrom.STARVED: "messages are ready and its consumers have room for more, so something "
    "else holds them up",
}
"""For people."""
