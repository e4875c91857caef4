"""`warrener leaders show|balance` on a real cluster of this module's own: sixty quorum queues of
very unequal rates, all led by one node, under load through the balancer all the time.

The load checks at its end that all that was published was
confirmed and delivered, and that no connection was lost; else it fails.
"""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from tests.integration.support import balancer_place, eventually, node_place, tool
from tests.integration.warren import Warren, running

from warrener.bench.load import Flow, LoadResult, LoadSpec, run_load
from warrener.bench.topology import declare
from warrener.bench.wire import Target

pytestmark = pytest.mark.timeout(300)

QUEUES = [f"orders-{number:02}" for number in range(60)]
RATES = [150 / (number + 1) + 1 for number in range(60)]
"""Messages a second: like Zipf's, 760 in all; the hottest queue has a fifth of it."""


def target(place: Any) -> Target:
    return Target(place.host, place.port, place.user, place.password, place.vhost)


@pytest.fixture(scope="module")
def warren(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warren]:
    with running(tmp_path_factory.mktemp("leaders")) as made:
        first = target(node_place(made, made.status()["nodes"][0]))
        for queue in QUEUES:
            declare(first, queue, quorum=True)
        declare(first, "classic", quorum=False)
        yield made


class Load:
    """Paced publishers and consumers, through the balancer, from when it is entered until ``done``;
    that one says what came of it."""

    def __init__(self, warren: Warren, rates: dict[str, float]) -> None:
        self._result: LoadResult | None = None
        self._problem: BaseException | None = None
        self._stop = threading.Event()
        through = target(balancer_place(warren))
        flows = tuple(Flow(queue, through, through, rate) for queue, rate in rates.items())
        self._spec = LoadSpec(
            flows, window=200, prefetch=100, warmup=1, seconds=260, pace=0.02, moving=True
        )
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self._result = run_load(self._spec, self._stop.is_set)
        except BaseException as problem:
            self._problem = problem

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def done(self) -> LoadResult:
        assert self._thread.is_alive(), f"the load ended before: {self._problem!r}"
        self._stop.set()
        self._thread.join(60)
        assert self._problem is None, repr(self._problem)
        assert self._result is not None
        return self._result


def shown(warren: Warren, *options: str) -> dict[str, Any]:
    found = json.loads(warren.ok("leaders", "show", "--json", *options))
    assert isinstance(found, dict)
    return found


def leaders(warren: Warren) -> dict[str, str]:
    return {queue["name"]: queue["leader"] for queue in warren.status()["queues"]}


def quorum_leaders(warren: Warren) -> Counter[str]:
    return Counter(
        queue["leader"] for queue in warren.status()["queues"] if queue["type"] == "quorum"
    )


def test_leaders_are_spread_by_load_while_clients_work(warren: Warren) -> None:
    eventually("all declared", lambda: len(leaders(warren)) == 61)
    before = leaders(warren)
    assert set(before.values()) == {"n1@localhost"}
    rates = dict(zip(QUEUES, RATES, strict=True)) | {"classic": 25.0}
    with Load(warren, rates) as load:
        _show_and_balance(warren, before)
        result = load.done()  # none lost, none refused, nobody disconnected
    print(f"{result.published} messages, {result.redelivered} redelivered")
    # all confirmed, and only our consumers' acks take any out: none was lost
    eventually("empty", lambda: not any(queue["messages"] for queue in warren.status()["queues"]))
    assert set(warren.status()["balancer"]["sessions_ended"]) <= {"client_closed"}
    kinds = [event["kind"] for event in json.loads(warren.ok("events", "--json"))["events"]]
    assert "leaders.balanced" in kinds


