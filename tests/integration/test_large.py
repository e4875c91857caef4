"""5,000 queues: declared by `apply`, then what people ask every day stays quick, and what it takes
to answer doesn't hold up the sessions that the same process serves.

The bounds are wide, as the machine may be busy; `make bench-large` prints the figures, of 5,000
queues with a thousand quorum queues among them (docs/benchmarks.md). By default there are 5,000 of
which 100 are quorum queues: RabbitMQ takes a tenth of a second for one.
"""

import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.warren import Warren, running, warrener

from warrener.control.client import Client
from warrener.control.operations import URL, UrlRequest
from warrener.control.state_folder import StateFolder

pytestmark = pytest.mark.timeout(1200)

QUEUES = int(os.environ.get("WARRENER_LARGE_QUEUES", "5000"))
QUORUM = int(os.environ.get("WARRENER_LARGE_QUORUM", "100"))
ROUNDS = int(os.environ.get("WARRENER_LARGE_ROUNDS", "2"))
BOUND = float(os.environ.get("WARRENER_LARGE_BOUND", "10"))
"""Seconds for each command."""


def kind(number: int) -> str:
    return "quorum" if number % (QUEUES // QUORUM) == 0 else "classic"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("description") / "large.toml"
    queues = [
        f'[[queue]]\nname = "orders-{number:05}"\ntype = "{kind(number)}"\n'
        for number in range(QUEUES)
    ]
    path.write_text("[cluster]\nnodes = 3\n" + "".join(queues))
    return path


@pytest.fixture(scope="module")
def warren(tmp_path_factory: pytest.TempPathFactory, file: Path) -> Iterator[Warren]:
    with running(tmp_path_factory.mktemp("large")) as made:
        began = time.monotonic()
        done = warrener(
            "--state", made.state, "apply", "--yes", "-f", file, "--json",
            cwd=made.state.parent, timeout=900,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        seconds = time.monotonic() - began
        answer = json.loads(done.stdout)
        print(f"\n{QUEUES} queues, {QUORUM} of them quorum queues, applied in {seconds:.1f} s")
        assert len(answer["done"]) >= QUEUES
        assert "queues: are declared (" in done.stderr
        assert len(done.stderr.splitlines()) < QUEUES + 2000  # the plan, and a few counts
        yield made


class Lag:
    """How long the daemon's event loop keeps a question waiting that it answers from memory, asked
    every 5 ms while a block lasts: what any session would wait."""

    def __init__(self, warren: Warren) -> None:
        self._folder = StateFolder(warren.state)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.seconds: list[float] = []

    def _ask(self) -> None:
        while not self._stop.wait(0.005):
            with Client.connect(self._folder) as client:
                began = time.monotonic()
                client.call(URL, UrlRequest())
                self.seconds.append(time.monotonic() - began)

    def __enter__(self) -> "Lag":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def told(self) -> str:
        ordered = sorted(self.seconds)
        at = [ordered[int(len(ordered) * share)] for share in (0.5, 0.99)]
        shown = [f"{1000 * one:.1f}" for one in (*at, ordered[-1])]
        return f"median {shown[0]} ms, 99 % {shown[1]} ms, longest {shown[2]} ms"


def timed(warren: Warren, what: str, ask: Callable[[], object]) -> float:
    taken = []
    with Lag(warren) as lag:
        for _ in range(ROUNDS):
            began = time.monotonic()
            ask()
            taken.append(time.monotonic() - began)
    median = statistics.median(taken)
    load = os.getloadavg()[0]
    print(
        f"{what}: {median:.2f} s ({min(taken):.2f} to {max(taken):.2f}, {ROUNDS} times; load "
        f"average {load:.1f}); the event loop meanwhile: {lag.told()}"
    )
    return median


def test_nothing_at_all(warren: Warren) -> None:
    """What the rest is to be compared with: looks at the cluster go on all the time."""
    timed(warren, "nothing", lambda: time.sleep(5))


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("status", "--json"),
        ("diff",),
        ("leaders", "show"),
        ("leaders", "balance", "--dry-run", "--sample", "1"),
    ],
    ids=" ".join,
)
def test_answers_in_time(warren: Warren, file: Path, words: tuple[str, ...]) -> None:
    options = ("-f", str(file)) if words[0] == "diff" else ()
    seen = []
    median = timed(warren, " ".join(words), lambda: seen.append(warren.ok(*words, *options)))
    assert median < BOUND
    if words == ("diff",):
        assert set(seen) == {"Nothing to do: the cluster is as the file says.\n"}
    if words == ("status", "--json"):
        assert all(len(json.loads(text)["queues"]) >= QUEUES for text in seen)
