"""The handshake, byte by byte: what the broker says must reach the client, and nothing else.

Everything here is done by hand (``raw``), because libraries hide most of it.
"""

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pamqp import commands, encode
from tests.integration.raw import CAPABILITIES, HEADER, Closed, Raw
from tests.integration.support import Cluster, Place, management
from tests.integration.warren import Warren

Both = tuple[Place, Place]


def told(place: Place, *steps: Any) -> Any:
    """What a conversation gives at a place, for comparing two of them."""
    with Raw(place) as raw:
        return [step(raw) for step in steps]


def fields(method: Any) -> dict[str, Any]:
    return dict(method)


def test_start_and_tune_are_the_brokers_own(both: Both) -> None:
    direct, balanced = (
        told(place, lambda raw: fields(raw.start()), Raw.login, lambda raw: fields(raw.tune()))
        for place in both
    )
    assert balanced == direct
    start, _, tune = balanced
    assert start["server_properties"]["product"] == "RabbitMQ"
    assert {"PLAIN", "AMQPLAIN"} <= set(start["mechanisms"].split())
    assert tune["channel_max"] > 0
    assert tune["frame_max"] > 0


@pytest.mark.parametrize("mechanism", ["PLAIN", "AMQPLAIN"])
def test_both_mechanisms_log_in(place: Place, mechanism: str) -> None:
    response = f"\0{place.user}\0{place.password}"
    if mechanism == "AMQPLAIN":
        table = encode.field_table({"LOGIN": place.user, "PASSWORD": place.password})
        response = table[4:].decode("latin-1")  # without its length
    with Raw(place).open(mechanism=mechanism, response=response) as raw:
        raw.channel()
        raw.close()


def tuned(raw: Raw, **limits: int) -> None:
    raw.login()
    raw.tune(**limits)


MISTAKES: dict[str, Callable[[Raw], None]] = {
    "unknown mechanism": lambda raw: raw.login(mechanism="MAGIC"),
    "PLAIN without its parts": lambda raw: raw.login(response="junk"),
    "AMQPLAIN without a table": lambda raw: raw.login(mechanism="AMQPLAIN", response="junk"),
    "a start-ok over 4096 bytes": lambda raw: raw.login(properties={"x": "y" * 9000}),
    "frame-max over the offer": lambda raw: tuned(raw, frame_max=10**8),
    "frame-max under 4096": lambda raw: tuned(raw, frame_max=100),
    "no channel limit": lambda raw: tuned(raw, channel_max=0),
    "a channel before open": lambda raw: raw.send(commands.Channel.Open(), channel=1),
}


def test_mistakes_in_the_handshake_dont_blame_a_node(both: Both, cluster: Warren) -> None:
    """RabbitMQ hangs up on these after 3 s; twice each, so that two counts would show.

    The client is told or hung up on in its handshake time, and all nodes stay fit all along.
    """
    balancer = both[1]

    def unfit() -> list[Any]:
        events = json.loads(cluster.ok("events", "--last", "1000", "--json"))["events"]
        return [event for event in events if event["kind"] == "node.unfit"]

    before = unfit()

    def make(mistake: Callable[[Raw], None]) -> str:
        with Raw(balancer) as raw:
            raw.start()
            mistake(raw)
            raw.send(commands.Connection.Open("/"))
            try:
                while not isinstance(found := raw.receive()[1], commands.Connection.Close):
                    assert isinstance(found, commands.Connection.Tune)
            except Closed:
                return "hung up"
            return f"told {found.reply_code}"

    twice = [name for name in MISTAKES for _ in range(2)]
    with ThreadPoolExecutor(len(twice)) as pool:
        outcomes = list(pool.map(lambda name: (name, make(MISTAKES[name])), twice))
    assert {what for _, what in outcomes} <= {"hung up", "told 320", "told 505", "told 530"}
    assert unfit() == before
    assert all(node["fit"] for node in cluster.status()["nodes"])
    with Raw(balancer).open() as raw:
        raw.close()


@pytest.mark.parametrize("vhost", ["/", "no such vhost"])
def test_wrong_password_with_the_capability_gets_a_close(both: Both, vhost: str) -> None:
    def refusal(raw: Raw) -> Any:
        raw.start()
        raw.login(response=f"\0{raw.place.user}\0wrong")
        close = raw.expect(commands.Connection.Close)
        raw.send(commands.Connection.CloseOk())
        return fields(close), raw.rest()

    direct, balanced = (told(place.with_(vhost=vhost), refusal) for place in both)
    assert balanced == direct
    assert balanced[0][0]["reply_code"] == 403


