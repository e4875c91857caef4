"""What is told to Prometheus: the daemon's endpoint, the files, and one beside the cluster.

    scraped       values of this moment -> collect -> text, made in a thread
    every 2 s     nodes that came or went -> target files, of every folder that was asked for
    every 60 s    certificates; every 300 s the steps that the description is away

None of it holds up the cluster: what fails is told by an event or in the log, and tried again.
"""

import asyncio
import contextlib
import os
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from warrener.cluster.errors import ClusterError
from warrener.control.telemetry_operations import (
    AlertLine,
    TargetLine,
    TelemetryAnswer,
    TelemetryExportAnswer,
    TelemetryExportRequest,
    TelemetryRequest,
)
from warrener.control.wire import Refusal, Refused
from warrener.daemon.control_server import Call
from warrener.daemon.errors import DaemonError
from warrener.daemon.metrics_server import MetricsServer
from warrener.daemon.plan_values import Planned
from warrener.daemon.prometheus import CannotAsk, Launcher, Prometheus, find_program
from warrener.daemon.telemetry_files import CannotExport, TelemetryFiles
from warrener.facts.happenings import Event, Progress
from warrener.facts.ids import NodeName
from warrener.telemetry import scrape
from warrener.telemetry.collect import collect
from warrener.telemetry.exposition import Exposition
from warrener.telemetry.scrape import Places, Target
from warrener.telemetry.values import Ending, NodeValues, PlanValues, Values

if TYPE_CHECKING:  # the service makes this
    from warrener.daemon.service import Service

FOLLOW: Final = 2.0
SELDOM: Final = 60.0
DRIFT_EVERY: Final = 300.0
"""Seconds. Comparing reads all definitions of the cluster."""

log = structlog.get_logger(__name__)


