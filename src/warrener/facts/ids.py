"""Identifiers, each kind a type of its own so that no two can be mixed up."""

from typing import NewType

NodeName = NewType("NodeName", str)
"""A node's name as RabbitMQ itself spells it, such as ``n1@localhost``. Unique in a cluster."""

SessionId = NewType("SessionId", int)
"""One client connection as the client sees it; counted from 1 for the life of the balancer."""

ChannelNumber = NewType("ChannelNumber", int)
"""An AMQP channel number, 0 to 65535; the same on the client's side and on every link."""


def short_name(name: NodeName) -> str:
    """What tells a node from the others, as people say it: the part before ``@`` (``n1`` for
    ``n1@localhost``) or, where that is RabbitMQ's default, which all nodes have, the host
    (``orders-0`` for ``rabbit@orders-0.orders.svc``)."""
    own, _, host = name.partition("@")
    if own != "rabbit" or host in ("", "localhost"):
        return own
    return host if host.replace(".", "").isdigit() else host.partition(".")[0]


def host_name(name: NodeName) -> str:
    """The part behind ``@``: the host that other nodes know it by."""
    return name.partition("@")[2]
