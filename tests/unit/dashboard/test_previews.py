"""What an act would come to, in words, and when what was shown isn't so any more."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from tests.unit.dashboard.moments import ALL, N1, N2, N3, node, queue, status

from warrener.control.leaders_operations import (
    LeaderMoveLine,
    LeaderShareLine,
    LeadersPlanAnswer,
)
from warrener.control.operations import RebalanceAnswer, ShareLine, StatusAnswer
from warrener.dashboard import previews
from warrener.dashboard.acts import ActKind, Preview
from warrener.dashboard.previews import Draft, changed
from warrener.facts.data_plane import DataPlane
from warrener.facts.leaders import LeaderReason, Short
from warrener.facts.reasons import NodeState, Unfit
from warrener.facts.settings import PolicyName


def told(**changes: Any) -> StatusAnswer:
    """Three nodes with 2 sessions each; n2 leads two quorum queues and a classic one."""
    queues = [queue("a", N2), queue("b", N2), queue("c", N2, type="classic", members=(N2,))]
    nodes = [node(name, leaders=3 if name == N2 else 0) for name in ALL]
    return msgspec.structs.replace(status(nodes, queues), **changes)


def with_balancer(now: StatusAnswer, **changes: Any) -> StatusAnswer:
    assert now.balancer is not None
    return msgspec.structs.replace(now, balancer=msgspec.structs.replace(now.balancer, **changes))


def drain(now: StatusAnswer | None = None, **more: Any) -> Draft:
    now = now or told()
    return previews.drain(now, now.nodes[1], **more)


def text(draft: Draft) -> str:
    return "\n".join([draft.title, *draft.lines, *draft.refusals])


def cells(draft: Draft, sheet: int = 0) -> list[list[str]]:
    return draft.sheets[sheet].rows


def test_a_drain_says_who_moves_where_and_which_leaders() -> None:
    made = drain()
    assert text(made) == (
        "Drain n2@localhost?\n"
        "2 sessions on it: channels move to n1, n3, clients stay connected.\n"
        "2 queues that it leads get another leader first.\n"
        "1 classic queue (c) stays on it, reached through the other nodes.\n"
        "Then RabbitMQ's maintenance mode: no clients, no leaders there, until it is revived."
    )
    assert cells(made) == [["a", "n1, n3"], ["b", "n1, n3"]]
    assert made.preview("x").id == "x"
    assert (made.button, made.doing, made.size) == ("Drain n2", "drains n2", 2)


def test_what_the_daemon_would_refuse_is_said_with_the_command_that_forces_it() -> None:
    made = drain(refused="n2 should stay: 1 quorum queue (a) would lose the majority")
    assert made.refusals == [
        "n2 should stay: 1 quorum queue (a) would lose the majority. `warrener node drain n2 "
        "--force` does it all the same."
    ]
    assert made.preview("x").id == ""


def test_replicas_that_come_online_are_waited_for() -> None:
    made = drain(waits_for="n2 should stay: replicas on n1 are not online")
    assert "First it waits for replicas to come online" in made.lines[0]
    assert made.can_be_confirmed


def test_without_maintenance_mode_it_says_what_is_left_out() -> None:
    made = drain(no_maintenance="the management API can't do it")
    assert made.lines[-1] == "the management API can't do it"
    assert not any("leaders" in line for line in made.lines)
    assert made.sheets == []


def test_with_haproxy_clients_are_disconnected() -> None:
    now = with_balancer(told(), data_plane=DataPlane.HAPROXY)
    assert "2 sessions are disconnected and connect again to n1, n3." in drain(now).lines
    assert "until their clients connect again" in text(previews.policy(now, None))


@pytest.mark.parametrize(
    ("row", "title"),
    [
        (node(N2, being_drained=True, fit=False), "n2 is drained already"),
        (node(N2, state=NodeState.DOWN), "n2 doesn't run"),
    ],
)
def test_nothing_to_drain(row: Any, title: str) -> None:
    made = drain(told(nodes=[node(N1), row]))
    assert (made.title, made.preview("x").id) == (title, "")


def test_a_revive_says_that_sessions_stay() -> None:
    row = node(N2, being_drained=True, fit=False, unfit_reason=Unfit.DRAINED)
    now = told(nodes=[node(N1), row])
    made = previews.revive(now, row, spreads=True, maintained=True)
    assert "stay where they are" in text(made)
    assert "Leaders of queues are spread" in text(made)
    assert made.can_be_confirmed
    theirs = previews.revive(now, row, spreads=False, maintained=False)
    assert "Leaders" not in text(theirs)
    assert "maintenance" not in text(theirs)
    assert not previews.revive(told(), node(N2), spreads=True, maintained=True).can_be_confirmed


def dry_run(*shares: tuple[int, int]) -> RebalanceAnswer:
    return RebalanceAnswer(
        dry_run=True,
        shares=[
            ShareLine(node=name, before=before, wanted=wanted, after=wanted)
            for name, (before, wanted) in zip(ALL, shares, strict=True)
        ],
        moved=0,
        failed=0,
        skew_before=1.5,
        skew_after=1.0,
        stopped="",
        seconds=0.0,
    )


def test_a_rebalancing_shows_now_and_then() -> None:
    made = previews.rebalance(told(), dry_run((9, 4), (0, 4), (3, 4)))
    assert cells(made) == [["n1", "9", "4"], ["n2", "0", "4"], ["n3", "3", "4"]]
    assert (made.button, made.size) == ("Move 5 sessions", 5)
    assert "none is disconnected" in text(made)
    even = previews.rebalance(told(), dry_run((4, 4), (4, 4), (4, 4)))
    assert (even.title, even.can_be_confirmed) == ("Nothing to rebalance", False)


def test_a_policy_says_what_new_sessions_do_and_that_open_ones_stay() -> None:
    made = previews.policy(told(), PolicyName.P2C)
    assert made.lines[0] == (
        "New sessions go by p2c instead of leastconn: two nodes by chance and weight, the one "
        "with fewer sessions of them."
    )
    assert "Open sessions stay where they are" in made.lines[1]
    assert cells(made)[0] == ["n1", "2", "33 %", "100"]
    assert [one.value for one in made.choices] == list(PolicyName)
    assert [one.value for one in made.choices if one.now] == ["leastconn"]
    for same in (None, PolicyName.LEASTCONN):
        assert previews.policy(told(), same).preview("x").id == ""


def test_a_weight_says_which_share_of_new_sessions_it_comes_to() -> None:
    now = with_balancer(told(), policy=PolicyName.WEIGHTED)
    made = previews.weight(now, now.nodes[1], 200)
    assert cells(made)[1] == ["n2", "2", "100", "33 %", "200", "50 %"]
    assert cells(made)[0] == ["n1", "2", "100", "33 %", "100", "25 %"]
    none = previews.weight(now, now.nodes[1], 0)
    assert cells(none)[1][-1] == "0 %"
    assert "only if no other node is fit" in text(none)
    for same in (None, 100):
        assert not previews.weight(now, now.nodes[1], same).can_be_confirmed
    by_count = previews.weight(told(), told().nodes[1], 200)
    assert "doesn't go by weights" in text(by_count)
    assert cells(by_count)[1][-1] == "33 %"


def test_a_node_that_is_not_fit_gets_no_share() -> None:
    now = with_balancer(told(nodes=[node(N1), node(N2, fit=False), node(N3, weight=0)]))
    made = previews.weight(now, now.nodes[0], 50)
    assert [row[-1] for row in cells(made)] == ["100 %", "0 %", "0 %"]


def plan(moves: int, **changes: Any) -> LeadersPlanAnswer:
    made = LeadersPlanAnswer(
        plan=4,
        moves=[
            LeaderMoveLine(
                vhost="/",
                name=f"q{number}",
                source=N1,
                target=N3,
                load=20.0,
                shift=10.0,
                reason=LeaderReason.BUSY,
            )
            for number in range(moves)
        ],
        nodes=[
            LeaderShareLine(
                node=N1, before=300.0, wanted=200.0, expected=210.0, leaders_before=9,
                leaders_expected=6,
            )
        ],
        skew_before=1.5,
        skew_expected=1.05,
        short=None,
        short_node=None,
        short_queue="",
        obstacles=[],
        seconds=5.0,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def test_leaders_are_shown_as_planned() -> None:
    made = previews.leaders(told(), plan(20))
    assert "1.50 times the mean, then 1.05" in text(made)
    moved, loads = made.sheets
    assert moved.rows[0] == ["q0", "n1", "n3", "20.0", "busy"]
    assert moved.rows[-1] == ["and 9 more", "", "", "", ""]
    assert loads.rows == [["n1", "300", "210", "9", "6"]]
    assert made.button == "Move 20 leaders"
    assert previews.leaders(told(), plan(0)).preview("x").id == ""
    held = previews.leaders(told(), plan(1, obstacles=["n3 is drained"]))
    assert (held.refusals, held.preview("x").id) == (["Not now: n3 is drained."], "")
    short = plan(1, short=Short.HOT_QUEUE, short_node=N1, short_queue="orders")
    assert "the queue orders alone" in text(previews.leaders(told(), short))


# -- whether it still is as it was shown


def test_sessions_that_come_and_go_change_nothing() -> None:
    made = drain()
    busier = told(nodes=[node(N1, sessions=50), node(N2, sessions=9), node(N3, sessions=0)])
    assert changed(made, drain(busier)) == ""


def test_many_more_sessions_do() -> None:
    crowd = told(nodes=[node(N1), node(N2, sessions=40), node(N3)])
    assert changed(drain(), drain(crowd)) == "40 sessions would be moved now, not 2"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            [node(N1), node(N2), node(N3, fit=False)],
            "nodes that can take its clients: n1, n3 when it was shown, n1 now",
        ),
        (
            [node(N1), node(N2, fit=False), node(N3)],
            "n2 is: running, fit when it was shown, running, unfit now",
        ),
        (
            [node(N1), node(N2, being_drained=True), node(N3)],
            "n2 is: running, fit when it was shown, drained now",
        ),
    ],
)
def test_other_nodes_or_another_state_do(changes: Any, why: str) -> None:
    assert changed(drain(), drain(told(nodes=changes))) == why


def test_what_would_be_refused_now_is_the_reason() -> None:
    assert changed(drain(), drain(refused="n2 should stay")).startswith("n2 should stay")


def test_a_policy_that_somebody_else_has_set_meanwhile() -> None:
    made = previews.policy(told(), PolicyName.P2C)
    other = with_balancer(told(), policy=PolicyName.RANDOM)
    assert "leastconn when it was shown, random now" in changed(
        made, previews.policy(other, PolicyName.P2C)
    )


def test_what_is_done_already() -> None:
    made = replace(drain(), basis={})
    done = drain(told(nodes=[node(N1), node(N2, being_drained=True), node(N3)]))
    assert changed(made, done) == "n2 is drained already"


def test_every_preview_can_be_sent() -> None:
    for made in (drain(), previews.policy(told(), None), previews.leaders(told(), plan(3))):
        sent = msgspec.json.encode(made.preview("x"))
        assert msgspec.json.decode(sent, type=Preview).act in ActKind