def test_wrong_password_without_the_capability_just_ends(both: Both) -> None:
    """A client that hasn't announced authentication_failure_close must not be sent one."""

    def refusal(raw: Raw) -> Any:
        raw.start()
        raw.login(response=f"\0{raw.place.user}\0wrong", capabilities={})
        return raw.rest()

    direct, balanced = (told(place, refusal) for place in both)
    assert balanced == direct == [b""]


def test_unknown_vhost(both: Both) -> None:
    direct, balanced = (told(place.with_(vhost="nowhere"), vhost_refusal) for place in both)
    assert balanced == direct
    assert balanced[0][0]["reply_code"] == 530


def vhost_refusal(raw: Raw) -> Any:
    raw.start()
    raw.login()
    raw.tune()
    raw.send(commands.Connection.Open(raw.place.vhost))
    close = raw.expect(commands.Connection.Close)
    raw.send(commands.Connection.CloseOk())
    return fields(close), raw.rest()


def test_vhost_without_permission(both: Both, cluster: Cluster) -> None:
    """And the same user gets in once he may: refusals aren't remembered."""
    api, name = management(cluster), f"test-{uuid.uuid4().hex[:8]}"
    user = {"password": "pw", "tags": ""}
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    with api.thing(f"/users/{name}", user), api.thing(f"/vhosts/{name}", {}):
        places = [place.with_(user=name, password="pw", vhost=name) for place in both]
        direct, balanced = (told(place, vhost_refusal) for place in places)
        assert balanced == direct
        assert balanced[0][0]["reply_code"] == 530
        with api.thing(f"/permissions/{name}/{name}", everything):
            for place in places:
                with Raw(place).open() as raw:
                    raw.close()


def test_frames_before_the_handshake_are_refused(both: Both) -> None:
    """A method that may not come yet ends the connection, here as there."""

    def refusal(raw: Raw) -> Any:
        raw.start()
        raw.login()
        raw.expect(commands.Connection.Tune)
        raw.send(commands.Channel.Open(), channel=1)
        try:
            return raw.expect(commands.Connection.Close).reply_code in (501, 503, 504, 505)
        except Closed:
            return True

    assert told(both[0], refusal) == told(both[1], refusal) == [True]


def test_limits_are_the_clients_choice(place: Place) -> None:
    """A smaller frame-max and channel-max than offered hold in both directions."""
    with Raw(place) as raw:
        raw.start()
        raw.login()
        raw.tune(frame_max=4096, channel_max=2)
        raw.send(commands.Connection.Open("/"))
        raw.expect(commands.Connection.OpenOk)
        raw.channel(1)
        raw.channel(2)
        raw.send(commands.Queue.Declare(exclusive=True), channel=1)
        queue = raw.expect(commands.Queue.DeclareOk).queue
        body = b"x" * 10_000
        head = commands.Basic.Publish(exchange="", routing_key=queue)
        raw.send(head, channel=1)
        raw.send(raw.content_header(len(body)), channel=1)
        for start in range(0, len(body), 4088):
            raw.send(raw.body(body[start : start + 4088]), channel=1)
        raw.send(commands.Basic.Get(queue=queue), channel=2)
        while isinstance(found := raw.receive()[1], commands.Basic.GetEmpty):
            raw.send(commands.Basic.Get(queue=queue), channel=2)  # routing takes a moment
        assert isinstance(found, commands.Basic.GetOk)
        assert raw.receive()[1].body_size == len(body)
        parts = []
        while sum(map(len, parts)) < len(body):
            parts.append(raw.receive()[1].value)
        assert b"".join(parts) == body
        assert max(map(len, parts)) <= 4088
        raw.send(commands.Channel.Open(), channel=3)
        close = raw.expect(commands.Connection.Close)
        assert close.reply_code == 530  # RabbitMQ: channel number exceeds negotiated maximum


def test_a_frame_over_the_limit_ends_the_connection(both: Both) -> None:
    def refusal(raw: Raw) -> Any:
        raw.start()
        raw.login()
        raw.tune(frame_max=4096)
        raw.send(commands.Connection.Open("/"))
        raw.expect(commands.Connection.OpenOk)
        raw.channel()
        raw.send(commands.Basic.Publish(exchange="", routing_key="x"), channel=1)
        raw.send(raw.content_header(5000), channel=1)
        raw.send(raw.body(b"x" * 5000), channel=1)
        return raw.expect(commands.Connection.Close).reply_code

    direct, balanced = (told(place, refusal) for place in both)
    assert balanced == direct == [501]


