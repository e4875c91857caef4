"""`warrener top` where nobody looks: one frame as text, one document; and exit codes."""

import json

import pytest
from tests.unit.cli.top.scene import Daemon, Figures, many
from tests.unit.planner.scene import calibration, load, queue

from warrener.cli.top import command
from warrener.control import wire
from warrener.control.state_folder import StateFolder
from warrener.planner.calibration_file import write_calibration
from warrener.planner.load_wire import to_wire


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "BETWEEN", 0.05)


def test_one_frame_is_printed_where_there_is_no_terminal(run, folder: StateFolder) -> None:
    with Daemon(folder, Figures()):
        result = run("top")
        again = run("top", "--once")
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0].startswith("warren: running, up 3h12m  3 of 3 fit  12 sessions")
    for text in ("Nodes 3", "Queues 6", "Sessions 12", "Events 40", "  and 30 earlier"):
        assert text in lines
    assert all(len(line) <= 80 for line in lines)
    assert again.out == result.out


def test_long_tables_are_cut_and_say_so(run, folder: StateFolder) -> None:
    with Daemon(folder, many(100, 50)):
        out = run("top", "--once").out
    assert "\n  and 80 more\n" in out
    assert "\n  and 30 more\n" in out
    assert "orders-0099" in out
    assert "orders-0001" not in out


def test_one_document_has_all_rows_as_figures(run, folder: StateFolder) -> None:
    with Daemon(folder, many(100, 50)):
        document = json.loads(run("top", "--json").out)
    assert [len(document[name]) for name in ("nodes", "queues", "sessions")] == [3, 100, 50]
    first = document["nodes"][0]
    assert (first["node"], first["name"], first["fit"]) == ("n1@localhost", "n1", "yes")
    assert first["messages_in"] == 0.0
    assert document["queues"][0]["ready"] == 99
    assert document["totals"]["sessions"] == 50
    assert document["events"][-1]["reason"] == "refuses"


def test_what_a_daemon_does_not_know_is_said_in_its_place(run, folder: StateFolder) -> None:
    figures = Figures()
    figures.answers["sessions"] = wire.Refused(wire.Refusal.UNSUPPORTED, "HAProxy knows none")
    figures.answers["history"] = wire.Refused(wire.Refusal.NOT_YET, "no history yet")
    with Daemon(folder, figures):
        out = run("top", "--once").out
    assert "\nSessions 0\n  HAProxy knows none\n" in out
    assert "  rates: no history yet\n" in out


def test_no_cluster_is_exit_code_3(run, folder: StateFolder) -> None:
    result = run("top")
    assert (result.code, result.out) == (3, "")
    assert "no cluster is running" in result.err


def test_textual_is_imported_by_the_screen_alone(run, folder: StateFolder) -> None:
    import subprocess
    import sys

    code = (
        "import sys, warrener.cli.main, warrener.cli.top.frame, warrener.cli.top.acts; "
        "sys.exit('textual' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_plan_is_in_the_frame_and_in_the_document(run, folder: StateFolder) -> None:
    write_calibration(folder.path, calibration())
    figures = Figures(answers={"plan-load": to_wire(load(queue("jobs", 4_000)))})
    with Daemon(folder, figures):
        out = run("top", "--once").out
        document = json.loads(run("top", "--json").out)
    assert "\nCarries 8000/s, 2.00 times the 4000/s of the last 5 min\n" in out
    assert "\nFirst to break: queue jobs, whose own limit is 8,000 messages/s\n" in out
    assert document["plan"]["breaks_at"] == 2.0
    assert {part["key"] for part in document["plan"]["parts"]} >= {"queue jobs", "node n1"}


def test_without_a_plan_they_say_what_to_do(run, folder: StateFolder) -> None:
    with Daemon(folder, Figures()):
        out = run("top", "--once").out
        document = json.loads(run("top", "--json").out)
    assert "warrener plan calibrate" in " ".join(out.split())
    assert "warrener plan calibrate" in document["plan"]["why_not"]
