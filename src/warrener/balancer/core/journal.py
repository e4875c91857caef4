"""What has to be known of a channel to put it on another node without its client noticing.

Two numberings run through a channel, and each exists twice: as the client sees it, unbroken for the
life of the channel, and as one link counts it, from 1 each time the channel is opened there.

    Deliveries   tags of what the client was given, and which of them it has settled
    Publishes    sequence numbers of what it published under confirms, with the bytes of those that
                 no broker has confirmed yet

Both keep sets of numbers in which nearly everything lies below a floor (``Numbers``), so what is
kept grows with what is out of order, not with what has passed.
"""

from collections import deque
from typing import Final

from warrener.balancer.core.tally import STRIDES, next_stride
from warrener.balancer.core.worktime import Worktime

_WHILE_TIMED: Final = 1 << 63
"""A number that no publish gets to."""

ACK_ALL: Final = 0
"""The delivery tag that means "all so far", with ``multiple`` set."""


class Numbers:
    """A set of numbers from 1: all up to ``floor``, and intervals above it.

    Adding at an end of an interval costs the same however long it is: one message that a client
    never settles doesn't make what it settles afterwards pile up.
    """

    __slots__ = ("_by_end", "_by_start", "above", "floor")

    def __init__(self) -> None:
        self.floor = 0
        self.above = 0  # how many lie above the floor
        self._by_start: dict[int, int] = {}
        self._by_end: dict[int, int] = {}

    def __contains__(self, number: int) -> bool:
        if number <= self.floor:
            return True
        return any(start <= number <= end for start, end in self._by_start.items())

    def add(self, first: int, last: int) -> None:
        """Add ``first`` to ``last``, of which none is in an interval yet.

        A number that is added twice (a client that acks twice: its broker will close the channel)
        makes counts wrong and nothing worse; looking for it would cost a search each time.
        """
        if first <= self.floor:
            first = self.floor + 1
        if last < first or first in self._by_start or last in self._by_end:
            return
        self.above += last - first + 1
        start = self._by_end.pop(first - 1, None)
        if start is None:
            start = first
        else:
            self._by_start.pop(start, None)
        end = self._by_start.pop(last + 1, None)
        if end is None:
            end = last
        else:
            self._by_end.pop(end, None)
        if start == self.floor + 1:
            self.above -= end - self.floor
            self.floor = end
        else:
            self._by_start[start] = end
            self._by_end[end] = start

    def raise_floor(self, floor: int) -> None:
        """Add everything up to ``floor``."""
        if floor <= self.floor:
            return
        self.floor = floor
        if not self._by_start:
            return
        for start, end in list(self._by_start.items()):
            if start > floor + 1:
                continue
            del self._by_start[start]
            self._by_end.pop(end, None)
            self.above -= end - start + 1
            self.floor = max(self.floor, end)

    def missing(self, first: int, last: int) -> list[int]:
        """Those from ``first`` to ``last`` that aren't in the set, in order."""
        first = max(first, self.floor + 1)
        if not self._by_start:
            return list(range(first, last + 1))
        gone: set[int] = set()
        for start, end in self._by_start.items():
            gone.update(range(max(start, first), min(end, last) + 1))
        return [number for number in range(first, last + 1) if number not in gone]


