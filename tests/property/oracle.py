"""Judges a transcript, by brute force and after the fact.

It knows nothing of journals, offsets and moves: it holds what the client was told against what
brokers did. Each rule is one sentence of the design's promise; ``judge`` raises ``Broken`` with the
first that doesn't hold.
"""

from collections import defaultdict
from itertools import pairwise

from tests.property.records import NEVER, Broken, Life, Sent, Settlement, Tally, claim
from tests.property.transcript import Transcript
from tests.property.witness import Witness

from warrener.testing.simulated_happenings import Enqueued, Place, Published


class Oracle(Witness):
    """One judgement. ``calm``: nothing died, so nothing may come twice."""

    def __init__(
        self, transcript: Transcript, *, calm: bool, survives: bool, clumsy: bool = False
    ) -> None:
        super().__init__(transcript, survives=survives, clumsy=clumsy)
        self.calm = calm

    def judge(self) -> Tally:
        """Raises Broken."""
        self.read()
        self._judge_end()
        return self.tally

    def _judge_end(self) -> None:
        if self.over is not None and self.closed_at < NEVER:
            self.tally.sessions_ended += 1
        claim(
            not self.survives or self.closed_at == NEVER,
            "the session is closed to the client",
            self.closed_at,
        )
        for one in self.settlements:
            for delivery in one.deliveries:
                self._judge_settlement(one, delivery)
        for delivery, at in self.heard.items():
            self._judge_delivery(delivery, at)
        for number, sent in self.sent.items():
            self._judge_publish(number, sent)
        self._judge_order()
        self._judge_moves()

    def _life_over(self, life: Life) -> bool:
        """Whether the client was told that the channel, or the session, is no more."""
        return life.closed_by_us < NEVER or self.closed_at < NEVER

    def _place_dead(self, place: Place) -> bool:
        """Whether a place ended otherwise than by the session's will."""
        if place.link in self.link_broken or (place in self.forced and not self.calm):
            return True
        ended = self.place_ended.get(place)
        if ended is None or ended[1].by == "peer":
            return False
        return ended[0] < self.link_left.get(place.link, NEVER)

    def _judge_settlement(self, one: Settlement, delivery: int) -> None:
        settled = self.settled.get(delivery)
        if settled is not None:
            claim(settled[1].how == one.how, f"delivery {delivery} was settled otherwise", one.at)
            return
        self.tally.swallowed += 1
        place = self.delivered[delivery][1].place
        left = min(self.place_left.get(place, NEVER), self.link_left.get(place.link, NEVER))
        excused = (
            self._place_dead(place)
            or delivery in self.lost
            or left < one.at
            or self._life_over(one.life)
        )
        claim(
            excused,
            f"delivery {delivery} was settled by the client, and its broker was never told",
            one.at,
        )
        claim(not self.calm or self._life_over(one.life), "a planned move lost an ack", one.at)

    def _judge_delivery(self, delivery: int, at: int) -> None:
        """What reached the session reaches the client."""
        if delivery in self.told:
            return
        place = self.delivered[delivery][1].place
        left = min(self.place_left.get(place, NEVER), self.link_left.get(place.link, NEVER))
        closing = any(
            life.number == place.channel
            and min(life.closed_by_client, life.closed_by_us) < NEVER
            and life.born < at
            for life in self.all_lives
        )
        excused = left < at or closing or self.closed_at < NEVER or self.client_closed_at < NEVER
        claim(excused, f"delivery {delivery} never reached the client", at)

    def _judge_publish(self, number: int, sent: Sent) -> None:
        published = self.published.get(number, [])
        copies: dict[str, int] = {}
        for _, one in published:
            for queue in one.queues:
                copies[queue] = len(self.enqueued.get((queue, number), ()))
        self.tally.replayed += max(len(published) - 1, 0)
        self.tally.duplicates += sum(max(n - 1, 0) for n in copies.values())
        life = sent.life
        gone = self._life_over(life)
        if not sent.seq:
            claim(
                bool(published) or gone,
                f"message {number} was lost, and nobody said so",
                sent.at,
            )
            claim(len(published) <= 1, f"message {number}, not under confirms, came twice", sent.at)
            return
        still = life.unconfirmed.get(sent.seq) == number
        left = min(life.closed_by_client, self.client_closed_at) < NEVER
        claim(not still or gone or left, f"message {number} was never confirmed", sent.at)
        if not still and number in self.acked:
            for _, one in published:
                if not one.refused and one.queues:
                    missing = [queue for queue in one.queues if not copies[queue]]
                    if not missing:
                        break
            else:
                unrouted = any(not one.queues and not one.refused for _, one in published)
                claim(unrouted, f"message {number} was confirmed and is nowhere", sent.at)
        if self.calm:
            many = {queue: n for queue, n in copies.items() if n > 1}
            claim(not many, f"message {number} came more than once, in calm: {many}", sent.at)
        for queue in copies:
            self._judge_copies(number, self.enqueued.get((queue, number), []))

    def _judge_copies(self, number: int, copies: list[tuple[int, Enqueued]]) -> None:
        """Each copy more is excused by the death of the place that took it, whoever was first: a
        node that hung reads late what was said to it. And by a refusal there of any publish: what
        such a channel hasn't confirmed in a second is said again on a new one."""
        refusing = {place for _, place in self.heard_nack}
        alive = [
            (at, one.place)
            for at, one in copies
            if not self._place_dead(one.place) and one.place not in refusing
        ]
        claim(
            len(alive) < 2,
            f"message {number} was published twice: {alive}",
            alive[-1][0] if alive else -1,
        )

    def _judge_order(self) -> None:
        """First copies entered in the order of publishing, for each channel and queue."""
        unsure = {
            number
            for number, list_ in self.published.items()
            if any(self._hides(number, one) for _, one in list_)
        }
        firsts: dict[tuple[int, str], list[tuple[int, int]]] = defaultdict(list)
        for (queue, number), copies in self.enqueued.items():
            sent = self.sent.get(number)
            if sent is None:
                raise Broken(f"message {number} in {queue} was never published", copies[0][0])
            if number not in unsure:
                firsts[sent.life.born, queue].append((copies[0][0], number))
        for (_, queue), entries in firsts.items():
            entries.sort()
            for (_, one), (at, other) in pairwise(entries):
                claim(one < other, f"message {other} entered {queue} behind {one}", at)

    def _hides(self, number: int, one: Published) -> bool:
        """Whether a broker left a message out in a way that a session can't have known in time to
        keep the order."""
        if not one.queues or one.refused == "whim":
            return True
        if one.refused:
            return (number, one.place) not in self.heard_nack
        return number in self.nacked  # its queue was lost behind it

    def _judge_moves(self) -> None:
        """A move that nobody's death caused leaves nothing unsettled and nothing unconfirmed."""
        for place, life in self.moves:
            if life.closed_by_us < NEVER:
                continue  # it was no move: the session closed the channel on both sides
            self.tally.moved += 1
            at, closed = self.place_ended.get(place, (NEVER, None))
            if closed is None or closed.by != "peer" or (place in self.forced and not self.calm):
                continue
            if any(nacked == place for _, nacked in self.heard_nack):
                continue  # what the broker refused is tried again on a new channel
            claim(not closed.held, f"a planned move dropped {closed.held}", at)
            claim(not closed.owed, f"a planned move left {closed.owed} unconfirmed", at)
