"""The balancer as a whole: its listening ports, its sessions, the probes, the clock.

One process and one event loop. The loop must never wait for anything else: whoever owns the server
runs slow work elsewhere.
"""

import asyncio
import random
import resource
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final

from warrener.balancer.core.budget import Budget
from warrener.balancer.core.commands import Finished
from warrener.balancer.core.directory import Directory
from warrener.balancer.core.nodes import NodeTable
from warrener.balancer.core.policies import make_policy
from warrener.balancer.core.session import Session
from warrener.balancer.core.tally import LAGS, Observations
from warrener.balancer.shell.lookups import LookUps
from warrener.balancer.shell.moving import Mover, OnProgress
from warrener.balancer.shell.ports import SessionPorts
from warrener.balancer.shell.probe import ProbeLogin
from warrener.balancer.shell.probes import Probes
from warrener.balancer.shell.tls import BalancerTls, Context, TlsListener
from warrener.facts.balance import Backend, BalancerStatistics, ClientWork, SessionStatistics
from warrener.facts.happenings import Event, EventSink
from warrener.facts.ids import NodeName, SessionId
from warrener.facts.moves import ChannelStatistics, DrainResult, RebalanceResult
from warrener.facts.places import Found, Lookup
from warrener.facts.reasons import MoveReason, SessionEnd
from warrener.facts.settings import BalancerSettings, PolicyName
from warrener.facts.snapshot import ClusterSnapshot
from warrener.facts.telemetry import BalancerFigures

SLICES: Final = 10
"""Sessions are looked after in this many groups, one after the other, so that thousands of them
never make the loop wait noticeably at once."""

SWEEP: Final = 0.5
"""Seconds for all groups: how exact deadlines and heartbeats are."""

NO_TLS: Final = BalancerTls()

_ORDINARY: Final = frozenset({SessionEnd.CLIENT_CLOSED, SessionEnd.CLIENT_LOST})

_BUGS_TOLD: Final = 100
"""Events about bugs in the life of a server: a bug that repeats must not fill the disk."""

_SPARE_FILES: Final = 256
"""File descriptors kept for everything but sessions."""


