"""`warrener apply` whose daemon is killed with SIGKILL at each of its steps: run again, it ends in
what is described, whatever the kill left half done.

    a daemon starts as the description before said -> it is asked for the steps of the next one
    -> when step k begins it is killed, mostly with RabbitMQ's answer to it under way
    -> another daemon, killed at step k + 1 ... -> `apply --yes`, to its end

So each state that a kill leaves is what the next run begins with. Seven times of eight the nodes
are killed a second after the daemon, too, which saves the time that it takes to stop them in order.
(Killed at the same moment, RabbitMQ itself can be left with a stream that is declared by half and
never serves. It says so, and only its owner can know whether it may be deleted.)

By default each kind of step is met once, and the costly ones (a node that joins or leaves, a
setting that takes restarts) in one of their sub-steps. With WARRENER_EVERY_STEP=1 every step is
met three times (before anything is done of it, when it begins, and 5 ms later), and every line of
progress of the costly ones once. Two cores with a load average of 13 to 20 took 10 and 5 minutes
for the two tests as they are by default.
"""

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.integration.support import Management, management, tool
from tests.integration.warren import Done, Warren, assert_gone, processes_of, warrener

from warrener.control.client import Client, Unresponsive
from warrener.control.describe_operations import (
    APPLY,
    DIFF,
    ApplyRequest,
    DiffRequest,
    StepLine,
)
from warrener.control.operations import ProgressLine
from warrener.control.state_folder import StateFolder
from warrener.daemon.launch import launch
from warrener.daemon.options import Options

pytestmark = pytest.mark.timeout(1800)

EVERY = os.environ.get("WARRENER_EVERY_STEP") == "1"


@dataclass(frozen=True)
class Moment:
    """When to kill: ``line`` is a pattern of "subject: text" of a line of progress; ``wait`` are
    seconds after it. ``inner``: a line that a step says while it lasts."""

    line: str
    wait: float = 0.0
    inner: bool = False

    def __str__(self) -> str:
        return f"'{self.line}'" + (f" + {self.wait * 1000:g} ms" if self.wait else "")


class Folder:
    """A user's folder: descriptions, and the state folder beside them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / ".warrener"
        self.kills = 0
        self.done_before = 0

    def write(self, name: str, text: str) -> Path:
        file = self.path / name
        file.write_text(text)
        return file

    def run(self, *arguments: str | Path) -> Done:
        return warrener(*arguments, cwd=self.path)

    def ok(self, *arguments: str | Path) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, f"warrener {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def warren(self) -> Warren:
        return Warren(self.state, self.ok("url").strip())

    def api(self) -> Management:
        return management(self.warren())

    # -- killing

    def apply_and_kill(self, before: Path, after: Path, moment: Moment, *, prune: bool) -> None:
        """A daemon that was started as ``before`` says is asked for the steps to ``after``, and
        killed at ``moment``. The kill before may have come so late that this one's step is done."""
        began = time.monotonic()
        status, _ = launch(Options(self.state, before, for_apply=True), lambda _: None)
        up = time.monotonic() - began
        asked = {"source": str(after), "folder": str(self.path), "prune": prune, "secrets": {}}
        said = []

        def met(line: ProgressLine) -> None:
            said.append(f"{line.subject}: {line.text}" + (" (done)" if line.done else ""))
            if re.search(moment.line, said[-1]):
                time.sleep(moment.wait)
                self._kill(status.pid)

        with Client.connect(StateFolder(self.state)) as client:
            steps = client.call(DIFF, DiffRequest(text=after.read_text(), **asked)).steps
            if not moment.inner and not any(re.search(moment.line, x) for x in as_said(steps)):
                self.done_before += 1
                self._kill(status.pid)
                return
            with contextlib.suppress(Unresponsive), hurried():
                client.call(APPLY, ApplyRequest(text=after.read_text(), **asked), met)
        assert not psutil.pid_exists(status.pid), f"no {moment} among\n" + "\n".join(said)
        self.kills += 1
        print(f"{len(steps)} steps, killed at {moment}; up in {up:.1f} s", flush=True)

    def _kill(self, daemon: int) -> None:
        os.kill(daemon, signal.SIGKILL)
        os.waitpid(daemon, 0)
        if (self.kills + self.done_before) % 8:
            time.sleep(1)
            for line in processes_of(self.state):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(line.split()[0]), signal.SIGKILL)

    def apply(self, file: Path, *, prune: bool) -> None:
        """To its end; afterwards there is nothing to do."""
        options = ("-f", file, *(["--prune"] if prune else []))
        self.ok("apply", "--yes", *options)
        document = json.loads(self.ok("diff", "--json", *options))
        assert (document["steps"], document["later"], document["unlisted"]) == ([], [], {})


