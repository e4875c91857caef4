"""The small client: URLs, errors, the handshake with a fake broker."""

import asyncio

import pytest

from warrener.bench.wire import BenchError, Target, Wire
from warrener.testing.fake_broker import PASSWORD, FakeBroker, Fault


def test_a_url_is_taken_apart() -> None:
    target = Target.from_url("amqp://us%40er:p%2Fw@localhost:5673/a%2Fb")
    assert target == Target("localhost", 5673, "us@er", "p/w", "a/b")
    assert Target.from_url("amqp://h").vhost == "/"
    assert Target.from_url("amqp://h/%2F").vhost == "/"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://u:s3cret@h/", "amqp://"),
        ("amqp:///v", "no host"),
        ("amqp://u:s3cret@h:99999/", "port"),
        ("", "amqp://"),
    ],
)
def test_a_bad_url_says_why_without_the_password(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        Target.from_url(url)
    assert "s3cret" not in str(caught.value)


def test_the_password_is_in_no_text() -> None:
    target = Target("h", 1, "u", "s3cret")
    assert "s3cret" not in repr(target)
    assert "s3cret" not in target.label


def target_of(broker: FakeBroker, password: str = PASSWORD) -> Target:
    return Target(broker.backend.host, broker.backend.port, "guest", password)


async def test_open_and_close_in_order() -> None:
    async with FakeBroker() as broker:
        wire = await asyncio.to_thread(Wire, target_of(broker))
        assert wire.frame_max == 131_072
        await asyncio.to_thread(wire.close)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.CLOSE_AT_ONCE, "lost|dropped"),
        (Fault.CLOSE_AFTER_START_OK, "lost|dropped"),
        (Fault.FORCE_CLOSE_AFTER_OPEN, "320"),
        (Fault.HANG_AFTER_HEADER, "said nothing in time"),
    ],
)
async def test_a_broker_that_fails_in_the_handshake_is_an_error(fault: Fault, said: str) -> None:
    async with FakeBroker() as broker:
        broker.fault = fault
        with pytest.raises(BenchError, match=said):
            await asyncio.to_thread(Wire, target_of(broker), timeout=0.3)


async def test_nobody_there_is_an_error_that_names_the_address() -> None:
    with pytest.raises(BenchError, match=r"can't connect to 127.0.0.1:1 "):
        await asyncio.to_thread(Wire, Target("127.0.0.1", 1, "u", "p"))


def test_a_url_with_tls_names_what_the_server_is_verified_with() -> None:
    target = Target.from_url("amqps://u:p@h:5671/%2F?cacertfile=/a%20b/ca.pem&cafile=/x")
    assert (target.port, target.ca) == (5671, "/a b/ca.pem")
    with pytest.raises(ValueError, match=r"needs \?cacertfile=FILE"):
        Target.from_url("amqps://u:p@h/")
