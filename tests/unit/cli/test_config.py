"""`warrener config` against a scripted daemon: what is asked, what is printed, exit codes."""

import io
import json
import sys
from typing import Any

import pytest

from warrener.control.config_operations import ConfigAnswer, ConfigRow, SetConfigAnswer
from warrener.control.state_folder import StateFolder
from warrener.facts.ids import NodeName
from warrener.testing.scripted_daemon import answer, scripted_daemon

N1, N2 = NodeName("n1@localhost"), NodeName("n2@localhost")


def row(key: str = "heartbeat", **changes: Any) -> ConfigRow:
    fields: dict[str, Any] = {
        "key": key, "purpose": "Heartbeat", "allowed": "a whole number", "unit": "s", "file": None,
        "source": "", "in_force": {N1: "60", N2: "60"}, "default": "60", "applies": "live",
        "command": "rabbitmqctl eval", "effect": "new connections", "drift": "", "reserved": "",
        "since": "", "note": "", "described": True,
    }  # fmt: skip
    return ConfigRow(**(fields | changes))


def told(*rows: ConfigRow, silent: dict[NodeName, str] | None = None) -> bytes:
    return answer(ConfigAnswer(version="3.10.8", rows=list(rows), silent=silent or {}))


def changed(**changes: Any) -> SetConfigAnswer:
    fields: dict[str, Any] = {
        "key": "heartbeat", "before": None, "after": "30", "default": "60", "applies": "live",
        "command": "rabbitmqctl eval", "effect": "new connections", "note": "",
        "nodes": [N1, N2], "waiting": [],
    }  # fmt: skip
    return SetConfigAnswer(**(fields | changes))


DRIFT = row(in_force={N1: "60", N2: "30"}, drift="n2: other than the default")


def test_list_and_its_rabbitmq_word(run, folder: StateFolder) -> None:
    rows = (row(), row("frame_max", file="4096", source="warrener", applies="restart"), DRIFT)
    with scripted_daemon(folder, *[told(*rows)] * 2) as requests:
        result = run("config", "list", "a", "--all")
        assert run("list-configs", "a", "--all").out == result.out
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert lines[1:4] == [
        "heartbeat 60 - 60 live",
        "frame_max 60 4096 (w) 60 restart",
        "! heartbeat n1:60 n2:30 - 60 live",
    ]
    assert "3 keys of RabbitMQ 3.10.8; 1 marked ! drifts" in result.out.replace("\n", " ")
    args = {"pattern": "a", "every": True, "exact": False}
    assert [json.loads(line)["args"] for line in requests] == [args, args]


def test_get_shows_each_node(run, folder: StateFolder) -> None:
    with scripted_daemon(folder, told(DRIFT, silent={N1: "doesn't run (down)"})):
        result = run("config", "get", "heartbeat")
    for part in ("in force on n1", "in force on n2", "a whole number", "new connections",
                 "n2: other than the default"):  # fmt: skip
        assert part in result.out
    assert result.err == "warrener: n1@localhost: doesn't run (down)\n"


def test_diff_has_only_what_drifts(run, folder: StateFolder) -> None:
    with scripted_daemon(folder, told(row(), DRIFT), told(row(), DRIFT), told(row())):
        assert "frame" not in run("config", "diff").out
        (found,) = json.loads(run("config", "diff", "--json").out)["rows"]
        assert found["drift"] == "n2: other than the default"
        assert "No drift" in run("config", "diff").out


def test_set_with_yes_asks_once(run, folder: StateFolder) -> None:
    with scripted_daemon(folder, answer(changed()), answer(changed(after=None))) as requests:
        assert run("set-config", "heartbeat", "30", "--yes").out == (
            "heartbeat = 30 (before: not set): in force on 2 nodes (n1, n2) (for new connections), "
            "and read back.\n"
        )
        assert "no longer set (default: 60)" in run("config", "unset", "heartbeat", "-y").out
    args = [json.loads(line)["args"] for line in requests]
    assert (args[0]["value"], args[0]["dry_run"], args[1]["value"]) == ("30", False, None)


def test_a_dry_run_says_what_it_takes(run, folder: StateFolder) -> None:
    plan = changed(applies="restart", dry_run=True, waiting=[NodeName("n3@localhost")])
    with scripted_daemon(folder, answer(plan), answer(plan)) as requests:
        out = run("config", "set", "heartbeat", "30", "--dry-run").out
        assert json.loads(run("config", "set", "heartbeat", "30", "--dry-run", "--json").out)
    assert "Needs a restart of 2 nodes (n1, n2), one by one behind the balancer" in out
    assert "n3 doesn't run and gets it at the next start." in out
    assert all(json.loads(line)["args"]["dry_run"] for line in requests)


def test_without_yes_and_terminal_nothing_is_done(
    run, folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with scripted_daemon(folder, answer(changed(dry_run=True))) as requests:
        result = run("config", "set", "heartbeat", "30")
    assert result.code == 2
    assert "Live on 2 nodes (n1, n2)" in result.out
    assert "nothing was changed: give --yes" in result.err
    assert len(requests) == 1


def test_a_secret_comes_by_stdin(run, folder: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("hunter2\n"))
    with scripted_daemon(folder, answer(changed())) as requests:
        run("config", "set", "ssl_options.password", "-", "--yes")
    assert json.loads(requests[0])["args"]["value"] == "hunter2"
