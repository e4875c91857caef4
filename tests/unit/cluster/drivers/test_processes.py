"""Child processes (``sleep`` stands in for a node): watched, marked, found again, ended."""

import asyncio
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from warrener.cluster.drivers.leftovers import find_leftovers, stop_leftovers
from warrener.cluster.drivers.private_files import PrivateFiles, Record
from warrener.cluster.drivers.processes import (
    Child,
    kill_marked,
    mark,
    marked,
    part_of,
    told_end,
)


@pytest.fixture
def cluster() -> Iterator[str]:
    """A mark nobody else has; its processes are gone afterwards."""
    name = secrets.token_hex(8)
    yield name
    kill_marked(name)


async def appears(path: Path) -> None:
    """Another process makes it; there is nothing to await but the time it takes."""
    while not os.path.exists(path):  # noqa: ASYNC110, ASYNC240
        await asyncio.sleep(0)


def start(cluster: str, part: str, folder: Path, *command: str) -> Child:
    return Child.start(
        part,
        command or ("sleep", "60"),
        environment={"PATH": os.environ["PATH"], **mark(cluster, part)},
        folder=folder,
        output=folder / "out",
    )


async def test_it_inherits_what_it_is_given_and_nothing_else(tmp_path: Path) -> None:
    given, kept = os.pipe()
    try:
        child = Child.start(
            "x",
            ("ls", "/proc/self/fd"),
            environment={"PATH": os.environ["PATH"]},
            folder=tmp_path,
            output=tmp_path / "out",
            descriptors=[given],
        )
        assert await child.wait(10)
        found = set((tmp_path / "out").read_text().split())
        assert str(given) in found
        assert str(kept) not in found
    finally:
        os.close(given)
        os.close(kept)


async def test_its_end_is_seen_and_reaped(cluster: str, tmp_path: Path) -> None:
    child = start(cluster, "n1", tmp_path, "sh", "-c", "echo told; exit 3")
    assert await child.wait(10)
    assert child.returncode == 3
    assert (tmp_path / "out").read_text() == "told\n"
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)
    child.send(signal.SIGKILL)  # does nothing


async def test_waiting_ends_with_its_time(cluster: str, tmp_path: Path) -> None:
    child = start(cluster, "n1", tmp_path)
    assert not await child.wait(0.01)
    assert child.returncode is None
    child.send(signal.SIGTERM)
    assert await child.wait(10)
    assert child.returncode == -signal.SIGTERM


async def test_it_has_a_session_of_its_own_and_private_files(cluster: str, tmp_path: Path) -> None:
    child = start(cluster, "n1", tmp_path, "sh", "-c", "touch made; exec sleep 60")
    assert os.getsid(child.pid) == child.pid
    await appears(tmp_path / "made")
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o600
    child.send(signal.SIGKILL)
    assert await child.wait(10)


async def test_marked_processes_are_found_with_their_helpers(cluster: str, tmp_path: Path) -> None:
    first = start(cluster, "n1", tmp_path, "sh", "-c", "setsid sleep 60 & touch up; wait")
    second = start(cluster, "n2", tmp_path)
    await appears(tmp_path / "up")
    found = marked(cluster)
    assert {process.pid for process in found} >= {first.pid, second.pid}
    assert len(found) == 3
    assert {part_of(process) for process in found} == {"n1", "n2"}
    assert [process.pid for process in marked(cluster, "n2")] == [second.pid]
    assert marked(cluster + "0") == []
    assert marked(cluster[:-1]) == [], "a mark is compared whole"
    assert await asyncio.to_thread(kill_marked, cluster, "n1") == 2
    assert await first.wait(10)
    assert [process.pid for process in marked(cluster)] == [second.pid]
    second.send(signal.SIGKILL)
    assert await second.wait(10)


