"""Exit codes, help, and one clear sentence for whatever goes wrong."""

from pathlib import Path

import pytest

from warrener import __version__
from warrener.cli import main as main_module
from warrener.cli.common import CliError
from warrener.control.client import NotRunning, Unresponsive
from warrener.control.lock import Holder, Lock
from warrener.control.state_folder import NotOurs, StateFolder
from warrener.control.wire import BadLine, Refusal, Refused
from warrener.daemon.errors import AlreadyRunning, DaemonError

COMMANDS = [
    ["up"], ["down"], ["status"], ["url"], ["sessions"], ["events"], ["doctor"],
    ["balance"], ["balance", "set-policy"], ["balance", "set-weight"], ["balance", "show"],
]  # fmt: skip


def test_version(run) -> None:
    assert run("--version").out == f"warrener {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_that_fits_80_columns(run, command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.code == 0
    assert max(len(line) for line in result.out.splitlines()) <= 80
    if command != ["balance"]:
        assert f"warrener {' '.join(command)}" in result.out.split("Examples:")[1]


def test_help_lists_every_command(run) -> None:
    listed = run("--help").out
    assert all(f"│ {command[0]} " in listed for command in COMMANDS)
    assert "│ bench " in listed


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["status", "--nonsense"],
        ["up", "--nodes", "many"],
        ["up", "--nodes", "0"],
        ["up", "--data-plane", "nginx"],
        ["up", "--weights", "n1=5"],
        ["balance", "set-weight", "n1"],
        ["balance", "set-weight", "n1", "heavy"],
        ["events", "--last", "-1"],
    ],
    ids=" ".join,
)
def test_bad_usage_is_exit_code_2_and_nothing_on_stdout(run, arguments: list[str]) -> None:
    result = run(*arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err


def test_an_unknown_policy_names_the_nearest_without_asking_the_daemon(run) -> None:
    result = run("balance", "set-policy", "leastcon")
    assert result.code == 2
    assert "did you mean 'leastconn'" in result.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["url"],
        ["sessions"],
        ["events"],
        ["balance", "show"],
        ["balance", "set-policy", "p2c"],
        ["balance", "set-weight", "n1", "5"],
    ],
    ids=" ".join,
)
def test_without_a_cluster_it_is_exit_code_3_and_says_how_to_start_one(
    run, arguments: list[str]
) -> None:
    result = run(*arguments)
    assert (result.code, result.out) == (3, "")
    assert result.err == "warrener: no cluster is running in .warrener. `warrener up` starts one\n"


def test_a_killed_daemon_is_told_apart(run, folder: StateFolder) -> None:
    folder.socket.touch()
    result = run("status")
    assert result.code == 3
    assert "its daemon was killed" in result.err
    assert "`warrener down`" in result.err


@pytest.mark.parametrize("where", ["before", "after", "environment"])
def test_the_state_folder_can_be_given_in_three_places(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    state = ["--state", str(tmp_path / "x")]
    if where == "environment":
        monkeypatch.setenv("WARRENER_STATE", str(tmp_path / "x"))
        state = []
    result = run("url", *state) if where == "after" else run(*state, "url")
    assert result.code == 3
    assert "running in x." in result.err
    assert ("--state x" in result.err) == (where != "environment")


def test_a_daemon_that_does_not_answer_is_exit_code_1(run, folder: StateFolder) -> None:
    with Lock(folder.lock, now=0.0):
        result = run("status")
    assert result.code == 1
    assert "doesn't answer" in result.err
    assert "`warrener down`" in result.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CliError("x", 3), 3),
        (NotRunning(StateFolder(Path("/s"))), 3),
        (Unresponsive(Holder(1), "x"), 1),
        (Refused(Refusal.BAD_ARGUMENT, "x"), 2),
        (Refused(Refusal.NOT_YET, "x"), 1),
        (Refused(Refusal.INTERNAL, "x"), 1),
        (DaemonError("x"), 1),
        (DaemonError("x", exit_code=2), 2),
        (AlreadyRunning("/s", 1), 1),
        (NotOurs("x"), 2),
        (BadLine("x"), 1),
        (ZeroDivisionError("x"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_every_error_has_a_sentence_and_an_exit_code(error: Exception, code: int) -> None:
    message, got = main_module.describe(error)
    assert got == code
    assert message
    assert "\n" not in message


def test_a_bug_leaves_its_traceback_in_the_log(
    run, folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("warrener.cli.inspect.folder_of", bug)
    result = run("url")
    assert result.code == 1
    assert "Traceback" not in result.err
    assert "ZeroDivisionError: oops (a bug in Warrener; the traceback is in " in result.err
    assert "Traceback" in (folder.logs / "cli.log").read_text()
    monkeypatch.setenv("WARRENER_DEBUG", "1")
    assert "Traceback" in run("url").err
