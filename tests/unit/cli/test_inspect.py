"""`status`, `url`, `sessions`, `events` and `balance` against a scripted daemon."""

import json
from typing import Any

import msgspec
import pytest

from warrener.control import operations as ops
from warrener.control import wire
from warrener.control.state_folder import StateFolder
from warrener.facts.data_plane import DataPlane
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState, Unfit
from warrener.facts.settings import PolicyName
from warrener.facts.snapshot import QueueView
from warrener.testing.scripted_daemon import answer, refusal, scripted_daemon

N1 = NodeName("n1@localhost")


def node(name: str, **changes: Any) -> ops.NodeStatus:
    fields: dict[str, Any] = {
        "name": NodeName(name), "state": NodeState.RUNNING, "running": True, "pid": 123456,
        "host": "127.0.0.1", "amqp_port": 40001, "management_port": 40002,
        "prometheus_port": 40003, "version": "3.10.8", "erlang_version": "25.2.3",
        "uptime": 754.2, "memory_used": 150 << 20, "memory_limit": 9 << 30,
        "disk_free": 85 << 30, "disk_free_limit": 50 << 20, "alarms": (),
        "being_drained": False, "leaders": 4, "sessions": 12, "sessions_total": 40,
        "weight": 100, "fit": True, "unfit_reason": None, "unfit_detail": "",
    }  # fmt: skip
    return ops.NodeStatus(**(fields | changes))


def status(**changes: Any) -> ops.StatusAnswer:
    fields: dict[str, Any] = {
        "phase": ops.Phase.RUNNING, "cluster": "warren", "version": "0.1.0", "pid": 99,
        "state_folder": "/s", "uptime": 3700.0,
        "nodes": [node("n1@localhost"), node("n2@localhost"), node("n3@localhost")],
        "balancer": ops.BalancerStatus(
            host="127.0.0.1", port=5672, pid=99, policy=PolicyName.LEASTCONN, locality=False,
            fit_nodes=3, sessions=36, sessions_total=120, sessions_ended={"client_closed": 84},
            rejected_total=1, bytes_in=10, bytes_out=20, published=1234567, delivered=1234000,
        ),
        "queues": [QueueView("/", "jobs", "quorum", N1, messages=7, messages_ready=7)],
        "management": ops.ViewStatus(source=N1, taken_at=1000.0, age=1.2, error=""),
    }  # fmt: skip
    return ops.StatusAnswer(**(fields | changes))


def sent(requests: list[bytes]) -> list[Any]:
    return [json.loads(line) for line in requests]


def test_status_shows_everything_in_80_columns(run, folder: StateFolder) -> None:
    with scripted_daemon(folder, answer(status())):
        result = run("status")
    assert (result.code, result.err) == (0, "")
    assert max(len(line) for line in result.out.splitlines()) <= 80
    for word in ("warren in .warrener: running, up 1h01m, RabbitMQ 3.10.8 on Erlang 25.2.3",
                 "n1@localhost running 123456    12m 150M/9.0G  85G -            4       12",
                 "127.0.0.1:5672, policy leastconn, 3 of 3 nodes fit",
                 "36 sessions open, 120 so far, 1 rejected; 1,234,567 messages in, 1,234,000 out",
                 "jobs", "The cluster's own view: from n1@localhost, 1s old"):  # fmt: skip
        assert word in result.out


