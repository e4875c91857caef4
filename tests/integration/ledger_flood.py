"""Publishers that flood, for a ledger test: they never wait for a confirm while they send."""

import contextlib
import socket
import threading
import time

from pamqp import commands
from tests.integration.raw import Raw
from tests.integration.support import Place, memory

FLOOD_BODY = 16 * 1024
"""Bytes."""

STILL = 3.0
"""Seconds without a byte taken: it will take no more."""

PATIENCE = 60.0
"""Seconds."""


class Flood:
    """A publisher that never waits for a confirm, until it is told to stop; then it takes them."""

    def __init__(self, place: Place, queue: str) -> None:
        self.raw = Raw(place).open()
        self.raw.channel()
        self.raw.send(commands.Confirm.Select(), channel=1)
        self.raw.expect(commands.Confirm.SelectOk)
        self.sent = 0  # messages
        self.problem: OSError | None = None
        self._stop = threading.Event()
        self._message = self.raw.message(queue, b"f" * FLOOD_BODY)
        self._thread = threading.Thread(target=self._send)

    def begin(self) -> None:
        self.raw.socket.settimeout(PATIENCE)
        self._thread.start()

    def _send(self) -> None:
        try:
            while not self._stop.is_set():
                self.raw.socket.sendall(self._message)
                self.sent += 1
        except OSError as problem:
            self.problem = problem

    def stop(self) -> None:
        """After the message that is under way."""
        self._stop.set()

    def take_confirms(self) -> None:
        """After ``stop``: one for each message, and no other."""
        self._thread.join(PATIENCE)
        assert self.problem is None, repr(self.problem)
        waiting = set(range(1, self.sent + 1))
        while waiting:
            ack = self.raw.expect(commands.Basic.Ack, PATIENCE)
            assert ack.delivery_tag in waiting
            below = {tag for tag in waiting if tag < ack.delivery_tag} if ack.multiple else set()
            waiting -= {ack.delivery_tag, *below}
        self.raw.close()

    def end(self) -> None:
        self.stop()
        with contextlib.suppress(OSError):
            self.raw.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self.raw.socket.close()
        if self._thread.ident is not None:
            self._thread.join(60)


def flood_until_full(floods: list[Flood], pid: int, end: int) -> tuple[list[int], int]:
    """Until none of them can send any more: the messages of each, and the most that the process
    grew. Fails if ``end`` bytes were taken."""
    before = memory(pid)
    grown = 0
    for flood in floods:
        flood.begin()
    counts: list[int] = []
    changed_at = time.monotonic()
    while time.monotonic() - changed_at < STILL:
        now = [flood.sent for flood in floods]
        if now != counts:
            counts, changed_at = now, time.monotonic()
        grown = max(grown, memory(pid) - before)
        size = sum(counts) * FLOOD_BODY
        assert size < end, f"{size} bytes taken, and no end"
        time.sleep(0.05)
    return counts, grown
