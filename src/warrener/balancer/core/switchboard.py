"""An open session: its channels, and what goes from where to where.

Frames go from the client to the link that their channel is on, and from there back. A chunk in
which nobody has to decide anything, and whose channels are on one link, is one write. The links
themselves (``Links``) are opened when a channel wants to go somewhere, and tell when they are ready
or gone; then the channels that were waiting go there, or are carried to others (``Carried``).

    client_data ──► next_unit ──► channel.client_passes ──► one write to its link
                        └──► not as it is, or channel 0: one at a time (``_client_unit``)
    link_data  ───► the same the other way

The client is not read while more than ``journal_limit`` bytes are kept for the session: unconfirmed
publishes, and what waits for a channel to settle. It is read again when less than half is kept.

This module is longer than others because it is what channels and session see of each other: the
fast path both ways, and one short method for each thing that a channel needs.
"""

from collections import Counter
from dataclasses import replace
from struct import error
from typing import Final, Protocol

from warrener.amqp.constants import FRAME_METHOD, ReplyCode
from warrener.amqp.errors import FrameError, ProtocolViolation, SyntaxViolation
from warrener.amqp.frames import Reassembly, is_heartbeat, payload_of
from warrener.amqp.methods import (
    BasicAck,
    BasicNack,
    ChannelClose,
    ChannelCloseOk,
    ChannelOpen,
    ConnectionClose,
    ConnectionUpdateSecret,
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
    HoldClient,
    LookUp,
    SendClient,
    SendLink,
    Wake,
)
from warrener.balancer.core.directory import Directory
from warrener.balancer.core.link import Link
from warrener.balancer.core.links import GOODBYE, Links, Nodes
from warrener.balancer.core.links import Around as AroundLinks
from warrener.balancer.core.requests import Rpc
from warrener.balancer.core.states import LinkState
from warrener.facts.ids import ChannelNumber, NodeName
from warrener.facts.places import Lookup
from warrener.facts.reasons import MoveReason, SessionEnd, Unfit
from warrener.facts.settings import BalancerSettings

SMALL_JOURNAL: Final = 64 * 1024
"""Bytes that every session may keep, however much all of them keep."""

_SAYS_AGAIN: Final = frozenset({Mode.LINKING, Mode.LEAVING, Mode.REPLAYING, Mode.PROBING})
"""Modes of a channel after which what is unconfirmed is published again."""

_STILL_HEARD: Final = CONTENT | {BasicAck.ID, BasicNack.ID}
"""What the client still gets from a link that a channel is leaving: confirms and returned messages;
deliveries are read to know where they end."""

_CUT_SHORT: Final = (error, IndexError)
"""What reading a field gives that lies behind the end of a frame."""


class Around(AroundLinks, Protocol):
    """What the open part of a session needs of the whole."""

    bytes_out: int
    client_sent_at: float

    @property
    def is_open(self) -> bool: ...
    def client_closes(self, now: float) -> None: ...
    def client_violation(self, violation: ProtocolViolation, now: float) -> None: ...


