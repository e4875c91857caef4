"""Names and numbers as they are written in pictures."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.plots.style import distinct, number, seconds, short


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (0.0512, "0.051"), (1.234, "1.2"), (9.96, "10"), (12.3, "12"), (4090, "4,090"),
        (1_234_567, "1.23 M"), (math.inf, "∞"),
    ],
)  # fmt: skip
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(2.0, "2 s"), (0.3, "300 ms"), (0.0015, "1.5 ms"), (2e-5, "20 µs"), (1e-9, "0.001 µs")],
)
def test_times(value: float, text: str) -> None:
    assert seconds(value) == text


def test_long_names_lose_their_middle() -> None:
    assert short("jobs", 10) == "jobs"
    assert short("jobs.of.the.day", 10) == "jobs…e.day"
    assert short("jobs\nof\x00", 10) == "jobs of "


def test_what_names_begin_with_is_left_out_first() -> None:
    names = [f"service.orders.{number:03d}.of-the-eu-shop" for number in range(40)]
    shown = distinct(names, 20)
    assert len(set(shown.values())) == 40
    assert all(name.startswith("…") and len(name) <= 20 for name in shown.values())
    assert distinct(["a", "b"], 20) == {"a": "a", "b": "b"}
    assert distinct(["x" * 50], 20)["x" * 50] == f"{'x' * 13}…{'x' * 6}"


@given(st.lists(st.text(min_size=1, max_size=60), max_size=12), st.integers(8, 30))
def test_names_are_never_longer_than_there_is_room_for(names: list[str], most: int) -> None:
    shown = distinct(names, most)
    assert set(shown) == set(names)
    assert all(len(name) <= most for name in shown.values())
    assert all(char.isprintable() for name in shown.values() for char in name)
