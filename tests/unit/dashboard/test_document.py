"""What each view is told."""

import math
from typing import Any

import msgspec
import pytest
from tests.unit.dashboard.moments import (
    ALL,
    N1,
    N2,
    N3,
    event,
    moment,
    node,
    queue,
    session,
    status,
)

from warrener.control.operations import ViewStatus
from warrener.dashboard.document import document
from warrener.dashboard.documents.events import MOST_EVENTS
from warrener.dashboard.documents.flow_map import MOST_CLIENTS, MapBody
from warrener.dashboard.documents.terms import PAGE, Level, Part, View, Wanted
from warrener.dashboard.moment import Hop, Measured, Moment, NodeMeasure, QueueMeasure
from warrener.facts.reasons import NodeState, Unfit


def body(now: Moment, view: View, before: Moment | None = None, **wanted: Any) -> Part:
    found = document(now, before, Wanted(view=view, **wanted), 1).body
    assert isinstance(found, Part)
    return found


def the_map(now: Moment, before: Moment | None = None) -> MapBody:
    found = document(now, before, Wanted(view=View.MAP), 1).body
    assert isinstance(found, MapBody)
    return found


@pytest.mark.parametrize(
    ("changes", "word", "level"),
    [
        ({}, "running", Level.GOOD),
        ({"state": NodeState.DOWN, "fit": False}, "down", Level.BAD),
        ({"state": NodeState.LOST}, "lost", Level.BAD),
        ({"state": NodeState.UNREACHABLE}, "unreachable", Level.BAD),
        ({"state": NodeState.STOPPED}, "stopped", Level.OFF),
        ({"state": NodeState.STARTING}, "starting", Level.WARN),
        ({"running": False}, "not running", Level.BAD),
        ({"alarms": ("memory",)}, "alarm", Level.BAD),
        ({"being_drained": True, "fit": False}, "drained", Level.OFF),
        ({"fit": False, "unfit_reason": Unfit.HANGS}, "unfit", Level.BAD),
        ({"memory_used": 950}, "running", Level.WARN),
    ],
)
def test_how_a_node_is(changes: dict[str, Any], word: str, level: Level) -> None:
    (row,) = body(moment(told=status([node(**changes)])), View.NODES).rows
    assert (row.word, row.level) == (word, level)
    assert row.why or level in (Level.GOOD, Level.WARN)


def test_rates_are_differences_over_time() -> None:
    before = moment(10.0, status([node(bytes_in=1000)], published=100, local=10, remote=10))
    now = moment(14.0, status([node(bytes_in=5000)], published=500, local=40, remote=20))
    told = document(now, before, Wanted(view=View.NODES), 1)
    assert (told.head.published, told.head.remote) == (100.0, 0.25)
    assert isinstance(told.body, Part)
    assert told.body.rows[0].bytes_in == 1000.0


def test_rates_are_unknown_without_an_earlier_moment_and_never_negative() -> None:
    now = moment(14.0, status(published=5))
    assert document(now, None, Wanted(view=View.NODES), 1).head.published is None
    assert document(now, now, Wanted(view=View.NODES), 1).head.published is None
    restarted = document(now, moment(10.0, status(published=900)), Wanted(view=View.NODES), 1)
    assert restarted.head.published == 0


def test_what_a_dead_node_used_is_not_shown() -> None:
    measured = Measured(nodes={N1: NodeMeasure(1.0, 0.5, 0.7)})
    alive = body(moment(measured=measured), View.NODES).rows[0]
    assert (alive.cpu, alive.busy, alive.rho) == (1.0, 0.5, 0.7)
    dead = moment(told=status([node(state=NodeState.DOWN)]), measured=measured)
    row = body(dead, View.NODES).rows[0]
    assert (row.cpu, row.busy, row.rho) == (None, None, None)


@pytest.mark.parametrize(
    ("changes", "word", "level"),
    [
        ({}, "running", Level.GOOD),
        ({"leader": None}, "no leader", Level.BAD),
        ({"leader": N3}, "no leader", Level.BAD),  # RabbitMQ goes on naming one that is gone
        ({"state": "down"}, "down", Level.BAD),
        ({"online": (N1,)}, "no majority", Level.BAD),
        ({"members": (N1, N2), "online": (N1, N2)}, "running", Level.GOOD),
        ({"members": (N1, N2, N3)}, "2 of 3 members", Level.WARN),
        ({"members": (N1,), "consumers": 0, "messages_ready": 4}, "no consumers", Level.WARN),
    ],
)
def test_how_a_queue_is_while_n3_is_down(changes: dict[str, Any], word: str, level: Level) -> None:
    nodes = [node(N1), node(N2), node(N3, state=NodeState.DOWN)]
    values = {"members": (N1, N2), "online": (N1, N2)} | changes
    (row,) = body(moment(told=status(nodes, [queue("q", **values)])), View.QUEUES).rows
    assert (row.word, row.level) == (word, level)


def test_two_thousand_queues_come_a_page_at_a_time() -> None:
    queues = [queue(f"q{number:04}", ALL[number % 3]) for number in range(2000)]
    now = moment(told=status(queues=queues))
    first = body(now, View.QUEUES)
    assert (first.total, first.matching, len(first.rows)) == (2000, 2000, PAGE)
    last = body(now, View.QUEUES, offset=99_999)
    assert (last.offset, last.rows[-1].name) == (1900, "q1999")
    found = body(now, View.QUEUES, search="Q12 N2")
    assert found.total == 2000
    assert {row.leader for row in found.rows} == {"n2"}
    assert found.matching == len(found.rows) == 33
    encoded = msgspec.json.encode(document(now, None, Wanted(view=View.QUEUES), 1))
    assert len(encoded) < 64 * 1024
    assert len(msgspec.json.encode(document(now, None, Wanted(view=View.MAP), 1))) < 8 * 1024


