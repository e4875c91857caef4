"""`warrener rolling-upgrade`: another RabbitMQ under one node after the other; no client notices.

    everything that has to be so before is looked at -> for each node:
        it is to start with the new installation -> restarted behind the balancer, drained first
        -> it serves, says the new version, its replicas are online
    -> what the new version has to be switched on for is told, and switched on if that was asked

A node that doesn't come up with the new installation starts with its old one again, and the upgrade
ends. Which node runs which is on disk at every moment (``cluster.drivers.installations``), so the
same command again goes on with the nodes that are left, also after the daemon was killed.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import quote

import msgspec

from warrener.cluster.drivers.installations import Candidate
from warrener.cluster.upgrade_paths import is_series_change
from warrener.control.operations import RestartRequest
from warrener.control.upgrade_operations import (
    CheckLine,
    UpgradeAnswer,
    UpgradeNodeLine,
    UpgradeRequest,
)
from warrener.control.wire import Refusal, Refused
from warrener.daemon.control_server import Call
from warrener.daemon.describe import Describe
from warrener.daemon.errors import BAD_INPUT, DaemonError
from warrener.daemon.steps import Steps
from warrener.daemon.upgrade_checks import Flags, NodeNow, checks
from warrener.daemon.upkeep import Upkeep, check_timeout
from warrener.daemon.works import Whole, Works
from warrener.facts.happenings import Event
from warrener.facts.ids import NodeName, short_name
from warrener.facts.reasons import NodeState
from warrener.facts.snapshot import ClusterSnapshot
from warrener.management import topology as api
from warrener.management.answers import Overview
from warrener.management.client import ManagementClient, ManagementError

if TYPE_CHECKING:  # the service makes this
    from warrener.daemon.service import Service

FLAG_TIMEOUT: Final = 60.0
"""Seconds for one feature flag: enabling may convert what all nodes have stored."""

TO_DO: Final = "to do"
ALREADY: Final = "already"
DONE: Final = "done"
NOT_ASKED: Final = "not asked for"


@dataclass(frozen=True, slots=True)
class _Plan:
    target: Candidate
    checks: Sequence[CheckLine]
    before: dict[NodeName, str]  # versions
    todo: Sequence[NodeName]
    already: Sequence[NodeName]


class Upgrading:
    """The operation."""

    def __init__(
        self, service: "Service", works: Works, upkeep: Upkeep, describe: Describe
    ) -> None:
        self._service = service
        self._works = works
        self._upkeep = upkeep
        self._describe = describe

    async def upgrade(self, request: UpgradeRequest, call: Call) -> UpgradeAnswer:
        nodes = [self._upkeep.resolve(node) for node in request.nodes]
        check_timeout(request.timeout)
        return await self._works.perform(
            Whole.NODES, "upgraded", lambda says: self._upgrade(nodes, request, says), call
        )

    # -- the work

    async def _upgrade(
        self, nodes: Sequence[NodeName], request: UpgradeRequest, says: Steps
    ) -> UpgradeAnswer:
        began = self._service.monotonic()
        says.say("cluster", "looks whether it can be upgraded")
        plan = await self._plan(nodes, request)
        wrong = [check for check in plan.checks if check.problem]
        says.say("cluster", f"{len(wrong) or 'no'} of {len(plan.checks)} checks failed", done=True)
        if request.dry_run:
            return await self._answer(plan, {}, [], dry_run=True)
        self._refuse(wrong, request)
        took: dict[NodeName, float] = {}
        for name in plan.todo:
            if says.abandoned.is_set():
                raise Refused(Refusal.CALLED_OFF, f"called off. {self._standing(plan)}")
            at = self._service.monotonic()
            says.say(short_name(name), f"is upgraded: {len(took) + 1} of {len(plan.todo)}")
            await self._one(name, plan, request, says)
            took[name] = self._service.monotonic() - at
        flags = await self._enable_flags(plan, says) if request.flags else []
        spread = await self._service.spreading.after_change(bool(took), says)
        answer = await self._answer(plan, took, flags)
        if took:
            detail: dict[str, str | int | float | bool] = {
                "version": plan.target.version,
                "nodes": len(took),
            }
            self._service.events.record(Event("cluster.upgraded", detail=detail))
        seconds = self._service.monotonic() - began
        return msgspec.structs.replace(answer, leaders=spread, seconds=seconds)

    async def _one(self, name: NodeName, plan: _Plan, request: UpgradeRequest, says: Steps) -> None:
        """One node with the new installation, or with its old one again and Refused."""
        cluster = self._service.cluster
        pid = self._pid(name)
        alone = len(cluster.nodes()) == 1
        restart = RestartRequest(name, request.timeout, drain=not alone, force=request.force)
        cluster.try_installation(name, plan.target.root)
        try:
            answer = await self._upkeep.restart_as_part(name, restart, says)
            await self._check_version(name, plan.target.version)
        except (DaemonError, Refused) as error:
            if pid is not None and self._pid(name) == pid:  # it wasn't stopped
                cluster.settle_installation(name, keep=False)
                kind = error.refusal if isinstance(error, Refused) else Refusal.FAILED
                raise Refused(kind, f"{error.message}. {self._standing(plan)}") from None
            await self._roll_back(name, error.message, plan, request, says)
        cluster.settle_installation(name, keep=True)
        self._service.events.record(
            Event("node.upgraded", name, detail={"version": plan.target.version})
        )
        if answer.not_online:
            queues = ", ".join(answer.not_online[:5])
            raise Refused(
                Refusal.FAILED,
                f"{short_name(name)} runs {plan.target.version}, but its replicas of {queues} are "
                f"not online, and they have to be before the next node goes. "
                f"{self._standing(plan)}",
            )

    async def _check_version(self, name: NodeName, wanted: str) -> None:
        """What the node itself says it is."""
        told = (await self._versions()).get(name, "")
        if told != wanted:
            raise Refused(
                Refusal.FAILED,
                f"{short_name(name)} says that it runs {told or 'nothing'}, not {wanted}",
            )

    async def _versions(self) -> dict[NodeName, str]:
        """What each node says itself; nothing of one that doesn't answer. What the others say of it
        comes from statistics, and is not there for some seconds after a start."""
        cluster = self._service.cluster
        names = [row.name for row in cluster.nodes()]
        asked = [client.overview() for client in cluster.management()]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        found = {}
        for name, answer in zip(names, answers, strict=True):
            match answer:
                case Overview():
                    found[name] = answer.rabbitmq_version
                case ManagementError():
                    pass
                case BaseException():
                    raise answer
        return found

    async def _roll_back(
        self, name: NodeName, why: str, plan: _Plan, request: UpgradeRequest, says: Steps
    ) -> NoReturn:
        """The old installation again. Always raises: what became of it."""
        self._service.cluster.settle_installation(name, keep=False)
        short = short_name(name)
        says.say(short, "goes back to its old installation", failed=True)
        restart = RestartRequest(name, request.timeout, force=True)
        before = plan.before.get(name, "")
        try:
            await self._upkeep.restart_as_part(name, restart, says)
            runs = f"{short} runs {before} as before"
        except (DaemonError, Refused) as error:
            runs = f"{short} has its old installation again, but doesn't run: {error.message}"
            if is_series_change(before, plan.target.version):
                runs += (
                    f". {plan.target.version} may have converted its data, and RabbitMQ knows no "
                    f"way back: `warrener node replace {short}` makes it anew from the others"
                )
        self._service.events.record(Event("node.upgrade_rolled_back", name, why[:300]))
        raise Refused(
            Refusal.FAILED,
            f"{runs}; no further node was touched. {self._standing(plan)} With "
            f"{plan.target.root} it failed: {why}",
        )

    # -- before

    async def _plan(self, nodes: Sequence[NodeName], request: UpgradeRequest) -> _Plan:
        cluster = self._service.cluster
        if not Path(request.to).is_absolute():
            raise Refused(Refusal.BAD_ARGUMENT, f"{request.to} isn't an absolute path")
        chosen = list(dict.fromkeys(nodes)) or [row.name for row in cluster.nodes()]
        try:
            target = await cluster.look_at_installation(Path(request.to), chosen)
        except DaemonError as error:
            wrong = error.exit_code == BAD_INPUT
            raise Refused(
                Refusal.BAD_ARGUMENT if wrong else Refusal.FAILED, error.message
            ) from None
        view = await self._upkeep.look()
        if view is None:
            raise Refused(Refusal.FAILED, "no node tells how the cluster is; `warrener status`")
        drained = await self._upkeep.drained_nodes()
        client = await self._describe.client()
        versions = await self._versions()
        now = [
            self._now(row.name, versions.get(row.name, ""), view, drained)
            for row in cluster.nodes()
        ]
        try:
            found = checks(target, now, await _flags(client), await _mirrored(client))
        except ManagementError as error:
            raise Refused(Refusal.FAILED, f"the cluster can't be read: {error}") from None
        roots = {name: cluster.installation_of(name).root for name in chosen}
        leaders = [queue.leader for queue in view.queues]
        todo = [name for name in chosen if roots[name] != target.root]
        return _Plan(
            target=target,
            checks=found,
            before={one.name: one.version for one in now},
            todo=sorted(todo, key=lambda name: (leaders.count(name), name)),
            already=[name for name in chosen if roots[name] == target.root],
        )

    def _now(
        self, name: NodeName, version: str, view: ClusterSnapshot, drained: frozenset[NodeName]
    ) -> NodeNow:
        row = self._upkeep.row(name)
        seen = next((node for node in view.nodes if node.name == name), None)
        why = ""
        if row.state is not NodeState.RUNNING or seen is None or not seen.running:
            state = row.state if row.state is not NodeState.RUNNING else "the others don't see it"
            why = f"doesn't run ({state})"
        elif name not in drained:
            why = self._upkeep.why_broken(name)
        alarms = []
        if seen is not None:
            alarms += ["memory alarm"] * seen.mem_alarm + ["disk alarm"] * seen.disk_alarm
            alarms += ["network partition"] * bool(seen.partitions)
        return NodeNow(
            name=name,
            version=version,
            why_not=why,
            alarms=alarms,
            drained=name in drained,
        )

    def _refuse(self, wrong: Sequence[CheckLine], request: UpgradeRequest) -> None:
        told = "; ".join(f"{check.what}: {check.problem}" for check in wrong)
        if any(not check.forcible for check in wrong):
            raise Refused(Refusal.FAILED, f"nothing was touched. {told}")
        if wrong and not request.force:
            raise Refused(
                Refusal.UNWISE, f"nothing was touched. {told}. With --force I do it all the same"
            )

    # -- after

    async def _enable_flags(self, plan: _Plan, says: Steps) -> list[str]:
        """The stable ones, once all nodes know them."""
        client = await self._describe.client()
        done = []
        try:
            if await self._mixed():
                return []
            for flag in (await _flags(client)).off:
                says.say("feature flags", f"{flag} is enabled")
                path = f"/api/feature-flags/{quote(flag, safe='')}/enable"
                await client.put_json(path, {"name": flag}, timeout=FLAG_TIMEOUT)
                done.append(flag)
        except ManagementError as error:
            raise Refused(
                Refusal.FAILED,
                f"all nodes run {plan.target.version}, but its feature flags could not all be "
                f"enabled: {error}. `rabbitmqctl enable_feature_flag all` goes on with them",
            ) from None
        return done

    async def _mixed(self) -> bool:
        versions = await self._versions()
        return len(set(versions.values())) > 1 or len(versions) < len(self._service.cluster.nodes())

    async def _answer(
        self,
        plan: _Plan,
        took: dict[NodeName, float],
        enabled: list[str],
        *,
        dry_run: bool = False,
    ) -> UpgradeAnswer:
        cluster = self._service.cluster
        versions = await self._versions()
        try:
            off = list((await _flags(await self._describe.client())).off)
        except ManagementError as error:
            raise Refused(Refusal.FAILED, f"the cluster can't be read: {error}") from None
        rows = []
        for row in cluster.nodes():
            state = DONE if row.name in took else TO_DO if row.name in plan.todo else NOT_ASKED
            rows.append(
                UpgradeNodeLine(
                    node=row.name,
                    state=ALREADY if row.name in plan.already else state,
                    version=versions.get(row.name, ""),
                    installation=str(cluster.installation_of(row.name).root),
                    seconds=took.get(row.name, 0.0),
                )
            )
        return UpgradeAnswer(
            to=str(plan.target.root),
            version=plan.target.version,
            checks=list(plan.checks),
            nodes=rows,
            flags_off=off,
            flags_enabled=enabled,
            mixed=len(set(versions.values())) > 1,
            described=cluster.spec.rabbitmq is not None
            and plan.target.root in {cluster.spec.rabbitmq, cluster.spec.rabbitmq.resolve()},
            dry_run=dry_run,
        )

    # -- what there is to say

    def _standing(self, plan: _Plan) -> str:
        """Who runs which, and how to go on."""
        cluster = self._service.cluster
        new: list[str] = []
        old: list[str] = []
        for row in cluster.nodes():
            is_new = cluster.installation_of(row.name).root == plan.target.root
            (new if is_new else old).append(short_name(row.name))
        told = f"{', '.join(old)} still to be upgraded" if old else ""
        if new:
            told = f"{', '.join(new)} run{'s' * (len(new) == 1)} {plan.target.version} from " + (
                f"{plan.target.root}, {told}" if told else f"{plan.target.root}"
            )
        return f"{told}; the same command again goes on from there."

    def _pid(self, name: NodeName) -> int | None:
        row = self._upkeep.row(name)
        return row.pid if row.state is NodeState.RUNNING else None


async def _flags(client: ManagementClient) -> Flags:
    found: Any = await client.get_json("/api/feature-flags")
    flags = [flag for flag in found if isinstance(flag, dict)] if isinstance(found, list) else []
    on = {str(flag.get("name")) for flag in flags if flag.get("state") == "enabled"}
    off = [
        str(flag.get("name"))
        for flag in flags
        if flag.get("stability", "stable") == "stable" and flag.get("state") == "disabled"
    ]
    return Flags(off=off, on=on)


async def _mirrored(client: ManagementClient) -> list[str]:
    """The policies that ask for mirrored classic queues."""
    return [
        policy.name
        for policy in await api.policies(client)
        if isinstance(policy.definition, dict) and "ha-mode" in policy.definition
    ]
