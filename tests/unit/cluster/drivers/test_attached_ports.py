"""The balancer's ports: which ones, and that they stay."""

from contextlib import ExitStack
from dataclasses import replace

import pytest

from warrener.cluster.drivers.attached_ports import claim_ports
from warrener.cluster.drivers.attached_record import Record
from warrener.cluster.errors import PortTaken
from warrener.facts.settings import BalancerSettings
from warrener.facts.tls import TlsSettings

PLAIN, TLS = TlsSettings(), TlsSettings(enabled=True)
LINKS = TlsSettings(enabled=True, clients=False)
ANY = BalancerSettings()
USUAL = (5671, 5672)


def claim(
    balancer: BalancerSettings, speaks: TlsSettings, record: Record | None = None, seed: str = "a"
) -> tuple[dict[bool, int], int]:
    """With nodes said to be at the usual ports: what others do there makes no odds then."""
    with ExitStack() as holds:
        return claim_ports(balancer, speaks, record, USUAL, seed=seed, holds=holds)


def test_there_is_one_for_each_way_to_speak() -> None:
    assert list(claim(ANY, PLAIN)[0]) == [False]
    assert list(claim(ANY, LINKS)[0]) == [False]
    assert list(claim(ANY, TLS)[0]) == [True]
    both, _ = claim(replace(ANY, plain=True), TLS)
    assert both[True] != both[False]
    assert not {*both.values()} & {*USUAL}


def test_they_are_the_same_the_next_time() -> None:
    settings = replace(ANY, plain=True)
    first, base = claim(settings, TLS)
    record = Record(urls=(), user="", balancer_port=first[False], tls_port=first[True], base=base)
    assert claim(settings, TLS, record, seed="b") == (first, base)


def test_the_ones_that_are_asked_for_or_none() -> None:
    spare = claim(ANY, TLS)[0][True]
    assert claim(BalancerSettings(tls_port=spare), TLS)[0] == {True: spare}
    with ExitStack() as holds:
        asked = BalancerSettings(tls_port=spare)
        claim_ports(asked, TLS, None, (), seed="a", holds=holds)
        with pytest.raises(PortTaken, match="another `tls_port` under"):
            claim_ports(asked, TLS, None, (), seed="b", holds=holds)
