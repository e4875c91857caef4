"""Reads every node's counters twice.

All nodes are asked at once, and each one's time is taken on its own; a node that doesn't answer
one of the two times is told as missing, never guessed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from warrener.cluster.leaders.rates import FAMILIES, Counters, counters, rates
from warrener.facts.ids import NodeName
from warrener.facts.leaders import RateSample
from warrener.management.client import ManagementError
from warrener.management.metrics import read_metrics
from warrener.management.verify import Verify

BIG: Final = 1024 * 1024
"""Bytes from which an answer is taken apart in a thread: 1 MiB takes 10 ms."""

_Reading = tuple[float, Counters]


async def measure(
    nodes: Sequence[tuple[NodeName, str]],
    seconds: float,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    verify: Callable[[NodeName], Verify | None] = lambda name: None,
) -> RateSample:
    """What goes through the queues in ``seconds``. ``nodes``: names and the URLs of their metrics,
    those only that should answer; ``verify``: how their certificates are verified. Raises
    ManagementError if none does: the first one's error."""
    if not nodes:
        raise ValueError("no node to ask")
    before = await _read_all(nodes, verify)
    await sleep(seconds)
    after = await _read_all(nodes, verify)
    readings = []
    missing = []
    for (name, _), first, second in zip(nodes, before, after, strict=True):
        if isinstance(first, ManagementError) or isinstance(second, ManagementError):
            missing.append(name)
        else:
            readings.append((first[1], second[1], second[0] - first[0]))
    if not readings:
        error = next(one for one in (*before, *after) if isinstance(one, ManagementError))
        raise error
    took = sum(reading[2] for reading in readings) / len(readings)
    return RateSample(took, rates(readings), tuple(missing))


async def _read_all(
    nodes: Sequence[tuple[NodeName, str]], verify: Callable[[NodeName], Verify | None]
) -> list[_Reading | ManagementError]:
    return list(await asyncio.gather(*(_read(url, verify(name)) for name, url in nodes)))


async def _read(url: str, verify: Verify | None) -> _Reading | ManagementError:
    try:
        text = await read_metrics(url, FAMILIES, verify=verify)
    except ManagementError as error:
        return error
    now = asyncio.get_running_loop().time()
    if len(text) > BIG:
        return now, await asyncio.to_thread(counters, text)
    return now, counters(text)
