"""Folders that Prometheus reads: written, remembered, kept current."""

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from warrener.daemon.telemetry_files import MOST_FOLDERS, CannotExport, TelemetryFiles
from warrener.telemetry.scrape import Places, Target

PLACES = Places("warren", "127.0.0.1:1", (Target("127.0.0.1:2", "n1"),))
MORE = replace(PLACES, nodes=(*PLACES.nodes, Target("127.0.0.1:3", "n2")))


def prepared(state: Path) -> TelemetryFiles:
    state.mkdir(exist_ok=True)
    files = TelemetryFiles(state)
    files.prepare()
    return files


def export(files: TelemetryFiles, folder: Path, places: Places = PLACES) -> None:
    files.export(folder, places, interval=15.0, after=0.0, authority=b"PEM")


def nodes(folder: Path) -> list[str]:
    groups = json.loads((folder / "targets" / "rabbitmq.json").read_text())
    return [group["labels"]["node"] for group in groups]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_token_is_private_and_stays(tmp_path: Path) -> None:
    files = prepared(tmp_path / "s")
    assert len(files.token) >= 32
    assert mode(files.token_file) == 0o600
    assert mode(files.folder) == 0o700
    assert prepared(tmp_path / "s").token == files.token
    assert prepared(tmp_path / "other").token != files.token


def test_what_is_written_is_complete_and_only_the_token_private(tmp_path: Path) -> None:
    files = prepared(tmp_path / "s")
    out = tmp_path / "deep" / "out"
    export(files, out)
    found = {str(p.relative_to(out)): mode(p) for p in out.rglob("*") if p.is_file()}
    assert found == {
        "alertmanager-example.yml": 0o644,
        "prometheus.yml": 0o644,
        "rules.yml": 0o644,
        "targets/rabbitmq.json": 0o644,
        "targets/warrener.json": 0o644,
        "token": 0o600,
    }
    assert (out / "token").read_text() == files.token


def test_targets_follow_the_cluster_also_after_another_start(tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(prepared(tmp_path / "s"), out)
    assert nodes(out) == ["n1"]
    again = prepared(tmp_path / "s")
    assert again.folders == [out]
    again.follow(MORE, b"")
    assert nodes(out) == ["n1", "n2"]


def test_what_has_not_changed_is_not_written(tmp_path: Path) -> None:
    files, out = prepared(tmp_path / "s"), tmp_path / "out"
    export(files, out)
    before = (out / "targets" / "rabbitmq.json").stat()
    files.follow(PLACES, b"")
    after = (out / "targets" / "rabbitmq.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_an_authority_that_was_renewed_is_given_on(tmp_path: Path) -> None:
    files, out = prepared(tmp_path / "s"), tmp_path / "out"
    export(files, out, replace(PLACES, tls=True))
    assert (out / "ca.pem").read_bytes() == b"PEM"
    files.follow(replace(PLACES, tls=True), b"NEW")
    assert (out / "ca.pem").read_bytes() == b"NEW"


def test_a_folder_that_is_gone_is_forgotten_and_not_made_again(tmp_path: Path) -> None:
    files, out = prepared(tmp_path / "s"), tmp_path / "out"
    export(files, out)
    for path in sorted(out.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    out.rmdir()
    files.follow(MORE, b"")
    assert not out.exists()
    assert prepared(tmp_path / "s").folders == []


def test_a_configuration_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    files, out = prepared(tmp_path / "s"), tmp_path / "out"
    out.mkdir()
    (out / "prometheus.yml").write_text("global: {}\n")
    with pytest.raises(CannotExport, match="isn't one that Warrener wrote"):
        export(files, out)
    assert [p.name for p in out.iterdir()] == ["prometheus.yml"]
    assert files.folders == []


def test_a_folder_that_cannot_be_written_is_told_with_its_reason(tmp_path: Path) -> None:
    files = prepared(tmp_path / "s")
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotExport, match="file"):
        export(files, tmp_path / "file" / "out")


def test_the_number_of_folders_has_a_limit(tmp_path: Path) -> None:
    files = prepared(tmp_path / "s")
    for number in range(MOST_FOLDERS):
        export(files, tmp_path / f"out{number}")
    with pytest.raises(CannotExport, match="kept current already"):
        export(files, tmp_path / "one-more")
    export(files, tmp_path / "out0", MORE)  # one that is known may be written anew
    assert nodes(tmp_path / "out0") == ["n1", "n2"]


def test_a_list_that_is_broken_is_begun_anew(tmp_path: Path) -> None:
    files = prepared(tmp_path / "s")
    (files.folder / "exports.json").write_bytes(b"{nonsense")
    assert prepared(tmp_path / "s").folders == []
