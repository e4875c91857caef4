"""RabbitMQ's answers as a snapshot, and who is asked for them.

``answers/3.10.8_*.json`` were recorded from a real cluster; the shapes of 4.x are written by hand
after its documentation of the API.
"""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from warrener.cluster.observe import (
    LONGEST_STAGGER,
    STAGGER,
    node_view,
    observe,
    queue_view,
    snapshot,
    stagger_after,
)
from warrener.facts.ids import NodeName
from warrener.facts.snapshot import ClusterSnapshot, QueueView
from warrener.management.answers import Node, Overview, Queue, QueuePage
from warrener.management.client import ManagementError, TimedOut, Unreachable
from warrener.testing.virtual_time import run

N1, N2, N3 = (NodeName(f"n{i}@localhost") for i in (1, 2, 3))


class Recorded(msgspec.Struct):
    overview: Overview
    nodes: list[Node]
    queues: QueuePage


def recorded(name: str) -> ClusterSnapshot:
    path = Path(__file__).with_name("answers") / f"3.10.8_{name}.json"
    answers = msgspec.json.decode(path.read_bytes(), type=Recorded)
    return snapshot(N1, 12.5, answers.overview, answers.nodes, answers.queues.items)


def test_a_cluster_of_3_10() -> None:
    seen = recorded("running")
    assert (seen.source, seen.taken_at, seen.cluster_name) == (N1, 12.5, "warrener")
    assert [(node.name, node.running, node.version) for node in seen.nodes] == [
        (N1, True, "3.10.8"),
        (N2, True, "3.10.8"),
        (N3, True, "3.10.8"),
    ]
    first = seen.nodes[0]
    assert first.erlang_version == "25.2.3"
    assert first.mem_limit == 3_361_776_402
    assert first.disk_free_limit == 100_000_000
    assert 0 < first.mem_used < first.mem_limit
    assert 0 < first.fd_used < first.fd_total
    assert 0 < first.uptime < 60, "seconds, not milliseconds"
    told = (first.mem_alarm, first.disk_alarm, first.being_drained, first.partitions)
    assert told == (False, False, False, ())


def test_queues_of_3_10() -> None:
    queues = {queue.name: queue for queue in recorded("running").queues}
    assert queues["c1"] == QueueView("/", "c1", "classic", N1, state="running")
    assert queues["c2"].leader == N2
    assert (queues["q1"].type, queues["q1"].leader) == ("quorum", N1)
    assert set(queues["q1"].members) == set(queues["q1"].online) == {N1, N2, N3}
    assert (queues["s1"].type, queues["s1"].leader) == ("stream", N1), "3.10 has it as `node`"


def test_messages_of_3_10() -> None:
    queues = {queue.name: queue for queue in recorded("one_down").queues}
    assert (queues["q1"].messages, queues["q1"].messages_ready) == (1, 1)


def test_a_node_that_is_down_is_told_with_its_name_alone() -> None:
    down = recorded("one_down").nodes[2]
    assert (down.name, down.running, down.version, down.mem_used) == (N3, False, "", 0)


def node(**answer: Any) -> Node:
    return msgspec.convert({"name": N1, **answer}, Node)


def queue(**answer: Any) -> Queue:
    return msgspec.convert({"name": "q", "vhost": "v", **answer}, Queue)


def test_a_node_of_4_x() -> None:
    view = node_view(
        node(
            running=True,
            being_drained=True,
            partitions=[N2],
            mem_alarm=True,
            disk_free_alarm=True,
            disk_free="disk_free_monitoring_disabled",
            fd_used="unknown",
            rabbitmq_version="4.1.2",
            uptime=1500,
            exchange_types=[{"name": "direct"}],
        ),
        Overview(node=N2, rabbitmq_version="4.1.2", erlang_version="27.3"),
    )
    assert (view.version, view.erlang_version, view.uptime) == ("4.1.2", "", 1.5)
    assert (view.being_drained, view.mem_alarm, view.disk_alarm) == (True, True, True)
    assert (view.disk_free, view.fd_used, view.partitions) == (0, 0, (N2,))


def test_a_node_without_statistics_has_the_version_it_answers_with() -> None:
    overview = Overview(node=N1, rabbitmq_version="3.13.7", erlang_version="26.2")
    view = node_view(node(running=True), overview)
    assert (view.version, view.erlang_version) == ("3.13.7", "26.2")


@pytest.mark.parametrize(
    ("answer", "leader"),
    [
        ({"type": "classic", "node": N2}, N2),
        ({"type": "quorum", "node": N2, "leader": N3, "members": [N1, N2, N3]}, N3),
        ({"type": "quorum", "leader": N3}, N3),  # disable_stats: no node
        ({"type": "quorum", "node": N2, "leader": "", "members": [N1, N2, N3]}, None),
        ({"type": "quorum", "node": N2, "leader": "none", "members": [N1]}, None),
        ({"type": "stream", "node": N2, "members": [N1, N2]}, N2),  # 3.10: no leader
        ({"type": "stream", "leader": N1, "members": [N1, N2]}, N1),
        ({"type": "classic", "node": None}, None),
        ({"type": "classic", "node": "undefined"}, None),
        ({}, None),
    ],
)
def test_who_leads_a_queue(answer: dict[str, Any], leader: NodeName | None) -> None:
    assert queue_view(queue(**answer)).leader == leader


