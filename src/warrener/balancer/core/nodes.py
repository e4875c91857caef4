"""Which nodes there are, which of them are fit, and which one gets the next session.

Fitness comes from three sides:

* probes: a node turns unfit after ``fall`` failures in a row and fit after ``rise`` successes. A
  node that was never probed turns fit at its first success.
* sessions: a node that refuses or hangs in a session's handshake counts as a failed probe, so a
  dead node is noticed as soon as somebody needs it.
* the cluster's own view: a node that RabbitMQ says is not running, is in maintenance mode or isn't
  clustered with the majority is unfit whatever its probe says. No view, or one that is too old,
  says nothing: the caller passes None then.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from warrener.balancer.core.policies import Candidate, Policy
from warrener.facts.balance import Backend, BackendStatistics
from warrener.facts.happenings import Event
from warrener.facts.ids import NodeName, short_name
from warrener.facts.reasons import Choice, Unfit
from warrener.facts.settings import DEFAULT_WEIGHT, MAX_WEIGHT, PolicyName
from warrener.facts.snapshot import ClusterSnapshot
from warrener.facts.telemetry import Decision


@dataclass(frozen=True, slots=True)
class Chosen:
    """A node for a session, and why this one."""

    backend: Backend
    choice: Choice
    policy: PolicyName


@dataclass(slots=True)
class Health:
    """What probes and sessions found out about one node: counts in a row, with hysteresis."""

    rise: int
    fall: int
    unfit: Unfit | None = Unfit.NOT_PROBED
    detail: str = "not probed yet"
    in_a_row: int = 0  # successes while unfit, failures while fit
    probes: int = 0
    failed: int = 0

    def success(self) -> None:
        """The node served AMQP."""
        if self.unfit is None:
            self.in_a_row = 0
            return
        self.in_a_row += 1
        if self.unfit is Unfit.NOT_PROBED or self.in_a_row >= self.rise:
            self.unfit, self.detail, self.in_a_row = None, "", 0

    def failure(self, why: Unfit, detail: str) -> None:
        """The node didn't."""
        if self.unfit is not None:
            if self.unfit is not Unfit.NOT_PROBED or self.in_a_row + 1 >= self.fall:
                self.unfit, self.detail, self.in_a_row = why, detail, 0
            else:
                self.in_a_row += 1
            return
        self.in_a_row += 1
        if self.in_a_row >= self.fall:
            self.unfit, self.detail, self.in_a_row = why, detail, 0


@dataclass(slots=True)
class _Node:
    backend: Backend
    weight: int
    health: Health
    verdict: tuple[Unfit, str] | None = None  # the cluster's own
    drained: bool = False  # by hand
    sessions: int = 0
    sessions_total: int = 0
    failures: int = 0
    reported: Unfit | None = Unfit.NOT_PROBED  # what the last event said

    def unfit(self) -> tuple[Unfit, str] | None:
        if self.drained:
            return Unfit.DRAINED, "drained"
        if self.health.unfit is not None:
            return self.health.unfit, self.health.detail
        return self.verdict


