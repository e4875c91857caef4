"""What is done to one node of a running cluster: maintenance mode on and off, a restart.

    hand over its queues are led by other nodes from here on
    drain     RabbitMQ closes the node's listeners and connections, and stops its replicas of quorum
              queues, whose leaders are elected elsewhere; the node stays in its cluster
    revive    the opposite, and a look whether the listeners really are open again
    restart   stopped in order if it runs (thawed first if it is frozen), then started

Measured on RabbitMQ 3.10.8: drain and revive take as long as a tool needs to boot, 0.5 to 0.8 s,
with six queues as with none (so the tool is left out where that can be: ``erl_call``); an election
that a drain sets off is over 0.5 s later. A restart
takes 6 s to stop and 8 s to start on two idle cores; the node comes up out of maintenance
mode whatever it was before.

Leaders are handed over before a drain, because RabbitMQ's own drain doesn't: it stops the leading
replicas, and the others elect a leader after that. What a client asks of such a queue in between
fails, a basic.get with 541 INTERNAL_ERROR, which closes its whole connection. A leader that hands
over stays until the other is there.

One thing at a time is done to a node, and none outlives the driver: ``end`` calls all of them off.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from warrener.cluster.drivers import erl_call, leadership
from warrener.cluster.drivers.node import QUIET_TIMEOUT, STOP_TIMEOUT, Node
from warrener.cluster.drivers.tools import MAINTENANCE, drained_in, nodes_in_maintenance, run_tool
from warrener.cluster.errors import (
    ClusterError,
    DataLost,
    NodeBusy,
    NotRunning,
    ReviveFailed,
    ToolFailed,
)
from warrener.cluster.observe import observe
from warrener.facts.happenings import Progress, ProgressSink
from warrener.facts.ids import NodeName
from warrener.facts.leaders import LeaderMove, NotMoved
from warrener.facts.reasons import NodeState
from warrener.management.client import ManagementError

TOOL_TIMEOUT: Final = 60.0
"""Seconds. A drain elects new leaders for thousands of queues if it must; a node that doesn't
answer at all is given up by the tool itself after 14 s."""

ASK_TIMEOUT: Final = 15.0
"""Seconds for a tool that only asks."""

HAND_OVER: Final = """
    Running = rabbit_nodes:all_running(),
    Drained = [N || N <- Running, rabbit_maintenance:is_being_drained_local_read(N)],
    Others = Running -- [node() | Drained],
    Queues = rabbit_amqqueue:list_local_leaders(),
    [begin
       #{nodes := Members} = amqqueue:get_type_state(Q),
       Names = case is_map(Members) of true -> maps:keys(Members); false -> Members end,
       case [N || N <- Names, lists:member(N, Others)] of
         [] -> nobody;
         To -> rabbit_quorum_queue:transfer_leadership(
                 Q, lists:nth(1 + Number rem length(To), To))
       end
     end || {Q, Number} <- lists:zip(Queues, lists:seq(1, length(Queues)))].
