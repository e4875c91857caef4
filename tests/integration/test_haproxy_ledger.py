"""Behind HAProxy clients lose connections and confirmed messages all the same not: the books of
clients that connect again by themselves, while nodes die, freeze, restart and are drained.

By default a node is killed once, behind HAProxy. ``WARRENER_LEDGER_COMPARE=3`` does every failure
three times behind each data plane, in turn, and prints the figures (``pytest -rP``) that
docs/guarantees.md shows: medians and ranges of disconnects, longest gaps and duplicates.
"""

import os
import random
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.integration.ledger_set import reconnecting_load
from tests.integration.support import eventually
from tests.integration.warren import Warren, running

from warrener.drills.workload import NotInTime, Workload
from warrener.facts.data_plane import DataPlane

ROUNDS = int(os.environ.get("WARRENER_LEDGER_COMPARE", "0"))
SEED = 1
FROZEN = 20.0
CALM = 3.0

pytestmark = pytest.mark.timeout(3600)


@dataclass(frozen=True)
class Figures:
    """Of one failure. ``publishers`` and ``consumers``: disconnects of theirs."""

    publishers: int
    consumers: int
    gap: float  # s
    gap_pika: float
    gap_robust: float
    redelivered: int
    replayed: int
    republished: int
    lost: int


@pytest.fixture(scope="module")
def planes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[DataPlane], Warren]]:
    """One cluster at a time: the one before is stopped."""
    with ExitStack() as stack:
        now: dict[DataPlane, Warren] = {}

        def get(plane: DataPlane) -> Warren:
            if plane not in now:
                stack.close()
                now.clear()
                folder = tmp_path_factory.mktemp(f"ledger-{plane}")
                now[plane] = stack.enter_context(running(folder, "--data-plane", plane))
            wait_all_fit(now[plane])
            return now[plane]

        yield get


def nodes_of(warren: Warren) -> list[dict[str, Any]]:
    rows = warren.status()["nodes"]
    assert isinstance(rows, list)
    return rows


def wait_all_fit(warren: Warren) -> None:
    eventually(
        "all nodes are fit",
        lambda: all(row["fit"] and row["running"] for row in nodes_of(warren)),
        90,
        every=0.3,
    )


def beam(node: dict[str, Any]) -> int:
    process = psutil.Process(node["pid"])
    return next(p.pid for p in (process, *process.children(recursive=True)) if "beam" in p.name())


# -- what is broken; each ends with every node as it was


def kill(warren: Warren, load: Workload, node: dict[str, Any]) -> None:
    os.kill(beam(node), signal.SIGKILL)
    load.wait_flowing(120)
    load.run_for(CALM)
    warren.ok("node", "restart", node["name"])


def freeze(warren: Warren, load: Workload, node: dict[str, Any]) -> None:
    pid = beam(node)
    os.kill(pid, signal.SIGSTOP)
    try:
        load.run_for(FROZEN)
    finally:
        os.kill(pid, signal.SIGCONT)


def restart(warren: Warren, load: Workload, node: dict[str, Any]) -> None:
    warren.ok("node", "restart", node["name"])


def rolling(warren: Warren, load: Workload, _: dict[str, Any]) -> None:
    for node in nodes_of(warren):
        warren.ok("node", "restart", node["name"], "--drain")
        wait_all_fit(warren)


FAILURES = {"SIGKILL": kill, "SIGSTOP 20 s": freeze, "restart": restart, "rolling": rolling}


def measure(warren: Warren, folder: Path, failure: str, number: int) -> Figures:
    """One failure under load, and what the books say of it. Nothing confirmed may be lost."""
    victim = random.Random(f"{SEED} {failure} {number}").choice(nodes_of(warren))
    with reconnecting_load(warren, folder) as load:
        load.wait_flowing(60)
        load.run_for(CALM)
        assert not load.ledger.troubles
        assert not load.verdict().disconnects
        began = time.monotonic()
        with load.fault(f"{failure} {victim['name']}"):
            FAILURES[failure](warren, load, victim)
            load.wait_flowing(120)
            wait_all_fit(warren)
        load.run_for(CALM)
        load.stop_publishers()
        load.wait_drained()
        load.stop_consumers()
        verdict = load.verdict()
        gaps = load.ledger.gaps(began)
    print(f"{failure} {victim['name']}: {verdict.summary()}")
    objections = verdict.objections(duplicates=True)
    assert not objections, "\n".join([verdict.summary(), *objections[:25]])
    return Figures(
        publishers=sum("publisher-" in one.client for one in verdict.disconnects),
        consumers=sum("consumer-" in one.client for one in verdict.disconnects),
        gap=gaps[0].seconds,
        gap_pika=max(gap.seconds for gap in gaps if "pika-publisher" in gap.client),
        gap_robust=max(gap.seconds for gap in gaps if "robust-publisher" in gap.client),
        redelivered=verdict.duplicates.redelivered,
        replayed=verdict.duplicates.replayed,
        republished=verdict.republished,
        lost=len(verdict.lost),
    )


def test_nothing_confirmed_is_lost_behind_haproxy(
    planes: Callable[[DataPlane], Warren], tmp_path: Path
) -> None:
    found = measure(planes(DataPlane.HAPROXY), tmp_path, "SIGKILL", 1)
    print(found)
    assert found.lost == 0
    assert found.publishers + found.consumers >= 2  # a third of twelve, give or take


@pytest.mark.skipif(not ROUNDS, reason="WARRENER_LEDGER_COMPARE=N measures")
def test_what_clients_see_behind_either(
    planes: Callable[[DataPlane], Warren], tmp_path: Path
) -> None:
    found: dict[tuple[DataPlane, str], list[Figures]] = {}
    failed: list[str] = []
    for number in range(ROUNDS):
        for plane in (DataPlane.HAPROXY, DataPlane.WARRENER):
            warren = planes(plane)
            for failure in FAILURES:
                folder = tmp_path / f"{plane}-{failure}-{number}".replace(" ", "-")
                load_average = os.getloadavg()[0]
                try:
                    figures = measure(warren, folder, failure, number)
                except (AssertionError, NotInTime) as error:
                    failed.append(f"{plane} {failure}, round {number + 1}: {error}")
                    print(failed[-1], flush=True)
                    continue
                found.setdefault((plane, failure), []).append(figures)
                print(f"  {plane}, load average before {load_average:.1f}: {figures}", flush=True)
    for (plane, failure), many in sorted(found.items()):
        shown = [f"{plane} {failure}:"]
        for name in Figures.__annotations__:
            values = [getattr(one, name) for one in many]
            shown.append(
                f"{name} {statistics.median(values):.4g} ({min(values):.4g}-{max(values):.4g})"
            )
        print(", ".join(shown))
    assert not failed, "\n".join(failed)
