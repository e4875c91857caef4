"""The vocabulary of plans: steps, what each does, and what is there. Frozen values; ``topology``
derives the steps, ``warrener.daemon.applying`` takes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from warrener.cluster.policy_keys import Release
from warrener.cluster.spec import ClusterSpec
from warrener.cluster.wanted import Permission, Policy, PolicyId, Queue, Scalar, VHost
from warrener.facts.ids import NodeName
from warrener.facts.settings import PolicyName


class Verb(StrEnum):
    MAKE = "make"
    CHANGE = "change"
    REMOVE = "remove"


class Thing(StrEnum):
    """What a step is about."""

    PLUGINS = "plugins"
    CLUSTER = "cluster"
    NODE = "node"
    VHOST = "virtual host"
    USER = "user"
    POLICY = "policy"
    OPERATOR_POLICY = "operator policy"
    QUEUE = "queue"
    CONFIG = "config"
    BALANCER = "balancer"


class Danger(StrEnum):
    """Why to look twice."""

    REMOVES = "removes"  # something that can't be had back by taking the step back
    RESTARTS = "restarts nodes"
    MOVES_DATA = "moves data"
    LOCKS_OUT = "locks out"  # clients that work now may be refused


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that becomes another. Empty: not there."""

    what: str
    before: str
    after: str


# -- what can be done: each action is one thing for whoever takes the steps


@dataclass(frozen=True, slots=True)
class SetPlugins:
    """Exactly these, on every node."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NameCluster:
    name: str


@dataclass(frozen=True, slots=True)
class AddNode:
    """It joins; if it has, it gets its share of replicas."""

    name: NodeName


@dataclass(frozen=True, slots=True)
class RemoveNode:
    name: NodeName


@dataclass(frozen=True, slots=True)
class PutVHost:
    """Makes or changes it; not its limits."""

    vhost: VHost


@dataclass(frozen=True, slots=True)
class DeleteVHost:
    name: str


@dataclass(frozen=True, slots=True)
class LimitVHost:
    """``value`` None: no limit."""

    vhost: str
    limit: str
    value: int | None


@dataclass(frozen=True, slots=True)
class PutUser:
    """Makes or changes a user, not its permissions and limits. ``password`` None: one is generated,
    or with ``keep`` it stays as it is."""

    name: str
    tags: tuple[str, ...]
    password: str | None = field(default=None, repr=False)
    keep: bool = False


@dataclass(frozen=True, slots=True)
class DeleteUser:
    name: str


@dataclass(frozen=True, slots=True)
class LimitUser:
    """``value`` None: no limit."""

    user: str
    limit: str
    value: int | None


@dataclass(frozen=True, slots=True)
class Permit:
    """``permission`` None: the user may nothing there any more."""

    user: str
    vhost: str
    permission: Permission | None


@dataclass(frozen=True, slots=True)
class PutPolicy:
    policy: Policy


@dataclass(frozen=True, slots=True)
class DeletePolicy:
    id: PolicyId


@dataclass(frozen=True, slots=True)
class MakeQueue:
    queue: Queue


@dataclass(frozen=True, slots=True)
class SetConfig:
    """``value`` None: it is as if nobody had ever chosen one."""

    key: str
    value: Scalar | None


@dataclass(frozen=True, slots=True)
class SetBalancerPolicy:
    policy: PolicyName


@dataclass(frozen=True, slots=True)
class SetAutoWeights:
    """Weights follow what nodes can carry, or don't any more."""

    on: bool


@dataclass(frozen=True, slots=True)
class SetWeight:
    node: NodeName
    weight: int


Action = (
    SetPlugins | NameCluster | AddNode | RemoveNode | PutVHost | DeleteVHost | LimitVHost | PutUser
    | DeleteUser | LimitUser | Permit | PutPolicy | DeletePolicy | MakeQueue | SetConfig
    | SetBalancerPolicy | SetAutoWeights | SetWeight
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """``blocked`` says why it can't be taken, empty if it can."""

    verb: Verb
    thing: Thing
    subject: str
    changes: tuple[Change, ...]
    action: Action = field(repr=False)
    danger: Danger | None = None
    blocked: str = ""


@dataclass(frozen=True, slots=True)
class Later:
    """A setting that is taken at the next ``warrener up``."""

    thing: Thing
    change: Change


# -- what is there


@dataclass(frozen=True, slots=True)
class ObservedUser:
    name: str
    tags: tuple[str, ...] = ()
    password_hash: str = field(default="", repr=False)
    hashing: str = ""
    permissions: Mapping[str, Permission] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observed:
    """What a running cluster holds. ``own_user`` is left out of ``users``; ``queues`` has those
    that are asked for; ``config`` the settings that are in force, as far as anybody tells;
    ``chosen`` those that somebody chose, by a description or with ``config set``, as they may be
    shown; ``started_as`` what the daemon was started with; ``unspread`` are nodes that have joined
    without being given replicas; ``unreached`` virtual hosts in which Warrener's own user has no
    permissions, so that it can't declare queues there."""

    release: Release
    cluster_name: str
    nodes: tuple[NodeName, ...]
    plugins: frozenset[str]
    vhosts: Mapping[str, VHost]
    users: Mapping[str, ObservedUser]
    policies: Mapping[PolicyId, Policy]
    queues: Mapping[tuple[str, str], Queue]
    config: Mapping[str, Scalar]
    balancer_policy: PolicyName
    weights: Mapping[NodeName, int]
    started_as: ClusterSpec
    chosen: Mapping[str, str] = field(default_factory=dict)
    unspread: tuple[NodeName, ...] = ()
    unreached: frozenset[str] = frozenset()
    auto_weights: bool = False


@dataclass(frozen=True, slots=True)
class Unlisted:
    """What is there and not in the file."""

    users: tuple[str, ...] = ()
    vhosts: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    config: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.users or self.vhosts or self.policies or self.plugins or self.config)


@dataclass(frozen=True, slots=True)
class Plan:
    """``unlisted`` is empty when it is pruned: then there are steps for it."""

    steps: tuple[Step, ...]
    later: tuple[Later, ...]
    unlisted: Unlisted
