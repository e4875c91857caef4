"""`warrener backup` and `warrener restore`: what a cluster is, in one document and out of it.

    backup    RabbitMQ's definitions + what Warrener itself keeps of the cluster -> document
    restore   file -> document, checked -> compared with what is there -> steps, shown or taken
              -> compared again: what RabbitMQ took without doing it is told as well

A restore makes and changes; it never removes anything, and never touches Warrener's own user.
Definitions go in batches, in the order in which they need one another. A batch that RabbitMQ
refuses is halved until the definition that it refuses stands alone: the others are put back all the
same. Whatever ends it in the middle, the next run compares again and does the rest.

Documents are judged and compared in a thread: the largest that is taken needs seconds for that, and
the balancer's loop is this one.
"""

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from warrener.cluster.backup_file import (
    FORMAT,
    MAX_FILE,
    NOT_HELD,
    Backup,
    BadBackup,
    BalancerPart,
    ClusterPart,
    DescriptionPart,
    Document,
    encode,
    read,
)
from warrener.cluster.catalogue.check import WrongSetting, check_setting, is_secret
from warrener.cluster.definitions import (
    BadDefinitions,
    Definitions,
    PutBack,
    World,
    compare,
    read_definitions,
    without_own,
)
from warrener.cluster.drivers.installation import release
from warrener.cluster.errors import ClusterError
from warrener.cluster.mistakes import SpecError
from warrener.cluster.observe_definitions import exchange_types, exported, queue_types
from warrener.cluster.spec import parse_spec
from warrener.cluster.wanted import PasswordKind
from warrener.control.backup_operations import (
    BackupAnswer,
    BackupRequest,
    FailedLine,
    RestoreAnswer,
    RestoreRequest,
)
from warrener.control.config_operations import SECRET, SetConfigRequest
from warrener.control.describe_operations import ChangeLine, StepLine
from warrener.control.operations import Phase
from warrener.control.wire import Refusal, Refused
from warrener.daemon.configuring import Configuring
from warrener.daemon.control_server import Call
from warrener.daemon.describe import Describe
from warrener.daemon.errors import DaemonError
from warrener.daemon.parts import Balancer
from warrener.daemon.putting_back import (
    BALANCER,
    NOT_THERE,
    PASSWORD,
    SETTING,
    Own,
    TakeOwn,
    Taking,
    line_of,
    own_line,
)
from warrener.daemon.steps import Steps
from warrener.daemon.works import Whole, Works
from warrener.facts.happenings import Event
from warrener.facts.ids import NodeName
from warrener.facts.settings import PolicyName
from warrener.management.client import (
    ManagementClient,
    ManagementError,
)

