"""A Prometheus beside the cluster: its life, with a process and a server that are stand-ins.

That the real one does what is relied on here, ``tests/integration/test_telemetry.py`` shows.
"""

import asyncio
import json
import signal
import socket
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from warrener.daemon import prometheus as module
from warrener.daemon.errors import DaemonError
from warrener.daemon.prometheus import CannotAsk, Prometheus, find_program
from warrener.facts.happenings import Event


class FakeProcess:
    """Serves on the port that it is told to, as Prometheus does, unless it is to fail."""

    def __init__(self, pid: int, port: int, answers: dict[str, Any], ends: bool) -> None:
        self.pid = pid
        self.port = port
        self.exited = asyncio.Event()
        self.returncode: int | None = None
        self.signals: list[signal.Signals] = []
        self.deaf = False
        self._answers = answers
        self._runner: web.AppRunner | None = None
        if ends:
            self.die(1)
        else:
            self._serving = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def _answer(self, request: web.Request) -> web.Response:
        if request.path == "/-/ready":
            return web.Response(text="ready")
        found = self._answers.get(request.path)
        if found is None:
            return web.Response(status=404)
        return web.Response(text=found if isinstance(found, str) else json.dumps(found))

    def die(self, status: int) -> None:
        self.returncode = status
        self.exited.set()

    def send(self, number: signal.Signals) -> None:
        self.signals.append(number)
        if number is signal.SIGKILL or (number is signal.SIGTERM and not self.deaf):
            self.die(-number)

    async def wait(self, timeout: float) -> bool:
        try:
            await asyncio.wait_for(self.exited.wait(), timeout)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()


class Scene:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[FakeProcess] = []
        self.arguments: list[Sequence[str]] = []
        self.events: list[Event] = []
        self.now = 0.0
        self.answers: dict[str, Any] = {
            "/api/v1/status/buildinfo": {"data": {"version": "2.42.0"}},
        }
        self.fails = False
        self.prometheus = Prometheus(
            "/bin/prometheus",
            folder,
            folder,
            self.launch,
            retention=86_400.0,
            on_event=self.events.append,
            monotonic=lambda: self.now,
        )

    def launch(
        self, part: str, arguments: Sequence[str], folder: Path, output: Path
    ) -> FakeProcess:
        self.arguments.append(arguments)
        output.write_text('level=info msg="hello"\nlevel=error err="bad rules"\nbye\n')
        (address,) = (a for a in arguments if a.startswith("--web.listen-address="))
        port = int(address.rpartition(":")[2])
        process = FakeProcess(100 + len(self.processes), port, self.answers, self.fails)
        self.processes.append(process)
        return process

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


@asynccontextmanager
async def scene_in(folder: Path) -> AsyncIterator[Scene]:
    scene = Scene(folder)
    try:
        yield scene
    finally:
        await scene.prometheus.close()
        for process in scene.processes:
            await process.close()


