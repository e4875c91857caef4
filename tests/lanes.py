"""Runs the tests in lanes: several pytest processes side by side, each with clusters of its own.

    collected -> jobs: one for each file of integration tests, one for all files that share the
    session's cluster
    first what needs no broker, in two halves
    then lanes, which take one job after the other, the longest first
    then, with nothing else at work again: the tests marked ``alone``

Most of a test on a real cluster is waiting, for nodes that boot or for time to pass, so two lanes
on two cores take little more than half the time of one (docs/decisions/0027-lanes-of-tests.md).
Output is printed a job at a time, when it has ended; screenshots that tests take are kept in
build/screenshots, or in the folder that WARRENER_SCREENSHOTS names. Ctrl-C is passed on to every
pytest, which takes its clusters down; nothing is left. Arguments go to each pytest:

    python -m tests.lanes [-k EXPRESSION ...]     WARRENER_TEST_LANES=1: one after the other
"""

import asyncio
import contextlib
import io
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import pytest
from tests import pictures

ROOT: Final = Path(__file__).parent.parent
INTEGRATION: Final = "tests/integration"

LANES: Final = 2
"""Each has three nodes mostly. On two cores a third one would take from these what it does."""

SHARED: Final = "the session's cluster"

LONGEST: Final = (
    "test_ssh.py",
    "test_ledger.py",
    SHARED,
    "test_membership.py",
    "test_apply_killed.py",
    "test_drivers.py",
    "test_leaders.py",
    "test_config.py",
    "test_haproxy_plane.py",
    "test_upgrade.py",
    "test_node_commands.py",
    "test_local_cluster.py",
)
"""What a run shouldn't end with. A file that isn't here, or has become short, costs little."""

TELL_EVERY: Final = 60.0
"""Seconds between two lines on what is under way."""

NONE_CHOSEN: Final = 5
"""pytest's exit code when ``-k`` and the like leave nothing of a job."""

INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True)
class Found:
    """A test: its file, whether it uses the session's cluster, whether it is marked ``alone``."""

    file: str
    shares: bool = False
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """What one pytest runs."""

    name: str
    paths: tuple[str, ...]
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """How a job came out. ``counts`` are as pytest's report has them; empty if it left none."""

    job: Job
    code: int
    seconds: float
    counts: dict[str, int]
    failures: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        return self.code in (0, NONE_CHOSEN)


NO_BROKER: Final = (
    Job("unit tests", ("tests/unit",)),
    Job("fuzz and property tests", ("tests/fuzz", "tests/property")),
)


# -- which jobs there are


def arrange(tests: Iterable[Found]) -> tuple[list[Job], Job | None]:
    """The lanes' jobs in their order, and the one that runs alone."""
    tests = list(tests)
    alone = {test.file for test in tests if test.alone}
    beside = {test.file for test in tests if not test.alone}
    shared = {test.file for test in tests if test.shares and not test.alone}
    jobs = [_job(Path(file).name, {file}, alone) for file in sorted(beside - shared)]
    if shared:
        jobs.append(_job(SHARED, shared, alone))
    jobs.sort(key=lambda job: LONGEST.index(job.name) if job.name in LONGEST else len(LONGEST))
    return jobs, Job("alone", tuple(sorted(alone)), ("-m", "alone")) if alone else None


def _job(name: str, files: set[str], alone: set[str]) -> Job:
    return Job(name, tuple(sorted(files)), ("-m", "not alone") if files & alone else ())


def collect() -> list[Found]:
    """The tests on a real cluster. SystemExit if there is one that can't be imported."""
    found: list[Found] = []

    class Seen:
        def pytest_collection_finish(self, session: pytest.Session) -> None:
            for item in session.items:
                assert isinstance(item, pytest.Function)
                file = item.path.relative_to(ROOT).as_posix()
                is_alone = item.get_closest_marker("alone") is not None
                found.append(Found(file, "cluster" in item.fixturenames, is_alone))

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = pytest.main(["--collect-only", str(ROOT / INTEGRATION)], plugins=[Seen()])
    if code == pytest.ExitCode.INTERRUPTED and "KeyboardInterrupt" in said.getvalue():
        raise KeyboardInterrupt
    if code != pytest.ExitCode.OK:
        print(said.getvalue())
        raise SystemExit(int(code))
    return found


# -- running them


