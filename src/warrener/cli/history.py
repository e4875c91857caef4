"""`warrener history`: what went through the cluster over the last minutes, hours or days."""

import re
from typing import Annotated, Final

import typer

from warrener.cli.common import (
    BAD_INPUT,
    CliError,
    JsonOption,
    StateOption,
    folder_of,
    out,
    print_json,
)
from warrener.control.client import Client

_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("history")(history)


def window_of(typed: str) -> float:
    """Seconds, from 90, 90s, 10m, 2h or 7d. Raises CliError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", typed.strip())
    if match is None or match[2] not in _UNITS:
        raise CliError(
            f"--window: {typed!r} is no length of time; write it like 90s, 10m, 2h or 7d", BAD_INPUT
        )
    return float(match[1]) * _UNITS[match[2]]


def history(
    context: typer.Context,
    window: Annotated[
        str, typer.Option("--window", metavar="TIME", help="How far back: 90s, 10m, 2h, 7d.")
    ] = "10m",
    queue: Annotated[
        str, typer.Option("--queue", metavar="NAME", help="Only this queue, or a pattern: jobs.*")
    ] = "",
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=0, help="How many queues at most.")
    ] = 20,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what nodes and queues did: means over a window, the lowest and the highest.

    A sample is taken every 10 s; after a day samples are merged by the minute,
    and after 7 days removed ([history] in warrener.toml). With a Prometheus
    configured there, it is asked instead. What is lacking is said below.

    Examples:

      warrener history
      warrener history --window 1h --queue 'jobs.*'
      warrener history --window 7d --json | jq '.queues[] | {name, rate: .published.mean}'
    """
    from warrener.control.history_operations import HISTORY, HistoryRequest

    seconds = window_of(window)
    folder = folder_of(context, state)
    with Client.connect(folder) as client:
        answer = client.call(HISTORY, HistoryRequest(seconds, queue, limit))
    if as_json:
        print_json(answer)
        return
    from warrener.cli import render_history

    render_history.show(out(), answer)
