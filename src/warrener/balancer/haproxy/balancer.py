"""HAProxy as the daemon's balancer.

It does what Warrener's own does as far as bytes allow: the port, the policies, the weights, fitness
by Warrener's probes and by the cluster's view, drain and revive, figures. What takes a look into
AMQP is refused with ``Unsupported``.

One task keeps HAProxy in step with what it should have, and reads its figures: once a second and
whenever something changes. Another starts HAProxy anew when it dies. ``statistics`` gives the last
figures read, which are a second old at most while HAProxy answers.
"""

import asyncio
import resource
import traceback
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final

import structlog

from warrener.balancer.core.nodes import NodeTable
from warrener.balancer.core.policies import make_policy
from warrener.balancer.haproxy.config import max_sessions_within, render, render_map
from warrener.balancer.haproxy.figures import (
    BadAnswer,
    Figures,
    Traffic,
    read_policy,
    read_servers,
    read_stat,
)
from warrener.balancer.haproxy.plan import (
    ALGORITHMS,
    NAMES_MAP,
    POLICY_MAP,
    Slots,
    Spot,
    commands,
)
from warrener.balancer.haproxy.process import (
    CONFIG,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    STEADY,
    HaproxyProcess,
    Launcher,
    Listening,
)
from warrener.balancer.haproxy.program import HaproxyError, find_program
from warrener.balancer.haproxy.renewal import Renewal
from warrener.balancer.haproxy.runtime_api import NoAnswer
from warrener.balancer.haproxy.tls import Content, HaproxyTls, read_names
from warrener.balancer.shell.moving import OnProgress
from warrener.balancer.shell.probe import ProbeLogin
from warrener.balancer.shell.probes import Probes
from warrener.balancer.shell.tls import BalancerTls
from warrener.facts.balance import (
    Backend,
    BackendStatistics,
    BalancerStatistics,
    ClientWork,
    SessionStatistics,
)
from warrener.facts.data_plane import WHY_HAPROXY_LACKS, DataPlane, Lack, Unsupported
from warrener.facts.happenings import Event, EventSink
from warrener.facts.ids import NodeName, SessionId
from warrener.facts.moves import ChannelStatistics, DrainResult, RebalanceResult
from warrener.facts.reasons import Unfit
from warrener.facts.settings import BalancerSettings, PolicyName
from warrener.facts.snapshot import ClusterSnapshot
from warrener.facts.telemetry import BalancerFigures

POLL: Final = 1.0
"""Seconds between two looks at HAProxy: 35 KB that take it 4 ms and the event loop 2 (measured on
a busy machine)."""

ATTEMPTS: Final = 3
"""Looks in a row at which HAProxy isn't as it was told to be, before that is an event."""

APPLY_TIMEOUT: Final = 5.0
"""Seconds that a drain waits for HAProxy to have heard of it."""

RENEWAL_TIMEOUT: Final = 15.0
"""Seconds that new certificates may take: three answers at most of each of two files."""

_BUGS_TOLD: Final = 100
"""Events about bugs: a bug that repeats must not fill the disk."""

NO_TLS: Final = BalancerTls()
NO_HAPROXY_TLS: Final = HaproxyTls()

log = structlog.get_logger(__name__)


