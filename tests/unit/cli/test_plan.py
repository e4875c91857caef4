"""`warrener plan calibrate` and `calibration`: what they ask, do and print."""

import json
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.planner.test_calibration_file import KEPT

from warrener.cli import plan
from warrener.cli.common import CliError
from warrener.control import leaders_operations as lo
from warrener.control import operations as ops
from warrener.control import plan_process
from warrener.control.operation import ProgressLine
from warrener.control.plan_process import CalibrateLine, CalibratePlan, CalibrateSpec
from warrener.control.state_folder import StateFolder
from warrener.control.wire import Refusal
from warrener.facts.ids import NodeName
from warrener.planner.calibration_file import encode_calibration, write_calibration
from warrener.testing.scripted_daemon import answer, refusal, scripted_daemon

N1 = NodeName("n1@localhost")
PLANNED = CalibratePlan(
    nodes=["n1", "n2"], window=1.5, seconds=88.0, steps=["classic 100 B, as much as goes"]
)
STATUS = ops.StatusAnswer(
    phase=ops.Phase.RUNNING, cluster="warren", version="0", pid=1, state_folder="/s", uptime=1.0,
    nodes=[], balancer=None, queues=[],
    management=ops.ViewStatus(source=N1, taken_at=1.0, age=0.1, error=""),
)  # fmt: skip


def shown(rate: float) -> lo.LeadersShowAnswer:
    node = lo.LeaderNodeLine(
        node=N1, why_not="", weight=100, leaders={}, published=rate, delivered=rate, load=0.0,
        share=1.0, wanted=0.0, skew=1.0,
    )  # fmt: skip
    return lo.LeadersShowAnswer(
        nodes=[node], queues=[], queues_total=0, queues_active=0, mean=0.0, skew=1.0, moves=0,
        skew_after=1.0, short=None, short_node=None, short_queue="", seconds=1.0, missing=(),
    )  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[CalibrateSpec]:
    """What the process that measures is told; it answers at once."""
    specs: list[CalibrateSpec] = []

    def measure(spec: CalibrateSpec, on_line: Any) -> CalibrateLine:
        specs.append(spec)
        if spec.dry_run:
            return CalibrateLine(plan=PLANNED)
        on_line(CalibrateLine(progress=ProgressLine("calibration", "classic", count=1, total=2)))
        return CalibrateLine(calibration=encode_calibration(KEPT).decode())

    monkeypatch.setattr(plan, "_run", measure)
    return specs


def test_a_dry_run_says_what_and_how_long(run, folder: StateFolder, asked: list) -> None:
    with scripted_daemon(folder, answer(STATUS), answer(shown(40.0))):
        result = run("plan", "calibrate", "--dry-run", "--types", "classic, stream")
    assert result.code == 0
    assert "1 measurements of 1.5 s each on n1, n2, about 88 s in all:" in result.out
    assert "  classic 100 B, as much as goes" in result.out
    assert "The cluster is in use: 80 messages a second go through its queues." in result.out
    (spec,) = asked
    assert (spec.dry_run, spec.types, spec.bodies) == (True, ["classic", "stream"], [100, 4096])
    assert spec.state == str(folder.path)


def test_a_dry_run_as_json(run, folder: StateFolder, asked: list) -> None:
    with scripted_daemon(folder, answer(STATUS), answer(shown(0.0))):
        document = json.loads(run("plan", "calibrate", "--dry-run", "--json").out)
    assert document["seconds"] == 88.0
    assert document["in_use"] == ""


def test_an_idle_cluster_is_measured_without_asking(
    run, folder: StateFolder, asked: list[CalibrateSpec]
) -> None:
    with scripted_daemon(folder, answer(STATUS), answer(shown(0.0))):
        result = run("plan", "calibrate", "--seconds", "40", "--body", "7")
    assert result.code == 0
    assert [(spec.dry_run, spec.seconds, spec.bodies) for spec in asked] == [
        (True, 40.0, [7]),
        (False, 40.0, [7]),
    ]
    assert "calibration: classic (1 of 2)" in result.err
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert "quorum publish 30.1 34.1 ±10%" in lines
    assert "quorum replicate, each follower 20.0 20.0" in lines
    assert "balancer each way 2.1 6.1" in lines
    assert "quorum at least 20,000 9,000" in lines
    assert "! a host's CPU was used up" in lines


