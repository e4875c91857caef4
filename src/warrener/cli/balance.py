"""`warrener balance`: which node gets the next session, and where those are that are open."""

from pathlib import Path
from typing import Annotated

import typer

from warrener.cli.attach import AttachOption, CaOption, PasswordFileOption, UserOption
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
from warrener.facts.settings import MAX_WEIGHT, PolicyName

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Choose how clients are spread over the nodes.",
)

_POLICIES = ", ".join(PolicyName)


@app.command("run")
def run(
    context: typer.Context,
    attach: AttachOption = None,
    user: UserOption = None,
    password_file: PasswordFileOption = None,
    ca: CaOption = None,
    file: Annotated[
        Path | None, typer.Option("-f", "--file", metavar="FILE", help="A file with [attach].")
    ] = None,
    detach: Annotated[
        bool, typer.Option("-d", "--detach", help="Return once the balancer is ready.")
    ] = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the balancer before a cluster that somebody else runs: as `warrener up --attach`.

    Examples:

      warrener balance run --attach http://rabbit.example:15672 --user ops
    """
    from warrener.cli.attach import wanted
    from warrener.cli.lifecycle import up

    if not attach and (file is None or wanted(None, user, password_file, ca, file) is None):
        raise CliError(
            "which cluster isn't said: give --attach URL, or a file with [attach]", BAD_INPUT
        )
    up(
        context,
        detach=detach,
        nodes=None,
        file=file,
        data_plane=None,
        attach=attach,
        user=user,
        password_file=password_file,
        ca=ca,
        state=state,
        as_json=as_json,
    )


@app.command("set-policy")
def set_policy(
    context: typer.Context,
    policy: Annotated[str, typer.Argument(metavar="POLICY", help=f"One of {_POLICIES}.")],
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose the balancing policy, until the next `warrener up`.

    It applies to new sessions; open ones stay where they are. To keep it,
    write it into warrener.toml.

    Examples:

      warrener balance set-policy leastconn
    """
    from warrener.control.names import resolve_policy
    from warrener.control.operations import SET_POLICY, SetPolicyRequest

    wanted = resolve_policy(policy)
    with Client.connect(folder_of(context, state)) as client:
        answer = client.call(SET_POLICY, SetPolicyRequest(wanted))
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"policy: {answer.policy} (before: {answer.before})")


@app.command("set-weight")
def set_weight(
    context: typer.Context,
    node: Annotated[str, typer.Argument(metavar="NODE", help="A node: n1 or n1@localhost.")],
    weight: Annotated[
        int,
        typer.Argument(
            metavar="WEIGHT", help=f"0 to {MAX_WEIGHT}; 0: only if no other node is fit."
        ),
    ],
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a node a larger or smaller share, until the next `warrener up`.

    Every policy goes by weights but `roundrobin` and `leastconn`; 100 is what
    a node has without one. A node of weight 0 gets sessions only if no other
    is fit, under every policy.

    Examples:

      warrener balance set-weight n1 200
      warrener balance set-weight n3 0
    """
    from warrener.control.operations import SET_WEIGHT, SetWeightRequest

    with Client.connect(folder_of(context, state)) as client:
        answer = client.call(SET_WEIGHT, SetWeightRequest(node, weight))
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"{answer.node}: weight {answer.weight} (before: {answer.before})")


@app.command("auto-weights")
def auto_weights(
    context: typer.Context,
    switch: Annotated[str, typer.Argument(metavar="on|off", help="Whether they do.")],
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let weights follow what each node can carry, until the next `warrener up`.

    Every half a minute: the cores that a node may use, less what else runs
    there, less what it needs for the queues that it leads and copies. A weight
    moves by a quarter at most at a time, stays between a quarter and four times
    the mean, and isn't touched when it is within a tenth. Each change is an
    event with its figures. Off leaves the weights as they are. To keep it,
    write `weights = "auto"` into warrener.toml, under [balancer].

    Examples:

      warrener balance auto-weights on
      warrener balance show
    """
    from warrener.control.balance_operations import AUTO_WEIGHTS, AutoWeightsRequest

    if switch not in ("on", "off"):
        raise CliError(f"weights follow (on) or they don't (off), not {switch!r}", BAD_INPUT)
    with Client.connect(folder_of(context, state)) as client:
        answer = client.call(AUTO_WEIGHTS, AutoWeightsRequest(switch == "on"))
    if as_json:
        print_json(answer)
        return
    word = {True: "follow what nodes can carry", False: "are set by hand"}
    typer.echo(f"weights {word[answer.on]} (before: {'on' if answer.before else 'off'})")


@app.command("rebalance")
def rebalance(
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what it would come to.")
    ] = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Spread the open sessions evenly again, without disconnecting any.

    After a restart a node has no sessions, and only gets new ones. This moves
    open ones, at a measured pace, as the policy would have placed them. It
    stops at the first sign of trouble, and Ctrl-C stops it at any time: each
    session is either moved or where it was. Exit code 1 if it stopped early.

    Examples:

      warrener balance rebalance --dry-run
      warrener balance rebalance
    """
    from warrener.cli.long import ask
    from warrener.control.operations import REBALANCE, RebalanceRequest

    answer = ask(folder_of(context, state), REBALANCE, RebalanceRequest(dry_run))
    if as_json:
        print_json(answer)
    else:
        from warrener.cli import render

        render.rebalance(out(), answer)
    if answer.stopped:
        raise CliError(f"stopped early: {answer.stopped}")


@app.command("show")
def show(context: typer.Context, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Show the policy, the weights and which nodes are fit.

    Examples:

      warrener balance show
    """
    from warrener.control.operations import STATUS, StatusRequest

    with Client.connect(folder_of(context, state)) as client:
        answer = client.call(STATUS, StatusRequest(queues=False))
    if as_json:
        keys = (
            "name",
            "weight",
            "weight_reason",
            "fit",
            "unfit_reason",
            "unfit_detail",
            "sessions",
        )
        print_json(
            {
                "policy": answer.balancer.policy if answer.balancer else None,
                "auto_weights": bool(answer.balancer and answer.balancer.auto_weights),
                "nodes": [{key: getattr(node, key) for key in keys} for node in answer.nodes],
            }
        )
        return
    from warrener.cli import render

    console = out()
    policy = answer.balancer.policy if answer.balancer else f"none yet ({answer.phase})"
    console.print(f"Policy: [bold]{policy}[/]")
    console.print()
    console.print(render.weights(answer.nodes))
    if answer.balancer is not None:
        render.weight_reasons(console, answer.balancer, answer.nodes)
    render.unfit(console, answer.nodes)
