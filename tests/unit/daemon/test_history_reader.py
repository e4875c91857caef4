"""What the history is read from, against nodes of which little is real: this very process is a
node's, and a small HTTP server its metrics and its management API."""

import dataclasses
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from tests.unit.daemon.scene import N1, N2, FakeBalancer, FakeCluster, Node

from warrener.daemon.history_reader import LIGHT, NEWS, SELDOM, Reader
from warrener.facts.capability import Capabilities
from warrener.facts.leaders import QueueRates
from warrener.facts.reasons import NodeState
from warrener.facts.snapshot import ClusterSnapshot, NodeView, QueueView
from warrener.management.client import ManagementClient
from warrener.management.metrics import MetricsPlace

COUNTER = (
    'rabbitmq_detailed_queue_messages_published_total{channel="c",queue_vhost="/",queue="q",'
    'exchange_vhost="/",exchange=""} 42\n'
)
TOTALS = (
    "# TYPE erlang_vm_statistics_runtime_milliseconds counter\n"
    "erlang_vm_statistics_runtime_milliseconds 2500\n"
    "erlang_vm_logical_processors 8\n"
)


class Service:
    """What the reader knows of the service."""

    def __init__(self) -> None:
        self.cluster: Any = FakeCluster([])
        self.cluster.rows = {N1: Node(N1, pid=os.getpid())}
        self.balancer: Any = FakeBalancer([], 5672)
        self.view: ClusterSnapshot | None = ClusterSnapshot(
            N1,
            0.0,
            "c",
            (NodeView(N1, True, mem_used=100, mem_limit=400),),
            (QueueView("/", "q", "quorum", N1, messages=4), QueueView("/", "e", "classic", N1)),
        )
        self.clock = 1000.0
        self.asked: list[str] = []
        self.fails = False
        self.consumers: Any = [
            {"queue": {"name": "q", "vhost": "/"}, "prefetch_count": 20},
            {"queue": {"name": "q", "vhost": "/"}, "prefetch_count": 5},
            {"queue": {"name": "other", "vhost": "v"}, "prefetch_count": 0},
        ]

    def last_view(self) -> ClusterSnapshot | None:
        return self.view

    def now(self) -> float:
        return self.clock + 5

    def monotonic(self) -> float:
        return self.clock

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(str(request.rel_url))
        if self.fails:
            return web.Response(status=500)
        match request.path:
            case "/metrics/detailed":
                return web.Response(text=COUNTER)
            case "/metrics":
                return web.Response(text=TOTALS)
            case "/api/consumers":
                return web.json_response(self.consumers)
            case "/api/queues///q" | "/api/queues/%2F/q":
                return web.json_response({"messages": 4, "message_bytes": 2000})
        return web.Response(status=404)


