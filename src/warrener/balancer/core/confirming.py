"""What brokers say of a channel's publishes: confirms, and refusals that may not be the last word.

RabbitMQ refuses (basic.nack) the first publish of a channel to a quorum queue that has no leader
just then, and goes on refusing what that channel sends to the queue when there is one. To the
client that is a lost node that it was to be spared: after an election of a fraction of a second its
message would have been taken. So such a publish stays in the journal, what the client says behind
it waits, and once the broker has spoken about the others all that is unconfirmed is said again on a
new channel, the first alone (``probe``). The order within each queue holds, as the refusals
for one queue don't stop before the channel does.

A refusal is believed when the queue is led by a node that is fit and nothing has happened for a
while: a full queue with ``reject-publish`` refuses at a high rate, and its publishers want to know
at once. So is every refusal of a channel that can't be opened anew without harm.
"""

from dataclasses import replace
from typing import Final

from warrener.amqp.methods import BasicNack, encode_method_frame
from warrener.amqp.units import TAGS
from warrener.balancer.core.carried import SURE_AFTER, Carried, Mode
from warrener.balancer.core.rewriting import ack_frame
from warrener.balancer.core.traffic import key_of, names_of
from warrener.facts.places import Lookup, QueuePlace

PROBE_PAUSES: Final = (0.1, 0.1, 0.2, 0.3, 0.5)
"""Seconds until a publish that was refused is tried again; the last one repeats.
A quorum queue elects a leader within half a second."""

AWAIT_OTHERS: Final = 1.0
"""Seconds that a channel with a refused publish waits for the word on its other ones, which would
come twice."""


class Confirming(Carried):
    """See the module."""

    __slots__ = ()

    def confirms_come(self, data: bytes) -> None:
        """A run of basic.ack frames from its link."""
        publishes = self.publishes
        parts: list[bytes] = []
        for tag, multiple in TAGS.iter_unpack(data):
            if publishes.refused:
                each = publishes.confirmed_each(tag, bool(multiple))
                parts.extend(ack_frame(self.number, number, False) for number in each)
                continue
            number = publishes.confirmed(tag, bool(multiple))
            if number is not None:
                parts.append(ack_frame(self.number, number, bool(multiple)))
        self.board.to_client(b"".join(parts))
        self.owed.confirmed(publishes.outstanding, self.board.now)
        if publishes.timed:
            self.confirm_of_timed()
        if self.mode is Mode.PROBING and parts and self.probe_at is None:
            self.probe_confirmed()
        self.check_drained()

    def confirm_of_timed(self) -> None:
        """Some publishes are confirmed; one of them may be the one that is timed."""
        publishes = self.publishes
        if publishes.timed_is_confirmed:
            took = publishes.confirmed_timed(self.board.clock())
            self.owed.timed(took)
            self.board.confirmed_after(took)

    def refusal_comes(self, method: BasicNack) -> None:
        """The broker hasn't taken a publish."""
        publishes = self.publishes
        tag, multiple = method.delivery_tag, method.multiple
        number = publishes.number_of(tag)
        if number is None:
            return  # it was sent again since
        probing = self.mode is Mode.PROBING
        if (probing and publishes.refused) or (self.mode is Mode.LEAVING and self.reopens):
            publishes.refuse(tag, multiple)
            return
        if self._doubts(number):
            publishes.refuse(tag, multiple)
            self._try_again()
            return
        if probing and self.probe_refused():
            return
        number = publishes.confirmed(tag, multiple)
        publishes.untime()  # a refusal is no confirm
        if number is not None:
            changed = replace(method, delivery_tag=number)
            self.board.to_client(encode_method_frame(self.number, changed))
        if probing:
            self.probe_confirmed()
        self.check_drained()

    def _doubts(self, number: int) -> bool:
        """Whether this publish may be taken if it is tried again in a moment."""
        directory = self.board.directory
        if self.mode is not Mode.SETTLED or directory.troubled_at == self.believed_at:
            return False
        if self.uncarriable() or self.tie():
            return False
        lately = self.board.now - directory.troubled_at < SURE_AFTER
        queues = self._destinations(number)
        replicated = [queue for queue in queues if not self._is_classic(queue)]
        if lately:
            return bool(replicated) or not queues
        return any(self._lacks_leader(queue) for queue in replicated)

    def _is_classic(self, queue: str) -> bool:
        place = self.board.directory.place(self.board.vhost, queue, self.board.now)
        return isinstance(place, QueuePlace) and place.type == "classic"

    def _lacks_leader(self, queue: str) -> bool:
        place = self.board.directory.place(self.board.vhost, queue, self.board.now)
        return isinstance(place, QueuePlace) and self.leader_of(queue) is None

    def _destinations(self, number: int) -> tuple[str, ...]:
        """The queues that a publish leads to; none if that isn't known."""
        board = self.board
        try:
            exchange, routing_key = names_of(key_of(self.publishes.message(number), 0))
        except IndexError:
            return ()
        found = board.directory.destinations(board.vhost, exchange, routing_key, board.now)
        return () if found is None or isinstance(found, Lookup) else found

    def _try_again(self) -> None:
        """A moment later; what others the broker hasn't spoken about may be confirmed meanwhile."""
        board = self.board
        pause = PROBE_PAUSES[0]
        self.mode = Mode.PROBING
        self.probes = 1
        self.probe_since = board.now
        self.led_since = None
        self.probe_at = board.now + pause
        board.wake(pause)

    # -- one publish alone ----------------------------------------------------------------------

    def probe(self, data: bytes) -> None:
        """Try one publish, and wait for what the broker says."""
        if self.link is None:
            raise AssertionError("a channel probes on a link")
        queue = self.traffic.main_queue()
        led = bool(queue) and self.leader_of(queue) is not None
        if not self.probes:
            self.probe_since = self.board.now
            self.led_since = None
        if led and self.led_since is None:
            self.led_since = self.board.now
        self.tries_now = False
        self.probe_at = None
        self.mode = Mode.PROBING
        self.probes += 1
        self.board.to_link(self.link, data)

    def probe_again(self) -> None:
        """On a new channel: RabbitMQ's refusal sticks to the old one."""
        board = self.board
        publishes = self.publishes
        if (
            publishes.refused
            and publishes.refused < publishes.outstanding
            and board.now - self.probe_since < AWAIT_OTHERS
        ):
            self.probe_at = board.now + PROBE_PAUSES[0]
            board.wake(PROBE_PAUSES[0])
            return
        self.probe_at = None
        self.reopens = True
        self.target = self.link
        self._leave()

    def probe_refused(self) -> bool:
        """The broker has refused the first publish: whether it is to be tried again."""
        board = self.board
        waited = board.now - self.probe_since
        queue = self.traffic.main_queue()
        unwanted = (  # in spite of a leader: the queue may be full
            self.led_since is not None
            and board.now - self.led_since >= SURE_AFTER
            and self.leader_of(queue) is not None
        )
        if unwanted or waited >= board.settings.park_timeout:
            self.believed_at = board.directory.troubled_at
            return False
        pause = PROBE_PAUSES[min(self.probes, len(PROBE_PAUSES)) - 1]
        self.probe_at = board.now + pause
        board.wake(pause)
        return True

    def probe_confirmed(self) -> None:
        """The first publish has arrived, so the others will."""
        self.unproved = False
        self.probes = 0
        self._replay_all()
