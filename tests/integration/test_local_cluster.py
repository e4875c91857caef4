"""The local driver with real nodes: formed, private, restarted, killed, cancelled, left behind.

One cluster of three nodes serves most tests, in their order; the ones that follow start nodes of
their own, as few as will do.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from warrener.cluster.drivers import node as node_module
from warrener.cluster.drivers.leftovers import find_leftovers, stop_leftovers
from warrener.cluster.drivers.local import LocalCluster
from warrener.cluster.drivers.node import LocalNode
from warrener.cluster.drivers.ports import taken
from warrener.cluster.errors import MembersDiffer, StartFailed, StateInUse
from warrener.cluster.observe import observe
from warrener.cluster.spec import ClusterSpec
from warrener.facts.happenings import Event, Progress
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState
from warrener.management.client import AccessRefused, ManagementClient, segment

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

QUEUE = f"/api/queues/{segment('/')}/kept"
PUBLISH = f"/api/exchanges/{segment('/')}/amq.default/publish"


@dataclass
class Told:
    """What a cluster told while it worked."""

    progress: list[Progress] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def of(self, subject: str) -> list[str]:
        return [one.text for one in self.progress if one.subject == subject]


def make(state: Path, nodes: int, told: Told, *, start_timeout: float = 200.0) -> LocalCluster:
    return LocalCluster(
        ClusterSpec(name="orders").with_nodes(nodes),
        state,
        progress=told.progress.append,
        on_event=told.events.append,
        start_timeout=start_timeout,
    )


async def assert_nothing_left(cluster: LocalCluster, ports: list[int]) -> None:
    assert find_leftovers(cluster.state) == ()
    assert taken("127.0.0.1", ports) == []
    await cluster.prepare()  # the folder and the ports can be had again
    await cluster.stop()


@pytest.fixture(scope="module")
def told() -> Told:
    return Told()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def three(
    told: Told, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LocalCluster]:
    """Three nodes, in a folder whose name is long, has a blank in it and isn't ASCII."""
    state = tmp_path_factory.mktemp("dörs") / ("a very long name " * 9)
    cluster = make(state, 3, told)
    await cluster.start()
    try:
        yield cluster
    finally:
        await cluster.stop()


async def until(holds: Callable[[], bool], within: float = 60.0) -> None:
    """Other processes make it so; there is nothing to await but the time they take."""
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def contents(path: Path) -> bytes:
    return path.read_bytes()


def node_of(cluster: LocalCluster, name: NodeName) -> LocalNode:
    return next(node for node in cluster.nodes() if node.name == name)


async def until_down(cluster: LocalCluster, name: NodeName) -> None:
    await until(lambda: node_of(cluster, name).state is NodeState.DOWN)


async def test_every_node_sees_the_whole_cluster(three: LocalCluster, told: Told) -> None:
    for name, client in three.management_clients():
        nodes = await client.nodes()
        assert sorted(node.name for node in nodes) == sorted(three.spec.node_names)
        assert all(node.running for node in nodes)
        overview = await client.overview()
        assert (overview.node, overview.cluster_name) == (name, "orders")
        assert overview.rabbitmq_version == three.version
    for short in ("n1", "n2", "n3"):
        texts = told.of(short)
        assert (texts[0], texts[-1]) == ("starts", "has joined and serves")
        assert "is up" in texts


async def test_the_pid_is_the_erlang_vms(three: LocalCluster) -> None:
    for node in three.nodes():
        assert node.pid is not None
        assert psutil.Process(node.pid).name() == "beam.smp"
        assert node.state is NodeState.RUNNING


async def test_guest_is_not_let_in(three: LocalCluster) -> None:
    user, password = three.credentials()
    assert (user, len(password)) == ("warrener", 40)
    _, client = three.management_clients()[0]
    assert (await client.whoami()).tags == ["administrator"]
    async with ManagementClient(client.base_url, "guest", "guest") as guest:
        with pytest.raises(AccessRefused):
            await guest.whoami()


async def test_only_loopback_is_listened_on(three: LocalCluster) -> None:
    found = find_leftovers(three.state)  # of a running cluster: all its processes
    assert {one.part for one in found} == {"epmd", "n1", "n2", "n3"}
    listening = set()
    for one in found:
        for connection in psutil.Process(one.pid).net_connections("all"):
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr.ip in {"127.0.0.1", "::1"}, (one, connection)
                listening.add(connection.laddr.port)
    assert listening == set(three.ports.node_ports())


async def test_the_password_is_in_private_files_only(three: LocalCluster) -> None:
    secrets = [
        three.credentials()[1].encode(),
        (three.state / "home" / ".erlang.cookie").read_bytes(),
    ]
    paths = [three.state, *three.state.rglob("*")]
    assert [path for path in paths if path.stat().st_mode & 0o077] == []
    readable = [path for path in paths if path.suffix == ".log"]
    assert len(readable) >= 7
    for one in find_leftovers(three.state):
        readable += [Path(f"/proc/{one.pid}/cmdline"), Path(f"/proc/{one.pid}/environ")]
    for path in readable:
        assert not any(secret in contents(path) for secret in secrets), path


