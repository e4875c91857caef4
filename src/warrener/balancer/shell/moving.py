"""Moves of many sessions: a node is left, or all nodes get an even share again."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from warrener.balancer.core.budget import Budget
from warrener.balancer.core.nodes import NodeTable
from warrener.balancer.core.spread import even_shares, skew, transfers
from warrener.balancer.shell.ports import SessionPorts
from warrener.facts.ids import NodeName
from warrener.facts.moves import DrainResult, MoveProgress, RebalanceResult, RebalanceShare
from warrener.facts.reasons import MoveReason

BATCH: Final = 50
"""Sessions told to move before the loop serves others, and the most that move at once when sessions
are spread again: a link costs a node some milliseconds, most of it for the password."""

STEP: Final = 0.05
"""Seconds between two looks at how far it is."""

ASK_AGAIN: Final = 0.5
"""Seconds between two looks for sessions that have come to a node meanwhile."""

PATIENCE: Final = 15.0
"""Seconds that one session's move may take when they are spread again."""

OnProgress = Callable[[MoveProgress], None]


class Sessions(Protocol):
    """What is needed of the server."""

    def all_ports(self) -> list[SessionPorts]: ...


class Mover:
    """Carries out ``drain``, ``revive`` and ``rebalance`` for a server."""

    def __init__(
        self,
        sessions: Sessions,
        table: NodeTable,
        budget: Budget,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._sessions = sessions
        self._table = table
        self._budget = budget
        self._loop = loop

    async def drain(self, node: NodeName, timeout: float, on_progress: OnProgress) -> DrainResult:
        """Move every session off a node, which gets nothing new from now on until ``revive``.

        KeyError if there is no such node. Cancelling it revives the node.
        """
        self._table.set_drained(node, True)
        try:
            return await self._drain(node, timeout, on_progress)
        except asyncio.CancelledError:
            self.revive(node)
            raise

    async def _drain(self, node: NodeName, timeout: float, on_progress: OnProgress) -> DrainResult:
        began = self._loop.time()
        forced = self._budget.forced
        seen: set[int] = set()
        asked = -ASK_AGAIN
        while True:
            there = [ports for ports in self._sessions.all_ports() if ports.session.uses(node)]
            seen.update(ports.id for ports in there)
            on_progress(MoveProgress(len(seen) - len(there), len(seen)))
            now = self._loop.time()
            if not there or now - began >= timeout:
                return DrainResult(
                    node=node,
                    moved=len(seen) - len(there),
                    forced=self._budget.forced - forced,
                    left=len(there),
                    seconds=now - began,
                )
            if now - asked >= ASK_AGAIN:
                asked = now
                await self._tell(there, node)
            await asyncio.sleep(STEP)

    async def _tell(self, there: Iterable[SessionPorts], node: NodeName) -> None:
        for number, ports in enumerate(there, 1):
            session = ports.session
            if not session.finished:
                ports.run(session.move_channels_off(node, MoveReason.DRAIN, self._loop.time()))
            if number % BATCH == 0:
                await asyncio.sleep(0)

    def revive(self, node: NodeName) -> None:
        """A node may be used again. KeyError if there is no such node."""
        self._table.set_drained(node, False)
        for ports in self._sessions.all_ports():
            ports.session.come_back(node)

    async def rebalance(self, dry_run: bool, on_progress: OnProgress) -> RebalanceResult:
        """Give all fit nodes an even share of the sessions' homes, by moving those that nothing
        binds to where they are; stops at the first sign of trouble."""
        began = self._loop.time()
        before = self._homes()
        free: dict[NodeName, list[SessionPorts]] = {node: [] for node in before}
        for ports in self._sessions.all_ports():
            session = ports.session
            if session.node in free and session.may_move_home:
                free[session.node].append(ports)
        fixed = {node: before[node] - len(free[node]) for node in before}
        wanted = even_shares(fixed, sum(map(len, free.values()))) if before else {}
        moves = transfers(before, wanted)
        stopped = ""
        moved = failed = 0
        if moves and not dry_run:
            todo = [(free[giver].pop(), taker) for giver, taker in moves]
            moved, failed, stopped = await self._move_all(todo, on_progress)
        after = self._homes() if not dry_run else wanted
        return RebalanceResult(
            shares=tuple(
                RebalanceShare(node, before[node], wanted[node], after.get(node, 0))
                for node in before
            ),
            moved=moved,
            failed=failed,
            skew_before=skew(before) if before else 1.0,
            skew_after=skew(after) if after else 1.0,
            stopped=stopped,
            seconds=self._loop.time() - began,
        )

    def _homes(self) -> dict[NodeName, int]:
        """Sessions at home on each fit node."""
        homes = Counter(ports.session.node for ports in self._sessions.all_ports())
        return {
            backend.name: homes[backend.name]
            for backend in self._table.backends()
            if self._table.unfit(backend.name) is None
        }

    async def _move_all(
        self, todo: list[tuple[SessionPorts, NodeName]], on_progress: OnProgress
    ) -> tuple[int, int, str]:
        """Moved, failed, and why it was stopped."""
        total = len(todo)
        moved = failed = 0
        stopped = ""
        under_way: dict[SessionPorts, tuple[NodeName, float]] = {}
        fit = {node for _, node in todo}
        while todo or under_way:
            now = self._loop.time()
            for ports, (node, since) in list(under_way.items()):
                session = ports.session
                if session.finished:
                    del under_way[ports]  # its client has gone; that is not our doing
                elif session.is_at(node):
                    del under_way[ports]
                    moved += 1
                elif not session.goes_home_to(node) or now - since > PATIENCE:
                    del under_way[ports]
                    failed += 1
                    stopped = stopped or f"session {session.id} could not move to {node}"
            unfit = sorted(node for node in fit if self._table.unfit(node) is not None)
            if unfit and not stopped:
                stopped = f"node {unfit[0]} is not fit any more"
            if stopped:
                todo.clear()
            while todo and len(under_way) < BATCH:
                ports, node = todo.pop()
                if not ports.session.finished:
                    under_way[ports] = node, now
                    ports.run(ports.session.move_home(node, now))
            on_progress(MoveProgress(moved, total, failed))
            if under_way:
                await asyncio.sleep(STEP)
        return moved, failed, stopped
