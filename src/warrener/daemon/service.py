"""The order in which a cluster and its balancer are started, wired and stopped.

    start   ports are claimed, the balancer binds (a taken port is found before any node boots)
            -> nodes boot and join -> backends are set -> probes find them fit -> observer
    run     until the switch is turned
    stop    observer -> operations on nodes -> balancer (clients get connection.close 320) -> nodes
            -> control socket

The control socket is there from the first moment, so that ``status`` shows nodes booting and
``down`` interrupts a start. However it ends, what was started is stopped, in that order.
"""

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar

import structlog

from warrener.cluster.passwords import GeneratedPasswords
from warrener.control.balance_operations import AUTO_WEIGHTS, PLAN_SESSIONS
from warrener.control.count_operations import LEADERS_SPREAD
from warrener.control.history_operations import HISTORY, PLAN_LOAD
from warrener.control.operations import (
    Phase,
    StatusAnswer,
    StatusRequest,
    UrlAnswer,
)
from warrener.control.plan_operations import ROOM
from warrener.control.state_folder import StateFolder
from warrener.control.telemetry_operations import TELEMETRY, TELEMETRY_EXPORT
from warrener.control.traffic_operations import TRAFFIC
from warrener.daemon import report
from warrener.daemon.calibrating import Calibrating
from warrener.daemon.census import Census
from warrener.daemon.configuring import Configuring
from warrener.daemon.control_server import ControlServer, Handler
from warrener.daemon.counting import Counting
from warrener.daemon.describe import Describe
from warrener.daemon.errors import DaemonError, Interrupted
from warrener.daemon.event_log import EventLog
from warrener.daemon.feed import Feed
from warrener.daemon.following import Following
from warrener.daemon.handlers import Handlers
from warrener.daemon.healing import Healing
from warrener.daemon.history import History
from warrener.daemon.keeping import Keeping
from warrener.daemon.leaders import Leaders
from warrener.daemon.membership import Membership
from warrener.daemon.observer import STALE_AFTER, Observer, is_news
from warrener.daemon.page import Page
from warrener.daemon.parts import Balancer, BalancerFactory, Cluster, Reporter
from warrener.daemon.plan_history import PlanHistory
from warrener.daemon.possible import guarded
from warrener.daemon.prometheus import Launcher
from warrener.daemon.spreading import Spreading
from warrener.daemon.switch import Switch
from warrener.daemon.telemetry import Telemetry
from warrener.daemon.tls import Tls
from warrener.daemon.traffic import Traffic
from warrener.daemon.upgrading import Upgrading
from warrener.daemon.upkeep import Upkeep
from warrener.daemon.weighing import Weighing
from warrener.daemon.works import Works
from warrener.facts.happenings import Event, Progress, ProgressSink
from warrener.facts.ids import short_name
from warrener.facts.reasons import NodeState
from warrener.facts.snapshot import ClusterSnapshot
from warrener.facts.tls import TlsPart

READY_TIMEOUT: Final = 30.0
"""Seconds from "all nodes run" to "all nodes pass the balancer's probes"; it takes two or three."""

THEIRS_READY: Final = 5.0
"""Seconds for all running nodes of somebody else's cluster to pass the probes; those that don't are
told and tried further. A probe of a node that is there takes milliseconds, its time-out is 2 s."""

PROGRESS_BACKLOG: Final = 1000
"""A stop has some dozen lines."""

_EVERYTHING: Final = StatusRequest()

_T = TypeVar("_T")
log = structlog.get_logger(__name__)


