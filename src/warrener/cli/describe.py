"""`warrener init`, `validate`, `diff`, `apply`: the description of a cluster, and making it so."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from warrener.cli import hosts, leaders
from warrener.cli.common import (
    BAD_INPUT,
    CliError,
    JsonOption,
    StateOption,
    err,
    folder_of,
    out,
    print_json,
    say,
    shown,
    with_state,
)
from warrener.cli.lifecycle import SPEC_FILE
from warrener.cli.options import ReplaceFileOption
from warrener.control.client import Client, NotRunning, Unresponsive
from warrener.control.lock import holder_of
from warrener.control.state_folder import StateFolder

if TYPE_CHECKING:
    from warrener.cluster.spec import ClusterSpec
    from warrener.control.describe_operations import (
        ApplyAnswer,
        ApplyRequest,
        DiffAnswer,
        DiffRequest,
    )

_DEATH: Final = 2.0
"""Seconds between a dying process's last words and the end of its lock; mostly milliseconds."""

_Request = TypeVar("_Request", bound="DiffRequest")

FileOption = Annotated[
    Path,
    typer.Option("-f", "--file", metavar="FILE", help="What the cluster should be like."),
]
PruneOption = Annotated[
    bool,
    typer.Option("--prune", help="Also remove users, virtual hosts, ... that aren't in the file."),
]
PathArgument = Annotated[Path, typer.Argument(metavar="[PATH]", help="The file.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("init")(init)
    app.command("validate")(validate)
    app.command("diff")(diff)
    app.command("apply")(apply)


def init(
    context: typer.Context,
    path: PathArgument = Path(SPEC_FILE),
    profile: Annotated[
        str,
        typer.Option(
            "--profile",
            metavar="NAME",
            help="orders: nothing is lost. logs: throughput. realtime: latency.",
        ),
    ] = "orders",
    force: ReplaceFileOption = False,
    from_cluster: Annotated[
        bool, typer.Option("--from-cluster", help="Of what the cluster that runs holds.")
    ] = False,
    from_file: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Of a backup, or of RabbitMQ's definitions."),
    ] = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a commented warrener.toml to start from.

    Each value in it has its reason beside it. `warrener apply` then makes the
    cluster so; `warrener diff` shows what it would do.

    --from and --from-cluster write what is there already: virtual hosts, users
    (their passwords as variables to be set), policies, queues.

    Examples:

      warrener init
      warrener init --profile realtime prices.toml
      warrener init --from definitions.json
    """
    from warrener.cli import init_from
    from warrener.cluster.mistakes import nearest
    from warrener.cluster.profiles import PROFILES

    text = PROFILES.get(profile)
    if from_cluster or from_file is not None:
        profile = str(from_file or "the cluster that runs")
        text = init_from.text_of(from_file, folder_of(context, state))
    if text is None:
        close = nearest(profile, list(PROFILES))
        hint = f": did you mean {close!r}?" if close else "."
        raise CliError(f"no profile {profile!r}{hint} There are: {', '.join(PROFILES)}", BAD_INPUT)
    if path.is_dir():
        path = path / SPEC_FILE
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise CliError(
            f"{shown(path)} exists and was left as it is; --force replaces it", BAD_INPUT
        ) from None
    except OSError as error:
        raise CliError(f"{shown(path)} can't be written: {error.strerror or error}") from None
    init_from.warn_if_mistaken(text, path)
    if as_json:
        print_json({"path": str(path.absolute()), "profile": profile})
        return
    given = "" if path == Path(SPEC_FILE) else f" -f {shown(path)}"
    say(f"Wrote {shown(path)} ({profile}). `warrener apply{given}` starts a cluster as it says.")


def validate(path: PathArgument = Path(SPEC_FILE), as_json: JsonOption = False) -> None:
    """Check a warrener.toml, without a cluster.

    Every mistake is told at once, with its line, what is allowed there and the
    nearest right spelling. Exit code 2 if there are any. Whether keys suit the
    RabbitMQ version is checked where that RabbitMQ is installed.

    Examples:

      warrener validate
      warrener validate staging.toml --json
    """
    from warrener.cli import render_describe
    from warrener.cluster.mistakes import SpecError
    from warrener.cluster.passwords import warn

    try:
        spec, _ = _read(path, with_release=True)
    except SpecError as error:
        if as_json:
            print_json(
                {"valid": False, "mistakes": [render_describe.mistake(m) for m in error.mistakes]}
            )
        number = len(error.mistakes)
        raise CliError(
            f"{number} mistake{'s' * (number > 1)} in {shown(path)}\n{error}", BAD_INPUT
        ) from None
    warnings = warn(spec, folder=path.parent, environment=os.environ)
    if as_json:
        print_json({"valid": True, "mistakes": [], "warnings": warnings})
        return
    render_describe.summary(out(), spec, shown(path))
    for warning in warnings:
        err().print(f"warrener: {warning}", markup=False, soft_wrap=True)
    hosts.tell_where_hosts_are_judged(spec, path)


def diff(
    context: typer.Context,
    file: FileOption = Path(SPEC_FILE),
    prune: PruneOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what differs between the file and the running cluster.

    The steps stand in the order in which `warrener apply` takes them. What the
    cluster has and the file hasn't is left alone, unless --prune.

    Examples:

      warrener diff
      warrener diff -f staging.toml --prune
    """
    from warrener.cli import render_describe
    from warrener.control.describe_operations import DIFF, DiffRequest

    folder = folder_of(context, state)
    request = _request(DiffRequest, file, prune)
    with Client.connect(folder) as client:
        answer = client.call(DIFF, request)
    if as_json:
        print_json(answer)
        return
    render_describe.plan(out(), answer)
    _tell_unlisted(answer.unlisted)


def apply(
    context: typer.Context,
    file: FileOption = Path(SPEC_FILE),
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Don't ask.")] = False,
    prune: PruneOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the cluster as the file says: show the steps, ask, take them.

    Where no cluster runs it is started first. A step that fails ends it, and
    Ctrl-C ends it after the step under way; run again it goes on from there.
    Applied twice it changes nothing the second time.

    Examples:

      warrener apply
      warrener apply --yes --prune
    """
    from warrener.cli import render_describe
    from warrener.control.describe_operations import DIFF, ApplyRequest, DiffRequest

    folder = folder_of(context, state)
    asked = _request(DiffRequest, file, prune)  # before anything is started
    if not yes and not sys.stdin.isatty():
        raise CliError(
            "nobody can be asked here (no terminal); `warrener apply --yes` doesn't ask, "
            "`warrener diff` only shows the steps",
            BAD_INPUT,
        )
    started = False
    if holder_of(folder.lock) is None:
        started = True
        _start(folder, file, yes=yes)
    with Client.connect(folder) as client:
        found = client.call(DIFF, asked)
    todo = [step for step in found.steps if not step.blocked]
    console = err() if as_json else out()
    render_describe.plan(console, found)
    if not todo:
        answer = _nothing_done(found)
    else:
        if not yes and not typer.confirm(f"Take {_steps(len(todo))}?", err=True):
            raise CliError("nothing was changed")
        answer = _take(folder, _request(ApplyRequest, file, prune, agreed=found.fingerprint))
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(answer) | {"started": started})
    elif todo:
        render_describe.applied(out(), answer)
        if answer.leaders is not None:
            say(f"{leaders.spread_told(folder, answer.leaders)}.")
    if todo or started:
        _tell_unlisted(answer.unlisted)
    _exit_if_unfinished(folder, answer)


def _start(folder: StateFolder, file: Path, *, yes: bool) -> None:
    from warrener.cli.progress import ProgressView
    from warrener.daemon.launch import launch
    from warrener.daemon.options import Options

    err().print(
        f"No cluster runs in {shown(folder.path)}: it is started first, as {shown(file)} says.",
        markup=False,
        soft_wrap=True,
    )
    hosts.tell_what_is_installed(_read(file)[0])
    if not yes and not typer.confirm("Start it?", err=True):
        raise CliError("nothing was changed")
    with ProgressView() as view:
        launch(Options(folder.path, file, for_apply=True), view)


def _take(folder: StateFolder, request: "ApplyRequest") -> "ApplyAnswer":
    from warrener.cli.long import ask
    from warrener.control.describe_operations import APPLY

    try:
        return ask(folder, APPLY, request)
    except Unresponsive as error:
        if not _has_ended(folder):
            raise
        raise CliError(
            f"the daemon ended in the middle ({error}). What was done is done; "
            f"`{with_state(folder, 'warrener apply')}` starts the cluster again and goes on"
        ) from None
    except NotRunning:
        raise CliError("the daemon ended just now; run it again") from None


def _has_ended(folder: StateFolder) -> bool:
    """Whether the daemon is gone. A process that dies hangs up first and lets go of its lock then,
    or the other way round; so this waits a moment."""
    deadline = time.monotonic() + _DEATH
    while holder_of(folder.lock) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _nothing_done(found: "DiffAnswer") -> "ApplyAnswer":
    from warrener.control.describe_operations import ApplyAnswer

    return ApplyAnswer(
        done=[],
        failed=None,
        why="",
        left=[],
        blocked=[step for step in found.steps if step.blocked],
        later=found.later,
        unlisted=found.unlisted,
        called_off=False,
        seconds=0.0,
    )


def _exit_if_unfinished(folder: StateFolder, answer: "ApplyAnswer") -> None:
    again = f"`{with_state(folder, 'warrener apply')}` goes on from there"
    if answer.failed is not None:
        step = answer.failed
        raise CliError(
            f"{step.verb} {step.thing} {step.subject} failed: {answer.why}\n"
            f"{_steps(len(answer.done))} done, {_steps(len(answer.left))} left; {again}"
        )
    if answer.called_off:
        from warrener.cli.long import INTERRUPTED

        raise CliError(
            f"called off: {_steps(len(answer.done))} done, {_steps(len(answer.left))} left; "
            f"{again}",
            INTERRUPTED,
        )
    if answer.blocked:
        raise CliError(f"{_steps(len(answer.blocked))} can't be taken, see above")


def _request(kind: type[_Request], file: Path, prune: bool, **more: str) -> _Request:
    """The request with the file's text and the passwords that it refers to. Raises CliError with
    every mistake in the file."""
    from warrener.cluster.mistakes import SpecError
    from warrener.cluster.passwords import resolve

    try:
        spec, text = _read(file)
        secrets = resolve(spec, text, folder=file.parent, environment=os.environ)
    except SpecError as error:
        raise CliError(str(error), BAD_INPUT) from None
    return kind(
        source=str(file),
        folder=str(file.parent.absolute()),
        prune=prune,
        text=text,
        secrets=secrets,
        **more,
    )


def _read(path: Path, *, with_release: bool = False) -> "tuple[ClusterSpec, str]":
    from warrener.cluster.drivers import config_check
    from warrener.cluster.spec import parse_spec, read_text

    if not path.exists():
        raise CliError(
            f"{shown(path)} doesn't exist; `warrener init` writes one to start from", BAD_INPUT
        )
    text = read_text(path)
    config_check.plug_in()
    spec = parse_spec(text, source=str(path), folder=path.parent)
    if with_release:
        from warrener.cluster.drivers.installation import find_installation
        from warrener.cluster.errors import ClusterError

        try:
            release = find_installation(spec.rabbitmq, os.environ.get("PATH", "")).release
        except ClusterError:
            return spec, text  # not installed here: nothing is said about versions
        spec = parse_spec(text, source=str(path), folder=path.parent, release=release)
    return spec, text


def _tell_unlisted(unlisted: dict[str, list[str]]) -> None:
    if not unlisted:
        return
    parts = []
    for kind, names in unlisted.items():
        shown_names = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        singular = {"policies": "policy"}.get(kind, kind.removesuffix("s"))
        parts.append(f"{len(names)} {kind if len(names) > 1 else singular} ({shown_names})")
    err().print(
        f"Not in the file and left alone: {'; '.join(parts)}. --prune removes them.",
        markup=False,
        soft_wrap=True,
    )


def _steps(number: int) -> str:
    return f"{number} step{'' if number == 1 else 's'}"
