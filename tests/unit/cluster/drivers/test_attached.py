"""A cluster that somebody else runs, seen by its management API alone."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.cluster.drivers.theirs import Theirs

from warrener.cluster.attach import Attach
from warrener.cluster.drivers.attached import AttachedCluster
from warrener.cluster.drivers.attached_record import RECORD, Record, read_record
from warrener.cluster.drivers.private_files import PrivateFiles
from warrener.cluster.drivers.private_files import Record as LocalRecord
from warrener.cluster.errors import ClusterError, NotRunning, StateInUse, UnknownNode
from warrener.facts.balance import Backend
from warrener.facts.capability import Can
from warrener.facts.happenings import Event, Progress
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState
from warrener.facts.settings import BalancerSettings

N1, N2, N3 = (NodeName(f"n{number}@localhost") for number in (1, 2, 3))
THREE = {N1: True, N2: True, N3: True}


class Told:
    def __init__(self) -> None:
        self.steps: list[Progress] = []
        self.events: list[Event] = []

    def kinds(self) -> list[tuple[str, str]]:
        return [(event.kind, event.subject) for event in self.events]


def make(urls: list[str], state: Path, told: Told | None = None, **more: Any) -> AttachedCluster:
    told = told or Told()
    settings = {"user": "ops", **more}
    password = settings.pop("password", "right")
    return AttachedCluster(
        Attach(tuple(urls), **settings),
        password,
        state,
        tls=None,
        balancer=BalancerSettings(),
        progress=told.steps.append,
        on_event=told.events.append,
        now=lambda: 100.0,
    )


@contextlib.asynccontextmanager
async def attached(
    theirs: Theirs, state: Path, *nodes: str, told: Told | None = None, **more: Any
) -> AsyncIterator[AttachedCluster]:
    async with theirs.serving(*nodes) as urls:
        cluster = make(urls, state, told, **more)
        await cluster.prepare()
        try:
            yield cluster
        finally:
            await cluster.stop()


async def test_members_and_their_addresses_come_from_the_api(tmp_path: Path) -> None:
    theirs = Theirs(running={N1: True, N2: False, N3: True})
    told = Told()
    async with attached(theirs, tmp_path, told=told) as cluster:
        states = {node.name: (node.state, node.amqp_port) for node in cluster.nodes()}
        assert states == {
            N1: (NodeState.RUNNING, 5001),
            N2: (NodeState.DOWN, 0),
            N3: (NodeState.RUNNING, 5003),
        }
        assert all(node.pid is None for node in cluster.nodes())
        assert cluster.backends() == (
            Backend(N1, "127.0.0.1", 5001),
            Backend(N3, "127.0.0.1", 5003),
        )
        assert (cluster.name, cluster.version) == ("warren", "3.10.8")
        assert cluster.plugins() == {"rabbitmq_management", "rabbitmq_shovel"}
        assert cluster.balancer_port > 0
    assert told.steps[-1].text == "warren: RabbitMQ 3.10.8, 3 nodes, 1 of them down"


async def test_nodes_come_go_and_move(tmp_path: Path) -> None:
    theirs = Theirs(running={N1: True, N2: True})
    told = Told()
    async with attached(theirs, tmp_path, told=told) as cluster:
        theirs.running[N3] = True
        await cluster.look()
        assert told.kinds() == [("node.found", N3)]
        theirs.amqp[N3] = ("10.0.0.3", 5672)
        await cluster.look()
        assert Backend(N3, "10.0.0.3", 5672) in cluster.backends()
        del theirs.running[N2]
        await cluster.look()
        assert told.kinds() == [("node.found", N3), ("node.gone", N2)]
        assert [backend.name for backend in cluster.backends()] == [N1, N3]


async def test_a_node_that_stops_is_where_it_was(tmp_path: Path) -> None:
    """Its listeners go before it counts as down; its sessions are somewhere all the same."""
    theirs = Theirs(running=dict(THREE))
    async with attached(theirs, tmp_path) as cluster:
        before = cluster.backends()
        theirs.running[N2] = False
        await cluster.look()
        assert cluster.backends() == before
        assert cluster.nodes()[1].state is NodeState.DOWN


async def test_the_next_url_is_asked_when_one_is_away(tmp_path: Path) -> None:
    theirs = Theirs(running=dict(THREE), tells_management=False)
    async with attached(theirs, tmp_path, N1, N2) as cluster:
        theirs.silent.add(N1)
        assert (await cluster.look()).source == N2
        theirs.silent = {N2}
        assert (await cluster.look()).source == N1


async def test_a_url_that_is_away_at_the_start_is_passed_over(tmp_path: Path) -> None:
    theirs = Theirs(running=dict(THREE), silent={N1})
    async with attached(theirs, tmp_path, N1, N2) as cluster:
        assert (await cluster.look()).source == N2


async def test_nodes_are_asked_that_the_cluster_tells_of(tmp_path: Path) -> None:
    """One URL was given, and the node behind it dies."""
    theirs = Theirs(running=dict(THREE))
    async with theirs.serving(N1, N2) as urls:
        cluster = make(urls[:1], tmp_path)
        await cluster.prepare()
        theirs.silent.add(N1)
        theirs.running[N1] = False
        assert (await cluster.look()).source == N2
        await cluster.stop()


async def test_a_node_that_founded_its_own_cluster_is_not_believed(tmp_path: Path) -> None:
    theirs = Theirs(running=dict(THREE))
    told = Told()
    async with attached(theirs, tmp_path, N1, N2, told=told) as cluster:
        theirs.members[N1] = [N1]
        await cluster.look()
        assert [node.name for node in cluster.nodes()] == [N1, N2, N3]
        assert ("cluster.stray", N1) in told.kinds()
        theirs.asked.clear()
        await cluster.look()
        assert not any(node == N1 for node, _ in theirs.asked)


async def test_several_nodes_that_leave_at_once_are_believed(tmp_path: Path) -> None:
    theirs = Theirs(running=dict(THREE))
    async with attached(theirs, tmp_path, N1, N2) as cluster:
        del theirs.running[N3]
        await cluster.look()
        assert [node.name for node in cluster.nodes()] == [N1, N2]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"password": "wrong"}, "user 'ops' or its password is not accepted.*--password-file"),
        ({"tags": ()}, "needs the tag `monitoring`.*rabbitmqctl set_user_tags ops monitoring"),
        ({"tags": ("policymaker",)}, r"needs the tag `monitoring`.*\(its tags: policymaker\)"),
        ({"tags": "management,policymaker"}, r"\(its tags: management, policymaker\)"),
    ],
)
async def test_who_may_not_is_told_so(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    theirs = Theirs(**({} if "password" in change else change))
    async with theirs.serving() as urls:
        cluster = make(urls, tmp_path, **({"password": "wrong"} if "password" in change else {}))
        with pytest.raises(ClusterError, match=told) as error:
            await cluster.prepare()
    assert "wrong" not in str(error.value)


async def test_rights_that_are_lacking_are_named(tmp_path: Path) -> None:
    told = Told()
    theirs = Theirs(tags=["monitoring"])
    async with attached(theirs, tmp_path, told=told) as cluster:
        lacks = cluster.capabilities.lacks
        assert "has the tags monitoring" in lacks[Can.DESCRIBE]
        assert "`administrator`" in lacks[Can.COUNT_LEADERS]
    assert [step.subject for step in told.steps].count("rights") == 2
    async with attached(Theirs(), tmp_path) as cluster:
        assert not cluster.capabilities.why_not(Can.DESCRIBE)
        assert cluster.capabilities.theirs


async def test_nobody_there_and_something_else_there(tmp_path: Path) -> None:
    cluster = make(["http://127.0.0.1:1", "http://127.0.0.1:2"], tmp_path)
    with pytest.raises(ClusterError, match=r"none of the URLs answers: .*:1.*; .*:2"):
        await cluster.prepare()


async def test_a_cluster_that_cannot_be_connected_to(tmp_path: Path) -> None:
    theirs = Theirs(running={"n1@no-such-host.invalid": True})
    theirs.amqp["n1@no-such-host.invalid"] = ("::", 5672)
    async with theirs.serving("n2@else.invalid") as urls:
        with pytest.raises(ClusterError, match=r"none of its nodes can be .*HOST:5672"):
            await make(urls, tmp_path).prepare()
        given = {NodeName("n1@no-such-host.invalid"): ("10.0.0.1", 5672)}
        cluster = make(urls, tmp_path, nodes=given)
        await cluster.prepare()
        assert [backend.host for backend in cluster.backends()] == ["10.0.0.1"]
        await cluster.stop()


async def test_through_a_forwarded_port_the_urls_host_is_the_nodes(tmp_path: Path) -> None:
    name = "n1@pod-0.invalid"
    theirs = Theirs(running={name: True}, amqp={name: ("::", 5672)})
    async with attached(theirs, tmp_path, name) as cluster:
        (backend,) = cluster.backends()
        assert (backend.host, backend.port) == ("127.0.0.1", 5672)


async def test_a_node_is_drained_for_the_balancer_only(tmp_path: Path) -> None:
    async with attached(Theirs(running=dict(THREE)), tmp_path) as cluster:
        cluster.drain(N2)
        assert cluster.drained_nodes() == {N2}
        assert [node.drained for node in cluster.nodes()] == [False, True, False]
        await cluster.look()
        assert cluster.drained_nodes() == {N2}
        cluster.revive(N2)
        assert cluster.drained_nodes() == frozenset()
        with pytest.raises(UnknownNode):
            cluster.drain(NodeName("n9@localhost"))


async def test_rabbitmqs_own_maintenance_mode_cannot_be_ended_from_here(tmp_path: Path) -> None:
    async with attached(Theirs(running=dict(THREE)), tmp_path) as cluster:
        assert cluster._view is not None
        views = cluster._view.snapshot
        drained = tuple(replace(node, being_drained=node.name == N1) for node in views.nodes)
        cluster._view = replace(cluster._view, snapshot=replace(views, nodes=drained))
        assert cluster.drained_nodes() == {N1}
        with pytest.raises(NotRunning, match="rabbitmq-upgrade revive"):
            cluster.revive(N1)


async def test_the_folder_remembers_and_holds_no_password(tmp_path: Path) -> None:
    async with attached(Theirs(), tmp_path) as cluster:
        port = cluster.balancer_port
    record = read_record(tmp_path)
    assert isinstance(record, Record)
    assert (record.user, record.cluster_name, record.balancer_port) == ("ops", "warren", port)
    assert "right" not in (tmp_path / RECORD).read_text()
    async with attached(Theirs(), tmp_path) as cluster:
        assert cluster.balancer_port == port
    (tmp_path / RECORD).write_text("{")
    with pytest.raises(ClusterError, match="damaged"):
        read_record(tmp_path)


async def test_a_folder_with_a_cluster_of_our_own_is_refused(tmp_path: Path) -> None:
    PrivateFiles(tmp_path).write_record(LocalRecord(id="x"))
    with pytest.raises(StateInUse, match="that Warrener runs itself"):
        await make(["http://127.0.0.1:1"], tmp_path).prepare()


async def test_rates_by_the_api_where_there_are_no_metrics(tmp_path: Path) -> None:
    theirs = Theirs()
    async with attached(theirs, tmp_path) as cluster:
        stats = {"publish_details": {"rate": 5.0}, "ack_details": {"rate": 2}}
        listed = [{"name": "q", "vhost": "/", "message_stats": stats}, {"name": "r", "vhost": "/"}]
        theirs._told = lambda *_: listed  # type: ignore[method-assign]
        sample = await cluster.measure_rates(1.0)
    assert sample.rates["/", "q"].published == 5.0
    assert sample.rates["/", "q"].acked == 2.0
    assert sample.rates["/", "r"].published == 0.0
    assert sample.missing == ()


def test_the_record_is_one_document() -> None:
    record = Record(urls=("http://a",), user="u")
    assert msgspec.json.decode(msgspec.json.encode(record), type=Record) == record
