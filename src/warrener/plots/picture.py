"""The file that a picture becomes: looked at before anything is measured, written whole or not at
all.

    with picture(path) as made:      # wrong ending, folder, or no matplotlib: NotDrawn, at once
        ...                          # measure
        made.save(figure)            # drawn beside it, then put in its place
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from warrener.plots.style import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDINGS: Final = (".svg", ".png")
DPI: Final = 150
"""Of a PNG: letters of 7 points are 15 pixels high."""

REQUIREMENT: Final = "matplotlib>=3.10,<4"
"""As the extra ``plots`` in pyproject.toml has it."""


class Kind(StrEnum):
    """What is drawn of an outlook."""

    ALL = "all"
    RESPONSE = "response"
    FLOW = "flow"


class NotDrawn(Exception):
    """It can't be drawn there; the text says why, and what to do."""


class NotWritten(Exception):
    """It was drawn, and couldn't be written; the text says why."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A file to be."""

    path: Path
    _draft: Path

    def save(self, figure: "Figure") -> None:
        """In place of what is there. NotWritten if the disk is full, say; what was there stays."""
        kind = self.path.suffix.lower().removeprefix(".")
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        try:
            with style():
                figure.savefig(self._draft, format=kind, dpi=DPI, metadata=metadata)
            self._draft.chmod(0o666 & ~_umask())
            self._draft.replace(self.path)
        except OSError as error:
            raise NotWritten(f"{self.path} can't be written: {error.strerror or error}") from None


@contextlib.contextmanager
def picture(path: Path) -> Iterator[Picture]:
    """A picture can be made there. Raises NotDrawn. Nothing is left of it unless it is saved."""
    if path.suffix.lower() not in ENDINGS:
        what = f"ends in {path.suffix}" if path.suffix else "has no ending"
        raise NotDrawn(f"{path} {what}; a picture's file ends in {' or '.join(ENDINGS)}")
    if find_spec("matplotlib") is None:
        raise NotDrawn(
            f"pictures are drawn by matplotlib, which isn't installed: "
            f"{sys.executable} -m pip install '{REQUIREMENT}'"
        )
    real = Path(os.path.realpath(path))  # a link is kept, what it leads to is replaced
    if real.is_dir():
        raise NotDrawn(f"{path} is a folder; name a file in it")
    try:
        fd, draft = tempfile.mkstemp(prefix=f".{real.name}.", suffix=".new", dir=real.parent)
    except FileNotFoundError:
        raise NotDrawn(f"{path} can't be written: there is no folder {real.parent}") from None
    except OSError as error:
        raise NotDrawn(f"{path} can't be written: {error.strerror}") from None
    os.close(fd)
    try:
        yield Picture(real, Path(draft))
    finally:
        Path(draft).unlink(missing_ok=True)


def _umask() -> int:
    """Of this process; it can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
