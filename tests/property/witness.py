"""Reads a transcript, and says at once what can be said at once.

What the client is told is held against what it asked for and what brokers did until then; what a
link is told against the protocol. What can only be said in the end is for ``oracle``.
"""

from collections import defaultdict

from tests.property.records import (
    ANSWERS,
    NEVER,
    SETTLE_TIMEOUT,
    Broken,
    Life,
    Sent,
    Settlement,
    Tally,
    Wanted,
    claim,
)
from tests.property.transcript import (
    Entry,
    LinkGone,
    Over,
    Passed,
    Transcript,
    Trouble,
    Word,
)

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
    BasicReject,
    BasicReturn,
    ChannelClose,
    ChannelCloseOk,
    ChannelOpen,
    ConfirmSelect,
    ConnectionClose,
    Method,
    QueueDeclare,
    QueueDeclareOk,
)
from warrener.facts.ids import NodeName
from warrener.testing.simulated_happenings import (
    ChannelClosed,
    Confirmed,
    Consumed,
    Delivered,
    Enqueued,
    LinkDied,
    LinkOpened,
    PeerError,
    Place,
    Published,
    QueueLost,
    Settled,
)


class Witness:
    """``survives``: neither the session nor a channel may be closed to the client. ``clumsy``: the
    client settles things twice."""

    def __init__(self, transcript: Transcript, *, survives: bool, clumsy: bool = False) -> None:
        self.transcript = transcript
        self.survives = survives
        self.clumsy = clumsy
        self.tally = Tally()
        self.lives: dict[int, Life] = {}
        self.all_lives: list[Life] = []
        self.sent: dict[int, Sent] = {}
        self.settlements: list[Settlement] = []
        self.over: Over | None = None
        self.closed_at = NEVER  # connection.close, either way
        self.client_closed_at = NEVER
        # what brokers did
        self.published: dict[int, list[tuple[int, Published]]] = defaultdict(list)
        self.enqueued: dict[tuple[str, int], list[tuple[int, Enqueued]]] = defaultdict(list)
        self.confirms: dict[tuple[Place, int, bool], tuple[int, ...]] = {}
        self.acked: dict[int, int] = {}  # message -> when a broker confirmed it first
        self.nacked: dict[int, int] = {}
        self.delivered: dict[int, tuple[int, Delivered]] = {}
        self.settled: dict[int, tuple[int, Settled]] = {}
        self.lost: set[int] = set()  # deliveries of queues that went down
        self.place_ended: dict[Place, tuple[int, ChannelClosed]] = {}
        # what passed at the links
        self.heard_confirm: dict[tuple[int, bool], int] = {}  # message, ack -> when it was heard
        self.heard_nack: set[tuple[int, Place]] = set()
        self.heard: dict[int, int] = {}  # delivery -> when it reached the session
        self.told: dict[int, int] = {}  # delivery -> when the client was told
        self.openings: dict[tuple[int, int], int] = defaultdict(int)
        self.link_phase: dict[tuple[int, int], str] = {}
        self.place_left: dict[Place, int] = {}  # channel.close was told to the link
        self.link_gone: dict[int, tuple[int, str]] = {}
        self.link_broken: dict[int, int] = {}  # not by the session's will
        self.link_left: dict[int, int] = {}  # connection.close was told
        self.link_told_close: set[int] = set()  # connection.close was heard
        self.place_told_close: set[Place] = set()  # channel.close was heard
        self.sent_to: dict[int, Place] = {}  # message -> where it was sent last
        self.node_of: dict[int, NodeName] = {}
        self.now = 0.0
        self.drained_at: dict[NodeName, float] = {}
        self.moves: list[tuple[Place, Life]] = []  # channel.close that wasn't the client's
        self.forced: set[Place] = set()  # left under a drain that had waited long enough

    # -- reading --------------------------------------------------------------------------------

    def read(self) -> None:
        """All of it. Raises Broken."""
        for at, entry in enumerate(self.transcript):
            self._read(at, entry)

    def _read(self, at: int, entry: Entry) -> None:
        match entry:
            case Word("C>"):
                self._client_said(at, entry)
            case Word("<C"):
                self._client_told(at, entry)
            case Word("L>"):
                self._link_told(at, entry)
            case Word("<L"):
                self._link_said(at, entry)
            case Published():
                self.published[entry.number].append((at, entry))
            case Enqueued(queue, number, _):
                self.enqueued[queue, number].append((at, entry))
            case Confirmed(place, tag, _, numbers, ack):
                self.confirms[place, tag, ack] = numbers
                for number in numbers:
                    (self.acked if ack else self.nacked).setdefault(number, at)
            case Delivered():
                self.delivered[entry.delivery] = at, entry
            case Settled():
                self._broker_settled(at, entry)
            case Consumed():
                self._broker_consumed(at, entry)
            case QueueLost(_, deliveries):
                self.lost.update(deliveries)
            case ChannelClosed(place):
                self.place_ended[place] = at, entry
            case LinkDied(link, why):
                if why not in ("closed by the peer", "the peer closed"):
                    self.link_broken.setdefault(link, at)
            case LinkGone(link, how):
                self.link_gone[link] = at, how
                if how != "closed":
                    self.link_broken.setdefault(link, at)
            case PeerError(_, _, code, text):
                claim(False, f"a broker objects: {code} {text}", at)
            case Over():
                self.over = entry
            case Trouble(what, node):
                self.tally.troubles += 1
                if node is not None and what == "drain":
                    self.drained_at.setdefault(node, self.now)
            case LinkOpened(link, node):
                self.node_of[link] = node
            case Passed(now):
                self.now = now

    # -- the client -----------------------------------------------------------------------------

    def _client_said(self, at: int, word: Word) -> None:
        number, method = word.channel, word.method
        if number == 0:
            if isinstance(method, ConnectionClose):
                self.client_closed_at = min(self.client_closed_at, at)
            return
        life = self.lives.get(number)
        if life is None and isinstance(method, ChannelCloseOk):
            return  # closes crossed, and the answer to the client's own was faster
        if isinstance(method, ChannelOpen):
            life = self.lives[number] = Life(number, at)
            self.all_lives.append(life)
            life.requests.append(method)
            return
        assert life is not None  # the client is correct
        match method:
            case ChannelClose():
                life.closed_by_client = at
            case ChannelCloseOk():
                life.ended = at
                if life.closed_by_client == NEVER:
                    del self.lives[number]
            case BasicPublish(_, key):
                assert word.message is not None
                if life.confirming:
                    life.seq += 1
                    life.unconfirmed[life.seq] = word.message.number
                seq = life.seq if life.confirming else 0
                sent = Sent(word.message.number, at, life, seq, key != "nowhere")
                self.sent[sent.number] = sent
                self.tally.published += 1
            case BasicAck(tag, multiple):
                self._client_settled(at, life, "ack", tag, multiple)
            case BasicNack(tag, multiple, requeue):
                self._client_settled(at, life, "requeue" if requeue else "drop", tag, multiple)
            case BasicReject(tag, requeue):
                self._client_settled(at, life, "requeue" if requeue else "drop", tag, False)
            case _:
                self._client_asked(life, method)

    def _client_asked(self, life: Life, method: Method) -> None:
        match method:
            case ConfirmSelect():
                life.confirming = True
            case BasicQos(_, count, global_):
                if not global_:
                    life.prefetch = count
            case BasicConsume():
                priority = (method.arguments or {}).get("x-priority", 0)
                wanted = Wanted(method.queue, method.no_ack, life.prefetch, priority)
                if method.consumer_tag:
                    life.ever[method.consumer_tag] = wanted
                    if method.no_wait:
                        life.active.add(method.consumer_tag)
                else:
                    life.nameless.append(wanted)
        if not getattr(method, "no_wait", False):
            life.requests.append(method)

    def _client_settled(self, at: int, life: Life, how: str, tag: int, multiple: bool) -> None:
        if multiple:
            tags = [t for t in life.unsettled if tag in (0, t) or t <= tag]
        elif tag in life.unsettled:
            tags = [tag]
        else:
            claim(self.clumsy, f"the simulated client settles {tag}, which it doesn't have", at)
            return
        covered = frozenset(life.unsettled.pop(t) for t in tags)
        everything = multiple and tag == 0
        self.settlements.append(Settlement(at, life, how, covered, everything))
        self.tally.settled += len(covered)

    def _client_told(self, at: int, word: Word) -> None:
        number, method = word.channel, word.method
        if number == 0:
            if isinstance(method, ConnectionClose):
                self.closed_at = min(self.closed_at, at)
            return
        life = self.lives.get(number)
        if life is None:
            raise Broken(f"{method} on channel {number}, which the client has closed", at)
        if life.closed_by_us != NEVER:
            claim(
                isinstance(method, ChannelCloseOk),
                f"{method} on channel {number}, which the client was told is closed",
                at,
            )
        match method:
            case ChannelClose():
                life.closed_by_us = at
                self.tally.channels_closed += 1
                claim(
                    not self.survives or life.closed_by_client < at,
                    f"channel {number} is closed to the client: {method.reply_text}",
                    at,
                )
            case ChannelCloseOk():
                claim(life.closed_by_client < at, "channel.close-ok without channel.close", at)
                life.ended = at
                del self.lives[number]
            case BasicDeliver(tag, delivery_tag, redelivered):
                claim(tag in life.active, f"a delivery for consumer {tag!r}, which isn't one", at)
                no_ack = life.ever[tag].no_ack
                self._told_delivery(at, life, word, delivery_tag, redelivered, no_ack, tag)
            case BasicReturn():
                self._told_return(at, life, word)
            case BasicAck(tag, multiple):
                self._told_confirm(at, life, tag, multiple, ack=True)
            case BasicNack(tag, multiple):
                self._told_confirm(at, life, tag, multiple, ack=False)
            case BasicCancel(tag):
                claim(tag in life.active, f"consumer {tag!r} is cancelled, which isn't one", at)
                claim(not self.survives, f"consumer {tag!r} is cancelled", at)
                life.active.discard(tag)
            case _:
                self._told_answer(at, life, word)

    def _told_answer(self, at: int, life: Life, word: Word) -> None:
        method = word.method
        claim(bool(life.requests), f"{method} answers nothing", at)
        request = next((one for one in life.requests if _answers(method, one)), None)
        if request is None:
            raise Broken(f"{method} is no answer to {life.requests[0]}", at)
        before = list(life.requests)[: life.requests.index(request)]
        claim(
            all(isinstance(one, BasicConsume | BasicCancel) for one in before),
            f"{method} comes before the answer to {before[:1]}",
            at,
        )
        life.requests.remove(request)
        match request, method:
            case BasicConsume(), BasicConsumeOk(tag):
                if request.consumer_tag:
                    claim(tag == request.consumer_tag, f"{method} names another consumer", at)
                else:
                    claim(tag not in life.active and tag != "", f"{method} takes a used tag", at)
                    life.ever[tag] = life.nameless.popleft()
                life.active.add(tag)
            case BasicCancel(), BasicCancelOk(tag):
                claim(tag == request.consumer_tag, f"{method} names another consumer", at)
                life.active.discard(tag)
            case QueueDeclare(), QueueDeclareOk(queue):
                claim(queue == request.queue, f"{method} names another queue", at)
            case BasicGet(), BasicGetOk(tag, redelivered):
                self._told_delivery(at, life, word, tag, redelivered, request.no_ack, "")

    def _told_delivery(
        self,
        at: int,
        life: Life,
        word: Word,
        tag: int,
        redelivered: bool,
        no_ack: bool,
        consumer: str,
    ) -> None:
        message = word.message
        assert message is not None
        claim(message.whole, f"the body of message {message.number} isn't whole", at)
        expected = life.last_tag + 1
        claim(tag == expected, f"delivery tag {tag} comes after {life.last_tag}", at)
        life.last_tag = tag
        known = self.delivered.get(message.delivery)
        if known is None:
            raise Broken(f"delivery {message.delivery} was made by no broker", at)
        claim(message.delivery not in self.told, "the same delivery comes twice", at)
        self.told[message.delivery] = at
        self.tally.delivered += 1
        made = known[1]
        claim(
            (made.number, made.redelivered, made.no_ack) == (message.number, redelivered, no_ack)
            and called_alike(made.consumer, consumer)
            and (not consumer or made.queue == life.ever[consumer].queue),
            f"{word.method} with message {message.number} was {made}",
            at,
        )
        claim(made.place.channel == life.number, f"{made} on channel {life.number}", at)
        if not no_ack:
            life.unsettled[tag] = message.delivery

    def _told_return(self, at: int, life: Life, word: Word) -> None:
        assert word.message is not None
        sent = self.sent.get(word.message.number)
        claim(sent is not None and sent.life is life, "a return of what wasn't published", at)
        assert sent is not None
        claim(word.message.whole, "the body of a returned message isn't whole", at)
        if sent.seq:
            claim(sent.seq in life.unconfirmed, "a return after its confirm", at)

    def _told_confirm(self, at: int, life: Life, tag: int, multiple: bool, *, ack: bool) -> None:
        claim(0 < tag <= life.seq, f"a confirm for {tag} of {life.seq}", at)
        covered = [seq for seq in life.unconfirmed if (seq <= tag if multiple else seq == tag)]
        claim(bool(covered), f"a confirm of {tag} (multiple={multiple}) covers nothing new", at)
        if multiple:
            claim(tag in life.unconfirmed, f"a confirm up to {tag}, which was confirmed before", at)
        for seq in covered:
            number = life.unconfirmed.pop(seq)
            known = self.acked if ack else self.nacked
            word = "confirmed" if ack else "refused"
            claim(number in known, f"{number} (sequence {seq}) was {word} by no broker", at)
            claim(
                self.heard_confirm.get((number, ack), NEVER) < at,
                f"the session has not heard that {number} (sequence {seq}) is {word}",
                at,
            )
            self.tally.confirmed += ack

    # -- links ----------------------------------------------------------------------------------

    def _place(self, link: int, channel: int) -> Place:
        return Place(link, channel, self.openings[link, channel])

    def _link_told(self, at: int, word: Word) -> None:
        link, number, method = word.link, word.channel, word.method
        claim(link not in self.link_left, f"{method} on a link after connection.close", at)
        if number == 0:
            if isinstance(method, ConnectionClose):
                self.link_left[link] = at
            return
        key = link, number
        phase = self.link_phase.get(key, "closed")
        match method:
            case ChannelOpen():
                claim(phase == "closed", f"channel {number} of link {link} is opened: {phase}", at)
                self.openings[key] += 1
                self.link_phase[key] = "open"
            case ChannelClose():
                allowed = phase in ("open", "closed by broker")
                claim(allowed, f"channel {number} of link {link} is closed: {phase}", at)
                self.link_phase[key] = "closing" if phase == "open" else "closed by both"
                place = self._place(link, number)
                self.place_left[place] = at
                life = self.lives.get(number)
                if life is not None and min(life.closed_by_client, life.closed_by_us) == NEVER:
                    self.moves.append((place, life))
                since = self.drained_at.get(self.node_of[link], self.now)
                if self.now - since >= SETTLE_TIMEOUT:
                    self.forced.add(place)
            case ChannelCloseOk():
                allowed = phase in ("closed by broker", "closed by both", "closing, crossed")
                claim(allowed, f"close-ok for channel {number} of link {link}: {phase}", at)
                self.link_phase[key] = "closed" if phase == "closed by broker" else "closing"
            case _:
                allowed = phase in ("open", "closed by broker")
                claim(allowed, f"{method} on channel {number} of link {link}: {phase}", at)
                if word.message is not None:
                    self._told_publish(at, word.message.number, self._place(link, number))

    def _told_publish(self, at: int, number: int, place: Place) -> None:
        sent = self.sent.get(number)
        if sent is None:
            raise Broken(f"message {number} was invented", at)
        if (number, True) in self.heard_confirm:
            raise Broken(f"message {number} is sent again after its confirm", at)
        if sent.seq:
            claim(
                sent.seq in sent.life.unconfirmed,
                f"message {number} is sent again after its client was told that it is refused",
                at,
            )
        before = self.sent_to.get(number)
        if before is not None and (number, before) not in self.heard_nack:
            gone = before.link in self.link_gone or before.link in self.link_told_close
            claim(
                gone or before in self.place_left or before in self.place_told_close,
                f"message {number} is sent again while {before} lives",
                at,
            )
        self.sent_to[number] = place

    def _link_said(self, at: int, word: Word) -> None:
        link, number, method = word.link, word.channel, word.method
        if number == 0:
            if isinstance(method, ConnectionClose):
                self.link_told_close.add(link)
            return
        key = link, number
        phase = self.link_phase.get(key, "closed")
        match method:
            case ChannelClose():
                self.place_told_close.add(self._place(link, number))
                self.link_phase[key] = (
                    "closing, crossed" if phase == "closing" else "closed by broker"
                )
            case ChannelCloseOk():
                self.link_phase[key] = "closed" if phase == "closing" else "closed by broker"
            case BasicAck(tag) | BasicNack(tag):
                ack = isinstance(method, BasicAck)
                place = self._place(link, number)
                for n in self.confirms[place, tag, ack]:
                    self.heard_confirm.setdefault((n, ack), at)
                    if not ack:
                        self.heard_nack.add((n, place))
            case BasicDeliver() | BasicGetOk():
                assert word.message is not None
                self.heard[word.message.delivery] = at

    # -- brokers --------------------------------------------------------------------------------

    def _broker_settled(self, at: int, settled: Settled) -> None:
        delivery, how = settled.delivery, settled.how
        self.settled[delivery] = at, settled
        told = self.told.get(delivery)
        for one in self.settlements:
            if one.how == how and delivery in one.deliveries:
                return
            if one.how == how and one.everything and one.life.number == settled.place.channel:
                born, ended = one.life.born, one.life.ended
                if told is None or born < told < ended:
                    return
        raise Broken(f"delivery {delivery} is settled ({how}), and the client didn't say so", at)

    def _broker_consumed(self, at: int, consumed: Consumed) -> None:
        if consumed.place.link in self.link_gone:
            return  # a node that hung reads what was said to it before it was given up
        life = self.lives.get(consumed.place.channel)
        if life is None or (consumed.tag.startswith("amq.ctag-") and consumed.tag not in life.ever):
            return  # its name is on its way to the client, or a crash has made it meaningless
        alike = [one for tag, one in life.ever.items() if called_alike(tag, consumed.tag)]
        if consumed.tag in life.ever:
            alike = [life.ever[consumed.tag]]
        made = (consumed.queue, consumed.no_ack, consumed.prefetch, consumed.priority)
        asked = [(one.queue, one.no_ack, one.prefetch, one.priority) for one in alike]
        claim(made in asked, f"{consumed} was asked for as {alike}", at)


def called_alike(one: str, other: str) -> bool:
    """Whether two consumer tags may stand for the same: a consumer that is started again on its
    channel gets a tag there that differs in the last character."""
    return one[:-1] == other[:-1] and len(one) == len(other)


def _answers(answer: Method, request: Method) -> bool:
    """Whether it can be the answer to this request. Cancels that are under way together may be
    answered in any order: a consumer that waits for its queue is cancelled at once."""
    if not isinstance(answer, ANSWERS[type(request)]):
        return False
    cancel = isinstance(request, BasicCancel) and isinstance(answer, BasicCancelOk)
    return not cancel or answer.consumer_tag == request.consumer_tag
