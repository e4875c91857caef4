"""What is measured: a cluster with Warrener's balancer, built through the product's own command
line as a user would, and a virtual host of the bench's own in it.

A stand is either temporary (its state folder is made, and gone at the end whatever happens) or a
cluster that runs already, which is left as it was. A second Warrener can be put before the same
nodes for a while.
"""

import asyncio
import contextlib
import json
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

from warrener.bench.wire import BenchError, Target
from warrener.management.client import (
    ManagementClient,
    ManagementError,
    Unreachable,
    segment,
)
from warrener.management.verify import Verify

_T = TypeVar("_T")

VHOST: Final = "warrener-bench"
_VHOST_PATH: Final = f"/api/vhosts/{VHOST}"
_UP_TIMEOUT: Final = 180.0  # s; a fresh cluster takes 15 to 30
_DOWN_TIMEOUT: Final = 60.0
_ASK_TIMEOUT: Final = 20.0
_EXIT_NOT_RUNNING: Final = 3


class NotRunning(BenchError):
    """No cluster runs in the state folder that was named."""


@dataclass(frozen=True, slots=True)
class StandNode:
    """One node: ``name`` in full, where it serves AMQP and the management API."""

    name: str
    host: str
    amqp_port: int
    management_port: int
    weight: int
    version: str
    erlang_version: str
    pid: int | None = None  # of its Erlang VM, where that is on this machine

    @property
    def short(self) -> str:
        """``n1`` of ``n1@localhost``."""
        return self.name.partition("@")[0]


@dataclass(frozen=True, slots=True)
class Stand:
    """A running cluster behind a running balancer.

    ``balancer`` is a target through the balancer in the bench's virtual host, ``balancer_pid`` the
    process it runs in.
    """

    state: Path
    nodes: tuple[StandNode, ...]
    balancer: Target
    balancer_pid: int
    policy: str
    tls: tuple[str, ...] = ()  # which connections speak it
    plain_port: int | None = None  # the balancer's without TLS beside the one with it
    page: str = ""  # where the page is, without its token

    def node_target(self, index: int) -> Target:
        """Straight to a node."""
        node = self.nodes[index % len(self.nodes)]
        ca = self.balancer.ca if "links" in self.tls else ""
        return replace(self.balancer, host=node.host, port=node.amqp_port, ca=ca)

    def at(self, port: int) -> Target:
        """To a port of this machine, such as HAProxy's."""
        return replace(self.balancer, host="127.0.0.1", port=port)

    @contextlib.contextmanager
    def pinned(self, index: int) -> Iterator[None]:
        """Warrener sends all new sessions to one node inside the block; then as it was."""
        changed = [n for i, n in enumerate(self.nodes) if i != index and n.weight]
        changed += [n for i, n in enumerate(self.nodes) if i == index and not n.weight]
        try:
            _warrener(self.state, "balance", "set-policy", "weighted")
            for node in changed:
                weight = "0" if node.weight else "1"
                _warrener(self.state, "balance", "set-weight", node.name, weight)
            yield
        finally:
            with _uninterrupted():
                for node in changed:
                    _warrener(self.state, "balance", "set-weight", node.name, str(node.weight))
                _warrener(self.state, "balance", "set-policy", self.policy)

    def command(self, *arguments: str, timeout: float) -> str:
        """What `warrener` prints for this cluster. Raises BenchError with its own words."""
        return _warrener(self.state, *arguments, timeout=timeout)

    def leaders(self) -> dict[str, str]:
        """Queue of the bench's virtual host -> the node that leads it."""
        queues = _manage(self, lambda client: client.queues())
        return {q.name: q.leader or q.node or "" for q in queues if q.vhost == VHOST}


@contextlib.contextmanager
def temporary_stand(nodes: int = 3, description: str = "") -> Iterator[Stand]:
    """A new cluster, as a warrener.toml describes it; nothing of it is left behind."""
    with tempfile.TemporaryDirectory(prefix="warrener-bench-") as folder:
        state = Path(folder) / "state"
        try:
            # In that folder: a warrener.toml where the bench is called isn't for this cluster.
            up = ["up", "-d", "--nodes", str(nodes)]
            if description:
                (Path(folder) / "warrener.toml").write_text(description)
            _warrener(state, *up, timeout=_UP_TIMEOUT, show=True, folder=Path(folder))
            stand = _look(state)
            _make_vhost(stand)
            yield stand
        finally:
            # Also after a failed or interrupted `up`, which then may have nothing to stop.
            with _uninterrupted(), contextlib.suppress(NotRunning):
                _warrener(state, "down", "--purge", timeout=_DOWN_TIMEOUT)


@contextlib.contextmanager
def existing_stand(state: Path) -> Iterator[Stand]:
    """The cluster of a state folder, with a virtual host made for the bench and then deleted."""
    stand = _look(state)
    try:
        _make_vhost(stand)
        yield stand
    finally:
        with _uninterrupted():
            _manage(stand, lambda client: client.delete(_VHOST_PATH))


