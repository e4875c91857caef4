"""Weighted least squares over values from 0 up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from warrener.planner.least_squares import SPREAD, Row, solve


def test_nothing_is_solved_out_of_nothing() -> None:
    assert solve([]).names == ()
    assert solve([Row({"a": 0.0}, 1.0, 1.0)]).names == ()


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    unknowns=st.integers(1, 5),
    rows=st.integers(6, 20),
)
def test_no_other_values_fit_better(seed: int, unknowns: int, rows: int) -> None:
    """By another solver (a trust region, not active sets), with the weights that it ended with."""
    noise = np.random.default_rng(seed)
    terms = noise.uniform(0, 10, (rows, unknowns))
    truth = noise.uniform(0, 3, unknowns)
    values = terms @ truth * (1 + 0.1 * noise.standard_normal(rows))
    found = solve(
        [
            Row({f"x{n}": float(x) for n, x in enumerate(line)}, float(value), 0.03)
            for line, value in zip(terms, values, strict=True)
        ]
    )
    # One step more from what was found: it has settled if nothing changes by much.
    expected = terms @ found.values
    weights = 1 / np.hypot(SPREAD * expected, 0.03)
    other = lsq_linear(terms * weights[:, None], values * weights, bounds=(0, np.inf))

    def left(x: np.ndarray) -> float:
        return float(np.sum(((terms @ x - values) * weights) ** 2))

    assert (found.values >= 0).all()
    assert left(found.values) <= left(other.x) * 1.05 + 1e-6


def test_what_is_too_low_by_chance_doesnt_weigh_more() -> None:
    """The mean of 0.9 and 1.1 is 1, though the smaller one has the smaller deviation."""
    found = solve([Row({"a": 1.0}, 0.9e3, 0.1), Row({"a": 1.0}, 1.1e3, 0.1)])
    assert found.value("a") == pytest.approx(1e3)


def test_what_cant_be_told_apart_is_grouped() -> None:
    rows = [
        Row({"a": x, "b": 2 * x, "c": y, "d": 3 * y, "e": z}, x + y + z, 1.0)
        for x, y, z in ((1.0, 2.0, 5.0), (2.0, 1.0, 4.0), (3.0, 5.0, 1.0), (4.0, 0.5, 2.0))
    ]
    found = solve(rows)
    assert set(found.together) == {frozenset("ab"), frozenset("cd")}
    assert found.told("e")
    assert not found.told("a")
    assert found.value("missing") == 0.0


def test_fewer_rows_than_unknowns_are_told() -> None:
    found = solve([Row({"a": 1.0, "b": 1.0}, 1.0, 1.0)])
    assert found.together == (frozenset("ab"),)
