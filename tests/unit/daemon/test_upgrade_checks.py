"""What has to be so before an upgrade."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from warrener.cluster.drivers.installations import Candidate
from warrener.daemon.upgrade_checks import Flags, NodeNow, checks
from warrener.facts.ids import NodeName

TARGET = Candidate(Path("/opt/new"), "3.11.28", "25.2.3", (), ())
N1 = NodeNow(NodeName("n1@localhost"), "3.10.8")
N2 = NodeNow(NodeName("n2@localhost"), "3.10.8")


def problems(
    target: Candidate = TARGET,
    nodes: tuple[NodeNow, ...] = (N1, N2),
    flags: Flags = Flags(),  # noqa: B008  frozen
    mirrored: tuple[str, ...] = (),
) -> dict[str, str]:
    found = checks(target, nodes, flags, mirrored)
    assert len(found) == 8
    return {check.what: check.problem for check in found if check.problem}


def test_all_is_well() -> None:
    assert problems() == {}


def test_a_cluster_in_the_middle_goes_on() -> None:
    assert problems(nodes=(replace(N1, version="3.11.28"), N2)) == {}


@pytest.mark.parametrize(
    ("more", "what", "text"),
    [
        ({"target": replace(TARGET, version="3.12.1")}, "upgrade path", "3.10 -> 3.11 -> 3.12"),
        (
            {"target": replace(TARGET, version="3.9.1", erlang="24.3")},
            "upgrade path",
            "older than 3.10.8",
        ),
        ({"nodes": (replace(N1, version="3.12.0"), N2)}, "upgrade path", "older than 3.12.0"),
        ({"nodes": (replace(N1, version=""),)}, "upgrade path", "no node tells"),
        ({"target": replace(TARGET, erlang="26.0")}, "Erlang", "Erlang 25.0 to 25.3.x"),
        ({"target": replace(TARGET, missing_plugins=("a", "b"))}, "plugins", "doesn't have a, b"),
        ({"target": replace(TARGET, wrong_settings=("no x",))}, "settings", "no x"),
        ({"flags": Flags(off=["stream_queue"])}, "feature flags", "not enabled: stream_queue"),
        ({"nodes": (N1, replace(N2, why_not="doesn't run (down)"))}, "nodes", "n2: doesn't run"),
        ({"nodes": (replace(N1, alarms=["disk alarm"]), N2)}, "alarms", "n1: disk alarm"),
        ({"nodes": (replace(N1, drained=True), N2)}, "maintenance mode", "n1: is drained"),
    ],
)
def test_each_check_says_what_is_wrong(more: dict[str, Any], what: str, text: str) -> None:
    found = problems(**more)
    assert list(found) == [what]
    assert text in found[what]


def test_from_3_13_to_4() -> None:
    nodes = (replace(N1, version="3.13.7"),)
    target = replace(TARGET, version="4.1.0", erlang="26.2.5")
    assert problems(target, nodes) == {}
    assert "khepri_db on" in problems(target, nodes, Flags(on={"khepri_db"}))["upgrade path"]
    assert "mirrored classic queues" in problems(target, nodes, mirrored=("ha",))["upgrade path"]


def test_the_same_version_from_elsewhere_needs_no_flags_and_no_other_erlang() -> None:
    same = replace(TARGET, version="3.10.8", erlang="27.0")
    assert problems(same, flags=Flags(off=["stream_queue"])) == {}


def test_only_what_is_not_about_versions_can_be_forced() -> None:
    forcible = {check.what: check.forcible for check in checks(TARGET, (N1,), Flags(), ())}
    assert [what for what, yes in forcible.items() if yes] == [
        "nodes",
        "alarms",
        "maintenance mode",
    ]
