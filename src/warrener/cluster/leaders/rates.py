"""Messages a second of each queue, from counters read twice; and what they cost. Pure.

The counters are those of channels: so many messages this channel has published to that queue, was
delivered from it, has acked. A channel that ends takes its counters with it, and one that is moved
to another node begins at nothing there; so what is reckoned is the increase of each counter on its
own, and only what a channel did between its last reading and its end is lost.

Cost. One operation is a publish, a delivery or an ack of one message. Measured on RabbitMQ 3.10.8
(docs/decisions/0008-leaders-by-load.md): with a publisher and a consumer at the node of a quorum
queue's leader, each node with a follower used half of the leader's CPU. A follower sees publishes
and acks, not deliveries, which makes three quarters of an operation for each of these. A classic
queue took three quarters of the CPU of a quorum queue's leader. The size of the bodies isn't in
it: 4 KiB instead of 100 bytes changed the CPU of a quorum queue's nodes by a tenth, and RabbitMQ
doesn't tell the size of what passes through. What a stream costs was not measured: it is taken as
a quorum queue.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from warrener.facts.leaders import QueueRates

FAMILIES: Final = ("channel_queue_metrics", "channel_queue_exchange_metrics")

FOLLOWER: Final = 0.75
"""Operations that a publish or an ack costs each follower."""

CLASSIC: Final = 0.75
"""Operations that one operation of a classic queue comes to."""

_PREFIX: Final = b"rabbitmq_detailed_"
_PUBLISHED: Final = "queue_messages_published_total"
_ACKED: Final = "channel_messages_acked_total"
_DELIVERED: Final = frozenset(
    {
        "channel_get_ack_total",
        "channel_get_total",
        "channel_messages_delivered_ack_total",
        "channel_messages_delivered_total",
    }
)
_USED_LABELS: Final = re.compile(r'vhost="(.*?)",queue="(.*)"\}$')
_PUBLISHED_LABELS: Final = re.compile(
    r'queue_vhost="(.*?)",queue="(.*)",exchange_vhost="(?:.*?)",exchange="(?:.*)"\}$'
)
_ESCAPE: Final = re.compile(r"\\(.)")
_RAW: Final = re.compile(r"""(?:[^\\"]|\\[\\"n])*(?:\\(?![\\"n])|").*""")
"""Not as Prometheus has it: 3.10.8 writes names without escaping quotes and backslashes."""

Counters = dict[bytes, float]
"""One node's, by name and labels as they were written."""


def counters(text: bytes) -> Counters:
    """The detailed counters in a node's answer; the rest of it is passed over."""
    found: Counters = {}
    for line in text.splitlines():
        if line.startswith(_PREFIX):
            key, _, value = line.rpartition(b" ")
            try:
                found[key] = float(value)
            except ValueError:
                continue  # a comment, or not for us
    return found


def rates(
    readings: Iterable[tuple[Counters, Counters, float]],
) -> dict[tuple[str, str], QueueRates]:
    """By (vhost, name). One reading per node: before, after, and the seconds between."""
    sums: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for before, after, seconds in readings:
        for key, value in after.items():
            then = before.get(key, 0.0)
            increase = value - then if value >= then else value  # a number given anew
            if increase <= 0 or seconds <= 0:
                continue
            place = _place(key)
            if place is None:
                continue
            kind, queue = place
            sums[queue][kind] += increase / seconds
    return {queue: QueueRates(*three) for queue, three in sums.items()}


def _place(key: bytes) -> tuple[int, tuple[str, str]] | None:
    """0 published, 1 delivered, 2 acked; and of which queue."""
    text = key.decode("utf-8", "replace")
    name, _, labels = text.removeprefix(_PREFIX.decode()).partition("{")
    if name == _PUBLISHED:
        kind = 0
    elif name in _DELIVERED:
        kind = 1
    elif name == _ACKED:
        kind = 2
    else:
        return None
    found = (_PUBLISHED_LABELS if kind == 0 else _USED_LABELS).search(labels)
    return None if found is None else (kind, (_plain(found[1]), _plain(found[2])))


def _plain(written: str) -> str:
    """A name, whether it was escaped or not; one that has an escape in it is taken as escaped."""
    return written if _RAW.fullmatch(written) else _ESCAPE.sub(_unescaped, written)


def _unescaped(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]


def cost(kind: str, told: QueueRates) -> tuple[float, float]:
    """Operations a second for the leader, and for each follower. ``kind``: the queue's type."""
    operations = told.published + told.delivered + told.acked
    if kind == "classic":
        return CLASSIC * operations, 0.0
    return operations, FOLLOWER * (told.published + told.acked)
