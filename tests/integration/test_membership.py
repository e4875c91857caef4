"""Nodes that come and go under load, and a node that is made anew. In a cluster of this module's
own; the books are the ledger's (see ``test_ledger``)."""

import contextlib
import json
import os
import shutil
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import psutil
import pytest
from tests.integration.ledger_load import load_on, nodes_of, report_gap, wait_all_fit
from tests.integration.support import evaluate, eventually, management, tool
from tests.integration.warren import (
    Warren,
    processes_of,
    running,
    wait_until_gone,
    warrener,
)

from warrener.cluster.drivers.stream_coordinator import FOLLOW, seen

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def warren(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warren]:
    with running(tmp_path_factory.mktemp("members")) as made:
        yield made


def names(warren: Warren) -> list[str]:
    return [row["name"].partition("@")[0] for row in nodes_of(warren)]


def members(warren: Warren, prefix: str) -> dict[str, set[str]]:
    """Members of each quorum queue, as RabbitMQ says."""
    return {
        queue["name"]: {node.partition("@")[0] for node in queue["members"]}
        for queue in management(warren).get("/queues?disable_stats=true")
        if queue["type"] != "classic" and queue["name"].startswith(prefix)
    }


def known(warren: Warren) -> list[str]:
    """The nodes that RabbitMQ itself knows."""
    return sorted(node["name"] for node in management(warren).get("/nodes"))


