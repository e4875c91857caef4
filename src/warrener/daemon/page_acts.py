"""What viewers of the page do: previewed, confirmed, carried out, told to all of them, recorded.

    preview   the daemon's status, its own check of a drain, its own dry runs -> a Draft, kept
    confirm   the draft once more -> still the same? -> a task of the daemon's own
    act       the very handler that the control socket has: the same refusals, locks and limits

An act belongs to the daemon. Its viewer may go away; others see it and may call it off. It is in
memory only: acts end with the daemon, and what became of each is in the event log:

    page.act_begun      who, what, which number
    page.act_called_off who asked for its end
    page.act_ended      what became of it, with ``ActEnd`` as its reason
    page.act_refused    a confirmation that came too late: the cluster had changed
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from warrener.control import outcomes
from warrener.control.leaders_operations import LeadersPlanRequest
from warrener.control.names import resolve_node
from warrener.control.operations import (
    LEADERS_PLAN,
    REBALANCE,
    NodeStatus,
    RebalanceRequest,
    StatusAnswer,
)
from warrener.control.proposals import row_of
from warrener.control.wire import Refusal, Refused
from warrener.daemon import viewer
from warrener.daemon.control_server import Handler
from warrener.daemon.errors import DaemonError
from warrener.daemon.handlers import check_weight
from warrener.daemon.under_way import Silent, UnderWay
from warrener.daemon.upkeep import Upkeep
from warrener.daemon.works import Key, Whole, Works
from warrener.dashboard import previews
from warrener.dashboard.acting import ActError, Peer
from warrener.dashboard.acts import (
    ActKind,
    ActsShown,
    Ask,
    AskDrain,
    AskLeaders,
    AskPolicy,
    AskRebalance,
    AskRevive,
    AskWeight,
    Began,
    Preview,
    Stale,
)
from warrener.dashboard.previews import AGAIN, Draft
from warrener.facts.capability import Can
from warrener.facts.data_plane import WHY_HAPROXY_LACKS, DataPlane, Lack, Unsupported
from warrener.facts.happenings import Event
from warrener.facts.ids import NodeName, short_name
from warrener.facts.reasons import ActEnd

if TYPE_CHECKING:  # the service makes this
    from warrener.daemon.service import Service

PREVIEW_AGE: Final = 300.0
"""Seconds after which a preview can't be confirmed: whoever left it open has to look again."""

MOST_KEPT: Final = 64
"""Previews in memory, some KiB each; the oldest goes first."""

MOST_ACTS: Final = 16
"""Under way at once. ``Works`` allows one per node; what it refuses has ended before long."""

SHOWN_FOR: Final = 60.0
"""Seconds that an act which has ended is still shown."""

MOST_ENDED: Final = 8
"""Of those: each is in every document."""

SAMPLE: Final = 5.0
"""Seconds that leaders are measured for: somebody waits. The command's default is ten."""

OUTCOME: Final = 500
"""Characters of an outcome in the event log."""

