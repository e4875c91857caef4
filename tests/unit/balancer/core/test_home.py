"""The search for a home, as playbooks: who is tried next, and how long a client waits."""

from warrener.amqp.constants import PROTOCOL_HEADER
from warrener.amqp.methods import ConnectionClose, ConnectionOpen, ConnectionStart
from warrener.facts.reasons import Unfit
from warrener.testing.playbook import OPEN, START, TUNE, Playbook


def test_a_refused_connection_goes_to_the_next_node() -> None:
    play = Playbook("n1", "n2")
    play.client_sends(PROTOCOL_HEADER).gives("connect n1")
    play.link_breaks("connection refused").gives("connect n2")
    play.link_connects().gives("link: header")
    play.node_sends(START).gives("client: connection.start")
    assert play.table.statistics()[0].failures_total == 1


def test_when_every_node_refuses_the_client_hears_the_brokers_own_words() -> None:
    play = Playbook.until(ConnectionOpen, "n1", "n2")
    down = ConnectionClose(541, "INTERNAL_ERROR - vhost '/' is down")
    play.node_sends(down).gives("link: connection.close-ok", "close link", "connect n2")
    play.link_connects()
    play.node_sends(START)
    play.node_sends(TUNE)
    play.node_sends(down).gives(
        "link: connection.close-ok",
        "close link",
        "client: connection.close 541 INTERNAL_ERROR - vhost '/' is down",
    )


def test_no_node_at_all_closes_after_the_connect_timeout() -> None:
    play = Playbook()
    play.client_sends(PROTOCOL_HEADER).gives()
    for _ in range(5):
        play.after(0.5).gives()
    play.after(0.6).gives("close client", "finished no_fit_node: *")


def test_a_node_that_turns_fit_while_a_client_waits_is_taken() -> None:
    play = Playbook("n1")
    for _ in range(2):
        play.table.probed(play.table.backends()[0].name, Unfit.REFUSES, "refused")
    play.client_sends(PROTOCOL_HEADER).gives()
    for _ in range(2):
        play.table.probed(play.table.backends()[0].name, None)
    play.after(0.5).gives("connect n1")


def test_no_node_is_sought_any_more_once_the_client_is_told_to_close() -> None:
    play = Playbook.until(ConnectionStart, "n1")
    for _ in range(2):
        play.table.probed(play.table.backends()[0].name, Unfit.REFUSES, "refused")
    play.link_breaks().gives()
    play.client_sends(OPEN).gives("client: connection.close 503 COMMAND_INVALID - *")
    for _ in range(2):
        play.table.probed(play.table.backends()[0].name, None)
    play.after(0.5).gives()


def test_nodes_that_failed_are_tried_again_after_a_pause() -> None:
    play = Playbook("n1", "n2")
    play.client_sends(PROTOCOL_HEADER).gives("connect n1")
    play.link_breaks("connection refused").gives("connect n2")
    play.link_breaks("connection refused").gives()
    play.after(0.2).gives()
    play.after(0.2).gives("connect n1")


def test_a_node_at_work_for_a_handshake_counts_a_session_and_one_passed_over_counts_none() -> None:
    play = Playbook("n1", "n2")
    play.client_sends(PROTOCOL_HEADER)
    assert [node.sessions for node in play.table.statistics()] == [1, 0]
    play.link_breaks("connection refused")
    assert [node.sessions for node in play.table.statistics()] == [0, 1]


def test_a_link_that_this_machine_cannot_open_ends_the_search() -> None:
    """The next node's would fail the same way."""
    play = Playbook("n1", "n2")
    play.client_sends(PROTOCOL_HEADER)
    play._did(play.session.link_impossible(play.link, play.now, "too many open files"))
    play.gives("close client", "finished limit: RESOURCE_ERROR - too many open files")
    assert [node.failures_total for node in play.table.statistics()] == [0, 0]
