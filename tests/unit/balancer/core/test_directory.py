"""The directory: what it answers, what it believes, and when its version grows."""

from typing import Any, Final

import pytest

from warrener.balancer.core.bounded import MAX_NOTED, NEGATIVE_AGE
from warrener.balancer.core.directory import (
    LEADERLESS_AGE,
    LEADERLESS_AT_ONCE,
    LOST_MARGIN,
    Directory,
    place_of,
)
from warrener.facts.ids import NodeName
from warrener.facts.places import Binding, ExchangeRoutes, Lookup, LookupKind, QueuePlace
from warrener.facts.snapshot import ClusterSnapshot, NodeView, QueueView

V: Final = "/"
N1, N2, N3 = NODES = tuple(NodeName(f"n{i}@localhost") for i in (1, 2, 3))

CLASSIC = QueuePlace(N1, "classic")
QUORUM = QueuePlace(N1, "quorum")


def view(name: str, leader: NodeName | None = N1, type: str = "classic", **more: Any) -> QueueView:
    if type == "quorum":
        more = {"members": NODES, "online": NODES, **more}
    return QueueView(V, name, type, leader, state=more.pop("state", "running"), **more)


def snapshot(
    *queues: QueueView, down: tuple[NodeName, ...] = (), took: float = 0.0
) -> ClusterSnapshot:
    nodes = tuple(NodeView(node, running=node not in down) for node in NODES)
    return ClusterSnapshot(N1, 0.0, "c", nodes, queues, took)


def seen(*queues: QueueView, at: float = 100.0, **more: Any) -> Directory:
    directory = Directory()
    directory.apply_snapshot(snapshot(*queues, **more), at)
    return directory


def lookup(name: str) -> Lookup:
    return Lookup(LookupKind.QUEUE, V, name)


def exchange_lookup(name: str) -> Lookup:
    return Lookup(LookupKind.EXCHANGE, V, name)


# -- snapshots ------------------------------------------------------------------------------------


def test_before_the_first_view_nothing_is_known_and_nothing_is_asked() -> None:
    directory = Directory()
    assert (directory.usable, directory.error) == (False, "nobody has looked at the cluster yet")
    assert directory.place(V, "q", 1.0) is None
    assert directory.destinations(V, "x", "k", 1.0) is None
    assert directory.stale_lookups(1.0) == ()


def test_the_default_exchange_leads_to_the_queue_its_key_names() -> None:
    assert Directory().destinations(V, "", "q", 1.0) == ("q",)
    assert seen().destinations(V, "", "q", 1.0) == ("q",)


def test_a_snapshot_says_where_queues_are() -> None:
    directory = seen(
        view("c"), view("q", N2, "quorum"), view("e", N3, auto_delete=True, exclusive=True)
    )
    assert (directory.usable, directory.error) == (True, "")
    assert directory.place(V, "c", 100.0) == QueuePlace(N1, "classic")
    assert directory.place(V, "q", 100.0) == QueuePlace(N2, "quorum")
    assert directory.place(V, "e", 100.0) == QueuePlace(N3, "classic", True, True, True)
    assert directory.place("other", "c", 100.0) == Lookup(LookupKind.QUEUE, "other", "c")
    assert directory.statistics().queues == 3


def test_whether_some_classic_queue_is_away_follows_the_views() -> None:
    directory = seen(view("a"), view("b", N2), view("r", None, "quorum"))
    assert not directory.classic_away
    directory.apply_snapshot(snapshot(view("a"), view("b", N2), down=(N2,)), 102.0)
    assert directory.classic_away
    directory.apply_snapshot(snapshot(view("a"), view("b", N2)), 104.0)
    assert not directory.classic_away
    directory.node_lost(N1)
    assert directory.classic_away
    directory.apply_snapshot(None, 106.0)
    assert not directory.classic_away


def test_the_version_grows_with_news_only() -> None:
    directory = seen(view("a"), view("b"))
    version = directory.version
    directory.apply_snapshot(snapshot(view("b"), view("a", messages=5), took=0.1), 102.0)
    assert directory.version == version
    directory.apply_snapshot(snapshot(view("a", N2), view("b")), 104.0)
    assert directory.version == version + 1
    directory.apply_snapshot(snapshot(view("a", N2)), 106.0)
    assert directory.version == version + 2
    assert directory.place(V, "b", 106.0) == lookup("b")


