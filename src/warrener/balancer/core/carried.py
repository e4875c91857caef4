"""A channel that can be carried from one link to another: its state, and the steps of a move.

``Channel`` adds what the client and the broker say on it; see there for the modes. A move is always
one of two:

    planned     [LINKING] -> DRAINING -> LEAVING -> REPLAYING -> SETTLED
    after loss  [PARKED] -> [LINKING] -> REPLAYING -> SETTLED

A planned move that comes to nothing (the new node refuses, the client doesn't settle in time) is
undone: the consumers are started again where they were.
"""

import math
from abc import abstractmethod
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import replace
from enum import Enum, auto
from typing import Final, Protocol

from warrener.amqp.constants import FRAME_METHOD, ReplyCode
from warrener.amqp.methods import (
    BasicCancel,
    BasicConsume,
    BasicGet,
    BasicQos,
    ChannelClose,
    ChannelCloseOk,
    ChannelFlow,
    ChannelOpen,
    ConfirmSelect,
    Method,
    QueuePurge,
    TxSelect,
    encode_method_frame,
    short_text,
)
from warrener.amqp.units import Unit, What
from warrener.balancer.core.assembly import Assembly
from warrener.balancer.core.consumers import Consumer, Consumers
from warrener.balancer.core.directory import Directory
from warrener.balancer.core.journal import Deliveries, Publishes
from warrener.balancer.core.link import Link
from warrener.balancer.core.requests import Done, Requests, Rpc, consumer_tag_in
from warrener.balancer.core.states import LinkState
from warrener.balancer.core.streams import resumed_after
from warrener.balancer.core.traffic import Traffic
from warrener.balancer.core.worktime import Arrivals, Owed, Worktime
from warrener.facts.ids import ChannelNumber, NodeName
from warrener.facts.places import Lookup, QueuePlace
from warrener.facts.reasons import MoveReason, Placement
from warrener.facts.settings import BalancerSettings

REPLY_TO: Final = "amq.rabbitmq.reply-to"
"""The pseudo-queue of direct reply-to: replies find the channel itself, on its node."""

ASK_TIMEOUT: Final = 1.0
"""Seconds a channel waits for a look-up; then it stays where it is."""

ASK_PAUSE: Final = 5.0
"""Seconds in which it doesn't wait for another one, after one that took too long."""

SURE_AFTER: Final = 3.0
"""Seconds after which a refusal is believed, if the queue is known to have a leader; and after
which a consumer is tried although its queue is said to have none."""

JUDGE_EVERY: Final = 0.2
"""Seconds between two looks whether the queue of a parked consumer is back."""

TRY_PAUSES: Final = (0.5, 0.5, 1.0, 2.0, 4.0)
"""Seconds that publishes wait for news of their queue's leader before the first of them is tried
all the same; the last one repeats. After a crash a leader is elected and known within the first
pause. When packets vanish there are no news for seconds, because the management API waits for the
node that is gone, while a broker may have taken the publish long since."""

SETTLE_FOR_COMFORT: Final = 2.0
"""Seconds that a move waits for acks and confirms if it is only for locality or balance: a client
that takes its time gets no deliveries meanwhile."""

RETRY_MOVE: Final = 10.0
"""Seconds after a planned move that came to nothing (a client that settles late)."""

RETRY_MOVE_AT_MOST: Final = 300.0
"""Seconds; the pause doubles each time."""

NEEDS_LEADER: Final = frozenset({BasicGet.ID, QueuePurge.ID})
"""RabbitMQ closes the connection (541) that says this to a quorum queue without a leader."""

_GOODBYE: Final = ChannelClose(ReplyCode.SUCCESS, "moved by the balancer")


class Mode(Enum):
    """See ``warrener.balancer.core.channel``."""

    SETTLED = auto()
    ASKING = auto()
    LINKING = auto()
    DRAINING = auto()
    LEAVING = auto()
    REPLAYING = auto()
    PROBING = auto()
    PARKED = auto()
    CLOSING = auto()
    ENDED = auto()