class Deliveries:
    """Delivery tags of one channel. A client's tag is the link's plus ``offset``."""

    __slots__ = ("_settled", "highest", "offset", "work")

    def __init__(self, work: Worktime | None = None) -> None:
        self.work = work or Worktime()  # what is out is being worked on
        self.offset = 0
        self.highest = 0  # the last tag that the client was given
        self._settled = Numbers()

    @property
    def outstanding(self) -> int:
        """Deliveries that the client has not settled yet."""
        return self.highest - self._settled.floor - self._settled.above

    def delivered(self, link_tag: int, count: int, *, settled: bool) -> None:
        """``count`` deliveries up to ``link_tag`` go to the client; ``settled``: under no-ack."""
        before = self.highest
        self.highest = last = link_tag + self.offset
        if settled:
            self._settled.add(before + 1, last)
        elif last - before > count:  # a broker that leaves tags out: nobody will settle those
            self._settled.add(before + 1, last - count)

    def settle(self, tag: int, multiple: bool) -> int | None:
        """The client settles: the tag for the link, or None if that delivery is no more the
        link's (the broker has it back already, or will)."""
        if tag == ACK_ALL:
            if multiple:
                self._settled.raise_floor(self.highest)
            return tag
        if tag <= self.offset:
            return None
        if tag <= self.highest:
            if multiple:
                self._settled.raise_floor(tag)
            else:
                self._settled.add(tag, tag)
        return tag - self.offset  # one that was never given is the broker's to complain about

    def all_returned(self) -> None:
        """The broker has everything back that isn't settled (basic.recover)."""
        self.work.dropped()
        self._settled.raise_floor(self.highest)

    def left(self) -> None:
        """The channel is gone from its link: what is unsettled will be delivered again."""
        self.work.dropped()
        self._settled.raise_floor(self.highest)
        self.offset = self.highest


class _Segment:
    """Publishes ``first`` to ``first + count - 1``, all of the same size, as bytes."""

    __slots__ = ("count", "data", "first")

    def __init__(self, first: int, count: int, data: bytes) -> None:
        self.first = first
        self.count = count
        self.data = data


