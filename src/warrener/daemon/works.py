"""What is being done to the cluster at a caller's wish, one thing at a time.

At one time there is one operation per node, or one that concerns the whole cluster and nothing
else. Each runs in a task of its own, not in that of the control connection: other requests are
answered meanwhile, and a caller that hangs up (``Steps.abandoned``) ends only what can be ended
without harm. ``close`` ends them all, before the balancer and the nodes are stopped.

An operation may be made of others (a restart of all nodes is one of each): it calls the work
itself, under the key that it has.
"""

import asyncio
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any, Final, Protocol, TypeVar

import msgspec

from warrener.control.wire import Refusal, Refused
from warrener.daemon.errors import DaemonError
from warrener.daemon.steps import Steps
from warrener.facts.ids import NodeName

_Answer = TypeVar("_Answer", bound=msgspec.Struct)


class Whole(StrEnum):
    """What concerns the whole cluster, and excludes everything else while it lasts; the value is
    what can be said of it in "... are being changed"."""

    SESSIONS = "sessions"
    LEADERS = "queue leaders"
    NODES = "the cluster's nodes"
    CONFIGURATION = "configuration keys"
    DESCRIPTION = "the steps of a description"
    CERTIFICATES = "certificates"
    DEFINITIONS = "definitions"
    COSTS = "the costs of messages"


Key = NodeName | Whole

_ENDED_WITH: Final = "wait until that is done, or end it with Ctrl-C where it was started"


class Caller(Protocol):
    """Whoever wants something done: ``control_server.Call``, or the daemon itself."""

    @property
    def gone(self) -> "asyncio.Future[None]":
        """Done once nobody waits for it any more."""

    async def emit(self, body: msgspec.Struct) -> None:
        """Takes one line of progress. ``ConnectionError`` if that can't be."""


class Works:
    """The operations that run."""

    def __init__(self) -> None:
        self._running: dict[Key, tuple[str, asyncio.Task[Any]]] = {}
        self._closed = False

    async def close(self) -> None:
        """Cancels what runs and waits for it; nothing new begins."""
        self._closed = True
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    @property
    def busy(self) -> bool:
        """Whether anything is being done."""
        return bool(self._running)

    def begun_before(self, node: NodeName) -> list[NodeName]:
        """The nodes to which something is done that began before what is done to this one."""
        keys = list(self._running)
        at = keys.index(node) if node in self._running else len(keys)
        return [key for key in keys[:at] if not isinstance(key, Whole)]

    def told(self) -> dict[Key, str]:
        """What runs, in words."""
        return {key: _being(key, how) for key, (how, _) in self._running.items()}

    def others(self) -> str:
        """What runs beside the one operation that asks, in words; empty if nothing does."""
        keys = list(self._running)
        return ", ".join(_being(key, self._running[key][0]) for key in keys if len(keys) > 1)

    async def perform(
        self,
        key: Key,
        what: str,
        work: Callable[[Steps], Coroutine[Any, Any, _Answer]],
        call: Caller,
    ) -> _Answer:
        """``work`` to its end, with its progress on ``call``. ``what`` is what is being done, as in
        "n1 is being restarted". Raises Refused: BUSY if something else is in its way, FAILED for a
        ``DaemonError``, CALLED_OFF when the cluster is stopped."""
        self.refuse_if_busy(key, what)
        steps = Steps()
        task = asyncio.create_task(work(steps), name=f"{what} {key}")
        self._running[key] = what, task

        def ended(_: "asyncio.Task[_Answer]") -> None:
            del self._running[key]
            steps.close()

        def hung_up(_: "asyncio.Future[None]") -> None:
            steps.abandoned.set()

        task.add_done_callback(ended)
        call.gone.add_done_callback(hung_up)
        try:
            await steps.forward(call.emit)
        except ConnectionError:
            steps.abandoned.set()
        finally:
            call.gone.remove_done_callback(hung_up)
        await asyncio.wait({task})
        if task.cancelled():
            raise Refused(Refusal.CALLED_OFF, "called off: the cluster is being stopped")
        try:
            return task.result()
        except DaemonError as error:
            raise Refused(Refusal.FAILED, error.message) from None

    def refuse_if_busy(self, key: Key, what: str) -> None:
        """``Refused`` if this can't begin now."""
        if self._closed:
            raise Refused(Refusal.NOT_YET, "the cluster is being stopped")
        if key in self._running:
            how = self._running[key][0]
            raise Refused(Refusal.BUSY, f"{_being(key, how)} already; wait until that is done")
        whole = next((running for running in self._running if isinstance(running, Whole)), None)
        if whole is not None:
            raise Refused(Refusal.BUSY, f"{_being(whole, self._running[whole][0])}; {_ENDED_WITH}")
        if isinstance(key, Whole) and self._running:
            other, (how, _) = next(iter(self._running.items()))
            raise Refused(
                Refusal.BUSY, f"{_being(other, how)}; {key} can be {what} when that is done"
            )


def _being(key: Key, how: str) -> str:
    return f"{key} {'are' if isinstance(key, Whole) else 'is'} being {how}"
