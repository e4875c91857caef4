"""A room in the cluster for measuring what messages cost: the daemon makes it, lends it out, and
clears it away.

A room is a virtual host with a random name and a user who may only be in it. It is there for as
long as the asker stays connected: when he hangs up, on purpose or because he was killed, the daemon
deletes it with all queues in it.
"""

from typing import Final

import msgspec

from warrener.control.operation import Operation
from warrener.facts.ids import NodeName


class RoomRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Asks for a room. Nothing is done to nodes, leaders and sessions until the asker hangs up."""


class RoomNode(msgspec.Struct, frozen=True, kw_only=True):
    """A node that takes clients. ``host`` is the machine; ``pid`` the node's process if that is
    this machine and Warrener runs it; ``metrics`` the URL of its metrics, empty if it has none that
    is known. ``server_name``, ``metrics_name``: whom their certificates have to be for. ``cores``:
    how many of its host's it may use, None: not known."""

    name: NodeName
    host: str
    address: str
    amqp_port: int
    pid: int | None
    metrics: str
    server_name: str = ""
    metrics_name: str = ""
    cores: float | None = None


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """``password`` is the user's, who is gone with the room. ``ca``: the file of authorities for
    nodes and metrics, ``balancer_ca`` for the balancer; empty: no TLS. ``left_out``: nodes that
    take no clients, and why."""

    cluster: str
    version: str  # RabbitMQ's
    vhost: str
    user: str
    password: str
    nodes: list[RoomNode]
    left_out: list[str]
    ca: str
    metrics_ca: str
    balancer_host: str
    balancer_port: int
    balancer_pid: int | None
    balancer_ca: str

    def __repr__(self) -> str:
        return f"Room({self.vhost!r})"


class RoomLine(msgspec.Struct, frozen=True):
    """Either the ``room``, once it is there, or progress, as in ``ProgressLine``."""

    subject: str = ""
    text: str = ""
    done: bool = False
    failed: bool = False
    count: int = 0
    total: int = 0
    room: Room | None = None


class RoomAnswer(msgspec.Struct, frozen=True):
    """The room is gone; ``seconds`` is how long it was lent."""

    seconds: float


ROOM: Final = Operation("plan-room", RoomRequest, RoomAnswer, RoomLine)
