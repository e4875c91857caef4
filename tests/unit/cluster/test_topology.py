"""Planning: the steps, taken on a model of a cluster, give what is wanted, and then there are none.

The model knows nothing of how a plan is made: it does what an action says.
"""

import hashlib
from base64 import b64encode
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warrener.cluster.hosts import HostSpec
from warrener.cluster.spec import ALWAYS_ON, ClusterSpec
from warrener.cluster.topology import plan
from warrener.cluster.topology_steps import (
    Action,
    AddNode,
    Danger,
    DeletePolicy,
    DeleteUser,
    DeleteVHost,
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
    Thing,
    Verb,
)
from warrener.cluster.wanted import (
    OWN_USER,
    Password,
    PasswordKind,
    Permission,
    Policy,
    PolicyId,
    Queue,
    User,
    VHost,
    Wanted,
)
from warrener.facts.history import HistorySettings
from warrener.facts.ids import NodeName
from warrener.facts.settings import BalancerSettings, PolicyName
from warrener.facts.tls import TlsSettings

N1, N2, N3 = (NodeName(f"n{number}@localhost") for number in (1, 2, 3))
GENERATED = Password(PasswordKind.GENERATED)
SHA256 = "rabbit_password_hashing_sha256"


def hashed(password: str) -> str:
    salt = b"salt"
    return b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


EMPTY = Observed(
    release=(3, 12),
    cluster_name="warrener",
    nodes=(N1, N2, N3),
    plugins=frozenset(ALWAYS_ON),
    vhosts={"/": VHost("/")},
    users={},
    policies={},
    queues={},
    config={},
    balancer_policy=PolicyName.ROUNDROBIN,
    weights={N1: 100, N2: 100, N3: 100},
    started_as=ClusterSpec(),
)


def without(mapping, *keys):  # type: ignore[no-untyped-def]
    return {key: value for key, value in mapping.items() if key not in keys}


def limited(limits, limit, value):  # type: ignore[no-untyped-def]
    return without(limits, limit) if value is None else {**limits, limit: value}


def take(seen: Observed, action: Action) -> Observed:
    """The cluster after one action."""
    match action:
        case SetPlugins(names):
            return replace(seen, plugins=frozenset(names))
        case NameCluster(name):
            return replace(seen, cluster_name=name)
        case AddNode(name) if name in seen.nodes:
            return replace(seen, unspread=tuple(one for one in seen.unspread if one != name))
        case AddNode(name):
            return replace(seen, nodes=(*seen.nodes, name), weights={**seen.weights, name: 100})
        case RemoveNode(name):
            left = tuple(node for node in seen.nodes if node != name)
            unspread = tuple(node for node in seen.unspread if node != name)
            weights = without(seen.weights, name)
            return replace(seen, nodes=left, weights=weights, unspread=unspread)
        case PutVHost(vhost):
            limits = seen.vhosts[vhost.name].limits if vhost.name in seen.vhosts else {}
            kind = vhost.default_queue_type
            if kind is None and vhost.name in seen.vhosts:
                kind = seen.vhosts[vhost.name].default_queue_type
            made = replace(vhost, limits=limits, default_queue_type=kind)
            return replace(
                seen,
                vhosts={**seen.vhosts, vhost.name: made},
                unreached=seen.unreached - {vhost.name},
            )
        case DeleteVHost(name):
            users = {
                user: replace(one, permissions=without(one.permissions, name))
                for user, one in seen.users.items()
            }
            policies = {id_: p for id_, p in seen.policies.items() if id_.vhost != name}
            return replace(seen, vhosts=without(seen.vhosts, name), users=users, policies=policies)
        case LimitVHost(vhost, limit, value):
            one = seen.vhosts[vhost]  # KeyError: a step came too early
            return replace(
                seen,
                vhosts={
                    **seen.vhosts,
                    vhost: replace(one, limits=limited(one.limits, limit, value)),
                },
            )
        case PutUser(name, tags, password, keep):
            assert name != OWN_USER
            before = seen.users.get(name, ObservedUser(name))
            if keep:
                assert name in seen.users
                salted = before.password_hash
            else:
                salted = hashed(password or f"generated for {name}")
            after = replace(before, tags=tags, password_hash=salted, hashing=SHA256)
            return replace(seen, users={**seen.users, name: after})
        case DeleteUser(name):
            assert name != OWN_USER
            return replace(seen, users=without(seen.users, name))
        case LimitUser(user, limit, value):
            one = seen.users[user]
            return replace(
                seen,
                users={**seen.users, user: replace(one, limits=limited(one.limits, limit, value))},
            )
        case Permit(user, vhost, permission):
            assert vhost in seen.vhosts
            one = seen.users[user]
            permissions = without(one.permissions, vhost)
            if permission is not None:
                permissions[vhost] = permission
            return replace(seen, users={**seen.users, user: replace(one, permissions=permissions)})
        case PutPolicy(policy):
            assert policy.id.vhost in seen.vhosts
            return replace(seen, policies={**seen.policies, policy.id: policy})
        case DeletePolicy(id_):
            return replace(seen, policies=without(seen.policies, id_))
        case MakeQueue(queue):
            key = (queue.vhost, queue.name)
            assert queue.vhost in seen.vhosts
            assert key not in seen.queues
            made = replace(queue, type=queue.type or "classic")
            return replace(seen, queues={**seen.queues, key: made})
        case SetConfig(key, value):
            if value is None:
                return replace(
                    seen, config=without(seen.config, key), chosen=without(seen.chosen, key)
                )
            return replace(
                seen,
                config={**seen.config, key: value},
                chosen={**seen.chosen, key: str(value)},
            )
        case SetBalancerPolicy(policy):
            return replace(seen, balancer_policy=policy)
        case SetAutoWeights(on):
            return replace(seen, auto_weights=on)
        case SetWeight(node, weight):
            assert not seen.auto_weights
            assert node in seen.nodes
            return replace(seen, weights={**seen.weights, node: weight})
    raise AssertionError(action)


