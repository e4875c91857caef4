"""Requests that a broker answers, in the order in which they were sent on a channel.

A channel does what it is asked in order, and answers in order, but for two: the answers to a
consume and to a cancel come from the queue, behind those to everything that was asked meanwhile
(RabbitMQ's channel gets them as messages). So the answer to a request is the first of its kind.
What hasn't been answered when a node is lost is said again on another one; all requests but those
of transactions can be said twice. Requests under ``no_wait`` have no answer; they count as done
when a later one is answered.
"""

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from warrener.amqp.frames import payload_of
from warrener.amqp.methods import (
    BY_ID,
    BasicCancel,
    BasicCancelOk,
    BasicConsume,
    BasicConsumeOk,
    BasicGet,
    BasicGetEmpty,
    BasicGetOk,
    BasicQos,
    BasicQosOk,
    BasicRecover,
    BasicRecoverOk,
    ChannelClose,
    ChannelCloseOk,
    ChannelFlow,
    ChannelFlowOk,
    ChannelOpen,
    ChannelOpenOk,
    ConfirmSelect,
    ConfirmSelectOk,
    ExchangeBind,
    ExchangeBindOk,
    ExchangeDeclare,
    ExchangeDeclareOk,
    ExchangeDelete,
    ExchangeDeleteOk,
    ExchangeUnbind,
    ExchangeUnbindOk,
    Method,
    QueueBind,
    QueueBindOk,
    QueueDeclare,
    QueueDeclareOk,
    QueueDelete,
    QueueDeleteOk,
    QueuePurge,
    QueuePurgeOk,
    QueueUnbind,
    QueueUnbindOk,
    TxCommit,
    TxCommitOk,
    TxRollback,
    TxRollbackOk,
    TxSelect,
    TxSelectOk,
    decode_method,
)

ANSWERS: Final[dict[int, tuple[int, ...]]] = {
    ChannelOpen.ID: (ChannelOpenOk.ID,),
    ChannelFlow.ID: (ChannelFlowOk.ID,),
    ChannelClose.ID: (ChannelCloseOk.ID,),
    ExchangeDeclare.ID: (ExchangeDeclareOk.ID,),
    ExchangeDelete.ID: (ExchangeDeleteOk.ID,),
    ExchangeBind.ID: (ExchangeBindOk.ID,),
    ExchangeUnbind.ID: (ExchangeUnbindOk.ID,),
    QueueDeclare.ID: (QueueDeclareOk.ID,),
    QueueBind.ID: (QueueBindOk.ID,),
    QueueUnbind.ID: (QueueUnbindOk.ID,),
    QueuePurge.ID: (QueuePurgeOk.ID,),
    QueueDelete.ID: (QueueDeleteOk.ID,),
    BasicQos.ID: (BasicQosOk.ID,),
    BasicConsume.ID: (BasicConsumeOk.ID,),
    BasicCancel.ID: (BasicCancelOk.ID,),
    BasicGet.ID: (BasicGetOk.ID, BasicGetEmpty.ID),
    BasicRecover.ID: (BasicRecoverOk.ID,),
    ConfirmSelect.ID: (ConfirmSelectOk.ID,),
    TxSelect.ID: (TxSelectOk.ID,),
    TxCommit.ID: (TxCommitOk.ID,),
    TxRollback.ID: (TxRollbackOk.ID,),
}
"""What answers a request of a client."""

IS_ANSWER: Final = frozenset(answer for answers in ANSWERS.values() for answer in answers)

_NAMES_QUEUE: Final = frozenset(
    id_ for id_, cls in BY_ID.items() if any(name == "queue" for name, _ in cls.WIRE)
) - {QueueDeclareOk.ID}

Done = Callable[[Method], None]


class Rpc:
    """A request under way. ``expected`` is empty for one that has no answer.

    ``ours``: the client knows nothing of it and doesn't get the answer. ``published``: how many
    publishes the channel had sent before it; its answer proves that the broker has taken them.
    ``prefetch``: the basic.qos that a consume was said under. ``consumer_tag``: that of a consume
    or cancel, as its link calls it.
    """

    __slots__ = (
        "consumer_tag",
        "done",
        "expected",
        "frame",
        "id",
        "ours",
        "prefetch",
        "published",
    )

    def __init__(
        self,
        id_: int,
        frame: bytes,
        *,
        waits: bool = True,
        ours: bool = False,
        done: Done | None = None,
        published: int = 0,
        prefetch: Method | None = None,
        consumer_tag: str = "",
    ) -> None:
        self.id = id_
        self.frame = frame
        self.expected = ANSWERS[id_] if waits else ()
        self.ours = ours
        self.done = done
        self.published = published
        self.prefetch = prefetch
        self.consumer_tag = consumer_tag

    def is_answered_by(self, answer: int, consumer_tag: str) -> bool:
        """See ``Requests.answered``."""
        return answer in self.expected and (
            not consumer_tag or self.consumer_tag in ("", consumer_tag)
        )

    def asked(self) -> Method:
        """The request itself."""
        return decode_method(payload_of(self.frame, 0, len(self.frame)))


class Requests(deque[Rpc]):
    """Of one channel, in the order in which they were said."""

    __slots__ = ()

    def answered(self, answer: int, consumer_tag: str = "") -> Rpc | None:
        """Take out the request that the method with the id ``answer`` is the answer to, and what
        wants no answer before it. ``consumer_tag``: the one in the answer to a consume or cancel.

        None if nobody has asked: RabbitMQ (3.10) answers a cancel twice when the leader of a quorum
        queue is lost meanwhile (4 times in 15,000, with a leader restarted three times).
        """
        found = next((one for one in self if one.is_answered_by(answer, consumer_tag)), None)
        if found is None:
            return None
        before = itertools.takewhile(lambda request: request is not found, self)
        done = [found, *(request for request in before if not request.expected)]
        for request in done:
            self.remove(request)
        return found


def consumer_tag_in(method: Method) -> str:
    """The consumer tag that a method names; empty if none."""
    tag: str = getattr(method, "consumer_tag", "")
    return tag


def no_wait(method: Method) -> bool:
    """Whether a request wants no answer."""
    return bool(getattr(method, "no_wait", False))


def queue_named(method: Method) -> str | None:
    """The queue that a method names; empty for "the one declared last", None if it names none."""
    if method.ID not in _NAMES_QUEUE:
        return None
    queue: str = getattr(method, "queue")  # noqa: B009 - not every method has one
    return queue


def renamed(method: Method, queue: str) -> Method:
    """The same method with the queue's name written out, as a broker would understand it."""
    changes: dict[str, Any] = {"queue": queue}
    if isinstance(method, QueueBind) and not method.routing_key:
        changes["routing_key"] = queue  # the specification's shortcut, section 1.7.2.3
    return replace(method, **changes)  # type: ignore[type-var]  # every method is a dataclass
