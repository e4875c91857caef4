"""Playbooks: a session's test reads as the transcript of what happens and what it does.

    play = Playbook("n1", "n2")
    play.client_sends(PROTOCOL_HEADER).gives("connect n1")
    play.link_connects().gives("link: header")
    play.node_sends(START).gives("client: connection.start")

Each event gives commands; ``gives`` compares them with lines. A ``*`` in a line stands for
anything. ``Playbook.opened()`` is a session past its handshake. Time is moved by ``after``.

A session's first link is "the link"; later ones go by their node's name:

    play.client_sends((1, BasicConsume("q"))).gives("connect n2")
    play.at("n2").joins()                      # its handshake, step by step
    play.at("n2").node_sends((1, ChannelOpenOk()))
"""

import re
from collections.abc import Callable, Mapping, Sequence
from random import Random
from types import MappingProxyType
from typing import Final, Self

from warrener.amqp.constants import (
    FRAME_BODY,
    FRAME_HEADER,
    FRAME_HEARTBEAT,
    FRAME_METHOD,
    PROTOCOL_HEADER,
)
from warrener.amqp.frames import encode_frame, payload_of, scan
from warrener.amqp.methods import (
    BasicPublish,
    ChannelClose,
    ConnectionClose,
    ConnectionOpen,
    ConnectionOpenOk,
    ConnectionStart,
    ConnectionStartOk,
    ConnectionTune,
    ConnectionTuneOk,
    Method,
    decode_method,
    encode_method_frame,
    method_name,
)
from warrener.balancer.core.budget import Budget
from warrener.balancer.core.commands import (
    AbortClient,
    AbortLink,
    CloseClient,
    CloseLink,
    Command,
    Connect,
    Finished,
    HoldClient,
    LookUp,
    SendClient,
    SendLink,
    Wake,
)
from warrener.balancer.core.directory import Directory
from warrener.balancer.core.nodes import NodeTable
from warrener.balancer.core.policies import make_policy
from warrener.balancer.core.session import Session
from warrener.facts.balance import Backend
from warrener.facts.happenings import Event
from warrener.facts.ids import NodeName, SessionId
from warrener.facts.places import Found, Lookup
from warrener.facts.reasons import MoveReason
from warrener.facts.settings import BalancerSettings
from warrener.facts.snapshot import ClusterSnapshot, NodeView, QueueView

START: Final = ConnectionStart(
    0,
    9,
    {"product": "RabbitMQ", "version": "3.10.8", "capabilities": {"basic.nack": True}},
    b"PLAIN AMQPLAIN",
    b"en_US",
)
START_OK: Final = ConnectionStartOk(
    {"product": "playbook", "capabilities": {"authentication_failure_close": True}},
    "PLAIN",
    b"\0guest\0secret",
    "en_US",
)
TUNE: Final = ConnectionTune(2047, 131072, 60)
TUNE_OK: Final = ConnectionTuneOk(2047, 131072, 60)
OPEN: Final = ConnectionOpen("/")
OPEN_OK: Final = ConnectionOpenOk()
CLIENT: Final = "192.0.2.9:40000"

Sent = bytes | Method | tuple[int, Method]
"""Raw bytes, a method on channel 0, or a method on a channel."""


def encode(*what: Sent) -> bytes:
    """Bytes of methods and raw pieces, one after the other."""
    parts = []
    for item in what:
        match item:
            case bytes():
                parts.append(item)
            case Method():
                parts.append(encode_method_frame(0, item))
            case (channel, method):
                parts.append(encode_method_frame(channel, method))
    return b"".join(parts)


def publish(channel: int, body: bytes, queue: str = "q", frame_max: int = 131072) -> bytes:
    """The frames of one message to ``queue`` by the default exchange."""
    header = b"\x00\x3c\x00\x00" + len(body).to_bytes(8) + b"\x00\x00"
    step = frame_max - 8
    bodies = (body[i : i + step] for i in range(0, len(body), step))
    return (
        encode_method_frame(channel, BasicPublish(routing_key=queue))
        + encode_frame(FRAME_HEADER, channel, header)
        + b"".join(encode_frame(FRAME_BODY, channel, part) for part in bodies)
    )


