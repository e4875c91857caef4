"""Exchanges: asked for once, refreshed while in use, forgotten when not, never waited for twice."""

from typing import Final

import pytest

from warrener.balancer.core import exchanges as limits
from warrener.balancer.core.exchanges import (
    EXCHANGE_LINGER,
    EXCHANGE_MAX_AGE,
    EXCHANGE_MIN_AGE,
    FAILURES,
    MAX_ANSWERS,
    MAX_DEPTH,
    MAX_DESTINATIONS,
    MAX_EXCHANGES,
    REFRESHES_PER_SECOND,
    Exchanges,
)
from warrener.facts.places import Binding, ExchangeRoutes, Lookup, LookupKind

V: Final = "/"


def lookup(name: str) -> Lookup:
    return Lookup(LookupKind.EXCHANGE, V, name)


def direct(*bindings: tuple[str, str], plain: bool = True) -> ExchangeRoutes:
    """Queue names and keys; a name that begins with ``x`` is an exchange."""
    told = tuple(Binding(name, name.startswith("x"), key) for name, key in bindings)
    return ExchangeRoutes("direct", told, plain)


def fanout(*names: str) -> ExchangeRoutes:
    return ExchangeRoutes(
        "fanout", tuple(Binding(name, name.startswith("x"), "") for name in names)
    )


def known(now: float = 100.0, **routes: ExchangeRoutes) -> Exchanges:
    """Each of these has been asked for and looked up."""
    exchanges = Exchanges()
    for name, found in routes.items():
        exchanges.destinations(V, name, "", now)
        assert exchanges.looked_up((V, name), found, now)
    return exchanges


def test_the_first_question_is_a_lookup_and_its_answer_is_kept() -> None:
    exchanges = Exchanges()
    assert exchanges.destinations(V, "x", "k", 1.0) == lookup("x")
    assert exchanges.looked_up((V, "x"), direct(("b", "k"), ("a", "k"), ("c", "other")), 1.1)
    assert exchanges.destinations(V, "x", "k", 1.2) == ("a", "b")
    assert exchanges.destinations(V, "x", "nothing", 1.2) == ()
    assert exchanges.destinations("other", "x", "k", 1.2) == Lookup(
        LookupKind.EXCHANGE, "other", "x"
    )


def test_exchanges_bound_to_exchanges_are_followed() -> None:
    exchanges = known(x1=direct(("x2", "k"), ("q1", "k")), x2=fanout("q2", "x3"))
    assert exchanges.destinations(V, "x1", "k", 100.0) == lookup("x3")
    exchanges.looked_up((V, "x3"), direct(("q3", "k"), ("q4", "other")), 100.1)
    assert exchanges.destinations(V, "x1", "k", 100.2) == ("q1", "q2", "q3")
    assert exchanges.destinations(V, "x1", "other", 100.2) == ()


def test_a_cycle_is_gone_through_once() -> None:
    exchanges = known(x1=fanout("x2", "q1"), x2=fanout("x1", "x2", "q2"))
    assert exchanges.destinations(V, "x1", "", 100.0) == ("q1", "q2")
    assert exchanges.destinations(V, "x2", "", 100.0) == ("q1", "q2")


def chain(length: int) -> Exchanges:
    routes = {f"x{number}": fanout(f"x{number + 1}") for number in range(1, length)}
    return known(**routes, **{f"x{length}": fanout("q")})


def test_exchanges_are_followed_to_a_certain_depth() -> None:
    assert chain(MAX_DEPTH).destinations(V, "x1", "", 100.0) == ("q",)
    assert chain(MAX_DEPTH + 1).destinations(V, "x1", "", 100.0) is None


def test_what_goes_everywhere_is_not_followed() -> None:
    widest = [f"q{number:03}" for number in range(MAX_DESTINATIONS)]
    exchanges = known(x1=fanout(*widest), x2=fanout(*widest, "one more"))
    assert exchanges.destinations(V, "x1", "", 100.0) == tuple(widest)
    assert exchanges.destinations(V, "x2", "", 100.0) is None
    assert known(x1=fanout(*(f"x{n}" for n in range(2, 50)))).destinations(V, "x1", "", 0) is None


@pytest.mark.parametrize("behind", [ExchangeRoutes("headers", ()), direct(plain=False)])
def test_what_is_not_understood_gives_no_answer_wherever_it_stands(behind: ExchangeRoutes) -> None:
    exchanges = known(x1=fanout("q", "x2"), x2=behind)
    assert exchanges.destinations(V, "x2", "k", 100.0) is None
    assert exchanges.destinations(V, "x1", "k", 100.0) is None