class Publishes:
    """Publishes of a channel under confirms. Numbers are the client's unless they say ``link``.

    A publish whose bytes aren't kept (it was too large) is a segment without data; while it is
    unconfirmed the channel can't be carried.
    """

    __slots__ = (
        "_before",
        "_confirmed",
        "_on_link",
        "_refused",
        "_replayed",
        "_sampled_at",
        "_segments",
        "_shift",
        "_stride",
        "bytes",
        "sample_from",
        "sent",
        "timed",
        "timed_at",
        "unkept",
    )

    def __init__(self) -> None:
        self.sent = 0  # the number of the last publish
        self.bytes = 0  # kept
        self.unkept = 0  # the number of the last publish that wasn't kept
        self.timed = 0  # the number of the publish whose confirm is waited for with a watch
        self.timed_at = 0.0
        self.sample_from = 1  # the next that is timed has at least this number
        self._stride = STRIDES[0]
        self._sampled_at = 0.0  # when the last confirm was timed
        self._segments: deque[_Segment] = deque()
        self._confirmed = Numbers()
        self._on_link = 0  # how many went to the present link
        self._before = 0  # of them, before the ones replayed last
        self._replayed: list[int] = []  # what those are to the client
        self._refused: set[int] = set()  # by the present link, and to be tried again
        self._shift = 0  # a number is the link's plus this, behind the replayed ones

    @property
    def outstanding(self) -> int:
        """Publishes that no broker has confirmed yet."""
        return self.sent - self._confirmed.floor - self._confirmed.above

    @property
    def refused(self) -> int:
        """Of those, what the present link has refused and will be sent again."""
        return len(self._refused)

    @property
    def straight(self) -> bool:
        """Whether the link's numbers are the client's."""
        return not self._replayed and not self._shift

    @property
    def carriable(self) -> bool:
        """Whether everything unconfirmed can be sent again."""
        return self.unkept <= self._confirmed.floor or self.unkept in self._confirmed

    def published(self, data: bytes, count: int) -> None:
        """``count`` publishes of one size go to the link."""
        self._segments.append(_Segment(self.sent + 1, count, data))
        self.sent += count
        self._on_link += count
        self.bytes += len(data)

    def published_unkept(self) -> None:
        """One publish goes to the link whose bytes aren't kept."""
        self.sent += 1
        self._on_link += 1
        self.unkept = self.sent

    def time(self, now: float) -> None:
        """The last publish is timed."""
        self.timed, self.timed_at, self.sample_from = self.sent, now, _WHILE_TIMED

    @property
    def timed_is_confirmed(self) -> bool:
        """Whether a broker has confirmed the one that is timed."""
        return self.timed <= self._confirmed.floor or self.timed in self._confirmed

    def confirmed_timed(self, now: float) -> float:
        """The one that is timed has been confirmed; how long that took, in s."""
        self._stride = next_stride(self._stride, now - self._sampled_at)
        self._sampled_at = now
        took = now - self.timed_at
        self.untime()
        return took

    def untime(self) -> None:
        """None is timed for a while."""
        if self.timed:
            self.timed, self.sample_from = 0, self.sent + self._stride

    def number_of(self, link_number: int) -> int | None:
        """What a link's number is to the client; None for one that was sent again since."""
        place = link_number - self._before
        if place <= 0:
            return None
        if place <= len(self._replayed):
            return self._replayed[place - 1]
        return min(link_number + self._shift, self.sent)

    def confirmed(self, link_number: int, multiple: bool) -> int | None:
        """The broker has confirmed (or refused): the number for the client, as ``number_of``."""
        number = self.number_of(link_number)
        if number is None:
            return None
        replayed = self._replayed
        if multiple:
            self._confirmed.raise_floor(number)
        else:
            self._confirmed.add(number, number)
        self._drop_confirmed()
        if (
            replayed
            and self._confirmed.floor >= replayed[-1]
            and self._shift + self._before + len(replayed) == (replayed[-1])
        ):
            self._before, self._replayed = 0, []  # the shift says it all
        return number

    def _drop_confirmed(self) -> None:
        floor = self._confirmed.floor
        segments = self._segments
        while segments and segments[0].first + segments[0].count - 1 <= floor:
            self.bytes -= len(segments.popleft().data)

    def refuse(self, link_number: int, multiple: bool) -> None:
        """The broker has refused, and what it refused is to be sent again: it stays unconfirmed,
        whatever the present link says of it."""
        number = self.number_of(link_number)
        if number is not None:
            first = self._confirmed.floor + 1 if multiple else number
            self._refused.update(self._confirmed.missing(first, number))

    def confirmed_each(self, link_number: int, multiple: bool) -> list[int]:
        """As ``confirmed``, without what is refused: a broker's ``multiple`` passes over those."""
        number = self.number_of(link_number)
        if number is None:
            return []
        first = self._confirmed.floor + 1 if multiple else number
        taken = [n for n in self._confirmed.missing(first, number) if n not in self._refused]
        for one in taken:
            self._confirmed.add(one, one)
        self._drop_confirmed()
        return taken

    def message(self, number: int) -> bytes:
        """The frames of an unconfirmed publish; empty if they aren't kept."""
        for segment in self._segments:
            if segment.first <= number < segment.first + segment.count:
                size = len(segment.data) // segment.count
                at = (number - segment.first) * size
                return segment.data[at : at + size]
        return b""

    def compact(self) -> None:
        """Drop what is confirmed out of order and still kept."""
        if self._confirmed.above:
            self._keep_unconfirmed()

    def left(self) -> None:
        """The channel is gone from its link; the next one counts from 1."""
        self._on_link = 0
        self._refused.clear()

    def replay(self) -> tuple[bytes, int]:
        """What has to be published again, in order, and how many that are."""
        self._keep_unconfirmed()
        replayed: list[int] = []
        for segment in self._segments:
            replayed.extend(range(segment.first, segment.first + segment.count))
        self._sends_again(replayed)
        return b"".join([segment.data for segment in self._segments]), len(replayed)

    def replay_first(self) -> bytes:
        """The first publish that has to be sent again; the others aren't on the link then.

        AssertionError if nothing is unconfirmed.
        """
        self._keep_unconfirmed()
        first = self._segments[0]
        self._sends_again([first.first])
        return first.data[: len(first.data) // first.count]

    def _sends_again(self, numbers: list[int]) -> None:
        self._before = self._on_link
        self._on_link += len(numbers)
        self._replayed = numbers
        self._shift = self.sent - self._on_link

    def _keep_unconfirmed(self) -> None:
        kept: deque[_Segment] = deque()
        for segment in self._segments:
            first, count, data = segment.first, segment.count, segment.data
            missing = self._confirmed.missing(first, first + count - 1)
            if len(missing) == count:
                kept.append(segment)
                continue
            size = len(data) // count
            for number in missing:
                at = (number - first) * size
                kept.append(_Segment(number, 1, data[at : at + size]))
        self._segments = kept
        self.bytes = sum(len(segment.data) for segment in kept)