def describe_frames(data: bytes) -> list[str]:
    """Whole frames in words: ``queue.declare/1``, ``header/1``, ``body 100/1``, ``heartbeat``."""
    if data == PROTOCOL_HEADER:
        return ["header"]
    words: list[str] = []
    pos = 0
    while pos < len(data):
        # With nothing passing, the scan stops at each method; content is stepped over one by one.
        size = int.from_bytes(data[pos + 3 : pos + 7])
        frame = data[pos : pos + size + 8]
        found = scan(frame, 0, len(data), ())
        kind, channel = frame[0], int.from_bytes(frame[1:3])
        pos += len(frame)
        if kind == FRAME_HEADER:
            words.append(f"header/{channel}")
        elif kind == FRAME_BODY:
            words.append(f"body {size}/{channel}")
        elif kind == FRAME_HEARTBEAT:
            words.append("heartbeat")
        elif kind == FRAME_METHOD:
            words.append(_describe_method(frame, found.method, channel))
        else:
            words.append(f"frame type {kind}/{channel}")
    return words


def _describe_method(frame: bytes, method_id: int, channel: int) -> str:
    words = method_name(method_id)
    method = decode_method(payload_of(frame, 0, len(frame)))
    if isinstance(method, ConnectionClose | ChannelClose):
        words += f" {method.reply_code} {method.reply_text}"
    elif isinstance(method, ConnectionTuneOk):
        words += f" {method.channel_max} {method.frame_max} {method.heartbeat}"
    return f"{words}/{channel}" if channel else words


def describe(command: Command, names: Mapping[int, str] = MappingProxyType({})) -> str:
    """A command as one line; ``names`` of links that are not "the link"."""
    match command:
        case SendClient(data):
            return "client: " + " ".join(describe_frames(data))
        case SendLink(link, data):
            return f"{names.get(link, 'link')}: " + " ".join(describe_frames(data))
        case Connect(_, backend):
            return f"connect {backend.name}"
        case CloseLink(link):
            return f"close {names.get(link, 'link')}"
        case AbortLink(link):
            return f"abort {names.get(link, 'link')}"
        case Wake():
            return "wake"
        case LookUp(lookup):
            return f"look up {lookup.kind} {lookup.name}"
        case HoldClient(hold):
            return "hold client" if hold else "release client"
        case CloseClient():
            return "close client"
        case AbortClient():
            return "abort client"
        case Finished(reason, detail):
            return f"finished {reason}" + (f": {detail}" if detail else "")
    raise AssertionError(f"no words for {command}")


