"""A real HAProxy beside Warrener, as an experienced operator would set it up for RabbitMQ.

``mode tcp``, health checks every second with rise and fall of 2 (as Warrener's probes), client and
server timeouts of three hours so that quiet consumers live, TCP_NODELAY as HAProxy does by itself,
no logging. ``nbthread`` is left at HAProxy's own default, one thread a core: that is what a
packaged HAProxy runs with, and it favours HAProxy. Each balancing way has a port of its own in one
process, so that all are warm alike.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from warrener.bench.wire import BenchError

_START_TIMEOUT: Final = 10.0  # s


@dataclass(frozen=True, slots=True)
class Server:
    """A node as HAProxy is told of it. ``name`` is the node's short name."""

    name: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Listener:
    """One port of HAProxy. ``balance`` is its balancing algorithm."""

    name: str
    port: int
    balance: str
    servers: tuple[Server, ...]


@dataclass(frozen=True, slots=True)
class HaproxyProcess:
    """A HAProxy that serves. ``worker`` is the process that carries the traffic."""

    worker: int
    version: str


def render(listeners: Sequence[Listener], *, maxconn: int = 5_000) -> str:
    """The configuration file."""
    lines = [
        "global",
        f"    maxconn {maxconn}",
        "",
        "defaults",
        "    mode tcp",
        "    timeout connect 5s",
        "    timeout client 3h",
        "    timeout server 3h",
        "    option clitcpka",
        "    option srvtcpka",
    ]
    for listener in listeners:
        lines += [
            "",
            f"listen {listener.name}",
            f"    bind 127.0.0.1:{listener.port}",
            f"    balance {listener.balance}",
        ]
        lines += [
            f"    server {s.name} {s.host}:{s.port} check inter 1s rise 2 fall 2"
            for s in listener.servers
        ]
    return "\n".join(lines) + "\n"


def find_haproxy() -> str:
    """The path of the program. Raises BenchError if it isn't installed."""
    path = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise BenchError(
            "haproxy is not installed: apt-get install haproxy, or choose --paths without it"
        )
    return path


def free_ports(count: int) -> list[int]:
    """Ports of the loopback nobody listens on now; somebody may take one before we do."""
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(count):
            probe = stack.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
        return ports


@contextlib.contextmanager
def run_haproxy(listeners: Sequence[Listener], folder: Path) -> Iterator[HaproxyProcess]:
    """HAProxy serving ``listeners`` until the block ends.

    Its file and its output are kept in ``folder``. Raises BenchError with HAProxy's own words if
    it doesn't come up.
    """
    program = find_haproxy()
    config = folder / "haproxy.cfg"
    output = folder / "haproxy.log"
    config.write_text(render(listeners))
    with output.open("wb") as log:
        process = subprocess.Popen(
            # -db: in the foreground, one process, which is both ours to stop and the worker
            [program, "-db", "-f", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches us first: we stop it in order
        )
    try:
        for listener in listeners:
            _wait_port(process, listener.port, output)
        yield HaproxyProcess(process.pid, _version(program))
    finally:
        _stop(process)


def _wait_port(process: "subprocess.Popen[bytes]", port: int, output: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            text = output.read_text(errors="replace").strip()
            raise BenchError(f"haproxy ended with {process.returncode}: {text}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.02)
    raise BenchError(f"haproxy did not serve port {port} within {_START_TIMEOUT:.0f} s")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
        try:
            process.wait(5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _version(program: str) -> str:
    """Such as ``2.6.12-1+deb12u4``."""
    answer = subprocess.run([program, "-v"], capture_output=True, text=True, check=False)
    words = answer.stdout.split()
    return words[2] if len(words) > 2 else "unknown"
