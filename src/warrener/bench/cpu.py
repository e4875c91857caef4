"""How much CPU nodes, the balancer and this machine use while something is measured.

A node whose process is known on this machine is read from the kernel (10 ms ticks); any other by
its own word, ``erlang_vm_statistics_runtime_milliseconds`` of its metrics: CPU time of all threads
of the Erlang VM, but without what the kernel does for it (measured on OTP 25: it is the process's
user time, and system time is a fifth to a half of that on top). A thread reads all along;
afterwards what was used between two moments is asked.
"""

import asyncio
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import numpy as np
import psutil

from warrener.facts.ids import NodeName
from warrener.management.client import BadAnswer, ManagementError
from warrener.management.metrics import read_metrics
from warrener.management.verify import Verify

ERLANG_VM: Final = "beam.smp"

EVERY: Final = 0.05
"""Seconds between two looks at processes: 5 us each."""

METRICS_EVERY: Final = 0.25
"""Seconds between two looks at metrics, which cost the node some 10 ms of CPU each."""

SPANNED: Final = 0.75
"""Of a window, between the first and the last reading in it."""

_RUNTIME: Final = b"erlang_vm_statistics_runtime_milliseconds"
_CORES: Final = b"erlang_vm_logical_processors_available"


@dataclass(frozen=True, slots=True)
class NodeSource:
    """A node, and where its CPU time can be read: its process here, or the URL of its metrics."""

    name: NodeName
    pid: int | None
    metrics: str
    ca: str = ""
    server_name: str = ""

    def process(self) -> psutil.Process | None:
        """The Erlang VM on this machine; None if it isn't here."""
        if self.pid is None:
            return None
        try:
            process = psutil.Process(self.pid)
            return process if process.name() == ERLANG_VM else None
        except psutil.Error:
            return None

    def verify(self) -> Verify | None:
        """How its metrics' certificate is verified."""
        if not self.ca:
            return None
        context = ssl.create_default_context(cafile=self.ca)
        return Verify(lambda: context, self.server_name)


@dataclass(frozen=True, slots=True)
class Metered:
    """What one node says of itself: CPU s since its start, processors."""

    runtime: float
    cores: int


def parse(text: bytes, url: str) -> Metered:
    """Out of a node's metrics; its user time only. Raises BadAnswer if they don't tell."""
    runtime = _number(text, _RUNTIME)
    if runtime is None:
        raise BadAnswer(url, f"no {_RUNTIME.decode()}: the metrics of something else?")
    return Metered(runtime / 1000, int(_number(text, _CORES) or 1))


def _number(text: bytes, name: bytes) -> float | None:
    """Of a metric without labels, whatever comes of others that begin alike."""
    for line in text.splitlines():
        head, _, value = line.partition(b" ")
        if head == name:
            try:
                return float(value)
            except ValueError:
                return None
    return None


async def ask(source: NodeSource) -> Metered:
    """Raises ManagementError."""
    url = source.metrics
    return parse(await read_metrics(url, (), verify=source.verify()), url)


_Series = list[tuple[float, float]]


def used_between(series: Sequence[tuple[float, float]], start: float, end: float) -> float | None:
    """What grew between two moments, by readings (when, how much so far) in order: by those in
    between, if they span most of the time; else by those around it as well, as if it had grown
    evenly from one to the next. None if they don't reach that far."""
    inside = [one for one in series if start <= one[0] <= end]
    if len(inside) >= 2 and inside[-1][0] - inside[0][0] >= SPANNED * (end - start):
        (first_at, first), (last_at, last) = inside[0], inside[-1]
        return (last - first) / (last_at - first_at) * (end - start)
    if not series or series[0][0] > start or series[-1][0] < end:
        return None
    at, so_far = zip(*series, strict=True)
    return float(np.interp(end, at, so_far) - np.interp(start, at, so_far))


class Meter:
    """Reads all along inside the ``with``; asked afterwards. ``others``: processes by a name."""

    def __init__(
        self, sources: Sequence[NodeSource], others: Mapping[str, int | None] | None = None
    ) -> None:
        self._processes: dict[str, psutil.Process] = {}
        self._asked: list[NodeSource] = []
        for source in sources:
            process = source.process()
            if process is not None:
                self._processes[source.name] = process
            elif source.metrics:
                self._asked.append(source)
        for name, pid in (others or {}).items():
            if pid is not None and psutil.pid_exists(pid):
                self._processes[name] = psutil.Process(pid)
        self._series: dict[str, _Series] = defaultdict(list)
        self._machine: list[tuple[float, float, float]] = []
        self._done = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for work, name in ((self._watch, "cpu"), (self._ask_all_along, "cpu by metrics"))
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def used(self, name: str, start: float, end: float) -> float | None:
        """CPU s between two moments of the monotonic clock; None if too little was read."""
        return used_between(self._series.get(name, ()), start, end)

    def busy(self, start: float, end: float) -> float:
        """The part of this machine's CPU that was in use, 0 to 1, by anybody."""
        inside = [one for one in self._machine if start <= one[0] <= end]
        if len(inside) < 2:
            return 0.0
        total = inside[-1][2] - inside[0][2]
        return (inside[-1][1] - inside[0][1]) / total if total > 0 else 0.0

    def _watch(self) -> None:
        while not self._done.wait(EVERY):
            times = psutil.cpu_times()
            total = sum(times) - times.guest - times.guest_nice  # they are in user and nice as well
            busy = total - times.idle - times.iowait
            self._machine.append((time.monotonic(), busy, total))
            for name, process in list(self._processes.items()):
                try:
                    own = process.cpu_times()
                except psutil.Error:
                    del self._processes[name]  # it has ended
                    continue
                self._series[name].append((time.monotonic(), own.user + own.system))

    def _ask_all_along(self) -> None:
        if self._asked:
            asyncio.run(self._ask())

    async def _ask(self) -> None:
        """Once more after the end, so that there is a reading on either side of what is asked."""
        last = False
        while not last:
            last = self._done.is_set()
            await asyncio.gather(*(self._ask_one(source) for source in self._asked))
            if not last:
                await asyncio.sleep(METRICS_EVERY)

    async def _ask_one(self, source: NodeSource) -> None:
        before = time.monotonic()
        try:
            metered = await ask(source)
        except ManagementError:
            return  # what is missing is told by ``used``
        self._series[source.name].append(((before + time.monotonic()) / 2, metered.runtime))
