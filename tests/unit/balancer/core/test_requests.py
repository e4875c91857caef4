"""Requests and what answers them, held against the specification's own list as pamqp has it."""

import pytest
from pamqp import commands as pamqp_commands

from warrener.amqp.methods import (
    BY_ID,
    BasicAck,
    BasicCancel,
    BasicConsume,
    BasicGet,
    BasicPublish,
    ChannelOpen,
    ExchangeBind,
    Method,
    QueueBind,
    QueueDeclare,
    QueueDelete,
    QueuePurge,
    QueueUnbind,
    encode_method_frame,
)
from warrener.balancer.core.requests import (
    ANSWERS,
    IS_ANSWER,
    Rpc,
    no_wait,
    queue_named,
    renamed,
)

SPECIFIED = {
    command.index: [
        getattr(pamqp_commands, name.split(".")[0]).__dict__[name.split(".")[1]].index
        for name in command.valid_responses
    ]
    for klass in vars(pamqp_commands).values()
    if isinstance(klass, type)
    for command in vars(klass).values()
    if isinstance(command, type) and getattr(command, "valid_responses", None)
}


@pytest.mark.parametrize("id_", [id_ for id_ in BY_ID if id_ >> 16 > 10])
def test_every_method_of_a_channel_has_the_answers_of_the_specification(id_: int) -> None:
    assert sorted(ANSWERS.get(id_, ())) == sorted(SPECIFIED.get(id_, ()))


def test_an_answer_is_no_request() -> None:
    assert not IS_ANSWER & set(ANSWERS)
    assert {id_ for answers in ANSWERS.values() for id_ in answers} == IS_ANSWER


def test_a_request_without_wait_expects_nothing() -> None:
    frame = encode_method_frame(1, ChannelOpen())
    assert Rpc(ChannelOpen.ID, frame).expected == ANSWERS[ChannelOpen.ID]
    assert Rpc(ChannelOpen.ID, frame, waits=False).expected == ()


@pytest.mark.parametrize(
    ("method", "waits"),
    [
        (QueueDeclare("q"), True),
        (QueueDeclare("q", no_wait=True), False),
        (BasicCancel("c", no_wait=True), False),
        (BasicGet("q"), True),
    ],
)
def test_no_wait_is_read_from_methods_that_have_it(method: Method, waits: bool) -> None:
    assert no_wait(method) is not waits


@pytest.mark.parametrize(
    ("method", "queue"),
    [
        (QueueDeclare("q"), "q"),
        (QueueDeclare(""), ""),
        (QueueBind("q", "x", "k"), "q"),
        (QueueUnbind("q", "x", "k"), "q"),
        (QueuePurge("q"), "q"),
        (QueueDelete("q"), "q"),
        (BasicConsume("q", "c"), "q"),
        (BasicGet("q"), "q"),
        (BasicPublish("", "q"), None),
        (BasicAck(1), None),
        (ExchangeBind("a", "b", "k"), None),
    ],
)
def test_the_queue_that_a_method_names(method: Method, queue: str | None) -> None:
    assert queue_named(method) == queue


def test_a_queue_can_be_written_out_in_every_method_that_names_one() -> None:
    for method in (QueuePurge(""), QueueDelete(""), BasicConsume("", "c"), BasicGet("")):
        assert queue_named(renamed(method, "made-up")) == "made-up"


def test_a_bind_of_the_last_queue_without_a_key_has_the_queues_name_for_a_key() -> None:
    """The specification's rule for an empty queue name and an empty key."""
    assert renamed(QueueBind("", "x", ""), "q") == QueueBind("q", "x", "q")
    assert renamed(QueueBind("", "x", "k"), "q") == QueueBind("q", "x", "k")
    assert renamed(QueueUnbind("", "x", "k"), "q") == QueueUnbind("q", "x", "k")
