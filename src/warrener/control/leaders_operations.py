"""Leaders of queues: shown with their load, planned, moved.

Loads are operations a second (a publish, a delivery or an ack each), rates messages a second,
times seconds. The operations are part of ``operations.OPERATIONS``.
"""

import msgspec

from warrener.facts.ids import NodeName
from warrener.facts.leaders import Fixed, LeaderReason, Short


class LeadersShowRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Measures for ``sample`` s; ``limit`` bounds the queues in the answer, the hottest first."""

    sample: float = 2.0
    limit: int = 20


class LeaderNodeLine(msgspec.Struct, frozen=True, kw_only=True):
    """One node. ``why_not``: why it may get no leaders, empty if it may. ``leaders``: by type.
    ``load`` is what it carries, followers included; ``wanted`` what it should, as far as queues
    allow; ``skew`` its load over the mean, by weight. Rates are of the queues it leads."""

    node: NodeName
    why_not: str
    weight: int
    leaders: dict[str, int]
    published: float
    delivered: float
    load: float
    share: float  # of all nodes' load, 0 to 1
    wanted: float
    skew: float


class LeaderQueueLine(msgspec.Struct, frozen=True, kw_only=True):
    """One queue. ``fixed``: why its leader can't be moved, None if it can."""

    vhost: str
    name: str
    type: str
    leader: NodeName | None
    members: tuple[NodeName, ...]
    online: tuple[NodeName, ...]
    published: float
    delivered: float
    acked: float
    load: float
    fixed: Fixed | None


class LeadersShowAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``seconds`` is how long was measured. ``skew`` is the busiest node over the mean, 1.0 at
    best; ``skew_after`` what ``moves`` moves would make of it. ``missing``: nodes that didn't
    tell."""

    nodes: list[LeaderNodeLine]
    queues: list[LeaderQueueLine]
    queues_total: int
    queues_active: int
    mean: float
    skew: float
    moves: int
    skew_after: float
    short: Short | None
    short_node: NodeName | None
    short_queue: str
    seconds: float
    missing: tuple[NodeName, ...]


class LeadersPlanRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Measures for ``sample`` s and plans at most ``max_moves`` moves. ``dry_run``: nothing will be
    moved, so nothing that forbids it is looked for."""

    sample: float = 10.0
    max_moves: int = 1000
    dry_run: bool = False


class LeaderMoveLine(msgspec.Struct, frozen=True, kw_only=True):
    """One move; ``load`` is what the queue costs its leader, ``shift`` what goes with it (the node
    that led it keeps a follower)."""

    vhost: str
    name: str
    source: NodeName
    target: NodeName
    load: float
    shift: float
    reason: LeaderReason


class LeaderShareLine(msgspec.Struct, frozen=True, kw_only=True):
    """One node's load; ``expected`` after the moves. ``after`` is measured, None if it wasn't."""

    node: NodeName
    before: float
    wanted: float
    expected: float
    after: float | None = None
    leaders_before: int
    leaders_expected: int
    leaders_after: int | None = None


class LeadersPlanAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``plan`` is its number, for LeadersBalanceRequest. ``short``: why a node stays more than a
    tenth over the mean, None if none does. ``obstacles``: what forbids to carry it out now."""

    plan: int
    moves: list[LeaderMoveLine]
    nodes: list[LeaderShareLine]
    skew_before: float
    skew_expected: float
    short: Short | None
    short_node: NodeName | None
    short_queue: str
    obstacles: list[str]
    seconds: float


class LeadersBalanceRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Carries out the plan of this number, the last one that was made. Then measures for as long as
    it was measured for the plan. It ends after the moves under way when the asker hangs up."""

    plan: int


class LeadersBalanceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``skipped``: the queue was led by another node by then, or its target was no longer online.
    ``failed``: RabbitMQ didn't move it. ``stopped``: why it ended early, empty if it didn't."""

    moved: int
    skipped: int
    failed: int
    planned: int
    nodes: list[LeaderShareLine]
    skew_before: float
    skew_expected: float
    skew_after: float | None
    stopped: str
    seconds: float
