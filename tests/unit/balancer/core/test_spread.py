"""Even shares against brute force."""

from collections import Counter
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warrener.balancer.core.spread import even_shares, skew, transfers
from warrener.facts.ids import NodeName

NODES = [NodeName(f"n{number}") for number in range(1, 6)]
counts = st.lists(st.integers(0, 6), min_size=1, max_size=4).map(
    lambda numbers: dict(zip(NODES, numbers, strict=False))
)


@settings(max_examples=300)
@given(counts, st.integers(0, 8))
def test_shares_are_as_even_as_they_can_be(fixed: dict[NodeName, int], free: int) -> None:
    shares = even_shares(fixed, free)
    assert sum(shares.values()) == sum(fixed.values()) + free
    assert all(shares[node] >= fixed[node] for node in fixed)
    spreads = (added for added in product(range(free + 1), repeat=len(fixed)) if sum(added) == free)
    best = min(
        sorted(
            (have + more for have, more in zip(fixed.values(), added, strict=True)), reverse=True
        )
        for added in spreads
    )
    assert sorted(shares.values(), reverse=True) == best


def test_nodes_that_come_first_get_the_remainder() -> None:
    assert list(even_shares(dict.fromkeys(NODES[:3], 0), 8).values()) == [3, 3, 2]


def test_large_numbers_take_no_longer() -> None:
    shares = even_shares(dict(zip(NODES, [0, 10**9, 5], strict=False)), 10**12)
    assert max(shares.values()) - min(shares.values()) <= 1


@settings(max_examples=300)
@given(counts, st.data())
def test_transfers_lead_from_what_is_to_what_is_wanted_and_are_no_more_than_needed(
    now: dict[NodeName, int], data: st.DataObject
) -> None:
    fixed = {node: data.draw(st.integers(0, number)) for node, number in now.items()}
    wanted = even_shares(fixed, sum(now.values()) - sum(fixed.values()))
    moves = transfers(now, wanted)
    after = Counter(now)
    for giver, taker in moves:
        after[giver] -= 1
        after[taker] += 1
    assert {node: after[node] for node in now} == wanted
    assert len(moves) == sum(max(now[node] - wanted[node], 0) for node in now)
    left = Counter(giver for giver, _ in moves)
    assert all(left[node] <= now[node] - fixed[node] for node in now), "only what is free moves"


def test_the_fullest_nodes_give_first() -> None:
    now = dict(zip(NODES, [9, 6, 0], strict=False))
    wanted = dict.fromkeys(NODES[:3], 5)
    givers = [giver for giver, _ in transfers(now, wanted)]
    assert givers[:3] == ["n1", "n1", "n1"]
    assert Counter(givers) == {"n1": 4, "n2": 1}


def test_nothing_moves_between_no_nodes() -> None:
    assert transfers({}, {}) == []


@pytest.mark.parametrize(
    ("numbers", "expected"), [([3, 3], 1.0), ([4, 0], 2.0), ([0, 0], 1.0), ([3, 2, 1], 1.5)]
)
def test_skew_is_the_fullest_over_the_mean(numbers: list[int], expected: float) -> None:
    assert skew(dict(zip(NODES, numbers, strict=False))) == expected