"""
"""Spreads what the node leads over the members that run and aren't drained. On 3.10.8 three queues
take some milliseconds, and the answer is a list of ``{migrated,n1@localhost}``."""

BOOT_STATE: Final = "rabbit_boot_state:get()."

BOOTING_STOP: Final = 3.0
"""Seconds that a node which boots gets to stop in order, before it is ended by force. RabbitMQ that
is asked to stop waits for the end of its boot first; and one that hangs in it has no queues yet."""

_OPEN_WITHIN: Final = 2.0
_OPEN_POLL: Final = 0.1

_T = TypeVar("_T")


class Upkeep:
    """Operations on the nodes of a cluster that runs."""

    def __init__(
        self,
        nodes: Mapping[NodeName, Node],
        progress: ProgressSink,
    ) -> None:
        self._nodes = nodes
        self._progress = progress
        self._busy: dict[NodeName, tuple[str, asyncio.Task[None]]] = {}
        self._ended = False

    # -- one at a time

    async def perform(
        self, name: NodeName, what: str, work: Callable[[Node], Coroutine[Any, Any, None]]
    ) -> None:
        """``work`` on a node, unless something else is being done to it (NodeBusy). Cancelled, it
        cancels the work and waits for it to clean up."""
        node = self._nodes[name]
        if self._ended:
            raise NodeBusy(f"{node.short} can't be {what}: the cluster is being stopped")
        if name in self._busy:
            raise NodeBusy(f"{node.short} is being {self._busy[name][0]}; wait until that is done")
        task = asyncio.create_task(work(node), name=f"{what}:{node.short}")
        self._busy[name] = what, task
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            await _cancelled(task)
            raise
        finally:
            del self._busy[name]
        if task.cancelled():
            raise ClusterError(f"{node.short} was not {what}: the cluster is being stopped")
        task.result()

    async def end(self) -> None:
        """Calls everything off that is under way, and lets nothing new begin."""
        self._ended = True
        for _, task in list(self._busy.values()):
            await _cancelled(task)

    # -- maintenance mode

    async def hand_over(self, node: Node) -> None:
        """Other nodes lead the quorum queues that this one leads, as far as that can be: there is
        no command for it, only functions of RabbitMQ's own. Raises NotRunning or ToolFailed."""
        self._must_run(node)
        self._progress(Progress(node.short, "hands its queues over"))
        await self.evaluate_on(node, HAND_OVER)

    async def drain(self, node: Node) -> None:
        """RabbitMQ's own drain. Raises NotRunning or ToolFailed."""
        self._must_run(node)
        self._progress(Progress(node.short, "is put into maintenance mode"))
        await self._maintain(node, "drain")
        node.drained = True
        self._progress(Progress(node.short, "is in maintenance mode", done=True))

    async def revive(self, node: Node) -> None:
        """RabbitMQ's own revive. Raises NotRunning or ToolFailed, or ReviveFailed if a listener
        stays closed: RabbitMQ reports success then all the same."""
        self._must_run(node)
        self._progress(Progress(node.short, "is taken out of maintenance mode"))
        await self._maintain(node, "revive")
        node.drained = False
        await self._check_listeners(node)
        self._progress(Progress(node.short, "serves again", done=True))

    async def _maintain(self, node: Node, what: str) -> None:
        """``rabbitmq-upgrade drain`` or ``revive``, or what these have the node do."""
        printed = await node.evaluate(f"rabbit_maintenance:{what}().", TOOL_TIMEOUT)
        if printed == "ok":
            return
        await self.tool(node, "rabbitmq-upgrade", what)

    # -- RabbitMQ inside its Erlang VM

    async def stop_app(self, node: Node) -> None:
        """RabbitMQ's own. Raises NotRunning or ToolFailed."""
        self._must_run(node)
        self._progress(Progress(node.short, "stops RabbitMQ"))
        await self.tool(node, "rabbitmqctl", "-q", "stop_app")
        self._progress(Progress(node.short, "has stopped; its process stays", done=True))

    async def start_app(self, node: Node) -> None:
        """RabbitMQ's own. Raises NotRunning or ToolFailed."""
        self._must_run(node)
        self._progress(Progress(node.short, "starts RabbitMQ"))
        await self.tool(node, "rabbitmqctl", "-q", "start_app")
        node.drained = False  # it forgets maintenance mode as at a boot
        self._progress(Progress(node.short, "serves again", done=True))

    async def drained(self) -> frozenset[NodeName]:
        """The nodes in maintenance mode, whoever put them there. Asks RabbitMQ itself: the
        management API tells it only from a later version than 3.10 on.

        Raises ToolFailed, or NotRunning if there is nobody to ask.
        """
        asked = next((node for node in self._nodes.values() if self.answers(node)), None)
        if asked is None:
            raise NotRunning("no node runs that could be asked which are in maintenance mode")
        drained = drained_in(await asked.evaluate(MAINTENANCE, ASK_TIMEOUT) or "")
        if drained is not None:
            return frozenset(name for name in self._nodes if name in drained)
        words = ("-q", "cluster_status", "--formatter=json", "--timeout", f"{ASK_TIMEOUT:g}")
        text = await self.tool(asked, "rabbitmq-diagnostics", *words, timeout=ASK_TIMEOUT)
        try:
            found = nodes_in_maintenance(text)
        except ValueError as error:
            raise ToolFailed(
                f"`rabbitmq-diagnostics cluster_status` isn't understood ({error})",
                asked.host.told(asked.host.path(asked.files.logs / "rabbitmq-diagnostics.log")),
            ) from None
        return frozenset(name for name in self._nodes if name in found)

    async def move_leaders(self, moves: Sequence[LeaderMove]) -> list[NotMoved]:
        """Other nodes lead these quorum queues; those that RabbitMQ says it didn't move. Raises
        ToolFailed, or NotRunning if there is nobody to ask."""
        asked = next((node for node in self._nodes.values() if self.answers(node)), None)
        if asked is None:
            raise NotRunning("no node runs that could be asked to move leaders")
        left = []
        for expression, part in leadership.expressions(moves):
            answer = await self.evaluate_on(asked, expression)
            left += leadership.not_moved(answer, part)
        return left

    async def set_plugins(self, names: Sequence[str]) -> None:
        """Exactly these on every node that runs, one after the other: all share one file that says
        which are enabled. Raises ToolFailed, or NotRunning if no node runs."""
        running = [node for node in self._nodes.values() if self.answers(node)]
        if not running:
            raise NotRunning("no node runs whose plugins could be set")
        for node in running:
            self._progress(Progress(node.short, "sets its plugins"))
            await self.tool(node, "rabbitmq-plugins", "--online", "set", *names)
            self._progress(Progress(node.short, "has its plugins", done=True))

    def answers(self, node: Node) -> bool:
        return node.state is NodeState.RUNNING and node.reachable and not node.frozen

    def _must_run(self, node: Node) -> None:
        if node.state is not NodeState.RUNNING:
            raise NotRunning(f"{node.short} doesn't run ({node.state})")
        if node.frozen:
            raise NotRunning(f"{node.short} is frozen: its process {node.pid} is stopped (SIGSTOP)")

    async def _check_listeners(self, node: Node) -> None:
        deadline = asyncio.get_running_loop().time() + _OPEN_WITHIN
        others = {node.ports.management: "management API", node.ports.prometheus: "metrics"}
        while True:
            closed = {
                port: what
                for port, what in others.items()
                if not await _opens(node.host.address, port)
            }
            if not await node.greets():
                closed = {node.ports.amqp: "AMQP", **closed}
            if not closed:
                return
            if asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(_OPEN_POLL)
        states = [
            f"its {what} port {port} is {await _state(node, port)}" for port, what in closed.items()
        ]
        raise ReviveFailed(
            f"RabbitMQ says that {node.short} is out of maintenance mode, but "
            f"{' and '.join(states)}; revive it again once the port is free, or restart it"
        )

    # -- restart

    async def restart(self, node: Node, timeout: float) -> None:
        """Stops the node if there is anything to stop, starts it, and waits up to ``timeout`` s
        until it serves and sees the others that run. Raises StartFailed; the node is stopped then,
        and when this is cancelled."""
        if node.frozen:
            self._progress(Progress(node.short, "is thawed, to be stopped in order"))
        await self._must_have_data(node)
        try:
            await node.stop(await self._stop_limit(node))
            await self._must_have_data(node)
            await node.boot([*await self.running_others(node), node.name], timeout)
        except DataLost:
            raise
        except BaseException as error:
            await node.stop(0)
            if isinstance(error, ClusterError):
                self._progress(Progress(node.short, "did not come up", failed=True))
            raise

    async def _stop_limit(self, node: Node) -> float:
        """Seconds that it gets to stop in order."""
        if self.answers(node):
            with contextlib.suppress(ClusterError):
                if await node.evaluate(BOOT_STATE, QUIET_TIMEOUT) == "booting":
                    return BOOTING_STOP
        return STOP_TIMEOUT

    async def _must_have_data(self, node: Node) -> None:
        if await node.host.has_data(node.files, node.name):
            return
        if node.pid is None:
            node.state = NodeState.LOST
        raise DataLost(
            f"{node.short} has lost its data ({node.host.told(node.host.path(node.files.data))} is "
            f"empty or gone); booted like "
            f"this it would found a cluster of its own. `warrener node replace {node.short}` has "
            f"the others forget it and joins it anew"
        )

    async def running_others(self, node: Node) -> list[NodeName]:
        """Those that the cluster itself says are running, not those whose process is there: of
        three nodes the only one left has stopped serving (pause_minority) and waits for this one.
        """
        others = [
            other for other in self._nodes.values() if other is not node and self.answers(other)
        ]
        if not others:
            return []
        clients = [(other.name, other.client) for other in others]
        try:
            seen = await observe(clients, queues=False, now=lambda: 0.0)
        except ManagementError:
            return []
        names = {view.name for view in seen.nodes if view.running}
        return [other.name for other in others if other.name in names]

    # -- replicas

    async def eval_somewhere(self, text: str, without: NodeName | None = None) -> str:
        """What RabbitMQ answers to a piece of Erlang on a node that runs, other than ``without``
        if there is another one. Raises NotRunning or ToolFailed.

        By RabbitMQ's tool, which takes a second for it. Said the quick way, streams lost replicas
        in two of seven runs; that was probably their coordinator's majority (docs/decisions/0037),
        but the quick way wasn't tried again.
        """
        able = [node for node in self._nodes.values() if self.answers(node)]
        able.sort(key=lambda node: node.name == without)
        if not able:
            raise NotRunning("no node runs")
        return await self.tool(able[0], "rabbitmqctl", "-q", "eval", text)

    # -- tools

    async def evaluate_on(self, node: Node, text: str, timeout: float = TOOL_TIMEOUT) -> str:
        """The same of this node, whose Erlang VM has to run. Raises ToolFailed.

        What fails the quick way is said once more to RabbitMQ's tool, which tells why; all that is
        evaluated may be said twice.
        """
        printed = await node.evaluate(text, timeout)
        if printed is not None:
            return printed
        return await self.tool(node, "rabbitmqctl", "-q", "eval", text, timeout=timeout)

    async def ask(self, name: NodeName, text: str) -> str:
        """The same of a node that may hang. Raises NotRunning or ToolFailed."""
        node = self._nodes[name]
        self._must_run(node)
        return await self.evaluate_on(node, text, ASK_TIMEOUT)

    async def evaluate(self, node: Node, script: Path, *, by_tool: bool = False) -> str:
        """What Erlang expressions in a file come to, on a node that runs; they may be said twice.
        ``by_tool``: as RabbitMQ's tool prints it, and with it what the node says meanwhile.
        Raises NotRunning or ToolFailed."""
        self._must_run(node)
        await node.host.deliver_file(script)
        path = node.host.path(script)
        try:
            if not by_tool:
                answer = await node.evaluate(erl_call.of_file(path), TOOL_TIMEOUT)
                if answer is not None:
                    return answer
            return await self.tool(node, "rabbitmqctl", "-q", "eval_file", str(path))
        finally:
            await node.host.remove_file(script)

    async def tool(
        self, node: Node, name: str, *arguments: str, timeout: float = TOOL_TIMEOUT
    ) -> str:
        return await run_tool(
            node.host,
            node.server.parent / name,
            ("-n", node.name, *arguments),
            name=node.short,
            environment=node.tool_environment(),
            folder=node.files.folder,
            output=node.files.logs / f"{name}.log",
            timeout=timeout,
        )


async def _state(node: Node, port: int) -> str:
    """What keeps a node from serving on a port of its own."""
    if not await node.host.taken([port]):
        return "closed"
    by = await node.host.holder(port)
    ours = by.endswith(f"(pid {node.pid})")
    return "open, but silent" if ours else f"taken by {by or 'somebody'}"


async def _opens(address: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.transport.abort()
    return True


async def _cancelled(task: "asyncio.Task[_T]") -> None:
    """Cancels a task and waits for its end, also if we are cancelled meanwhile."""
    cancelled = False
    task.cancel()
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
            task.cancel()
    if cancelled:
        raise asyncio.CancelledError
