"""HAProxy as the data plane of a real cluster: what its users are promised, and what they are told.

The tests go on where the one before ended: all nodes fit, nothing drained.
"""

import contextlib
import json
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pamqp import commands
from tests.integration.ledger_failures import measure
from tests.integration.raw import Closed, Raw
from tests.integration.support import Place, balancer_place, eventually
from tests.integration.warren import (
    Warren,
    assert_gone,
    ports_of,
    running,
    wait_until_gone,
    warrener,
)

pytestmark = pytest.mark.timeout(400)

MAX_SESSIONS = 40
SPEC = f"""
[balancer]
data_plane = "haproxy"
max_sessions = {MAX_SESSIONS}
probe_timeout = "1s"
link_heartbeat = 4
"""


@pytest.fixture(scope="module")
def warren(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warren]:
    folder = tmp_path_factory.mktemp("haproxy")
    spec = folder / "warrener.toml"
    spec.write_text(SPEC)
    with running(folder, "-f", str(spec)) as made:
        yield made


@pytest.fixture
def place(warren: Warren) -> Place:
    """The port, with every node fit."""
    eventually("all nodes fit", lambda: all(n["fit"] for n in warren.status()["nodes"]), 60)
    return balancer_place(warren)


def balancer(warren: Warren) -> dict[str, Any]:
    found = warren.status()["balancer"]
    assert isinstance(found, dict)
    return found


def sessions(warren: Warren) -> list[int]:
    """By node."""
    return [node["sessions"] for node in warren.status()["nodes"]]


def wait_sessions(warren: Warren, number: int) -> None:
    seen: list[tuple[int, int]] = []

    def there() -> bool:
        found = balancer(warren)
        seen.append((found["sessions"], found["rejected_total"]))
        return seen[-1][0] == number

    try:
        eventually(f"{number} sessions", there)
    except AssertionError as error:
        raise AssertionError(f"{error}; sessions and rejected were {seen[-30:]}") from None


def events(warren: Warren, kind: str) -> list[dict[str, Any]]:
    found = json.loads(warren.ok("events", "--json", "--last", "200"))["events"]
    return [event for event in found if event["kind"] == kind]


@contextlib.contextmanager
def clients(place: Place, number: int) -> Iterator[list[Raw]]:
    """Open connections, each with a channel."""
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(number):
            raw = stack.enter_context(Raw(place).open())
            raw.channel()
            made.append(raw)
        yield made


def works(raw: Raw) -> bool:
    raw.send(commands.Basic.Qos(prefetch_count=1), channel=1)
    raw.expect(commands.Basic.QosOk)
    return True


def is_cut_off(raw: Raw) -> bool:
    try:
        return not works(raw)
    except (OSError, Closed):
        return True


def refused(warren: Warren, *command: str) -> str:
    done = warren.run(*command)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def beam(node: dict[str, Any]) -> int:
    """The process id of a node's Erlang VM."""
    process = psutil.Process(node["pid"])
    return next(p.pid for p in (process, *process.children(recursive=True)) if "beam" in p.name())


def test_the_status_shows_haproxy_and_only_what_it_knows(warren: Warren, place: Place) -> None:
    with clients(place, 6):
        eventually("two sessions on each node", lambda: sessions(warren) == [2, 2, 2])
        eventually("bytes are counted as they pass", lambda: balancer(warren)["bytes_out"] > 1000)
        found = balancer(warren)
    assert (found["data_plane"], found["data_plane_version"][:2]) == ("haproxy", "2.")
    assert psutil.Process(found["pid"]).name() == "haproxy"
    for name in ("published", "delivered", "moves", "replayed", "messages_local", "sessions_ended"):
        assert found[name] is None, name
    text = warren.ok("status")
    assert f"version {found['data_plane_version']}, process {found['pid']}" in text
    assert "None" not in text


