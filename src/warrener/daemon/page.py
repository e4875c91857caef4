"""The page's part of the daemon: reads what there is, keeps the token, owns the tasks.

    reading      status, events, sessions: what the daemon has in memory anyway; the cluster is
                 asked by the observer alone
    measuring    rates of queues, hops and CPU: from the history, every few seconds, and only while
                 somebody looks
    planning     rho, what is predicted, what breaks first, what if: ``page_plan``

That the page can't be served is told, and no reason for the cluster not to start.
"""

import asyncio
import math
import secrets
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from warrener.cluster.drivers.private_files import write_private
from warrener.control.operations import ChannelLine, Phase
from warrener.control.page import PORT_FILE, TOKEN_FILE, page_folder
from warrener.control.wire import Refused
from warrener.daemon import report
from warrener.daemon.control_server import Handler
from warrener.daemon.page_acts import PageActs
from warrener.daemon.page_plan import PagePlan
from warrener.daemon.plan_history import PlanHistory
from warrener.daemon.upkeep import Upkeep
from warrener.daemon.works import Works
from warrener.dashboard.acts import ActsShown
from warrener.dashboard.live import Live
from warrener.dashboard.moment import Hop, Measured, Moment, NodeMeasure, QueueMeasure
from warrener.dashboard.plan import Plan
from warrener.dashboard.server import PageServer
from warrener.facts.data_plane import Unsupported
from warrener.facts.happenings import Event
from warrener.facts.ids import NodeName, SessionId, short_name
from warrener.planner.load import Load, NodeLoad

if TYPE_CHECKING:  # the service makes this
    from warrener.daemon.service import Service

WINDOW: Final = 30.0
"""Seconds of history that rates of queues are means over: three samples."""

MEASURE_EVERY: Final = 5.0
"""Seconds from one look at the history to the next; a sample comes every ten."""

MOST_EVENTS: Final = 1000
"""All that the daemon has in memory."""

MOST_SESSIONS: Final = 10_000
"""That are looked at; a page of them is shown."""

log = structlog.get_logger(__name__)


