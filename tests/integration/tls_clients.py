"""Clients of a cluster that speaks TLS, and what they see of it: pika, and Python's own ``ssl``."""

import contextlib
import hashlib
import json
import socket
import ssl
import threading
import time
from pathlib import Path

import pika
from tests.integration.support import balancer_place, eventually
from tests.integration.warren import Warren

QUORUM = {"x-queue-type": "quorum"}


def ca(warren: Warren) -> Path:
    return warren.state / "tls" / "ca.pem"


def identity(warren: Warren, node: str) -> Path:
    return warren.state / "nodes" / node / "tls" / "identity.pem"


def trusting(file: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=file)


def connection(warren: Warren, authorities: Path) -> pika.BlockingConnection:
    place = balancer_place(warren)
    return pika.BlockingConnection(
        pika.ConnectionParameters(
            place.host,
            place.port,
            credentials=pika.PlainCredentials(place.user, place.password),
            ssl_options=pika.SSLOptions(trusting(authorities), place.host),
            blocked_connection_timeout=30,
        )
    )


def says(port: int, data: bytes, wait: float = 15.0) -> bytes:
    """What somebody answers to raw bytes, up to the end of the connection or 8 bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as raw:
        raw.sendall(data)
        found = b""
        with contextlib.suppress(ConnectionError):
            while len(found) < 8 and (more := raw.recv(8 - len(found))):
                found += more
        return found


def shown(port: int, client: Path | None = None) -> str:
    """The fingerprint of the certificate that is shown on a port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # we want to see whatever it is
    if client is not None:
        context.load_cert_chain(client)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as raw,
        context.wrap_socket(raw) as made,
    ):
        der = made.getpeercert(binary_form=True)
    assert der
    return hashlib.sha256(der).hexdigest().upper()


def listed(warren: Warren) -> dict[str, str]:
    """Whose certificate -> its fingerprint, as `tls show` has it."""
    answer = json.loads(warren.ok("tls", "show", "--json"))
    return {
        f"{line['whose']} {line['what']}": line["sha256"].replace(":", "")
        for line in answer["certificates"]
    }


def rejected(warren: Warren) -> int:
    number = warren.status()["balancer"]["tls_rejected"]
    assert isinstance(number, int)
    return number


class Traffic(threading.Thread):
    """Publishes with confirms, gets and acks on one connection, until told to stop."""

    def __init__(self, warren: Warren, queue: str) -> None:
        super().__init__(name=f"traffic on {queue}")
        self.rounds = 0
        self.slowest = 0.0
        self.problem: BaseException | None = None
        self._queue = queue
        self._ends = threading.Event()
        self._connection = connection(warren, ca(warren))
        self._channel = self._connection.channel()
        self._channel.queue_declare(queue, durable=True, arguments=QUORUM)
        self._channel.confirm_delivery()

    def run(self) -> None:
        try:
            while not self._ends.wait(0.01):
                began = time.monotonic()
                body = b"%d" % self.rounds
                self._channel.basic_publish("", self._queue, body)
                received = b""
                while received != body:
                    got, _, received = self._channel.basic_get(self._queue)
                    if got is not None:
                        self._channel.basic_ack(got.delivery_tag)
                        # At least once: where a node dies, one before may come again, as a
                        # delivery or, where its confirm was under way, as a second publish.
                        assert int(received) <= self.rounds
                self.rounds += 1
                self.slowest = max(self.slowest, time.monotonic() - began)
            self._connection.close()
        except BaseException as problem:
            self.problem = problem

    def __enter__(self) -> "Traffic":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self.join(60)
        assert self.problem is None, repr(self.problem)
        assert self.rounds > 0

    def goes_on(self) -> None:
        """It works a while longer."""
        before = self.rounds
        eventually("traffic goes on", lambda: self.problem or self.rounds > before + 20, 60)
        assert self.problem is None, repr(self.problem)
