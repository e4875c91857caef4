"""One channel of a client, wherever it lives: what is said on it by either side.

The client sees one channel with one number, unbroken delivery tags and confirm numbers. Behind it,
the channel is open on one link at a time and may move to another: ``journal`` keeps what is needed
for that, ``mode`` says how far a move is, ``Carried`` has its steps; ``Confirming`` deals with what
brokers say of publishes.

    SETTLED    open on ``link``; frames pass as they come
    ASKING     frames are held: the leader of a queue is being looked up
    LINKING    frames are held until a link to the new node is open
    DRAINING   a planned move: consumers are cancelled on the old link, acks pass, the rest is held
               until nothing is unsettled, unconfirmed or unanswered
    LEAVING    channel.close went to the old link; its close-ok is the barrier that keeps the order
    REPLAYING  the journal has been played to the new link, its answers are awaited
    PROBING    the first publish since the move, or one that was refused for want of a leader, is
               tried alone until the broker takes it
    PARKED     frames are held: no node to go to, or the queue published to is away
    CLOSING    the client closed the channel; the broker's close-ok is awaited
    ENDED      the channel is closed to the client, whose close-ok is awaited

What the client says on a channel that isn't settled waits in ``held`` in its order; only acks pass,
or are swallowed when their delivery belongs to a link that the channel has left.

A planned move loses and repeats nothing, because it leaves only when everything is settled. A
crash repeats what was unconfirmed (publishes) or unsettled (deliveries); what can't be repeated
ends the session (``uncarriable``), as a client's own recovery knows how to deal with that
(docs/decisions/0005-what-cannot-be-carried.md).

Runs of messages and acks come as one unit and are dealt with as one. ``client_passes`` and
``link_passes`` are the fast path: they book a unit that may go on as it came, and say so; for every
other unit they touch nothing and ``client_says`` or ``link_says`` deals with it.
"""

from dataclasses import replace
from typing import Final

from warrener.amqp.constants import FRAME_BODY, FRAME_HEADER, FRAME_METHOD
from warrener.amqp.frames import payload_of
from warrener.amqp.methods import (
    BasicAck,
    BasicCancel,
    BasicCancelOk,
    BasicConsume,
    BasicConsumeOk,
    BasicDeliver,
    BasicGet,
    BasicGetOk,
    BasicNack,
    BasicPublish,
    BasicQos,
    BasicRecover,
    BasicRecoverAsync,
    BasicReject,
    BasicReturn,
    ChannelClose,
    ChannelCloseOk,
    ChannelOpen,
    ConfirmSelect,
    Method,
    QueueDeclare,
    QueueDeclareOk,
    QueueDelete,
    TxCommit,
    TxRollback,
    TxSelect,
    decode_method,
    encode_method_frame,
)
from warrener.amqp.units import CONTENT, TAGS, Unit, What
from warrener.balancer.core.assembly import Assembly
from warrener.balancer.core.carried import (
    ASK_PAUSE,
    ASK_TIMEOUT,
    NEEDS_LEADER,
    REPLY_TO,
    Mode,
    consume_again,
)
from warrener.balancer.core.confirming import Confirming
from warrener.balancer.core.consumers import Consumer
from warrener.balancer.core.requests import (
    ANSWERS,
    IS_ANSWER,
    Done,
    Rpc,
    consumer_tag_in,
    no_wait,
    queue_named,
    renamed,
)
from warrener.balancer.core.rewriting import (
    ack_frame,
    consumer_tag,
    delivery_tag,
    get_ok_tag,
    retag,
)
from warrener.balancer.core.tally import NodeTally
from warrener.balancer.core.traffic import Route, key_of, names_of, same_key
from warrener.facts.ids import SessionId
from warrener.facts.moves import ChannelStatistics
from warrener.facts.places import Lookup, QueuePlace
from warrener.facts.reasons import MoveReason, Placement

EVALUATE_EVERY: Final = 2.0
"""Seconds. A publisher's shares change without any news of the cluster."""

HOLD_MESSAGE: Final = 1024 * 1024
"""Bytes. A message up to here is passed on whole and can be said again; a larger one goes through
frame by frame, so that nobody has to buffer what RabbitMQ allows (128 MiB). Clients and brokers cut
bodies at 128 KiB, so this is a matter of eight frames."""

_REPLY_TO: Final = REPLY_TO.encode()
_EXCHANGE: Final = 40
_QUEUE: Final = 50
_SETTLES: Final = frozenset({BasicAck.ID, BasicNack.ID, BasicReject.ID})
_BEGINS: Final = frozenset({BasicConsume.ID, BasicGet.ID, TxSelect.ID})
"""What begins something that a channel which is about to leave would have to wait for."""