def test_status_shows_what_is_wrong(run, folder: StateFolder) -> None:
    nodes = [
        node("n1@localhost", alarms=("memory", "disk"), being_drained=True),
        node("n2@localhost", state=NodeState.DOWN, pid=None, uptime=None, memory_used=None,
             memory_limit=None, disk_free=None, fit=False, unfit_reason=Unfit.REFUSES,
             unfit_detail="connection refused"),
        node("n3@localhost", version="4.1.0"),
    ]  # fmt: skip
    view = ops.ViewStatus(source=N1, taken_at=1.0, age=42.0, error="n1: time-out")
    with scripted_daemon(folder, answer(status(nodes=nodes, management=view))):
        result = run("status")
    assert "n2@localhost gets no new sessions: refuses (connection refused)" in result.out
    assert "4.1.0" in result.out
    assert "drained" in result.out
    assert "memory" in result.out
    assert "42s old; too old, the balancer goes by its probes. Last attempt: n1: time-out" in (
        result.out
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"locality": False}, "  locality off\n"),
        ({"locality": True}, "  locality on\n"),
        (
            {"locality": True, "locality_error": "n1: no answer"},
            "  locality on, but leaders aren't known: n1: no answer\n",
        ),
        (
            {
                "messages_local": 12345,
                "messages_remote": 6,
                "moves": {"drain": 2, "locality": 1500},
            },
            "  messages: 12,345 local, 6 remote; channels moved: 1,502 (1,500 locality, 2 drain)\n",
        ),
        (
            {"moves_failed": 1, "parked": 2, "replayed": 3, "journal_bytes": 4096},
            "channels moved: 0; 1 moves failed; 2 consumers wait for their queue; 3 publishes sent "
            "again; journals 4.0K\n",
        ),
    ],
)
def test_status_shows_locality_and_moves(
    run, folder: StateFolder, changes: dict[str, Any], text: str
) -> None:
    told = status()
    assert told.balancer is not None
    balancer = msgspec.structs.replace(told.balancer, **changes)
    with scripted_daemon(folder, answer(msgspec.structs.replace(told, balancer=balancer))):
        assert text in run("status").out


def test_status_names_tls(run, folder: StateFolder) -> None:
    told = status()
    assert told.balancer is not None
    balancer = msgspec.structs.replace(told.balancer, tls=True, plain_port=5672, tls_rejected=1234)
    told = msgspec.structs.replace(told, tls=["clients", "inter_node"], balancer=balancer)
    with scripted_daemon(folder, answer(told), answer(status())):
        assert (
            "TLS clients, inter-node; 1,234 handshakes failed; port 5672 of the balancer is without"
            in run("status").out
        )
        assert "TLS" not in run("status").out


def test_status_of_haproxy_shows_what_it_knows_in_80_columns(run, folder: StateFolder) -> None:
    unknown = dict.fromkeys(
        ("sessions_ended", "published", "delivered", "messages_local", "messages_remote", "moves",
         "moves_failed", "replayed", "parked", "journal_bytes")
    )  # fmt: skip
    told = status(nodes=[node("n1@localhost"), node("n2@localhost", failures_total=3)])
    assert told.balancer is not None
    balancer = msgspec.structs.replace(
        told.balancer, data_plane=DataPlane.HAPROXY, data_plane_version="2.6.12-1+deb12u3",
        pid=4321, bytes_in=5 << 20, bytes_out=7 << 30, **unknown,
    )  # fmt: skip
    dead = msgspec.structs.replace(balancer, pid=None)
    answers = [msgspec.structs.replace(told, balancer=one) for one in (balancer, dead, balancer)]
    with scripted_daemon(folder, *map(answer, answers)):
        text = run("status").out
        text_dead = run("status").out
        document = json.loads(run("status", "--json").out)["balancer"]
    assert max(len(line) for line in text.splitlines()) <= 80
    for words in ("HAProxy 127.0.0.1:5672, policy leastconn, 3 of 2 nodes fit",
                  "version 2.6.12-1+deb12u3, process 4321; it passes bytes: no locality",
                  "36 sessions open, 120 so far, 1 rejected; 5.0M in, 7.0G out",
                  "connects to nodes that failed: 3 (3 n2@localhost)"):  # fmt: skip
        assert words in text
    assert "None" not in text
    assert "not running, is started anew" in text_dead
    assert {document[name] for name in unknown} == {None}
    assert (document["data_plane"], document["pid"]) == ("haproxy", 4321)


