"""Publishes that a broker refuses: tried again for want of a leader, otherwise believed."""

from tests.unit.balancer.core.scene import GOODBYE, Play, message, messages

from warrener.amqp.constants import FRAME_BODY, FRAME_HEADER
from warrener.amqp.frames import encode_frame
from warrener.amqp.methods import (
    BasicAck,
    BasicConsumeOk,
    BasicNack,
    BasicPublish,
    ChannelClose,
    ChannelOpenOk,
    ConfirmSelectOk,
    ExchangeDeclare,
)
from warrener.balancer.core.channel import HOLD_MESSAGE
from warrener.facts.moves import ChannelStatistics
from warrener.facts.settings import BalancerSettings


def place(play: Play) -> ChannelStatistics:
    return play.session.channels()[0]


def electing(*queues: tuple[str, str] | tuple[str, str, str]) -> Play:
    """n3 has just died and queue q has no leader yet; a client opens a channel on n1."""
    settled = [(queue[0], queue[1].removeprefix("down "), *queue[2:]) for queue in queues]
    play = Play.opened("n1", "n2", "n3").knows(*settled)  # type: ignore[arg-type]
    return play.knows(*(queues or (("q", "down n3"),))).channel(confirms=True)


def opened_anew(play: Play) -> Play:
    """The channel has left its link and comes back on it."""
    play.gives(f"link: {GOODBYE}/1")
    play.leaves().gives("link: channel.open/1 confirm.select/1")
    return play.node_answers(ChannelOpenOk(), ConfirmSelectOk())


def test_the_first_publish_of_a_channel_that_meets_an_election_is_tried_again() -> None:
    play = electing()
    play.client_sends(messages("a", "b")).gives('link: basic.publish q "a"/1 basic.publish q "b"/1')
    play.node_answers(BasicNack(1), BasicNack(2)).gives()
    assert (place(play).state, place(play).unconfirmed) == ("probing", 2)
    play.client_sends(message("c")).gives()
    play.knows(("q", "n1"))
    opened_anew(play.after(0.1)).gives('link: basic.publish q "a"/1')
    play.node_answers(BasicAck(1)).gives(
        "client: basic.ack 1/1",
        'link: basic.publish q "b"/1 basic.publish q "c"/1',
    )
    play.node_answers(BasicAck(3, multiple=True)).gives("client: basic.ack ..3/1")
    assert place(play).unconfirmed == 0
    assert place(play).moves == ()


def test_one_refusal_of_many_at_once_is_enough() -> None:
    play = electing()
    play.client_sends(messages("a", "b", "c"))
    play.node_answers(BasicNack(3, multiple=True)).gives()
    play.knows(("q", "n1"))
    opened_anew(play.after(0.1)).gives('link: basic.publish q "a"/1')
    play.node_answers(BasicAck(1)).gives(
        "client: basic.ack 1/1", 'link: basic.publish q "b"/1 basic.publish q "c"/1'
    )


def test_a_refusal_while_the_queue_still_has_no_leader_waits_for_one() -> None:
    play = electing()
    play.client_sends(message("a"))
    play.node_answers(BasicNack(1)).gives()
    opened_anew(play.after(0.1)).gives()
    assert place(play).state == "parked"
    play.knows(("q", "n1"))
    play.after(0.2).gives('link: basic.publish q "a"/1')
    play.node_answers(BasicAck(1)).gives("client: basic.ack 1/1")


def test_a_queue_that_has_just_got_its_leader_may_have_refused_before() -> None:
    play = electing().knows(("q", "n1"))
    play.client_sends(message("a"))
    play.node_answers(BasicNack(1)).gives()
    opened_anew(play.after(0.1)).gives('link: basic.publish q "a"/1')


def test_what_the_broker_confirms_of_several_passes_over_what_it_has_refused() -> None:
    """Told by a 'multiple' that the refused one is confirmed, its publisher would forget it."""
    play = electing(("q", "down n3"), ("w", "n1"))
    play.client_sends(message("a", "w"))
    play.client_sends(message("b"))
    play.client_sends(message("c", "w"))
    play.node_answers(BasicNack(2)).gives()
    play.node_answers(BasicAck(3, multiple=True)).gives("client: basic.ack 1/1 basic.ack 3/1")
    play.knows(("q", "n1"), ("w", "n1"))
    opened_anew(play.after(0.1)).gives('link: basic.publish q "b"/1')
    play.node_answers(BasicAck(1)).gives("client: basic.ack 2/1")


def test_so_does_what_it_confirms_while_the_channel_leaves() -> None:
    play = electing(("q", "down n3"), ("w", "n1"))
    play.client_sends(message("a", "w"))
    play.client_sends(message("b"))
    play.client_sends(message("c"))
    play.client_sends(message("d", "w"))
    play.node_answers(BasicNack(2))
    play.knows(("q", "n1"), ("w", "n1"))
    play.ticks(1.5)
    assert f"link: {GOODBYE}/1" in play.lines
    play.node_answers(BasicNack(3)).gives()
    play.node_answers(BasicAck(4, multiple=True)).gives("client: basic.ack 1/1 basic.ack 4/1")
    play.leaves()
    play.node_answers(ChannelOpenOk(), ConfirmSelectOk()).gives('link: basic.publish q "b"/1')
    play.node_answers(BasicAck(1)).gives("client: basic.ack 2/1", 'link: basic.publish q "c"/1')