def taken(seen: Observed, found: Plan) -> Observed:
    for step in found.steps:
        if not step.blocked:
            seen = take(seen, step.action)
    return seen


# -- what may be wanted, and what may be there

names = st.sampled_from(["a", "b", "c"])
vhost_names = st.sampled_from(["/", "v", "w"])
tags = st.lists(st.sampled_from(["monitoring", "policymaker"]), unique=True).map(tuple)
regexes = st.sampled_from(["", ".*", "^a"])
permissions = st.builds(Permission, regexes, regexes, regexes)


def limits(*keys: str) -> st.SearchStrategy[dict[str, int]]:
    return st.dictionaries(st.sampled_from(keys), st.integers(0, 3))


vhosts = st.builds(
    VHost,
    name=vhost_names,
    description=st.sampled_from(["", "x"]),
    tags=tags,
    default_queue_type=st.sampled_from([None, "classic", "quorum"]),
    limits=limits("max-connections", "max-queues"),
)
definitions = st.dictionaries(
    st.sampled_from(["max-length", "expires"]), st.integers(1, 3), min_size=1
)


@st.composite
def policies(draw: st.DrawFn, allowed: list[str]) -> Policy:
    id_ = PolicyId(draw(st.sampled_from(allowed)), draw(names), draw(st.booleans()))
    return Policy(id_, draw(regexes), draw(definitions), "queues", draw(st.integers(-1, 1)))


@st.composite
def specs(draw: st.DrawFn) -> ClusterSpec:
    made = draw(st.lists(vhosts, unique_by=lambda vhost: vhost.name))
    allowed = sorted({"/", *(vhost.name for vhost in made)})
    users = st.builds(
        User,
        name=names,
        password=st.just(GENERATED),
        tags=tags,
        permissions=st.dictionaries(st.sampled_from(allowed), permissions),
        limits=limits("max-connections", "max-channels"),
    )
    queues = st.builds(Queue, st.sampled_from(allowed), names)
    wanted = Wanted(
        vhosts=tuple(made),
        users=tuple(draw(st.lists(users, unique_by=lambda user: user.name))),
        policies=tuple(draw(st.lists(policies(allowed), unique_by=lambda policy: policy.id))),
        queues=tuple(draw(st.lists(queues, unique_by=lambda queue: (queue.vhost, queue.name)))),
    )
    return ClusterSpec(
        name=draw(names),
        nodes=draw(st.integers(1, 5)),
        nodes_given=draw(st.booleans()),
        plugins=(*ALWAYS_ON, *draw(st.sets(st.sampled_from(["p", "q"])))),
        balancer=BalancerSettings(
            policy=draw(st.sampled_from(list(PolicyName))),
            auto_weights=draw(st.booleans()),
            weights=draw(
                st.dictionaries(
                    st.sampled_from([N1, NodeName("n4@localhost")]), st.integers(0, 1000)
                )
            ),
        ),
        wanted=wanted,
        config=draw(st.dictionaries(st.sampled_from(["k", "l"]), st.integers(0, 2))),
    )


def known(spec: ClusterSpec) -> dict[str, str]:
    return {user.name: f"generated for {user.name}" for user in spec.wanted.users}