def test_status_while_starting(run, folder: StateFolder) -> None:
    fields = {
        "phase": ops.Phase.STARTING, "balancer": None, "queues": [],
        "nodes": [node("n1@localhost", state=NodeState.STARTING, running=None, leaders=None,
                       erlang_version="", uptime=None, memory_used=None, memory_limit=None)],
        "management": ops.ViewStatus(source=None, taken_at=None, age=None, error=""),
    }  # fmt: skip
    with scripted_daemon(folder, answer(status(**fields))):
        result = run("status")
    assert result.code == 0
    assert "starting" in result.out
    assert "own view is not known (not yet)" in result.out


def test_the_table_of_queues_is_bounded_and_shows_the_busiest(run, folder: StateFolder) -> None:
    queues = [QueueView("/", f"queue-{i}", "classic", N1, messages=i) for i in range(1000)]
    with scripted_daemon(folder, *[answer(status(queues=queues))] * 2):
        text = run("status").out
        document = run("status", "--json").out
    assert text.index("queue-999") < text.index("queue-980")
    assert "queue-979" not in text
    assert "and 980 more" in text
    assert len(json.loads(document)["queues"]) == 1000


def test_markup_in_names_is_shown_not_obeyed(run, folder: StateFolder) -> None:
    queues = [QueueView("/[red]", "[bold]q[/bold]", "quorum", None)]
    with scripted_daemon(folder, answer(status(queues=queues))):
        assert "[bold]q[/bold]" in run("status").out


def test_status_json_has_the_shape_that_scripts_rely_on(run, folder: StateFolder) -> None:
    with scripted_daemon(folder, answer(status())):
        document = json.loads(run("status", "--json").out)
    first = document["nodes"][0]
    assert {"name", "state", "pid", "host", "amqp_port", "management_port", "version", "sessions",
            "leaders", "fit", "unfit_reason", "weight", "alarms"} <= set(first)  # fmt: skip
    assert (first["name"], first["state"], first["pid"]) == ("n1@localhost", "running", 123456)
    balancer = document["balancer"]
    assert {"host", "port", "pid", "policy", "locality", "sessions"} <= set(balancer)
    assert balancer["locality"] is False
    assert {"vhost", "name", "type", "leader"} <= set(document["queues"][0])
    assert {"source", "age"} <= set(document["management"])


URL = ops.UrlAnswer(
    url="amqp://w:p%2F@127.0.0.1:5672/%2F", host="127.0.0.1", port=5672, user="w", password="p/",
    vhost="/",
)  # fmt: skip


def test_url_prints_the_url_and_nothing_else(run, folder: StateFolder) -> None:
    with scripted_daemon(folder, *[answer(URL)] * 2):
        assert run("url").out == "amqp://w:p%2F@127.0.0.1:5672/%2F\n"
        assert json.loads(run("url", "--json").out) == msgspec.to_builtins(URL)


def test_url_of_a_cluster_that_still_starts(run, folder: StateFolder) -> None:
    with scripted_daemon(folder, refusal(wire.Refusal.NOT_YET, "the cluster is starting")):
        result = run("url")
    assert (result.code, result.out) == (1, "")
    assert result.err == "warrener: the cluster is starting\n"


def test_set_policy_and_set_weight(run, folder: StateFolder) -> None:
    policy = ops.SetPolicyAnswer(policy=PolicyName.P2C, before=PolicyName.RANDOM)
    weight = ops.SetWeightAnswer(node=N1, weight=5, before=100)
    with scripted_daemon(folder, answer(policy), answer(weight), answer(weight)) as requests:
        assert run("balance", "set-policy", "p2c").out == "policy: p2c (before: random)\n"
        assert (
            run("balance", "set-weight", "n1", "5").out == "n1@localhost: weight 5 (before: 100)\n"
        )
        document = run("balance", "set-weight", "n1", "5", "--json").out
    assert json.loads(document) == {"node": "n1@localhost", "weight": 5, "before": 100}
    assert sent(requests)[:2] == [
        {"v": 1, "op": "set-policy", "args": {"policy": "p2c"}},
        {"v": 1, "op": "set-weight", "args": {"node": "n1", "weight": 5}},
    ]


