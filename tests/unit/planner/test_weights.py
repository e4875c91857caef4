"""Weights that fit, and the way there: bounded, damped, at rest when near enough."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.facts.ids import NodeName
from warrener.planner.capacity import Bound, Room, Rooms
from warrener.planner.weights import APART, RATIO, STEP, fitting, step


def made(*cores: float, shared: str = "", speed: float = 1.0) -> Rooms:
    return Rooms(
        tuple(
            Room(NodeName(f"n{number}@h"), "h", room, Bound.QUOTA, shared=shared, speed=speed)
            for number, room in enumerate(cores, 1)
        )
    )


def weights(rooms: Rooms) -> list[int]:
    return list(fitting(rooms).values())


def test_in_proportion_to_what_is_free() -> None:
    assert weights(made(0.6, 0.3, 0.3)) == [150, 75, 75]
    assert weights(made(2, 2, 2)) == [100, 100, 100]
    assert weights(made(2, 2.1, 1.9)) == [100, 100, 100]  # no difference worth the name
    assert weights(Rooms(())) == []


def test_within_a_quarter_and_four_times_the_mean() -> None:
    assert weights(made(10, *[0.1] * 7)) == [400, *[25] * 7]


def test_nodes_that_share_a_host_get_the_same() -> None:
    assert weights(made(0.5, 1.5, shared="h")) == [100, 100]


def test_a_fast_node_gets_more() -> None:
    fast, slow = made(1, speed=1.4).nodes[0], made(1, speed=0.6).nodes[0]
    both = Rooms((fast, Room(NodeName("n2@h"), "h", 1, Bound.HOST, speed=slow.speed)))
    assert weights(both) == [140, 60]


def test_steps_go_there_and_stop() -> None:
    rooms = made(0.6, 0.3, 0.3)
    now = dict.fromkeys(fitting(rooms), 100)
    first = step(now, rooms)
    assert [(one.before, one.after, one.wanted) for one in first] == [
        (100, 125, 150),
        (100, 80, 75),
        (100, 80, 75),
    ]
    assert first[0].why == "0.60 cores (its quota): 0.60 for sessions"
    now |= {one.node: one.after for one in first}
    second = step(now, rooms)
    assert [(one.node[:2], one.after) for one in second] == [("n1", 150)]  # 80 is near enough to 75
    now |= {one.node: one.after for one in second}
    assert step(now, rooms) == []


def test_what_is_near_enough_is_left() -> None:
    assert (
        step(
            {NodeName("n1@h"): 140, NodeName("n2@h"): 80, NodeName("n3@h"): 70}, made(0.6, 0.3, 0.3)
        )
        == []
    )


def test_nothing_by_hand_is_touched() -> None:
    assert [
        one.node[:2] for one in step({NodeName("n1@h"): 0, NodeName("n2@h"): 100}, made(0.6, 0.3))
    ] == ["n2"]


@given(
    st.lists(st.floats(0.02, 64), min_size=1, max_size=9),
    st.lists(st.integers(1, 1000), min_size=9, max_size=9),
)
def test_always_bounded_damped_and_at_rest_after_some_steps(
    cores: list[float], start: list[int]
) -> None:
    rooms = made(*cores)
    wanted = fitting(rooms)
    assert all(100 / RATIO <= weight <= 100 * RATIO for weight in wanted.values())
    now = dict(zip(wanted, start, strict=False))
    for _ in range(60):
        changes = step(now, rooms)
        for one in changes:
            limit = max(1.0, (STEP - 1) * one.before + 0.5)
            assert abs(one.after - one.before) <= limit
            assert abs(one.after - one.wanted) < abs(one.before - one.wanted)
        now |= {one.node: one.after for one in changes}
        if not changes:
            break
    assert step(now, rooms) == []
    for node, weight in now.items():
        assert weight == pytest.approx(wanted[node], rel=APART + 0.02)
