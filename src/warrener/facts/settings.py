"""What can be set, as plain values; ``cluster.spec`` reads them from ``warrener.toml``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from warrener.facts.data_plane import DataPlane
from warrener.facts.ids import NodeName


class PolicyName(StrEnum):
    """The balancing policies."""

    ROUNDROBIN = "roundrobin"
    WEIGHTED = "weighted"
    RANDOM = "random"
    SOURCE = "source"
    LEASTCONN = "leastconn"
    WEIGHTED_LEASTCONN = "weighted-leastconn"
    P2C = "p2c"


DEFAULT_WEIGHT: Final = 100
MAX_WEIGHT: Final = 1000


@dataclass(frozen=True, slots=True)
class BalancerSettings:
    """The balancer's settings. Times in seconds, sizes in bytes.

    ``weights`` maps a node to 0..1000; a node that isn't named has 100; 0 means: take it only
    if no other node is fit. With ``auto_weights`` they follow what nodes can carry.
    """

    host: str = "127.0.0.1"
    port: int = 0  # 0: any free port
    tls_port: int = 0  # likewise, with TLS
    plain: bool | None = None  # a port without TLS; None: only where there is none with it
    policy: PolicyName = PolicyName.ROUNDROBIN
    weights: Mapping[NodeName, int] = field(default_factory=dict)
    auto_weights: bool = False
    handshake_timeout: float = 10.0  # RabbitMQ's own default; the whole handshake of a client
    connect_timeout: float = 3.0  # one node's share of it, from connect to connection.start
    link_heartbeat: int = 6  # s; on links, whatever the client negotiated for its own side
    probe_interval: float = 1.0
    probe_timeout: float = 2.0
    probe_fall: int = 2  # failures in a row that make a node unfit
    probe_rise: int = 2  # successes in a row that make it fit again
    max_sessions: int = 20_000
    max_frame: int = 16 * 1024 * 1024  # for a frame when the two sides agreed on "no limit"
    high_water: int = 512 * 1024  # bytes waiting for a slow side before the other isn't read
    backlog: int = 1024
    locality: bool = True  # channels go to the node that leads their queue
    outage_timeout: float = 30.0  # a session without any node is kept for so long
    park_timeout: float = 60.0  # a consumer whose queue is away is kept for so long
    settle_timeout: float = 10.0  # a planned move waits so long for acks and confirms
    link_linger: float = 5.0  # a link without channels is closed after so long
    journal_limit: int = 16 * 1024 * 1024  # unconfirmed and waiting publishes of one session
    journal_total: int = 512 * 1024 * 1024  # of all sessions
    data_plane: DataPlane = DataPlane.WARRENER
    haproxy: str = ""  # the program; empty: the one on the PATH
