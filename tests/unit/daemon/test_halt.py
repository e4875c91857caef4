"""`down` always ends: with a daemon that answers, one that doesn't, and none."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from warrener.control.lock import holder_of
from warrener.control.operations import STOP, ProgressLine, StopAnswer, StopRequest
from warrener.control.state_folder import StateFolder
from warrener.control.wire import encode_request
from warrener.daemon import halt as halt_module
from warrener.daemon.errors import DaemonError
from warrener.daemon.halt import Halted, halt
from warrener.testing.scripted_daemon import answer, scripted_daemon

STOPPING = ProgressLine("n1", "stopping")

HOLDS_THE_LOCK = """
import signal, sys, time
from pathlib import Path
from warrener.control.lock import Lock
{setup}
with Lock(Path(sys.argv[1]), now=0.0):
    print("holding", flush=True)
    try:
        time.sleep(30)
    except SystemExit:
        pass
"""
OBEYS = "signal.signal(signal.SIGTERM, lambda *_: sys.exit())"
IGNORES = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    state = StateFolder(tmp_path / "state")
    state.prepare()
    return state


@contextmanager
def holder(folder: StateFolder, setup: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the lock and serves nothing: a daemon that hangs."""
    program = HOLDS_THE_LOCK.format(setup=setup)
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder.lock)], stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"holding\n"
            yield process
        finally:
            process.kill()


def no_leftovers(path: Path) -> int:
    return 0


def test_a_daemon_that_answers_is_asked_and_followed(folder: StateFolder) -> None:
    seen: list[ProgressLine] = []
    with scripted_daemon(folder, answer(StopAnswer(seconds=1.0), STOPPING)) as requests:
        assert halt(folder, seen.append, no_leftovers) is Halted.CLUSTER
    assert seen == [STOPPING]
    assert requests == [encode_request(STOP, StopRequest())]


def test_a_daemon_is_told_that_the_data_goes_too(folder: StateFolder) -> None:
    with scripted_daemon(folder, answer(StopAnswer(seconds=1.0))) as requests:
        halt(folder, lambda _: None, no_leftovers, discard=True)
    assert requests == [encode_request(STOP, StopRequest(discard=True))]


def test_a_daemon_that_does_not_let_go_after_its_last_word_is_an_error(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halt_module, "LET_GO_TIMEOUT", 0.05)
    with (
        scripted_daemon(folder, answer(StopAnswer(seconds=1.0)), hang_up=False),
        pytest.raises(DaemonError, match="still there"),
    ):
        halt(folder, lambda _: None, no_leftovers)


def test_nothing_running_is_nothing_and_makes_no_folder(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "never made")
    assert halt(state, lambda _: None, no_leftovers) is Halted.NOTHING
    assert not state.path.exists()


def test_what_a_killed_daemon_left_is_stopped(folder: StateFolder) -> None:
    asked: list[Path] = []

    def stop_leftovers(path: Path) -> int:
        asked.append(path)
        assert holder_of(folder.lock) is not None  # no `up` can begin meanwhile
        return 4

    assert halt(folder, lambda _: None, stop_leftovers) is Halted.LEFTOVERS
    assert asked == [folder.path]


@pytest.mark.parametrize(("setup", "number"), [(OBEYS, signal.SIGTERM), (IGNORES, signal.SIGKILL)])
def test_a_daemon_that_does_not_answer_is_ended(
    folder: StateFolder, setup: str, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halt_module, "TERM_TIMEOUT", 2.0 if setup == OBEYS else 0.1)
    seen: list[ProgressLine] = []
    with holder(folder, setup) as process:
        assert halt(folder, seen.append, no_leftovers) is Halted.CLUSTER
        assert process.wait() == (0 if setup == OBEYS else -signal.SIGKILL)
    assert f"sends it {number.name}" in [line.text for line in seen]


def test_a_process_that_only_has_the_daemons_number_is_left_alone(folder: StateFolder) -> None:
    with holder(folder, OBEYS) as process, subprocess.Popen(["sleep", "30"]) as bystander:
        folder.lock.write_text(f'{{"pid":{bystander.pid},"since":0}}')
        with pytest.raises(DaemonError, match="fuser"):
            halt(folder, lambda _: None, no_leftovers)
        time.sleep(0.05)
        assert (process.poll(), bystander.poll()) == (None, None)
        bystander.kill()
