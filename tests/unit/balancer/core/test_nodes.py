"""The node table: fitness as transcripts, choices, counts while nodes come and go."""

from collections.abc import Sequence
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.balancer.core.nodes import Health, NodeTable
from warrener.balancer.core.policies import Candidate, make_policy
from warrener.facts.balance import Backend, BackendStatistics
from warrener.facts.happenings import Event
from warrener.facts.ids import NodeName
from warrener.facts.reasons import Choice, Unfit
from warrener.facts.settings import DEFAULT_WEIGHT, PolicyName
from warrener.facts.snapshot import ClusterSnapshot, NodeView
from warrener.facts.telemetry import Decision

N1, N2, N3, N4, N5 = (NodeName(f"n{number}@localhost") for number in range(1, 6))
ALL = (N1, N2, N3, N4, N5)


def backend(name: NodeName, port: int = 0) -> Backend:
    return Backend(name, "127.0.0.1", port or 5670 + int(name[1]))


class First:
    """A policy that takes the first and remembers what it was offered."""

    def __init__(self) -> None:
        self.offered: list[tuple[Candidate, ...]] = []
        self.sources: list[str] = []

    def choose(self, candidates: Sequence[Candidate], source: str) -> NodeName:
        self.offered.append(tuple(candidates))
        self.sources.append(source)
        return candidates[0].name


class Table:
    """A NodeTable with its events written down."""

    def __init__(
        self,
        *names: NodeName,
        rise: int = 2,
        fall: int = 2,
        fit: bool = True,
        weights: dict[NodeName, int] | None = None,
    ) -> None:
        self.events: list[Event] = []
        self.policy = First()
        self.table = NodeTable(
            [backend(name) for name in names],
            PolicyName.ROUNDROBIN,
            lambda name: self.policy,
            weights=weights,
            rise=rise,
            fall=fall,
            on_event=self.events.append,
        )
        if fit:
            for name in names:
                self.table.probed(name, None)
            self.events.clear()

    def transcript(self, outcomes: str) -> str:
        """Play probes of n1 (``+`` good, ``-`` refused, ``?`` hangs); its fitness after each."""
        shown = ""
        for outcome in outcomes:
            why = {"+": None, "-": Unfit.REFUSES, "?": Unfit.HANGS}[outcome]
            self.table.probed(N1, why, "why not" if why else "")
            shown += {
                None: "+",
                Unfit.REFUSES: "-",
                Unfit.HANGS: "?",
                Unfit.NOT_PROBED: "0",
            }[self.table.unfit(N1)]
        return shown

    def told(self) -> list[str]:
        """Events since the last call, short."""
        told = [f"{event.kind} {event.subject[:2]} {event.reason}".strip() for event in self.events]
        self.events.clear()
        return told

    def row(self, name: NodeName) -> BackendStatistics:
        return next(row for row in self.table.statistics() if row.name == name)

    def fit(self) -> list[str]:
        return [name[:2] for name in ALL if name in self.known() and not self.table.unfit(name)]

    def known(self) -> set[NodeName]:
        return {each.name for each in self.table.backends()}


def view(
    *names: str, source: NodeName = N1, partitions: Sequence[NodeName] = ()
) -> ClusterSnapshot:
    """A snapshot: ``n1`` runs, ``-n1`` doesn't, ``~n1`` is drained, ``|n1`` sees a partition."""
    rows = []
    for name in names:
        plain = NodeName(name.lstrip("-~|") + "@localhost")
        rows.append(
            NodeView(
                plain,
                running=not name.startswith("-"),
                being_drained=name.startswith("~"),
                partitions=tuple(partitions) if name.startswith("|") else (),
            )
        )
    return ClusterSnapshot(source, 0.0, "cluster", tuple(rows))


