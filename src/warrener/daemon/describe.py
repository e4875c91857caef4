"""`warrener diff` and `warrener apply`: the description against the cluster that runs.

    text -> spec (parsed by the same code as on the command line)
         -> observed -> plan -> steps, shown or taken

Nothing is kept between two calls. An apply stops at the first step that fails, between two steps
when its asker hangs up, and at once when the daemon stops; the next one goes on from there. While
it lasts nothing else is done to the cluster (``Whole.DESCRIPTION``).
"""

import asyncio
import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from warrener.cluster.drivers import config_check
from warrener.cluster.drivers.installation import release
from warrener.cluster.errors import ClusterError
from warrener.cluster.mistakes import SpecError
from warrener.cluster.observe_topology import observe_topology
from warrener.cluster.passwords import GeneratedPasswords
from warrener.cluster.spec import ALWAYS_ON, ClusterSpec, parse_spec
from warrener.cluster.topology import plan
from warrener.cluster.topology_steps import Later, Observed, Plan, Step, Unlisted
from warrener.cluster.wanted import DEFAULT_VHOST, PasswordKind, Scalar
from warrener.control.describe_operations import (
    ApplyAnswer,
    ApplyRequest,
    ChangeLine,
    DiffAnswer,
    DiffRequest,
    LaterLine,
    StepLine,
)
from warrener.control.node_operations import AddNodeRequest, RemoveNodeRequest
from warrener.control.operations import Phase, UrlAnswer, UrlRequest
from warrener.control.wire import Refusal, Refused
from warrener.daemon import report
from warrener.daemon.applying import Actions, Executor, possible
from warrener.daemon.configuring import Configuring
from warrener.daemon.control_server import Call
from warrener.daemon.errors import DaemonError
from warrener.daemon.membership import Membership
from warrener.daemon.parts import Balancer
from warrener.daemon.steps import Steps
from warrener.daemon.taking import take_all
from warrener.daemon.works import Whole, Works
from warrener.facts.capability import Can
from warrener.facts.ids import NodeName, short_name
from warrener.management import topology as api
from warrener.management.client import ManagementClient, ManagementError, Unreachable

if TYPE_CHECKING:  # the service makes this
    from warrener.daemon.service import Service


