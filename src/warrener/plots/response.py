"""Draws R and L against load: one line for each of a few queues, a band for the others, what was
measured as points, and where the first part is used up."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from warrener.plots.curves import Curves, Line
from warrener.plots.style import (
    GREY,
    INK,
    LINES,
    MARKERS,
    PALE,
    RED,
    distinct,
    number,
    seconds,
    short,
)

What = Literal["response", "length"]

_HEADROOM: Final = 3.0
"""Times the largest value that is measured, or predicted at the loads that matter, that the axis
goes up to: curves rise without end."""

_ROOM: Final = 0.045
"""Of the axis, for a text that stands beside a line."""

_NAME: Final = 27
"""Letters of a queue's name beside the drawings."""

_MANY: Final = 20
"""Queues of which the band leaves some out."""

_DEEPEST: Final = 1e4
"""The axis has four decades at most."""


def draw(axes: Axes, what: What, now: Curves, then: Curves | None, asked: float) -> None:
    """One of the two. ``then``: after a change, dashed; ``asked``: how many times the load that it
    is about."""
    axes.set_yscale("log")
    names = [line.name for line in (*now.lines, *(then.lines if then else ()))]
    order = list(dict.fromkeys(names))
    shown: list[float] = []
    for curves, dashed in ((now, False), (then, True)):
        if curves is None:
            continue
        if curves.others is not None and not (dashed and now.others is not None):
            _band(axes, curves, what)
        for line in curves.lines:
            at = order.index(line.name)
            shown += _line(axes, curves, line, what, at, dashed=dashed)
    _limits(axes, shown, now.loads[-1])
    _marks(axes, now, then, asked)
    axes.set_xlim(0, now.loads[-1])
    axes.set_xlabel("load, times today's")
    if what == "response":
        axes.set_title("R: response time, from published to acked")
        axes.set_ylabel("R (log scale)")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: seconds(value)))
    else:
        axes.set_title("L: length, messages waiting or with a consumer")
        axes.set_ylabel("L, messages (log scale)")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    if now.published > 0:
        above = axes.twiny()
        above.set_xlim(0, now.loads[-1] * now.published)
        above.grid(visible=False)
        above.spines[["left", "right", "top"]].set_visible(False)
        above.set_xlabel("published, messages/s", fontsize=7.5)
        above.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
        above.tick_params(labelsize=7, color=GREY)
        axes.set_title(axes.get_title(loc="left"), pad=30)


def nothing(axes: Axes, now: Curves) -> None:
    """In place of both, where no queue's R can be told."""
    axes.axis("off")
    reason = (
        f"nothing is known of the consumers of the {now.unknown} queue"
        f"{'' if now.unknown == 1 else 's'} that messages go through"
        if now.unknown
        else "no messages go through"
    )
    text = f"No response times to draw: {reason}."
    axes.text(0.5, 0.5, text, ha="center", va="center", color=INK, transform=axes.transAxes)


def legend_of(now: Curves, then: Curves | None) -> tuple[list[Artist], list[str]]:
    """What is what, for both drawings."""
    names = [line.name for line in (*now.lines, *(then.lines if then else ()))]
    handles: list[Artist] = []
    labels = []
    for at, name in enumerate(distinct(names, _NAME).values()):
        handles.append(_handle(at))
        labels.append(name)
    if any(line.measured for line in now.lines):
        handles.append(Line2D([], [], color=INK, marker="o", ls="", ms=4, mfc="white"))
        labels.append("measured (history)")
    if then is not None:
        handles += [Line2D([], [], color=INK), Line2D([], [], color=INK, ls="--")]
        labels += ["predicted, as it is", "predicted, after the change"]
    others = now.others or (then.others if then else None)
    if others is not None:
        handles.append(Patch(color=PALE))
        most = " (90 % of them)" if others.queues >= _MANY else ""
        labels.append(f"{others.queues:,} other queues{most}")
    return handles, labels


def _handle(at: int) -> Line2D:
    return Line2D([], [], color=LINES[at % len(LINES)], lw=1.8, marker=MARKERS[at % 5], ms=4)


