"""From what is wanted and what is there to the steps between them. Pure.

    observed, wanted -> Plan(steps, later, unlisted)

A step says what it does for people (kind, subject, changes, danger) and has an ``action``, which
says the same for whoever takes it. The order is that of ``_Planner.plan``: what others need first
(plugins, nodes, virtual hosts, users), settings after that, removals last. Steps are derived anew
from observation each time; nothing is remembered between two plans, so a plan that was cut off
anywhere goes on where it stopped.

What the file describes, it describes whole: a user in it has exactly the tags, permissions and
limits that stand there. What it doesn't describe is left alone, unless ``prune``; Warrener's own
user, the virtual host ``/``, and queues are never removed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Final

from warrener.cluster.password_hash import is_password
from warrener.cluster.spec import ClusterSpec
from warrener.cluster.topology_steps import (
    AddNode,
    Change,
    Danger,
    DeletePolicy,
    DeleteUser,
    DeleteVHost,
    Later,
    LimitUser,
    LimitVHost,
    MakeQueue,
    NameCluster,
    Observed,
    ObservedUser,
    Permit,
    Plan,
    PutPolicy,
    PutUser,
    PutVHost,
    RemoveNode,
    SetAutoWeights,
    SetBalancerPolicy,
    SetConfig,
    SetPlugins,
    SetWeight,
    Step,
    Thing,
    Unlisted,
    Verb,
)
from warrener.cluster.wanted import (
    DEFAULT_VHOST,
    OWN_USER,
    Policy,
    PolicyId,
    Queue,
    User,
    VHost,
)
from warrener.facts.healing import HealingSettings
from warrener.facts.history import HistorySettings
from warrener.facts.ids import NodeName, short_name
from warrener.facts.settings import DEFAULT_WEIGHT, BalancerSettings
from warrener.facts.telemetry import TelemetrySettings
from warrener.facts.tls import TlsSettings

TYPE_CHANGES_SINCE: Final = (3, 12)
"""Before, the management API takes a virtual host's default queue type only when it makes it."""


_LATER: Final = (
    ("tls", TlsSettings),
    ("history", HistorySettings),
    ("healing", HealingSettings),
    ("telemetry", TelemetrySettings),
)
"""Parts of the description that only a new daemon takes."""


def plan(
    spec: ClusterSpec,
    observed: Observed,
    passwords: Mapping[str, str],
    *,
    prune: bool = False,
) -> Plan:
    """The steps from ``observed`` to ``spec``. ``passwords`` has those that are known; a user
    without one gets a generated one."""
    return _Planner(spec, observed, passwords, prune).plan()