class Describe:
    """The operations about descriptions."""

    def __init__(
        self,
        service: "Service",
        works: Works,
        membership: Membership,
        configuring: Configuring,
        passwords: GeneratedPasswords,
    ) -> None:
        self._service = service
        self._works = works
        self._membership = membership
        self._configuring = configuring
        self.passwords = passwords
        spec = service.cluster.spec
        self.in_force = (spec.source, spec.text)  # the file the cluster was made by, and its text

    def _actions(self, says: Steps, changed: set[str]) -> Actions:
        """What is done to this daemon's cluster beside its management API. ``says`` takes the
        progress of what takes its time; ``changed`` gets what may have moved leaders of queues."""

        async def add_node(name: NodeName) -> None:
            changed.add(name)
            await self._membership.add_within(AddNodeRequest(name), says)

        async def remove_node(name: NodeName) -> None:
            changed.add(name)
            try:
                await self._membership.remove_within(name, RemoveNodeRequest(name), says)
            except Refused as refused:
                command = f"`warrener node remove {short_name(name)} --force`"
                raise DaemonError(f"{refused.message}: {command}") from refused

        async def set_config(key: str, value: Scalar | None) -> None:
            try:
                if await self._configuring.set_described(key, value, says):
                    changed.add(key)
            except Refused as refused:
                raise DaemonError(refused.message) from refused

        return Actions(
            set_config=set_config,
            set_plugins=self._service.cluster.set_plugins,
            add_node=add_node,
            remove_node=remove_node,
            renamed=self._service.rename,
            auto_weights=self._service.weighing.set,
        )

    # -- what can be asked for

    async def diff(self, request: DiffRequest, call: Call) -> DiffAnswer:
        _, found = await self._plan(request)
        return await asyncio.to_thread(_told, found)

    async def drift(self) -> int | None:
        """Steps from the cluster as it is to the description in force; None if there is none.
        ``Refused`` if that can't be told."""
        source, text = self.in_force
        if not source:
            return None
        request = DiffRequest(
            source=source, folder=os.path.dirname(source) or ".", text=text, secrets={}
        )
        _, found = await self._plan(request)
        return len(found.steps)

    async def apply(self, request: ApplyRequest, call: Call) -> ApplyAnswer:
        self._balancer()
        return await self._works.perform(
            Whole.DESCRIPTION, "taken", lambda steps: self._apply(request, steps), call
        )

    async def url(self, request: UrlRequest) -> UrlAnswer:
        """Of a user whose password was generated; without one Warrener's own."""
        balancer = self._balancer()
        if not request.user:
            credentials = self._service.cluster.credentials()
            return report.url(
                balancer.address, credentials, request.vhost, ca=self._service.url_ca()
            )
        try:
            password = self.passwords.of(request.user)
        except ClusterError as error:
            raise Refused(Refusal.FAILED, str(error)) from None
        if password is None:
            raise Refused(
                Refusal.BAD_ARGUMENT,
                f"the password of user {request.user!r} isn't known: only those that "
                f"`warrener apply` generated are (password = {{ generate = true }})",
            )
        vhost = request.vhost or await self._vhost_of(request.user)
        ca = self._service.url_ca()
        return report.url(balancer.address, (request.user, password), vhost, ca=ca)

    async def _vhost_of(self, user: str) -> str:
        """The one that a user may use; if there are several the default one, or the first."""
        client = await self.client()
        try:
            allowed = [one.vhost for one in await api.permissions(client) if one.user == user]
        except ManagementError as error:
            raise Refused(Refusal.FAILED, str(error)) from None
        return DEFAULT_VHOST if DEFAULT_VHOST in allowed or not allowed else allowed[0]

    # -- the work

    async def _apply(self, request: ApplyRequest, says: Steps) -> ApplyAnswer:
        began = self._service.monotonic()
        changed: set[str] = set()
        client, found = await self._plan(request)
        told = await asyncio.to_thread(_told, found)
        if request.agreed and request.agreed != told.fingerprint:
            raise Refused(
                Refusal.FAILED,
                "the cluster has changed since the steps were shown; nothing was done. "
                "`warrener diff` shows what they are by now",
            )
        executor = Executor(client, self._balancer(), self.passwords, self._actions(says, changed))
        todo = [step for step in found.steps if not step.blocked]
        course = await take_all(todo, executor, says, self._service.events.record)
        if course.done:
            await self._service.look_now()
        spread = None
        if course.failed is None and not course.called_off:
            spread = await self._service.spreading.after_change(bool(changed), says)
            self.in_force = (request.source, request.text)
        return ApplyAnswer(
            done=[_step(step) for step in course.done],
            failed=_step(course.failed) if course.failed is not None else None,
            why=course.why,
            left=[_step(step) for step in course.left],
            blocked=[_step(step) for step in found.steps if step.blocked],
            later=told.later,
            unlisted=told.unlisted,
            called_off=course.called_off,
            leaders=spread,
            seconds=self._service.monotonic() - began,
        )

    async def _plan(self, request: DiffRequest) -> tuple[ManagementClient, Plan]:
        """The plan, and a client of a node that answers."""
        balancer = self._balancer()
        # Off the event loop, which serves sessions: 5,000 queues take 0.2 s.
        spec = self._ours(await asyncio.to_thread(self._parse, request))
        passwords = self._known_passwords(spec, request)
        statistics = balancer.statistics()
        client = await self.client()
        try:
            lacks = self._service.cluster.capabilities.why_not(Can.CONFIGURE)
            config = {} if lacks else await self._configuring.in_force(spec.config)
            observed = await observe_topology(
                client,
                spec,
                nodes=[node.name for node in self._service.cluster.nodes()],
                plugins=self._service.cluster.plugins(),
                balancer_policy=statistics.policy,
                weights={backend.name: backend.weight for backend in statistics.backends},
                config=config,
                chosen=self._configuring.chosen(),
                started_as=self._service.cluster.spec,
                unspread=self._service.cluster.unspread(),
                auto_weights=self._service.weighing.on,
            )
        except ManagementError as error:
            raise Refused(Refusal.FAILED, f"the cluster can't be read: {error}") from None
        observed = self._without_ours(spec, observed)
        found = await asyncio.to_thread(plan, spec, observed, passwords, prune=request.prune)
        capabilities = self._service.cluster.capabilities
        steps = tuple(possible(step, capabilities) for step in found.steps)
        return client, replace(found, steps=steps)

    def _ours(self, spec: ClusterSpec) -> ClusterSpec:
        """Without what a description says by default only, where somebody else runs the cluster:
        its name and plugins are theirs, unless the file has them."""
        cluster = self._service.cluster
        if not cluster.capabilities.theirs:
            return spec
        plugins = tuple(name for name in spec.plugins if name not in ALWAYS_ON)
        name = spec.name if spec.name_given else cluster.name
        return replace(spec, plugins=plugins, name=name)

    def _without_ours(self, spec: ClusterSpec, observed: Observed) -> Observed:
        """Without what a removal must not touch in somebody else's cluster: the user that we log in
        as, and plugins, which nobody can disable from here."""
        cluster = self._service.cluster
        if not cluster.capabilities.theirs:
            return observed
        own, _ = cluster.credentials()
        described = {user.name for user in spec.wanted.users}
        users = {
            name: user for name, user in observed.users.items() if name != own or name in described
        }
        plugins = observed.plugins & frozenset(spec.plugins)
        return replace(observed, users=users, plugins=plugins)

    def _parse(self, request: DiffRequest) -> ClusterSpec:
        try:
            config_check.plug_in()
            return parse_spec(
                request.text,
                source=request.source,
                folder=Path(request.folder),
                release=release(self._service.cluster.version()),
            )
        except SpecError as error:
            raise Refused(Refusal.BAD_ARGUMENT, str(error)) from None

    def _known_passwords(self, spec: ClusterSpec, request: DiffRequest) -> dict[str, str]:
        known = dict(request.secrets)
        try:
            for user in spec.wanted.users:
                if user.password.kind is PasswordKind.PLAIN:
                    known[user.name] = user.password.value
                elif user.password.kind is PasswordKind.GENERATED:
                    made = self.passwords.of(user.name)
                    if made is not None:
                        known[user.name] = made
                elif user.name not in known:
                    raise Refused(
                        Refusal.BAD_ARGUMENT, f"the password of user {user.name} wasn't sent along"
                    )
        except ClusterError as error:
            raise Refused(Refusal.FAILED, str(error)) from None
        return known

    async def client(self) -> ManagementClient:
        """Of the first node whose management API answers."""
        why = "no node runs"
        for client in self._service.cluster.management():
            try:
                await client.whoami()
            except Unreachable as error:
                why = str(error)
            except ManagementError as error:
                raise Refused(Refusal.FAILED, str(error)) from None
            else:
                return client
        raise Refused(Refusal.FAILED, f"no node answers ({why}); `warrener status` shows them")

    def _balancer(self) -> Balancer:
        balancer = self._service.balancer
        if balancer is None or self._service.phase is not Phase.RUNNING:
            raise Refused(
                Refusal.NOT_YET,
                f"the cluster is {self._service.phase}; `warrener status` shows how far it is",
            )
        return balancer


# -- on the wire


def _told(found: Plan) -> DiffAnswer:
    steps = [_step(step) for step in found.steps]
    return DiffAnswer(
        steps=steps,
        later=[_later(one) for one in found.later],
        unlisted=_unlisted(found.unlisted),
        fingerprint=hashlib.sha256(msgspec.json.encode(steps)).hexdigest()[:16],
    )


def _step(step: Step) -> StepLine:
    return StepLine(
        verb=step.verb,
        thing=step.thing,
        subject=step.subject,
        changes=[
            ChangeLine(what=one.what, before=one.before, after=one.after) for one in step.changes
        ],
        danger=step.danger or "",
        blocked=step.blocked,
    )


def _later(one: Later) -> LaterLine:
    change = one.change
    return LaterLine(thing=one.thing, what=change.what, before=change.before, after=change.after)


def _unlisted(found: Unlisted) -> dict[str, list[str]]:
    kinds = {
        "users": found.users,
        "virtual hosts": found.vhosts,
        "policies": found.policies,
        "plugins": found.plugins,
        "settings": found.config,
    }
    return {kind: list(names) for kind, names in kinds.items() if names}
