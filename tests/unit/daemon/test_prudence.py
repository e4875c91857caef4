"""When a node should stay: queues that would lose their majority, clients that would lose all."""

import itertools

import pytest

from warrener.daemon.prudence import Standing, replicas_missing, why_unwise
from warrener.facts.ids import NodeName
from warrener.facts.snapshot import ClusterSnapshot, QueueView

NODES = [NodeName(f"n{number}@h") for number in range(1, 6)]
N1, N2, N3, N4, N5 = NODES


def standing(
    name: NodeName, *, runs: bool = True, drained: bool = False, leaving: bool = False,
    why_unfit: str = "",
) -> Standing:  # fmt: skip
    return Standing(name, runs, drained, leaving, why_unfit)


def quorum(name: str, *members: NodeName, online: tuple[NodeName, ...] = ()) -> QueueView:
    return QueueView("/", name, "quorum", members[0], members, online or members)


def seen(*queues: QueueView) -> ClusterSnapshot:
    return ClusterSnapshot(N1, 0.0, "c", (), queues)


THREE = [standing(N1), standing(N2), standing(N3)]


def unwise(
    node: NodeName,
    standings: list[Standing],
    *queues: QueueView,
    kinds: tuple[str, ...] = ("quorum",),
) -> str:
    found = why_unwise(node, standings, seen(*queues), kinds)
    return found.why if found else ""


def test_one_of_three_may_go() -> None:
    assert unwise(N2, THREE, quorum("q", N1, N2, N3), QueueView("/", "c", "classic", N2)) == ""


@pytest.mark.parametrize(
    ("other", "word"),
    [
        (standing(N1, drained=True), "is drained"),
        (standing(N1, runs=False), "doesn't run"),
        (standing(N1, leaving=True), "is being taken out"),
    ],
)
def test_with_another_one_away_the_majority_would_be_lost(other: Standing, word: str) -> None:
    assert unwise(N2, [other, standing(N2), standing(N3)], quorum("jobs", N1, N2, N3)) == (
        f"1 quorum queue (jobs) would lose the majority, as n1 {word}"
    )


def test_a_replica_that_is_not_online_counts_as_lost_although_its_node_runs() -> None:
    queue = quorum("q", N1, N2, N3, online=(N2, N3))
    assert unwise(N2, THREE, queue) == (
        "1 quorum queue (q) would lose the majority, as replicas on n1 are not online"
    )
    assert unwise(N1, THREE, queue) == ""


def test_only_replicas_that_are_not_online_pass_by_themselves() -> None:
    late = seen(quorum("q", N1, N2, N3, online=(N2, N3)))
    found = why_unwise(N2, THREE, late, ("quorum",))
    assert found is not None
    assert found.passes
    # A node that is away doesn't come back by waiting, whatever else is late.
    away = [standing(N1, drained=True), standing(N2), standing(N3)]
    for snapshot in (late, seen(quorum("q", N1, N2, N3)), None):
        found = why_unwise(N2, away, snapshot, ("quorum",))
        assert found is not None
        assert not found.passes


def test_queues_without_a_replica_there_do_not_matter() -> None:
    away = [standing(N1, drained=True), standing(N2), standing(N3), standing(N4), standing(N5)]
    assert unwise(N2, away, quorum("q", N1, N3, N4)) == ""
    assert unwise(N2, away, quorum("q", N1, N2, N3, N4, N5)) == ""


def test_many_queues_are_counted_and_some_named() -> None:
    away = [standing(N1, runs=False), standing(N2), standing(N3)]
    queues = [quorum(f"q{number}", N1, N2, N3) for number in range(8)]
    queues.append(QueueView("v", "s", "stream", N2, (N2,), (N2,)))
    assert unwise(N2, away, *queues, kinds=("quorum", "stream")) == (
        "9 quorum/stream queues (q0, q1, q2, q3, q4 and 4 more) would lose the majority, as n1 "
        "doesn't run"
    )
    assert "8 quorum queues" in unwise(N2, away, *queues)
    alone = QueueView("v", "s", "stream", N2, (N2,), (N2,))
    assert "1 stream queue (v/s)" in unwise(N2, THREE, alone, kinds=("quorum", "stream"))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_exactly_the_loss_of_a_majority_is_refused(size: int) -> None:
    """Against counting by hand, for every set of nodes that are away."""
    members = NODES[:size]
    others = members[1:]
    for number in range(len(others) + 1):
        for away in itertools.combinations(others, number):
            standings = [standing(name, drained=name in away) for name in members]
            standings.append(standing(NodeName("spare@h")))  # takes the clients
            left = size - number - 1
            refused = bool(unwise(members[0], standings, quorum("q", *members)))
            assert refused is (left < size // 2 + 1), (away, left)


def test_the_last_fit_node_stays() -> None:
    others = [
        standing(N1, why_unfit="hangs (no answer)"),
        standing(N2),
        standing(N3, drained=True, why_unfit="drained"),
    ]
    assert unwise(N2, others) == (
        "no other node could take its clients (n1 hangs (no answer); n3 is drained)"
    )
    assert unwise(N1, [standing(N1)]) == (
        "no other node could take its clients (it is the only one)"
    )


def test_nobody_tells_about_queues() -> None:
    found = why_unwise(N2, THREE, None, ("quorum",))
    assert found is not None
    assert "doesn't tell" in found.why


def test_replicas_that_are_not_online() -> None:
    queues = [
        quorum("here", N1, N2, N3),
        quorum("missing", N1, N2, N3, online=(N1, N3)),
        quorum("elsewhere", N1, N3),
        QueueView("/", "unknown", "quorum", N1, (N1, N2), ()),
    ]
    assert replicas_missing(N2, queues) == ["missing"]
