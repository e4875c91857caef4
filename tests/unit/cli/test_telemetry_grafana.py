"""`warrener telemetry grafana`: files, and a Grafana that is pushed to."""

import json
from pathlib import Path

import pytest
import yaml
from tests.unit.cli.conftest import Run
from tests.unit.telemetry.grafana_server import TOKEN, serving

from warrener.telemetry.dashboards.boards import BOARDS


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRAFANA_TOKEN", raising=False)


def test_files_need_no_cluster(run: Run, tmp_path: Path) -> None:
    done = run("telemetry", "grafana", "--out", "out", "--prometheus", "http://p:9090/")
    assert done.code == 0
    assert "out/dashboards/warrener-overview.json: new" in done.out
    assert f"GF_PATHS_PROVISIONING={tmp_path}/out/provisioning" in done.out
    for board in BOARDS:
        path = tmp_path / "out" / "dashboards" / f"{board.uid}.json"
        assert json.loads(path.read_text())["uid"] == board.uid
        assert path.stat().st_mode & 0o777 == 0o644
    provider = yaml.safe_load((tmp_path / "out/provisioning/dashboards/warrener.yml").read_text())
    assert provider["providers"][0]["options"]["path"] == f"{tmp_path}/out/dashboards"
    source = yaml.safe_load((tmp_path / "out/provisioning/datasources/warrener.yml").read_text())
    assert source["datasources"][0]["url"] == "http://p:9090"


def test_the_second_time_nothing_changes_and_a_change_is_told(run: Run, tmp_path: Path) -> None:
    run("telemetry", "grafana", "--out", "out")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    document = json.loads(run("telemetry", "grafana", "--out", "out", "--json").out)
    assert {one["action"] for one in document["files"]} == {"unchanged"}
    assert {path: path.read_bytes() for path in before} == before
    options = ("--installed-at", "/etc/grafana/warrener", "--dry-run", "--json")
    document = json.loads(run("telemetry", "grafana", "--out", "out", *options).out)
    assert document["dry_run"] is True
    assert [one["name"] for one in document["files"] if one["action"] == "changed"] == [
        "provisioning/dashboards/warrener.yml"
    ]
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dashboards/warrener-planner.json", '{"uid": "theirs", "tags": ["warrener"]}'),
        ("dashboards/warrener-planner.json", '{"uid": "warrener-planner"}'),
        ("dashboards/warrener-planner.json", "["),
        ("provisioning/datasources/warrener.yml", "apiVersion: 1\n"),
    ],
)
def test_what_somebody_else_wrote_stays(run: Run, tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text(content)
    done = run("telemetry", "grafana", "--out", "out")
    assert done.code == 1
    assert f"out/{name} isn't one that Warrener wrote" in done.err
    assert [each for each in tmp_path.rglob("*.*") if each.is_file()] == [path]
    assert path.read_text() == content


def test_a_folder_that_cant_be_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    done = run("telemetry", "grafana", "--out", "out")
    assert done.code == 1
    assert "Not a directory" in done.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "--out DIR, --push URL, or both"),
        (("--out", "o", "--interval", "soon"), "--interval is a time"),
        (("--out", "o", "--prometheus", "p:9090"), "--prometheus is an address"),
        (("--out", "o", "--installed-at", "grafana"), "absolute path"),
        (("--push", "grafana.lan"), "--push is an address"),
        (("--push", "http://host:port"), "--push is an address"),
        (("--push", "http://h/?a=b"), "--push is an address"),
        (("--push", "https://me:secret@h"), "no login in an address"),
        (("--push", "https://h"), "$GRAFANA_TOKEN"),
        (("--push", "https://h", "--token-file", "none"), "No such file"),
    ],
)
def test_mistakes(run: Run, options: tuple[str, ...], words: str, tmp_path: Path) -> None:
    done = run("telemetry", "grafana", *options)
    assert done.code == 2
    assert words in done.err
    assert "secret" not in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"", b"two words", b"two\nlines", "schlüssel".encode(), b"x" * 5000]
)
def test_a_file_without_a_token(run: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    done = run("telemetry", "grafana", "--push", "https://h", "--token-file", "token")
    assert done.code == 2
    assert "isn't a token" in done.err
    assert not content or content.decode() not in done.err


def test_push_with_a_token_from_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    with serving() as grafana:
        options = ("--push", f"{grafana.url}/", "--token-file", "token")
        dry = run("telemetry", "grafana", *options, "--dry-run")
        assert "Warrener: planner: would be made" in dry.out
        assert grafana.dashboards == {}
        done = run("telemetry", "grafana", *options, "--folder", "Team X", "--message", "why")
        assert done.code == 0
        assert f"Grafana 12.1.0 at {grafana.url}\nfolder Team X: made\n" in done.out
        assert "Warrener: planner: made, version 1, http://" in done.out
        assert set(grafana.dashboards) == {board.uid for board in BOARDS}
        assert set(grafana.folders) == {"team-x"}
        assert set(grafana.messages) == {"why"}
        again = run("telemetry", "grafana", *options, "--folder", "Team X")
        assert "Warrener: planner: is there already, version 1" in again.out
        assert TOKEN not in done.out + done.err + dry.out + again.out


def test_push_as_json_with_a_token_from_the_environment(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFANA_TOKEN", TOKEN)
    with serving() as grafana:
        done = run("telemetry", "grafana", "--push", grafana.url, "--out", "out", "--json")
        document = json.loads(done.out)
        assert document["push"]["url"] == grafana.url
        assert document["push"]["folder"] == "create"
        assert [one["action"] for one in document["push"]["dashboards"]] == ["create"] * 5
        assert len(document["files"]) == 7
        grafana.dashboards["warrener-events"]["title"] = "mine"
        refused = run("telemetry", "grafana", "--push", grafana.url)
        assert refused.code == 1
        assert "warrener-events" in refused.err
        assert run("telemetry", "grafana", "--push", grafana.url, "--overwrite").code == 0
        assert set(grafana.messages) == {"Warrener 0.1.0"}
        monkeypatch.setenv("GRAFANA_TOKEN", "glsa_wrong")
        wrong = run("telemetry", "grafana", "--push", grafana.url)
        assert (wrong.code, "(401)" in wrong.err, "glsa_wrong" in wrong.err) == (1, True, False)


def test_an_unencrypted_way_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFANA_TOKEN", TOKEN)
    done = run("telemetry", "grafana", "--push", "http://grafana.invalid")
    assert done.code == 1
    assert "the token goes there unencrypted" in done.err
    assert "can't be reached" in done.err


def test_an_authority_that_is_none(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GRAFANA_TOKEN", TOKEN)
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("ca.pem", "none.pem"):
        done = run("telemetry", "grafana", "--push", "https://h", "--ca", name)
        assert done.code == 2
        assert f"--ca: {name}" in done.err


def test_the_sdk_isnt_imported_by_other_commands(run: Run) -> None:
    import subprocess
    import sys

    program = (
        "import sys; import warrener.cli.main; import warrener.cli.telemetry\n"
        "assert not [name for name in sys.modules if 'grafana_foundation' in name]"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
