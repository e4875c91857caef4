"""Progress as lines where nobody looks, and as rows with a bar on a terminal."""

import io

import pytest
from rich.console import Console

from warrener.cli import progress
from warrener.cli.progress import ProgressView
from warrener.control.operations import ProgressLine
from warrener.facts.happenings import Progress


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    file = io.StringIO()
    monkeypatch.setattr(progress, "err", lambda: Console(file=file, width=200))
    return file


def test_repeated_lines_are_said_once(lines: io.StringIO) -> None:
    with ProgressView() as view:
        for text in ("boots", "boots", "serves"):
            view(Progress("n1", text))
        view(Progress("n2", "boots"))
        view(Progress("n1", "no", failed=True))
    assert lines.getvalue() == "n1: boots\nn1: serves\nn2: boots\nn1: failed: no\n"


def test_counts_are_told_now_and_then_and_at_the_end(
    lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with ProgressView() as view:
        for count in range(2001):
            view(ProgressLine("n2", "moves", count=count, total=2000))
            clock[0] += 0.005
    counts = [line.split("(")[1].split()[0] for line in lines.getvalue().splitlines()]
    assert counts[0] == "0"
    assert counts[-1] == "2000"
    assert 5 <= len(counts) <= 8


def test_on_a_terminal_there_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    console = Console(file=screen, width=80, force_terminal=True, color_system=None)
    monkeypatch.setattr(progress, "err", lambda: console)
    with ProgressView() as view:
        view(Progress("n1", "is fit", done=True))
        view(ProgressLine("n2", "moves sessions", count=30, total=40))
    last = screen.getvalue().replace("\r", "\n").splitlines()
    (row,) = {line.rstrip() for line in last if "30 of 40" in line}
    assert "n2" in row
    assert "moves sessions (30 of 40)" in row
    assert row.count("━") == progress.BAR * 3 // 4
    assert len(row) <= 80