def test_publishes_that_no_word_has_come_about_are_waited_for_a_second() -> None:
    play = electing(("q", "down n3"), ("w", "n1"))
    play.client_sends(message("a", "w"))
    play.client_sends(message("b"))
    play.node_answers(BasicNack(2)).gives()
    play.after(0.1).gives()
    play.after(0.8).gives()
    play.knows(("q", "n1"), ("w", "n1"))
    opened_anew(play.after(0.2)).gives('link: basic.publish w "a"/1')  # it may come twice
    play.node_answers(BasicAck(1)).gives("client: basic.ack 1/1", 'link: basic.publish q "b"/1')


def test_a_second_queue_of_the_channel_may_have_no_leader_either() -> None:
    play = electing(("q", "down n3"), ("w", "down n3"))
    play.client_sends(message("a"))
    play.client_sends(message("b", "w"))
    play.node_answers(BasicNack(1), BasicNack(2)).gives()
    play.knows(("q", "n1"), ("w", "down n3"))
    opened_anew(play.after(0.1)).gives('link: basic.publish q "a"/1')
    play.node_answers(BasicAck(1)).gives("client: basic.ack 1/1", 'link: basic.publish w "b"/1')
    play.node_answers(BasicNack(2)).gives()
    play.knows(("q", "n1"), ("w", "n1"))
    opened_anew(play.after(0.1)).gives('link: basic.publish w "b"/1')
    play.node_answers(BasicAck(1)).gives("client: basic.ack 2/1")


def test_a_refusal_in_quiet_times_is_for_the_client_at_once() -> None:
    """A full queue that rejects what is published to it."""
    play = Play.opened("n1", "n2").knows(("q", "n1")).channel(confirms=True)
    play.client_sends(messages("a", "b"))
    play.node_answers(BasicNack(1)).gives("client: basic.nack 1 requeue/1")
    play.node_answers(BasicAck(2)).gives("client: basic.ack 2/1")


def test_so_is_one_long_after_a_node_went_down() -> None:
    play = electing().knows(("q", "n1"))
    play.ticks(3)
    play.client_sends(message("a"))
    play.node_answers(BasicNack(1)).gives("client: basic.nack 1 requeue/1")


def test_a_full_queue_is_believed_after_a_while_and_then_until_the_next_trouble() -> None:
    play = electing().knows(("q", "n1"))
    play.client_sends(message("a"))
    play.node_answers(BasicNack(1)).gives()
    said = ""
    for _ in range(20):
        play.ticks(0.5)
        if any(GOODBYE in line for line in play.lines):
            play.leaves()
            play.node_answers(ChannelOpenOk(), ConfirmSelectOk())
            play.node_answers(BasicNack(1))
            said = play.sends_again()
            if "client" in said:
                break
    assert said == "client: basic.nack 1 requeue/1"
    play.client_sends(message("b"))
    play.node_answers(BasicNack(2)).gives("client: basic.nack 2 requeue/1")
    play.knows(("q", "down n2"))
    play.client_sends(message("c"))
    play.node_answers(BasicNack(3)).gives()


def test_a_refusal_that_lasts_too_long_is_passed_on_and_the_others_follow() -> None:
    settings = BalancerSettings(park_timeout=0.0)
    play = Play.opened("n1", "n2", "n3", settings=settings).knows(("q", "n1"), ("w", "down n3"))
    play.channel(confirms=True)
    play.client_sends(messages("a", "b"))
    play.node_answers(BasicNack(2, multiple=True)).gives()
    opened_anew(play.after(0.1)).gives('link: basic.publish q "a"/1')
    play.node_answers(BasicNack(1)).gives(
        "client: basic.nack 1 requeue/1", 'link: basic.publish q "b"/1'
    )
    play.node_answers(BasicNack(2)).gives("client: basic.nack 2 requeue/1")


def test_a_classic_queues_refusal_is_for_the_client() -> None:
    play = electing(("q", "down n3"), ("w", "n1", "classic"))
    play.client_sends(message("a", "w"))
    play.node_answers(BasicNack(1)).gives("client: basic.nack 1 requeue/1")


def test_what_cannot_be_carried_is_not_tried_again() -> None:
    play = electing()
    body = bytes(HOLD_MESSAGE + 1)
    header = encode_frame(FRAME_HEADER, 1, b"\0\x3c\0\0" + len(body).to_bytes(8) + b"\0\0")
    play.client_sends((1, BasicPublish("", "q")), header)
    for at in range(0, len(body), 100_000):
        play.client_sends(encode_frame(FRAME_BODY, 1, body[at : at + 100_000]))
    play.client_sends(message("a"))
    play.node_answers(BasicNack(2)).gives("client: basic.nack 2 requeue/1")


