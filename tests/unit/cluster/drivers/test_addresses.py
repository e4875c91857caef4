"""Where the nodes of somebody else's cluster are reached from here."""

import pytest

from warrener.cluster.drivers.addresses import (
    METRICS,
    Known,
    Place,
    amqp_place,
    is_loopback,
    listener_place,
)
from warrener.facts.ids import NodeName
from warrener.management.listeners import Listener

A = NodeName("rabbit@a.example")


def listens(ip: str = "::", protocol: str = "amqp", port: int = 5672) -> list[Listener]:
    return [
        Listener(node="rabbit@other", protocol=protocol, ip_address="10.9.9.9", port=1),
        Listener(node=A, protocol="clustering", ip_address="::", port=25672),
        Listener(node=A, protocol=protocol, ip_address=ip, port=port),
    ]


def known(**more: object) -> Known:
    return Known(resolves=lambda host: host == "a.example", **more)  # type: ignore[arg-type]


NOWHERE = Known(resolves=lambda host: False)


@pytest.mark.parametrize("ip", ["::", "0.0.0.0", ""])
def test_of_all_interfaces_the_host_is_the_one_in_the_name(ip: str) -> None:
    assert amqp_place(A, listens(ip), known()) == Place("a.example", 5672)


def test_an_address_of_its_own_is_taken_as_it_is() -> None:
    assert amqp_place(A, listens("10.0.0.1"), NOWHERE) == Place("10.0.0.1", 5672)
    assert amqp_place(A, listens("fd00::1"), NOWHERE) == Place("fd00::1", 5672)


def test_loopback_means_something_on_the_same_machine_only() -> None:
    assert amqp_place(A, listens("127.0.0.1"), known(here=True)) == Place("127.0.0.1", 5672)
    elsewhere = amqp_place(A, listens("127.0.0.1"), known())
    assert "own loopback interface only (127.0.0.1:5672)" in elsewhere.why_not


def test_of_several_listeners_one_that_can_be_reached() -> None:
    both = [*listens("127.0.0.1"), *listens("10.0.0.1")]
    assert amqp_place(A, both, known()) == Place("10.0.0.1", 5672)


def test_a_name_that_means_nothing_here_is_told_with_what_to_write() -> None:
    place = amqp_place(A, listens(), NOWHERE)
    assert '"rabbit@a.example" = "HOST:5672"' in place.why_not
    assert "[attach]" in place.why_not


def test_the_node_behind_a_url_is_at_its_host() -> None:
    forwarded = Known(resolves=lambda host: False, answers={A: "127.0.0.1"})
    assert amqp_place(A, listens(port=5673), forwarded) == Place("127.0.0.1", 5673)


def test_what_the_description_says_goes_before_everything() -> None:
    given = known(given={A: ("10.0.0.7", 35672)})
    assert amqp_place(A, listens("10.0.0.1"), given) == Place("10.0.0.7", 35672)
    assert amqp_place(A, [], given) == Place("10.0.0.7", 35672)


def test_a_node_that_speaks_tls_only_or_nothing() -> None:
    tls = amqp_place(A, listens(protocol="amqp/ssl", port=5671), known())
    assert tls.why_not.startswith("has no listener for amqp, only for amqp with TLS")
    assert amqp_place(A, [], known()).why_not == "has no listener for amqp"


def test_with_tls_the_other_listener_counts() -> None:
    """And nobody is spoken to without TLS where it was asked for."""
    both = [*listens(), *listens(protocol="amqp/ssl", port=5671)]
    assert amqp_place(A, both, known(tls=True)) == Place("a.example", 5671)
    assert amqp_place(A, both, known()) == Place("a.example", 5672)
    plain = amqp_place(A, listens(), known(tls=True))
    assert plain.why_not.startswith("has no listener for amqp with TLS, only for amqp without")
    assert "links = false" in plain.why_not
    given = known(given={A: ("10.0.0.7", 35671)}, tls=True)
    assert amqp_place(A, [], given) == Place("10.0.0.7", 35671)


def test_warreners_own_balancer_is_no_node() -> None:
    own = known(here=True, own=(5672,))
    assert "Warrener's own balancer" in amqp_place(A, listens("127.0.0.1"), own).why_not
    assert amqp_place(A, listens("10.0.0.1"), own) == Place("10.0.0.1", 5672)


def test_other_protocols() -> None:
    assert listener_place(A, listens(protocol=METRICS, port=15692), METRICS, known()) == Place(
        "a.example", 15692
    )


def test_loopback_names() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.1.2.3", "::1")))
    assert not any(map(is_loopback, ("a.example", "10.0.0.1", "::", "")))
