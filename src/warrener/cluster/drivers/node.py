"""One private RabbitMQ node: its process, its files, whether it serves.

    STOPPED --start()--> STARTING --serves--> RUNNING --stop()--> STOPPING --> STOPPED
                            |                    |
                            +---ended by itself--+--> DOWN

``STARTING`` to ``RUNNING`` is decided by what the node answers: its management API names every
expected member as running, and its AMQP port greets. The log only tells how far the boot is.
"""

import asyncio
import contextlib
import math
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from warrener.cluster.drivers import erl_call
from warrener.cluster.drivers.boot_log import stage, telling_lines
from warrener.cluster.drivers.host import KILL_TIMEOUT, Host, Process, how_it_ended
from warrener.cluster.drivers.node_config import NodeFiles, tool_environment
from warrener.cluster.drivers.ports import NodePorts
from warrener.cluster.drivers.processes import mark
from warrener.cluster.errors import (
    BootFailed,
    BootSilent,
    ClusterError,
    HostUnreachable,
    StartFailed,
    ToolFailed,
)
from warrener.facts.happenings import Event, EventSink, Progress, ProgressSink
from warrener.facts.ids import NodeName, short_name
from warrener.facts.reasons import NodeState
from warrener.management.client import AccessRefused, ManagementClient, ManagementError
from warrener.management.verify import Verify, options

STOP_TIMEOUT: Final = 30.0
"""Seconds a node gets to stop in order. With 5,000 queues it takes 20 s on a busy machine."""

SILENCE: Final = 40.0
"""Seconds without any word from a node that boots until it gets a second try. The first line was
seen after 3 to 4 on two cores at work with two clusters; one node said nothing for 120."""

NO_STATISTICS: Final = "gen_event:delete_handler(rabbit_event, rabbit_mgmt_db_handler, [])."
"""What is evaluated before a node is stopped. RabbitMQ 3.10 takes 6 s to stop even when idle: when
its handler of statistics ends, it asks the application controller, which is busy shutting down,
until a supervisor's limit of 5 s is over. Taken away before, it takes 1.5 s; where there is no such
handler this does nothing."""