async def test_nobody_else_drives_the_folder(three: LocalCluster) -> None:
    with pytest.raises(StateInUse, match="warrener down"):
        await make(three.state, 3, Told()).start()
    assert all(node.state is NodeState.RUNNING for node in three.nodes())


async def test_a_killed_node_is_down_and_can_be_started_again(
    three: LocalCluster, told: Told
) -> None:
    name = NodeName("n2@localhost")
    pid = node_of(three, name).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until_down(three, name)
    assert node_of(three, name).pid is None
    assert told.events[-1] == Event(
        "node.exited", name, NodeState.DOWN.value, {"pid": pid, "how": "was killed by SIGKILL"}
    )
    await three.restart_node(name)
    seen = await observe(three.management_clients(), now=lambda: 0.0)
    assert [node.running for node in seen.nodes] == [True, True, True]
    assert {one.part for one in find_leftovers(three.state)} == {"epmd", "n1", "n2", "n3"}


async def test_a_dead_epmd_is_started_again(three: LocalCluster, told: Told) -> None:
    (epmd,) = [one for one in find_leftovers(three.state) if one.part == "epmd"]
    os.kill(epmd.pid, signal.SIGKILL)
    await until(lambda: any(event.kind == "epmd.exited" for event in told.events))
    await until(lambda: taken("127.0.0.1", [three.ports.epmd]) != [])


async def test_a_second_cluster_does_not_meet_the_first(
    three: LocalCluster, tmp_path: Path
) -> None:
    other = make(tmp_path / "other", 1, Told())
    await other.start()
    try:
        ours, theirs = three.ports.node_ports(), other.ports.node_ports()
        assert not set(ours) & set(theirs)
        assert other.credentials() != three.credentials()
        _, client = other.management_clients()[0]
        assert [node.name for node in await client.nodes()] == ["n1@localhost"]
    finally:
        await other.stop()
    await assert_nothing_left(other, list(theirs))
    assert all(node.state is NodeState.RUNNING for node in three.nodes())


async def test_a_restart_keeps_what_was_stored(three: LocalCluster) -> None:
    """Once after a stop in order, once after all nodes were killed at once."""
    _, client = three.management_clients()[0]
    ports, credentials = three.ports, three.credentials()
    await client.put_json(QUEUE, {"durable": True, "arguments": {"x-queue-type": "quorum"}})
    message = {"properties": {"delivery_mode": 2}, "routing_key": "kept", "payload": "still here"}
    routed = await client.post_json(PUBLISH, {**message, "payload_encoding": "string"})
    assert routed == {"routed": True}
    await three.stop()
    assert [node.state for node in three.nodes()] == [NodeState.STOPPED] * 3
    assert find_leftovers(three.state) == ()
    assert taken("127.0.0.1", ports.node_ports()) == []

    await three.start()
    assert (three.ports, three.credentials()) == (ports, credentials)
    for node in three.nodes():
        assert node.pid is not None
        os.kill(node.pid, signal.SIGKILL)
    for node in three.nodes():
        await until_down(three, node.name)
    await three.stop()

    await three.start()
    _, client = three.management_clients()[0]
    get = {"count": 5, "ackmode": "ack_requeue_true", "encoding": "auto"}
    async with asyncio.timeout(30):
        while not (found := await client.post_json(f"{QUEUE}/get", get)):  # noqa: ASYNC110
            await asyncio.sleep(0.2)  # the queue still elects its leader
    assert [one["payload"] for one in found] == ["still here"]


async def test_nodes_are_not_lost_by_asking_for_fewer(three: LocalCluster) -> None:
    await three.stop()
    fewer = make(three.state, 2, Told())
    with pytest.raises(MembersDiffer, match=r"has 3 nodes \(n1, n2, n3\) and 2 are wanted"):
        await fewer.start()


async def test_a_frozen_node_is_stopped_in_order_and_another_can_be_added(tmp_path: Path) -> None:
    told = Told()
    one = make(tmp_path / "state", 1, told)
    await one.start()
    ports = list(one.ports.node_ports())
    (node,) = one.nodes()
    assert node.pid is not None
    os.kill(node.pid, signal.SIGSTOP)
    await one.stop()
    assert "node.killed" not in [event.kind for event in told.events]
    await assert_nothing_left(one, ports)

    two = make(tmp_path / "state", 2, told)
    await two.start()
    try:
        for _, client in two.management_clients():
            nodes = await client.nodes()
            assert [node.name for node in nodes if node.running] == list(two.spec.node_names)
    finally:
        await two.stop()


async def test_a_start_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    told = Told()
    cluster = make(tmp_path / "state", 2, told)
    starting = asyncio.create_task(cluster.start())
    await until(lambda: "starting RabbitMQ" in told.of("n1"))
    ports = list(cluster.ports.node_ports())
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await assert_nothing_left(cluster, ports)