def test_old_routes_are_the_answer_while_new_ones_are_looked_up() -> None:
    exchanges = known(x1=fanout("q"))
    now = 100.0 + EXCHANGE_MAX_AGE
    assert exchanges.stale(now - 0.1) == ()
    assert exchanges.destinations(V, "x1", "", now) == ("q",)
    assert exchanges.stale(now) == (lookup("x1"),)
    assert exchanges.stale(now + 0.5) == (lookup("x1"),), "until it is answered"
    assert exchanges.destinations(V, "x1", "", now + 0.5) == ("q",)
    assert exchanges.looked_up((V, "x1"), fanout("q2"), now + 1)
    assert exchanges.stale(now + 1) == ()
    assert exchanges.destinations(V, "x1", "", now + 1) == ("q2",)


def test_a_refresh_that_brings_nothing_new_changes_nothing() -> None:
    exchanges = known(x1=fanout("q"))
    assert not exchanges.looked_up((V, "x1"), fanout("q"), 111.0)
    assert exchanges.stale(112.0) == ()


def test_refreshes_are_paced_and_the_longest_overdue_goes_first() -> None:
    exchanges = Exchanges()
    names = [f"x{number:03}" for number in range(100)]
    for age, name in enumerate(reversed(names)):
        exchanges.destinations(V, name, "", 50.0)
        exchanges.looked_up((V, name), fanout("q"), 50.0 + age / 100)
    oldest = [lookup(name) for name in reversed(names)]
    assert list(exchanges.stale(70.0)) == oldest[:REFRESHES_PER_SECOND]
    assert list(exchanges.stale(70.5)) == oldest[: REFRESHES_PER_SECOND // 2]
    assert list(exchanges.stale(70.51)) == oldest[:1]
    assert list(exchanges.stale(99.0)) == oldest[:REFRESHES_PER_SECOND], "no arrears"


def test_who_did_not_wait_for_the_lookup_gets_it_all_the_same() -> None:
    exchanges = Exchanges()
    assert isinstance(exchanges.destinations(V, "x", "", 100.0), Lookup)
    assert exchanges.stale(100.2) == (lookup("x"),)


def test_what_is_not_asked_for_is_forgotten() -> None:
    exchanges = known(x1=fanout("x2"), x2=fanout("q"), x3=fanout("q"))
    exchanges.destinations(V, "x1", "", 130.0)
    assert exchanges.drop_unused(100.0 + EXCHANGE_LINGER)
    assert len(exchanges) == 2, "x2 is asked for through x1"
    assert exchanges.destinations(V, "x1", "", 170.0) == ("q",)
    assert exchanges.destinations(V, "x3", "", 170.0) == lookup("x3")
    assert not exchanges.drop_unused(171.0), "nothing was forgotten"


def test_an_answer_from_memory_counts_as_asking() -> None:
    exchanges = known(x1=fanout("x2"), x2=fanout("q"))
    exchanges.destinations(V, "x1", "", 100.0)
    for now in (150.0, 200.0, 250.0):
        assert exchanges.destinations(V, "x1", "", now) == ("q",)
        exchanges.drop_unused(now + EXCHANGE_LINGER - 1)
    assert len(exchanges) == 2


def test_what_was_not_found_is_asked_for_again_after_a_while() -> None:
    exchanges = Exchanges()
    exchanges.destinations(V, "x", "", 100.0)
    assert not exchanges.looked_up((V, "x"), None, 100.0)
    assert exchanges.destinations(V, "x", "", 101.9) is None
    assert exchanges.stale(101.9) == ()
    assert exchanges.destinations(V, "x", "", 102.0) == lookup("x")
    assert exchanges.looked_up((V, "x"), fanout("q"), 102.1)
    assert exchanges.destinations(V, "x", "", 102.1) == ("q",)


def test_routes_outlive_some_refreshes_that_fail() -> None:
    exchanges = known(x1=fanout("q"))
    exchanges.destinations(V, "x1", "", 100.0)
    for failure in range(1, FAILURES):
        assert not exchanges.looked_up((V, "x1"), None, 100.0 + failure * 10)
        assert exchanges.destinations(V, "x1", "", 100.0 + failure * 10) == ("q",)
    now = 100.0 + FAILURES * 10
    assert exchanges.looked_up((V, "x1"), None, now)
    assert exchanges.destinations(V, "x1", "", now) is None


def test_a_success_forgives_failures() -> None:
    exchanges = known(x1=fanout("q"))
    for _ in range(FAILURES):
        exchanges.looked_up((V, "x1"), None, 110.0)
        exchanges.looked_up((V, "x1"), fanout("q"), 120.0)
    assert exchanges.destinations(V, "x1", "", 120.0) == ("q",)


def test_a_bind_makes_the_routes_worthless() -> None:
    exchanges = known(x1=fanout("q"), x2=fanout("q"))
    exchanges.destinations(V, "x1", "", 105.0)
    assert exchanges.noticed((V, "x1"), 105.0)
    assert exchanges.destinations(V, "x1", "", 105.0) == lookup("x1")
    assert exchanges.destinations(V, "x2", "", 105.0) == ("q",)


def test_many_binds_are_looked_up_once_a_second() -> None:
    """A queue bound for every client: the publishers keep their answer, one second old at most."""
    exchanges = known(x1=fanout("q"))
    assert not exchanges.noticed((V, "x1"), 100.1)
    assert not exchanges.noticed((V, "x1"), 100.2)
    assert exchanges.destinations(V, "x1", "", 100.5) == ("q",)
    assert exchanges.stale(100.9) == ()
    assert exchanges.stale(100.0 + EXCHANGE_MIN_AGE) == (lookup("x1"),)


def test_an_answer_that_may_be_older_than_a_bind_is_checked() -> None:
    """The bind is noticed on its way to the broker; the look-up may overtake it."""
    exchanges = known(x1=fanout("q"))
    assert exchanges.noticed((V, "x1"), 105.0)
    exchanges.destinations(V, "x1", "", 105.0)
    exchanges.looked_up((V, "x1"), fanout("q"), 105.1)
    assert exchanges.stale(106.0) == ()
    assert exchanges.stale(106.1) == (lookup("x1"),)
    exchanges.looked_up((V, "x1"), fanout("q", "q2"), 106.2)
    assert exchanges.stale(107.3) == (), "checked once"
    assert exchanges.destinations(V, "x1", "", 107.3) == ("q", "q2")


def test_a_change_nobody_asked_about_is_nothing_to_look_up() -> None:
    exchanges = Exchanges()
    assert not exchanges.noticed((V, "x1"), 100.0)
    assert exchanges.stale(101.0) == ()
    assert len(exchanges) == 0


def test_an_answer_to_nobody_is_kept_if_it_says_something() -> None:
    exchanges = Exchanges()
    assert not exchanges.looked_up((V, "x"), None, 1.0)
    assert len(exchanges) == 0
    assert exchanges.looked_up((V, "x"), fanout("q"), 1.0)
    assert exchanges.destinations(V, "x", "", 1.0) == ("q",)


def test_the_one_that_was_asked_for_longest_ago_makes_room() -> None:
    exchanges = Exchanges()
    for number in range(MAX_EXCHANGES):
        exchanges.destinations(V, f"x{number}", "", float(number))
        exchanges.looked_up((V, f"x{number}"), fanout("q"), float(number))
    exchanges.destinations(V, "x0", "", 2000.0)
    exchanges.destinations(V, "one more", "", 2001.0)
    assert len(exchanges) == MAX_EXCHANGES
    assert exchanges.destinations(V, "x0", "", 2002.0) == ("q",)
    assert exchanges.destinations(V, "x1", "", 2002.0) == lookup("x1")


def test_answers_are_remembered_within_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    exchanges = known(x1=direct(("q", "k7")))
    for number in range(MAX_ANSWERS + 10):
        exchanges.destinations(V, "x1", f"k{number}", 100.0)
    assert exchanges.answers == 10
    monkeypatch.setattr(limits.Routes, "targets", None)  # would be called, and fail
    assert exchanges.destinations(V, "x1", f"k{MAX_ANSWERS + 9}", 100.0) == ()


def test_an_exchange_of_another_type_is_seldom_looked_at_again() -> None:
    exchanges = known(x1=ExchangeRoutes("headers", ()))
    for now in (110.0, 150.0):
        assert exchanges.destinations(V, "x1", "", now) is None
        assert exchanges.stale(now) == ()
    assert exchanges.stale(100.0 + EXCHANGE_LINGER) == (lookup("x1"),)
