"""What it costs to be observed: the same load through a Warrener that nobody watches, and through
one that is watched in every way there is.

    unobserved   [telemetry] and [history] are off: no endpoint, no samples, no viewer
    observed     a real Prometheus scrapes the daemon (every queue with metrics of its own) and the
                 nodes every 5 s and evaluates all rules; history is sampled; a viewer has the
                 page's map

Each measurement has a daemon of its own, started for it before the same nodes and gone afterwards,
so that nothing of the other side goes on meanwhile and both are as fresh. What can't be switched
off is in both: integers that count messages, the timing of a sample of confirms and handshakes.

Prometheus takes CPU as well, and the nodes for being scraped. On a machine that has them all, that
comes out of the throughput; on a real one it doesn't. So beside the rate there is who used how
much CPU for a message: the daemon alone, the nodes, Prometheus, the whole machine. Most of it is
spent by the second and not by the message, so it is seen best at a low and steady rate (latency).
"""

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psutil

from warrener.bench.cpu import Meter, NodeSource
from warrener.bench.haproxy import free_ports
from warrener.bench.job import measure
from warrener.bench.latency import LatencyResult, LatencySpec
from warrener.bench.load import LoadResult, LoadSpec
from warrener.bench.stand import Stand, second_balancer
from warrener.bench.wire import BenchError, Target
from warrener.control.page import TOKEN_FILE, page_folder
from warrener.facts.ids import NodeName

INTERVAL: Final = 5
"""Seconds between two scrapes: three times as often as it is by default."""

LEAST: Final = 10.0
"""Seconds of a window at least: two scrapes, a sample of the history, ten readings of the page."""

CPU_UNIT: Final = "us/message"
"""Of CPU, for each message that came in and went out."""

_OFF: Final = "[telemetry]\nenabled = false\n\n[history]\nenabled = false\n"
_ON: Final = "[telemetry]\nqueue_metrics = 5000\n"
_READY: Final = 40.0  # s until everything was scraped once; the first time is within an interval
_ASK: Final = 5.0  # s for an answer of loopback
_MARGIN: Final = 0.5  # s at either end of a window whose moments aren't known
_STOP: Final = 10.0  # s; Prometheus writes what it has in memory
_DAEMON: Final = "daemon"
_PROMETHEUS: Final = "prometheus"


def find_prometheus() -> str | None:
    """The path of the program, if it is installed."""
    return shutil.which(_PROMETHEUS)


def measure_observed(
    stand: Stand,
    spec_through: Callable[[Target], LoadSpec | LatencySpec],
    *,
    everything: bool,
    timeout: float,
) -> tuple[dict[str, float], float]:
    """One measurement; ``everything``: observed. Gives (end of the figure's name -> value) and what
    the generator used of the cores. BenchError, also if nobody watched who should have."""
    with contextlib.ExitStack() as stack:
        second = stack.enter_context(second_balancer(stand, _ON if everything else _OFF))
        watch = stack.enter_context(_watched(second)) if everything else None
        sources = [NodeSource(NodeName(node.name), node.pid, "") for node in stand.nodes]
        others = {_DAEMON: second.balancer_pid, _PROMETHEUS: watch.pid if watch else None}
        meter = stack.enter_context(Meter(sources, others))
        before = _scrapes(second), watch.documents if watch else 0
        found = _measure(spec_through(second.balancer), timeout)
        if watch is not None:
            _check(second, watch, *before)
        names = [str(source.name) for source in sources]
        return found.figures | cpu(found, meter, names, observed=watch is not None), found.cores


@dataclass(frozen=True, slots=True)
class Found:
    """What one run gave: ``rate`` in messages/s from ``start`` to ``end`` (s of the monotonic
    clock), ``cores`` of the generator."""

    figures: dict[str, float]
    rate: float
    start: float
    end: float
    cores: float


def _measure(spec: LoadSpec | LatencySpec, timeout: float) -> Found:
    if isinstance(spec, LoadSpec):
        load = measure(spec, LoadResult, timeout=timeout)
        start, end = load.samples[0].at, load.samples[-1].at
        return Found({"": load.rate}, load.rate, start, end, load.cpu)
    latency = measure(spec, LatencyResult, timeout=timeout)
    # It goes on evenly until it is told, some hundredths of a second after its last message.
    end = time.monotonic() - _MARGIN
    told = {"": latency.p50, "-p99": latency.p99, "-max": latency.max}
    return Found(told, latency.rate, end - spec.seconds + 2 * _MARGIN, end, latency.cpu)


