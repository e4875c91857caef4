"""What the suite needs of a driver. Another driver is one more entry in ``DRIVERS``.

A ``Driver`` starts a cluster with Warrener before it, and says what the tests can't know: how a
node of it is killed and brought back (by whoever runs it), which processes are Warrener's, and
which commands have to be refused.
"""

import contextlib
import dataclasses
import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.integration.lan import lan, why_not
from tests.integration.support import Place, balancer_place, eventually
from tests.integration.warren import (
    Warren,
    assert_gone,
    listened_on,
    ports_of,
    processes_of,
    running,
    warrener,
)

NEEDS_THE_HOST: Mapping[tuple[str, ...], str] = {
    ("node", "add"): "join_cluster",
    ("node", "remove", "{node}"): "forget_cluster_node",
    ("node", "replace", "{node}"): "with what runs the cluster",
    ("node", "restart", "{node}"): "node drain",
    ("rolling-restart",): "node drain",
    ("join-cluster",): "join_cluster",
    ("stop-app", "{node}"): "rabbitmqctl stop_app",
    ("start-app", "{node}"): "rabbitmqctl start_app",
    ("config", "set", "heartbeat", "20", "--yes"): "rabbitmq.conf",
    ("leaders", "balance", "--yes", "--sample", "1"): "--by-count",
}
"""Commands that take the nodes' hosts, and what a refusal has to name instead."""


USUAL = 5672


@dataclass(frozen=True)
class Running:
    """A cluster with Warrener before it. ``estate`` is what drives the nodes: the same, or, of an
    attached one, somebody else's. ``refused``: commands, and a part of the reason.
    ``tick``: what net_ticktime is."""

    driver: str
    warren: Warren
    estate: Warren
    refused: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    tick: str = "60"

    @property
    def theirs(self) -> bool:
        """Whether the nodes outlive Warrener."""
        return self.estate is not self.warren

    def place(self) -> Place:
        """The balancer, as the user that Warrener knows."""
        return balancer_place(self.warren)

    def nodes(self) -> dict[str, dict[str, Any]]:
        """Rows of the status, by name."""
        return {row["name"]: row for row in self.warren.status()["nodes"]}

    def kill(self, node: str) -> None:
        """kill -9, as a machine that loses power: nobody is told."""
        rows = {row["name"]: row for row in self.estate.status()["nodes"]}
        os.kill(rows[node]["pid"], signal.SIGKILL)

    def bring_back(self, node: str) -> None:
        """By whoever runs it; returns when it is fit."""
        self.estate.ok("node", "restart", node, "--force")
        eventually(f"{node} is fit again", lambda: self.nodes()[node]["fit"], 60)

    def down(self) -> Any:
        """``down --json``; nothing of Warrener's may be left, and everything of others'."""
        mine = self.warren.status()
        before = processes_of(self.estate.state) if self.theirs else []
        ports = {mine["balancer"]["port"]} if self.theirs else ports_of(mine)
        ports -= {USUAL}  # whoever starts a broker on this machine may have it a moment later
        told = json.loads(self.warren.ok("down", "--json"))
        assert_gone(self.warren.state, ports)
        if self.theirs:
            assert processes_of(self.estate.state) == before
            theirs = ports_of(self.estate.status())
            assert listened_on(theirs) == theirs
        return told


Estate = Callable[[], Warren]
"""The one cluster of local nodes that the suite has, started at the first call: three nodes take
10 s and more. A driver that starts nodes of its own doesn't call it."""


@contextlib.contextmanager
def local(estate: Estate, folder: Path) -> Iterator[Running]:
    """Warrener's own nodes on this machine."""
    warren = estate()
    yield Running("local", warren, warren)


@contextlib.contextmanager
def attached(estate: Estate, folder: Path) -> Iterator[Running]:
    """Before a cluster that another Warrener runs: by one URL, without its folder."""
    with attaching(estate(), folder) as warren:
        yield Running("attached", warren, estate(), NEEDS_THE_HOST)


@contextlib.contextmanager
def attaching(
    estate: Warren, folder: Path, *options: str, user: str = "", password: str = ""
) -> Iterator[Warren]:
    """``up -d --attach`` to somebody's cluster, purged afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    place = balancer_place(estate)
    secret = folder / "password"
    secret.write_text(password or place.password)
    secret.chmod(0o600)
    row = estate.status()["nodes"][0]
    url = f"http://{row['host']}:{row['management_port']}"
    state = folder / "state"
    arguments = ["--attach", url, "--user", user or place.user, "--password-file", secret]
    try:
        done = warrener("--state", state, "up", "-d", *arguments, *options, cwd=folder)
        assert done.returncode == 0, f"warrener up: {done.stdout}{done.stderr}"
        assert place.password not in done.stdout + done.stderr
        warren = Warren(state, "")
        yield dataclasses.replace(warren, url=warren.ok("url").strip())
    finally:
        warrener("--state", state, "down", "--purge", cwd=folder)
    assert not state.exists()
    assert_gone(state)


@contextlib.contextmanager
def ssh(estate: Estate, folder: Path) -> Iterator[Running]:
    """A node on each of three hosts (network namespaces with an sshd each)."""
    if why_not():
        pytest.skip(why_not())
    with lan(folder / "lan") as hosts, hosts.at_client():
        file = folder / "hosts.toml"
        file.write_text(hosts.description())
        with running(folder / "cluster", "-f", str(file)) as warren:
            yield Running("ssh", warren, warren, tick="4")


DRIVERS: Mapping[str, Callable[[Estate, Path], AbstractContextManager[Running]]] = {
    "ssh": ssh,
    "attached": attached,
    "local": local,
}
"""In this order: the last test of the local one takes the estate down."""
