"""The history of rates: sampled while the cluster runs, kept, and looked at for the planner.

    every 10 s   reading -> difference to the one before -> sample -> store (in its thread)
    asked for    samples of a window -> means and their spread -> ``planner.load.Load``

With ``[history] prometheus`` a Prometheus that scrapes the nodes is asked for nodes and queues
(``history_prometheus``); only what it can't know is sampled here then: the balancer, and this
machine's CPU. Nothing that fails here stops anything else; what isn't written is told once by an
event, until it works again.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from warrener.control.history_operations import (
    HistoryAnswer,
    HistoryRequest,
    PlanLoadAnswer,
    PlanLoadRequest,
)
from warrener.control.operations import Phase
from warrener.control.wire import Refusal, Refused
from warrener.daemon import history_prometheus
from warrener.daemon.control_server import Call
from warrener.daemon.history_reader import Reader
from warrener.daemon.history_report import answer_of
from warrener.daemon.history_store import Store, StoreFailed
from warrener.facts.happenings import Event
from warrener.facts.history import HistorySettings
from warrener.planner import history, load_wire
from warrener.planner.history import NoHistory, Window, span
from warrener.planner.load import Load
from warrener.planner.samples import QueueSample, RestSample, Sample, merge
from warrener.planner.sampling import Reading, make

if TYPE_CHECKING:  # the service makes this
    from warrener.daemon.service import Service

TIDY: Final = 60.0
"""Seconds from one thinning of the store to the next."""

FIRST: Final = 2.0
"""Seconds from the start to the first reading, and from there to the first sample: so there is
something soon."""

SHORTEST_WINDOW: Final = 1.0

_T = TypeVar("_T")
log = structlog.get_logger(__name__)


class History:
    """Samples, and answers what was. ``run`` until cancelled, ``close`` afterwards."""

    def __init__(self, service: "Service") -> None:
        self._service = service
        self._settings: HistorySettings = service.cluster.spec.history
        self._store = Store(
            service.folder.path, keep=self._settings.keep, on_broken=self._put_aside
        )
        self._reader = Reader(service)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="history")
        self._before: Reading | None = None
        self._tidied = float("-inf")
        self._failing = False
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- samples

    async def run(self) -> None:
        """Takes one sample after the other."""
        if not self._settings.enabled:
            return
        await asyncio.sleep(FIRST)
        wait = FIRST
        while True:
            try:
                await self.sample()
            except Exception:
                log.exception("history_sample_failed")
            await asyncio.sleep(wait)
            wait = self._settings.every

    async def sample(self) -> Sample | None:
        """Reads, and keeps what happened since the last reading; what was kept, None the first
        time."""
        await self._reader.look()
        reading = await self._reader.read(queues=not self._settings.prometheus)
        view = self._service.last_view()
        if view is None:
            return None  # nobody tells which queues there are: the next sample is longer
        before, self._before = self._before, reading
        if before is None or reading.clock <= before.clock:
            return None
        sample = await self.in_thread(lambda: make(before, reading, view, self._reader.looked))
        if self._settings.prometheus:
            sample = _what_prometheus_lacks(sample)
        await self._keep(sample)
        return sample

    async def _keep(self, sample: Sample) -> None:
        now = self._service.monotonic()
        tidy = now - self._tidied >= TIDY
        try:
            await self.in_thread(lambda: self._store.add(sample))
            if tidy:
                self._tidied = now
                await self.in_thread(lambda: self._store.tidy(sample.at))
        except StoreFailed as error:
            if not self._failing:
                self._service.events.record(
                    Event("history.not_written", detail={"error": str(error)})
                )
            self._failing = True
        else:
            if self._failing:
                self._service.events.record(Event("history.written_again"))
            self._failing = False

    async def close(self) -> None:
        """Writes what is being written, and closes the file."""
        await self.in_thread(self._store.close)
        self._thread.shutdown(wait=False)

    async def in_thread(self, work: Callable[[], _T]) -> _T:
        """What takes its time: in the thread that has the store."""
        self._loop = asyncio.get_running_loop()
        return await self._loop.run_in_executor(self._thread, work)

    def _put_aside(self, why: str) -> None:
        """Called in the thread."""
        assert self._loop is not None, "the store is used in its thread only"
        event = Event("history.broken", detail={"error": why})
        self._loop.call_soon_threadsafe(self._service.events.record, event)

    # -- what was

    async def look(self, window: float) -> Window:
        """The last ``window`` s. ``Refused`` if there is nothing, or it can't be read."""
        samples, now = await self.samples(window)
        try:
            return await self.in_thread(lambda: history.look(samples, window=window, now=now))
        except NoHistory as error:
            raise Refused(Refusal.NOT_YET, str(error)) from None

    async def samples(self, window: float) -> tuple[Sequence[Sample], float]:
        """Those of the last ``window`` s, and what time it is. ``Refused`` as ``look``, but for an
        empty window."""
        if not SHORTEST_WINDOW <= window <= self._settings.keep:
            raise Refused(
                Refusal.BAD_ARGUMENT,
                f"a window is {SHORTEST_WINDOW:g} s to {span(self._settings.keep)} (so long is "
                f"history kept), not {window:g} s",
            )
        if self._service.phase is not Phase.RUNNING:
            raise Refused(
                Refusal.NOT_YET,
                f"the cluster is {self._service.phase}; `warrener status` shows how far it is",
            )
        if not self._settings.enabled:
            raise Refused(
                Refusal.UNSUPPORTED,
                "no history is kept: `enabled = false` under [history] in warrener.toml",
            )
        now = self._service.now()
        return await self._samples(now - window, now), now

    async def load(self, window: float) -> Load:
        """What the planner reckons with: means over the last ``window`` s. As ``look``."""
        return history.load(await self.look(window))

    async def _samples(self, since: float, until: float) -> Sequence[Sample]:
        try:
            own = await self.in_thread(lambda: self._store.read(since, until))
        except StoreFailed as error:
            raise Refused(Refusal.FAILED, f"the history can't be read: {error}") from None
        if not self._settings.prometheus:
            return [sample for sample in own if sample.nodes]
        return await self._from_prometheus(since, until, own)

    async def _from_prometheus(
        self, since: float, until: float, own: Sequence[Sample]
    ) -> Sequence[Sample]:
        view = self._service.last_view()
        if view is None:
            raise Refused(Refusal.FAILED, "the cluster doesn't tell which queues it has just now")
        await self._reader.look()
        try:
            found = await history_prometheus.ask(
                self._settings.prometheus,
                now=until,
                window=until - since,
                snapshot=view,
                hosts={node.name: node.host for node in self._service.cluster.nodes()},
                looked=self._reader.looked,
            )
        except history_prometheus.PrometheusFailed as error:
            raise Refused(Refusal.FAILED, str(error)) from None
        found = [
            replace(
                sample,
                nodes=tuple(
                    replace(node, cores=self._reader.share(node.name)) for node in sample.nodes
                ),
            )
            for sample in found
        ]
        if not own:
            return found
        here = await self.in_thread(lambda: merge(own))
        return [_completed(sample, here) for sample in found]

    # -- operations

    async def show(self, request: HistoryRequest, call: Call) -> HistoryAnswer:
        window = await self.look(request.window)
        queues = [
            queue
            for queue in window.queues
            if not request.queue
            or request.queue == queue.means.name
            or fnmatchcase(queue.means.name, request.queue)
        ]
        source = self._settings.prometheus or "warrener"
        return answer_of(window, queues, request.limit, source)

    async def plan_load(self, request: PlanLoadRequest, call: Call) -> PlanLoadAnswer:
        return load_wire.to_wire(await self.load(request.window))


def _what_prometheus_lacks(sample: Sample) -> Sample:
    """The balancer's and this machine's own, and what consumers did."""
    queues = tuple(
        queue.seeing_as(QueueSample(queue.vhost, queue.name, queue.type, queue.leader))
        for queue in sample.queues
        if queue.worked > 0 or queue.spaced > 0
    )
    return replace(sample, nodes=(), queues=queues, rest=RestSample(), missing=())


def _completed(sample: Sample, here: Sample) -> Sample:
    """What Prometheus told, with what only we know over the whole window."""
    seen = {queue.key: queue for queue in here.queues}
    queues = tuple(
        seen[queue.key].seeing_as(queue) if queue.key in seen else queue for queue in sample.queues
    )
    return replace(sample, hosts=here.hosts or sample.hosts, balancer=here.balancer, queues=queues)
