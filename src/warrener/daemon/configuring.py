"""`config`: RabbitMQ's configuration looked at, and changed without its clients noticing.

    live     checked by a running node -> recorded, all files written -> put in force on every node
             -> read back
    restart  checked by a running node -> for one node after the other: its file is written, it is
             drained and restarted behind the balancer, and read back
             -> after the first one that worked: recorded, all files written
             -> at the end the leaders of queues are spread again

The record has a value only once a node was seen to run with it, and every file is what the record
says except that of the node which is being tried (``cluster.drivers.configuration``). So whenever
the daemon is killed, the next start has either the old configuration or one that has been seen to
work, on all nodes.

A node that doesn't come back with the new value gets its old file and is started again; no further
node is touched. A caller that hangs up ends it between two nodes: the record has the new value
then, and the same command again does the nodes that are left.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import structlog

from warrener.cluster.catalogue.check import (
    Applies,
    Description,
    WrongSetting,
    check_setting,
    describe,
    rivals,
)
from warrener.cluster.catalogue.schema import Schema
from warrener.cluster.drivers.config_scripts import Told
from warrener.cluster.wanted import Scalar
from warrener.control.config_operations import (
    ConfigAnswer,
    ConfigRequest,
    SetConfigAnswer,
    SetConfigRequest,
)
from warrener.control.operations import Phase, ProgressLine, RestartRequest
from warrener.control.wire import Refusal, Refused
from warrener.daemon import config_report
from warrener.daemon.control_server import Call
from warrener.daemon.errors import DaemonError
from warrener.daemon.parts import Configured
from warrener.daemon.steps import Steps
from warrener.daemon.upkeep import MAX_TIMEOUT, Upkeep
from warrener.daemon.works import Whole, Works
from warrener.facts.capability import Can
from warrener.facts.happenings import Event
from warrener.facts.ids import NodeName, short_name
from warrener.facts.reasons import NodeState

if TYPE_CHECKING:  # the service makes this
    from warrener.daemon.service import Service


log = structlog.get_logger(__name__)


class Configuring:
    """The operations on the configuration of a cluster that runs."""

    def __init__(self, service: "Service", works: Works, upkeep: Upkeep) -> None:
        self._service = service
        self._works = works
        self._upkeep = upkeep

    # -- looking

    async def show(self, request: ConfigRequest, call: Call) -> ConfigAnswer:
        configured = self._configured()
        await call.emit(ProgressLine("config", "reads what this RabbitMQ knows"))
        schema = await asyncio.to_thread(lambda: configured.schema)
        names = [row.name for row in self._service.cluster.nodes()]
        files = {name: self._layers(name) for name in names}
        if request.exact:
            try:
                keys = [describe(request.pattern, schema).key]
            except WrongSetting as wrong:
                raise Refused(Refusal.BAD_ARGUMENT, self._untold(wrong, schema)) from None
        else:
            in_files = [key for layer in files.values() for key in layer]
            keys = config_report.choose(schema, in_files, request.pattern, request.every)
        if request.pattern and not keys:
            raise Refused(
                Refusal.BAD_ARGUMENT,
                f"no key of RabbitMQ {schema.version} matches {request.pattern!r}; "
                f"`warrener config list --all` has every one there is",
            )
        targets = {describe(key, schema).known.target for key in keys}
        told, silent = await self._ask(targets, call)
        rows = [config_report.row(key, schema, files, told) for key in keys]
        return ConfigAnswer(version=schema.version, rows=rows, silent=silent)

    def _untold(self, wrong: WrongSetting, schema: Schema) -> str:
        """Why a key isn't known; of somebody else's cluster few are."""
        if not self._service.cluster.capabilities.why_not(Can.CONFIGURE):
            return str(wrong)
        return (
            f"{wrong.key} isn't among what the management API tells of a node's configuration: "
            f"{', '.join(schema.known)}"
        )

    async def _ask(
        self, targets: set[str], call: Call
    ) -> tuple[dict[NodeName, Told], dict[NodeName, str]]:
        configured = self._configured()
        running = configured.running()
        shown = ", ".join(short_name(name) for name in running)
        await call.emit(ProgressLine("config", f"asks {shown or 'nobody'}"))
        answers = await asyncio.gather(
            *(configured.values(name, targets) for name in running), return_exceptions=True
        )
        told: dict[NodeName, Told] = {}
        silent: dict[NodeName, str] = {
            row.name: f"doesn't run ({row.state})"
            for row in self._service.cluster.nodes()
            if row.name not in running
        }
        for name, answer in zip(running, answers, strict=True):
            match answer:
                case Told():
                    told[name] = answer
                    if answer.error:
                        silent[name] = f"its file isn't right: {answer.error}"
                case DaemonError():
                    silent[name] = answer.message
                case BaseException():
                    raise answer
        return told, silent

    def _layers(self, name: NodeName) -> config_report.Layers:
        it = self._configured()
        return config_report.layers(it.own(name), it.described, it.chosen, it.settings(name))

    # -- changing

    async def set(self, request: SetConfigRequest, call: Call) -> SetConfigAnswer:
        if not 0 < request.timeout <= MAX_TIMEOUT:
            raise Refused(
                Refusal.BAD_ARGUMENT,
                f"a time-out is up to {MAX_TIMEOUT:g} s, not {request.timeout:g}",
            )
        change = await self._change(request)

        async def work(steps: Steps) -> SetConfigAnswer:
            answer = await change.carry_out(steps)
            wanted = change.restarts and bool(answer.nodes) and not request.dry_run
            spread = await self._service.spreading.after_change(wanted, steps)
            return msgspec.structs.replace(answer, leaders=spread)

        return await self._works.perform(Whole.CONFIGURATION, "changed", work, call)

    async def set_within(self, request: SetConfigRequest, steps: Steps) -> SetConfigAnswer:
        """The same as a step of a longer operation, which has the whole cluster for itself."""
        return await (await self._change(request)).carry_out(steps)

    async def _change(self, request: SetConfigRequest) -> "_Change":
        configured = self._configured()
        schema = await asyncio.to_thread(lambda: configured.schema)
        try:
            known = describe(request.key, schema)
            if request.value is not None:
                value: str | None = check_setting(request.key, request.value, schema).value
            elif known.reserved:
                raise WrongSetting(request.key, known.reserved)
            else:
                value = None
        except WrongSetting as wrong:
            raise Refused(Refusal.BAD_ARGUMENT, str(wrong)) from None
        if known.key in configured.described:
            raise Refused(
                Refusal.BAD_ARGUMENT,
                f"{known.key} is set in warrener.toml, under [config]; change it there, and "
                f"`warrener apply` puts it in force",
            )
        return _Change(self._service, self._upkeep, configured, request, known, value)

    # -- what a description says

    async def in_force(self, wanted: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Of these settings: what is in force, the same as wanted where that comes to the same on
        every running node. One call of a tool for each node. Raises DaemonError."""
        configured = self._configured()
        schema = await asyncio.to_thread(lambda: configured.schema)
        written, targets = _written(wanted, schema)
        if not written:
            return {}
        chosen = {**configured.chosen, **written}
        answers = [
            await configured.check(name, chosen, set(targets.values()))
            for name in configured.running()
        ]
        found: dict[str, Scalar] = {}
        for key, target in targets.items():
            values = [told.values[target] for told in answers if told.uses(target)]
            other = next((value for value in values if not value.same), None)
            if other is None:
                found[key] = wanted[key]
            elif other.in_force is not None:
                found[key] = other.in_force
        return found

    def chosen(self) -> dict[str, str]:
        """What somebody chose, by a description or with ``config set``, as it may be shown."""
        configured = self._configured()
        by_hand = {**configured.chosen, **configured.described}
        return {key: config_report.hidden(key, value) or "" for key, value in by_hand.items()}

    async def set_described(self, key: str, value: Scalar | None, steps: Steps) -> bool:
        """What the description says of a key is in force on every node, nothing (None) included; a
        step of a longer operation. Whether nodes were restarted for it. Raises DaemonError or
        Refused, and leaves the old value in force then."""
        configured = self._configured()
        schema = await asyncio.to_thread(lambda: configured.schema)
        after: str | None = None
        if value is not None:
            after = _written({key: value}, schema)[0][key]
        try:
            known = describe(key, schema)
        except WrongSetting as wrong:
            raise DaemonError(str(wrong)) from None
        before = configured.described.get(key)
        configured.describe(key, None)
        request = SetConfigRequest(key, after)
        change = _Change(self._service, self._upkeep, configured, request, known, after)
        try:
            answer = await change.carry_out(steps)
        except BaseException:
            configured.describe(key, before)
            raise
        configured.describe(key, after)
        return bool(answer.nodes) and known.applies is not Applies.LIVE

    def _configured(self) -> Configured:
        if self._service.phase is not Phase.RUNNING or self._service.balancer is None:
            raise Refused(
                Refusal.NOT_YET,
                f"the cluster is {self._service.phase}; `warrener status` shows how far it is",
            )
        return self._service.cluster.configuration


