"""A state folder is private, reachable at any path length, and only ever removed if it is ours."""

import socket
import stat
from pathlib import Path

import pytest

from warrener.control.state_folder import NotOurs, StateFolder, connect, listen


def test_prepare_makes_a_private_marked_folder_and_takes_it_again(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "a" / "state")
    assert not folder.is_ours()
    folder.prepare()
    folder.prepare()
    assert folder.is_ours()
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.logs.stat().st_mode) == 0o700
    assert (folder.path / ".gitignore").read_text() == "*\n"


def test_prepare_takes_an_empty_folder_but_not_one_with_files(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    StateFolder(tmp_path / "empty").prepare()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(NotOurs, match=r"aren't Warrener's.*--state"):
        StateFolder(tmp_path / "full").prepare()
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["thesis.tex"]


def test_prepare_says_why_a_path_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotOurs, match=r"can't use .*file/state.*Not a directory"):
        StateFolder(tmp_path / "file" / "state").prepare()


def test_purge_removes_everything_and_follows_no_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").touch()
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    (folder.path / "n1" / "data").mkdir(parents=True)
    (folder.path / "n1" / "data" / "x").touch()
    (folder.path / "link").symlink_to(outside)
    (folder.path / "n1" / "link").symlink_to(outside)
    folder.purge()
    assert not folder.path.exists()
    assert (outside / "keep").exists()


def test_purge_refuses_what_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").touch()
    with pytest.raises(NotOurs, match="not a Warrener state folder"):
        StateFolder(tmp_path / "home").purge()
    (tmp_path / "home" / "WARRENER").write_text("a note to myself\n")
    with pytest.raises(NotOurs, match="not a Warrener state folder"):
        StateFolder(tmp_path / "home").purge()
    assert (tmp_path / "home" / "thesis.tex").exists()


def test_purge_refuses_a_link_and_names_where_it_leads(tmp_path: Path) -> None:
    StateFolder(tmp_path / "state").prepare()
    (tmp_path / "link").symlink_to(tmp_path / "state")
    with pytest.raises(NotOurs, match=str(tmp_path / "state")):
        StateFolder(tmp_path / "link").purge()
    assert StateFolder(tmp_path / "state").is_ours()


def test_an_interrupted_purge_can_be_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    (folder.path / "data").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            folder.purge()
    assert folder.is_ours()
    folder.purge()
    assert not folder.path.exists()


def _interrupted(path: Path) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("length", [20, 107, 108, 200, 1000])
def test_the_socket_works_at_any_path_length(tmp_path: Path, length: int) -> None:
    """sockaddr_un holds 107 bytes; a state folder may be anywhere."""
    path = tmp_path
    while len(str(path)) < length:
        path /= "d" * min(100, max(1, length - len(str(path)) - 1))
    StateFolder(path).prepare()
    where = StateFolder(path).socket
    listener = listen(where)
    with listener, connect(where, 1.0) as stream:
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            accepted.sendall(b"hello")
            assert stream.recv(5) == b"hello"
    assert stat.S_IMODE(where.stat().st_mode) == 0o600


def test_a_stale_socket_file_is_replaced(tmp_path: Path) -> None:
    where = tmp_path / "control.sock"
    listen(where).close()
    with pytest.raises(ConnectionRefusedError):
        connect(where, 1.0)
    with listen(where), connect(where, 1.0) as stream:
        assert isinstance(stream, socket.socket)


def test_connect_to_no_folder_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        connect(tmp_path / "none" / "control.sock", 1.0)
