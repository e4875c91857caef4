"""`warrener init`, `validate`, `diff`, `apply` against a scripted daemon."""

import json
from pathlib import Path
from typing import Any

import pytest

from warrener.control import describe_operations as ops
from warrener.control import operations
from warrener.control.state_folder import StateFolder
from warrener.testing.scripted_daemon import answer, scripted_daemon

STEP = ops.StepLine(
    verb="make", thing="user", subject="u",
    changes=[ops.ChangeLine(what="password", before="", after="generated")],
)  # fmt: skip
CHANGE = ops.StepLine(
    verb="change", thing="policy", subject="p in /",
    changes=[ops.ChangeLine(what="max-length", before="1", after="2")],
)  # fmt: skip
REMOVE = ops.StepLine(verb="remove", thing="user", subject="x", changes=[], danger="removes")
BLOCKED = ops.StepLine(
    verb="change", thing="virtual host", subject="/", blocked="only when it is made",
    changes=[ops.ChangeLine(what="default queue type", before="classic", after="quorum")],
)  # fmt: skip
LATER = ops.LaterLine(thing="balancer", what="locality", before="true", after="false")


def found(*steps: ops.StepLine, **more: Any) -> ops.DiffAnswer:
    told: dict[str, Any] = {"later": [], "unlisted": {}, "fingerprint": "f"} | more
    return ops.DiffAnswer(steps=list(steps), **told)


def done(*steps: ops.StepLine, **more: Any) -> ops.ApplyAnswer:
    told: dict[str, Any] = {
        "failed": None, "why": "", "left": [], "blocked": [], "later": [], "unlisted": {},
        "called_off": False, "seconds": 1.25,
    } | more  # fmt: skip
    return ops.ApplyAnswer(done=list(steps), **told)


@pytest.fixture
def file(tmp_path: Path, run: Any) -> Path:
    path = tmp_path / "warrener.toml"
    path.write_text('[[user]]\nname = "u"\npassword = { env = "U" }\n')
    return path


def test_init_writes_what_validates_and_replaces_nothing(run: Any, tmp_path: Path) -> None:
    for profile in ("orders", "logs", "realtime"):
        path = tmp_path / f"{profile}.toml"
        assert run("init", "--profile", profile, path.name).code == 0
        result = run("validate", path.name)
        assert result.code == 0
        assert result.out.startswith(f"{profile}.toml is valid: {profile}, 3 nodes, ")
    path.write_text("mine")
    result = run("init", "realtime.toml")
    assert (result.code, path.read_text()) == (2, "mine")
    assert "exists and was left as it is; --force replaces it" in result.err
    assert run("init", "--force", "realtime.toml").code == 0
    assert path.read_text() != "mine"


def test_init_into_the_current_folder(run: Any, tmp_path: Path) -> None:
    result = run("init")
    assert result.out == (
        "Wrote warrener.toml (orders). `warrener apply` starts a cluster as it says.\n"
    )
    assert (tmp_path / "warrener.toml").exists()


def test_init_knows_its_profiles(run: Any) -> None:
    result = run("init", "--profile", "order")
    assert (result.code, result.err) == (
        2,
        "warrener: no profile 'order': did you mean 'orders'? There are: orders, logs, realtime\n",
    )


def test_validate_names_all_mistakes(run: Any, file: Path) -> None:
    file.write_text('nam = "x"\n[cluster]\nnodes = "3"\n')
    result = run("validate")
    assert (result.code, result.out) == (2, "")
    lines = result.err.splitlines()
    assert lines[0] == "warrener: 2 mistakes in warrener.toml"
    assert lines[1].startswith("warrener.toml:1:1: nam: unknown key; ")
    assert lines[2].startswith("warrener.toml:3:1: cluster.nodes: ")
    document = json.loads(run("validate", "--json").out)
    assert [(one["line"], one["column"]) for one in document["mistakes"]] == [(1, 1), (3, 1)]
    assert document["mistakes"][0]["nearest"] == "name"