class NodeTable:
    """The nodes a balancer knows. Every method is immediate; events go to ``on_event``."""

    def __init__(
        self,
        backends: Iterable[Backend],
        policy_name: PolicyName,
        make_policy: Callable[[PolicyName], Policy],
        *,
        weights: dict[NodeName, int] | None = None,
        rise: int = 2,
        fall: int = 2,
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self._make_policy = make_policy
        self._policy_name = policy_name
        self._policy = make_policy(policy_name)
        self._weights = dict(weights or {})
        self._rise = rise
        self._fall = fall
        self._on_event = on_event
        self._nodes: dict[NodeName, _Node] = {}
        self._gone: Counter[NodeName] = Counter()  # sessions still open on nodes taken out
        self._decisions: Counter[tuple[PolicyName, Choice, NodeName]] = Counter()
        self.set_backends(backends)

    # -- what there is --------------------------------------------------------------------------

    @property
    def policy(self) -> PolicyName:
        """The policy in force."""
        return self._policy_name

    def set_policy(self, name: PolicyName) -> None:
        """Use another policy for new sessions."""
        if name is not self._policy_name:
            self._on_event(Event("balancer.policy", str(name), detail={"was": self._policy_name}))
        self._policy_name = name
        self._policy = self._make_policy(name)

    def set_weight(self, name: NodeName, weight: int) -> None:
        """Set a node's weight: KeyError if there is no such node, ValueError outside 0..1000."""
        if not 0 <= weight <= MAX_WEIGHT:
            raise ValueError(f"a weight is 0 to {MAX_WEIGHT}, not {weight}")
        node = self._nodes[name]
        self._on_event(Event("node.weight", name, detail={"was": node.weight, "is": weight}))
        node.weight = self._weights[name] = weight

    def set_backends(self, backends: Iterable[Backend]) -> None:
        """Replace the list of nodes; those that stay keep their health and counts.

        ValueError if a name is there twice.
        """
        backends = list(backends)
        names = Counter(backend.name for backend in backends)
        doubled = [name for name, number in names.items() if number > 1]
        if doubled:
            raise ValueError(f"two nodes have the same name: {', '.join(doubled)}")
        old, self._nodes = self._nodes, {}
        for backend in backends:
            node = old.pop(backend.name, None)
            if node is None:
                node = _Node(
                    backend,
                    self._weights.get(backend.name, DEFAULT_WEIGHT),
                    Health(self._rise, self._fall),
                    sessions=self._gone.pop(backend.name, 0),
                )
            elif node.backend != backend:
                node.backend = backend
                node.health = Health(self._rise, self._fall)
            self._nodes[backend.name] = node
        for name, node in old.items():
            if node.sessions:
                self._gone[name] = node.sessions

    def backends(self) -> tuple[Backend, ...]:
        """All nodes, fit or not, in order."""
        return tuple(node.backend for node in self._nodes.values())

    # -- fitness --------------------------------------------------------------------------------

    def probed(self, name: NodeName, why: Unfit | None, detail: str = "") -> None:
        """A probe's outcome: ``why`` is None for a success."""
        node = self._nodes.get(name)
        if node is None:
            return  # taken out while the probe was under way
        node.health.probes += 1
        if why is None:
            node.health.success()
        else:
            node.health.failed += 1
            node.health.failure(why, detail)
        self._report(node)

    def handshake_failed(self, name: NodeName, why: Unfit, detail: str) -> None:
        """A session's handshake on this node failed for a reason that is the node's."""
        node = self._nodes.get(name)
        if node is None:
            return
        node.failures += 1
        node.health.failure(why, detail)
        self._report(node)

    def apply_snapshot(self, snapshot: ClusterSnapshot | None) -> None:
        """Take the cluster's own view, or None when there is none to rely on."""
        verdicts = _verdicts(snapshot) if snapshot is not None else {}
        for name, node in self._nodes.items():
            node.verdict = verdicts.get(name)
            self._report(node)

    def unfit(self, name: NodeName) -> Unfit | None:
        """Why a node is unfit; None if it is fit or unknown."""
        node = self._nodes.get(name)
        found = node.unfit() if node is not None else None
        return found[0] if found else None

    def backend(self, name: NodeName) -> Backend | None:
        """Where a node serves AMQP; None if it isn't known."""
        node = self._nodes.get(name)
        return node.backend if node is not None else None

    def set_drained(self, name: NodeName, drained: bool) -> None:
        """Take a node out of service, or put it back. KeyError if there is no such node."""
        node = self._nodes[name]
        node.drained = drained
        self._report(node)

    def all_fit(self) -> bool:
        """Whether every node is."""
        return all(node.unfit() is None for node in self._nodes.values())

    def fit_count(self) -> int:
        """How many nodes are fit."""
        return sum(1 for node in self._nodes.values() if node.unfit() is None)

    def _report(self, node: _Node) -> None:
        found = node.unfit()
        now = found[0] if found else None
        if now is node.reported:
            return
        node.reported = now
        if found is None:
            self._on_event(Event("node.fit", node.backend.name))
        else:
            why, detail = found
            self._on_event(Event("node.unfit", node.backend.name, why, {"detail": detail}))

    # -- choosing -------------------------------------------------------------------------------

    def choose(self, source: str, tried: Collection[NodeName] = ()) -> Chosen | None:
        """A fit node for a client from ``source`` that isn't in ``tried``; None if there is none.

        A node of weight 0 is taken only when no other is left.
        """
        fit = [
            node for name, node in self._nodes.items() if name not in tried and node.unfit() is None
        ]
        fit = [node for node in fit if node.weight] or fit
        if not fit:
            return None
        name = self._policy.choose(
            [Candidate(node.backend.name, node.weight or 1, node.sessions) for node in fit], source
        )
        choice = Choice.RETRY if tried else Choice.POLICY
        self._decisions[self._policy_name, choice, name] += 1
        return Chosen(self._nodes[name].backend, choice, self._policy_name)

    def session_added(self, name: NodeName) -> None:
        """A session has its home on this node (or is about to)."""
        node = self._nodes.get(name)
        if node is None:
            self._gone[name] += 1
        else:
            node.sessions += 1
            node.sessions_total += 1

    def session_removed(self, name: NodeName) -> None:
        """It no longer has."""
        node = self._nodes.get(name)
        if node is None:
            self._gone[name] -= 1
            if self._gone[name] <= 0:
                del self._gone[name]
        else:
            node.sessions -= 1
            if node.sessions < 0:
                raise AssertionError(f"more sessions left {name} than came")

    def decisions(self) -> tuple[Decision, ...]:
        """How often each node was chosen, by what."""
        return tuple(
            Decision(policy.value, choice.value, node, count)
            for (policy, choice, node), count in sorted(self._decisions.items())
        )

    def statistics(self) -> tuple[BackendStatistics, ...]:
        """Every node, in order."""
        rows = []
        for name, node in self._nodes.items():
            why, detail = node.unfit() or (None, "")
            rows.append(
                BackendStatistics(
                    name=name,
                    host=node.backend.host,
                    port=node.backend.port,
                    weight=node.weight,
                    unfit=why,
                    unfit_detail=detail,
                    sessions=node.sessions,
                    sessions_total=node.sessions_total,
                    failures_total=node.failures,
                    probes_total=node.health.probes,
                    probes_failed=node.health.failed,
                )
            )
        return tuple(rows)


def _verdicts(snapshot: ClusterSnapshot) -> dict[NodeName, tuple[Unfit, str]]:
    """What the cluster's view says against each of its nodes.

    A view from a node that sees half of its cluster or less accuses nobody: it may itself be on
    the wrong side, and what is really down fails its probes anyway.
    """
    teller = short_name(snapshot.source)
    total = len(snapshot.nodes)
    if 2 * sum(1 for node in snapshot.nodes if node.running) <= total:
        return {}
    found: dict[NodeName, tuple[Unfit, str]] = {}
    for node in snapshot.nodes:
        if not node.running:
            found[node.name] = (Unfit.NOT_RUNNING, f"{teller} says that it doesn't run")
        elif node.being_drained:
            found[node.name] = (Unfit.DRAINED, "in maintenance mode")
        elif 2 * (total - len(node.partitions)) < total:  # of two halves neither is accused
            others = ", ".join(short_name(name) for name in node.partitions)
            found[node.name] = (Unfit.MINORITY, f"doesn't see {others}")
    return found