class Telemetry:
    """``start`` before nodes boot, ``start_prometheus`` and ``run`` once they run, ``close``."""

    def __init__(
        self, service: "Service", version: str, launch: Launcher | None, prometheus: bool | None
    ) -> None:
        self._service = service
        self._version = version
        self._settings = service.cluster.spec.telemetry
        self._files = TelemetryFiles(service.folder.path)
        self._exposition = Exposition()
        self._server: MetricsServer | None = None
        self._planned = Planned(
            service.folder.path,
            service.history.load,
            now=service.now,
            monotonic=service.monotonic,
        )
        self._launch = launch
        self._wants_prometheus = self._settings.prometheus if prometheus is None else prometheus
        self._prometheus: Prometheus | None = None
        self._written: tuple[Places, bytes] | None = None
        self._endings: tuple[Ending, ...] = ()
        self._drift: int | None = None
        self._exporting = asyncio.Lock()

    # -- life

    async def start(self) -> None:
        """Serves metrics, as far as there are any yet. ``DaemonError``: the port that was asked for
        is taken, or there is no Prometheus to be run."""
        if self._wants_prometheus and self._launch is not None:
            self._prometheus = Prometheus(
                find_program(_path()),
                self._service.folder.path,
                self._service.folder.logs,
                self._launch,
                retention=self._settings.retention,
                on_event=self._service.events.record,
                monotonic=self._service.monotonic,
            )
        try:
            self._files.prepare()
        except OSError as error:
            raise DaemonError(
                f"{error.filename or self._files.folder} can't be written: {error.strerror}"
            ) from error
        if not self._settings.enabled:
            return
        server = MetricsServer(self.text, self._files.token)
        if self._settings.port:
            await server.start([self._settings.port], must=True)
        else:
            usual = self._service.cluster.telemetry_ports[0]
            await server.start([usual] if usual else [])
        self._server = server

    async def start_prometheus(self) -> None:
        """If one is wanted. That it doesn't start is told, and no reason to fail."""
        if self._wants_prometheus and self._launch is None:
            text = (
                "isn't run before a cluster that somebody else runs: `warrener telemetry "
                "prometheus --out DIR` writes what yours needs"
            )
            self._service.progress(Progress("prometheus", text, failed=True))
        if self._prometheus is None:
            return
        self._service.progress(Progress("prometheus", "starts"))
        try:
            await self._write_own(self._prometheus)
            await self._prometheus.start(self._service.cluster.telemetry_ports[1])
        except (DaemonError, OSError) as error:
            log.error("prometheus_failed", error=str(error))
            self._service.events.record(
                Event("prometheus.not_started", detail={"error": str(error)})
            )
            self._service.progress(Progress("prometheus", str(error), failed=True))
        else:
            self._service.progress(
                Progress("prometheus", f"scrapes at {self._prometheus.url}", done=True)
            )

    async def run(self) -> None:
        """Until cancelled. A bug in here ends what it is in, and not the cluster."""
        async with asyncio.TaskGroup() as group:
            group.create_task(_told(self._follow_forever()), name="telemetry targets")
            group.create_task(_told(self._look_forever()), name="telemetry looks")
            if self._prometheus is not None:
                group.create_task(_told(self._prometheus.watch()), name="prometheus")

    async def close(self) -> None:
        """Prometheus ends, nothing is served any more."""
        await self._planned.close()
        try:
            if self._prometheus is not None:
                await self._prometheus.close()
        finally:
            if self._server is not None:
                await self._server.close()

    @property
    def metrics_url(self) -> str:
        """Empty if none are served."""
        return self._server.url if self._server is not None else ""

    @property
    def prometheus_url(self) -> str:
        """Empty if none is run here."""
        return self._prometheus.url if self._prometheus is not None else ""

    def planned(self) -> PlanValues | None:
        """What the planner says, at most half a minute old; None without calibration or load."""
        return self._planned.current()

    # -- a scrape

    async def text(self) -> bytes:
        """What Prometheus gets."""
        values = await self.values()
        return await asyncio.to_thread(lambda: self._exposition.text(collect(values)))

    async def values(self) -> Values:
        """Everything, as it is now."""
        service = self._service
        cluster, balancer = service.cluster, service.balancer
        nodes = tuple(NodeValues(node.name, node.state, node.drained) for node in cluster.nodes())
        common = Values(
            version=self._version,
            rabbitmq=cluster.version(),
            driver=cluster.capabilities.driver,
            nodes=nodes,
            journal_limit=cluster.spec.balancer.journal_total,
            snapshot=service.last_view(),
            view_age=service.view_age(),
            drift=self._drift,
            endings=self._endings,
            events=dict(service.events.counts),
            plan=self._planned.current(),
            queue_metrics=self._settings.queue_metrics,
        )
        if balancer is None:
            return common
        figures = await balancer.figures()
        return replace(common, balancer=balancer.statistics(), figures=figures)

    # -- what follows the cluster

    async def _follow_forever(self) -> None:
        while True:
            try:
                await self.follow()
            except Exception:
                log.exception("telemetry_follow_failed")
            await asyncio.sleep(FOLLOW)

    async def follow(self) -> None:
        """Writes what has changed since the last time."""
        places, authority = await self._places()
        if (places, authority) == self._written:
            return
        async with self._exporting:
            await asyncio.to_thread(self._files.follow, places, authority)
        before = self._written
        if self._prometheus is not None:
            await self._write_own(self._prometheus)
            if before is not None and _config_differs(before[0], places):
                self._prometheus.reload()
        self._written = places, authority
        if before is not None:
            self._service.events.record(
                Event("telemetry.targets", detail={"nodes": len(places.nodes)})
            )

    async def _write_own(self, prometheus: Prometheus) -> None:
        places, authority = await self._places()
        found = scrape.files(
            places,
            interval=self._settings.scrape_interval,
            after=self._settings.alert_after,
            token=self._files.token,
            authority=authority,
        )
        await asyncio.to_thread(prometheus.write, found)

    async def _places(self) -> tuple[Places, bytes]:
        service = self._service
        cluster = service.cluster
        tls = cluster.tls
        nodes = tuple(
            Target(f"{_bracketed(node.host)}:{node.prometheus_port}", node.name)
            for node in cluster.nodes()
            if node.prometheus_port and node.host
        )
        speaks = tls.scheme == "https"
        server_name, authority = "", b""
        if speaks:
            authority = await asyncio.to_thread(_read, tls.files.ca)
            if tls.settings.own and nodes:
                verify = tls.management(NodeName(nodes[0].node))
                server_name = verify.server_name if verify is not None else ""
        own = self._server.url.removeprefix("http://").partition("/")[0] if self._server else ""
        return Places(service.name, own, nodes, speaks, server_name), authority

    async def _look_forever(self) -> None:
        due = 0.0
        while True:
            self._endings = await self._ends()
            now = self._service.monotonic()
            if now >= due:
                due = now + DRIFT_EVERY
                await self._look_for_drift()
            await asyncio.sleep(SELDOM)

    async def _ends(self) -> tuple[Ending, ...]:
        tls = self._service.cluster.tls
        if not tls.settings.enabled:
            return ()
        try:
            listed = await asyncio.to_thread(tls.listed)
        except (ClusterError, OSError) as error:
            log.info("certificates_unknown", error=str(error))
            return ()
        return tuple(Ending(one.whose, one.what, one.described.ends.timestamp()) for one in listed)

    async def _look_for_drift(self) -> None:
        """Where it can't be told (a password that isn't known here, a cluster that doesn't answer),
        it isn't."""
        try:
            self._drift = await self._service.describe.drift()
        except Refused as refused:
            log.info("drift_unknown", why=refused.message)
            self._drift = None
        except Exception:
            log.exception("drift_failed")
            self._drift = None

    # -- operations

    async def show(self, request: TelemetryRequest, call: Call) -> TelemetryAnswer:
        line = self._prometheus.line() if self._prometheus is not None else None
        targets: list[TargetLine] = []
        alerts: list[AlertLine] = []
        if self._prometheus is not None and line is not None and line.state == "running":
            try:
                targets = await self._prometheus.targets()
                alerts = await self._prometheus.alerts()
            except CannotAsk as error:
                line = msgspec.structs.replace(line, problem=str(error))
        return TelemetryAnswer(
            metrics_url=self.metrics_url,
            token_file=str(self._files.token_file) if self._server is not None else "",
            scrapes=self._server.scrapes if self._server is not None else 0,
            queue_metrics=self._settings.queue_metrics,
            prometheus=line,
            targets=targets,
            alerts=alerts,
            exports=[str(folder) for folder in self._files.folders],
        )

    async def export(self, request: TelemetryExportRequest, call: Call) -> TelemetryExportAnswer:
        folder = Path(request.folder)
        if not folder.is_absolute():
            raise Refused(Refusal.BAD_ARGUMENT, f"{folder} isn't an absolute path")
        if request.scrape_interval < 0 or request.alert_after < 0:
            raise Refused(Refusal.BAD_ARGUMENT, "times can't be less than 0")
        places, authority = await self._places()
        async with self._exporting:
            try:
                written = await asyncio.to_thread(
                    lambda: self._files.export(
                        folder,
                        places,
                        interval=request.scrape_interval or self._settings.scrape_interval,
                        after=request.alert_after or self._settings.alert_after,
                        authority=authority,
                    )
                )
            except CannotExport as error:
                raise Refused(Refusal.FAILED, str(error)) from None
        self._service.events.record(Event("telemetry.exported", str(folder)))
        return TelemetryExportAnswer(
            folder=str(folder),
            files=sorted(written),
            targets={"warrener": int(bool(places.warrener)), "rabbitmq": len(places.nodes)},
        )


async def _told(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:
        log.exception("telemetry_failed")


def _config_differs(before: Places, now: Places) -> bool:
    return (before.tls, before.server_name) != (now.tls, now.server_name)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _read(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


def _path() -> str:
    return os.environ.get("PATH", "")