class BalancerServer:
    """Balances AMQP connections over ``backends``. Made and used in one event loop."""

    def __init__(
        self,
        settings: BalancerSettings,
        backends: Sequence[Backend],
        *,
        probe_login: ProbeLogin | None = None,
        on_event: EventSink = lambda event: None,
        random_seed: int | None = None,
        look_up: Callable[[Lookup], Awaitable[Found]] | None = None,
        tls: BalancerTls = NO_TLS,
    ) -> None:
        self._settings = settings
        self._on_event = on_event
        randomness = random.Random(random_seed)  # noqa: S311 - spreads load, guards nothing
        self._table = NodeTable(
            backends,
            settings.policy,
            lambda name: make_policy(name, randomness),
            weights=dict(settings.weights),
            rise=settings.probe_rise,
            fall=settings.probe_fall,
            on_event=self._event,
        )
        self.high_water = settings.high_water
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._directory = Directory()
        self._budget = Budget(settings.journal_total, time.monotonic)  # uvloop's has milliseconds
        self._lag = Observations(LAGS)
        self._look_ups = LookUps(look_up, self._directory, self.loop, on_bug=self.bug)
        self._mover = Mover(self, self._table, self._budget, self.loop)
        self._told_moves: Counter[MoveReason] = Counter()
        self._server: asyncio.Server | None = None
        self._tls = tls
        self._tls_listener: TlsListener | None = None
        self._tls_rejected = 0
        self._plain_port: int | None = None
        self._address = (settings.host, settings.port)
        self._ids = count(1)
        self._slices: list[dict[SessionId, SessionPorts]] = [{} for _ in range(SLICES)]
        self._open = 0
        self._total = 0
        self._rejected = 0
        self._rejected_for: Counter[SessionEnd] = Counter()
        self._ended_by_bugs = 0
        self._ended: Counter[SessionEnd] = Counter()
        self._to_tell: Counter[tuple[SessionEnd, str]] = Counter()  # ends not yet told as events
        # Of sessions that ended: bytes in, out, messages in, out, local, remote.
        self._past = [0, 0, 0, 0, 0, 0]
        self._max_sessions = settings.max_sessions
        self._tasks: set[asyncio.Task[None]] = set()
        self._probes = Probes(
            settings,
            probe_login,
            spawn=self._spawn,
            probed=self._table.probed,
            on_bug=self.bug,
            tls=tls,
        )
        self._changed = asyncio.Event()  # a node got fit or unfit
        self._empty = asyncio.Event()
        self._empty.set()

    # -- life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen and probe. OSError (EADDRINUSE) if the port is taken."""
        self._max_sessions = min(self._max_sessions, _files_for_sessions())
        settings = self._settings
        if settings.plain or (settings.plain is None and self._tls.clients is None):
            self._server = await self.loop.create_server(
                lambda: SessionPorts(self),
                settings.host,
                settings.port,
                backlog=settings.backlog,
                reuse_address=True,
            )
            self._address = self._server.sockets[0].getsockname()[:2]
            self._plain_port = self._address[1]
        if self._tls.clients is not None:
            await self._listen_with_tls(self._tls.clients)
        self._spawn(self._clock(), "balancer clock")
        self._look_ups.start()
        self._probes.set_backends(self._table.backends())

    async def _listen_with_tls(self, context: Context) -> None:
        settings = self._settings
        listener = TlsListener(
            context,
            lambda: SessionPorts(self),
            timeout=settings.handshake_timeout,
            room=self._room,
            rejected=self._rejected_by_tls,
            spawn=self._spawn,
        )
        try:
            self._address = await listener.start(settings.host, settings.tls_port, settings.backlog)
        except BaseException:
            if self._server is not None:
                self._server.close()
            raise
        self._tls_listener = listener

    def _room(self) -> int:
        shaking = self._tls_listener.shaking if self._tls_listener is not None else 0
        return self._max_sessions - self._open - shaking

    def _rejected_by_tls(self, why: str) -> None:
        self._rejected += 1
        self._rejected_for[SessionEnd.TLS_HANDSHAKE] += 1
        self._tls_rejected += 1
        self._to_tell[SessionEnd.TLS_HANDSHAKE, why] += 1

    async def close(self, grace: float = 2.0) -> None:
        """Close the ports, then the sessions with 320; cut off what remains after ``grace`` s."""
        if self._server is not None:
            self._server.close()
        if self._tls_listener is not None:
            self._tls_listener.close()
        now = self.loop.time()
        for ports in self.all_ports():
            ports.run(ports.session.shut_down(now, "the balancer is shutting down"))
        try:
            async with asyncio.timeout(grace):
                await self._empty.wait()
        except TimeoutError:
            for ports in self.all_ports():
                ports.abandon()
        self._probes.close()
        await self._look_ups.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
        self._tell_ends()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that the server listens on: with TLS, if there is such a port."""
        return self._address

    async def wait_ready(self, nodes: int, timeout: float) -> bool:
        """Wait until at least ``nodes`` nodes are fit; False if they aren't after ``timeout`` s."""
        try:
            async with asyncio.timeout(timeout):
                while self._table.fit_count() < nodes:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    # -- settings while it runs -----------------------------------------------------------------

    def set_backends(self, backends: Sequence[Backend]) -> None:
        """Replace the list of nodes. Sessions on a node that goes away stay until they end."""
        self._table.set_backends(backends)
        self._probes.set_backends(self._table.backends())

    def set_policy(self, policy: PolicyName) -> None:
        """Use another policy for new sessions."""
        self._table.set_policy(policy)

    def set_weight(self, node: NodeName, weight: int) -> None:
        """KeyError if there is no such node, ValueError outside 0..1000."""
        self._table.set_weight(node, weight)

    async def reload_tls(self) -> None:
        """Certificates were renewed: nothing to do, each connection asks for what is there."""

    def apply_snapshot(self, snapshot: ClusterSnapshot | None) -> None:
        """Take the cluster's own view of its nodes and queues; None when there is none to rely
        on."""
        self._table.apply_snapshot(snapshot)
        self._directory.apply_snapshot(snapshot, self.loop.time())

    # -- moves ----------------------------------------------------------------------------------

    async def drain(
        self,
        node: NodeName,
        *,
        timeout: float = 30.0,
        on_progress: OnProgress = lambda progress: None,
    ) -> DrainResult:
        """Move all sessions off a node within ``timeout`` s; it gets nothing new until ``revive``.

        A client that doesn't settle its deliveries within ``settle_timeout`` has them again, marked
        as redelivered. KeyError if there is no such node. Cancelling it revives the node.
        """
        return await self._mover.drain(node, timeout, on_progress)

    def revive(self, node: NodeName) -> None:
        """A drained node may be used again. KeyError if there is no such node."""
        self._mover.revive(node)

    async def rebalance(
        self, *, dry_run: bool = False, on_progress: OnProgress = lambda progress: None
    ) -> RebalanceResult:
        """Spread the homes of sessions evenly again, by live moves; stops at the first trouble."""
        return await self._mover.rebalance(dry_run, on_progress)

    def explain(self, session: SessionId | None = None) -> tuple[ChannelStatistics, ...]:
        """Where each channel is and why; of all sessions, or of one (KeyError if it isn't open)."""
        if session is not None:
            return self._slices[session % SLICES][session].session.channels()
        found = [row for ports in self.all_ports() for row in ports.session.channels()]
        return tuple(sorted(found, key=lambda row: (row.session, row.number)))

    # -- what can be asked ----------------------------------------------------------------------

    def sessions(self) -> tuple[SessionStatistics, ...]:
        """Every session there is, oldest first."""
        found = [ports.session.statistics() for ports in self.all_ports()]
        return tuple(sorted(found, key=lambda session: session.id))

    def take_work(self) -> Mapping[tuple[str, str], ClientWork]:
        """What consumers did since this was asked last, by virtual host and queue."""
        for ports in self.all_ports():
            ports.session.hand_in_work()
        return self._budget.work.take()

    def statistics(self) -> BalancerStatistics:
        """The balancer since it started."""
        totals = list(self._past)
        for ports in self.all_ports():
            _add(totals, ports.session)
        host, port = self._address
        return BalancerStatistics(
            host=host,
            port=port,
            policy=self._table.policy,
            locality=self._settings.locality,
            sessions=self._open,
            sessions_total=self._total,
            sessions_ended=tuple(sorted((str(why), n) for why, n in self._ended.items())),
            rejected_total=self._rejected,
            bytes_in=totals[0],
            bytes_out=totals[1],
            published=totals[2],
            delivered=totals[3],
            backends=self._table.statistics(),
            locality_error="" if self._directory.usable else self._directory.error,
            moves=tuple(sorted((str(why), n) for why, n in self._budget.moves.items())),
            moves_failed=self._budget.moves_failed,
            replayed=self._budget.replayed,
            parked=sum(ports.session.parked for ports in self.all_ports()),
            journal_bytes=self._budget.used,
            messages_local=totals[4],
            messages_remote=totals[5],
            tls=self._tls_listener is not None,
            plain_port=self._plain_port if self._tls_listener is not None else None,
            tls_rejected=self._tls_rejected,
        )

    async def figures(self) -> BalancerFigures:
        """What is measured beside that. Sessions are looked at group by group, so that thousands
        of them don't make the loop wait."""
        channels: Counter[NodeName] = Counter()
        links: Counter[NodeName] = Counter()
        for group in self._slices:
            for ports in group.values():
                board = ports.session.board
                if board is not None:
                    links.update(board.links.nodes())
                    for channel in board.channels.values():
                        if channel.node is not None:
                            channels[channel.node] += 1
            await asyncio.sleep(0)
        budget = self._budget
        names = {backend.name for backend in self._table.backends()} | set(budget.nodes)
        return BalancerFigures(
            nodes=tuple(
                budget.tally(name).figures(name, channels[name], links[name])
                for name in sorted(names)
            ),
            decisions=self._table.decisions(),
            rejected=tuple(sorted((why.value, n) for why, n in self._rejected_for.items())),
            handshakes=budget.handshakes.distribution(),
            confirms=budget.confirms.distribution(),
            loop_lag=self._lag.distribution(),
        )

    # -- for the sessions' sockets --------------------------------------------------------------

    def new_session(self, ports: SessionPorts, client: str, source: str) -> Session | None:
        """A session for a client that connected; None if there are too many."""
        if self._open >= self._max_sessions:
            self._rejected += 1
            self._rejected_for[SessionEnd.LIMIT] += 1
            self._to_tell[SessionEnd.LIMIT, ""] += 1
            return None
        id_ = SessionId(next(self._ids))
        session = Session(
            id_,
            client,
            source,
            self._table,
            self._settings,
            self.loop.time(),
            self._directory,
            self._budget,
        )
        self._slices[id_ % SLICES][id_] = ports
        self._open += 1
        self._total += 1
        self._empty.clear()
        return session

    def session_finished(self, ports: SessionPorts, finished: Finished) -> None:
        """A session ended."""
        session = ports.session
        if self._slices[session.id % SLICES].pop(session.id, None) is None:
            raise AssertionError(f"session {session.id} ended twice")
        self._open -= 1
        self._ended[finished.reason] += 1
        if not session.was_open:
            self._rejected += 1
            self._rejected_for[finished.reason] += 1
        _add(self._past, session)
        session.hand_in_work()
        if finished.reason not in _ORDINARY:
            self._to_tell[finished.reason, finished.detail] += 1
        if self._open == 0:
            self._empty.set()

    def link_options(self, backend: Backend) -> dict[str, Any]:
        """What asyncio is told to connect to a node."""
        return self._tls.link_options(backend)

    def look_up(self, ports: SessionPorts, lookup: Lookup) -> None:
        """Carry out a session's look-up."""
        self._look_ups.ask(lookup, lambda: ports.looked_up(lookup))

    def own(self, task: "asyncio.Task[None]") -> None:
        """Keep a task until it is done; ``close`` ends it."""
        self._tasks.add(task)
        task.add_done_callback(self._done)

    # -- inside ---------------------------------------------------------------------------------

    def all_ports(self) -> list[SessionPorts]:
        """The sockets of every session there is."""
        return [ports for group in self._slices for ports in group.values()]

    def _event(self, event: Event) -> None:
        if event.kind in ("node.fit", "node.unfit"):
            self._changed.set()
        self._on_event(event)

    def _spawn(self, coroutine: Coroutine[object, object, None], name: str) -> "asyncio.Task[None]":
        task: asyncio.Task[None] = self.loop.create_task(coroutine, name=name)
        self.own(task)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            self.bug(task.get_name(), problem)

    def bug(self, where: str, problem: BaseException) -> None:
        """Something that must not happen did; told as an event with the place in our code."""
        self._ended_by_bugs += 1
        if self._ended_by_bugs <= _BUGS_TOLD:
            last = traceback.extract_tb(problem.__traceback__)[-1:]
            place = f"{Path(last[0].filename).name}:{last[0].lineno}" if last else ""
            detail = {"problem": f"{type(problem).__name__}: {problem}", "place": place}
            self._on_event(Event("balancer.bug", where, SessionEnd.INTERNAL, {**detail}))

    async def _clock(self) -> None:
        """Look after one group of sessions at a time."""
        while True:
            for group in self._slices:
                asked = time.monotonic()
                await asyncio.sleep(SWEEP / SLICES)
                self._lag.add(time.monotonic() - asked - SWEEP / SLICES)
                now = self.loop.time()
                for ports in list(group.values()):
                    ports.tick(now)
            self._tell_ends()
            self._tell_moves()

    def _tell_moves(self) -> None:
        """One event for all channels that moved for the same reason."""
        for reason, number in self._budget.moves.items():
            if moved := number - self._told_moves[reason]:
                self._told_moves[reason] = number
                self._on_event(Event("sessions.moved", "", reason, {"channels": moved}))

    def _tell_ends(self) -> None:
        """One event for all sessions that ended for the same reason: a dead node ends thousands."""
        told, self._to_tell = self._to_tell, Counter()
        for (reason, detail), number in told.items():
            self._on_event(
                Event("sessions.ended", "", reason, {"sessions": number, "detail": detail})
            )


def _add(totals: list[int], session: Session) -> None:
    totals[0] += session.bytes_in
    totals[1] += session.bytes_out
    totals[2] += session.published
    totals[3] += session.delivered
    totals[4] += session.local
    totals[5] += session.remote


def _files_for_sessions() -> int:
    """How many sessions the open-file limit allows: two descriptors each, and one more for those
    whose channels are on two nodes."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max((soft - _SPARE_FILES) // 3, 16)
