"""The lanes that tests run in: what runs beside what, how it ends, what an interruption does."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests import lanes as module
from tests import pictures
from tests.lanes import (
    INTEGRATION,
    INTERRUPTED,
    ROOT,
    SHARED,
    Found,
    Job,
    Lanes,
    Result,
    arrange,
    clock,
    counted,
    failures_in,
    told,
    verdict,
)

MEETS = """
import pathlib, time

def test_it_meets_the_other():
    here = pathlib.Path(__file__)
    here.with_suffix(".here").touch()
    other = here.with_name("test_{other}.here")
    deadline = time.monotonic() + 30
    while not other.exists():
        assert time.monotonic() < deadline, "nobody ran beside it"
        time.sleep(0.01)
"""

CLEANS_UP = """
import pathlib, time
import pytest

HERE = pathlib.Path(__file__)

@pytest.fixture
def cluster():
    HERE.with_suffix(".up").touch()
    yield
    time.sleep(0.3)
    HERE.with_suffix(".down").touch()

def test_long(cluster):
    time.sleep(60)
"""


def job(folder: Path, name: str, text: str) -> Job:
    file = folder / f"test_{name}.py"
    file.write_text(text)
    return Job(name, (str(file),))


def lanes(folder: Path, options: Sequence[str] = ()) -> Lanes:
    output = folder / "output"
    output.mkdir()
    return Lanes(output, ["-p", "no:cacheprovider", *options])


def made(folder: Path, suffix: str) -> list[str]:
    return sorted(one.name for one in folder.glob(f"*{suffix}"))


# -- what runs beside what


def test_files_that_share_the_cluster_are_one_job_and_the_longest_come_first() -> None:
    jobs, alone = arrange(
        [
            Found("tests/integration/test_a.py"),
            Found("tests/integration/test_ssh.py"),
            Found("tests/integration/test_b.py", shares=True),
            Found("tests/integration/test_c.py", shares=True),
            Found("tests/integration/test_c.py"),
        ]
    )
    assert alone is None
    assert [one.name for one in jobs] == ["test_ssh.py", SHARED, "test_a.py"]
    assert jobs[1].paths == ("tests/integration/test_b.py", "tests/integration/test_c.py")
    assert [one.options for one in jobs] == [(), (), ()]


def test_what_is_marked_runs_alone_and_nowhere_else() -> None:
    jobs, alone = arrange(
        [
            Found("tests/integration/test_a.py"),
            Found("tests/integration/test_a.py", alone=True),
            Found("tests/integration/test_b.py", alone=True, shares=True),
        ]
    )
    (beside,) = jobs
    assert beside == Job("test_a.py", ("tests/integration/test_a.py",), ("-m", "not alone"))
    assert alone is not None
    assert alone.paths == ("tests/integration/test_a.py", "tests/integration/test_b.py")
    assert alone.options == ("-m", "alone")


def test_every_file_of_integration_tests_is_in_one_job() -> None:
    """Collected in a process of its own, as a run of the lanes is one."""
    text = (
        "import json; from tests.lanes import arrange, collect; jobs, alone = arrange(collect());"
        "print(json.dumps([[job.paths for job in jobs], alone.paths if alone else []]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=True
    )
    in_jobs, alone = json.loads(done.stdout)
    in_lanes = [path for paths in in_jobs for path in paths]
    assert len(set(in_lanes)) == len(in_lanes)
    files = {one.relative_to(ROOT).as_posix() for one in (ROOT / INTEGRATION).rglob("test_*.py")}
    assert {*in_lanes, *alone} == files


# -- running


async def test_two_lanes_run_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [job(tmp_path, one, MEETS.replace("{other}", two)) for one, two in ("ab", "ba")]
    run = lanes(tmp_path)
    await run.run(jobs, 2)
    assert verdict(run.results, is_interrupted=False) == 0
    assert run.summary().splitlines()[-1].startswith("2 passed in ")
    said = capsys.readouterr().out
    assert "a begins" in said
    assert said.count("1 passed") == 2


async def test_all_run_though_one_fails(tmp_path: Path) -> None:
    jobs = [
        job(tmp_path, "bad", "def test_x():\n    assert 1 == 2\n"),
        job(tmp_path, "broken", "import there_is_no_such_module\n"),
        job(tmp_path, "good", "def test_x():\n    pass\n"),
    ]
    run = lanes(tmp_path)
    await run.run(jobs, 1)
    assert [result.code for result in run.results] == [1, 2, 0]
    assert verdict(run.results, is_interrupted=False) == 1
    assert run.summary().splitlines()[-1].startswith("1 passed, 1 failed, 1 errors in ")


async def test_nothing_chosen_of_a_job_is_no_failure(tmp_path: Path) -> None:
    run = lanes(tmp_path, ["-k", "nowhere"])
    await run.run([job(tmp_path, "a", "def test_x():\n    pass\n")], 1)
    assert verdict(run.results, is_interrupted=False) == 0


async def test_interrupted_each_cleans_up_and_nothing_new_begins(tmp_path: Path) -> None:
    jobs = [job(tmp_path, name, CLEANS_UP) for name in "abc"]
    run = lanes(tmp_path)
    running = asyncio.create_task(run.run(jobs, 2))
    while len(made(tmp_path, ".up")) < 2:
        assert not running.done()
        await asyncio.sleep(0.02)
    run.interrupt()
    await running
    assert made(tmp_path, ".down") == ["test_a.down", "test_b.down"]
    assert verdict(run.results, is_interrupted=run.is_interrupted) == INTERRUPTED


# -- what is told


def test_pictures_of_this_run_are_kept_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of the run before are gone; each pytest knows the folder, wherever it runs."""
    monkeypatch.setenv(pictures.ENVIRONMENT, "")
    monkeypatch.setattr(pictures, "MADE", tmp_path / "shots")
    (tmp_path / "shots").mkdir()
    (tmp_path / "shots" / "old.png").touch()

    async def main(*_: object) -> int:
        folder = Path(os.environ[pictures.ENVIRONMENT])
        assert folder.is_absolute()
        assert pictures.pictures_in(folder) == []
        (folder / "map-wide-light.png").touch()
        return 0

    monkeypatch.setattr(module, "collect", list)
    monkeypatch.setattr(module, "main", main)
    assert module.run_all([]) == 0
    told = capsys.readouterr().out
    assert f"screenshots of page and top: {tmp_path / 'shots'} (1)" in told


def test_numbers_are_summed_up() -> None:
    counts = [
        {"tests": 10, "failures": 1, "errors": 2, "skipped": 3},
        {"tests": 2, "failures": 0, "errors": 0, "skipped": 0},
        {},
    ]
    assert told(counts) == "6 passed, 1 failed, 2 errors, 3 skipped"
    assert clock(187.9) == "3:07"


def test_a_job_that_left_no_report_counts_nothing_and_failed(tmp_path: Path) -> None:
    assert counted(tmp_path / "none.xml") == {}
    result = Result(Job("a", ()), -9, 1.0, {}, ())
    assert verdict([result], is_interrupted=False) == 1


def test_failures_are_those_of_pytests_own_summary() -> None:
    text = (
        "tests/unit/a.py::test_b FAILED [ 3%]\nFAILED tests/unit/a.py::test_b - assert 1 == 2\n"
        "ERROR tests/unit/c.py - ImportError\nFAILED to start\n"
    )
    assert failures_in(text) == (
        "FAILED tests/unit/a.py::test_b - assert 1 == 2",
        "ERROR tests/unit/c.py - ImportError",
    )
