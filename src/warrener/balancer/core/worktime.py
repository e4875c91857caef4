"""How long consumers are at work on what they were given: seen where deliveries and acks pass.

A consumer works from a delivery to its ack. With several messages out it works on one after the
other, as clients do unless they hand them to threads of their own. So of ``c`` consumers on a
channel ``min(out, c)`` are at work while ``out`` messages are with it. The integral of that over
time, over the messages settled meanwhile, is what one consumer takes for one message (utilisation
law: Denning and Buzen, 1978), whatever came when. The way to the client and back is in it.

How irregular it all is says how long messages wait: the squared coefficient of variation of the
times that single messages took (where a channel has one consumer, which acks them one by one), and
of the times between one publish and the next on a channel. Messages that come in one read came at
the same time.

A broker that owes confirms and is silent for long stalls: a disk that doesn't sync, an election.
How many messages came meanwhile, and how long they waited, is counted while a channel's publishes
go to one queue.

A consumer with nothing to do waits for its next message: as long as the broker takes from an ack to
that, where one was there already, and longer where none was. What these waits say of the first is
worked out elsewhere (``planner.turnaround``).
"""

from collections.abc import Mapping
from typing import Final

from warrener.facts.balance import ClientWork

QUEUES: Final = 10_000
"""Kept at most between two collections; a client with a queue of its own for each reply makes ever
new ones."""

PAUSES: Final = 64
"""Kept of one channel at most between two collections, spread over all of the time."""

PAUSES_OF_A_QUEUE: Final = 1024
"""Of all its channels."""

STALL: Final = 0.02
"""Seconds without a confirm, where one is due, from which a broker stalls; more where it usually
takes that long."""

UNUSUAL: Final = 4.0
"""Times as long as a confirm usually takes, from which that is."""

_STEP: Final = 1.1

_Key = tuple[str, str]


class Times:
    """How many, their sum and that of their squares."""

    __slots__ = ("number", "seconds", "squares")

    def __init__(self) -> None:
        self.number = 0
        self.seconds = 0.0
        self.squares = 0.0

    def scv(self) -> float:
        """Their squared coefficient of variation, of two or more: without the bias that few of them
        would have if they were exponential."""
        number = self.number
        found = number * self.squares / self.seconds**2 - 1.0 if self.seconds > 0 else 0.0
        return max(0.0, found) * (number + 1) / (number - 1)

    def take(self) -> "Times":
        """All of them; it starts anew."""
        taken = Times()
        taken.number, taken.seconds, taken.squares = self.number, self.seconds, self.squares
        self.number, self.seconds, self.squares = 0, 0.0, 0.0
        return taken


class Pauses:
    """Some of many, spread evenly over all of them: every one, every second, fourth, ..."""

    __slots__ = ("_every", "_kept", "_left")

    def __init__(self) -> None:
        self._kept: list[float] = []
        self._every = 1
        self._left = 1

    def add(self, seconds: float) -> None:
        """One more."""
        self._left -= 1
        if self._left:
            return
        self._kept.append(seconds)
        if len(self._kept) >= PAUSES:
            del self._kept[::2]
            self._every *= 2
        self._left = self._every

    def take(self) -> tuple[float, ...]:
        """Those that were kept; it starts anew."""
        taken = tuple(self._kept)
        self._kept.clear()
        self._every = self._left = 1
        return taken


class Arrivals:
    """When the publishes of one channel came. It is counted while they go to one queue."""

    __slots__ = ("_at", "_mixed", "gaps", "queue")

    def __init__(self) -> None:
        self.queue = ""
        self.gaps = Times()
        self._at = 0.0  # of the last one
        self._mixed = False

    @property
    def only_queue(self) -> str:
        """The one that all of them went to so far; empty if there are several."""
        return "" if self._mixed else self.queue

    def came(self, queue: str, count: int, now: float) -> None:
        """So many came at once."""
        if queue != self.queue:
            self._mixed = self._mixed or self.queue != ""
            self.queue = queue
            self.gaps.take()
        elif not self._mixed:
            gap = now - self._at
            gaps = self.gaps
            gaps.number += count
            gaps.seconds += gap
            gaps.squares += gap * gap
        self._at = now


