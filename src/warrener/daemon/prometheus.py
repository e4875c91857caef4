"""A real Prometheus beside the cluster: started, watched, started again when it dies, asked.

It listens on loopback, on a port of the cluster's, and keeps its data in ``prometheus/`` of the
state folder. It is a child like the nodes, marked as the cluster's, so that one that a killed
daemon left is found and ended. The cluster doesn't depend on it: whatever becomes of it is told by
an event.
"""

import asyncio
import contextlib
import shutil
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import structlog

from warrener.balancer.haproxy.process import Process
from warrener.control.telemetry_operations import AlertLine, PrometheusLine, TargetLine
from warrener.daemon.errors import DaemonError
from warrener.daemon.telemetry_files import write_all
from warrener.dashboard.loopback import LOOPBACK
from warrener.facts.happenings import Event, EventSink
from warrener.telemetry.rules import duration
from warrener.telemetry.scrape import CONFIG

PART: Final = "prometheus"
"""What its process is marked as, and its folder and its log are called."""

START_TIMEOUT: Final = 20.0
"""Seconds until it says that it is ready: one, if it has no data to read."""

STOP_TIMEOUT: Final = 8.0
"""Seconds after SIGTERM; it writes what it has in memory."""

ASK_TIMEOUT: Final = 3.0
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
"""Seconds between its end and its next start, doubled from one time to the next."""

STEADY: Final = 60.0
"""Seconds of life after which the pause is the first one again."""

MOST_DATA: Final = "2GB"
"""On disk; what is older goes, even if it isn't as old as ``retention``."""

_LOOK: Final = 0.05

log = structlog.get_logger(__name__)


Launcher = Callable[[str, Sequence[str], Path, Path], Process]
"""Starts a process: the part that it is, arguments, its folder, who takes its output."""


class _Target(msgspec.Struct):
    labels: dict[str, str] = {}
    scrapePool: str = ""  # Prometheus' name
    scrapeUrl: str = ""
    health: str = "unknown"
    lastError: str = ""
    lastScrapeDuration: float = 0.0


class _Targets(msgspec.Struct):
    activeTargets: list[_Target] = []


class _Alert(msgspec.Struct):
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    state: str = ""
    activeAt: str = ""


class _Alerts(msgspec.Struct):
    alerts: list[_Alert] = []


class _TargetsAnswer(msgspec.Struct):
    data: _Targets


class _AlertsAnswer(msgspec.Struct):
    data: _Alerts


class _BuildInfo(msgspec.Struct):
    version: str = ""


class _BuildAnswer(msgspec.Struct):
    data: _BuildInfo


class CannotAsk(Exception):
    """Why it didn't answer."""


def find_program(path: str) -> str:
    """Where it is; ``DaemonError`` if it isn't installed."""
    found = shutil.which("prometheus", path=path)
    if found is None:
        raise DaemonError(
            "there is no `prometheus` on the PATH. Install it (Debian: apt-get install "
            "prometheus), or start without: `warrener up --no-prometheus`, or prometheus = false "
            "under [telemetry] in warrener.toml"
        )
    return found


