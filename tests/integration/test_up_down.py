"""`warrener up` and `down`, and that nothing is ever left behind."""

import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pika
import psutil
import pytest
from tests.integration.support import eventually
from tests.integration.warren import (
    WARRENER,
    Warren,
    assert_gone,
    environment,
    listened_on,
    ports_of,
    processes_of,
    running,
    wait_until_gone,
    warrener,
)

pytestmark = pytest.mark.timeout(300)  # several boots in a test, on a machine that may be busy

FreshCluster = Callable[..., AbstractContextManager[Warren]]
README = Path(__file__).parents[2] / "README.md"


@contextmanager
def connected(url: str) -> Iterator[pika.BlockingConnection]:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def foreground(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`warrener up` as on a terminal: in a process group of its own, which gets the Ctrl-C."""
    folder.mkdir(exist_ok=True)
    with subprocess.Popen(
        [WARRENER, "--state", folder / "state", "up", *options],
        cwd=folder, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, process_group=0,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            warrener("--state", folder / "state", "down", "--purge", cwd=folder)


def read_until(process: subprocess.Popen[str], wanted: str, stream: str = "stdout") -> str:
    """The lines up to the one with ``wanted`` in it; pytest's time-out is the limit."""
    pipe = getattr(process, stream)
    text = ""
    for line in pipe:
        text += line
        if wanted in line:
            return text
    raise AssertionError(f"{wanted!r} never came, only: {text}")


# -- a cluster that runs ------------------------------------------------------------------------


def test_status_tells_of_nodes_balancer_queues_and_view(cluster: Warren) -> None:
    def complete() -> dict[str, Any] | None:
        """A node's first statistics come some seconds after its listeners."""
        now = cluster.status()
        led = [queue["leader"] for queue in now["queues"] if queue["name"] == "status-test"]
        return now if any(led) and all(node["memory_used"] for node in now["nodes"]) else None

    with connected(cluster.url) as connection:
        channel = connection.channel()
        channel.queue_declare("status-test", durable=True, arguments={"x-queue-type": "quorum"})
        try:
            # RabbitMQ's may be ten seconds old, and a look of ours two, on a machine with time.
            status = eventually("statistics of all nodes, and the queue", complete, 40)
        except AssertionError:
            print(cluster.run("status").stdout, cluster.run("events").stdout)
            raise
        finally:
            channel.queue_delete("status-test")
    nodes = status["nodes"]
    found = [queue for queue in status["queues"] if queue["name"] == "status-test"]
    assert [node["name"] for node in nodes] == ["n1@localhost", "n2@localhost", "n3@localhost"]
    for node in nodes:
        assert (node["state"], node["fit"], node["running"]) == ("running", True, True)
        assert psutil.Process(node["pid"]).is_running()
        assert re.fullmatch(r"\d+\.\d+\.\d+", node["version"])
        assert node["uptime"] > 0
        assert node["alarms"] == []
        assert node["memory_limit"] > node["memory_used"] > 0
    assert found[0]["leader"] in [node["name"] for node in nodes]
    assert (found[0]["vhost"], found[0]["type"]) == ("/", "quorum")
    assert sum(node["leaders"] for node in nodes) >= 1
    assert sum(node["sessions"] for node in nodes) >= 1
    assert status["balancer"]["sessions"] >= 1
    assert status["balancer"]["policy"] == "roundrobin"
    assert status["balancer"]["locality"] is True
    assert status["phase"] == "running"
    assert status["management"]["source"] in [node["name"] for node in nodes]
    assert status["management"]["age"] < 30


def test_status_for_people_fits_a_terminal(cluster: Warren) -> None:
    done = subprocess.run(
        [WARRENER, "--state", cluster.state, "status"],
        env=environment() | {"COLUMNS": "80"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert "3 of 3 nodes fit" in done.stdout
    assert (
        max(len(line) for line in done.stdout.splitlines() if str(cluster.state) not in line) <= 80
    )


def test_url_is_one_line_and_works(cluster: Warren) -> None:
    printed = cluster.ok("url")
    assert printed == f"{cluster.url}\n"
    with connected(printed.strip()) as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.confirm_delivery()
        channel.basic_publish("", queue, b"hello")
        assert channel.basic_get(queue, auto_ack=True)[2] == b"hello"
    document = json.loads(cluster.ok("url", "--json"))
    assert document["url"] == cluster.url
    assert document["port"] == cluster.status()["balancer"]["port"]


def test_the_policy_changes_while_it_runs(cluster: Warren) -> None:
    try:
        assert cluster.ok("balance", "set-policy", "leastconn").startswith("policy: leastconn")
        assert cluster.status()["balancer"]["policy"] == "leastconn"
    finally:
        cluster.ok("balance", "set-policy", "roundrobin")


def test_weights_change_where_sessions_go(cluster: Warren) -> None:
    try:
        cluster.ok("balance", "set-policy", "weighted")
        cluster.ok("balance", "set-weight", "n1", "0")
        cluster.ok("balance", "set-weight", "n3@localhost", "0")
        before = {node["name"]: node["sessions_total"] for node in cluster.status()["nodes"]}
        for _ in range(6):
            with connected(cluster.url):
                pass
        after = {node["name"]: node["sessions_total"] for node in cluster.status()["nodes"]}
        gained = {name: after[name] - before[name] for name in after}
        assert gained == {"n1@localhost": 0, "n2@localhost": 6, "n3@localhost": 0}
    finally:
        cluster.ok("balance", "set-policy", "roundrobin")
        for node in ("n1", "n3"):
            cluster.ok("balance", "set-weight", node, "100")
    kinds = [event["kind"] for event in json.loads(cluster.ok("events", "--json"))["events"]]
    assert "node.weight" in kinds
    assert "balancer.policy" in kinds


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["set-policy", "leastcon"], "did you mean 'leastconn'"),
        (["set-weight", "n4", "5"], "no node 'n4'"),
        (["set-weight", "n1", "5000"], "0 to 1000"),
    ],
)
def test_bad_input_is_exit_code_2(cluster: Warren, arguments: list[str], hint: str) -> None:
    done = cluster.run("balance", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert hint in done.stderr


def test_sessions_name_client_user_and_node(cluster: Warren) -> None:
    parameters = pika.URLParameters(cluster.url)
    parameters.client_properties = {"connection_name": "a test of sessions"}
    connection = pika.BlockingConnection(parameters)
    try:
        sessions = json.loads(cluster.ok("sessions", "--json"))["sessions"]
        (mine,) = [session for session in sessions if session["name"] == "a test of sessions"]
        assert mine["node"] in [node["name"] for node in cluster.status()["nodes"]]
        assert mine["vhost"] == "/"
    finally:
        connection.close()


def test_up_twice_says_that_it_runs_already(cluster: Warren) -> None:
    for options in ([], ["-d"]):
        began = time.monotonic()
        done = cluster.run("up", *options)
        assert time.monotonic() - began < 10
        assert (done.returncode, done.stdout) == (1, "")
        assert "running already" in done.stderr
        assert cluster.url in done.stderr
        assert f"process {cluster.status()['pid']}" in done.stderr


def test_two_clusters_side_by_side_do_not_meet(cluster: Warren, tmp_path: Path) -> None:
    with running(tmp_path / "other", "--nodes", "1") as other:
        mine, theirs = cluster.status(), other.status()
        assert not ports_of(mine) & ports_of(theirs)
        (node,) = theirs["nodes"]
        assert node["name"] == "n1@localhost"  # the same name, another epmd and cookie
        with connected(other.url):
            pass
        with pytest.raises(pika.exceptions.AMQPError), connected(swapped(other, cluster)):
            pass
    assert all(node["state"] == "running" for node in cluster.status()["nodes"])


def swapped(other: Warren, cluster: Warren) -> str:
    """The one's credentials at the other's address."""
    return other.url.split("@")[0] + "@" + cluster.url.split("@")[1]


def test_a_taken_balancer_port_names_its_holder(cluster: Warren, tmp_path: Path) -> None:
    port, pid = cluster.status()["balancer"]["port"], cluster.status()["pid"]
    (tmp_path / "warrener.toml").write_text(f"[balancer]\nport = {port}\n")
    done = warrener("--state", tmp_path / "state", "up", "-d", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"port {port}" in done.stderr
    assert "taken" in done.stderr
    assert str(pid) in done.stderr
    assert_gone(tmp_path / "state")


def test_the_first_five_minutes_of_the_readme(cluster: Warren, tmp_path: Path) -> None:
    """The programs in the README run as they stand there, and are as short as promised."""
    programs = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    publisher, consumer = programs
    outputs = []
    for program in (publisher, consumer):
        assert sum(bool(line.strip()) for line in program.splitlines()) <= 16
        path = tmp_path / "program.py"
        path.write_text(program)
        done = subprocess.run(
            [sys.executable, path], env=environment() | {"AMQP_URL": cluster.url},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert outputs[0] == "10 jobs confirmed\n"
    assert outputs[1].splitlines() == [f"working on job {number}" for number in range(10)]
    with connected(cluster.url) as connection:
        connection.channel().queue_delete("jobs")


# -- starting and stopping ----------------------------------------------------------------------


def test_data_ports_and_credentials_survive_down_and_up(fresh_cluster: FreshCluster) -> None:
    """Ports of the cluster's own block, that is: 5672 may be gone to another cluster."""
    with contextlib.ExitStack() as stack:
        with contextlib.ExitStack() as for_the_first_time:
            with contextlib.suppress(OSError):  # it is taken: just as good
                for_the_first_time.enter_context(socket.create_server(("127.0.0.1", 5672)))
            warren = stack.enter_context(fresh_cluster("--nodes", "1"))
        with connected(warren.url) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.queue_declare("kept", durable=True)
            channel.basic_publish("", "kept", b"x", pika.BasicProperties(delivery_mode=2))
        before = warren.status()
        done = warren.run("down", "--json")
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        assert (document["stopped"], document["found"]) == (True, "cluster")
        assert_gone(warren.state, ports_of(before))
        assert warren.run("status").returncode == 3
        assert warren.run("down").returncode == 3
        warren.ok("up", "-d", "--nodes", "1")
        assert warren.ok("url").strip() == warren.url
        assert ports_of(warren.status()) == ports_of(before)
        with connected(warren.url) as connection:
            assert connection.channel().basic_get("kept", auto_ack=True)[2] == b"x"


@pytest.mark.timeout(900)
def test_up_and_down_many_times_leave_nothing(tmp_path: Path) -> None:
    """One node, in one folder that is kept and at last purged, then three nodes, purged. Four times
    in all; ten with WARRENER_UP_DOWN=10.

    One node is as good as three at leaving things behind, and boots in a fraction of the time.
    """
    state = tmp_path / "state"
    turns = max(3, int(os.environ.get("WARRENER_UP_DOWN", "4")))
    for turn in range(turns):
        nodes = "1" if turn < turns - 1 else "3"
        done = warrener("--state", state, "up", "-d", "--json", "--nodes", nodes, cwd=tmp_path)
        assert done.returncode == 0, f"turn {turn}: {done.stderr}"
        ports = ports_of(json.loads(done.stdout))
        assert len(listened_on(ports)) == len(ports)
        purge = ["--purge"] if turn >= turns - 2 else []
        done = warrener("--state", state, "down", *purge, cwd=tmp_path)
        assert done.returncode == 0, f"turn {turn}: {done.stderr}"
        assert_gone(state, ports)
        assert state.exists() == (not purge)
        if not purge:
            assert not (state / "control.sock").exists()
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_in_the_foreground_stops_everything(tmp_path: Path) -> None:
    state = tmp_path / "fg" / "state"
    with foreground(tmp_path / "fg", "--nodes", "1") as process:
        text = read_until(process, "Ctrl-C stops it all")
        assert "n1@localhost running" in text
        url = re.search(r"amqp://\S+", text)
        assert url
        status = json.loads(warrener("--state", state, "status", "--json", cwd=tmp_path).stdout)
        client = pika.BlockingConnection(pika.URLParameters(url.group()))
        os.killpg(process.pid, signal.SIGINT)
        with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as closed:
            client.process_data_events(time_limit=60)
        assert closed.value.reply_code == 320
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr
        assert "nothing is left running" in stderr
        assert_gone(state, ports_of(status))


@pytest.mark.parametrize("times", [1, 2, 20], ids=["once", "twice", "often"])
@pytest.mark.parametrize("options", [[], ["-d"]], ids=["foreground", "detached"])
def test_ctrl_c_while_booting_leaves_nothing(
    tmp_path: Path, options: list[str], times: int
) -> None:
    with foreground(tmp_path / "fg", *options) as process:
        read_until(process, "n1: ", "stderr")
        time.sleep(1.5)  # somewhere in the middle of the boot
        for _ in range(times):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.15)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "stopped before it was ready" in stderr
        assert "Traceback" not in stderr
        assert_gone(tmp_path / "fg" / "state")


def test_a_closed_terminal_stops_the_foreground(tmp_path: Path) -> None:
    with foreground(tmp_path / "fg", "--nodes", "1") as process:
        read_until(process, "Ctrl-C stops it all")
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=60)
        assert_gone(tmp_path / "fg" / "state")


def test_down_while_it_boots_stops_it(tmp_path: Path) -> None:
    with foreground(tmp_path / "fg") as process:
        read_until(process, "n1: ", "stderr")
        state = tmp_path / "fg" / "state"
        done = warrener("--state", state, "down", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        stdout, stderr = process.communicate(timeout=60)
        if "Ctrl-C stops it all" in stdout:
            assert process.returncode == 0
        else:
            assert process.returncode == 1
            assert "stopped before it was ready" in stderr
        assert_gone(state)


def kill_daemon(warren: Warren) -> dict[str, Any]:
    """SIGKILL; returns the status from before."""
    status = warren.status()
    os.kill(status["pid"], signal.SIGKILL)
    wait_until_gone(status["pid"])
    return status


def test_down_after_the_daemon_was_killed(fresh_cluster: FreshCluster) -> None:
    with fresh_cluster("--nodes", "1") as warren:
        status = kill_daemon(warren)
        told = warren.run("status")
        assert told.returncode == 3
        assert "its daemon was killed" in told.stderr
        assert warren.run("down").returncode == 0
        assert_gone(warren.state, ports_of(status))


def test_up_after_the_daemon_was_killed(fresh_cluster: FreshCluster) -> None:
    with fresh_cluster("--nodes", "1") as warren:
        with connected(warren.url) as connection:
            connection.channel().queue_declare("kept", durable=True)
        before = kill_daemon(warren)
        warren.ok("up", "-d", "--nodes", "1")
        after = warren.status()
        assert after["nodes"][0]["pid"] != before["nodes"][0]["pid"]
        assert len([line for line in processes_of(warren.state) if "warrener.daemon" in line]) == 1
        with connected(warren.ok("url").strip()) as connection:
            connection.channel().queue_declare("kept", durable=True, passive=True)


def test_down_ends_a_daemon_that_hangs(fresh_cluster: FreshCluster) -> None:
    with fresh_cluster("--nodes", "1") as warren:
        status = warren.status()
        os.kill(status["pid"], signal.SIGSTOP)
        # A frozen process takes its SIGTERM only when it is thawed: that is what is waited for.
        with subprocess.Popen(
            [WARRENER, "--state", warren.state, "down"],
            env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        ) as down:  # fmt: skip
            time.sleep(1.0)
            assert down.poll() is None
            os.kill(status["pid"], signal.SIGCONT)
            _, stderr = down.communicate(timeout=90)
        assert down.returncode == 0, stderr
        assert_gone(warren.state, ports_of(status))


def test_a_state_folder_with_a_long_path(tmp_path: Path) -> None:
    """Longer than the address of a unix socket may be."""
    with running(tmp_path / ("long-" * 20) / ("path-" * 20), "--nodes", "1") as warren:
        assert len(str(warren.state)) > 200
        with connected(warren.url):
            pass


# -- bad input ----------------------------------------------------------------------------------


def test_a_missing_rabbitmq_says_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "warrener.toml").write_text('[cluster]\nrabbitmq = "/nonexistent"\n')
    done = warrener("up", "-d", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "/nonexistent" in done.stderr
    assert "rabbitmq-server" in done.stderr
    assert_gone(tmp_path / ".warrener")


@pytest.mark.parametrize("options", [[], ["-d"]], ids=["foreground", "detached"])
def test_a_broken_warrener_toml_is_exit_code_2_and_makes_nothing(
    tmp_path: Path, options: list[str]
) -> None:
    (tmp_path / "mine.toml").write_text('[cluster]\nnods = 3\n[balancer]\npolicy = "leastcon"\n')
    done = warrener("up", "-f", "mine.toml", *options, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "mine.toml:2" in done.stderr
    assert "'nodes'" in done.stderr
    assert "mine.toml:4" in done.stderr
    assert "'leastconn'" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]


def test_a_taken_node_port_names_its_holder(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (tmp_path / "warrener.toml").write_text(f"[cluster]\nbase_port = {port}\n")
        done = warrener("up", "-d", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"port {port}" in done.stderr
    assert f"pid {os.getpid()}" in done.stderr
    assert_gone(tmp_path / ".warrener")


def test_a_folder_of_somebody_else_is_neither_used_nor_purged(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("It was a dark and stormy night")
    for arguments in (["up", "-d"], ["down", "--purge"]):
        done = warrener("--state", tmp_path / "thesis", *arguments, cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter1.tex"]


def test_purge_of_a_stopped_cluster_is_done_and_of_none_is_not_running(tmp_path: Path) -> None:
    (tmp_path / "warrener.toml").write_text('[cluster]\nrabbitmq = "/nonexistent"\n')
    warrener("up", "-d", cwd=tmp_path)
    if not (tmp_path / ".warrener").exists():
        pytest.fail("a start that failed is expected to leave its log")
    done = warrener("down", "--purge", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / ".warrener").exists()
    assert warrener("down", "--purge", cwd=tmp_path).returncode == 3


def test_doctor_finds_this_machine_ready(tmp_path: Path) -> None:
    done = warrener("doctor", "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert done.returncode == 0, document
    assert document["ok"] is True
    found = {check["name"]: check for check in document["checks"]}
    assert found["RabbitMQ"]["verdict"] == "ok"
    assert found["localhost"]["verdict"] == "ok"
    (tmp_path / "warrener.toml").write_text('[cluster]\nrabbitmq = "/nonexistent"\n')
    done = warrener("doctor", cwd=tmp_path)
    assert done.returncode == 1
    assert "/nonexistent" in done.stdout


def test_commands_are_quick(cluster: Warren) -> None:
    """`warrener url` is called from scripts. Processor time is what counts: the machine may be
    busy. The limit leaves room for a Python that may not keep its compiled files."""
    cluster.ok("url")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(5):
        cluster.ok("url")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used / 5 < 0.6
