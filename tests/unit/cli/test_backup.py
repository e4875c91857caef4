"""`warrener backup` and `restore` against a scripted daemon: files, questions, exit codes."""

import io
import json
import stat
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from warrener.cluster.backup_file import (
    FORMAT,
    Backup,
    BalancerPart,
    ClusterPart,
    DescriptionPart,
    encode,
)
from warrener.control.backup_operations import BackupAnswer, FailedLine, RestoreAnswer
from warrener.control.describe_operations import ChangeLine, StepLine
from warrener.control.state_folder import StateFolder
from warrener.testing.scripted_daemon import answer, scripted_daemon

DOCUMENT = encode(
    Backup(
        warrener_backup=FORMAT,
        created="2026-11-26T12:00:00Z",
        warrener="0.1.0",
        cluster=ClusterPart(name="or/ders", rabbitmq="3.10.8"),
        balancer=BalancerPart(policy="leastconn"),
        description=DescriptionPart(source="w.toml", text='name = "orders"\n'),
        definitions={"users": []},
    )
)


def kept(**changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "cluster": "or/ders", "created": "2026-11-26T12:00:00Z", "counts": {"queues": 3},
        "settings": 1, "left_out": [], "not_held": ["messages"],
        "document": msgspec.Raw(DOCUMENT),
    }  # fmt: skip
    return answer(BackupAnswer(**(fields | changes)))


def step(subject: str, thing: str = "queue", **more: Any) -> StepLine:
    fields: dict[str, Any] = {"verb": "make", "thing": thing, "subject": subject, "changes": []}
    return StepLine(**(fields | more))


def told(**changes: Any) -> RestoreAnswer:
    fields: dict[str, Any] = {
        "source": "backup of orders", "steps": [], "failed": [], "blocked": [], "left": [],
        "same": 2, "notes": [], "fingerprint": "f",
    }  # fmt: skip
    return RestoreAnswer(**(fields | changes))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "kept.json"
    path.write_bytes(DOCUMENT)
    return path


def test_a_backup_is_named_after_its_cluster_and_private(run, folder, tmp_path: Path) -> None:
    with scripted_daemon(folder, kept(left_out=["the value of x"])):
        result = run("backup")
    path = tmp_path / "or-ders-20261126T120000Z.backup.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert msgspec.json.decode(path.read_bytes()) == msgspec.json.decode(DOCUMENT)
    assert "Wrote or-ders-20261126T120000Z.backup.json: 3 queues, 1 settings" in result.out
    assert "It does not hold: messages." in result.out
    assert "left out: the value of x (--with-secrets takes it along)" in result.err
    assert [one.name for one in tmp_path.iterdir() if one.name != ".warrener"] == [path.name]


