"""`warrener doctor`: is this machine ready to run a cluster?"""

from pathlib import Path
from typing import Annotated

import typer

from warrener.cli.common import FAILED, JsonOption, StateOption, folder_of, out, print_json
from warrener.cli.lifecycle import SPEC_FILE


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("doctor")(doctor)


def doctor(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Option(
            "-f",
            "--file",
            metavar="FILE",
            help="The cluster's description.",
            show_default=f"{SPEC_FILE} here, if there is one",
        ),
    ] = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check programs, versions, ports, limits and disk; each finding with what mends it.

    Exit code 1 if something would keep `warrener up` from working.

    Examples:

      warrener doctor
    """
    from rich.markup import escape
    from rich.table import Table

    from warrener.cli.checks import Verdict, examine

    if file is None and Path(SPEC_FILE).exists():
        file = Path(SPEC_FILE)
    checks = list(examine(folder_of(context, state), file))
    failed = any(check.verdict is Verdict.FAIL for check in checks)
    if as_json:
        keys = ("name", "verdict", "found", "fix")
        rows = [{key: getattr(check, key) for key in keys} for check in checks]
        print_json({"ok": not failed, "checks": rows})
    else:
        marks = {
            Verdict.OK: "[green]ok[/]",
            Verdict.WARN: "[yellow]warn[/]",
            Verdict.FAIL: "[red]FAIL[/]",
        }
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=False)
        for check in checks:
            found = escape(check.found)
            fix = f"\n[bold]{escape(check.fix)}[/]" if check.fix else ""
            table.add_row(marks[check.verdict], escape(check.name), found + fix)
        out().print(table)
    if failed:
        raise typer.Exit(FAILED)
