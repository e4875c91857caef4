"""Boards in Grafana's model."""

import json
import os
import subprocess
import sys
import warnings
from typing import Any

import pytest

from warrener.telemetry.dashboards.board import Board, Look, Panel, Query, Row
from warrener.telemetry.dashboards.boards import BOARDS, MARKS
from warrener.telemetry.dashboards.grafana import TAG, document, text

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

DOCUMENTS = [pytest.param(board, document(board, MARKS), id=board.uid) for board in BOARDS]


def panels(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in found["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize(("board", "found"), DOCUMENTS)
def test_every_field_is_one_of_grafanas_own(board: Board, found: dict[str, Any]) -> None:
    """The SDK's types are generated from Grafana's kinds: what they don't know is lost when they
    read it, so that nothing but what they know can be the same after that."""
    register_default_plugins()
    again = json.loads(json.dumps(Dashboard.from_json(found), cls=JSONEncoder))
    assert again == found
    wrong = found | {"refesh": "1s"}
    assert json.loads(json.dumps(Dashboard.from_json(wrong), cls=JSONEncoder)) != wrong


@pytest.mark.parametrize(("board", "found"), DOCUMENTS)
def test_structure(board: Board, found: dict[str, Any]) -> None:
    assert (found["uid"], found["title"]) == (board.uid, board.title)
    assert "id" not in found
    assert "version" not in found
    assert TAG in found["tags"]
    assert found["schemaVersion"] >= 36
    assert found["refresh"]
    assert found["time"] == {"from": board.span, "to": "now"}
    assert [one["name"] for one in found["templating"]["list"]] == ["datasource", "cluster", "node"]
    (link,) = found["links"]
    assert (link["type"], link["tags"], link["includeVars"], link["keepTime"]) == (
        "dashboards", [TAG], True, True,
    )  # fmt: skip
    assert [one["name"] for one in found["annotations"]["list"]] == [mark.name for mark in MARKS]
    numbers = [panel["id"] for panel in found["panels"]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize(("board", "found"), DOCUMENTS)
def test_every_query_goes_to_the_chosen_data_source(board: Board, found: dict[str, Any]) -> None:
    source = {"type": "prometheus", "uid": "${datasource}"}
    shown = list(board.panels)
    assert len(panels(found)) == len(shown)
    for panel, wanted in zip(panels(found), shown, strict=True):
        assert panel["datasource"] == source
        assert [target["expr"] for target in panel["targets"]] == [
            query.expression for query in wanted.queries
        ]
        assert [target["refId"] for target in panel["targets"]] == list("ABCDE")[
            : len(wanted.queries)
        ]
        assert all(target["datasource"] == source for target in panel["targets"])
        instant = wanted.look in (Look.NUMBER, Look.TABLE)
        assert all(target["instant"] is instant for target in panel["targets"])
        assert panel["fieldConfig"]["defaults"]["unit"] == wanted.unit
        if wanted.only_when:
            assert f"Only has data when: {wanted.only_when}." in panel["description"]
    for mark in found["annotations"]["list"]:
        assert mark["datasource"] == source
        assert mark["target"]["expr"]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_the_same_bytes_in_another_process(board: Board) -> None:
    program = (
        "import sys; from warrener.telemetry.dashboards.boards import BOARDS, MARKS\n"
        "from warrener.telemetry.dashboards.grafana import text\n"
        f"sys.stdout.buffer.write(text(next(b for b in BOARDS if b.uid == {board.uid!r}), MARKS))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == text(board, MARKS)


def test_looks_and_limits_arrive() -> None:
    queries = (Query("up"),)
    made = document(
        Board(
            "u", "t", "d",
            (Row("r", tuple(
                Panel(look.value, "d.", queries, look=look, most=2.0, decimals=1, stacked=True)
                for look in Look
            )),),
        ),
        (),
    )  # fmt: skip
    types = {panel["title"]: panel["type"] for panel in panels(made)}
    assert types == {
        "graph": "timeseries", "bars": "timeseries", "number": "stat", "states": "state-timeline",
        "table": "table",
    }  # fmt: skip
    for panel in panels(made):
        assert panel["fieldConfig"]["defaults"]["max"] == 2.0
        assert panel["fieldConfig"]["defaults"]["decimals"] == 1
    bars = next(panel for panel in panels(made) if panel["title"] == "bars")
    assert bars["fieldConfig"]["defaults"]["custom"]["drawStyle"] == "bars"
    assert bars["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal"
