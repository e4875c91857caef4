"""An open session: its channels, its links, and what goes from where to where.

Frames go from the client to the link that their channel is on, and from there back. A chunk in
which nobody has to decide anything, and whose channels are on one link, is one write. The session
has at most one link to a node, opened when a channel wants to go there, with the client's own
login; a link that no channel uses is closed after a while, the home included.

When a link is lost, its channels are carried to others (``Carried``). While there is none, the
session waits; its client hears heartbeats, and after ``outage_timeout`` a connection.close.

The client is not read while more than ``journal_limit`` bytes are kept for the session: unconfirmed
publishes, and what waits for a channel to settle. It is read again when less than half is kept.
"""

from collections import Counter
from dataclasses import replace
from struct import error
from typing import Final, Protocol

from warrener.amqp.constants import FRAME_METHOD, HEARTBEAT, PROTOCOL_HEADER, ReplyCode
from warrener.amqp.errors import FrameError, ProtocolViolation, SyntaxViolation
from warrener.amqp.frames import Reassembly, is_heartbeat, payload_of
from warrener.amqp.methods import (
    BasicAck,
    BasicNack,
    ChannelClose,
    ChannelCloseOk,
    ChannelOpen,
    ConnectionBlocked,
    ConnectionClose,
    ConnectionCloseOk,
    ConnectionOpenOk,
    ConnectionSecure,
    ConnectionStart,
    ConnectionTune,
    ConnectionUnblocked,
    ConnectionUpdateSecret,
    ConnectionUpdateSecretOk,
    decode_method,
    encode_method_frame,
    method_name,
)
from warrener.amqp.units import CONTENT, Unit, What, next_unit
from warrener.balancer.core.agreement import Agreement
from warrener.balancer.core.budget import Budget
from warrener.balancer.core.carried import RETRY_MOVE, Mode
from warrener.balancer.core.channel import HOLD_MESSAGE, Channel
from warrener.balancer.core.commands import (
    AbortLink,
    CloseLink,
    Command,
    Connect,
    HoldClient,
    LookUp,
    SendClient,
    SendLink,
    Wake,
)
from warrener.balancer.core.directory import Directory
from warrener.balancer.core.link import Link
from warrener.balancer.core.nodes import Chosen
from warrener.balancer.core.requests import Rpc
from warrener.balancer.core.states import LinkMove, LinkState
from warrener.facts.balance import Backend
from warrener.facts.ids import ChannelNumber, NodeName, short_name
from warrener.facts.places import Lookup
from warrener.facts.reasons import MoveReason, SessionEnd, Unfit
from warrener.facts.settings import BalancerSettings

AVOID_REFUSED: Final = 30.0
"""Seconds a node is left alone that has refused this session a link (its limits, its login)."""

AVOID_LOST: Final = 1.0
"""Seconds a node is left alone after a link to it broke."""

SMALL_JOURNAL: Final = 64 * 1024
"""Bytes that every session may keep, however much all of them keep."""

_GOODBYE: Final = encode_method_frame(
    0, ConnectionClose(ReplyCode.SUCCESS, "the balancer needs this connection no more")
)
_NODE_GOES: Final = ("maintenance mode", "broker forced connection closure", "shutdown")
"""Words of a 320 that speaks of the node. Others ("Closed via management plugin") are meant for the
client."""


_SAYS_AGAIN: Final = frozenset({Mode.LINKING, Mode.LEAVING, Mode.REPLAYING, Mode.PROBING})
"""Modes of a channel after which what is unconfirmed is published again."""


_STILL_HEARD: Final = CONTENT | {BasicAck.ID, BasicNack.ID}
"""What the client still gets from a link that a channel is leaving: confirms and returned messages;
deliveries are read to know where they end."""

_CUT_SHORT: Final = (error, IndexError)
"""What reading a field gives that lies behind the end of a frame."""


class Around(Protocol):
    """What the open part of a session needs of the whole."""

    out: list[Command]
    client: str
    source: str
    bytes_out: int
    client_sent_at: float
    client_heard_at: float
    client_writable: bool

    @property
    def is_open(self) -> bool: ...
    @property
    def is_live(self) -> bool: ...
    def client_closes(self, now: float) -> None: ...
    def links_closed(self, now: float) -> None: ...
    def client_violation(self, violation: ProtocolViolation, now: float) -> None: ...
    def broker_closes(self, close: ConnectionClose, now: float) -> None: ...
    def close_client(self, code: ReplyCode, text: str, reason: SessionEnd, now: float) -> None: ...