@contextlib.contextmanager
def second_balancer(stand: Stand, description: str) -> Iterator[Stand]:
    """Another Warrener before the stand's nodes. ``description``: a warrener.toml without [attach].

    It is in a folder of its own, the parent of its state folder, which is gone at the end. Raises
    BenchError, also where the cluster speaks TLS, which this one wouldn't.
    """
    if stand.tls:
        raise BenchError("a second balancer is put before a cluster without TLS only")
    node = stand.nodes[0]
    with tempfile.TemporaryDirectory(prefix="warrener-bench-") as name:
        folder = Path(name)
        state = folder / "state"
        (folder / "password").touch(0o600)
        (folder / "password").write_text(stand.balancer.password)
        (folder / "warrener.toml").write_text(
            "[attach]\n"
            f'url = "http://{node.host}:{node.management_port}"\n'
            f"user = {json.dumps(stand.balancer.user)}\n"
            'password = { file = "password" }\n\n' + description
        )
        try:
            _warrener(state, "up", "-d", timeout=_UP_TIMEOUT, folder=folder)
            yield _look(state)
        finally:
            with _uninterrupted(), contextlib.suppress(NotRunning):
                _warrener(state, "down", "--purge", timeout=_DOWN_TIMEOUT)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """A second Ctrl-C doesn't stop the putting away; every step of it is bounded in time."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _make_vhost(stand: Stand) -> None:
    permissions = f"/api/permissions/{VHOST}/{segment(stand.balancer.user)}"

    async def make(client: ManagementClient) -> None:
        await client.put_json(_VHOST_PATH, {})
        await client.put_json(permissions, {"configure": ".*", "write": ".*", "read": ".*"})

    _manage(stand, make)


def _look(state: Path) -> Stand:
    status = json.loads(_warrener(state, "status", "--json"))
    url = _warrener(state, "url").strip()
    balancer = status["balancer"]
    return Stand(
        state=state,
        nodes=tuple(
            StandNode(
                name=node["name"],
                host=node["host"],
                amqp_port=node["amqp_port"],
                management_port=node["management_port"],
                weight=node["weight"],
                version=node["version"],
                erlang_version=node["erlang_version"],
                pid=node.get("pid"),
            )
            for node in status["nodes"]
        ),
        balancer=replace(Target.from_url(url), vhost=VHOST),
        balancer_pid=balancer["pid"],
        policy=balancer["policy"],
        tls=tuple(status["tls"]),
        plain_port=balancer["plain_port"],
        page=status.get("page_url", ""),
    )


def _warrener(
    state: Path,
    *arguments: str,
    timeout: float = _ASK_TIMEOUT,
    show: bool = False,
    folder: Path | None = None,
) -> str:
    """Run Warrener's command line, in ``folder``; returns its stdout. ``show``: progress is seen.

    Raises NotRunning or BenchError with its own words.
    """
    command = [sys.executable, "-c", "from warrener.cli.main import main; main()", *arguments]
    with subprocess.Popen(
        [*command, "--state", str(state)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=None if show else subprocess.PIPE,
        text=True,
        cwd=folder,
        start_new_session=True,  # Ctrl-C reaches the bench, which then ends this in order
    ) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException as error:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=_DOWN_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
            if isinstance(error, subprocess.TimeoutExpired):
                message = f"`warrener {arguments[0]}` took over {timeout:.0f} s"
                raise BenchError(message) from None
            raise
    if process.returncode == 0:
        return out
    text = (err or "").strip().removeprefix(
        "warrener: "
    ) or f"`warrener {' '.join(arguments)}` failed"
    if process.returncode == _EXIT_NOT_RUNNING:
        raise NotRunning(text)
    raise BenchError(text)


def _manage(stand: Stand, ask: Callable[[ManagementClient], Awaitable[_T]]) -> _T:
    """Ask the management API of the first node that answers. Raises BenchError."""
    trouble = "the cluster has no nodes"
    for node in stand.nodes:
        try:
            return asyncio.run(_ask(stand, node, ask))
        except Unreachable as error:
            trouble = str(error)
        except ManagementError as error:
            raise BenchError(str(error)) from None
    raise BenchError(trouble)


async def _ask(
    stand: Stand, node: StandNode, ask: Callable[[ManagementClient], Awaitable[_T]]
) -> _T:
    secure = "management" in stand.tls
    url = f"http{'s' * secure}://{node.host}:{node.management_port}"
    context = ssl.create_default_context(cafile=stand.balancer.ca) if secure else None
    verify = None if context is None else Verify(lambda: context, node.host)
    user, password = stand.balancer.user, stand.balancer.password
    async with ManagementClient(url, user, password, timeout=_ASK_TIMEOUT, verify=verify) as client:
        return await ask(client)
