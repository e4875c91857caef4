"""Asks a cluster where one queue is, or where one exchange leads.

Any node can answer, and who is asked first is asked as ``observe`` does it: the one that answered
last, then the others, a little apart. A question costs RabbitMQ 1 to 5 ms; statistics, which would
double that and hang while a node hangs, are never asked for.
"""

import asyncio
from typing import Final

from warrener.cluster.observe import Clients, first_answer, queue_view
from warrener.facts.ids import NodeName
from warrener.facts.places import (
    AWAY,
    Binding,
    ExchangeRoutes,
    Found,
    Lookup,
    LookupKind,
    QueuePlace,
)
from warrener.management import answers
from warrener.management.client import ManagementClient, NotFound, TooLong

STAGGER: Final = 0.3
"""Seconds until the next node is asked too: many times what an answer takes, and a part of the one
second a channel waits for it."""

RUNNING_PATIENCE: Final = 0.5
"""Seconds to find out whether all nodes run. If that isn't known by then, one hangs."""

MAX_BINDINGS: Final = 2_000
"""Of one exchange. Reading them and making a trie of them takes the balancer 5 to 20 ms, in which
it does nothing else; an exchange with more is taken as one whose routing isn't known."""

MAX_BINDINGS_ANSWER: Final = 200 * MAX_BINDINGS
"""Bytes: bindings with names and keys longer than usual. Names may have 255 bytes each."""

NOT_FOUND_OR_DOWN: Final = QueuePlace(None, "", usable=False)
"""RabbitMQ says "not found" of a classic queue too whose node is down. Whether a queue that was
there is gone, the next snapshot tells, which has queues that are down."""


async def look_up(
    clients: Clients,
    lookup: Lookup,
    *,
    first: NodeName | None = None,
    stagger: float = STAGGER,
) -> tuple[NodeName, Found]:
    """Who answered, and what. ``ManagementError`` if nobody did."""
    ask = _queue if lookup.kind is LookupKind.QUEUE else _exchange
    return await first_answer(
        clients,
        lambda _, client: ask(client, lookup.vhost, lookup.name),
        first=first,
        stagger=stagger,
        what="look up",
    )


async def _queue(client: ManagementClient, vhost: str, name: str) -> Found:
    try:
        return queue_place(await client.queue(vhost, name))
    except NotFound:
        return None if await _all_run(client) else NOT_FOUND_OR_DOWN


async def _all_run(client: ManagementClient) -> bool:
    try:
        async with asyncio.timeout(RUNNING_PATIENCE):
            return all((await client.running()).values())
    except TimeoutError:
        return False


async def _exchange(client: ManagementClient, vhost: str, name: str) -> Found:
    try:
        exchange = await client.exchange(vhost, name)
        bindings = await client.bindings_from(vhost, name, limit=MAX_BINDINGS_ANSWER)
    except NotFound:
        return None
    except TooLong:
        return ExchangeRoutes("", (), plain=False)
    if len(bindings) > MAX_BINDINGS:
        return ExchangeRoutes("", (), plain=False)
    return exchange_routes(exchange, bindings)


def queue_place(queue: answers.Queue) -> QueuePlace:
    """Where a queue is by what one node says without statistics: ``online`` is told of quorum
    queues only; whether the leader's node runs, the directory knows."""
    view = queue_view(queue)
    usable = view.leader is not None
    if view.online and view.members:
        usable = 2 * len(view.online) > len(view.members)
    usable = usable and view.state not in AWAY
    return QueuePlace(view.leader, view.type, usable, view.auto_delete, view.exclusive)


def exchange_routes(exchange: answers.Exchange, bindings: list[answers.Binding]) -> ExchangeRoutes:
    """An exchange's routes, sorted, so that equal ones compare equal.

    A policy may give an exchange an alternate exchange without a word about it in the answer.
    """
    arguments = exchange.arguments if isinstance(exchange.arguments, dict) else {}
    unique = {
        (binding.destination, binding.destination_type == "exchange", binding.routing_key)
        for binding in bindings
    }
    return ExchangeRoutes(
        type=exchange.type,
        bindings=tuple(Binding(*one) for one in sorted(unique)),
        plain="alternate-exchange" not in arguments and not exchange.policy,
    )
