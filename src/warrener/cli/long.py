"""Asking for what takes its time: progress on stderr, and Ctrl-C as a request to call it off."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Final, TypeVar

import msgspec

from warrener.cli.common import CliError
from warrener.cli.progress import ProgressView
from warrener.control.client import Client
from warrener.control.operations import Operation, ProgressLine, Request
from warrener.control.state_folder import StateFolder
from warrener.control.wire import Refusal, Refused

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C, as shells have it."""

_Answer = TypeVar("_Answer", bound=msgspec.Struct)


def ask(folder: StateFolder, operation: Operation[Request, _Answer], request: Request) -> _Answer:
    """The answer, after its progress. The first Ctrl-C asks the daemon to call it off and waits for
    what became of it; the second only ends this process."""
    with (
        Client.connect(folder) as client,
        ProgressView(begin_with_first=True) as view,
        _ctrl_c_gives_up(client, view),
    ):
        try:
            return client.call(operation, request, view)
        except Refused as refused:
            if refused.refusal is Refusal.CALLED_OFF:
                raise CliError(refused.message, INTERRUPTED) from None
            raise


@contextlib.contextmanager
def _ctrl_c_gives_up(client: Client, view: ProgressView) -> Iterator[None]:
    def give_up(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        client.give_up()
        view(ProgressLine("Ctrl-C", "calls it off if it still can be; again: leaves it alone"))

    before = signal.signal(signal.SIGINT, give_up)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
