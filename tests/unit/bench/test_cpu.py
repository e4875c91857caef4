"""How much CPU somebody used between two moments."""

import multiprocessing
import time
from collections.abc import Iterator

import psutil
import pytest
from aiohttp import web
from tests.unit.management.test_client import serving

from warrener.bench.cpu import Meter, NodeSource, ask, parse, used_between
from warrener.facts.ids import NodeName
from warrener.management.client import BadAnswer

N1 = NodeName("n1@here")
METRICS = b"""# TYPE erlang_vm_statistics_runtime_milliseconds counter
# HELP erlang_vm_statistics_runtime_milliseconds The sum of the runtime for all threads.
erlang_vm_statistics_runtime_milliseconds 21010
erlang_vm_statistics_runtime_milliseconds_other 1
erlang_vm_logical_processors 4
erlang_vm_logical_processors_available 2
"""


def test_what_a_node_says_of_itself() -> None:
    found = parse(METRICS, "http://n1")
    assert (found.runtime, found.cores) == (21.01, 2)


@pytest.mark.parametrize("text", [b"", b"up 1\n", METRICS.replace(b" 21010", b" many")])
def test_metrics_of_something_else_are_refused(text: bytes) -> None:
    with pytest.raises(BadAnswer, match="erlang_vm_statistics_runtime_milliseconds"):
        parse(text, "http://n1")


async def test_a_node_is_asked_at_its_metrics() -> None:
    asked = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(body=METRICS)

    async with serving(answer) as client:
        assert (await ask(NodeSource(N1, None, client.base_url))).runtime == 21.01
    assert asked == ["/metrics"]


def test_a_process_that_isnt_an_erlang_vm_is_no_node() -> None:
    """The number may be that of a process on another host, or of one that has ended since."""
    assert NodeSource(N1, psutil.Process().pid, "").process() is None
    assert NodeSource(N1, 2**22 + 1, "").process() is None
    assert NodeSource(N1, None, "").process() is None


EVENLY = [(at, 2 * at) for at in (0.0, 1.0, 2.0, 3.0, 4.0)]
"""Two cores all along."""


@pytest.mark.parametrize(
    ("start", "end", "used"),
    [
        (1.0, 3.0, 4.0),
        (0.9, 3.1, 4.4),  # by the three in between
        (1.4, 1.6, 0.4),  # nothing in between: by those around
        (1.5, 3.4, 3.8),
        (-0.5, 1.0, None),  # nobody knows what was before
        (3.5, 4.5, None),
        (0.0, 4.0, 8.0),
    ],
)
def test_what_was_used_between_two_moments(start: float, end: float, used: float | None) -> None:
    assert used_between(EVENLY, start, end) == (None if used is None else pytest.approx(used))


def test_without_readings_nothing_is_known() -> None:
    assert used_between([], 0.0, 1.0) is None
    assert used_between([(0.5, 1.0)], 0.0, 1.0) is None


def _burn() -> None:
    while True:
        pass


@pytest.fixture
def busy() -> Iterator[int]:
    """A process that uses all it gets."""
    process = multiprocessing.get_context("spawn").Process(target=_burn, daemon=True)
    process.start()
    assert process.pid is not None
    yield process.pid
    process.kill()
    process.join()


def test_a_busy_process_is_seen_to_be_busy(busy: int) -> None:
    own = psutil.Process(busy)
    with Meter([], {"burner": busy, "nobody": None, "gone": 2**22 + 1}) as meter:
        deadline = time.monotonic() + 30
        while sum(own.cpu_times()[:2]) < 0.2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        start, before = time.monotonic(), sum(own.cpu_times()[:2])
        while sum(own.cpu_times()[:2]) < before + 0.4:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        end, after = time.monotonic(), sum(own.cpu_times()[:2])
    assert meter.used("burner", start, end) == pytest.approx(after - before, rel=0.5)
    assert 0 < meter.busy(start, end) <= 1
    assert meter.used("nobody", start, end) is None
    assert meter.used("gone", start, end) is None
    assert meter.used("burner", end + 10, end + 20) is None
