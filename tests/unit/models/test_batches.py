"""Batches: against the Markov chain, and what it comes to at its ends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warrener.models.batches import Batches, batches
from warrener.models.queueing import mm1
from warrener.models.terms import Growing, Steady, WrongInput


def steady(outcome: object) -> Batches:
    assert isinstance(outcome, Batches)
    return outcome


def chain(load: float, size: int, room: int = 300) -> np.ndarray:
    """State 0: nobody there; state n + 1: a batch is under way and n wait. Rates as parts of mu."""
    rates = np.zeros((room + 2, room + 2))
    rates[0, 1] += load
    for waiting in range(room + 1):
        state = waiting + 1
        if waiting < room:
            rates[state, state + 1] += load
        after = 0 if waiting == 0 else max(0, waiting - size) + 1
        rates[state, after] += 1.0
    np.fill_diagonal(rates, rates.diagonal() - rates.sum(axis=1))
    system = rates.T.copy()
    system[-1] = 1.0  # one equation is superfluous; the sum takes its place
    answer = np.zeros(room + 2)
    answer[-1] = 1.0
    return np.linalg.solve(system, answer)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 8), st.floats(0.01, 0.75), st.floats(0.1, 1000))
def test_it_is_the_chain(size: int, load: float, rate: float) -> None:
    one = steady(batches(load * size * rate, rate, size))
    states = chain(load * size, size)
    assert one.idle == pytest.approx(states[0], abs=1e-7)
    in_queue = float(np.arange(len(states) - 1) @ states[1:])
    assert one.waiting_time * one.arrival_rate == pytest.approx(in_queue, rel=1e-5, abs=1e-7)
    assert one.utilisation == pytest.approx(load)
    assert 1.0 <= one.mean_size <= size + 1e-9


@given(st.floats(0.01, 0.97))
def test_batches_of_one_are_mm1(load: float) -> None:
    one, other = steady(batches(load, 1.0, 1)), mm1(load, 1.0)
    assert isinstance(other, Steady)
    assert one.response_time == pytest.approx(other.response_time)
    assert one.in_system == pytest.approx(other.in_system)


def test_more_at_once_waits_less_and_carries_more() -> None:
    waits = [steady(batches(0.9, 1.0, size)).waiting_time for size in (1, 2, 10, 1000)]
    assert waits == sorted(waits, reverse=True)
    too_much = batches(30.0, 1.0, 20)
    assert isinstance(too_much, Growing)
    assert (too_much.capacity, too_much.growth) == (20.0, 10.0)


@pytest.mark.parametrize("size", [1, 7, 5000])
def test_close_to_its_limit_and_with_nothing_to_do(size: int) -> None:
    nearly = steady(batches(0.9999 * size, 1.0, size))
    assert nearly.mean_size == pytest.approx(size, rel=2e-3)
    assert nearly.waiting_time > 100
    idle = steady(batches(0.0, 1.0, size))
    assert (idle.waiting_time, idle.idle, idle.in_system) == (0.0, 1.0, 0.0)
    rare = steady(batches(1e-9, 1.0, size))
    assert rare.mean_size == pytest.approx(1.0)
    assert rare.waiting_time == pytest.approx(1e-9, rel=1e-3)


def test_what_makes_no_sense_is_told() -> None:
    with pytest.raises(WrongInput, match="the size of a batch is 0"):
        batches(1, 1, 0)
