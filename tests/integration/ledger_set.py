"""The standard set of a ledger test: six publishers and six consumers on six quorum queues, pika,
aio-pika and node's amqplib among both."""

import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.integration.support import Cluster, management
from tests.integration.warren import Warren

from warrener.drills.program import Job
from warrener.drills.workload import Program, Role, Workload

HERE = Path(__file__).parent
PIKA = (sys.executable, str(HERE / "ledger_pika.py"))
AIO_PIKA = (sys.executable, str(HERE / "ledger_aio_pika.py"))
RECONNECTING = (sys.executable, str(HERE / "ledger_reconnecting.py"))
AMQPLIB = ("node", str(HERE / "ledger_amqplib.js"))

RATE = float(os.environ.get("WARRENER_LEDGER_RATE", "40"))
"""Messages a second from each publisher. Nothing that is looked for needs more; the clients alone
take a core at 100."""

Clients = tuple[tuple[tuple[str, str], str], ...]
"""Program and kind of each."""

PUBLISHERS = (
    (PIKA, "blocking-publisher"),
    (PIKA, "select-publisher"),
    (AIO_PIKA, "publisher"),
    (AIO_PIKA, "publisher"),
    (AMQPLIB, "publisher"),
    (AMQPLIB, "publisher"),
)
CONSUMERS = (
    (AMQPLIB, "consumer"),
    (AMQPLIB, "multiple-consumer"),
    (PIKA, "blocking-consumer"),
    (PIKA, "select-consumer"),
    (AIO_PIKA, "consumer"),
    (AIO_PIKA, "consumer"),
)
"""In this order, so that each library's messages are read by another one."""

RECONNECTING_PUBLISHERS = ((RECONNECTING, "pika-publisher"), (RECONNECTING, "robust-publisher")) * 3
RECONNECTING_CONSUMERS = ((RECONNECTING, "robust-consumer"), (RECONNECTING, "pika-consumer")) * 3
"""Clients that connect again by themselves; each library's messages are read by the other one."""

LIBRARY = {
    PIKA: "pika",
    AIO_PIKA: "aio-pika",
    AMQPLIB: "amqplib",
    RECONNECTING: "reconnecting",
}


def programs(
    queues: list[str],
    *,
    rate: float,
    publishers: Clients = PUBLISHERS,
    consumers: Clients = CONSUMERS,
) -> list[Program]:
    """Client n of each kind is with queue n modulo their number. Every hundredth message takes two
    frames."""
    found = []
    for role, clients in ((Role.PUBLISHER, publishers), (Role.CONSUMER, consumers)):
        for index, (command, kind) in enumerate(clients):
            job = Job(
                name=f"{role}-{index + 1}-{LIBRARY[command]}-{kind}",
                kind=kind,
                url="",
                queue=queues[index % len(queues)],
                rate=rate,
                big_every=100,
                big_size=150_000,
                heartbeat=(5, 10, 60)[index % 3],
            )
            found.append(Program(role, command, job))
    return found


@contextmanager
def quorum_queues(cluster: Cluster, number: int) -> Iterator[list[str]]:
    """As many quorum queues, led by different nodes; deleted in the end if somebody is there."""
    arguments = {"x-queue-type": "quorum", "x-queue-leader-locator": "balanced"}
    names = [f"ledger-{uuid.uuid4().hex[:6]}-{n}" for n in range(1, number + 1)]
    api = management(cluster)
    for name in names:
        api.call("PUT", f"/queues/%2F/{name}", {"durable": True, "arguments": arguments})
    try:
        yield names
    finally:
        with suppress(OSError):
            for name in names:
                api.call("DELETE", f"/queues/%2F/{name}")


@contextmanager
def standard_load(
    warren: Warren, folder: Path, *, queues: int = 6, rate: float = RATE, url: str = ""
) -> Iterator[tuple[Workload, list[str]]]:
    """The standard set at work, ``rate`` messages a second from each publisher."""
    with (
        quorum_queues(warren, queues) as names,
        Workload(programs(names, rate=rate), url or warren.url, folder) as load,
    ):
        yield load, names


@contextmanager
def reconnecting_load(warren: Warren, folder: Path, *, rate: float = RATE) -> Iterator[Workload]:
    """Six publishers and six consumers that connect again by themselves, on six quorum queues."""
    with quorum_queues(warren, 6) as names:
        clients = programs(
            names,
            rate=rate,
            publishers=RECONNECTING_PUBLISHERS,
            consumers=RECONNECTING_CONSUMERS,
        )
        with Workload(clients, warren.url, folder) as load:
            yield load
