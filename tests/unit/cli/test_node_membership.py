"""`warrener node add | remove | replace` against a scripted daemon."""

import json

from warrener.control import node_operations as ops
from warrener.control.operations import DrainAnswer, ProgressLine
from warrener.control.state_folder import StateFolder
from warrener.facts.ids import NodeName
from warrener.testing.scripted_daemon import answer, scripted_daemon

N4 = NodeName("n4@localhost")
DRAINED = DrainAnswer(node=N4, moved=3, seconds=0.5)


def test_add(run, folder: StateFolder) -> None:
    told = ops.AddNodeAnswer(node=N4, pid=7, nodes=4, replicas=45, seconds=21.25)
    steps = [ProgressLine("n4", "starts"), ProgressLine("replicas", "move", count=25, total=45)]
    with scripted_daemon(folder, answer(told, *steps)) as requests:
        result = run("node", "add", "--replicas", "missing")
    assert result.code == 0
    assert result.out == (
        "n4@localhost is a node of the cluster, which has 4 now; it took 21.2 s. It holds a "
        "replica of 45 queues\n"
        "`warrener balance rebalance` spreads the open sessions over all nodes\n"
        "`warrener leaders balance` spreads the leaders of queues by load again\n"
    )
    assert "n4: starts" in result.err
    assert json.loads(requests[0])["args"] == {
        "node": "",
        "replicas": "missing",
        "timeout": 120.0,
        "force": False,
        "balance": True,
    }


def test_what_an_add_could_not_do_is_said(run, folder: StateFolder) -> None:
    failed = {f"q{at}": "no" for at in range(7)}
    told = ops.AddNodeAnswer(node=N4, pid=7, nodes=4, replicas=1, failed=failed, stopped=True)
    with scripted_daemon(folder, answer(told)):
        result = run("node", "add", "n4")
    assert "1 queue\nReplicas were still to move when you stopped it" in result.out
    assert result.err.splitlines()[0] == "warrener: q0: no"
    assert result.err.splitlines()[-1] == "warrener: and 2 queues more"


def test_remove(run, folder: StateFolder) -> None:
    told = ops.RemoveNodeAnswer(
        node=N4, nodes=3, drained=DRAINED, moved=36, thinned=["a"], lost=["b", "c"], seconds=12.0
    )
    with scripted_daemon(folder, answer(told)) as requests:
        result = run("node", "remove", "n4", "--force")
    assert result.out.splitlines() == [
        "n4@localhost is removed; the cluster has 3 nodes now. It took 12.0 s",
        "Before: 3 sessions moved in 0.5 s; 36 replicas got a successor",
        "With one replica less: a",
        "Lost with it: b, c",
        "If warrener.toml says how many nodes there are: change it, or the next `up` adds one",
    ]
    assert json.loads(requests[0])["args"] == {
        "node": "n4",
        "timeout": 60.0,
        "force": True,
        "balance": True,
    }


def test_replace(run, folder: StateFolder) -> None:
    told = ops.ReplaceNodeAnswer(node=N4, pid=9, replicas=6, lost=["old"], seconds=20.0)
    with scripted_daemon(folder, answer(told), answer(told)):
        result = run("node", "replace", "n4")
        document = json.loads(run("node", "replace", "n4", "--json").out)
    assert result.out.splitlines()[:2] == [
        "n4@localhost is made anew, as process 9; it took 20.0 s. It holds a replica of 6 queues",
        "Lost with its data: old",
    ]
    assert document["lost"] == ["old"]
