"""Other protocols, as playbooks: bytes are passed on both ways, and end with their link."""

from warrener.balancer.core.commands import HoldClient, SendClient, SendLink
from warrener.testing.playbook import Playbook

MQTT = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"


def test_another_protocol_is_passed_on_as_it_is() -> None:
    play = Playbook("n1", "n2")
    amqp_1_0 = b"AMQP\x00\x01\x00\x00"
    play.client_sends(amqp_1_0).gives("hold client", "connect n1")
    play.link_breaks().gives("connect n2")
    play.link_connects()
    assert play.sent_to(SendLink) == amqp_1_0
    assert play.node_sends(amqp_1_0).sent_to(SendClient) == amqp_1_0
    assert play.client_sends(b"\x00anything").sent_to(SendLink) == b"\x00anything"
    play.link_breaks("the node closed it").gives(
        "close client", "finished broker_closed: the node closed it"
    )


def test_what_a_client_says_before_a_node_has_taken_it_arrives_in_order() -> None:
    play = Playbook("n1")
    play.client_sends(MQTT[:5]).gives("hold client", "connect n1")
    play.client_sends(MQTT[5:]).gives()
    play.link_connects()
    assert play.sent_to(SendLink) == MQTT
    assert play.commands[-1] == HoldClient(False)


def test_a_node_that_does_not_take_the_connection_in_time_is_replaced() -> None:
    play = Playbook("n1", "n2")
    play.client_sends(MQTT)
    play.after(3.1).gives("abort link", "connect n2")
    assert play.table.statistics()[0].failures_total == 1


def test_a_client_is_dropped_when_no_node_has_taken_it_in_its_handshakes_time() -> None:
    play = Playbook("n1", "n2", "n3", "n4")
    play.client_sends(MQTT)
    for _ in range(3):
        play.after(3.1)
    play.after(1.0).gives("abort link", "close client", "finished no_fit_node: *tried n1, n2, n3*")


def test_a_connection_that_stands_may_be_silent_for_as_long_as_it_likes() -> None:
    play = Playbook("n1")
    play.client_sends(MQTT)
    play.link_connects()
    play.after(3600).gives()
