"""One private RabbitMQ node: its process, its files, whether it serves.

    STOPPED --start()--> STARTING --serves--> RUNNING --stop()--> STOPPING --> STOPPED
                            |                    |
                            +---ended by itself--+--> DOWN

``STARTING`` to ``RUNNING`` is decided by what the node answers: its management API names every
expected member as running, and its AMQP port greets. The log only tells how far the boot is.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from warrener.cluster.drivers.boot_log import stage, telling_lines
from warrener.cluster.drivers.node_config import NodeFiles
from warrener.cluster.drivers.ports import LOOPBACK, NodePorts
from warrener.cluster.drivers.processes import Child, kill_marked, told_end
from warrener.cluster.errors import BootFailed, StartFailed
from warrener.facts.happenings import Event, EventSink, Progress, ProgressSink
from warrener.facts.ids import NodeName, short_name
from warrener.facts.reasons import NodeState
from warrener.management.client import AccessRefused, ManagementClient, ManagementError

STOP_TIMEOUT: Final = 30.0
"""Seconds a node gets to stop in order. With 5,000 queues it takes 20 s on a busy machine. RabbitMQ
3.10 takes 6 s even when idle: its statistics handler asks the application controller, which is busy
shutting down, until a supervisor's limit of 5 s is over."""

KILL_TIMEOUT: Final = 5.0
"""Seconds after SIGKILL; the kernel itself is slow then, writing back or freeing memory."""

_LOOK_EVERY: Final = 0.1  # s; at the log while a node boots: one fstat
_ASK_EVERY: Final = 0.5  # s; the API of a node whose log says nothing we know
_ASK_TIMEOUT: Final = 3.0
_LOG_TAIL: Final = 64 * 1024
_AMQP_HEADER: Final = b"AMQP\x00\x00\x09\x01"


@dataclass(frozen=True, slots=True)
class LocalNode:
    """A node of a local cluster at one moment. ``pid`` is the Erlang VM's; None: not running."""

    name: NodeName
    state: NodeState
    pid: int | None
    host: str
    amqp_port: int
    management_port: int
    prometheus_port: int
    dist_port: int
    log: Path
    drained: bool = False  # in maintenance mode, as far as it was put there by this driver
    frozen: bool = False  # its process is there, but stopped (SIGSTOP)


