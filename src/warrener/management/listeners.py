"""What the management API tells of a cluster that isn't one's own: where its nodes listen, what its
user may, what goes through its queues; and the one thing it does about leaders.

``listeners`` come with the overview and are those of all running nodes. 3.10.8 tells them of a node
in maintenance mode, too, although it has closed them.
"""

from typing import Any, Final, TypeVar

import msgspec

from warrener.facts.leaders import QueueRates
from warrener.management.answers import Answer, Node, Overview, number, words
from warrener.management.client import BadAnswer, ManagementClient

OVERVIEW_COLUMNS: Final = (
    "cluster_name,node,rabbitmq_version,product_version,erlang_version,listeners"
)

RATE_COLUMNS: Final = (
    "vhost,name,message_stats.publish_details.rate,message_stats.deliver_get_details.rate,"
    "message_stats.ack_details.rate"
)

RATES_TIMEOUT: Final = 15.0
"""Seconds: 3.10.8 takes 5 s for the statistics of 5,000 queues."""

REBALANCE_TIMEOUT: Final = 20.0
"""Seconds. Older versions answer when all leaders have moved; that is watched all the same."""


_T = TypeVar("_T")


class Listener(Answer, frozen=True):
    """``protocol`` is ``amqp``, ``amqp/ssl``, ``http``, ``http/prometheus``, ``clustering`` ..."""

    node: str
    protocol: str = ""
    ip_address: str = ""
    port: int = 0


class WholeOverview(Overview, frozen=True):
    """``GET /api/overview`` as somebody sees it who may monitor; others get no listeners."""

    listeners: tuple[Listener, ...] = ()


class WholeNode(Node, frozen=True):
    """One element of ``GET /api/nodes``, with what of the node's configuration is in it."""

    net_ticktime: Any = None
    rates_mode: Any = None
    mem_calculation_strategy: Any = None
    enabled_plugins: Any = ()


class _Rate(Answer, frozen=True):
    rate: Any = 0.0


class _Stats(Answer, frozen=True):
    publish_details: _Rate = _Rate()
    deliver_get_details: _Rate = _Rate()
    ack_details: _Rate = _Rate()


class _QueueStats(Answer, frozen=True):
    name: str
    vhost: str = "/"
    message_stats: _Stats = _Stats()


async def overview(client: ManagementClient) -> WholeOverview:
    """The cluster as a whole, with the listeners of its nodes."""
    told = await client.get_json("/api/overview", {"columns": OVERVIEW_COLUMNS})
    return _as(client, "/api/overview", told, WholeOverview)


async def nodes(client: ManagementClient) -> list[WholeNode]:
    """Every member, running or not."""
    return _as(client, "/api/nodes", await client.get_json("/api/nodes"), list[WholeNode])


async def who(client: ManagementClient) -> tuple[str, frozenset[str]]:
    """The user's name, and its tags: ``administrator``, ``monitoring`` ..."""
    user = await client.whoami()
    if isinstance(user.tags, str):  # before 3.9 a text with commas
        return user.name, frozenset(tag.strip() for tag in user.tags.split(",") if tag.strip())
    return user.name, frozenset(words(user.tags))


async def rates(client: ManagementClient) -> dict[tuple[str, str], QueueRates]:
    """Messages a second by (vhost, name), as RabbitMQ reckons them itself from its last two samples
    (5 s apart, if nobody set ``collect_statistics_interval``)."""
    params = {"columns": RATE_COLUMNS}
    told = await client.get_json("/api/queues", params, timeout=RATES_TIMEOUT)
    found = {}
    for queue in _as(client, "/api/queues", told, list[_QueueStats]):
        stats = queue.message_stats
        three = (stats.publish_details, stats.deliver_get_details, stats.ack_details)
        found[queue.vhost, queue.name] = QueueRates(*(_rate(one.rate) for one in three))
    return found


async def rebalance_by_count(client: ManagementClient) -> None:
    """RabbitMQ spreads the leaders of quorum queues by their number. Takes an administrator."""
    await client.post_json("/api/rebalance/queues", {}, timeout=REBALANCE_TIMEOUT)


def _rate(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and number(value) >= 0 else 0.0


def _as(client: ManagementClient, path: str, told: Any, kind: type[_T]) -> _T:
    try:
        return msgspec.convert(told, kind)
    except msgspec.ValidationError as error:
        raise BadAnswer(
            client.base_url + path,
            f"not what RabbitMQ's management API answers ({error}); is it another service?",
        ) from None