def test_a_queue_without_statistics() -> None:
    view = queue_view(queue(node=N1, members="", online=None, messages=None, state=["x"]))
    assert view == QueueView("v", "q", "classic", N1)


def test_a_queue_that_goes_with_its_user() -> None:
    view = queue_view(queue(node=N1, auto_delete=True, exclusive=True))
    assert (view.auto_delete, view.exclusive) == (True, True)
    view = queue_view(queue(node=N1, auto_delete="undefined", exclusive=None))
    assert (view.auto_delete, view.exclusive) == (False, False)


def test_nodes_and_queues_are_in_the_order_of_their_names() -> None:
    seen = snapshot(
        N1,
        0.0,
        Overview(),
        [Node(name=name) for name in (N3, N1, N2)],
        [Queue(name="b"), Queue(name="a", vhost="z"), Queue(name="a")],
    )
    assert [one.name for one in seen.nodes] == [N1, N2, N3]
    assert [(one.vhost, one.name) for one in seen.queues] == [("/", "a"), ("/", "b"), ("z", "a")]


class Scripted:
    """A node that answers, fails or hangs; stands in for its ``ManagementClient``."""

    def __init__(
        self, answer: ManagementError | None = None, *, hangs: bool = False, takes: float = 0.0
    ) -> None:
        self.answer = answer
        self.hangs = hangs
        self.takes = takes
        self.asked = 0
        self.was_asked = asyncio.Event()
        self.called_off = False

    async def overview(self) -> Overview:
        self.asked += 1
        self.was_asked.set()
        try:
            if self.hangs:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.called_off = True
            raise
        if self.answer is not None:
            raise self.answer
        return Overview(cluster_name="c")

    async def nodes(self) -> list[Node]:
        await asyncio.sleep(self.takes)
        return [Node(name=N1, running=True)]

    async def queues(self) -> list[Queue]:
        return [Queue(name="q", node=N1)]


async def look(*nodes: Scripted, **options: Any) -> ClusterSnapshot:
    clients: Any = list(zip((N1, N2, N3), nodes, strict=False))
    return await observe(clients, now=lambda: 7.0, stagger=0.01, **options)


async def test_one_good_answer_is_enough() -> None:
    first, second = Scripted(), Scripted()
    seen = await look(first, second)
    assert (seen.source, seen.taken_at, seen.cluster_name) == (N1, 7.0, "c")
    assert [one.name for one in seen.queues] == ["q"]
    assert (first.asked, second.asked) == (1, 0)


def test_a_snapshot_says_how_long_it_took() -> None:
    """From the first question of the node that answered: nothing in it is older than that."""

    async def main() -> float:
        clients: Any = [(N1, Scripted(hangs=True)), (N2, Scripted(takes=1.5))]
        return (await observe(clients, now=lambda: 7.0, stagger=0.5)).took

    assert run(main()) == pytest.approx(1.5)


async def test_the_node_that_answered_last_is_asked_first() -> None:
    first, second = Scripted(), Scripted()
    assert (await look(first, second, first=N2)).source == N2
    assert (first.asked, second.asked) == (0, 1)


async def test_queues_can_be_left_out() -> None:
    assert (await look(Scripted(), queues=False)).queues == ()


async def test_a_node_that_hangs_costs_no_time_out() -> None:
    hanging = Scripted(hangs=True)
    assert (await look(hanging, Scripted())).source == N2
    assert hanging.called_off, "nothing is left running"


async def test_a_node_that_refuses_costs_nothing() -> None:
    refusing = Scripted(Unreachable("http://n1", "no connection"))
    async with asyncio.timeout(1):
        clients: Any = [(N1, refusing), (N2, Scripted())]
        assert (await observe(clients, now=lambda: 0.0, stagger=60)).source == N2


async def test_when_no_node_answers_the_first_error_is_raised_with_the_others_noted() -> None:
    errors = [Unreachable("http://n1", "gone"), TimedOut("http://n2", "slow")]
    with pytest.raises(Unreachable) as caught:
        await look(*(Scripted(error) for error in errors))
    assert caught.value is errors[0]
    assert caught.value.__notes__ == ["http://n2: slow"]


async def test_a_bug_is_not_taken_for_a_node_that_fails() -> None:
    broken: Any = Scripted()
    broken.answer = KeyError("a bug")
    with pytest.raises(KeyError):
        await look(broken, Scripted())


async def test_nothing_is_left_running_when_it_is_cancelled() -> None:
    hanging = Scripted(hangs=True)
    task = asyncio.create_task(look(hanging))
    await hanging.was_asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert hanging.called_off


async def test_without_nodes_there_is_nobody_to_ask() -> None:
    with pytest.raises(ValueError, match="no node to ask"):
        await look()


def test_the_next_node_is_asked_later_where_a_look_takes_long() -> None:
    """Else each look at thousands of queues would be made by all nodes at once."""
    assert stagger_after(0.0) == stagger_after(0.1) == STAGGER
    assert stagger_after(1.5) == 3.0
    assert stagger_after(60.0) == LONGEST_STAGGER
