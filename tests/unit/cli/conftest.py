"""Runs the command line in this process, as its entry point does."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from warrener.cli.main import main
from warrener.control.state_folder import StateFolder


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """``run("status", "--json")``; the current folder is an empty one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("WARRENER_STATE", raising=False)
    monkeypatch.delenv("WARRENER_DEBUG", raising=False)

    def call(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["warrener", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        code = exit_.value.code
        return Result(code if isinstance(code, int) else 0, captured.out, captured.err)

    return call


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    """The default state folder of the current folder."""
    state = StateFolder(tmp_path / ".warrener")
    state.prepare()
    return state
