"""`warrener node`: one node out of service, back into it, or started anew."""

from typing import Annotated

import typer

from warrener.cli import leaders
from warrener.cli.common import (
    JsonOption,
    StateOption,
    err,
    folder_of,
    print_json,
    say,
    with_state,
)
from warrener.cli.long import ask
from warrener.cli.options import FitTimeout, ForceOption, MoveTimeout, NodeArgument, StartTimeout
from warrener.facts.ids import short_name

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Take a node out of service and back, restart, add, remove or replace one.",
)

BalanceOption = Annotated[
    bool,
    typer.Option("--no-balance", help="Leave the leaders of queues where they are afterwards."),
]


@app.command("drain")
def drain(
    context: typer.Context,
    node: NodeArgument,
    timeout: MoveTimeout = 60.0,
    force: ForceOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move all sessions off a node, then put it into RabbitMQ's maintenance mode.

    Clients stay connected: their channels move to other nodes (with HAProxy as
    data plane they are disconnected, and connect again). Sessions that
    can't be moved in time are taken off by RabbitMQ. Ctrl-C while sessions
    move undoes it.

    It is refused where no other node could take the clients, or where quorum
    queues would lose their majority.

    Examples:

      warrener node drain n2
      warrener node drain n2 --timeout 300
    """
    from warrener.control.operations import DRAIN, DrainRequest
    from warrener.control.outcomes import moved

    folder = folder_of(context, state)
    answer = ask(folder, DRAIN, DrainRequest(node, timeout, force))
    if as_json:
        print_json(answer)
    elif answer.already:
        say(f"{answer.node} is drained already")
    else:
        say(f"{answer.node} is drained: {moved(answer)}")
        if answer.note:
            say(answer.note)
        say(f"`{with_state(folder, f'warrener node revive {short_name(answer.node)}')}` undoes it")


@app.command("revive")
def revive(
    context: typer.Context,
    node: NodeArgument,
    timeout: FitTimeout = 30.0,
    no_balance: BalanceOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a node out of maintenance mode, and wait until it gets sessions again.

    RabbitMQ reports success even if the node can't serve; so this looks. What
    sessions were moved off stay where they are: see `warrener balance rebalance`.
    Leaders of queues are spread over the nodes again, by load.

    Examples:

      warrener node revive n2
    """
    from warrener.control.operations import REVIVE, ReviveRequest

    folder = folder_of(context, state)
    answer = ask(folder, REVIVE, ReviveRequest(node, timeout, balance=not no_balance))
    if as_json:
        print_json(answer)
    elif answer.already:
        say(f"{answer.node} is not drained, and fit")
    else:
        say(f"{answer.node} is fit again after {answer.seconds:.1f} s")
        say(leaders.spread_told(folder, answer.leaders))
    warn_not_online(answer.node, answer.not_online)


@app.command("restart")
def restart(
    context: typer.Context,
    node: NodeArgument,
    drain_first: Annotated[
        bool,
        typer.Option(
            "--drain",
            help="Move its sessions off first: no client notices, unless it "
            "is HAProxy that carries them.",
        ),
    ] = False,
    timeout: StartTimeout = 120.0,
    force: ForceOption = False,
    no_balance: BalanceOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start a node that is down, frozen or stopped; stop and start one that runs.

    Returns when the node serves, is clustered and gets sessions again, out of
    maintenance mode. It is stopped in order, which takes 6 s or more. Without
    --drain the sessions on it fail over, as if it had died. Leaders of queues,
    which other nodes took over, are spread over all nodes again, by load.

    Examples:

      warrener node restart n2 --drain
      for n in n1 n2 n3; do warrener node restart $n --drain || break; done
    """
    from warrener.control.operations import RESTART, RestartRequest
    from warrener.control.outcomes import moved

    folder = folder_of(context, state)
    request = RestartRequest(node, timeout, drain_first, force, balance=not no_balance)
    answer = ask(folder, RESTART, request)
    if as_json:
        print_json(answer)
    else:
        if answer.drained is not None and not answer.drained.already:
            say(f"Before: {moved(answer.drained)}")
        say(f"{answer.node} runs again after {answer.seconds:.1f} s, as process {answer.pid}")
        command = with_state(folder, "warrener balance rebalance")
        say(f"`{command}` spreads the open sessions evenly again")
        say(leaders.spread_told(folder, answer.leaders))
    warn_not_online(answer.node, answer.not_online)


def warn_not_online(node: str, queues: list[str]) -> None:
    """On stderr, if there are any: replicas that aren't online although their node runs."""
    if queues:
        shown = ", ".join(queues[:5]) + (f" and {len(queues) - 5} more" if len(queues) > 5 else "")
        err().print(
            f"warrener: {node} runs, but its replicas of {shown} are not online; its log says why",
            markup=False,
            soft_wrap=True,
        )
