"""`warrener telemetry`: Prometheus' files, alert rules, and how it all is."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from warrener.cli import telemetry_grafana
from warrener.cli.common import (
    BAD_INPUT,
    CliError,
    JsonOption,
    StateOption,
    folder_of,
    out,
    print_json,
    say,
    shown,
)

if TYPE_CHECKING:
    from warrener.control.telemetry_operations import TelemetryAnswer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Metrics for Prometheus, and alerts.",
)

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


@app.callback()
def _group() -> None:
    """Metrics for Prometheus, and alerts."""


@app.command("prometheus")
def prometheus(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where to; it is made if need be.")
    ],
    interval: Annotated[
        str,
        typer.Option("--interval", metavar="TIME", help="Between two scrapes.", show_default="15s"),
    ] = "",
    alert_after: Annotated[
        str,
        typer.Option(
            "--alert-after",
            metavar="TIME",
            help="How long a condition has to last at most until its alert fires.",
            show_default="as each rule has it",
        ),
    ] = "",
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write what a Prometheus of yours needs to scrape this cluster.

    That is prometheus.yml with Warrener and every node, alert and recording
    rules, an example of Alertmanager's routes, the token for Warrener's own
    metrics, and the targets, which the daemon keeps current in that folder when
    nodes come and go. Run Prometheus with it as it is, or take the jobs and
    rules over into yours.

    Examples:

      warrener telemetry prometheus --out monitoring
      prometheus --config.file=monitoring/prometheus.yml
      warrener telemetry prometheus --out /etc/prometheus/warren --interval 30s
    """
    from warrener.control.client import Client
    from warrener.control.telemetry_operations import TELEMETRY_EXPORT, TelemetryExportRequest

    request = TelemetryExportRequest(
        folder=os.path.abspath(folder),
        scrape_interval=seconds("--interval", interval),
        alert_after=seconds("--alert-after", alert_after),
    )
    with Client.connect(folder_of(context, state)) as client:
        answer = client.call(TELEMETRY_EXPORT, request)
    if as_json:
        print_json(answer)
        return
    where = shown(Path(answer.folder))
    for name in answer.files:
        say(f"{where}/{name}")
    say(
        f"{answer.targets['rabbitmq']} nodes; the daemon keeps {where}/targets current. "
        f"`prometheus --config.file={where}/prometheus.yml` scrapes them."
    )


@app.command("alerts")
def alerts(
    as_rules: Annotated[
        bool, typer.Option("--rules", help="As the rule file that Prometheus reads.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the alerts: when each fires, and what to do then.

    Those of RabbitMQ's own list are marked. No cluster has to run for this;
    which of them fire just now, `warrener telemetry status` says.

    Examples:

      warrener telemetry alerts
      warrener telemetry alerts --rules > rules.yml
      warrener telemetry alerts --json | jq -r '.alerts[].name'
    """
    from warrener.telemetry.alerts import ALERTS, RECORDINGS
    from warrener.telemetry.rules import duration, rules

    if as_rules:
        typer.echo(rules(), nl=False)
    elif as_json:
        print_json({"alerts": ALERTS, "recordings": RECORDINGS})
    else:
        for alert in ALERTS:
            lasts = f", after {duration(alert.after)}" if alert.after else ""
            official = ", of RabbitMQ's list" if alert.official else ""
            say(f"{alert.name} ({alert.severity}{lasts}{official})")
            say(f"  {alert.expression}")
            say(f"  {alert.text}")


app.command("grafana")(telemetry_grafana.grafana)


@app.command("status")
def status(context: typer.Context, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Show where metrics are, what Prometheus scrapes, and which alerts fire.

    Targets and alerts are those of the Prometheus that `up --with-prometheus`
    runs.

    Examples:

      warrener telemetry status
      warrener telemetry status --json | jq '.alerts[] | {name, state, labels}'
    """
    from warrener.control.client import Client
    from warrener.control.telemetry_operations import TELEMETRY, TelemetryRequest

    with Client.connect(folder_of(context, state)) as client:
        answer = client.call(TELEMETRY, TelemetryRequest())
    if as_json:
        print_json(answer)
    else:
        _show(answer)


def _show(answer: "TelemetryAnswer") -> None:
    from rich.markup import escape

    from warrener.cli.render import new_table

    if answer.metrics_url:
        say(f"Metrics: {answer.metrics_url}, scraped {answer.scrapes:,} times")
        say(f"  with the token in {shown(Path(answer.token_file))}, as Authorization: Bearer")
    else:
        say("Metrics: none are served (enabled = false under [telemetry] in warrener.toml)")
    for folder in answer.exports:
        say(f"Targets are kept current in {shown(Path(folder))}")
    line = answer.prometheus
    if line is None:
        say("Prometheus: none is run here; `warrener up --with-prometheus` does")
        return
    process = f", process {line.pid}" if line.pid is not None else ""
    version = f" {line.version}" if line.version else ""
    problem = f": {line.problem}" if line.problem else ""
    say(f"Prometheus{version}: {line.url}, {line.state}{process}{problem}")
    if answer.targets:
        table = new_table("job", "node", "target", "health", ">took")
        for target in answer.targets:
            health = "[green]up[/]" if target.health == "up" else f"[red]{escape(target.health)}[/]"
            table.add_row(
                target.job,
                escape(target.node) or "-",
                escape(target.url),
                health,
                f"{target.took * 1000:.0f}ms",
            )
        out().print()
        out().print(table)
        for target in answer.targets:
            if target.error:
                say(f"  {target.url}: {target.error}")
    out().print()
    if not answer.alerts:
        say("No alert is pending or firing.")
    for alert in answer.alerts:
        say(f"{alert.state}: {alert.name} ({alert.severity}): {alert.summary}")


def seconds(option: str, given: str) -> float:
    """``15s``, ``2m``; 0 for nothing."""
    if not given:
        return 0.0
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", given)
    seconds = float(match[1]) * _UNITS[match[2]] if match is not None else 0.0
    if not 1 <= seconds <= 86_400:
        raise CliError(f"{option} is a time from 1s to 24h, such as 15s, not {given!r}", BAD_INPUT)
    return seconds