_TITLES: Final[Mapping[ActKind, str]] = {
    ActKind.DRAIN: "Drain {}",
    ActKind.REVIVE: "Revive {}",
    ActKind.REBALANCE: "Rebalance sessions",
    ActKind.POLICY: "Set the balancing policy",
    ActKind.WEIGHT: "Set the weight of {}",
    ActKind.LEADERS: "Balance the leaders of queues",
}
_NO_QUESTION: Final[Mapping[Refusal, int]] = {Refusal.BAD_ARGUMENT: 400, Refusal.NOT_YET: 409}
_ENDS: Final[Mapping[Refusal, ActEnd]] = {
    Refusal.FAILED: ActEnd.FAILED,
    Refusal.INTERNAL: ActEnd.FAILED,
    Refusal.CALLED_OFF: ActEnd.CALLED_OFF,
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A preview that may be confirmed."""

    ask: Ask
    draft: Draft
    at: float


class PageActs:
    """``dashboard.acts.Acts``, on the running service. ``handlers`` by operation, as they guard
    themselves; ``news`` is called whenever there is something new to show."""

    def __init__(
        self,
        service: "Service",
        handlers: Mapping[str, Handler],
        upkeep: Upkeep,
        works: Works,
        news: Callable[[], None],
    ) -> None:
        self._service = service
        self._handlers = handlers
        self._upkeep = upkeep
        self._works = works
        self._news = news
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._acts: dict[int, UnderWay] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._number = 0
        self._closed = False

    async def close(self) -> None:
        """``Works`` has ended what ran; what became of it is recorded by the end of this."""
        self._closed = True
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    # -- previews

    async def preview(self, ask: Ask, gone: "asyncio.Future[None]") -> Preview:
        draft = await self._drafted(ask, gone)
        return self._keep(ask, draft)

    def _keep(self, ask: Ask, draft: Draft) -> Preview:
        id_ = secrets.token_urlsafe(12)
        if draft.can_be_confirmed:
            self._kept[id_] = _Kept(ask, draft, self._service.monotonic())
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return draft.preview(id_)

    async def _drafted(self, ask: Ask, gone: "asyncio.Future[None]") -> Draft:
        """``ActError`` for what is no question: a node that isn't there, a weight that is none, a
        cluster that doesn't run yet. What the daemon would refuse is a draft that says so."""
        act, row, node = kind_of(ask), None, None
        try:
            self._upkeep.balancer()  # refuses while the cluster doesn't run
            status = self._service.status()
            if isinstance(ask, AskDrain | AskRevive | AskWeight):
                row = _row(ask.node, status)
                node = row.name
            if not (why := self.why_not(status).get(act) or self._busy(act, node)):
                return await self._draft_of(ask, status, row, gone)
        except Refused as refused:
            if code := _NO_QUESTION.get(refused.refusal):
                raise ActError(code, refused.message) from None
            why = refused.message
        except (DaemonError, Unsupported) as error:
            why = str(error)
        title = _TITLES[act].format(short_name(node) if node else "")
        return previews.impossible(act, title, node, why)

    async def _draft_of(
        self,
        ask: Ask,
        status: StatusAnswer,
        row: NodeStatus | None,
        gone: "asyncio.Future[None]",
    ) -> Draft:
        capabilities = self._service.cluster.capabilities
        no_maintenance = self._upkeep.why_no_maintenance()
        match ask:
            case AskDrain() if row is not None:
                unwise = await self._upkeep.why_no_drain(row.name)
                passes = unwise is not None and unwise.passes
                return previews.drain(
                    status,
                    row,
                    refused=unwise.why if unwise and not passes else "",
                    waits_for=unwise.why if unwise and passes else "",
                    no_maintenance=no_maintenance,
                )
            case AskRevive() if row is not None:
                return previews.revive(
                    status,
                    row,
                    spreads=not capabilities.why_not(Can.MOVE_LEADERS) and len(status.nodes) > 1,
                    maintained=not no_maintenance,
                )
            case AskRebalance():
                answer = await self._asked(REBALANCE.name, RebalanceRequest(dry_run=True), gone)
                return previews.rebalance(status, answer)
            case AskPolicy(policy):
                return previews.policy(status, policy)
            case AskWeight(_, weight) if row is not None:
                if weight is not None:
                    check_weight(weight)
                return previews.weight(status, row, weight)
            case AskLeaders():
                plan = await self._asked(LEADERS_PLAN.name, LeadersPlanRequest(SAMPLE), gone)
                return previews.leaders(status, plan)
            case _:
                raise AssertionError(f"{ask} concerns a node, and there is none")

    async def _asked(self, operation: str, request: msgspec.Struct, gone: Any) -> Any:
        """Of the daemon's own handlers. What it says meanwhile is nobody's."""
        return await self._handlers[operation](request, Silent(gone))

    def _busy(self, act: ActKind, node: NodeName | None) -> str:
        """Why it would be refused just now, as something else is done."""
        key = key_of(act, node)
        if key is None:
            return ""
        try:
            self._works.refuse_if_busy(key, _BEING[act])
        except Refused as refused:
            return refused.message
        return ""

    # -- acts

    async def confirm(self, preview: str, peer: Peer) -> Began | Stale:
        kept = self._kept.pop(preview, None)  # at once: of two that confirm it one comes too late
        if kept is None or self._service.monotonic() - kept.at > PREVIEW_AGE:
            raise ActError(
                409,
                "there is no such preview any more: each can be confirmed once, within "
                f"{PREVIEW_AGE / 60:.0f} minutes. Look again",
            )
        if sum(act.end is None for act in self._acts.values()) >= MOST_ACTS:
            raise ActError(503, f"{MOST_ACTS} acts are under way already")
        who = await asyncio.to_thread(viewer.told, peer.host, peer.port, peer.own_port)
        now = await self._once_more(kept)
        if why := previews.changed(kept.draft, now):
            message = f"The cluster has changed since this was shown, so nothing was done: {why}"
            self._record("page.act_refused", kept.draft, who, ActEnd.CHANGED, outcome=why)
            return Stale(message, self._keep(kept.ask, now))
        if self._closed:
            raise ActError(409, "the cluster is being stopped")
        return Began(self._begin(kept.draft, who).number)

    async def _once_more(self, kept: _Kept) -> Draft:
        """What the preview would be now. Leaders aren't measured again: the daemon carries out the
        plan of that number or none, and looks itself whether it still can."""
        if isinstance(kept.ask, AskLeaders):
            fit = previews.fitness(self._service.status())
            busy = self._busy(ActKind.LEADERS, None)
            return replace(kept.draft, basis=fit, refusals=[busy] if busy else [])
        return await self._drafted(kept.ask, asyncio.get_running_loop().create_future())

    def _begin(self, draft: Draft, who: str) -> UnderWay:
        self._forget()
        self._number += 1
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        act = UnderWay(self._number, draft, who, self._service.now(), gone, self._news)
        self._acts[act.number] = act
        self._record("page.act_begun", draft, who, number=act.number)
        task = asyncio.create_task(self._carry_out(act), name=f"page act {act.number}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return act

    async def _carry_out(self, act: UnderWay) -> None:
        end, text = await self._done(act)
        if act.gone.done() and end is ActEnd.DONE:
            text = f"It was too late to call it off. {text}"
        act.end, act.outcome = end, text
        act.ended_at, act.ended_clock = self._service.now(), self._service.monotonic()
        self._record(
            "page.act_ended", act.draft, act.viewer, end, number=act.number, outcome=text[:OUTCOME]
        )
        self._news()

    async def _done(self, act: UnderWay) -> tuple[ActEnd, str]:
        """Carries it out; how it ended."""
        operation, request = act.draft.operation, act.draft.request
        if operation is None or request is None:
            raise AssertionError("there is nothing to do, and yet it was confirmed")
        try:
            answer = await self._handlers[operation.name](request, act)
        except Refused as refused:
            return _ENDS.get(refused.refusal, ActEnd.REFUSED), refused.message
        except Unsupported as error:
            return ActEnd.REFUSED, str(error)
        except DaemonError as error:
            return ActEnd.FAILED, error.message
        except Exception as error:
            log.exception("page_act_failed", act=act.draft.act)
            where = self._service.folder.logs / "daemon.log"
            return (
                ActEnd.FAILED,
                f"a bug in Warrener ({type(error).__name__}); the traceback is in {where}",
            )
        told = outcomes.told(answer, again=AGAIN, spread="Leaders of queues were left alone")
        return ActEnd.FAILED if told.failed else ActEnd.DONE, told.text

    async def call_off(self, number: int, peer: Peer) -> None:
        act = self._acts.get(number)
        if act is None:
            raise ActError(404, f"there is no act {number}, or it ended long ago")
        if not act.can_be_called_off:
            why = f"it has ended: {act.outcome}" if act.end else "it goes on to its end"
            raise ActError(409, f"it can't be called off: {why}")
        who = await asyncio.to_thread(viewer.told, peer.host, peer.port, peer.own_port)
        if act.end is None and not act.gone.done():
            self._record("page.act_called_off", act.draft, who, number=number)
            act.gone.set_result(None)
        self._news()

    # -- what is shown

    def shown(self, status: StatusAnswer) -> ActsShown:
        """Of now, for every viewer."""
        self._forget()
        own = {
            key_of(act.draft.act, act.draft.node) for act in self._acts.values() if act.end is None
        }
        return ActsShown(
            acts=[act.line() for act in self._acts.values()],
            others=[text for key, text in self._works.told().items() if key not in own],
            why_not=self.why_not(status),
        )

    def _forget(self) -> None:
        """Acts that ended too long ago, or before too many others."""
        now = self._service.monotonic()
        ended = [act for act in self._acts.values() if act.end is not None]
        for place, act in enumerate(reversed(ended)):
            if place >= MOST_ENDED or now - act.ended_clock > SHOWN_FOR:
                del self._acts[act.number]

    def why_not(self, status: StatusAnswer) -> dict[ActKind, str]:
        """Acts that aren't possible here, and why."""
        found = {}
        if status.balancer is not None and status.balancer.data_plane is DataPlane.HAPROXY:
            found[ActKind.REBALANCE] = f"{WHY_HAPROXY_LACKS[Lack.REBALANCE]}."
        if why := self._service.cluster.capabilities.why_not(Can.MOVE_LEADERS):
            found[ActKind.LEADERS] = f"{why}."
        if self._service.weighing.on:
            found[ActKind.WEIGHT] = (
                "Weights follow what nodes can carry; `warrener balance auto-weights off` leaves "
                "them to you."
            )
        return found

    def _record(
        self,
        kind: str,
        draft: Draft,
        who: str,
        end: ActEnd | None = None,
        *,
        number: int = 0,
        outcome: str = "",
    ) -> None:
        detail: dict[str, str | int | float | bool] = {"act": draft.doing, "viewer": who}
        if number:
            detail["number"] = number
        if outcome:
            detail["outcome"] = outcome
        self._service.events.record(Event(kind, draft.node or "", end or "", detail))


_BEING: Final[Mapping[ActKind, str]] = {
    ActKind.DRAIN: "drained",
    ActKind.REVIVE: "revived",
    ActKind.REBALANCE: "rebalanced",
    ActKind.LEADERS: "balanced",
}


def _row(typed: str, status: StatusAnswer) -> NodeStatus:
    try:
        node = resolve_node(typed, [row.name for row in status.nodes])
    except Refused as refused:
        raise ActError(404, refused.message) from None
    row = row_of(status, node)
    if row is None:
        raise AssertionError("a node that was found among these is one of them")
    return row


def kind_of(ask: Ask) -> ActKind:
    """What is asked for."""
    match ask:
        case AskDrain():
            return ActKind.DRAIN
        case AskRevive():
            return ActKind.REVIVE
        case AskRebalance():
            return ActKind.REBALANCE
        case AskPolicy():
            return ActKind.POLICY
        case AskWeight():
            return ActKind.WEIGHT
        case AskLeaders():
            return ActKind.LEADERS


def key_of(act: ActKind, node: NodeName | None) -> Key | None:
    """What ``Works`` knows it by; None for what takes no time."""
    match act:
        case ActKind.DRAIN | ActKind.REVIVE:
            return node
        case ActKind.REBALANCE:
            return Whole.SESSIONS
        case ActKind.LEADERS:
            return Whole.LEADERS
        case ActKind.POLICY | ActKind.WEIGHT:
            return None
