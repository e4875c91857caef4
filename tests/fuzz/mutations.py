"""Byte streams that clients (or brokers) might send, and mutations of them. Seeded, no I/O."""

from collections.abc import Callable, Sequence
from random import Random

from warrener.amqp.constants import HEARTBEAT, PROTOCOL_HEADER
from warrener.amqp.methods import (
    BasicAck,
    BasicConsume,
    BasicConsumeOk,
    BasicGet,
    BasicQos,
    ChannelClose,
    ChannelCloseOk,
    ChannelOpen,
    ChannelOpenOk,
    ConfirmSelect,
    ConnectionBlocked,
    ConnectionClose,
    ConnectionCloseOk,
    ConnectionStartOk,
    ConnectionTuneOk,
    ConnectionUpdateSecret,
    QueueDeclare,
    QueueDeclareOk,
    TxSelect,
)
from warrener.testing.playbook import (
    OPEN,
    OPEN_OK,
    START,
    START_OK,
    TUNE,
    TUNE_OK,
    Sent,
    encode,
    publish,
)

HANDSHAKE: Sequence[Sent] = (PROTOCOL_HEADER, START_OK, TUNE_OK, OPEN)
CLIENT_WORK: Sequence[Sent] = (
    (1, ChannelOpen()),
    (1, QueueDeclare("q", durable=True, arguments={"x-max-length": 10})),
    (1, ConfirmSelect()),
    publish(1, b"hello"),
    publish(1, b"big" * 3000, frame_max=4096),
    (1, BasicQos(0, 10)),
    (1, BasicConsume("q", "tag")),
    (1, BasicAck(1, True)),
    (2, ChannelOpen()),
    (2, TxSelect()),
    (2, BasicGet("q")),
    HEARTBEAT,
    ConnectionUpdateSecret(b"new", "rotated"),
    (1, ChannelClose(200, "done")),
    (2, ChannelCloseOk()),
    ConnectionClose(200, "bye"),
)
CLIENT_STREAMS: Sequence[Sequence[Sent]] = (
    (*HANDSHAKE, *CLIENT_WORK),
    (PROTOCOL_HEADER, ConnectionStartOk({}, "AMQPLAIN", b"\x05LOGINS\0\0\0\x05guest", "en_US")),
    (PROTOCOL_HEADER, START_OK, ConnectionTuneOk(0, 0, 1), OPEN, *CLIENT_WORK[:6]),
    (b"AMQP\x00\x01\x00\x00", b"\x00\x00\x00\x1a\x02"),
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",),
    (PROTOCOL_HEADER, (1, ChannelOpen()), START_OK),
)
BROKER_STREAMS: Sequence[Sequence[Sent]] = (
    (
        START,
        TUNE,
        OPEN_OK,
        (1, ChannelOpenOk()),
        (1, QueueDeclareOk("q", 0, 0)),
        (1, BasicConsumeOk("tag")),
        publish(1, b"delivered"),
        HEARTBEAT,
        ConnectionBlocked("memory"),
        (1, ChannelClose(404, "NOT_FOUND")),
        ConnectionClose(320, "CONNECTION_FORCED"),
        ConnectionCloseOk(),
    ),
)


def _flip(data: bytearray, chance: Random) -> None:
    for _ in range(chance.choice((1, 1, 1, 2, 8))):
        data[chance.randrange(len(data))] = chance.randrange(256)


def _flip_bit(data: bytearray, chance: Random) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _insert(data: bytearray, chance: Random) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.randbytes(chance.choice((1, 2, 7, 8, 100)))


def _delete(data: bytearray, chance: Random) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.choice((1, 1, 2, 7, 50))]


def _cut(data: bytearray, chance: Random) -> None:
    del data[chance.randrange(len(data)) :]


def _repeat(data: bytearray, chance: Random) -> None:
    start = chance.randrange(len(data))
    piece = data[start : start + chance.randrange(1, 64)]
    data[start:start] = piece * chance.choice((1, 2, 20))


def _number(data: bytearray, chance: Random) -> None:
    """Somewhere, a length that is a lie."""
    at = chance.randrange(max(len(data) - 4, 1))
    lie = chance.choice((0, 1, 4, 0x7F, 0xFF, 0xFFF8, 0xFFFF, 0x20000, 0x7FFFFFFF, 0xFFFFFFFF))
    data[at : at + 4] = lie.to_bytes(4)


MUTATIONS: Sequence[Callable[[bytearray, Random], None]] = (
    _flip,
    _flip_bit,
    _insert,
    _delete,
    _cut,
    _repeat,
    _number,
)


def stream(pool: Sequence[Sequence[Sent]], chance: Random) -> bytes:
    """One stream of the pool: steps left out, doubled or swapped, then bytes mutated."""
    steps = list(chance.choice(pool))
    if chance.random() < 0.3:
        del steps[chance.randrange(len(steps))]
    if steps and chance.random() < 0.2:
        steps.insert(chance.randrange(len(steps)), chance.choice(steps))
    if len(steps) > 1 and chance.random() < 0.2:
        i = chance.randrange(len(steps) - 1)
        steps[i], steps[i + 1] = steps[i + 1], steps[i]
    data = bytearray(encode(*steps))
    for _ in range(chance.choice((0, 1, 1, 1, 2, 4))):
        if data:
            chance.choice(MUTATIONS)(data, chance)
    return bytes(data)


def chunks(data: bytes, chance: Random) -> list[bytes]:
    """The stream as sockets might give it."""
    if chance.random() < 0.3:
        return [data]
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(1, 6)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]