if TYPE_CHECKING:  # the service makes this
    from warrener.daemon.service import Service


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be done. ``same``: how much of the document is so already."""

    definitions: Sequence[PutBack]
    own: Sequence[Own]
    same: int
    notes: Sequence[str]

    def lines(self) -> list[StepLine]:
        return [*map(line_of, self.definitions), *(one.line for one in self.own)]


class Keeping:
    """The two operations."""

    def __init__(
        self,
        service: "Service",
        works: Works,
        configuring: Configuring,
        describe: Describe,
        version: str,
    ) -> None:
        self._service = service
        self._works = works
        self._configuring = configuring
        self._describe = describe
        self._version = version

    async def backup(self, request: BackupRequest, call: Call) -> BackupAnswer:
        self._balancer()
        return await self._works.perform(
            Whole.DEFINITIONS, "backed up", lambda steps: self._backup(request, steps), call
        )

    async def restore(self, request: RestoreRequest, call: Call) -> RestoreAnswer:
        self._balancer()
        return await self._works.perform(
            Whole.DEFINITIONS, "put back", lambda steps: self._restore(request, steps), call
        )

    # -- backup

    async def _backup(self, request: BackupRequest, says: Steps) -> BackupAnswer:
        says.say("cluster", "is asked for its definitions")
        client = await self._describe.client()
        cluster = self._service.cluster
        try:
            overview = await client.overview()
            definitions = await exported(client)
        except ManagementError as error:
            raise Refused(Refusal.FAILED, f"the cluster can't be read: {error}") from None
        left_out: list[str] = []
        settings = self._settings(left_out, secrets=request.secrets)
        passwords = self._generated(left_out, secrets=request.secrets)
        statistics = self._balancer().statistics()
        backup = Backup(
            warrener_backup=FORMAT,
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._service.now())),
            warrener=self._version,
            not_held=list(NOT_HELD),
            cluster=ClusterPart(
                name=overview.cluster_name,
                rabbitmq=overview.rabbitmq_version,
                erlang=overview.erlang_version,
                nodes=[row.name for row in cluster.nodes()],
                plugins=sorted(cluster.plugins()),
                own_user=cluster.credentials()[0],
            ),
            balancer=BalancerPart(
                policy=statistics.policy.value,
                weights={}
                if self._service.weighing.on
                else {one.name: one.weight for one in statistics.backends},
                auto_weights=self._service.weighing.on,
            ),
            config=settings,
            description=self._description(left_out, secrets=request.secrets),
            passwords=passwords,
            left_out=left_out,
            definitions=definitions,
        )
        judged = await asyncio.to_thread(_judged, definitions)
        counts = without_own(judged, [cluster.credentials()[0]]).counts()
        says.say("cluster", "has told its definitions", done=True)
        self._service.events.record(Event("cluster.backed_up", detail={**counts}))
        return BackupAnswer(
            cluster=backup.cluster.name,
            created=backup.created,
            counts=counts,
            settings=len(settings),
            left_out=left_out,
            not_held=backup.not_held,
            document=msgspec.Raw(await asyncio.to_thread(encode, backup)),
        )

    def _settings(self, left_out: list[str], *, secrets: bool) -> dict[str, str]:
        chosen = self._service.cluster.configuration.chosen
        hidden = [key for key in chosen if is_secret(key) and not secrets]
        left_out += [f"the value of {key}, chosen by `config set`" for key in hidden]
        return {key: value for key, value in chosen.items() if key not in hidden}

    def _generated(self, left_out: list[str], *, secrets: bool) -> dict[str, str] | None:
        try:
            passwords = self._describe.passwords.all()
        except ClusterError as error:
            raise Refused(Refusal.FAILED, str(error)) from None
        if secrets or not passwords:
            return passwords or None
        left_out.append(
            f"the generated passwords of {', '.join(sorted(passwords))}: they can log in after a "
            f"restore, but `warrener url --user` won't know the passwords, and `warrener apply` "
            f"will make new ones"
        )
        return None

    def _description(self, left_out: list[str], *, secrets: bool) -> DescriptionPart | None:
        source, text = self._describe.in_force
        if not text:
            return None
        if not secrets:
            try:
                spec = parse_spec(text, source=source)
            except SpecError:
                secret = True  # not to be judged: better none than one too many
            else:
                plain = [u for u in spec.wanted.users if u.password.kind is PasswordKind.PLAIN]
                secret = bool(plain) or any(is_secret(key) for key in spec.config)
            if secret:
                left_out.append(f"{source}, which has passwords in it")
                return None
        return DescriptionPart(source=source, text=text)

    # -- restore

    async def _restore(self, request: RestoreRequest, says: Steps) -> RestoreAnswer:
        began = self._service.monotonic()
        document = await asyncio.to_thread(_read_file, request)
        says.say("cluster", "is compared with the file")
        client = await self._describe.client()
        plan = await self._plan(client, document, force=request.force)
        lines = await asyncio.to_thread(plan.lines)
        todo = [line for line in lines if not line.blocked]
        answer = RestoreAnswer(
            source=_told(document),
            steps=todo,
            failed=[],
            blocked=[line for line in lines if line.blocked],
            left=[],
            same=plan.same,
            notes=list(plan.notes),
            fingerprint=await asyncio.to_thread(_fingerprint, lines),
            dry_run=True,
        )
        says.say("cluster", "has been compared with the file", done=True)
        if request.dry_run:
            return answer
        if request.agreed and request.agreed != answer.fingerprint:
            raise Refused(
                Refusal.FAILED,
                "the cluster has changed since the steps were shown; nothing was done. "
                "Run it again",
            )
        taking = Taking(client, self._take_own(request, says), document.definitions.version, says)
        await taking.definitions([step for step in plan.definitions if not step.blocked])
        await taking.own([one for one in plan.own if not one.line.blocked])
        if taking.done:
            await self._service.look_now()
            await self._recheck(client, document, taking)
        self._service.events.record(
            Event(
                "cluster.restored",
                detail={"done": len(taking.done), "failed": len(taking.failed)},
            )
        )
        return msgspec.structs.replace(
            answer,
            steps=taking.done,
            failed=[FailedLine(step=line, why=why) for line, why in taking.failed],
            left=taking.left,
            dry_run=False,
            called_off=taking.called_off,
            seconds=self._service.monotonic() - began,
        )

    async def _recheck(self, client: ManagementClient, document: Document, taking: Taking) -> None:
        """What was put back and isn't there is no success."""
        again = await self._plan(client, document, force=True)
        missing = {(step.kind.thing, step.subject) for step in again.definitions}
        for line in list(taking.done):
            if (line.thing, line.subject) in missing:
                taking.done.remove(line)
                taking.failed.append((line, NOT_THERE))

    async def _plan(self, client: ManagementClient, document: Document, *, force: bool) -> _Plan:
        try:
            found = await asyncio.to_thread(_judged, await exported(client))
            world = await self._world(client)
            name = (await client.overview()).cluster_name
        except ManagementError as error:
            raise Refused(Refusal.FAILED, f"the cluster can't be read: {error}") from None
        version = document.definitions.version
        if release(version) > world.release and not force:
            raise Refused(
                Refusal.UNWISE,
                f"the file's definitions are of RabbitMQ {version}, and this cluster runs "
                f"{world.version}, which needn't understand them. With --force I try it all "
                f"the same",
            )
        backup = document.backup
        wanted = document.definitions
        if backup is not None:
            wanted = without_own(wanted, [backup.cluster.own_user])
        steps = await asyncio.to_thread(compare, wanted, found, world)
        own, same = self._own(backup) if backup is not None else ([], 0)
        total = sum(without_own(wanted, [world.own_user]).counts().values())
        notes = _notes(backup, world, name, self._describe.in_force[1])
        return _Plan(steps, own, total - len(steps) + same, notes)

    async def _world(self, client: ManagementClient) -> World:
        cluster = self._service.cluster
        return World(
            version=cluster.version(),
            release=release(cluster.version()),
            nodes=frozenset(row.name for row in cluster.nodes()),
            exchange_types=await exchange_types(client),
            queue_types=await queue_types(client, release(cluster.version())),
            plugins=cluster.plugins(),
            own_user=cluster.credentials()[0],
        )

    def _own(self, backup: Backup) -> tuple[list[Own], int]:
        """What Warrener keeps: steps, and how much of it is so already."""
        steps: list[Own] = []
        same = 0
        configured = self._service.cluster.configuration
        for key, value in backup.config.items():
            before = configured.chosen.get(key)
            if before == value:
                same += 1
                continue
            blocked = ""
            if key in configured.described:
                blocked = "it is set in warrener.toml, under [config]"
            else:
                try:
                    check_setting(key, value, configured.schema)
                except WrongSetting as wrong:
                    blocked = str(wrong)
            shown = (SECRET, SECRET) if is_secret(key) else (before or "", value)
            change = ChangeLine(what=key, before=shown[0] if before else "", after=shown[1])
            steps.append(Own(own_line(SETTING, key, before is None, change, blocked), value))
        statistics = self._balancer().statistics()
        policy = backup.balancer.policy
        if policy == statistics.policy.value:
            same += 1
        else:
            known = policy in [one.value for one in PolicyName]
            change = ChangeLine(what="policy", before=statistics.policy.value, after=policy)
            blocked = "" if known else "this Warrener has no such policy"
            steps.append(Own(own_line(BALANCER, "policy", False, change, blocked), policy))
        auto, now_auto = backup.balancer.auto_weights, self._service.weighing.on
        if auto == now_auto:
            same += auto
        else:
            said = {False: "by hand", True: "auto"}
            change = ChangeLine(what="weights", before=said[now_auto], after=said[auto])
            steps.append(Own(own_line(BALANCER, "weights", False, change, ""), said[auto]))
        weights = {one.name: one.weight for one in statistics.backends}
        for node, weight in backup.balancer.weights.items():
            now = weights.get(NodeName(node))
            if now == weight:
                same += 1
            elif now is not None:
                change = ChangeLine(what="weight", before=str(now), after=str(weight))
                steps.append(Own(own_line(BALANCER, node, False, change, ""), str(weight)))
        try:
            known_passwords = self._describe.passwords.all()
        except ClusterError as error:
            raise Refused(Refusal.FAILED, str(error)) from None
        for user, password in (backup.passwords or {}).items():
            if known_passwords.get(user) == password:
                same += 1
                continue
            line = own_line(PASSWORD, user, user not in known_passwords, None, "")
            steps.append(Own(line, password))
        return steps, same

    def _take_own(self, request: RestoreRequest, says: Steps) -> TakeOwn:
        """Puts one thing back that Warrener keeps. It raises DaemonError or Refused."""

        async def take(one: Own) -> None:
            match one.line.thing, one.line.subject:
                case "setting", key:
                    change = SetConfigRequest(
                        key, one.value, timeout=request.timeout, force=request.force
                    )
                    await self._configuring.set_within(change, says)
                case "balancer", "policy":
                    self._balancer().set_policy(PolicyName(one.value))
                case "balancer", "weights":
                    self._service.weighing.set(one.value == "auto")
                case "balancer", node:
                    self._balancer().set_weight(NodeName(node), int(one.value))
                case "generated password", user:
                    try:
                        self._describe.passwords.keep(user, one.value)
                    except ClusterError as error:
                        raise DaemonError(str(error)) from None
                case thing, _:
                    raise AssertionError(f"nothing takes a {thing}")

        return take

    def _balancer(self) -> Balancer:
        balancer = self._service.balancer
        if balancer is None or self._service.phase is not Phase.RUNNING:
            raise Refused(
                Refusal.NOT_YET,
                f"the cluster is {self._service.phase}; `warrener status` shows how far it is",
            )
        return balancer


