"""A session, its client, a cluster, and the wires between them, on which bytes pass piece by piece.

What the session commands is carried out at once, as its shell would; whether it may be, is checked.
"""

from dataclasses import dataclass, field
from typing import Any

from tests.property.dice import Dice
from tests.property.transcript import Ear, LinkGone, Over, Transcript

from warrener.balancer.core import commands as c
from warrener.balancer.core.budget import Budget
from warrener.balancer.core.directory import Directory
from warrener.balancer.core.nodes import NodeTable
from warrener.balancer.core.policies import make_policy
from warrener.balancer.core.session import Session
from warrener.facts.balance import Backend
from warrener.facts.ids import NodeName, SessionId
from warrener.facts.places import (
    Binding,
    ExchangeRoutes,
    Found,
    Lookup,
    LookupKind,
    QueuePlace,
)
from warrener.facts.settings import BalancerSettings
from warrener.facts.snapshot import ClusterSnapshot, NodeView, QueueView
from warrener.testing.simulated_client import Habits, SimulatedClient
from warrener.testing.simulated_cluster import DIRECT, FANOUT, SimulatedCluster
from warrener.testing.simulated_link import SimulatedLink

NODES = (NodeName("n1@localhost"), NodeName("n2@localhost"), NodeName("n3@localhost"))


@dataclass(frozen=True, slots=True)
class Plan:
    """What kind of run it is. ``troubles`` are drawn from, with repetition as weight."""

    habits: Habits
    quorum: tuple[str, ...] = ("q",)
    classic: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()
    refuses: bool = False  # brokers nack now and then
    locality: bool = True
    leaves: bool = True  # the client closes its connection in the end
    early: bool = False  # trouble may come in the handshake
    informed: bool = True  # the balancer has the cluster's own view
    mixed: bool = False  # brokers let other channels speak in the middle of a content
    hold: int = 1 << 20  # bytes; larger messages go through frame by frame and can't be repeated

    @property
    def calm(self) -> bool:
        """Nothing dies and no time-out passes: what moves, moves as planned."""
        return not set(self.troubles) - {"drain", "revive", "rehome", "elect"}


@dataclass(slots=True)
class Wire:
    """A link between the session and a node, with the harness's side of it."""

    number: int
    node: NodeName
    end: SimulatedLink | None = None  # the broker's; None until connected
    told: Ear = field(init=False)
    heard: Ear = field(init=False)
    gone: bool = False  # the session has nothing to do with it any more


