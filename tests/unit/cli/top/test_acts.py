"""What a key would do, said beforehand; what became of it, as the commands say it."""

from typing import Any

import msgspec
import pytest
from tests.unit.cli.top import scene
from tests.unit.cli.top.scene import N1, N2

from warrener.cli.top.acts import outcome, progress, propose_drain, propose_rebalance
from warrener.cli.top.acts import propose_revive as revive
from warrener.control import operations as ops
from warrener.control.state_folder import StateFolder
from warrener.facts.data_plane import DataPlane
from warrener.facts.reasons import NodeState

EVEN = ops.RebalanceAnswer(
    dry_run=True,
    shares=[ops.ShareLine(node=N1, before=4, wanted=4, after=4)],
    moved=0,
    failed=0,
    skew_before=1.0,
    skew_after=1.0,
    stopped="",
    seconds=0.0,
)


def drain(**changes: Any) -> str:
    proposal = propose_drain(scene.status(**changes), N2)
    return "\n".join([proposal.title, *proposal.lines])


def test_a_drain_says_who_moves_where() -> None:
    assert drain() == (
        "Drain n2@localhost?\n"
        "4 sessions on it: channels move to n1, n3, clients stay connected.\n"
        "2 queues that it leads get another leader first.\n"
        "Then RabbitMQ's maintenance mode: no clients, no leaders there, until v."
    )


def test_with_haproxy_clients_are_cut_off() -> None:
    plane = scene.balancer(data_plane=DataPlane.HAPROXY)
    assert "4 sessions are disconnected and connect again to n1, n3." in drain(balancer=plane)


def test_what_will_be_refused_is_said() -> None:
    alone = [scene.node(N2), scene.node(N1, fit=False)]
    assert "No other node is fit to take the clients: this will be refused." in drain(nodes=alone)
    thin = [scene.queue(1, online=(N1, N2)), scene.queue(2)]
    assert "1 quorum queue would lose the majority (orders-0001)" in drain(queues=thin)


@pytest.mark.parametrize(
    ("changes", "title"),
    [(scene.DRAINED, "n2 is drained already"), ({"state": NodeState.DOWN}, "n2 doesn't run")],
)
def test_nothing_to_drain(changes: Any, title: str) -> None:
    found = propose_drain(scene.status(nodes=[scene.node(N2, **changes)]), N2)
    assert (found.title, found.operation) == (title, None)


def test_revive() -> None:
    drained = scene.status(nodes=[scene.node(N2, **scene.DRAINED)])
    assert revive(drained, N2).request == ops.ReviveRequest("n2@localhost")
    assert revive(scene.status(), N2).operation is None


def test_a_rebalancing_that_moves_nothing_is_not_offered() -> None:
    assert propose_rebalance(EVEN).operation is None


def test_outcomes(folder: StateFolder) -> None:
    def told(answer: msgspec.Struct) -> tuple[str, bool]:
        found = outcome(folder, answer)
        return found.text, found.failed

    assert told(ops.DrainAnswer(node=N2, already=True)) == ("n2 is drained already", False)
    assert told(ops.ReviveAnswer(node=N2, not_online=["a"])) == (
        "n2 runs, but its replicas of a are not online; its log says why",
        True,
    )
    text, failed = told(ops.ReviveAnswer(node=N2, seconds=2.5))
    assert (text.startswith("n2 is fit again after 2.5 s. "), failed) == (True, False)
    text, failed = told(msgspec.structs.replace(EVEN, stopped="n3 was lost", moved=1))
    assert (text.startswith("stopped early: n3 was lost. 1 session moved"), failed) == (True, True)


def test_a_step_with_its_count() -> None:
    assert progress(ops.ProgressLine("n2", "moves", count=1, total=3)) == "n2 moves (1 of 3)"
    assert progress(ops.ProgressLine("n2", "gets no new sessions")) == "n2 gets no new sessions"
