"""A RabbitMQ cluster in memory: bytes of AMQP 0-9-1 on any number of links, and faults on demand.

For tests of what must survive a cluster's life: the scheduler (a test) decides what is read, sent,
delivered and confirmed next, which node dies and when it comes back; nothing happens by itself.
There is no clock and no I/O, and the same calls in the same order give the same bytes.

    cluster = SimulatedCluster([NodeName("n1@localhost"), ...], chance)
    cluster.declare("q", "quorum", node)
    link = cluster.connect(1, node)         # None: the node refuses
    link.input += b"AMQP..."; link.process(8)
    cluster.deliver(queue); cluster.confirm(channel)
    cluster.crash(node); cluster.start(node)

What it keeps of RabbitMQ 3.10: handshake, channels and their closing, confirms, returns, prefetch,
tags and their errors, order and redelivery, quorum queues that need a majority, classic queues that
are away with their node (RABBITMQ-specific words in simulated_channel). What it leaves out:
transactions, exclusive queues, streams, TTL, policies, alarms. It is a model, checked against
RabbitMQ by reading; tests on real brokers stay what decides.
"""

from collections.abc import Callable, Iterable, Sequence

from warrener.amqp.constants import ReplyCode
from warrener.facts.ids import NodeName
from warrener.testing.simulated_channel import Chance, SimulatedChannel
from warrener.testing.simulated_happenings import Happening, QueueLost
from warrener.testing.simulated_link import SimulatedLink
from warrener.testing.simulated_queue import QueueKind, SimulatedQueue

DIRECT = "direct"
"""An exchange that routes to the queue that its key names."""

FANOUT = "fanout"
"""An exchange that routes to every queue."""


class SimulatedCluster:
    """See the module. ``log`` is told what happens at the brokers."""

    def __init__(
        self, names: Iterable[NodeName], chance: Chance, log: Callable[[Happening], None]
    ) -> None:
        self.nodes = tuple(names)
        self.chance = chance
        self.log = log
        self.refuses = False  # publishes are nacked now and then
        self.votes_at_once = True  # else a quorum queue whose leader died waits for ``vote``
        self.up = set(self.nodes)
        self.frozen: set[NodeName] = set()
        self.queues: dict[str, SimulatedQueue] = {}
        self.links: dict[int, SimulatedLink] = {}
        self._number = 0

    # -- links ----------------------------------------------------------------------------------

    def connect(self, number: int, node: NodeName) -> SimulatedLink | None:
        """A new connection; None if nobody listens. A node that hangs takes connections: its
        kernel does."""
        if node not in self.up:
            return None
        link = self.links[number] = SimulatedLink(self, number, node)
        return link

    def is_running(self, node: NodeName) -> bool:
        """Whether a node does anything at present."""
        return node in self.up and node not in self.frozen

    # -- nodes ----------------------------------------------------------------------------------

    def crash(self, node: NodeName) -> None:
        """SIGKILL. What it had written and the network carries stays in the links' outputs."""
        self.up.discard(node)
        self.frozen.discard(node)
        for link in self.links.values():
            if link.node == node:
                link.die("the node was killed")
        self._bury_links()
        for queue in self.queues.values():
            if queue.kind == "classic" and queue.node == node:
                self._lose(queue)
        self._settle_leaders()

    def start(self, node: NodeName) -> None:
        """A node comes back."""
        self.up.add(node)
        self._settle_leaders()

    def freeze(self, node: NodeName) -> None:
        """SIGSTOP."""
        self.frozen.add(node)
        self._settle_leaders()

    def thaw(self, node: NodeName) -> None:
        """SIGCONT."""
        self.frozen.discard(node)
        self._settle_leaders()

    def send_away(self, node: NodeName) -> None:
        """Maintenance mode: every client of the node is closed with 320."""
        for link in self.links.values():
            if link.node == node:
                link.force_close(
                    f"{ReplyCode.CONNECTION_FORCED.name} - Node was put into maintenance mode"
                )

    def elect(self, name: str, leader: NodeName) -> None:
        """Another leader for a quorum queue."""
        queue = self.queues[name]
        if queue.kind == "quorum" and queue.up and self.is_running(leader):
            queue.node = leader
            self._settle_leaders()

    def _lose(self, queue: SimulatedQueue) -> None:
        lost: list[int] = []
        for link in self.links.values():
            for channel in link.channels.values():
                lost += channel.queue_lost(queue)
        self.log(QueueLost(queue.name, tuple(lost)))
        for entry in queue.unsettled.values():
            queue.put_back(entry)
        queue.unsettled.clear()

    def _settle_leaders(self) -> None:
        running = [node for node in self.nodes if self.is_running(node)]
        for queue in self.queues.values():
            if queue.kind == "classic":
                queue.hangs = queue.node in self.frozen
                queue.up = queue.node in running
            elif queue.node not in running or not self._has_majority():
                queue.node = None
                queue.up = False
        if self.votes_at_once:
            self.vote()
        self._go_on()

    def vote(self) -> None:
        """Quorum queues without a leader elect one, if there is a majority."""
        running = [node for node in self.nodes if self.is_running(node)]
        for queue in self.queues.values():
            if queue.kind == "quorum" and queue.node is None and self._has_majority():
                queue.node = running[self.chance.below(len(running))]
                queue.up = True
        self._go_on()

    def _has_majority(self) -> bool:
        return 2 * sum(map(self.is_running, self.nodes)) > len(self.nodes)

    def _go_on(self) -> None:
        for link in list(self.links.values()):
            link.go_on()

    def _bury_links(self) -> None:
        for number, link in list(self.links.items()):
            if link.dead:
                del self.links[number]

    # -- queues ---------------------------------------------------------------------------------

    def declare(self, name: str, kind: QueueKind, node: NodeName) -> SimulatedQueue:
        """A new queue, led by ``node``."""
        queue = self.queues[name] = SimulatedQueue(name, kind, node)
        return queue

    def queue(self, name: str) -> SimulatedQueue | None:
        """A queue by name."""
        return self.queues.get(name)

    def routes(self, exchange: str, key: str) -> Sequence[str] | None:
        """The queues a message goes to; None if there is no such exchange."""
        if exchange in ("", DIRECT):
            return (key,) if key in self.queues else ()
        return tuple(self.queues) if exchange == FANOUT else None

    def next_number(self) -> int:
        """A number nobody else has."""
        self._number += 1
        return self._number

    # -- what brokers do by themselves ----------------------------------------------------------

    def deliverable(self) -> list[SimulatedQueue]:
        """Queues that have something for somebody."""
        return [queue for queue in self.queues.values() if queue.deliverable()]

    def deliver(self, queue: SimulatedQueue) -> None:
        """One delivery from a queue of ``deliverable``."""
        queue.deliver_one(self.chance.below)

    def confirmable(self) -> list[SimulatedChannel]:
        """Channels that owe confirms and can give them."""
        return [
            channel
            for link in self.links.values()
            if link.running and not link.closing
            for channel in link.channels.values()
            if channel.confirmable()
        ]

    def confirm(self, channel: SimulatedChannel) -> None:
        """One confirm on a channel of ``confirmable``."""
        channel.confirm()
