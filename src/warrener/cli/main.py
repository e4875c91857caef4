"""The entry point: commands, global options, and what an error becomes."""

import contextlib
import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import typer.core

from warrener import __version__
from warrener.cli import (
    backup,
    balance,
    config,
    doctor,
    explain,
    history,
    inspect,
    leaders,
    lifecycle,
    node_membership,
    page,
    plan,
    telemetry,
    tls,
    upgrade,
    words,
)
from warrener.cli import (
    describe as description,
)
from warrener.cli.common import BAD_INPUT, FAILED, NOT_RUNNING, CliError
from warrener.cli.top import command as top
from warrener.control import state_folder
from warrener.control.client import NotRunning, Unresponsive
from warrener.control.state_folder import NotOurs, StateFolder
from warrener.control.wire import BAD_INPUT as BAD_INPUT_REFUSALS
from warrener.control.wire import BadLine, Refused
from warrener.daemon.errors import DaemonError

_LATE_GROUPS: Final = {
    "bench": ("warrener.bench.cli", "Compare Warrener, HAProxy and straight connections.")
}
"""Groups whose modules are only imported when they are called: they are slow to import."""


_PANELS: Final = {
    "Run": ("up", "down", "doctor"),
    "Look": ("status", "top", "url", "page", "sessions", "explain", "history", "events"),
    "Describe": ("init", "validate", "diff", "apply", "backup", "restore"),
    "Balance": ("balance", "leaders"),
    "Maintain": ("node", "config", "tls", "rolling-restart", "rolling-upgrade"),
    "RabbitMQ's own words": (
        "cluster-status",
        "join-cluster",
        "forget-node",
        "stop-app",
        "start-app",
        "list-configs",
        "set-config",
    ),
    "Measure": ("plan", "telemetry", "bench"),
}
"""Where `warrener --help` lists what, in this order."""

_PANEL_OF: Final = {name: panel for panel, names in _PANELS.items() for name in names}


class _Commands(typer.core.TyperGroup):
    """The commands, and the late groups among them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted([*super().list_commands(ctx), *_LATE_GROUPS], key=list(_PANEL_OF).index)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = self._get(ctx, cmd_name)
        if found is not None:
            found.rich_help_panel = _PANEL_OF[cmd_name]
        return found

    def _get(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _LATE_GROUPS:
            return super().get_command(ctx, cmd_name)
        module, summary = _LATE_GROUPS[cmd_name]
        if cmd_name not in sys.argv:  # it is only listed (`warrener --help`), not called
            listed = typer.Typer(help=summary)
            listed.callback()(lambda: None)
            group = typer.main.get_group(listed)
        else:
            group = typer.main.get_group(importlib.import_module(module).app)
        group.name = cmd_name
        return group


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
lifecycle.register(app)
description.register(app)
inspect.register(app)
page.register(app)
explain.register(app)
history.register(app)
top.register(app)
app.add_typer(balance.app, name="balance")
app.add_typer(node_membership.app, name="node")
words.register(app)
upgrade.register(app)
app.add_typer(leaders.app, name="leaders")
app.add_typer(config.app, name="config")
app.add_typer(tls.app, name="tls")
app.add_typer(plan.app, name="plan")
app.add_typer(telemetry.app, name="telemetry")
config.register(app)
backup.register(app)
doctor.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"warrener {__version__}")
        raise typer.Exit


@app.callback()
def _global(
    context: typer.Context,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            metavar="DIR",
            envvar=state_folder.ENVIRONMENT,
            help="The cluster's state folder; also after the command.",
            show_default=f"{state_folder.DEFAULT} here",
        ),
    ] = None,
    _: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version.")
    ] = False,
) -> None:
    """Builds, balances and watches RabbitMQ clusters.

    [bold]warrener up -d[/] starts three nodes behind a balancer on this machine,
    [bold]warrener url[/] prints what to connect to, [bold]warrener down[/] stops it all.

    Exit codes: 0 done, 1 failed, 2 bad usage or input, 3 not running.
    """
    context.obj = state


def main() -> None:
    """Runs the command line and exits with its code."""
    try:
        app(prog_name="warrener")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        sys.exit(_failed(error))


def _failed(error: Exception) -> int:
    """Says what went wrong, in one sentence; returns the exit code."""
    if os.environ.get("WARRENER_DEBUG"):
        traceback.print_exception(error)
    message, code = describe(error)
    print(f"warrener: {message}", file=sys.stderr)  # noqa: T201
    return code


def describe(error: Exception) -> tuple[str, int]:
    """The sentence and the exit code for an error that a command ended with."""
    match error:
        case CliError():
            return error.message, error.exit_code
        case NotRunning():
            return inspect.not_running(error.folder), NOT_RUNNING
        case Refused():
            return error.message, BAD_INPUT if error.refusal in BAD_INPUT_REFUSALS else FAILED
        case DaemonError():
            return error.message, error.exit_code
        case NotOurs():
            return str(error), BAD_INPUT
        case Unresponsive():
            return f"{error}. `warrener down` ends it, by force if it must", FAILED
        case BadLine():
            return str(error), FAILED
        case _:
            where = _keep_traceback(error)
            return f"{type(error).__name__}: {error} (a bug in Warrener; {where})", FAILED


def _keep_traceback(error: Exception) -> str:
    """Puts an unforeseen error's traceback into the state folder's log, if there is one."""
    folder = StateFolder(
        Path(os.path.abspath(os.environ.get(state_folder.ENVIRONMENT) or state_folder.DEFAULT))
    )
    if folder.is_ours():
        with contextlib.suppress(OSError), (folder.logs / "cli.log").open("a") as file:
            traceback.print_exception(error, file=file)
            return f"the traceback is in {file.name}"
    return "WARRENER_DEBUG=1 shows the traceback"