class Service:
    """One cluster behind one balancer, for the life of one daemon."""

    def __init__(
        self,
        *,
        name: str,
        version: str,
        folder: StateFolder,
        cluster: Cluster,
        make_balancer: BalancerFactory,
        holder_of_port: Callable[[int], str],
        events: EventLog,
        reporter: Reporter,
        switch: Switch,
        now: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
        launch: Launcher | None = None,
        with_prometheus: bool | None = None,
    ) -> None:
        self.switch = switch
        self.events = events
        self.cluster = cluster
        self.balancer: Balancer | None = None
        self.phase = Phase.STARTING
        self.now = now
        self.discard = False  # what the nodes hold, once it stops
        self.monotonic = monotonic
        self._name = name
        self._version = version
        self.folder = folder
        self._make_balancer = make_balancer
        self._holder_of_port = holder_of_port
        self._reporter = reporter
        self._progress_followers: set[Feed[Progress]] = set()
        self._progress_sinks: list[ProgressSink] = []
        self._observer = Observer(cluster.look, self._viewed, events.record, now=now)
        events.watch(is_news, self._observer.look_soon)
        self._started_at = monotonic()
        self._works = Works()
        self._following = Following(self)
        self._upkeep = Upkeep(self, self._works)
        self._healing = Healing(self, self._works, self._upkeep)
        membership = Membership(self, self._works, self._upkeep)
        leaders = Leaders(self, self._works)
        self.spreading = Spreading(self, self._works, leaders)
        configuring = Configuring(self, self._works, self._upkeep)
        self.describe = describe = Describe(
            self, self._works, membership, configuring, GeneratedPasswords(folder.path)
        )
        keeping = Keeping(self, self._works, configuring, describe, version)
        upgrading = Upgrading(self, self._works, self._upkeep, describe)
        self._tls = Tls(self, self._works)
        handlers = Handlers(
            self,
            self._upkeep,
            membership,
            leaders,
            configuring,
            describe,
            keeping,
            upgrading,
            self._tls,
        )
        self.history = History(self)
        self.weighing = Weighing(self)
        self._census = Census(self)
        self.telemetry = Telemetry(self, version, launch, with_prometheus)
        self.page = Page(self)
        table: dict[str, Handler] = {
            **handlers.table(),
            LEADERS_SPREAD.name: Counting(self, self._works).spread,
            HISTORY.name: self.history.show,
            PLAN_LOAD.name: self.history.plan_load,
            **PlanHistory(self, self.history).table(),
            TELEMETRY.name: self.telemetry.show,
            TELEMETRY_EXPORT.name: self.telemetry.export,
            TRAFFIC.name: Traffic(self).show,
            ROOM.name: Calibrating(self, self._works, folder).lend,
            PLAN_SESSIONS.name: self._census.plan_sessions,
            AUTO_WEIGHTS.name: self.weighing.switch,
        }
        handled = guarded(table, lambda: self.cluster.capabilities)
        self._control = ControlServer(folder.socket, handled)
        self.page.act_by(handled, self._upkeep, self._works)

    # ------------------------------------------------------------------------ life

    async def run(self) -> None:
        """Starts, runs until the switch is turned, stops. ``DaemonError`` if it couldn't start.

        Not to be cancelled: turn the switch.
        """
        failure: Exception | None = None
        async with asyncio.TaskGroup() as group:
            await self._control.start(group)
            try:
                status, url = await self._unless_stopped(self._start())
                self.phase = Phase.RUNNING
                observing = group.create_task(self._observer.run(), name="observer")
                self.events.record(Event("daemon.ready", detail={"pid": os.getpid()}))
                self._reporter.ready(status, url)
                renewing = group.create_task(self._tls.renew_forever(), name="certificates")
                sampling = group.create_task(self.history.run(), name="history")
                counting = group.create_task(self._census.run(), name="census")
                weighing = group.create_task(self.weighing.run(), name="weights")
                healing = group.create_task(self._healing.run(), name="healing")
                telling = group.create_task(self.telemetry.run(), name="telemetry")
                await self.switch.wait_asked()
                loops = (healing, observing, renewing, sampling, counting, weighing, telling)
                for task in loops:
                    task.cancel()
            except Exception as error:
                failure = error
                self._record_failure(error)
            finally:
                # Also when a task of the group failed (our bug): the group cancels this one then.
                await self._stop()
                await self._control.close()
        if failure is not None:
            raise failure

    async def _start(self) -> tuple[StatusAnswer, UrlAnswer]:
        balancer = await self._bind()
        await self.telemetry.start()
        await self.page.start()
        await self.cluster.start()
        backends = self.cluster.backends()
        balancer.set_backends(backends)
        self.progress(Progress("balancer", "probing the nodes"))
        booted = sum(1 for node in self.cluster.nodes() if node.state is NodeState.RUNNING)
        if not await self._wait_ready(balancer, booted):
            unfit = "; ".join(
                f"{backend.name}: {backend.unfit} {backend.unfit_detail}".rstrip()
                for backend in balancer.statistics().backends
                if backend.unfit is not None
            )
            runs = "the nodes run" if booted else "no node runs, as the cluster says"
            which = "any" if self.cluster.capabilities.theirs else "all"
            but = "but" if booted else "and"
            raise DaemonError(
                f"{runs}, {but} the balancer can't reach {which} of them after "
                f"{READY_TIMEOUT:g} s ({unfit}); the logs are in {self.folder.path}"
            )
        await self._observer.look_once()
        await self.telemetry.start_prometheus()
        host, port = balancer.address
        self.progress(Progress("balancer", f"listens on {host}:{port}", done=True))
        return self.status(), self.url()

    async def _wait_ready(self, balancer: Balancer, nodes: int) -> bool:
        """Whether enough nodes are fit: all that run; of somebody else's cluster as many as can be
        had within a moment, and one at least."""
        if not self.cluster.capabilities.theirs:
            return await balancer.wait_ready(nodes, READY_TIMEOUT)
        # Of nodes that all seem down one has to turn out to be there, too: else nobody is served.
        reachable = max(1, nodes - len(self.cluster.unreachable()))
        if await balancer.wait_ready(reachable, THEIRS_READY):
            return True
        for backend in balancer.statistics().backends:
            if backend.unfit is not None:
                why = f"gets no sessions yet: {backend.unfit} {backend.unfit_detail}".rstrip()
                where = f"{backend.host}:{backend.port}"
                self.progress(Progress(short_name(backend.name), f"{why} ({where})", failed=True))
        return await balancer.wait_ready(1, READY_TIMEOUT)

    async def _bind(self) -> Balancer:
        await self.cluster.prepare()
        self._name = self.cluster.name
        port = self.cluster.balancer_port
        balancer = self._make_balancer(port)
        try:
            await balancer.start()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise DaemonError(f"the balancer can't listen: {error}") from error
            # It was free when the cluster claimed it.
            raise DaemonError(
                f"the balancer's port {port} is taken: {self._holder_of_port(port)}; try again, or "
                f"choose another (port under [balancer] in warrener.toml)"
            ) from error
        self.balancer = balancer
        return balancer

    async def _stop(self) -> None:
        self.phase = Phase.STOPPING
        self.events.record(Event("daemon.stopping"))
        await self._hurried_or(self._works.close())
        await self._hurried_or(self._following.close())
        await self._hurried_or(self.page.close())
        await self._hurried_or(self.history.close())
        await self._hurried_or(self.telemetry.close())
        balancer, self.balancer = self.balancer, None
        if balancer is not None:
            self.progress(Progress("balancer", "closing its sessions"))
            await self._hurried_or(balancer.close())
            self.progress(Progress("balancer", "closed", done=True))
        await self._hurried_or(self.cluster.stop(discard=self.discard))
        self.events.record(Event("daemon.stopped"))
        for follower in self._progress_followers:
            follower.close()
        self.events.end_following()

    async def _unless_stopped(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of ``work``, or ``Interrupted`` once the switch is turned."""
        task = asyncio.create_task(work, name="start")
        asked = asyncio.create_task(self.switch.wait_asked(), name="start-interrupted")
        try:
            await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                self.progress(Progress("cluster", "interrupted; stopping what was started"))
                task.cancel()
                await asyncio.wait({task})
                raise Interrupted
            return await task
        finally:
            asked.cancel()

    async def _hurried_or(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs ``work``, cancelling it when the switch is turned a second time."""
        task = asyncio.create_task(work, name="stop")
        hurried = asyncio.create_task(self.switch.wait_hurried(), name="stop-hurried")
        try:
            await asyncio.wait({task, hurried}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                task.cancel()
            await asyncio.wait({task})
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("stop_failed", exc_info=error)
                self.progress(Progress("cluster", f"while stopping: {error}", failed=True))
        finally:
            hurried.cancel()

    def _record_failure(self, error: Exception) -> None:
        if not isinstance(error, DaemonError):
            log.error("start_failed", exc_info=error)
        self.events.record(Event("daemon.failed", detail={"error": str(error)}))

    @property
    def name(self) -> str:
        """What the cluster is called."""
        return self._name

    def rename(self, name: str) -> None:
        """The cluster has another name."""
        self._name = name
        self.cluster.rename(name)

    async def look_now(self) -> ClusterSnapshot | None:
        """Something was changed in the cluster: the balancer sees it at once. What is seen, None if
        nobody told."""
        await self._observer.look_once()
        return None if self._observer.error else self._observer.snapshot

    def last_view(self) -> ClusterSnapshot | None:
        """The newest view that is young enough to act on."""
        age = self._observer.view().age
        return None if age is None or age > STALE_AFTER else self._observer.snapshot

    def view_age(self) -> float | None:
        """Seconds since the newest view, however old; None if there never was one."""
        return self._observer.view().age

    def _viewed(self, snapshot: ClusterSnapshot | None) -> None:
        if self.balancer is not None:
            if snapshot is not None:
                self._following.update(self.balancer)
            self.balancer.apply_snapshot(snapshot)
        self.page.viewed()

    # ------------------------------------------------------------------- what it says

    def progress(self, progress: Progress) -> None:
        """Tells whoever started the daemon and whoever asked it to stop."""
        log.info("progress", subject=progress.subject, text=progress.text, failed=progress.failed)
        self._reporter.progress(progress)
        for follower in self._progress_followers:
            follower.offer(progress)
        for sink in self._progress_sinks:
            sink(progress)

    @contextlib.contextmanager
    def tell_also(self, sink: ProgressSink) -> Iterator[None]:
        """All progress inside the ``with``, as it is told."""
        self._progress_sinks.append(sink)
        try:
            yield
        finally:
            self._progress_sinks.remove(sink)

    @contextlib.contextmanager
    def follow_progress(self) -> Iterator[Feed[Progress]]:
        """All progress inside the ``with``; ends when everything is stopped."""
        follower: Feed[Progress] = Feed(PROGRESS_BACKLOG)
        self._progress_followers.add(follower)
        try:
            yield follower
        finally:
            self._progress_followers.discard(follower)

    def status(self, request: StatusRequest = _EVERYTHING) -> StatusAnswer:
        """What ``warrener status`` shows."""
        statistics = self.balancer.statistics() if self.balancer else None
        snapshot = self._observer.snapshot
        answer = StatusAnswer(
            phase=self.phase,
            cluster=self._name,
            version=self._version,
            pid=os.getpid(),
            state_folder=str(self.folder.path),
            uptime=self.monotonic() - self._started_at,
            nodes=report.nodes(self.cluster.nodes(), statistics, snapshot, self.cluster.version()),
            tls=[part.value for part in TlsPart if self.cluster.tls.has(part)],
            balancer=report.balancer(statistics, os.getpid()) if statistics else None,
            queues=list(snapshot.queues) if snapshot and request.queues else [],
            management=self._observer.view(),
            driver=self.cluster.capabilities.driver,
            metrics_url=self.telemetry.metrics_url,
            prometheus_url=self.telemetry.prometheus_url,
            page_url=self.page.url,
        )
        return self.weighing.told(answer)

    def url(self) -> UrlAnswer:
        """The URL through the balancer; only once the cluster has started."""
        if self.balancer is None:
            raise AssertionError("a URL was asked for before the balancer listens")
        return report.url(self.balancer.address, self.cluster.credentials(), ca=self.url_ca())

    def url_ca(self) -> str:
        """The file with which clients verify the balancer; empty: it has no TLS."""
        tls = self.cluster.tls
        return str(tls.files.ca) if tls.has(TlsPart.CLIENTS) else ""
