"""RabbitMQ's own words, and the rolling restart, against a scripted daemon."""

import json

from warrener.control import node_operations as node_ops
from warrener.control import operations as ops
from warrener.control.state_folder import StateFolder
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState
from warrener.testing.scripted_daemon import answer, scripted_daemon

N1, N2, N3 = (NodeName(f"n{number}@localhost") for number in (1, 2, 3))
DRAINED = ops.DrainAnswer(node=N2, moved=3, seconds=0.5)


def row(
    name: NodeName,
    *,
    running: bool = True,
    leaders: int = 0,
    state: NodeState = NodeState.RUNNING,
    alarms: tuple[str, ...] = (),
    being_drained: bool = False,
) -> ops.NodeStatus:
    return ops.NodeStatus(
        name=name, state=state, running=running, pid=7, host="127.0.0.1",
        amqp_port=20310, management_port=20311, prometheus_port=20312, version="3.10.8",
        erlang_version="25.2.3", uptime=1.0, memory_used=1, memory_limit=2, disk_free=1,
        disk_free_limit=1, alarms=alarms, being_drained=being_drained, leaders=leaders,
        sessions=0, sessions_total=0, weight=100, fit=True, unfit_reason=None, unfit_detail="",
    )  # fmt: skip


def status(*rows: ops.NodeStatus) -> bytes:
    return answer(
        ops.StatusAnswer(
            phase=ops.Phase.RUNNING, cluster="warren", version="0", pid=1, state_folder="/s",
            uptime=1.0, nodes=list(rows), balancer=None, queues=[],
            management=ops.ViewStatus(source=N1, taken_at=1.0, age=1.0, error=""),
        )
    )  # fmt: skip


def restarted(name: NodeName, *not_online: str) -> bytes:
    return answer(
        ops.RestartAnswer(
            node=name, pid=9, drained=DRAINED, not_online=list(not_online), seconds=10.0
        )
    )


def asked(requests: list[bytes]) -> list[str]:
    found = [json.loads(line) for line in requests]
    return [f"{one['op']} {one['args'].get('node', '')}".strip() for one in found]


def test_cluster_status_has_rabbitmqs_sections(run, folder: StateFolder) -> None:
    rows = (
        row(N1, alarms=("memory", "partition")),
        row(N2, running=False),
        row(N3, being_drained=True),
    )
    with scripted_daemon(folder, status(*rows), status(*rows)):
        result = run("cluster-status")
        document = json.loads(run("cluster-status", "--json").out)
    told = result.out
    assert "Cluster name: warren" in told
    assert told.index("Nodes") < told.index("Running nodes") < told.index("Versions")
    running = told.split("Running nodes")[1].split("Versions")[0].split()
    assert running == [N1, N3]
    assert f"{N1}: memory" in told.split("Alarms")[1].split("Network partitions")[0]
    assert N1 in told.split("Network partitions")[1].split("Maintenance status")[0]
    assert f"{N3}: under maintenance" in told
    assert f"{N1}: 127.0.0.1:20310, AMQP" in told
    assert [node["name"] for node in document["nodes"]] == [N1, N2, N3]


def test_stop_app_and_start_app(run, folder: StateFolder) -> None:
    stopped = node_ops.StopAppAnswer(node=N2, drained=DRAINED)
    started = node_ops.StartAppAnswer(node=N2, not_online=["q"], seconds=2.0)
    with scripted_daemon(folder, answer(stopped), answer(started)) as requests:
        assert run("stop-app", "n2").out.splitlines() == [
            "Before: 3 sessions moved in 0.5 s",
            "RabbitMQ has stopped on n2@localhost; `warrener start-app n2` starts it again",
        ]
        result = run("start-app", "n2")
    assert result.out == "n2@localhost is fit again after 2.0 s\n"
    assert "its replicas of q are not online" in result.err
    assert asked(requests) == ["stop-app n2", "start-app n2"]


def test_join_cluster_is_node_add(run, folder: StateFolder) -> None:
    told = node_ops.AddNodeAnswer(node=N3, pid=7, nodes=3)
    with scripted_daemon(folder, answer(told)) as requests:
        assert run("join-cluster").code == 0
    assert asked(requests) == ["add-node"]


def test_forget_node_is_for_nodes_that_do_not_run(run, folder: StateFolder) -> None:
    gone = node_ops.RemoveNodeAnswer(node=N2, nodes=2, drained=None)
    rows = (row(N1), row(N2, running=False, state=NodeState.DOWN))
    with scripted_daemon(folder, status(*rows)):
        result = run("forget-node", "n1")
    assert result.code == 1
    assert "`warrener node remove n1` moves everything off it first" in result.err
    with scripted_daemon(folder, status(*rows), answer(gone)) as requests:
        assert run("forget-node", "n2").out.startswith("n2@localhost is removed")
    assert asked(requests) == ["status", "remove-node n2@localhost"]


def test_a_rolling_restart_begins_where_fewest_queues_are_led(run, folder: StateFolder) -> None:
    rows = (row(N1, leaders=9), row(N2, leaders=1), row(N3, leaders=4))
    replies = [restarted(name) for name in (N2, N3, N1)]
    with scripted_daemon(folder, status(*rows), *replies) as requests:
        result = run("rolling-restart")
    assert result.code == 0
    assert asked(requests)[1:] == [f"restart-node {name}" for name in (N2, N3, N1)]
    assert all(json.loads(line)["args"]["drain"] for line in requests[1:])
    assert result.out.splitlines()[0] == "3 nodes restarted in 30 s"
    assert result.err.splitlines() == ["n2: 1 of 3", "n3: 2 of 3", "n1: 3 of 3"]


def test_it_stops_at_the_first_node_whose_replicas_stay_away(run, folder: StateFolder) -> None:
    with scripted_daemon(folder, status(row(N1), row(N2)), restarted(N2, "q")) as requests:
        result = run("rolling-restart", "n2", "n1")
    assert result.code == 1
    assert "stopped after n2; n1 not restarted: its replicas have to be online" in result.err
    assert asked(requests) == ["status", "restart-node n2@localhost"]


def test_a_wrong_node_is_told_before_anything_is_done(run, folder: StateFolder) -> None:
    with scripted_daemon(folder, status(row(N1), row(N2))) as requests:
        assert run("rolling-restart", "n1", "n9").code == 2
    assert asked(requests) == ["status"]


def test_a_rolling_restart_spreads_leaders_once_at_its_end(run, folder: StateFolder) -> None:
    lines = [status(row(N1), row(N2)), restarted(N1), restarted(N2)]
    with scripted_daemon(folder, *lines, *lines) as requests:
        assert run("rolling-restart").code == 0
        assert run("rolling-restart", "--no-balance").code == 0
    found = [json.loads(line)["args"].get("balance") for line in requests]
    assert found == [None, False, True, None, False, False]
