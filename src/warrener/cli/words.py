"""RabbitMQ's own words for what is done to nodes, at the top of the command line: `join-cluster`,
`forget-node`, `stop-app`, `start-app`, `cluster-status`; and `rolling-restart`.

They take a node's name where RabbitMQ's tools take ``-n`` and a seed: which cluster a node joins is
known here. Behind each is the same operation as behind Warrener's own word for it.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from warrener.cli import leaders
from warrener.cli.common import (
    FAILED,
    CliError,
    JsonOption,
    StateOption,
    err,
    folder_of,
    print_json,
    say,
    with_state,
)
from warrener.cli.long import ask
from warrener.cli.node import BalanceOption, warn_not_online
from warrener.cli.node_membership import add
from warrener.cli.options import (
    EachStartTimeout,
    FitTimeout,
    ForceOption,
    LoseOption,
    MoveTimeout,
    NodeArgument,
)
from warrener.control.client import Client
from warrener.control.state_folder import StateFolder
from warrener.facts.ids import short_name
from warrener.facts.reasons import NodeState

if TYPE_CHECKING:
    from warrener.control.operations import NodeStatus, StatusAnswer


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("rolling-restart")(rolling_restart)
    app.command("cluster-status")(cluster_status)
    app.command("join-cluster", help="As `warrener node add`: one node more joins.")(add)
    app.command("forget-node")(forget_node)
    app.command("stop-app")(stop_app)
    app.command("start-app")(start_app)


def stop_app(
    context: typer.Context,
    node: NodeArgument,
    timeout: MoveTimeout = 60.0,
    force: ForceOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop RabbitMQ on a node, after its sessions have moved off; its process stays.

    Examples:

      warrener stop-app n2
      warrener start-app n2
    """
    from warrener.control.node_operations import STOP_APP, StopAppRequest
    from warrener.control.outcomes import moved

    folder = folder_of(context, state)
    answer = ask(folder, STOP_APP, StopAppRequest(node, timeout, force))
    if as_json:
        print_json(answer)
        return
    if answer.drained is not None:
        say(f"Before: {moved(answer.drained)}")
    command = with_state(folder, f"warrener start-app {short_name(answer.node)}")
    say(f"RabbitMQ has stopped on {answer.node}; `{command}` starts it again")