QUIET_TIMEOUT: Final = 2.0

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
        host: Host,
        ports: NodePorts,
        files: NodeFiles,
        server: Path,
        environment: Mapping[str, str],
        cluster_mark: str,
        client: ManagementClient,
        progress: ProgressSink,
        on_event: EventSink,
        verify: Verify | None = None,
    ) -> None:
        """``verify``: how its AMQP port is verified; None: it has no TLS."""
        self.name = name
        self.host = host
        self.short = short_name(name)
        self.ports = ports
        self.files = files
        self.client = client
        self.state = NodeState.STOPPED
        self.stage = ""  # of its boot, as its log says; see boot_log
        self.drained = False
        self.environment = environment
        self._verify = verify
        self.server = server
        self.cluster_mark = cluster_mark
        self._progress = progress
        self._on_event = on_event
        self._has_erl_call = erl_call.can_reach(environment)
        self._child: Process | None = None
        self._watch: asyncio.Task[None] | None = None

    def view(self) -> LocalNode:
        """What there is to know of it now."""
        return LocalNode(
            name=self.name,
            state=self._seen_state(),
            pid=self.pid,
            host=self.host.address,
            amqp_port=self.ports.amqp,
            management_port=self.ports.management,
            prometheus_port=self.ports.prometheus,
            dist_port=self.ports.distribution,
            log=self.host.told(self.host.path(self.files.log)),
            drained=self.drained,
            frozen=self.frozen,
        )

    def _seen_state(self) -> NodeState:
        runs = self.state in {NodeState.STARTING, NodeState.RUNNING}
        return NodeState.UNREACHABLE if runs and not self.reachable else self.state

    @property
    def pid(self) -> int | None:
        """The Erlang VM's process; None while it doesn't run."""
        if self._child is None or self._child.exited.is_set():
            return None
        return self._child.vm_pid

    # -- asked

    async def evaluate(self, text: str, timeout: float) -> str | None:
        """What Erlang expressions come to, the quick way (``erl_call``); None if it gave no answer,
        then it may be said again to RabbitMQ's tool. Raises ToolFailed after ``timeout`` s."""
        if not self._has_erl_call:
            return None
        log = self.files.logs / f"{erl_call.PROGRAM}.log"
        try:
            ran = await self.host.run(
                erl_call.command(self.name, text),
                environment=self.tool_environment(),
                folder=self.files.folder,
                output=log,
                timeout=timeout,
            )
        except OSError:
            return None
        if ran.returncode is None:
            raise ToolFailed(
                f"{self.short} had not answered after {timeout:g} s",
                self.host.told(self.host.path(log)),
            )
        if ran.returncode in erl_call.NOT_THERE:
            self._has_erl_call = False
        return erl_call.answer(ran.text) if ran.returncode == 0 else None

    def tool_environment(self) -> dict[str, str]:
        """In which RabbitMQ's tools find it."""
        return tool_environment(self.environment, mark(self.cluster_mark, f"{self.short}-tool"))

    @property
    def reachable(self) -> bool:
        """Whether anything can be done to its process."""
        return self._child is None or self._child.reachable

    @property
    def frozen(self) -> bool:
        """Whether its process is there but stopped (SIGSTOP): it answers nobody."""
        return self.pid is not None and self._child is not None and self._child.frozen

    # -- starting

    async def launch(self) -> None:
        """Starts the process; ``wait_serving`` is next."""
        await self._cleared_away()
        assert self._child is None, f"{self.name} runs already"
        self.drained = False  # RabbitMQ forgets maintenance mode when it boots
        try:
            await self.host.deliver(self.files)
            self._log_offset = (await self.host.tail(self.files.log, 0, 0))[0]
            self.stage = ""
            self._child = await self.host.spawn(
                self.short,
                [str(self.server)],
                environment=self.environment,
                folder=self.files.folder,
                output=self.files.console,
            )
        except OSError as error:
            raise StartFailed(
                self.short,
                f"can't be started: {error}",
                (),
                self.host.told(self.host.path(self.files.console)),
            ) from error
        self.state = NodeState.STARTING
        self._progress(Progress(self.short, "starts"))
        self._watch = asyncio.create_task(self._watch_end(self._child), name=f"watch:{self.short}")

    async def boot(self, members: Sequence[NodeName], timeout: float) -> None:
        """``launch`` and ``wait_serving``; one that says nothing at all gets a second try."""
        await self.launch()
        try:
            await self.wait_serving(members, timeout, once=False)
        except BootSilent as error:
            await self.end_to_repeat(error)
            await self.launch()
            await self.wait_serving(members, timeout)

    async def end_to_repeat(self, error: BootFailed) -> None:
        """Before a boot is repeated: that is told, and a process that is still there is ended."""
        why = "; ".join(error.lines) or error.text
        self._on_event(Event("node.boot_repeated", self.name, detail={"why": why}))
        await self.stop(0)

    async def wait_serving(
        self, members: Sequence[NodeName], timeout: float, *, once: bool = True
    ) -> None:
        """Returns once the node serves AMQP and sees all of ``members`` running.

        Raises BootFailed if its process ends, StartFailed after ``timeout`` seconds. ``once``
        False: there will be another try, so BootSilent if it says nothing for ``SILENCE`` s.
        """
        child = self._child
        if child is None and self.state is NodeState.DOWN:  # ended before anybody waited for it
            raise await self._failed("ended while it booted", BootFailed)
        assert child is not None, "launch() first"
        silence = math.inf if once else SILENCE
        try:
            async with asyncio.timeout(timeout):
                serving = asyncio.create_task(
                    self._until_serving(members, silence), name=f"boot:{self.short}"
                )
                ended = asyncio.create_task(child.exited.wait(), name=f"exit:{self.short}")
                try:
                    await asyncio.wait({serving, ended}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in (serving, ended):
                        task.cancel()
                    await asyncio.gather(serving, ended, return_exceptions=True)
        except TimeoutError:
            raise await self._failed(f"did not come up within {timeout:g} s") from None
        if child.exited.is_set():
            raise await self._failed(f"{how_it_ended(child)} while it booted", BootFailed)
        await serving  # raises what it raised
        self.state = NodeState.RUNNING
        self._progress(
            Progress(
                self.short, "has joined and serves" if len(members) > 1 else "serves", done=True
            )
        )

    async def _until_serving(self, members: Sequence[NodeName], silence: float) -> None:
        is_up = False
        asked = -_ASK_EVERY
        loop = asyncio.get_running_loop()
        silent_until = loop.time() + silence
        while True:
            if loop.time() > silent_until:
                if await self._has_said_nothing():
                    raise await self._failed(f"has said nothing for {silence:g} s", BootSilent)
                silent_until = math.inf
            now_at = stage((await self._new_log())[1])
            if now_at and now_at != self.stage:
                self.stage = now_at
                self._progress(Progress(self.short, now_at))
            # Before the log says so there is mostly nobody to ask, and a booting node has better
            # things to do; but the log is no interface, so it is asked now and then all the same.
            if self.stage == "started" or loop.time() - asked >= _ASK_EVERY:
                asked = loop.time()
                running = await self._running_members()
                if running is not None and not is_up:
                    is_up = True
                    self._progress(Progress(self.short, "is up"))
                if running is not None and running.issuperset(members) and await self.greets():
                    return
            await asyncio.sleep(self.host.look_every)

    async def _has_said_nothing(self) -> bool:
        """Neither in its log nor on its console since ``launch``."""
        if (await self._new_log())[0] > self._log_offset:
            return False
        return (await self.host.tail(self.files.console, 0, 0))[0] == 0

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
                reader, writer = await asyncio.open_connection(
                    self.host.address, self.ports.amqp, **options(self._verify)
                )
                try:
                    writer.write(_AMQP_HEADER)
                    return await reader.readexactly(1) == b"\x01"  # a method: connection.start
                finally:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()
        except (OSError, asyncio.IncompleteReadError):
            return False

    async def _failed(self, text: str, kind: type[StartFailed] = StartFailed) -> StartFailed:
        self._progress(Progress(self.short, text, failed=True))
        size, log = await self._new_log()
        _, console = await self.host.tail(self.files.console, 0, _LOG_TAIL)
        telling = self.files.log if size > self._log_offset else self.files.console
        return kind(
            self.short,
            text,
            telling_lines(log, console),
            self.host.told(self.host.path(telling)),
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
        is_quiet = self.state is not NodeState.RUNNING or self.frozen or not child.reachable
        self.state = NodeState.STOPPING
        self._progress(Progress(self.short, "stops"))
        try:
            if not child.exited.is_set():
                if not is_quiet and timeout > QUIET_TIMEOUT:
                    with contextlib.suppress(ClusterError):
                        await self.evaluate(NO_STATISTICS, QUIET_TIMEOUT)
                child.send(signal.SIGTERM)
                child.send(signal.SIGCONT)
                if not await child.wait(timeout if child.reachable else 0):
                    self._on_event(Event("node.killed", self.name, detail={"waited": timeout}))
        finally:
            self.kill()
        await child.wait(KILL_TIMEOUT if child.reachable else 0)
        try:
            await self._clear_away()
        except HostUnreachable as error:
            self._on_event(Event("node.left_running", self.name, detail={"why": str(error)}))
            self._progress(Progress(self.short, f"may still run: {error}", failed=True))
        else:
            self._progress(Progress(self.short, "stopped", done=True))
        await self._forget()

    def kill(self) -> None:
        """Ends the node at once, without waiting for it to be gone; its helpers end with it or in
        ``stop``."""
        if self._child is None:
            return
        self.state = NodeState.STOPPING
        self._child.send(signal.SIGKILL)

    async def _forget(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        self._child = None
        self.state = NodeState.STOPPED

    async def _watch_end(self, child: Process) -> None:
        await child.exited.wait()
        if self.state not in {NodeState.STARTING, NodeState.RUNNING}:
            return
        was_running = self.state is NodeState.RUNNING
        self.state = NodeState.DOWN
        self._child = None
        if was_running:
            self._on_event(
                Event(
                    "node.exited",
                    self.name,
                    NodeState.DOWN.value,
                    {"pid": child.pid, "how": how_it_ended(child)},
                )
            )
        with contextlib.suppress(HostUnreachable):  # whoever starts it next clears away as well
            await self._clear_away()

    async def _clear_away(self) -> None:
        """Ends helpers that outlive their VM."""
        await self.host.kill_marked(self.cluster_mark, self.short)

    async def _cleared_away(self) -> None:
        """Waits until the helpers of a node that ended by itself are gone. Until then whatever
        carries its mark is killed, the process of its next start included, which another ``Node``
        may launch."""
        if self._watch is not None:
            await asyncio.wait({self._watch})

    # -- its log

    _log_offset = 0

    async def _new_log(self) -> tuple[int, str]:
        """Its size, and the end of what was logged since ``launch``."""
        return await self.host.tail(self.files.log, self._log_offset, _LOG_TAIL)