class Lanes:
    """One run."""

    def __init__(self, folder: Path, options: Sequence[str]) -> None:
        self._folder = folder
        self._options = options
        self._began = time.monotonic()
        self._at_work: dict[str, tuple[asyncio.subprocess.Process, float]] = {}
        self._number = 0
        self.is_interrupted = False
        self.results: list[Result] = []

    async def run(self, jobs: Sequence[Job], lanes: int) -> None:
        """All of them, at most so many at once; none once it is interrupted."""
        waiting = list(jobs)

        async def lane() -> None:
            while waiting and not self.is_interrupted:
                await self._do(waiting.pop(0))

        async with asyncio.TaskGroup() as group:
            telling = group.create_task(self._tell())
            works = [group.create_task(lane()) for _ in range(lanes)]
            await asyncio.wait(works)
            telling.cancel()

    def interrupt(self) -> None:
        """What a terminal does at Ctrl-C, to each of them: it is in a group of its own, so that it
        is told once."""
        self.is_interrupted = True
        for process, _ in self._at_work.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)

    async def _do(self, job: Job) -> None:
        self._number += 1
        output = self._folder / f"{self._number}.txt"
        report = self._folder / f"{self._number}.xml"
        # Folders of its own: pytest's usual ones are shared by all runs of a user, and each removes
        # the old ones of the others.
        own = [f"--junitxml={report}", f"--basetemp={self._folder / str(self._number)}"]
        command = [sys.executable, "-m", "pytest", *own]
        began = time.monotonic()
        with output.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *command,
                *job.options,
                *self._options,
                *job.paths,
                cwd=ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=asyncio.subprocess.STDOUT,
                process_group=0,
            )
            self._at_work[job.name] = process, began
            self._say(f"{job.name} begins")
            if self.is_interrupted:  # while it was born
                self.interrupt()
            try:
                code = await process.wait()
            except asyncio.CancelledError:  # another job couldn't be run: nothing is left either
                self.interrupt()
                await process.wait()
                raise
            finally:
                del self._at_work[job.name]
        text = output.read_text(errors="replace")
        seconds = time.monotonic() - began
        result = Result(job, code, seconds, counted(report), failures_in(text))
        self.results.append(result)
        told = "" if result.is_good else f", exit code {code}"
        print(f"\n{'=' * 20} {job.name}: {clock(seconds)}{told}\n{text.rstrip()}\n", flush=True)

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(TELL_EVERY)
            now = time.monotonic()
            self._say(
                "at work: "
                + ", ".join(
                    f"{name} ({clock(now - at)})" for name, (_, at) in self._at_work.items()
                )
            )

    def _say(self, text: str) -> None:
        print(f"[{clock(time.monotonic() - self._began)}] {text}", flush=True)

    def summary(self) -> str:
        """How long each took, what failed, and how many there were."""
        lines = [
            f"{clock(result.seconds):>7}  {result.job.name}"
            + ("" if result.is_good else f"  exit code {result.code}")
            for result in sorted(self.results, key=lambda one: -one.seconds)
        ]
        lines += [line for result in self.results for line in result.failures]
        seconds = time.monotonic() - self._began
        return "\n".join(
            [*lines, f"{told([one.counts for one in self.results])} in {clock(seconds)}"]
        )


def counted(report: Path) -> dict[str, int]:
    """The numbers of pytest's report; empty if there is none."""
    with contextlib.suppress(OSError, ElementTree.ParseError):
        suites = ElementTree.parse(report).getroot().iter("testsuite")
        names = ("tests", "failures", "errors", "skipped")
        rows = [{name: int(suite.get(name, 0)) for name in names} for suite in suites]
        return {name: sum(row[name] for row in rows) for name in names}
    return {}


def failures_in(output: str) -> tuple[str, ...]:
    """The lines of pytest's own summary."""
    return tuple(re.findall(r"^(?:FAILED|ERROR) tests/.*$", output, re.MULTILINE))


def told(counts: Iterable[dict[str, int]]) -> str:
    """``"12 passed, 1 failed, 2 errors, 3 skipped"``."""
    total = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for one in counts:
        for name, number in one.items():
            total[name] += number
    bad = total["failures"] + total["errors"]
    passed = total["tests"] - bad - total["skipped"]
    rest = {"failed": total["failures"], "errors": total["errors"], "skipped": total["skipped"]}
    return ", ".join([f"{passed} passed", *(f"{n} {what}" for what, n in rest.items() if n)])


def clock(seconds: float) -> str:
    """``"3:07"``."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def verdict(results: Iterable[Result], *, is_interrupted: bool) -> int:
    """The exit code of it all."""
    if is_interrupted:
        return INTERRUPTED
    return 0 if all(result.is_good for result in results) else 1


async def main(jobs: Sequence[Job], alone: Job | None, options: Sequence[str], folder: Path) -> int:
    """Everything."""
    lanes = int(os.environ.get("WARRENER_TEST_LANES", LANES))
    run = Lanes(folder, options)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, run.interrupt)
    await run.run(NO_BROKER, lanes)
    await run.run(jobs, lanes)
    if alone is not None:
        await run.run([alone], 1)
    print(f"\n{run.summary()}", flush=True)
    return verdict(run.results, is_interrupted=run.is_interrupted)


def run_all(options: Sequence[str]) -> int:
    """The exit code; what tests left in their folders is kept if anything failed."""
    try:  # by itself: a signal's handler would have to wait for its end
        jobs, alone = arrange(collect())
    except KeyboardInterrupt:
        return INTERRUPTED
    folder = Path(tempfile.mkdtemp(prefix="warrener-tests-"))
    shots = pictures.kept_in()
    shots.mkdir(parents=True, exist_ok=True)
    pictures.begin(shots)
    os.environ[pictures.ENVIRONMENT] = str(shots.absolute())  # each pytest has it
    code = asyncio.run(main(jobs, alone, options, folder))
    if code == 0:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"output and folders of the tests: {folder}", flush=True)
    if told := pictures.said(shots):
        print(told, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(run_all(sys.argv[1:]))
