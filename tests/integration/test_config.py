"""`warrener config` on a cluster of this module's own, while a publisher with confirms and a
consumer of pika's work through the balancer: neither is disconnected at any time.

The tests go on where the one before ended. What the commands print is kept (``pytest -rP``).
"""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pika
import pytest
from tests.integration.support import balancer_place, eventually, management, tool
from tests.integration.warren import Warren, running

pytestmark = pytest.mark.timeout(300)

QUEUE = "config-jobs"
WATERMARK = "vm_memory_high_watermark.relative"
BACKLOG = "tcp_listen_options.backlog"


@pytest.fixture(scope="module")
def warren(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warren]:
    with running(tmp_path_factory.mktemp("config")) as made:
        yield made


class Worker:
    """One pika connection in a thread; it never connects again."""

    def __init__(self, url: str) -> None:
        self.done = 0
        self.problem: BaseException | None = None
        self._stop = threading.Event()
        self._url = url
        self._thread = threading.Thread(target=self._run, name=type(self).__name__)

    def _run(self) -> None:
        try:
            with pika.BlockingConnection(pika.URLParameters(self._url)) as connection:
                self.work(connection.channel())
        except BaseException as problem:
            self.problem = problem

    def work(self, channel: Any) -> None:
        raise NotImplementedError

    def __enter__(self) -> "Worker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert self.problem is None, repr(self.problem)
        assert not self._thread.is_alive()


class Publisher(Worker):
    def work(self, channel: Any) -> None:
        channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        channel.confirm_delivery()
        while not self._stop.wait(0.005):
            channel.basic_publish("", QUEUE, b"%d" % self.done, mandatory=True)
            self.done += 1


class Consumer(Worker):
    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.seen: set[int] = set()

    def work(self, channel: Any) -> None:
        channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        channel.basic_qos(prefetch_count=50)
        for method, _, body in channel.consume(QUEUE, inactivity_timeout=0.2):
            if method is not None:
                self.seen.add(int(body))
                channel.basic_ack(method.delivery_tag)
                self.done += 1
            if self._stop.is_set():
                break
        channel.cancel()


@pytest.fixture
def clients(warren: Warren) -> Iterator[tuple[Publisher, Consumer]]:
    """Both work before and after the test, on the connections that they began with."""
    url = balancer_place(warren).url()
    publisher, consumer = Publisher(url), Consumer(url)
    with consumer, publisher:
        eventually("clients work", lambda: publisher.done > 5 and consumer.done > 5)
        yield publisher, consumer
        done = publisher.done
        eventually("clients still work", lambda: publisher.done > done + 20, 30)
        eventually("all is consumed", lambda: len(consumer.seen) >= publisher.done - 60, 30)
    print(f"{publisher.done} confirmed, {len(consumer.seen)} consumed, no connection lost")


def config(warren: Warren, *words: str) -> Any:
    return json.loads(warren.ok("config", *words, "--json"))


def in_force(warren: Warren, key: str) -> list[str | None]:
    (row,) = config(warren, "get", key)["rows"]
    return list(row["in_force"].values())


def drifting(warren: Warren) -> list[str]:
    return [row["key"] for row in config(warren, "diff")["rows"]]


def pids(warren: Warren) -> list[int]:
    return [node["pid"] for node in warren.status()["nodes"]]


def files(warren: Warren) -> list[str]:
    return [path.read_text() for path in sorted(warren.state.glob("nodes/*/rabbitmq.conf"))]


def recorded(warren: Warren) -> str:
    path = warren.state / "config.json"
    return path.read_text() if path.exists() else ""


def test_a_new_cluster_has_no_drift_and_tells_of_its_keys(warren: Warren) -> None:
    assert drifting(warren) == []
    rows = {row["key"]: row for row in config(warren, "list")["rows"]}
    assert len(rows) > 150
    assert rows["heartbeat"]["in_force"] == {f"n{n}@localhost": "60" for n in (1, 2, 3)}
    assert rows[WATERMARK]["source"] == "warrener"
    password = json.loads((warren.state / "credentials.json").read_text())["password"]
    shown = warren.ok("config", "list") + warren.ok("config", "list", "--all", "--json")
    assert password not in shown