def cpu(found: Found, meter: Meter, nodes: Sequence[str], *, observed: bool) -> dict[str, float]:
    """Microseconds of CPU for each message; what isn't known (a node on another machine) is left
    out."""
    start, end = found.start, found.end
    messages = found.rate * (end - start)
    if messages <= 0:
        raise BenchError("nothing went through")
    parts = {
        "-daemon-cpu": meter.used(_DAEMON, start, end),
        "-nodes-cpu": _sum([meter.used(node, start, end) for node in nodes]),
        "-prometheus-cpu": meter.used(_PROMETHEUS, start, end) if observed else None,
        "-machine-cpu": meter.busy(start, end) * (end - start) * (psutil.cpu_count() or 1),
    }
    return {name: 1e6 * used / messages for name, used in parts.items() if used is not None}


def _sum(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if parts and len(known) == len(parts) else None


# -- who watches


@dataclass(slots=True)
class _Watch:
    """``pid`` of Prometheus; how many documents the viewer of the page has got."""

    pid: int
    documents: int = 0


@contextlib.contextmanager
def _watched(second: Stand) -> Iterator[_Watch]:
    """A Prometheus that has scraped everything once, and a viewer that has got its first document,
    until the block ends."""
    folder = second.state.parent / "monitoring"
    interval = f"{INTERVAL}s"
    words = ("telemetry", "prometheus", "--out", str(folder), "--interval", interval)
    second.command(*words, timeout=_READY)
    with _prometheus(folder, targets=1 + len(second.nodes)) as pid:
        watch = _Watch(pid)
        with _viewer(second, watch):
            yield watch


@contextlib.contextmanager
def _prometheus(folder: Path, *, targets: int) -> Iterator[int]:
    program = find_prometheus()
    if program is None:
        raise BenchError(
            "prometheus is not installed: apt-get install prometheus, or choose --paths without "
            "warrener-observed"
        )
    (port,) = free_ports(1)
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                program,
                "--config.file=prometheus.yml",
                "--storage.tsdb.path=data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches us, who stop it in order
        )
    try:
        _wait_scraped(process, port, targets, log)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_scraped(process: "subprocess.Popen[bytes]", port: int, targets: int, log: Path) -> None:
    url = f"http://127.0.0.1:{port}/api/v1/targets?state=active"
    deadline = time.monotonic() + _READY
    seen = "nothing is scraped yet"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            words = log.read_text(errors="replace").strip()[-300:]
            raise BenchError(f"prometheus ended with {process.returncode}: {words}")
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            with urllib.request.urlopen(url, timeout=_ASK) as answer:
                found = json.load(answer)["data"]["activeTargets"]
            up = [one for one in found if one["health"] == "up"]
            if len(up) >= targets and len(up) == len(found):
                return
            seen = f"{len(up)} of {targets} targets are up"
            seen += "".join(f"; {one['lastError']}" for one in found if one.get("lastError"))
        time.sleep(0.1)
    raise BenchError(f"prometheus hasn't scraped everything within {_READY:.0f} s: {seen}")


@contextlib.contextmanager
def _viewer(second: Stand, watch: _Watch) -> Iterator[None]:
    """Reads what the page's map is sent, and throws it away: what a browser does with it is the
    business of whoever sits before it."""
    address = urlsplit(second.page)
    if not address.hostname or not address.port:
        raise BenchError("the daemon serves no page")
    token = (page_folder(second.state) / TOKEN_FILE).read_text().strip()
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=_ASK)
    try:
        connection.connect()
        wire = connection.sock  # the connection forgets it where the other side ends with an answer
        connection.request(
            "GET", "/api/live?view=map", headers={"Authorization": f"Bearer {token}"}
        )
        answer = connection.getresponse()
        if answer.status != 200:
            raise BenchError(f"the page answers with status {answer.status}")
        answer.readline()
        watch.documents = 1
        thread = threading.Thread(
            target=_read, args=(answer, watch), name="viewer of the page", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)
            thread.join(_ASK)
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"the page can't be read: {error}") from None
    finally:
        connection.close()


def _read(answer: http.client.HTTPResponse, watch: _Watch) -> None:
    with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
        while answer.readline():
            watch.documents += 1


def _scrapes(second: Stand) -> int:
    """How often the daemon was scraped so far."""
    told: dict[str, Any] = json.loads(
        second.command("telemetry", "status", "--json", timeout=_READY)
    )
    return int(told["scrapes"])


def _check(second: Stand, watch: _Watch, scrapes: int, documents: int) -> None:
    """Whether it was watched while it was measured. BenchError."""
    if _scrapes(second) <= scrapes:
        raise BenchError("nobody scraped the daemon while it was measured")
    if watch.documents <= documents:
        raise BenchError("the viewer of the page got nothing while it was measured")
    second.command("history", "--window", "1m", "--json", timeout=_READY)  # refused without samples
