"""A cluster on hosts of its own, over SSH: real sshd, real network, real partitions.

Five network namespaces are hosts, the first three of which have nodes until the cluster grows;
Warrener, its balancer and all clients are in a sixth (``lan``). One cluster serves the tests, in
their order. Three hosts are booted with a systemd: n1, n4 (whose login isn't root), and n5, which
has no RabbitMQ until it is installed.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import psutil
import pytest
from tests.integration.lan import Lan, Machine, lan, why_not
from tests.integration.ledger_load import load_on, nodes_of, report_gap, wait_all_fit
from tests.integration.ledger_set import quorum_queues
from tests.integration.support import Management, balancer_place, eventually, management
from tests.integration.systemd_host import Systemd, why_no_systemd
from tests.integration.warren import Warren, running, warrener

from warrener.cluster.drivers.installation import find_installation

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "possible here"),
]

PARTITION = 30.0
"""Seconds."""

NAMED = 'name = "far"\n\n'
"""What every description of the cluster says."""

HEALED = 200.0
"""Seconds for a node that was cut off to be back, also where it hangs in its boot and is restarted
after a minute; a restart has 120 s at most."""

GO_ON = 10.0
"""Seconds after which everybody works again on the majority's side. What was measured was 4.6 to
5.8, also at a load of fifteen per core (docs/partitions.md)."""


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    """This process is where the clients are. ``members`` are the hosts that have a node."""
    booted = {"n1": "root", "n4": "user", "n5": "bare"}
    with lan(tmp_path_factory.mktemp("lan") / "it", 5, booted) as made, made.at_client():
        made.members = made.machines[:3]
        yield made


@pytest.fixture(scope="module")
def file(hosts: Lan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The description that the cluster is started with."""
    path = tmp_path_factory.mktemp("described") / "hosts.toml"
    path.write_text(hosts.description(more=NAMED))
    return path


@pytest.fixture(scope="module")
def warren(hosts: Lan, file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warren]:
    """A node on each host."""
    with running(tmp_path_factory.mktemp("ssh"), "-f", str(file)) as made:
        yield made
    for machine in hosts.machines:
        assert folders_on(machine) == []
        if machine.systemd is not None:
            eventually("no unit is left", lambda it=machine.systemd: units_on(it) == [], 10)


def folders_on(machine: Machine) -> list[Path]:
    """Those of clusters; a cluster's id has 16 digits."""
    return [path for path in machine.folder.iterdir() if len(path.name) == 16]


def units_on(host: Systemd) -> list[str]:
    """Those of clusters, whatever their state, and files of them."""
    found = set()
    for run in (host.run, host.run_as_user):
        user = ["--user"] if run == host.run_as_user else []
        for what in ("list-units", "list-unit-files"):  # which fails if there are none
            words = ["systemctl", *user, "--all", "--plain", "--no-legend", what, "warrener-*"]
            found |= {line.split()[0] for line in run(*words, check=False).splitlines()}
    return sorted(found)


def systemd_of(machine: Machine) -> Systemd:
    if machine.systemd is None:
        pytest.skip(why_no_systemd())
    return machine.systemd


def run_from(warren: Warren, machine: Machine) -> Path:
    """Where a node's RabbitMQ was started from, as its process says."""
    pid = machine.pid_here(row_of(warren, machine)["pid"])
    return Path(psutil.Process(pid).environ()["ERL_LIBS"]).parent


def row_of(warren: Warren, machine: Machine) -> dict[str, Any]:
    name = f"{machine.name}@{machine.address}"
    return next(row for row in nodes_of(warren) if row["name"] == name)


def events(warren: Warren) -> list[dict[str, Any]]:
    found = json.loads(warren.ok("events", "--last", "60", "--json"))["events"]
    assert isinstance(found, list)
    return found


def api_of(warren: Warren, row: dict[str, Any]) -> Management:
    place = balancer_place(warren)
    base = f"http://{row['host']}:{row['management_port']}/api"
    return Management(base, place.user, place.password)


# -- a cluster like any other


def test_it_is_up_and_serves_through_the_balancer(warren: Warren, hosts: Lan) -> None:
    rows = nodes_of(warren)
    assert [row["name"] for row in rows] == [f"{m.name}@{m.address}" for m in hosts.members]
    assert {row["state"] for row in rows} == {"running"}
    assert all(row["fit"] and row["running"] for row in rows)
    with quorum_queues(warren, 1) as (queue,):
        with contextlib.closing(pika.BlockingConnection(pika.URLParameters(warren.url))) as one:
            channel = one.channel()
            channel.confirm_delivery()
            for number in range(20):
                channel.basic_publish("", queue, str(number).encode(), mandatory=True)
            got = []
            for method, _, body in channel.consume(queue, inactivity_timeout=5):
                if method is None:
                    break
                got.append(int(body))
                channel.basic_ack(method.delivery_tag)
                if len(got) == 20:
                    break
        assert got == list(range(20))