class _Planner:
    def __init__(
        self, spec: ClusterSpec, observed: Observed, passwords: Mapping[str, str], prune: bool
    ) -> None:
        self._spec = spec
        self._wanted = spec.wanted
        self._seen = observed
        self._passwords = passwords
        self._prune = prune
        self._unlisted = self._find_unlisted()
        self._coming = self._new_nodes()

    def plan(self) -> Plan:
        steps: list[Step] = [
            *self._plugins_to_enable(),
            *self._name(),
            *self._nodes_to_add(),
        ]
        for vhost in self._wanted.vhosts:
            steps += self._vhost(vhost)
        for user in self._wanted.users:
            steps += self._user(user)
        for policy in self._wanted.policies:
            steps += self._policy(policy)
        for queue in self._wanted.queues:
            steps += self._queue(queue)
        steps += self._balancer()
        steps += self._config()
        if self._prune:
            steps += self._removals()
        steps += self._nodes_to_remove()
        unlisted = Unlisted() if self._prune else self._unlisted
        return Plan(tuple(steps), tuple(self._later()), unlisted)

    # -- the cluster itself

    def _plugins_to_enable(self) -> Iterator[Step]:
        missing = [name for name in self._spec.plugins if name not in self._seen.plugins]
        if missing:
            after = tuple(sorted({*self._seen.plugins, *missing}))
            changes = tuple(Change(name, "off", "on") for name in missing)
            yield Step(Verb.CHANGE, Thing.PLUGINS, "on every node", changes, SetPlugins(after))

    def _name(self) -> Iterator[Step]:
        before, after = self._seen.cluster_name, self._spec.name
        if before != after:
            change = Change("name", before, after)
            yield Step(Verb.CHANGE, Thing.CLUSTER, after, (change,), NameCluster(after))

    def _new_nodes(self) -> list[NodeName]:
        """As many as are wanted, whatever their names: a cluster may have n1 and n3, and no n2."""
        if not self._spec.nodes_given:
            return []
        free = [name for name in self._spec.possible_names if name not in self._seen.nodes]
        if self._spec.hosts:  # these have their names from where they are
            return free
        return free[: max(0, self._spec.nodes - len(self._seen.nodes))]

    def _nodes_to_add(self) -> Iterator[Step]:
        going = self._seen.nodes[self._spec.nodes :] if self._spec.nodes_given else ()
        for name in self._seen.unspread:
            if name in going:
                continue
            change = Change("replicas", "", "its share")
            yield Step(Verb.CHANGE, Thing.NODE, short_name(name), (change,), AddNode(name))
        for name in self._coming:
            yield Step(Verb.MAKE, Thing.NODE, short_name(name), self._on(name), AddNode(name))

    def _on(self, name: NodeName) -> tuple[Change, ...]:
        """Where a node on another machine comes to be, and what may be installed there for it."""
        host = next((host for host in self._spec.hosts if host.name == name), None)
        if host is None:
            return ()
        changes = [Change("host", "", host.host)]
        if host.install:
            changes.append(Change("RabbitMQ", "", "installed by apt-get, if it is missing there"))
        return tuple(changes)

    def _nodes_to_remove(self) -> Iterator[Step]:
        """Those that came last go first."""
        if not self._spec.nodes_given:
            return
        going = self._seen.nodes[self._spec.nodes :]
        if self._spec.hosts:
            going = tuple(n for n in self._seen.nodes if n not in self._spec.possible_names)
        for name in reversed(going):
            yield Step(
                Verb.REMOVE,
                Thing.NODE,
                short_name(name),
                (),
                RemoveNode(name),
                Danger.MOVES_DATA,
            )

    # -- virtual hosts

    def _vhost(self, wanted: VHost) -> Iterator[Step]:
        seen = self._seen.vhosts.get(wanted.name)
        if seen is None:
            changes = _changes(_vhost_told(VHost(wanted.name)), _vhost_told(wanted))
            yield Step(Verb.MAKE, Thing.VHOST, wanted.name, changes, PutVHost(wanted))
            seen = VHost(wanted.name)
        else:
            yield from self._change_vhost(wanted, seen)
        for limit, before, after in _limit_changes(seen.limits, wanted.limits):
            yield Step(
                Verb.CHANGE, Thing.VHOST, wanted.name,
                (Change(limit, _number(before), _number(after)),),
                LimitVHost(wanted.name, limit, after),
            )  # fmt: skip

    def _change_vhost(self, wanted: VHost, seen: VHost) -> Iterator[Step]:
        before, after = _vhost_told(seen), _vhost_told(wanted)
        type_change = None
        if wanted.default_queue_type is not None:
            now = seen.default_queue_type or "classic"
            if wanted.default_queue_type != now:
                type_change = Change("default queue type", now, wanted.default_queue_type)
        before.pop("default queue type", None)
        after.pop("default queue type", None)
        can_change_type = self._seen.release >= TYPE_CHANGES_SINCE
        changes = list(_changes(before, after))
        if type_change is not None and can_change_type:
            changes.append(type_change)
        if wanted.name in self._seen.unreached:
            changes.append(Change("Warrener's own access", "none", "all"))
        if changes:
            yield Step(Verb.CHANGE, Thing.VHOST, wanted.name, tuple(changes), PutVHost(wanted))
        if type_change is not None and not can_change_type:
            release = ".".join(map(str, self._seen.release))
            yield Step(
                Verb.CHANGE, Thing.VHOST, wanted.name, (type_change,), PutVHost(wanted),
                blocked=f"RabbitMQ {release} takes it only when the virtual host is made",
            )  # fmt: skip

    # -- users

    def _user(self, wanted: User) -> Iterator[Step]:
        seen = self._seen.users.get(wanted.name)
        password = self._passwords.get(wanted.name)
        told = wanted.password.told
        if seen is None:
            changes = (Change("password", "", told), *_tags_changed((), wanted.tags))
            action = PutUser(wanted.name, wanted.tags, password)
            yield Step(Verb.MAKE, Thing.USER, wanted.name, changes, action)
            seen = ObservedUser(wanted.name)
        else:
            yield from self._change_user(wanted, seen, password)
        for limit, before, after in _limit_changes(seen.limits, wanted.limits):
            yield Step(
                Verb.CHANGE, Thing.USER, wanted.name,
                (Change(limit, _number(before), _number(after)),),
                LimitUser(wanted.name, limit, after),
            )  # fmt: skip
        yield from self._permissions(wanted, seen)

    def _change_user(
        self, wanted: User, seen: ObservedUser, password: str | None
    ) -> Iterator[Step]:
        keep = password is not None and is_password(password, seen.password_hash, seen.hashing)
        changes = [*_tags_changed(seen.tags, wanted.tags)]
        if not keep:
            changes.insert(0, Change("password", "another", wanted.password.told))
        if changes:
            action = PutUser(wanted.name, wanted.tags, None if keep else password, keep)
            danger = None if keep else Danger.LOCKS_OUT
            yield Step(Verb.CHANGE, Thing.USER, wanted.name, tuple(changes), action, danger)

    def _permissions(self, wanted: User, seen: ObservedUser) -> Iterator[Step]:
        for vhost, permission in wanted.permissions.items():
            before = seen.permissions.get(vhost)
            if before == permission:
                continue
            changes = tuple(
                Change(f"{key} in {vhost}", _regex(getattr(before, key, "")), _regex(after))
                for key in ("configure", "write", "read")
                if (after := getattr(permission, key)) != getattr(before, key, "") or before is None
            )
            yield Step(
                Verb.CHANGE, Thing.USER, wanted.name, changes,
                Permit(wanted.name, vhost, permission),
                None if before is None else Danger.LOCKS_OUT,
            )  # fmt: skip
        going = self._unlisted.vhosts if self._prune else ()
        for vhost in seen.permissions:
            if vhost not in wanted.permissions and vhost not in going:
                yield Step(
                    Verb.CHANGE, Thing.USER, wanted.name,
                    (Change(f"permissions in {vhost}", "some", "none"),),
                    Permit(wanted.name, vhost, None),
                    Danger.LOCKS_OUT,
                )  # fmt: skip

    # -- policies and queues

    def _policy(self, wanted: Policy) -> Iterator[Step]:
        seen = self._seen.policies.get(wanted.id)
        if seen == wanted:
            return
        changes = _changes(_policy_told(seen) if seen else {}, _policy_told(wanted))
        verb = Verb.MAKE if seen is None else Verb.CHANGE
        yield Step(verb, _policy_thing(wanted.id), str(wanted.id), changes, PutPolicy(wanted))

    def _queue(self, wanted: Queue) -> Iterator[Step]:
        seen = self._seen.queues.get((wanted.vhost, wanted.name))
        told = _queue_told(wanted)
        if seen is None:
            yield Step(
                Verb.MAKE, Thing.QUEUE, f"{wanted.name} in {wanted.vhost}", _changes({}, told),
                MakeQueue(wanted),
            )  # fmt: skip
            return
        before = _queue_told(seen)
        if wanted.type is None:
            before.pop("type", None)
        if before != told:
            yield Step(
                Verb.CHANGE, Thing.QUEUE, f"{wanted.name} in {wanted.vhost}",
                _changes(before, told), MakeQueue(wanted),
                blocked="a queue is what it was declared as; delete it first, or give another name",
            )  # fmt: skip

    # -- settings

    def _balancer(self) -> Iterator[Step]:
        wanted = self._spec.balancer
        before, after = self._seen.balancer_policy, wanted.policy
        if before != after:
            yield Step(
                Verb.CHANGE, Thing.BALANCER, "policy", (Change("policy", before, after),),
                SetBalancerPolicy(after),
            )  # fmt: skip
        auto = wanted.auto_weights
        if auto != self._seen.auto_weights:
            said = {False: "by hand", True: "auto"}
            yield Step(
                Verb.CHANGE, Thing.BALANCER, "weights",
                (Change("weights", said[not auto], said[auto]),), SetAutoWeights(auto),
            )  # fmt: skip
        if auto:
            return
        weights = {**self._seen.weights, **dict.fromkeys(self._coming, DEFAULT_WEIGHT)}
        for node, weight in weights.items():
            share = wanted.weights.get(node, DEFAULT_WEIGHT)
            if share != weight:
                yield Step(
                    Verb.CHANGE, Thing.BALANCER, f"weight of {short_name(node)}",
                    (Change("weight", str(weight), str(share)),), SetWeight(node, share),
                )  # fmt: skip

    def _config(self) -> Iterator[Step]:
        for key, value in self._spec.config.items():
            before = self._seen.config.get(key)
            if before is None or setting(before) != setting(value):
                change = Change(key, "" if before is None else setting(before), setting(value))
                yield Step(Verb.CHANGE, Thing.CONFIG, key, (change,), SetConfig(key, value))

    def _later(self) -> Iterator[Later]:
        wanted, running = self._spec.balancer, self._seen.started_as.balancer
        for one in fields(BalancerSettings):
            if one.name in ("policy", "weights", "auto_weights") or (
                one.name == "port" and not wanted.port
            ):
                continue
            before, after = getattr(running, one.name), getattr(wanted, one.name)
            if before != after:
                yield Later(Thing.BALANCER, Change(one.name, setting(before), setting(after)))
        for part, kind in _LATER:
            was, will = getattr(self._seen.started_as, part), getattr(self._spec, part)
            for key in fields(kind):
                before, after = getattr(was, key.name), getattr(will, key.name)
                if before != after:
                    what = f"{part}.{key.name}"
                    yield Later(Thing.CLUSTER, Change(what, setting(before), setting(after)))
        for name in ("rabbitmq", "base_port"):
            was, will = getattr(self._seen.started_as, name), getattr(self._spec, name)
            if will is not None and was != will:
                yield Later(Thing.CLUSTER, Change(name, "" if was is None else str(was), str(will)))

    # -- what isn't in the file

    def _find_unlisted(self) -> Unlisted:
        users = {user.name for user in self._wanted.users} | {OWN_USER}
        vhosts = {vhost.name for vhost in self._wanted.vhosts} | {DEFAULT_VHOST}
        policies = {policy.id for policy in self._wanted.policies}
        others = tuple(name for name in self._seen.vhosts if name not in vhosts)
        return Unlisted(
            users=tuple(name for name in self._seen.users if name not in users),
            vhosts=others,
            policies=tuple(
                str(id_)
                for id_ in self._seen.policies
                if id_ not in policies and id_.vhost not in others
            ),
            plugins=tuple(sorted(self._seen.plugins - set(self._spec.plugins))),
            config=tuple(key for key in self._seen.chosen if key not in self._spec.config),
        )

    def _removals(self) -> Iterator[Step]:
        going = set(self._unlisted.vhosts)
        wanted = {policy.id for policy in self._wanted.policies}
        for id_, policy in self._seen.policies.items():
            if id_ not in wanted and id_.vhost not in going:
                yield Step(
                    Verb.REMOVE, _policy_thing(id_), str(id_), _changes(_policy_told(policy), {}),
                    DeletePolicy(id_), Danger.REMOVES,
                )  # fmt: skip
        for user in self._unlisted.users:
            yield Step(Verb.REMOVE, Thing.USER, user, (), DeleteUser(user), Danger.REMOVES)
        for vhost in self._unlisted.vhosts:
            change = Change("queues and messages in it", "all", "none")
            yield Step(
                Verb.REMOVE, Thing.VHOST, vhost, (change,), DeleteVHost(vhost), Danger.REMOVES
            )
        if self._unlisted.plugins:
            changes = tuple(Change(name, "on", "off") for name in self._unlisted.plugins)
            action = SetPlugins(tuple(self._spec.plugins))
            yield Step(Verb.CHANGE, Thing.PLUGINS, "on every node", changes, action, Danger.REMOVES)
        for key in self._unlisted.config:
            change = Change(key, self._seen.chosen[key], "as RabbitMQ has it")
            yield Step(Verb.CHANGE, Thing.CONFIG, key, (change,), SetConfig(key, None))