class Network:
    """See the module. ``transcript`` has everything that passed."""

    def __init__(self, plan: Plan, dice: Dice) -> None:
        self.plan = plan
        self.dice = dice
        self.now = 1000.0
        self.transcript: Transcript = []
        self.cluster = SimulatedCluster(NODES, dice, self.transcript.append)
        self.cluster.refuses = plan.refuses
        self.cluster.votes_at_once = plan.calm
        for name in plan.quorum:
            self.cluster.declare(name, "quorum", dice.choose(NODES))
        for name in plan.classic:
            self.cluster.declare(name, "classic", dice.choose(NODES))
        self.client = SimulatedClient(plan.habits, dice)
        self.settings = BalancerSettings(locality=plan.locality)
        self.table = NodeTable(
            [Backend(name, "127.0.0.1", 5672) for name in NODES],
            self.settings.policy,
            lambda name: make_policy(name, _Even()),
        )
        for name in NODES:
            self.table.probed(name, None)
        self.directory = Directory()
        self._look()
        self.session = Session(
            SessionId(1),
            "192.0.2.9:40000",
            "192.0.2.9",
            self.table,
            self.settings,
            self.now,
            self.directory,
            Budget(self.settings.journal_total),
        )
        self.wires: dict[int, Wire] = {}
        self.to_client = bytearray()
        self.held = False
        self.over: Over | None = None
        self.client_gone = False  # its socket is closed
        self._served_at = self.now  # when a link was open last
        self._said = Ear("C>", 0, self.transcript)
        self._told = Ear("<C", 0, self.transcript)
        self._beat_at = self.now
        self._flushed_at = self.now
        self._hurried_at = self.now
        self.drained: set[NodeName] = set()
        self.lookups: list[Lookup] = []
        self.wakes: list[float] = []  # when the session wants to be told of the time

    # -- the session's commands -----------------------------------------------------------------

    def obey(self, commands: list[c.Command]) -> None:
        """What the shell does with a batch of commands."""
        for command in commands:
            if self.over is not None:
                raise AssertionError(f"{command} after the end")
            self._obey_one(command)

    def _obey_one(self, command: Any) -> None:
        match command:
            case c.SendClient(data):
                self._told.hear(data)
                self.to_client += data
            case c.SendLink(number, data):
                wire = self.wires[number]
                if wire.gone or wire.end is None:
                    raise AssertionError(f"data for link {number}, which isn't connected")
                wire.told.hear(data)
                if not wire.end.dead:
                    wire.end.input += data
            case c.Connect(number, backend):
                if number in self.wires:
                    raise AssertionError(f"link {number} is opened twice")
                wire = self.wires[number] = Wire(number, backend.name)
                wire.told = Ear("L>", number, self.transcript)
                wire.heard = Ear("<L", number, self.transcript)
                others = [w for w in self.wires.values() if w.node == wire.node and not w.gone]
                if len(others) > 1:
                    raise AssertionError(f"two links to {wire.node}")
            case c.CloseLink(number):
                self._drop(self.wires[number], "closed")
            case c.AbortLink(number):
                self._drop(self.wires[number], "aborted")
            case c.HoldClient(hold):
                self.held = hold
            case c.CloseClient():
                self.client_gone = True
            case c.AbortClient():
                self.client_gone = True
            case c.Finished(reason, detail):
                self.over = Over(reason, detail)
                self.transcript.append(self.over)
            case c.Wake(after):
                self.wakes.append(self.now + after)
            case c.LookUp(lookup):
                if lookup not in self.lookups:
                    self.lookups.append(lookup)
            case _:
                raise AssertionError(f"{command} is unknown")

    def _drop(self, wire: Wire, how: str) -> None:
        if wire.gone:
            raise AssertionError(f"link {wire.number} is dropped twice")
        wire.gone = True
        self.transcript.append(LinkGone(wire.number, how))  # type: ignore[arg-type]
        end = wire.end
        if end is None:
            return
        if how == "aborted":
            del end.input[self.dice.below(len(end.input) + 1) :]
        end.eof = True
        if not end.input and end.running:
            end.process(0)

    # -- the network ----------------------------------------------------------------------------

    def pass_bytes(self) -> bool:
        """Something gets on somewhere. False if nothing can."""
        ways = self._ways()
        if not ways:
            return False
        way, wire = self.dice.choose(ways)
        self._go(way, wire, whole=self.dice.below(5) > 1)
        return True

    def flush(self) -> None:
        """Everything that is under way arrives."""
        self._flushed_at = self.now
        for _ in range(10_000):
            ways = self._ways()
            if not ways:
                return
            way, wire = self.dice.choose(ways)
            self._go(way, wire, whole=True)
        raise AssertionError("a conversation without end")

    def _ways(self) -> list[tuple[str, Wire | None]]:
        """Where something could get on now."""
        ways: list[tuple[str, Wire | None]] = []
        if self.over is None:
            if self.client.output and not self.held and not self.client_gone:
                ways.append(("C>", None))
            if self.to_client:
                ways.append(("<C", None))
        for wire in self.wires.values():
            end = wire.end
            if end is None:
                if not wire.gone and self.over is None and wire.node not in self.cluster.frozen:
                    ways.append(("connect", wire))
                continue
            if not end.dead and self.cluster.is_running(end.node) and (end.input or end.eof):
                ways.append(("L>", wire))
            if not wire.gone and self.over is None:
                if end.output:
                    ways.append(("<L", wire))
                elif end.dead:
                    ways.append(("lost", wire))
        if self.lookups:
            ways.append(("answer", None))
        return ways

    def _go(self, way: str, wire: Wire | None, *, whole: bool) -> None:
        session, now = self.session, self.now
        match way:
            case "C>":
                data = self._cut(self.client.output, whole)
                self._said.hear(data)
                self.obey(session.client_data(data, now))
            case "<C":
                self.client.take(self._cut(self.to_client, whole))
            case "connect":
                assert wire is not None
                wire.end = self.cluster.connect(wire.number, wire.node)
                if wire.end is None:
                    self._lose(wire, "connection refused")
                else:
                    wire.end.interleaves = self.plan.mixed
                    wire.end.body_step = self.dice.choose((1 << 16, 1 << 16, 30))
                    self.obey(session.link_connected(wire.number, now))
            case "L>":
                assert wire is not None
                assert wire.end is not None
                size = len(wire.end.input)
                wire.end.process(size if whole else self.dice.below(size + 1))
            case "<L":
                assert wire is not None
                assert wire.end is not None
                size = len(wire.end.output)
                data = wire.end.take_output(size if whole else 1 + self.dice.below(size))
                wire.heard.hear(data)
                self.obey(session.link_data(wire.number, data, now))
            case "lost":
                assert wire is not None
                self._lose(wire, "connection reset by peer")
            case "answer":
                self._answer(self.lookups.pop(self.dice.below(len(self.lookups))))
            case _:
                raise AssertionError(way)

    def _lose(self, wire: Wire, detail: str) -> None:
        wire.gone = True
        self.transcript.append(LinkGone(wire.number, "lost"))
        self.obey(self.session.link_lost(wire.number, self.now, detail))

    def _cut(self, buffer: bytearray, whole: bool) -> bytes:
        size = len(buffer) if whole else 1 + self.dice.below(len(buffer))
        data = bytes(buffer[:size])
        del buffer[:size]
        return data

    # -- what the balancer knows of the cluster -------------------------------------------------

    def _look(self) -> None:
        """The cluster's own view, as the management API would give it."""
        if not self.plan.informed:
            return
        nodes = tuple(NodeView(name, running=name in self.cluster.up) for name in NODES)
        queues = tuple(
            QueueView(
                "/", queue.name, queue.kind, queue.node, state="running" if queue.up else "down"
            )
            for queue in self.cluster.queues.values()
        )
        snapshot = ClusterSnapshot(NODES[0], self.now, "simulated", nodes, queues)
        self.directory.apply_snapshot(snapshot, self.now)

    def _answer(self, lookup: Lookup) -> None:
        """Truth, or now and then nothing."""
        found: Found = None
        if not self.dice.one_in(8):
            if lookup.kind is LookupKind.QUEUE:
                queue = self.cluster.queue(lookup.name)
                if queue is not None:
                    found = QueuePlace(queue.node, queue.kind, queue.up)
            elif lookup.name == DIRECT:
                bound = tuple(Binding(name, False, name) for name in self.cluster.queues)
                found = ExchangeRoutes("direct", bound)
            elif lookup.name == FANOUT:
                bound = tuple(Binding(name, False, "") for name in self.cluster.queues)
                found = ExchangeRoutes("fanout", bound)
        self.directory.looked_up(lookup, found, self.now)
        if self.over is None:
            self.obey(self.session.looked_up(lookup, self.now))


class _Even:
    """A policy's chance: always the middle."""

    def random(self) -> float:
        return 0.5
