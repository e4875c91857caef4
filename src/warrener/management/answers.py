"""The parts of the management API's answers that Warrener reads.

Every field has a default, because RabbitMQ leaves out what it doesn't know: the measurements of a
node that is down, the statistics of a queue that was declared a moment ago, everything when
``management.disable_stats`` is set. Fields that differ between versions are taken in any type and
made into numbers by ``number``: a node without disk monitoring, say, answers
``"disk_free": "disk_free_monitoring_disabled"``. Fields that aren't named here are skipped unread.
"""

import math
from typing import Any

import msgspec


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One of RabbitMQ's JSON objects, read in part."""


class Overview(Answer, frozen=True):
    """``GET /api/overview``."""

    cluster_name: str = ""
    node: str = ""  # the one that answered
    rabbitmq_version: str = ""
    product_version: str = ""
    erlang_version: str = ""


class Application(Answer, frozen=True):
    """One of a node's running Erlang applications."""

    name: str = ""
    version: str = ""


class Node(Answer, frozen=True):
    """One element of ``GET /api/nodes``. Sizes in bytes, ``uptime`` in milliseconds."""

    name: str
    running: bool = False
    being_drained: bool = False
    partitions: Any = ()
    mem_alarm: Any = False
    disk_free_alarm: Any = False
    mem_used: Any = 0
    mem_limit: Any = 0
    disk_free: Any = 0
    disk_free_limit: Any = 0
    fd_used: Any = 0
    fd_total: Any = 0
    uptime: Any = 0
    applications: Any = ()
    rabbitmq_version: Any = ""  # 4.x only


class Queue(Answer, frozen=True):
    """One element of ``GET /api/queues``.

    ``node`` is the home of a classic queue and, for the rest, the leader; ``leader``, ``members``
    and ``online`` are there for quorum queues and streams.
    """

    name: str
    vhost: str = "/"
    type: str = "classic"
    node: Any = None
    leader: Any = None
    members: Any = ()
    online: Any = ()
    state: Any = ""
    messages: Any = 0
    messages_ready: Any = 0
    messages_unacknowledged: Any = 0
    consumers: Any = 0
    auto_delete: Any = False
    exclusive: Any = False


class QueuePage(Answer, frozen=True):
    """``GET /api/queues?page=...``."""

    items: list[Queue]
    page: int = 1
    page_count: int = 1
    total_count: int = 0


class Exchange(Answer, frozen=True):
    """``GET /api/exchanges/VHOST/NAME``, or one element of ``GET /api/exchanges/VHOST``."""

    name: str
    type: str = ""
    arguments: Any = ()
    policy: Any = ""


class Binding(Answer, frozen=True):
    """One element of ``GET /api/exchanges/VHOST/NAME/bindings/source``."""

    destination: str
    destination_type: str = "queue"
    routing_key: str = ""


class User(Answer, frozen=True):
    """``GET /api/whoami``."""

    name: str = ""
    tags: Any = ()


class Refusal(Answer, frozen=True):
    """The body of an error."""

    error: Any = ""
    reason: Any = ""


def number(value: Any) -> int:
    """``value`` as a whole number; 0 where RabbitMQ wrote a word, null or nothing instead."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if math.isfinite(value) else 0


def words(value: Any) -> tuple[str, ...]:
    """``value`` as strings; empty where RabbitMQ wrote something else than a list of them."""
    if not isinstance(value, list | tuple):
        return ()
    return tuple(item for item in value if isinstance(item, str))
