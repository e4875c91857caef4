"""`warrener plan`: what messages cost here, measured and shown."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Annotated, Final

import typer

from warrener.cli import plan_show
from warrener.cli.common import (
    BAD_INPUT,
    CliError,
    JsonOption,
    StateOption,
    err,
    folder_of,
    out,
    say,
    with_state,
)
from warrener.control.state_folder import StateFolder

if TYPE_CHECKING:
    from warrener.control.plan_process import CalibrateLine, CalibratePlan, CalibrateSpec

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Measure what messages cost here, and plan with it.",
)
plan_show.add_to(app)

INTERRUPTED: Final = 130


@app.callback()
def _group() -> None:
    """Measure what messages cost here, and plan with it."""


@app.command("calibrate")
def calibrate(
    context: typer.Context,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", min=1, help="How long it may take in all.")
    ] = 90.0,
    types: Annotated[
        str,
        typer.Option("--types", metavar="T,..", help="Types of queues.", show_default="all"),
    ] = "",
    nodes: Annotated[
        str,
        typer.Option(
            "--nodes",
            metavar="N,..",
            help="Nodes that lead and are connected to.",
            show_default="all",
        ),
    ] = "",
    body: Annotated[
        str, typer.Option("--body", metavar="B,..", help="Sizes of bodies in bytes.")
    ] = "100,4096",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it would do, and how long it takes.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure what a message costs on this cluster, and keep it for planning.

    It makes a virtual host of its own with a few queues, loads one at a time
    as much as goes, for seconds each, and reads how much CPU the nodes, the
    clients and the balancer used. Whatever else uses the cluster is slower
    meanwhile; if there is something, it asks first. The virtual host is gone
    afterwards, after Ctrl-C too.

    More --seconds make the figures surer; two sizes of bodies are needed to
    tell what a byte costs. docs/planner.md says what is measured and how sure
    it is.

    Examples:

      warrener plan calibrate --dry-run
      warrener plan calibrate
      warrener plan calibrate --types classic,quorum --seconds 40 --yes
      warrener plan calibrate --body 1000,20000 --json
    """
    from warrener.control.client import Client
    from warrener.control.plan_process import CalibrateSpec

    bodies = _sizes(body)
    folder = folder_of(context, state)
    with Client.connect(folder):
        pass  # somebody is there; if not, that is told as everywhere
    spec = CalibrateSpec(
        state=str(folder.path),
        seconds=seconds,
        types=_words(types),
        nodes=_words(nodes),
        bodies=bodies,
        dry_run=True,
    )
    planned = _run(spec, lambda line: None).plan
    assert planned is not None, "a dry run answers with a plan"
    in_use = _in_use(folder)
    if dry_run:
        _show_plan(planned, in_use, as_json=as_json)
        return
    if in_use and not yes:
        _agree(planned, in_use, as_json=as_json)
    _measure(folder, spec, as_json=as_json)


@app.command("calibration")
def calibration(
    context: typer.Context, state: StateOption = None, as_json: JsonOption = False
) -> None:
    """Show what was measured last: costs by type of queue and act, limits.

    Examples:

      warrener plan calibration
      warrener plan calibration --json | jq .calibration.limits
    """
    from warrener.planner.calibration_file import (
        BrokenCalibration,
        encode_calibration,
        read_calibration,
    )

    folder = folder_of(context, state)
    try:
        found = read_calibration(folder.path)
    except BrokenCalibration as error:
        raise CliError(str(error)) from None
    if found is None:
        command = with_state(folder, "warrener plan calibrate")
        raise CliError(f"nothing was measured for {folder.path} yet; `{command}` does it")
    if as_json:
        sys.stdout.write(encode_calibration(found).decode() + "\n")
        return
    from warrener.cli import render_calibration

    render_calibration.calibration(out(), found)


def _words(text: str) -> list[str]:
    return [word for word in (part.strip() for part in text.split(",")) if word]


def _sizes(text: str) -> list[int]:
    words = _words(text)
    largest = 131_064  # one frame of RabbitMQ's largest
    wrong = [word for word in words if not (word.isdigit() and 1 <= int(word) <= largest)]
    if wrong or not words:
        what = repr(wrong[0]) if wrong else "nothing"
        raise CliError(f"--body: numbers of bytes from 1 to {largest}, not {what}", BAD_INPUT)
    return [int(word) for word in words]


