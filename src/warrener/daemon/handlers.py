"""The control operations, carried out on the running service.

A handler takes the request and the ``Call`` to stream on, and returns the answer; it raises
``Refused`` for what can't be done. One method per operation, listed in ``table``.
"""

import contextlib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from warrener.control.backup_operations import BACKUP, RESTORE
from warrener.control.config_operations import CONFIG, SET_CONFIG
from warrener.control.describe_operations import APPLY, DIFF
from warrener.control.names import resolve_node
from warrener.control.node_operations import (
    ADD_NODE,
    REMOVE_NODE,
    REPLACE_NODE,
    START_APP,
    STOP_APP,
)
from warrener.control.operations import (
    DRAIN,
    EVENTS,
    EXPLAIN,
    LEADERS_BALANCE,
    LEADERS_PLAN,
    LEADERS_SHOW,
    REBALANCE,
    RESTART,
    REVIVE,
    SESSIONS,
    SET_POLICY,
    SET_WEIGHT,
    STATUS,
    STOP,
    URL,
    EventsAnswer,
    EventsRequest,
    ExplainAnswer,
    ExplainRequest,
    Phase,
    ProgressLine,
    SessionsAnswer,
    SessionsRequest,
    SetPolicyAnswer,
    SetPolicyRequest,
    SetWeightAnswer,
    SetWeightRequest,
    StatusAnswer,
    StatusRequest,
    StopAnswer,
    StopRequest,
    UrlAnswer,
    UrlRequest,
)
from warrener.control.tls_operations import TLS_ISSUE, TLS_ROTATE, TLS_SHOW
from warrener.control.upgrade_operations import UPGRADE
from warrener.control.wire import Refusal, Refused
from warrener.daemon import report
from warrener.daemon.configuring import Configuring
from warrener.daemon.control_server import Call, Handler
from warrener.daemon.describe import Describe
from warrener.daemon.keeping import Keeping
from warrener.daemon.leaders import Leaders
from warrener.daemon.membership import Membership
from warrener.daemon.parts import Balancer
from warrener.daemon.tls import Tls
from warrener.daemon.upgrading import Upgrading
from warrener.daemon.upkeep import Upkeep
from warrener.facts.balance import BalancerStatistics, SessionStatistics
from warrener.facts.happenings import Event
from warrener.facts.settings import MAX_WEIGHT

if TYPE_CHECKING:  # the service makes the handlers
    from warrener.daemon.service import Service