class Playbook:
    """One session, the nodes it can choose from (round robin), and what it did last."""

    def __init__(self, *nodes: str, settings: BalancerSettings | None = None) -> None:
        self.settings = settings or BalancerSettings()
        self.events: list[Event] = []
        self.now = 1000.0
        self.commands: list[Command] = []
        self.table = NodeTable(
            [Backend(NodeName(name), "127.0.0.1", 5672) for name in nodes],
            self.settings.policy,
            lambda name: make_policy(name, Random(1)),  # noqa: S311 - a test's chance
            on_event=self.events.append,
        )
        for name in nodes:
            self.table.probed(NodeName(name), None)
        self.directory = Directory()
        self.budget = Budget(self.settings.journal_total)
        self.session = Session(
            SessionId(1),
            CLIENT,
            "192.0.2.9",
            self.table,
            self.settings,
            self.now,
            self.directory,
            self.budget,
        )
        self._link = 0
        self._links: dict[str, int] = {}  # the newest one to each node
        self._names: dict[int, str] = {}  # of links after the first

    # -- events ---------------------------------------------------------------------------------

    @property
    def link(self) -> int:
        """The number of the link that events are about: the newest, or what ``at`` chose."""
        return self._link

    def at(self, node: str) -> Self:
        """What follows is about the newest link to this node."""
        self._link = self._links[node]
        return self

    def knows(self, *queues: tuple[str, str] | tuple[str, str, str]) -> Self:
        """The cluster's view: (queue, leader) or (queue, leader, type); a leader that isn't running
        is written "down n2"."""
        nodes = {backend.name for backend in self.table.backends()}
        down = {words[1].removeprefix("down ") for words in queues if words[1].startswith("down ")}
        views = tuple(
            QueueView(
                "/",
                words[0],
                words[2] if len(words) > 2 else "quorum",
                NodeName(words[1].removeprefix("down ")),
                state="down" if words[1].startswith("down ") else "running",
            )
            for words in queues
        )
        self.directory.apply_snapshot(
            ClusterSnapshot(
                NodeName("n1"),
                self.now,
                "test",
                tuple(NodeView(name, running=name not in down) for name in sorted(nodes)),
                views,
            ),
            self.now,
        )
        return self

    def _did(self, commands: list[Command]) -> Self:
        self.commands = commands
        for command in commands:
            if isinstance(command, Connect):
                self._link = command.link
                self._links[command.backend.name] = command.link
                if self.session.was_open:
                    self._names[command.link] = command.backend.name
        return self

    def client_sends(self, *what: Sent) -> Self:
        """The client sends frames, all in one chunk."""
        return self._did(self.session.client_data(encode(*what), self.now))

    def client_leaves(self) -> Self:
        """The client's socket closes."""
        return self._did(self.session.client_lost(self.now))

    def link_connects(self) -> Self:
        """The link's TCP connection stands."""
        return self._did(self.session.link_connected(self._link, self.now))

    def link_breaks(self, detail: str = "connection refused") -> Self:
        """The link breaks, or can't be connected."""
        return self._did(self.session.link_lost(self._link, self.now, detail))

    def node_sends(self, *what: Sent) -> Self:
        """The node at the end of the link sends frames, all in one chunk."""
        return self._did(self.session.link_data(self._link, encode(*what), self.now))

    def joins(self) -> Self:
        """The handshake of a link after the first, up to open-ok."""
        node = self._names[self._link]
        self.link_connects().gives(f"{node}: header")
        self.node_sends(START).gives(f"{node}: connection.start-ok")
        self.node_sends(TUNE).gives(f"{node}: connection.tune-ok* connection.open")
        return self.node_sends(OPEN_OK)

    def looked_up(self, lookup: Lookup, found: Found) -> Self:
        """A look-up was carried out."""
        self.directory.looked_up(lookup, found, self.now)
        return self._did(self.session.looked_up(lookup, self.now))

    def move_off(self, node: str, reason: MoveReason = MoveReason.DRAIN) -> Self:
        """A node is to be left."""
        return self._did(self.session.move_channels_off(NodeName(node), reason, self.now))

    def after(self, seconds: float) -> Self:
        """Time passes and the clock ticks once."""
        self.now += seconds
        return self._did(self.session.tick(self.now))

    def shuts_down(self) -> Self:
        """The balancer stops."""
        return self._did(self.session.shut_down(self.now, "the balancer is shutting down"))

    # -- what came of it ------------------------------------------------------------------------

    @property
    def lines(self) -> list[str]:
        """The last event's commands in words."""
        return [describe(command, self._names) for command in self.commands]

    def gives(self, *wanted: str) -> Self:
        """The last event gave exactly these commands."""
        lines = self.lines
        if len(lines) != len(wanted) or not all(map(_matches, wanted, lines)):
            raise AssertionError(f"wanted {_show(wanted)}\n   got {_show(lines)}")
        return self

    def sent_to(self, side: type[SendClient] | type[SendLink]) -> bytes:
        """The bytes that the last event sent to one side."""
        return b"".join(c.data for c in self.commands if isinstance(c, side))

    @classmethod
    def opened(
        cls,
        *nodes: str,
        settings: BalancerSettings | None = None,
        start_ok: ConnectionStartOk = START_OK,
        tune_ok: ConnectionTuneOk = TUNE_OK,
    ) -> Self:
        """A session whose handshake is done."""
        play = cls(*(nodes or ("n1", "n2", "n3")), settings=settings)
        play.shake_hands(ConnectionTune, start_ok)
        play.client_sends(tune_ok, OPEN)
        play.node_sends(OPEN_OK).gives("client: connection.open-ok")
        return play

    @classmethod
    def until(cls, last: type[Method], *nodes: str) -> Self:
        """A session in its handshake: ``last`` was the last method sent, by either side."""
        play = cls(*nodes)
        play.shake_hands(last)
        return play

    def shake_hands(self, last: type[Method], start_ok: ConnectionStartOk = START_OK) -> None:
        """The handshake from its first byte to ``last``."""
        self.client_sends(PROTOCOL_HEADER)
        self.link_connects()
        steps: list[tuple[Callable[..., object], Method]] = [
            (self.node_sends, START),
            (self.client_sends, start_ok),
            (self.node_sends, TUNE),
            (self.client_sends, TUNE_OK),
            (self.client_sends, OPEN),
        ]
        for says, method in steps:
            says(method)
            if isinstance(method, last):
                return
        raise AssertionError(f"{last.__name__} is no step of a handshake before open-ok")


def _matches(pattern: str, line: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), line) is not None


def _show(lines: Sequence[str]) -> str:
    return "\n       ".join(lines) or "nothing"
