"""``warrener bench``: options, progress, tables, exit codes."""

import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console

from warrener.bench import report
from warrener.bench.compare import CompareOptions
from warrener.bench.compare import compare as run
from warrener.bench.observed import find_prometheus
from warrener.bench.stand import NotRunning
from warrener.bench.wire import BenchError
from warrener.bench.workloads import (
    OBSERVATION,
    WORKLOADS,
    Route,
    UnknownName,
    Workload,
    parse_paths,
    parse_workloads,
)
from warrener.facts.happenings import Progress

_FAILED: Final = 1
_NOT_RUNNING: Final = 3
_SAMPLES: Final = Path("bench-results")

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Compare Warrener, HAProxy and straight connections.",
)


@app.callback()
def _group() -> None:
    """Compare Warrener, HAProxy and straight connections."""


class _View:
    """Progress on stderr: one living line on a terminal, a line per measurement elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("") if console.is_terminal else None

    def __call__(self, progress: Progress) -> None:
        line = f"{progress.subject}: {progress.text}"
        if progress.done or progress.failed:
            style = "red" if progress.failed else ""
            self._console.print(line, style=style, markup=False, soft_wrap=True)
        elif self._status is not None and progress.subject == "cluster":
            pass  # `warrener up` shows its own progress on the same terminal
        elif self._status is not None:
            self._status.start()
            self._status.update(line)

    def close(self) -> None:
        if self._status is not None:
            self._status.stop()


def _workloads(text: str | None) -> tuple[Workload, ...]:
    try:
        return tuple(WORKLOADS.values()) if text is None else parse_workloads(text)
    except UnknownName as error:
        raise typer.BadParameter(str(error), param_hint="--workloads") from None


def _paths(text: str | None) -> tuple[Route, ...] | None:
    try:
        return None if text is None else parse_paths(text)
    except UnknownName as error:
        raise typer.BadParameter(str(error), param_hint="--paths") from None


def _left_out(paths: str | None) -> tuple[Route, ...]:
    """What can't be measured here and nobody asked for by name."""
    if paths is not None or find_prometheus() is not None:
        return ()
    names = " and ".join(OBSERVATION)
    typer.echo(f"warrener: there is no `prometheus` on the PATH: without {names}", err=True)
    return OBSERVATION


@app.command("compare")
def compare(
    context: typer.Context,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Samples of each figure.")] = 3,
    seconds: Annotated[
        float, typer.Option(metavar="S", min=0.2, max=600.0, help="One measurement's window.")
    ] = 2.0,
    workloads: Annotated[
        str | None,
        typer.Option(
            metavar="W,..",
            help=f"Some of: {', '.join(WORKLOADS)}.",
            show_default="all",
        ),
    ] = None,
    paths: Annotated[
        str | None,
        typer.Option(
            metavar="P,..",
            help=f"Some of: {', '.join(Route)}.",
            show_default="each workload's own",
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Where the document with all samples goes; - is stdout.",
            show_default=f"{_SAMPLES}/TIME.json",
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            metavar="DIR",
            help="Measure the cluster that runs in DIR ($WARRENER_STATE isn't looked at).",
            show_default="a temporary cluster",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the order of paths and clients.")] = 1,
    idle_sessions: Annotated[
        int, typer.Option(metavar="N", min=1, help="Connections of idle-memory.")
    ] = 2_000,
) -> None:
    """Measure the ways to a queue side by side on this machine.

    Builds a temporary cluster of three nodes with its balancer, starts HAProxy beside it, measures
    in interleaved rounds, and removes it all. What the names mean and how it is measured is in
    docs/benchmarks.md. With everything it takes about twelve minutes; do nothing else meanwhile.

    Examples:

      warrener bench compare
      warrener bench compare --rounds 5 --seconds 5 --workloads classic-1,quorum-1
      warrener bench compare --workloads classic-6 --paths haproxy-leastconn,warrener --json -
      warrener bench compare --workloads classic-6 --paths warrener-unobserved,warrener-observed
    """
    options = CompareOptions(
        rounds=rounds,
        seconds=seconds,
        workloads=_workloads(workloads),
        paths=_paths(paths),
        state=_state(context, state),
        seed=seed,
        idle_sessions=idle_sessions,
        left_out=_left_out(paths),
    )
    if not options.steps():
        raise typer.BadParameter(
            "none of the workloads says anything about these paths", param_hint="--paths"
        )
    file = _file(json_file)
    view = _View(Console(stderr=True, highlight=False))
    _handle_sigterm()
    try:
        measured = run(options, view)
    except NotRunning as error:
        _say(str(error), _NOT_RUNNING)
    except BenchError as error:
        _say(str(error), _FAILED)
    finally:
        view.close()
    _show(measured, file)
    if measured.failures:
        raise typer.Exit(_FAILED)


def _state(context: typer.Context, state: Path | None) -> Path | None:
    """The folder from --state, also from one before the command; never from the environment: a
    cluster that somebody works with is put under load only when asked for by name."""
    root = context.find_root()
    source = root.get_parameter_source("state")
    if state is None and source is not None and source.name == "COMMANDLINE":
        state = Path(root.params["state"])  # click keeps what was typed; only Typer makes a Path
    return state.absolute() if state else None


def _show(measured: report.Report, file: Path) -> None:
    document = report.encode(measured)
    if str(file) == "-":
        sys.stdout.write(document.decode())
        return
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(document)
    # Where nobody looks (a pipe, a file), Rich would fold at 80 columns; a line is a line there.
    width = None if sys.stdout.isatty() else 200
    Console(highlight=False, width=width).print(report.tables(measured))
    Console(stderr=True, highlight=False).print(f"All samples: {file}", markup=False)


def _say(text: str, code: int) -> NoReturn:
    typer.echo(f"warrener: {text}", err=True)
    raise typer.Exit(code)


def _handle_sigterm() -> None:
    """SIGTERM takes the way of Ctrl-C: everything is put away first."""

    def terminated(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminated)


def _file(chosen: Path | None) -> Path:
    """Where the document goes; found out before ten minutes are spent, not after."""
    if chosen is None:
        now = datetime.now(UTC)
        chosen = _SAMPLES / f"{now:%Y%m%dT%H%M%SZ}.json"
    elif str(chosen) != "-" and not chosen.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {chosen.parent}", param_hint="--json")
    return chosen
