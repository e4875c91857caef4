"""A node's own metrics, as its Prometheus endpoint has them.

The counters of ``/metrics/detailed`` are RabbitMQ's own tables, as they are when asked, and each
node tells only of its own channels. For questions about rates they cost RabbitMQ a hundredth of
what the management API's statistics do, which are gathered from all nodes, and are 5 s old or more
(docs/decisions/0008-leaders-by-load.md has the figures).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from warrener.facts.ids import NodeName
from warrener.management.client import BadAnswer, NotFound, TimedOut, TooLong, Unreachable
from warrener.management.verify import Verify, options

DEFAULT_TIMEOUT: Final = 5.0

MAX_ANSWER: Final = 256 * 1024 * 1024
"""Bytes. A queue that a channel publishes to takes 140, one that a channel consumes from 700."""


@dataclass(frozen=True, slots=True)
class MetricsPlace:
    """Where a node's metrics are, and how its certificate is verified."""

    node: NodeName
    url: str  # such as http://127.0.0.1:15692
    verify: Verify | None = None


async def read_metrics(
    base_url: str,
    families: Sequence[str],
    *,
    timeout: float = DEFAULT_TIMEOUT,
    max_answer: int = MAX_ANSWER,
    verify: Verify | None = None,
    path: str = "/metrics/detailed",
) -> bytes:
    """The text of some families of metrics, from ``base_url`` (such as ``http://127.0.0.1:15692``);
    without families that of the node as a whole, summed over its queues and channels.

    Raises a ManagementError: Unreachable, TimedOut, NotFound (no such endpoint: the plugin
    rabbitmq_prometheus of RabbitMQ before 3.10), TooLong or BadAnswer.
    """
    url = f"{base_url}/metrics/detailed" if families else f"{base_url}/metrics"
    query = urlencode([("family", family) for family in families])
    try:
        async with (
            asyncio.timeout(timeout),
            aiohttp.ClientSession(trust_env=False) as session,
            session.get(
                URL(f"{url}?{query}", encoded=True), allow_redirects=False, **options(verify)
            ) as response,
        ):
            if response.status == 404:
                raise NotFound(url, "not found; it takes RabbitMQ 3.10 or newer")
            if response.status != 200:
                raise BadAnswer(url, f"HTTP status {response.status}")
            raw = bytearray()
            async for chunk in response.content.iter_any():
                raw += chunk
                if len(raw) > max_answer:
                    raise TooLong(url, f"the answer is longer than {max_answer:,} bytes")
            return bytes(raw)
    except TimeoutError:
        raise TimedOut(url, f"no answer within {timeout:g} s") from None
    except aiohttp.ClientConnectorCertificateError as error:
        raise Unreachable(
            url, f"its certificate isn't accepted: {error.certificate_error}"
        ) from None
    except aiohttp.ClientConnectorError as error:
        raise Unreachable(url, f"no connection: {error.os_error.strerror or error}") from None
    except (aiohttp.ClientConnectionError, ConnectionError) as error:
        raise Unreachable(url, f"the connection broke: {error or 'closed'}") from None
    except aiohttp.ClientError as error:
        raise BadAnswer(url, f"not an HTTP answer: {error}") from None
