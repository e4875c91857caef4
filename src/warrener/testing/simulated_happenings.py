"""What a simulated cluster writes down while it runs, for an oracle to judge afterwards.

These are facts of the brokers' side: which message entered which queue, which delivery was made
and what became of it. ``place`` names one opening of one channel on one link: a channel that is
closed and opened again is another place.
"""

from typing import Literal, NamedTuple

from warrener.facts.ids import NodeName


class Place(NamedTuple):
    """One opening of a channel: link number, channel number, the how-manieth."""

    link: int
    channel: int
    opening: int


class LinkOpened(NamedTuple):
    """A connection's handshake is done."""

    link: int
    node: NodeName


class LinkDied(NamedTuple):
    """A broker's end of a link is gone, for whatever reason."""

    link: int
    why: str


class ChannelClosed(NamedTuple):
    """``by`` is the peer, the broker (an error), or the link's death. ``held`` are deliveries that
    were not settled and go back to their queues, ``owed`` publishes without their confirm."""

    place: Place
    by: Literal["peer", "broker", "death"]
    held: tuple[int, ...]
    owed: tuple[int, ...]


Refusal = Literal["", "whim", "no leader"]
"""Why a publish is refused: it isn't, by a whim, or because a quorum queue has no leader."""


class Published(NamedTuple):
    """A channel took a publish. ``queues`` are those it was routed to. One that is refused enters
    none of them."""

    place: Place
    number: int
    queues: tuple[str, ...]
    refused: Refusal


class Enqueued(NamedTuple):
    """A message entered a queue."""

    queue: str
    number: int
    place: Place


class Confirmed(NamedTuple):
    """A confirm was written. ``numbers`` are the messages it covers."""

    place: Place
    tag: int
    multiple: bool
    numbers: tuple[int, ...]
    ack: bool


class Returned(NamedTuple):
    """A mandatory message came back."""

    place: Place
    number: int


class Consumed(NamedTuple):
    """A consumer was registered."""

    place: Place
    tag: str
    queue: str
    no_ack: bool
    prefetch: int
    priority: int  # x-priority: an argument that a journal must not lose


class Cancelled(NamedTuple):
    """A consumer ended by itself; ``by`` as in ChannelClosed."""

    place: Place
    tag: str
    by: Literal["peer", "broker"]


class Delivered(NamedTuple):
    """A delivery was written (``consumer`` is empty for basic.get)."""

    place: Place
    delivery: int
    number: int
    queue: str
    tag: int
    consumer: str
    no_ack: bool
    redelivered: bool


class Settled(NamedTuple):
    """The peer settled a delivery."""

    place: Place
    delivery: int
    how: Literal["ack", "drop", "requeue"]


class QueueLost(NamedTuple):
    """A classic queue's node went down: deliveries from it can't be settled any more."""

    queue: str
    deliveries: tuple[int, ...]


class PeerError(NamedTuple):
    """The peer broke the protocol, in the broker's judgement."""

    link: int
    channel: int
    code: int
    text: str


Happening = (
    LinkOpened
    | LinkDied
    | ChannelClosed
    | Published
    | Enqueued
    | Confirmed
    | Returned
    | Consumed
    | Cancelled
    | Delivered
    | Settled
    | QueueLost
    | PeerError
)
