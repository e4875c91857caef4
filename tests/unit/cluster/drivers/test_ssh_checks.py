"""What is found on hosts before anything is done to them."""

import os
import subprocess
from pathlib import Path

import pytest

from warrener.cluster.drivers import host_look, host_scripts
from warrener.cluster.drivers.host_install import Able
from warrener.cluster.drivers.ssh_checks import (
    Look,
    Wanted,
    can_install,
    differences,
    installation,
    manager,
    problems,
    read_look,
    report,
    skews,
    told,
)
from warrener.cluster.drivers.systemd import Manager
from warrener.cluster.hosts import HostSpec, Supervision
from warrener.facts.ids import NodeName

N1, N2 = NodeName("n1@10.0.0.1"), NodeName("n2@10.0.0.2")
SPEC = HostSpec(N1, "10.0.0.1")


def rabbitmq(folder: Path, version: str) -> Path:
    root = folder / f"rabbitmq_server-{version}"
    (root / "sbin").mkdir(parents=True)
    (root / "sbin" / "rabbitmq-server").touch()
    for plugin in (
        f"rabbit-{version}",
        f"rabbitmq_shovel-{version}.ez",
        f"rabbit_common-{version}",
    ):
        (root / "plugins" / plugin).mkdir(parents=True)
    return root


def look(folder: Path, wanted: Path, home: Path, erlang: Path | None) -> Look:
    """This machine, seen as a host is."""
    if erlang is not None:
        for path in ("bin/erl", "erts-13.1/bin/epmd"):
            (erlang / path).parent.mkdir(parents=True)
            (erlang / path).write_text("#!/bin/sh\n")
            (erlang / path).chmod(0o755)
        (erlang / "releases" / "25").mkdir(parents=True)
        (erlang / "releases" / "25" / "OTP_VERSION").write_text("25.2.3\n")
    text = host_look.look(
        str(wanted), str(erlang / "bin") if erlang else "", str(folder), "127.0.0.1"
    )
    done = subprocess.run(
        ["sh", "-s"],
        input=text,
        capture_output=True,
        text=True,
        check=True,
        env={"HOME": str(home), "PATH": tools(home, () if erlang else ("setsid",))},
    )
    return read_look(done.stdout.partition(host_scripts.BEGIN)[2])


def tools(home: Path, without: tuple[str, ...]) -> str:
    """A PATH with the usual tools, but without Erlang."""
    folder = home / "bin"
    folder.mkdir()
    for name in os.listdir("/usr/bin"):
        if name not in ("erl", "epmd", *without):
            (folder / name).symlink_to(f"/usr/bin/{name}")
    return str(folder)


def test_a_host_that_is_ready(tmp_path: Path) -> None:
    old, new = rabbitmq(tmp_path, "3.9.9"), rabbitmq(tmp_path, "3.10.8")
    found = look(tmp_path / "far", tmp_path, tmp_path, tmp_path / "otp")
    assert problems(found, "127.0.0.1", Wanted(), SPEC) == []
    assert found.systemd is not None or found.no_systemd
    assert {root for root, _ in found.roots} == {str(old), str(new)}
    there = installation(found)
    assert there is not None
    assert (there.version, there.root) == ("3.10.8", new)
    assert there.plugins() == ("rabbit", "rabbit_common", "rabbitmq_shovel")
    assert there.epmd == tmp_path / "otp" / "erts-13.1" / "bin" / "epmd"
    assert found.otp == "25.2.3"
    assert found.home == str(tmp_path)
    assert (tmp_path / "far").stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "far").iterdir()) == []


def test_all_that_is_missing_is_told(tmp_path: Path) -> None:
    (tmp_path / "far").write_text("a file")
    found = look(tmp_path / "far", tmp_path / "none", tmp_path, None)
    said = problems(found, "10.9.8.7", Wanted(tmp_path / "none"), SPEC)
    found.has_address = False
    assert problems(found, "10.9.8.7", Wanted(), SPEC)[1].startswith(
        "has no network interface with the"
    )
    text = "\n".join(said)
    assert "has no setsid, which Warrener needs there" in text
    assert "its folder can't be used (mkdir: " in text
    assert f"has no RabbitMQ in {tmp_path / 'none'}: " in text
    assert "has no Erlang (`erl`) on its PATH" in text


def ready(version: str, otp: str, time: float = 100.0) -> Look:
    return Look(
        time=time,
        has_address=True,
        roots=[("/r", [f"rabbit-{version}"])],
        erl="/e",
        epmd="/m",
        otp=otp,
    )


