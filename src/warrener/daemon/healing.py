"""Nodes that hang in their boot are restarted.

    every LOOK seconds: who runs, but is unfit by the balancer's probes?
    -> its Erlang VM is asked how far its boot is -> judged (``hung_boots``)
    -> restarted, as ``warrener node restart`` does it

A healthy cluster is asked nothing. Nothing is done while anything else is (an operation of
somebody's is not to be disturbed, and what it does to nodes is its business), nor to a node whose
RabbitMQ was stopped by hand. A look that can't be taken counts for nothing: the node has to be seen
hanging from one look to the next. One node at a time; where a majority doesn't serve, none.
"""

import asyncio
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from warrener.control.operations import Phase, RestartRequest
from warrener.control.wire import Refusal, Refused
from warrener.daemon.errors import DaemonError
from warrener.daemon.hung_boots import Case, Verdict, hangs, judge, pause
from warrener.daemon.report import DrivenNode
from warrener.daemon.upkeep import Upkeep
from warrener.daemon.works import Works
from warrener.facts.booting import BootLook
from warrener.facts.capability import Can
from warrener.facts.happenings import Event
from warrener.facts.ids import NodeName, short_name
from warrener.facts.reasons import NodeState, Repair

if TYPE_CHECKING:  # the service makes this
    from warrener.daemon.service import Service

LOOK: Final = 5.0
"""Seconds between two looks; one costs the daemon nothing while all nodes are fit, else a call of
10 ms for each that isn't."""

_DOWN: Final = frozenset({NodeState.DOWN, NodeState.STOPPED})
log = structlog.get_logger(__name__)


class _Nobody:
    """Who asks for a restart that nobody asked for: doesn't listen, and stays."""

    def __init__(self) -> None:
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def emit(self, body: msgspec.Struct) -> None:
        pass


class Healing:
    """See the module."""

    def __init__(self, service: "Service", works: Works, upkeep: Upkeep) -> None:
        self._service = service
        self._works = works
        self._upkeep = upkeep
        self._settings = service.cluster.spec.healing
        self._cases: dict[NodeName, Case] = {}

    async def run(self) -> None:
        """Looks for ever; cancelled, it ends, and what it has begun ends with ``works``."""
        theirs = self._service.cluster.capabilities.why_not(Can.RESTART_NODE)
        if theirs or not self._settings.enabled:
            return
        while True:
            await asyncio.sleep(LOOK)
            try:
                await self.look()
            except Exception:
                log.exception("healing_failed")

    async def look(self) -> None:
        """One look at each node, and what follows from it."""
        if self._works.busy or self._service.phase is not Phase.RUNNING:
            self._cases = {name: replace(case, since=None) for name, case in self._cases.items()}
            return
        rows = self._service.cluster.nodes()
        members = {row.name for row in rows}
        serving = {row.name for row in rows if self._serves(row)}
        self._cases = {name: case for name, case in self._cases.items() if name in members}
        for row in rows:
            before = self._cases.get(row.name, Case())
            seen = await self._seen(row)
            hung = (
                hangs(seen, row.name, serving, members)
                if seen is not None
                else before.left_down and row.state in _DOWN
            )
            now = self._service.monotonic()
            self._cases[row.name], verdict = judge(
                before, hung=hung, now=now, patience=self._settings.patience
            )
            where = seen.where if seen is not None else ""
            if verdict is Verdict.GIVE_UP:
                self._give_up(row.name, before, where)
            if verdict is Verdict.RESTART:
                return await self._restart(row.name, before, where, serving)

    def _serves(self, row: DrivenNode) -> bool:
        runs = row.state is NodeState.RUNNING and not row.frozen
        return runs and not self._upkeep.why_broken(row.name)

    async def _seen(self, row: DrivenNode) -> BootLook | None:
        """None: there is nothing to be asked, or no answer."""
        if row.state is not NodeState.RUNNING or row.frozen or self._serves(row):
            return None
        try:
            return await self._service.cluster.boot_look(row.name)
        except DaemonError as error:
            log.info("boot_look_failed", node=row.name, error=error.message)
            return None

    def _give_up(self, node: NodeName, case: Case, where: str) -> None:
        self._service.events.record(
            Event(
                "node.repair_given_up",
                node,
                Repair.BOOT_HANGS,
                {
                    "restarts": len(case.restarts),
                    "where": where,
                    "advice": f"it hangs in its boot again after each restart; look into its log, "
                    f"restart the nodes that it is connected with one after the other (`warrener "
                    f"rolling-restart`), or make it anew (`warrener node replace "
                    f"{short_name(node)}`)",
                },
            )
        )

    async def _restart(
        self, node: NodeName, case: Case, where: str, serving: Collection[NodeName]
    ) -> None:
        events = self._service.events
        others = ", ".join(sorted(map(short_name, set(serving) - {node})))
        events.record(
            Event(
                "node.hangs",
                node,
                Repair.BOOT_HANGS,
                {
                    "seconds": pause(case, self._settings.patience),
                    "where": where,
                    "why": f"its boot doesn't come to an end, although {others} serve and are "
                    f"connected with it; it is restarted",
                    "restart": len(case.restarts) + 1,
                },
            )
        )
        began = self._service.monotonic()
        try:
            # Leaders stay: one thing less that moves in an incident (decision 16).
            request = RestartRequest(short_name(node), balance=False)
            answer = await self._upkeep.restart(request, _Nobody())
        except Refused as error:
            log.warning("repair_failed", node=node, error=error.message)
            if error.refusal is not Refusal.FAILED:
                self._cases[node] = case  # somebody was quicker: it doesn't count
                return
            self._cases[node] = replace(self._cases[node], left_down=True)
            again = pause(self._cases[node], self._settings.patience)
            detail: dict[str, str | int | float | bool] = {
                "error": error.message,
                "next": f"if it stays like this it is tried again in {again:g} s",
            }
            events.record(Event("node.repair_failed", node, Repair.BOOT_HANGS, detail))
            return
        events.record(
            Event(
                "node.repaired",
                node,
                Repair.BOOT_HANGS,
                {
                    "seconds": round(self._service.monotonic() - began, 1),
                    "pid": answer.pid or 0,
                    "not_online": len(answer.not_online),
                },
            )
        )
