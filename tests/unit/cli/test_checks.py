"""Each check of `doctor`: what passes, what doesn't, and that there is always a way to mend it."""

from pathlib import Path

import pytest

from warrener.cli import checks
from warrener.cli.checks import GIB, Check, Verdict, examine
from warrener.cluster.drivers.ssh_checks import Look
from warrener.cluster.drivers.ssh_looks import Seen
from warrener.cluster.drivers.systemd import Manager
from warrener.cluster.hosts import HostSpec
from warrener.control.lock import Holder
from warrener.control.state_folder import StateFolder
from warrener.facts.ids import NodeName

OK, WARN, FAIL = Verdict.OK, Verdict.WARN, Verdict.FAIL


@pytest.mark.parametrize(
    ("check", "verdict"),
    [
        (checks.program("HAProxy", "2.6.12", "haproxy", needed_for="bench"), OK),
        (checks.program("HAProxy", None, "haproxy", needed_for="bench"), WARN),
        (checks.open_files(1_048_576, 1_048_576), OK),
        (checks.open_files(1024, 1_048_576), WARN),
        (checks.open_files(1024, 1024), WARN),
        (checks.disk(50 * GIB, "here"), OK),
        (checks.disk(GIB, "here"), WARN),
        (checks.disk(GIB // 10, "here"), FAIL),
        (checks.memory(2 * GIB, 3), OK),
        (checks.memory(GIB // 2, 3), WARN),
        (checks.localhost(["::1", "127.0.0.1"]), OK),
        (checks.localhost(["10.0.0.1"]), FAIL),
        (checks.localhost([]), FAIL),
        (checks.port(5672, "", ours=False), OK),
        (checks.port(5672, "python (pid 1)", ours=True), OK),
        (checks.port(5672, "nginx (pid 1)", ours=False), FAIL),
    ],
    ids=lambda value: f"{value.name}: {value.found}" if isinstance(value, Check) else "",
)
def test_verdicts(check: Check, verdict: Verdict) -> None:
    assert check.verdict is verdict
    assert bool(check.fix) == (verdict is not OK)


def test_open_files_are_told_as_sessions() -> None:
    assert "384 sessions" in checks.open_files(1024, 4096).found
    assert checks.open_files(1024, 4096).fix == "ulimit -n 4096 before `warrener up`"


def test_the_state_folder(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    assert "not there yet" in checks.state(folder, None, 0).found
    (folder.path).mkdir()
    (folder.path / "x").touch()
    assert checks.state(folder, None, 0).verdict is FAIL
    (folder.path / "x").unlink()
    folder.prepare()
    assert "stopped" in checks.state(folder, None, 0).found
    assert "daemon 7" in checks.state(folder, Holder(7), 0).found
    left = checks.state(folder, None, 4)
    assert (left.verdict, left.fix) == (WARN, "warrener down")


def test_versions_are_read_from_what_a_program_says(tmp_path: Path) -> None:
    says = tmp_path / "says"
    says.write_text("#!/bin/sh\necho 'HAProxy version 2.6.12-1+deb12u1 2023/12/16'\n")
    says.chmod(0o755)
    assert checks.version_of([str(says)]) == "2.6.12-1+deb12u1"
    assert checks.version_of([str(tmp_path / "missing")]) is None


def test_a_broken_file_is_found_and_the_rest_is_still_checked(tmp_path: Path) -> None:
    file = tmp_path / "warrener.toml"
    file.write_text("[cluster]\nnods = 1\n")
    found = {check.name: check for check in examine(StateFolder(tmp_path / "state"), file)}
    assert found["warrener.toml"].verdict is FAIL
    assert "'nodes'" in found["warrener.toml"].found
    assert {"RabbitMQ", "disk", "state folder"} <= set(found)


def test_a_rabbitmq_that_is_not_there_is_found_with_the_way_to_install_it(tmp_path: Path) -> None:
    file = tmp_path / "warrener.toml"
    file.write_text('[cluster]\nrabbitmq = "/nonexistent"\n[balancer]\nport = 1\n')
    found = {check.name: check for check in examine(StateFolder(tmp_path / "state"), file)}
    assert found["RabbitMQ"].verdict is FAIL
    assert "apt-get install" in found["RabbitMQ"].fix
    assert "port 1" in found


def test_haproxy_is_needed_as_the_data_plane_and_looked_for_where_the_file_says(
    tmp_path: Path,
) -> None:
    file = tmp_path / "w.toml"
    program = tmp_path / "bin" / "haproxy"
    file.write_text('balancer = {data_plane = "haproxy", haproxy = "bin/haproxy"}')

    def found() -> Check:
        checks_ = examine(StateFolder(tmp_path / "state"), file)
        return next(check for check in checks_ if check.name == "HAProxy")

    assert found().verdict is FAIL
    assert f"no HAProxy: {program} isn't there" in found().found
    assert "apt-get install" in found().fix
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho HAProxy version 2.9.1\n")
    program.chmod(0o755)
    assert found() == Check("HAProxy", OK, f"2.9.1 at {program}")


def test_hosts_are_looked_at_instead_of_this_machines_rabbitmq(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Look(
        systemd=Manager.SYSTEM,
        roots=[("/mq", ["rabbit-3.10.8"])],
        erl="/bin/erl",
        epmd="/bin/epmd",
        otp="25.2.3",
    )
    one, two, three = (HostSpec(NodeName(f"n{n}@10.0.0.{n}"), f"10.0.0.{n}") for n in (1, 2, 3))
    seen = [
        Seen(one, look=look),
        Seen(two, problems=["has no RabbitMQ: `apt-get install x` there"]),
        Seen(three, problems=["it is installed"], installable=["it is installed"]),
    ]
    monkeypatch.setattr(checks, "look_at_hosts", lambda spec: (seen, ["they differ"]))
    file = tmp_path / "w.toml"
    file.write_text('[[node]]\nname = "n1"\nhost = "10.0.0.1"\ndriver = "ssh"\n')
    found = {check.name: check for check in examine(StateFolder(tmp_path / "state"), file)}
    assert found["n1 (10.0.0.1)"].found == (
        "RabbitMQ 3.10.8 in /mq, Erlang 25.2.3; nodes are looked after by systemd (system)"
    )
    lacking = found["n2 (10.0.0.2)"]
    assert (lacking.verdict, lacking.fix) == (FAIL, "apt-get install x")
    assert found["n3 (10.0.0.3)"].verdict is WARN
    assert found["hosts"].verdict is FAIL
    assert not {"RabbitMQ", "localhost", "memory"} & set(found)