class Owed:
    """Confirms that one channel's publishes wait for. ``messages``: confirmed so far, ``stalled``:
    of them, those that came in or before a stall and waited for its end, ``seconds``: how long."""

    __slots__ = ("_at", "_heard", "_out", "_waited", "messages", "seconds", "stalled", "usual")

    def __init__(self) -> None:
        self.messages = 0
        self.stalled = 0
        self.seconds = 0.0
        self.usual = 0.0  # about the median of what single confirms took; 0: none has been timed
        self._out = 0
        self._at = 0.0  # of the last news
        self._heard = 0.0  # when the broker last confirmed something, or began to owe
        self._waited = 0.0  # by those that are out, since then

    def published(self, out: int, now: float) -> None:
        """``out`` publishes are unconfirmed now."""
        if self._out:
            self._waited += (now - self._at) * self._out
        else:
            self._heard = now
        self._out = out
        self._at = now

    def confirmed(self, out: int, now: float) -> None:
        """Some are confirmed; ``out`` are left."""
        before = self._out
        if before > out:
            self.messages += before - out
            if now - self._heard >= max(STALL, UNUSUAL * self.usual):
                self.stalled += before
                self.seconds += self._waited + (now - self._at) * before
        self._waited = 0.0
        self._heard = self._at = now
        self._out = out

    def timed(self, seconds: float) -> None:
        """One confirm took so long."""
        if not self.usual:
            self.usual = min(seconds, STALL)  # it may be of a stall
        else:  # up as often as down: at the median
            self.usual *= _STEP if seconds > self.usual else 1.0 / _STEP

    def start_anew(self) -> None:
        """What was counted has been told."""
        self.messages = self.stalled = 0
        self.seconds = 0.0


class Worktime:
    """Of one channel. It is counted while its consumers are those of one queue."""

    __slots__ = (
        "_at",
        "_at_work",
        "_began",
        "_idle_since",
        "_mixed",
        "messages",
        "pauses",
        "queue",
        "seconds",
        "servers",
        "times",
    )

    def __init__(self) -> None:
        self.queue = ""
        self.servers = 0  # consumers that count; 0: nothing is to be told
        self.seconds = 0.0
        self.messages = 0
        self.times = Times()  # that single messages took
        self._mixed = False
        self._at = 0.0
        self._at_work = 0
        self._began = 0.0  # when the message that is worked on was begun
        self.pauses = Pauses()  # of one that had nothing to do, until it had
        self._idle_since = -1.0  # below 0: it isn't, or hasn't been from its last ack on

    def consumes(self, queues: Mapping[str, int]) -> None:
        """These are its consumers now, by queue, without those that don't settle."""
        if queues and not self.queue:
            self.queue = next(iter(queues))
        self._mixed = self._mixed or any(queue != self.queue for queue in queues)
        self.servers = 0 if self._mixed else queues.get(self.queue, 0)
        if not self.servers:
            self._at_work = 0
        self._idle_since = -1.0

    def given(self, out: int, now: float) -> None:
        """Deliveries have passed; ``out`` messages are with the client now."""
        if self._at_work:
            self.seconds += (now - self._at) * self._at_work
        else:
            self._began = now
            if self._idle_since >= 0.0 and out:
                self.pauses.add(now - self._idle_since)
                self._idle_since = -1.0
        self._at = now
        self._at_work = min(out, self.servers)

    def settled(self, messages: int, out: int, now: float) -> None:
        """So many messages were settled; ``out`` are left."""
        if self._at_work:
            self.messages += messages
            if messages == 1 and self.servers == 1:
                took, times = now - self._began, self.times
                times.number += 1
                times.seconds += took
                times.squares += took * took
        self.given(out, now)
        self._began = now
        if not out and self.servers == 1:
            self._idle_since = now

    def dropped(self) -> None:
        """What is out will be given out again; the time since the last news counts for nothing."""
        self._at_work = 0
        self._idle_since = -1.0


class WorkBook:
    """What was seen since the last collection, by virtual host and queue."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[_Key, ClientWork] = {}

    def add(self, vhost: str, work: Worktime, arrivals: Arrivals, owed: Owed) -> None:
        """What a channel has to tell; it starts anew."""
        if work.messages:
            times = work.times.take()
            told = ClientWork(
                seconds=work.seconds,
                messages=work.messages,
                timed=times.number,
                timed_seconds=times.seconds,
                timed_squares=times.squares,
                pauses=work.pauses.take(),
            )
            self._add((vhost, work.queue), told)
            work.seconds, work.messages = 0.0, 0
        if arrivals.gaps.number > 1:
            gaps = arrivals.gaps.take()
            told = ClientWork(
                spaced=gaps.number,
                arrival_spread=gaps.number * gaps.scv(),
                square=float(gaps.number**2),
            )
            self._add((vhost, arrivals.queue), told)

        if owed.messages:
            if arrivals.only_queue:
                told = ClientWork(
                    confirmed=owed.messages,
                    stalled=owed.stalled,
                    stalled_seconds=owed.seconds,
                )
                self._add((vhost, arrivals.queue), told)
            owed.start_anew()

    def _add(self, key: _Key, told: ClientWork) -> None:
        known = self._kept.get(key)
        if known is not None:
            told = known.and_also(told, PAUSES_OF_A_QUEUE)
        elif len(self._kept) >= QUEUES:
            return
        self._kept[key] = told

    def take(self) -> Mapping[_Key, ClientWork]:
        """All of it; it starts anew."""
        taken, self._kept = self._kept, {}
        return taken