def test_a_new_secret_is_taken(place: Place) -> None:
    """connection.update-secret is answered by the broker, and the session goes on."""
    with Raw(place).open() as raw:
        raw.send(commands.Connection.UpdateSecret(place.password, "renewed"))
        answer = raw.receive()[1]
        assert isinstance(answer, commands.Connection.UpdateSecretOk | commands.Connection.Close)
        outcome = type(answer).__name__, getattr(answer, "reply_code", None)
        assert outcome == ("UpdateSecretOk", None)
        raw.channel()
        raw.close()


def test_bytes_in_dribs_and_in_one_go(place: Place) -> None:
    """A handshake byte by byte, and one whose steps come before they are asked for."""
    with Raw(place) as raw:
        for byte in HEADER:
            raw.send(bytes([byte]))
        raw.expect(commands.Connection.Start)
        login = raw.login_bytes()
        for byte in login:
            raw.send(bytes([byte]))
        raw.tune()
        raw.send(commands.Connection.Open("/"))
        raw.expect(commands.Connection.OpenOk)
        raw.close()
    with Raw(place) as raw:
        ahead = [
            commands.Connection.TuneOk(100, 8192, 0),
            commands.Connection.Open("/"),
        ]
        raw.send(HEADER, raw.login_bytes(), *ahead)
        raw.send(commands.Channel.Open(), channel=1)
        raw.expect(commands.Connection.Start)
        raw.expect(commands.Connection.Tune)
        raw.expect(commands.Connection.OpenOk)
        raw.expect(commands.Channel.OpenOk)
        raw.close()


@pytest.mark.parametrize("size", [100, 3600, 3750, 3770, 3780, 3790])
def test_start_ok_up_to_the_frame_limit(place: Place, size: int) -> None:
    """What the balancer adds to a client's properties never makes them too big for the broker."""
    with Raw(place) as raw:
        raw.start()
        start_ok = raw.login_bytes(properties={"padding": "x" * size})
        assert len(start_ok) <= 4096
        raw.send(start_ok)
        raw.tune()
        raw.send(commands.Connection.Open("/"))
        raw.expect(commands.Connection.OpenOk)


FOREIGN = {
    "AMQP 1.0": b"AMQP\x00\x01\x00\x00",
    "AMQP 1.0 with SASL": b"AMQP\x03\x01\x00\x00",
    "AMQP 0-9": b"AMQP\x01\x01\x00\x09",
    "AMQP 0-8": b"AMQP\x01\x01\x08\x00",
    "a version to come": b"AMQP\x00\x00\x0a\x00",
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "noise": b"\x00\xff\x17\x03 nonsense and more of it",
    "TLS": bytes.fromhex("16030100050100000100"),
}


@pytest.mark.parametrize("greeting", FOREIGN.values(), ids=FOREIGN.keys())
def test_other_protocols_get_the_brokers_own_answer(both: Both, greeting: bytes) -> None:
    def answer(raw: Raw) -> Any:
        raw.send(greeting)
        _, found = raw.receive()
        if isinstance(found, commands.Connection.Start):  # RabbitMQ still speaks 0-9 and 0-8
            return fields(found)
        return vars(found), raw.rest()

    direct, balanced = (told(place, answer) for place in both)
    assert balanced == direct


def test_capabilities_are_only_what_the_client_announced(both: Both) -> None:
    """Without consumer_cancel_notify the broker doesn't send basic.cancel, on either way."""

    def cancelled(announced: bool) -> Any:
        def attempt(raw: Raw) -> Any:
            capabilities = dict(CAPABILITIES, consumer_cancel_notify=announced)
            raw.open(capabilities=capabilities)
            raw.channel(1)
            raw.channel(2)
            raw.send(commands.Queue.Declare(exclusive=True), channel=1)
            queue = raw.expect(commands.Queue.DeclareOk).queue
            raw.send(commands.Basic.Consume(queue=queue), channel=1)
            raw.expect(commands.Basic.ConsumeOk)
            raw.send(commands.Queue.Delete(queue=queue), channel=2)
            seen = []
            while not isinstance(seen[-1:] and seen[-1], commands.Queue.DeleteOk):
                seen.append(raw.receive()[1])
            raw.send(commands.Basic.Qos(0, 1), channel=1)  # a round trip: a cancel came before
            while not isinstance(seen[-1], commands.Basic.QosOk):
                seen.append(raw.receive()[1])
            return any(isinstance(method, commands.Basic.Cancel) for method in seen)

        return attempt

    for announced in (True, False):
        direct, balanced = (told(place, cancelled(announced)) for place in both)
        assert balanced == direct == [announced]
