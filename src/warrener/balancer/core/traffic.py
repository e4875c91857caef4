"""Where a channel's publishes go: routes by key, and which node gets most of them.

A publish names an exchange and a routing key; the two as they stand in the frame are the key of a
small cache, so that a run of messages costs one look into a dictionary. A run is counted for the
key of its first message: in a run of equal sizes keys of equal length may differ, so the shares are
a sample, which is all that a choice with hysteresis needs.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

from warrener.facts.ids import NodeName

KEYS_KEPT: Final = 512
"""Routes a channel keeps. A publisher to ever new keys (replies) starts over now and then."""

WINDOW: Final = 4096
"""Messages after which what was counted loses half of its weight, so that the past fades."""

MAJORITY: Final = 0.6
"""Share of a node that a publisher moves for. With two nodes at a half each it stays."""

_METHOD_ID: Final = 7
_METHOD_ARGUMENTS: Final = 13
"""Offset of the exchange's length in a basic.publish frame: head 7, id 4, reserved 2."""


def key_of(data: bytes, at: int) -> bytes:
    """Exchange and routing key of the basic.publish frame at ``at``, as they stand in it.

    IndexError or a short slice if the frame is too short: decoding it will say so.
    """
    key = at + _METHOD_ARGUMENTS
    end = key + 1 + data[key]
    return data[key : end + 1 + data[end]]


def same_key(data: bytes, start: int, end: int, count: int) -> bool:
    """Whether the ``count`` messages of a run have one key. (A body with such a method in it can
    make it look so.)"""
    method = data[start + _METHOD_ID : start + _METHOD_ARGUMENTS]
    return data.count(method + key_of(data, start), start, end) >= count


def names_of(key: bytes) -> tuple[str, str]:
    """(exchange, routing key) of what ``key_of`` gave."""
    end = 1 + key[0]
    return (
        key[1:end].decode("utf-8", "surrogateescape"),
        key[end + 1 :].decode("utf-8", "surrogateescape"),
    )


class Route:
    """Where a key led when the directory had ``version``.

    ``node`` leads the one queue it leads to, or is None. ``away``: that queue is a classic one
    whose node is down, and a broker would drop the message.
    """

    __slots__ = ("away", "node", "queue", "version")

    def __init__(self, version: int, queue: str, node: NodeName | None, away: bool) -> None:
        self.version = version
        self.queue = queue
        self.node = node
        self.away = away


class Traffic:
    """The routes of a channel, and how many messages went to each queue lately."""

    __slots__ = ("_queues", "_total", "routes")

    def __init__(self) -> None:
        self.routes: dict[bytes, Route] = {}
        self._queues: Counter[str] = Counter()
        self._total = 0

    def keep(self, key: bytes, route: Route) -> None:
        """Remember a route."""
        if len(self.routes) >= KEYS_KEPT:
            self.routes.clear()
        self.routes[key] = route

    def count(self, route: Route, messages: int) -> None:
        """So many messages went that way."""
        self._total += messages
        if route.queue:
            self._queues[route.queue] += messages
        if self._total > WINDOW:
            self._total = 0
            for queue, number in list(self._queues.items()):
                self._queues[queue] = number // 2
                self._total += number // 2
                if number < 2:
                    del self._queues[queue]

    def main_queue(self) -> str:
        """The queue that most messages went to; empty if none is known."""
        return max(self._queues, key=self._queues.__getitem__, default="")

    def best(
        self, now_at: NodeName | None, leader: Callable[[str], NodeName | None]
    ) -> NodeName | None:
        """The node that leads the queues of most messages, if that is clear; else ``now_at``."""
        if len(self._queues) == 1:
            return leader(next(iter(self._queues))) or now_at
        nodes: Counter[NodeName] = Counter()
        for queue, number in self._queues.items():
            node = leader(queue)
            if node is not None:
                nodes[node] += number
        if not nodes:
            return now_at
        node, number = max(nodes.items(), key=lambda item: item[1])
        return node if number >= MAJORITY * self._total else now_at