def test_without_a_view_everything_is_forgotten() -> None:
    directory = seen(view("q"))
    directory.destinations(V, "x", "k", 100.0)
    directory.looked_up(exchange_lookup("x"), ExchangeRoutes("fanout", ()), 100.0)
    version = directory.version
    directory.apply_snapshot(None, 110.0, "all nodes refuse")
    assert (directory.usable, directory.error) == (False, "all nodes refuse")
    assert directory.version == version + 1
    assert directory.place(V, "q", 110.0) is None
    assert directory.destinations(V, "x", "k", 110.0) is None
    directory.apply_snapshot(None, 112.0)
    assert directory.error == "no node's management API answers"
    assert directory.version == version + 1
    directory.apply_snapshot(snapshot(view("q")), 120.0)
    assert directory.version == version + 2
    assert directory.place(V, "q", 120.0) == CLASSIC
    assert directory.destinations(V, "x", "k", 120.0) == exchange_lookup("x")


def test_an_answer_that_comes_when_the_view_is_away_is_not_kept() -> None:
    directory = seen()
    directory.place(V, "q", 100.0)
    directory.apply_snapshot(None, 101.0)
    directory.looked_up(lookup("q"), CLASSIC, 101.5)
    directory.looked_up(exchange_lookup("x"), ExchangeRoutes("fanout", ()), 101.5)
    assert directory.place(V, "q", 102.0) is None
    assert directory.statistics().exchanges == 0


NOT_N1: Final = frozenset({N2, N3})
NO_QUORUM = QueuePlace(None, "quorum", False)
NO_STREAM = QueuePlace(None, "stream", False)


@pytest.mark.parametrize(
    ("queue", "running", "expected"),
    [
        # 3.10: first like this, then with state "down"
        (view("c", N1, state=""), NOT_N1, QueuePlace(None, "classic", False)),
        (view("c", N1, state="down"), NOT_N1, QueuePlace(None, "classic", False)),
        (view("c", N1, state="crashed"), NODES, QueuePlace(N1, "classic", False)),
        (view("c", None), NODES, QueuePlace(None, "classic", False)),
        # the leader was killed; then there is another one
        (view("q", None, "quorum", online=(N2, N3)), NOT_N1, QueuePlace(None, "quorum")),
        (view("q", N1, "quorum", online=NODES), NOT_N1, QueuePlace(None, "quorum")),
        (view("q", N2, "quorum", online=(N2, N3)), NOT_N1, QueuePlace(N2, "quorum")),
        # a leader without a majority, and members all of whose nodes are gone
        (view("q", N2, "quorum", online=(N2,)), {N2}, QueuePlace(N2, "quorum", False)),
        (view("q", N2, "quorum", state="minority"), NODES, QueuePlace(N2, "quorum", False)),
        (view("q", None, "quorum", members=(N1,), online=()), NOT_N1, NO_QUORUM),
        (view("q", None, "quorum", online=()), NODES, NO_QUORUM),
        # a stream: "online" still has the dead node; listed without members when its node is gone
        (view("s", N1, "stream", members=NODES, online=NODES), NOT_N1, QueuePlace(None, "stream")),
        (view("s", N1, "stream", members=(N1,), online=(N1,)), NOT_N1, NO_STREAM),
        (view("s", N1, "stream"), NOT_N1, NO_STREAM),
        (view("s", N1, "stream"), NODES, QueuePlace(N1, "stream")),
        (view("s", None, "stream"), NODES, None),  # totals only
    ],
)  # fmt: skip
def test_what_a_view_of_a_queue_comes_to(
    queue: QueueView, running: Any, expected: QueuePlace | None
) -> None:
    """The answers of 3.10.8 after a node was killed; see docs/decisions/0004."""
    assert place_of(queue, frozenset(running)) == expected


def test_a_stream_listed_without_its_node_is_looked_up_and_then_stays_where_it_was() -> None:
    told_nothing = view("s", None, "stream")
    directory = seen(told_nothing)
    assert directory.place(V, "s", 100.0) == lookup("s")
    directory.looked_up(lookup("s"), QueuePlace(N2, "stream"), 100.1)
    for at in (102.0, 104.0):
        directory.apply_snapshot(snapshot(told_nothing), at)
        assert directory.place(V, "s", at) == QueuePlace(N2, "stream")
    directory.apply_snapshot(snapshot(told_nothing, down=(N2,)), 106.0)
    assert directory.place(V, "s", 106.0) == lookup("s")


# -- look-ups -------------------------------------------------------------------------------------


