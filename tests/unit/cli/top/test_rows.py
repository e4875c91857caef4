"""Counters of two readings become rates; names, states and shares as they are shown."""

from typing import Any

import msgspec
import pytest
from tests.unit.cli.top import scene
from tests.unit.cli.top.scene import N1, N2

from warrener.cli.top import columns, rows
from warrener.cli.top.readings import Pane, Reading
from warrener.control.operations import SessionsAnswer
from warrener.control.traffic_operations import TrafficAnswer, TrafficLine
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState

ALL = frozenset(Pane)


def reading(at: float, messages: int = 0, **changes: Any) -> Reading:
    figures = scene.Figures(messages=messages)
    request = type("request", (), {"limit": 1000, "queues": True, "last": 10})
    answers = {name: figures.answer(name, request) for name in ("status", "traffic", "sessions")}
    whole: dict[str, Any] = {
        "history": scene.history(figures.status.queues),
        "events": tuple(figures.events),
    }
    return Reading(at=at, taken_at=at, panes=ALL, **(answers | whole | changes))


def test_rates_are_differences_over_the_time_between() -> None:
    first, second = reading(10.0, 1000), reading(12.0, 1100)
    one = rows.nodes(second, first)[0]
    assert (one.messages_in, one.messages_out) == (50.0, 50.0)
    assert one.local == 0.75
    assert (one.bytes_in, one.channels, one.cpu) == (5000.0, 8, 0.25)
    sums = rows.totals(second, first)
    assert (sums.messages_in, sums.messages_out, sums.local) == (150.0, 150.0, 0.75)
    worker = rows.sessions(second, first)[0]
    assert (worker.messages_in, worker.messages_out, worker.local) == (50.0, 100.0, 1.0)


@pytest.mark.parametrize(
    "before",
    [
        None,
        reading(-10.0, 1000),  # too long ago to tell of now
        reading(10.0, 5000),  # counters began anew
        reading(8.0, 1000, status=scene.status(pid=98)),  # another daemon
    ],
)
def test_there_is_no_rate_without_a_reading_to_go_by(before: Reading | None) -> None:
    now = reading(10.0, 1100)
    one = rows.nodes(now, before)[0]
    assert (one.messages_in, one.bytes_in, one.local) == (None, None, None)
    assert rows.sessions(now, before)[0].messages_in is None
    assert rows.totals(now, before).messages_in is None


def test_a_data_plane_that_counts_no_messages_has_no_rates() -> None:
    blind = scene.status(balancer=scene.balancer(published=None, messages_local=None))
    none = {"traffic": None, "status": blind, "sessions": None}
    one, two = reading(1.0, **none), reading(2.0, **none)
    assert rows.nodes(two, one)[0].messages_in is None
    assert rows.totals(two, one).messages_in is None
    assert rows.sessions(two, one) == []


def test_bytes_are_those_of_whoever_counts_them() -> None:
    def counted(at: float, count: int) -> Reading:
        nodes = [scene.node(N1, bytes_in=None, bytes_out=None)]
        lines = [TrafficLine(node=N1, bytes_in=count, bytes_out=2 * count)]
        whole = scene.status(nodes=nodes)
        return reading(at, status=whole, traffic=TrafficAnswer(nodes=lines))

    one = rows.nodes(counted(2.0, 300), counted(1.0, 100))[0]
    assert (one.bytes_in, one.bytes_out) == (200.0, 400.0)


def test_a_session_that_is_new_has_no_rate_yet() -> None:
    first, second = reading(1.0), reading(2.0, 10)
    assert first.sessions is not None
    older = msgspec.structs.replace(first.sessions, sessions=first.sessions.sessions[1:])
    found = rows.sessions(second, reading(1.0, sessions=older))
    assert [row.messages_in for row in found[:2]] == [None, 10.0]


def test_names_are_short_where_that_is_clear() -> None:
    a, b, c = NodeName("n1@east"), NodeName("n1@west"), NodeName("n2@west")
    assert rows.shorten([a, b, c]) == {a: "n1@east", b: "n1@west", c: "n2"}


@pytest.mark.parametrize(
    ("changes", "state", "fit", "well"),
    [
        ({}, "running", "yes", True),
        ({"alarms": ("memory",)}, "mem alarm", "yes", False),
        ({"alarms": ("partition", "disk")}, "partition", "yes", False),
        (scene.DRAINED, "drained", "drained", False),
        ({"state": NodeState.DOWN, "fit": False, "unfit_reason": "refuses"}, "down", "refuses", 0),
        ({"state": NodeState.DOWN, **scene.DRAINED}, "down", "drained", False),
    ],
)
def test_the_word_that_matters_most(changes: Any, state: str, fit: str, well: bool) -> None:
    row = rows.nodes(reading(1.0, status=scene.status(nodes=[scene.node(N1, **changes)])), None)[0]
    assert (row.state, row.fit, row.well) == (state, fit, bool(well))


def test_queues_with_their_rates_and_members() -> None:
    views = [
        scene.queue(2, online=(N1,), leader=None),
        scene.queue(1, type="classic", members=(), online=(), leader=N2),
    ]
    now = reading(1.0, status=scene.status(queues=views), history=scene.history(views[1:]))
    classic, quorum = rows.queues(now)
    assert (classic.name, classic.leader, classic.online, classic.members, classic.well) == (
        "orders-0001",
        "n2",
        1,
        1,
        True,
    )
    assert (classic.messages_in, classic.messages_out) == (12.0, 1.0)
    assert (quorum.leader, quorum.online, quorum.members, quorum.well) == ("", 1, 3, False)
    assert quorum.messages_in is None  # it isn't kept singly


def test_what_has_no_room_in_a_row_is_told_of_the_chosen_one() -> None:
    lost = scene.node(N2, fit=False, unfit_reason="refuses", unfit_detail="ECONNREFUSED")
    now = reading(1.0, status=scene.status(nodes=[scene.node(N1, alarms=("disk",)), lost]))
    first, second = rows.nodes(now, None)
    assert "alarms: disk" in columns.node_detail(first)
    assert "no new sessions: refuses (ECONNREFUSED)" in columns.node_detail(second)
    away = scene.queue(1, online=(N1, N2))
    found = rows.queues(reading(1.0, status=scene.status(queues=[away])))[0]
    assert "not online: n3" in columns.queue_detail(found)
    client = SessionsAnswer(total=1, sessions=[scene.session(1, parked=2)])
    row = rows.sessions(reading(1.0, sessions=client), None)[0]
    assert "2 consumers wait for their queue" in columns.session_detail(row)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0"),
        (0.04, "0.0"),
        (9.94, "9.9"),
        (9.96, "10"),
        (9999.4, "9999"),
        (12_345.0, "12.3k"),
        (999_949.0, "999.9k"),
        (999_951.0, "1.0M"),
        (4.5e9, "4.5G"),
    ],
)
def test_rates_are_short(value: float | None, text: str) -> None:
    assert columns.rate(value) == text
    assert len(text) <= 6
