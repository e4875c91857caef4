"""`warrener node add | remove | replace`: which nodes there are."""

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
from warrener.cli.node import BalanceOption, app
from warrener.cli.options import LoseOption, MoveTimeout, NodeArgument, StartTimeout
from warrener.control.state_folder import StateFolder
from warrener.facts.replicas import Spread

__all__ = ["app"]


@app.command("add")
def add(
    context: typer.Context,
    node: Annotated[
        str, typer.Argument(metavar="[NODE]", help="n4, say; the lowest free one if left out.")
    ] = "",
    replicas: Annotated[
        Spread,
        typer.Option(
            "--replicas",
            help="Queues that get a replica on it: an even share, those with too few, all, none.",
        ),
    ] = Spread.SHARE,
    timeout: StartTimeout = 120.0,
    force: Annotated[bool, typer.Option("--force", help="Even if other nodes are down.")] = False,
    no_balance: BalanceOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make one node more: it boots, joins, gets sessions and its share of replicas.

    Queues with fewer than 3 replicas get one on it. Then it takes over, from the
    nodes that have most, an even share of the replicas of quorum queues and
    streams: each one is copied before the old one is taken away. Last, leaders of
    queues are spread over all nodes, by load.

    If it doesn't come up, nothing of it is left. Ctrl-C while replicas move
    stops between two of them.

    Examples:

      warrener node add
      warrener node add n5 --replicas all
    """
    from warrener.control.node_operations import ADD_NODE, AddNodeRequest

    folder = folder_of(context, state)
    request = AddNodeRequest(node, replicas, timeout, force, balance=not no_balance)
    answer = ask(folder, ADD_NODE, request)
    if as_json:
        print_json(answer)
        return
    say(
        f"{answer.node} is a node of the cluster, which has {answer.nodes} now; it took "
        f"{answer.seconds:.1f} s. It holds a replica of {_queues(answer.replicas)}"
    )
    if answer.stopped:
        say("Replicas were still to move when you stopped it; queues are as safe as before")
    _warn(answer.failed)
    _advise(folder, "warrener balance rebalance", "spreads the open sessions over all nodes")
    say(leaders.spread_told(folder, answer.leaders))


@app.command("remove")
def remove(
    context: typer.Context,
    node: NodeArgument,
    timeout: MoveTimeout = 60.0,
    force: LoseOption = False,
    no_balance: BalanceOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a node out of the cluster for good, with all that is stored on it.

    Its sessions move to other nodes, its queues get other leaders, each of its
    replicas a successor that is in sync; then it is stopped and forgotten. No
    client notices.

    It is refused where classic queues live on it, where queues would be left
    with fewer than 3 replicas, or while another node is down.

    Examples:

      warrener node remove n5
      warrener node remove n3 --force
    """
    from warrener.control.node_operations import REMOVE_NODE, RemoveNodeRequest
    from warrener.control.outcomes import moved

    folder = folder_of(context, state)
    request = RemoveNodeRequest(node, timeout, force, balance=not no_balance)
    answer = ask(folder, REMOVE_NODE, request)
    if as_json:
        print_json(answer)
        return
    say(
        f"{answer.node} is removed; the cluster has {answer.nodes} node"
        f"{'' if answer.nodes == 1 else 's'} now. It took {answer.seconds:.1f} s"
    )
    if answer.drained is not None and not answer.drained.already:
        say(f"Before: {moved(answer.drained)}; {answer.moved} replicas got a successor")
    if answer.thinned:
        say(f"With one replica less: {_names(answer.thinned)}")
    if answer.lost:
        say(f"Lost with it: {_names(answer.lost)}")
    if answer.leaders is not None:
        say(leaders.spread_told(folder, answer.leaders))
    say("If warrener.toml says how many nodes there are: change it, or the next `up` adds one")


@app.command("replace")
def replace(
    context: typer.Context,
    node: NodeArgument,
    timeout: StartTimeout = 120.0,
    force: Annotated[
        bool, typer.Option("--force", help="Even if it serves, or holds queues alone.")
    ] = False,
    no_balance: BalanceOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a node anew whose data is gone or broken; it keeps its name.

    The others forget it, what is left of its data is removed, it joins again,
    and gets back a replica of each queue that it had one of.

    Examples:

      warrener node replace n2
    """
    from warrener.control.node_operations import REPLACE_NODE, ReplaceNodeRequest

    folder = folder_of(context, state)
    request = ReplaceNodeRequest(node, timeout, force, balance=not no_balance)
    answer = ask(folder, REPLACE_NODE, request)
    if as_json:
        print_json(answer)
        return
    say(
        f"{answer.node} is made anew, as process {answer.pid}; it took {answer.seconds:.1f} s. It "
        f"holds a replica of {_queues(answer.replicas)}"
    )
    if answer.lost:
        say(f"Lost with its data: {_names(answer.lost)}")
    _warn(answer.failed)
    _advise(folder, "warrener balance rebalance", "spreads the open sessions over all nodes")
    say(leaders.spread_told(folder, answer.leaders))


def _queues(number: int) -> str:
    return f"{number} queue{'' if number == 1 else 's'}"


def _names(queues: list[str]) -> str:
    return ", ".join(queues[:5]) + (f" and {len(queues) - 5} more" if len(queues) > 5 else "")


def _warn(failed: dict[str, str]) -> None:
    for queue, why in list(failed.items())[:5]:
        err().print(f"warrener: {queue}: {why}", markup=False, soft_wrap=True)
    if len(failed) > 5:
        err().print(f"warrener: and {len(failed) - 5} queues more", markup=False)


def _advise(folder: StateFolder, command: str, what: str) -> None:
    say(f"`{with_state(folder, command)}` {what}")