def test_a_node_that_dies_meanwhile_is_one_more_failover() -> None:
    play = electing()
    play.client_sends(message("a"))
    play.node_answers(BasicNack(1))
    play.knows(("q", "n2"))
    play.lost("n1").gives("connect n2").joins()
    play.node_answers(ChannelOpenOk(), ConfirmSelectOk()).gives('n2: basic.publish q "a"/1')
    play.node_answers(BasicAck(1)).gives("client: basic.ack 1/1")


def test_a_channel_that_the_broker_closes_meanwhile_is_closed() -> None:
    play = electing()
    play.client_sends(message("a"))
    play.node_answers(BasicNack(1))
    play.node_answers(ChannelClose(406, "PRECONDITION_FAILED", 60, 40)).gives(
        "link: channel.close-ok/1", "client: channel.close 406 PRECONDITION_FAILED/1"
    )


def test_its_consumers_begin_again_with_it() -> None:
    play = electing(("q", "down n3"), ("w", "n1", "classic")).consumer("w")
    play.client_sends(message("a"))
    play.node_answers(BasicNack(1)).gives()
    play.knows(("q", "n1"), ("w", "n1", "classic"))
    play.after(0.1).gives(f"link: {GOODBYE}/1")
    play.leaves().gives("link: channel.open/1 confirm.select/1 basic.consume w c/1")
    play.node_answers(ChannelOpenOk(), ConfirmSelectOk(), BasicConsumeOk("c")).gives(
        'link: basic.publish q "a"/1'
    )


def test_what_is_asked_behind_a_refused_publish_waits() -> None:
    play = electing()
    play.client_sends(message("a"))
    play.node_answers(BasicNack(1))
    play.client_sends((1, ExchangeDeclare("x", "topic"))).gives()
    play.knows(("q", "n1"))
    opened_anew(play.after(0.1))
    play.node_answers(BasicAck(1)).gives("client: basic.ack 1/1", "link: exchange.declare*/1")


# -- a leader that nobody hears of


def parked() -> Play:
    """The first publish was refused; no leader is known."""
    play = electing()
    play.client_sends(message("a"))
    play.node_answers(BasicNack(1))
    opened_anew(play.after(0.1)).gives()
    return play


def test_a_publish_is_tried_though_nobody_says_that_there_is_a_leader() -> None:
    """Packets vanish, and the management API with them; the broker may know better."""
    play = parked()
    play.after(0.4).gives()
    play.after(0.2).gives('link: basic.publish q "a"/1')
    play.client_sends(message("b")).gives()
    play.node_answers(BasicAck(1)).gives("client: basic.ack 1/1", 'link: basic.publish q "b"/1')


def test_the_tries_become_rare() -> None:
    play = parked()
    tries = 0
    for _ in range(400):  # 20 s
        play.after(0.05)
        if f"link: {GOODBYE}/1" in play.lines:
            opened_anew(play)
        if 'link: basic.publish q "a"/1' in play.lines:
            tries += 1
            play.node_answers(BasicNack(1)).gives()
    assert 5 <= tries <= 8
    play.knows(("q", "n1"))
    play.after(0.2).gives('link: basic.publish q "a"/1')
    play.node_answers(BasicAck(1)).gives("client: basic.ack 1/1")


def test_a_publish_said_while_no_leader_is_known_is_tried_as_well() -> None:
    play = Play.opened("n1", "n2").knows(("q", "n1")).channel(confirms=True)
    play.client_sends(message("a"))
    play.node_answers(BasicAck(1)).gives("client: basic.ack 1/1")
    play.lost("n1").gives("connect n2")
    play.linked("n2").gives("n2: channel.open/1 confirm.select/1")
    play.node_answers(ChannelOpenOk(), ConfirmSelectOk()).gives()
    play.client_sends(messages("b", "c")).gives()
    assert place(play).state == "parked"
    play.after(0.4).gives()
    play.after(0.2).gives('n2: basic.publish q "b"/1')
    play.node_answers(BasicAck(1)).gives("client: basic.ack 2/1", 'n2: basic.publish q "c"/1')


def test_a_refusal_from_before_the_leader_was_known_is_not_believed() -> None:
    """A try can take the broker seconds; by then the leader may be known, and the refusal old."""
    play = parked()
    play.after(0.6).gives('link: basic.publish q "a"/1')
    play.after(4.0)
    play.knows(("q", "n1"))
    play.node_answers(BasicNack(1)).gives()
    opened_anew(play.after(0.2)).gives('link: basic.publish q "a"/1')
    play.after(2.5)
    play.node_answers(BasicNack(1)).gives()
    opened_anew(play.after(0.3)).gives('link: basic.publish q "a"/1')
    play.after(1.0)
    play.node_answers(BasicNack(1)).gives("client: basic.nack 1 requeue/1")
