"""What a link says in the client's name, read back with pamqp; the password is never shown."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands as pamqp_commands
from pamqp import encode as pamqp_encode

from warrener.amqp.methods import (
    ConnectionOpen,
    ConnectionStartOk,
    ConnectionTune,
    ConnectionTuneOk,
    decode_method,
    encode_method,
)
from warrener.amqp.tables import encode_table
from warrener.balancer.core.agreement import HANDSHAKE_FRAME_LIMIT, NAME_LIMIT, Agreement

CLIENT = "10.0.0.7:40312"
PLAIN = b"\0me\0s3cret"
ALWAYS = {"authentication_failure_close": True, "consumer_cancel_notify": True}
"""What every link announces."""


def take(method: ConnectionStartOk) -> Agreement:
    agreement = Agreement(CLIENT)
    agreement.take_start_ok(method, encode_method(method))
    return agreement


def start_ok(
    properties: dict[str, Any] | None = None, mechanism: str = "PLAIN", response: bytes = PLAIN
) -> ConnectionStartOk:
    return ConnectionStartOk(properties or {}, mechanism, response, "en_US")


def as_pamqp_reads(payload: bytes) -> pamqp_commands.Connection.StartOk:
    assert payload[:4] == b"\x00\x0a\x00\x0b"
    read = pamqp_commands.Connection.StartOk()
    read.unmarshal(payload[4:])
    return read


# -- what links say -----------------------------------------------------------------------------


def test_a_link_says_what_the_client_said_and_two_things_more() -> None:
    """Written by pamqp as a client would, and read by pamqp as a broker would."""
    properties = {
        "product": "pamqp",
        "connection_name": "orders",
        "capabilities": {"consumer_cancel_notify": True, "basic.nack": True},
        "numbers": [1, 70000, 2**40, -5, 1.5, None],
    }
    said = pamqp_commands.Connection.StartOk(properties, "PLAIN", PLAIN.decode(), "en_US")
    payload = b"\x00\x0a\x00\x0b" + said.marshal()
    method = decode_method(payload)
    assert isinstance(method, ConnectionStartOk)
    agreement = Agreement(CLIENT)
    agreement.take_start_ok(method, payload)

    read = as_pamqp_reads(agreement.link_start_ok)
    assert read.client_properties == {
        **properties,
        "capabilities": {**properties["capabilities"], **ALWAYS},
        "warrener_client": CLIENT,
    }
    assert (read.mechanism, read.response, read.locale) == ("PLAIN", PLAIN.decode(), "en_US")
    assert (agreement.user, agreement.name) == ("me", "orders")
    assert not agreement.announces_auth_close
    assert agreement.tells_auth_failures
    assert agreement.replayable


@given(
    st.dictionaries(st.text(max_size=9), st.text(max_size=9) | st.booleans(), max_size=5),
    st.binary(max_size=40),
)
def test_what_the_client_said_of_itself_is_never_lost(
    properties: dict[str, Any], response: bytes
) -> None:
    method = start_ok(properties, "PLAIN", response)
    sent = decode_method(take(method).link_start_ok)
    assert isinstance(sent, ConnectionStartOk)
    assert (sent.mechanism, sent.response, sent.locale) == ("PLAIN", response, "en_US")
    changed = {"capabilities", "warrener_client"}
    kept = {name: value for name, value in properties.items() if name not in changed}
    assert sent.client_properties == {
        **kept,
        "capabilities": ALWAYS,
        "warrener_client": CLIENT,
    }


@pytest.mark.parametrize(
    ("announced", "announces"), [(True, True), (False, False), (1, False), ("yes", False)]
)
def test_a_client_announces_the_close_only_by_saying_true(
    announced: object, announces: bool
) -> None:
    agreement = take(start_ok({"capabilities": {"authentication_failure_close": announced}}))
    assert agreement.announces_auth_close is announces
    sent = as_pamqp_reads(agreement.link_start_ok)
    assert sent.client_properties["capabilities"] == ALWAYS


@pytest.mark.parametrize(
    ("announced", "takes"), [(True, True), (False, False), (1, False), ("yes", False)]
)
def test_a_client_takes_cancels_only_by_saying_true_while_its_links_always_do(
    announced: object, takes: bool
) -> None:
    agreement = take(start_ok({"capabilities": {"consumer_cancel_notify": announced}}))
    assert agreement.takes_cancels is takes
    sent = as_pamqp_reads(agreement.link_start_ok)
    assert sent.client_properties["capabilities"] == ALWAYS


@pytest.mark.parametrize("broken", [None, True, 7, "all of them", b"\0", [1, {"a": 1}]])
def test_capabilities_of_a_wrong_type_are_replaced(broken: object) -> None:
    agreement = take(start_ok({"capabilities": broken, "connection_name": broken}))
    assert not agreement.announces_auth_close
    assert not agreement.takes_cancels
    assert agreement.name == (broken if isinstance(broken, str) else "")
    sent = as_pamqp_reads(agreement.link_start_ok)
    assert sent.client_properties["capabilities"] == ALWAYS


def test_a_client_cannot_pass_for_another_address() -> None:
    sent = as_pamqp_reads(take(start_ok({"warrener_client": "8.8.8.8:1"})).link_start_ok)
    assert sent.client_properties["warrener_client"] == CLIENT


# -- the size rule ------------------------------------------------------------------------------

FRAME_PAYLOAD = 4096 - 8  # what every broker takes before tune
CAPABILITY = len(encode_table({"capabilities": ALWAYS})) - 4
ADDRESS = len(encode_table({"warrener_client": CLIENT})) - 4


def sized(payload_size: int) -> ConnectionStartOk:
    """A start-ok whose payload has exactly this size."""
    without = len(encode_method(start_ok({"pad": b""})))
    method = start_ok({"pad": b"x" * (payload_size - without)})
    assert len(encode_method(method)) == payload_size
    return method


@pytest.mark.parametrize(
    ("room", "added", "tells"),
    [
        (CAPABILITY + ADDRESS, {"pad", "capabilities", "warrener_client"}, True),
        (CAPABILITY + ADDRESS - 1, {"pad", "capabilities"}, True),
        (CAPABILITY, {"pad", "capabilities"}, True),
        (CAPABILITY - 1, {"pad"}, False),
        (0, {"pad"}, False),
        (-1000, {"pad"}, False),  # larger than some brokers take: the client's own affair
    ],
)
def test_what_fitted_a_frame_before_tune_still_fits(
    room: int, added: set[str], tells: bool
) -> None:
    """The address is left out first, then the capability; then the client's bytes go unchanged."""
    method = sized(FRAME_PAYLOAD - room)
    agreement = take(method)
    sent = agreement.link_start_ok
    assert set(as_pamqp_reads(sent).client_properties) == added
    assert agreement.tells_auth_failures is tells
    assert len(sent) <= max(FRAME_PAYLOAD, len(encode_method(method)))
    if added == {"pad"}:
        assert sent == encode_method(method)