def start_app(
    context: typer.Context,
    node: NodeArgument,
    timeout: FitTimeout = 60.0,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start RabbitMQ on a node where `stop-app` stopped it.

    Examples:

      warrener start-app n2
    """
    from warrener.control.node_operations import START_APP, StartAppRequest

    answer = ask(folder_of(context, state), START_APP, StartAppRequest(node, timeout))
    if as_json:
        print_json(answer)
    else:
        say(f"{answer.node} is fit again after {answer.seconds:.1f} s")
    warn_not_online(answer.node, answer.not_online)


def forget_node(
    context: typer.Context,
    node: NodeArgument,
    force: LoseOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a node that doesn't run out of the cluster for good.

    As `warrener node remove`, which is for nodes that run as well.

    Examples:

      warrener forget-node n3
    """
    from warrener.control.names import resolve_node

    folder = folder_of(context, state)
    rows = {row.name: row for row in _status(folder).nodes}
    found = rows[resolve_node(node, rows)]
    if found.state in (NodeState.RUNNING, NodeState.STARTING):
        raise CliError(
            f"{found.name} is {found.state}; `{with_state(folder, 'warrener node remove')} "
            f"{short_name(found.name)}` moves everything off it first, then takes it out"
        )
    from warrener.cli.node_membership import remove

    remove(context, found.name, force=force, state=state, as_json=as_json)


def cluster_status(
    context: typer.Context, state: StateOption = None, as_json: JsonOption = False
) -> None:
    """Show the members, as rabbitmqctl cluster_status does.

    `warrener status` tells more: sessions, queues, the balancer.

    Examples:

      warrener cluster-status
    """
    answer = _status(folder_of(context, state))
    if as_json:
        print_json({"cluster": answer.cluster, "nodes": answer.nodes})
        return
    for title, lines in _told(answer):
        say(f"{title}\n")
        for line in lines or ["(none)"]:
            say(f"  {line}")
        say("")


def _told(answer: "StatusAnswer") -> list[tuple[str, list[str]]]:
    nodes = answer.nodes

    def those(true: "list[NodeStatus]") -> list[str]:
        return [row.name for row in true]

    return [
        ("Basics", [f"Cluster name: {answer.cluster}"]),
        ("Nodes", those(nodes)),
        ("Running nodes", those([row for row in nodes if row.running])),
        (
            "Versions",
            [
                f"{row.name}: RabbitMQ {row.version}"
                + f" on Erlang {row.erlang_version}" * bool(row.erlang_version)
                for row in nodes
                if row.version and row.running
            ],
        ),
        (
            "Alarms",
            [
                f"{row.name}: {alarm}"
                for row in nodes
                for alarm in row.alarms
                if alarm != "partition"
            ],
        ),
        ("Network partitions", those([row for row in nodes if "partition" in row.alarms])),
        (
            "Maintenance status",
            [
                f"{row.name}: {'under' if row.being_drained else 'not under'} maintenance"
                for row in nodes
            ],
        ),
        (
            "Listeners",
            [
                f"{row.name}: {row.host}:{port}, {what}"
                for row in nodes
                if row.running
                for port, what in (
                    (row.amqp_port, "AMQP"),
                    (row.management_port, "management API"),
                    (row.prometheus_port, "Prometheus metrics"),
                )
                if port
            ],
        ),
    ]


def rolling_restart(
    context: typer.Context,
    nodes: Annotated[
        list[str] | None, typer.Argument(metavar="[NODE]...", help="All, if none is named.")
    ] = None,
    timeout: EachStartTimeout = 120.0,
    force: ForceOption = False,
    no_balance: BalanceOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restart the nodes one after the other, behind the balancer: no client notices.

    Each is drained, restarted, and has to be fit with all its replicas online
    before the next one goes. It stops at the first that isn't. Nodes that lead
    fewer queues come first. After the last one, leaders of queues are spread
    over all nodes again, by load. Ctrl-C undoes what can be undone of the
    present node and leaves the rest alone.

    Examples:

      warrener rolling-restart
      warrener rolling-restart n2 n3
    """
    from warrener.control.names import resolve_node
    from warrener.control.operations import RESTART, RestartRequest

    folder = folder_of(context, state)
    rows = {row.name: row for row in _status(folder).nodes}
    chosen = [resolve_node(node, rows) for node in nodes or list(rows)]
    chosen = list(dict.fromkeys(chosen))
    if not nodes:
        chosen.sort(key=lambda name: (rows[name].leaders or 0, name))
    answers = []
    for at, name in enumerate(chosen):
        if at or not as_json:
            err().print(f"{short_name(name)}: {at + 1} of {len(chosen)}", markup=False)
        balance = not no_balance and name == chosen[-1]
        request = RestartRequest(name, timeout, drain=True, force=force, balance=balance)
        answer = ask(folder, RESTART, request)
        answers.append(answer)
        if answer.not_online:
            warn_not_online(answer.node, answer.not_online)
            left = ", ".join(short_name(rest) for rest in chosen[at + 1 :])
            raise CliError(
                f"stopped after {short_name(name)}"
                + (f"; {left} not restarted" if left else "")
                + ": its replicas have to be online before the next node goes",
                FAILED,
            )
    if as_json:
        print_json({"restarted": answers})
        return
    seconds = sum(answer.seconds for answer in answers)
    number = len(answers)
    say(f"{number} node{'' if number == 1 else 's'} restarted in {seconds:.0f} s")
    command = with_state(folder, "warrener balance rebalance")
    say(f"`{command}` spreads the open sessions evenly again")
    say(leaders.spread_told(folder, answers[-1].leaders))


def _status(folder: StateFolder) -> "StatusAnswer":
    from warrener.control.operations import STATUS, StatusRequest

    with Client.connect(folder) as client:
        return client.call(STATUS, StatusRequest(queues=False))