def test_queues_are_sorted_by_what_was_asked_for() -> None:
    queues = [queue("a", messages_ready=1), queue("b", None), queue("c", messages_ready=3)]
    measured = Measured(queues={("/", "b"): QueueMeasure(50.0, 40.0, 40.0, measured_time=0.2)})
    now = moment(told=status(queues=queues), measured=measured)

    def names(**wanted: Any) -> str:
        return "".join(row.name for row in body(now, View.QUEUES, **wanted).rows)

    assert names() == "abc"
    assert names(sort="ready", descending=True) == "cab"
    assert names(sort="published", descending=True) == "bac"
    assert names(sort="state") == "bac"  # the worst first
    assert names(sort="no such column") == "abc"
    assert names(sort="measured_time", descending=True) == "bac"  # what isn't known comes last


def test_predictions_that_are_infinite_are_said_as_growth() -> None:
    measured = Measured(
        queues={
            ("/", "a"): QueueMeasure(5.0, 5.0, 5.0, 0.0, 0.5, 0.002, 3.0, 0.003, 4.0),
            ("/", "b"): QueueMeasure(5.0, 5.0, 5.0, 0.0, 1.2, math.inf, math.inf),
        }
    )
    now = moment(told=status(queues=[queue("a"), queue("b")]), measured=measured)
    steady, growing = body(now, View.QUEUES).rows
    assert (steady.predicted_time, steady.predicted_length, steady.grows) == (0.002, 3.0, False)
    assert (steady.measured_time, steady.measured_length) == (0.003, 4.0)
    assert (growing.predicted_time, growing.predicted_length, growing.grows) == (None, None, True)
    msgspec.json.encode(document(now, None, Wanted(view=View.QUEUES), 1))


def test_sessions_are_found_by_client_and_have_rates() -> None:
    before = moment(10.0, sessions=[session(1), session(2)])
    now = moment(
        12.0,
        sessions=[
            session(1, published=20, messages_local=3, messages_remote=1),
            session(2, node=None, name="", user="audit"),
            session(3),
        ],
    )
    rows = body(now, View.SESSIONS, before).rows
    assert [row.published for row in rows] == [10.0, 0.0, None]
    assert [row.remote for row in rows] == [0.25, None, None]
    assert [row.id for row in body(now, View.SESSIONS, search="audit").rows] == [2]
    assert [row.id for row in body(now, View.SESSIONS, search="40001 n1").rows] == [1]


def test_events_come_newest_first_and_bounded() -> None:
    lines = [event(number) for number in range(1, 501)]
    lines.append(event(501, "node.exited", subject=N2, reason="killed", detail={"signal": 9}))
    now = moment(events=lines)
    found = body(now, View.EVENTS)
    assert (found.total, len(found.rows)) == (501, MOST_EVENTS)
    assert [line.number for line in found.rows[:2]] == [501, 500]
    assert [line.number for line in body(now, View.EVENTS, search="signal 9 n2").rows] == [501]


def test_the_map_groups_queues_by_leader_and_type() -> None:
    queues = [
        queue("a", N1, messages_ready=2),
        queue("b", N1),
        queue("c", N1, type="classic", members=()),
        queue("d", None),
    ]
    measured = Measured(
        queues={("/", "a"): QueueMeasure(5.0, 4.0, 4.0), ("/", "b"): QueueMeasure(7.0, 7.0, 7.0)},
        hops=[Hop(N2, N1, 3.0)],
    )
    found = the_map(moment(told=status(queues=queues), measured=measured))
    assert [(group.leader, group.type, group.queues) for group in found.groups] == [
        ("", "quorum", 1),
        ("n1", "classic", 1),
        ("n1", "quorum", 2),
    ]
    busy = found.groups[2]
    assert (busy.published, busy.delivered, busy.ready) == (12.0, 11.0, 2)
    assert busy.busiest == ["b", "a"]
    assert [group.level for group in found.groups] == [Level.BAD, Level.GOOD, Level.GOOD]
    assert [(hop.entry, hop.leader, hop.rate) for hop in found.hops] == [("n2", "n1", 3.0)]


def test_the_map_groups_clients_and_says_how_many_are_left_out() -> None:
    sessions = [session(number, user=f"user {number:02}") for number in range(MOST_CLIENTS + 3)]
    sessions.append(session(99, user="user 07", node=N2))
    found = the_map(moment(sessions=sessions))
    assert len(found.clients) == MOST_CLIENTS
    assert found.more_clients == 3
    assert found.clients[0].user == "user 07"
    assert found.clients[0].at == {"n1": 1, "n2": 1}


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (ViewStatus(source=N1, taken_at=1.0, age=1.0, error=""), ""),
        (ViewStatus(source=None, taken_at=None, age=None, error=""), "hasn't told"),
        (ViewStatus(source=N1, taken_at=1.0, age=3.0, error="n1: refused"), "n1: refused"),
        (ViewStatus(source=N1, taken_at=1.0, age=30.0, error=""), "old"),
    ],
)
def test_a_view_that_is_not_current_is_said(view: ViewStatus, said: str) -> None:
    told = document(moment(told=status(view=view)), None, Wanted(view=View.NODES), 1)
    assert said in told.head.trouble
    assert bool(told.head.trouble) == bool(said)


def test_there_may_be_nothing_at_all() -> None:
    empty = msgspec.structs.replace(status([], []), balancer=None)
    for view in View:
        told = document(moment(told=empty), None, Wanted(view=view), 1)
        assert told.head.nodes == 0
        assert msgspec.json.encode(told)
