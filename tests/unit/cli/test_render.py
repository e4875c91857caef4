"""Sizes and spans stay short enough for their columns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.cli.render import size, span


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "-"), (0, "0B"), (999, "999B"), (1023, "1.0K"), (150 << 20, "150M"), (9 << 30, "9.0G")],
)
def test_sizes(count: int | None, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.9, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (3660, "1h01m"),
     (86399, "23h59m"), (90000, "1d1h")],
)  # fmt: skip
def test_spans(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


@given(st.integers(0, 999 << 40), st.floats(0, 86400 * 99))
def test_they_never_get_long(count: int, seconds: float) -> None:
    assert len(size(count)) <= 5
    assert len(span(seconds)) <= 6