class Board(Protocol):
    """What a channel needs of the session around it."""

    now: float
    settings: BalancerSettings
    directory: Directory
    vhost: str
    exclusives: dict[str, Link]  # queues that only this link may use
    auto_deletes: set[str]  # queues that go with their last consumer
    published: int
    delivered: int

    @property
    def takes_cancels(self) -> bool: ...
    @property
    def in_trouble(self) -> bool: ...
    def to_client(self, data: bytes) -> None: ...
    def to_link(self, link: Link, data: bytes) -> None: ...
    def ask(self, lookup: Lookup) -> None: ...
    def wake(self, after: float) -> None: ...
    def fit(self, node: NodeName) -> bool: ...
    def link_to(self, node: NodeName) -> Link | None: ...
    def refuge(self, wish: NodeName | None) -> Link | None: ...
    def gone(self, number: ChannelNumber) -> None: ...
    def cannot_carry(self, number: ChannelNumber, why: str) -> None: ...
    def moved(self, reason: MoveReason) -> None: ...
    def move_failed(self, reason: MoveReason, why: str) -> None: ...
    def consumer_gone(self, queue: str) -> None: ...
    def queue_deleted(self, queue: str) -> None: ...
    def forced(self) -> None: ...
    def replayed(self, count: int) -> None: ...
    def clock(self) -> float: ...
    def confirmed_after(self, seconds: float) -> None: ...