class Handlers:
    """What each operation does."""

    def __init__(
        self,
        service: "Service",
        upkeep: Upkeep,
        membership: Membership,
        leaders: Leaders,
        configuring: Configuring,
        describe: Describe,
        keeping: Keeping,
        upgrading: Upgrading,
        tls: Tls,
    ) -> None:
        self._service = service
        self._upkeep = upkeep
        self._membership = membership
        self._leaders = leaders
        self._describe = describe
        self._configuring = configuring
        self._tls = tls
        self._keeping = keeping
        self._upgrading = upgrading

    def table(self) -> Mapping[str, Handler]:
        """Operation name -> handler."""
        return {
            STATUS.name: self.status,
            URL.name: self.url,
            STOP.name: self.stop,
            SET_POLICY.name: self.set_policy,
            SET_WEIGHT.name: self.set_weight,
            REBALANCE.name: self._upkeep.rebalance,
            DRAIN.name: self._upkeep.drain,
            REVIVE.name: self._upkeep.revive,
            RESTART.name: self._upkeep.restart,
            STOP_APP.name: self._upkeep.stop_app,
            START_APP.name: self._upkeep.start_app,
            ADD_NODE.name: self._membership.add,
            REMOVE_NODE.name: self._membership.remove,
            REPLACE_NODE.name: self._membership.replace,
            LEADERS_SHOW.name: self._leaders.show,
            LEADERS_PLAN.name: self._leaders.plan,
            LEADERS_BALANCE.name: self._leaders.balance,
            SESSIONS.name: self.sessions,
            EXPLAIN.name: self.explain,
            EVENTS.name: self.events,
            DIFF.name: self._describe.diff,
            APPLY.name: self._describe.apply,
            CONFIG.name: self._configuring.show,
            SET_CONFIG.name: self._configuring.set,
            TLS_SHOW.name: self._tls.show,
            TLS_ROTATE.name: self._tls.rotate,
            TLS_ISSUE.name: self._tls.issue,
            BACKUP.name: self._keeping.backup,
            RESTORE.name: self._keeping.restore,
            UPGRADE.name: self._upgrading.upgrade,
        }

    async def status(self, request: StatusRequest, call: Call) -> StatusAnswer:
        return self._service.status(request)

    async def url(self, request: UrlRequest, call: Call) -> UrlAnswer:
        self._running()
        if request.user or request.vhost:
            return await self._describe.url(request)
        return self._service.url()

    async def stop(self, request: StopRequest, call: Call) -> StopAnswer:
        """Asked again while stopping, it only follows: hurrying is for signals."""
        began = self._service.monotonic()
        with self._service.follow_progress() as lines:
            self._service.events.record(Event("daemon.stop_asked"))
            self._service.discard |= request.discard
            self._service.switch.turn(hurry=False)
            async for line in lines:
                with contextlib.suppress(ConnectionError):  # whoever asked may be gone: stop anyway
                    await call.emit(ProgressLine(line.subject, line.text, line.done, line.failed))
        return StopAnswer(seconds=self._service.monotonic() - began)

    async def set_policy(self, request: SetPolicyRequest, call: Call) -> SetPolicyAnswer:
        balancer = self._running()
        before = balancer.statistics().policy
        balancer.set_policy(request.policy)
        return SetPolicyAnswer(policy=request.policy, before=before)

    async def set_weight(self, request: SetWeightRequest, call: Call) -> SetWeightAnswer:
        balancer = self._running()
        before = {backend.name: backend.weight for backend in balancer.statistics().backends}
        node = resolve_node(request.node, before)
        check_weight(request.weight)
        self._service.weighing.refuse_by_hand()
        balancer.set_weight(node, request.weight)
        return SetWeightAnswer(node=node, weight=request.weight, before=before[node])

    async def sessions(self, request: SessionsRequest, call: Call) -> SessionsAnswer:
        sessions = self._running().sessions()
        now = self._service.monotonic()
        return SessionsAnswer(
            total=len(sessions),
            sessions=[report.session(session, now) for session in sessions[: request.limit]],
        )

    async def explain(self, request: ExplainRequest, call: Call) -> ExplainAnswer:
        balancer = self._running()
        statistics = balancer.statistics()
        node = None
        if request.node:
            node = resolve_node(request.node, [backend.name for backend in statistics.backends])
        now = self._service.monotonic()
        session = self._session(balancer, statistics, request.session)
        found = [
            channel
            for channel in balancer.explain(session.id if session else None)
            if node in (None, channel.node) and _matches(channel.queue, request.queue)
        ]
        found.sort(key=lambda channel: (channel.session, channel.number))
        return ExplainAnswer(
            total=len(found),
            channels=[report.channel(channel, now) for channel in found[: request.limit]],
            session=report.session(session, now) if session else None,
            locality=statistics.locality,
            locality_error=statistics.locality_error,
        )

    def _session(
        self, balancer: Balancer, statistics: BalancerStatistics, number: int | None
    ) -> SessionStatistics | None:
        if number is None:
            return None
        for session in balancer.sessions():
            if session.id == number:
                return session
        so_far = statistics.sessions_total
        what = "has ended" if 0 < number <= so_far else f"has not been; there were {so_far} so far"
        raise Refused(
            Refusal.BAD_ARGUMENT,
            f"no session {number}: it {what}. `warrener sessions` lists those that are open",
        )

    async def events(self, request: EventsRequest, call: Call) -> EventsAnswer:
        """With ``follow``, ends when the client hangs up or the daemon stops."""
        log = self._service.events
        with log.follow() as follower:
            recent = log.recent(request.last)
            for line in recent:
                await call.emit(line)
            sent = len(recent)
            if request.follow:
                call.gone.add_done_callback(lambda _: follower.close())
                async for line in follower:
                    await call.emit(line)
                    sent += 1
            return EventsAnswer(sent=sent, missed=follower.missed)

    def _running(self) -> Balancer:
        balancer = self._service.balancer
        if balancer is None or self._service.phase is not Phase.RUNNING:
            raise Refused(
                Refusal.NOT_YET,
                f"the cluster is {self._service.phase}; `warrener status` shows how far it is",
            )
        return balancer


def _matches(queue: str, wanted: str) -> bool:
    """``wanted`` is a name, a pattern, or empty for all."""
    return not wanted or queue == wanted or fnmatchcase(queue, wanted)


def check_weight(weight: int) -> None:
    """``Refused`` if that is none."""
    if not 0 <= weight <= MAX_WEIGHT:
        raise Refused(
            Refusal.BAD_ARGUMENT,
            f"a weight is 0 to {MAX_WEIGHT} (0: only if no other node is fit), not {weight}",
        )
