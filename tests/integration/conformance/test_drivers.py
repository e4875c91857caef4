"""What a user may rely on, whoever runs the nodes: the same tests for every driver.

They go on where the one before ended: all nodes fit, nothing drained; the last one takes the
cluster down. How long things took is printed (``pytest -rP``).
"""

import json
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from tests.integration.conformance.drivers import DRIVERS, NEEDS_THE_HOST, Running
from tests.integration.support import Place, eventually
from tests.integration.warren import Warren, running

pytestmark = pytest.mark.timeout(300)

QUEUES = tuple(f"jobs-{number}" for number in range(1, 7))


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warren]:
    with running(tmp_path_factory.mktemp("estate")) as warren:
        yield warren


@pytest.fixture(scope="module", params=list(DRIVERS))
def driven(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp(request.param)
    with DRIVERS[request.param](lambda: request.getfixturevalue("estate"), folder) as it:
        yield it


def connect(place: Place) -> pika.BlockingConnection:
    return pika.BlockingConnection(pika.URLParameters(place.url()))


class Client:
    """A pika client that publishes with confirms, gets and acks, over and over, on one quorum
    queue; it never connects again."""

    def __init__(self, place: Place, queue: str) -> None:
        self.rounds = 0
        self.slowest = 0.0
        self._queue = queue
        self._problem: Exception | None = None
        self._stop = threading.Event()
        self._connection = connect(place)
        self._channel = self._connection.channel()
        arguments = {"x-queue-type": "quorum"}
        self._channel.queue_declare(queue, durable=True, arguments=arguments)
        self._channel.confirm_delivery()
        self._thread = threading.Thread(target=self._work, name=queue)
        self._thread.start()

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                began = time.monotonic()
                self._channel.basic_publish("", self._queue, b"%d" % self.rounds)
                method, _, _ = self._channel.basic_get(self._queue)
                if method is not None:
                    self._channel.basic_ack(method.delivery_tag)
                self.rounds += 1
                self.slowest = max(self.slowest, time.monotonic() - began)
                self._stop.wait(0.01)
            self._connection.close()
        except Exception as problem:
            self._problem = problem

    def end(self) -> None:
        self._stop.set()
        self._thread.join(30)
        assert self._problem is None, repr(self._problem)


@pytest.fixture
def clients(driven: Running) -> Iterator[list[Client]]:
    """Six that work during a test; none of them may have been disconnected."""
    eventually("all fit", lambda: all(row["fit"] for row in driven.nodes().values()), 60)
    made = [Client(driven.place(), queue) for queue in QUEUES]
    try:
        eventually("all work", lambda: all(client.rounds > 5 for client in made))
        yield made
    finally:
        for client in made:
            client._stop.set()
    for client in made:
        client.end()


def rounds_go_on(clients: list[Client], wait: float = 20) -> None:
    """Every client does ten more."""
    before = [client.rounds for client in clients]
    eventually(
        "every client goes on",
        lambda: all(
            client.rounds > was + 10 or client._problem
            for client, was in zip(clients, before, strict=True)
        ),
        wait,
    )


# -- starts, serves, tells the truth


def test_the_status_is_what_the_cluster_says(driven: Running) -> None:
    status = driven.warren.status()
    assert (status["phase"], status["driver"]) == ("running", driven.driver)
    assert status["cluster"] == driven.estate.status()["cluster"]
    assert len(status["nodes"]) == 3
    for row in status["nodes"]:
        assert (row["state"], row["running"], row["fit"]) == ("running", True, True)
        assert row["version"]
        assert (row["pid"] is None) == driven.theirs
    assert status["management"]["age"] < 10
    shown = driven.warren.ok("cluster-status")
    assert all(row["name"] in shown for row in status["nodes"])


def test_the_url_works(driven: Running) -> None:
    with connect(driven.place()) as connection:
        channel = connection.channel()
        channel.queue_declare("once", durable=True)
        channel.basic_publish("", "once", b"hello")
        channel.queue_delete("once")


def test_every_backend_is_used(driven: Running) -> None:
    connections = [connect(driven.place()) for _ in range(6)]
    try:
        sessions = {name: row["sessions"] for name, row in driven.nodes().items()}
        assert all(sessions.values()), sessions
        listed = json.loads(driven.warren.ok("sessions", "--json"))
        assert listed["total"] == 6
    finally:
        for connection in connections:
            connection.close()


def test_wrong_credentials_are_refused_as_the_broker_does(driven: Running) -> None:
    wrong = driven.place().with_(password="wrong")
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        connect(wrong)


# -- leaders


def test_channels_go_to_the_leaders_that_were_observed(
    driven: Running, clients: list[Client]
) -> None:
    def placed() -> list[dict[str, Any]]:
        channels = json.loads(driven.warren.ok("explain", "--json"))["channels"]
        return [one for one in channels if one["queue"] in QUEUES]

    def all_local() -> bool:
        found = placed()
        return len(found) == 6 and all(one["node"] == one["leader"] for one in found)

    def as_observed() -> bool:
        leaders = {queue["name"]: queue["leader"] for queue in driven.estate.status()["queues"]}
        return all(one["leader"] == leaders.get(one["queue"]) for one in placed())

    eventually("every channel is at its queue's leader", all_local, 30)
    eventually("the leaders are those that the cluster tells", as_observed, 30)


def test_leaders_are_measured(driven: Running, clients: list[Client]) -> None:
    shown = json.loads(driven.warren.ok("leaders", "show", "--sample", "2", "--json"))
    assert {node["node"] for node in shown["nodes"]} == set(driven.nodes())
    assert not shown["missing"]
    busy = {queue["name"] for queue in shown["queues"] if queue["published"] > 0}
    assert busy == set(QUEUES)


# -- nodes die, are drained


def test_a_node_that_is_killed_is_survived(driven: Running, clients: list[Client]) -> None:
    victim = next(iter(driven.nodes()))  # of the attached one: the node behind its only URL
    driven.kill(victim)
    began = time.monotonic()
    eventually("it is seen", lambda: not driven.nodes()[victim]["fit"], 20)
    seen = time.monotonic() - began
    rounds_go_on(clients)
    row = driven.nodes()[victim]
    eventually("the cluster tells it", lambda: driven.nodes()[victim]["running"] is False)
    assert row["sessions"] == 0
    slowest = max(client.slowest for client in clients)
    print(f"{driven.driver}: seen after {seen:.1f} s, the slowest round took {slowest:.2f} s")
    driven.bring_back(victim)
    rounds_go_on(clients)


def test_a_drained_node_has_no_sessions_and_gets_none(
    driven: Running, clients: list[Client]
) -> None:
    node = list(driven.nodes())[1]
    told = json.loads(driven.warren.ok("node", "drain", node, "--json"))
    assert told["left"] == 0
    # Whether RabbitMQ is told as well is said, either way.
    assert ("maintenance mode" in told["note"]) == ("restart" in str(driven.refused))
    row = driven.nodes()[node]
    assert (row["sessions"], row["fit"], row["being_drained"]) == (0, False, True)
    rounds_go_on(clients)
    more = [connect(driven.place()) for _ in range(4)]
    assert driven.nodes()[node]["sessions"] == 0
    for connection in more:
        connection.close()
    driven.warren.ok("node", "revive", node)
    assert driven.nodes()[node]["fit"]


def test_leaders_are_spread_by_their_number(driven: Running) -> None:
    """After a node came back it leads less; RabbitMQ takes from nodes that lead more than their
    share, rounded up."""
    told = json.loads(driven.warren.ok("leaders", "balance", "--by-count", "--json"))
    assert told["settled"]
    counts = [node["after"] for node in told["nodes"]]
    assert max(counts) <= math.ceil(sum(counts) / len(counts)), told


# -- descriptions, settings, refusals

DESCRIPTION = """
[[vhost]]
name = "shop-{driver}"

[[user]]
name = "till-{driver}"
password = {{ generate = true }}
permissions = {{ "shop-{driver}" = {{ configure = ".*", write = ".*", read = ".*" }} }}

[[policy]]
name = "short-{driver}"
pattern = "^short\\\\."
definition = {{ max-length = 10 }}

[[queue]]
name = "sales"
vhost = "shop-{driver}"
type = "quorum"
"""


def test_a_description_is_taken_once(driven: Running, tmp_path: Path) -> None:
    file = tmp_path / "shop.toml"
    file.write_text(DESCRIPTION.format(driver=driven.driver))
    first = json.loads(driven.warren.ok("apply", "-f", str(file), "--yes", "--json"))
    assert {step["thing"] for step in first["done"]} == {
        "virtual host",
        "user",
        "policy",
        "queue",
    }
    assert not first["failed"]
    assert not first["blocked"]
    again = json.loads(driven.warren.ok("apply", "-f", str(file), "--yes", "--json"))
    assert (again["done"], again["left"], again["blocked"]) == ([], [], [])
    url = driven.warren.ok("url", "--user", f"till-{driven.driver}").strip()
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().basic_publish("", "sales", b"one")


def test_settings_are_told_as_far_as_they_are_known(driven: Running) -> None:
    rows = json.loads(driven.warren.ok("config", "list", "--json"))["rows"]
    told = {row["key"]: row["in_force"] for row in rows}
    assert set(told["net_ticktime"].values()) == {driven.tick}
    assert set(told["net_ticktime"]) == set(driven.nodes())


@pytest.mark.parametrize("command", NEEDS_THE_HOST, ids=lambda words: "-".join(words[:2]))
def test_what_cannot_be_done_is_refused_with_its_reason(
    driven: Running, command: tuple[str, ...]
) -> None:
    instead = driven.refused.get(command)
    if instead is None:
        pytest.skip(f"{driven.driver} can do that; it has tests of its own")
    node = next(iter(driven.nodes()))
    done = driven.warren.run(*(word.format(node=node) for word in command))
    assert done.returncode == 1
    assert "somebody else runs" in done.stderr
    assert instead in done.stderr
    assert all(row["fit"] for row in driven.nodes().values())


def test_down_ends_what_is_ours_and_nothing_else(driven: Running) -> None:
    place = driven.place()
    held = connect(place)
    told = driven.down()
    assert told["stopped"]
    with pytest.raises(pika.exceptions.AMQPError):
        held.channel()
    assert driven.warren.run("status").returncode == 3
    if driven.theirs:
        assert all(row["fit"] for row in driven.estate.status()["nodes"])