@contextlib.contextmanager
def hurried() -> Iterator[None]:
    """Before others in line for a processor, where we may: a step takes milliseconds."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, 0)


DOING = {"make": "is made", "change": "is changed", "remove": "is removed"}


def as_said(steps: list[StepLine]) -> list[str]:
    """How the progress of each step will begin. Lines of the costly steps' own are among all."""
    lines = []
    for number, step in enumerate(steps, start=1):
        what = ", ".join(change.what for change in step.changes[:4])
        about = f": {what}" if what and step.verb == "change" else ""
        subject = f"{number}/{len(steps)} {step.thing} {step.subject}"
        lines.append(f"{subject}: {DOING[step.verb]}{about} (done)")
    return lines


@contextlib.contextmanager
def folder_at(path: Path) -> Iterator[Folder]:
    path.mkdir()
    folder = Folder(path)
    try:
        yield folder
    finally:
        folder.run("down", "--purge")
    assert not folder.state.exists()
    assert_gone(folder.state)


def moments(*beginnings: str) -> list[Moment]:
    """One for each step, whose line of progress starts so; three with EVERY."""
    found = [Moment(rf"^\d+/\d+ {line}") for line in beginnings]
    if not EVERY:
        return found
    all_of_them = []
    for number, one in enumerate(found):
        if number:
            all_of_them.append(Moment(found[number - 1].line + r".*\(done\)"))
        all_of_them += [one, Moment(one.line, 0.005)]
    return all_of_them


BARE = """
name = "bare"
[cluster]
nodes = 1
"""

BEGUN = f'{BARE}plugins = ["rabbitmq_top"]'
"""What a daemon starts as once it was killed where plugins are set: every run would set them again,
which takes as long as all else between its start and its end."""

WHOLE = """
name = "whole"
[cluster]
nodes = 1
plugins = ["rabbitmq_top"]
[balancer]
policy = "p2c"
weights = { n1 = 50 }
[queues]
type = "classic"
max-length = 900
[[vhost]]
name = "w"
tags = ["walked"]
max_queues = 70
[[user]]
name = "walker"
password = { generate = true }
tags = ["monitoring"]
max_channels = 9
[user.permissions.w]
configure = "^c"
write = "^w"
read = "^r"
[[policy]]
vhost = "w"
name = "short"
pattern = "^short"
definition = { max-length = 3 }
[[operator_policy]]
vhost = "w"
name = "brief"
pattern = "^brief"
definition = { expires = 1000000 }
[[queue]]
vhost = "w"
name = "kept"
type = "quorum"
[[queue]]
vhost = "w"
name = "log"
type = "stream"
[config]
"vm_memory_high_watermark.relative" = 0.31
"""

MAKING = (
    "plugins on every node: is changed",
    "cluster whole: is changed",
    "virtual host w: is made",
    "virtual host w: is changed: max-queues",
    "user walker: is made",
    "user walker: is changed: max-channels",
    "user walker: is changed: configure",
    "policy warrener-queues in w: is made",
    "policy short in w: is made",
    "operator policy brief in w: is made",
    "queue kept in w: is made",
    "queue log in w: is made",
    "balancer policy: is changed",
    "balancer weight of n1: is changed",
    "config vm_memory_high_watermark.relative: is changed",
)
SAME_KIND = {"policy short in w: is made", "queue log in w: is made"}

TAKING_AWAY = (
    "policy warrener-queues in w: is removed",
    "policy short in w: is removed",
    "operator policy brief in w: is removed",
    "user walker: is removed",
    "virtual host w: is removed",
    "plugins on every node: is changed",
    "config vm_memory_high_watermark.relative: is changed",
)


def holds(folder: Folder) -> dict[str, Any]:
    """What there is by RabbitMQ's own word."""
    api = folder.api()
    node = folder.warren().status()["nodes"][0]
    plugins = tool(node, "rabbitmq-plugins", "list", "-E", "-m", "-q").split()
    watermark = tool(
        node, "rabbitmqctl", "eval", "vm_memory_monitor:get_vm_memory_high_watermark()."
    )
    return {
        "name": api.get("/cluster-name")["name"],
        "vhosts": {one["name"]: one.get("tags", []) for one in api.get("/vhosts")},
        "vhost limits": {one["vhost"]: one["value"] for one in api.get("/vhost-limits")},
        "users": {
            one["name"]: one["tags"] for one in api.get("/users") if one["name"] != "warrener"
        },
        "user limits": {one["user"]: one["value"] for one in api.get("/user-limits")},
        "permissions": {
            (one["user"], one["vhost"]): (one["configure"], one["write"], one["read"])
            for one in api.get("/permissions")
            if one["user"] != "warrener"
        },
        "policies": {
            (one["name"], one["vhost"]): one["definition"] for one in api.get("/policies")
        },
        "operator policies": {
            (one["name"], one["vhost"]): one["definition"] for one in api.get("/operator-policies")
        },
        "queues": {(one["name"], one["vhost"]): one["type"] for one in api.get("/queues")},
        "plugins": "rabbitmq_top" in plugins,
        "watermark": float(watermark),
    }


