"""Numbers and names, whatever RabbitMQ writes instead of them."""

from typing import Any

import pytest

from warrener.management.answers import number, words


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, 5),
        (5.9, 5),
        (True, 0),
        (None, 0),
        ("disk_free_monitoring_disabled", 0),
        ([], 0),
        (float("nan"), 0),
        (float("inf"), 0),
    ],
)
def test_number(value: Any, expected: int) -> None:
    assert number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(["a", "b"], ("a", "b")), (["a", 1, None], ("a",)), ("", ()), (None, ()), ({}, ())],
)
def test_words(value: Any, expected: tuple[str, ...]) -> None:
    assert words(value) == expected
