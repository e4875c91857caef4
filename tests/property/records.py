"""What a witness keeps of a transcript, and how it says that a promise is broken."""

from collections import deque
from dataclasses import dataclass, field

from warrener.amqp.methods import (
    BasicCancel,
    BasicCancelOk,
    BasicConsume,
    BasicConsumeOk,
    BasicGet,
    BasicGetEmpty,
    BasicGetOk,
    BasicQos,
    BasicQosOk,
    ChannelOpen,
    ChannelOpenOk,
    ConfirmSelect,
    ConfirmSelectOk,
    Method,
    QueueDeclare,
    QueueDeclareOk,
)
from warrener.facts.settings import BalancerSettings

NEVER = 1 << 60

SETTLE_TIMEOUT = BalancerSettings().settle_timeout

ANSWERS: dict[type[Method], tuple[type[Method], ...]] = {
    ChannelOpen: (ChannelOpenOk,),
    QueueDeclare: (QueueDeclareOk,),
    BasicQos: (BasicQosOk,),
    BasicConsume: (BasicConsumeOk,),
    BasicCancel: (BasicCancelOk,),
    BasicGet: (BasicGetOk, BasicGetEmpty),
    ConfirmSelect: (ConfirmSelectOk,),
}


class Broken(AssertionError):
    """A promise that wasn't kept, and the entry of the transcript at which that shows."""

    def __init__(self, what: str, at: int = -1) -> None:
        super().__init__(what)
        self.at = at


def claim(holds: bool, what: str, at: int = -1) -> None:
    """A promise."""
    if not holds:
        raise Broken(what, at)


@dataclass(slots=True)
class Wanted:
    """A consumer as the client asked for it."""

    queue: str
    no_ack: bool
    prefetch: int
    priority: int


@dataclass(slots=True)
class Settlement:
    """The client settled ``deliveries``; with ``everything`` also what was on its way to it."""

    at: int
    life: "Life"
    how: str
    deliveries: frozenset[int]
    everything: bool


@dataclass(slots=True)
class Life:
    """A channel of the client, from channel.open to its end."""

    number: int
    born: int
    requests: deque[Method] = field(default_factory=deque)
    confirming: bool = False
    prefetch: int = 0
    seq: int = 0
    unconfirmed: dict[int, int] = field(default_factory=dict)  # seq -> message
    last_tag: int = 0
    unsettled: dict[int, int] = field(default_factory=dict)  # tag -> delivery
    nameless: deque[Wanted] = field(default_factory=deque)  # consumers to be named by a broker
    active: set[str] = field(default_factory=set)
    ever: dict[str, Wanted] = field(default_factory=dict)
    closed_by_client: int = NEVER
    closed_by_us: int = NEVER
    ended: int = NEVER


@dataclass(slots=True)
class Sent:
    """A publish of the client."""

    number: int
    at: int
    life: Life
    seq: int  # 0: not under confirms
    routed: bool  # not to "nowhere"


@dataclass(slots=True)
class Tally:
    """What a run showed, so that tests can see that runs show something."""

    published: int = 0
    confirmed: int = 0
    delivered: int = 0
    settled: int = 0
    swallowed: int = 0
    replayed: int = 0
    duplicates: int = 0
    moved: int = 0
    channels_closed: int = 0
    sessions_ended: int = 0
    troubles: int = 0

    def add(self, other: "Tally") -> None:
        """Sum up."""
        for name in self.__slots__:  # type: ignore[attr-defined]
            setattr(self, name, getattr(self, name) + getattr(other, name))