class Prometheus:
    """``start`` it, ``watch`` it until cancelled, ``close`` it."""

    def __init__(
        self,
        program: str,
        state: Path,
        logs: Path,
        launcher: Launcher,
        *,
        retention: float,
        on_event: EventSink,
        monotonic: Callable[[], float],
    ) -> None:
        self.folder = state / PART
        self._program = program
        self._log = logs / f"{PART}.log"
        self._launcher = launcher
        self._retention = retention
        self._on_event = on_event
        self._monotonic = monotonic
        self._process: Process | None = None
        self._ready = False
        self._port = 0
        self._problem = ""
        self._version = ""
        self._starts = 0

    @property
    def url(self) -> str:
        """Where it is, or will be; empty before its first start."""
        return f"http://{LOOPBACK}:{self._port}" if self._port else ""

    def write(self, files: Mapping[str, bytes]) -> None:
        """Its configuration, rules and targets; it finds new targets by itself. OSError."""
        write_all(self.folder, files)

    def reload(self) -> None:
        """Its configuration has changed."""
        if self._process is not None and self._ready:
            self._process.send(signal.SIGHUP)

    async def start(self, port: int) -> None:
        """On ``port`` if that is free, else on any; waits until it is ready. ``DaemonError``;
        nothing is left running then."""
        self._port = _free(self._port or port)
        arguments = (
            self._program,
            f"--config.file={CONFIG}",
            "--storage.tsdb.path=data",
            f"--storage.tsdb.retention.time={duration(self._retention)}",
            f"--storage.tsdb.retention.size={MOST_DATA}",
            f"--web.listen-address={LOOPBACK}:{self._port}",
        )
        try:
            with contextlib.suppress(FileNotFoundError):  # what the one before said is kept
                self._log.replace(self._log.with_name(self._log.name + ".1"))
            process = self._launcher(PART, arguments, self.folder, self._log)
        except OSError as error:
            raise self._failed(f"{self._program} can't be run: {error.strerror}") from error
        self._process = process
        self._starts += 1
        try:
            await self._until_ready(process)
        except BaseException:
            await self._end()
            raise
        self._ready, self._problem = True, ""
        with contextlib.suppress(CannotAsk):
            self._version = (await self._ask("/api/v1/status/buildinfo", _BuildAnswer)).data.version
        self._on_event(Event("prometheus.started", detail={"port": self._port}))

    async def watch(self) -> None:
        """Starts it again whenever it has ended."""
        pause = FIRST_PAUSE
        told = ""
        while True:
            if self._process is not None:
                began = self._monotonic()
                await self._process.exited.wait()
                self._ready = False
                self._problem = f"it ended with exit status {self._process.returncode}"
                self._on_event(
                    Event("prometheus.exited", detail={"status": self._process.returncode or 0})
                )
                self._process = None
                if self._monotonic() - began >= STEADY:
                    pause = FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            try:
                await self.start(self._port)
            except DaemonError as error:
                if str(error) != told:  # the same again and again is told once
                    told = str(error)
                    self._on_event(Event("prometheus.not_started", detail={"error": told}))
            else:
                told = ""

    async def close(self) -> None:
        """Ends it; its data stays."""
        await self._end()

    def line(self) -> PrometheusLine:
        """How it is."""
        running = self._process is not None
        return PrometheusLine(
            url=self.url,
            state="running" if self._ready else "starting" if running else "down",
            pid=self._process.pid if self._process is not None else None,
            version=self._version,
            starts=self._starts,
            problem=self._problem,
        )

    async def targets(self) -> list[TargetLine]:
        """What it scrapes. CannotAsk."""
        found = await self._ask("/api/v1/targets?state=active", _TargetsAnswer)
        return sorted(
            (
                TargetLine(
                    job=one.scrapePool,
                    node=one.labels.get("node", ""),
                    url=one.scrapeUrl,
                    health=one.health,
                    error=one.lastError,
                    took=one.lastScrapeDuration,
                )
                for one in found.data.activeTargets
            ),
            key=lambda line: (line.job != "warrener", line.node),
        )

    async def alerts(self) -> list[AlertLine]:
        """Those that fire or are about to. CannotAsk."""
        found = await self._ask("/api/v1/alerts", _AlertsAnswer)
        named = ("alertname", "severity")
        lines = [
            AlertLine(
                name=one.labels.get("alertname", ""),
                severity=one.labels.get("severity", ""),
                state=one.state,
                summary=one.annotations.get("summary", ""),
                labels={key: value for key, value in one.labels.items() if key not in named},
                since=one.activeAt,
            )
            for one in found.data.alerts
        ]
        return sorted(lines, key=lambda line: (line.state != "firing", line.name))

    # -- inside

    async def _ask(self, path: str, kind: type[Any]) -> Any:
        try:
            async with (
                asyncio.timeout(ASK_TIMEOUT),
                aiohttp.ClientSession(trust_env=False) as session,
                session.get(f"{self.url}{path}", allow_redirects=False) as response,
            ):
                if response.status != 200:
                    raise CannotAsk(f"HTTP status {response.status}")
                return msgspec.json.decode(await response.read(), type=kind)
        except TimeoutError:
            raise CannotAsk(f"no answer within {ASK_TIMEOUT:g} s") from None
        except (aiohttp.ClientError, OSError, msgspec.DecodeError) as error:
            raise CannotAsk(str(error) or type(error).__name__) from None

    async def _until_ready(self, process: Process) -> None:
        deadline = self._monotonic() + START_TIMEOUT
        while True:
            if process.exited.is_set():
                raise self._failed(f"it ended with exit status {process.returncode}")
            if await self._is_ready():
                return
            if self._monotonic() > deadline:
                raise self._failed(f"it isn't ready after {START_TIMEOUT:g} s")
            await asyncio.sleep(_LOOK)

    async def _is_ready(self) -> bool:
        try:
            async with (
                asyncio.timeout(1.0),
                aiohttp.ClientSession(trust_env=False) as session,
                session.get(f"{self.url}/-/ready") as response,
            ):
                return response.status == 200
        except (TimeoutError, aiohttp.ClientError, OSError):
            return False

    def _failed(self, why: str) -> DaemonError:
        said = self._last_words()
        self._problem = f"{why}{f': {said}' if said else ''}"
        return DaemonError(f"Prometheus didn't start: {self._problem}; its log is {self._log}")

    def _last_words(self) -> str:
        try:
            lines = self._log.read_text(errors="replace").strip().splitlines()
        except OSError:
            return ""
        telling = [line for line in lines if "level=error" in line] or lines
        return telling[-1][-400:] if telling else ""

    async def _end(self) -> None:
        process, self._process = self._process, None
        self._ready = False
        if process is not None:
            process.send(signal.SIGTERM)
            if not await process.wait(STOP_TIMEOUT):
                process.send(signal.SIGKILL)
                await process.wait(STOP_TIMEOUT)


def _free(port: int) -> int:
    """``port``, or any other if somebody has it."""
    for wanted in (port, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, wanted))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DaemonError("no port on loopback is free")
