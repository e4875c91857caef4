"""`warrener status`, `url`, `sessions`, `events`: what a running cluster says of itself."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from warrener.cli.common import (
    JsonOption,
    StateOption,
    err,
    folder_of,
    out,
    print_json,
    print_json_line,
    shown,
    with_state,
)
from warrener.control.client import Client
from warrener.control.state_folder import StateFolder

if TYPE_CHECKING:
    from warrener.control.operations import UrlAnswer


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("status")(status)
    app.command("url")(url)
    app.command("sessions")(sessions)
    app.command("events")(events)


def not_running(folder: StateFolder) -> str:
    """The sentence for exit code 3."""
    where = shown(folder.path)
    start = with_state(folder, "warrener up")
    if folder.socket.exists():
        return (
            f"no cluster is running in {where}: its daemon was killed, and nodes may be left. "
            f"`{with_state(folder, 'warrener down')}` stops them, `{start}` starts anew"
        )
    return f"no cluster is running in {where}. `{start}` starts one"


def status(context: typer.Context, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Show nodes, queues, balancer, alarms, and how fresh the view of the cluster is.

    Examples:

      warrener status
      warrener status --json | jq '.nodes[] | {name, state, sessions, leaders}'
    """
    from warrener.control.operations import STATUS, StatusRequest

    folder = folder_of(context, state)
    with Client.connect(folder) as client:
        answer = client.call(STATUS, StatusRequest())
    if as_json:
        print_json(answer)
        return
    from warrener.cli import render

    render.status(out(), answer, shown(folder.path))


def url(
    context: typer.Context,
    user: Annotated[
        str,
        typer.Option("--user", metavar="NAME", help="A user whose password `apply` generated."),
    ] = "",
    vhost: Annotated[
        str,
        typer.Option(
            "--vhost", metavar="NAME", help="Its virtual host.", show_default="one it may use"
        ),
    ] = "",
    pika: Annotated[
        bool, typer.Option("--pika", help="With TLS: as Python's pika has it.")
    ] = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print one AMQP URL through the balancer, with working credentials.

    Where clients speak TLS, it names the file that the balancer is verified with
    (cacertfile, as RabbitMQ has it, and cafile for aio-pika). Pika takes no
    URL with keys that it doesn't know: --pika has its own.

    Examples:

      export AMQP_URL=$(warrener url)
      export AMQP_URL=$(warrener url --pika)
      warrener url --user orders
      python publisher.py "$(warrener url)"
    """
    from warrener.control.operations import URL, UrlRequest

    with Client.connect(folder_of(context, state)) as client:
        answer = client.call(URL, UrlRequest(user, vhost))
    if pika and answer.ca:
        import msgspec

        answer = msgspec.structs.replace(answer, url=_for_pika(answer))
    if as_json:
        print_json(answer)
    else:
        typer.echo(answer.url)


def _for_pika(answer: "UrlAnswer") -> str:
    from urllib.parse import quote

    options = {"cafile": answer.ca, "server_hostname": answer.host}
    return f"{answer.url.partition('?')[0]}?ssl_options={quote(repr(options))}"


def sessions(
    context: typer.Context,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="How many at most.")
    ] = 1000,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the client connections that are open, oldest first.

    Examples:

      warrener sessions
      warrener sessions --json | jq '.sessions[] | select(.node == "n1@localhost")'
    """
    from warrener.control.operations import SESSIONS, SessionsRequest

    with Client.connect(folder_of(context, state)) as client:
        answer = client.call(SESSIONS, SessionsRequest(limit=limit))
    if as_json:
        print_json(answer)
    elif not answer.total:
        err().print("no sessions")
    else:
        from warrener.cli import render

        render.sessions(out(), answer.sessions, answer.total)


def events(
    context: typer.Context,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with new ones until Ctrl-C.")
    ] = False,
    last: Annotated[
        int, typer.Option("--last", metavar="N", min=0, max=1000, help="How many recent ones.")
    ] = 50,
    state: StateOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document; with --follow, one per line.")
    ] = False,
) -> None:
    """Show what happened: nodes fit and unfit, sessions lost, settings changed.

    Examples:

      warrener events --last 10
      warrener events --follow --json | jq 'select(.kind == "node.unfit")'
    """
    from warrener.control.operations import EVENTS, EventLine, EventsRequest

    console = out()
    collected: list[EventLine] = []

    def show(line: EventLine) -> None:
        if not as_json:
            from warrener.cli.render import event

            at = datetime.fromtimestamp(line.at).astimezone().strftime("%H:%M:%S.%f")[:-3]
            console.print(event(line, at), soft_wrap=True)
        elif follow:
            print_json_line(line)
        else:
            collected.append(line)

    with Client.connect(folder_of(context, state)) as client:
        try:
            answer = client.call(EVENTS, EventsRequest(last, follow), show, timeout=None)
        except KeyboardInterrupt:
            return
    if as_json and not follow:
        print_json({"events": collected})
    if answer.missed:
        err().print(f"{answer.missed} events came faster than they could be shown; they are in log")
