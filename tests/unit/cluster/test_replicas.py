"""Replicas keep their number, nodes get even shares, nothing is taken before it is given."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.cluster.replicas import (
    REPLICATED,
    held_alone,
    passes,
    plan_join,
    plan_leave,
    plan_restore,
    plan_return,
    thinned,
)
from warrener.facts.ids import NodeName
from warrener.facts.replicas import GOING, ReplicaMove, Spread
from warrener.facts.snapshot import QueueView

NODES = tuple(NodeName(f"n{number}@localhost") for number in range(1, 10))
N1, N2, N3, N4, N5 = NODES[:5]


def queue(name: str, *members: NodeName, kind: str = "quorum", vhost: str = "/") -> QueueView:
    leader = members[0] if members else None
    return QueueView(vhost, name, kind, leader, members, members)


def after(queues: list[QueueView], moves: tuple[ReplicaMove, ...]) -> dict[str, set[NodeName]]:
    """Members by queue, once the moves are done."""
    members = {one.name: set(one.members) for one in queues}
    for move in moves:
        if move.to is not None:
            assert move.to not in members[move.queue]
            members[move.queue].add(move.to)
        if move.away is not None:
            members[move.queue].remove(move.away)
    return members


def held(members: dict[str, set[NodeName]]) -> Counter[NodeName]:
    return Counter(node for nodes in members.values() for node in nodes)


def test_a_node_that_joins_takes_its_share_over() -> None:
    queues = [queue(f"q{i:02}", *(NODES[(i + k) % 3] for k in range(3))) for i in range(60)]
    moves = plan_join(queues, NODES[:4], N4)
    members = after(queues, moves)
    assert held(members) == {N1: 45, N2: 45, N3: 45, N4: 45}
    assert all(len(nodes) == 3 for nodes in members.values())
    leaders = {one.name: one.leader for one in queues}
    assert all(move.away != leaders[move.queue] for move in moves)
    assert (
        plan_join(
            [
                queue(name, *sorted(nodes, key=lambda n: n != leaders[name]))
                for name, nodes in members.items()
            ],
            NODES[:4],
            N4,
        )
        == ()
    )


def test_queues_with_too_few_replicas_come_first_and_give_nothing_away() -> None:
    queues = [queue("a", N1), queue("b", N1, N2)]
    assert plan_join(queues, (N1, N2, N3), N3, Spread.MISSING) == (
        ReplicaMove("/", "a", "quorum", to=N3),
        ReplicaMove("/", "b", "quorum", to=N3),
    )


def test_every_queue_if_that_is_wanted_or_none() -> None:
    queues = [queue("a", N1, N2, N3), queue("s", N1, N2, N3, kind="stream")]
    moves = plan_join(queues, NODES[:4], N4, Spread.ALL)
    assert [(move.queue, move.to, move.away) for move in moves] == [
        ("a", N4, None),
        ("s", N4, None),
    ]
    assert plan_join(queues, NODES[:4], N4, Spread.NONE) == ()


def test_a_node_that_leaves_has_successors_where_there_are_nodes_for_them() -> None:
    queues = [queue("a", N1, N2, N3), queue("b", N1, N2, N4), queue("c", N2, N3, N4)]
    moves = plan_leave(queues, NODES[:4], N4)
    assert moves == (
        ReplicaMove("/", "b", "quorum", to=N3, away=N4),
        ReplicaMove("/", "c", "quorum", to=N1, away=N4),
    )


def test_with_no_node_left_for_it_a_queue_is_thinned() -> None:
    queues = [queue("a", N1, N2, N3), queue("b", N1, N2)]
    moves = plan_leave(queues, (N1, N2, N3), N3)
    assert moves == (ReplicaMove("/", "a", "quorum", to=None, away=N3),)
    assert [one.name for one in thinned(queues, moves)] == ["a"]
    assert thinned(queues, moves, at_least=2) == []


def test_what_a_node_holds_alone() -> None:
    queues = [
        queue("classic", N3, kind="classic"),
        queue("elsewhere", N1, kind="classic"),
        queue("single", N3),
        queue("pair", N3, N1),
        QueueView("/", "mine", "classic", N3, exclusive=True),
    ]
    assert [one.name for one in held_alone(queues, N3)] == ["classic", "single"]


def test_what_a_node_had_is_restored_where_it_still_can_be() -> None:
    queues = [queue("a", N1, N2), queue("b", N1, N2, N3), queue("d", N1, kind="stream")]
    lost = [("/", "a", "quorum"), ("/", "b", "quorum"), ("/", "c", "quorum"), ("/", "d", "quorum")]
    assert plan_restore(lost, queues, N3) == (ReplicaMove("/", "a", "quorum", to=N3),)


def test_streams_that_still_list_a_node_come_back_to_it_by_themselves() -> None:
    queues = [
        queue("a", N1, N3, kind="stream"),
        queue("b", N1, N3),
        queue("c", N1, N2, kind="stream"),
        queue("d", N1, N3, kind="stream"),
    ]
    lost = [("/", "a", "stream"), ("/", "b", "quorum"), ("/", "c", "stream"), ("/", "d", "quorum")]
    assert plan_return(lost, queues, N3) == (ReplicaMove("/", "a", "stream", to=N3),)
    assert plan_restore(lost, queues, N3) == (ReplicaMove("/", "c", "stream", to=N3),)


clusters = st.integers(2, 9).flatmap(
    lambda nodes: st.tuples(
        st.just(NODES[:nodes]),
        st.lists(
            st.tuples(
                st.lists(st.sampled_from(NODES[: nodes - 1]), min_size=1, max_size=5, unique=True),
                st.sampled_from(["quorum", "stream", "classic"]),
            ),
            max_size=40,
        ),
    )
)


@given(clusters)
def test_joins_keep_the_number_of_replicas_and_end_even(
    made: tuple[tuple[NodeName, ...], list[tuple[list[NodeName], str]]],
) -> None:
    nodes, shapes = made
    new = nodes[-1]
    queues = [queue(f"q{i}", *members, kind=kind) for i, (members, kind) in enumerate(shapes)]
    moves = plan_join(queues, nodes, new)
    members = after(queues, moves)
    for one in queues:
        was, now = len(one.members), len(members[one.name])
        assert now == was or (now == was + 1 <= 3 and one.type in REPLICATED)
        assert one.leader in members[one.name]
    replicated = {one.name for one in queues if one.type in REPLICATED}
    counts = held({name: nodes for name, nodes in members.items() if name in replicated})
    thin = sum(1 for move in moves if move.away is None)
    assert counts[new] <= max(thin, sum(counts.values()) // len(nodes))
    given_up = {move.away for move in moves if move.away is not None}
    assert all(counts[node] >= sum(counts.values()) // len(nodes) for node in given_up)


@given(clusters)
def test_leaves_take_everything_off_and_keep_what_can_be_kept(
    made: tuple[tuple[NodeName, ...], list[tuple[list[NodeName], str]]],
) -> None:
    nodes, shapes = made
    leaving = nodes[0]
    queues = [queue(f"q{i}", *members, kind=kind) for i, (members, kind) in enumerate(shapes)]
    moves = plan_leave(queues, nodes, leaving)
    members = after(queues, moves)
    for one in queues:
        if one.type not in REPLICATED:
            assert members[one.name] == set(one.members)
            continue
        assert leaving not in members[one.name]
        assert len(members[one.name]) == min(len(one.members), len(nodes) - 1)


@pytest.mark.parametrize(
    ("why", "passing"),
    [
        (GOING, True),
        ("{noproc,{gen_batch_server,call,[<13089.784.0>,query_replication_state,5000]}}", True),
        ("cluster_change_not_permitted", True),
        ("node_not_running", False),
        ("{disallowed,out_of_sync_replica}", False),
        ("", False),
    ],
)
def test_what_keeps_a_replica_from_being_added_may_pass(why: str, passing: bool) -> None:
    assert passes(why) is passing
