"""Closed enums of the reasons behind each refusal, close, choice and change.

Logs, events, metrics and replies show these values; a text for people goes beside them, never
instead of them.
"""

from enum import StrEnum


class SessionEnd(StrEnum):
    """Why a session ended."""

    CLIENT_CLOSED = "client_closed"  # connection.close / close-ok, in order
    CLIENT_LOST = "client_lost"  # the socket went away without a connection.close
    CLIENT_SILENT = "client_silent"  # nothing for two heartbeat intervals
    CLIENT_BROKE_PROTOCOL = "client_broke_protocol"
    CLIENT_SLOW_HANDSHAKE = "client_slow_handshake"
    TLS_HANDSHAKE = "tls_handshake"  # it never came to a session: TLS failed, or never was
    BROKER_CLOSED = "broker_closed"  # the broker sent connection.close
    BROKER_BROKE_PROTOCOL = "broker_broke_protocol"
    ACCESS_REFUSED = "access_refused"  # wrong user, password or vhost
    NODE_LOST = "node_lost"  # the link broke
    NODE_SILENT = "node_silent"  # the node accepts no bytes and sends none
    NO_FIT_NODE = "no_fit_node"
    LIMIT = "limit"  # one of the balancer's own limits
    SHUTDOWN = "shutdown"  # the balancer stops
    INTERNAL = "internal"  # our bug


class Unfit(StrEnum):
    """Why a node is not chosen for new sessions."""

    NOT_PROBED = "not_probed"
    REFUSES = "refuses"  # no TCP connection
    HANGS = "hangs"  # accepts, then says nothing in time
    NOT_AMQP = "not_amqp"  # answers something else than connection.start
    NOT_RUNNING = "not_running"  # the cluster says the node's RabbitMQ is not running
    MINORITY = "minority"  # not clustered with the majority
    DRAINED = "drained"  # maintenance mode, or drained by hand


class Choice(StrEnum):
    """Why a node was chosen."""

    POLICY = "policy"
    RETRY = "retry"  # a node chosen before refused or hung in the handshake


class NodeState(StrEnum):
    """What the driver that runs a node (or the cluster's own view) says of it."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"  # ended when asked to
    DOWN = "down"  # ended by itself
    UNREACHABLE = "unreachable"  # its host can't be asked: it may run all the same
    LOST = "lost"  # its data is gone: it has to be replaced


class MoveReason(StrEnum):
    """Why a channel moved to another node."""

    LOCALITY = "locality"  # to the node that leads its queue
    FAILOVER = "failover"  # its node was lost
    DRAIN = "drain"  # its node is being drained
    REBALANCE = "rebalance"  # sessions are spread evenly again
    TIE = "tie"  # to the link that owns an exclusive queue


class Repair(StrEnum):
    """Why something was done to a node that nobody asked for."""

    BOOT_HANGS = "boot_hangs"  # its boot waits for something that doesn't come


class Placement(StrEnum):
    """Why a channel is where it is."""

    HOME = "home"  # where the policy put its session
    LEADER = "leader"  # with the leader of its queue
    TIED = "tied"  # bound to its link: an exclusive queue, a transaction, direct reply-to
    FAILED_OVER = "failed_over"  # its node was lost, and its queue's leader isn't known
    REFUSED = "refused"  # the leader's node refused a link
    DRAINED = "drained"  # its node was drained
    REBALANCED = "rebalanced"
    UNSETTLED = "unsettled"  # its client doesn't settle in time for a move to the leader
    MOVING = "moving"
    WAITING = "waiting"  # for a node, or for its queue to come back


class WeightReason(StrEnum):
    """Why a node's weight was changed by itself."""

    CAPACITY = "capacity"  # it follows what the node has left for sessions


class ActEnd(StrEnum):
    """What became of an act that a viewer of the page confirmed."""

    DONE = "done"
    REFUSED = "refused"  # nothing was done
    FAILED = "failed"  # it was tried
    CALLED_OFF = "called_off"
    CHANGED = "changed"  # the cluster was no longer as the preview had it: nothing was done
