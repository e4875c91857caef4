"""`warrener rolling-upgrade` against a scripted daemon."""

import json
from pathlib import Path
from typing import Any

from warrener.control.upgrade_operations import CheckLine, UpgradeAnswer, UpgradeNodeLine
from warrener.control.wire import Refusal
from warrener.facts.ids import NodeName
from warrener.testing.scripted_daemon import answer, refusal, scripted_daemon

NEW = "/opt/new"
GOOD = CheckLine(what="upgrade path", problem="", forcible=False)


def row(number: int, state: str = "done", root: str = NEW) -> UpgradeNodeLine:
    return UpgradeNodeLine(
        node=NodeName(f"n{number}@localhost"), state=state, version="3.11.28", installation=root
    )


def told(**changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "to": NEW, "version": "3.11.28", "checks": [GOOD], "nodes": [row(1), row(2)],
        "flags_off": [], "flags_enabled": [], "mixed": False, "described": True, "seconds": 61.0,
    }  # fmt: skip
    return answer(UpgradeAnswer(**(fields | changes)))


def test_what_was_done_and_what_is_left_to_do(run, folder) -> None:
    reply = told(flags_off=["new_thing"], described=False)
    with scripted_daemon(folder, reply) as requests:
        result = run("rolling-upgrade", "--to", "new", "n1", "n2")
    asked = json.loads(requests[0])["args"]
    assert (asked["to"], asked["nodes"]) == (str(Path.cwd() / "new"), ["n1", "n2"])
    assert (asked["flags"], asked["dry_run"]) == (False, False)
    for text in (
        "2 nodes upgraded in 61 s:", "n1  RabbitMQ 3.11.28 in /opt/new",
        "Feature flags to be enabled", "new_thing", "--enable-feature-flags",
        'Put `rabbitmq = "/opt/new"` under [cluster]',
    ):  # fmt: skip
        assert text in result.out


def test_a_dry_run_tells_each_check_and_fails_if_one_does(run, folder) -> None:
    bad = CheckLine(what="alarms", problem="n1: disk alarm", forcible=True)
    nodes = [row(1, "to do", "/usr/old"), row(2, "already"), row(3, "not asked for", "/usr/old")]
    reply = told(checks=[GOOD, bad], nodes=nodes, dry_run=True)
    with scripted_daemon(folder, reply, told(dry_run=True)):
        result = run("rolling-upgrade", "--to", NEW, "--dry-run")
        assert run("rolling-upgrade", "--to", NEW, "--dry-run", "--json").code == 0
    assert result.code == 1
    assert "ok  upgrade path" in result.out
    assert "x  alarms: n1: disk alarm (--force passes over it)" in result.out
    assert "n1  3.11.28 in /usr/old: drained, restarted with the new installation" in result.out
    assert "n2  3.11.28 in /opt/new: runs it already" in result.out
    assert "1 of 2 checks failed" in result.err


def test_nothing_to_do_and_a_mixed_cluster(run, folder) -> None:
    already = [row(1, "already"), row(2, "already")]
    with scripted_daemon(folder, told(nodes=already), told(mixed=True)):
        assert "Nothing to do" in run("rolling-upgrade", "--to", NEW).out
        assert "Not all nodes run the same version" in run("rolling-upgrade", "--to", NEW, "n1").out


def test_a_failure_is_the_daemons_sentence(run, folder) -> None:
    with scripted_daemon(folder, refusal(Refusal.FAILED, "n1 runs 3.10.8 as before")):
        result = run("rolling-upgrade", "--to", NEW)
    assert (result.code, "n1 runs 3.10.8 as before" in result.err) == (1, True)
    assert run("rolling-upgrade").code == 2