# -- in words


def setting(value: object) -> str:
    """A setting as ``rabbitmq.conf`` has it; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return str(value)


def _vhost_told(vhost: VHost) -> dict[str, str]:
    told = {
        "description": vhost.description,
        "tags": ", ".join(vhost.tags),
        "default queue type": vhost.default_queue_type or "",
    }
    return {key: value for key, value in told.items() if value}


def _policy_told(policy: Policy) -> dict[str, str]:
    told = {
        "pattern": policy.pattern,
        "apply to": policy.apply_to,
        "priority": str(policy.priority),
    }
    return told | {key: _value(value) for key, value in policy.definition.items()}


def _queue_told(queue: Queue) -> dict[str, str]:
    told = {} if queue.type is None else {"type": queue.type}
    return told | {key: _value(value) for key, value in queue.arguments.items()}


def _value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return '""' if value == "" else setting(value)


def _regex(pattern: str) -> str:
    return pattern or "nothing"


def _number(value: int | None) -> str:
    return "no limit" if value is None else str(value)


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Change, ...]:
    keys = dict.fromkeys((*after, *before))
    return tuple(
        Change(key, before.get(key, ""), after.get(key, ""))
        for key in keys
        if before.get(key) != after.get(key)
    )


def _tags_changed(before: tuple[str, ...], after: tuple[str, ...]) -> tuple[Change, ...]:
    if set(before) == set(after):
        return ()
    return (Change("tags", ", ".join(before) or "none", ", ".join(after) or "none"),)


def _limit_changes(
    before: Mapping[str, int], after: Mapping[str, int]
) -> Iterator[tuple[str, int | None, int | None]]:
    for limit in dict.fromkeys((*after, *before)):
        if before.get(limit) != after.get(limit):
            yield limit, before.get(limit), after.get(limit)


def _policy_thing(id_: PolicyId) -> Thing:
    return Thing.OPERATOR_POLICY if id_.operator else Thing.POLICY
