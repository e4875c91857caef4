"""Service times from outside, against the models that give what would be seen."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.models.queueing import mm1, mmc
from warrener.models.terms import Steady
from warrener.planner.consumers import WORDS, ServiceFrom, ServiceTime, service_time


def told(**changes: float) -> ServiceTime:
    values = {
        "delivered": 100.0, "acked": 100.0, "consumers": 2.0, "prefetch": 1,
        "unacked": 1.0, "backlog": 0.0,
    }  # fmt: skip
    return service_time(**{**values, **changes})  # type: ignore[arg-type]  # prefetch is an int


def test_consumers_that_are_never_idle_share_the_rate() -> None:
    found = told(consumers=4, prefetch=10, unacked=39, backlog=1.0, acked=80)
    assert found.why is ServiceFrom.SATURATED
    assert found.seconds == pytest.approx(4 / 80)


@given(
    rate=st.floats(0.1, 1000), rho=st.floats(0.05, 0.95), servers=st.integers(1, 10)
)  # fmt: skip
def test_with_a_prefetch_of_one_what_is_out_is_being_served(
    rate: float, rho: float, servers: int
) -> None:
    service = rho * servers / rate
    station = mmc(rate, 1 / service, servers)
    assert isinstance(station, Steady)
    out = station.in_system - station.in_queue  # those in service
    found = told(
        delivered=rate, acked=rate, consumers=servers, prefetch=1, unacked=out, backlog=0.3
    )
    assert found.why is ServiceFrom.LITTLE
    assert found.seconds == pytest.approx(service, rel=1e-6)


@given(
    rate=st.floats(0.1, 1000), rho=st.floats(0.05, 0.95), servers=st.integers(1, 10)
)  # fmt: skip
def test_with_a_large_prefetch_each_client_is_an_mm1(rate: float, rho: float, servers: int) -> None:
    service = rho * servers / rate
    each = mm1(rate / servers, 1 / service)
    assert isinstance(each, Steady)
    found = told(
        delivered=rate,
        acked=rate,
        consumers=servers,
        prefetch=250,
        unacked=servers * each.in_system,
    )
    assert found.why is ServiceFrom.BUFFERED
    assert found.seconds is not None
    assert math.isclose(found.seconds, service, rel_tol=1e-6)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"delivered": 0, "acked": 0}, ServiceFrom.NO_TRAFFIC),
        ({"consumers": 0}, ServiceFrom.NO_CONSUMERS),
        ({"acked": 0}, ServiceFrom.NO_ACKS),
        ({"unacked": 0}, ServiceFrom.NO_ACKS),
        ({"backlog": 1.0, "prefetch": 100, "unacked": 3}, ServiceFrom.STARVED),
        ({"prefetch": -1}, ServiceFrom.UNKNOWN),
    ],
)
def test_what_cannot_be_told_says_why(changes: dict[str, float], why: ServiceFrom) -> None:
    assert told(**changes) == ServiceTime(None, why)


def test_a_backlog_with_unlimited_prefetch_is_not_taken_as_saturation() -> None:
    assert told(backlog=1.0, prefetch=0, unacked=8).why is ServiceFrom.BUFFERED


def test_every_reason_has_words() -> None:
    assert set(WORDS) == set(ServiceFrom)


def test_what_the_balancer_saw_goes_first() -> None:
    found = told(prefetch=50, unacked=70, at_work=1.6, worked=80)
    assert found.why is ServiceFrom.WATCHED
    assert found.seconds == pytest.approx(0.02)


def test_a_few_clients_behind_the_balancer_dont_speak_for_all() -> None:
    assert told(at_work=0.4, worked=20).why is ServiceFrom.LITTLE
    assert told(at_work=0.0, worked=0.0).why is ServiceFrom.LITTLE
