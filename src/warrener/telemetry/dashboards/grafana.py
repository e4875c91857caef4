"""Boards in Grafana's own model, by the types that Grafana Labs generate from its schema.

It is the classic model (``schemaVersion``, ``panels``): every Grafana from 10 on reads it, files
and HTTP API take it as it is, and 13 turns it into its newer one when it loads it. That newer one
(``dashboard.grafana.app/v2``) isn't known to those before, so that the SDK's advice to prefer it
isn't followed; docs/decisions/0028-grafana.md.
"""

import json
import warnings
from collections.abc import Sequence
from typing import Any, Final

from warrener.telemetry.dashboards.board import Board, Look, Mark, Panel, Steps, Words
from warrener.telemetry.dashboards.placing import Place, placed
from warrener.telemetry.registry import INFO, NODE_RUNNING

with warnings.catch_warnings():
    # They say when they are imported that the newest model is to be preferred: see above.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import common as common_builders
    from grafana_foundation_sdk.builders import dashboard as builders
    from grafana_foundation_sdk.builders import (
        prometheus,
        stat,
        statetimeline,
        table,
        timeseries,
    )
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import common
    from grafana_foundation_sdk.models import dashboard as models
    from grafana_foundation_sdk.models import prometheus as prometheus_models

TAG: Final = "warrener"
"""Of every dashboard; the links between them go by it."""

REFRESH: Final = "30s"

SOURCE: Final = "datasource"
"""The variable that chooses among Grafana's Prometheus data sources."""

_SOURCE: Final = common.DataSourceRef(type_val="prometheus", uid=f"${{{SOURCE}}}")

_PanelBuilder = timeseries.Panel | stat.Panel | statetimeline.Panel | table.Panel


def document(board: Board, marks: Sequence[Mark]) -> dict[str, Any]:
    """The dashboard, as Grafana's JSON has it. Without ``id`` and ``version``, which are each
    Grafana's own."""
    built = (
        builders.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG, "rabbitmq"])
        .timezone("browser")
        .editable()
        .refresh(REFRESH)
        .time(board.span, "now")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .variables(_variables())
        .link(
            builders.DashboardLink("Warrener")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(False)
            .include_vars(True)
            .keep_time(True)
        )
        .annotations([_mark(mark) for mark in marks])
    ).build()
    panels: list[models.Panel | models.RowPanel] = []
    for row in placed(board.rows):
        heading = builders.Row(row.row.title).id(row.place.number).grid_pos(_grid(row.place))
        panels.append(heading.build())
        panels += [_panel(panel, place) for panel, place in row.panels]
    built.panels = panels
    found: dict[str, Any] = json.loads(json.dumps(built, cls=JSONEncoder))
    return found


def text(board: Board, marks: Sequence[Mark]) -> bytes:
    """The same as a file: keys in order of the alphabet, so that changes are easy to see."""
    return (json.dumps(document(board, marks), indent=2, sort_keys=True) + "\n").encode()


def _variables() -> list[Any]:
    return [
        builders.DatasourceVariable(SOURCE).label("Data source").type("prometheus"),
        builders.QueryVariable("cluster")
        .label("Cluster")
        .datasource(_SOURCE)
        .query(f"label_values({INFO.name}, cluster)")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC),
        builders.QueryVariable("node")
        .label("Node")
        .datasource(_SOURCE)
        .query(f'label_values({NODE_RUNNING.name}{{cluster="$cluster"}}, node)')
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text="All", value="$__all")),
    ]


def _mark(mark: Mark) -> builders.AnnotationQuery:
    target = prometheus.Dataquery().expr(mark.expression).ref_id("Anno").interval("15s")
    return (
        builders.AnnotationQuery()
        .name(mark.name)
        .datasource(_SOURCE)
        .enable(mark.shown)
        .icon_color(mark.colour)
        .target(target)
        .title_format(mark.title)
        .text_format(mark.text)
        .tag_keys(mark.tags)
    )


def _panel(panel: Panel, place: Place) -> models.Panel:
    builder = _looks(panel)
    builder.id(place.number)
    builder.title(panel.title)
    if panel.description or panel.only_when:
        only = f"Only has data when: {panel.only_when}." if panel.only_when else ""
        builder.description("\n\n".join(part for part in (panel.description, only) if part))
    builder.datasource(_SOURCE)
    builder.grid_pos(_grid(place))
    builder.unit(panel.unit)
    builder.thresholds(_thresholds(panel.steps))
    if panel.least is not None and panel.look in (Look.GRAPH, Look.BARS):
        builder.min(panel.least)
    if panel.most is not None:
        builder.max(panel.most)
    if panel.decimals is not None:
        builder.decimals(panel.decimals)
    if panel.words:
        builder.mappings([_mapping(panel.words)])
    if panel.only_when:
        builder.no_value("-")
    for position, query in enumerate(panel.queries):
        target = (
            prometheus.Dataquery()
            .datasource(_SOURCE)
            .expr(query.expression)
            .legend_format(query.legend or "__auto")
            .ref_id(chr(ord("A") + position))
        )
        if panel.look in (Look.NUMBER, Look.TABLE):
            target.instant()
            if panel.look is Look.TABLE:
                target.format(prometheus_models.PromQueryFormat.TABLE)
        else:
            target.range()
        builder.with_target(target)
    return builder.build()


def _looks(panel: Panel) -> _PanelBuilder:
    if panel.look is Look.NUMBER:
        return _number(panel)
    if panel.look is Look.STATES:
        return (
            statetimeline.Panel()
            .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
            .show_value(common.VisibilityMode.NEVER)
            .row_height(0.8)
            .merge_values(True)
        )
    if panel.look is Look.TABLE:
        return table.Panel().with_transformation(
            models.DataTransformerConfig(
                id_val="organize",
                options={"excludeByName": {"Time": True, "cluster": True}, "renameByName": {}},
            )
        )
    return _graph(panel)


def _number(panel: Panel) -> stat.Panel:
    mode = common.BigValueTextMode.NAME if panel.label_as_value else common.BigValueTextMode.AUTO
    return (
        stat.Panel()
        .text_mode(mode)
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    )


def _graph(panel: Panel) -> timeseries.Panel:
    bars = panel.look is Look.BARS
    graph = (
        timeseries.Panel()
        .draw_style(common.GraphDrawStyle.BARS if bars else common.GraphDrawStyle.LINE)
        .line_width(1)
        .fill_opacity(70 if bars else 20 if panel.stacked else 5)
        .show_points(common.VisibilityMode.NEVER)
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
        .tooltip(
            common_builders.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
        .legend(
            common_builders.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs([])
        )
    )
    if panel.stacked:
        graph.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if panel.thresholds_matter:
        graph.thresholds_style(
            common_builders.GraphThresholdsStyleConfig().mode(
                common.GraphThresholdsStyleMode.DASHED
            )
        )
    return graph


def _thresholds(steps: Steps) -> builders.ThresholdsConfig:
    return (
        builders.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=colour.value) for value, colour in steps])
    )


def _mapping(words: Sequence[Words]) -> models.ValueMap:
    return models.ValueMap(
        options={
            str(one.value): models.ValueMappingResult(
                text=one.text, color=one.colour.value, index=position
            )
            for position, one in enumerate(words)
        }
    )


def _grid(place: Place) -> models.GridPos:
    return models.GridPos(h=place.height, w=place.width, x=place.x, y=place.y)