class Channel(Confirming):
    """See the module."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<Channel {self.number} {self.mode.name} at {self.node}>"

    # -- from the client ------------------------------------------------------------------------

    def client_passes(self, unit: Unit, data: bytes, pos: int) -> bool:
        """Whether a unit goes to the link as it is. Books it if so, else nothing has happened."""
        if self.mode is not Mode.SETTLED or self.held or self.out_assembly is not None:
            return False
        if unit.what is What.ACKS:
            if self.deliveries.offset or self.transactional:
                return False
            out = self.deliveries.outstanding
            settle = self.deliveries.settle
            for tag, multiple in TAGS.iter_unpack(memoryview(data)[pos : unit.end]):
                settle(tag, bool(multiple))
            self._was_settled(out)
            return True
        if unit.what is not What.MESSAGES or unit.method != BasicPublish.ID:
            return False
        try:
            route = self.traffic.routes.get(key_of(data, pos))
        except IndexError:
            return False
        if route is None or route.version != self.board.directory.version or route.away:
            return False
        if not self.placed or self.unproved:
            return False
        if self._may_meet_an_away_queue(data, pos, unit.end, unit.count):
            return False
        whole = pos == 0 and unit.end == len(data)
        self._book_publishes(data if whole else data[pos : unit.end], unit.count, route)
        return True

    def _book_publishes(self, data: bytes, count: int, route: Route) -> None:
        board = self.board
        board.published += count
        self.traffic.count(route, count)
        if route.queue:
            self.arrivals.came(route.queue, count, board.now)
        link = self.link
        if route.node is None:
            if link is not None:
                link.tally.in_unknown += count
        elif link is None:
            self.remote += count
        elif route.node == link.backend.name:
            self.local += count
            link.tally.in_local += count
        else:
            self.remote += count
            link.tally.in_remote += count
        if self.confirms:
            publishes = self.publishes
            publishes.published(data, count)
            self.owed.published(publishes.outstanding, board.now)
            if publishes.sent >= publishes.sample_from:
                publishes.time(board.clock())
        elif self.transactional:
            self.in_transaction = True
        else:
            self.plain_published += count
        if self.has_reply_to:
            self.replies_due += data.count(_REPLY_TO)  # in the property reply-to of a message

    def client_says(self, unit: Unit, data: bytes) -> None:
        """Anything that ``client_passes`` didn't take; ``data`` is the unit's bytes."""
        method = unit.method
        if self.mode is Mode.ENDED:
            self._client_after_end(method, data)
        elif self.mode is Mode.CLOSING:
            if method == ChannelOpen.ID or self.held:
                self.hold(unit, data)
            # Everything else was said before the client knew, or is of no use any more.
        elif (unit.what is What.ACKS or method in _SETTLES) and not self.transactional:
            self._settles(unit, data)
        elif self.mode is Mode.SETTLED and not self.held:
            self.client_now(unit, data)
        elif self.mode is Mode.DRAINING and self._belongs_before_the_move(unit):
            self.client_now(unit, data)
            self.check_drained()
        else:
            self.hold(unit, data)
            if self.mode is Mode.DRAINING and method == ChannelClose.ID:
                self.target = None  # it settles nothing any more
                self.settle()

    def _belongs_before_the_move(self, unit: Unit) -> bool:
        """Whether the client says this on the link that the channel is about to leave.

        That is the rest of a message; and what a client does with deliveries before it settles
        them: it publishes and waits for the confirm, asks, cancels, commits. Held, it would wait
        for an answer until the move is given up, and then settle.
        """
        if self.held:
            return False
        if self.out_assembly is not None:
            return True
        if self.deliveries.outstanding <= 0 and not self.in_transaction:
            return False
        if unit.method == BasicPublish.ID:
            return self.placed and not self.unproved
        return unit.kind == FRAME_METHOD and unit.method not in _BEGINS

    def _client_after_end(self, method: int, data: bytes) -> None:
        if method == ChannelCloseOk.ID:
            self.board.gone(self.number)
        elif method == ChannelClose.ID:  # it crossed ours; the close-ok for ours comes as well
            self.board.to_client(encode_method_frame(self.number, ChannelCloseOk()))

    def client_now(self, unit: Unit, data: bytes) -> None:
        """What the client says on a settled channel."""
        if unit.what is What.MESSAGES and unit.method == BasicPublish.ID:
            self._publish(unit, data)
        elif unit.what is What.ACKS or unit.method in _SETTLES:
            self._settles(unit, data)
        elif unit.kind == FRAME_METHOD and unit.what is What.FRAME:
            if unit.method == BasicPublish.ID:
                self.out_assembly = Assembly(unit.method, data)
            else:
                self._client_method(decode_method(payload_of(data, 0, len(data))), unit, data)
        elif self.out_assembly is not None and unit.kind in (FRAME_HEADER, FRAME_BODY):
            self._publish_part(self.out_assembly, unit, data)
        else:
            self._pass(data)  # makes no sense; the broker will say so

    def _pass(self, data: bytes) -> None:
        if self.link is None:
            raise AssertionError("a settled channel has a link")
        self.board.to_link(self.link, data)

    # -- publishes ------------------------------------------------------------------------------

    def _publish(self, unit: Unit, data: bytes) -> None:
        """Whole messages."""
        if self._may_meet_an_away_queue(data, 0, len(data), unit.count):
            self._publish_each(unit, data)
            return
        route = self._route(data)
        if route is None:
            self.hold_first(unit, data)
            return
        waits = self.unproved and not self.tries_now and self.awaits_leader(route.queue)
        if route.away or (route.queue and waits):
            self.hold_first(unit, data)
            if self.mode is Mode.SETTLED:
                self.park_publishes(route.queue)
            return
        if self.unproved and self.confirms and not self.publishes.outstanding:
            one = len(data) // unit.count
            if unit.count > 1:
                rest = unit._replace(end=len(data) - one, count=unit.count - 1)
                self.hold_first(rest, data[one:])
            self._book_publishes(data[:one], 1, route)
            self.probe(data[:one])
            return
        self._book_publishes(data, unit.count, route)
        self._pass(data)

    def _may_meet_an_away_queue(self, data: bytes, start: int, end: int, count: int) -> bool:
        """Whether a run goes to several queues while some classic queue is down: what goes there
        has to wait. Only then is each message of a run looked at."""
        if count < 2 or not self.board.directory.classic_away:
            return False
        try:
            return not same_key(data, start, end, count)
        except IndexError:
            return False  # no publish at all; the broker will say so

    def _publish_each(self, unit: Unit, data: bytes) -> None:
        """A run to several queues; from the first message that waits on, all of it waits."""
        size = len(data) // unit.count
        for at in range(0, len(data), size):
            mode, held = self.mode, len(self.held)
            self._publish(unit._replace(end=size, count=1), data[at : at + size])
            waits = len(self.held) > held
            if not waits and self.mode is mode:
                continue
            if rest := data[at + size :]:
                first = self.held.popleft() if waits else None
                self.hold_first(unit._replace(end=len(rest), count=len(rest) // size), rest)
                if first is not None:
                    self.held.appendleft(first)
            return

    def _publish_part(self, assembly: Assembly, unit: Unit, data: bytes) -> None:
        """A frame of a message that comes in parts."""
        if unit.kind == FRAME_HEADER:
            assembly.header(data, HOLD_MESSAGE)
            if assembly.streams:
                if self.confirms:
                    self.publishes.published_unkept()
                elif self.transactional:
                    self.in_transaction = True
                else:
                    self.plain_published += 1
                self.board.published += 1
                if self.link is not None:
                    self.link.tally.in_unknown += 1
        else:
            assembly.body(data)
        if assembly.streams:
            self._pass(assembly.take())
        if assembly.complete:
            self.out_assembly = None
            if assembly.streams:
                self.check_drained()
                if self.mode is Mode.SETTLED:
                    self._set_off()
            else:
                message = assembly.take()
                self._publish(
                    Unit(
                        What.MESSAGES, len(message), FRAME_METHOD, self.number, assembly.method, 1
                    ),
                    message,
                )

    def _route(self, data: bytes) -> Route | None:
        """Where a message goes, once it may go there; None if it has to wait."""
        board = self.board
        directory = board.directory
        try:
            key = key_of(data, 0)
            exchange, routing_key = names_of(key)
        except IndexError:
            key, exchange, routing_key = b"", "", ""
        queue = ""
        found = directory.destinations(board.vhost, exchange, routing_key, board.now)
        if isinstance(found, Lookup):
            if not self.placed and self._ask(found):
                return None
        elif found is not None and len(found) == 1:
            queue = found[0]
        if not self.placed and queue and self._goes_elsewhere(queue):
            return None
        self.placed = True
        node = None
        away = False
        if queue:
            node = self.leader_of(queue)
            away = self.is_away(queue)
        route = Route(directory.version, queue, node, away)
        self.traffic.keep(key, route)
        return route

    def _ask(self, lookup: Lookup) -> bool:
        """Wait for a look-up; False if there is no point in waiting."""
        board = self.board
        if not board.settings.locality or board.now < self.dont_ask_until:
            return False
        self.mode = Mode.ASKING
        self.deadline = board.now + ASK_TIMEOUT
        self.asked = lookup
        board.ask(lookup)
        return True

    def _goes_elsewhere(self, queue: str) -> bool:
        """Whether the channel moves (or waits) before it uses its first queue. The caller holds
        what the client said."""
        board = self.board
        if not board.settings.locality or self.tie() or queue in board.exclusives:
            return False
        if self.deliveries.outstanding > 0 or board.now < self.next_move_at:
            return False  # what the client says now would wait until it settles what it has
        if queue.startswith(REPLY_TO):
            return False
        place = board.directory.place(board.vhost, queue, board.now)
        if isinstance(place, Lookup):
            return self._ask(place)
        node = self.leader_of(queue)
        if node is None:
            return False
        if node == self.node:
            self.why = Placement.LEADER
            return False
        link = board.link_to(node)
        if link is None:
            self.why = Placement.REFUSED
            return False
        self.placed = True
        self.start_move(link, MoveReason.LOCALITY, hold=True)
        return self.mode is not Mode.SETTLED

    # -- acks -----------------------------------------------------------------------------------

    def _settles(self, unit: Unit, data: bytes) -> None:
        """Acks, nacks and rejects: to the link that delivered, or to nobody."""
        if self.transactional:
            self.in_transaction = True
        out = self.deliveries.outstanding
        if unit.what is What.ACKS:
            parts = []
            for tag, multiple in TAGS.iter_unpack(data):
                link_tag = self.deliveries.settle(tag, bool(multiple))
                if link_tag is not None:
                    parts.append(ack_frame(self.number, link_tag, bool(multiple)))
            frame = b"".join(parts)
        else:
            frame = self._settles_one(decode_method(payload_of(data, 0, len(data))))
        self._was_settled(out)
        if frame and self.is_open_on_link:
            self._pass(frame)
        self.check_drained()

    def _was_settled(self, out: int) -> None:
        """``out`` were outstanding before."""
        if self.work.servers:
            left = self.deliveries.outstanding
            self.work.settled(out - left, left, self.board.now)

    def _settles_one(self, method: Method) -> bytes:
        if not isinstance(method, BasicAck | BasicNack | BasicReject):
            raise AssertionError(f"{method.name()} settles nothing")
        multiple = not isinstance(method, BasicReject) and method.multiple
        link_tag = self.deliveries.settle(method.delivery_tag, multiple)
        if link_tag is None:
            return b""
        return encode_method_frame(self.number, replace(method, delivery_tag=link_tag))

    # -- requests -------------------------------------------------------------------------------

    def _client_method(self, method: Method, unit: Unit, data: bytes) -> None:
        queue = queue_named(method)
        if queue is not None:
            queue = queue or self.last_queue
            owner = self.board.exclusives.get(queue)
            if owner is not None and owner is not self.link and self.board.now >= self.next_move_at:
                self.hold_first(unit, data)
                self.start_move(owner, MoveReason.TIE, hold=True)
                return
            if isinstance(method, BasicConsume | BasicGet) and self._moves_for(method, queue):
                self.hold_first(unit, data)
                return
            wants_leader = method.ID in NEEDS_LEADER and self.awaits_leader(queue)
            if wants_leader and self.mode is Mode.SETTLED:
                self.hold_first(unit, data)
                self.park_publishes(queue)
                return
            if self.declared_in != self.epoch and self._means_last_declared(method):
                method = renamed(method, self.last_queue)
                data = encode_method_frame(self.number, method)
        if isinstance(method, BasicCancel) and self._is_being_started(method.consumer_tag):
            self.hold_first(unit, data)
            if self.mode is Mode.SETTLED:
                self.mode = Mode.REPLAYING
            return
        called = self._as_the_link_calls_it(method)
        prefetch = self.qos_asked()
        done = self._note(method, queue or "")
        if method.ID == ChannelClose.ID:
            self.mode = Mode.CLOSING
            self._pass(data)
            return
        if method.ID in ANSWERS:
            waits = not no_wait(method)
            self.requests.append(
                Rpc(
                    method.ID,
                    data,
                    waits=waits,
                    done=done,
                    published=self.plain_published,
                    prefetch=prefetch,
                    consumer_tag=consumer_tag_in(called),
                )
            )
        self._pass(encode_method_frame(self.number, called) if called is not method else data)

    def _is_being_started(self, tag: str) -> bool:
        """Whether the answer to this consumer's consume is due. RabbitMQ's channel (3.10) crashes
        at a cancel that comes before it has given it."""
        consumer = self.consumers.get(tag)
        tags = {tag, consumer.link_tag if consumer is not None else tag}
        return any(
            request.id == BasicConsume.ID and request.expected and request.consumer_tag in tags
            for request in self.requests
        )

    def _as_the_link_calls_it(self, method: Method) -> Method:
        """A cancel with the tag that the link knows."""
        if not isinstance(method, BasicCancel):
            return method
        consumer = self.consumers.get(method.consumer_tag)
        if consumer is None or consumer.link_tag == consumer.tag:
            return method
        return replace(method, consumer_tag=consumer.link_tag)

    def _means_last_declared(self, method: Method) -> bool:
        """Whether an empty queue name stands for a queue declared on another link."""
        if isinstance(method, QueueDeclare) and not method.passive:
            return False
        return queue_named(method) == "" and self.last_queue != ""

    def _moves_for(self, method: BasicConsume | BasicGet, queue: str) -> bool:
        """Whether the channel goes elsewhere before it takes messages from ``queue``."""
        if isinstance(method, BasicGet):
            self.get_queue = queue
            if self.placed or len(self.consumers):
                return False
        elif len(self.consumers) or queue == REPLY_TO:
            return False
        if self._goes_elsewhere(queue):
            return True
        self.placed = True
        return False

    def _note(self, method: Method, queue: str) -> Done | None:
        """What a request changes in the journal: now, or when it is answered."""
        board = self.board
        match method:
            case QueueDeclare():
                return self._declares(method, queue)
            case QueueDelete():
                board.directory.noticed_deleted(board.vhost, queue)
                board.auto_deletes.discard(queue)
                board.exclusives.pop(queue, None)
                return None if method.no_wait else lambda _: board.queue_deleted(queue)
            case BasicQos():
                return self._qos_done(method)
            case BasicConsume():
                return self._consumes(method, queue)
            case BasicCancel():
                return self._cancels(method)
            case BasicGet():
                return None
            case BasicRecover():
                return lambda _: self.deliveries.all_returned()
            case BasicRecoverAsync():
                self.deliveries.all_returned()
            case ConfirmSelect():
                self.confirms = True
            case TxSelect():
                self.transactional = True
            case TxCommit() | TxRollback():
                self.in_transaction = True  # until its answer
                return self._transaction_done
            case _ if method.ID >> 16 == _EXCHANGE or method.ID >> 16 == _QUEUE:
                for exchange in ("exchange", "source"):
                    if name := getattr(method, exchange, ""):
                        board.directory.noticed_binding(board.vhost, name)
        return None

    def _declares(self, method: QueueDeclare, queue: str) -> Done | None:
        epoch = self.epoch

        def declared(answer: Method) -> None:
            board = self.board
            name = answer.queue if isinstance(answer, QueueDeclareOk) else queue
            self.last_queue = name
            self.declared_in = epoch
            if method.exclusive and not method.passive and self.link is not None:
                board.exclusives[name] = self.link
            if method.auto_delete and not method.passive:
                board.auto_deletes.add(name)
            board.directory.noticed_declared(board.vhost, name)

        if method.no_wait:
            declared(method)
            return None
        return declared

    def _qos_done(self, method: BasicQos) -> Done:
        def done(_: Method) -> None:
            if method.global_:
                self.qos_global = method
            else:
                self.qos = method

        return done

    def _consumes(self, method: BasicConsume, queue: str) -> Done | None:
        in_force = self.qos_asked()

        def consuming(answer: Method) -> None:
            tag = answer.consumer_tag if isinstance(answer, BasicConsumeOk) else ""
            tag = tag or method.consumer_tag
            again = consume_again(method, tag, queue)
            place = self.board.directory.place(self.board.vhost, queue, self.board.now)
            stream = isinstance(place, QueuePlace) and place.type == "stream"
            consumer = Consumer(again, in_force, stream=stream)
            consumer.started_in = self.epoch
            self.consumers.add(consumer)
            self.has_reply_to = self.has_reply_to or queue == REPLY_TO
            self.seen_version = -1
            if self.mode is Mode.DRAINING:  # it began behind the others' cancels
                self.request(BasicCancel(tag))

        if method.no_wait:
            consuming(method)
            return None
        return consuming

    def _cancels(self, method: BasicCancel) -> Done | None:
        consumer = self.consumers.get(method.consumer_tag)
        if consumer is not None:
            consumer.cancelling = True

        def cancelled(_: Method) -> None:
            self.consumers.remove(method.consumer_tag)
            if consumer is not None:
                self.board.consumer_gone(consumer.queue)

        if method.no_wait:
            cancelled(method)
            return None
        return cancelled

    def _transaction_done(self, _: Method) -> None:
        self.in_transaction = False
        self.plain_proven = self.plain_published

    # -- from the broker ------------------------------------------------------------------------

    def link_passes(self, unit: Unit, data: bytes, pos: int) -> bool:
        """Whether a unit from its link goes to the client as it is. Books it if so."""
        if self.mode in (Mode.LEAVING, Mode.DRAINING) or self.in_assembly is not None:
            return False
        if unit.what is What.ACKS:
            if not self.publishes.straight or self.mode is Mode.PROBING:
                return False
            for tag, multiple in TAGS.iter_unpack(memoryview(data)[pos : unit.end]):
                self.publishes.confirmed(tag, bool(multiple))
            self.owed.confirmed(self.publishes.outstanding, self.board.now)
            if self.publishes.timed:
                self.confirm_of_timed()
            return True
        if unit.what is not What.MESSAGES or unit.method != BasicDeliver.ID:
            return False
        if self.deliveries.offset or self.has_reply_to or self.consumers.stepped:
            return False
        last = unit.end - (unit.end - pos) // unit.count
        self._book_deliveries(delivery_tag(data, last), unit.count, self.consumers.settles is False)
        return True

    def _book_deliveries(self, tag: int, count: int, settled: bool) -> None:
        board = self.board
        self.deliveries.delivered(tag, count, settled=settled)
        if self.work.servers:
            self.work.given(self.deliveries.outstanding, board.now)
        board.delivered += count
        tally = self.link.tally if self.link is not None else NodeTally()  # it came from one
        if self.deliveries_local is None:
            tally.out_unknown += count
        elif self.deliveries_local:
            self.local += count
            tally.out_local += count
        else:
            self.remote += count
            tally.out_remote += count

    def link_says(self, unit: Unit, data: bytes) -> None:
        """Anything from its link that ``link_passes`` didn't take."""
        if unit.what is What.MESSAGES:
            self._messages(unit, data)
        elif unit.what is What.ACKS:
            self.confirms_come(data)
        elif unit.kind == FRAME_METHOD:
            if unit.method in CONTENT:
                self.in_assembly = Assembly(unit.method, data)
            else:
                self._link_method(decode_method(payload_of(data, 0, len(data))), data)
        elif self.in_assembly is not None and unit.kind in (FRAME_HEADER, FRAME_BODY):
            self._delivery_part(self.in_assembly, unit, data)
        else:
            self.board.to_client(data)

    def _messages(self, unit: Unit, data: bytes) -> None:
        """Whole deliveries, a get's answer, or returned messages."""
        if self.mode is Mode.LEAVING and unit.method != BasicReturn.ID:
            return  # the broker takes them back
        if unit.method == BasicGetOk.ID:
            self._got(data)
        elif unit.method == BasicDeliver.ID:
            stride = len(data) // unit.count
            for at in range(0, len(data), stride):
                self._delivery(data, at, at + stride)
            offset = self.deliveries.offset
            data = self._as_the_client_calls_it(data, stride)
            self.board.to_client(retag(data, unit.count, offset) if offset else data)
        else:
            self.board.to_client(data)

    def _as_the_client_calls_it(self, data: bytes, stride: int) -> bytes:
        """Deliveries under the consumer tags that the client knows."""
        if not self.consumers.has_aliases:
            return data
        changed = bytearray(data)
        for start in range(0, len(data), stride):
            called = consumer_tag(data, start)
            consumer = self.consumers.on_link(called.decode("utf-8", "surrogateescape"))
            if consumer is not None and len(called):
                tag = consumer.tag.encode("utf-8", "surrogateescape")
                changed[start + 12 : start + 12 + len(tag)] = tag
        return bytes(changed)

    def _delivery(self, data: bytes, start: int, end: int) -> None:
        tag = consumer_tag(data, start).decode("utf-8", "surrogateescape")
        consumer = self.consumers.on_link(tag)
        settled = consumer.method.no_ack if consumer else self.consumers.settles is False
        if consumer is not None and consumer.is_stream:
            consumer.last_message = data[start:end]
        if consumer is not None and consumer.queue == REPLY_TO:
            self.replies_due = max(self.replies_due - 1, 0)
        self._book_deliveries(delivery_tag(data, start), 1, settled)

    def _got(self, data: bytes) -> None:
        request = self._answered(BasicGetOk.ID)
        settled = False
        if request is not None:
            asked = request.asked()
            settled = isinstance(asked, BasicGet) and asked.no_ack
        self._book_deliveries(get_ok_tag(data, 0), 1, settled)
        offset = self.deliveries.offset
        self.board.to_client(retag(data, 1, offset, get_ok=True) if offset else data)
        self.check_drained()

    def _delivery_part(self, assembly: Assembly, unit: Unit, data: bytes) -> None:
        if unit.kind == FRAME_HEADER:
            assembly.header(data, HOLD_MESSAGE)
        else:
            assembly.body(data)
        first = assembly.streams and unit.kind == FRAME_HEADER
        if not assembly.streams and not assembly.complete:
            return
        if assembly.complete:
            self.in_assembly = None
        part = assembly.take()
        if not assembly.streams:
            self._messages(_one_message(self.number, assembly.method, part), part)
        elif self.mode is Mode.LEAVING and assembly.method != BasicReturn.ID:
            return
        elif first and assembly.method in (BasicDeliver.ID, BasicGetOk.ID):
            # The method and the header, in which a tag is all that changes.
            self._messages(_one_message(self.number, assembly.method, part), part)
        else:
            self.board.to_client(part)
        self.check_drained()

    def _link_method(self, method: Method, data: bytes) -> None:
        if isinstance(method, BasicNack):
            self.refusal_comes(method)
        elif isinstance(method, BasicAck):  # in a frame of unusual size
            self.confirms_come(ack_frame(self.number, method.delivery_tag, method.multiple))
        elif isinstance(method, ChannelClose):
            self._broker_closes(method, data)
        elif isinstance(method, ChannelCloseOk):
            if self.mode is Mode.CLOSING:
                self.board.to_client(data)
                self.board.gone(self.number)
            # else of a close that crossed the broker's own; nobody waits for it
        elif isinstance(method, BasicCancel):
            self._broker_cancels(method, data)
        elif method.ID in IS_ANSWER:
            self._answer(method, data)
        elif self.mode is not Mode.LEAVING:
            self.board.to_client(data)

    def _answered(self, method_id: int, consumer_tag: str = "") -> Rpc | None:
        """The request that this is the answer to; None if nobody has asked."""
        request = self.requests.answered(method_id, consumer_tag)
        if request is None:
            return None
        if request.id == BasicGet.ID:
            self.get_refused_at = None
        self.plain_proven = max(self.plain_proven, request.published)
        return request

    def _answer(self, method: Method, data: bytes) -> None:
        request = self._answered(method.ID, consumer_tag_in(method))
        if request is None:
            return
        if request.done is not None:
            request.done(method)
        if not request.ours:
            asked = request.asked()
            if isinstance(asked, BasicCancel):  # the link may call it by another tag
                data = encode_method_frame(self.number, BasicCancelOk(asked.consumer_tag))
            self.board.to_client(data)
        self.check_drained()
        self.check_replayed()

    def _broker_cancels(self, method: BasicCancel, data: bytes) -> None:
        """The broker has ended a consumer: its queue is gone, or only its queue's node."""
        consumer = self.consumers.on_link(method.consumer_tag)
        if consumer is None or consumer.cancelling:
            if self.board.takes_cancels:
                if consumer is not None and consumer.tag != method.consumer_tag:
                    told = replace(method, consumer_tag=consumer.tag)
                    data = encode_method_frame(self.number, told)
                self.board.to_client(data)
            return
        board = self.board
        if board.directory.is_deleted(board.vhost, consumer.queue):  # so nothing is half sent
            self.cancel(consumer)
            return
        consumer.led_by = self.leader_of(consumer.queue)  # None if that node is unfit
        board.directory.noticed_deleted(board.vhost, consumer.queue)
        self.park(consumer, "the broker has cancelled it")
        consumer.judging = True
        consumer.retry_at = board.now
        self.tick_consumers()

    def _broker_closes(self, method: ChannelClose, data: bytes) -> None:
        """The broker has closed the channel for an error in it."""
        self.say(ChannelCloseOk())
        if self.mode is Mode.LEAVING:
            return  # the close-ok for the other close still comes
        failed = self.failed_consumer(method)
        if self.mode is Mode.CLOSING:
            if failed is None and self.link is not None:  # as RabbitMQ: both closes are answered
                self.link.closing.add(self.number)
                self.board.to_client(data + encode_method_frame(self.number, ChannelCloseOk()))
                self.ended()
            return
        if failed is not None:
            sent_before = (r.published for r in self.requests if r.id == BasicConsume.ID)
            self.plain_proven = max(self.plain_proven, next(sent_before, 0))
            if why := self.uncarriable():  # said behind the consume, so nobody has heard it
                self.board.cannot_carry(self.number, why)
                return
        link, self.link = self.link, None
        if (
            failed is not None
            and link is not None
            and self.park_or_cancel(failed, method.reply_code, method.reply_text)
        ):
            if self.mode is not Mode.ENDED:
                self.deliveries.left()
                self.publishes.left()
                self.in_assembly = None
                arriving = self.mode is Mode.REPLAYING and self.to_replay
                self.reopens = self.reopens or not arriving
                self.probes = 0
                self.replay(link)
            return
        self.board.to_client(data)
        self.ended()

    def failed_consumer(self, method: ChannelClose) -> Consumer | None:
        """The consumer whose restart the broker has refused; None if it isn't about one."""
        if (method.class_id << 16 | method.method_id) != BasicConsume.ID:
            return None
        begun = [
            (request, asked)
            for request in self.requests
            if isinstance(asked := request.asked(), BasicConsume)
        ]
        # Those before it may have been done and not answered yet: the text names its queue.
        named = [one for one in begun if f"queue '{one[1].queue}'" in method.reply_text]
        for request, asked in named or begun:
            return self.consumers.on_link(asked.consumer_tag) if request.ours else None
        return None

    def get_refused(self, method: ChannelClose) -> bool:
        """Whether a broker's error is about a get whose queue may have a leader soon."""
        if (method.class_id << 16 | method.method_id) != BasicGet.ID:
            return False
        asked = next((request for request in self.requests if request.expected), None)
        if asked is None or asked.id != BasicGet.ID:
            return False
        now = self.board.now
        self.get_refused_at = now if self.get_refused_at is None else self.get_refused_at
        return now - self.get_refused_at < self.board.settings.park_timeout

    # -- time -----------------------------------------------------------------------------------

    def queue_deleted(self, queue: str) -> None:
        """A broker has confirmed that it deleted the queue: what a consumer was cancelled for."""
        for consumer in self.consumers:
            if consumer.queue == queue and consumer.judging and not self.streams_in:
                self.cancel(consumer)

    def looked_up(self, lookup: Lookup) -> None:
        """Something that was asked for, by this channel or another, has been looked up."""
        if self.mode is Mode.ASKING and lookup == self.asked:
            self.settle()
        for consumer in self.consumers:
            if consumer.judging and consumer.queue == lookup.name:
                consumer.retry_at = self.board.now
        self.tick_consumers()

    def tick(self) -> None:
        """About twice a second."""
        board = self.board
        now = board.now
        if self.deadline is not None and now >= self.deadline:
            self.deadline = None
            if self.mode is Mode.ASKING:
                self.dont_ask_until = now + ASK_PAUSE
                self.settle()
            elif self.mode is Mode.DRAINING:
                self.drain_overdue()
        if self.mode is Mode.PROBING and self.probe_at is not None and now >= self.probe_at:
            self.probe_again()
        elif self.mode is Mode.PARKED:
            self.tick_parked()
        elif self.mode is Mode.SETTLED:
            if len(self.consumers):
                self.tick_consumers()
            stale = self.seen_version != board.directory.version
            if stale or now - self.evaluated_at >= EVALUATE_EVERY:
                self.evaluate()
            if self.plain_proven < self.plain_published:
                self.prove()

    def statistics(self, session: SessionId, client: str) -> ChannelStatistics:
        """A frozen view."""
        queue = self.main_queue()
        return ChannelStatistics(
            session=session,
            client=client,
            number=self.number,
            state=self.mode.name.lower(),
            node=self.node,
            queue=queue,
            leader=self.leader_of(queue) if queue else None,
            why=self._why(),
            since=self.since,
            moves=tuple(sorted(self.moves.items())),
            consumers=len(self.consumers),
            parked=self.consumers.parked(),
            unsettled=max(self.deliveries.outstanding, 0),
            unconfirmed=self.publishes.outstanding,
            journal_bytes=self.journal_bytes,
            messages_local=self.local,
            messages_remote=self.remote,
        )

    def _why(self) -> Placement:
        if self.mode is Mode.PARKED:
            return Placement.WAITING
        if self.mode not in (Mode.SETTLED, Mode.CLOSING, Mode.ENDED):
            return Placement.MOVING
        if self.tie():
            return Placement.TIED
        if self.why is Placement.LEADER and self.leader_of(self.main_queue()) != self.node:
            return Placement.UNSETTLED if self.setbacks else Placement.HOME
        return self.why


def _one_message(channel: int, method: int, data: bytes) -> Unit:
    return Unit(What.MESSAGES, len(data), FRAME_METHOD, channel, method, 1)