def test_validate_warns(run: Any, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("U", raising=False)
    result = run("validate")
    assert result.code == 0
    assert "will need the password of user u: the environment has no U" in result.err


def test_a_file_that_is_not_there(run: Any) -> None:
    for command in ("validate", "diff", "apply"):
        result = run(command)
        assert result.code == 2
        assert "`warrener init` writes one" in result.err


def test_diff(run: Any, file: Path, folder: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("U", "s3cret")
    told = found(
        STEP,
        CHANGE,
        REMOVE,
        BLOCKED,
        later=[LATER],
        unlisted={"users": ["x"], "policies": ["y", "z"]},
    )
    with scripted_daemon(folder, answer(told)) as requests:
        result = run("diff")
    assert result.code == 0
    assert result.out == (
        "1 + user u\n"
        "      password: generated\n"
        "2 ~ policy p in /\n"
        "      max-length: 1 -> 2\n"
        "3 - user x  ! removes\n"
        "\n"
        "Not possible:\n"
        "  ~ virtual host /\n"
        "      default queue type: classic -> quorum\n"
        "      only when it is made\n"
        "\n"
        "At the next `warrener up`:\n"
        "  balancer: locality: true -> false\n"
    )
    assert result.err == (
        "Not in the file and left alone: 1 user (x); 2 policies (y, z). --prune removes them.\n"
    )
    args = json.loads(requests[0])["args"]
    assert args["secrets"] == {"u": "s3cret"}
    assert args["text"] == file.read_text()
    assert args["prune"] is False


@pytest.mark.usefixtures("secret", "file")
def test_thousands_of_queues_hide_nothing_else(run: Any, folder: StateFolder) -> None:
    queues = [
        ops.StepLine(verb="make", thing="queue", subject=f"q{number}", changes=[])
        for number in range(5000)
    ]
    with scripted_daemon(folder, answer(found(STEP, *queues, REMOVE))):
        lines = run("diff").out.splitlines()
    assert lines[:3] == ["   1 + user u", "         password: generated", "   2 + queue q0"]
    assert lines[-3:] == [
        "  21 + queue q19",
        "     + 4980 more queues (--json)",
        "5002 - user x  ! removes",
    ]
    assert len(lines) == 24


def test_a_password_that_is_missing_is_told_before_anything_is_asked(
    run: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("U", raising=False)
    result = run("apply", "--yes")
    assert (result.code, result.err) == (
        2, "warrener: warrener.toml:3:1: user[0].password: the environment has no U\n"
    )  # fmt: skip


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("U", "s3cret")


@pytest.mark.usefixtures("secret", "file")
def test_diff_of_what_does_not_run(run: Any) -> None:
    assert run("diff").code == 3


@pytest.mark.usefixtures("secret", "file")
def test_apply_asks_nobody_where_nobody_is(run: Any) -> None:
    result = run("apply")
    assert result.code == 2
    assert "`warrener apply --yes` doesn't ask" in result.err


@pytest.mark.usefixtures("secret", "file")
def test_apply_takes_what_it_showed(run: Any, folder: StateFolder) -> None:
    step = operations.ProgressLine("1/1 user u", "is made")
    with scripted_daemon(folder, answer(found(STEP)), answer(done(STEP), step)) as requests:
        result = run("apply", "--yes", "--prune")
    assert result.code == 0
    assert result.out.endswith("Done: 1 step in 1.2 s.\n")
    assert result.err == "1/1 user u: is made\n"
    assert [json.loads(line)["op"] for line in requests] == ["diff", "apply"]
    args = json.loads(requests[1])["args"]
    assert (args["agreed"], args["prune"]) == ("f", True)


@pytest.mark.usefixtures("secret", "file")
def test_apply_with_nothing_to_do(run: Any, folder: StateFolder) -> None:
    with scripted_daemon(folder, answer(found()), answer(found())):
        result = run("apply", "--yes")
        document = json.loads(run("apply", "--yes", "--json").out)
    assert (result.code, result.out) == (0, "Nothing to do: the cluster is as the file says.\n")
    assert (document["done"], document["started"]) == ([], False)


@pytest.mark.usefixtures("secret", "file")
def test_a_failure_names_what_is_done_and_left(run: Any, folder: StateFolder) -> None:
    told = done(STEP, failed=CHANGE, why="it said no", left=[REMOVE])
    with scripted_daemon(folder, answer(found(STEP, CHANGE, REMOVE)), answer(told)):
        result = run("apply", "--yes")
    assert result.code == 1
    assert result.err.endswith(
        "warrener: change policy p in / failed: it said no\n"
        "1 step done, 1 step left; `warrener apply` goes on from there\n"
    )


@pytest.mark.usefixtures("secret", "file")
def test_blocked_steps_are_no_success(run: Any, folder: StateFolder) -> None:
    with scripted_daemon(folder, answer(found(BLOCKED))):
        result = run("apply", "--yes")
    assert result.code == 1
    assert "1 step can't be taken, see above" in result.err


@pytest.mark.usefixtures("secret", "file")
def test_called_off(run: Any, folder: StateFolder) -> None:
    told = done(STEP, left=[CHANGE], called_off=True)
    with scripted_daemon(folder, answer(found(STEP, CHANGE)), answer(told)):
        assert run("apply", "--yes").code == 130


@pytest.mark.usefixtures("secret", "file")
def test_a_daemon_that_ends_in_the_middle(run: Any, folder: StateFolder) -> None:
    with scripted_daemon(folder, answer(found(STEP)), b""):
        result = run("apply", "--yes")
    assert result.code == 1
    assert "What was done is done; `warrener apply` starts the cluster again" in result.err


def test_url_of_a_user(run: Any, folder: StateFolder) -> None:
    told = operations.UrlAnswer(
        url="amqp://u:p@h:1/v", host="h", port=1, user="u", password="p", vhost="v"
    )
    with scripted_daemon(folder, answer(told)) as requests:
        assert run("url", "--user", "u").out == "amqp://u:p@h:1/v\n"
    assert json.loads(requests[0])["args"] == {"user": "u"}