def _show_and_balance(warren: Warren, before: dict[str, str]) -> None:
    eventually("all work", lambda: shown(warren)["queues_active"] == 61, 60)

    seen = shown(warren, "--sample", "3", "--limit", "100")
    assert 2.9 < seen["seconds"] < 10
    told = {queue["name"]: queue for queue in seen["queues"]}
    five = [told[queue] for queue in QUEUES[:5]]
    # wide: on a busy machine the broker delivers in gusts
    assert sum(one["published"] for one in five) == pytest.approx(sum(RATES[:5]), rel=0.5)
    assert five[0]["published"] > 2 * five[4]["published"]
    assert all(one["delivered"] > 0 and one["acked"] > 0 for one in five)
    assert (told["classic"]["fixed"], told[QUEUES[0]]["fixed"]) == ("classic", None)
    n1, n2, n3 = seen["nodes"]
    assert n1["leaders"] == {"classic": 1, "quorum": 60}
    assert n1["skew"] > 1.3
    assert n2["load"] == pytest.approx(n3["load"], rel=0.01)  # followers only
    text = warren.ok("leaders", "show", "--limit", "5")
    assert "orders-00" in text
    assert "`warrener leaders balance" in text

    unasked = warren.run("leaders", "balance")
    assert (unasked.returncode, unasked.stdout) == (2, "")
    assert "--yes" in unasked.stderr
    dry = json.loads(warren.ok("leaders", "balance", "--dry-run", "--sample", "3", "--json"))
    assert 0 < len(dry["moves"]) < 40  # a reshuffle of all would be 40
    assert leaders(warren) == before

    done = json.loads(warren.ok("leaders", "balance", "--yes", "--sample", "8", "--json"))
    print(json.dumps({key: value for key, value in done.items() if key != "moves"}))
    assert done["stopped"] == ""
    assert done["moved"] == done["planned"]
    assert (done["skipped"], done["failed"]) == (0, 0)
    loads = [node["expected"] for node in done["nodes"]]
    assert max(loads) <= 1.1 * sum(loads) / 3
    assert done["skew_after"] <= 1.3  # measured: other work on the machine is in it
    after = leaders(warren)
    assert sum(before[queue] != after[queue] for queue in before) == done["moved"]
    assert after["classic"] == before["classic"]

    again = json.loads(warren.ok("leaders", "balance", "--yes", "--sample", "8", "--json"))
    # Nothing on a quiet machine; on a busy one two measurements differ by more than the margin.
    moves = again.get("moves", [])
    assert (len(moves) if isinstance(moves, list) else moves) <= 2, again


def test_leaders_are_spread_again_after_a_restart(warren: Warren) -> None:
    """By itself, and behind the backs of clients that work: nobody is disconnected, nothing lost
    (``Load.done`` fails otherwise). Some is delivered twice when a node is drained under load."""
    rates = dict(zip(QUEUES, RATES, strict=True))
    with Load(warren, rates) as load:
        eventually("all work", lambda: shown(warren)["queues_active"] == 60, 60)
        left = json.loads(warren.ok("node", "restart", "n1", "--drain", "--no-balance", "--json"))
        assert left["leaders"] is None
        assert "n1@localhost" not in quorum_leaders(warren)  # RabbitMQ gives nothing back
        done = json.loads(warren.ok("node", "restart", "n2", "--drain", "--json"))
        told = done["leaders"]
        print(f"after a restart: {told}")
        assert (told["by"], told["why"]) == ("load", "")
        assert told["moved"] == told["planned"] > 0
        result = load.done()
    print(f"{result.published} messages, {result.redelivered} redelivered")
    assert set(quorum_leaders(warren)) >= {"n1@localhost", "n3@localhost"}
    assert set(warren.status()["balancer"]["sessions_ended"]) <= {"client_closed"}


def test_an_idle_cluster_is_spread_by_number_after_a_restart(warren: Warren) -> None:
    told = json.loads(warren.ok("node", "restart", "n3", "--drain", "--json"))["leaders"]
    assert (told["by"], told["why"]) == ("number", "")
    assert told["skew_expected"] < 1.11
    counts = quorum_leaders(warren)
    assert max(counts.values()) - min(counts.values()) <= 6, counts


def test_an_idle_cluster_is_left_as_it_is(warren: Warren) -> None:
    dry = warren.ok("leaders", "balance", "--dry-run", "--sample", "1")
    assert "Nothing to move" in dry


def test_strange_names_are_moved_too(warren: Warren) -> None:
    place = target(node_place(warren, warren.status()["nodes"][0]))
    odd = 'we"ird\\ {queue}, ü'
    declare(place, odd, quorum=True)
    declare(place, "plain", quorum=True)
    with Load(warren, {odd: 200.0, "plain": 200.0}) as load:
        eventually("it works", lambda: shown(warren)["queues_active"] == 2, 20)
        done = json.loads(warren.ok("leaders", "balance", "--yes", "--sample", "2", "--json"))
        load.done()
    assert done["moved"] == done["planned"] >= 1
    assert Counter(leaders(warren)[name] for name in (odd, "plain")).most_common(1)[0][1] == 1


def test_a_drained_node_gets_none(warren: Warren) -> None:
    row = warren.status()["nodes"][2]
    tool(row, "rabbitmq-upgrade", "drain")
    try:
        eventually("seen", lambda: shown(warren, "--sample", "0.5")["nodes"][2]["why_not"], 20)
        node = shown(warren, "--sample", "0.5")["nodes"][2]
        assert (node["why_not"], node["wanted"]) == ("refuses", 0)
    finally:
        tool(row, "rabbitmq-upgrade", "revive")
