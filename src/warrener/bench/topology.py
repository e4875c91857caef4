"""Queues declared where they should be led.

With the locator ``client-local`` a queue is led by the node its declaring client is connected to.
Quorum queues, and classic ones on newer RabbitMQ, take it as ``x-queue-leader-locator``; classic
queues on 3.10 refuse that name (406) and know ``x-queue-master-locator``.
"""

from collections.abc import Mapping
from typing import Final

from warrener.amqp.constants import ReplyCode
from warrener.amqp.methods import (
    ChannelCloseOk,
    QueueDeclare,
    QueueDeclareOk,
    QueueDelete,
    QueueDeleteOk,
)
from warrener.bench.wire import BrokerClosed, Target, Wire

_LOCATORS: Final = ("x-queue-leader-locator", "x-queue-master-locator")


def declare(
    target: Target,
    queue: str,
    *,
    quorum: bool = False,
    kind: str = "",
    others: Mapping[str, str | int] | None = None,
) -> None:
    """Declare a durable queue led by the node at ``target``; one that is there is left as it is.
    ``kind`` as RabbitMQ names it, if that isn't said by ``quorum``; ``others``: arguments.

    Raises BenchError with the broker's text.
    """
    if _exists(target, queue):
        return
    kind = kind or ("quorum" if quorum else "classic")
    for locator in _LOCATORS:
        arguments = {**(others or {}), "x-queue-type": kind, locator: "client-local"}
        try:
            with Wire(target, name="bench set-up") as wire:
                method = QueueDeclare(queue, False, True, False, False, False, arguments)
                wire.call(method, QueueDeclareOk)
            return
        except BrokerClosed as closed:
            if locator == _LOCATORS[-1] or closed.code != ReplyCode.PRECONDITION_FAILED:
                raise


def _exists(target: Target, queue: str) -> bool:
    with Wire(target, name="bench set-up") as wire:
        try:
            wire.call(QueueDeclare(queue, True, False, False, False, False, {}), QueueDeclareOk)
        except BrokerClosed as closed:
            if closed.code != ReplyCode.NOT_FOUND:
                raise
            wire.send(ChannelCloseOk())
            return False
        return True


def delete(target: Target, queue: str) -> None:
    """Delete a queue, whatever it holds. A queue that isn't there is no error."""
    with Wire(target, name="bench clean-up") as wire:
        wire.call(QueueDelete(queue), QueueDeleteOk)
