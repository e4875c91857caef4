"""`warrener bench compare`: options, exit codes, where the document goes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from warrener.bench import cli
from warrener.bench.compare import CompareOptions
from warrener.bench.report import Report
from warrener.bench.stand import NotRunning
from warrener.bench.wire import BenchError
from warrener.bench.workloads import OBSERVATION, WORKLOADS, Route
from warrener.facts.happenings import Progress, ProgressSink

runner = CliRunner()


class Run:
    """Stands for the measuring."""

    def __init__(self, report: Report) -> None:
        self.options: CompareOptions | None = None
        self.outcome: Report | Exception = report

    def __call__(self, options: CompareOptions, progress: ProgressSink) -> Report:
        self.options = options
        progress(Progress("1/1 round 1 classic-1 direct", "measuring"))
        progress(Progress("1/1 round 1 classic-1 direct", "1,000.00 msg/s", done=True))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.fixture
def run(report: Report, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    run = Run(report)
    monkeypatch.setattr(cli, "run", run)
    monkeypatch.setattr(cli, "_handle_sigterm", lambda: None)
    monkeypatch.chdir(tmp_path)
    return run


@pytest.fixture(autouse=True)
def prometheus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "find_prometheus", lambda: "/usr/bin/prometheus")


def call(*arguments: str) -> tuple[int, str, str]:
    result = runner.invoke(cli.app, ["compare", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_all_of_it_unless_told(run: Run) -> None:
    call()
    assert run.options is not None
    assert run.options.workloads == tuple(WORKLOADS.values())
    assert run.options.paths is None
    assert run.options.state is None


def test_without_a_prometheus_what_needs_one_is_left_out_unless_asked_for(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "find_prometheus", lambda: None)
    _, _, said = call()
    assert run.options is not None
    assert run.options.left_out == OBSERVATION
    assert "no `prometheus` on the PATH: without warrener-unobserved and warrener-observed" in said
    call("--paths", "warrener-observed,warrener-unobserved")
    assert run.options.left_out == ()


def test_options_are_taken(run: Run, tmp_path: Path) -> None:
    call(
        *("--rounds", "5", "--seconds", "0.5", "--workloads", "quorum-1,setup"),
        *("--paths", "direct,warrener", "--state", "here", "--seed", "9"),
    )
    assert run.options == CompareOptions(
        rounds=5,
        seconds=0.5,
        workloads=(WORKLOADS["quorum-1"], WORKLOADS["setup"]),
        paths=(Route.DIRECT, Route.WARRENER),
        state=tmp_path / "here",
        seed=9,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--workloads", "clasic-1"], "classic-1"),
        (["--paths", "warener"], "warrener"),
        (["--rounds", "0"], "--rounds"),
        (["--seconds", "0.01"], "--seconds"),
        (["--workloads", "idle-memory", "--paths", "direct"], "--paths"),
        (["--json", "nowhere/figures.json"], "nowhere"),
    ],
)
def test_bad_input_is_exit_2_and_measures_nothing(
    run: Run, arguments: list[str], said: str
) -> None:
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert run.options is None


def test_the_document_goes_where_it_should_and_the_table_to_stdout(
    run: Run, report: Report, tmp_path: Path
) -> None:
    run.outcome = replace(report, failures=())
    code, out, err = call("--json", "figures.json")
    assert code == 0
    assert json.loads((tmp_path / "figures.json").read_text())["results"]
    assert "61,234" in out
    assert "1,000.00 msg/s" in err
    assert not (tmp_path / "bench-results").exists()


def test_samples_are_kept_without_being_asked_for(run: Run, tmp_path: Path) -> None:
    call()
    (file,) = (tmp_path / "bench-results").iterdir()
    assert json.loads(file.read_text())["machine"]["cores"] == 2


def test_dash_prints_the_document_and_nothing_else_on_stdout(run: Run, tmp_path: Path) -> None:
    _, out, _ = call("--json", "-")
    assert json.loads(out)["ratios"]
    assert list(tmp_path.iterdir()) == []


def test_a_measurement_that_failed_is_exit_1_with_the_rest_written(
    run: Run, tmp_path: Path
) -> None:
    code, out, _ = call("--json", "figures.json")
    assert code == 1
    assert "61,234" in out
    assert json.loads((tmp_path / "figures.json").read_text())["failures"]


@pytest.mark.parametrize(
    ("error", "code"),
    [(BenchError("haproxy is not installed"), 1), (NotRunning("no cluster is running"), 3)],
)
def test_errors_are_a_sentence_and_a_code(run: Run, error: Exception, code: int) -> None:
    run.outcome = error
    exit_code, out, err = call()
    assert (exit_code, out) == (code, "")
    assert f"warrener: {error}" in err
    assert "Traceback" not in err


def test_warrener_state_is_not_looked_at(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that somebody works with is put under load only when asked for by name."""
    monkeypatch.setenv("WARRENER_STATE", "/somewhere")
    call()
    assert run.options is not None
    assert run.options.state is None
