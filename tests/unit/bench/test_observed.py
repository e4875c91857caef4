"""Who watches while it is measured, and what comes of it. The real thing is in
tests/integration/test_bench.py."""

import http.server
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest

from warrener.bench import observed
from warrener.bench.cpu import Meter
from warrener.bench.latency import LatencyResult, LatencySpec
from warrener.bench.load import LoadResult, LoadSample, LoadSpec
from warrener.bench.stand import Stand, StandNode
from warrener.bench.wire import BenchError, Target

CORES = psutil.cpu_count() or 1


class Read(Meter):
    """A meter that has read everything already."""

    def __init__(self, used: dict[str, float]) -> None:
        super().__init__(())
        self._read = used

    def used(self, name: str, start: float, end: float) -> float | None:
        assert (start, end) == (100.0, 110.0)
        return self._read.get(name)

    def busy(self, start: float, end: float) -> float:
        return 0.5


def found(rate: float) -> observed.Found:
    return observed.Found({"": rate}, rate, 100.0, 110.0, 0.1)


def test_who_used_how_much_cpu_for_a_message() -> None:
    meter = Read({"daemon": 2.0, "n1": 5.0, "n2": 3.0, "prometheus": 0.1})
    told = observed.cpu(found(1000.0), meter, ["n1", "n2"], observed=True)
    assert told == pytest.approx(
        {
            "-daemon-cpu": 200.0,
            "-nodes-cpu": 800.0,
            "-prometheus-cpu": 10.0,
            "-machine-cpu": 500.0 * CORES,
        }
    )


def test_what_isnt_known_is_left_out() -> None:
    """A node on another machine: the sum of the others says nothing."""
    meter = Read({"daemon": 2.0, "n1": 5.0})
    told = observed.cpu(found(1000.0), meter, ["n1", "n2"], observed=False)
    assert set(told) == {"-daemon-cpu", "-machine-cpu"}


def test_nothing_that_went_through_is_no_figure() -> None:
    with pytest.raises(BenchError, match="nothing went through"):
        observed.cpu(found(0.0), Read({}), [], observed=False)


def test_a_run_tells_its_figures_and_when_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = tuple(LoadSample(at, 0.0, 0, 0) for at in (100.0, 105.0, 110.0))
    results = {
        LoadResult: LoadResult(900.0, 950.0, 900.0, 1, 0, 10.0, 0.1, samples),
        LatencyResult: LatencyResult(0.5, 1.5, 9.0, 20_000, 1000.0, 0.2),
    }
    monkeypatch.setattr(observed, "measure", lambda spec, result, timeout: results[result])
    load = observed._measure(LoadSpec((), seconds=10.0), 60.0)
    assert load == observed.Found({"": 900.0}, 900.0, 100.0, 110.0, 0.1)
    latency = observed._measure(LatencySpec((), seconds=10.0), 60.0)
    assert latency.figures == {"": 0.5, "-p99": 1.5, "-max": 9.0}
    assert (latency.rate, latency.cores) == (1000.0, 0.2)
    assert latency.end - latency.start == pytest.approx(9.0)
    assert latency.end < time.monotonic()


@dataclass
class Site:
    """A daemon's page, or a Prometheus: it answers with these lines, one every so often."""

    lines: list[bytes]
    status: int = 200
    asked: list[tuple[str, str]] = field(default_factory=list)
    every: float = 0.0
    port: int = 0


@pytest.fixture
def site() -> Iterator[Site]:
    told = Site([b"{}\n"])

    class Handler(http.server.BaseHTTPRequestHandler):
        sites: ClassVar[list[Site]] = [told]

        def do_GET(self) -> None:
            told.asked.append((self.path, self.headers.get("Authorization", "")))
            self.send_response(told.status)
            self.end_headers()
            for line in told.lines:
                self.wfile.write(line)
                self.wfile.flush()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield told
        server.shutdown()
        thread.join(10)


def second(state: Path, port: int) -> Stand:
    (state / "page").mkdir(parents=True)
    (state / "page" / "token").write_text("s3cret\n")
    return Stand(
        state,
        (StandNode("n1@localhost", "127.0.0.1", 1, 2, 100, "", ""),),
        Target("127.0.0.1", 5000, "u", "p"),
        1,
        "leastconn",
        page=f"http://127.0.0.1:{port}/" if port else "",
    )


def test_a_viewer_reads_the_map_with_the_token(site: Site, tmp_path: Path) -> None:
    site.lines = [b"{}\n"] * 5
    watch = observed._Watch(1)
    with observed._viewer(second(tmp_path, site.port), watch):
        deadline = time.monotonic() + 10
        while watch.documents < 5:
            assert time.monotonic() < deadline, watch
            time.sleep(0.01)
    assert site.asked == [("/api/live?view=map", "Bearer s3cret")]


@pytest.mark.parametrize(("port", "said"), [(0, "serves no page"), (1, "the page can't be read")])
def test_a_page_that_isnt_there_is_told(tmp_path: Path, port: int, said: str) -> None:
    stand = second(tmp_path, port)
    with pytest.raises(BenchError, match=said), observed._viewer(stand, observed._Watch(1)):
        raise AssertionError("it read something")


def test_a_page_that_refuses_is_told(site: Site, tmp_path: Path) -> None:
    site.status = 401
    stand = second(tmp_path, site.port)
    with pytest.raises(BenchError, match="status 401"), observed._viewer(stand, observed._Watch(1)):
        raise AssertionError("it read something")


class Running:
    """A process that runs, as ``subprocess`` has it."""

    returncode = 2

    def __init__(self, *, ended: bool = False) -> None:
        self._ended = ended

    def poll(self) -> int | None:
        return 2 if self._ended else None


def targets(*healths: str) -> list[bytes]:
    found = [{"health": one, "lastError": "" if one == "up" else "refused"} for one in healths]
    return [json.dumps({"data": {"activeTargets": found}}).encode()]


def test_prometheus_is_ready_once_everything_was_scraped(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.lines = targets("up", "up")
    observed._wait_scraped(Running(), site.port, 2, tmp_path / "log")  # type: ignore[arg-type]
    monkeypatch.setattr(observed, "_READY", 0.3)
    site.lines = targets("up", "down")
    with pytest.raises(BenchError, match=r"1 of 2 targets are up; refused"):
        observed._wait_scraped(Running(), site.port, 2, tmp_path / "log")  # type: ignore[arg-type]


def test_a_prometheus_that_ended_says_why(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("no such flag")
    ended = Running(ended=True)
    with pytest.raises(BenchError, match="prometheus ended with 2: no such flag"):
        observed._wait_scraped(ended, 1, 2, tmp_path / "log")  # type: ignore[arg-type]


def test_no_prometheus_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observed, "find_prometheus", lambda: None)
    with (
        pytest.raises(BenchError, match="apt-get install prometheus"),
        observed._prometheus(tmp_path, targets=1),
    ):
        raise AssertionError("there is none")


class Asked(Stand):
    """A stand whose commands have these answers."""

    scrapes = 3

    def command(self, *arguments: str, timeout: float) -> str:
        return json.dumps({"scrapes": self.scrapes})


def test_who_should_have_watched_and_did_not_is_told(tmp_path: Path) -> None:
    stand = Asked(tmp_path, (), Target("h", 1, "u", "p"), 1, "leastconn")
    watch = observed._Watch(1, documents=9)
    observed._check(stand, watch, 2, 8)
    with pytest.raises(BenchError, match="nobody scraped the daemon"):
        observed._check(stand, watch, 3, 8)
    with pytest.raises(BenchError, match="viewer of the page got nothing"):
        observed._check(stand, watch, 2, 9)
