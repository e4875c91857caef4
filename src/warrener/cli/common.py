"""What every command shares: its options, the state folder, the two consoles, JSON."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from warrener.control import state_folder
from warrener.control.state_folder import StateFolder

if TYPE_CHECKING:
    from rich.console import Console

DONE: Final = 0
FAILED: Final = 1
BAD_INPUT: Final = 2
NOT_RUNNING: Final = 3

StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="DIR",
        help="The cluster's state folder.",
        show_default=f"$WARRENER_STATE, or {state_folder.DEFAULT} here",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


class CliError(Exception):
    """A command that can't be carried out: a sentence for stderr, and the exit code."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


def folder_of(context: typer.Context, state: Path | None) -> StateFolder:
    """The state folder: the command's --state, the one before it, the environment's, the default.

    Absolute, with links kept: it is shown to people and outlives a change of folder.
    """
    chosen = state or context.obj or Path(state_folder.DEFAULT)
    return StateFolder(Path(os.path.abspath(chosen)))


def shown(path: Path) -> str:
    """A path as short as it can be pasted here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def with_state(folder: StateFolder, command: str) -> str:
    """``command`` as it has to be typed here to reach this state folder."""
    usual = os.environ.get(state_folder.ENVIRONMENT) or state_folder.DEFAULT
    if os.path.abspath(usual) == str(folder.path):
        return command
    return f"{command} --state {shown(folder.path)}"


def out() -> "Console":
    """For results."""
    return _console(stderr=False)


def err() -> "Console":
    """For progress, notes and errors."""
    return _console(stderr=True)


def say(text: str) -> None:
    """A line of a result; nothing in it is taken for markup."""
    out().print(text, markup=False, soft_wrap=True)


def _console(*, stderr: bool) -> "Console":
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    # Where nobody looks (a pipe, a file), Rich would fold at 80 columns; a line is a line there.
    return Console(file=stream, highlight=False, width=None if stream.isatty() else _width())


def _width() -> int:
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdigit() and int(columns) > 0 else 200


def print_json(value: Any) -> None:
    """One document on stdout."""
    import msgspec

    document = msgspec.json.format(msgspec.json.encode(value), indent=2)
    sys.stdout.write(document.decode() + "\n")


def print_json_line(value: Any) -> None:
    """One document of a stream, on a line of its own, at once."""
    import msgspec

    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()
