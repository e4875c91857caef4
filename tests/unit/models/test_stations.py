"""Running sums against the recursion, step by step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.models.stations import completions
from warrener.models.terms import WrongInput

times = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 3)), max_size=40)


@given(times, st.integers(1, 5), st.floats(0, 20))
def test_it_is_the_recursion(
    drawn: list[tuple[float, float]], servers: int, free_at: float
) -> None:
    drawn.sort()
    free = [free_at] * servers
    expected = []
    for came, takes in drawn:
        first = free.index(min(free))
        free[first] = max(free[first], came) + takes
        expected.append(free[first])
    arrived = np.array([one[0] for one in drawn])
    service = np.array([one[1] for one in drawn])
    found = completions(arrived, service, servers, free_at)
    assert found.tolist() == pytest.approx(expected)


def test_a_station_needs_a_server() -> None:
    with pytest.raises(WrongInput, match="servers"):
        completions(np.zeros(1), np.zeros(1), 0)
