"""RabbitMQ's tables of which version may follow which, and of Erlang, as they are read."""

import pytest

from warrener.cluster.upgrade_paths import (
    UPGRADES,
    is_series_change,
    path,
    version_of,
    why_no_path,
    why_wrong_erlang,
)


@pytest.mark.parametrize(
    ("now", "wanted"),
    [
        ("3.10.8", "3.10.8"),
        ("3.10.8", "3.10.25"),
        ("3.10.8", "3.11.28"),
        ("3.10.8-1", "3.11.0"),
        ("3.11.18", "3.12.14"),
        ("3.12.0", "3.13.7"),
        ("3.13.7", "4.0.9"),
        ("3.13.7", "4.2.1"),
        ("4.0.1", "4.2.0"),
        ("4.2.9", "4.3.0"),
    ],
)
def test_steps_that_rabbitmq_supports(now: str, wanted: str) -> None:
    assert why_no_path(now, wanted) == ""


@pytest.mark.parametrize(
    ("now", "wanted", "why"),
    [
        ("3.10.8", "3.10.7", "3.10.7 is older than 3.10.8"),
        ("3.11.0", "3.10.25", "can't go back"),
        ("3.10.8", "3.12.14", "the way is 3.10 -> 3.11 -> 3.12, one rolling upgrade each"),
        ("3.10.8", "4.3.1", "the way is 3.10 -> 3.11 -> 3.12 -> 3.13 -> 4.2 -> 4.3"),
        ("3.11.17", "3.12.0", "3.12 takes at least 3.11.18 before it"),
        ("3.13.7", "4.3.0", "the way is 3.13 -> 4.2 -> 4.3"),
        ("4.1.0", "4.3.0", "the way is 4.1 -> 4.2 -> 4.3"),
        ("4.3.5", "4.4.0", "no path from 4.3.5 to 4.4.0 is known"),
        ("", "3.11.0", "'' is no version"),
        ("3.10.8", "nightly", "'nightly' is no version"),
    ],
)
def test_steps_that_it_does_not(now: str, wanted: str, why: str) -> None:
    assert why in why_no_path(now, wanted)


def test_every_series_of_the_table_is_reached_from_the_oldest_and_none_twice() -> None:
    every = {*UPGRADES, *(one for targets in UPGRADES.values() for one in targets)}
    for series in every:
        way = path(min(every), series)
        assert way[-1] == series
        assert list(way) == sorted(set(way))
    for series, targets in UPGRADES.items():
        assert all(target > series for target in targets)


@pytest.mark.parametrize(
    ("rabbitmq", "good", "bad"),
    [
        ("3.10.2", ("23.2", "24.3.4"), ("22.3", "25.0")),
        ("3.10.8", ("24.2", "25.2.3"), ("24.1", "25.3")),
        ("3.10.25", ("24.3.4.8", "25.3.2"), ("24.3.4.7", "26.0")),
        ("3.11.28", ("25.0", "25.3.2.21"), ("24.3", "26.0")),
        ("3.12.4", ("25.0", "26.0.2"), ("26.1",)),
        ("3.12.14", ("26.2.5",), ("27.0",)),
        ("3.13.7", ("26.0", "26.2.5"), ("25.3.2", "27.0")),
        ("4.0.3", ("26.2",), ("26.1", "27.0")),
        ("4.0.4", ("26.2", "27.3.4"), ("25.3", "28.0")),
        ("4.2.8", ("26.2", "27.1"), ("26.1", "28.0")),
        ("4.2.9", ("27.0",), ("26.2",)),
        ("4.3.0", ("26.2", "27.0"), ("25.3",)),
        ("4.3.3", ("27.0",), ("26.2", "28.0")),
    ],
)
def test_erlang(rabbitmq: str, good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    for erlang in good:
        assert why_wrong_erlang(rabbitmq, erlang) == "", erlang
    for erlang in bad:
        assert f"RabbitMQ {rabbitmq} runs on Erlang" in why_wrong_erlang(rabbitmq, erlang), erlang


def test_what_is_not_known_is_not_refused_for_its_erlang() -> None:
    assert why_wrong_erlang("4.9.0", "31.0") == ""
    assert why_wrong_erlang("3.7.1", "19.3") == ""
    assert why_wrong_erlang("3.11.0", "") == ""


def test_versions() -> None:
    assert version_of("3.10.8-1~deb12") == (3, 10, 8)
    assert version_of("x") == ()
    assert is_series_change("3.10.8", "3.11.0")
    assert not is_series_change("3.10.8", "3.10.9")
