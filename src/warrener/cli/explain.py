"""`warrener explain`: where each channel is, and why."""

from typing import Annotated

import typer

from warrener.cli.common import JsonOption, StateOption, err, folder_of, out, print_json
from warrener.control.client import Client


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("explain")(explain)


def explain(
    context: typer.Context,
    session: Annotated[
        int | None,
        typer.Argument(
            metavar="[SESSION]",
            help="A session's number, as in `warrener sessions`.",
            show_default="all",
        ),
    ] = None,
    queue: Annotated[
        str,
        typer.Option(
            "--queue", metavar="NAME", help="Only channels placed for this queue; * matches any."
        ),
    ] = "",
    node: Annotated[str, typer.Option("--node", metavar="NODE", help="Only those on a node.")] = "",
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="How many channels at most.")
    ] = 1000,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say for each channel: node, queue, the queue's leader, why it is there, since when.

    A channel starts where its session's home is, and moves to the node that
    leads its queue once it is known which queue that is. Without a session,
    all channels are listed.

    Examples:

      warrener explain
      warrener explain 17
      warrener explain --queue 'orders.*' --node n2
      warrener explain --json | jq '.channels[] | select(.why != "leader")'
    """
    from warrener.control.operations import EXPLAIN, ExplainRequest

    with Client.connect(folder_of(context, state)) as client:
        answer = client.call(EXPLAIN, ExplainRequest(session, queue, node, limit))
    if as_json:
        print_json(answer)
        return
    from warrener.cli import render_channels

    if answer.session is not None:
        render_channels.session(out(), answer)
    elif answer.channels:
        render_channels.table(out(), answer)
    else:
        err().print("no channels")
