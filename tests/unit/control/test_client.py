"""The blocking client against a scripted daemon."""

from pathlib import Path

import pytest

from warrener.control import client as client_module
from warrener.control import wire
from warrener.control.client import Client, NotRunning, Unresponsive
from warrener.control.lock import Lock
from warrener.control.operations import (
    EVENTS,
    SET_WEIGHT,
    STOP,
    EventLine,
    EventsAnswer,
    EventsRequest,
    ProgressLine,
    SetWeightAnswer,
    SetWeightRequest,
    StopAnswer,
    StopRequest,
)
from warrener.control.state_folder import StateFolder, listen
from warrener.facts.ids import NodeName
from warrener.testing.scripted_daemon import answer, refusal
from warrener.testing.scripted_daemon import scripted_daemon as daemon

WEIGHT = SetWeightAnswer(node=NodeName("n1@localhost"), weight=5, before=100)


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    state = StateFolder(tmp_path / "state")
    state.prepare()
    return state


def test_a_call_sends_one_line_and_returns_the_typed_answer(folder: StateFolder) -> None:
    reply = answer(WEIGHT)
    with daemon(folder, reply, reply) as requests, Client.connect(folder) as client:
        assert client.call(SET_WEIGHT, SetWeightRequest("n1", 5)) == WEIGHT
        assert client.call(SET_WEIGHT, SetWeightRequest("n1", 5)) == WEIGHT
    assert requests == [wire.encode_request(SET_WEIGHT, SetWeightRequest("n1", 5))] * 2


def test_streamed_lines_come_before_the_answer(folder: StateFolder) -> None:
    lines = [ProgressLine("n1", "stopping"), ProgressLine("n1", "gone", done=True)]
    reply = answer(StopAnswer(seconds=1.5), *lines)
    seen: list[ProgressLine] = []
    with daemon(folder, reply), Client.connect(folder) as client:
        assert client.call(STOP, StopRequest(), seen.append) == StopAnswer(seconds=1.5)
    assert seen == lines


def test_a_line_larger_than_one_read_is_put_together(folder: StateFolder) -> None:
    event = EventLine(number=1, at=0.0, kind="x", detail={"long": "y" * 1_000_000})
    reply = answer(EventsAnswer(sent=1, missed=0), event)
    with daemon(folder, reply), Client.connect(folder) as client:
        assert list(client.stream(EVENTS, EventsRequest())) == [event]


def test_a_refusal_is_raised_with_its_code(folder: StateFolder) -> None:
    reply = refusal(wire.Refusal.BAD_ARGUMENT, "no node n9")
    with daemon(folder, reply), Client.connect(folder) as client:
        with pytest.raises(wire.Refused, match="no node n9") as caught:
            client.call(SET_WEIGHT, SetWeightRequest("n9", 5))
        assert caught.value.refusal is wire.Refusal.BAD_ARGUMENT


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 400 Bad Request\r\n\n",
        b'{"v":1,"kind":"answer","body":{"node":7}}\n',
        b'{"v":1,"kind":"stream","body":{}}\n',
        b'{"v":2,"kind":"answer","body":{}}\n',
    ],
)
def test_an_answer_of_another_wire_is_a_bad_line(folder: StateFolder, reply: bytes) -> None:
    with (
        daemon(folder, reply),
        Client.connect(folder) as client,
        pytest.raises(wire.BadLine),
    ):
        client.call(SET_WEIGHT, SetWeightRequest("n1", 5))


def test_an_endless_line_is_given_up(folder: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module.wire, "MAX_ANSWER", 1000)
    with (
        daemon(folder, b"x" * 5000, hang_up=False),
        Client.connect(folder) as client,
        pytest.raises(wire.BadLine, match="more than 1000 bytes"),
    ):
        client.call(SET_WEIGHT, SetWeightRequest("n1", 5))


def test_no_daemon_is_not_running(folder: StateFolder, tmp_path: Path) -> None:
    for absent in (folder, StateFolder(tmp_path / "never made")):
        with pytest.raises(NotRunning, match=str(absent.path)):
            Client.connect(absent)


def test_a_stale_socket_is_not_running(folder: StateFolder) -> None:
    listen(folder.socket).close()
    with pytest.raises(NotRunning):
        Client.connect(folder)


def test_a_daemon_without_a_socket_is_unresponsive(folder: StateFolder) -> None:
    with Lock(folder.lock, now=0.0), pytest.raises(Unresponsive, match="process"):
        Client.connect(folder)


@pytest.mark.parametrize("hang_up", [True, False])
def test_silence_and_hanging_up_are_unresponsive(folder: StateFolder, hang_up: bool) -> None:
    expected = "hung up" if hang_up else "nothing for 0.05 s"
    with (
        daemon(folder, b"", hang_up=hang_up),
        Client.connect(folder) as client,
        pytest.raises(Unresponsive, match=expected),
    ):
        client.call(SET_WEIGHT, SetWeightRequest("n1", 5), timeout=0.05)


def test_giving_up_still_hears_the_last_word(folder: StateFolder) -> None:
    line = ProgressLine("n1", "moves", count=1, total=2)
    begun = wire.encode_answer(wire.AnswerKind.STREAM, line)
    word = refusal(wire.Refusal.CALLED_OFF, "n1 takes sessions again")
    with (
        daemon(folder, begun, last_word=word),
        Client.connect(folder) as client,
        pytest.raises(wire.Refused, match="takes sessions again"),
    ):
        client.call(STOP, StopRequest(), lambda _: client.give_up())
    client.give_up()  # closed by now: does nothing