def _in_use(folder: StateFolder) -> str:
    """By what, in words; empty if by nothing."""
    from warrener.control.client import Client
    from warrener.control.leaders_operations import LeadersShowRequest
    from warrener.control.operations import LEADERS_SHOW, STATUS, StatusRequest
    from warrener.control.wire import Refused

    with Client.connect(folder) as client:
        status = client.call(STATUS, StatusRequest(queues=False))
        sessions = status.balancer.sessions if status.balancer else 0
    used = []
    if sessions:
        used.append(f"{sessions} client{'s are' if sessions > 1 else ' is'} connected")
    try:
        with Client.connect(folder) as client:
            shown = client.call(LEADERS_SHOW, LeadersShowRequest(1.0, 1))
    except Refused as refused:
        return ", ".join([*used, f"what goes through its queues isn't known: {refused.message}"])
    rate = sum(node.published + node.delivered for node in shown.nodes)
    if rate >= 1:
        used.append(f"{rate:,.0f} messages a second go through its queues")
    return ", ".join(used)


def _show_plan(planned: "CalibratePlan", in_use: str, *, as_json: bool) -> None:
    if as_json:
        from warrener.cli.common import print_json

        print_json({**_plain(planned), "in_use": in_use})
        return
    say(
        f"{len(planned.steps)} measurements of {planned.window:.1f} s each on "
        f"{', '.join(planned.nodes)}, about {planned.seconds:.0f} s in all:"
    )
    for step in planned.steps:
        say(f"  {step}")
    if in_use:
        say(f"The cluster is in use: {in_use}.")


def _plain(planned: "CalibratePlan") -> dict[str, object]:
    import msgspec

    return dict(msgspec.structs.asdict(planned))


def _agree(planned: "CalibratePlan", in_use: str, *, as_json: bool) -> None:
    """Raises CliError if it isn't wanted, or nobody can be asked."""
    what = (
        f"the cluster is in use ({in_use}); a calibration takes all it can get of it for "
        f"{planned.seconds:.0f} s"
    )
    if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CliError(f"{what}; --yes does it all the same")
    err().print(f"{what[0].upper()}{what[1:]}. Go on? [y/N] ", end="", markup=False)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CliError("nothing was done")


def _measure(folder: StateFolder, spec: "CalibrateSpec", *, as_json: bool) -> None:
    import msgspec

    from warrener.cli.progress import ProgressView
    from warrener.planner.calibration_file import decode_calibration

    with ProgressView(begin_with_first=True) as view:

        def progress(line: "CalibrateLine") -> None:
            if line.progress is not None:
                view(line.progress)

        last = _run(msgspec.structs.replace(spec, dry_run=False), progress)
    if as_json:
        sys.stdout.write(last.calibration + "\n")
        return
    from warrener.cli import render_calibration

    render_calibration.calibration(
        out(), decode_calibration(last.calibration.encode(), "the answer")
    )


def _run(spec: "CalibrateSpec", on_line: "Callable[[CalibrateLine], None]") -> "CalibrateLine":
    """The last thing that the process which measures says. After Ctrl-C it clears up first. Raises
    CliError with what it says went wrong."""
    import msgspec

    from warrener.control.plan_process import MODULE, CalibrateLine

    last = CalibrateLine(error="the process that measures ended without a word")
    with subprocess.Popen(
        [sys.executable, "-m", MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C reaches us, who then tell it
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with _interrupting(process) as interrupted:
            with process.stdin as spoken:
                spoken.write(msgspec.json.encode(spec))
            for raw in _lines(process.stdout):
                last = msgspec.json.decode(raw, type=CalibrateLine)
                on_line(last)
    if interrupted and last.code != INTERRUPTED and not last.calibration:
        raise CliError("interrupted before it had begun", INTERRUPTED)
    if last.error:
        raise CliError(last.error, last.code)
    if last.progress is not None:
        raise CliError("the process that measures ended before it was done")
    return last


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    yield from stream


@contextlib.contextmanager
def _interrupting(process: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """The first Ctrl-C (or SIGTERM) is passed on, and what becomes of it is waited for; the second
    ends only this process: the other one then still clears up. Gives the signals that came."""
    came: list[int] = []

    def pass_on(number: int, frame: object) -> None:
        came.append(number)
        for one, was in before.items():
            signal.signal(one, was)
        process.send_signal(signal.SIGINT)

    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    for one in before:
        signal.signal(one, pass_on)
    try:
        yield came
    finally:
        for one, was in before.items():
            signal.signal(one, was)
