"""What a cluster looks like at one moment, as read from RabbitMQ's management API."""

from dataclasses import dataclass

from warrener.facts.ids import NodeName


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node as its cluster sees it. Sizes in bytes, uptime in seconds."""

    name: NodeName
    running: bool
    being_drained: bool = False
    partitions: tuple[NodeName, ...] = ()
    mem_alarm: bool = False
    disk_alarm: bool = False
    mem_used: int = 0
    mem_limit: int = 0
    disk_free: int = 0
    disk_free_limit: int = 0
    fd_used: int = 0
    fd_total: int = 0
    uptime: float = 0.0
    version: str = ""  # RabbitMQ's; empty while the node is down
    erlang_version: str = ""


@dataclass(frozen=True, slots=True)
class QueueView:
    """One queue. ``leader`` is the node that runs its process (home node of a classic queue)."""

    vhost: str
    name: str
    type: str  # classic, quorum or stream
    leader: NodeName | None
    members: tuple[NodeName, ...] = ()
    online: tuple[NodeName, ...] = ()
    state: str = ""
    messages: int = 0
    messages_ready: int = 0
    messages_unacknowledged: int = 0
    consumers: int = 0
    auto_delete: bool = False
    exclusive: bool = False


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """The cluster as one of its nodes describes it.

    ``source`` is the node that was asked; ``taken_at`` is seconds since the epoch, when asking
    began, and ``took`` the seconds until it was answered: nothing in it is older.
    """

    source: NodeName
    taken_at: float
    cluster_name: str
    nodes: tuple[NodeView, ...]
    queues: tuple[QueueView, ...] = ()
    took: float = 0.0