@st.composite
def clusters(draw: st.DrawFn) -> Observed:
    """What another description, applied to an empty cluster, leaves: it may hold anything."""
    spec = draw(specs())
    seen = taken(EMPTY, plan(spec, EMPTY, known(spec)))
    unspread = draw(st.sets(st.sampled_from(seen.nodes))) if seen.nodes else set()
    release = draw(st.sampled_from([(3, 10), (4, 1)]))
    unreached = draw(st.sets(st.sampled_from(sorted(seen.vhosts)))) if seen.vhosts else set()
    return replace(
        seen,
        release=release,
        unspread=tuple(sorted(unspread)),
        unreached=frozenset(unreached),
    )


@settings(max_examples=150, deadline=None)
@given(specs(), clusters(), st.booleans())
def test_the_steps_lead_to_what_is_wanted(spec: ClusterSpec, seen: Observed, prune: bool) -> None:
    after = taken(seen, plan(spec, seen, known(spec), prune=prune))
    again = plan(spec, after, known(spec), prune=prune)
    assert [step for step in again.steps if not step.blocked] == []
    for user in spec.wanted.users:
        one = after.users[user.name]
        assert one.permissions == user.permissions
        assert one.limits == user.limits
        assert set(one.tags) == set(user.tags)
    for policy in spec.wanted.policies:
        assert after.policies[policy.id] == policy
    for vhost in spec.wanted.vhosts:
        assert after.vhosts[vhost.name].limits == vhost.limits
    if spec.nodes_given:
        assert len(after.nodes) == spec.nodes
    if prune:
        assert set(after.users) == {user.name for user in spec.wanted.users}
        assert set(after.vhosts) == {"/", *(vhost.name for vhost in spec.wanted.vhosts)}
        assert set(after.policies) == {policy.id for policy in spec.wanted.policies}
        assert not again.unlisted
    else:
        assert set(seen.users) <= set(after.users)
        assert set(seen.vhosts) <= set(after.vhosts)
        assert set(seen.policies) <= set(after.policies)


@settings(max_examples=60, deadline=None)
@given(specs(), clusters(), st.booleans(), st.data())
def test_cut_off_anywhere_the_next_plan_goes_on(
    spec: ClusterSpec, seen: Observed, prune: bool, data: st.DataObject
) -> None:
    """Whatever number of steps is taken: the rest is planned, not those again."""
    found = plan(spec, seen, known(spec), prune=prune)
    steps = [step for step in found.steps if not step.blocked]
    cut = data.draw(st.integers(0, len(steps)))
    for step in steps[:cut]:
        seen = take(seen, step.action)
    rest = plan(spec, seen, known(spec), prune=prune)
    left = [step.action for step in rest.steps if not step.blocked]
    assert left == [step.action for step in steps[cut:]]


# -- single rules


def one_user(**changes: object) -> ClusterSpec:
    user = User("a", GENERATED, **changes)  # type: ignore[arg-type]
    return ClusterSpec(wanted=Wanted(users=(user,)))


def test_an_unchanged_password_is_no_step() -> None:
    there = ObservedUser("a", (), hashed("right"), SHA256)
    seen = replace(EMPTY, users={"a": there})
    assert plan(one_user(), seen, {"a": "right"}).steps == ()
    (step,) = plan(one_user(), seen, {"a": "wrong"}).steps
    assert (step.verb, step.danger) == (Verb.CHANGE, Danger.LOCKS_OUT)
    assert step.action == PutUser("a", (), "wrong")
    assert "wrong" not in repr(step)


def test_other_tags_keep_the_password() -> None:
    seen = replace(EMPTY, users={"a": ObservedUser("a", (), hashed("p"), SHA256)})
    (step,) = plan(one_user(tags=("monitoring",)), seen, {"a": "p"}).steps
    assert step.action == PutUser("a", ("monitoring",), None, keep=True)


def test_a_generated_password_that_is_not_made_yet() -> None:
    (step,) = plan(one_user(), EMPTY, {}).steps
    assert step.action == PutUser("a", (), None)
    assert step.changes[0].after == "generated"


def test_a_default_queue_type_that_cannot_be_changed_any_more() -> None:
    spec = ClusterSpec(wanted=Wanted(vhosts=(VHost("/", default_queue_type="quorum"),)))
    (step,) = plan(spec, replace(EMPTY, release=(3, 10)), {}).steps
    assert step.blocked == "RabbitMQ 3.10 takes it only when the virtual host is made"
    (step,) = plan(spec, EMPTY, {}).steps
    assert not step.blocked


