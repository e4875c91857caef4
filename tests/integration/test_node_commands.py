"""`warrener node drain|revive|restart`, `balance rebalance` and `explain` on a cluster of this
module's own, while a client publishes, gets and acks through the balancer all the time.

The tests go on where the one before ended: all nodes fit, nothing drained. How long things took is
printed (``pytest -rP``).
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any, TypeVar

import psutil
import pytest
from pamqp import commands
from tests.integration.raw import Raw
from tests.integration.support import Place, balancer_place, eventually, management, tool
from tests.integration.terminal import terminal
from tests.integration.warren import WARRENER, Warren, assert_gone, environment, ports_of, running

pytestmark = pytest.mark.timeout(300)

F = TypeVar("F")

QUEUES = ("jobs-1", "jobs-2", "jobs-3")
QUORUM = {"x-queue-type": "quorum"}


@pytest.fixture(scope="module")
def warren(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warren]:
    with running(tmp_path_factory.mktemp("node-commands")) as made:
        with Raw(balancer_place(made)).open() as raw:
            raw.channel()
            for queue in QUEUES:
                raw.send(
                    commands.Queue.Declare(queue=queue, durable=True, arguments=QUORUM), channel=1
                )
                raw.expect(commands.Queue.DeclareOk)
            raw.close()
        yield made


@pytest.fixture
def place(warren: Warren) -> Place:
    """The balancer, with every node fit."""
    eventually("all nodes fit", lambda: all(n["fit"] for n in warren.status()["nodes"]), 60)
    return balancer_place(warren)


class Client:
    """Publishes with a confirm, gets and acks, one message after the other, on one quorum queue."""

    def __init__(self, place: Place, queue: str) -> None:
        self.rounds = 0
        self.slowest = 0.0
        self._problem: BaseException | None = None
        self._stop = threading.Event()
        self._queue = queue
        self._raw = Raw(place, timeout=30).open(properties={"connection_name": f"works-{queue}"})
        self._raw.channel()
        self._raw.send(commands.Confirm.Select(), channel=1)
        self._raw.expect(commands.Confirm.SelectOk)
        self._thread = threading.Thread(target=self._work, name=f"client of {queue}")
        self._thread.start()

    def _work(self) -> None:
        raw, queue = self._raw, self._queue
        try:
            while not self._stop.wait(0.005):
                began = time.monotonic()
                raw.publish(queue, b"%d" % self.rounds)
                confirmed = self._answer(commands.Basic.Ack)
                assert confirmed.delivery_tag == self.rounds + 1
                raw.send(commands.Basic.Get(queue=queue), channel=1)
                got = self._answer(commands.Basic.GetOk)
                assert not got.redelivered
                raw.receive()
                assert raw.receive()[1].value == b"%d" % self.rounds  # none lost, none twice
                raw.send(commands.Basic.Ack(got.delivery_tag), channel=1)
                self.rounds += 1
                self.slowest = max(self.slowest, time.monotonic() - began)
            raw.close()
        except BaseException as problem:
            self._problem = problem
        finally:
            raw.socket.close()

    def _answer(self, kind: type[F]) -> F:
        _, found = self._raw.receive(30)
        said = getattr(found, "reply_text", "")
        assert isinstance(found, kind), f"round {self.rounds}: {found!r} {said!r}, not {kind}"
        return found

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert self._problem is None, repr(self._problem)
        assert self.rounds > 0


@pytest.fixture
def clients(place: Place) -> Iterator[list[Client]]:
    """One on each queue; none of them may notice anything."""
    with (
        Client(place, QUEUES[0]) as a,
        Client(place, QUEUES[1]) as b,
        Client(place, QUEUES[2]) as c,
    ):
        yield [a, b, c]
    print(f"slowest round trip of a client: {max(one.slowest for one in (a, b, c)):.2f} s")


def delivered(raw: Raw, body: bytes) -> int:
    """The delivery tag of the next message, which has this body and comes for the first time."""
    deliver = raw.expect(commands.Basic.Deliver)
    raw.receive()
    assert (raw.receive()[1].value, deliver.redelivered) == (body, False)
    assert deliver.delivery_tag is not None
    return deliver.delivery_tag


def node_of(warren: Warren, name: str) -> dict[str, Any]:
    return next(n for n in warren.status()["nodes"] if n["name"] == f"{name}@localhost")


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return False
    return True


def channels(warren: Warren, *options: str) -> list[dict[str, Any]]:
    found = json.loads(warren.ok("explain", "--json", *options))["channels"]
    assert isinstance(found, list)
    return found


def went_on(clients: list[Client], since: list[int]) -> bool:
    return all(one.rounds > before + 5 for one, before in zip(clients, since, strict=True))


def busiest(warren: Warren) -> str:
    """The short name of a node that has clients."""
    nodes = [line["node"] for line in channels(warren) if line["node"]]
    return str(max(set(nodes), key=nodes.count)).partition("@")[0]


def test_explain_tells_where_each_channel_is(warren: Warren, clients: list[Client]) -> None:
    eventually("at their leaders", lambda: {c["why"] for c in channels(warren)} == {"leader"})
    found = channels(warren)
    leaders = {queue["name"]: queue["leader"] for queue in warren.status()["queues"]}
    assert {line["queue"] for line in found} == set(QUEUES)
    for line in found:
        assert line["node"] == line["leader"] == leaders[line["queue"]]
    one = found[0]
    assert channels(warren, "--queue", one["queue"]) != []
    assert {c["node"] for c in channels(warren, "--node", one["node"])} == {one["node"]}
    text = warren.ok("explain", str(one["session"]))
    assert f"Channel 1 on {one['node']}" in text
    assert f"(works-{one['queue']})" in text
    unknown = warren.run("explain", "99999")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "no session 99999" in unknown.stderr


def test_drain_and_revive(warren: Warren, clients: list[Client]) -> None:
    name = busiest(warren)
    before = node_of(warren, name)
    done = warren.run("node", "drain", name)
    assert done.returncode == 0, done.stderr
    print(done.stdout, done.stderr)
    assert re.search(rf"{name}@localhost is drained: [1-9]\d* sessions? moved", done.stdout)
    assert f"{name}: is in maintenance mode" in done.stderr
    assert not accepts(before["amqp_port"])
    row = node_of(warren, name)
    assert (row["being_drained"], row["fit"], row["unfit_reason"]) == (True, False, "drained")
    assert channels(warren, "--node", name) == []
    since = [one.rounds for one in clients]
    eventually("clients go on", lambda: went_on(clients, since))

    again = warren.run("node", "drain", name)
    assert (again.returncode, again.stdout) == (0, f"{name}@localhost is drained already\n")
    other = next(n for n in ("n1", "n2", "n3") if n != name)
    unwise = warren.run("node", "drain", other)
    assert unwise.returncode == 1
    assert f"(jobs-1, jobs-2, jobs-3) would lose the majority, as {name} is drained" in (
        unwise.stderr
    )
    assert "--force" in unwise.stderr
    unknown = warren.run("node", "drain", "n7")
    assert unknown.returncode == 2
    assert "did you mean" in unknown.stderr

    # Another program takes the node's port: RabbitMQ says that it revived the node all the same.
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", before["amqp_port"]))
        thief.listen()
        failed = warren.run("node", "revive", name)
    assert failed.returncode == 1
    assert f"AMQP port {before['amqp_port']} is taken by" in failed.stderr
    done = warren.run("node", "revive", name)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    assert "is fit again" in done.stdout
    row = node_of(warren, name)
    assert (row["being_drained"], row["fit"], row["pid"]) == (False, True, before["pid"])
    assert accepts(before["amqp_port"])
    assert warren.ok("node", "revive", name) == f"{name}@localhost is not drained, and fit\n"
    kinds = [e["kind"] for e in json.loads(warren.ok("events", "--json"))["events"]]
    assert {"node.drained", "node.revived"} <= set(kinds)


@contextlib.contextmanager
def lazy_consumer(place: Place, queue: str) -> Iterator[tuple[Raw, int]]:
    """A consumer on a quorum queue of its own that settles nothing: a drain has to wait for it."""
    with Raw(place).open() as raw:
        raw.channel()
        raw.send(commands.Queue.Declare(queue=queue, durable=True, arguments=QUORUM), channel=1)
        raw.expect(commands.Queue.DeclareOk)
        raw.publish(queue, b"unsettled")
        raw.send(commands.Basic.Consume(queue=queue), channel=1)
        raw.expect(commands.Basic.ConsumeOk)
        yield raw, delivered(raw, b"unsettled")


def interrupted_drain(warren: Warren, queue: str) -> str:
    """Begins to drain the node that leads ``queue``, and presses Ctrl-C while sessions move."""

    def where() -> list[dict[str, Any]]:
        return [c for c in channels(warren, "--queue", queue) if c["why"] == "leader"]

    (line,) = eventually("at its leader", where)
    name = str(line["node"]).partition("@")[0]
    with subprocess.Popen(
        [WARRENER, "--state", warren.state, "node", "drain", name],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as drain:  # fmt: skip
        assert drain.stderr is not None
        assert any("moves sessions" in line for line in iter(drain.stderr.readline, ""))
        assert node_of(warren, name)["being_drained"]
        drain.send_signal(signal.SIGINT)
        out, err = drain.communicate(timeout=30)
    assert (drain.returncode, out) == (130, "")
    assert f"called off: {name}@localhost takes sessions again" in err
    assert "maintenance mode" not in err
    return name


def test_a_node_is_drained_and_revived_by_the_keys_of_top(
    warren: Warren, clients: list[Client]
) -> None:
    """In a terminal of 80x24. The rows of a node are redrawn where they change, so its words are
    looked for in the messages, and in what the cluster says afterwards."""
    since = [one.rounds for one in clients]
    command = [WARRENER, "--state", warren.state, "top", "--every", "0.5"]
    with terminal(command, cwd=warren.state.parent, environment=environment()) as screen:
        screen.wait_for("3 of 3 fit")
        screen.wait_for("[1 Nodes 3]")
        screen.press("j")  # the second one
        screen.press("d")
        screen.wait_for("Drain n2@localhost?")
        screen.press("y")
        at = screen.wait_for("n2 is drained:")
        screen.wait_for("2 of 3 fit")
        assert node_of(warren, "n2")["unfit_reason"] == "drained"
        screen.press("v")
        screen.wait_for("Revive n2@localhost?", since=at)
        screen.press("y")
        screen.wait_for("n2 is fit again", since=at)
        assert node_of(warren, "n2")["fit"]
        assert went_on(clients, since)
        screen.press(" ")  # closes the box that says so
        time.sleep(1)  # or the next key would be the box's as well
        screen.press("4")
        screen.wait_for("node.revived", since=at)
        screen.press("q")
        assert screen.ended() == 0
        assert b"\x1b[?1049l" in screen.seen[-300:]  # the terminal is as it was before


def test_a_frame_of_top(warren: Warren, clients: list[Client]) -> None:
    lines = warren.ok("top", "--once").splitlines()
    assert "3 of 3 fit" in lines[0]
    assert any(line.startswith("n1 ") and " yes " in line for line in lines)
    document = json.loads(warren.ok("top", "--json"))
    assert {row["name"] for row in document["queues"]} == set(QUEUES)
    assert {row["name"] for row in document["sessions"]} == {f"works-{name}" for name in QUEUES}
    assert sum(row["messages_in"] for row in document["nodes"]) > 0
    assert document["totals"]["fit"] == 3


def test_a_drain_is_undone_by_ctrl_c(warren: Warren, place: Place, clients: list[Client]) -> None:
    with lazy_consumer(place, "lazy-1"):
        name = interrupted_drain(warren, "lazy-1")
        row = node_of(warren, name)
        assert (row["being_drained"], row["fit"]) == (False, True)
        assert accepts(row["amqp_port"])
    since = [one.rounds for one in clients]
    eventually("clients go on", lambda: went_on(clients, since))
    kinds = [e["kind"] for e in json.loads(warren.ok("events", "--json"))["events"]]
    assert "node.drain_undone" in kinds


def test_a_consumer_goes_on_after_a_drain_that_was_undone(warren: Warren, place: Place) -> None:
    with lazy_consumer(place, "lazy-2") as (raw, first):
        interrupted_drain(warren, "lazy-2")
        raw.publish("lazy-2", b"more")
        second = delivered(raw, b"more")
        assert second == first + 1
        raw.send(commands.Basic.Ack(second, multiple=True), channel=1)
        raw.close()


def test_restart_with_drain_is_not_noticed(warren: Warren, clients: list[Client]) -> None:
    name = busiest(warren)
    before = node_of(warren, name)
    began = time.monotonic()
    done = warren.run("node", "restart", name, "--drain")
    print(done.stdout, done.stderr, f"{time.monotonic() - began:.1f} s in all")
    assert done.returncode == 0, done.stderr
    assert "Before: " in done.stdout
    row = node_of(warren, name)
    assert (row["fit"], row["being_drained"], row["state"]) == (True, False, "running")
    assert row["pid"] != before["pid"]
    assert not psutil.pid_exists(before["pid"])
    asked = ("-q", "eval", "rabbit_maintenance:status_local_read(node()).")
    assert tool(row, "rabbitmqctl", *asked).strip() == "regular"
    since = [one.rounds for one in clients]
    eventually("clients go on", lambda: went_on(clients, since))


def test_sessions_are_spread_again_after_a_restart(warren: Warren, place: Place) -> None:
    raws = [Raw(place).open() for _ in range(30)]
    try:
        name = "n3"
        warren.ok("node", "drain", name)
        warren.ok("node", "revive", name)
        assert node_of(warren, name)["sessions"] == 0
        dry = json.loads(warren.ok("balance", "rebalance", "--dry-run", "--json"))
        assert (dry["dry_run"], dry["moved"]) == (True, 0)
        assert node_of(warren, name)["sessions"] == 0
        text = warren.ok("balance", "rebalance")
        print(text)
        assert "10 sessions moved in" in text
        assert [node["sessions"] for node in warren.status()["nodes"]] == [10, 10, 10]
        for raw in raws:
            raw.channel(7)  # each still works
            raw.close()
    finally:
        for raw in raws:
            raw.socket.close()


def test_a_killed_node_is_restarted(warren: Warren, place: Place) -> None:
    pid = node_of(warren, "n2")["pid"]
    os.kill(pid, signal.SIGKILL)
    eventually("is down", lambda: node_of(warren, "n2")["state"] == "down")
    for command in ("drain", "revive"):
        refused = warren.run("node", command, "n2")
        assert refused.returncode == 1
        assert "n2@localhost doesn't run (down)" in refused.stderr
    done = warren.run("node", "restart", "n2")
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    row = node_of(warren, "n2")
    assert (row["state"], row["fit"]) == ("running", True)
    nodes = management(warren).get("/nodes")
    assert [node["running"] for node in nodes] == [True, True, True]


def test_a_frozen_node_is_restarted(warren: Warren, place: Place) -> None:
    pid = node_of(warren, "n1")["pid"]
    os.kill(pid, signal.SIGSTOP)
    refused = warren.run("node", "drain", "n1")
    assert refused.returncode == 1
    assert "n1@localhost doesn't serve (frozen" in refused.stderr
    done = warren.run("node", "restart", "n1", "--drain")
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    assert "Before: " not in done.stdout  # there was nobody to drain
    assert node_of(warren, "n1")["fit"]
    assert not psutil.pid_exists(pid)


def test_down_during_a_restart_leaves_nothing(warren: Warren, place: Place) -> None:
    ports = ports_of(warren.status())
    with subprocess.Popen(
        [WARRENER, "--state", warren.state, "node", "restart", "n3"],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as restart:  # fmt: skip
        eventually("it starts", lambda: node_of(warren, "n3")["state"] == "starting", 60)
        busy = warren.run("node", "drain", "n3")
        assert busy.returncode == 1
        assert "n3@localhost is being restarted already" in busy.stderr
        warren.ok("down")
        out, err = restart.communicate(timeout=30)
    assert (restart.returncode, out) == (130, "")
    assert "called off: the cluster is being stopped" in err
    assert_gone(warren.state, ports)
