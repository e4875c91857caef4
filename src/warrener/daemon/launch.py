"""Starts a daemon in a session of its own and follows its start (`warrener up -d`).

The daemon tells how it goes on a pipe, one JSON line each: progress, then ``ready`` or
``failed``. The pipe also tells of its death: end of file without either. Once ready, the daemon
closes the pipe and lives on alone; nothing of the terminal is left open in it.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final, Self

import msgspec

from warrener.cluster.attach import Attach
from warrener.control.operations import ProgressLine, StatusAnswer, UrlAnswer
from warrener.daemon.errors import FAILED, DaemonError
from warrener.daemon.options import Options
from warrener.facts.happenings import Progress
from warrener.facts.ids import NodeName

MODULE: Final = "warrener.daemon"


class Said(StrEnum):
    PROGRESS = "progress"
    READY = "ready"
    FAILED = "failed"


class LaunchLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line on the pipe."""

    said: Said
    progress: ProgressLine | None = None
    status: StatusAnswer | None = None
    url: UrlAnswer | None = None
    message: str = ""
    exit_code: int = FAILED


class Secret(msgspec.Struct, frozen=True):
    """What a daemon is told on another pipe: nobody who lists processes is to see it."""

    urls: tuple[str, ...]
    user: str
    password: str
    ca: str | None = None
    nodes: dict[NodeName, tuple[str, int]] = {}


def read_secret(fd: int) -> tuple[Attach, str]:
    """The daemon's end of it."""
    with os.fdopen(fd, "rb") as pipe:
        told = msgspec.json.decode(pipe.read(), type=Secret)
    ca = None if told.ca is None else Path(told.ca)
    return Attach(told.urls, told.user, ca=ca, nodes=told.nodes), told.password


class PipeReporter:
    """The daemon's end. A launcher that went away is no reason to stop."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def progress(self, progress: Progress) -> None:
        line = ProgressLine(progress.subject, progress.text, progress.done, progress.failed)
        self._say(LaunchLine(Said.PROGRESS, progress=line))

    def ready(self, status: StatusAnswer, url: UrlAnswer) -> None:
        self._say(LaunchLine(Said.READY, status=status, url=url))
        self._close()

    def failed(self, error: DaemonError) -> None:
        self._say(LaunchLine(Said.FAILED, message=error.message, exit_code=error.exit_code))
        self._close()

    def _say(self, line: LaunchLine) -> None:
        if self._fd < 0:
            return
        data = memoryview(msgspec.json.encode(line) + b"\n")
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except BrokenPipeError:
            self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def launch(
    options: Options, on_progress: Callable[[ProgressLine], None]
) -> tuple[StatusAnswer, UrlAnswer]:
    """Starts a daemon and waits until it is ready; ``DaemonError`` if it doesn't get there.

    Ctrl-C is passed on: the daemon stops what it started and says so; a second one speeds that up.
    """
    with _Child() as child:
        reading, writing = os.pipe()
        try:
            os.set_inheritable(writing, True)
            with _secret(options) as secret:
                child.born(_spawn(options, writing, secret))
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        with os.fdopen(reading, "rb") as lines:
            said = (msgspec.json.decode(line, type=LaunchLine) for line in lines)
            return _follow(child.pid, said, on_progress)


class _Child:
    """Inside its ``with``, Ctrl-C and SIGTERM go to the daemon, which then ends by itself.

    As signal handlers, not as KeyboardInterrupt: that may strike anywhere, also while progress is
    drawn.
    """

    def __init__(self) -> None:
        self.pid = 0
        self._asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._pass_on)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Once interrupted, this process says so and ends: a further Ctrl-C changes nothing.
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if self._asked else handler)

    def born(self, pid: int) -> None:
        self.pid = pid
        if self._asked:
            os.kill(pid, signal.SIGTERM)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)


@contextlib.contextmanager
def _secret(options: Options) -> Iterator[int | None]:
    """A descriptor for the daemon to read it from; None if there is nothing to tell."""
    attach = options.attach
    if attach is None:
        yield None
        return
    told = Secret(
        attach.urls,
        attach.user,
        options.password,
        None if attach.ca is None else str(attach.ca.absolute()),
        dict(attach.nodes),
    )
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(msgspec.json.encode(told))  # far below what a pipe holds
        os.set_inheritable(reading, True)
        yield reading
    finally:
        os.close(reading)


def _spawn(options: Options, report: int, secret: int | None) -> int:
    arguments = [sys.executable, "-P", "-m", MODULE, "--report", str(report)]
    arguments += ["--state", str(options.state.absolute())]
    if options.file is not None:
        arguments += ["--file", str(options.file.absolute())]
    if options.nodes is not None:
        arguments += ["--nodes", str(options.nodes)]
    if options.data_plane is not None:
        arguments += ["--data-plane", options.data_plane]
    if secret is not None:
        arguments += ["--attach", str(secret)]
    if options.for_apply:
        arguments.append("--for-apply")
    if options.auto_weights:
        arguments.append("--auto-weights")
    if options.prometheus is not None:
        arguments.append("--prometheus" if options.prometheus else "--no-prometheus")
    # Not subprocess: nobody will wait for this child, and Popen objects object to that.
    return os.posix_spawn(
        sys.executable,
        arguments,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        ],
        setsid=True,
    )


def _follow(
    pid: int, lines: Iterator[LaunchLine], on_progress: Callable[[ProgressLine], None]
) -> tuple[StatusAnswer, UrlAnswer]:
    for line in lines:
        match line:
            case LaunchLine(said=Said.PROGRESS, progress=ProgressLine() as progress):
                on_progress(progress)
            case LaunchLine(
                said=Said.READY, status=StatusAnswer() as status, url=UrlAnswer() as url
            ):
                return status, url
            case LaunchLine(said=Said.FAILED):
                os.waitpid(pid, 0)
                raise DaemonError(line.message, exit_code=line.exit_code)
            case _:
                raise AssertionError(f"a daemon's line without its content: {line}")
    _, status_word = os.waitpid(pid, 0)
    raise DaemonError(_death(os.waitstatus_to_exitcode(status_word)))


def _death(code: int) -> str:
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return (
        f"the daemon ended {how} before it was ready; what it said last is in log/daemon.err "
        f"and log/daemon.log of the state folder. `warrener down` stops what it left"
    )
