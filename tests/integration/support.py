"""What the tests against a running cluster share: where to connect, how to wait, how to look.

A *place* is an address that serves AMQP: ``direct`` is a node's own port, ``balancer`` is the
balancer's. A test that takes the ``place`` fixture runs once for each and so holds the balancer
to what the broker does; one that takes ``both`` compares the two answers.
"""

import asyncio
import base64
import contextlib
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, unquote, urlsplit

import psutil

from warrener.cluster.drivers import erl_call
from warrener.facts.ids import NodeName

T = TypeVar("T")

PATIENCE = 15.0
"""Seconds that something which should happen at once may take on a busy machine."""


class Cluster(Protocol):
    """What the ``cluster`` fixture offers, as far as these tests need it."""

    @property
    def url(self) -> str: ...
    def status(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where to connect and as whom. ``name`` is ``direct`` or ``balancer``."""

    name: str
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    vhost: str = "/"

    def url(self, query: str = "") -> str:
        """An AMQP URL that every library understands."""
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        address = f"amqp://{login}@{self.host}:{self.port}/{quote(self.vhost, safe='')}"
        return f"{address}?{query}" if query else address

    def with_(self, **changes: Any) -> "Place":
        """The same address for somebody else."""
        return replace(self, **changes)


def balancer_place(cluster: Cluster) -> Place:
    """The balancer of a cluster, with the credentials of ``warrener url``."""
    parts = urlsplit(cluster.url)
    assert parts.hostname
    assert parts.port
    assert parts.username
    assert parts.password
    vhost = unquote(parts.path[1:]) or "/"
    user, password = unquote(parts.username), unquote(parts.password)
    return Place("balancer", parts.hostname, parts.port, user, password, vhost)


def node_place(cluster: Cluster, node: dict[str, Any]) -> Place:
    """A node's own port."""
    balancer = balancer_place(cluster)
    return replace(balancer, name="direct", host=node["host"], port=node["amqp_port"])


def eventually(what: str, ask: Callable[[], T], wait: float = PATIENCE, every: float = 0.05) -> T:
    """Ask until the answer is truthy, and give it back; fail with ``what`` after ``wait`` s."""
    deadline = time.monotonic() + wait
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {wait:g} s: {what}; last: {answer!r}"
        time.sleep(every)


async def eventually_async(
    what: str, ask: Callable[[], Awaitable[T]], wait: float = PATIENCE, every: float = 0.05
) -> T:
    """``eventually`` for coroutines."""
    deadline = time.monotonic() + wait
    while True:
        answer = await ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {wait:g} s: {what}; last: {answer!r}"
        await asyncio.sleep(every)


# -- the management API -------------------------------------------------------------------------


class Management:
    """RabbitMQ's management API, straight and without any of our own code."""

    def __init__(self, base: str, user: str, password: str) -> None:
        self._base = base
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: object = None) -> Any:
        """One request; the answer's JSON, or None if it has no body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._base + path, data=data, method=method, headers=self._headers
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def get(self, path: str) -> Any:
        """GET."""
        return self.call("GET", path)

    @contextlib.contextmanager
    def thing(self, path: str, body: object) -> Iterator[None]:
        """PUT something for the time of the block (a user, a vhost, a policy)."""
        self.call("PUT", path, body)
        try:
            yield
        finally:
            with contextlib.suppress(urllib.error.HTTPError):
                self.call("DELETE", path)


def management(cluster: Cluster, node: int = 0) -> Management:
    """The management API of one of the cluster's nodes."""
    place = balancer_place(cluster)
    row = cluster.status()["nodes"][node]
    base = f"http://{row['host']}:{row['management_port']}/api"
    return Management(base, place.user, place.password)


# -- the nodes' processes -----------------------------------------------------------------------


def tool(node: dict[str, Any], name: str, *args: str, timeout: float = 60) -> str:
    """Run one of RabbitMQ's own tools (``rabbitmqctl`` ...) in a node's environment."""
    environment = dict(psutil.Process(node["pid"]).environ())
    # Made for the server; the tool would take them for its own.
    for key in ("RABBITMQ_DIST_PORT", "RABBITMQ_PID_FILE", "ERL_CRASH_DUMP"):
        environment.pop(key, None)
    environment.setdefault("PATH", os.environ["PATH"])
    done = subprocess.run(
        [_tool_path(environment, name), "-n", node["name"], *args],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{name} {args}: {done.stdout}{done.stderr}"
    return done.stdout


def evaluate(node: dict[str, Any], text: str, timeout: float = 15) -> str | None:
    """What Erlang expressions come to on a node, by ``erl_call``: a hundredth of a second where
    ``rabbitmqctl eval`` takes one. None if that can't be (TLS between nodes, a host with processes
    of its own), or fails."""
    try:
        environment = dict(psutil.Process(node["pid"]).environ())
    except psutil.NoSuchProcess:
        return None
    if not erl_call.can_reach(environment):
        return None
    done = subprocess.run(
        erl_call.command(NodeName(node["name"]), text),
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return erl_call.answer(done.stdout) if done.returncode == 0 else None


def _tool_path(environment: dict[str, str], name: str) -> str:
    home = environment.get("RABBITMQ_HOME")
    if home and (path := Path(home) / "sbin" / name).exists():
        return str(path)
    found = sorted(Path("/usr/lib/rabbitmq/lib").glob(f"rabbitmq_server-*/sbin/{name}"))
    assert found, f"no {name} here"
    return str(found[-1])


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    return int(psutil.Process(pid).memory_info().rss)
