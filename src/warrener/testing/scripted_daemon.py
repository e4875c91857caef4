"""A daemon made of prepared lines, for tests of whatever talks to one.

It holds the state folder's lock and listens on its control socket, in a thread of this process,
and answers each request line with the next of its replies, whatever was asked:

    with scripted_daemon(folder, answer(StopAnswer(seconds=1.0))) as requests:
        ...
    assert requests == [encode_request(STOP, StopRequest())]
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import msgspec

from warrener.control import wire
from warrener.control.lock import Lock
from warrener.control.state_folder import StateFolder, listen

PATIENCE = 20.0
"""Seconds after which a client that was expected has failed to come; a command may reckon for some
between two requests, on a busy machine."""

LOOK_EVERY = 0.05
"""Seconds between two looks whether anybody will come at all."""


def answer(body: msgspec.Struct, *streamed: msgspec.Struct) -> bytes:
    """A reply: the streamed lines, then the answer."""
    lines = [wire.encode_answer(wire.AnswerKind.STREAM, line) for line in streamed]
    return b"".join([*lines, wire.encode_answer(wire.AnswerKind.ANSWER, body)])


def refusal(kind: wire.Refusal, message: str) -> bytes:
    """A reply that refuses."""
    return wire.encode_refusal(wire.Refused(kind, message))


def _next(listener: socket.socket, done: threading.Event) -> socket.socket:
    """The next client. Raises TimeoutError if there will be none."""
    listener.settimeout(LOOK_EVERY)
    deadline = time.monotonic() + PATIENCE
    while not done.is_set() and time.monotonic() < deadline:
        with contextlib.suppress(TimeoutError):
            return listener.accept()[0]
    raise TimeoutError("nobody came")


@contextlib.contextmanager
def scripted_daemon(
    folder: StateFolder, *replies: bytes, hang_up: bool = True, last_word: bytes = b""
) -> Iterator[list[bytes]]:
    """Serves one connection after another until the replies are used up; gives the requests.

    ``hang_up=False`` keeps the last connection open, silent, until the end of the ``with``.
    ``last_word`` is said on it once the client has given up. After the last reply the lock is let
    go of, as a daemon does that was asked to stop.
    """
    requests: list[bytes] = []
    done = threading.Event()

    def serve(listener: socket.socket, lock: Lock) -> None:
        left = list(replies)
        with contextlib.suppress(TimeoutError), contextlib.ExitStack() as open_streams:
            while left:
                stream = open_streams.enter_context(_next(listener, done))
                stream.settimeout(PATIENCE)
                with stream.makefile("rb") as lines:
                    while left and (line := lines.readline()):
                        requests.append(line)
                        stream.sendall(left.pop(0))
                    if not left and last_word and not lines.readline():
                        stream.sendall(last_word)
                if not left and not hang_up:
                    done.wait(PATIENCE)
        lock.__exit__(None, None, None)

    lock = Lock(folder.lock, now=0.0)
    lock.__enter__()
    with listen(folder.socket) as listener:
        thread = threading.Thread(target=serve, args=(listener, lock), name="scripted daemon")
        thread.start()
        try:
            yield requests
        finally:
            done.set()
            thread.join(2 * PATIENCE)
            if thread.is_alive():
                raise AssertionError("the scripted daemon didn't end")
