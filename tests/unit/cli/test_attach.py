"""`up --attach`: what is typed, where the password comes from, and where it doesn't go."""

from pathlib import Path

import pytest
from tests.unit.cli.conftest import Run

from warrener.cli.attach import wanted
from warrener.cli.common import CliError
from warrener.cluster.attach import Attach
from warrener.daemon import launch as launch_module
from warrener.daemon.launch import _secret, read_secret
from warrener.daemon.options import Options
from warrener.facts.ids import NodeName

URL = "http://a:15672"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WARRENER_PASSWORD", raising=False)


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "pw"
    path.write_text("s3cret\n")
    return path


def test_nothing_of_it_is_a_cluster_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "w.toml"
    file.write_text("[cluster]\nnodes = 3")
    assert wanted(None, None, None, None, None) is None
    assert wanted(None, None, None, None, file) is None


def test_the_password_is_from_the_file_that_is_named(password: Path) -> None:
    assert wanted([URL, URL], "ops", password, None, None) == (Attach((URL,), "ops"), "s3cret")


def test_or_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARRENER_PASSWORD", "env")
    assert wanted([URL], "ops", None, None, None) == (Attach((URL,), "ops"), "env")


def test_or_as_the_description_says(tmp_path: Path, password: Path) -> None:
    file = tmp_path / "w.toml"
    file.write_text(f'[attach]\nurl = "{URL}"\nuser = "ops"\npassword = {{ file = "pw" }}')
    found = wanted(None, None, None, None, file)
    assert found is not None
    assert (found[0].user, found[1]) == ("ops", "s3cret")
    more = wanted(["http://b:1"], None, None, None, file)
    assert more is not None
    assert more[0].urls == ("http://b:1",)
    with pytest.raises(CliError, match="the password of user 'else' isn't known"):
        wanted(None, "else", None, None, file)


def test_nobody_can_be_asked(run: Run) -> None:
    done = run("up", "--attach", URL, "--user", "ops")
    assert done.code == 2
    assert "--password-file FILE, or set WARRENER_PASSWORD" in done.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--attach", "http://u:s3cret@a", "--user", "x"], "a user or password in the URL"),
        (["--attach", "nix", "--user", "x"], "allowed: http://HOST:PORT"),
        (["--attach", URL], "give --user NAME"),
        (["--user", "x"], "--user goes with --attach URL"),
        (["--ca", "x"], "--ca goes with --attach URL"),
        (["--attach", URL, "--user", "x", "--password-file", "none"], "none can't be read"),
    ],
)
def test_bad_input(run: Run, arguments: list[str], told: str) -> None:
    done = run("up", *arguments)
    assert done.code == 2
    assert told in done.err
    assert "s3cret" not in done.err


def test_balance_run_wants_a_cluster(run: Run) -> None:
    done = run("balance", "run")
    assert done.code == 2
    assert "give --attach URL" in done.err


def test_the_daemon_is_told_on_a_pipe_and_never_in_its_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = {NodeName("rabbit@a"): ("10.0.0.1", 5672)}
    attach = Attach((URL,), "ops", ca=tmp_path / "ca.pem", nodes=nodes)
    options = Options(tmp_path, attach=attach, password="s3cret")
    seen: list[list[str]] = []

    def spawn(path: str, arguments: list[str], *rest: object, **more: object) -> int:
        seen.append(arguments)
        return 0

    monkeypatch.setattr(launch_module.os, "posix_spawn", spawn)
    with _secret(options) as descriptor:
        assert descriptor is not None
        launch_module._spawn(options, 1, descriptor)
        import os

        assert read_secret(os.dup(descriptor)) == (attach, "s3cret")
    assert "s3cret" not in " ".join(seen[0])
    assert "s3cret" not in repr(options)
