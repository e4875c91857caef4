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
    DOWN = "down"  # ended by itself, or unreachable
