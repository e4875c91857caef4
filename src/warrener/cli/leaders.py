"""`warrener leaders`: which node carries how much, and leaders spread by load."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from warrener.cli import leaders_spread
from warrener.cli.common import (
    BAD_INPUT,
    CliError,
    JsonOption,
    StateOption,
    err,
    folder_of,
    out,
    print_json,
)
from warrener.cli.long import ask
from warrener.control.state_folder import StateFolder

if TYPE_CHECKING:
    from warrener.control.leaders_operations import LeadersPlanAnswer
    from warrener.control.spread import LeadersSpread

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Show which nodes lead which queues, and spread leaders by load.",
)


@app.command("show")
def show(
    context: typer.Context,
    sample: Annotated[
        float, typer.Option("--sample", metavar="S", help="Seconds to measure for.")
    ] = 2.0,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=0, help="How many queues at most.")
    ] = 20,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what each node carries, and the hottest queues.

    It measures for a moment: the nodes' own counters are read twice. A longer
    --sample evens out short peaks. Load is operations a second: a publish, a
    delivery or an ack each; what followers of quorum queues do counts on
    their nodes.

    Examples:

      warrener leaders show
      warrener leaders show --sample 30 --limit 50
      warrener leaders show --json | jq '.nodes[] | {node, share}'
    """
    from warrener.control.leaders_operations import LeadersShowRequest
    from warrener.control.operations import LEADERS_SHOW

    folder = folder_of(context, state)
    answer = ask(folder, LEADERS_SHOW, LeadersShowRequest(sample, limit))
    if as_json:
        print_json(answer)
        return
    from warrener.cli import render_leaders

    render_leaders.show(out(), answer, folder)


@app.command("balance")
def balance(
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what it would move.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    max_moves: Annotated[
        int, typer.Option("--max-moves", metavar="N", min=1, help="Leaders moved at most.")
    ] = 1000,
    sample: Annotated[
        float, typer.Option("--sample", metavar="S", help="Seconds to measure for, twice.")
    ] = 10.0,
    by_count: Annotated[
        bool,
        typer.Option("--by-count", help="Have RabbitMQ do it, which only counts leaders."),
    ] = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move as few leaders as it takes, so that no node carries much more than the others.

    It goes by measured load, not by counts, and does nothing while the busiest
    node is within a tenth of the mean. Quorum queues can be moved, classic
    queues and streams count as load that is there. Clients stay connected,
    and their channels follow.

    It shows the moves and asks, moves a few at a time, and stops at the first
    sign of trouble or with Ctrl-C: what was moved stays. Then it measures
    again. Exit code 1 if it stopped early. Not while a node is drained,
    revived or restarted, or sessions are rebalanced.

    With --by-count RabbitMQ spreads the leaders of quorum queues itself, as
    many on each node, whatever they carry. It is the only way with a cluster
    that Warrener is attached to.

    Examples:

      warrener leaders balance --dry-run
      warrener leaders balance --sample 60 --yes
      warrener leaders balance --max-moves 10
      warrener leaders balance --by-count
    """
    from warrener.cli import render_leaders
    from warrener.control.leaders_operations import LeadersBalanceRequest, LeadersPlanRequest
    from warrener.control.operations import LEADERS_BALANCE, LEADERS_PLAN

    folder = folder_of(context, state)
    if by_count:
        if dry_run:
            raise CliError("RabbitMQ's own rebalancing has no dry run", BAD_INPUT)
        leaders_spread.spread(folder, as_json=as_json)
        return
    if not (dry_run or yes) and (as_json or not _somebody_there()):
        raise CliError("nobody can be asked here; give --yes, or --dry-run", BAD_INPUT)
    plan = ask(folder, LEADERS_PLAN, LeadersPlanRequest(sample, max_moves, dry_run))
    if dry_run or not plan.moves:
        if as_json:
            print_json(plan)
        else:
            render_leaders.plan(out(), plan, dry_run=dry_run)
        return
    if not as_json:
        render_leaders.plan(out(), plan, dry_run=False)
    if plan.obstacles:
        raise CliError(f"not now: {'; '.join(plan.obstacles)}")
    if not yes and not _agreed(plan):
        out().print("Nothing was moved.")
        return
    answer = ask(folder, LEADERS_BALANCE, LeadersBalanceRequest(plan.plan))
    if as_json:
        print_json(answer)
    else:
        render_leaders.balanced(out(), answer)
    if answer.stopped:
        raise CliError(f"stopped early: {answer.stopped}")


def advice(folder: StateFolder) -> str:
    """What to do when leaders have piled up, after a node came back."""
    from warrener.cli.common import with_state
    from warrener.daemon.attached import is_attached

    if is_attached(folder.path):
        command = with_state(folder, "warrener leaders balance --by-count")
        return f"`{command}` has RabbitMQ spread the leaders of queues by their number"
    command = with_state(folder, "warrener leaders balance")
    return f"`{command}` spreads the leaders of queues by load again"


def spread_told(folder: StateFolder, spread: "LeadersSpread | None") -> str:
    """What became of the leaders after a change to the nodes."""
    from warrener.cli.common import with_state
    from warrener.control import outcomes

    if spread is None:
        return advice(folder)
    return outcomes.spread_told(spread, f"`{with_state(folder, 'warrener leaders balance')}`")


def _somebody_there() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _agreed(plan: "LeadersPlanAnswer") -> bool:
    number = len(plan.moves)
    question = f"Move {number} leader{'s' * (number > 1)}? [y/N] "
    err().print(question, end="", markup=False)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
