"""`warrener rolling-upgrade`: another RabbitMQ under all nodes, one after the other."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from warrener.cli import leaders
from warrener.cli.common import (
    FAILED,
    CliError,
    JsonOption,
    StateOption,
    folder_of,
    print_json,
    say,
    with_state,
)
from warrener.cli.long import ask
from warrener.cli.options import EachStartTimeout, ForceOption
from warrener.control.state_folder import StateFolder
from warrener.facts.ids import short_name

if TYPE_CHECKING:
    from warrener.control.upgrade_operations import UpgradeAnswer


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("rolling-upgrade")(rolling_upgrade)


def rolling_upgrade(
    context: typer.Context,
    to: Annotated[
        Path,
        typer.Option("--to", metavar="PATH", help="The root of a RabbitMQ installation."),
    ],
    nodes: Annotated[
        list[str] | None, typer.Argument(metavar="[NODE]...", help="All, if none is named.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only look whether it can be done, and how.")
    ] = False,
    enable_feature_flags: Annotated[
        bool,
        typer.Option(
            "--enable-feature-flags", help="At the end, the stable ones. There is no way back then."
        ),
    ] = False,
    timeout: EachStartTimeout = 120.0,
    force: ForceOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give the nodes another RabbitMQ, one after the other, behind the balancer.

    Looked at first: a path that RabbitMQ allows, Erlang, plugins, settings,
    feature flags, alarms, whether all nodes are there. Then each node is
    drained, stopped, started with the new installation, and has to be fit with
    all its replicas online before the next one goes. One that doesn't come back
    starts with its old installation again, and it ends there. Run again, it
    goes on with the nodes that are left. Downgrades are refused; the same
    version from another place (a patched one) is fine.

    Examples:

      warrener rolling-upgrade --to /opt/rabbitmq_server-3.11.28 --dry-run
      warrener rolling-upgrade --to /opt/rabbitmq_server-3.11.28
      warrener rolling-upgrade --to /opt/rabbitmq_server-3.11.28 n1
    """
    from warrener.control.upgrade_operations import UPGRADE, UpgradeRequest

    folder = folder_of(context, state)
    request = UpgradeRequest(
        to=str(to.expanduser().absolute()),
        nodes=nodes or [],
        timeout=timeout,
        dry_run=dry_run,
        flags=enable_feature_flags,
        force=force,
    )
    answer = ask(folder, UPGRADE, request)
    if as_json:
        print_json(answer)
    elif dry_run:
        _tell_plan(answer)
    else:
        _tell_done(folder, answer)
    wrong = [check for check in answer.checks if check.problem]
    if dry_run and wrong:
        raise CliError(
            f"it can't be done like this: {len(wrong)} of {len(answer.checks)} checks failed",
            FAILED,
        )


def _tell_plan(answer: "UpgradeAnswer") -> None:
    say(f"To RabbitMQ {answer.version} in {answer.to}:")
    for check in answer.checks:
        sign = "x" if check.problem else "ok"
        forced = " (--force passes over it)" if check.problem and check.forcible else ""
        told = f": {check.problem}{forced}" if check.problem else ""
        say(f"  {sign:>2}  {check.what}{told}")
    for row in answer.nodes:
        how = {
            "to do": "drained, restarted with the new installation",
            "already": "runs it already",
        }.get(row.state, "left as it is")
        say(f"  {short_name(row.node)}  {row.version or '?'} in {row.installation}: {how}")


def _tell_done(folder: StateFolder, answer: "UpgradeAnswer") -> None:
    done = [row for row in answer.nodes if row.state == "done"]
    if done:
        plural = "s" * (len(done) != 1)
        say(f"{len(done)} node{plural} upgraded in {answer.seconds:.0f} s:")
    else:
        say("Nothing to do: these nodes run it already.")
    for row in answer.nodes:
        say(f"  {short_name(row.node)}  RabbitMQ {row.version} in {row.installation}")
    if answer.mixed:
        say("Not all nodes run the same version yet; don't leave it so for long.")
        return
    if answer.flags_enabled:
        say(f"Feature flags enabled: {', '.join(answer.flags_enabled)}")
    if answer.flags_off:
        say(
            f"Feature flags to be enabled once you are content with it (there is no way back "
            f"then): {', '.join(answer.flags_off)}. `rabbitmqctl enable_feature_flag all`, or this "
            f"command with --enable-feature-flags"
        )
    if not answer.described and all(row.installation == answer.to for row in answer.nodes):
        say(f'Put `rabbitmq = "{answer.to}"` under [cluster] in warrener.toml, so that it says so')
    if done:
        command = with_state(folder, "warrener balance rebalance")
        say(f"`{command}` spreads the open sessions evenly again")
        say(leaders.spread_told(folder, answer.leaders))