def test_a_client_that_announced_the_close_itself_gets_it_also_when_nothing_can_be_added() -> None:
    size = len(encode_method(start_ok({"pad": b""})))
    pad = b"x" * (FRAME_PAYLOAD - size - CAPABILITY)
    method = start_ok({"capabilities": {"authentication_failure_close": True}, "pad": pad})
    agreement = take(method)
    assert agreement.tells_auth_failures
    assert agreement.announces_auth_close


@pytest.mark.parametrize("announces", [True, False])
def test_properties_that_cannot_be_written_go_as_they_came(announces: bool) -> None:
    """No table we can read is one we can't write; should there be one, nothing is changed."""
    properties = {"odd": object(), "capabilities": {"authentication_failure_close": announces}}
    agreement = Agreement(CLIENT)
    agreement.take_start_ok(start_ok(properties), b"as it came")
    assert agreement.link_start_ok == b"as it came"
    assert agreement.tells_auth_failures is announces


# -- who it is ----------------------------------------------------------------------------------


def amqplain(table: dict[str, Any]) -> bytes:
    return pamqp_encode.field_table(table)[4:]  # a table without its length


@pytest.mark.parametrize(
    ("mechanism", "response", "user"),
    [
        ("PLAIN", b"\0me\0s3cret", "me"),
        ("PLAIN", b"other\0me\0s3cret", "me"),
        ("PLAIN", b"\0\0", ""),
        ("PLAIN", b"me", ""),
        ("PLAIN", b"\0me\0s3\0cret", ""),
        ("PLAIN", b"\0m\xffe\0s3cret", "m\ufffde"),
        ("PLAIN", b"\0m\x1b[2Je\0s3cret", "m\ufffd[2Je"),
        ("AMQPLAIN", amqplain({"LOGIN": "me", "PASSWORD": "s3cret"}), "me"),
        ("AMQPLAIN", amqplain({"LOGIN": 7, "PASSWORD": "s3cret"}), ""),
        ("AMQPLAIN", amqplain({"PASSWORD": "s3cret"}), ""),
        ("AMQPLAIN", b"\x05LOGINS\0\0\0\x02m\xff", "m\ufffd"),
        ("AMQPLAIN", b"\x05LOGINS\0\0\0\x63me", ""),
        ("AMQPLAIN", b"", ""),
        ("EXTERNAL", b"", ""),
        ("RABBIT-CR-DEMO", b"me", ""),
        ("PLAIN", b"\0" + b"u" * 500 + b"\0s3cret", "u" * NAME_LIMIT),
    ],
)
def test_the_user_is_read_from_the_response_where_it_stands_in_clear(
    mechanism: str, response: bytes, user: str
) -> None:
    assert take(start_ok(mechanism=mechanism, response=response)).user == user