@contextlib.contextmanager
def stream(warren: Warren) -> Iterator[str]:
    """A stream with a hundred messages."""
    name = f"stream-{uuid.uuid4().hex[:8]}"
    with pika.BlockingConnection(pika.URLParameters(warren.url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare(name, durable=True, arguments={"x-queue-type": "stream"})
        for _ in range(100):
            channel.basic_publish("", name, bytes(1000))
    yield name  # without a connection: nobody would answer its heartbeats
    with pika.BlockingConnection(pika.URLParameters(warren.url)) as connection:
        connection.channel().queue_delete(name)


def replicas_of_stream(warren: Warren, name: str) -> dict[str, int]:
    """By node, how many messages each has: from RabbitMQ's tool, as the API's word is old."""
    told = tool(nodes_of(warren)[0], "rabbitmq-streams", "stream_status", "--formatter=json", name)
    rows = json.loads(told[told.index("[") :])
    return {row["node"].partition("@")[0]: row["committed_offset"] + 1 for row in rows}


def coordinator_follows(warren: Warren) -> bool:
    """Whether the coordinator of streams has all nodes and nobody else, at the first look: by
    itself it follows within 30 s."""
    node = nodes_of(warren)[0]
    answer = evaluate(node, FOLLOW) or tool(node, "rabbitmqctl", "-q", "eval", FOLLOW)
    found = seen(answer)
    assert found is not None
    return found.follows() and found.members == set(known(warren))


def test_three_five_and_three_nodes_under_load(warren: Warren, tmp_path: Path) -> None:
    """Nothing lost, nobody notices, and every queue ends with three replicas on nodes there are."""
    with stream(warren) as name, load_on(warren, tmp_path, duplicates=True) as load:
        at = time.monotonic()
        for wanted in ("n4", "n5"):
            answer = json.loads(warren.ok("node", "add", "--json"))
            print(f"{wanted} added in {answer['seconds']:.1f} s")
            assert answer["node"] == f"{wanted}@localhost"
            assert answer["failed"] == {}
            assert coordinator_follows(warren)
            load.wait_flowing(60)
        spread = members(warren, "ledger-")
        assert all(len(nodes) == 3 for nodes in spread.values()), spread
        held = [sum(node in nodes for nodes in spread.values()) for node in names(warren)]
        assert max(held) - min(held) <= 2, held
        for leaving in ("n2", "n5"):
            answer = json.loads(warren.ok("node", "remove", leaving, "--json"))
            print(f"{leaving} removed in {answer['seconds']:.1f} s")
            assert answer["lost"] == answer["thinned"] == []
            assert answer["drained"]["left"] == 0
            assert coordinator_follows(warren)
            load.wait_flowing(60)
        report_gap(load, "three, five, three", at)
        assert names(warren) == ["n1", "n3", "n4"]
        assert all(nodes == {"n1", "n3", "n4"} for nodes in members(warren, "ledger-").values())
        assert replicas_of_stream(warren, name) == {"n1": 100, "n3": 100, "n4": 100}
    assert known(warren) == ["n1@localhost", "n3@localhost", "n4@localhost"]
    left = [path.name for path in (warren.state / "nodes").iterdir() if path.is_dir()]
    assert sorted(left) == ["n1", "n3", "n4"]
    assert not [line for line in processes_of(warren.state) if "n2@" in line or "n5@" in line]


def test_a_node_whose_data_was_deleted_is_recognised_and_replaced(
    warren: Warren, tmp_path: Path
) -> None:
    wait_all_fit(warren)
    with stream(warren) as log, load_on(warren, tmp_path, duplicates=True) as load:
        node = nodes_of(warren)[1]
        name = node["name"].partition("@")[0]
        with load.fault(f"{name} loses its disk"):
            at = time.monotonic()
            psutil.Process(node["pid"]).send_signal(signal.SIGKILL)
            eventually("down", lambda: nodes_of(warren)[1]["state"] == "down")
            shutil.rmtree(warren.state / "nodes" / name / "data")
            load.wait_flowing(60)
            refused = warren.run("node", "restart", name)
            assert refused.returncode == 1
            assert f"{name} has lost its data" in refused.stderr
            assert f"`warrener node replace {name}`" in refused.stderr
            answer = json.loads(warren.ok("node", "replace", name, "--json"))
            assert coordinator_follows(warren)
            print(f"replaced in {answer['seconds']:.1f} s")
            load.wait_flowing(60)
            report_gap(load, "replace", at)
        assert answer["failed"] == {}
        assert answer["replicas"] == 7
        assert sorted(replicas_of_stream(warren, log).values()) == [100, 100, 100]
        assert all(len(nodes) == 3 for nodes in members(warren, "ledger-").values())
    wait_all_fit(warren)


def test_classic_queues_and_thin_quorum_queues_keep_their_node(warren: Warren) -> None:
    with pika.BlockingConnection(pika.URLParameters(warren.url)) as connection:
        channel = connection.channel()
        classic, quorum = (f"test-{uuid.uuid4().hex[:8]}" for _ in range(2))
        channel.queue_declare(classic, durable=True)
        channel.queue_declare(quorum, durable=True, arguments={"x-queue-type": "quorum"})
        channel.basic_publish("", classic, b"kept")
        where = eventually(
            "the queue has a node", lambda: management(warren).get(f"/queues/%2F/{classic}")["node"]
        )
        done = warren.run("node", "remove", where)
        assert done.returncode == 1
        assert f"1 classic queue ({classic}) lives on it alone" in done.stderr
        channel.queue_delete(classic)
        done = warren.run("node", "remove", where)
        assert done.returncode == 1
        assert f"1 quorum queue ({quorum}) would be left with 2 replicas" in done.stderr
        channel.queue_delete(quorum)
    assert len(names(warren)) == 3


def test_rabbitmqs_own_words(warren: Warren) -> None:
    name = names(warren)[0]
    assert "has stopped on" in warren.ok("stop-app", name)
    status = warren.ok("cluster-status")
    running_nodes = status.split("Running nodes")[1].split("Versions")[0]
    assert f"{name}@localhost" not in running_nodes
    assert "is fit again" in warren.ok("start-app", name)
    wait_all_fit(warren)
    refused = warren.run("forget-node", name)
    assert (refused.returncode, "moves everything off it first" in refused.stderr) == (1, True)


def test_killed_in_the_middle_of_an_add_the_next_start_brings_it_to_an_end(
    warren: Warren,
) -> None:
    """kill -9 of the daemon while the new node boots, and when it is about to join or just has:
    then it is a member, or nothing is left of it."""
    before = names(warren)
    for wait_for in ("starts", "waiting for the other"):
        daemon = warren.status()["pid"]
        adding = start(warren, "node", "add")
        wait_for_line(warren, adding, wait_for)
        os.kill(daemon, signal.SIGKILL)
        adding.wait(60)
        done = warrener("--state", warren.state, "up", "-d", cwd=warren.state.parent)
        assert done.returncode == 0, done.stderr
        wait_all_fit(warren)
        now = names(warren)
        print(f"killed at '{wait_for}': {now}")
        assert known(warren) == [f"{name}@localhost" for name in now]
        folders = sorted(one.name for one in (warren.state / "nodes").iterdir() if one.is_dir())
        assert folders == now
        for name in now:
            if name not in before:
                warren.ok("node", "remove", name)
    assert names(warren) == before


def test_killed_in_the_middle_of_a_removal_it_is_finished(warren: Warren) -> None:
    added = json.loads(warren.ok("node", "add", "--json"))["node"]
    before = [name for name in names(warren) if f"{name}@localhost" != added]
    daemon = warren.status()["pid"]
    removing = start(warren, "node", "remove", added)
    wait_for_line(warren, removing, "stops")
    os.kill(daemon, signal.SIGKILL)
    removing.wait(60)
    done = warrener("--state", warren.state, "up", "-d", cwd=warren.state.parent)
    assert done.returncode == 0, done.stderr
    wait_all_fit(warren)
    assert names(warren) == before
    assert known(warren) == [f"{name}@localhost" for name in before]
    assert not (warren.state / "nodes" / added.partition("@")[0]).exists()


def test_a_cluster_whose_node_lost_its_data_starts_without_it(warren: Warren) -> None:
    """The worst of it: all others remember that it ran longer than they did, and wait for it."""
    lost = names(warren)[-1]
    stopping = nodes_of(warren)  # the lost one last
    os.kill(warren.status()["pid"], signal.SIGKILL)
    for row in stopping:
        os.kill(row["pid"], signal.SIGTERM)
        wait_until_gone(row["pid"])
    shutil.rmtree(warren.state / "nodes" / lost / "data")
    done = warrener("--state", warren.state, "up", "-d", cwd=warren.state.parent)
    assert done.returncode == 0, done.stderr
    row = nodes_of(warren)[-1]
    assert (row["state"], row["fit"]) == ("lost", False)
    assert json.loads(warren.ok("node", "replace", lost, "--json"))["node"] == f"{lost}@localhost"
    wait_all_fit(warren)
    assert len(known(warren)) == 3


def start(warren: Warren, *words: str) -> Any:
    """A command in the background; its progress goes to a file."""
    import subprocess

    from tests.integration.warren import WARRENER, environment

    log = warren.state.parent / "progress.txt"
    with log.open("wb") as file:
        return subprocess.Popen(
            [WARRENER, "--state", warren.state, *words],
            cwd=warren.state.parent,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def wait_for_line(warren: Warren, process: Any, text: str) -> None:
    log = warren.state.parent / "progress.txt"

    def there() -> bool:
        assert process.poll() is None, log.read_text()
        return text in log.read_text()

    eventually(f"it says {text!r}", there, 60, every=0.02)