def test_a_cluster_in_use_is_left_alone_unless_told(
    run, folder: StateFolder, asked: list[CalibrateSpec]
) -> None:
    with scripted_daemon(folder, answer(STATUS), answer(shown(10.0))):
        result = run("plan", "calibrate")
    assert result.code == 1
    assert "--yes does it all the same" in result.err
    assert "takes all it can get of it for 88 s" in result.err
    assert all(spec.dry_run for spec in asked)
    with scripted_daemon(folder, answer(STATUS), answer(shown(10.0))):
        result = run("plan", "calibrate", "--yes", "--json")
    assert result.code == 0
    assert json.loads(result.out)["calibration"]["cluster"] == "warren"


@pytest.mark.parametrize("body", ["0", "-1", "a", "", "131065", "100,,x"])
def test_sizes_that_are_none_are_bad_input(
    run, folder: StateFolder, asked: list[CalibrateSpec], body: str
) -> None:
    result = run("plan", "calibrate", "--body", body)
    assert result.code == 2
    assert "numbers of bytes from 1 to 131064" in result.err
    assert asked == []


def test_without_a_cluster_it_is_exit_code_3(run, asked: list[CalibrateSpec]) -> None:
    assert run("plan", "calibrate").code == 3


def test_what_is_kept_is_shown(run, folder: StateFolder) -> None:
    missing = run("plan", "calibration")
    assert missing.code == 1
    assert "`warrener plan calibrate` does it" in missing.err
    write_calibration(folder.path, replace(KEPT, taken_at=0.0))
    assert "RabbitMQ 3.10.8" in run("plan", "calibration").out
    assert json.loads(run("plan", "calibration", "--json").out)["schema"] == 1
    (folder.path / "calibration.json").write_text("{}")
    broken = run("plan", "calibration")
    assert broken.code == 1
    assert "calibration.json can't be read" in broken.err


# -- the process


def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> CalibrateSpec:
    """Has ``text`` run as the process that measures."""
    (tmp_path / "fake_calibrate.py").write_text(text)
    monkeypatch.setattr(plan_process, "MODULE", "fake_calibrate")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return CalibrateSpec(state="/s", bodies=[100])


def test_the_process_is_told_on_its_stdin_and_heard_line_by_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
import json, sys
spec = json.load(sys.stdin)
print(json.dumps({"progress": {"subject": "calibration", "text": spec["state"]}}), flush=True)
print(json.dumps({"calibration": "{}"}))
"""
    spec = child(tmp_path, monkeypatch, text)
    lines: list[CalibrateLine] = []
    assert plan._run(spec, lines.append).calibration == "{}"
    assert lines[0].progress == ProgressLine("calibration", "/s")


@pytest.mark.parametrize(
    ("text", "said", "code"),
    [
        ('print(\'{"error": "no", "code": 2}\')', "no", 2),
        ("", "ended without a word", 1),
        (
            'print(\'{"progress": {"subject": "calibration", "text": "x"}}\')',
            "ended before it was done",
            1,
        ),
    ],
)
def test_a_process_that_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str, code: int
) -> None:
    spec = child(tmp_path, monkeypatch, text)
    with pytest.raises(CliError, match=said) as error:
        plan._run(spec, lambda line: None)
    assert error.value.exit_code == code


def test_ctrl_c_is_passed_on_and_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
import json, signal, sys, time
json.load(sys.stdin)
try:
    print('{"progress": {"subject": "calibration", "text": "x"}}', flush=True)
    time.sleep(30)
except KeyboardInterrupt:
    time.sleep(0.2)
    print('{"error": "cleared up", "code": 130}')
"""
    spec = child(tmp_path, monkeypatch, text)

    def interrupt(line: CalibrateLine) -> None:
        if line.progress is not None:
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(CliError, match="cleared up") as error:
        plan._run(spec, interrupt)
    assert error.value.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_before_it_has_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
import json, sys, time
print('{"progress": {"subject": "calibration", "text": "x"}}', flush=True)
time.sleep(30)
"""
    spec = child(tmp_path, monkeypatch, text)
    with pytest.raises(CliError, match="interrupted") as error:
        plan._run(spec, lambda line: os.kill(os.getpid(), signal.SIGINT))
    assert error.value.exit_code == 130


def test_where_nobody_tells_what_goes_through_it_is_asked(
    run, folder: StateFolder, asked: list[CalibrateSpec]
) -> None:
    with scripted_daemon(folder, answer(STATUS), refusal(Refusal.FAILED, "no node answers")):
        result = run("plan", "calibrate")
    assert result.code == 1
    assert "what goes through its queues isn't known: no node answers" in result.err


def test_the_module_is_there() -> None:
    import importlib.util

    assert importlib.util.find_spec(plan_process.MODULE) is not None
    assert msgspec.json.decode(b'{"state": "/s", "bodies": [1]}', type=CalibrateSpec).seconds == 90
