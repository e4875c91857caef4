"""What a calibration measures, and that it keeps to its time."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from warrener.bench.calibration_plan import (
    SHORTEST,
    Shape,
    TooShort,
    duration,
    shortened,
    steps,
    window,
)
from warrener.planner.costs import QueueType

ALL = tuple(QueueType)


def test_each_type_and_size_is_measured_in_every_shape() -> None:
    planned = steps(ALL, (100, 4096), 3)
    for kind in ALL:
        for body in (100, 4096):
            shapes = [s.shape for s in planned if (s.type, s.body) == (kind, body)]
            left_out = set()
            if kind is not QueueType.CLASSIC:
                left_out.add(Shape.BALANCER)
            if body == 4096 or kind is QueueType.STREAM:
                left_out.add(Shape.ALONE)
            assert shapes == [shape for shape in Shape if shape not in left_out]
    assert len(planned) == 34


def test_a_paced_step_follows_the_limit_that_it_goes_by() -> None:
    planned = steps(ALL, (100,), 3)
    for before, step in itertools.pairwise(planned):
        if step.shape is Shape.PACED:
            assert (before.shape, before.type, before.body) == (Shape.BOTH, step.type, step.body)


def test_leaders_go_round_and_the_other_node_is_another() -> None:
    planned = steps(ALL, (100, 4096), 3)
    assert {step.leader for step in planned} == {0, 1, 2}
    assert all(step.leader != step.other for step in planned)


def test_one_node_has_no_other() -> None:
    shapes = {step.shape for step in steps(ALL, (100,), 1)}
    assert shapes == {Shape.BOTH, Shape.PACED, Shape.PUBLISH, Shape.BALANCER, Shape.ALONE}


@given(seconds=st.floats(1, 2_000), measurements=st.integers(1, 60))
def test_it_takes_no_longer_than_it_may(seconds: float, measurements: int) -> None:
    try:
        each = window(seconds, measurements)
    except TooShort:
        assert duration(SHORTEST, measurements) > seconds
    else:
        assert each >= SHORTEST
        assert duration(each, measurements) <= seconds * 1.000001


def test_the_default_fits_into_its_time() -> None:
    assert window(90.0, len(steps(ALL, (100, 4096), 3))) > 1.0


def test_what_is_late_is_caught_up_with_shorter_windows() -> None:
    assert shortened(1.5, 100.0, 2) == 1.5
    assert SHORTEST < shortened(1.5, 20.0, 10) < 1.5
    assert shortened(1.5, -5.0, 10) == SHORTEST
