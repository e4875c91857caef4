"""`--plot FILE` of `warrener plan`: what is asked of the history for it, and the file."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from warrener.cli.common import BAD_INPUT, CliError, err, shown
from warrener.cli.long import ask
from warrener.control.state_folder import StateFolder
from warrener.plots.picture import Kind, NotDrawn, NotWritten, Picture, picture

if TYPE_CHECKING:
    from warrener.planner.balancing import Balancing
    from warrener.planner.costs import Calibration
    from warrener.planner.outlook import Outlook
    from warrener.planner.policies import PolicyAdvice, PolicyLine

PlotOption = Annotated[
    Path | None,
    typer.Option(
        "--plot", metavar="FILE", help="Draw it as well: a file that ends in .svg or .png."
    ),
]
PlotKindOption = Annotated[
    Kind | None,
    typer.Option(
        "--plot-kind",
        metavar="KIND",
        help="What is drawn: response (R and L against load), flow (the way of messages, the "
        "min-cut in red), all.",
        show_default="all",
    ),
]


@contextlib.contextmanager
def plotting(path: Path | None, kind: Kind | None = None) -> Iterator[Picture | None]:
    """A picture to be, None if none is wanted. CliError before anything else is done if it can't be
    drawn there; nothing is left of it if what is inside fails."""
    if path is None:
        if kind is not None:
            raise CliError("--plot-kind says what is drawn; --plot FILE says where", BAD_INPUT)
        yield None
        return
    try:
        with picture(path) as made:
            yield made
    except NotDrawn as error:
        raise CliError(str(error), BAD_INPUT) from None
    except NotWritten as error:
        raise CliError(str(error)) from None


def outlooks(
    made: Picture,
    folder: StateFolder,
    calibration: "Calibration",
    now: "Outlook",
    then: "Outlook | None" = None,
    *,
    kind: Kind | None,
    window: float,
    title: str,
    asked: float = 1.0,
) -> None:
    """Draws what is, and what would be (about ``asked`` times the load), with what the history of
    the last ``window`` s has of the queues that are drawn."""
    from warrener.control.plan_history_operations import PLAN_POINTS, PlanPointsRequest
    from warrener.planner.history_wire import points_from_wire
    from warrener.plots.curves import chosen, curves, widest
    from warrener.plots.flow_map import flow_map
    from warrener.plots.outlook import View, figure_of

    both = [now] if then is None else [now, then]
    keys = chosen(both)
    top = widest(both, asked)
    points = {}
    if keys and kind is not Kind.FLOW:
        points = points_from_wire(ask(folder, PLAN_POINTS, PlanPointsRequest(window, list(keys))))
    view = View(curves(now, calibration, keys, top=top, points=points, now=now.load), flow_map(now))
    after = None
    if then is not None:
        after = View(curves(then, calibration, keys, top=top, factor=asked), flow_map(then))
    made.save(figure_of(view, after, kind=kind or Kind.ALL, asked=asked, title=title))
    drawn(made)


def policies(made: Picture, balanced: "Balancing", *, title: str) -> bool:
    """Draws how policies did in simulation; False if they weren't tried."""
    from warrener.plots.policies import PolicyRow, figure_of

    tried = balanced.policies
    if tried is None:
        return False
    lines = [*tried.lines, *([tried.other] if tried.other is not None else [])]
    rows = [
        PolicyRow(
            name=f"{line.policy}{_locality(line, tried)}",
            mean=line.response_time.value,
            p99=line.p99.value,
            low=line.response_time.low,
            high=line.response_time.high,
            chosen=line.now,
            note="best" if line is tried.best else "as good" if line.equal else "",
        )
        for line in lines
    ]
    made.save(figure_of(rows, title=title))
    drawn(made)
    return True


def _locality(line: "PolicyLine", tried: "PolicyAdvice") -> str:
    """Where it is the other way than it is now."""
    if line is not tried.other:
        return ""
    return ", locality" if line.locality else ", no locality"


def drawn(made: Picture) -> None:
    """Says where it is, beside the result."""
    err().print(f"Drawn: {shown(made.path)}", markup=False, soft_wrap=True)
