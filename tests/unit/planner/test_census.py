"""What sessions did between two counts."""

import math
from typing import Any

import pytest

from warrener.facts.balance import BalancerStatistics, SessionStatistics
from warrener.facts.ids import SessionId
from warrener.facts.settings import PolicyName
from warrener.planner.census import Count, compare, count, kinds


def session(
    number: int, messages: int, opened_at: float = 0.0, **changes: Any
) -> SessionStatistics:
    return SessionStatistics(
        id=SessionId(number),
        client=changes.pop("client", "10.0.0.1:4000"),
        user="u",
        vhost="/",
        name="",
        node=None,
        state="open",
        channels=1,
        opened_at=opened_at,
        bytes_in=0,
        bytes_out=0,
        published=messages // 2,
        delivered=messages - messages // 2,
        **changes,
    )


def statistics(opened: int, **changes: Any) -> BalancerStatistics:
    return BalancerStatistics(
        "127.0.0.1", 1, PolicyName.ROUNDROBIN, True, 0, opened, (), 0, 0, 0, 0, 0, (), **changes
    )


def test_rates_are_what_came_since() -> None:
    before = count(100, statistics(2), [session(1, 100), session(2, 7_000)])
    sessions = [session(1, 700), session(2, 7_000), session(3, 30, opened_at=130)]
    after = count(160, statistics(3), sessions)
    found = compare(before, after, sessions)
    assert sorted((kind.sessions, kind.rate) for kind in found.kinds) == [(1, 0), (1, 1), (1, 10)]
    assert found.opened == pytest.approx(1 / 60)
    assert math.isinf(found.lifetime)


def test_lifetimes_are_littles_law_of_those_that_ended() -> None:
    before = Count(0, 100, {SessionId(number): 0 for number in range(50)})
    sessions = [session(number, 0) for number in range(40, 90)]
    after = count(60, statistics(140), sessions)
    found = compare(before, after, sessions)  # 40 came, 40 went, 50 were there
    assert found.lifetime == pytest.approx(50 * 60 / 40)
    crowd = [session(number, 0) for number in range(500)]
    came = compare(before, count(60, statistics(550), crowd), crowd)
    assert math.isinf(came.lifetime)


def test_addresses_and_what_was_local() -> None:
    sessions = [
        session(1, 0, client="10.0.0.1:1"),
        session(2, 0, client="10.0.0.1:2"),
        session(3, 0, client="::1:3"),
    ]
    before = Count(0, 3, {}, 100, 50)
    after = count(10, statistics(3, messages_local=400, messages_remote=60), sessions)
    found = compare(before, after, sessions)
    assert found.addresses == {"10.0.0.1": 2, "::1": 1}
    assert (found.local, found.remote) == (30, 1)
    assert compare(Count(0, 3), after, sessions).local is None


def test_sessions_of_about_the_same_rate_are_one_kind() -> None:
    found = kinds([100, 102, 104, 1000, 0.001, 0])
    assert [(kind.sessions, round(kind.rate)) for kind in found] == [(1, 1000), (3, 102), (2, 0)]
    total = [10.0 * 1.07**step for step in range(60)]
    some = kinds(total)
    assert sum(kind.sessions for kind in some) == 60
    assert sum(kind.sessions * kind.rate for kind in some) == pytest.approx(sum(total))
