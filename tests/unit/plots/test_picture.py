"""A picture's file: looked at first, written whole or not at all."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from warrener.plots import picture as module
from warrener.plots.picture import NotDrawn, NotWritten, picture


def test_a_picture_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    for name, begins in (("a.svg", b"<?xml"), ("b.PNG", b"\x89PNG")):
        path = tmp_path / name
        path.write_text("before")
        with picture(path) as made:
            assert path.read_text() == "before"
            made.save(Figure())
        assert path.read_bytes().startswith(begins)
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask()
    assert {path.name for path in tmp_path.iterdir()} == {"a.svg", "b.PNG"}


def umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def test_the_same_picture_is_the_same_file(tmp_path: Path) -> None:
    for name in ("1.svg", "2.svg", "1.png", "2.png"):
        with picture(tmp_path / name) as made:
            figure = Figure()
            figure.text(0.5, 0.5, "R")
            made.save(figure)
    for ending in ("svg", "png"):
        one, two = ((tmp_path / f"{n}.{ending}").read_bytes() for n in (1, 2))
        assert one == two


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("plan.pdf", "ends in .pdf; a picture's file ends in .svg or .png"),
        ("plan", "has no ending; a picture's file ends in .svg or .png"),
        ("none/plan.svg", "there is no folder"),
        ("file/plan.svg", "Not a directory"),
        ("folder.svg", "is a folder; name a file in it"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_done(
    tmp_path: Path, name: str, why: str
) -> None:
    (tmp_path / "folder.svg").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(NotDrawn) as told, picture(tmp_path / name):
        raise AssertionError("not reached")
    assert why in str(told.value)
    assert name in str(told.value)


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="a folder that nobody may write to")
def test_a_folder_that_cannot_be_written_to() -> None:
    with pytest.raises(NotDrawn, match="can't be written"), picture(Path("/proc/plan.svg")):
        raise AssertionError("not reached")


def test_without_matplotlib_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(NotDrawn) as told, picture(tmp_path / "plan.svg"):
        raise AssertionError("not reached")
    assert "-m pip install 'matplotlib>=3.10,<4'" in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_the_requirement_is_that_of_the_extra() -> None:
    pyproject = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    assert f'plots = ["{module.REQUIREMENT}"]' in pyproject


def test_nothing_is_left_of_what_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "plan.png"
    with pytest.raises(KeyboardInterrupt), picture(path):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    path.write_text("before")

    def full(self: Figure, draft: Path, **more: Any) -> None:
        Path(draft).write_text("half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(NotWritten, match="No space left on device"), picture(path) as made:
        made.save(Figure())
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["plan.png"]


def test_what_a_link_leads_to_is_replaced(tmp_path: Path) -> None:
    real, link = tmp_path / "real.svg", tmp_path / "link.svg"
    link.symlink_to(real)
    with picture(link) as made:
        made.save(Figure())
    assert link.is_symlink()
    assert real.read_bytes().startswith(b"<?xml")