def test_a_live_key_is_in_force_at_once_and_read_back(
    warren: Warren, clients: tuple[Publisher, Consumer]
) -> None:
    before = pids(warren)
    print(text := warren.ok("config", "set", WATERMARK, "0.11", "--yes"))
    assert "in force on 3 nodes" in text
    # RabbitMQ's own word, not Warrener's.
    for node in warren.status()["nodes"]:
        said = tool(node, "rabbitmqctl", "-q", "eval",
                    "vm_memory_monitor:get_vm_memory_high_watermark().")  # fmt: skip
        assert float(said) == 0.11
    assert pids(warren) == before
    assert all(f"{WATERMARK} = 0.11\n" in file for file in files(warren))
    # Somebody changes it behind Warrener's back: that is drift, and setting it again mends it.
    tool(warren.status()["nodes"][1], "rabbitmqctl", "-q", "set_vm_memory_high_watermark", "0.2")
    assert drifting(warren) == [WATERMARK]
    print(warren.ok("config", "diff"))
    print(warren.ok("set-config", WATERMARK, "0.11", "--yes"))
    assert in_force(warren, WATERMARK) == ["0.11"] * 3
    print(warren.ok("config", "unset", WATERMARK, "--yes"))
    assert in_force(warren, WATERMARK) == ["0.133"] * 3
    assert drifting(warren) == []


def test_what_is_wrong_is_refused_before_anything_is_touched(warren: Warren) -> None:
    before = files(warren), pids(warren)
    for words, told in (
        (("hartbeat", "30"), "did you mean 'heartbeat'?"),
        (("heartbeat", "99999"), "99999 is out of range; allowed: a whole number, 0 to 65535"),
        (("heartbeat", "often"), "'often' is not a whole number"),
        (("listeners.tcp.1", "5672"), "`port` under [balancer] in warrener.toml"),
    ):
        done = warren.run("config", "set", *words, "--yes")
        assert (done.returncode, done.stdout) == (2, "")
        assert told in done.stderr
    gone = warren.run("config", "set", "load_definitions", "/nowhere/at/all.json", "--yes")
    assert gone.returncode == 1
    assert "file does not exist or cannot be read by the node" in gone.stderr
    unasked = warren.run("config", "set", "heartbeat", "30")
    assert (unasked.returncode, "give --yes" in unasked.stderr) == (2, True), unasked.stderr
    assert (files(warren), pids(warren)) == before


def test_a_restart_key_goes_node_by_node_without_a_client_noticing(
    warren: Warren, clients: tuple[Publisher, Consumer]
) -> None:
    before = pids(warren)
    dry = warren.ok("config", "set", BACKLOG, "512", "--dry-run")
    assert "Needs a restart of 3 nodes (n1, n2, n3), one by one behind the balancer" in dry
    assert pids(warren) == before
    print(warren.ok("config", "set", BACKLOG, "512", "--yes"))
    assert in_force(warren, BACKLOG) == ["512"] * 3
    assert not set(pids(warren)) & set(before)
    assert all(node["fit"] for node in warren.status()["nodes"])
    assert drifting(warren) == []


def test_a_value_that_keeps_a_node_from_booting_is_rolled_back(
    warren: Warren, clients: tuple[Publisher, Consumer]
) -> None:
    """The schema takes any number; the socket option has to be 1 or more, and RabbitMQ finds that
    when it opens its listener."""
    before, files_before = pids(warren), files(warren)
    record = recorded(warren)
    done = warren.run("config", "set", "tcp_listen_options.low_msgq_watermark", "0", "--yes")
    print(done.stderr)
    assert (done.returncode, done.stdout) == (1, "")
    assert "n1 runs with its old configuration again; no further node was touched" in done.stderr
    assert pids(warren)[1:] == before[1:]
    assert pids(warren)[0] != before[0]
    assert files(warren) == files_before
    assert recorded(warren) == record
    nodes = management(warren, 1).get("/nodes")
    assert [node["running"] for node in nodes] == [True] * 3
    assert drifting(warren) == []


def test_what_was_set_outlives_down_and_up(warren: Warren) -> None:
    warren.ok("down")
    warren.ok("up", "-d")
    assert in_force(warren, BACKLOG) == ["512"] * 3
    assert drifting(warren) == []
