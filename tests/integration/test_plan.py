"""`warrener plan calibrate` on a real cluster: what comes out is sane, and nothing is left behind,
also after Ctrl-C and after a kill."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pika
import psutil
import pytest
from tests.integration.support import balancer_place
from tests.integration.terminal import terminal
from tests.integration.warren import WARRENER, Warren, environment, running, warrener

from warrener.bench.cpu import NodeSource, ask
from warrener.bench.job import measure
from warrener.bench.paced import PacedResult, PacedSpec
from warrener.bench.wire import Target
from warrener.control.client import Client
from warrener.control.operations import URL, UrlRequest
from warrener.control.state_folder import StateFolder
from warrener.facts.ids import NodeName
from warrener.management.client import ManagementClient
from warrener.planner.calibration_file import FILE, read_calibration
from warrener.planner.costs import Act, QueueType

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.timeout(300), pytest.mark.alone]

PREFIX = "warrener-calibration-"


@pytest.fixture(scope="module")
def warren(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warren]:
    with running(tmp_path_factory.mktemp("plan")) as started:
        yield started


def left_over(warren: Warren) -> list[str]:
    """Virtual hosts and users of calibrations."""
    (node, *_) = warren.status()["nodes"]
    with Client.connect(StateFolder(warren.state)) as client:
        login = client.call(URL, UrlRequest())

    async def names() -> list[str]:
        url = f"http://127.0.0.1:{node['management_port']}"
        async with ManagementClient(url, login.user, login.password) as api:
            found = [*await api.get_json("/api/vhosts"), *await api.get_json("/api/users")]
        return [one["name"] for one in found if one["name"].startswith(PREFIX)]

    return asyncio.run(names())


def calibrating(warren: Warren, *options: str) -> subprocess.Popen[str]:
    """In the background, once its load has begun."""
    process = subprocess.Popen(
        [WARRENER, "plan", "calibrate", "--yes", "--state", str(warren.state), *options],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "as much as goes" in line:
            return process
    raise AssertionError(f"it ended with {process.wait()} before there was any load")


def test_what_a_run_measures(warren: Warren) -> None:
    options = ("--types", "classic,quorum", "--body", "100", "--seconds", "28")
    plan = json.loads(warren.ok("plan", "calibrate", *options, "--dry-run", "--json"))
    assert len(plan["steps"]) == 13
    assert plan["seconds"] <= 28.5
    assert not (warren.state / FILE).exists()
    assert left_over(warren) == []

    began = time.monotonic()
    done = warren.run("plan", "calibrate", *options, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 2.5 * 28 + 30  # a machine that others use as well
    assert "classic 100 B, as much as goes (1 of 13)" in done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == 1
    found = read_calibration(warren.state)
    assert found is not None
    assert document["calibration"]["costs"].keys() == {"classic", "quorum"}
    assert left_over(warren) == []
    assert not (warren.state / "calibrating.json").exists()

    def total(kind: QueueType) -> float:
        """CPU of a message that is published and consumed at its leader's node, all nodes."""
        costs = found.costs[kind]
        followers = 2 * costs[Act.REPLICATE].base if Act.REPLICATE in costs else 0.0
        return costs[Act.PUBLISH].base + costs[Act.DELIVER].base + followers

    assert 2e-6 < total(QueueType.CLASSIC) < 1e-3
    assert total(QueueType.CLASSIC) < total(QueueType.QUORUM) < 5e-3
    assert set(found.costs[QueueType.CLASSIC]) == set(Act) - {Act.REPLICATE}
    assert set(found.costs[QueueType.QUORUM]) == set(Act)
    assert found.costs[QueueType.QUORUM][Act.REPLICATE].base > 2e-6
    for kind in (QueueType.CLASSIC, QueueType.QUORUM):
        assert found.costs[kind][Act.ENTER].base > 2e-6
        assert [limit.body for limit in found.limits[kind]] == [100]
        assert all(200 < limit.rate < 1_000_000 for limit in found.limits[kind])
    assert set(found.idle) == {f"n{number}@localhost" for number in (1, 2, 3)}
    assert all(0 <= cores < 1 for cores in found.idle.values())
    assert found.cores == {found.hosts[NodeName("n1@localhost")]: os.cpu_count()}
    assert 0 < found.client[Act.PUBLISH].at(100) + found.client[Act.DELIVER].at(100) < 1e-3
    assert found.balancer is not None
    assert 0 < found.balancer.at(100) < 1e-3
    assert set(found.waits) == {QueueType.CLASSIC, QueueType.QUORUM}
    for wait in found.waits.values():
        assert 5e-5 < wait.transit < 0.1
        assert 5e-5 < wait.turnaround < 0.1
    assert found.version == warren.status()["nodes"][0]["version"]

    shown = warren.ok("plan", "calibration")
    assert "replicate, each follower" in shown
    assert "LIMIT OF ONE QUEUE" in shown