class Carried:
    """See the module. Attributes are the channel's and the session's business only."""

    __slots__ = (
        "arrivals",
        "asked",
        "believed_at",
        "board",
        "confirms",
        "consumers",
        "deadline",
        "declared_in",
        "deliveries",
        "deliveries_local",
        "dont_ask_until",
        "epoch",
        "evaluated_at",
        "get_queue",
        "get_refused_at",
        "has_reply_to",
        "held",
        "held_bytes",
        "in_assembly",
        "in_transaction",
        "last_queue",
        "led_since",
        "link",
        "local",
        "mode",
        "moves",
        "next_move_at",
        "number",
        "out_assembly",
        "owed",
        "parked_queue",
        "parked_since",
        "placed",
        "plain_proven",
        "plain_published",
        "probe_at",
        "probe_since",
        "probes",
        "publishes",
        "qos",
        "qos_global",
        "reason",
        "remote",
        "reopens",
        "replies_due",
        "requests",
        "seen_version",
        "setback_at",
        "setbacks",
        "since",
        "target",
        "to_replay",
        "traffic",
        "transactional",
        "tries",
        "tries_now",
        "unproved",
        "why",
        "work",
    )

    def __init__(self, board: Board, number: ChannelNumber, link: Link | None) -> None:
        self.board = board
        self.number = number
        self.link = link  # where it is open, or None
        self.target: Link | None = None  # where it is going
        self.mode = Mode.SETTLED
        self.reason = MoveReason.LOCALITY  # of the move under way
        self.why = Placement.HOME
        self.since = board.now
        self.deadline: float | None = None
        self.moves: Counter[MoveReason] = Counter()
        self.next_move_at = 0.0
        self.setbacks = 0  # planned moves in a row that came to nothing
        self.setback_at = 0.0
        self.epoch = 0  # grows with each link it is opened on
        # what the client has said and nobody has heard yet
        self.held: deque[tuple[Unit, bytes]] = deque()
        self.held_bytes = 0
        self.out_assembly: Assembly | None = None  # a publish that comes in parts
        self.in_assembly: Assembly | None = None  # a delivery that comes in parts
        # the journal
        self.requests = Requests()
        self.work = Worktime()
        self.arrivals = Arrivals()
        self.owed = Owed()
        self.deliveries = Deliveries(self.work)
        self.publishes = Publishes()
        self.consumers = Consumers(self.work.consumes)
        self.qos: Method | None = None
        self.qos_global: Method | None = None
        self.confirms = False
        self.transactional = False
        self.in_transaction = False  # something in it is not committed
        self.plain_published = 0  # without confirms
        self.plain_proven = 0  # of them, known to have arrived
        self.has_reply_to = False  # consumes direct replies
        self.replies_due = 0  # publishes that a direct reply may be on its way for
        self.last_queue = ""  # declared last, which an empty queue name stands for
        self.declared_in = 0  # the epoch of that
        self.to_replay = False  # unconfirmed publishes wait for their queue
        self.unproved = False  # nothing published since the move has been confirmed
        self.believed_at = math.nan  # the last trouble in spite of which a refusal was believed
        self.probes = 0  # how often the first publish has been tried
        self.probe_since = 0.0
        self.probe_at: float | None = None  # when it is tried again
        self.led_since: float | None = None  # tried with its queue known to be led since then
        self.tries = 0  # how often a publish has been tried though no leader was known
        self.tries_now = False  # the next one is tried, whether there is a leader or not
        self.reopens = False  # the move under way is to a new channel on the same link
        # placement
        self.traffic = Traffic()
        self.get_queue = ""
        self.get_refused_at: float | None = None  # since when, for want of a leader
        self.placed = False  # the first method that names a queue has been seen
        self.asked: Lookup | None = None  # what is waited for
        self.dont_ask_until = 0.0
        self.seen_version = -1
        self.evaluated_at = board.now
        self.deliveries_local: bool | None = None
        self.local = 0  # messages, see SessionStatistics
        self.remote = 0
        self.parked_queue = ""  # publishes wait for it
        self.parked_since: float | None = None

    # -- what can be asked ----------------------------------------------------------------------

    @property
    def node(self) -> NodeName | None:
        """Where it is open."""
        return self.link.backend.name if self.link is not None else None

    @property
    def is_open_on_link(self) -> bool:
        """Whether frames may be sent on its link."""
        return self.link is not None and self.mode not in (Mode.LEAVING, Mode.ENDED)

    @property
    def streams_out(self) -> bool:
        """Whether a large message is on its way to the link, frame by frame."""
        return self.out_assembly is not None and bool(self.out_assembly.streams)

    @property
    def streams_in(self) -> bool:
        """Whether a large message is on its way to the client, frame by frame."""
        return self.in_assembly is not None and bool(self.in_assembly.streams)

    @property
    def journal_bytes(self) -> int:
        """Bytes kept for it."""
        return self.held_bytes + self.publishes.bytes

    @property
    def unsettled(self) -> bool:
        """Whether something is under way that a planned move waits for."""
        return bool(
            self.deliveries.outstanding > 0
            or self.publishes.outstanding
            or self.in_transaction
            or self.replies_due > 0
            or self.out_assembly is not None
            or self.in_assembly is not None
            or any(request.expected for request in self.requests)
        )

    def tie(self) -> str:
        """What binds it to its link, so that a planned move makes no sense; empty if nothing."""
        board = self.board
        if self.replies_due > 0:
            return "a direct reply-to conversation"
        if self.in_transaction:
            return "an open transaction"
        for consumer in self.consumers:
            queue = consumer.queue
            if queue in board.exclusives:
                return f"exclusive queue '{queue}'"
            if self._auto_deletes(queue):
                return f"auto-delete queue '{queue}', which a move would delete"
        return ""

    def uncarriable(self) -> str:
        """What is lost if its link is lost now; empty if everything can be said again."""
        unproven = self.plain_published - self.plain_proven
        if self.in_transaction:
            return "a transaction was open"
        if unproven:
            return f"{unproven} messages published without confirms may not have arrived"
        if self.replies_due > 0:
            return "a direct reply was due"
        if not self.publishes.carriable:
            return "an unconfirmed message was too large for the journal"
        if self.streams_out:
            return "a large message was half sent"
        if self.streams_in:
            return "a large message was half delivered"
        return ""

    def leader_of(self, queue: str) -> NodeName | None:
        """The fit node that leads a queue, if that is known."""
        board = self.board
        if queue in board.exclusives:
            return board.exclusives[queue].backend.name
        place = board.directory.place(board.vhost, queue, board.now)
        if isinstance(place, QueuePlace) and place.leader is not None and board.fit(place.leader):
            return place.leader
        return None

    def main_queue(self) -> str:
        """The queue that it is placed for; empty if there is none."""
        for consumer in self.consumers:
            return consumer.queue
        return self.traffic.main_queue() or self.get_queue

    def wish(self) -> NodeName | None:
        """The node where it should be for its queues' sake; None if that isn't known."""
        if len(self.consumers):
            leaders: Counter[NodeName] = Counter()
            for consumer in self.consumers:
                node = self.leader_of(consumer.queue)
                if node is not None:
                    leaders[node] += 1
            if not leaders:
                return None
            best = max(leaders.values())
            now_at = self.node
            if now_at is not None and leaders[now_at] == best:
                return now_at
            return next(node for node, number in leaders.items() if number == best)
        if main := self.traffic.main_queue():
            return self.traffic.best(self.node, self.leader_of) or self.leader_of(main)
        return self.leader_of(self.get_queue) if self.get_queue else None

    def _auto_deletes(self, queue: str) -> bool:
        board = self.board
        if queue in board.auto_deletes:
            return True
        place = board.directory.place(board.vhost, queue, board.now)
        return isinstance(place, QueuePlace) and place.auto_delete

    # -- saying things --------------------------------------------------------------------------

    def say(self, method: Method) -> None:
        """A method of the balancer's own, to the broker."""
        if self.link is None:
            raise AssertionError("nothing can be said on a channel without a link")
        self.board.to_link(self.link, encode_method_frame(self.number, method))

    def request(self, method: Method, done: Done | None = None) -> None:
        """A request of the balancer's own, whose answer the client doesn't get."""
        frame = encode_method_frame(self.number, method)
        request = Rpc(
            method.ID,
            frame,
            ours=True,
            done=done,
            published=self.plain_published,
            consumer_tag=consumer_tag_in(method),
        )
        self.requests.append(request)
        if self.link is None:
            raise AssertionError("nothing can be asked on a channel without a link")
        self.board.to_link(self.link, frame)

    def hold(self, unit: Unit, data: bytes) -> None:
        """Keep what the client said until the channel is settled."""
        self.held.append((unit, data))
        self.held_bytes += len(data)

    def hold_first(self, unit: Unit, data: bytes) -> None:
        """Keep what was about to be said; it comes before everything else that is held."""
        self.held.appendleft((unit, data))
        self.held_bytes += len(data)

    @abstractmethod
    def client_now(self, unit: Unit, data: bytes) -> None:
        """What the client said, on a settled channel."""

    @abstractmethod
    def probe(self, data: bytes) -> None:
        """Try one publish, and wait for what the broker says."""

    def settle(self) -> None:
        """The channel is where it should be: everything held is said."""
        self.mode = Mode.SETTLED
        self.deadline = None
        while self.held and self.mode is Mode.SETTLED:
            unit, data = self.held.popleft()
            self.held_bytes -= len(data)
            self.client_now(unit, data)
        if self.mode is Mode.SETTLED and self.target is not None:
            self._set_off()  # the link opened while the channel waited for something else

    # -- a planned move -------------------------------------------------------------------------

    def start_move(self, link: Link, reason: MoveReason, *, hold: bool) -> None:
        """Go to another link. ``hold``: what the client says waits for it from now on."""
        self.target = link
        self.reason = reason
        if link.state is LinkState.OPEN and not self.streams_out:
            self._drain()
        elif hold:
            self.mode = Mode.LINKING

    def link_ready(self, link: Link) -> None:
        """A link is open now."""
        if self.target is not link:
            return
        if self.link is None:
            if self.mode is not Mode.LEAVING:
                self.replay(link)
        elif self.mode in (Mode.SETTLED, Mode.LINKING):
            self._set_off()

    def _set_off(self) -> None:
        """Leave for the target as soon as its link is open, unless something binds it by now."""
        if self.target is None or self.target.state is not LinkState.OPEN:
            return
        if self.streams_out:
            return  # nothing may be said on the link before the message has ended
        if self.reason is MoveReason.TIE or not self.tie():
            self._drain()
            return
        self.target = None
        if self.mode is Mode.LINKING:
            self.settle()

    def link_refused(self, link: Link) -> None:
        """The link that it was going to can't be had."""
        if self.target is not link:
            return
        self.target = None
        self._set_back()
        if self.mode is Mode.LINKING:
            if self.link is None:
                self.relocate()
            else:
                self.why = Placement.REFUSED
                self.settle()
        elif self.mode is Mode.DRAINING:
            self._undo("the new node refused")

    def _drain(self) -> None:
        """Stop deliveries and wait until nothing is under way."""
        self.mode = Mode.DRAINING
        self.deadline = self.board.now + self._settle_time()
        for consumer in self.consumers:
            if consumer.parked_since is None and not consumer.cancelling:
                self.request(BasicCancel(consumer.link_tag))
        self.check_drained()

    def check_drained(self) -> None:
        """Leave once nothing is under way."""
        if self.mode is Mode.DRAINING and not self.unsettled:
            self._leave()

    def _leave(self) -> None:
        if self.link is None:
            raise AssertionError("a channel leaves a link")
        self.mode = Mode.LEAVING
        self.deadline = None
        self.say(_GOODBYE)
        self.link.closing.add(self.number)

    def has_left(self) -> None:
        """The old link's close-ok: everything said there has been taken."""
        self.plain_proven = self.plain_published
        self.deliveries.left()
        self.publishes.left()
        self.in_assembly = None
        self.requests = Requests(r for r in self.requests if not r.ours and r.expected)
        self.link = None
        target = self.target
        if target is None:
            self.relocate()
        elif target.state is LinkState.OPEN:
            self.replay(target)
        else:
            self.mode = Mode.LINKING

    def _undo(self, why: str) -> None:
        """The planned move came to nothing: go on where it is."""
        self.target = None
        self._set_back()
        self.board.move_failed(self.reason, why)
        self.mode = Mode.REPLAYING
        self.deadline = None
        asked = self.qos_asked()
        self._start_consumers(asked, asked)
        self.check_replayed()

    def drain_overdue(self) -> None:
        """The client hasn't settled in time."""
        stopped = not any(request.ours and request.expected for request in self.requests)
        carriable = stopped and not self.uncarriable() and not self.tie()
        if self.reason is MoveReason.DRAIN and carriable:
            self.board.forced()
            self._leave()  # what is unsettled comes again, marked as redelivered
        else:
            self._undo(f"not settled within {self._settle_time():g} s")

    def _settle_time(self) -> float:
        """How long (s) the client has to settle before the move under way is given up."""
        limit = self.board.settings.settle_timeout
        if self.reason in (MoveReason.LOCALITY, MoveReason.REBALANCE):
            return min(limit, SETTLE_FOR_COMFORT)
        return limit

    def _set_back(self) -> None:
        """A planned move came to nothing; the next one waits longer each time."""
        self.setback_at = self.board.now
        self.next_move_at = self.board.now + min(RETRY_MOVE * 2**self.setbacks, RETRY_MOVE_AT_MOST)
        self.setbacks += 1

    # -- after a loss ---------------------------------------------------------------------------

    def link_lost(self) -> None:
        """The link that it was open on is gone."""
        why = self.uncarriable() if self.mode is not Mode.ENDED else ""
        if why and (self.mode is not Mode.CLOSING or self.plain_proven < self.plain_published):
            self.board.cannot_carry(self.number, why)
            return
        if self.mode is Mode.CLOSING:
            self.board.to_client(encode_method_frame(self.number, ChannelCloseOk()))
            self.link = None
            self.board.gone(self.number)
            return
        if self.reopens:  # what was to be a new channel on this link
            self.reopens = False
            self.reason = MoveReason.FAILOVER
        if self.mode is Mode.LEAVING:
            self.has_left()
            return
        self.deliveries.left()
        self.publishes.left()
        self.in_assembly = None
        self.requests = Requests(request for request in self.requests if not request.ours)
        self._hold_from_first_get()
        for consumer in self.consumers:
            consumer.bereft = True
        self.link = None
        self.reason = MoveReason.FAILOVER
        target = self.target
        if target is None:
            self.relocate()
        elif target.state is LinkState.OPEN:
            self.replay(target)
        else:
            self.mode = Mode.LINKING

    def _hold_from_first_get(self) -> None:
        """What may have to wait for a queue's leader, and all that was said behind it."""
        requests = list(self.requests)
        first = next(
            (at for at, request in enumerate(requests) if request.id in NEEDS_LEADER), len(requests)
        )
        for request in reversed(requests[first:]):
            if request.expected or request.id != BasicConsume.ID:
                unit = Unit(
                    What.FRAME, len(request.frame), FRAME_METHOD, self.number, request.id, 1
                )
                self.hold_first(unit, request.frame)
        self.requests = Requests(requests[:first])

    def relocate(self) -> None:
        """Look for a link; without one, wait."""
        link = self.board.refuge(self.wish())
        self.deadline = None
        if link is None:
            self.target = None
            self.mode = Mode.PARKED
        elif link.state is LinkState.OPEN:
            self.target = link
            self.replay(link)
        else:
            self.target = link
            self.mode = Mode.LINKING

    # -- the replay -----------------------------------------------------------------------------

    def replay(self, link: Link) -> None:
        """Say everything again that the channel needs on ``link``."""
        self.link = link
        self.target = None
        self.epoch += 1
        self.mode = Mode.REPLAYING
        self.deadline = None
        self.to_replay = True
        self.unproved = self.confirms
        if not self.reopens:
            self.probes = self.tries = 0
        again = [
            request
            for request in self.requests
            # A consume that wants no answer has made a consumer already.
            if not request.ours and (request.expected or request.id != BasicConsume.ID)
        ]
        self.requests = Requests()
        if again and again[0].id == ChannelOpen.ID:
            opening = again.pop(0)
            self.requests.append(opening)
            self.board.to_link(link, opening.frame)
        else:
            self.request(ChannelOpen())
        if self.confirms:
            self.request(ConfirmSelect())
        if self.transactional:
            self.request(TxSelect())
        self.consumers.new_link()
        self._start_consumers(None, self.qos)
        self._ask_again(again, link)
        self.check_replayed()

    def _ask_again(self, requests: Iterable[Rpc], link: Link) -> None:
        """What the client has asked and nobody answered; a consume under the prefetch that it was
        said under, although a later one may be in force already."""
        in_force = wanted = self.qos
        for request in requests:
            if request.id == BasicConsume.ID and request.prefetch != in_force:
                in_force = request.prefetch
                self.request(in_force or BasicQos(0, 0))
            request.consumer_tag = consumer_tag_in(request.asked())  # no alias on this link
            self.requests.append(request)
            self.board.to_link(link, request.frame)
            if (asked := _prefetch_in(request)) is not None:
                in_force = wanted = asked
        if in_force != wanted:
            self.request(wanted or BasicQos(0, 0))

    def qos_asked(self) -> Method | None:
        """The prefetch that is in force for what is said next, whether it has been answered or
        not."""
        asked = (_prefetch_in(one) for one in reversed(self.requests) if not one.ours)
        return next((one for one in asked if one is not None), self.qos)

    def _start_consumers(self, in_force: Method | None, wanted: Method | None) -> None:
        """All consumers that aren't parked, each under the prefetch it was made under; ``wanted``
        is in force afterwards."""
        board = self.board
        if self.qos_global is not None:
            self.request(self.qos_global)
        for consumer in self.consumers:
            if consumer.cancelling or consumer.parked_since is not None:
                continue
            place = board.directory.place(board.vhost, consumer.queue, board.now)
            if isinstance(place, QueuePlace) and not (place.usable and place.leader):
                self.park(consumer, "its queue has no leader that runs")
                continue
            in_force = self._start(consumer, in_force)
        if in_force != wanted:
            self.request(wanted or BasicQos(0, 0))

    def _start(self, consumer: Consumer, in_force: Method | None) -> Method | None:
        """One consumer; the prefetch that is in force afterwards."""
        if consumer.prefetch is not None and consumer.prefetch != in_force:
            self.request(consumer.prefetch)
            in_force = consumer.prefetch
        elif consumer.prefetch is None and in_force is not None:
            in_force = BasicQos(0, 0)
            self.request(in_force)
        if consumer.started_in == self.epoch:
            self.consumers.rename(consumer)
        consumer.started_in = self.epoch
        method = resumed_after(consumer.method, consumer.last_message)
        if consumer.link_tag != consumer.tag:
            method = replace(method, consumer_tag=consumer.link_tag)

        def done(_: Method) -> None:
            consumer.resume()
            if self.mode is Mode.DRAINING:  # it began behind the others' cancels
                self.request(BasicCancel(consumer.link_tag))

        self.request(method, done)
        return in_force

    def start_again(self, consumer: Consumer) -> None:
        """A parked consumer whose queue is back."""
        asked = self.qos_asked()
        if self._start(consumer, asked) != asked:
            self.request(asked or BasicQos(0, 0))

    def check_replayed(self) -> None:
        """Once the journal's answers are in: publish again, then go on."""
        if self.mode is not Mode.REPLAYING or any(request.ours for request in self.requests):
            return
        if self.to_replay:
            if not self.reopens:
                self.moves[self.reason] += 1
                self.setbacks = 0
                self.board.moved(self.reason)
                self.since = self.board.now
                self.why = self._explained()
                self.seen_version = -1
            self.reopens = False
            if queue := self._queue_away():
                self.park_publishes(queue)
                return
            self._publish_again()
        else:
            self.settle()

    def _publish_again(self) -> None:
        """Send what is unconfirmed: the first one alone, the others once it is confirmed.

        RabbitMQ refuses the first publish of a channel to a quorum queue that has no leader just
        then, and goes on refusing on that channel when there is one. Sent all at once, some might
        be refused and later ones taken, and a retry would bring them out of order.
        """
        self.to_replay = False
        if self.publishes.outstanding and self.unproved:
            self.probe(self.publishes.replay_first())
            self.board.replayed(1)
            return
        self._replay_all()

    def _replay_all(self) -> None:
        data, count = self.publishes.replay()
        if count and self.link is not None:
            self.board.to_link(self.link, data)
            self.board.replayed(count)
        self.settle()

    def _explained(self) -> Placement:
        queue = self.main_queue()
        if queue and self.leader_of(queue) == self.node:
            return Placement.LEADER
        return {
            MoveReason.FAILOVER: Placement.FAILED_OVER,
            MoveReason.DRAIN: Placement.DRAINED,
            MoveReason.REBALANCE: Placement.REBALANCED,
            MoveReason.TIE: Placement.TIED,
            MoveReason.LOCALITY: Placement.HOME,
        }[self.reason]

    # -- queues that are away -------------------------------------------------------------------

    def is_away(self, queue: str) -> bool:
        """Whether a broker would drop what is published to this queue: a classic one whose node
        is down. (Publishes to a quorum queue without a leader wait in the broker.)"""
        board = self.board
        place = board.directory.place(board.vhost, queue, board.now)
        return isinstance(place, QueuePlace) and place.type == "classic" and not place.usable

    def _queue_away(self) -> str:
        """The queue that unconfirmed publishes have to wait for; empty if none."""
        if not self.publishes.outstanding:
            return ""
        queue = self.traffic.main_queue()
        return queue if queue and (self.is_away(queue) or self.awaits_leader(queue)) else ""

    def awaits_leader(self, queue: str) -> bool:
        """Whether a queue is known to have no leader now, which the first publish of a channel
        must not meet."""
        board = self.board
        place = board.directory.place(board.vhost, queue, board.now)
        return isinstance(place, QueuePlace) and place.leader is None

    def park_publishes(self, queue: str) -> None:
        """What is published waits until the queue is back."""
        self.mode = Mode.PARKED
        self.parked_queue = queue
        self.parked_since = self.board.now
        self.why = Placement.WAITING
        self.board.wake(JUDGE_EVERY)

    def tick_parked(self) -> None:
        """Look whether what this channel waits for has come back."""
        board = self.board
        if self.link is None:
            self.relocate()
            return
        since = self.parked_since or board.now
        queue = self.parked_queue
        board.wake(JUDGE_EVERY)
        asks = bool(self.held) and self.held[0][0].method in NEEDS_LEADER
        waits = (self.unproved or asks) and self.awaits_leader(queue)
        if waits and not asks and self._tries_after(board.now - since):
            waits, self.tries_now = False, True
        if not self.is_away(queue) and not waits:
            self.parked_queue = ""
            self.parked_since = None
            self.why = self._explained()
            if self.to_replay:
                self._publish_again()
            else:
                self.settle()
        elif board.now - since >= board.settings.park_timeout and not self.streams_in:
            self.end(
                ReplyCode.NOT_FOUND,
                f"queue '{self.parked_queue}' has been down for {board.now - since:.0f} s"
                + "; messages published to it were not taken" * (not asks),
            )

    def _tries_after(self, waited: float) -> bool:
        """Whether publishes have waited long enough (s) for a leader to be known."""
        if waited < TRY_PAUSES[min(self.tries, len(TRY_PAUSES) - 1)]:
            return False
        self.tries += 1
        return True

    def park(self, consumer: Consumer, why: str) -> None:
        """A consumer waits for its queue."""
        consumer.park(self.board.now, why)
        self.board.wake(JUDGE_EVERY)

    def park_or_cancel(self, consumer: Consumer, code: int, text: str) -> bool:
        """A consumer couldn't be started: park it or tell the client. False: neither, the error is
        for the client as it stands."""
        now = self.board.now
        down = code == ReplyCode.NOT_FOUND and "down or inaccessible" in text
        taken = code in (ReplyCode.ACCESS_REFUSED, ReplyCode.RESOURCE_LOCKED)
        if down or (taken and "exclusive" in text):
            self.park(consumer, text)
            since = consumer.parked_since or now
            if now - since < self.board.settings.park_timeout:
                return True
        elif code != ReplyCode.NOT_FOUND:
            return False
        if consumer.bereft and code == ReplyCode.NOT_FOUND and not down:
            # Transient, or deleted with its last consumer: client libraries declare it again when
            # they lose a connection, not when they lose a consumer.
            self.board.cannot_carry(self.number, f"queue '{consumer.queue}' with it")
            self.ended()
            return True
        self.give_up(consumer, text)
        return True

    def give_up(self, consumer: Consumer, text: str) -> None:
        """A consumer has no queue any more: cancel it as RabbitMQ does, if the client knows how."""
        self.cancel(consumer)
        if not self.board.takes_cancels:
            self.end(ReplyCode.NOT_FOUND, f"consumer '{consumer.tag}' was cancelled: {text}")

    def cancel(self, consumer: Consumer) -> None:
        """As RabbitMQ does when a queue is deleted: clients that don't know of such cancels hear
        nothing."""
        self.consumers.remove(consumer.tag)
        self.board.consumer_gone(consumer.queue)
        if self.board.takes_cancels:
            cancel = BasicCancel(consumer.tag, no_wait=True)
            self.board.to_client(encode_method_frame(self.number, cancel))

    def tick_consumers(self) -> None:
        """Start parked consumers whose queue is back."""
        board = self.board
        if self.streams_out or self.streams_in:
            return
        if any(request.ours and request.id == BasicConsume.ID for request in self.requests):
            return  # one is being started: a second try would be a reused tag
        for consumer in self.consumers:
            since = consumer.parked_since
            if since is None or consumer.cancelling or self.mode is not Mode.SETTLED:
                continue
            if board.now - since >= board.settings.park_timeout:
                self.give_up(consumer, f"its queue was away for {board.now - since:.0f} s")
            elif board.now >= consumer.retry_at:
                self._judge(consumer)

    def _judge(self, consumer: Consumer) -> None:
        """Is the queue of this parked consumer back, still away, or gone?"""
        board = self.board
        place = board.directory.place(board.vhost, consumer.queue, board.now)
        consumer.retry_at = board.now + JUDGE_EVERY
        board.wake(JUDGE_EVERY)
        if isinstance(place, Lookup):
            board.ask(place)
        elif isinstance(place, QueuePlace):
            consumer.judging = False
            waited = board.now - (consumer.parked_since or board.now)
            if place.usable and (place.leader or waited >= SURE_AFTER):
                consumer.retry_at = board.now + 5.0  # the answer takes its time
                self.start_again(consumer)
        elif consumer.judging and (not board.in_trouble or consumer.led_by is not None):
            self.cancel(consumer)
        elif len(self.consumers) == 1 and not self.deliveries.outstanding:
            consumer.retry_at = board.now + 5.0
            self.start_again(consumer)  # nobody can be asked, and trying harms nobody

    # -- placement ------------------------------------------------------------------------------

    def evaluate(self) -> None:
        """Follow the queues' leaders, when they have changed."""
        board = self.board
        self.seen_version = board.directory.version
        self.evaluated_at = board.now
        self._count_locality()
        if not board.settings.locality or self.mode is not Mode.SETTLED or self.target is not None:
            return
        if self.link is None or board.now < self.next_move_at or self.tie():
            if board.now < self.next_move_at:
                self.seen_version = -1
            return
        node = self.wish()
        if node is None:
            return
        if node == self.node:
            self.why = Placement.LEADER
            return
        link = board.link_to(node)
        if link is None:
            self.why = Placement.REFUSED
            self.next_move_at = board.now + RETRY_MOVE
            self.seen_version = -1
        else:
            self.start_move(link, MoveReason.LOCALITY, hold=False)

    def _count_locality(self) -> None:
        self.deliveries_local = None
        for consumer in self.consumers:
            leader = self.leader_of(consumer.queue)
            self.deliveries_local = None if leader is None else leader == self.node
            break

    def prove(self) -> None:
        """Have the broker show that it has taken what was published without confirms."""
        if (
            self.plain_proven < self.plain_published
            and self.mode is Mode.SETTLED
            and not self.requests
            and self.out_assembly is None
        ):
            self.request(ChannelFlow(active=True))

    # -- the end --------------------------------------------------------------------------------

    def end(self, code: ReplyCode, text: str) -> None:
        """Close the channel for a reason of our own, on both sides."""
        if self.link is not None and self.is_open_on_link:
            self.say(ChannelClose(ReplyCode.SUCCESS, "closed by the balancer"))
            self.link.closing.add(self.number)
        close = ChannelClose(code, short_text(f"{code.name} - {text}"))
        self.board.to_client(encode_method_frame(self.number, close))
        self.ended()

    def ended(self) -> None:
        """The client has been told that the channel is closed; its close-ok is awaited."""
        if any(unit.method == ChannelClose.ID for unit, _ in self.held):  # closes crossed
            self.board.to_client(encode_method_frame(self.number, ChannelCloseOk()))
        self.mode = Mode.ENDED
        self.link = None
        self.target = None
        self.deadline = None
        self.forget()

    def forget(self) -> None:
        """Nothing is kept of it any more."""
        self.requests.clear()
        self.held.clear()
        self.held_bytes = 0
        self.consumers.clear()
        self.publishes = Publishes()
        self.work.dropped()
        self.deliveries = Deliveries(self.work)
        self.out_assembly = self.in_assembly = None
        self.in_transaction = False
        self.plain_published = self.plain_proven = self.replies_due = 0


def _prefetch_in(request: Rpc) -> BasicQos | None:
    """What a request asks for as the prefetch of consumers to come."""
    if request.id != BasicQos.ID:
        return None
    asked = request.asked()
    return asked if isinstance(asked, BasicQos) and not asked.global_ else None


def consume_again(method: BasicConsume, tag: str, queue: str) -> BasicConsume:
    """The consume that makes a consumer again: its tag and queue by name, with an answer."""
    return BasicConsume(
        queue, tag, method.no_local, method.no_ack, method.exclusive, False, method.arguments
    )