def _fingerprint(lines: Sequence[StepLine]) -> str:
    return hashlib.sha256(msgspec.json.encode(lines)).hexdigest()[:16]


# -- documents


def _read_file(request: RestoreRequest) -> Document:
    try:
        with Path(request.path).open("rb") as file:
            raw = file.read(MAX_FILE + 1)
    except OSError as error:
        raise Refused(
            Refusal.BAD_ARGUMENT,
            f"the daemon can't read {request.path}: {error.strerror or error}",
        ) from None
    if hashlib.sha256(raw).hexdigest() != request.digest:
        raise Refused(
            Refusal.FAILED, f"{request.path} has changed since it was looked at; nothing was done"
        )
    try:
        return read(raw)
    except BadBackup as error:
        raise Refused(Refusal.BAD_ARGUMENT, f"{request.path} can't be restored: {error}") from None


def _told(document: Document) -> str:
    backup = document.backup
    if backup is None:
        version = document.definitions.version
        return "RabbitMQ's own export" + (f", of RabbitMQ {version}" if version else "")
    cluster = backup.cluster
    return f"backup of {cluster.name} of {backup.created}, RabbitMQ {cluster.rabbitmq}"


def _judged(document: Mapping[str, Any]) -> Definitions:
    try:
        return read_definitions(document)
    except BadDefinitions as error:
        raise Refused(
            Refusal.FAILED, f"what the cluster says of its definitions isn't understood: {error}"
        ) from None


def _notes(backup: Backup | None, world: World, name: str, text: str) -> list[str]:
    """What is better known before."""
    if backup is None:
        return []
    notes = []
    cluster = backup.cluster
    if cluster.name != name:
        notes.append(f"it is of the cluster {cluster.name!r}; this one stays {name!r}")
    if len(cluster.nodes) != len(world.nodes):
        notes.append(
            f"its cluster had {len(cluster.nodes)} node{'s' * (len(cluster.nodes) != 1)}, this one "
            f"has {len(world.nodes)}"
        )
    missing = sorted(set(cluster.plugins) - world.plugins)
    if missing:
        notes.append(
            f"plugins that were enabled there and aren't here: {', '.join(missing)} (`plugins` "
            f"under [cluster] in warrener.toml)"
        )
    if backup.description is not None and backup.description.text != text:
        notes.append(
            "it has a warrener.toml in it that isn't the one in force: "
            "`warrener restore FILE --toml PATH` writes it out"
        )
    notes += [f"not in it: {what}" for what in backup.left_out]
    return notes
