"""A link: its steps, and how much silence it bears."""

import pytest

from warrener.amqp.methods import ConnectionOpen, ConnectionTuneOk, encode_method_frame
from warrener.balancer.core.agreement import Agreement
from warrener.balancer.core.link import Link
from warrener.balancer.core.states import IllegalMove, LinkMove, LinkState
from warrener.facts.balance import Backend
from warrener.facts.ids import NodeName


def link(heartbeat: int = 10) -> Link:
    made = Link(1, Backend(NodeName("n1@localhost"), "127.0.0.1", 5672), now=100.0, timeout=3.0)
    made.heartbeat = heartbeat
    return made


def test_a_new_link_is_connecting_and_has_its_deadline() -> None:
    made = link()
    assert (made.state, made.deadline, made.writable) == (LinkState.CONNECTING, 103.0, True)
    assert made.inbox.kept == 0


def test_a_step_out_of_order_is_our_bug() -> None:
    made = link()
    with pytest.raises(IllegalMove):
        made.follow(LinkMove.TUNE)
    assert made.state is LinkState.CONNECTING
    made.follow(LinkMove.CONNECTED)
    assert made.state is LinkState.AWAIT_START


def test_a_link_logs_in_and_opens_with_what_the_client_agreed_to_and_its_own_heartbeat() -> None:
    agreement = Agreement("10.0.0.7:40312", link_start_ok=b"\x00\x0a\x00\x0b...")
    agreement.tune_ok = ConnectionTuneOk(2047, 131072, heartbeat=600)
    agreement.open = ConnectionOpen("orders")
    made = link(0)
    for move in (LinkMove.CONNECTED, LinkMove.START):
        made.follow(move)
    assert made.says_start_ok(agreement) == b"\x01\0\0\0\0\0\x07\0\x0a\0\x0b...\xce"
    made.follow(LinkMove.TUNE)
    assert made.says_open(agreement, 10) == encode_method_frame(
        0, ConnectionTuneOk(2047, 131072, heartbeat=10)
    ) + encode_method_frame(0, ConnectionOpen("orders"))
    assert (made.state, made.heartbeat) == (LinkState.AWAIT_OPEN_OK, 10)


def test_a_link_says_nothing_before_it_is_asked() -> None:
    with pytest.raises(IllegalMove):
        link().says_start_ok(Agreement("10.0.0.7:40312"))


@pytest.mark.parametrize(
    ("heartbeat", "suspected", "patience"),
    [(10, False, 20.0), (10, True, 6.5), (1, False, 2.0), (60, False, 120.0), (60, True, 31.5)],
)
def test_silence_is_too_long_after_two_intervals_or_one_missed_heartbeat_when_suspected(
    heartbeat: int, suspected: bool, patience: float
) -> None:
    made = link(heartbeat)
    made.heard_at = 200.0
    assert made.silent_since(200.0 + patience, suspected) is None
    assert made.silent_since(200.0 + patience + 0.5, suspected) == patience + 0.5


def test_suspicion_never_makes_a_link_more_patient() -> None:
    for heartbeat in range(1, 300):
        made = link(heartbeat)
        for silence in (heartbeat / 2, float(heartbeat), heartbeat * 2 + 0.1):
            if made.silent_since(100.0 + silence, suspected=False) is not None:
                assert made.silent_since(100.0 + silence, suspected=True) is not None


@pytest.mark.parametrize("suspected", [False, True])
def test_without_heartbeats_no_silence_is_too_long(suspected: bool) -> None:
    assert link(0).silent_since(1e9, suspected) is None
