"""What clients that connect again by themselves see behind HAProxy and behind Warrener's own
balancer, while nodes die, freeze, restart and are drained.

Not run by default: ``WARRENER_LEDGER_COMPARE=3`` does every failure three times behind each data
plane, in turn, and prints the figures (``pytest -s``) that docs/guarantees.md shows. That takes ten
minutes a round.
"""

import os
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.integration.ledger_failures import FAILURES, Figures, measure, wait_all_fit
from tests.integration.warren import Warren, running

from warrener.drills.workload import NotInTime
from warrener.facts.data_plane import DataPlane

ROUNDS = int(os.environ.get("WARRENER_LEDGER_COMPARE", "0"))

pytestmark = pytest.mark.timeout(3600)


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
