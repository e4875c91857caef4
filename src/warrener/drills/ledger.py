"""The books of a workload: what every client did and saw, and what that comes to.

    notes of all clients ──► Ledger ──► verdict() ──► Verdict

A message is *confirmed* when its publisher got basic.ack and no basic.return. A confirmed message
that nobody got is *lost*: the one thing that must never happen. A message that came more often
than once is a *duplicate*; of the deliveries beyond the first,

- as many as were marked ``redelivered`` are explained by the broker: it delivered again what it had
  no ack for;
- an unmarked one is explained as *replayed* if its message waited for its confirm while something
  was broken on purpose, or if its publisher sent it more than once: whoever publishes it again
  can't know that it had arrived;
- any other is *unexplained*.

Clients may recover by themselves: they tell of each *disconnect*, publish again what is unconfirmed
and have given back what they can't ack any more. That is counted, and no objection.

A *gap* is a stretch in which a publisher had something unconfirmed and heard nothing. (Not simply
the time between two confirms: a publisher with nothing to wait for isn't kept waiting.)

Jepsen's ``total-queue`` checker counts the same things (lost, unexpected, duplicated, recovered);
what it calls recovered, delivered though never confirmed, needs no verdict here and is part of
``delivered``.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from warrener.drills.messages import MessageNumber
from warrener.drills.notes import Note, NoteKind, TroubleKind

_NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Fault:
    """Something broken on purpose, from ``begin`` until everything ran again."""

    label: str
    begin: float
    end: float = _NEVER


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that a client noticed and should not have."""

    client: str
    at: float
    kind: TroubleKind
    text: str


@dataclass(frozen=True, slots=True)
class Gap:
    """How long a publisher waited without hearing anything, and when that began."""

    client: str
    begin: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Message:
    """One message as the verdict tells of it. ``confirmed_at`` is None if it never was."""

    number: MessageNumber
    queue: str
    publisher: str
    published_at: float
    confirmed_at: float | None


