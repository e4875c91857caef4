"""`warrener config`: RabbitMQ's configuration, in the file and in force; changed live or not."""

import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from warrener.cli.common import (
    BAD_INPUT,
    CliError,
    JsonOption,
    StateOption,
    err,
    folder_of,
    out,
    print_json,
)
from warrener.cli.long import ask
from warrener.cli.options import EachStartTimeout, ForceOption
from warrener.control.state_folder import StateFolder

if TYPE_CHECKING:
    from warrener.control.config_operations import ConfigAnswer, SetConfigAnswer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Look at RabbitMQ's configuration and change it, live or by a rolling restart.",
)

FROM_STDIN: Final = "-"

KeyArgument = Annotated[
    str, typer.Argument(metavar="KEY", help="As in rabbitmq.conf, such as `heartbeat`.")
]
PatternArgument = Annotated[
    str, typer.Argument(metavar="[PATTERN]", help="Part of a name, or a pattern: `log.*`.")
]
AllOption = Annotated[
    bool, typer.Option("--all", help="Also keys that the catalogue doesn't describe.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Check it and say what would be done.")
]


@app.command("list")
def list_(
    context: typer.Context,
    pattern: PatternArgument = "",
    every: AllOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """List keys: the value in force, the one in the file, the default.

    A mark (!) shows where nodes don't have in force what their file says.

    Examples:

      warrener config list
      warrener config list memory
      warrener config list 'log.*' --all
    """
    _list(folder_of(context, state), pattern, every, as_json)


def list_configs(
    context: typer.Context,
    pattern: PatternArgument = "",
    every: AllOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """List RabbitMQ's configuration: the same as `warrener config list`.

    Examples:

      warrener list-configs heartbeat
    """
    _list(folder_of(context, state), pattern, every, as_json)


def _list(folder: StateFolder, pattern: str, every: bool, as_json: bool) -> None:
    answer = _look(folder, pattern, every=every)
    if as_json:
        print_json(answer)
        return
    from warrener.cli import render_config

    render_config.table(out(), answer)
    render_config.silent(err(), answer)


@app.command("get")
def get(
    context: typer.Context,
    key: KeyArgument,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell everything about one key, and what each node has in force.

    Examples:

      warrener config get vm_memory_high_watermark.relative
      warrener config get heartbeat --json
    """
    answer = _look(folder_of(context, state), key, exact=True)
    if as_json:
        print_json(answer)
        return
    from warrener.cli import render_config

    render_config.one(out(), answer)
    render_config.silent(err(), answer)


@app.command("diff")
def diff(context: typer.Context, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Show only what doesn't agree: nodes with their file, or among themselves.

    Setting the key again (or `unset`) puts it right. Exit code 0 also if there
    is drift.

    Examples:

      warrener config diff
    """
    answer = _look(folder_of(context, state), "", every=True)
    import msgspec

    drifting = [row for row in answer.rows if row.drift]
    if as_json:
        print_json(msgspec.structs.replace(answer, rows=drifting))
        return
    from warrener.cli import render_config

    render_config.drift(out(), drifting, answer)
    render_config.silent(err(), answer)


@app.command("set")
def set_(
    context: typer.Context,
    key: KeyArgument,
    value: Annotated[
        str,
        typer.Argument(metavar="VALUE", help="As in rabbitmq.conf; `-` reads it from stdin."),
    ],
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    timeout: EachStartTimeout = 120.0,
    force: ForceOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change a setting on all nodes, and keep it over `down` and `up`.

    What RabbitMQ takes live is put in force at once. The rest takes a restart:
    node by node, each drained first, so that clients stay connected. A node
    that doesn't come back with the new value gets the old one again, and the
    others aren't touched. Ctrl-C ends it between two nodes; the same command
    again goes on.

    Examples:

      warrener config set vm_memory_high_watermark.relative 0.3
      warrener config set tcp_listen_options.backlog 4096 --dry-run
      warrener config set ssl_options.password - --yes < password-file
    """
    _set(folder_of(context, state), key, value, yes, dry_run, timeout, force, as_json)


def set_config(
    context: typer.Context,
    key: KeyArgument,
    value: Annotated[
        str,
        typer.Argument(metavar="VALUE", help="As in rabbitmq.conf; `-` reads it from stdin."),
    ],
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    timeout: EachStartTimeout = 120.0,
    force: ForceOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change one of RabbitMQ's settings: the same as `warrener config set`.

    Examples:

      warrener set-config heartbeat 30
    """
    _set(folder_of(context, state), key, value, yes, dry_run, timeout, force, as_json)


@app.command("unset")
def unset(
    context: typer.Context,
    key: KeyArgument,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    timeout: EachStartTimeout = 120.0,
    force: ForceOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a setting back: to warrener.toml's, Warrener's own or the default.

    Examples:

      warrener config unset heartbeat
    """
    _set(folder_of(context, state), key, None, yes, dry_run, timeout, force, as_json)


def register(parent: typer.Typer) -> None:
    """RabbitMQ's words for the same."""
    parent.command("list-configs")(list_configs)
    parent.command("set-config")(set_config)


# -- what they share


def _look(
    folder: StateFolder, pattern: str, *, every: bool = False, exact: bool = False
) -> "ConfigAnswer":
    from warrener.control.config_operations import CONFIG, ConfigRequest

    return ask(folder, CONFIG, ConfigRequest(pattern, every, exact))


def _set(
    folder: StateFolder,
    key: str,
    value: str | None,
    yes: bool,
    dry_run: bool,
    timeout: float,
    force: bool,
    as_json: bool,
) -> None:
    from warrener.cli import render_config
    from warrener.control.config_operations import SET_CONFIG, SetConfigRequest

    is_terminal = sys.stdin.isatty()
    if value == FROM_STDIN:
        value = sys.stdin.read().removesuffix("\n")
    request = SetConfigRequest(key, value, dry_run=True, timeout=timeout, force=force)
    if not yes or dry_run:
        plan = ask(folder, SET_CONFIG, request)
        if dry_run or plan.already:
            _done(plan, as_json)
            return
        (err() if as_json else out()).print(render_config.plan(plan), markup=False, soft_wrap=True)
        if not is_terminal:
            raise CliError("nothing was changed: give --yes where nobody can be asked", BAD_INPUT)
        if not typer.confirm("Do it?", err=as_json):
            raise CliError("nothing was changed")
    import msgspec

    _done(ask(folder, SET_CONFIG, msgspec.structs.replace(request, dry_run=False)), as_json)


def _done(answer: "SetConfigAnswer", as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    from warrener.cli import render_config

    text = render_config.plan(answer) if answer.dry_run else render_config.done(answer)
    out().print(text, markup=False, soft_wrap=True)
    for node, queues in answer.not_online.items():
        err().print(
            f"warrener: {node} runs, but its replicas of {', '.join(queues[:5])} are not online",
            markup=False,
            soft_wrap=True,
        )