def test_a_queue_that_is_declared_otherwise() -> None:
    spec = ClusterSpec(wanted=Wanted(queues=(Queue("/", "q", "quorum"),)))
    seen = replace(EMPTY, queues={("/", "q"): Queue("/", "q", "classic")})
    (step,) = plan(spec, seen, {}).steps
    assert step.blocked.startswith("a queue is what it was declared as")


def test_what_takes_effect_at_the_next_up() -> None:
    spec = ClusterSpec(balancer=BalancerSettings(probe_interval=2.5, port=0, locality=False))
    later = plan(spec, EMPTY, {}).later
    assert [(one.change.what, one.change.before, one.change.after) for one in later] == [
        ("probe_interval", "1", "2.5"),
        ("locality", "true", "false"),
    ]


def test_tls_is_turned_on_and_off_at_the_next_up() -> None:
    spec = ClusterSpec(
        tls=TlsSettings(enabled=True, names=("a", "b")), balancer=BalancerSettings(plain=True)
    )
    told = plan(spec, EMPTY, {})
    assert told.steps == ()
    assert [(one.change.what, one.change.before, one.change.after) for one in told.later] == [
        ("plain", "", "true"),
        ("tls.enabled", "false", "true"),
        ("tls.names", "", "a, b"),
    ]
    back = plan(ClusterSpec(), replace(EMPTY, started_as=spec), {}).later
    assert ("tls.enabled", "false") in [(one.change.what, one.change.after) for one in back]


@pytest.mark.parametrize("prune", [False, True])
def test_nodes_are_counted(prune: bool) -> None:
    """Which ones there are doesn't matter, and nothing is done if nobody said how many."""
    spec = ClusterSpec(nodes=3, nodes_given=True)
    n4 = NodeName("n4@localhost")
    seen = replace(EMPTY, nodes=(N1, N3, n4), weights={N1: 100, N3: 100, n4: 100})
    assert plan(spec, seen, {}, prune=prune).steps == ()
    (step,) = plan(replace(spec, nodes=2), seen, {}, prune=prune).steps
    assert (step.action, step.danger) == (RemoveNode(n4), Danger.MOVES_DATA)
    (step,) = plan(replace(spec, nodes=4), seen, {}, prune=prune).steps
    assert step.action == AddNode(N2)
    assert plan(replace(spec, nodes=9, nodes_given=False), seen, {}, prune=prune).steps == ()


def test_a_node_on_another_host_is_told_with_what_is_installed_there() -> None:
    one, two = (HostSpec(NodeName(f"n{n}@10.0.0.{n}"), f"10.0.0.{n}") for n in (1, 2))
    seen = replace(EMPTY, nodes=(one.name,), weights={one.name: 100})
    for installs in (False, True):
        spec = ClusterSpec(nodes=2, nodes_given=True, hosts=(one, replace(two, install=installs)))
        (step,) = (s for s in plan(spec, seen, {}).steps if s.thing is Thing.NODE)
        told = {change.what: change.after for change in step.changes}
        assert told["host"] == "10.0.0.2"
        assert ("RabbitMQ" in told) is installs


def test_a_node_that_joined_without_replicas_gets_its_share() -> None:
    """What ended the run that added it doesn't matter; one that is to go needs none."""
    spec = ClusterSpec(nodes=3, nodes_given=True)
    seen = replace(EMPTY, nodes=(N1, N2, N3), weights={}, unspread=(N3,))
    (step,) = plan(spec, seen, {}).steps
    assert (step.verb, step.subject, step.action) == (Verb.CHANGE, "n3", AddNode(N3))
    (step,) = plan(replace(spec, nodes=2), seen, {}).steps
    assert step.action == RemoveNode(N3)


def test_what_is_kept_of_history_changes_at_the_next_up() -> None:
    later = plan(ClusterSpec(history=HistorySettings(every=60.0)), EMPTY, {}).later
    assert [(one.change.what, one.change.before, one.change.after) for one in later] == [
        ("history.every", "10", "60")
    ]


def test_automatic_weights_are_one_step_and_no_single_ones() -> None:
    auto = ClusterSpec(balancer=BalancerSettings(auto_weights=True))
    seen = replace(EMPTY, weights={N1: 70, N2: 130, N3: 100})
    steps = [step for step in plan(auto, seen, {}).steps if step.subject.startswith("weight")]
    assert [(step.subject, step.changes[0].before, step.changes[0].after) for step in steps] == [
        ("weights", "by hand", "auto")
    ]
    back = plan(ClusterSpec(), replace(seen, auto_weights=True), {}).steps
    assert [step.subject for step in back if step.subject.startswith("weight")] == [
        "weights",
        "weight of n1",
        "weight of n2",
    ]