def test_killed_at_every_step_it_ends_as_described(tmp_path: Path) -> None:
    """What a cluster holds is made, and taken away again; one node."""
    with folder_at(tmp_path / "one") as folder:
        bare, whole = folder.write("bare.toml", BARE), folder.write("whole.toml", WHOLE)
        begun = folder.write("begun.toml", BEGUN)
        for moment in moments(*(one for one in MAKING if EVERY or one not in SAME_KIND)):
            before = bare if "plugins" in moment.line else begun
            folder.apply_and_kill(before, whole, moment, prune=False)
        folder.apply(whole, prune=False)
        assert holds(folder) == {
            "name": "whole",
            "vhosts": {"/": [], "w": ["walked"]},
            "vhost limits": {"w": {"max-queues": 70}},
            "users": {"walker": ["monitoring"]},
            "user limits": {"walker": {"max-channels": 9}},
            "permissions": {("walker", "w"): ("^c", "^w", "^r")},
            "policies": {
                ("short", "w"): {"max-length": 3},
                ("warrener-queues", "w"): {"max-length": 900},
            },
            "operator policies": {("brief", "w"): {"expires": 1000000}},
            "queues": {("kept", "w"): "quorum", ("log", "w"): "stream"},
            "plugins": True,
            "watermark": 0.31,
        }
        folder.ok("down")
        for moment in moments(*(TAKING_AWAY if EVERY else TAKING_AWAY[1:])):
            folder.apply_and_kill(whole, bare, moment, prune=True)
        folder.apply(bare, prune=True)
        print(f"{folder.kills} kills, {folder.done_before} steps were done by then")
        assert folder.kills >= 2 * folder.done_before
        left = holds(folder)
        assert left.pop("name") == "bare"
        assert left.pop("vhosts") == {"/": []}
        assert left.pop("watermark") != 0.31
        assert not any(left.values()), left


TWO = """
[cluster]
nodes = 2
[[queue]]
name = "kept"
type = "quorum"
"""

THREE = """
[cluster]
nodes = 3
[[queue]]
name = "kept"
type = "quorum"
[config]
"tcp_listen_options.backlog" = 77
"""

JOINING = ("n3: starts", "n3: has joined", "n3: waits for the balancer's probes", "replicas: move")
RESTARTING = ("n1: is stopped", "n1: starts", "n2: looks", "n3: starts")
LEAVING = ("n3: looks", "n3: gets no new sessions", "n3: stops")


def members(folder: Folder) -> tuple[set[str], set[str]]:
    """The nodes of the cluster, and those with a replica of the queue: RabbitMQ's own word."""
    api = folder.api()
    nodes = {node["name"] for node in api.get("/nodes")}
    return nodes, set(api.get("/queues/%2F/kept?disable_stats=true")["members"])


def test_killed_while_nodes_join_restart_and_leave(tmp_path: Path) -> None:
    with folder_at(tmp_path / "three") as folder:
        two, three = folder.write("two.toml", TWO), folder.write("three.toml", THREE)
        folder.apply(two, prune=False)
        names = {f"n{number}@localhost" for number in (1, 2, 3)}
        assert members(folder) == (names - {"n3@localhost"},) * 2
        folder.ok("down")
        for line in JOINING if EVERY else JOINING[1:2]:
            folder.apply_and_kill(two, three, Moment(line, inner=True), prune=False)
        for line in RESTARTING if EVERY else RESTARTING[2:3]:
            folder.apply_and_kill(two, three, Moment(line, inner=True), prune=False)
        folder.apply(three, prune=False)
        assert members(folder) == (names, names)
        for node in folder.warren().status()["nodes"]:
            told = tool(
                node, "rabbitmqctl", "eval", "application:get_env(rabbit, tcp_listen_options)."
            )
            assert "{backlog,77}" in told
        folder.api().call("DELETE", "/queues/%2F/kept")  # left with two replicas it keeps the node
        two.write_text(TWO.partition("[[queue]]")[0])
        folder.ok("down")
        for line in LEAVING if EVERY else LEAVING[2:3]:
            folder.apply_and_kill(three, two, Moment(line, inner=True), prune=False)
        folder.apply(two, prune=True)  # the setting is taken back, too
        api = folder.api()
        assert {node["name"] for node in api.get("/nodes")} == names - {"n3@localhost"}
        assert not (folder.state / "nodes" / "n3").exists()
