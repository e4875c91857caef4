"""`leaders balance --by-count`."""

import pytest
from tests.unit.cli.conftest import Run

from warrener.cli.leaders_spread import _show
from warrener.control.count_operations import CountLine, LeadersSpreadAnswer
from warrener.facts.ids import NodeName


def test_what_came_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        CountLine(node=NodeName("n1@localhost"), before=3, after=2),
        CountLine(node=NodeName("n2@localhost"), before=0, after=1),
    ]
    _show(LeadersSpreadAnswer(nodes=lines, moved=1, settled=True, seconds=2.5))
    out = capsys.readouterr().out
    assert "RabbitMQ moved the leaders of 1 queue in 2.5 s" in out
    assert [line.split() for line in out.splitlines()[1:3]] == [
        ["n1@localhost", "3", "2"],
        ["n2@localhost", "0", "1"],
    ]


def test_there_is_no_dry_run_of_it(run: Run) -> None:
    done = run("leaders", "balance", "--by-count", "--dry-run")
    assert done.code == 2
    assert "no dry run" in done.err