@pytest.mark.parametrize(
    ("mechanism", "replayable"),
    [("PLAIN", True), ("AMQPLAIN", True), ("EXTERNAL", False), ("RABBIT-CR-DEMO", False)],
)
def test_only_a_response_that_is_no_conversation_can_be_played_again(
    mechanism: str, replayable: bool
) -> None:
    assert take(start_ok(mechanism=mechanism)).replayable is replayable


def test_names_are_cut_and_made_printable() -> None:
    assert take(start_ok({"connection_name": "x" * 999})).name == "x" * NAME_LIMIT
    assert take(start_ok({"connection_name": "a\udcff\nb"})).name == "a\ufffd\ufffdb"


@pytest.mark.parametrize(
    ("mechanism", "response"),
    [
        ("PLAIN", PLAIN),
        ("AMQPLAIN", amqplain({"LOGIN": "me", "PASSWORD": "s3cret"})),
        ("PLAIN", b"s3cret"),
        ("RABBIT-CR-DEMO", b"My password is s3cret"),
    ],
)
def test_the_password_is_in_no_repr(mechanism: str, response: bytes) -> None:
    method = start_ok({"product": "x"}, mechanism, response)
    agreement = take(method)
    agreement.tune_ok = ConnectionTuneOk(1, 4096, 0)
    agreement.open = ConnectionOpen("/")
    assert b"s3cret" in agreement.link_start_ok  # it is there, for the link
    assert "s3cret" not in repr(agreement)
    assert "s3cret" not in repr(method)
    shown = {name: getattr(agreement, name) for name in agreement.__slots__ if name[:4] != "link"}
    assert "s3cret" not in repr(shown)


# -- a new secret -------------------------------------------------------------------------------


def test_a_new_secret_takes_the_place_of_the_old_one_in_what_links_say() -> None:
    properties = {"connection_name": "orders", "capabilities": {"basic.nack": True}}
    agreement = take(start_ok(properties, "PLAIN", b"other\0me\0s3cret"))
    before = as_pamqp_reads(agreement.link_start_ok)
    agreement.update_secret(b"n3w\0er")
    after = as_pamqp_reads(agreement.link_start_ok)
    assert after.response == "other\0me\0n3w\0er"
    assert after.client_properties == before.client_properties
    assert agreement.replayable
    assert "n3w" not in repr(agreement)


def test_a_new_secret_that_belongs_nobody_knows_where_binds_the_session_to_its_links() -> None:
    agreement = take(
        start_ok(mechanism="AMQPLAIN", response=amqplain({"LOGIN": "me", "PASSWORD": "s3cret"}))
    )
    agreement.update_secret(b"new")
    assert not agreement.replayable


# -- limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agreed", "offered", "fits"),
    [
        ((2047, 131072), (2047, 131072), True),
        ((100, 4096), (2047, 131072), True),
        ((2047, 131072), (0, 0), True),  # 0: no limit
        ((0, 0), (0, 0), True),
        ((0, 131072), (2047, 131072), False),  # the client may use more than is offered
        ((2047, 0), (2047, 131072), False),
        ((2047, 131072), (2046, 131072), False),
        ((2047, 131072), (2047, 131071), False),
    ],
)
def test_a_broker_fits_when_it_allows_what_was_agreed_elsewhere(
    agreed: tuple[int, int], offered: tuple[int, int], fits: bool
) -> None:
    agreement = Agreement(CLIENT)
    agreement.tune_ok = ConnectionTuneOk(*agreed, heartbeat=60)
    assert agreement.fits(ConnectionTune(*offered, heartbeat=0)) is fits


def test_any_broker_fits_a_client_that_has_agreed_to_nothing_yet() -> None:
    assert Agreement(CLIENT).fits(ConnectionTune(1, 4096, 1))


def test_a_link_agrees_to_the_clients_limits_and_to_its_own_heartbeat() -> None:
    agreement = Agreement(CLIENT)
    with pytest.raises(AssertionError, match="agreed to nothing"):
        agreement.link_tune_ok(10)
    agreement.tune_ok = ConnectionTuneOk(2047, 131072, heartbeat=600)
    read = pamqp_commands.Connection.TuneOk()
    read.unmarshal(agreement.link_tune_ok(10)[4:])
    assert (read.channel_max, read.frame_max, read.heartbeat) == (2047, 131072, 10)


@pytest.mark.parametrize(("frame_max", "limit"), [(131072, 131064), (4096, 4088), (0, 992), (7, 0)])
def test_a_clients_frames_may_be_as_large_as_was_agreed(frame_max: int, limit: int) -> None:
    agreement = Agreement(CLIENT)
    assert agreement.payload_limit(1000) == HANDSHAKE_FRAME_LIMIT
    agreement.tune_ok = ConnectionTuneOk(2047, frame_max, heartbeat=60)
    assert agreement.payload_limit(1000) == limit
