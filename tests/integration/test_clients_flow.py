"""Big bodies, heartbeats, alarms, and clients that don't read: bytes and time, not methods."""

import hashlib
import random
import threading
import time
from collections.abc import Iterator

import pika
import pytest
from pamqp import commands
from pamqp.heartbeat import Heartbeat
from tests.integration.raw import Closed, Raw
from tests.integration.support import (
    Cluster,
    Place,
    balancer_place,
    eventually,
    management,
    memory,
    tool,
)

MIB = 1024 * 1024


@pytest.mark.parametrize("frame_max", [131072, 4096])
def test_64_mib_there_and_back(place: Place, frame_max: int) -> None:
    """Each way in 512 frames, or 16,432 small ones; the bytes are the same."""
    size = 64 * MIB if frame_max > 4096 else 16 * MIB
    body = random.Random(frame_max).randbytes(size)
    parameters = pika.URLParameters(place.url(f"frame_max={frame_max}&heartbeat=20"))
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.confirm_delivery()
    channel.basic_publish("", queue, body)
    _, _, found = channel.basic_get(queue, auto_ack=True)
    connection.close()
    assert found is not None
    assert len(found) == len(body)
    assert hashlib.sha256(found).digest() == hashlib.sha256(body).digest()


def test_bodies_around_the_edges_of_frames(place: Place) -> None:
    """Empty, one byte, and a byte around each multiple of the frame's payload."""
    payload = 4096 - 8
    sizes = [0, 1] + [n * payload + d for n in (1, 2, 33) for d in (-1, 0, 1)]
    with pika.BlockingConnection(pika.URLParameters(place.url("frame_max=4096"))) as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.confirm_delivery()
        for size in sizes:
            channel.basic_publish("", queue, b"z" * size)
        assert [len(channel.basic_get(queue, auto_ack=True)[2]) for _ in sizes] == sizes


# -- heartbeats ---------------------------------------------------------------------------------


def test_an_idle_client_is_kept_by_heartbeats_and_gets_them(place: Place) -> None:
    """Over more than three intervals of 1 s in which nothing but heartbeats goes either way."""
    with Raw(place).open(heartbeat=1) as raw:
        raw.channel()
        beats = 0
        end = time.monotonic() + 4
        while (left := end - time.monotonic()) > 0:
            raw.send(Heartbeat())
            try:
                _, found = raw.receive(min(left, 0.4))
            except TimeoutError:
                continue
            assert isinstance(found, Heartbeat)
            beats += 1
        assert beats >= 3
        raw.send(commands.Queue.Declare(exclusive=True), channel=1)
        raw.expect(commands.Queue.DeclareOk)
        raw.close()


def test_a_silent_client_is_dropped_after_its_heartbeats(place: Place) -> None:
    """Two intervals of 1 s without a byte, or a little more, and it is gone without a word."""
    with Raw(place).open(heartbeat=1) as raw:
        started = time.monotonic()
        with pytest.raises(Closed):
            raw.expect(commands.Connection.Close, 10)  # heartbeats are passed over
        assert 1.9 <= time.monotonic() - started <= 5


def test_a_client_without_heartbeats_gets_none_and_stays(cluster: Cluster) -> None:
    """The balancer's link to the node beats all the same; that is nobody else's business."""
    with Raw(balancer_place(cluster)).open(heartbeat=0) as raw:
        with pytest.raises(TimeoutError):
            raw.receive(3)
        raw.channel()
        raw.close()


# -- alarms -------------------------------------------------------------------------------------


class MemoryAlarm:
    """The memory alarm of a cluster's first node. It blocks publishers everywhere."""

    def __init__(self, cluster: Cluster) -> None:
        self._node = cluster.status()["nodes"][0]
        # All nodes have the same one; what the API says of this node may be from the alarm before.
        # A node's first statistics come some seconds after its listeners.
        self._limit = eventually(
            "a node's memory limit",
            lambda: max(node.get("mem_limit", 0) for node in management(cluster).get("/nodes")),
        )
        self.ringing = False

    def ring(self) -> None:
        self.ringing = True
        tool(self._node, "rabbitmqctl", "set_vm_memory_high_watermark", "0.00001")

    def stop(self) -> None:
        """As it was before."""
        limit = ("absolute", str(self._limit))
        tool(self._node, "rabbitmqctl", "set_vm_memory_high_watermark", *limit)
        self.ringing = False


@pytest.fixture
def memory_alarm(cluster: Cluster) -> Iterator[MemoryAlarm]:
    alarm = MemoryAlarm(cluster)
    try:
        yield alarm
    finally:
        if alarm.ringing:
            alarm.stop()


def test_blocked_and_unblocked_reach_the_publisher(
    both: tuple[Place, Place], cluster: Cluster, memory_alarm: MemoryAlarm
) -> None:
    """During a memory alarm of one node publishers hear of it wherever they are; the message they
    had sent is held and goes through afterwards."""
    raws = [Raw(place).open() for place in both]
    quiet = Raw(both[1]).open(capabilities={})
    try:
        queues = []
        for raw in (*raws, quiet):
            raw.channel()
            raw.send(commands.Queue.Declare(exclusive=True), channel=1)
            queues.append(raw.expect(commands.Queue.DeclareOk).queue)
        memory_alarm.ring()
        for raw, queue in zip((*raws, quiet), queues, strict=True):
            raw.publish(queue, b"held")
        reasons = [raw.expect(commands.Connection.Blocked).reason for raw in raws]
        assert reasons == ["low on memory"] * 2
        alarms = eventually(
            "the alarm in the status", lambda: cluster.status()["nodes"][0]["alarms"]
        )
        assert alarms == ["memory"]
        memory_alarm.stop()
        for raw in raws:
            raw.expect(commands.Connection.Unblocked)
        for raw, queue in zip((*raws, quiet), queues, strict=True):
            raw.send(commands.Basic.Get(queue=queue, no_ack=True), channel=1)
            raw.expect(commands.Basic.GetOk)  # the one without the capability heard nothing else
    finally:
        for raw in (*raws, quiet):
            raw.socket.close()