class Node:
    """One node. All methods belong to one event loop."""

    def __init__(
        self,
        name: NodeName,
        *,
        ports: NodePorts,
        files: NodeFiles,
        server: Path,
        environment: Mapping[str, str],
        cluster_mark: str,
        client: ManagementClient,
        progress: ProgressSink,
        on_event: EventSink,
    ) -> None:
        self.name = name
        self.short = short_name(name)
        self.ports = ports
        self.files = files
        self.client = client
        self.state = NodeState.STOPPED
        self.drained = False
        self.environment = environment
        self.server = server
        self._cluster_mark = cluster_mark
        self._progress = progress
        self._on_event = on_event
        self._child: Child | None = None
        self._vm: psutil.Process | None = None
        self._watch: asyncio.Task[None] | None = None

    def view(self) -> LocalNode:
        """What there is to know of it now."""
        return LocalNode(
            name=self.name,
            state=self.state,
            pid=self.pid,
            host=LOOPBACK,
            amqp_port=self.ports.amqp,
            management_port=self.ports.management,
            prometheus_port=self.ports.prometheus,
            dist_port=self.ports.distribution,
            log=self.files.log,
            drained=self.drained,
            frozen=self.frozen,
        )

    @property
    def pid(self) -> int | None:
        """The Erlang VM's process. The script execs into it, so this is the process we started;
        should a version's script stay as the VM's parent, it is found below it."""
        if self._child is None or self._child.exited.is_set():
            return None
        if self._vm is None:
            with contextlib.suppress(psutil.Error):
                started = psutil.Process(self._child.pid)
                for process in (started, *started.children(recursive=True)):
                    if process.name().startswith("beam"):
                        self._vm = process
                        break
        return self._vm.pid if self._vm is not None else self._child.pid

    @property
    def frozen(self) -> bool:
        """Whether its process is there but stopped (SIGSTOP): it answers nobody."""
        pid = self.pid
        if pid is None:
            return False
        try:
            return psutil.Process(pid).status() == psutil.STATUS_STOPPED
        except psutil.Error:
            return False

    # -- starting

    async def launch(self) -> None:
        """Starts the process; ``wait_serving`` is next."""
        await self._cleared_away()
        assert self._child is None, f"{self.name} runs already"
        self._vm = None
        self.drained = False  # RabbitMQ forgets maintenance mode when it boots
        self.files.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._log_offset = self._log_size()
        try:
            self._child = Child.start(
                self.short,
                [str(self.server)],
                environment=self.environment,
                folder=self.files.folder,
                output=self.files.console,
            )
        except OSError as error:
            raise StartFailed(
                self.short, f"can't be started: {error}", (), self.files.console
            ) from error
        self.state = NodeState.STARTING
        self._progress(Progress(self.short, "starts"))
        self._watch = asyncio.create_task(self._watch_end(self._child), name=f"watch:{self.short}")

    async def wait_serving(self, members: Sequence[NodeName], timeout: float) -> None:
        """Returns once the node serves AMQP and sees all of ``members`` running.

        Raises BootFailed if its process ends, StartFailed after ``timeout`` seconds.
        """
        child = self._child
        if child is None and self.state is NodeState.DOWN:  # ended before anybody waited for it
            raise self._failed("ended while it booted", BootFailed)
        assert child is not None, "launch() first"
        try:
            async with asyncio.timeout(timeout):
                serving = asyncio.create_task(
                    self._until_serving(members), name=f"boot:{self.short}"
                )
                ended = asyncio.create_task(child.exited.wait(), name=f"exit:{self.short}")
                try:
                    await asyncio.wait({serving, ended}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in (serving, ended):
                        task.cancel()
                    await asyncio.gather(serving, ended, return_exceptions=True)
        except TimeoutError:
            raise self._failed(f"did not come up within {timeout:g} s") from None
        if child.exited.is_set():
            raise self._failed(f"{told_end(child.returncode)} while it booted", BootFailed)
        await serving  # raises what it raised
        self.state = NodeState.RUNNING
        self._progress(
            Progress(
                self.short, "has joined and serves" if len(members) > 1 else "serves", done=True
            )
        )

    async def _until_serving(self, members: Sequence[NodeName]) -> None:
        shown = ""
        is_up = False
        asked = -_ASK_EVERY
        loop = asyncio.get_running_loop()
        while True:
            now_at = stage(self._new_log())
            if now_at and now_at != shown:
                shown = now_at
                self._progress(Progress(self.short, now_at))
            # Before the log says so there is mostly nobody to ask, and a booting node has better
            # things to do; but the log is no interface, so it is asked now and then all the same.
            if shown == "started" or loop.time() - asked >= _ASK_EVERY:
                asked = loop.time()
                running = await self._running_members()
                if running is not None and not is_up:
                    is_up = True
                    self._progress(Progress(self.short, "is up"))
                if running is not None and running.issuperset(members) and await self.greets():
                    return
            await asyncio.sleep(_LOOK_EVERY)

    async def _running_members(self) -> set[NodeName] | None:
        """Those the node itself sees running; None if it can't be asked yet."""
        try:
            nodes = await self.client.nodes()
        except AccessRefused:
            return None  # while it boots: the user isn't there yet. Lasting: the time limit tells
        except ManagementError:
            return None
        return {NodeName(node.name) for node in nodes if node.running}

    async def greets(self) -> bool:
        """Whether the AMQP port answers a protocol header as a server does."""
        try:
            async with asyncio.timeout(_ASK_TIMEOUT):
                reader, writer = await asyncio.open_connection(LOOPBACK, self.ports.amqp)
                try:
                    writer.write(_AMQP_HEADER)
                    return await reader.readexactly(1) == b"\x01"  # a method: connection.start
                finally:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()
        except (OSError, asyncio.IncompleteReadError):
            return False

    def _failed(self, text: str, kind: type[StartFailed] = StartFailed) -> StartFailed:
        self._progress(Progress(self.short, text, failed=True))
        return kind(
            self.short,
            text,
            telling_lines(self._new_log(), _tail(self.files.console, 0)),
            self.files.log if self._log_size() > self._log_offset else self.files.console,
        )

    # -- ending

    async def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """Stops it in order, by force after ``timeout`` seconds; helpers too. Cancelled: by force.

        SIGTERM to the Erlang VM is RabbitMQ's own way to be stopped by a service manager. A frozen
        (SIGSTOP) node is thawed so that it can.
        """
        child = self._child
        if child is None:
            await self._cleared_away()
            return
        self.state = NodeState.STOPPING
        self._progress(Progress(self.short, "stops"))
        try:
            if not child.exited.is_set():
                self._signal(signal.SIGTERM)
                self._signal(signal.SIGCONT)
                if not await child.wait(timeout):
                    self._on_event(Event("node.killed", self.name, detail={"waited": timeout}))
        finally:
            self.kill()
        await child.wait(KILL_TIMEOUT)
        await self._clear_away()
        await self._forget()
        self._progress(Progress(self.short, "stopped", done=True))

    def kill(self) -> None:
        """Ends the node at once, without waiting for it to be gone; its helpers end with it or in
        ``stop``."""
        if self._child is None:
            return
        self.state = NodeState.STOPPING
        if not self._child.exited.is_set():
            self._signal(signal.SIGKILL)
            self._child.send(signal.SIGKILL)

    async def _forget(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        self._child = None
        self._vm = None
        self.state = NodeState.STOPPED

    def _signal(self, number: signal.Signals) -> None:
        pid = self.pid
        assert self._child is not None
        if pid is None or pid == self._child.pid:
            self._child.send(number)
        elif self._vm is not None:
            with contextlib.suppress(psutil.Error):
                self._vm.send_signal(number)

    async def _watch_end(self, child: Child) -> None:
        await child.exited.wait()
        if self.state not in {NodeState.STARTING, NodeState.RUNNING}:
            return
        was_running = self.state is NodeState.RUNNING
        self.state = NodeState.DOWN
        self._child = None
        self._vm = None
        if was_running:
            self._on_event(
                Event(
                    "node.exited",
                    self.name,
                    NodeState.DOWN.value,
                    {"pid": child.pid, "how": told_end(child.returncode)},
                )
            )
        await self._clear_away()

    async def _clear_away(self) -> None:
        """Ends helpers that outlive their VM. In a thread: it looks at every process there is, and
        the balancer's loop, which may be this one, must not wait for that."""
        await asyncio.to_thread(kill_marked, self._cluster_mark, self.short)

    async def _cleared_away(self) -> None:
        """Waits until the helpers of a node that ended by itself are gone. Until then whatever
        carries its mark is killed, the process of its next start included, which another ``Node``
        may launch."""
        if self._watch is not None:
            await asyncio.wait({self._watch})

    # -- its log

    _log_offset = 0

    def _log_size(self) -> int:
        try:
            return self.files.log.stat().st_size
        except OSError:
            return 0

    def _new_log(self) -> str:
        """The end of what was logged since ``launch``."""
        offset = self._log_offset if self._log_size() >= self._log_offset else 0  # rotated
        return _tail(self.files.log, offset)


def _tail(path: Path, offset: int) -> str:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(offset, size - _LOG_TAIL))
            return file.read(_LOG_TAIL).decode("utf-8", "replace")
    except OSError:
        return ""