def test_a_load_is_looked_through(warren: Warren) -> None:
    """With the calibration of the test before: consumers of known service time that are half busy,
    one message at a time; what is predicted is what the load itself measured, roughly."""
    place = balancer_place(warren)
    with closing(pika.BlockingConnection(pika.URLParameters(place.url()))) as connection:
        channel = connection.channel()
        channel.queue_declare("paced", durable=True, arguments={"x-queue-type": "quorum"})
    target = Target(place.host, place.port, place.user, place.password)
    spec = PacedSpec("paced", target, 100, consumers=4, service_time=0.02, seconds=42.0)
    result = measure(spec, PacedResult, timeout=120)
    assert 90 < result.rate < 110
    assert result.service_time == pytest.approx(0.02, rel=0.1)
    response = sum(result.responses) / len(result.responses)
    assert 0.02 < response < 0.2

    told = json.loads(warren.ok("plan", "show", "--window", "38s", "--json"))
    (queue,) = (one for one in told["queues"] if one["name"] == "paced")
    print(f"R: measured {response:.4f} s, told {queue['response_time']} s")
    assert queue["arrival_rate"] == pytest.approx(100, rel=0.2)
    assert queue["consumers"] == 4
    # RabbitMQ tells every 5 s how many are out, so this is by eight looks. How accurate it is:
    # `make validate-models`.
    assert 0.4 < queue["response_time"] / response < 2.5
    assert {node["node"] for node in told["nodes"]} == {node["node"] for node in told["without"]}
    assert told["first"]
    assert told["breaks_at"] > 1
    (slow,) = (one for one in told["parts"] if (one["kind"], one["name"]) == ("consumers", "paced"))
    assert 0.2 < slow["utilisation"] < 0.95

    asked = ("--load", "x10", "--consumers", "paced=+1", "--window", "40s", "--json")
    what_if = json.loads(warren.ok("plan", "what-if", *asked))
    (queue,) = (one for one in what_if["after"]["queues"] if one["name"] == "paced")
    assert (queue["consumers"], queue["response_time"]) == (5, None)
    assert queue["grows"] > 100
    assert what_if["after"]["first"].startswith("the consumers of paced")
    assert warren.run("plan", "what-if", "--kill", "n9").returncode == 2


def test_top_shows_a_real_cluster(warren: Warren, tmp_path: Path, pictures: Path) -> None:
    """With the calibration of the first test, under load: each pane, at 80x24 and 120x40, has
    what it is for, and nothing is wider than the screen."""
    place = balancer_place(warren)
    target = Target(place.host, place.port, place.user, place.password)
    kinds = {"paced": "quorum", "billing": "classic", "mails": "quorum"}
    with closing(pika.BlockingConnection(pika.URLParameters(place.url()))) as connection:
        for queue, kind in kinds.items():
            arguments = {"x-queue-type": kind}
            connection.channel().queue_declare(queue, durable=True, arguments=arguments)
    specs = [
        PacedSpec(queue, target, rate, consumers=consumers, service_time=0.02, seconds=35.0)
        for queue, rate, consumers in (("paced", 100, 4), ("billing", 60, 2), ("mails", 20, 1))
    ]
    with ThreadPoolExecutor(len(specs)) as beside:
        loads = [beside.submit(measure, spec, PacedResult, timeout=120) for spec in specs]
        done = subprocess.run(
            [sys.executable, "-m", "tests.integration.top_pictures", warren.state, pictures],
            env=environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout[-6000:]}{done.stderr[-3000:]}"
        with terminal(
            [WARRENER, "--state", warren.state, "top"], cwd=ROOT, environment=environment()
        ) as screen:  # as somebody sits before it
            screen.wait_for("5 Plan")
            screen.press("5")
            screen.wait_for("First to break:")
            screen.press("q")
            assert screen.ended() == 0
        assert max(screen.seen) < 128, "more than ASCII was sent"
        for load in loads:
            load.result()
    print(done.stdout)
    shown = dict(re.findall(r"^-- (\S+)\n(.*?)(?=^-- |\Z)", done.stdout, re.MULTILINE | re.DOTALL))
    panes = ("nodes", "queues", "sessions", "events", "plan")
    assert set(shown) == {f"top-{pane}-{size}" for pane in panes for size in ("80x24", "120x40")}
    for name, text in shown.items():
        width = int(name.rpartition("-")[2].partition("x")[0])
        assert all(len(line) <= width for line in text.splitlines()), text
        assert str(warren.state) not in (pictures / f"{name}.svg").read_text()
    plan = json.loads(warren.ok("plan", "show", "--json"))
    # What breaks first may be another part by now: the load had only begun when it was looked at.
    nodes = [part["name"] for part in plan["parts"] if part["kind"] == "node"]
    assert len(nodes) == 3
    for name in nodes:
        assert re.search(rf"^Busy \(rho\): .*\b{name} \d+%", shown["top-plan-80x24"], re.MULTILINE)


