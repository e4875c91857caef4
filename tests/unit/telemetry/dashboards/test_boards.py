"""What all dashboards have to keep to."""

import re
import subprocess
from pathlib import Path

import pytest
from grafana_foundation_sdk.models import units

from warrener.telemetry.dashboards.board import Board, Look, Panel
from warrener.telemetry.dashboards.boards import BOARDS, MARKS
from warrener.telemetry.dashboards.promql import filled
from warrener.telemetry.queries import names_in
from warrener.telemetry.registry import METRICS, OF_DAEMON, Kind, unknown
from warrener.telemetry.rules import to_yaml

PANELS = [
    pytest.param(board, panel, id=f"{board.uid}: {panel.title}")
    for board in BOARDS
    for panel in board.panels
]
EXPRESSIONS = [
    *(query.expression for board in BOARDS for panel in board.panels for query in panel.queries),
    *(mark.expression for mark in MARKS),
]

UNITS = {value for name, value in vars(units).items() if name.isidentifier() and name[0] != "_"}
"""Grafana's names of units, as the SDK lists them."""


def test_there_are_five_with_names_of_their_own() -> None:
    assert [board.uid for board in BOARDS] == [
        "warrener-overview", "warrener-balancer", "warrener-queues", "warrener-planner",
        "warrener-events",
    ]  # fmt: skip
    assert len({board.title for board in BOARDS}) == len(BOARDS)
    assert all(len(board.uid) <= 40 for board in BOARDS)  # Grafana's limit


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_only_known_series_are_asked_for_and_only_of_the_chosen_cluster(expression: str) -> None:
    assert unknown(names_in(filled(expression))) == []
    selectors = re.findall(r"[a-zA-Z_:]+\{[^}]*\}", expression)
    assert len(selectors) >= len(names_in(filled(expression))) > 0
    assert all('cluster="$cluster"' in selector for selector in selectors)
    assert len(re.findall(r"\[", expression)) == expression.count("[$__rate_interval]")


def test_promtool_takes_every_expression(tmp_path: Path) -> None:
    rules = [
        {"record": f"try:{number}", "expr": filled(expression)}
        for number, expression in enumerate(EXPRESSIONS)
    ]
    (tmp_path / "rules.yml").write_text(to_yaml({"groups": [{"name": "all", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", "rules.yml"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(EXPRESSIONS)} rules found" in done.stdout


def test_every_metric_is_on_some_dashboard() -> None:
    shown = set().union(*(names_in(filled(expression)) for expression in EXPRESSIONS))
    left_out = {name for name, metric in METRICS.items() if not shown & set(metric.series)} | (
        OF_DAEMON - shown
    )
    assert left_out == set(LEFT_OUT)


LEFT_OUT = {
    "warrener_cluster_nodes": "states of members; NODE_RUNNING and NODE_DRAINED say it by node",
    "warrener_node_sessions_opened_total": "opened in all is shown, and open ones by node",
}
"""What no dashboard shows, and why."""


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_panels_say_what_they_show_in_a_known_unit(board: Board, panel: Panel) -> None:
    assert panel.title
    assert not panel.title.endswith(".")
    assert panel.description.rstrip().endswith(".")
    assert panel.unit in UNITS or panel.unit == "suffix:x"  # times: a suffix of ours
    assert panel.queries
    if panel.look is not Look.NUMBER:
        assert all(query.legend for query in panel.queries)
    if len(panel.queries) > 1:
        legends = [query.legend for query in panel.queries]
        assert len(set(legends)) == len(legends)
    if panel.look is Look.STATES:
        assert panel.words
    assert panel.steps[0][0] is None
    values = [value for value, _ in panel.steps[1:] if value is not None]
    assert len(values) == len(panel.steps) - 1
    assert values == sorted(values)


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_seconds_and_bytes_have_their_units(board: Board, panel: Panel) -> None:
    """By the metrics' own units, where they are shown as they are."""
    for query in panel.queries:
        names = names_in(filled(query.expression))
        if " / " in query.expression or len(names) != 1:
            continue
        metric = METRICS.get(re.sub(r"_bucket$", "", next(iter(names))))
        if metric is None or metric.unit == "":
            continue
        rated = "rate(" in query.expression and metric.kind is not Kind.HISTOGRAM
        assert panel.unit == {"seconds": "s", "bytes": "Bps" if rated else "bytes"}[metric.unit]


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_labels_in_legends_are_there(board: Board, panel: Panel) -> None:
    """A legend can only name labels that its expression leaves."""
    for query in panel.queries:
        wanted = set(re.findall(r"\{\{(\w+)\}\}", query.legend))
        for kept in re.findall(r"^(?:sort_desc\()?(?:\()?sum by \(([^)]*)\)", query.expression):
            assert wanted <= set(kept.split(", ")), query.expression


def test_a_titles_panel_is_found_once_in_its_row() -> None:
    for board in BOARDS:
        for row in board.rows:
            titles = [panel.title for panel in row.panels]
            assert len(set(titles)) == len(titles)
