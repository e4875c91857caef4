"""`warrener explain` against a scripted daemon."""

import json
from typing import Any

from warrener.cli import render_channels
from warrener.control import operations as ops
from warrener.control import wire
from warrener.control.state_folder import StateFolder
from warrener.facts.ids import NodeName
from warrener.facts.reasons import Placement
from warrener.testing.scripted_daemon import answer, refusal, scripted_daemon

N1, N2 = NodeName("n1@localhost"), NodeName("n2@localhost")


def channel(number: int, **changes: Any) -> ops.ChannelLine:
    fields: dict[str, Any] = {
        "session": 12345, "client": "127.0.0.1:50000", "channel": number, "state": "open",
        "node": N1, "queue": "orders.high", "leader": N1, "why": Placement.LEADER,
        "age": 125.0, "moves": {"locality": 1, "failover": 2}, "consumers": 2, "parked": 0,
        "unsettled": 100, "unconfirmed": 1000, "journal_bytes": 2048, "messages_local": 1234567,
        "messages_remote": 9,
    }  # fmt: skip
    return ops.ChannelLine(**(fields | changes))


def explained(*channels: ops.ChannelLine, **changes: Any) -> ops.ExplainAnswer:
    fields: dict[str, Any] = {
        "total": len(channels), "channels": list(channels), "session": None, "locality": True,
        "locality_error": "",
    }  # fmt: skip
    return ops.ExplainAnswer(**(fields | changes))


SESSION = ops.SessionLine(
    id=12345, client="127.0.0.1:50000", user="w", vhost="/[b]", name="app [bold]", node=N1,
    state="open", channels=2, age=300.0, bytes_in=1, bytes_out=2, published=3, delivered=4,
    links=(N1, N2), moves=3, parked=1, journal_bytes=2048, messages_local=5, messages_remote=6,
)  # fmt: skip


def test_the_table_fits_80_columns(run, folder: StateFolder) -> None:
    told = explained(
        channel(1),
        channel(2, node=None, queue="", leader=None, why=Placement.WAITING, moves={}, parked=1),
        channel(3, node=N2, why=Placement.FAILED_OVER),
    )
    with scripted_daemon(folder, answer(told)):
        result = run("explain")
    lines = result.out.splitlines()
    assert result.code == 0
    assert max(len(line) for line in lines) <= 80
    words = [" ".join(line.split()) for line in lines]
    assert words[0] == "session ch node queue leader why since moves cons unack unconf"
    assert words[1] == "12345 1 n1 orders.high n1 leader 2m 3 2 100 1000"
    assert words[2] == "12345 2 - - - waiting 2m 0 2(1) 100 1000"
    assert lines[-1].rstrip() == "locality on"


def test_the_table_is_bounded(run, folder: StateFolder) -> None:
    many = explained(*[channel(i, session=i) for i in range(1000)], total=5000)
    with scripted_daemon(folder, answer(many), answer(many)) as requests:
        text = run("explain").out
        document = json.loads(run("explain", "--json", "--limit", "1000").out)
    assert f"and {5000 - render_channels.CHANNELS_SHOWN} more" in text
    assert (document["total"], len(document["channels"])) == (5000, 1000)
    assert json.loads(requests[1])["args"] == {
        "session": None, "queue": "", "node": "", "limit": 1000,
    }  # fmt: skip


def test_filters_reach_the_daemon(run, folder: StateFolder) -> None:
    with scripted_daemon(folder, answer(explained())) as requests:
        result = run("explain", "7", "--queue", "a*", "--node", "n2", "--limit", "5")
    assert (result.out, result.err) == ("", "no channels\n")
    assert json.loads(requests[0])["args"] == {
        "session": 7, "queue": "a*", "node": "n2", "limit": 5,
    }  # fmt: skip


def test_one_session_in_full(run, folder: StateFolder) -> None:
    told = explained(
        channel(1),
        channel(2, node=N2, leader=None, why=Placement.REFUSED, consumers=3, parked=1, moves={}),
        session=SESSION,
        locality_error="n1: no answer",
    )
    with scripted_daemon(folder, answer(told)):
        out = run("explain", "12345").out
    for text in (
        "Session 12345 from 127.0.0.1:50000 (app [bold]): w on vhost /[b], open for 5m\n",
        "  home n1@localhost; links to n1@localhost, n2@localhost\n",
        "  messages: 3 in, 4 out, 5 local, 6 remote; 3 moves; journal 2.0K\n",
        "  locality on, but leaders aren't known: n1: no answer\n",
        "Channel 1 on n1@localhost for 2m: leader, its queue is led there\n",
        "  queue orders.high, led by n1@localhost\n",
        "  2 consumers; 100 deliveries unsettled, 1000 publishes unconfirmed (2.0K kept)\n",
        "moves: 3 (2 failover, 1 locality); state open\n",
        "Channel 2 on n2@localhost for 2m: refused, the leader's node refused a connection\n",
        "  queue orders.high, its leader isn't known\n",
        "  3 consumers, 1 of them wait for their queue;",
    ):
        assert text in out


def test_a_session_without_channels(run, folder: StateFolder) -> None:
    with scripted_daemon(folder, answer(explained(session=SESSION))):
        assert "no such channels" in run("explain", "12345", "--queue", "x").out


def test_an_unknown_session_is_bad_input(run, folder: StateFolder) -> None:
    reply = refusal(wire.Refusal.BAD_ARGUMENT, "no session 5: it has ended")
    with scripted_daemon(folder, reply):
        result = run("explain", "5")
    assert (result.code, result.err) == (2, "warrener: no session 5: it has ended\n")


def test_each_reason_has_words() -> None:
    assert set(render_channels._WHY) == set(Placement)


def test_nodes_that_share_a_short_name_are_told_apart(run, folder: StateFolder) -> None:
    told = explained(channel(1, node=NodeName("r@a"), leader=NodeName("r@b")))
    with scripted_daemon(folder, answer(told)):
        assert "r@a" in run("explain").out
