"""What is broken under a load of clients that connect again by themselves, and what their books say
of it: the figures of a ledger test that compares data planes."""

import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from tests.integration.ledger_set import reconnecting_load
from tests.integration.support import eventually
from tests.integration.warren import Warren

from warrener.drills.workload import Workload

SEED = 1
FROZEN = 20.0
CALM = 3.0


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
