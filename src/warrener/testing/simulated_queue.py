"""Queues of the simulated cluster."""

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from warrener.facts.ids import NodeName

QueueKind = Literal["quorum", "classic"]


class Owner(Protocol):
    """The channel a consumer belongs to."""

    def has_room(self, consumer: "Consumer") -> bool:
        """Whether prefetch allows one more delivery."""
        ...

    def deliver(self, consumer: "Consumer", entry: "Entry") -> None:
        """Write a delivery."""
        ...


@dataclass(slots=True, order=True)
class Entry:
    """One copy of a message in one queue."""

    position: int
    number: int = field(compare=False)
    body: bytes = field(compare=False)
    redelivered: bool = field(default=False, compare=False)


@dataclass(slots=True, eq=False)
class Consumer:
    """``held`` counts deliveries it hasn't settled; ``prefetch`` 0 is no limit."""

    owner: Owner
    tag: str
    queue: "SimulatedQueue"
    no_ack: bool
    prefetch: int
    held: int = 0


class SimulatedQueue:
    """Ready messages in order, and who consumes them.

    A quorum queue (``node`` is its leader, None while there is none) outlives its nodes; a classic
    queue lives and waits with ``node``.
    """

    def __init__(self, name: str, kind: QueueKind, node: NodeName | None) -> None:
        self.name = name
        self.kind: QueueKind = kind
        self.node = node
        self.up = True  # kept by the cluster: whether it can be used now
        self.hangs = False  # kept by the cluster: its node is stopped, and nobody knows
        self.ready: list[Entry] = []
        self.consumers: list[Consumer] = []
        self.unsettled: dict[int, Entry] = {}  # by delivery
        self._last = 0

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name} on {self.node} up={self.up} ready={len(self.ready)}>"

    @property
    def exists(self) -> bool:
        """Whether it can be routed to: classic queues of a node that is down are forgotten."""
        return self.kind == "quorum" or self.up or self.hangs

    def enqueue(self, number: int, body: bytes) -> None:
        """A new message, behind the others."""
        self._last += 1
        self.ready.append(Entry(self._last, number, body))

    def take(self) -> Entry | None:
        """The first ready message."""
        return self.ready.pop(0) if self.ready else None

    def put_back(self, entry: Entry) -> None:
        """A message that was delivered and not settled: to its old place, marked."""
        entry.redelivered = True
        insort(self.ready, entry)

    def deliverable(self) -> bool:
        """Whether some consumer can have the first message."""
        return (
            self.up
            and bool(self.ready)
            and any(consumer.owner.has_room(consumer) for consumer in self.consumers)
        )

    def deliver_one(self, pick: Callable[[int], int]) -> None:
        """Give the first message to one of the consumers with room."""
        able = [consumer for consumer in self.consumers if consumer.owner.has_room(consumer)]
        entry = self.take()
        if not able or entry is None:
            raise AssertionError("deliverable() is asked first")
        consumer = able[pick(len(able))]
        consumer.owner.deliver(consumer, entry)
