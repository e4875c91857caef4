"""What an operation would come to, in the words of who proposes it."""

from tests.unit.dashboard.moments import ALL, N1, N2, node, queue, status

from warrener.control.operations import DRAIN, REVIVE, DrainRequest, ReviveRequest
from warrener.control.proposals import (
    Ways,
    propose_drain,
    propose_revive,
    row_of,
    without_majority,
)

WAYS = Ways(revive="v", until="then", rebalance="b")


def test_a_drain_says_its_refusals_and_marks_them() -> None:
    now = status([node(N1), node(N2, fit=False)], [queue("a", online=(N1, N2))])
    made = propose_drain(now, now.nodes[0], WAYS)
    assert (made.operation, made.request) == (DRAIN, DrainRequest(N1))
    assert len(made.refusals) == 2
    assert set(made.refusals) < set(made.lines)
    assert made.lines[-1].endswith("until then.")


def test_each_has_its_own_words() -> None:
    row = node(N1, being_drained=True)
    made = propose_revive(row, WAYS)
    assert (made.operation, made.request) == (REVIVE, ReviveRequest(N1))
    assert "b spreads them again." in made.lines[1]
    assert propose_drain(status([row]), row, WAYS).lines == ("v takes it into service again.",)


def test_half_of_the_replicas_is_no_majority() -> None:
    four = (*ALL, "n4@localhost")
    queues = [
        queue("three of three"),
        queue("two of three", online=ALL[:2]),
        queue("three of four", members=four, online=four[:3]),
        queue("elsewhere", online=ALL[1:]),
        queue("classic", type="classic", online=(N1,), members=(N1,)),
    ]
    assert without_majority(status(queues=queues), N1) == ["two of three", "three of four"]


def test_a_node_that_is_none_any_more() -> None:
    assert row_of(status([node(N1)]), N2) is None
