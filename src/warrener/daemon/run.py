"""A daemon as a process: its folder, lock, logs, event loop and signals.

``run`` blocks until the cluster is stopped. It is the same whether it runs in the foreground
(inside ``warrener up``) or detached (``python -m warrener.daemon``, started by ``launch.py``).
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from types import FrameType
from typing import Final

import structlog
import uvloop

from warrener import __version__
from warrener.cluster.drivers.ports import holder
from warrener.cluster.spec import ClusterSpec
from warrener.control.lock import Held, Lock
from warrener.control.state_folder import NotOurs, StateFolder
from warrener.daemon.attached import refuse_mixed
from warrener.daemon.errors import BAD_INPUT, AlreadyRunning, DaemonError
from warrener.daemon.event_log import EventLog
from warrener.daemon.log import close_log, open_log
from warrener.daemon.options import Options
from warrener.daemon.parts import Reporter
from warrener.daemon.service import Service
from warrener.daemon.switch import Switch
from warrener.daemon.wiring import (
    balancer_factory,
    make_cluster,
    prometheus_launcher,
    read_spec,
)
from warrener.facts.happenings import Progress

STOPPING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

log = structlog.get_logger(__name__)


def run(options: Options, reporter: Reporter) -> None:
    """Starts a cluster and keeps it until it is asked to stop. ``DaemonError`` if it can't."""
    spec = read_spec(
        options.file,
        options.nodes,
        options.data_plane,
        options.attach,
        auto_weights=options.auto_weights,
    )
    spec = replace(spec, more_may_run=options.for_apply)
    folder = StateFolder(options.state.absolute())
    try:
        folder.prepare()
        with Lock(folder.lock, now=time.time()):
            if options.detached:
                _keep_own_output(folder)
            refuse_mixed(spec, folder)
            _run_locked(spec, options, folder, reporter)
    except NotOurs as error:
        raise DaemonError(str(error), exit_code=BAD_INPUT) from error
    except Held as held:
        raise AlreadyRunning(str(folder.path), held.holder.pid) from None


def _run_locked(
    spec: ClusterSpec, options: Options, folder: StateFolder, reporter: Reporter
) -> None:
    handler = open_log(folder.daemon_log, debug=bool(os.environ.get("WARRENER_DEBUG")))
    try:
        log.info("daemon_started", pid=os.getpid(), version=__version__, state=str(folder.path))
        switch = Switch()
        with (
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
            _signals(switch, runner.get_loop()),
        ):
            runner.run(_serve(spec, options, folder, reporter, switch))
    except DaemonError as error:
        log.error("daemon_failed", error=error.message)
        raise
    except Exception as error:
        log.exception("daemon_failed")
        raise DaemonError(
            f"{type(error).__name__}: {error}; the traceback is in {folder.daemon_log}"
        ) from error
    finally:
        log.info("daemon_ended", pid=os.getpid())
        close_log(handler)


@contextlib.contextmanager
def _signals(switch: Switch, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Signals turn the switch. Afterwards they are ignored: all is stopped and the process about to
    end, and one Ctrl-C too many must not make that look like a failure. (The loop's own handlers
    go back to Python's when the loop closes, which leaves such a gap.)
    """

    def turn(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(switch.turn)

    for number in STOPPING_SIGNALS:
        signal.signal(number, turn)
    try:
        yield
    finally:
        for number in STOPPING_SIGNALS:
            signal.signal(number, signal.SIG_IGN)


async def _serve(
    spec: ClusterSpec, options: Options, folder: StateFolder, reporter: Reporter, switch: Switch
) -> None:
    loop = asyncio.get_running_loop()
    events = EventLog(folder.events_log, now=time.time)
    service: Service | None = None

    def progress(step: Progress) -> None:
        if service is not None:
            service.progress(step)

    try:
        cluster = make_cluster(
            spec, options, folder.path, progress=progress, on_event=events.record
        )
        service = Service(
            name=spec.name,
            version=__version__,
            folder=folder,
            cluster=cluster,
            make_balancer=balancer_factory(spec, cluster, events.record, progress),
            holder_of_port=holder,
            events=events,
            reporter=reporter,
            switch=switch,
            now=time.time,
            monotonic=loop.time,
            launch=prometheus_launcher(cluster),
            with_prometheus=options.prometheus,
        )
        await service.run()
    finally:
        events.close()


def _keep_own_output(folder: StateFolder) -> None:
    """What Python itself says at a crash goes to a file: nobody reads our output any more."""
    path = folder.logs / "daemon.err"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)
