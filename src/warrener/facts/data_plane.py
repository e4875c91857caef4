"""Who carries the clients' bytes, and what can't be asked of whom.

A *data plane* is what stands between clients and nodes: Warrener's own balancer, which speaks AMQP,
or a HAProxy that passes bytes.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class DataPlane(StrEnum):
    """The data planes there are."""

    WARRENER = "warrener"
    HAPROXY = "haproxy"


class Lack(StrEnum):
    """What a data plane can't do."""

    EXPLAIN = "explain"  # where channels are
    SESSIONS = "sessions"  # who is connected
    REBALANCE = "rebalance"  # open sessions to other nodes
    MOVE = "move"  # sessions off a node that is drained


WHY_HAPROXY_LACKS: Final[Mapping[Lack, str]] = {
    Lack.EXPLAIN: (
        "HAProxy passes bytes, it knows no channels: each client's are all on the node that the "
        "policy gave its connection"
    ),
    Lack.SESSIONS: (
        "HAProxy passes bytes, it knows no users, names or channels. `warrener status` shows how "
        "many sessions each node has; RabbitMQ's management page lists them as connections"
    ),
    Lack.REBALANCE: (
        "HAProxy passes bytes, it can't take an open session to another node. Clients that connect "
        "again are spread by the policy"
    ),
    Lack.MOVE: "HAProxy passes bytes, it can't take an open session to another node",
}


class Unsupported(Exception):
    """The data plane can't do that; the text says why, and what can be done instead."""

    def __init__(self, lack: Lack) -> None:
        super().__init__(
            f'not possible with data_plane = "{DataPlane.HAPROXY}": {WHY_HAPROXY_LACKS[lack]}'
        )
        self.lack = lack