async def until(condition: Callable[[], bool]) -> None:
    """Nothing there sets an event."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_it_starts_on_loopback_with_data_of_its_own(tmp_path: Path) -> None:
    async with scene_in(tmp_path) as scene:
        scene.prometheus.write({"prometheus.yml": b"a", "token": b"secret"})
        await scene.prometheus.start(0)
        line = scene.prometheus.line()
        assert (line.state, line.pid, line.version, line.starts) == ("running", 100, "2.42.0", 1)
        assert line.url.startswith("http://127.0.0.1:")
        (arguments,) = scene.arguments
        assert "--storage.tsdb.path=data" in arguments
        assert "--storage.tsdb.retention.time=1d" in arguments
        assert not any("secret" in one for one in arguments)
        assert stat.S_IMODE(scene.prometheus.folder.stat().st_mode) == 0o700
        assert scene.kinds == ["prometheus.started"]


async def test_a_port_that_is_taken_is_left_and_one_that_it_had_is_kept(tmp_path: Path) -> None:
    async with scene_in(tmp_path) as scene:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            await scene.prometheus.start(port)
        first = scene.prometheus.url
        assert first != f"http://127.0.0.1:{port}"
        await scene.prometheus.close()
        await scene.processes[0].close()
        await scene.prometheus.start(port)
        assert scene.prometheus.url == first


async def test_one_that_ends_at_once_says_why(tmp_path: Path) -> None:
    async with scene_in(tmp_path) as scene:
        scene.fails = True
        with pytest.raises(DaemonError, match=r"exit status 1.*bad rules.*prometheus\.log"):
            await scene.prometheus.start(0)
        line = scene.prometheus.line()
        assert (line.state, line.pid) == ("down", None)
        assert "bad rules" in line.problem


async def test_one_that_dies_is_started_again_and_pauses_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def paused(seconds: float) -> None:
        if seconds >= module.FIRST_PAUSE:
            pauses.append(seconds)
            seconds = 0
        await sleep(seconds)

    async with scene_in(tmp_path) as scene:
        await scene.prometheus.start(0)
        monkeypatch.setattr(module.asyncio, "sleep", paused)
        watching = asyncio.create_task(scene.prometheus.watch())
        await sleep(0)
        for number in range(3):
            scene.fails = number == 1  # the second time it doesn't come up at first
            await scene.processes[-1].close()
            scene.processes[-1].die(-9)
            count = len(scene.processes)
            await until(lambda count=count: len(scene.processes) > count)
            scene.fails = False
            await until(lambda: scene.prometheus.line().state == "running")
        watching.cancel()
    assert pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert scene.kinds.count("prometheus.exited") == 3
    assert "prometheus.not_started" in scene.kinds


async def test_one_that_never_starts_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.01)
    async with scene_in(tmp_path) as scene:
        scene.fails = True
        watching = asyncio.create_task(scene.prometheus.watch())
        await until(lambda: len(scene.processes) >= 4)
        watching.cancel()
    assert scene.kinds == ["prometheus.not_started"]


async def test_closing_asks_first_and_then_forces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_TIMEOUT", 0.05)
    async with scene_in(tmp_path) as scene:
        await scene.prometheus.start(0)
        scene.processes[0].deaf = True
        await scene.prometheus.close()
        assert scene.processes[0].signals == [signal.SIGTERM, signal.SIGKILL]
        assert scene.prometheus.line().state == "down"


async def test_a_change_of_configuration_is_told_by_a_signal(tmp_path: Path) -> None:
    async with scene_in(tmp_path) as scene:
        scene.prometheus.reload()  # nobody is there
        await scene.prometheus.start(0)
        scene.prometheus.reload()
        assert scene.processes[0].signals == [signal.SIGHUP]


async def test_targets_and_alerts_are_as_it_tells_them(tmp_path: Path) -> None:
    async with scene_in(tmp_path) as scene:
        scene.answers["/api/v1/targets"] = {
            "data": {
                "activeTargets": [
                    {
                        "scrapePool": "rabbitmq", "scrapeUrl": "http://h:2/metrics",
                        "labels": {"node": "n1"}, "health": "down", "lastError": "refused",
                        "lastScrapeDuration": 0.25, "discoveredLabels": {},
                    },
                    {"scrapePool": "warrener", "scrapeUrl": "http://h:1/metrics", "health": "up"},
                ]
            }
        }  # fmt: skip
        scene.answers["/api/v1/alerts"] = {
            "data": {
                "alerts": [
                    {"labels": {"alertname": "A", "severity": "info"}, "state": "pending"},
                    {
                        "labels": {"alertname": "B", "severity": "critical", "node": "n1"},
                        "annotations": {"summary": "n1 is gone"},
                        "state": "firing",
                        "activeAt": "2026-01-01T00:00:00Z",
                    },
                ]
            }
        }
        await scene.prometheus.start(0)
        first, second = await scene.prometheus.targets()
        assert (first.job, first.health) == ("warrener", "up")
        assert (second.node, second.error, second.took) == ("n1", "refused", 0.25)
        firing, pending = await scene.prometheus.alerts()
        assert (firing.name, firing.labels, firing.summary) == ("B", {"node": "n1"}, "n1 is gone")
        assert pending.state == "pending"


async def test_answers_that_make_no_sense_are_no_bug_of_ours(tmp_path: Path) -> None:
    async with scene_in(tmp_path) as scene:
        await scene.prometheus.start(0)
        with pytest.raises(CannotAsk, match="404"):
            await scene.prometheus.alerts()
        scene.answers["/api/v1/alerts"] = "<html>"
        with pytest.raises(CannotAsk):
            await scene.prometheus.alerts()
        await scene.processes[0].close()
        with pytest.raises(CannotAsk):
            await scene.prometheus.targets()


def test_one_that_is_not_installed_is_told_with_what_to_do() -> None:
    with pytest.raises(DaemonError, match=r"apt-get install prometheus.*--no-prometheus"):
        find_program("/nowhere")