def test_a_node_listens_on_its_hosts_address_alone(warren: Warren, hosts: Lan) -> None:
    for machine in hosts.members:
        told = machine.run("cat", "/proc/net/tcp", "/proc/net/tcp6").splitlines()
        rows = [line.split() for line in told]
        listening = {row[1] for row in rows if len(row) > 3 and row[3] == "0A"}
        places = {tuple(one.rsplit(":", 1)) for one in listening}
        number = int(machine.address.rpartition(".")[2])
        ours = f"{number:02X}004D0A"
        ports = {int(port, 16) for where, port in places if where == ours}
        assert ports == {22, 20000, 20010, 20011, 20012, 20013}
        rest = {(where, int(port, 16)) for where, port in places if where != ours}
        assert rest <= {("0100007F", 20000), ("0" * 24 + "01000000", 20000)}, rest


def test_secrets_are_in_private_files_only(warren: Warren, hosts: Lan) -> None:
    password = balancer_place(warren).password
    cookie = (warren.state / "home" / ".erlang.cookie").read_text()
    for machine in hosts.members:
        (folder,) = folders_on(machine)
        paths = [folder, *folder.rglob("*")]
        assert [path for path in paths if path.stat().st_mode & 0o077] == []
        held = [p.name for p in paths if p.is_file() and password.encode() in p.read_bytes()]
        assert set(held) <= {"rabbitmq.conf"} | {n for n in held if "data" in n or "wal" in n}
        for pid in (path for path in Path("/proc").iterdir() if path.name.isdigit()):
            with contextlib.suppress(OSError):
                words = (pid / "cmdline").read_bytes() + (pid / "environ").read_bytes()
                if str(folder).encode() in words:
                    assert password.encode() not in words
                    assert cookie.encode() not in words


def test_a_setting_is_set_on_all_hosts(warren: Warren, hosts: Lan) -> None:
    told = json.loads(warren.ok("config", "set", "heartbeat", "37", "--yes", "--json"))
    assert told
    for machine in hosts.members:
        (file,) = machine.folder.glob("*/nodes/*/rabbitmq.conf")
        eventually("the host has it", lambda file=file: "heartbeat = 37" in file.read_text(), 5)


def test_a_description_is_applied(warren: Warren, hosts: Lan, tmp_path: Path) -> None:
    file = tmp_path / "more.toml"
    file.write_text(hosts.description(more=NAMED) + '[[vhost]]\nname = "orders"\n')
    warren.ok("apply", "-f", str(file), "--yes")
    vhosts = api_of(warren, nodes_of(warren)[0]).get("/vhosts")
    assert "orders" in {vhost["name"] for vhost in vhosts}


# -- a node


def test_a_node_is_restarted_and_another_killed_under_load(
    warren: Warren, hosts: Lan, tmp_path: Path
) -> None:
    wait_all_fit(warren)
    with load_on(warren, tmp_path, duplicates=True) as load:
        with load.fault("restart"):
            at = time.monotonic()
            warren.ok("node", "restart", "n2")
            load.wait_flowing(60)
            report_gap(load, "restart", at)
        wait_all_fit(warren)
        row = row_of(warren, hosts.members[0])
        with load.fault("SIGKILL"):
            at = time.monotonic()
            os.kill(hosts.members[0].pid_here(row["pid"]), signal.SIGKILL)
            eventually("down", lambda: row_of(warren, hosts.members[0])["state"] == "down", 10)
            load.wait_flowing(60)
            report_gap(load, "SIGKILL", at)
        exited = [one for one in events(warren) if one["kind"] == "node.exited"][-1]
        assert (exited["subject"], exited["reason"]) == (row["name"], "down")
        assert exited["detail"] == {"pid": row["pid"], "how": "was killed by SIGKILL"}
        if (systemd := hosts.members[0].systemd) is not None:  # it restarts nothing by itself
            assert [unit for unit in units_on(systemd) if unit.endswith("-n1.service")] == []
        warren.ok("node", "restart", "n1")
        wait_all_fit(warren)