class Nodes(Protocol):
    """What it needs of the node table."""

    def choose(self, source: str, tried: "set[NodeName]" = ...) -> Chosen | None: ...
    def backend(self, name: NodeName) -> Backend | None: ...
    def handshake_failed(self, name: NodeName, why: Unfit, detail: str) -> None: ...
    def session_added(self, name: NodeName) -> None: ...
    def session_removed(self, name: NodeName) -> None: ...
    def unfit(self, name: NodeName) -> Unfit | None: ...
    def all_fit(self) -> bool: ...


class Switchboard:
    """See the module. Made when the session's first link is open."""

    __slots__ = (
        "_around",
        "_avoid",
        "_budget",
        "_closing",
        "_counted",
        "_goodbye",
        "_home",
        "_kept",
        "_last_link",
        "_leaving",
        "_links",
        "_new_secret",
        "_nodes",
        "_owes_secret_ok",
        "_past_local",
        "_past_remote",
        "_told_blocked",
        "_wake_at",
        "_without_link_since",
        "agreement",
        "auto_deletes",
        "channels",
        "delivered",
        "directory",
        "exclusives",
        "held_back",
        "inbox",
        "limit",
        "moves",
        "moves_failed",
        "now",
        "published",
        "settings",
        "vhost",
        "wanted_home",
    )

    def __init__(
        self,
        around: Around,
        home: Link,
        agreement: Agreement,
        nodes: Nodes,
        directory: Directory,
        budget: Budget,
        settings: BalancerSettings,
        now: float,
    ) -> None:
        self.now = now
        self.settings = settings
        self.directory = directory
        self.agreement = agreement
        self.vhost = agreement.open.virtual_host if agreement.open else "/"
        self.limit = agreement.payload_limit(settings.max_frame)  # largest payload from the client
        self.inbox = Reassembly()
        self.channels: dict[int, Channel] = {}
        self.exclusives: dict[str, Link] = {}
        self.auto_deletes: set[str] = set()
        self.published = 0
        self.delivered = 0
        self.moves: Counter[MoveReason] = Counter()
        self.moves_failed = 0
        self.held_back = False  # the client isn't read
        self.wanted_home: NodeName | None = None
        self._around = around
        self._nodes = nodes
        self._budget = budget
        self._kept = 0  # at least what is kept for this session, in bytes
        self._counted = 0  # of them in the budget
        self._home: Link | None = home
        self._links: dict[int, Link] = {home.id: home}
        self._last_link = home.id
        self._avoid: dict[NodeName, float] = {}  # until when
        self._leaving: set[NodeName] = set()
        self._told_blocked = False
        self._wake_at = 0.0  # when a tick was asked for last
        self._new_secret = b""  # the client's last connection.update-secret
        self._owes_secret_ok = False  # the client waits for its answer
        self._past_local = 0
        self._past_remote = 0
        self._closing = False
        self._goodbye = _GOODBYE  # the client's own connection.close, once it has said it
        self._without_link_since: float | None = None

    # -- what can be asked ----------------------------------------------------------------------

    @property
    def home(self) -> Link | None:
        """The link on which new channels begin."""
        return self._home

    def links(self) -> tuple[NodeName, ...]:
        """Nodes that it has an open link to."""
        return tuple(
            link.backend.name for link in self._links.values() if link.state is LinkState.OPEN
        )

    def link(self, number: int) -> Link | None:
        """The link of that number, unless it has been dropped since."""
        return self._links.get(number)

    def uses(self, node: NodeName) -> bool:
        """Whether it has a link to this node."""
        return self._link_at(node) is not None

    def journal_bytes(self) -> int:
        """Bytes kept for this session."""
        return sum(channel.journal_bytes for channel in self.channels.values())

    @property
    def blocked(self) -> bool:
        """Whether the client was told that publishers are blocked."""
        return self._told_blocked

    @property
    def closing(self) -> bool:
        """Whether the client's close has been passed on."""
        return self._closing

    @property
    def takes_all(self) -> bool:
        """Whether every node takes what is written to it; else the client isn't read."""
        return all(link.writable for link in self._links.values())

    @property
    def local(self) -> int:
        """Messages that entered or left through the node that leads their queue."""
        return self._past_local + sum(channel.local for channel in self.channels.values())

    @property
    def remote(self) -> int:
        """Messages that entered or left through another node."""
        return self._past_remote + sum(channel.remote for channel in self.channels.values())

    @property
    def has_unsaid(self) -> bool:
        """Whether something the client said waits for a channel to settle."""
        return any(
            channel.held
            or channel.mode in _SAYS_AGAIN
            or (channel.mode is Mode.PARKED and channel.publishes.outstanding)
            for channel in self.channels.values()
        )

    # -- for the channels -----------------------------------------------------------------------

    @property
    def takes_cancels(self) -> bool:
        """Whether the client understands a basic.cancel from the broker."""
        return self.agreement.takes_cancels

    @property
    def in_trouble(self) -> bool:
        """Whether some node is down, so that what isn't found may only be away."""
        return not self._nodes.all_fit()

    def to_client(self, data: bytes) -> None:
        """Write to the client."""
        if data:
            around = self._around
            around.bytes_out += len(data)
            around.client_sent_at = self.now
            around.out.append(SendClient(data))

    def to_link(self, link: Link, data: bytes) -> None:
        """Write to a link."""
        if data:
            link.sent_at = self.now
            self._around.out.append(SendLink(link.id, data))

    def ask(self, lookup: Lookup) -> None:
        """Have something looked up; ``looked_up`` follows."""
        self._around.out.append(LookUp(lookup))

    def wake(self, after: float) -> None:
        """Have ``tick`` called in so many seconds, unless it is called before anyway.

        Each tick may ask for the next one, for every channel: without the "unless" they multiply.
        """
        at = self.now + after
        if not self.now < self._wake_at <= at:
            self._wake_at = at
            self._around.out.append(Wake(after))

    def fit(self, node: NodeName) -> bool:
        """Whether channels may go to this node."""
        return node not in self._leaving and self._nodes.unfit(node) is None

    def link_to(self, node: NodeName) -> Link | None:
        """A link to a node, open or on its way; None if there can't be one now."""
        link = self._link_at(node)
        if link is not None:
            return link
        if self._avoid.get(node, 0.0) > self.now or not self.agreement.replayable:
            return None
        backend = self._nodes.backend(node)
        if backend is None or self._closing:
            return None
        self._last_link += 1
        link = Link(self._last_link, backend, self.now, self.settings.connect_timeout)
        self._links[link.id] = link
        self._around.out.append(Connect(link.id, backend))
        return link

    def refuge(self, wish: NodeName | None) -> Link | None:
        """A link for a channel that has lost its own; None if there is none to be had now."""
        if wish is not None and self.fit(wish) and (link := self.link_to(wish)) is not None:
            return link
        known = sorted(
            (link for link in self._links.values() if link.state is not LinkState.CLOSING),
            key=lambda link: (link.state is not LinkState.OPEN, link is not self._home),
        )
        for link in known:
            if self.fit(link.backend.name):
                return link
        avoided = {node for node, until in self._avoid.items() if until > self.now}
        chosen = self._nodes.choose(self._around.source, avoided | self._leaving)
        if chosen is not None and (link := self.link_to(chosen.backend.name)) is not None:
            return link
        return next((link for link in known if link.backend.name not in self._leaving), None)

    def gone(self, number: ChannelNumber) -> None:
        """A channel is closed on both sides; what was held is for its successor."""
        channel = self.channels.pop(number)
        self._past_local += channel.local
        self._past_remote += channel.remote
        held = list(channel.held)
        queues = {consumer.queue for consumer in channel.consumers}
        channel.forget()
        for queue in queues:
            self.consumer_gone(queue)
        for unit, data in held:
            self._client_unit(unit, data)

    def consumer_gone(self, queue: str) -> None:
        """A consumer has ended; an exclusive queue may have gone with it, and bind nothing now."""
        if queue in self.exclusives and queue in self.auto_deletes:
            used = any(
                consumer.queue == queue
                for channel in self.channels.values()
                for consumer in channel.consumers
            )
            if not used:
                del self.exclusives[queue]
                self.auto_deletes.discard(queue)

    def queue_deleted(self, queue: str) -> None:
        """A broker has confirmed a channel's queue.delete: the consumers that it has cancelled for
        that need wait for no look-up."""
        self.directory.noticed_deleted(self.vhost, queue, sure=True)
        for channel in list(self.channels.values()):
            channel.queue_deleted(queue)

    def cannot_carry(self, number: ChannelNumber, why: str) -> None:
        """A channel can't be put on another node: the client has to hear that its node is gone."""
        if self._around.is_open:
            self._around.close_client(
                ReplyCode.CONNECTION_FORCED,
                f"the node of channel {number} was lost, and {why}; connect again",
                SessionEnd.NODE_LOST,
                self.now,
            )

    def moved(self, reason: MoveReason) -> None:
        """A channel has arrived on another link."""
        self.moves[reason] += 1
        self._budget.moves[reason] += 1

    def move_failed(self, reason: MoveReason, why: str) -> None:
        """A planned move came to nothing."""
        self.moves_failed += 1
        self._budget.moves_failed += 1

    def forced(self) -> None:
        """A channel was moved although its client hadn't settled everything."""
        self._budget.forced += 1

    def replayed(self, count: int) -> None:
        """So many publishes were sent again."""
        self._budget.replayed += count

    # -- from the client ------------------------------------------------------------------------

    def client_data(self, data: bytes, now: float) -> None:
        """Bytes from the client."""
        self.now = now
        joined = self.inbox.join(data)
        if joined is None:
            return
        self._client_units(joined)
        self._kept += len(data)
        if self._kept > self.settings.journal_limit or self._budget.exceeded:
            self._check_journal()

    def _client_units(self, data: bytes) -> None:
        start = pos = 0  # data[start:pos] is for the link ``to``
        to: Link | None = None
        channels = self.channels
        stop = len(data)
        while pos < stop:
            try:
                unit = next_unit(data, pos, self.limit, HOLD_MESSAGE)
            except FrameError as violation:
                self._flush(to, data, start, pos)
                self._around.client_violation(violation, self.now)
                return
            if unit.what is What.MORE:
                break
            channel = channels.get(unit.channel)
            if channel is not None and channel.client_passes(unit, data, pos):
                if channel.link is not to:
                    self._flush(to, data, start, pos)
                    start = pos
                    to = channel.link
                pos = unit.end
                continue
            self._flush(to, data, start, pos)
            to = None
            try:
                self._client_unit(unit, data[pos : unit.end])
            except ProtocolViolation as violation:
                self._around.client_violation(violation, self.now)
            except _CUT_SHORT:
                self._around.client_violation(_cut_short(unit), self.now)
            start = pos = unit.end
            if not self._around.is_open:
                return
        self._flush(to, data, start, pos)
        if pos < stop:
            self.inbox.keep(data[pos:] if pos else data, unit.end - pos)

    def _flush(self, to: Link | None, data: bytes, start: int, end: int) -> None:
        if to is not None and end > start:
            self.to_link(to, data if end - start == len(data) else data[start:end])

    def _client_unit(self, unit: Unit, data: bytes) -> None:
        """A unit that doesn't just pass."""
        number = ChannelNumber(unit.channel)
        if is_heartbeat(unit.kind):
            return
        if number == 0:
            self._client_method(unit, data)
            return
        channel = self.channels.get(number)
        if unit.method == ChannelOpen.ID and (channel is None or channel.mode is Mode.ENDED):
            self._open_channel(number, data)
        elif channel is not None:
            channel.client_says(unit, data)
        else:
            self._to_home(data)  # a channel that isn't open; the broker will say so

    def _open_channel(self, number: ChannelNumber, data: bytes) -> None:
        link = self._home
        if link is None or link.state is not LinkState.OPEN:
            link = next((one for one in self._links.values() if one.state is LinkState.OPEN), None)
        channel = self.channels[number] = Channel(self, number, link)
        channel.requests.append(Rpc(ChannelOpen.ID, data))
        if link is not None and number not in link.closing:
            self.to_link(link, data)
        else:
            channel.link = None
            channel.mode = Mode.PARKED  # until the next tick at the latest
            if link is None:
                channel.relocate()

    def _to_home(self, data: bytes) -> None:
        if self._home is not None and self._home.state is LinkState.OPEN:
            self.to_link(self._home, data)

    def _client_method(self, unit: Unit, data: bytes) -> None:
        """A frame on channel 0."""
        if unit.method == ConnectionClose.ID:
            self._goodbye = data
            self._around.client_closes(self.now)
        elif unit.method == ConnectionUpdateSecret.ID:
            method = decode_method(payload_of(data, 0, len(data)))
            if isinstance(method, ConnectionUpdateSecret):
                self.agreement.update_secret(method.new_secret)
            self._new_secret = data
            self._owes_secret_ok = True
            for link in self._links.values():
                if link.state is LinkState.OPEN:
                    self.to_link(link, data)
        else:
            self._to_home(data)

    # -- from the links -------------------------------------------------------------------------

    def link_connected(self, link: Link, now: float) -> None:
        """The TCP connection of a later link stands."""
        self.now = now
        link.follow(LinkMove.CONNECTED)
        self.to_link(link, PROTOCOL_HEADER)

    def link_data(self, link: Link, data: bytes, now: float) -> None:
        """Bytes from a node."""
        self.now = now
        joined = link.inbox.join(data)
        if joined is None:
            return
        try:
            self._link_units(link, joined)
        except (ProtocolViolation, *_CUT_SHORT) as problem:
            violation = problem if isinstance(problem, ProtocolViolation) else _cut_short(None)
            if link.id in self._links:
                self._around.out.append(AbortLink(link.id))
                self.link_lost(link, now, Unfit.NOT_AMQP, violation.text)
        if self.held_back:
            self._check_journal()

    def _link_units(self, link: Link, data: bytes) -> None:
        start = pos = 0  # data[start:pos] is for the client
        limit = self.settings.max_frame  # not the client's: brokers don't split content headers
        channels = self.channels
        stop = len(data)
        while pos < stop:
            try:
                unit = next_unit(data, pos, limit, HOLD_MESSAGE)
            except FrameError:
                self.to_client(data[start:pos])
                raise
            if unit.what is What.MORE:
                break
            channel = channels.get(unit.channel)
            if (
                channel is not None
                and channel.link is link
                and unit.channel not in link.closing
                and channel.link_passes(unit, data, pos)
            ):
                pos = unit.end
                continue
            if start < pos:
                self.to_client(data[start:pos])
            frame = data[pos : unit.end]
            start = pos = unit.end
            self._link_unit(link, unit, frame)
            if link.id not in self._links or not self._around.is_live:
                return
        if start < pos:
            self.to_client(data if pos - start == len(data) else data[start:pos])
        if pos < stop:
            link.inbox.keep(data[pos:], unit.end - pos)

    def _link_unit(self, link: Link, unit: Unit, data: bytes) -> None:
        if is_heartbeat(unit.kind):
            return
        if link.state is not LinkState.OPEN and not self._closing:
            self._link_handshake(link, unit, data)
            return
        number = ChannelNumber(unit.channel)
        if number == 0:
            self._link_method(link, unit, data)
            return
        channel = self.channels.get(number)
        mine = channel is not None and channel.link is link
        if number in link.closing:
            if unit.method == ChannelCloseOk.ID:
                link.closing.discard(number)
                if channel is not None and mine and channel.mode is Mode.LEAVING:
                    channel.has_left()
            elif unit.method == ChannelClose.ID:
                self.to_link(link, encode_method_frame(number, ChannelCloseOk()))
            elif (
                channel is not None
                and mine
                and channel.mode is Mode.LEAVING
                and (unit.kind != FRAME_METHOD or unit.method in _STILL_HEARD)
            ):
                channel.link_says(unit, data)
            return
        if channel is not None and mine:
            channel.link_says(unit, data)
        # else of a channel that has left or was closed: for nobody

    def _link_method(self, link: Link, unit: Unit, data: bytes) -> None:
        """A method on channel 0 of an open link."""
        method = decode_method(payload_of(data, 0, len(data)))
        match method:
            case ConnectionClose():
                self._link_closed(link, method)
            case ConnectionCloseOk():
                self._drop(link, CloseLink(link.id))
                if self._closing and not self._links:
                    self._around.links_closed(self.now)
            case ConnectionBlocked() | ConnectionUnblocked():
                link.blocked = isinstance(method, ConnectionBlocked)
                self._tell_blocked(data)
            case ConnectionUpdateSecretOk():
                if self._owes_secret_ok:  # the first answer is the client's
                    self._owes_secret_ok = False
                    self.to_client(data)
            case _:
                self.to_client(data)

    def _tell_blocked(self, data: bytes) -> None:
        blocked = any(link.blocked for link in self._links.values())
        if blocked != self._told_blocked:
            self._told_blocked = blocked
            self.to_client(data or encode_method_frame(0, ConnectionUnblocked()))

    def _link_closed(self, link: Link, close: ConnectionClose) -> None:
        """The broker closes an open link: for the node's sake, or because of the client?"""
        self.to_link(link, encode_method_frame(0, ConnectionCloseOk()))
        self._around.out.append(CloseLink(link.id))
        node_goes = close.reply_code == ReplyCode.CONNECTION_FORCED and any(
            word in close.reply_text for word in _NODE_GOES
        )
        if self._closing:
            self._drop(link, None)
            if not self._links:
                self._around.links_closed(self.now)
        elif node_goes or self._park_failed(link, close):
            self._avoid[link.backend.name] = self.now + AVOID_LOST
            self.link_lost(link, self.now, Unfit.REFUSES, close.reply_text, told=True)
        else:
            self._drop(link, None)
            self._around.broker_closes(close, self.now)

    def _park_failed(self, link: Link, close: ConnectionClose) -> bool:
        """Whether the link was closed for a consumer that couldn't be started again, which is
        parked then, or for a get, which is said again: RabbitMQ closes the connection for what a
        quorum queue without a leader can't do."""
        if close.reply_code != ReplyCode.INTERNAL_ERROR:
            return False
        about = ChannelClose(close.reply_code, close.reply_text, close.class_id, close.method_id)
        for channel in self.channels.values():
            if channel.link is link and (failed := channel.failed_consumer(about)) is not None:
                channel.park(failed, close.reply_text)
                return True
            if channel.link is link and channel.get_refused(about):
                return True
        return False

    # -- handshakes of later links --------------------------------------------------------------

    def _link_handshake(self, link: Link, unit: Unit, data: bytes) -> None:
        """The client's own handshake, said again to another node."""
        method = decode_method(payload_of(data, 0, len(data)))
        agreement = self.agreement
        match method, link.state:
            case ConnectionStart(), LinkState.AWAIT_START:
                link.follow(LinkMove.START)
                self.to_link(link, link.says_start_ok(agreement))
            case ConnectionTune(), LinkState.AWAIT_TUNE:
                link.follow(LinkMove.TUNE)
                if not agreement.fits(method):
                    self._refused(link, "offers smaller limits than were agreed")
                    return
                self.to_link(link, link.says_open(agreement, self.settings.link_heartbeat))
            case ConnectionOpenOk(), LinkState.AWAIT_OPEN_OK:
                link.follow(LinkMove.OPEN_OK)
                link.deadline = None
                self._ready(link)
            case ConnectionClose(), _:
                self.to_link(link, encode_method_frame(0, ConnectionCloseOk()))
                self._refused(link, method.reply_text, politely=True)
            case ConnectionSecure(), _:
                self._refused(link, "asks for a challenge that can't be answered again")
            case _:
                raise SyntaxViolation(f"{method.name()} is out of place in a handshake")

    def _ready(self, link: Link) -> None:
        """A later link is open."""
        self._without_link_since = None
        # Its handshake may have begun before; or who should have answered is lost.
        self.to_link(link, self._new_secret)
        if self._home is None or self._home.state is not LinkState.OPEN:
            self._set_home(link)
        if self.wanted_home == link.backend.name:
            self._go_home(link)
        for channel in list(self.channels.values()):
            if channel.target is link:
                channel.link_ready(link)
            elif channel.mode is Mode.PARKED and channel.link is None:
                channel.relocate()

    def _refused(self, link: Link, detail: str, *, politely: bool = False) -> None:
        """A node doesn't take this link: its limits, its login, its state."""
        node = link.backend.name
        self._avoid[node] = self.now + AVOID_REFUSED
        self._home_missed(node)
        self._drop(link, CloseLink(link.id) if politely else AbortLink(link.id))
        self._tell_channels(link)
        if self._around.is_live:
            self._ensure_link()

    def _home_missed(self, node: NodeName) -> None:
        if self.wanted_home == node:
            self.wanted_home = None
            self.move_failed(MoveReason.REBALANCE, f"no link to {short_name(node)}")

    # -- links come and go ----------------------------------------------------------------------

    def _link_at(self, node: NodeName) -> Link | None:
        return next((link for link in self._links.values() if link.backend.name == node), None)

    def _set_home(self, link: Link | None) -> None:
        if self._home is not None:
            self._nodes.session_removed(self._home.backend.name)
        self._home = link
        if link is not None:
            self._nodes.session_added(link.backend.name)

    def _drop(self, link: Link, how: CloseLink | AbortLink | None) -> None:
        """A link is no longer the session's; the shell closes it as ``how`` says."""
        if self._links.pop(link.id, None) is None:
            return
        link.follow(LinkMove.END)
        if how is not None:
            self._around.out.append(how)
        if link is self._home:
            others = sorted(
                self._links.values(), key=lambda one: (one.state is not LinkState.OPEN, one.id)
            )
            self._set_home(next(iter(others), None))
        for queue, owner in list(self.exclusives.items()):
            if owner is link:
                del self.exclusives[queue]
        if link.blocked:
            self._tell_blocked(b"")

    def link_lost(
        self, link: Link, now: float, why: Unfit, detail: str, *, told: bool = False
    ) -> None:
        """A link couldn't be opened, broke or hangs. ``told``: the broker said that it goes."""
        self.now = now
        node = link.backend.name
        was_open = link.state is LinkState.OPEN
        self._avoid[node] = now + AVOID_LOST
        exclusive = sorted(queue for queue, owner in self.exclusives.items() if owner is link)
        self._drop(link, None)
        if self._closing:
            if not self._links:
                self._around.links_closed(now)
            return
        if not was_open:
            self._nodes.handshake_failed(node, why, detail)
        elif not told:
            self.directory.node_lost(node)
        self._home_missed(node)
        if exclusive:
            self._around.close_client(
                ReplyCode.CONNECTION_FORCED,
                f"node {short_name(node)} was lost ({detail}), and exclusive queue "
                f"'{exclusive[0]}' with it; connect again",
                SessionEnd.NODE_LOST,
                now,
            )
            return
        if not self.agreement.replayable and not self._links:
            self._around.close_client(
                ReplyCode.CONNECTION_FORCED,
                f"node {node} was lost ({detail}); connect again to reach another node",
                SessionEnd.NODE_SILENT if why is Unfit.HANGS else SessionEnd.NODE_LOST,
                now,
            )
            return
        self._tell_channels(link)
        if self._around.is_live:
            self._ensure_link()

    def link_impossible(self, link: Link, now: float) -> None:
        """This machine can't open one more link: channels stay where they are."""
        self.now = now
        self._refused(link, "")

    def heard_all(self, now: float) -> None:
        """The links weren't read, or are read again: silence says nothing about them."""
        for link in self._links.values():
            link.heard_at = now

    def _tell_channels(self, link: Link) -> None:
        """A link is gone."""
        for channel in list(self.channels.values()):
            if channel.link is link:
                if channel.target is link:
                    channel.target = None
                channel.link_lost()
            elif channel.target is link:
                channel.link_refused(link)
            if not self._around.is_live:
                return

    def _ensure_link(self) -> None:
        """A session keeps a link even when no channel needs one: it shows that the nodes serve
        this client, and the next channel opens at once."""
        if any(link.state is LinkState.OPEN for link in self._links.values()):
            self._without_link_since = None
            return
        if self._without_link_since is None:
            self._without_link_since = self.now
        if not self._links:
            self.refuge(None)

    def close_links(self, *, politely: bool) -> None:
        """Close them all for a reason that the client knows or will be told."""
        for link in list(self._links.values()):
            if politely and link.state is LinkState.OPEN and link.writable:
                self.to_link(link, _GOODBYE)
                self._drop(link, CloseLink(link.id))
            elif link.state is LinkState.CLOSING or (link.state is LinkState.OPEN and not politely):
                self._drop(link, CloseLink(link.id))
            else:
                self._drop(link, AbortLink(link.id))

    def hurry(self) -> None:
        """The client is closing: what it said goes where its channels are. It settles no more
        deliveries, and where its queues are led doesn't matter any more."""
        self.settings = replace(self.settings, locality=False)
        for channel in list(self.channels.values()):
            waits = channel.mode in (Mode.ASKING, Mode.DRAINING)
            if waits or (channel.mode is Mode.LINKING and channel.link is not None):
                channel.target = None
                channel.settle()

    def begin_close(self) -> None:
        """The client has closed its connection, and all it said before has been said: pass the
        close on to every link; ``links_closed`` follows."""
        self._closing = True
        for link in list(self._links.values()):
            if link.state is LinkState.OPEN:
                self.to_link(link, self._goodbye)
                link.follow(LinkMove.CLOSE)
            else:
                self._drop(link, AbortLink(link.id))
        if not self._links:
            self._around.links_closed(self.now)

    # -- moves that are asked for ---------------------------------------------------------------

    def move_off(self, node: NodeName, reason: MoveReason) -> None:
        """Leave a node: its channels move, then the link is closed."""
        self._leaving.add(node)
        link = self._link_at(node)
        if link is None:
            return
        if link is self._home and len(self._links) == 1:
            self.refuge(None)
        for channel in list(self.channels.values()):
            if channel.link is link and channel.mode in (Mode.SETTLED, Mode.ASKING):
                if (
                    channel.target is not None
                    or self.now < channel.setback_at + RETRY_MOVE
                    or channel.tie()
                ):
                    continue
                refuge = self.refuge(channel.wish())
                if refuge is not None and refuge is not link:
                    channel.mode = Mode.SETTLED
                    channel.start_move(refuge, reason, hold=False)
        self._close_unused()

    def come_back(self, node: NodeName) -> None:
        """A node may be used again."""
        self._leaving.discard(node)

    def move_home(self, node: NodeName) -> bool:
        """Make another node this session's home; its channels follow unless their queues keep
        them. False if that can't be."""
        link = self.link_to(node)
        if link is None:
            return False
        self.wanted_home = node
        if link.state is LinkState.OPEN:
            self._go_home(link)
        return True

    @property
    def free(self) -> bool:
        """Whether its home may be moved for balance's sake: nothing binds it to where it is."""
        home = self._home
        if home is None or not self.agreement.replayable or self.exclusives:
            return False
        for channel in self.channels.values():
            kept = self.settings.locality and channel.wish() is not None
            if kept or channel.tie() or channel.mode is not Mode.SETTLED:
                return False
        return True

    def is_at(self, node: NodeName) -> bool:
        """Whether it and all its channels are on this node."""
        home = self._home
        return (
            home is not None
            and home.backend.name == node
            and all(channel.link is home for channel in self.channels.values())
        )

    def _go_home(self, link: Link) -> None:
        self.wanted_home = None
        old = self._home
        if old is link:
            return
        self._set_home(link)
        for channel in list(self.channels.values()):
            if channel.link is not old or channel.mode is not Mode.SETTLED:
                continue
            kept = self.settings.locality and channel.wish() == channel.node
            if channel.target is None and not kept and not channel.tie():
                channel.start_move(link, MoveReason.REBALANCE, hold=False)

    # -- time -----------------------------------------------------------------------------------

    def looked_up(self, lookup: Lookup, now: float) -> None:
        """Something that was asked for has been looked up."""
        self.now = now
        for channel in list(self.channels.values()):
            channel.looked_up(lookup)

    def tick(self, now: float) -> None:
        """About twice a second."""
        self.now = now
        for link in list(self._links.values()):
            self._check_link(link)
            if not self._around.is_live:
                return
        if self._closing:
            return  # all has been said
        for node in list(self._leaving):
            self.move_off(node, MoveReason.DRAIN)
        for channel in list(self.channels.values()):
            channel.tick()
            if not self._around.is_live:
                return
        self._ensure_link()
        self._close_unused()
        self._check_outage()
        if self._kept or self.held_back:
            self._check_journal()

    def _check_outage(self) -> None:
        since = self._without_link_since
        if since is not None and self.now - since >= self.settings.outage_timeout:
            self._around.close_client(
                ReplyCode.CONNECTION_FORCED,
                f"no node could be reached for {self.now - since:.0f} s; try again later",
                SessionEnd.NO_FIT_NODE,
                self.now,
            )

    def _check_link(self, link: Link) -> None:
        now = self.now
        if link.deadline is not None and now >= link.deadline:
            self._hangs(link, "no answer in time")
            return
        if link.state is not LinkState.OPEN:
            return
        if self._around.client_writable:  # else the node isn't read, and says nothing for that
            suspected = self._nodes.unfit(link.backend.name) is Unfit.HANGS
            silence = link.silent_since(now, suspected)
            if silence is not None:
                self._hangs(link, f"silent for {silence:.0f} s")
                return
        if link.heartbeat and now - link.sent_at >= link.heartbeat / 2 - 0.5 and link.writable:
            self.to_link(link, HEARTBEAT)

    def _hangs(self, link: Link, detail: str) -> None:
        self._around.out.append(AbortLink(link.id))
        self.link_lost(link, self.now, Unfit.HANGS, detail)

    def _close_unused(self) -> None:
        """Links without channels go: at once from a node to be left, else after a while."""
        if len(self._links) < 2:
            return
        used = set(map(id, self.exclusives.values()))
        for channel in self.channels.values():
            used.update((id(channel.link), id(channel.target)))
        ready = [link for link in self._links.values() if link.state is LinkState.OPEN]
        if len(ready) < 2:
            return
        for link in ready:
            if id(link) in used or self.wanted_home is not None:
                link.empty_since = None
                continue
            if link.empty_since is None:
                link.empty_since = self.now
            leaving = link.backend.name in self._leaving
            if leaving or self.now - link.empty_since >= self.settings.link_linger:
                if not leaving and link is self._home and not used:
                    continue
                self.to_link(link, _GOODBYE)
                self._drop(link, CloseLink(link.id))
                if len(self._links) < 2:
                    return

    def _check_journal(self) -> None:
        """Read the client only while not too much is kept."""
        kept = self.journal_bytes()
        limit = self.settings.journal_limit
        if kept > limit // 2:
            for channel in self.channels.values():
                channel.publishes.compact()
            kept = self.journal_bytes()
        self._kept = kept
        self._budget.change(kept - self._counted)
        self._counted = kept
        crowded = self._budget.exceeded and kept > SMALL_JOURNAL
        hold = kept > limit or crowded or (self.held_back and kept > limit // 2)
        if hold != self.held_back:
            self.held_back = hold
            self._around.out.append(HoldClient(hold))

    def ended(self) -> None:
        """The session is over: nothing is kept any more."""
        self._budget.change(-self._counted)
        self._counted = 0
        if self._home is not None:
            self._nodes.session_removed(self._home.backend.name)
            self._home = None


def _cut_short(unit: Unit | None) -> SyntaxViolation:
    method = unit.method if unit is not None else 0
    return SyntaxViolation(f"{method_name(method)} is cut short", (method >> 16, method & 0xFFFF))
