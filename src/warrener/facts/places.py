"""Where queues are and where exchanges lead, as far as the balancer needs to know."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from warrener.facts.ids import NodeName

AWAY: Final = frozenset({"down", "stopped", "crashed", "minority"})
"""A queue's states, as RabbitMQ tells them, in which nothing works. 3.10 has the first three; the
last is newer."""


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """One queue. ``leader`` is the node that runs its process, None while there is none.

    ``usable`` is False while the queue can't be used at all: a classic queue whose node is down, a
    quorum queue without a majority. A look-up that finds nothing while a node is down, which may
    have the queue, says so with an empty ``type``.
    """

    leader: NodeName | None
    type: str  # classic, quorum or stream
    usable: bool = True
    auto_delete: bool = False
    exclusive: bool = False


@dataclass(frozen=True, slots=True)
class Binding:
    """From an exchange to ``destination``, a queue or (``to_exchange``) another exchange."""

    destination: str
    to_exchange: bool
    routing_key: str


@dataclass(frozen=True, slots=True)
class ExchangeRoutes:
    """An exchange: its type (direct, fanout, topic, headers ...) and what is bound to it.

    ``plain`` is False if the routing depends on more than the key (an alternate exchange).
    """

    type: str
    bindings: tuple[Binding, ...]
    plain: bool = True


class LookupKind(StrEnum):
    """What is looked up."""

    QUEUE = "queue"
    EXCHANGE = "exchange"


class Lookup(NamedTuple):
    """A question to the cluster; the answer is a QueuePlace, an ExchangeRoutes, or None for "no
    such thing, or nobody who could be asked"."""

    kind: LookupKind
    vhost: str
    name: str


Found = QueuePlace | ExchangeRoutes | None
