"""`up -d`: the daemon's start is followed on a pipe, and its death is noticed."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from warrener.control.operations import (
    Phase,
    ProgressLine,
    StatusAnswer,
    UrlAnswer,
    ViewStatus,
)
from warrener.daemon import launch as launch_module
from warrener.daemon.errors import DaemonError
from warrener.daemon.launch import PipeReporter, launch
from warrener.daemon.options import Options

FAKE = """
import os, signal, sys, time
sys.path.insert(0, {tests!r})
from warrener.daemon.errors import DaemonError
from warrener.daemon.launch import PipeReporter
from warrener.facts.happenings import Progress
from fake_answers import STATUS, URL
reporter = PipeReporter(int(sys.argv[sys.argv.index("--report") + 1]))
reporter.progress(Progress("n1", " ".join(a for a in sys.argv[1:] if not a.isdigit())))
{then}
"""
ANSWERS = """
from warrener.control.operations import *
STATUS = StatusAnswer(phase=Phase.RUNNING, cluster="warren", version="1", pid=1, state_folder="/s",
    uptime=0.0, nodes=[], balancer=None, queues=[],
    management=ViewStatus(source=None, taken_at=None, age=None, error=""))
URL = UrlAnswer(url="amqp://u", host="h", port=1, user="u", password="p", vhost="/")
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes ``launch`` start a module with the given ending instead of the daemon."""

    def make(then: str) -> Options:
        (tmp_path / "fake_answers.py").write_text(ANSWERS)
        (tmp_path / "fake_daemon.py").write_text(FAKE.format(tests=str(tmp_path), then=then))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(launch_module, "MODULE", "fake_daemon")
        return Options(tmp_path / "state", tmp_path / "w.toml", 5)

    return make


def test_progress_then_ready_with_status_and_url(fake, tmp_path: Path) -> None:
    seen: list[ProgressLine] = []
    status, url = launch(fake("reporter.ready(STATUS, URL)"), seen.append)
    assert (status.phase, url.url) == (Phase.RUNNING, "amqp://u")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert [line.text for line in seen] == [
        f"--report --state {tmp_path}/state --file {tmp_path}/w.toml --nodes"
    ]


def test_a_daemon_is_told_that_steps_follow_that_take_nodes_away(fake) -> None:
    options = replace(fake("reporter.ready(STATUS, URL)"), nodes=None, for_apply=True)
    seen: list[ProgressLine] = []
    launch(options, seen.append)
    assert seen[0].text.endswith("w.toml --for-apply")


@pytest.mark.parametrize(
    ("wanted", "flag"), [(True, " --prometheus"), (False, " --no-prometheus"), (None, "")]
)
def test_a_daemon_is_told_whether_to_run_a_prometheus(fake, wanted: bool | None, flag: str) -> None:
    options = replace(fake("reporter.ready(STATUS, URL)"), nodes=None, prometheus=wanted)
    seen: list[ProgressLine] = []
    launch(options, seen.append)
    assert seen[0].text.endswith(f"w.toml{flag}")


def test_a_failed_start_is_raised_with_its_words_and_exit_code(fake) -> None:
    options = fake("reporter.failed(DaemonError('no RabbitMQ', exit_code=2)); sys.exit(2)")
    with pytest.raises(DaemonError, match="no RabbitMQ") as caught:
        launch(options, lambda _: None)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("then", "how"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "by SIGKILL"),
        ("sys.exit(7)", "with exit code 7"),
    ],
)
def test_a_death_before_ready_is_told_with_its_cause(fake, then: str, how: str) -> None:
    with pytest.raises(DaemonError, match=f"ended {how}"):
        launch(fake(then), lambda _: None)


def test_ctrl_c_is_passed_on_and_the_daemons_last_words_are_awaited(fake) -> None:
    options = fake(
        "def stop(*_):\n"
        "    reporter.progress(Progress('n1', 'stopping'))\n"
        "    reporter.failed(DaemonError('stopped before it was ready'))\n"
        "    sys.exit(1)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "reporter.progress(Progress('n1', 'waiting'))\n"
        "time.sleep(30)"
    )
    seen: list[str] = []

    def interrupt(line: ProgressLine) -> None:
        seen.append(line.text)
        if line.text == "waiting":
            signal.raise_signal(signal.SIGINT)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with pytest.raises(DaemonError, match="stopped before it was ready"):
            launch(options, interrupt)
        signal.raise_signal(signal.SIGINT)  # one too many: changes nothing
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert seen[1:] == ["waiting", "stopping"]


def test_the_daemon_is_in_a_session_of_its_own(fake) -> None:
    """So that a Ctrl-C or a closed terminal doesn't reach it or its nodes."""
    options = fake("assert os.getsid(0) == os.getpid()\nreporter.ready(STATUS, URL)")
    launch(options, lambda _: None)


def test_a_launcher_that_went_away_is_no_reason_to_fail() -> None:
    import os

    from warrener.facts.happenings import Progress

    reading, writing = os.pipe()
    os.close(reading)
    reporter = PipeReporter(writing)
    reporter.progress(Progress("n1", "x"))
    reporter.progress(Progress("n1", "y"))
    view = ViewStatus(source=None, taken_at=None, age=None, error="")
    reporter.ready(
        StatusAnswer(
            phase=Phase.RUNNING, cluster="", version="", pid=1, state_folder="", uptime=0.0,
            nodes=[], balancer=None, queues=[], management=view,
        ),
        UrlAnswer(url="", host="", port=1, user="", password="", vhost=""),
    )  # fmt: skip
