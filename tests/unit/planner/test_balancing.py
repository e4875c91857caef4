"""Advice on policy and weights as pieces: with evidence and the command."""

from dataclasses import replace

from tests.unit.planner.scene import NODES, calibration
from tests.unit.planner.test_policies import sessions, work

from warrener.facts.settings import PolicyName
from warrener.planner.advice import About
from warrener.planner.balancing import balancing


def test_a_policy_that_is_better_is_a_piece() -> None:
    found = balancing(work(0.9, 0.48, 0.48), calibration(), sessions((60, 100.0)))
    (piece,) = found.pieces
    assert piece.about is About.POLICY
    assert piece.found.startswith("with roundrobin a message takes ")
    assert piece.do.endswith("with weights that fit")
    assert "less, and" in piece.brings
    assert piece.command.startswith("warrener balance set-weight n1 ")
    assert "&& warrener balance set-policy " in piece.command
    assert [one.fits > 100 for one in found.weights] == [True, False, False]
    assert found.weights[0].why.startswith("0.90 cores (its quota), less 0.10 without traffic")


def test_weights_that_do_not_fit_are_a_piece_where_the_policy_goes_by_them() -> None:
    near = dict(zip(NODES, (160, 80, 80), strict=True))
    asked = sessions((60, 100.0), policy=PolicyName.WEIGHTED, weights=near)
    found = balancing(work(0.9, 0.55, 0.55), calibration(), asked)
    assert found.policies is not None
    assert found.policies.keep
    (piece,) = found.pieces
    assert piece.about is About.WEIGHTS
    assert piece.found.startswith("weights don't fit what nodes have: n1 has 0.90 cores")
    assert piece.command.count("set-weight") == 2  # n1 has 160 of 164: near enough
    assert piece.brings.endswith("no real difference at today's load")
    far = replace(asked, weights=dict(zip(NODES, (50, 100, 100), strict=True)))
    (piece,) = balancing(work(0.9, 0.55, 0.55), calibration(), far).pieces
    assert piece.about is About.WEIGHTS
    assert piece.brings.endswith("% less")
    by_itself = replace(asked, follows_capacity=True)
    assert balancing(work(0.9, 0.55, 0.55), calibration(), by_itself).pieces == ()


def test_all_is_well() -> None:
    found = balancing(work(0.6, 0.6, 0.6), calibration(), sessions((60, 100.0)))
    assert found.pieces == ()
    assert [one.fits for one in found.weights] == [100, 100, 100]


def test_without_sessions_weights_are_told_all_the_same() -> None:
    found = balancing(work(0.9, 0.48, 0.48), calibration(), sessions(policy=PolicyName.WEIGHTED))
    assert found.policies is None
    assert found.untried == "no client is connected to the balancer"
    (piece,) = found.pieces
    assert piece.about is About.WEIGHTS
    assert piece.brings == "all nodes run full at the same load"