class HaproxyBalancer:
    """Balances over ``backends`` by a HAProxy that runs in ``folder``. Made and used in one event
    loop. ``start`` raises HaproxyError or OSError. ``tls`` is what probes verify nodes with,
    ``haproxy_tls`` what HAProxy shows and verifies."""

    def __init__(
        self,
        settings: BalancerSettings,
        backends: Sequence[Backend],
        *,
        folder: Path,
        log_file: Path,
        launcher: Launcher,
        path: str,
        probe_login: ProbeLogin | None = None,
        on_event: EventSink = lambda event: None,
        tls: BalancerTls = NO_TLS,
        haproxy_tls: HaproxyTls = NO_HAPROXY_TLS,
    ) -> None:
        self._settings = settings
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        chance = Random()  # noqa: S311 - the table's own choices aren't used: HAProxy chooses
        self._table = NodeTable(
            (),
            settings.policy,
            lambda name: make_policy(name, chance),
            weights=dict(settings.weights),
            rise=settings.probe_rise,
            fall=settings.probe_fall,
            on_event=self._event,
        )
        self._slots = Slots(backends)
        self._slots.assign((), {})  # named after nodes that are yet to come
        self._probes = Probes(
            settings,
            probe_login,
            spawn=self._spawn,
            probed=self._probed,
            on_bug=self._bug,
            tls=tls,
        )
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        # HAProxy raises its own limit as far as it may.
        self._max_sessions = max_sessions_within(settings.max_sessions, hard)
        self._path = path
        self._folder = folder
        self._log_file = log_file
        self._launcher = launcher
        self._haproxy: HaproxyProcess | None = None
        self._tls = haproxy_tls
        self._renewal = Renewal(haproxy_tls)
        self._plain_port: int | None = None
        self._address = (settings.host, settings.port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._past = Figures()  # of HAProxies that have ended
        self._figures = Figures()  # of the one that runs, as read last
        self._version = ""
        self._silent = False
        self._bugs = 0
        self._hanging: dict[NodeName, float] = {}  # since when; cut off ones are at infinity
        # What is wanted is counted; ``_done`` is up to where HAProxy has it.
        self._wanted = 0
        self._done = -1
        self._misses = 0
        self._wake = asyncio.Event()
        self._stepped = asyncio.Condition()

    # -- life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Takes the ports, starts HAProxy. OSError (EADDRINUSE) if the port is taken, HaproxyError
        if HAProxy isn't there or doesn't run."""
        program = find_program(self._settings.haproxy, self._path)
        haproxy = HaproxyProcess(
            program, self._folder, self._log_file, self._launcher, self._render
        )
        settings = self._settings
        if self._tls.certificate is not None:
            self._address = await haproxy.bind(settings.host, settings.tls_port, tls=True)
        if self._tls.certificate is None or settings.plain:
            address = await haproxy.bind(settings.host, settings.port)
            self._plain_port = address[1]
            self._address = self._address if self._tls.certificate is not None else address
        try:
            self._version = (await haproxy.start()).version
        except BaseException:
            await haproxy.close()
            raise
        self._haproxy = haproxy
        self._spawn(self._keep_running(haproxy), "HAProxy's keeper")
        self._spawn(self._keep_in_step(haproxy), "HAProxy in step")

    async def close(self, grace: float = 2.0) -> None:
        """Ends HAProxy, which cuts all sessions off, and frees the port."""
        self._probes.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        haproxy, self._haproxy = self._haproxy, None
        if haproxy is not None:
            await haproxy.close()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that clients connect to: with TLS, if there is such a port."""
        return self._address

    async def wait_ready(self, nodes: int, timeout: float) -> bool:
        """Wait until at least ``nodes`` nodes are fit and HAProxy knows it; False if they aren't
        fit after ``timeout`` s, HaproxyError if they are and HAProxy doesn't know."""
        try:
            async with asyncio.timeout(timeout), self._stepped:
                await self._stepped.wait_for(
                    lambda: self._table.fit_count() >= nodes and self._done >= self._wanted
                )
        except TimeoutError:
            if self._table.fit_count() < nodes:
                return False
            raise HaproxyError(
                f"the nodes are fit, but HAProxy hasn't taken that in after {timeout:g} s; what it "
                f"said is in {self._log_file}"
            ) from None
        return True

    # -- settings while it runs -----------------------------------------------------------------

    def set_backends(self, backends: Sequence[Backend]) -> None:
        """Replace the list of nodes. Sessions on a node that goes away stay until they end."""
        sessions = {slot: one.sessions for slot, one in self._figures.servers.items()}
        self._slots.assign(backends, sessions)
        self._table.set_backends(backends)
        self._probes.set_backends(self._table.backends())
        self._changed()

    def set_policy(self, policy: PolicyName) -> None:
        """Use another policy for new sessions."""
        self._table.set_policy(policy)
        self._changed()

    def set_weight(self, node: NodeName, weight: int) -> None:
        """KeyError if there is no such node, ValueError outside 0..1000."""
        self._table.set_weight(node, weight)
        self._changed()

    async def reload_tls(self) -> None:
        """Certificates were renewed: HAProxy takes them for all connections that begin from here
        on. HaproxyError if it doesn't; it is told again until it does."""
        asked = self._renewal.ask()
        self._changed()
        try:
            async with asyncio.timeout(RENEWAL_TIMEOUT), self._stepped:
                await self._stepped.wait_for(lambda: self._renewal.tried >= asked)
        except TimeoutError:
            raise HaproxyError("HAProxy doesn't answer, and so has no new certificates yet") from (
                None
            )
        if problem := self._renewal.problem:
            raise HaproxyError(f"HAProxy hasn't taken {problem}")

    def apply_snapshot(self, snapshot: ClusterSnapshot | None) -> None:
        """Take the cluster's own view of its nodes; None when there is none to rely on."""
        self._table.apply_snapshot(snapshot)

    async def drain(
        self,
        node: NodeName,
        *,
        timeout: float = 30.0,
        on_progress: OnProgress = lambda progress: None,
    ) -> DrainResult:
        """The node gets nothing new until ``revive``. What is open there stays: RabbitMQ's own
        drain will close it. KeyError if there is no such node. Cancelling it revives the node."""
        began = self._loop.time()
        self._table.set_drained(node, True)
        self._changed()
        try:
            await self._until_done(min(timeout, APPLY_TIMEOUT))
        except asyncio.CancelledError:
            self.revive(node)
            raise
        return DrainResult(
            node,
            moved=0,
            forced=0,
            left=self._traffic(node).sessions,
            seconds=self._loop.time() - began,
            why_left=WHY_HAPROXY_LACKS[Lack.MOVE],
        )

    def revive(self, node: NodeName) -> None:
        """A drained node may be used again. KeyError if there is no such node."""
        self._table.set_drained(node, False)
        self._changed()

    # -- what takes a look into AMQP ------------------------------------------------------------

    async def rebalance(
        self, *, dry_run: bool = False, on_progress: OnProgress = lambda progress: None
    ) -> RebalanceResult:
        """Raises Unsupported."""
        raise Unsupported(Lack.REBALANCE)

    def explain(self, session: SessionId | None = None) -> tuple[ChannelStatistics, ...]:
        """Raises Unsupported."""
        raise Unsupported(Lack.EXPLAIN)

    def sessions(self) -> tuple[SessionStatistics, ...]:
        """Raises Unsupported."""
        raise Unsupported(Lack.SESSIONS)

    # -- what can be asked ----------------------------------------------------------------------

    def take_work(self) -> Mapping[tuple[str, str], ClientWork]:
        """HAProxy doesn't know what a delivery is."""
        return {}

    def statistics(self) -> BalancerStatistics:
        """Since the daemon started, whatever became of HAProxy meanwhile. What passed in the last
        second before one was killed is missing."""
        figures = self._past + self._figures
        host, port = self._address
        info = self._haproxy.info if self._haproxy is not None else None
        return BalancerStatistics(
            host=host,
            port=port,
            policy=self._table.policy,
            locality=False,
            sessions=figures.clients.sessions,
            sessions_total=figures.clients.total,
            sessions_ended=None,
            rejected_total=figures.rejected,
            bytes_in=figures.clients.bytes_in,
            bytes_out=figures.clients.bytes_out,
            published=None,
            delivered=None,
            backends=tuple(self._row(row) for row in self._table.statistics()),
            moves=None,
            moves_failed=None,
            replayed=None,
            parked=None,
            journal_bytes=None,
            messages_local=None,
            messages_remote=None,
            data_plane=DataPlane.HAPROXY,
            version=info.version if info is not None else self._version,
            pid=info.pid if info is not None else None,
            tls=self._tls.certificate is not None,
            plain_port=self._plain_port,
            tls_rejected=figures.tls_rejected,
        )

    async def figures(self) -> BalancerFigures:
        """HAProxy passes bytes, and tells how many in its statistics."""
        return BalancerFigures()

    def _row(self, row: BackendStatistics) -> BackendStatistics:
        traffic = self._traffic(row.name)
        return replace(
            row,
            sessions=traffic.sessions,
            sessions_total=traffic.total,
            failures_total=traffic.failures,
            bytes_in=traffic.bytes_in,
            bytes_out=traffic.bytes_out,
        )

    def _traffic(self, node: NodeName) -> Traffic:
        slot = self._slots.of(node)
        none = Traffic()
        if slot is None:
            return none
        return self._past.servers.get(slot, none) + self._figures.servers.get(slot, none)

    # -- in step --------------------------------------------------------------------------------

    def _changed(self) -> None:
        self._wanted += 1
        self._wake.set()

    def _probed(self, name: NodeName, why: Unfit | None, detail: str) -> None:
        self._table.probed(name, why, detail)

    def _event(self, event: Event) -> None:
        self._on_event(event)
        if event.kind in ("node.fit", "node.unfit"):
            self._changed()

    async def _keep_in_step(self, haproxy: HaproxyProcess) -> None:
        while True:
            self._wake.clear()
            if haproxy.info is not None:
                try:
                    await self._step(haproxy)
                    self._answered()
                except (NoAnswer, BadAnswer) as error:
                    self._not_answered(haproxy, str(error))
                except Exception as problem:
                    self._bug("HAProxy in step", problem)
            try:
                async with asyncio.timeout(POLL):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _step(self, haproxy: HaproxyProcess) -> None:
        """One look, and what follows from it."""
        wanted = self._wanted
        figures = read_stat(await haproxy.api.ask("show stat -1 7 -1"))
        if haproxy.info is None:
            return  # it has ended meanwhile; its figures are in the past already
        self._figures = figures
        told = await self._difference(haproxy)
        if told:
            said = await haproxy.api.tell(told)
            log.debug("haproxy_told", commands=told, said=said)
            told = await self._difference(haproxy)
        if self._renewal.due:
            await self._renewal.give(haproxy.api)
            async with self._stepped:
                self._stepped.notify_all()
        self._misses = self._misses + 1 if told else 0
        if self._misses == ATTEMPTS:
            self._on_event(Event("haproxy.disobeys", detail={"command": told[0], "of": len(told)}))
        if not told:
            async with self._stepped:
                self._done = wanted
                self._stepped.notify_all()
        await self._cut_off_the_hanging(haproxy)

    async def _difference(self, haproxy: HaproxyProcess) -> list[str]:
        seen = read_servers(await haproxy.api.ask("show servers state"))
        policy = read_policy(await haproxy.api.ask(f"show map {POLICY_MAP}"))
        names = None
        if self._tls.trust is not None:
            names = read_names(await haproxy.api.ask(f"show map {NAMES_MAP}"))
        plan = self._slots.plan(self._table.statistics())
        return commands(plan, self._table.policy, seen, policy, names)

    async def _until_done(self, timeout: float) -> None:
        """Until HAProxy has what is wanted now, or the time is over: it will have it later."""
        wanted = self._wanted
        try:
            async with asyncio.timeout(timeout), self._stepped:
                await self._stepped.wait_for(lambda: self._done >= wanted)
        except TimeoutError:
            log.warning("haproxy_late", wanted=wanted, done=self._done)

    async def _cut_off_the_hanging(self, haproxy: HaproxyProcess) -> None:
        """Ends the sessions of a node that has stopped answering, so that clients connect again
        elsewhere: HAProxy sees nothing wrong with a frozen node, and clients only after two of
        their heartbeats. As long after its last answer as Warrener's own balancer gives a link up
        whose node is suspected (``core.link``); probes take most of that to find it unfit."""
        now = self._loop.time()
        rows = {row.name: row for row in self._table.statistics()}
        hanging = {name for name, row in rows.items() if row.unfit is Unfit.HANGS}
        self._hanging = {name: self._hanging.get(name, now) for name in hanging}
        settings = self._settings
        noticed_after = settings.probe_fall * (settings.probe_timeout + settings.probe_interval)
        patience = max(0.0, settings.link_heartbeat / 2 + 1.5 - noticed_after)
        for name, since in self._hanging.items():
            if now - since < patience or not self._table.fit_count():
                continue  # with no node to go to they are no better off
            self._hanging[name] = float("inf")
            slot, sessions = self._slots.of(name), self._traffic(name).sessions
            if slot is None or not sessions:
                continue
            await haproxy.api.tell(
                [f"shutdown sessions server {Spot(policy, slot)}" for policy in ALGORITHMS]
            )
            self._on_event(Event("sessions.cut_off", name, Unfit.HANGS, {"sessions": sessions}))

    def _answered(self) -> None:
        if self._silent:
            self._silent = False
            self._on_event(Event("haproxy.answers"))

    def _not_answered(self, haproxy: HaproxyProcess, problem: str) -> None:
        if haproxy.info is not None and not self._silent:  # else it has died, or this has been told
            self._silent = True
            self._on_event(Event("haproxy.silent", detail={"problem": problem}))

    # -- kept running ---------------------------------------------------------------------------

    def _render(self, listening: Listening) -> dict[str, Content]:
        plan = self._slots.plan(self._table.statistics())
        config = render(
            plan,
            replace(self._settings, port=self._address[1]),
            listeners=listening.plain,
            max_sessions=self._max_sessions,
            tls_listeners=listening.tls,
            tls=self._tls,
        )
        return {
            CONFIG: config,
            POLICY_MAP: render_map(self._table.policy),
            **self._tls.files(plan),
        }

    async def _keep_running(self, haproxy: HaproxyProcess) -> None:
        pause = FIRST_PAUSE
        while True:
            began = self._loop.time()
            code = await haproxy.wait_ended()
            self._past += self._figures.closed()
            self._figures = Figures()
            self._silent = False
            self._on_event(
                Event(
                    "haproxy.exited",
                    detail={"exit_code": code or 0, "said": haproxy.last_words()},
                )
            )
            if self._loop.time() - began > STEADY:
                pause = FIRST_PAUSE
            while haproxy.info is None:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                try:
                    info = await haproxy.start()
                except HaproxyError as error:
                    self._on_event(Event("haproxy.not_started", detail={"problem": str(error)}))
                else:
                    self._version = info.version
                    self._on_event(Event("haproxy.started", detail={"pid": info.pid}))
            self._changed()

    def _spawn(self, coroutine: Coroutine[object, object, None], name: str) -> "asyncio.Task[None]":
        task: asyncio.Task[None] = self._loop.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            self._bug(task.get_name(), problem)

    def _bug(self, where: str, problem: BaseException) -> None:
        self._bugs += 1
        if self._bugs <= _BUGS_TOLD:
            last = traceback.extract_tb(problem.__traceback__)[-1:]
            place = f"{Path(last[0].filename).name}:{last[0].lineno}" if last else ""
            detail = {"problem": f"{type(problem).__name__}: {problem}", "place": place}
            self._on_event(Event("balancer.bug", where, detail={**detail}))