def test_a_file_is_replaced_only_by_force(run, folder, tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    path.write_text("mine")
    with scripted_daemon(folder, kept()) as requests:
        result = run("backup", "b.json")
        assert (result.code, "--force replaces it" in result.err, requests) == (2, True, [])
        assert path.read_text() == "mine"
        shown = json.loads(run("backup", "b.json", "--force", "--json").out)
    assert (shown["path"], shown["definitions"]) == (str(path), {"queues": 3})
    assert path.read_text().startswith("{")
    assert run("backup", str(tmp_path)).code == 2


def test_to_stdout_and_what_cannot_be_written(run, folder) -> None:
    with scripted_daemon(folder, kept(), kept()) as requests:
        result = run("backup", "-", "--with-secrets")
        assert json.loads(result.out)["warrener_backup"] == 1
        assert "encrypt it" in result.err
        assert json.loads(requests[0])["args"] == {"secrets": True}
        failed = run("backup", "/proc/nowhere/b.json")
    assert (failed.code, "can't be written" in failed.err) == (1, True)


def test_no_cluster_is_running(run, file: Path) -> None:
    assert run("backup").code == 3
    assert run("restore", str(file), "--yes").code == 3


def test_a_restore_shows_asks_and_takes(run, folder: StateFolder, file: Path) -> None:
    many = [step(f"q{number}") for number in range(12)]
    change = ChangeLine(what="tags", before="[]", after='["a"]')
    plan = told(
        steps=[step("app", "user", verb="change", changes=[change]), *many],
        notes=["it is of another cluster"],
    )
    done = msgspec.structs.replace(plan, seconds=2.0)
    with scripted_daemon(folder, answer(plan), answer(done)) as requests:
        result = run("restore", str(file), "--yes")
    assert result.code == 0
    for text in ("Backup of orders", "it is of another cluster", "~ user app", 'tags: [] -> ["a"]',
                 "+ queue q9", "... 2 more of: queue", "Done: 13 steps in 2.0 s."):  # fmt: skip
        assert text in result.out, result.out
    first, second = (json.loads(line)["args"] for line in requests)
    assert (first["dry_run"], first["path"]) == (True, str(file))
    assert (second["dry_run"], second["agreed"]) == (False, "f")


def test_what_failed_or_cannot_be_is_told_and_fails(run, folder, file: Path) -> None:
    blocked = step("old", blocked="declared otherwise")
    failed = FailedLine(step=step("bad", "policy"), why="no such key")
    plan = told(steps=[step("a"), step("bad", "policy")], blocked=[blocked])
    done = told(steps=[step("a")], failed=[failed], blocked=[blocked], seconds=1.0)
    with scripted_daemon(folder, answer(plan), answer(done)):
        result = run("restore", str(file), "--yes")
    assert result.code == 1
    assert "Not possible:" in result.out
    assert "declared otherwise" in result.out
    assert "make policy bad failed: no such key" in result.err
    assert "1 step failed, 1 step can't be taken on this cluster" in result.err


def test_a_name_from_a_file_does_not_speak_to_the_terminal(run, folder, file: Path) -> None:
    evil = step("q\x1b]0;owned\x07", blocked="no\x1b[2J")
    failed = FailedLine(step=step("p\x1b[1A"), why="a\nb\x1b[0m")
    plan = told(source="x\x1b[31m", steps=[step("ok")], notes=["\x9b2J"], blocked=[evil])
    done = told(failed=[failed], seconds=1.0)
    with scripted_daemon(folder, answer(plan), answer(done)):
        result = run("restore", str(file), "--yes")
    assert not {"\x1b", "\x07", "\x9b"} & set(result.out + result.err)
    assert "q?]0;owned?" in result.out


def test_nothing_to_do_asks_nothing(run, folder, file: Path) -> None:
    with scripted_daemon(folder, answer(told())) as requests:
        result = run("restore", str(file), "--yes")
    assert (result.code, len(requests)) == (0, 1)
    assert "Nothing to do: 2 of what is in it are there already." in result.out


def test_called_off(run, folder, file: Path) -> None:
    plan = told(steps=[step("a"), step("b")])
    off = told(steps=[step("a")], left=[step("b")], called_off=True)
    with scripted_daemon(folder, answer(plan), answer(off)):
        result = run("restore", str(file), "--yes", "--json")
    assert result.code == 130
    assert "1 step done, 1 step left; the same command again goes on" in result.err
    assert json.loads(result.out)["called_off"] is True


def test_nobody_to_ask(run, folder, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with scripted_daemon(folder, answer(told(steps=[step("a")], dry_run=True))) as requests:
        assert run("restore", str(file)).code == 2
        assert requests == []
        assert "+ queue a" in run("restore", str(file), "--dry-run").out


class _Stdin(io.StringIO):
    buffer = io.BytesIO(DOCUMENT)


def test_from_stdin_by_a_private_copy(
    run, folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", _Stdin())
    with scripted_daemon(folder, answer(told())) as requests:
        assert run("restore", "-", "--yes").code == 0
    path = Path(json.loads(requests[0])["args"]["path"])
    assert path.parent == folder.path
    assert not path.exists()


def test_wrong_files_never_reach_the_daemon(run, folder, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_bytes(DOCUMENT[:100])
    with scripted_daemon(folder, answer(told())) as requests:
        result = run("restore", "wrong.json", "--yes")
        assert (result.code, requests) == (2, [])
        assert "it ends in the middle" in result.err
        assert "Nothing was touched" in result.err
        assert run("restore", "nowhere.json", "--yes").code == 2
        run("restore", str(_good(tmp_path)), "--yes")


def _good(folder: Path) -> Path:
    path = folder / "good.json"
    path.write_bytes(DOCUMENT)
    return path


def test_the_description_alone(run, file: Path, tmp_path: Path) -> None:
    assert run("restore", str(file), "--toml", "w.toml").code == 0
    assert (tmp_path / "w.toml").read_text() == 'name = "orders"\n'
    assert run("restore", str(file), "--toml", "w.toml").code == 2
    plain = tmp_path / "plain.json"
    plain.write_text('{"users":[]}')
    result = run("restore", str(plain), "--toml", "x.toml")
    assert (result.code, "there is no warrener.toml in it" in result.err) == (1, True)
