"""The process that measures: what it understands, and what it says."""

import io
import json
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from warrener.bench import calibrate
from warrener.bench.calibrate import Stopped
from warrener.bench.wire import BenchError
from warrener.control.client import NotRunning
from warrener.control.plan_process import CalibrateLine, CalibratePlan, CalibrateSpec
from warrener.control.state_folder import StateFolder
from warrener.control.wire import Refusal, Refused
from warrener.facts.ids import NodeName
from warrener.planner.costs import QueueType

NODES = [NodeName(f"n{number}@localhost") for number in (1, 2, 3)]


def spec(**changes: Any) -> CalibrateSpec:
    return CalibrateSpec(**{"state": "/nowhere", "bodies": [100, 4096], **changes})


def test_everything_unless_told() -> None:
    asked = calibrate._understand(spec(), NODES)
    assert asked.types == tuple(QueueType)
    assert asked.nodes == tuple(NODES)
    assert asked.bodies == (100, 4096)
    assert len(asked.steps) == 34


def test_what_is_chosen() -> None:
    chosen = spec(types=["quorum", "quorum"], nodes=["n2", "n3", "n2"], bodies=[9, 9], seconds=20)
    asked = calibrate._understand(chosen, NODES)
    assert {step.type for step in asked.steps} == {QueueType.QUORUM}
    assert asked.nodes == (NODES[1], NODES[2])
    assert asked.bodies == (9,)
    assert len(asked.steps) == 7


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"types": ["fast"]}, "there are classic, quorum, stream"),
        ({"nodes": ["n7"]}, "--nodes"),
        ({"seconds": 5}, "34 measurements take"),
    ],
)
def test_what_isnt_understood_is_bad_input(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(Stopped, match=why) as stopped:
        calibrate._understand(spec(**changes), NODES)
    assert stopped.value.code == 2


def test_without_nodes_nothing_can_be_done() -> None:
    with pytest.raises(Stopped, match="no node takes clients"):
        calibrate._understand(spec(), [])


def answered(monkeypatch: pytest.MonkeyPatch, outcome: object) -> CalibrateLine:
    """The last line of the process, if what it does ends so."""

    def answer(asked: CalibrateSpec) -> CalibrateLine:
        assert asked == spec()
        if isinstance(outcome, BaseException):
            raise outcome
        assert isinstance(outcome, CalibrateLine)
        return outcome

    out = io.BytesIO()
    monkeypatch.setattr(calibrate, "_answer", answer)
    monkeypatch.setattr(calibrate.signal, "signal", lambda *_: None)
    stdin = SimpleNamespace(buffer=io.BytesIO(msgspec.json.encode(spec())))
    monkeypatch.setattr(calibrate.sys, "stdin", stdin)
    monkeypatch.setattr(calibrate.sys, "stdout", SimpleNamespace(buffer=out))
    calibrate.main()
    *_, last = out.getvalue().splitlines()
    return msgspec.json.decode(last, type=CalibrateLine)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (Stopped("no", 2), 2, "no"),
        (NotRunning(StateFolder(calibrate.Path("/here"))), 3, "/here"),
        (Refused(Refusal.BUSY, "n1 is being restarted"), 1, "n1 is being restarted"),
        (Refused(Refusal.BAD_ARGUMENT, "what?"), 2, "what?"),
        (BenchError("the broker blocks publishers"), 1, "blocks"),
        (KeyboardInterrupt(), 130, "the cluster is as it was"),
    ],
)
def test_what_went_wrong_is_its_last_word(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str
) -> None:
    line = answered(monkeypatch, error)
    assert (line.code, text in line.error) == (code, True)


def test_a_result_is_its_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = CalibratePlan(nodes=["n1"], window=1.0, seconds=9.0, steps=["classic"])
    assert answered(monkeypatch, CalibrateLine(plan=plan)).plan == plan
    assert json.loads(msgspec.json.encode(CalibrateLine(plan=plan))).keys() == {"plan"}