# -- clients that don't read --------------------------------------------------------------------


def test_a_consumer_that_does_not_read_costs_little_and_disturbs_nobody(cluster: Cluster) -> None:
    """200 MiB are published for a consumer without prefetch that reads nothing.

    The balancer stops reading from the node: its memory stays where it was, other sessions go on,
    and when the consumer reads at last, it gets everything in order.
    """
    place = balancer_place(cluster)
    pid = cluster.status()["balancer"]["pid"]
    number, body = 3200, b"y" * 65536
    with Raw(place).open() as slow, Raw(place).open() as other:
        slow.channel()
        slow.send(commands.Queue.Declare(exclusive=False, auto_delete=True), channel=1)
        queue = slow.expect(commands.Queue.DeclareOk).queue
        slow.send(commands.Basic.Consume(queue=queue, no_ack=True), channel=1)
        slow.expect(commands.Basic.ConsumeOk)
        before = memory(pid)
        most = [before]
        publisher = threading.Thread(target=flood, args=(place, queue, number, body))
        publisher.start()
        other.channel()
        other.send(commands.Queue.Declare(exclusive=True), channel=1)
        mine = other.expect(commands.Queue.DeclareOk).queue
        slowest = 0.0
        while publisher.is_alive():
            started = time.monotonic()
            other.publish(mine, b"ping")
            other.send(commands.Basic.Get(queue=mine, no_ack=True), channel=1)
            while isinstance(other.receive()[1], commands.Basic.GetEmpty):
                other.send(commands.Basic.Get(queue=mine, no_ack=True), channel=1)
            other.receive()
            other.receive()
            slowest = max(slowest, time.monotonic() - started)
            most.append(memory(pid))
        publisher.join()
        assert max(most) - before < 60 * MIB
        assert slowest < 5
        got = 0
        for _ in range(number):
            assert isinstance(slow.receive()[1], commands.Basic.Deliver)
            assert slow.receive()[1].body_size == len(body)
            got += len(slow.receive()[1].value)
        assert got == number * len(body)
        slow.close()
        other.close()


def flood(place: Place, queue: str, number: int, body: bytes) -> None:
    """Publish with confirms, until the last one is confirmed."""
    with Raw(place).open() as raw:
        raw.channel()
        raw.send(commands.Confirm.Select(), channel=1)
        raw.expect(commands.Confirm.SelectOk)
        for _ in range(number):
            raw.publish(queue, body)
        confirmed = 0
        while confirmed < number:
            confirmed = raw.expect(commands.Basic.Ack, 60).delivery_tag
        raw.close()


def test_a_publisher_is_held_back_while_the_node_does_not_read(
    cluster: Cluster, memory_alarm: MemoryAlarm
) -> None:
    """Under a memory alarm RabbitMQ stops reading publishers' sockets. So does the balancer: what
    a flooding publisher can get rid of is bounded, and all of it arrives when the alarm is over."""
    place = balancer_place(cluster)
    pid = cluster.status()["balancer"]["pid"]
    body = b"y" * 65536
    memory_alarm.ring()
    with Raw(place).open(heartbeat=2) as raw:
        raw.channel()
        raw.send(commands.Queue.Declare(exclusive=True), channel=1)
        queue = raw.expect(commands.Queue.DeclareOk).queue
        before = memory(pid)
        raw.publish(queue, body)
        raw.expect(commands.Connection.Blocked)
        sent = 1
        raw.socket.settimeout(1.0)
        message = raw.message(queue, body)
        left = b""
        try:
            for sent in range(2, 4000):  # noqa: B007 - the last one counts
                left = message
                while left:
                    left = left[raw.socket.send(left) :]
        except TimeoutError:
            pass
        assert left, "262 MB went somewhere"
        assert memory(pid) - before < 60 * MIB
        # The balancer doesn't read us: it must not take that for our silence (heartbeat 2 s).
        end = time.monotonic() + 5
        while (wait := end - time.monotonic()) > 0:
            try:
                assert isinstance(raw.receive(wait)[1], Heartbeat)
            except TimeoutError:
                break
        stopping = threading.Thread(target=memory_alarm.stop)
        stopping.start()  # a tool of RabbitMQ's takes seconds; our socket's other end must not wait
        raw.socket.settimeout(60)
        raw.socket.sendall(left)
        stopping.join()
        raw.expect(commands.Connection.Unblocked)

        def all_there() -> bool:
            """A queue answers this before messages that came earlier and still wait for it."""
            raw.send(commands.Queue.Declare(queue=queue, passive=True), channel=1)
            return bool(raw.expect(commands.Queue.DeclareOk, 60).message_count == sent)

        eventually(f"all {sent} messages arrive", all_there)
        raw.close()