def test_it_runs_privately_and_listens_on_loopback_only(warren: Warren, place: Place) -> None:
    process = psutil.Process(balancer(warren)["pid"])
    assert process.uids().real == os.getuid()
    assert {one.laddr for one in process.net_connections("tcp") if one.status == "LISTEN"} == {
        ("127.0.0.1", place.port)
    }
    folder = warren.state / "haproxy"
    assert {path.name for path in folder.iterdir()} == {
        "haproxy.cfg", "policy.map", "runtime.sock",
    }  # fmt: skip
    for path in (*folder.iterdir(), warren.state / "log" / "haproxy.log"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert folder.stat().st_mode & 0o777 == 0o700
    open_files = [one.path for one in process.open_files()]
    assert all(path.startswith(str(warren.state)) for path in open_files), open_files


def test_a_change_of_policy_or_weight_touches_no_session(warren: Warren, place: Place) -> None:
    pid = balancer(warren)["pid"]
    with clients(place, 6) as old:
        eventually("all are there", lambda: sum(sessions(warren)) == 6)
        for policy in ("weighted", "random", "source", "leastconn", "weighted-leastconn", "p2c"):
            assert f"policy: {policy}" in warren.ok("balance", "set-policy", policy)
            with clients(place, 1) as new:
                assert works(new[0])
        warren.ok("balance", "set-weight", "n1", "500")
        assert all(map(works, old))
    assert balancer(warren)["pid"] == pid
    warren.ok("balance", "set-weight", "n1", "100")
    warren.ok("balance", "set-policy", "roundrobin")


def test_weights_count_and_0_means_only_if_no_other(warren: Warren, place: Place) -> None:
    eventually("nobody is there", lambda: sessions(warren) == [0, 0, 0])
    warren.ok("balance", "set-policy", "weighted")
    warren.ok("balance", "set-weight", "n1", "200")
    warren.ok("balance", "set-weight", "n3", "0")
    time.sleep(0.2)
    with clients(place, 12):
        eventually("two to one", lambda: sessions(warren) == [8, 4, 0])
    for node in ("n1", "n3"):
        warren.ok("balance", "set-weight", node, "100")
    warren.ok("balance", "set-policy", "roundrobin")


def test_the_same_client_goes_to_the_same_node(warren: Warren, place: Place) -> None:
    eventually("nobody is there", lambda: sessions(warren) == [0, 0, 0])
    warren.ok("balance", "set-policy", "source")
    time.sleep(0.2)
    with clients(place, 6):
        eventually("all on one", lambda: sorted(sessions(warren)) == [0, 0, 6])
    warren.ok("balance", "set-policy", "roundrobin")


def test_what_takes_a_look_into_amqp_is_refused_with_the_reason(
    warren: Warren, place: Place
) -> None:
    assert "HAProxy passes bytes, it knows no channels" in refused(warren, "explain")
    assert "it knows no users, names or channels" in refused(warren, "sessions", "--json")
    assert "it can't take an open session to another node" in refused(
        warren, "balance", "rebalance"
    )


def test_who_comes_too_late_is_refused_and_counted(warren: Warren, place: Place) -> None:
    eventually("nobody is there", lambda: balancer(warren)["sessions"] == 0)
    before = balancer(warren)["rejected_total"]
    with clients(place, MAX_SESSIONS):  # logged in: RabbitMQ ends a handshake after 10 s
        wait_sessions(warren, MAX_SESSIONS)
        with socket.create_connection((place.host, place.port)) as late:
            late.settimeout(5)
            with pytest.raises(ConnectionResetError):
                late.recv(1)
    eventually("counted", lambda: balancer(warren)["rejected_total"] == before + 1)


def test_a_drained_node_loses_its_sessions_and_gets_no_new_ones(
    warren: Warren, place: Place
) -> None:
    eventually("nobody is there", lambda: sessions(warren) == [0, 0, 0])
    with clients(place, 6) as old:
        eventually("two on each", lambda: sessions(warren) == [2, 2, 2])
        done = warren.run("node", "drain", "n2")
        assert done.returncode == 0, done.stderr
        assert "RabbitMQ disconnected its 2 sessions" in done.stdout
        assert "HAProxy passes bytes, it can't take an open session" in done.stdout
        lost = []
        for raw in old:
            raw.send(commands.Basic.Qos(prefetch_count=1), channel=1)
            _, answer = raw.receive()
            lost.append(isinstance(answer, commands.Connection.Close))
            if lost[-1]:
                assert answer.reply_code == 320
                raw.socket.close()
        assert Counter(lost) == {False: 4, True: 2}
        with clients(place, 4):
            eventually("elsewhere", lambda: sessions(warren) == [4, 0, 4], 20)
    warren.ok("node", "revive", "n2")


def test_a_killed_node_costs_its_clients_and_nobody_else(warren: Warren, place: Place) -> None:
    eventually("nobody is there", lambda: sessions(warren) == [0, 0, 0])
    nodes = warren.status()["nodes"]
    with clients(place, 6) as old:
        eventually("two on each", lambda: sessions(warren) == [2, 2, 2])
        pid = beam(nodes[0])
        os.kill(pid, signal.SIGKILL)
        wait_until_gone(pid)
        # Its port refuses now, but nobody has found it unfit yet.
        for _ in range(6):
            with clients(place, 1) as new:
                assert works(new[0])
        alive = 0
        for raw in old:
            with contextlib.suppress(OSError, Closed):
                alive += works(raw)
        assert alive == 4
    eventually("unfit", lambda: not warren.status()["nodes"][0]["fit"])
    warren.ok("node", "restart", "n1")


def test_clients_of_a_frozen_node_are_cut_off_so_that_they_connect_again(
    warren: Warren, place: Place
) -> None:
    eventually("nobody is there", lambda: sessions(warren) == [0, 0, 0])
    pid = beam(warren.status()["nodes"][2])
    with clients(place, 3) as old:
        eventually("one on each", lambda: sessions(warren) == [1, 1, 1])
        os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            eventually("cut off", lambda: sessions(warren) == [1, 1, 0], 20)
            print(f"cut off {time.monotonic() - began:.1f} s after SIGSTOP")
            with clients(place, 4) as new:
                assert all(map(works, new))
        finally:
            os.kill(pid, signal.SIGCONT)
        cut = events(warren, "sessions.cut_off")[-1]
        assert (cut["subject"], cut["reason"], cut["detail"]) == (
            "n3@localhost", "hangs", {"sessions": 1},
        )  # fmt: skip
        assert sum(is_cut_off(raw) for raw in old) == 1


def test_nothing_confirmed_is_lost_when_a_node_dies_under_load(
    warren: Warren, place: Place, tmp_path: Path
) -> None:
    """Clients that connect again by themselves: a third of twelve has to, give or take."""
    found = measure(warren, tmp_path, "SIGKILL", 1)
    print(found)
    assert found.lost == 0
    assert found.publishers + found.consumers >= 2


def test_a_haproxy_that_dies_is_started_anew(warren: Warren, place: Place) -> None:
    warren.ok("balance", "set-policy", "leastconn")
    with clients(place, 3):
        eventually("all are there", lambda: balancer(warren)["sessions"] == 3)
        before = balancer(warren)
        os.kill(before["pid"], signal.SIGKILL)
        began = time.monotonic()
        with clients(place, 3) as new:  # who connects meanwhile waits, and isn't refused
            print(f"served again {time.monotonic() - began:.2f} s after SIGKILL")
            assert all(map(works, new))
            eventually("the new ones alone", lambda: balancer(warren)["sessions"] == 3)
    after = balancer(warren)
    assert after["pid"] != before["pid"]
    assert after["sessions_total"] == before["sessions_total"] + 3
    assert after["policy"] == "leastconn"
    assert events(warren, "haproxy.exited")[-1]["detail"]["exit_code"] == -9
    assert events(warren, "haproxy.started")[-1]["detail"]["pid"] == after["pid"]
    warren.ok("balance", "set-policy", "roundrobin")


def test_it_serves_on_when_the_daemon_is_killed_and_the_next_up_ends_it(
    warren: Warren, place: Place
) -> None:
    status = warren.status()
    left = status["balancer"]["pid"]
    with clients(place, 3) as old:
        os.kill(status["pid"], signal.SIGKILL)
        wait_until_gone(status["pid"])
        assert all(map(works, old))
        # A node that dies now is one that connects find dead, and go elsewhere.
        pid = beam(status["nodes"][0])
        os.kill(pid, signal.SIGKILL)
        wait_until_gone(pid)
        with clients(place, 3) as new:
            assert all(map(works, new))
    spec = warren.state.parent / "warrener.toml"
    done = warren.run("up", "-d", "-f", str(spec))
    assert done.returncode == 0, done.stderr
    assert "stops what a killed daemon left running: epmd, haproxy, n2, n3" in done.stderr
    assert not psutil.pid_exists(left)
    assert balancer(warren)["pid"] != left


def test_down_leaves_no_process_port_or_file(warren: Warren, place: Place) -> None:
    status = warren.status()
    with clients(place, 2):
        warren.ok("down")
    assert_gone(warren.state, ports_of(status))
    assert not (warren.state / "haproxy").exists()
    assert (warren.state / "log" / "haproxy.log").exists()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('haproxy = "/no/haproxy"', "no HAProxy: /no/haproxy isn't there; change or remove"),
        ('haproxy = "/bin/false"', "/bin/false ended with exit status 1: it said nothing"),
        ("locality = true", "balancer.locality: not with data_plane"),
    ],
)
def test_what_is_wrong_is_said_before_any_node_boots(
    tmp_path: Path, line: str, problem: str
) -> None:
    spec = tmp_path / "warrener.toml"
    spec.write_text(f'[balancer]\ndata_plane = "haproxy"\n{line}\n')
    done = warrener("--state", tmp_path / "state", "up", "-d", cwd=tmp_path, timeout=60)
    assert done.returncode in (1, 2)
    assert problem in done.stderr
    assert "n1: starts" not in done.stderr
    assert_gone(tmp_path / "state")


def test_a_port_that_is_taken_is_told_with_who_has_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        spec = tmp_path / "warrener.toml"
        spec.write_text(f'[balancer]\ndata_plane = "haproxy"\nport = {port}\n')
        done = warrener("--state", tmp_path / "state", "up", "-d", cwd=tmp_path, timeout=60)
    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert f"(pid {os.getpid()})" in done.stderr