def test_a_node_is_a_unit_where_there_is_a_systemd(warren: Warren, hosts: Lan) -> None:
    machine = hosts.members[0]
    systemd = systemd_of(machine)
    (folder,) = folders_on(machine)
    unit = f"warrener-{folder.name[:8]}-n1.service"
    assert units_on(systemd) == [unit.replace("n1", "epmd"), unit]
    shown = systemd.run("systemctl", "show", unit, "--property=MainPID,Restart,LimitNOFILE")
    pid = row_of(warren, machine)["pid"]
    assert set(shown.split()) == {"Restart=no", f"MainPID={pid}", "LimitNOFILE=65536"}
    told = systemd.run("journalctl", "--unit", unit, "--output=cat", "--no-pager")
    print(told)
    assert f"Started {unit} - n1 of the Warrener cluster {folder.name[:8]}, in " in told
    assert "Main process exited, code=killed, status=9/KILL" in told  # the test before this one
    assert "Starting broker... completed with" in told  # what it had printed until then


def test_a_node_is_made_anew_on_its_host(warren: Warren, hosts: Lan) -> None:
    wait_all_fit(warren)
    with quorum_queues(warren, 2) as queues:
        told = json.loads(warren.ok("node", "replace", "n3", "--force", "--json"))
        assert told["replicas"] == len(queues)


# -- partitions


@pytest.mark.parametrize(
    ("name", "cut"), [("n1", "from the nodes"), ("n3", "from the nodes and the balancer")]
)
def test_a_node_is_cut_off(warren: Warren, hosts: Lan, tmp_path: Path, name: str, cut: str) -> None:
    """Nothing confirmed is lost, everybody goes on within seconds, the node pauses itself, and it
    is back in the end: n1 (never n3) now and then hangs in its boot, and is restarted then."""
    wait_all_fit(warren)
    victim = next(machine for machine in hosts.members if machine.name == name)
    others = [machine.address for machine in hosts.members if machine is not victim]
    from_balancer = cut.endswith("balancer")
    seen: list[tuple[float, str]] = []
    with load_on(warren, tmp_path, duplicates=True) as load, load.fault(f"cut off {cut}"):
        at = time.monotonic()
        with hosts.partition(victim, [*others, *([hosts.client] if from_balancer else [])]):
            while (since := time.monotonic() - at) < PARTITION:
                row = row_of(warren, victim)
                word = (
                    f"{row['state']}, running: {row['running']}, fit: {row['fit']} "
                    f"{row['unfit_reason'] or ''}"
                )
                if not seen or seen[-1][1] != word:
                    seen.append((since, word))
                load.run_for(0.5)
            gap = report_gap(load, f"cut off {cut}", at)
            amqp = listens(victim, row_of(warren, victim)["amqp_port"])
        healed = time.monotonic()
        load.wait_flowing(60)
        wait_all_fit(warren, HEALED)
        print(f"{cut}: all fit {time.monotonic() - healed:.1f} s after it ended")
        repairs = [one["kind"] for one in events(warren) if one["reason"] == "boot_hangs"]
        print(f"{cut}: {repairs or 'it did not hang'}")
        assert len(repairs) <= 2, "once"
        for since, word in seen:
            print(f"{cut}: {since:.1f} s: {word}")
    assert gap <= GO_ON
    assert not amqp, "it has paused itself"


def listens(machine: Machine, port: int) -> bool:
    """Whether anybody does there, as the host itself sees it."""
    lines = machine.run("cat", "/proc/net/tcp").splitlines()
    return any(f":{port:04X} " in line.split(" 0A ")[0] for line in lines if " 0A " in line)


# -- the connection


def test_a_node_outlives_the_connection(warren: Warren, hosts: Lan, tmp_path: Path) -> None:
    wait_all_fit(warren)
    machine = hosts.members[0]
    pid = row_of(warren, machine)["pid"]
    with load_on(warren, tmp_path, duplicates=False) as load:
        hosts.stop_sshd(machine)
        try:
            eventually(
                "the host isn't reached",
                lambda: row_of(warren, machine)["state"] == "unreachable",
                30,
            )
            row = row_of(warren, machine)
            assert (row["running"], row["fit"], row["pid"]) == (True, True, pid)
            refused = warren.run("node", "restart", "n1")
            assert refused.returncode == 1
            assert "10.77.0.1" in refused.stderr
            load.run_for(3)
        finally:
            hosts.start_sshd(machine)
        eventually("it is reached again", lambda: row_of(warren, machine)["state"] == "running", 30)
        assert row_of(warren, machine)["pid"] == pid
    kinds = [one["kind"] for one in events(warren)]
    assert "host.unreachable" in kinds
    assert "host.reachable" in kinds
    assert "node.exited" not in kinds[kinds.index("host.unreachable") :]


