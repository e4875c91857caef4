"""`warrener leaders balance --by-count`: RabbitMQ's own rebalancing."""

from typing import TYPE_CHECKING

from rich.markup import escape

from warrener.cli.common import CliError, out, print_json
from warrener.cli.long import ask
from warrener.control.state_folder import StateFolder

if TYPE_CHECKING:
    from warrener.control.count_operations import LeadersSpreadAnswer


def spread(folder: StateFolder, *, as_json: bool) -> None:
    """Asks for it and shows what came of it; exit code 1 if leaders still move."""
    from warrener.control.count_operations import LEADERS_SPREAD, LeadersSpreadRequest

    answer = ask(folder, LEADERS_SPREAD, LeadersSpreadRequest())
    if as_json:
        print_json(answer)
    else:
        _show(answer)
    if not answer.settled:
        raise CliError("leaders still move; `warrener leaders show` tells how far it is")


def _show(answer: "LeadersSpreadAnswer") -> None:
    from warrener.cli.render import new_table

    table = new_table("node", ">quorum queues led", ">after")
    for line in answer.nodes:
        table.add_row(escape(line.node), f"{line.before:,}", f"{line.after:,}")
    console = out()
    console.print(table)
    queues = f"{answer.moved} queue{'' if answer.moved == 1 else 's'}"
    console.print()
    console.print(f"RabbitMQ moved the leaders of {queues} in {answer.seconds:.1f} s", markup=False)
