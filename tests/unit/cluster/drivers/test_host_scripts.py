"""The scripts, run by this machine's /bin/sh (dash on Debian), which is what a host would do."""

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from warrener.cluster.drivers import host_scripts
from warrener.cluster.drivers.marks import mark
from warrener.cluster.drivers.processes import kill_marked, marked
from warrener.cluster.drivers.ssh_host import as_returncode, listeners


@pytest.fixture
def cluster() -> Iterator[str]:
    """A mark nobody else has; its processes are gone afterwards."""
    name = secrets.token_hex(8)
    yield name
    kill_marked(name)


def sh(text: str, timeout: float = 20.0) -> str:
    """What a script answers."""
    done = subprocess.run(
        ["sh", "-s"], input=text.encode(), capture_output=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, done.stderr
    _, begun, answer = done.stdout.decode().partition(host_scripts.BEGIN)
    assert begun
    return answer


def environment(cluster: str, part: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], **mark(cluster, part)}


def spawn(cluster: str, part: str, folder: Path, *command: str) -> int:
    text = host_scripts.spawn(command, environment(cluster, part), folder, folder / f"{part}.log")
    return int(sh(text))


def test_values_are_never_taken_for_shell(tmp_path: Path) -> None:
    nasty = tmp_path / 'a\'b $(touch gone) `x` "y" \\ ü'
    sh(host_scripts.make_folders([nasty / "in"]))
    assert (nasty / "in").stat().st_mode & 0o777 == 0o700
    assert sh(host_scripts.has_entries(nasty)) == "yes\n"
    assert sh(host_scripts.has_entries(nasty / "in")) == ""
    assert sh(host_scripts.has_entries(nasty / "none")) == ""
    sh(host_scripts.remove(nasty))
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "it's secret"
    for data, mode in ((b"\x00\xff" * 5000, 0o600), (b"", 0o400)):
        command = host_scripts.put_command(path, mode)
        subprocess.run(["sh", "-c", command], input=data, check=True)
        assert path.read_bytes() == data
        assert path.stat().st_mode & 0o777 == mode
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("offset", "limit", "answer"),
    [
        (0, 100, "12\nhello\nworld\n"),
        (6, 100, "12\nworld\n"),
        (0, 3, "12\nld\n"),
        (12, 100, "12\n"),
        (500, 100, "12\nhello\nworld\n"),  # it was rotated
        (0, 0, "12\n"),
    ],
)
def test_the_end_of_a_log(tmp_path: Path, offset: int, limit: int, answer: str) -> None:
    (tmp_path / "log").write_text("hello\nworld\n")
    assert sh(host_scripts.tail(tmp_path / "log", offset, limit)) == answer
    assert sh(host_scripts.tail(tmp_path / "none", offset, limit)) == "0\n"


def test_a_program_to_its_end(cluster: str, tmp_path: Path) -> None:
    words = ["sh", "-c", 'echo "$1"; pwd; echo aside >&2; exit 3', "x", "a 'b' $c"]
    told = sh(host_scripts.run(words, environment(cluster, "t"), tmp_path, tmp_path / "out"))
    pid, *rest = told.splitlines()
    assert pid.isdigit()
    assert rest == ["3", "a 'b' $c", str(tmp_path), "aside"]
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o600


def test_a_process_that_stays_and_how_it_ended(cluster: str, tmp_path: Path) -> None:
    pid = spawn(cluster, "n1", tmp_path, "sh", "-c", "echo told; sleep 0.3; exit 5")
    assert os.getsid(pid) != os.getsid(0)
    watched = sh(host_scripts.watch(pid, cluster, tmp_path / "n1.log", 0.05)).splitlines()
    assert watched[-1] == "ended 5"
    assert set(watched[:-1]) <= {"S", "R"}
    assert (tmp_path / "n1.log").read_text() == "told\n"


def test_a_killed_one(cluster: str, tmp_path: Path) -> None:
    pid = spawn(cluster, "n1", tmp_path, "sleep", "60")
    sh(host_scripts.send(pid, cluster + "x", signal.SIGKILL))  # somebody else's by now
    os.kill(pid, 0)
    sh(host_scripts.send(pid, cluster, signal.SIGKILL))
    ended = sh(host_scripts.watch(pid, cluster, tmp_path / "n1.log", 0.05)).split()[-1]
    assert as_returncode(int(ended)) == -signal.SIGKILL