def _band(axes: Axes, curves: Curves, what: What) -> None:
    assert curves.others is not None
    edges = curves.others.response if what == "response" else curves.others.length
    low, high = np.array(edges).T
    axes.fill_between(curves.loads, low, high, color=PALE, lw=0, zorder=1)


def _line(
    axes: Axes, curves: Curves, line: Line, what: What, at: int, *, dashed: bool
) -> list[float]:
    """The values that have to be seen."""
    colour, marker = LINES[at % len(LINES)], MARKERS[at % len(MARKERS)]
    values = line.response if what == "response" else line.length
    style = (0, (4, 2)) if dashed else "-"
    axes.plot(curves.loads, values, color=colour, ls=style, lw=1.8, zorder=3)
    until = max(1.0, 0.9 * curves.breaks_at) if math.isfinite(curves.breaks_at) else math.inf
    pairs = zip(curves.loads, values, strict=True)
    shown = [value for x, value in pairs if math.isfinite(value) and x <= until]
    if line.measured:
        xs = [point[0] for point in line.measured]
        ys = [point[1 if what == "response" else 2] for point in line.measured]
        axes.plot(xs, ys, color=colour, marker=marker, ls="", ms=4, mfc="white", mew=1.0, zorder=4)
        shown += [y for x, y in zip(xs, ys, strict=True) if x <= curves.loads[-1]]
    return [value for value in shown if value > 0]


def _limits(axes: Axes, shown: Sequence[float], top: float) -> None:
    if not shown:
        axes.set_ylim(1e-3, 1.0)
        return
    high = max(float(np.quantile(shown, 0.98)), float(np.median(shown))) * _HEADROOM
    low = max(min(shown) / 1.6, high / _DEEPEST)
    axes.set_ylim(low, max(high, 10 * low))


@dataclass(frozen=True, slots=True)
class _Mark:
    """A load that something is to be said of."""

    x: float
    text: str
    colour: str = GREY
    line: str = "-"


def _marks(axes: Axes, now: Curves, then: Curves | None, asked: float) -> None:
    """Today, what was asked for, and where the first part is used up; each said beside its line, on
    the side where there is room, at the foot or else at the top."""
    marks = [_Mark(1.0, "today")]
    if then is not None and abs(asked - 1.0) > 0.02:
        marks.append(_Mark(asked, f"asked for: x{asked:.3g}", line="--"))
    marks += _breaks(now, then)
    top = now.loads[-1]
    marks = sorted((mark for mark in marks if mark.x < top), key=lambda mark: mark.x)
    taken = -math.inf  # up to here, at the foot
    high = False
    for at, mark in enumerate(marks):
        following = marks[at + 1].x if at + 1 < len(marks) else top
        room = _ROOM * top
        left = mark.x - taken >= room
        high = not (left or following - mark.x >= room) and not high
        taken = mark.x if left else mark.x + room
        _draw_mark(axes, mark, left=left, high=high)


def _breaks(now: Curves, then: Curves | None) -> list[_Mark]:
    both = [now] if then is None else [now, then]
    texts = [f"{short(one.first, 36, 0.6)} used up, x{one.breaks_at:.3g}" for one in both]
    if then is None or texts[0] == texts[1]:
        return [_Mark(now.breaks_at, texts[0], RED)]
    return [
        _Mark(now.breaks_at, f"before: {texts[0]}", RED),
        _Mark(then.breaks_at, f"after: {texts[1]}", RED, "--"),
    ]


def _draw_mark(axes: Axes, mark: _Mark, *, left: bool, high: bool) -> None:
    axes.axvline(mark.x, color=mark.colour, ls=mark.line, lw=1.2, zorder=2)
    axes.annotate(
        mark.text,
        (mark.x, 1.0 if high else 0.0),
        xycoords=("data", "axes fraction"),
        xytext=(-3 if left else 3, -5 if high else 5),
        textcoords="offset points",
        rotation=90,
        ha="right" if left else "left",
        va="top" if high else "bottom",
        color=mark.colour,
        fontsize=7,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
        zorder=5,
    )
