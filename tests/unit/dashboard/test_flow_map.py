"""The map: what a search finds, where the least cut goes through."""

import msgspec
from tests.unit.dashboard.moments import ALL, N1, N2, N3, moment, node, queue, session, status

from warrener.dashboard.document import document
from warrener.dashboard.documents.flow_map import MOST_FOUND, Found, MapBody
from warrener.dashboard.documents.terms import View, Wanted
from warrener.dashboard.moment import Moment
from warrener.dashboard.plan import Mark, Plan
from warrener.facts.reasons import NodeState


def the_map(now: Moment, search: str = "") -> MapBody:
    found = document(now, None, Wanted(view=View.MAP, search=search), 1).body
    assert isinstance(found, MapBody)
    return found


def found(now: Moment, search: str) -> Found:
    made = the_map(now, search).found
    assert made is not None
    return made


def test_a_search_says_how_many_queues_match_in_which_group() -> None:
    queues = [queue(f"orders.{number:04}", ALL[number % 3]) for number in range(2000)]
    queues.append(queue("orders.1.dead", N1, type="classic", members=()))
    now = moment(told=status(queues=queues))
    one = found(now, "ORDERS.1")
    assert (one.queues, one.of_queues) == (1001, 2001)
    assert {(group.leader, group.type): group.queues for group in one.groups} == {
        ("n1", "classic"): 1,
        ("n1", "quorum"): 333,
        ("n2", "quorum"): 334,
        ("n3", "quorum"): 333,
    }
    assert len(one.listed) == MOST_FOUND
    assert (one.listed[0].name, one.listed[0].leader) == ("orders.1.dead", "n1")
    assert len(msgspec.json.encode(document(now, None, Wanted(view=View.MAP, search="o"), 1))) < (
        24 * 1024
    )


def test_a_search_finds_nodes_and_clients_as_well() -> None:
    now = moment(
        told=status(queues=[queue("a", N2)]),
        sessions=[session(1), session(2, user="audit"), session(3, node=N2)],
    )
    one = found(now, "n2")
    assert (one.nodes, one.queues, one.sessions) == (["n2"], 1, 1)
    assert [(group.user, group.sessions) for group in found(now, "audit").clients] == [("audit", 1)]


def test_a_search_without_matches_and_none_at_all() -> None:
    now = moment(told=status(queues=[queue("a")]))
    one = found(now, "no such thing")
    assert (one.queues, one.groups, one.listed, one.nodes, one.clients) == (0, [], [], [], [])
    assert the_map(now).found is None
    assert the_map(now, "   ").found is None


def test_a_queue_without_a_leader_is_found_in_its_own_group() -> None:
    nodes = [node(N1), node(N2), node(N3, state=NodeState.DOWN)]
    one = found(moment(told=status(nodes, [queue("a", N3), queue("b", None)])), "quorum")
    assert [(group.leader, group.queues) for group in one.groups] == [("", 2)]


def test_the_cut_is_known_with_a_calibration_only() -> None:
    mark = Mark(kind="host", nodes=["n1"], names=["h1"], first=True)
    plan = Plan(
        number=3,
        calibrated=True,
        first="the CPU of host h1 (2 cores)",
        breaks_at=2.5,
        remedy="more cores",
        carries=250.0,
        max_flow=300.0,
        cut=["the CPU of host h1"],
        cut_total=1,
        marks=[mark],
    )
    told = the_map(moment(plan=plan)).cut
    assert (told.known, told.marks, told.breaks_at) == (True, [mark], 2.5)
    told = the_map(moment(plan=Plan(number=3, why_uncalibrated="nobody has measured"))).cut
    assert (told.known, told.why_not) == (False, "nobody has measured")
    told = the_map(moment(plan=Plan(why_not="no history"))).cut
    assert (told.known, told.why_not) == (False, "no history")