# -- hosts that aren't trusted, or don't trust us; a daemon that was killed


def start_elsewhere(hosts: Lan, folder: Path, text: str) -> str:
    """What `up` says to a description that it has to refuse."""
    (folder / "bad.toml").write_text(text)
    state = folder / "state"
    done = warrener("--state", state, "up", "-d", "-f", folder / "bad.toml", cwd=folder)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the hosts are not ready; nothing was started or changed:" in done.stderr
    assert not (state / "cluster.json").exists()
    return " ".join(done.stderr.split())


def test_hosts_are_refused_with_what_is_wrong_on_each(hosts: Lan, tmp_path: Path) -> None:
    """All of them in one report: an unknown key, a changed one, a login that fails."""
    one, two, three = hosts.members
    hosts.trust([two, three])
    lines = hosts.known_hosts.read_text().splitlines()
    swapped = [lines[0].replace(lines[0].split()[2], lines[1].split()[2]), lines[1]]
    hosts.known_hosts.write_text("".join(f"{line}\n" for line in swapped))
    try:
        text = hosts.description().replace(
            f'name = "n3"\nhost = "{three.address}"',
            f'name = "n3"\nhost = "{three.address}"\nkey = "{one.folder / "host_key"}"',
        )
        told = start_elsewhere(hosts, tmp_path, text)
        assert f"the host key of n1 ({one.address}) is not known: ssh-ed25519 SHA256:" in told
        assert f"ssh-keyscan -p 22 {one.address} >>" in told
        assert f"the host key of n2 ({two.address}) has CHANGED" in told
        assert f"n3 ({three.address}): doesn't let root in with the key" in told
    finally:
        hosts.trust(hosts.machines)