def test_versions_have_to_be_the_same() -> None:
    assert differences({N1: ready("3.10.8", "25.2.3"), N2: ready("3.10.8", "25.3")}) == []
    (said,) = differences({N1: ready("3.10.8", "25.2"), N2: ready("3.11.0", "25.2")})
    assert said.startswith("the hosts' versions of RabbitMQ differ: n1 has 3.10.8, n2 has 3.11.0")
    (said,) = differences({N1: ready("3.10.8", "25.2"), N2: ready("3.10.8", "26.0")})
    assert "versions of Erlang differ: n1 has 25, n2 has 26" in said
    upgraded = {N1: ready("3.10.8", "25.2"), N2: ready("3.11.0", "25.2")}
    assert differences(upgraded, mixed=True) == []
    upgraded[N2].otp = "26.0"
    (said,) = differences(upgraded, mixed=True)
    assert "versions of Erlang differ" in said


def test_systemd_looks_after_a_node_where_the_login_may_use_one() -> None:
    def spec(supervision: Supervision) -> HostSpec:
        return HostSpec(N1, "10.0.0.1", supervision=supervision)

    has = ready("3.10.8", "25.2")
    has.systemd = Manager.USER
    lacks = read_look("no-systemd mq doesn't linger there\naddress yes\n")
    assert manager(has, spec(Supervision.AUTO)) is Manager.USER
    assert manager(has, spec(Supervision.SYSTEMD)) is Manager.USER
    assert manager(has, spec(Supervision.OWN)) is None
    assert manager(lacks, spec(Supervision.AUTO)) is None
    assert problems(has, "", Wanted(), spec(Supervision.SYSTEMD)) == []
    first = problems(lacks, "", Wanted(), spec(Supervision.SYSTEMD))[0]
    assert first.startswith("can't have its node under systemd: mq doesn't linger there; mend that")
    assert not any("systemd" in one for one in problems(lacks, "", Wanted(), SPEC))
    there = installation(has)
    assert there is not None
    assert told({N1: there}, {N1: has}, {N1: SPEC}) == "RabbitMQ 3.10.8 on each; n1 under systemd"


@pytest.mark.parametrize(
    ("able", "allowed", "says"),
    [
        (Able.ROOT, True, "it is installed by `apt-get install --no-install-recommends rabbitmq-"),
        (Able.SUDO, True, "it is installed by `apt-get install"),
        (Able.NO, True, "there, as root (`install = true` takes root, or sudo without a password)"),
        (Able.NO_APT, True, "with its package manager, as root (`install = true` takes apt)"),
        (Able.ROOT, False, "rabbitmq-server` there, or `install = true` in warrener.toml"),
        (Able.SUDO, False, "`sudo apt-get install --no-install-recommends rabbitmq-server` there"),
        (
            Able.NO,
            False,
            "`apt-get install --no-install-recommends rabbitmq-server` there, as root",
        ),
        (Able.NO_APT, False, "install rabbitmq-server there with its package manager, as root"),
    ],
)
def test_what_is_missing_is_told_with_what_brings_it(able: Able, allowed: bool, says: str) -> None:
    spec = HostSpec(N1, "10.0.0.1", install=allowed)
    bare = Look(has_address=True, install=able)
    first, second = problems(bare, "", Wanted(), spec)
    assert first.startswith("has no RabbitMQ: ")
    assert second.startswith("has no Erlang (`erl`) on its PATH: ")
    assert says in first
    assert says in second
    assert can_install(bare, Wanted(), spec) is (allowed and able in {Able.ROOT, Able.SUDO})
    assert not can_install(bare, Wanted(Path("/opt/mq")), spec), "apt brings its own only"
    assert not can_install(ready("3.10.8", "25"), Wanted(), spec), "nothing is missing"


def test_one_that_an_upgrade_gave_and_that_is_gone_is_told_so() -> None:
    look = ready("3.10.8", "25")
    look.roots = []
    (said,) = problems(look, "", Wanted(Path("/opt/mq"), upgraded=True), SPEC)
    assert said.startswith("has no RabbitMQ in /opt/mq any more, which a rolling upgrade gave")


def test_clocks_that_differ() -> None:
    looks = {N1: ready("3.10.8", "25", 100.0), N2: ready("3.10.8", "25", 160.0)}
    assert skews(looks, {N1: 102.0, N2: 100.0}) == {N2: 60.0}


def test_one_report_says_it_all() -> None:
    text = report([("n1 (10.0.0.1)", ["has no x"]), ("n2 (10.0.0.2)", [])], ["they differ"])
    assert text.splitlines() == [
        "the hosts are not ready; nothing was started or changed:",
        "  n1 (10.0.0.1): has no x",
        "  they differ",
    ]
