"""One session between a simulated client and a simulated cluster, in a world that chance rules.

Nothing moves by itself. Each step of a run lets the client act, or some bytes pass somewhere (whole
writes or a part of them), or a broker deliver or confirm, or time pass, or something break.
"""

from tests.property.network import NODES, Network
from tests.property.transcript import Passed, Trouble

from warrener.balancer.core import commands as c
from warrener.balancer.core.session import Session
from warrener.facts.ids import NodeName
from warrener.facts.reasons import MoveReason, SessionEnd, Unfit

STALE = 1.0
"""Seconds that bytes may lie in a calm network."""

OUTAGE = 20.0
"""Seconds without a link that may pass in a storm; ``outage_timeout`` is 30."""


class World(Network):
    """See the module. ``transcript`` is what an oracle judges."""

    # -- a run ----------------------------------------------------------------------------------

    def shake_hands(self) -> None:
        """The handshake, without trouble."""
        for _ in range(40):
            if self.client.open:
                return
            self.flush()
            self.pass_time(0.1)

    def step(self, seed: int) -> None:
        """One step of a run."""
        dice = self.dice
        dice.seed(seed)
        if self.over is not None:
            return
        what = dice.below(100)
        if what < 32:
            self.client.act()
        elif what < 70:
            for _ in range(1 + dice.below(6)):
                self.pass_bytes()
        elif what < 88:
            for _ in range(1 + dice.below(4)):
                self.brokers_work()
        elif what < 95:
            self.some_time()
        elif self.plan.troubles and (self.client.open or self.plan.early):
            self.trouble(dice.choose(self.plan.troubles))

    def finish(self) -> str:
        """All is well again: everybody does what is left to do. What isn't done, in words."""
        self.dice.seed(len(self.transcript))
        self.repair()
        waits = ""
        for _ in range(400):
            waits = self.calm_down()
            if self.over is not None:
                return ""
            if not waits:
                break
            self.pass_time(0.5)
        return waits or self._evacuate() or self._leave()

    def calm_down(self) -> str:
        """Everything under way arrives, and everybody answers it. What still waits, in words."""
        self.flush()
        while self.cluster.deliverable() or self.cluster.confirmable():
            self.brokers_work()
        self.flush()
        self.client.settle()
        self.flush()
        return self._waits()

    def _evacuate(self) -> str:
        """A node is drained in calm: its channels must be elsewhere well before anything would be
        forced. What isn't done, in words."""
        if not self.dice.one_in(3):
            return ""
        for _ in range(22):  # a move that came to nothing just now isn't tried again at once
            self.calm_down()
            self.pass_time(0.5)
        node = self.dice.choose(NODES)
        self._note("drain", node)
        self.obey(leave(self.session, node, self.now))
        left = ""
        for _ in range(16):
            waits = self.calm_down()
            left = self._still_at(node)
            if self.over is not None or not (left or waits):
                break
            self.pass_time(0.5)
        self._revive(node)
        return left

    def _still_at(self, node: NodeName) -> str:
        numbers = [
            number
            for wire in self.wires.values()
            if wire.node == node and wire.end is not None and not wire.gone
            for number in wire.end.channels
        ]
        return f"channels {numbers} stay at {node}, which is drained" if numbers else ""

    def _leave(self) -> str:
        if self.plan.leaves and self.over is None:
            self.client.close()
            for _ in range(40):
                self.flush()
                if self.over is not None:
                    return ""
                self.pass_time(0.5)
            return "the session did not end after connection.close"
        return ""

    def _waits(self) -> str:
        if self.client.waits_for():
            return "; ".join(self.client.waits_for())
        ready = [str(queue) for queue in self.cluster.deliverable()]
        return "; ".join(ready) or self._unattended()

    def _unattended(self) -> str:
        """Consumers that the client believes in and no broker has."""
        there = sorted(
            (number, consumer.tag[:-1])
            for wire in self.wires.values()
            if wire.end is not None and not wire.end.dead and not wire.gone
            for number, channel in wire.end.channels.items()
            for consumer in channel.consumers()
        )
        # Started again on a channel, a consumer has another tag there: see ``called_alike``.
        wanted = sorted((number, tag[:-1]) for number, tag in self.client.consumers())
        return "" if there == wanted else f"consumers {wanted} wanted, {there} there"

    # -- brokers --------------------------------------------------------------------------------

    def brokers_work(self) -> None:
        """A delivery or a confirm, if there is one to be had."""
        queues = self.cluster.deliverable()
        channels = self.cluster.confirmable()
        which = self.dice.below(len(queues) + len(channels) or 1)
        if which < len(queues):
            self.cluster.deliver(queues[which])
        elif channels:
            self.cluster.confirm(channels[which - len(queues)])

    # -- time -----------------------------------------------------------------------------------

    def some_time(self) -> None:
        """A little time, or a lot if nobody minds."""
        if self.plan.calm:
            seconds = self.dice.choose((0.1, 0.3, 0.5))
            if self.now + seconds - self._flushed_at > STALE:
                self.flush()
            if self.now - self._hurried_at > 4.0:
                self._hurried_at = self.now
                self.hurry()
        else:
            seconds = self.dice.choose((0.1, 0.3, 0.5, 0.5, 1.0, 3.0, 12.0))
            if self.now + seconds - self._served_at > OUTAGE and self.client.open:
                self.repair()
                for _ in range(12):
                    self.flush()
                    self.pass_time(0.5)
        self.pass_time(seconds)

    def hurry(self) -> None:
        """The client settles what it has and gets its confirms."""
        for _ in range(6):
            self.flush()
            while self.cluster.confirmable():
                self.brokers_work()
            self.flush()
            self.client.settle()
            self.flush()

    def pass_time(self, seconds: float) -> None:
        """The clock goes on, nodes beat, probes look, and the session is told."""
        until = self.now + seconds
        while self.wakes and min(self.wakes) <= until and self.over is None:
            self.now = max(self.now, min(self.wakes))
            self.wakes.remove(min(self.wakes))
            self.transcript.append(Passed(self.now))
            self.obey(self.session.tick(self.now))
        self.now = until
        self.transcript.append(Passed(self.now))
        if self.now - self._beat_at >= 5.0:
            self._beat_at = self.now
            for wire in self.wires.values():
                if wire.end is not None and wire.end.running:
                    wire.end.beat()
        if seconds >= 1.0 or self.dice.below(3):
            self.cluster.vote()
        if any(w.end is not None and w.end.open and not w.gone for w in self.wires.values()):
            self._served_at = self.now
        for name in NODES:
            if name in self.cluster.frozen:
                self.table.probed(name, Unfit.HANGS, "says nothing")
            elif name in self.cluster.up:
                self.table.probed(name, None)
            else:
                self.table.probed(name, Unfit.REFUSES, "connection refused")
        if self.dice.below(3):
            self._look()
        for lookup in self.directory.stale_lookups(self.now):
            if lookup not in self.lookups:
                self.lookups.append(lookup)
        if self.over is None:
            self.obey(self.session.tick(self.now))

    # -- trouble --------------------------------------------------------------------------------

    def trouble(self, what: str) -> None:
        """Something breaks, or is mended."""
        cluster, node = self.cluster, self.dice.choose(NODES)
        others = [name for name in NODES if name != node and cluster.is_running(name)]
        match what:
            case "crash" if node in cluster.up and (others or self.dice.one_in(4)):
                self._note("crash", node)
                for wire in self.wires.values():
                    if wire.end is not None and wire.node == node and not wire.end.dead:
                        del wire.end.output[self.dice.below(len(wire.end.output) + 1) :]
                cluster.crash(node)
            case "start" if node not in cluster.up:
                self._note("start", node)
                cluster.start(node)
            case "freeze" if cluster.is_running(node) and len(others) == 2:
                self._note("freeze", node)
                cluster.freeze(node)
            case "thaw" if node in cluster.frozen:
                self._note("thaw", node)
                cluster.thaw(node)
            case "maintenance" if cluster.is_running(node) and others:
                self._note("maintenance", node)
                cluster.send_away(node)
            case "cut":
                wires = [w for w in self.wires.values() if w.end is not None and not w.gone]
                if wires:
                    wire = self.dice.choose(wires)
                    assert wire.end is not None
                    self.transcript.append(Trouble("cut", wire.node, wire.number))
                    del wire.end.output[self.dice.below(len(wire.end.output) + 1) :]
                    wire.end.die("the network was cut")
            case "elect" if self.plan.quorum:
                cluster.elect(self.dice.choose(self.plan.quorum), node)
            case "drain" if len(self.drained) < 2 and node not in self.drained:
                self._note("drain", node)
                self.drained.add(node)
                self.obey(leave(self.session, node, self.now))
            case "revive" if self.drained:
                self._revive(self.dice.choose(sorted(self.drained)))
            case "rehome" if node not in self.drained:
                self._note("rehome", node)
                self.obey(self.session.move_home(node, self.now))

    def repair(self) -> None:
        """All nodes run again."""
        for node in NODES:
            if node in self.cluster.frozen:
                self._note("thaw", node)
                self.cluster.thaw(node)
            if node not in self.cluster.up:
                self._note("start", node)
                self.cluster.start(node)
        for node in sorted(self.drained):
            self._revive(node)

    def _revive(self, node: NodeName) -> None:
        self._note("revive", node)
        self.drained.discard(node)
        self.session.come_back(node)

    def _note(self, what: str, node: NodeName) -> None:
        self.transcript.append(Trouble(what, node))

    # -- for the oracle -------------------------------------------------------------------------

    def halfway(self) -> str:
        """What was begun on the client's stream and never ended, in words."""
        return self._told.halfway

    @property
    def ended_well(self) -> bool:
        """The session ended because the client closed it."""
        return self.over is not None and self.over.reason == SessionEnd.CLIENT_CLOSED


def leave(session: Session, node: NodeName, now: float) -> list[c.Command]:
    """A planned move off a node, as the balancer asks for it when the node is drained."""
    return session.move_channels_off(node, MoveReason.DRAIN, now)