def test_what_hosts_lack_is_told_by_doctor(hosts: Lan, tmp_path: Path) -> None:
    systemd_of(hosts.machines[0])
    file = tmp_path / "hosts.toml"
    file.write_text(hosts.description(hosts.machines))
    done = warrener("--state", tmp_path / "state", "doctor", "-f", file, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    ends = [
        ("ok", "looked after by systemd (system)"),
        ("ok", "by Warrener's own shell (it was not booted with systemd)"),
        ("ok", "by Warrener's own shell (it was not booted with systemd)"),
        ("ok", "looked after by systemd (user)"),
        ("warn", "name the root of another one by `rabbitmq` under [cluster]"),
    ]
    for machine, (verdict, end) in zip(hosts.machines, ends, strict=True):
        check = checks[f"{machine.name} ({machine.address})"]
        assert check["verdict"] == verdict
        assert check["found"].endswith(end)
    file.write_text(
        hosts.description(hosts.machines)
        .replace("[ssh]", '[ssh]\nsupervision = "systemd"')
        .replace("install = true\n", "")
    )
    done = warrener("--state", tmp_path / "state", "doctor", "-f", file, "--json", cwd=tmp_path)
    assert done.returncode == 1
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    lacking = {name: check for name, check in checks.items() if check["verdict"] == "fail"}
    assert list(lacking) == ["n2 (10.77.0.2)", "n3 (10.77.0.3)", "n5 (10.77.0.5)"]
    two, _, five = lacking.values()
    assert two["found"].startswith("can't have its node under systemd: it was not booted with")
    assert five["fix"] == "apt-get install --no-install-recommends rabbitmq-server"


# -- another RabbitMQ


def another(usual: Path, root: Path, server: str = "") -> Path:
    """A second place of the same RabbitMQ; with another server script if that is given."""
    root.mkdir(parents=True)
    for path in usual.iterdir():
        if path.name != "sbin":
            (root / path.name).symlink_to(path)
    shutil.copytree(usual / "sbin", root / "sbin", symlinks=True)
    if server:
        (root / "sbin" / "rabbitmq-server").unlink()
        (root / "sbin" / "rabbitmq-server").write_text(server)
        (root / "sbin" / "rabbitmq-server").chmod(0o755)
    return root


@pytest.fixture(scope="module")
def usual() -> Path:
    return find_installation(None, os.environ["PATH"]).root


@pytest.fixture(scope="module")
def copy(usual: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return another(usual, tmp_path_factory.mktemp("copy") / usual.name)


def test_a_node_is_given_another_rabbitmq_under_load(
    warren: Warren, hosts: Lan, usual: Path, copy: Path, tmp_path: Path
) -> None:
    """One host's at a time; a broken one is taken back; nothing is touched where it is missing."""
    wait_all_fit(warren)
    before = [row["pid"] for row in nodes_of(warren)]
    nowhere = warren.run("rolling-upgrade", "--to", str(tmp_path / "none"))
    assert nowhere.returncode == 2, nowhere.stderr
    assert f"no RabbitMQ in {tmp_path / 'none'} on n1 (10.77.0.1), n2 (" in nowhere.stderr
    first = hosts.members[0]
    if first.systemd is not None:  # it has mounts of its own
        first.systemd.run("mount", "-t", "tmpfs", "tmpfs", str(copy))
        hidden = warren.run("rolling-upgrade", "--to", str(copy), "--dry-run")
        first.systemd.run("umount", str(copy))
        assert hidden.returncode == 2
        assert f"no RabbitMQ in {copy} on n1 (10.77.0.1): it has to be" in hidden.stderr
    shown = warren.ok("rolling-upgrade", "--to", str(copy), "--dry-run")
    assert shown.count("ok  ") == 8
    assert [row["pid"] for row in nodes_of(warren)] == before
    script = "#!/bin/sh\necho it is broken >&2; exit 1\n"
    bad = another(usual, tmp_path / "bad" / usual.name, script)
    with load_on(warren, tmp_path, duplicates=True) as load:
        at = time.monotonic()
        done = warren.run("rolling-upgrade", "--to", str(bad), "n1")
        print(f"failed after {time.monotonic() - at:.1f} s: {done.stderr}")
        assert done.returncode == 1
        assert "n1 runs 3.10.8 as before; no further node was touched" in done.stderr
        assert "it is broken" in done.stderr
        assert run_from(warren, first) == usual
        load.wait_flowing(60)
        began = time.monotonic()
        answer = json.loads(warren.ok("rolling-upgrade", "--to", str(copy), "n1", "--json"))
        print(f"upgraded in {time.monotonic() - began:.1f} s")
        states = {row["node"]: row["state"] for row in answer["nodes"]}
        assert [states[row["name"]] for row in nodes_of(warren)] == ["done"] + ["not asked for"] * 2
        load.wait_flowing(60)
        report_gap(load, "upgrade", at)
    assert [run_from(warren, machine) for machine in hosts.members] == [copy, usual, usual]


def test_what_a_killed_daemon_left_on_the_hosts_is_stopped(
    warren: Warren, hosts: Lan, file: Path, usual: Path, copy: Path
) -> None:
    """And each node runs again what it was given."""
    wait_all_fit(warren)
    pids = [machine.pid_here(row_of(warren, machine)["pid"]) for machine in hosts.members]
    os.kill(warren.status()["pid"], signal.SIGKILL)
    eventually("the daemon is gone", lambda: warren.run("status").returncode == 3, 10)
    for pid in pids:
        os.kill(pid, 0)  # nodes live on
    warren.ok("up", "-d", "-f", str(file))
    rows = nodes_of(warren)
    assert [row["state"] for row in rows] == ["running"] * 3
    for machine, pid in zip(hosts.members, pids, strict=True):
        assert machine.pid_here(row_of(warren, machine)["pid"]) != pid
    assert [run_from(warren, machine) for machine in hosts.members] == [copy, usual, usual]
    assert "cluster.leftovers_stopped" in [one["kind"] for one in events(warren)]


# -- hosts come and go


def test_three_five_and_three_hosts_under_load(
    warren: Warren, hosts: Lan, file: Path, tmp_path: Path
) -> None:
    """Nothing lost, nobody notices, every queue ends with three replicas on the hosts there are,
    and nothing is left on those that went."""
    wait_all_fit(warren)
    refused = warren.run("node", "add", "n4")
    assert refused.returncode == 1
    assert "has no table [[node]] for n4; add one" in refused.stderr
    file.write_text(hosts.description(hosts.machines, more=NAMED))
    with load_on(warren, tmp_path, duplicates=True) as load:
        at = time.monotonic()
        for machine in hosts.machines[3:]:
            answer = json.loads(warren.ok("node", "add", machine.name, "--json"))
            print(f"{machine.name} added in {answer['seconds']:.1f} s")
            assert answer["node"] == f"{machine.name}@{machine.address}"
            assert answer["failed"] == {}
            load.wait_flowing(60)
        assert all(row["fit"] for row in nodes_of(warren))
        for machine in hosts.machines[3:]:
            if machine.systemd is not None:
                units = units_on(machine.systemd)
                assert [unit.rsplit("-", 1)[1] for unit in units] == [
                    "epmd.service", f"{machine.name}.service",
                ]  # fmt: skip
        if (bare := hosts.machines[4].systemd) is not None:
            calls = bare.run("cat", "/run/apt.calls").splitlines()
            assert calls[0].endswith(" install --no-install-recommends rabbitmq-server")
            assert calls[1:] == ["policy 101", "unit /dev/null"]
            assert bare.run("ls", "/usr/sbin/policy-rc.d", check=False) == ""
            assert "host.installed" in [one["kind"] for one in events(warren)]
        spread = members(warren)
        assert all(len(nodes) == 3 for nodes in spread.values()), spread
        held = [sum(row["name"] in nodes for nodes in spread.values()) for row in nodes_of(warren)]
        assert len(held) == 5
        assert max(held) - min(held) <= 2, held
        for machine in (hosts.machines[1], hosts.machines[4]):  # an old and a new one
            answer = json.loads(warren.ok("node", "remove", machine.name, "--json"))
            print(f"{machine.name} removed in {answer['seconds']:.1f} s")
            assert answer["lost"] == answer["thinned"] == []
            assert answer["drained"]["left"] == 0
            load.wait_flowing(60)
            assert folders_on(machine) == []
            assert not listens(machine, 20000), "its epmd"
            assert not listens(machine, 20010)
        report_gap(load, "three, five, three", at)
        hosts.members = [
            machine for machine in hosts.machines if machine.name in {"n1", "n3", "n4"}
        ]
        left = {f"{machine.name}@{machine.address}" for machine in hosts.members}
        assert {row["name"] for row in nodes_of(warren)} == left
        assert all(nodes == left for nodes in members(warren).values())
    known = api_of(warren, nodes_of(warren)[0]).get("/nodes")
    assert {node["name"] for node in known} == left
    file.write_text(hosts.description(more=NAMED))


def members(warren: Warren) -> dict[str, set[str]]:
    """The nodes with a replica of each of the load's queues, as RabbitMQ says."""
    queues = management(warren).get("/queues?disable_stats=true")
    found = {q["name"]: set(q["members"]) for q in queues if q["name"].startswith("ledger-")}
    assert found
    return found


# -- TLS


def test_the_same_hosts_with_tls(warren: Warren, hosts: Lan, tmp_path: Path) -> None:
    """Certificates are delivered with all else that a node reads; a rotation reaches the hosts."""
    file = tmp_path / "tls.toml"
    file.write_text(hosts.description(more=NAMED) + "[tls]\nenabled = true\n")
    warren.ok("down")
    warren.ok("up", "-d", "-f", str(file))
    wait_all_fit(warren)
    url = pika.URLParameters(warren.ok("url", "--pika").strip())
    with contextlib.closing(pika.BlockingConnection(url)) as one:
        channel = one.channel()
        channel.confirm_delivery()
        channel.queue_declare("kept", durable=True, arguments={"x-queue-type": "quorum"})
        before = {machine.name: shown_by(warren, machine) for machine in hosts.members}
        warren.ok("tls", "rotate")
        after = {machine.name: shown_by(warren, machine) for machine in hosts.members}
        warren.ok("node", "restart", hosts.members[1].name, "--drain")
        wait_all_fit(warren)
        channel.basic_publish("", "kept", b"x", mandatory=True)
        _, _, body = channel.basic_get("kept", auto_ack=True)
        assert body == b"x"
    for name, ports in before.items():
        assert len(set(ports)) == 1, "all of its ports show the same"
        assert set(ports).isdisjoint(after[name])
        assert len(set(after[name])) == 1


def shown_by(warren: Warren, machine: Machine) -> list[bytes]:
    """The certificates at a host's ports, whoever made them; one that shows none is an error."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    identity = next((warren.state / "nodes" / machine.name / "tls").glob("identity.pem"))
    context.load_cert_chain(identity)
    found = []
    first = row_of(warren, machine)["amqp_port"]
    for port in range(first, first + 4):  # AMQP, management, metrics, Erlang's distribution
        with (
            socket.create_connection((machine.address, port), timeout=10) as plain,
            context.wrap_socket(plain) as secure,
        ):
            certificate = secure.getpeercert(binary_form=True)
            assert certificate is not None
            found.append(certificate)
    return found
