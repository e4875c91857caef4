"""Runs the `warrener` command as a user does, and looks for what it leaves behind."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

WARRENER = Path(sys.executable).with_name("warrener")

UP_PATIENCE = 150.0
"""Seconds. Three nodes take about 20 on two idle cores; the machine may be busy."""

Done = subprocess.CompletedProcess[str]


def environment() -> dict[str, str]:
    """This process's, without what would change which cluster a command is about."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ("WARRENER_STATE", "WARRENER_DEBUG", "COLUMNS")
    }


def warrener(*arguments: str | Path, cwd: Path, timeout: float = UP_PATIENCE) -> Done:
    """One command, to its end."""
    return subprocess.run(
        [WARRENER, *map(str, arguments)],
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@dataclass(frozen=True)
class Warren:
    """A cluster that runs in the background. Commands run in a folder without a warrener.toml."""

    state: Path
    url: str

    def run(self, *arguments: str, timeout: float = UP_PATIENCE) -> Done:
        """A command about this cluster, whatever its exit code."""
        return warrener("--state", self.state, *arguments, cwd=self.state.parent, timeout=timeout)

    def ok(self, *arguments: str) -> str:
        """What a command that has to succeed prints."""
        done = self.run(*arguments)
        assert done.returncode == 0, f"warrener {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def status(self) -> dict[str, Any]:
        """``warrener status --json``."""
        document = json.loads(self.ok("status", "--json"))
        assert isinstance(document, dict)
        return document


@contextlib.contextmanager
def running(folder: Path, *options: str) -> Iterator[Warren]:
    """``up -d`` in ``folder``/state, purged afterwards; nothing may be left. Logs are kept in
    ``folder``/logs, and what the daemon didn't expect is printed."""
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "state"
    try:
        done = warrener("--state", state, "up", "-d", *options, cwd=folder)
        assert done.returncode == 0, f"warrener up: {done.stdout}{done.stderr}"
        url = warrener("--state", state, "url", cwd=folder)
        yield Warren(state, url.stdout.strip())
    finally:
        keep_logs(state, folder / "logs")
        warrener("--state", state, "down", "--purge", cwd=folder)
    assert not state.exists()
    assert_gone(state)


def keep_logs(state: Path, kept: Path) -> None:
    """The daemon's and the nodes', for who looks into why a test failed."""
    for log in (*state.glob("log/*"), *state.glob("nodes/*/log/*.log")):
        if log.is_file():
            to = kept / log.relative_to(state)
            to.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):  # replaced just now
                shutil.copyfile(log, to)
    for log in kept.glob("log/daemon.log*"):
        text = log.read_text(errors="replace")
        if (at := text.find("Traceback (most recent call last)")) >= 0:
            print(f"{log}: {text[at : at + 3000]}")


def processes_of(state: Path) -> list[str]:
    """Every process that has anything to do with a state folder, by arguments or environment.

    This doesn't go by any mark that Warrener itself puts on its processes.
    """
    found = []
    needle = str(state)
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        with contextlib.suppress(psutil.Error):
            words = [*process.cmdline(), *process.environ().values(), process.cwd()]
            if process.status() != psutil.STATUS_ZOMBIE and any(needle in word for word in words):
                found.append(f"{process.pid} {' '.join(process.cmdline())[:200]}")
    return found


def ports_of(status: dict[str, Any]) -> set[int]:
    """Every port that a status names."""
    ports = {status["balancer"]["port"]}
    for node in status["nodes"]:
        ports |= {value for key, value in node.items() if key.endswith("_port")}
    return ports


def listened_on(ports: set[int]) -> set[int]:
    """Those of ``ports`` that somebody listens on."""
    return ports & {
        connection.laddr.port
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }


def assert_gone(state: Path, ports: set[int] | None = None) -> None:
    """No process and no port of that state folder is left. Asked once: `down` has waited."""
    assert processes_of(state) == []
    assert listened_on(ports or set()) == set()


def wait_until_gone(pid: int, patience: float = 60.0) -> None:
    """Waits for a process that isn't our child to end."""
    deadline = time.monotonic() + patience
    while psutil.pid_exists(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.02)
