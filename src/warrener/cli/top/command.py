"""`warrener top`."""

import os
import sys
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from warrener.cli.common import CliError, StateOption, folder_of, print_json, say
from warrener.control.client import Client
from warrener.control.state_folder import StateFolder

if TYPE_CHECKING:
    from warrener.cli.top.frame import Panes

BETWEEN: Final = 1.0
"""Seconds between the two readings of a single frame: rates need both."""


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("top")(top)


def top(
    context: typer.Context,
    every: Annotated[
        float,
        typer.Option("--every", metavar="S", min=0.5, max=60, help="Seconds between two readings."),
    ] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="Print one frame as text, as to a pipe.")
    ] = False,
    state: StateOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document with all rows.")
    ] = False,
) -> None:
    """Follow nodes, queues, sessions and events on one screen; drain, revive, rebalance.

    Only the daemon is asked, never RabbitMQ. Keys: 1 to 5 choose a pane (the fifth
    has what `plan show` says: what breaks first, and when), < and >
    the column it is sorted by, / a filter; d drains the chosen node, v takes it
    back into service, b spreads the sessions: each says what it will do and asks
    first. ? shows all keys. It works in 80x24, over ssh and without colours
    (NO_COLOR). What is no terminal gets one frame as text.

    Examples:

      warrener top
      warrener top --once
      warrener top --json | jq '.queues[] | select(.ready > 1000) | .name'
    """
    folder = folder_of(context, state)
    with Client.connect(folder):  # NotRunning before anything is drawn
        pass
    if once or as_json or not _is_terminal():
        panes = _read_twice(folder)
        _print(panes, as_json=as_json)
        return
    # Textual would ask for kitty's keyboard protocol; other terminals may print that.
    os.environ.setdefault("TEXTUAL_DISABLE_KITTY_KEY", "1")
    from warrener.cli.top.readings import Source
    from warrener.cli.top.screen import Top

    screen = Top(folder, Source(folder), every=every)
    screen.run(mouse=False)  # the mouse keeps selecting text, as people over ssh expect
    if screen.return_code:
        raise typer.Exit(screen.return_code)


def _is_terminal() -> bool:
    """Whether there is one on all sides; what is drawn goes to stderr, as Textual has it."""
    on_all = all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))
    return on_all and os.environ.get("TERM", "dumb") not in ("", "dumb")


def _read_twice(folder: StateFolder) -> "Panes":
    from warrener.cli.top.frame import Panes
    from warrener.cli.top.readings import Pane, Source

    source, panes = Source(folder), Panes.empty()
    try:
        panes.take(source.read(frozenset(Pane)))
        time.sleep(BETWEEN)
        panes.take(source.read(frozenset(Pane)))
    finally:
        source.close()
    return panes


def _print(panes: "Panes", *, as_json: bool) -> None:
    from warrener.cli.common import out
    from warrener.cli.top import frame

    if panes.now is None:
        raise CliError("nothing was read")
    if as_json:
        print_json(frame.document(panes, BETWEEN))
        return
    for line in frame.text(panes, out().width):
        say(line)
