"""Colours, fonts, and numbers as they are written in pictures.

The palette is Okabe and Ito's ("Color Universal Design", 2008), which people with any kind of
colour blindness can tell apart; what is red is also thicker and said in words.
"""

import contextlib
import math
import warnings
from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Any, Final

RED: Final = "#D55E00"
RED_LIGHT: Final = "#FBE5D6"
INK: Final = "#222222"
GREY: Final = "#767676"
PALE: Final = "#D9D9D9"
FLOW: Final = "#8FA8C0"
BOX: Final = "#F4F7FA"

LINES: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
MARKERS: Final = ("o", "s", "^", "D", "v")
"""Of a line each: they are told apart without colour as well."""

FONT: Final = "DejaVu Sans"
"""matplotlib's own: the same everywhere."""

WIDTH: Final = 12.5
"""Inches, of a figure with several drawings."""

_RC: Final[Any] = {  # matplotlib types its keys one by one
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "figure.facecolor": "white",
    "font.family": FONT,
    "font.size": 8.5,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "savefig.facecolor": "white",
    "svg.hashsalt": "warrener",  # the same picture is the same file
    "text.color": INK,
    "text.parse_math": False,  # a queue's name may have dollars in it
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """What is made and saved inside looks like this, whatever the user's matplotlibrc says."""
    import matplotlib as mpl  # noqa: PLC0415  # an extra that only drawing needs

    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        # Names in scripts that the font hasn't got are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def short(name: str, most: int, head: float = 0.5) -> str:
    """A name with its middle left out if it is too long, ``head`` of what is left before it;
    control characters as spaces."""
    return _cut(_printable(name), most, head)


def distinct(names: Iterable[str], most: int) -> dict[str, str]:
    """Names as short as ``most`` letters, so that they can be told apart if that is possible: what
    they all begin with is left out first."""
    names = list(dict.fromkeys(names))
    shown = [_printable(name) for name in names]
    if all(len(name) <= most for name in shown):
        return dict(zip(names, shown, strict=True))
    both = zip(min(shown), max(shown), strict=False)  # what these begin with, all begin with
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], both))
    if len(shown) > 1 and common > 3:
        shown = [f"…{name[common:]}" for name in shown]
    for head in (0.7, 0.5, 1.0, 0.0):
        cut = [_cut(name, most, head) for name in shown]
        if len(set(cut)) == len(set(shown)):
            break
    return dict(zip(names, cut, strict=True))


def _printable(name: str) -> str:
    return "".join(char if char.isprintable() else " " for char in name)


def _cut(name: str, most: int, head: float) -> str:
    """``head``: the part of the letters that is kept of the beginning, the rest of the end."""
    if len(name) <= most:
        return name
    first = round(head * (most - 1))
    return f"{name[:first]}…{name[len(name) - (most - 1 - first) :]}"


def number(value: float) -> str:
    """As exact as it is worth: 0.05, 1.2, 12, 340, 4,090, 1.2 M."""
    if not math.isfinite(value):
        return "∞"
    size = abs(value)
    if size >= 999_500:
        return f"{value / 1e6:,.3g} M"
    if size >= 9.95 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.2g}"


def seconds(value: float) -> str:
    """20 µs, 1.5 ms, 300 ms, 2 s."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size or unit == "µs":
            return f"{value / size:.3g} {unit}"
    raise AssertionError("the last unit takes all")