def test_a_queue_that_is_not_known_is_looked_up() -> None:
    directory = seen()
    version = directory.version
    assert directory.place(V, "q", 100.1) == lookup("q")
    assert directory.place(V, "q", 100.1) == lookup("q"), "whoever asks gets it"
    directory.looked_up(lookup("q"), CLASSIC, 100.2)
    assert directory.place(V, "q", 100.2) == CLASSIC
    assert directory.version == version + 1
    directory.looked_up(lookup("q"), CLASSIC, 100.3)
    assert directory.version == version + 1


def test_what_was_looked_up_outlives_a_snapshot_that_was_taken_before() -> None:
    directory = seen()
    directory.looked_up(lookup("new"), CLASSIC, 101.0)
    directory.apply_snapshot(snapshot(took=1.5), 102.0)
    assert directory.place(V, "new", 102.0) == CLASSIC
    directory.apply_snapshot(snapshot(took=0.5), 104.0)
    assert directory.place(V, "new", 104.0) == lookup("new"), "deleted, somewhere else"


def test_a_newer_snapshot_overrides_what_was_looked_up() -> None:
    directory = seen()
    directory.looked_up(lookup("q"), CLASSIC, 101.0)
    directory.apply_snapshot(snapshot(view("q", N2), took=1.5), 102.0)
    assert directory.place(V, "q", 102.0) == CLASSIC
    directory.apply_snapshot(snapshot(view("q", N2), took=0.5), 104.0)
    assert directory.place(V, "q", 104.0) == QueuePlace(N2, "classic")


def test_a_queue_that_was_not_found_is_asked_for_again_after_a_while() -> None:
    directory = seen()
    directory.place(V, "q", 100.0)
    directory.looked_up(lookup("q"), None, 100.0)
    assert directory.place(V, "q", 100.0 + NEGATIVE_AGE - 0.1) is None
    assert directory.place(V, "q", 100.0 + NEGATIVE_AGE) == lookup("q")


def test_a_snapshot_knows_better_than_a_look_up_that_found_nothing() -> None:
    directory = seen()
    directory.looked_up(lookup("q"), None, 100.1)
    version = directory.version
    directory.apply_snapshot(snapshot(view("q")), 100.2)
    assert directory.place(V, "q", 100.2) == CLASSIC
    assert directory.version == version + 1
    directory.looked_up(lookup("q"), None, 100.3)
    assert directory.place(V, "q", 100.3) == CLASSIC, "nobody answered, perhaps"


def test_a_declare_ends_not_found() -> None:
    directory = seen()
    directory.looked_up(lookup("q"), None, 100.0)
    version = directory.version
    directory.noticed_declared(V, "q")
    assert directory.version == version + 1
    assert directory.place(V, "q", 100.1) == lookup("q")
    directory.noticed_declared(V, "q")
    assert directory.version == version + 1


def test_a_declare_overtaken_by_a_look_up_is_looked_up_again() -> None:
    directory = seen()
    directory.place(V, "q", 100.0)
    directory.noticed_declared(V, "q")
    directory.looked_up(lookup("q"), None, 100.1)
    assert directory.place(V, "q", 100.1) == lookup("q")


def test_a_place_on_a_node_that_is_down_is_none() -> None:
    """A look-up says where a classic queue was for some time after its node was killed."""
    directory = seen(down=(N1,))
    directory.looked_up(lookup("c"), CLASSIC, 100.1)
    directory.looked_up(lookup("q"), QUORUM, 100.1)
    assert directory.place(V, "c", 100.1) == QueuePlace(None, "classic", False)
    assert directory.place(V, "q", 100.1) == QueuePlace(None, "quorum")


# -- what passes through --------------------------------------------------------------------------


def test_a_deleted_queue_is_not_brought_back_by_an_old_snapshot() -> None:
    directory = seen(view("q"))
    directory.place(V, "q", 101.0)
    version = directory.version
    directory.noticed_deleted(V, "q")
    assert directory.version == version + 1
    assert directory.place(V, "q", 101.0) == lookup("q")
    directory.apply_snapshot(snapshot(view("q"), took=1.5), 102.0)
    assert directory.place(V, "q", 102.0) == lookup("q")
    directory.apply_snapshot(snapshot(view("q"), took=0.5), 104.0)
    assert directory.place(V, "q", 104.0) == CLASSIC, "declared again, somewhere else"


