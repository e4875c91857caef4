"""The driver's files: private, replaced whole, damaged ones named."""

import os
from pathlib import Path

import pytest

from warrener.cluster.drivers.private_files import PrivateFiles, Record, write_private
from warrener.cluster.errors import StateBroken, StateInUse
from warrener.facts.ids import NodeName


@pytest.fixture
def files(tmp_path: Path) -> PrivateFiles:
    found = PrivateFiles(tmp_path / "state")
    found.prepare()
    return found


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_folders_and_files_are_private(files: PrivateFiles) -> None:
    previous = os.umask(0)
    try:
        files.credentials()
        files.prepare_cookie()
        files.write_record(Record(id="x"))
    finally:
        os.umask(previous)
    for folder in (files.state, files.state / "home", files.nodes):
        assert mode(folder) == 0o700
    assert mode(files.state / "credentials.json") == 0o600
    assert mode(files.state / "cluster.json") == 0o600
    assert mode(files.state / "home" / ".erlang.cookie") == 0o400


def test_credentials_and_cookie_are_made_once(files: PrivateFiles, tmp_path: Path) -> None:
    first = files.credentials()
    files.prepare_cookie()
    cookie = (files.state / "home" / ".erlang.cookie").read_bytes()
    files.prepare_cookie()
    assert files.credentials() == first
    assert (files.state / "home" / ".erlang.cookie").read_bytes() == cookie
    assert len(first.password) >= 32
    other = PrivateFiles(tmp_path / "other")
    other.prepare()
    assert other.credentials().password != first.password


def test_the_password_is_not_shown(files: PrivateFiles) -> None:
    assert files.credentials().password not in repr(files.credentials())


def test_a_record_is_read_as_it_was_written(files: PrivateFiles) -> None:
    assert files.read_record() is None
    record = Record(id="x", base=20_000, balancer_port=5672, members=(NodeName("n1@localhost"),))
    files.write_record(record)
    assert files.read_record() == record


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"id": 5}', b"\xff"])
def test_a_damaged_record_is_named(files: PrivateFiles, content: bytes) -> None:
    (files.state / "cluster.json").write_bytes(content)
    with pytest.raises(StateBroken) as caught:
        files.read_record()
    assert str(caught.value).startswith(f"{files.state}/cluster.json is damaged")
    assert "warrener down --purge" in str(caught.value)


def test_a_folder_is_driven_by_one_at_a_time(files: PrivateFiles) -> None:
    before = sorted(files.state.rglob("*"))
    lock = files.lock()
    with pytest.raises(StateInUse, match="warrener down"):
        files.lock()
    os.close(lock)
    os.close(files.lock())
    assert sorted(files.state.rglob("*")) == before, "no lock file"


def test_a_copied_folder_is_another_cluster_a_moved_one_the_same(
    files: PrivateFiles, tmp_path: Path
) -> None:
    record = Record(id="x")
    mark = files.mark(record)
    copy = PrivateFiles(tmp_path / "copy")
    copy.prepare()
    assert copy.mark(record) != mark
    files.state.rename(tmp_path / "moved")
    assert PrivateFiles(tmp_path / "moved").mark(record) == mark


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_private(path, b"one")
    with path.open("rb") as before:
        write_private(path, b"two")
        assert before.read() == b"one"
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]
