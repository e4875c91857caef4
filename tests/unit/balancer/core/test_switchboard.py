"""Sessions with several links, as playbooks: links come, linger and go; closes; limits."""

from tests.unit.balancer.core.scene import Play, message

from warrener.amqp.methods import (
    ConnectionClose,
    ConnectionCloseOk,
)

BYE = ConnectionClose(200, "bye")


# -- closing while something is unsaid ------------------------------------------------------------


def moving() -> Play:
    """Channel 1, under confirms, is on its way from n1 to n2; a publish waits for that."""
    play = Play.opened("n1", "n2").knows(("q", "n2")).channel(confirms=True)
    return play.client_sends(message("a")).gives("connect n2")


def test_a_close_while_a_publish_waits_for_a_link_says_it_where_the_channel_is() -> None:
    play = moving()
    play.client_sends(BYE).gives('link: basic.publish q "a"/1 connection.close 200 bye', "abort n2")
    play.at("n1").node_sends(ConnectionCloseOk()).gives(
        "close link", "client: connection.close-ok", "close client", "finished client_closed"
    )