def test_a_deleted_queue_that_is_declared_again_may_be_in_any_snapshot() -> None:
    directory = seen(view("q"))
    directory.place(V, "q", 101.0)
    directory.noticed_deleted(V, "q")
    directory.noticed_declared(V, "q")
    directory.apply_snapshot(snapshot(view("q", N2), took=1.5), 102.0)
    assert directory.place(V, "q", 102.0) == QueuePlace(N2, "classic")


CANT_TELL: Final = QueuePlace(None, "", usable=False)


def test_a_queue_that_may_only_be_down_is_neither_there_nor_gone() -> None:
    """RabbitMQ cancels the consumers of a classic queue whose node went down, and says "not found"
    of it; the snapshot has it."""
    directory = seen(view("q"))
    directory.place(V, "q", 101.0)
    directory.noticed_deleted(V, "q")
    directory.noticed_deleted(V, "q")  # by another consumer
    directory.looked_up(lookup("q"), CANT_TELL, 101.1)
    away = QueuePlace(None, "classic", False)
    assert directory.place(V, "q", 101.1) == away
    directory.apply_snapshot(snapshot(view("q"), took=1.5), 102.0)
    assert directory.place(V, "q", 102.0) == away, "an old view doesn't decide"
    down = snapshot(view("q", state="down"), down=(N1,))
    directory.apply_snapshot(down, 103.0)
    assert directory.place(V, "q", 103.0) == away
    directory.apply_snapshot(snapshot(), 105.0)
    assert directory.place(V, "q", 105.0) == lookup("q"), "gone"


@pytest.mark.parametrize("former", [None, view("q", exclusive=True)])
def test_a_queue_that_was_not_there_is_not_down(former: QueueView | None) -> None:
    """Nor an exclusive one: it dies with its node."""
    directory = seen(*([former] if former else []))
    directory.place(V, "q", 101.0)
    directory.noticed_deleted(V, "q")
    directory.looked_up(lookup("q"), CANT_TELL, 101.1)
    assert directory.place(V, "q", 101.1) is None


def test_a_bind_makes_an_exchange_unknown() -> None:
    directory = seen()
    assert directory.destinations(V, "x", "k", 100.0) == exchange_lookup("x")
    version = directory.version
    routes = ExchangeRoutes("direct", (Binding("q", False, "k"),))
    directory.looked_up(exchange_lookup("x"), routes, 100.1)
    assert directory.version == version + 1
    assert directory.destinations(V, "x", "k", 105.0) == ("q",)
    directory.noticed_binding(V, "x")
    assert directory.version == version + 2
    assert directory.destinations(V, "x", "k", 105.0) == exchange_lookup("x")
    directory.looked_up(exchange_lookup("x"), None, 105.1)
    assert directory.destinations(V, "x", "k", 105.1) is None


def test_the_version_grows_when_an_unused_exchange_is_forgotten() -> None:
    """Who remembers an answer by its version asks again, and the exchange is in use again."""
    directory = seen()
    directory.destinations(V, "x", "k", 100.0)
    directory.looked_up(exchange_lookup("x"), ExchangeRoutes("fanout", ()), 100.0)
    version = directory.version
    directory.stale_lookups(130.0)
    assert directory.version == version
    directory.stale_lookups(160.0)
    assert directory.version == version + 1


# -- nodes that are lost --------------------------------------------------------------------------


def test_a_lost_node_leads_nothing() -> None:
    directory = seen(view("c"), view("q", type="quorum"), view("other", N2))
    directory.place(V, "c", 101.0)
    version = directory.version
    directory.node_lost(N1)
    assert directory.version == version + 1
    assert directory.place(V, "c", 101.0) == QueuePlace(None, "classic", False)
    assert directory.place(V, "q", 101.0) == QueuePlace(None, "quorum", True)
    assert directory.place(V, "other", 101.0) == QueuePlace(N2, "classic")
    directory.node_lost(N1)
    assert directory.version == version + 1, "once for all sessions"


def test_a_view_that_does_not_know_of_the_loss_is_not_believed() -> None:
    directory = seen(view("c"))
    directory.place(V, "c", 101.0)
    directory.node_lost(N1)
    late = 101.0 + LOST_MARGIN
    for at, took in ((101.2, 1.0), (101.3, 0.01), (late + 0.5, 0.6)):
        directory.apply_snapshot(snapshot(view("c"), view("d"), took=took), at)
        assert directory.place(V, "c", at) == QueuePlace(None, "classic", False)
        assert directory.place(V, "d", at) == QueuePlace(None, "classic", False)
    directory.apply_snapshot(snapshot(view("c"), took=0.1), late + 0.2)
    assert directory.place(V, "c", late + 0.2) == CLASSIC, "only a link broke"
    directory.node_lost(N1)
    assert directory.place(V, "c", late + 0.2) == QueuePlace(None, "classic", False), "again"


