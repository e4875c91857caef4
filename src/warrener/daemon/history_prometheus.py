"""Asks a Prometheus for the history, by its HTTP API. ``planner.prometheus`` says what for.

https is verified by the system's authorities; a name and a password aren't sent.
"""

import asyncio
from typing import Any, Final

import aiohttp
import msgspec

from warrener.facts.ids import NodeName
from warrener.facts.snapshot import ClusterSnapshot
from warrener.planner.prometheus import NotScraped, Series, queries, samples, steps
from warrener.planner.samples import Sample
from warrener.planner.sampling import Looked

TIMEOUT: Final = 20.0
"""Seconds for all questions together."""

MAX_ANSWER: Final = 64 * 1024 * 1024
"""Bytes of one answer: 30 points of a series take some 900."""


class PrometheusFailed(Exception):
    """It doesn't answer, or not with what is needed; the text says why and what to do."""


class _Found(msgspec.Struct):
    metric: dict[str, str] = {}
    values: list[tuple[float, str]] = []


class _Data(msgspec.Struct):
    result: list[_Found] = []


class _Answer(msgspec.Struct):
    """``GET /api/v1/query_range``."""

    status: str
    data: _Data = msgspec.field(default_factory=_Data)
    error: str = ""


async def ask(
    url: str,
    *,
    now: float,
    window: float,
    snapshot: ClusterSnapshot,
    hosts: dict[NodeName, str],
    looked: Looked,
) -> list[Sample]:
    """The last ``window`` s before ``now`` (s since the epoch). PrometheusFailed."""
    over = steps(window)
    asked = queries(over)
    # Whole steps, the last of them now: each value is of the time before it.
    number = max(1, int(window / over.step))
    times = {
        "start": f"{now - (number - 1) * over.step:.3f}",
        "end": f"{now:.3f}",
        "step": f"{over.step:.3f}",
    }
    try:
        async with (
            asyncio.timeout(TIMEOUT),
            aiohttp.ClientSession(
                trust_env=False, connector=aiohttp.TCPConnector(limit=4)
            ) as session,
        ):
            told = await asyncio.gather(
                *(_ask(session, url, {"query": query, **times}) for query in asked.values())
            )
    except TimeoutError:
        raise PrometheusFailed(f"{url}: no answer within {TIMEOUT:g} s") from None
    except aiohttp.ClientConnectorError as error:
        why = error.os_error.strerror or error
        raise PrometheusFailed(f"{url}: no connection: {why}; is it a Prometheus?") from None
    except aiohttp.ClientError as error:
        raise PrometheusFailed(f"{url}: {error}") from None
    answers = dict(zip(asked, told, strict=True))
    try:
        return await asyncio.to_thread(samples, answers, over, snapshot, hosts, looked)
    except NotScraped as error:
        raise PrometheusFailed(f"the Prometheus at {url} can't tell: {error}") from None


async def _ask(session: aiohttp.ClientSession, url: str, form: dict[str, Any]) -> list[Series]:
    async with session.post(
        f"{url}/api/v1/query_range", data=form, allow_redirects=False
    ) as response:
        raw = bytearray()
        async for chunk in response.content.iter_any():
            raw += chunk
            if len(raw) > MAX_ANSWER:
                raise PrometheusFailed(f"{url}: the answer is longer than {MAX_ANSWER:,} bytes")
        status = response.status
    try:
        answer = msgspec.json.decode(raw, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise PrometheusFailed(
            f"{url}: HTTP status {status}, and not what Prometheus answers; is it another service?"
        ) from None
    if answer.status != "success":
        raise PrometheusFailed(f"{url}: {' '.join(answer.error.split())[:200]}")
    return [
        Series(found.metric, [(at, float(value)) for at, value in found.values])
        for found in answer.data.result
    ]