@dataclass(frozen=True, slots=True)
class Disconnect:
    """A client lost its connection, and made another one by itself."""

    client: str
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Unexpected:
    """What can't be: a message nobody sent, one in the wrong queue, a confirm for nothing."""

    client: str
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Deliveries beyond a message's first, by what explains them."""

    redelivered: int
    replayed: int
    unexplained: tuple[Message, ...]

    @property
    def total(self) -> int:
        """All of them."""
        return self.redelivered + self.replayed + len(self.unexplained)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the books say. Counts are messages, unless they say otherwise."""

    published: int
    confirmed: int
    refused: int  # basic.nack
    returned: tuple[Message, ...]  # basic.return: no queue
    unanswered: tuple[Message, ...]  # neither ack nor nack by the end
    delivered: int
    lost: tuple[Message, ...]
    unexpected: tuple[Unexpected, ...]
    duplicates: Duplicates
    marked: int  # deliveries marked as redelivered, first ones included
    reordered: int  # unmarked first deliveries of a publisher's that overtook an earlier one
    unacked: int  # deliveries that their consumer never acked
    republished: int  # by their publishers, on another connection
    disconnects: tuple[Disconnect, ...]
    gaps: tuple[Gap, ...]  # each publisher's longest, the longest first
    troubles: tuple[Trouble, ...]

    @property
    def longest_gap(self) -> Gap | None:
        """None if nothing was published."""
        return self.gaps[0] if self.gaps else None

    def count(self, kind: TroubleKind) -> int:
        """Troubles of that kind."""
        return sum(trouble.kind is kind for trouble in self.troubles)

    def objections(self, *, duplicates: bool) -> tuple[str, ...]:
        """Everything that speaks against it, as lines for people; empty if all is well.

        ``duplicates`` says whether explained ones are accepted. How long gaps may be is not
        judged here.
        """
        lines = [f"lost: {message}" for message in self.lost]
        lines += [
            f"unexpected: {one.client} at {one.at:.3f}: {one.text}" for one in self.unexpected
        ]
        lines += [f"{one.kind}: {one.client} at {one.at:.3f}: {one.text}" for one in self.troubles]
        lines += [f"duplicate, unexplained: {one}" for one in self.duplicates.unexplained]
        if not duplicates and (self.duplicates.redelivered or self.duplicates.replayed):
            lines.append(
                f"duplicates: {self.duplicates.redelivered} redelivered, "
                f"{self.duplicates.replayed} replayed"
            )
        lines += [f"returned: {message}" for message in self.returned]
        lines += [f"never answered: {message}" for message in self.unanswered]
        if self.refused:
            lines.append(f"refused: {self.refused}")
        if self.unacked:
            lines.append(f"never acked: {self.unacked} deliveries")
        return tuple(lines)

    def summary(self) -> str:
        """One line of figures."""
        gap = self.longest_gap
        return (
            f"{self.published} published, {self.confirmed} confirmed, {self.delivered} delivered; "
            f"lost {len(self.lost)}, unexpected {len(self.unexpected)}, duplicates "
            f"{self.duplicates.redelivered} redelivered + {self.duplicates.replayed} replayed + "
            f"{len(self.duplicates.unexplained)} unexplained, marked {self.marked}, reordered "
            f"{self.reordered}; troubles {len(self.troubles)}; "
            f"disconnects {len(self.disconnects)}, republished {self.republished}; longest gap "
            + (f"{gap.seconds:.3f} s at {gap.begin:.3f} ({gap.client})" if gap else "none")
        )


@dataclass(slots=True)
class _Publish:
    client: str
    queue: str
    at: float
    acked_at: float | None = None
    refused_at: float | None = None
    returned: bool = False
    sent_again: int = 0

    @property
    def answered(self) -> bool:
        return self.acked_at is not None or self.refused_at is not None

    @property
    def confirmed(self) -> bool:
        return self.acked_at is not None and not self.returned

    def waited_within(self, fault: Fault) -> bool:
        until = _NEVER if self.acked_at is None else self.acked_at
        return self.at <= fault.end and fault.begin <= until


@dataclass(slots=True)
class _Delivery:
    client: str
    queue: str
    at: float
    redelivered: bool


class Ledger:
    """Takes notes in any order and says what they come to. A client has one queue."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, NoteKind]] = Counter()
        """Notes so far, by client and kind."""
        self._publishes: dict[MessageNumber, _Publish] = {}
        self._deliveries: dict[MessageNumber, list[_Delivery]] = {}
        self._acks: Counter[tuple[str, MessageNumber]] = Counter()
        self._given_back: Counter[tuple[str, MessageNumber]] = Counter()
        self._disconnects: list[Disconnect] = []
        self._waits: dict[str, list[tuple[float, int]]] = {}
        self._troubles: list[Trouble] = []
        self._remarks: list[tuple[str, float, str]] = []
        self._unexpected: list[Unexpected] = []
        self._faults: list[Fault] = []
        self._last = 0.0

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """So far."""
        return tuple(self._troubles)

    @property
    def remarks(self) -> tuple[tuple[str, float, str], ...]:
        """Client, time and text of what is worth knowing but not wrong."""
        return tuple(self._remarks)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """So far."""
        return tuple(self._faults)

    def outstanding(self) -> int:
        """Confirmed messages that nobody has got yet."""
        return sum(
            publish.confirmed and number not in self._deliveries
            for number, publish in self._publishes.items()
        )

    def unacked(self) -> int:
        """Deliveries that their consumer hasn't acked yet."""
        delivered = sum(map(len, self._deliveries.values()))
        return delivered - self._acks.total() - self._given_back.total()

    def fault(self, fault: Fault) -> None:
        """Something was broken on purpose from ``begin`` to ``end``."""
        self._faults.append(fault)

    def take(self, client: str, queue: str, note: Note) -> None:
        """One note of a client that publishes to, or consumes from, ``queue``."""
        self.counts[client, note.kind] += 1
        self._last = max(self._last, note.at)
        match note.kind:
            case NoteKind.PUBLISHED:
                if note.number in self._publishes:
                    self._wonder(client, note.at, f"message {note.number} published again")
                    return
                self._publishes[note.number] = _Publish(client, queue, note.at)
                self._waits.setdefault(client, []).append((note.at, 1))
            case NoteKind.CONFIRMED | NoteKind.REFUSED | NoteKind.RETURNED:
                self._answered(client, note)
            case NoteKind.DELIVERED:
                delivery = _Delivery(client, queue, note.at, note.redelivered)
                self._deliveries.setdefault(note.number, []).append(delivery)
            case NoteKind.DAMAGED:
                self._wonder(client, note.at, f"damaged: {note.text}")
            case NoteKind.ACKED:
                self._acks[client, note.number] += 1
            case NoteKind.REPUBLISHED:
                self._again(client, note)
            case NoteKind.GIVEN_BACK:
                self._given_back[client, note.number] += 1
            case NoteKind.DISCONNECTED:
                self._disconnects.append(Disconnect(client, note.at, note.text))
            case NoteKind.TROUBLE:
                assert note.trouble is not None, "a trouble has a kind"
                self._troubles.append(Trouble(client, note.at, note.trouble, note.text))
            case NoteKind.REMARK:
                self._remarks.append((client, note.at, note.text))
            case NoteKind.ENDED:
                pass

    def _answered(self, client: str, note: Note) -> None:
        publish = self._publishes.get(note.number)
        if publish is None or publish.client != client:
            self._wonder(client, note.at, f"message {note.number} {note.kind}, never published")
            return
        if note.kind is NoteKind.RETURNED:
            publish.returned = True  # its ack or nack comes as well
            return
        if publish.answered:
            self._wonder(client, note.at, f"message {note.number} {note.kind}, answered before")
            return
        if note.kind is NoteKind.CONFIRMED:
            publish.acked_at = note.at
        else:
            publish.refused_at = note.at
        self._waits[client].append((note.at, -1))

    def _again(self, client: str, note: Note) -> None:
        publish = self._publishes.get(note.number)
        if publish is None or publish.client != client:
            self._wonder(client, note.at, f"message {note.number} published again, never before")
            return
        if publish.acked_at is not None:
            self._wonder(client, note.at, f"message {note.number} published again when confirmed")
            return
        publish.sent_again += 1
        if publish.refused_at is not None:
            publish.refused_at = None
            self._waits[client].append((note.at, 1))

    def _wonder(self, client: str, at: float, text: str) -> None:
        self._unexpected.append(Unexpected(client, at, text))

    # -- the verdict

    def verdict(self) -> Verdict:
        """What all notes so far come to."""
        publishes = self._publishes.items()
        missing = [n for n, one in publishes if one.confirmed and n not in self._deliveries]
        silent = [n for n, one in publishes if not one.answered]
        flat = [one for many in self._deliveries.values() for one in many]
        return Verdict(
            published=len(self._publishes),
            confirmed=sum(one.confirmed for _, one in publishes),
            refused=sum(one.refused_at is not None for _, one in publishes),
            returned=self._messages(n for n, one in publishes if one.returned),
            unanswered=self._messages(silent),
            delivered=len(self._deliveries.keys() & self._publishes.keys()),
            lost=self._messages(missing),
            unexpected=(*self._unexpected, *self._strangers()),
            duplicates=self._duplicates(),
            marked=sum(one.redelivered for one in flat),
            reordered=self._reordered(),
            unacked=self._unacked(),
            republished=sum(one.sent_again for _, one in publishes),
            disconnects=tuple(sorted(self._disconnects, key=lambda one: one.at)),
            gaps=self.gaps(),
            troubles=tuple(sorted(self._troubles, key=lambda one: one.at)),
        )

    def _messages(self, numbers: Iterable[MessageNumber]) -> tuple[Message, ...]:
        return tuple(self._message(number) for number in sorted(numbers))

    def _message(self, number: MessageNumber) -> Message:
        one = self._publishes[number]
        return Message(number, one.queue, one.client, one.at, one.acked_at)

    def _strangers(self) -> list[Unexpected]:
        found = []
        for number, deliveries in self._deliveries.items():
            publish = self._publishes.get(number)
            for one in deliveries:
                if publish is None:
                    text = f"message {number} delivered, never published"
                elif publish.queue != one.queue:
                    text = f"message {number} of {publish.queue} delivered from {one.queue}"
                else:
                    continue
                found.append(Unexpected(one.client, one.at, text))
        for (client, number), count in self._acks.items():
            got = sum(one.client == client for one in self._deliveries.get(number, ()))
            if count > got:
                text = f"message {number} acked {count} times, delivered {got} times"
                found.append(Unexpected(client, self._last, text))
        return found

    def _duplicates(self) -> Duplicates:
        """Not by the order of deliveries: two consumers' clocks of reading say nothing about it."""
        redelivered = replayed = 0
        unexplained: list[MessageNumber] = []
        for number, deliveries in self._deliveries.items():
            publish = self._publishes.get(number)
            if publish is None:
                continue  # unexpected already
            unmarked = sum(not one.redelivered for one in deliveries)
            copies = max(0, unmarked - 1)
            redelivered += len(deliveries) - 1 - copies
            again = publish.sent_again or any(map(publish.waited_within, self._faults))
            if copies and again:
                replayed += copies
            else:
                unexplained += [number] * copies
        return Duplicates(redelivered, replayed, self._messages(unexplained))

    def _reordered(self) -> int:
        """A consumer sees what one publisher sent in the order of sending, except what was
        requeued in between."""
        firsts: dict[tuple[str, str], list[tuple[float, int, MessageNumber]]] = {}
        for number, deliveries in self._deliveries.items():
            publish = self._publishes.get(number)
            if publish is None or any(one.redelivered for one in deliveries):
                continue
            one = min(deliveries, key=lambda delivery: delivery.at)
            line = firsts.setdefault((publish.client, one.client), [])
            line.append((one.at, len(line), number))
        count = 0
        for line in firsts.values():
            numbers = [number for _, _, number in sorted(line)]
            count += sum(after < before for before, after in pairwise(numbers))
        return count

    def _unacked(self) -> int:
        delivered = Counter(
            (one.client, number) for number, many in self._deliveries.items() for one in many
        )
        settled = self._acks + self._given_back
        return sum(max(0, count - settled[key]) for key, count in delivered.items())

    def gaps(self, since: float = 0.0, until: float = _NEVER) -> tuple[Gap, ...]:
        """Each publisher's longest gap of those that touch that time, the longest first."""
        found = []
        for client, changes in self._waits.items():
            longest = Gap(client, since, 0.0)
            waiting = 0
            quiet_since = 0.0
            # a publish before a confirm of the same instant: it can't be the other way round
            for at, change in sorted(changes, key=lambda one: (one[0], -one[1])):
                if change < 0:
                    longest = _longer(longest, quiet_since, at, since, until)
                    quiet_since = at
                elif not waiting:
                    quiet_since = at
                waiting += change
            if waiting:
                longest = _longer(longest, quiet_since, self._last, since, until)
            found.append(Gap(client, longest.begin, longest.seconds))
        return tuple(sorted(found, key=lambda gap: -gap.seconds))


def _longer(longest: Gap, begin: float, end: float, since: float, until: float) -> Gap:
    if begin <= until and since <= end and end - begin > longest.seconds:
        return Gap(longest.client, begin, end - begin)
    return longest
