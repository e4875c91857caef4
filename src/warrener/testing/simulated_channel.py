"""One channel at the broker's end of a link, as RabbitMQ 3.10 treats it.

Answers are written when a method is processed; deliveries and confirms when the scheduler says so
(``deliver``, ``confirm``). The answers to a consume, and to a cancel of a consumer that there is,
come from the queue: behind those to everything that was said in the same breath (``answer_late``).
A cancel said before the consume's answer is written crashes the channel, as it does RabbitMQ's.

A method that needs a quorum queue without a leader (or any queue on a node that hangs) waits, and
everything behind it on the channel: RabbitMQ's channel is a process that is blocked in a call then.
Publishes to a queue that the channel has published to before are kept, unconfirmed, until the queue
has a leader; others are refused at once, and so is everything that the channel publishes to that
queue from then on.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from warrener.amqp.constants import ReplyCode
from warrener.amqp.methods import (
    BasicAck,
    BasicCancel,
    BasicCancelOk,
    BasicConsume,
    BasicConsumeOk,
    BasicDeliver,
    BasicGet,
    BasicGetEmpty,
    BasicGetOk,
    BasicNack,
    BasicPublish,
    BasicQos,
    BasicQosOk,
    BasicReject,
    BasicReturn,
    ChannelClose,
    ChannelCloseOk,
    ChannelFlow,
    ChannelFlowOk,
    ConfirmSelect,
    ConfirmSelectOk,
    Method,
    QueueDeclare,
    QueueDeclareOk,
)
from warrener.testing.simulated_happenings import (
    Cancelled,
    ChannelClosed,
    Confirmed,
    Consumed,
    Delivered,
    Enqueued,
    Happening,
    Place,
    Published,
    Refusal,
    Returned,
    Settled,
)
from warrener.testing.simulated_queue import Consumer, Entry, QueueKind, SimulatedQueue
from warrener.testing.simulated_wire import Message, Said


class Chance(Protocol):
    """The scheduler's dice."""

    def below(self, limit: int) -> int: ...


class Surroundings(Protocol):
    """What a channel needs of its link and cluster."""

    chance: Chance
    refuses: bool  # it nacks a publish now and then

    @property
    def running(self) -> bool: ...
    def say(self, channel: int, method: Method, message: Message | None = None) -> None: ...
    def log(self, happening: Happening) -> None: ...
    def fail(self, error: "HardError") -> None: ...
    def queue(self, name: str) -> SimulatedQueue | None: ...
    def routes(self, exchange: str, key: str) -> Sequence[str] | None: ...
    def declare(self, name: str, kind: QueueKind) -> SimulatedQueue: ...
    def next_number(self) -> int: ...


class HardError(Exception):
    """A mistake that costs the peer its connection."""

    def __init__(self, code: ReplyCode, text: str, method: int) -> None:
        super().__init__(text)
        self.code = code
        self.text = f"{code.name} - {text}"
        self.method = method