def test_an_unknown_node_is_bad_input(run, folder: StateFolder) -> None:
    reply = refusal(wire.Refusal.BAD_ARGUMENT, "no node 'n9': did you mean 'n1'?")
    with scripted_daemon(folder, reply):
        result = run("balance", "set-weight", "n9", "5")
    assert (result.code, result.err) == (2, "warrener: no node 'n9': did you mean 'n1'?\n")


def test_balance_show(run, folder: StateFolder) -> None:
    with scripted_daemon(folder, *[answer(status(queues=[]))] * 2) as requests:
        shown = run("balance", "show").out
        document = json.loads(run("balance", "show", "--json").out)
    assert "Policy: leastconn" in shown
    assert "n3@localhost    100" in shown
    assert document["policy"] == "leastconn"
    assert document["nodes"][0]["weight"] == 100
    assert sent(requests)[0]["args"] == {"queues": False}


def session(number: int) -> ops.SessionLine:
    return ops.SessionLine(
        id=number, client="127.0.0.1:1", user="w", vhost="/", name="app", node=N1, state="open",
        channels=1, age=2.0, bytes_in=3, bytes_out=4, published=5, delivered=6,
    )  # fmt: skip


def test_sessions(run, folder: StateFolder) -> None:
    many = ops.SessionsAnswer(total=3000, sessions=[session(i) for i in range(1000)])
    none = ops.SessionsAnswer(total=0, sessions=[])
    with scripted_daemon(folder, answer(many), answer(many), answer(none)) as requests:
        text = run("sessions").out
        document = json.loads(run("sessions", "--json", "--limit", "1000").out)
        assert run("sessions").out == ""
    assert "and 2950 more" in text
    assert (document["total"], len(document["sessions"])) == (3000, 1000)
    assert sent(requests)[1]["args"] == {"limit": 1000}


EVENTS = [
    ops.EventLine(number=1, at=0.5, kind="node.unfit", subject="n1@localhost", reason="refuses"),
    ops.EventLine(number=2, at=1.5, kind="node.weight", detail={"is": 5}),
]


def test_events(run, folder: StateFolder) -> None:
    reply = answer(ops.EventsAnswer(sent=2, missed=0), *EVENTS)
    with scripted_daemon(folder, reply, reply, reply) as requests:
        text = run("events", "--last", "7").out.splitlines()
        document = json.loads(run("events", "--json").out)
        lines = run("events", "--follow", "--json").out.splitlines()
    assert text[0].endswith(".500 node.unfit n1@localhost refuses")
    assert text[1].endswith("node.weight is=5")
    assert [event["kind"] for event in document["events"]] == ["node.unfit", "node.weight"]
    assert [json.loads(line)["number"] for line in lines] == [1, 2]
    assert sent(requests)[0]["args"] == {"last": 7, "follow": False}
    assert sent(requests)[2]["args"]["follow"] is True


def test_a_follower_that_missed_events_is_told(run, folder: StateFolder) -> None:
    with scripted_daemon(folder, answer(ops.EventsAnswer(sent=2, missed=9), *EVENTS)):
        assert "9 events came faster" in run("events", "--follow").err


@pytest.mark.parametrize("command", ["status", "sessions", "events"])
def test_a_daemon_of_another_version_is_named(run, folder: StateFolder, command: str) -> None:
    with scripted_daemon(folder, b'{"v":2,"kind":"answer","body":{}}\n'):
        result = run(command)
    assert result.code == 1
    assert "the `warrener` that started it" in result.err
