"""`--plot` of `warrener plan`: looked at before the daemon is asked, written whole or not at all:
nothing is left of a picture that comes to nothing."""

import json
from pathlib import Path

import msgspec
import pytest
from tests.unit.cli.test_plan_show import SESSIONS
from tests.unit.planner.scene import N2, calibration, load, queue

from warrener.control.plan_history_operations import PlanPointsAnswer, PointsLine
from warrener.control.state_folder import StateFolder
from warrener.control.wire import Refusal
from warrener.planner.calibration_file import write_calibration
from warrener.planner.load_wire import to_wire
from warrener.plots import picture
from warrener.testing.scripted_daemon import answer, refusal, scripted_daemon

LOAD = load(
    queue("jobs", 400, consumers=3, service_time=0.004),
    queue("billing", 90, N2, vhost="shop", consumers=4, service_time=0.02),
)
POINTS = PlanPointsAnswer([PointsLine(vhost="/", name="jobs", points=[(380.0, 380.0, 2.0)])])


@pytest.fixture
def calibrated(folder: StateFolder) -> StateFolder:
    write_calibration(folder.path, calibration())
    return folder


def test_show_draws_what_it_says(run, calibrated: StateFolder, tmp_path: Path) -> None:
    with scripted_daemon(calibrated, answer(to_wire(LOAD)), answer(POINTS)) as requests:
        result = run("plan", "show", "--window", "2m", "--plot", "plan.svg")
    assert result.code == 0, result.err
    assert "Drawn: plan.svg" in result.err
    assert "Carries" in result.out
    asked = json.loads(requests[1])
    assert asked["op"] == "plan-points"
    assert asked["args"] == {"window": 120.0, "queues": [["/", "jobs"], ["shop", "billing"]]}
    drawn = (tmp_path / "plan.svg").read_text()
    for words in ("warren: load of the last 2m", "measured (history)", "consumers of jobs used up"):
        assert words in drawn  # matplotlib writes texts as comments before their letters


def test_what_if_draws_both(run, calibrated: StateFolder, tmp_path: Path) -> None:
    asked = ("--load", "x2", "--nodes", "+1", "--kill", "n3", "--consumers", "jobs=+2")
    with scripted_daemon(calibrated, answer(to_wire(LOAD)), answer(POINTS)):
        result = run("plan", "what-if", *asked, "--plot", "plan.svg", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["after"]["published"] == 980
    drawn = (tmp_path / "plan.svg").read_text()
    for words in (
        "what if load x2, 1 node more, without n3, +2 consumers of jobs",
        "Before: carries",
        "After: carries",
        "predicted, after the change",
        "asked for: x2",
    ):
        assert words in drawn


def test_a_flow_map_needs_no_points(run, calibrated: StateFolder, tmp_path: Path) -> None:
    with scripted_daemon(calibrated, answer(to_wire(LOAD))):
        result = run("plan", "show", "--plot", "flow.png", "--plot-kind", "flow")
    assert result.code == 0, result.err
    assert (tmp_path / "flow.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--plot", "plan.jpg"), "a picture's file ends in .svg or .png"),
        (("--plot", "none/plan.svg"), "there is no folder"),
        (("--plot-kind", "flow"), "--plot FILE says where"),
        (("--plot", "a.svg", "--plot-kind", "pie"), "'pie' is not one of"),
    ],
)
def test_mistakes_are_told_before_anything_is_asked(
    run, calibrated: StateFolder, words: tuple[str, ...], told: str
) -> None:
    """No daemon runs: it isn't even looked for."""
    for command in (("show",), ("what-if", "--load", "x2")):
        result = run("plan", *command, *words)
        assert (result.code, told in " ".join(result.err.split())) == (2, True), result.err


def test_without_matplotlib(
    run, calibrated: StateFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(picture, "find_spec", lambda name: None)
    result = run("plan", "show", "--plot", "plan.svg")
    assert result.code == 2
    assert "pip install 'matplotlib" in " ".join(result.err.split())
    assert list(tmp_path.glob("*.svg*")) == []


def test_nothing_is_drawn_if_nothing_is_known(run, calibrated: StateFolder, tmp_path: Path) -> None:
    with scripted_daemon(calibrated, refusal(Refusal.NOT_YET, "there is no history")):
        result = run("plan", "show", "--plot", "plan.svg")
    assert (result.code, "there is no history" in result.err) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == [".warrener"]


def test_advise_draws_the_policies(run, calibrated: StateFolder, tmp_path: Path) -> None:
    with scripted_daemon(calibrated, answer(to_wire(LOAD)), answer(SESSIONS)):
        result = run("plan", "advise", "--plot", "policies.svg", "--load", "x1.5")
    assert result.code == 0, result.err
    drawn = (tmp_path / "policies.svg").read_text()
    for words in (
        "balancing policies, load of the last 5m x 1.5",
        "roundrobin",
        "weighted-leastconn",
        "red: the policy in use",
        "99th percentile",
    ):
        assert words in drawn


def test_policies_that_were_not_tried_are_not_drawn_and_the_rest_is_said(
    run, calibrated: StateFolder, tmp_path: Path
) -> None:
    nobody = msgspec.structs.replace(SESSIONS, kinds=())
    with scripted_daemon(calibrated, answer(to_wire(LOAD)), answer(nobody)):
        result = run("plan", "advise", "--plot", "policies.svg")
    assert result.code == 1
    assert "nothing was drawn, as there are no policies to draw: no client" in result.err
    assert "Policies weren't tried" in result.out
    assert not (tmp_path / "policies.svg").exists()
