"""Options and arguments that several commands have: one text for each, wherever it stands."""

from typing import Annotated

import typer

NodeArgument = Annotated[str, typer.Argument(metavar="NODE", help="A node: n1 or n1@localhost.")]


def _seconds(what: str) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option("--timeout", metavar="S", min=0.1, help=what)
    return found


MoveTimeout = Annotated[float, _seconds("Seconds for moving the sessions.")]
FitTimeout = Annotated[float, _seconds("Seconds until it has to be fit.")]
StartTimeout = Annotated[float, _seconds("Seconds for its start.")]
EachStartTimeout = Annotated[float, _seconds("Seconds for each node's start.")]

ForceOption = Annotated[
    bool, typer.Option("--force", help="Even if queues lose their majority, or clients all nodes.")
]
LoseOption = Annotated[
    bool, typer.Option("--force", help="Even if queues are lost with it, or less safe after.")
]
ReplaceFileOption = Annotated[bool, typer.Option("--force", help="Replace a file that is there.")]