def _written(wanted: Mapping[str, Scalar], schema: Schema) -> tuple[dict[str, str], dict[str, str]]:
    """Settings as rabbitmq.conf takes them, and what each is about, both by key."""
    written, targets = {}, {}
    for key, value in wanted.items():
        try:
            setting = check_setting(key, value, schema)
        except WrongSetting as wrong:
            raise DaemonError(f"[config] of warrener.toml: {wrong}") from None
        written[key], targets[key] = setting.value, setting.target
    return written, targets


class _Change:
    """One key on its way to all nodes. ``value`` is None where the setting is taken back."""

    def __init__(
        self,
        service: "Service",
        upkeep: Upkeep,
        configured: Configured,
        request: SetConfigRequest,
        known: Description,
        value: str | None,
    ) -> None:
        self._service = service
        self._upkeep = upkeep
        self._configured = configured
        self._request = request
        self._known = known
        self._target = known.known.target
        self._old = dict(configured.chosen)
        self._new = _with(configured, known.key, value)
        self._done: list[NodeName] = []
        self._not_online: dict[NodeName, list[str]] = {}

    @property
    def restarts(self) -> bool:
        """Whether nodes are restarted for it."""
        return self._known.applies is not Applies.LIVE

    async def carry_out(self, steps: Steps) -> SetConfigAnswer:
        began = self._service.monotonic()
        to_do, waiting = await self._plan(steps)
        changes = self._old != self._new
        before = self._value(self._old)
        if not self._request.dry_run and (changes or to_do):
            if self._known.applies is Applies.LIVE:
                await self._live(to_do, steps)
            else:
                await self._one_by_one(to_do, steps)
            self._record_event("config.set", "")
        entry = self._known.entry
        is_live = self._known.applies is Applies.LIVE and entry is not None
        live = entry.live if entry is not None and is_live else None
        return SetConfigAnswer(
            key=self._known.key,
            before=config_report.hidden(self._known.key, before),
            after=config_report.hidden(self._known.key, self._value(self._new)),
            default=config_report.default(self._known, self._configured.schema),
            applies=self._known.applies.value,
            command=live.command if live else "",
            effect=live.effect if live else "",
            note=self._note(),
            nodes=to_do,
            waiting=waiting,
            not_online=self._not_online,
            already=not changes and not to_do,
            dry_run=self._request.dry_run,
            seconds=self._service.monotonic() - began,
        )

    def _value(self, chosen: Mapping[str, str]) -> str | None:
        """What the files have with these settings; None where they have nothing."""
        name = next(iter(self._service.cluster.nodes())).name
        return self._configured.settings(name, chosen).get(self._known.key)

    def _note(self) -> str:
        entry = self._known.entry
        return entry.note if entry and self._request.value is not None else ""

    async def _plan(self, steps: Steps) -> tuple[list[NodeName], list[NodeName]]:
        """Nodes that haven't the new value in force, and nodes that don't run. Each running node
        checks its new file, so that nothing is begun that can't end well."""
        running = self._configured.running()
        rows = self._service.cluster.nodes()
        waiting = [row.name for row in rows if row.name not in running]
        if not running:
            raise Refused(
                Refusal.FAILED, "no node runs that could check the value; start one first"
            )
        steps.say("config", "RabbitMQ checks the value")
        # All to their ends, also when one refuses: the others have a file lying about till then.
        answers = await asyncio.gather(
            *(self._configured.check(name, self._new, [self._target]) for name in running),
            return_exceptions=True,
        )
        to_do = []
        for name, told in zip(running, answers, strict=True):
            if isinstance(told, BaseException):
                raise told
            value = told.values[self._target]
            if not told.uses(self._target):
                continue  # of a plugin that is off: the file is enough
            if value.wanted is None and value.in_force is not None:
                # Taken back, and what RabbitMQ works out instead isn't known before its start.
                if self._old != self._new:
                    to_do.append(name)
            elif not value.same:
                to_do.append(name)
        steps.say("config", "RabbitMQ has checked the value", done=True)
        return to_do, waiting

    # -- live

    async def _live(self, to_do: Sequence[NodeName], steps: Steps) -> None:
        self._configured.record(self._new)
        begun: list[NodeName] = []
        try:
            for name in to_do:
                steps.say(short_name(name), "takes the new value")
                begun.append(name)
                await self._configured.apply(name, [self._target])
                await self._read_back(name)
                steps.say(short_name(name), "has it in force", done=True)
        except (DaemonError, Refused) as error:
            self._configured.record(self._old)
            left = await self._put_back(begun, steps)
            self._record_event("config.rolled_back", error.message)
            raise Refused(
                Refusal.FAILED,
                f"{self._known.key} was not changed: {error.message}. "
                + (f"The old value could not be put back on {', '.join(left)}" if left else
                   "The old value is in force everywhere"),
            ) from None  # fmt: skip

    async def _put_back(self, names: Sequence[NodeName], steps: Steps) -> list[str]:
        """Puts the old value in force again; the nodes where that failed."""
        left = []
        for name in names:
            try:
                await self._configured.apply(name, [self._target])
                steps.say(short_name(name), "has the old value again", failed=True)
            except DaemonError as error:
                log.warning("config_not_put_back", node=name, error=error.message)
                left.append(short_name(name))
        return left

    # -- restarts

    async def _one_by_one(self, to_do: Sequence[NodeName], steps: Steps) -> None:
        if not to_do:
            self._configured.record(self._new)
            return
        await self._refuse_drained(to_do)
        for name in to_do:
            if steps.abandoned.is_set():
                raise Refused(Refusal.CALLED_OFF, self._called_off())
            await self._restart(name, steps)
            self._done.append(name)
            if self._configured.chosen != self._new:
                self._configured.record(self._new)

    async def _refuse_drained(self, to_do: Sequence[NodeName]) -> None:
        drained = [name for name in to_do if name in await self._service.cluster.drained_nodes()]
        if drained and not self._request.force:
            name = short_name(drained[0])
            raise Refused(
                Refusal.UNWISE,
                f"{name} is drained, and a restart would end that; `warrener node revive {name}` "
                f"first. With --force I restart it all the same",
            )

    async def _restart(self, name: NodeName, steps: Steps) -> None:
        """One node with the new file, or with the old one again."""
        pid = self._pid(name)
        others = len(self._service.cluster.nodes()) > 1
        request = RestartRequest(
            name, self._request.timeout, drain=others, force=self._request.force
        )
        self._configured.write_file(name, self._new)
        try:
            answer = await self._upkeep.restart_as_part(name, request, steps)
            await self._read_back(name)
        except (DaemonError, Refused) as error:
            if self._pid(name) == pid and pid is not None:  # it wasn't stopped
                self._configured.write_file(name)
                if isinstance(error, Refused) and self._done:
                    raise Refused(error.refusal, f"{error.message}. {self._called_off()}") from None
                raise
            await self._roll_back(name, error.message, steps)
        except BaseException:  # the daemon stops: the next start is to have what is proven
            self._configured.write_file(name)
            raise
        else:
            if answer.not_online:
                self._not_online[name] = answer.not_online

    async def _roll_back(self, name: NodeName, why: str, steps: Steps) -> None:
        """Always raises: what became of it."""
        self._configured.record(self._old)
        steps.say(short_name(name), "gets its old configuration back", failed=True)
        request = RestartRequest(name, self._request.timeout, force=True)
        try:
            await self._upkeep.restart_as_part(name, request, steps)
            runs = f"{short_name(name)} runs with its old configuration again"
        except (DaemonError, Refused) as error:
            runs = (
                f"{short_name(name)} has its old configuration again, but doesn't run: "
                f"{error.message}"
            )
        self._record_event("config.rolled_back", why)
        others = ""
        if self._done:
            nodes = ", ".join(short_name(one) for one in self._done)
            others = (
                f" On {nodes} the new value is in force until its next start; `warrener config "
                f"diff` shows it, and setting the old value puts it back at once."
            )
        raise Refused(
            Refusal.FAILED,
            f"{runs}; no further node was touched.{others} With {self._known.key} = "
            f"{config_report.hidden(self._known.key, self._value(self._new)) or 'its default'} "
            f"it failed: {why}",
        )

    def _called_off(self) -> str:
        if not self._done:
            return f"called off: {self._known.key} is as it was"
        nodes = ", ".join(short_name(name) for name in self._done)
        return (
            f"called off: {nodes} has the new {self._known.key}, the others not yet; the same "
            f"command again goes on with them"
        )

    # -- what nodes say

    async def _read_back(self, name: NodeName) -> None:
        told = await self._configured.values(name, [self._target])
        value = told.values[self._target]
        if value.same or value.wanted is None or not told.uses(self._target):
            return
        raise Refused(
            Refusal.FAILED,
            f"{short_name(name)} has {config_report.plain(value.in_force, self._target)} in force "
            f"and not {config_report.plain(value.wanted, self._target)}",
        )

    def _pid(self, name: NodeName) -> int | None:
        row = next(row for row in self._service.cluster.nodes() if row.name == name)
        return row.pid if row.state is NodeState.RUNNING else None

    def _record_event(self, kind: str, reason: str) -> None:
        value = config_report.hidden(self._known.key, self._value(self._new))
        self._service.events.record(
            Event(kind, self._known.key, reason[:300], detail={"value": value or ""})
        )


def _with(configured: Configured, key: str, value: str | None) -> dict[str, str]:
    """What is chosen, with this key set or taken back."""
    chosen = dict(configured.chosen)
    if value is None:
        chosen.pop(key, None)
        return chosen
    for rival in rivals(key, tuple(chosen), configured.schema):
        del chosen[rival]
    chosen[key] = value
    return chosen