def test_one_that_went_with_whoever_looked_after_it(cluster: str, tmp_path: Path) -> None:
    pid = spawn(cluster, "n1", tmp_path, "sleep", "60")
    assert int(sh(host_scripts.kill_marked(cluster, "n1"))) == 2
    assert sh(host_scripts.watch(pid, cluster, tmp_path / "n1.log", 0.05)) == "gone\n"


def test_a_frozen_one(cluster: str, tmp_path: Path) -> None:
    pid = spawn(cluster, "n1", tmp_path, "sleep", "60")
    sh(host_scripts.send(pid, cluster, signal.SIGSTOP))
    with subprocess.Popen(["sh", "-s"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as watching:
        assert watching.stdin is not None
        assert watching.stdout is not None
        watching.stdin.write(host_scripts.watch(pid, cluster, tmp_path / "n1.log", 0.05).encode())
        watching.stdin.close()
        assert watching.stdout.readline() == host_scripts.BEGIN.encode()
        while (line := watching.stdout.readline()) != b"T\n":
            assert line in (b"S\n", b"R\n"), "the signal takes a moment"
        watching.stdout.close()  # nobody reads it any more: it ends by itself
        assert watching.wait(10) != 0


def test_processes_are_found_by_their_mark_alone(cluster: str, tmp_path: Path) -> None:
    one = spawn(cluster, "n1", tmp_path, "sleep", "60")
    two = spawn(cluster, "epmd", tmp_path, "sleep", "60")
    stranger = spawn(f"{cluster}0", "n1", tmp_path, "sleep", "60")
    try:
        rows = {tuple(row.split()) for row in sh(host_scripts.find_marked(cluster)).splitlines()}
        assert {(str(one), "n1", "sleep"), (str(two), "epmd", "sleep")} <= rows
        assert len(rows) == 4  # each with the shell that looks after it
        assert sh(host_scripts.kill_marked(cluster, "n")) == "0\n"
        assert sh(host_scripts.kill_marked(cluster, "epmd")) == "2\n"
        assert one in {process.pid for process in marked(cluster)}
        assert sh(host_scripts.kill_marked(cluster, None)) == "2\n"
        assert marked(cluster) == []
        os.kill(stranger, 0)
    finally:
        kill_marked(f"{cluster}0")


def test_nodes_are_stopped_in_order(cluster: str, tmp_path: Path) -> None:
    """A shell under the name of Erlang's VM, frozen, that writes down how it was ended."""
    (tmp_path / "beam.smp").symlink_to("/bin/sh")
    script = "trap 'touch in-order; exit' TERM; touch up; while :; do sleep 0.01; done"
    pid = spawn(cluster, "n1", tmp_path, str(tmp_path / "beam.smp"), "-c", script)
    while not (tmp_path / "up").exists():
        time.sleep(0.01)
    os.kill(pid, signal.SIGSTOP)
    assert int(sh(host_scripts.stop_marked(cluster, 10))) >= 2
    assert (tmp_path / "in-order").exists()
    assert marked(cluster) == []
    assert sh(host_scripts.stop_marked(cluster, 10)) == "0\n"


def test_who_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        told = sh(host_scripts.LISTENERS)
        assert port not in listeners(told, "10.0.0.1")
        inode = listeners(told, "127.0.0.1")[port]
        pid, name = sh(host_scripts.holder(inode)).split()
        assert (int(pid), bool(name)) == (os.getpid(), True)
    with socket.create_server(("0.0.0.0", 0)) as listening:
        port = listening.getsockname()[1]
        assert port in listeners(sh(host_scripts.LISTENERS), "10.0.0.1")


def test_what_an_installation_knows_of_configuration(tmp_path: Path) -> None:
    schema = tmp_path / "plugins" / "rabbit-3.10.8" / "priv" / "schema" / "rabbit.schema"
    schema.parent.mkdir(parents=True)
    schema.write_bytes(b"two\nlines, no end")
    told = sh(host_scripts.schema_files(tmp_path))
    assert told == "17 rabbit-3.10.8/priv/schema/rabbit.schema\ntwo\nlines, no end"


def test_small_files_are_read_each_by_its_number(tmp_path: Path) -> None:
    one, nasty = tmp_path / "one", tmp_path / "it's $(two)"
    one.write_text("a b\n\nc\n")
    nasty.write_text("d")
    answer = sh(host_scripts.read_files([tmp_path / "none", one, nasty, Path("/proc/self/cgroup")]))
    lines = [line for line in answer.splitlines() if line]
    assert lines[:4] == ["1 a b", "1 ", "1 c", "2 d"]
    assert all(line.startswith("3 ") for line in lines[4:])
