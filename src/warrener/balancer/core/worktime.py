"""How long consumers are at work on what they were given: seen where deliveries and acks pass.

A consumer works from a delivery to its ack. With several messages out it works on one after the
other, as clients do unless they hand them to threads of their own. So of ``c`` consumers on a
channel ``min(out, c)`` are at work while ``out`` messages are with it. The integral of that over
time, over the messages settled meanwhile, is what one consumer takes for one message (utilisation
law: Denning and Buzen, 1978), whatever came when. The way to the client and back is in it.
"""

from collections.abc import Mapping
from typing import Final

from warrener.facts.balance import ConsumerWork

QUEUES: Final = 10_000
"""Kept at most between two collections; a client with a queue of its own for each reply makes ever
new ones."""

_Key = tuple[str, str]


class Worktime:
    """Of one channel. It is counted while its consumers are those of one queue."""

    __slots__ = ("_at", "_at_work", "_mixed", "messages", "queue", "seconds", "servers")

    def __init__(self) -> None:
        self.queue = ""
        self.servers = 0  # consumers that count; 0: nothing is to be told
        self.seconds = 0.0
        self.messages = 0
        self._mixed = False
        self._at = 0.0
        self._at_work = 0

    def consumes(self, queues: Mapping[str, int]) -> None:
        """These are its consumers now, by queue, without those that don't settle."""
        if queues and not self.queue:
            self.queue = next(iter(queues))
        self._mixed = self._mixed or any(queue != self.queue for queue in queues)
        self.servers = 0 if self._mixed else queues.get(self.queue, 0)
        if not self.servers:
            self._at_work = 0

    def given(self, out: int, now: float) -> None:
        """Deliveries have passed; ``out`` messages are with the client now."""
        if self._at_work:
            self.seconds += (now - self._at) * self._at_work
        self._at = now
        self._at_work = min(out, self.servers)

    def settled(self, messages: int, out: int, now: float) -> None:
        """So many messages were settled; ``out`` are left."""
        if self._at_work:
            self.messages += messages
        self.given(out, now)

    def dropped(self) -> None:
        """What is out will be given out again; the time since the last news counts for nothing."""
        self._at_work = 0


class WorkBook:
    """What was seen since the last collection, by virtual host and queue."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[_Key, ConsumerWork] = {}

    def add(self, vhost: str, work: Worktime) -> None:
        """What a channel has to tell; it starts anew."""
        if not work.messages:
            return
        key = (vhost, work.queue)
        known = self._kept.get(key)
        if known is None and len(self._kept) >= QUEUES:
            return
        seconds = work.seconds + (known.seconds if known else 0.0)
        self._kept[key] = ConsumerWork(seconds, work.messages + (known.messages if known else 0))
        work.seconds, work.messages = 0.0, 0

    def take(self) -> Mapping[_Key, ConsumerWork]:
        """All of it; it starts anew."""
        taken, self._kept = self._kept, {}
        return taken