# -- probes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rise", "fall", "outcomes", "fitness"),
    [
        (2, 2, "+", "+"),  # a node that was never probed is fit at its first success
        (5, 5, "+", "+"),
        (2, 2, "-+", "0+"),  # also when its first probe failed
        (2, 2, "--", "0-"),
        (2, 1, "-", "-"),
        (2, 3, "---+", "00--"),
        (2, 2, "+-", "++"),  # one failure is not yet a fall
        (2, 2, "+--", "++-"),
        (2, 2, "+--++", "++--+"),
        (1, 1, "+-+-", "+-+-"),
        (3, 2, "+--++-+++", "++------+"),  # a failure starts the rise anew
        (2, 3, "+--+--+---", "+++++++++-"),  # a success starts the fall anew
        (2, 2, "+-+-+-+-", "++++++++"),  # flapping below the threshold changes nothing
        (2, 2, "+--+-+-+-", "++-------"),  # nor does it above
        (2, 2, "+-?", "++?"),  # the last failure says why
        (2, 2, "+--?", "++-?"),
    ],
)
def test_rise_and_fall(rise: int, fall: int, outcomes: str, fitness: str) -> None:
    assert Table(N1, rise=rise, fall=fall, fit=False).transcript(outcomes) == fitness


@given(st.text("+-?", max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_a_change_takes_the_last_rise_or_fall_outcomes(outcomes: str, rise: int, fall: int) -> None:
    """Against the definition: fit after ``rise`` successes in a row (one, if never probed before
    or never unfit), unfit after ``fall`` failures in a row; else as before."""
    shown = Table(N1, rise=rise, fall=fall, fit=False).transcript(outcomes)
    before = "0"
    for end in range(1, len(outcomes) + 1):
        seen = outcomes[:end].replace("?", "-")
        needed = 1 if before == "0" else rise
        fails = seen.endswith("-" * (1 if before in "-?" else fall))
        if before != "+" and seen.endswith("+" * needed):
            expected = "+"
        else:
            expected = outcomes[end - 1] if fails else before
        assert shown[end - 1] == expected
        before = expected


@given(st.text("+-?", max_size=40))
def test_an_event_is_told_for_every_change_of_fitness_and_for_nothing_else(outcomes: str) -> None:
    table = Table(N1, fit=False)
    shown = "0" + table.transcript(outcomes)
    changes = [after for before, after in pairwise(shown) if after != before]
    words = {"+": "node.fit n1", "-": "node.unfit n1 refuses", "?": "node.unfit n1 hangs"}
    assert table.told() == [words[change] for change in changes]


def test_an_event_says_why_in_words_for_people() -> None:
    table = Table(N1, fall=1)
    table.table.probed(N1, Unfit.REFUSES, "connection refused")
    assert table.events == [Event("node.unfit", N1, "refuses", {"detail": "connection refused"})]
    assert table.row(N1).unfit_detail == "connection refused"
    table.table.probed(N1, None)
    table.table.probed(N1, None)
    assert table.row(N1).unfit_detail == ""


def test_a_failed_handshake_counts_as_a_failed_probe_and_as_a_failure() -> None:
    table = Table(N1)
    table.table.handshake_failed(N1, Unfit.HANGS, "no answer in time")
    assert table.fit() == ["n1"]
    table.table.probed(N1, Unfit.REFUSES, "refused")
    assert table.told() == ["node.unfit n1 refuses"]
    row = table.row(N1)
    assert (row.failures_total, row.probes_total, row.probes_failed) == (1, 2, 1)


def test_what_is_said_of_a_node_that_was_taken_out_is_ignored() -> None:
    table = Table(N1, N2)
    table.table.set_backends([backend(N1)])
    for _ in range(5):
        table.table.probed(N2, Unfit.REFUSES, "")
        table.table.handshake_failed(N2, Unfit.REFUSES, "")
    assert table.told() == []
    assert table.table.unfit(N2) is None


def test_health_alone_starts_unprobed() -> None:
    health = Health(rise=2, fall=2)
    assert (health.unfit, health.probes) == (Unfit.NOT_PROBED, 0)


# -- the cluster's own view ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("snapshot", "fit", "told"),
    [
        (view("n1", "n2", "n3"), "n1 n2 n3", []),
        (view("n1", "-n2", "n3"), "n1 n3", ["node.unfit n2 not_running"]),
        (view("n1", "~n2", "n3"), "n1 n3", ["node.unfit n2 drained"]),
        # A node that sees one of three has no majority with it.
        (view("n1", "|n2", "n3", partitions=[N1, N3]), "n1 n3", ["node.unfit n2 minority"]),
        (view("n1", "|n2", "n3", partitions=[N1]), "n1 n2 n3", []),
        # Of two halves neither is accused: accusing both would leave nobody.
        (view("n1", "|n2", "n3", "n4", partitions=[N1, N3]), "n1 n2 n3", []),
        # A teller that sees half of its cluster or less may itself be cut off.
        (view("n1", "-n2", "-n3"), "n1 n2 n3", []),
        (view("n1", "-n2"), "n1 n2 n3", []),
        (view("n1", "~n2", "-n3", "-n4"), "n1 n2 n3", []),
        # Nodes that the balancer doesn't have count for the majority.
        (view("n1", "-n2", "-n3", "n4", "n5"), "n1", None),
        # A node that the cluster doesn't know is left to its probes.
        (view("n1", "n2"), "n1 n2 n3", []),
    ],
)
def test_verdicts(snapshot: ClusterSnapshot, fit: str, told: list[str] | None) -> None:
    table = Table(N1, N2, N3)
    table.table.apply_snapshot(snapshot)
    assert table.fit() == fit.split()
    assert table.table.fit_count() == len(fit.split())
    if told is not None:
        assert table.told() == told


def test_a_verdict_is_told_once_and_taken_back_when_the_view_changes_or_is_lost() -> None:
    table = Table(N1, N2, N3)
    for _ in range(3):
        table.table.apply_snapshot(view("n1", "~n2", "n3"))
    assert table.told() == ["node.unfit n2 drained"]
    table.table.apply_snapshot(view("n1", "-n2", "n3"))
    assert table.told() == ["node.unfit n2 not_running"]
    assert table.row(N2).unfit_detail == "n1 says that it doesn't run"
    table.table.apply_snapshot(None)
    assert table.told() == ["node.fit n2"]


def test_a_good_probe_does_not_outvote_the_cluster_nor_a_good_view_the_probes() -> None:
    table = Table(N1, N2, N3)
    table.table.apply_snapshot(view("n1", "~n2", "n3"))
    table.table.probed(N2, None)
    assert table.table.unfit(N2) is Unfit.DRAINED
    table.transcript("--")
    table.table.apply_snapshot(view("n1", "n2", "n3"))
    assert table.table.unfit(N1) is Unfit.REFUSES
    assert table.fit() == ["n2", "n3"]


def test_what_a_probe_found_goes_before_the_verdict_and_the_verdict_stays() -> None:
    table = Table(N1, N2, N3)
    table.table.apply_snapshot(view("~n1", "n2", "n3", source=N2))
    for _ in range(2):
        table.table.probed(N1, Unfit.REFUSES, "refused")
    assert table.table.unfit(N1) is Unfit.REFUSES
    table.table.probed(N1, None)
    table.table.probed(N1, None)
    assert table.table.unfit(N1) is Unfit.DRAINED


# -- choosing -----------------------------------------------------------------------------------


def chosen(table: Table, tried: Sequence[NodeName] = ()) -> str | None:
    found = table.table.choose("10.0.0.1", tried)
    return found.backend.name[:2] if found else None


def offered(table: Table) -> list[tuple[str, int]]:
    """What the policy was last shown: names and weights."""
    return [(each.name[:2], each.weight) for each in table.policy.offered[-1]]


def test_a_choice_says_where_why_and_by_which_policy() -> None:
    table = Table(N1, N2)
    found = table.table.choose("10.0.0.1")
    assert found is not None
    assert (found.backend, found.choice, found.policy) == (
        backend(N1),
        Choice.POLICY,
        PolicyName.ROUNDROBIN,
    )
    assert table.policy.sources == ["10.0.0.1"]
    again = table.table.choose("10.0.0.1", {N1})
    assert again is not None
    assert (again.backend, again.choice) == (backend(N2), Choice.RETRY)


def test_only_fit_nodes_that_were_not_tried_are_offered() -> None:
    table = Table(N1, N2, N3, N4)
    table.transcript("--")
    table.table.apply_snapshot(view("n1", "~n2", "n3", "n4", source=N3))
    assert chosen(table) == "n3"
    assert offered(table) == [("n3", DEFAULT_WEIGHT), ("n4", DEFAULT_WEIGHT)]
    assert chosen(table, [N3]) == "n4"
    assert chosen(table, [N3, N4]) is None


def test_no_node_is_chosen_before_it_was_probed_or_when_there_is_none() -> None:
    assert chosen(Table(N1, N2, fit=False)) is None
    assert chosen(Table()) is None


def test_a_node_of_weight_0_is_offered_only_when_no_other_is_left() -> None:
    table = Table(N1, N2, N3, weights={N1: 0, N3: 0})
    assert chosen(table) == "n2"
    assert offered(table) == [("n2", DEFAULT_WEIGHT)]
    assert chosen(table, [N2]) == "n1"
    assert offered(table) == [("n1", 1), ("n3", 1)]  # a policy never sees weight 0
    assert chosen(table, [N2, N1]) == "n3"


@pytest.mark.parametrize("policy", list(PolicyName))
def test_every_policy_works_with_weights_of_0(policy: PolicyName) -> None:
    table = NodeTable(
        map(backend, ALL[:3]),
        policy,
        lambda name: make_policy(name, Random(3)),
        weights={N1: 0, N2: 0, N3: 7},
    )
    for name in ALL[:3]:
        table.probed(name, None)
    for _ in range(20):
        only = table.choose("10.0.0.1")
        assert only is not None
        assert only.backend.name == N3
        other = table.choose("10.0.0.1", {N3})
        assert other is not None
        assert other.backend.name in (N1, N2)


def test_sessions_are_shown_to_the_policy() -> None:
    table = Table(N1, N2)
    table.table.session_added(N2)
    table.table.session_added(N2)
    chosen(table)
    assert [each.sessions for each in table.policy.offered[-1]] == [0, 2]


# -- settings -----------------------------------------------------------------------------------


def test_weights_are_set_told_and_checked() -> None:
    table = Table(N1, N2, weights={N2: 40})
    assert [row.weight for row in table.table.statistics()] == [DEFAULT_WEIGHT, 40]
    table.table.set_weight(N1, 1000)
    table.table.set_weight(N2, 0)
    assert [row.weight for row in table.table.statistics()] == [1000, 0]
    assert [event.detail for event in table.events] == [
        {"was": 100, "is": 1000},
        {"was": 40, "is": 0},
    ]
    table.events.clear()
    for wrong in (-1, 1001):
        with pytest.raises(ValueError, match=f"a weight is 0 to 1000, not {wrong}"):
            table.table.set_weight(N1, wrong)
    with pytest.raises(KeyError):
        table.table.set_weight(N3, 5)
    assert table.events == []
    assert [row.weight for row in table.table.statistics()] == [1000, 0]


def test_a_policy_is_changed_told_and_starts_afresh() -> None:
    made: list[PolicyName] = []
    events: list[Event] = []

    def make(name: PolicyName) -> First:
        made.append(name)
        return First()

    table = NodeTable([backend(N1)], PolicyName.ROUNDROBIN, make, on_event=events.append)
    table.set_policy(PolicyName.P2C)
    assert (table.policy, made[-1]) == (PolicyName.P2C, PolicyName.P2C)
    assert events == [Event("balancer.policy", "p2c", detail={"was": "roundrobin"})]
    table.set_policy(PolicyName.P2C)
    assert len(events) == 1


# -- nodes come and go --------------------------------------------------------------------------


def test_nodes_that_stay_keep_health_weight_and_counts() -> None:
    table = Table(N1, N2)
    table.table.set_weight(N1, 7)
    table.table.session_added(N1)
    table.table.handshake_failed(N1, Unfit.HANGS, "")
    before = table.row(N1)
    table.events.clear()
    table.table.set_backends([backend(N3), backend(N1)])
    assert table.row(N1) == before
    assert [each.name for each in table.table.backends()] == [N3, N1]
    assert table.told() == []
    assert table.transcript("-") == "-"  # the failure from before counts on


def test_a_new_node_waits_for_its_first_probe() -> None:
    table = Table(N1)
    table.table.set_backends([backend(N1), backend(N2)])
    assert table.table.unfit(N2) is Unfit.NOT_PROBED
    table.table.probed(N2, None)
    assert table.told() == ["node.fit n2"]


def test_a_node_that_moved_to_another_port_is_probed_anew_and_keeps_its_sessions() -> None:
    table = Table(N1, N2)
    table.table.session_added(N1)
    table.table.set_backends([backend(N1, 9999), backend(N2)])
    assert table.table.unfit(N1) is Unfit.NOT_PROBED
    assert (table.row(N1).port, table.row(N1).sessions) == (9999, 1)
    assert chosen(table) == "n2"
    table.table.probed(N1, None)
    found = table.table.choose("", ())
    assert found is not None
    assert found.backend.port == 9999


def test_weights_set_by_hand_outlive_a_nodes_absence() -> None:
    table = Table(N1, N2)
    table.table.set_weight(N2, 3)
    table.table.set_backends([backend(N1)])
    table.table.set_backends([backend(N1), backend(N2)])
    assert table.row(N2).weight == 3


def test_sessions_of_a_node_taken_out_and_put_back_are_still_counted() -> None:
    table = Table(N1, N2)
    for _ in range(3):
        table.table.session_added(N2)
    table.table.set_backends([backend(N1)])
    table.table.session_removed(N2)
    table.table.set_backends([backend(N1), backend(N2)])
    assert table.row(N2).sessions == 2
    table.table.session_removed(N2)
    table.table.session_removed(N2)
    assert table.row(N2).sessions == 0


def test_a_session_too_many_is_our_bug() -> None:
    table = Table(N1)
    with pytest.raises(AssertionError, match="more sessions left"):
        table.table.session_removed(N1)


@given(st.lists(st.tuples(st.sampled_from("+-oi"), st.sampled_from(ALL[:3])), max_size=60))
def test_session_counts_are_exact_through_all_comings_and_goings(
    steps: list[tuple[str, NodeName]],
) -> None:
    """Sessions start (+) and end (-) while nodes are taken out (o) and put back in (i)."""
    table = Table(N1, N2, N3)
    open_ = dict.fromkeys(ALL[:3], 0)
    present = list(ALL[:3])
    for step, name in steps:
        if step == "+":
            table.table.session_added(name)
            open_[name] += 1
        elif step == "-" and open_[name]:
            table.table.session_removed(name)
            open_[name] -= 1
        elif step == "o" and name in present:
            present.remove(name)
        elif step == "i" and name not in present:
            present.append(name)
        if step in "oi":
            table.table.set_backends(map(backend, present))
        assert {row.name: row.sessions for row in table.table.statistics()} == {
            name: open_[name] for name in present
        }


def test_decisions_are_counted_by_policy_choice_and_node() -> None:
    table = Table(N1, N2)
    for tried in ((), (), (N1,)):
        table.table.choose("10.0.0.1", tried)
    table.table.set_policy(PolicyName.P2C)
    table.table.choose("10.0.0.1")
    assert table.table.choose("10.0.0.1", (N1, N2)) is None
    assert table.table.decisions() == (
        Decision("p2c", "policy", N1, 1),
        Decision("roundrobin", "policy", N1, 2),
        Decision("roundrobin", "retry", N2, 1),
    )