def test_another_leader_is_believed_at_once() -> None:
    directory = seen(view("q", type="quorum"))
    directory.place(V, "q", 101.0)
    directory.node_lost(N1)
    directory.apply_snapshot(snapshot(view("q", N2, "quorum"), down=(N1,)), 101.1)
    assert directory.place(V, "q", 101.1) == QueuePlace(N2, "quorum")


def test_a_look_up_asked_before_the_loss_is_not_believed_either() -> None:
    directory = seen()
    directory.place(V, "q", 101.0)
    directory.node_lost(N1)
    directory.looked_up(lookup("q"), QUORUM, 102.0)
    assert directory.place(V, "q", 102.0) == QueuePlace(None, "quorum")
    directory.looked_up(lookup("q"), QUORUM, 101.0 + NEGATIVE_AGE)
    assert directory.place(V, "q", 103.0) == QUORUM
    directory.node_lost(N1)
    assert directory.place(V, "q", 103.0) == QueuePlace(None, "quorum"), "lost once more"


def test_a_queue_without_a_leader_is_looked_up_until_it_has_one() -> None:
    directory = seen(view("q", type="quorum"), view("unasked", type="quorum"))
    directory.place(V, "q", 101.0)
    directory.node_lost(N1)
    assert directory.stale_lookups(101.0) == (), "nobody has asked since"
    directory.place(V, "q", 101.1)
    assert directory.stale_lookups(101.2) == (lookup("q"),)
    assert directory.stale_lookups(109.0) == (), "it is under way"
    directory.looked_up(lookup("q"), QueuePlace(None, "quorum"), 109.1)
    version = directory.version
    assert directory.stale_lookups(109.1 + LEADERLESS_AGE - 0.1) == ()
    assert directory.stale_lookups(109.1 + LEADERLESS_AGE) == (lookup("q"),)
    directory.looked_up(lookup("q"), QueuePlace(N2, "quorum"), 109.7)
    assert directory.version == version + 1
    assert directory.place(V, "q", 109.7) == QueuePlace(N2, "quorum")
    assert directory.stale_lookups(120.0) == ()


def test_few_queues_without_a_leader_are_looked_up_at_a_time_and_all_in_turn() -> None:
    names = [f"q{number}" for number in range(LEADERLESS_AT_ONCE * 2)]
    directory = seen(*(view(name, type="quorum") for name in names))
    directory.node_lost(N1)
    for name in names:
        directory.place(V, name, 101.0)
    first = directory.stale_lookups(101.0)
    assert len(first) == LEADERLESS_AT_ONCE
    assert directory.stale_lookups(103.0) == ()
    for one in first:
        directory.looked_up(one, None, 103.1)
    assert first + directory.stale_lookups(104.0) == tuple(map(lookup, names))


def test_a_classic_queue_whose_node_is_down_waits_for_the_snapshot() -> None:
    directory = seen(view("c"), down=(N1,))
    directory.place(V, "c", 101.0)
    assert directory.stale_lookups(101.0) == ()


# -- limits ---------------------------------------------------------------------------------------


def test_what_is_kept_beside_the_snapshot_has_limits() -> None:
    directory = seen()
    for number in range(MAX_NOTED + 5):
        name = f"q{number}"
        directory.place(V, name, 100.0)
        directory.looked_up(lookup(name), None, 100.0)
        directory.noticed_deleted(V, name)
    assert directory.statistics().absent == MAX_NOTED
    assert directory.place(V, "q0", 100.0) == lookup("q0"), "forgotten first"
    assert directory.place(V, f"q{MAX_NOTED}", 100.0) is None
    directory.apply_snapshot(snapshot(), 103.0)
    assert directory.statistics().absent == 0


def test_places_are_shared() -> None:
    """100,000 queues have a handful of places between them."""
    directory = seen(*(view(f"q{number}", NODES[number % 3]) for number in range(300)))
    assert len({id(directory.place(V, f"q{number}", 100.0)) for number in range(300)}) == 3


def test_its_repr_is_fit_for_a_log() -> None:
    assert repr(Directory()).startswith("Directory(unusable: nobody has looked")
    assert repr(seen(view("q"))) == "Directory(usable, version 1, 1 queues, 0 exchanges)"