@asynccontextmanager
async def serving(service: Service) -> AsyncIterator[Reader]:
    app = web.Application()
    app.router.add_get("/{path:.*}", service.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with ManagementClient(url, "u", "p") as client:
            service.cluster.clients = [client]
            service.cluster.metrics_places = lambda: [MetricsPlace(N1, url)]
            yield Reader(service)
    finally:
        await runner.cleanup()


async def test_counters_cpu_and_the_balancer() -> None:
    service = Service()
    async with serving(service) as reader:
        reading = await reader.read()
    assert (reading.at, reading.clock) == (1005, 1000)
    assert reading.asked == (N1,)
    assert list(reading.counters[N1][1].values()) == [42]
    (node,) = reading.nodes
    assert node.pid == os.getpid()
    assert node.cpu is not None
    assert node.cpu > 0
    assert (node.mem_used, node.mem_limit, node.running) == (100, 400, True)
    (host,) = reading.hosts
    assert host.name == "127.0.0.1"
    assert host.busy is not None
    assert set(host.ours) == {os.getpid()}
    assert host.clients is None  # not looked for yet
    assert reading.balancer is not None
    assert reading.balancer.host == "127.0.0.1"
    assert reading.balancer.cpu is not None
    assert len(service.asked) == 1  # CPU of a process here is nobody's to ask


async def test_a_node_that_does_not_answer_is_left_out() -> None:
    service = Service()
    service.fails = True
    async with serving(service) as reader:
        reading = await reader.read()
    assert reading.asked == (N1,)
    assert reading.counters == {}


async def test_of_nodes_elsewhere_their_own_word_is_taken() -> None:
    service = Service()
    service.cluster.capabilities = Capabilities(driver="ssh")
    async with serving(service) as reader:
        reading = await reader.read()
    assert reading.nodes[0].cpu == pytest.approx(2.5)
    assert reading.nodes[0].pid == 0
    (host,) = reading.hosts
    assert (host.cores, host.busy) == (8, None)
    assert reading.balancer is not None
    assert reading.balancer.host == ""


async def test_a_nodes_share_is_told_where_its_host_has_more() -> None:
    service = Service()
    service.cluster.shares = {N1: 0.5}
    async with serving(service) as reader:
        assert (await reader.read()).nodes[0].cores is None  # not looked at yet
        await reader.look()
        assert (await reader.read()).nodes[0].cores == 0.5
        service.cluster.shares = {N1: 4096.0}
        service.clock += SELDOM
        await reader.look()
        assert (await reader.read()).nodes[0].cores is None


async def test_what_warrener_itself_may_use_is_what_its_machine_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of it in one container: nodes share that, and what else the machine does isn't ours."""

    async def half(host: object, pid: int) -> float:
        assert pid == os.getpid()
        return 0.5

    monkeypatch.setattr("warrener.daemon.history_reader.cpu_share", half)
    service = Service()
    service.cluster.shares = {N1: 0.5}
    async with serving(service) as reader:
        await reader.look()
        reading = await reader.read()
    assert (reading.hosts[0].cores, reading.hosts[0].busy) == (0.5, None)
    assert reading.nodes[0].cores is None


async def test_a_node_elsewhere_has_as_many_cores_as_its_vm_has_schedulers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(f"{__name__}.TOTALS", TOTALS + "erlang_vm_schedulers_online 3\n")
    service = Service()
    service.cluster.capabilities = Capabilities(theirs=True, driver="attached")
    async with serving(service) as reader:
        assert (await reader.read()).nodes[0].cores == 3
        service.cluster.shares = {N1: 1.5}  # a quota that came after its start, over SSH
        await reader.look()
        assert (await reader.read()).nodes[0].cores == 1.5


async def test_of_a_cluster_whose_nodes_cannot_be_asked_the_rates_are_as_they_are_told() -> None:
    service = Service()
    service.cluster.capabilities = Capabilities(theirs=True, driver="attached")
    service.cluster.rates = {("/", "q"): QueueRates(7.0)}
    async with serving(service) as reader:
        service.cluster.metrics_places = lambda: []
        reading = await reader.read()
        assert reading.told == {("/", "q"): QueueRates(7.0)}
        assert (await reader.read(queues=False)).told is None


async def test_without_queues_nothing_is_asked() -> None:
    service = Service()
    async with serving(service) as reader:
        reading = await reader.read(queues=False)
    assert service.asked == []
    assert reading.balancer is not None


async def test_a_node_that_is_down_has_no_cpu() -> None:
    service = Service()
    service.cluster.rows = {N2: Node(N2, NodeState.DOWN, pid=None)}
    async with serving(service) as reader:
        (node,) = (await reader.read()).nodes
    assert (node.running, node.cpu, node.mem_used) == (False, None, 0)


async def test_consumers_and_sizes_are_looked_at_once_a_minute() -> None:
    service = Service()
    async with serving(service) as reader:
        await reader.look()
        looked = reader.looked
        assert looked.consumers == {("/", "q"): (2, 5), ("v", "other"): (1, 0)}
        assert looked.held == {("/", "q"): (4, 2000)}
        asked = len(service.asked)
        service.clock += SELDOM - 1
        await reader.look()
        assert len(service.asked) == asked
        service.clock += 2
        await reader.look()
        assert len(service.asked) == 2 * asked


async def test_queues_that_come_to_have_consumers_are_looked_at_sooner() -> None:
    service = Service()
    async with serving(service) as reader:
        await reader.look()
        assert service.view is not None
        fresh = QueueView("/", "fresh", "quorum", N1, consumers=2)
        service.view = dataclasses.replace(service.view, queues=(*service.view.queues, fresh))
        service.consumers += [{"queue": {"name": "fresh", "vhost": "/"}, "prefetch_count": 1}] * 2
        for wait, looks in ((NEWS - 1, 0), (2, 1), (NEWS + 1, 1)):
            service.clock += wait
            await reader.look()
            times = sum(one.startswith("/api/consumers") for one in service.asked)
            assert times == 1 + looks, wait
        assert reader.looked.consumers is not None
        assert reader.looked.consumers["/", "fresh"] == (2, 1)


async def test_where_it_takes_long_it_is_done_seldom() -> None:
    service = Service()
    async with serving(service) as reader:
        held = reader._held

        async def slow() -> Any:
            service.clock += 10
            return await held()

        reader._held = slow  # type: ignore[method-assign]  # takes long
        await reader.look()
        asked = len(service.asked)
        service.clock += LIGHT * 10 - 11
        await reader.look()
        assert len(service.asked) == asked


async def test_a_queue_that_is_gone_meanwhile_holds_nothing_and_the_others_are_asked() -> None:
    service = Service()
    gone = QueueView("/", "gone", "classic", N1, messages=9)
    assert service.view is not None
    service.view = replace(service.view, queues=(gone, *service.view.queues))
    async with serving(service) as reader:
        await reader.look()
        assert reader.looked.held == {("/", "q"): (4, 2000)}


async def test_who_does_not_tell_leaves_it_unknown() -> None:
    service = Service()
    service.fails = True
    async with serving(service) as reader:
        await reader.look()
        assert reader.looked.consumers is None
        assert reader.looked.held == {}


@pytest.fixture
def client() -> Iterator[tuple[int, int]]:
    """A process that is connected to a port: its id, and the port."""
    program = (
        "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); "
        "print('there', flush=True); sys.stdin.read()"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with subprocess.Popen(
            [sys.executable, "-c", program, str(port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            assert process.stdout.readline() == b"there\n"
            yield process.pid, port
            process.communicate()


async def test_clients_are_the_processes_that_are_connected_to_the_balancer(
    client: tuple[int, int],
) -> None:
    pid, port = client
    service = Service()
    service.balancer = FakeBalancer([], port)
    async with serving(service) as reader:
        await reader.look()
        reading = await reader.read()
    assert reading.hosts[0].clients is not None
    assert set(reading.hosts[0].clients) == {pid}
    assert reading.balancer is not None
    assert reading.balancer.clients_on == "127.0.0.1"


def test_the_view_may_be_gone() -> None:
    service = Service()
    service.view = None
    reader = Reader(service)
    nodes = list(reader._nodes([replace(Node(N1), pid=None)], True, {}, None))
    assert nodes[0].mem_used == 0