class _SoftError(Exception):
    """A mistake that costs the peer its channel."""

    def __init__(self, code: ReplyCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = f"{code.name} - {text}"


class _NotNow(Exception):
    """The method needs a queue that can't answer at present."""


@dataclass(slots=True)
class _Held:
    """A delivery that isn't settled. ``lost``: its queue went down with a node."""

    tag: int
    delivery: int
    queue: SimulatedQueue
    consumer: Consumer | None
    lost: bool = False


@dataclass(slots=True)
class _Owed:
    """A publish that isn't confirmed; ``waits`` for so many queues still."""

    number: int
    waits: int
    ack: bool
    queues: tuple[str, ...]


@dataclass(slots=True)
class _Waiting:
    """A message on its way into a queue without a leader."""

    queue: SimulatedQueue
    message: Message
    owed: _Owed | None


class SimulatedChannel:
    """See the module."""

    def __init__(self, around: Surroundings, place: Place) -> None:
        self.place = place
        self.closing = False  # the broker closed it, close-ok is awaited
        self.gone = False
        self._around = around
        self._stalled: deque[Said] = deque()
        self._late: list[BasicConsumeOk | BasicCancelOk] = []  # answers that are due
        self._waiting: deque[_Waiting] = deque()
        self._consumers: dict[str, Consumer] = {}
        self._held: dict[int, _Held] = {}
        self._last_tag = 0
        self._prefetch = 0  # for consumers to come
        self._limit = 0  # for all of the channel
        self._confirming = False
        self._published = 0
        self._owed: dict[int, _Owed] = {}
        self._reached: set[str] = set()  # quorum queues it has published to
        self._cut_off: set[str] = set()  # and those that had no leader when it did so first

    def consumers(self) -> list[Consumer]:
        """Who consumes on it."""
        return list(self._consumers.values())

    # -- from the peer --------------------------------------------------------------------------

    def take(self, said: Said) -> None:
        """A method from the peer. Raises HardError."""
        if self.closing:
            self._take_while_closing(said.method)
            return
        self._stalled.append(said)
        self.go_on()

    def go_on(self) -> None:
        """Do what waits, as far as queues allow. Raises HardError."""
        self._let_in()
        while self._stalled and not self.closing and not self.gone and self._around.running:
            said = self._stalled[0]
            try:
                self._do(said)
            except _NotNow:
                return
            except _SoftError as error:
                behind = list(self._stalled)[1:]
                self._fail(error, said.method)
                for later in behind:
                    self._take_while_closing(later.method)
                return
            if self._stalled:  # the end of the channel has cleared it
                self._stalled.popleft()

    def _take_while_closing(self, method: Method) -> None:
        if isinstance(method, ChannelCloseOk):
            self.gone = True
        elif isinstance(method, ChannelClose):
            self._say(ChannelCloseOk())

    def _do(self, said: Said) -> None:
        method = said.method
        match method:
            case BasicPublish():
                assert said.message is not None  # a publish comes with its content
                self._publish(method, said.message)
            case BasicAck(tag, multiple):
                self._settle(tag, multiple, "ack")
            case BasicNack(tag, multiple, requeue):
                self._settle(tag, multiple, "requeue" if requeue else "drop")
            case BasicReject(tag, requeue):
                self._settle(tag, False, "requeue" if requeue else "drop")
            case BasicQos(_, count, global_):
                if global_:
                    self._limit = count
                else:
                    self._prefetch = count
                self._say(BasicQosOk())
            case BasicConsume():
                self._consume(method)
            case BasicCancel():
                self._cancel(method)
            case BasicGet(queue, no_ack):
                self._get(queue, no_ack)
            case QueueDeclare():
                self._declare(method)
            case ChannelFlow(active):
                self._say(ChannelFlowOk(active))
            case ConfirmSelect(no_wait):
                self._confirming = True
                if not no_wait:
                    self._say(ConfirmSelectOk())
            case ChannelClose():
                self._end("peer")
                self.gone = True
                self._say(ChannelCloseOk())
            case _:
                raise HardError(
                    ReplyCode.NOT_IMPLEMENTED, f"{method.name()} isn't simulated", method.ID
                )

    # -- publishing -----------------------------------------------------------------------------

    def _publish(self, method: BasicPublish, message: Message) -> None:
        around = self._around
        routed = around.routes(method.exchange, method.routing_key)
        if routed is None:
            what = f"no exchange '{method.exchange}' in vhost '/'"
            raise _SoftError(ReplyCode.NOT_FOUND, what)
        queues = [queue for name in routed if (queue := around.queue(name)) is not None]
        # A classic queue whose node is down doesn't exist for routing.
        queues = [queue for queue in queues if queue.exists]
        whim = self._confirming and around.refuses and around.chance.below(12) == 0
        new = any(queue.kind == "quorum" and not self._reaches(queue) for queue in queues)
        refused: Refusal = "whim" if whim else "no leader" if new else ""
        names = tuple(queue.name for queue in queues)
        around.log(Published(self.place, message.number, names, refused))
        if method.mandatory and not queues:
            around.log(Returned(self.place, message.number))
            gone = BasicReturn(ReplyCode.NO_ROUTE, "NO_ROUTE", method.exchange, method.routing_key)
            self._say(gone, message)
        owed = None
        if self._confirming:
            self._published += 1
            waits = 0 if refused else len(queues)
            owed = _Owed(message.number, waits, not refused, names)
            self._owed[self._published] = owed
        if not refused:
            self._waiting.extend(_Waiting(queue, message, owed) for queue in queues)
            self._let_in()

    def _reaches(self, queue: SimulatedQueue) -> bool:
        """Whether the channel knows, or learns now, whom to send messages for a queue to."""
        name = queue.name
        if name not in self._reached and name not in self._cut_off:
            (self._reached if queue.up else self._cut_off).add(name)
        return name in self._reached

    def _let_in(self) -> None:
        """Messages into their queues, in order for each queue."""
        for _ in range(len(self._waiting)):
            waiting = self._waiting.popleft()
            queue = waiting.queue
            if not queue.up:
                self._waiting.append(waiting)
                continue
            queue.enqueue(waiting.message.number, waiting.message.body)
            self._around.log(Enqueued(queue.name, waiting.message.number, self.place))
            if waiting.owed is not None:
                waiting.owed.waits -= 1

    def confirmable(self) -> bool:
        """Whether some publish can be confirmed now."""
        return not self.closing and any(not owed.waits for owed in self._owed.values())

    def confirm(self) -> None:
        """Write one confirm: of a publish, or of all up to one."""
        chance = self._around.chance
        able = [tag for tag, owed in self._owed.items() if not owed.waits]
        tag = able[chance.below(len(able))]
        ack = self._owed[tag].ack
        covered = [tag]
        if chance.below(2):
            before = [other for other in self._owed if other <= tag]
            if all(not self._owed[o].waits and self._owed[o].ack is ack for o in before):
                covered = before
        multiple = len(covered) > 1 or (covered[0] == min(self._owed) and chance.below(4) == 0)
        numbers = tuple(self._owed.pop(other).number for other in covered)
        self._around.log(Confirmed(self.place, tag, multiple, numbers, ack))
        self._say(BasicAck(tag, multiple) if ack else BasicNack(tag, multiple, False))

    # -- consuming ------------------------------------------------------------------------------

    def _consume(self, method: BasicConsume) -> None:
        queue = self._usable(method.queue)
        tag = method.consumer_tag or f"amq.ctag-{self._around.next_number()}"
        if tag in self._consumers:
            text = f"attempt to reuse consumer tag '{tag}'"
            raise HardError(ReplyCode.NOT_ALLOWED, text, method.ID)
        consumer = Consumer(self, tag, queue, method.no_ack, self._prefetch)
        self._consumers[tag] = consumer
        queue.consumers.append(consumer)
        priority = (method.arguments or {}).get("x-priority", 0)
        assert isinstance(priority, int)  # what the simulated clients send
        self._around.log(
            Consumed(self.place, tag, queue.name, method.no_ack, self._prefetch, priority)
        )
        if not method.no_wait:
            self._late.append(BasicConsumeOk(tag))

    def _cancel(self, method: BasicCancel) -> None:
        tag = method.consumer_tag
        if BasicConsumeOk(tag) in self._late:
            raise HardError(ReplyCode.INTERNAL_ERROR, "channel crashed", method.ID)
        consumer = self._consumers.pop(tag, None)
        if consumer is not None:
            consumer.queue.consumers.remove(consumer)
            self._around.log(Cancelled(self.place, tag, "peer"))
        if method.no_wait:
            return
        if consumer is None:
            self._say(BasicCancelOk(tag))
        else:
            self._late.append(BasicCancelOk(tag))

    def answer_late(self) -> None:
        """Write the answers that come from queues."""
        if not self.closing and not self.gone:
            for answer in self._late:
                self._say(answer)
        self._late.clear()

    def _get(self, name: str, no_ack: bool) -> None:
        queue = self._usable(name)
        entry = queue.take()
        if entry is None:
            self._say(BasicGetEmpty())
            return
        tag, message = self._hand_out(queue, entry, None, no_ack)
        left = len(queue.ready)
        self._say(BasicGetOk(tag, entry.redelivered, "", queue.name, left), message)

    def has_room(self, consumer: Consumer) -> bool:
        """Whether prefetch allows one more delivery."""
        if self.closing or self.gone or self._stalled or not self._around.running:
            return False
        if BasicConsumeOk(consumer.tag) in self._late:
            return False
        if consumer.no_ack:
            return True
        if consumer.prefetch and consumer.held >= consumer.prefetch:
            return False
        return not self._limit or len(self._held) < self._limit

    def deliver(self, consumer: Consumer, entry: Entry) -> None:
        """Write a delivery.

        RabbitMQ 3.10's channel crashes on one for a consumer whose tag was another one's before, if
        deliveries of that one are unsettled.
        """
        holders = {held.consumer for held in self._held.values()} - {None, consumer}
        if any(other is not None and other.tag == consumer.tag for other in holders):
            consumer.queue.put_back(entry)
            self._around.fail(HardError(ReplyCode.INTERNAL_ERROR, "channel crashed", 0))
            return
        tag, message = self._hand_out(consumer.queue, entry, consumer, consumer.no_ack)
        key = consumer.queue.name
        self._say(BasicDeliver(consumer.tag, tag, entry.redelivered, "", key), message)

    def _hand_out(
        self, queue: SimulatedQueue, entry: Entry, consumer: Consumer | None, no_ack: bool
    ) -> tuple[int, Message]:
        around = self._around
        delivery = around.next_number()
        self._last_tag += 1
        tag = self._last_tag
        around.log(
            Delivered(
                self.place,
                delivery,
                entry.number,
                queue.name,
                tag,
                consumer.tag if consumer else "",
                no_ack,
                entry.redelivered,
            )
        )
        if not no_ack:
            self._held[tag] = _Held(tag, delivery, queue, consumer)
            queue.unsettled[delivery] = entry
            if consumer is not None:
                consumer.held += 1
        return tag, Message(entry.number, delivery, entry.body)

    def _settle(self, tag: int, multiple: bool, how: Literal["ack", "drop", "requeue"]) -> None:
        if multiple and tag == 0:
            covered = list(self._held.values())
        elif tag not in self._held:
            raise _SoftError(ReplyCode.PRECONDITION_FAILED, f"unknown delivery tag {tag}")
        elif multiple:
            covered = [held for held in self._held.values() if held.tag <= tag]
        else:
            covered = [self._held[tag]]
        for held in covered:
            self._release(held, how)

    def _release(self, held: _Held, how: Literal["ack", "drop", "requeue"] | None) -> None:
        """Settle a delivery, or (None) take it back because the channel ends."""
        del self._held[held.tag]
        if held.consumer is not None:
            held.consumer.held -= 1
        if held.lost:
            return
        entry = held.queue.unsettled.pop(held.delivery)
        if how is not None:
            self._around.log(Settled(self.place, held.delivery, how))
        if how is None or how == "requeue":
            held.queue.put_back(entry)

    def queue_lost(self, queue: SimulatedQueue) -> tuple[int, ...]:
        """A classic queue's node is gone: consumers are cancelled, what it owes is nacked.

        Gives the deliveries that can't be settled any more.
        """
        lost = []
        for held in self._held.values():
            if held.queue is queue and not held.lost:
                held.lost = True
                lost.append(held.delivery)
        if self.closing or self.gone:
            return tuple(lost)
        self._waiting = deque(w for w in self._waiting if w.queue is not queue)
        for tag, consumer in list(self._consumers.items()):
            if consumer.queue is queue:
                del self._consumers[tag]
                queue.consumers.remove(consumer)
                self._around.log(Cancelled(self.place, tag, "broker"))
                self._say(BasicCancel(tag, True))
        for number, owed in list(self._owed.items()):
            if queue.name in owed.queues:
                del self._owed[number]
                self._around.log(Confirmed(self.place, number, False, (owed.number,), False))
                self._say(BasicNack(number, False, False))
        return tuple(lost)

    # -- queues ---------------------------------------------------------------------------------

    def _declare(self, method: QueueDeclare) -> None:
        name = method.queue
        if name and self._around.queue(name) is not None:
            queue = self._usable(name)
        elif method.passive:
            raise _SoftError(ReplyCode.NOT_FOUND, f"no queue '{name}' in vhost '/'")
        else:
            quorum = (method.arguments or {}).get("x-queue-type") == "quorum"
            name = name or f"amq.gen-{self._around.next_number()}"
            queue = self._around.declare(name, "quorum" if quorum else "classic")
        if not method.no_wait:
            self._say(QueueDeclareOk(queue.name, len(queue.ready), len(queue.consumers)))

    def _usable(self, name: str) -> SimulatedQueue:
        queue = self._around.queue(name)
        if queue is None:
            raise _SoftError(ReplyCode.NOT_FOUND, f"no queue '{name}' in vhost '/'")
        if queue.up:
            return queue
        if queue.exists:
            raise _NotNow
        what = f"durable queue '{name}' in vhost '/' is down or inaccessible"
        raise _SoftError(ReplyCode.NOT_FOUND, f"home node '{queue.node}' of {what}")

    # -- the end --------------------------------------------------------------------------------

    def _fail(self, error: _SoftError, method: Method) -> None:
        self._end("broker")
        self.closing = True
        self._say(ChannelClose(error.code, error.text, method.ID >> 16, method.ID & 0xFFFF))

    def die(self) -> None:
        """The link is gone."""
        if not self.closing and not self.gone:
            self._end("death")
        self.gone = True

    def _end(self, by: Literal["peer", "broker", "death"]) -> None:
        held = tuple(h.delivery for h in self._held.values() if not h.lost)
        owed = tuple(o.number for o in self._owed.values())
        self._around.log(ChannelClosed(self.place, by, held, owed))
        for consumer in self._consumers.values():
            consumer.queue.consumers.remove(consumer)
        self._consumers.clear()
        for waiting in list(self._held.values()):
            self._release(waiting, None)
        self._owed.clear()
        self._waiting.clear()
        self._stalled.clear()
        self._late.clear()

    def _say(self, method: Method, message: Message | None = None) -> None:
        self._around.say(self.place.channel, method, message)
