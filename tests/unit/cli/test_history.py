"""`warrener history` against a scripted daemon."""

import json

import msgspec
import pytest

from warrener.cli import history, render_history
from warrener.cli.common import CliError
from warrener.control import history_operations as ho
from warrener.control import wire
from warrener.control.state_folder import StateFolder
from warrener.facts.ids import NodeName
from warrener.testing.scripted_daemon import answer, refusal, scripted_daemon

N1, N2 = NodeName("n1@localhost"), NodeName("n2@localhost")


def figure(mean: float, low: float | None = None, high: float | None = None) -> ho.FigureLine:
    return ho.FigureLine(
        mean=mean, min=mean if low is None else low, max=mean if high is None else high
    )


QUEUE = ho.HistoryQueueLine(
    vhost="/", name="jobs[1]", type="quorum", leader=N1, members=(N1, N2),
    published=figure(500, 450, 550), delivered=figure(500), acked=figure(500), ready=figure(0),
    unacked=figure(3.5, 2, 5), consumers=2, prefetch=10, body=66, body_from="balancer",
    service_time=0.0052, service_from="buffered", entering={N2: 0.25}, leaving={},
    points=(0, 250, 500),
)  # fmt: skip
SHOWN = ho.HistoryAnswer(
    since=1000, until=1600, seconds=590, samples=59, source="warrener",
    nodes=[
        ho.HistoryNodeLine(
            node=N1, host="127.0.0.1", running=True, cpu=figure(0.25, 0.1, 0.4),
            memory_used=figure(100 * 2**20), memory_limit=2**32, sessions=figure(4),
            published=500, delivered=500, points=(0.1, 0.4),
        ),
        ho.HistoryNodeLine(
            node=N2, host="127.0.0.1", running=False, cpu=None, memory_used=None, memory_limit=0,
            sessions=figure(0), published=0, delivered=0,
        ),
    ],
    queues=[QUEUE], queues_total=3,
    rest=ho.HistoryRestLine(queues=7, published=1, delivered=2, acked=2, ready=30, unacked=0),
    hosts=[ho.HistoryHostLine(host="127.0.0.1", cores=2, others=0.5, clients=None)],
    balancer=ho.HistoryBalancerLine(
        bytes_in=1e6, bytes_out=1e6, published=500, delivered=500, cpu=0.1
    ),
    warnings=["bodies of jobs[1] are taken as 66 bytes"],
)  # fmt: skip


def plain(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_nodes_queues_and_what_is_lacking(
    run, folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    with scripted_daemon(folder, answer(SHOWN)) as requests:
        result = run("history", "--window", "10m", "--queue", "jobs*", "--limit", "1")
    assert result.code == 0
    asked = json.loads(requests[0])
    assert (asked["op"], asked["args"]) == (
        "history",
        {"window": 600.0, "queue": "jobs*", "limit": 1},
    )
    lines = plain(result.out)
    assert "n1@localhost 0.25 (0.10-0.40) 100 4.0 500 500 ▃█" in lines
    assert "n2@localhost (down) - - 0 0 0" in lines
    queue = "jobs[1] n1 500 (450-550) 500 0 3.5 (2.0-5.0) 2 x 10 ~66 B 5.2 ms ▁▅█"
    assert queue in lines
    assert "59 samples of 590 s in all." in result.out
    assert "127.0.0.1: 2 cores, 0.50 used by others" in lines
    assert "balancer: 500 msg/s in, 500 msg/s out, 2.000 MB/s, 0.10 cores" in lines
    assert "and 2 more with less traffic (--limit)" in lines
    assert "and 7 that are only kept together: 1.0 msg/s in, 2.0 out, 30 ready" in lines
    assert "Note: bodies of jobs[1] are taken as 66 bytes" in lines


def test_of_a_prometheus_and_without_queues(run, folder: StateFolder) -> None:
    empty = msgspec.structs.replace(
        SHOWN, source="http://h:9090", queues=[], queues_total=0, balancer=None, hosts=[]
    )
    with scripted_daemon(folder, answer(empty)):
        out = run("history").out
    assert "from http://h:9090" in out
    assert "No queues." in out


def test_json(run, folder: StateFolder) -> None:
    with scripted_daemon(folder, answer(SHOWN)):
        document = json.loads(run("history", "--json").out)
    assert document["queues"][0]["published"] == {"mean": 500, "min": 450, "max": 550}
    assert document["queues"][0]["entering"] == {"n2@localhost": 0.25}


def test_no_history_yet_is_an_error_in_a_sentence(run, folder: StateFolder) -> None:
    with scripted_daemon(folder, refusal(wire.Refusal.NOT_YET, "there is no history")):
        result = run("history")
    assert (result.code, result.err.strip()) == (1, "warrener: there is no history")


@pytest.mark.parametrize(
    ("typed", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("2 h", 7200), ("1.5d", 129_600)]
)
def test_windows(typed: str, seconds: float) -> None:
    assert history.window_of(typed) == seconds


@pytest.mark.parametrize("typed", ["", "soon", "10 weeks", "-5m", "m"])
def test_a_window_that_is_none_is_bad_input(run, folder: StateFolder, typed: str) -> None:
    with pytest.raises(CliError, match="write it like 90s, 10m, 2h or 7d") as error:
        history.window_of(typed)
    assert error.value.exit_code == 2
    result = run("history", f"--window={typed}")
    assert result.code == 2


def test_sparklines() -> None:
    assert render_history.sparkline([0, 0]) == ""
    assert render_history.sparkline([]) == ""
    assert render_history.sparkline([0, 1, 8]) == "▁▂█"
    assert render_history.sparkline([1] * 20 + [8] * 20)[::14] == "▂█"
    assert len(render_history.sparkline(range(31))) == render_history.LENGTH