class Switchboard:
    """See the module. Made when the session's first link is open."""

    __slots__ = (
        "_around",
        "_budget",
        "_counted",
        "_goodbye",
        "_kept",
        "_nodes",
        "_past_local",
        "_past_remote",
        "_wake_at",
        "agreement",
        "auto_deletes",
        "channels",
        "delivered",
        "directory",
        "exclusives",
        "held_back",
        "inbox",
        "limit",
        "links",
        "moves",
        "moves_failed",
        "now",
        "published",
        "settings",
        "vhost",
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
        self._around = around
        self._nodes = nodes
        self._budget = budget
        self._kept = 0  # at least what is kept for this session, in bytes
        self._counted = 0  # of them in the budget
        self._wake_at = 0.0  # when a tick was asked for last
        self._past_local = 0
        self._past_remote = 0
        self._goodbye = GOODBYE  # the client's own connection.close, once it has said it
        home.tally = budget.tally(home.backend.name)
        self.links = Links(around, self, home, agreement, nodes, settings)

    # -- what can be asked ----------------------------------------------------------------------

    def link(self, number: int) -> Link | None:
        """The link of that number, unless it has been dropped since."""
        return self.links.by_number.get(number)

    def hand_in_work(self) -> None:
        """What its consumers did since the last time goes into the book that all share."""
        for channel in self.channels.values():
            self._budget.work.add(self.vhost, channel.work, channel.arrivals, channel.owed)

    def journal_bytes(self) -> int:
        """Bytes kept for this session."""
        return sum(channel.journal_bytes for channel in self.channels.values())

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
            link.tally.bytes_in += len(data)
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
        return self.links.fit(node)

    def link_to(self, node: NodeName) -> Link | None:
        """A link to a node, open or on its way; None if there can't be one now."""
        return self.links.link_to(node)

    def refuge(self, wish: NodeName | None) -> Link | None:
        """A link for a channel that has lost its own; None if there is none to be had now."""
        return self.links.refuge(wish)

    def gone(self, number: ChannelNumber) -> None:
        """A channel is closed on both sides; what was held is for its successor."""
        channel = self.channels.pop(number)
        self._past_local += channel.local
        self._past_remote += channel.remote
        self._budget.work.add(self.vhost, channel.work, channel.arrivals, channel.owed)
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

    def clock(self) -> float:
        """The time, as exact as it is to be had; only for differences."""
        clock = self._budget.clock
        return self.now if clock is None else clock()

    def confirmed_after(self, seconds: float) -> None:
        """A publish that was timed has been confirmed."""
        self._budget.confirms.add(seconds)

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
        link = self.links.open_one()
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
        home = self.links.home
        if home is not None and home.state is LinkState.OPEN:
            self.to_link(home, data)

    def _client_method(self, unit: Unit, data: bytes) -> None:
        """A frame on channel 0."""
        if unit.method == ConnectionClose.ID:
            self._goodbye = data
            self._around.client_closes(self.now)
        elif unit.method == ConnectionUpdateSecret.ID:
            method = decode_method(payload_of(data, 0, len(data)))
            if isinstance(method, ConnectionUpdateSecret):
                self.agreement.update_secret(method.new_secret)
            self.links.say_secret(data)
        else:
            self._to_home(data)

    # -- from the links -------------------------------------------------------------------------

    def link_connected(self, link: Link, now: float) -> None:
        """The TCP connection of a later link stands."""
        self.now = now
        self.links.connected(link)

    def link_data(self, link: Link, data: bytes, now: float) -> None:
        """Bytes from a node."""
        self.now = now
        link.tally.bytes_out += len(data)
        joined = link.inbox.join(data)
        if joined is None:
            return
        try:
            self._link_units(link, joined)
        except (ProtocolViolation, *_CUT_SHORT) as problem:
            violation = problem if isinstance(problem, ProtocolViolation) else _cut_short(None)
            self.links.aborted(link, Unfit.NOT_AMQP, violation.text)
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
            if link.id not in self.links.by_number or not self._around.is_live:
                return
        if start < pos:
            self.to_client(data if pos - start == len(data) else data[start:pos])
        if pos < stop:
            link.inbox.keep(data[pos:], unit.end - pos)

    def _link_unit(self, link: Link, unit: Unit, data: bytes) -> None:
        if is_heartbeat(unit.kind):
            return
        number = ChannelNumber(unit.channel)
        if number == 0 or (link.state is not LinkState.OPEN and not self.links.closing):
            self.links.broker_says(link, data)
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

    # -- links come and go ----------------------------------------------------------------------

    def used_links(self) -> set[Link | None]:
        """Links that a channel is on or goes to, or that an exclusive queue binds; None among them
        is for a channel without."""
        used: set[Link | None] = set(self.exclusives.values())
        for channel in self.channels.values():
            used.update((channel.link, channel.target))
        return used

    def exclusives_of(self, link: Link) -> list[str]:
        """Exclusive queues that would be lost with a link."""
        return sorted(queue for queue, owner in self.exclusives.items() if owner is link)

    def survives(self, link: Link, close: ConnectionClose) -> bool:
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

    def link_ready(self, link: Link) -> None:
        """A later link is open."""
        link.tally = self._budget.tally(link.backend.name)
        if self.links.wanted_home == link.backend.name:
            self._go_home(link)
        for channel in list(self.channels.values()):
            if channel.target is link:
                channel.link_ready(link)
            elif channel.mode is Mode.PARKED and channel.link is None:
                channel.relocate()

    def link_dropped(self, link: Link) -> None:
        """A link is no longer the session's: its exclusive queues are gone."""
        for queue in self.exclusives_of(link):
            del self.exclusives[queue]

    def link_lost(self, link: Link, now: float, why: Unfit, detail: str) -> None:
        """A link couldn't be opened, or broke."""
        self.now = now
        self.links.lost(link, why, detail)

    def link_impossible(self, link: Link, now: float) -> None:
        """This machine can't open one more link: channels stay where they are."""
        self.now = now
        self.links.impossible(link)

    def link_gone(self, link: Link) -> None:
        """The channels on a link, or on their way to it, have to do without."""
        for channel in list(self.channels.values()):
            if channel.link is link:
                if channel.target is link:
                    channel.target = None
                channel.link_lost()
            elif channel.target is link:
                channel.link_refused(link)
            if not self._around.is_live:
                return

    # -- the client closes ----------------------------------------------------------------------

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
        self.links.begin_close(self._goodbye)

    # -- moves that are asked for ---------------------------------------------------------------

    def move_off(self, node: NodeName, reason: MoveReason) -> None:
        """Leave a node: its channels move, then the link is closed."""
        self.links.leaving.add(node)
        link = self.links.at(node)
        if link is None:
            return
        if link is self.links.home and len(self.links.by_number) == 1:
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
        self.links.close_unused()

    def come_back(self, node: NodeName) -> None:
        """A node may be used again."""
        self.links.leaving.discard(node)

    def move_home(self, node: NodeName) -> bool:
        """Make another node this session's home; its channels follow unless their queues keep
        them. False if that can't be."""
        link = self.link_to(node)
        if link is None:
            return False
        self.links.wanted_home = node
        if link.state is LinkState.OPEN:
            self._go_home(link)
        return True

    @property
    def free(self) -> bool:
        """Whether its home may be moved for balance's sake: nothing binds it to where it is."""
        home = self.links.home
        if home is None or not self.agreement.replayable or self.exclusives:
            return False
        for channel in self.channels.values():
            kept = self.settings.locality and channel.wish() is not None
            if kept or channel.tie() or channel.mode is not Mode.SETTLED:
                return False
        return True

    def is_at(self, node: NodeName) -> bool:
        """Whether it and all its channels are on this node."""
        home = self.links.home
        return (
            home is not None
            and home.backend.name == node
            and all(channel.link is home for channel in self.channels.values())
        )

    def _go_home(self, link: Link) -> None:
        self.links.wanted_home = None
        old = self.links.home
        if old is link:
            return
        self.links.set_home(link)
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
        if not self.links.check() or self.links.closing:
            return  # it has ended, or all has been said
        for node in list(self.links.leaving):
            self.move_off(node, MoveReason.DRAIN)
        for channel in list(self.channels.values()):
            channel.tick()
            if not self._around.is_live:
                return
        self.links.tidy()
        if self._kept or self.held_back:
            self._check_journal()

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
        self.links.ended()


def _cut_short(unit: Unit | None) -> SyntaxViolation:
    method = unit.method if unit is not None else 0
    return SyntaxViolation(f"{method_name(method)} is cut short", (method >> 16, method & 0xFFFF))