def test_ends_are_told_in_words() -> None:
    assert told_end(None) == "still runs"
    assert told_end(1) == "ended with exit status 1"
    assert told_end(-9) == "was killed by SIGKILL"
    assert told_end(-64) == "was killed by SIGRTMAX"
    assert told_end(-100) == "was killed by signal 100"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A state folder with a record, and its mark."""
    files = PrivateFiles(tmp_path / "state")
    files.prepare()
    record = Record(id=secrets.token_hex(8), base=20_000)
    files.write_record(record)
    yield files.state, files.mark(record)
    kill_marked(files.mark(record))


def leave(cluster: str, part: str, command: str = "") -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        ["sh", "-c", command] if command else ["sleep", "60"],
        env={"PATH": os.environ["PATH"], **mark(cluster, part)},
        start_new_session=True,
    )
    # Popen returns in the middle of the exec; for a moment the new program has no environment.
    while not Path(f"/proc/{process.pid}/environ").read_bytes():
        pass
    return process


def test_leftovers_are_found_and_stopped(state: tuple[Path, str]) -> None:
    folder, cluster = state
    left = [leave(cluster, "n1"), leave(cluster, "epmd")]
    stranger = leave(f"{cluster}x", "n1")
    try:
        found = find_leftovers(folder)
        assert [(one.part, one.pid) for one in found] == [
            ("epmd", left[1].pid),
            ("n1", left[0].pid),
        ]
        assert stop_leftovers(folder, timeout=1.0) == 2
        assert find_leftovers(folder) == ()
        for process in left:
            process.wait(10)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_damaged_record_hides_no_leftovers(state: tuple[Path, str]) -> None:
    """`down --purge` is what people are told to do about it, so it must find them."""
    folder, cluster = state
    left = leave(cluster, "n1")
    (folder / "cluster.json").write_text("{ damaged")
    assert [one.pid for one in find_leftovers(folder)] == [left.pid]
    assert stop_leftovers(folder, timeout=1.0) == 1
    left.wait(10)


def test_a_node_left_over_is_stopped_in_order(state: tuple[Path, str], tmp_path: Path) -> None:
    """A shell under the name of Erlang's VM, frozen, that writes down how it was ended."""
    folder, cluster = state
    (tmp_path / "beam.smp").symlink_to("/bin/sh")
    script = (
        f"trap 'touch {tmp_path}/in-order; exit' TERM; touch {tmp_path}/up; "
        f"while :; do sleep 0.01; done"
    )
    vm = subprocess.Popen(
        [tmp_path / "beam.smp", "-c", script],
        env={"PATH": os.environ["PATH"], **mark(cluster, "n1")},
    )
    while not (tmp_path / "up").exists():
        assert vm.poll() is None
    vm.send_signal(signal.SIGSTOP)
    assert stop_leftovers(folder, timeout=10.0) >= 1
    assert vm.wait(10) == 0
    assert (tmp_path / "in-order").exists()


@pytest.mark.parametrize(
    ("script", "asked"),
    [
        ("grep -q rabbit_mgmt_db_handler && echo asked >> STORY", ["asked"]),
        ("exec sleep 60", []),
        ('rm "$0"; exit 127', []),
    ],
    ids=["it answers", "it hangs", "there is none"],
)
def test_before_it_is_stopped_its_statistics_are(
    state: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    asked: list[str],
) -> None:
    """As in a stop by the daemon; whoever doesn't answer is stopped in order all the same."""
    monkeypatch.setattr("warrener.cluster.drivers.leftovers.QUIET_TIMEOUT", 0.3)
    folder, cluster = state
    story = tmp_path / "story"
    tool = tmp_path / "erl_call"
    tool.write_text(f"#!/bin/sh\n{script.replace('STORY', str(story))}\n")
    tool.chmod(0o755)
    (tmp_path / "beam.smp").symlink_to("/bin/sh")
    # Busy, not asleep: a child that the shell has just forked still has its name.
    text = f"trap 'echo stopped >> {story}; exit' TERM; : > {tmp_path}/up; while :; do :; done"
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "RABBITMQ_NODENAME": "n1@localhost",
        "ERL_FLAGS": "",
        **mark(cluster, "n1"),
    }
    vm = subprocess.Popen([tmp_path / "beam.smp", "-c", text], env=environment)
    while not (tmp_path / "up").exists():
        assert vm.poll() is None
    assert stop_leftovers(folder, timeout=10.0) >= 1
    assert vm.wait(10) == 0
    assert story.read_text().split() == [*asked, "stopped"]


def test_a_folder_that_never_had_a_cluster_has_no_leftovers(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        assert find_leftovers(folder) == ()
        assert stop_leftovers(folder) == 0