async def test_a_node_that_can_not_boot_is_told_with_its_own_words(tmp_path: Path) -> None:
    cluster = make(tmp_path / "state", 2, Told())
    await cluster.prepare()
    ports = list(cluster.ports.node_ports())
    (tmp_path / "state" / "nodes" / "n2" / "advanced.config").write_text("[{rabbit, [oops]")
    with pytest.raises(StartFailed) as caught:
        await cluster.start()
    assert caught.value.node == "n2"
    assert "while it booted" in str(caught.value)
    assert any("advanced.config" in line for line in caught.value.lines), caught.value.lines
    await assert_nothing_left(cluster, ports)


async def test_a_node_that_ends_while_others_boot_gets_a_second_try(tmp_path: Path) -> None:
    broken = tmp_path / "state" / "nodes" / "n2" / "advanced.config"
    told = Told()

    def on_event(event: Event) -> None:
        told.events.append(event)
        if event.kind == "node.boot_repeated":
            broken.unlink()

    cluster = LocalCluster(
        ClusterSpec(name="orders").with_nodes(2),
        tmp_path / "state",
        progress=told.progress.append,
        on_event=on_event,
    )
    await cluster.prepare()
    broken.write_text("[{rabbit, [oops]")
    await cluster.start()
    try:
        assert [(event.kind, event.subject) for event in told.events] == [
            ("node.boot_repeated", NodeName("n2@localhost"))
        ]
        assert "advanced.config" in str(told.events[0].detail["why"])
        assert [node.state for node in cluster.nodes()] == [NodeState.RUNNING] * 2
    finally:
        await cluster.stop()


async def test_a_node_that_says_nothing_gets_a_second_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its VM stands still before its first line."""
    monkeypatch.setattr(node_module, "SILENCE", 15.0)
    told = Told()
    stopped: list[int] = []

    def on_progress(progress: Progress) -> None:
        told.progress.append(progress)
        if (progress.subject, progress.text) == ("n2", "starts") and not stopped:
            (child,) = filter(is_n2, psutil.Process().children())
            child.send_signal(signal.SIGSTOP)
            stopped.append(child.pid)

    def is_n2(process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):
            return process.environ().get("RABBITMQ_NODENAME") == "n2@localhost"
        return False

    cluster = LocalCluster(
        ClusterSpec(name="orders").with_nodes(2),
        tmp_path / "state",
        progress=on_progress,
        on_event=told.events.append,
    )
    await cluster.start()
    try:
        repeated = [event for event in told.events if event.kind == "node.boot_repeated"]
        assert [event.subject for event in repeated] == [NodeName("n2@localhost")]
        assert "n2: has said nothing for 15 s" in [
            f"{one.subject}: {one.text}" for one in told.progress
        ]
        assert [node.state for node in cluster.nodes()] == [NodeState.RUNNING] * 2
        assert not psutil.pid_exists(stopped[0])
    finally:
        await cluster.stop()


async def test_a_node_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    cluster = make(tmp_path / "state", 1, Told(), start_timeout=1.5)
    with pytest.raises(StartFailed, match=r"^n1 did not come up within 1.\d+ s; its log: "):
        await cluster.start()
    await assert_nothing_left(cluster, list(cluster.ports.node_ports()))


DAEMON = """
import asyncio, sys
from pathlib import Path
from warrener.cluster.drivers.local import LocalCluster
from warrener.cluster.spec import ClusterSpec

async def main():
    ignore = lambda told: None
    cluster = LocalCluster(
        ClusterSpec(nodes=1), Path(sys.argv[1]), progress=ignore, on_event=ignore
    )
    await cluster.start()
    print("up", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@contextlib.contextmanager
def killed_daemon(state: Path) -> Iterator[None]:
    """A process that ran a cluster of one node and was killed."""
    with subprocess.Popen(
        [sys.executable, "-c", DAEMON, str(state)], stdout=subprocess.PIPE
    ) as daemon:
        try:
            assert daemon.stdout is not None
            assert daemon.stdout.readline() == b"up\n"
        finally:
            daemon.kill()
    try:
        yield
    finally:
        stop_leftovers(state, timeout=0)


async def test_what_a_killed_daemon_left_is_found_and_stopped(tmp_path: Path) -> None:
    state = tmp_path / "state"
    told = Told()
    with killed_daemon(state):
        left = find_leftovers(state)
        assert {one.part for one in left} == {"epmd", "n1"}
        assert "beam.smp" in {one.program for one in left}
        again = make(state, 1, told)
        await again.start()  # stops them first: it has their ports, its node their name
        try:
            assert [event.kind for event in told.events] == ["cluster.leftovers_stopped"]
            assert not {one.pid for one in left} & {one.pid for one in find_leftovers(state)}
        finally:
            await again.stop()
        assert find_leftovers(state) == ()
