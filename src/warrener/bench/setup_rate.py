"""How many AMQP connections a second can be opened and closed again.

Each client connects, does the whole handshake up to ``connection.open-ok``, opens a channel, closes
in order, and begins anew. What it sends is encoded once; of what it receives only the method is
looked at, so that a few clients in one process can drive any broker.
"""

import socket
import threading
import time
from dataclasses import dataclass
from typing import Final

from warrener.amqp.methods import (
    ChannelOpen,
    ChannelOpenOk,
    ConnectionClose,
    ConnectionCloseOk,
    ConnectionOpen,
    ConnectionOpenOk,
    ConnectionStart,
    ConnectionStartOk,
    ConnectionTune,
    ConnectionTuneOk,
    decode_method,
    encode_method_frame,
)
from warrener.bench.wire import (
    CHANNEL,
    PROTOCOL_HEADER,
    BenchError,
    Target,
    Wire,
    client_properties,
    plain_response,
    refusal,
)

_TIMEOUT: Final = 10.0


@dataclass(frozen=True, slots=True)
class SetupSpec:
    """One run. Each client takes the ``targets`` in turn. Times in seconds."""

    targets: tuple[Target, ...]
    clients: int = 8
    warmup: float = 0.5
    seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class SetupResult:
    """``rate`` is connections opened and closed a second; ``cpu`` the generator's own, in cores."""

    rate: float
    connections: int
    cpu: float


@dataclass(frozen=True, slots=True)
class _Step:
    send: bytes
    awaits: int  # the method that answers


def _script(target: Target) -> tuple[_Step, ...]:
    """What a client of ``target`` sends and awaits; the limits are learnt on one connection."""
    with Wire(target, name="bench set-up") as wire:
        channel_max, frame_max = wire.channel_max, wire.frame_max
    start_ok = ConnectionStartOk(
        client_properties("bench set-up rate"), "PLAIN", plain_response(target), "en_US"
    )
    tune_ok = ConnectionTuneOk(channel_max, frame_max, 0)
    return (
        _Step(PROTOCOL_HEADER, ConnectionStart.ID),
        _Step(encode_method_frame(0, start_ok), ConnectionTune.ID),
        _Step(
            encode_method_frame(0, tune_ok) + encode_method_frame(0, ConnectionOpen(target.vhost)),
            ConnectionOpenOk.ID,
        ),
        _Step(encode_method_frame(CHANNEL, ChannelOpen()), ChannelOpenOk.ID),
        _Step(encode_method_frame(0, ConnectionClose(200, "bench done")), ConnectionCloseOk.ID),
    )


def run_setup(spec: SetupSpec) -> SetupResult:
    """Do one run. Raises BenchError if any connection fails."""
    scripts = [(target, _script(target)) for target in spec.targets]
    counts = [0] * spec.clients
    failures: list[Exception] = []
    stop = threading.Event()

    def client(number: int) -> None:
        turn = number
        try:
            while not stop.is_set():
                target, script = scripts[turn % len(scripts)]
                _open_and_close(target, script)
                counts[number] += 1
                turn += 1
        except (OSError, BenchError) as error:
            failures.append(error)
            stop.set()

    threads = [threading.Thread(target=client, args=(n,), daemon=True) for n in range(spec.clients)]
    for thread in threads:
        thread.start()
    try:
        before, began, cpu = _after(spec.warmup, stop, counts)
        total, ended, cpu_end = _after(spec.seconds, stop, counts)
    finally:
        stop.set()
        for thread in threads:
            thread.join(_TIMEOUT)
    if failures:
        raise BenchError(f"opening a connection failed: {failures[0]}")
    return SetupResult(
        rate=(total - before) / (ended - began),
        connections=sum(counts),
        cpu=(cpu_end - cpu) / (ended - began),
    )


def _after(seconds: float, stop: threading.Event, counts: list[int]) -> tuple[int, float, float]:
    stop.wait(seconds)
    return sum(counts), time.monotonic(), time.process_time()


def _open_and_close(target: Target, script: tuple[_Step, ...]) -> None:
    with socket.create_connection((target.host, target.port), _TIMEOUT) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer = b""
        for step in script:
            sock.sendall(step.send)
            buffer = _await(sock, buffer, step.awaits, target)


def _await(sock: socket.socket, buffer: bytes, wanted: int, target: Target) -> bytes:
    """Read one frame, which has to be method ``wanted``; returns what came behind it."""
    while len(buffer) < 7 or len(buffer) < (end := int.from_bytes(buffer[3:7]) + 8):
        data = sock.recv(16_384)
        if not data:
            raise BenchError(f"{target.label} dropped the connection in the handshake")
        buffer += data
    if buffer[0] != 1 or int.from_bytes(buffer[7:11]) != wanted:
        raise _unexpected(buffer[:end], target)
    return buffer[end:]


def _unexpected(frame: bytes, target: Target) -> BenchError:
    method = decode_method(frame[7:-1]) if frame[0] == 1 else None
    closed = refusal(method) if method is not None else None
    if closed is not None:
        return BenchError(f"{target.label}: {closed}")
    said = method.name() if method is not None else f"a frame of type {frame[0]}"
    return BenchError(f"{target.label} answered {said} in the handshake")