class Page:
    """``start`` and ``run``, then ``close``."""

    def __init__(self, service: "Service") -> None:
        self._service = service
        self._folder = page_folder(service.folder.path)
        self.plan = PagePlan(
            service.folder.path,
            service.history.load,
            now=service.now,
            monotonic=service.monotonic,
            work=PlanHistory(service, service.history).picked,
        )
        self._live = Live(self.moment, self.channels, monotonic=service.monotonic)
        self._acts: PageActs | None = None
        self._server: PageServer | None = None
        self._running: asyncio.Task[None] | None = None
        self._measuring: asyncio.Task[None] | None = None
        self._measured = Measured(why_not="no history yet: the first rates come after some seconds")
        self._measure_due = float("-inf")
        service.events.watch(lambda _: True, self._live.soon)

    def act_by(self, handlers: Mapping[str, Handler], upkeep: Upkeep, works: Works) -> None:
        """Viewers may act, by these handlers. Before ``start``."""
        self._acts = PageActs(self._service, handlers, upkeep, works, self._live.soon)

    async def start(self) -> None:
        """Serves, from the first moment of a start on: nodes are seen to boot."""
        try:
            token, port = await asyncio.to_thread(self._prepare)
            server = PageServer(self._live, token, planner=self.plan.ask, acts=self._acts)
            await server.start(port)
            self._server = server
            if server.port != port:
                await asyncio.to_thread(
                    write_private, self._folder / PORT_FILE, str(server.port).encode()
                )
        except OSError as error:
            log.error("page_not_served", error=str(error))
            self._service.events.record(Event("page.not_served", detail={"error": str(error)}))
            return
        self._running = asyncio.create_task(self._live.run(), name="page")

    async def close(self) -> None:
        """Viewers see it end, after what became of the acts under way was recorded."""
        if self._acts is not None:
            await self._acts.close()
        if self._server is not None:
            await self._server.close()
        for task in (self._running, self._measuring):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self.plan.close()

    @property
    def url(self) -> str:
        """Without the token; empty if it isn't served."""
        return self._server.url if self._server is not None else ""

    def viewed(self) -> None:
        """The observer has seen something."""
        self._live.soon()

    def _prepare(self) -> tuple[str, int]:
        """The token and the port of before; made the first time."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        token = _read(self._folder / TOKEN_FILE)
        if len(token) < 32:
            token = secrets.token_urlsafe(32)
            write_private(self._folder / TOKEN_FILE, token.encode())
        port = _read(self._folder / PORT_FILE)
        return token, int(port) if port.isdigit() and int(port) < 65536 else 0

    # -- what is shown

    async def moment(self, sessions: bool) -> Moment:
        """Now. Asks nobody."""
        service = self._service
        now = service.monotonic()
        if now >= self._measure_due and (self._measuring is None or self._measuring.done()):
            self._measure_due = now + MEASURE_EVERY
            self._measuring = asyncio.create_task(self.measure(), name="page measures")
        self.plan.look()
        balancer = service.balancer
        lines, why_not = None, ""
        if sessions and balancer is not None:
            try:
                found = balancer.sessions()[:MOST_SESSIONS]
                lines = [report.session(one, now) for one in found]
            except Unsupported as error:
                why_not = str(error)
        status = service.status()
        return Moment(
            at=service.now(),
            clock=now,
            status=status,
            events=service.events.recent(MOST_EVENTS),
            sessions=lines,
            sessions_why_not=why_not,
            measured=self._measured,
            acts=self._acts.shown(status) if self._acts is not None else ActsShown(),
            plan=self.plan.plan,
        )

    def channels(self, session: int) -> list[ChannelLine]:
        """Of one session; none if it has ended."""
        balancer = self._service.balancer
        if balancer is None or self._service.phase is not Phase.RUNNING:
            return []
        now = self._service.monotonic()
        try:
            lines = [report.channel(one, now) for one in balancer.explain(SessionId(session))]
        except (Unsupported, KeyError):
            return []
        return sorted(lines, key=lambda line: line.channel)

    async def measure(self) -> None:
        """Looks at the history."""
        try:
            load = await self._service.history.load(WINDOW)
        except Refused as refused:
            self._measured = Measured(why_not=refused.message)
            return
        except Exception:
            log.exception("page_measure_failed")
            return
        self._measured = measured(load, self.plan.plan, self._service.now())


def measured(load: Load, plan: Plan, at: float) -> Measured:
    """What was measured, and what is predicted, as the page has it. Pure."""
    predicted = {(one.vhost, one.name): one for one in plan.queues} if plan.calibrated else {}
    queues = {}
    hops: dict[tuple[NodeName, NodeName], float] = defaultdict(float)
    for queue in load.queues:
        key = (queue.vhost, queue.name)
        far = [*queue.entering, *queue.leaving]
        told = predicted.get(key)
        queues[key] = QueueMeasure(
            published=queue.published,
            delivered=queue.delivered,
            acked=queue.acked,
            remote=sum(rate for _, rate in far),
            rho=told.rho if told else None,
            predicted_time=(math.inf if told.grows else told.time) if told else None,
            predicted_length=(math.inf if told.grows else told.length) if told else None,
            measured_time=told.measured_time if told else queue.measured_time,
            measured_length=told.measured_length if told else queue.backlog,
        )
        if queue.leader is not None:
            for entry, rate in far:
                hops[entry, queue.leader] += rate
    cores = {host.name: host.cores for host in load.hosts}
    return Measured(
        at=at,
        queues=queues,
        nodes={
            node.name: NodeMeasure(
                node.cpu, _busy(node, cores), plan.node_rho.get(short_name(node.name))
            )
            for node in load.nodes
        },
        hops=[Hop(entry, leader, rate) for (entry, leader), rate in sorted(hops.items()) if rate],
    )


def _busy(node: NodeLoad, cores: Mapping[str, float]) -> float | None:
    may_use = node.cores if node.cores is not None else cores.get(node.host)
    return node.cpu / may_use if node.cpu is not None and may_use else None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return ""
