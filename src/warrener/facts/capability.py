"""What can be done to a cluster, and why some of it can't. Said once, by the driver; asked by the
operations before anything is done.

A driver that has the nodes' hosts can do everything. One that only has the cluster's management API
(``attached``) lacks what needs a host; one whose user has few rights lacks more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Can(StrEnum):
    """What may be asked of a driver."""

    ADD_NODE = "add_node"
    REMOVE_NODE = "remove_node"
    REPLACE_NODE = "replace_node"
    RESTART_NODE = "restart_node"
    UPGRADE = "upgrade"  # another RabbitMQ, node after node
    STOP_APP = "stop_app"
    START_APP = "start_app"
    MAINTENANCE = "maintenance"  # RabbitMQ's own maintenance mode
    CONFIGURE = "configure"  # a setting of rabbitmq.conf
    PLUGINS = "plugins"
    MOVE_LEADERS = "move_leaders"  # of one queue, to the node that is named
    COUNT_LEADERS = "count_leaders"  # RabbitMQ's own rebalancing: as many leaders on each node
    DESCRIBE = "describe"  # virtual hosts, users, policies, queues


class Impossible(Exception):
    """The driver can't do that; the text says why, and what can be done instead."""

    def __init__(self, can: Can, why: str) -> None:
        super().__init__(why)
        self.can = can


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a driver lacks, each with the reason. ``theirs``: somebody else runs the nodes, which
    come and go without being asked for here. ``driver`` is its name."""

    lacks: Mapping[Can, str] = field(default_factory=dict)
    theirs: bool = False
    driver: str = "local"

    def why_not(self, can: Can) -> str:
        """Why that can't be done; empty if it can."""
        return self.lacks.get(can, "")

    def need(self, can: Can) -> None:
        """Raises Impossible."""
        if why := self.why_not(can):
            raise Impossible(can, why)


EVERYTHING: Final = Capabilities()
"""Of a driver that has the hosts."""

_THEIRS: Final = "not possible with a cluster that somebody else runs"
_ON_ITS_HOST: Final = (
    f"{_THEIRS}: it takes the node's host, and all that Warrener has is the management API"
)

WITHOUT_HOSTS: Final[Mapping[Can, str]] = {
    Can.ADD_NODE: (
        f"{_ON_ITS_HOST}. Add the node with what runs the cluster (a larger `replicas` for a "
        f"Kubernetes operator, `rabbitmqctl join_cluster` on the new host); Warrener finds it "
        f"within seconds"
    ),
    Can.REMOVE_NODE: (
        f"{_ON_ITS_HOST}. `warrener node drain` moves the sessions off it; then take it out with "
        f"what runs the cluster (`rabbitmqctl forget_cluster_node`), and Warrener forgets it, too"
    ),
    Can.REPLACE_NODE: (
        f"{_ON_ITS_HOST}. Make it anew with what runs the cluster; Warrener finds it by itself"
    ),
    Can.RESTART_NODE: (
        f"{_ON_ITS_HOST}. `warrener node drain NODE` moves the sessions off it; restart it with "
        f"what runs the cluster (kubectl, systemctl), then `warrener node revive NODE`"
    ),
    Can.UPGRADE: (
        f"{_ON_ITS_HOST}. Upgrade it node after node with what runs the cluster; `warrener node "
        f"drain NODE` before each, and `warrener node revive NODE` after keep clients connected"
    ),
    Can.STOP_APP: (
        f"{_ON_ITS_HOST}. `warrener node drain NODE` moves the sessions off it; then "
        f"`rabbitmqctl stop_app` on its host"
    ),
    Can.START_APP: (
        f"{_ON_ITS_HOST}. `rabbitmqctl start_app` there; Warrener takes it again by itself"
    ),
    Can.MAINTENANCE: (
        "RabbitMQ's own maintenance mode isn't switched on: the management API can't do it. Queues "
        "that the node leads stay led by it, and who connects to it past Warrener is still let in. "
        "`rabbitmq-upgrade drain` on its host does that"
    ),
    Can.CONFIGURE: (
        f"{_ON_ITS_HOST}. Change rabbitmq.conf with what runs the cluster; what policies can do "
        f"(`[queues]`, `[[policy]]` in warrener.toml) `warrener apply` does here as well"
    ),
    Can.PLUGINS: f"{_ON_ITS_HOST}. Enable plugins with what runs the cluster",
    Can.MOVE_LEADERS: (
        f"{_THEIRS}: RabbitMQ's management API has no way to hand the leadership of one queue to a "
        f"node, neither in 3.10 nor in 4.3. `warrener leaders balance --by-count` asks "
        f"RabbitMQ for its own rebalancing, which goes by the number of leaders; "
        f"`warrener leaders balance --dry-run` shows what would be better by load"
    ),
}
"""What only a driver with the nodes' hosts can do."""