def test_an_attached_cluster_is_measured_by_its_nodes_word(warren: Warren, tmp_path: Path) -> None:
    """Its streams, through two of the nodes."""
    (node, *_) = warren.status()["nodes"]
    password = tmp_path / "password"
    with Client.connect(StateFolder(warren.state)) as client:
        login = client.call(URL, UrlRequest())
    password.write_text(login.password)
    url = f"http://127.0.0.1:{node['management_port']}"
    attach = ("--attach", url, "--user", login.user, "--password-file", str(password))
    with running(tmp_path / "attached", *attach) as attached:
        options = ("--types", "stream", "--body", "100", "--nodes", "n2,n3", "--seconds", "16")
        attached.ok("plan", "calibrate", *options, "--yes")
        found = read_calibration(attached.state)
    assert found is not None
    costs = found.costs[QueueType.STREAM]
    assert set(costs) == set(Act), found.warnings
    assert 1e-6 < costs[Act.PUBLISH].base < 1e-3
    assert costs[Act.LEAVE].base == 0.0  # it is read at the consumer's node
    assert any("n1, n2, n3: by the nodes' own metrics" in one for one in found.warnings)
    assert left_over(warren) == []


def test_ctrl_c_leaves_nothing(warren: Warren) -> None:
    before = (warren.state / FILE).read_bytes()
    process = calibrating(warren, "--types", "classic", "--body", "100")
    assert len(left_over(warren)) == 2
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted; the cluster is as it was" in errors
    assert left_over(warren) == []
    assert (warren.state / FILE).read_bytes() == before
    assert [child for child in children if child.is_running()] == []


def test_a_kill_leaves_nothing(warren: Warren) -> None:
    """The daemon notices that nobody holds the room any more."""
    process = calibrating(warren, "--types", "classic", "--body", "100")
    command = psutil.Process(process.pid)
    children = command.children(recursive=True)
    assert children
    for one in (command, *children):
        one.kill()
    process.communicate(timeout=10)
    deadline = time.monotonic() + 30
    while left_over(warren):
        assert time.monotonic() < deadline, left_over(warren)
        time.sleep(0.2)


def test_a_cluster_in_use_isnt_loaded_unasked(warren: Warren) -> None:
    with closing(pika.BlockingConnection(pika.URLParameters(warren.url))):
        done = warren.run("plan", "calibrate")
        assert done.returncode == 1
        assert "1 client is connected" in done.stderr
        assert "--yes does it all the same" in done.stderr
    assert left_over(warren) == []


def test_a_nodes_own_word_for_its_cpu_is_its_user_time(warren: Warren) -> None:
    """What attached and remote nodes are measured by; it leaves out what the kernel does."""
    (node, *_) = warren.status()["nodes"]
    url = f"http://127.0.0.1:{node['prometheus_port']}"
    source = NodeSource(NodeName(node["name"]), None, url)

    async def both() -> tuple[float, float]:
        told = await ask(source)
        assert told.cores == os.cpu_count()
        times = psutil.Process(node["pid"]).cpu_times()
        return told.runtime, times.user

    told, kernel = asyncio.run(both())
    assert told == pytest.approx(kernel, rel=0.15, abs=0.3)


def mistakes() -> list[tuple[tuple[str, ...], str]]:
    return [
        (("--types", "fast"), "there are classic, quorum, stream"),
        (("--nodes", "n9"), "n9"),
        (("--seconds", "5"), "34 measurements take"),
        (("--body", "0"), "numbers of bytes"),
    ]


@pytest.mark.parametrize(("options", "why"), mistakes())
def test_mistakes_are_told_before_anything_is_done(
    warren: Warren, options: tuple[str, ...], why: str
) -> None:
    done: Any = warren.run("plan", "calibrate", "--yes", *options)
    assert done.returncode == 2, done.stderr
    assert why in done.stderr


def test_without_a_cluster(tmp_path: Path) -> None:
    done = warrener("plan", "calibrate", cwd=tmp_path)
    assert done.returncode == 3
    assert "no cluster" in done.stderr.lower()
