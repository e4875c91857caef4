"""The checks of `warrener doctor`: what was found, whether it will do, and how to mend it.

Each check takes what it judges as arguments and is pure; ``examine`` looks at the machine and
calls them. A ``fail`` keeps `warrener up` from working; a ``warn`` doesn't, yet.
"""

import os
import platform
import re
import resource
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import psutil

from warrener.balancer.haproxy.program import HaproxyError, find_program
from warrener.cli.common import shown
from warrener.cluster.drivers.installation import find_installation
from warrener.cluster.drivers.ports import holder as port_holder
from warrener.cluster.drivers.ports import taken
from warrener.cluster.drivers.private_files import PrivateFiles
from warrener.cluster.errors import ClusterError, UnknownPlugin
from warrener.cluster.spec import ClusterSpec
from warrener.control.lock import Holder, holder_of
from warrener.control.state_folder import StateFolder
from warrener.daemon.errors import DaemonError
from warrener.daemon.wiring import count_leftovers, look_at_hosts, read_spec
from warrener.facts.data_plane import DataPlane

GIB: Final = 1 << 30

NODE_MEMORY: Final = 200 << 20
"""A freshly booted RabbitMQ 3.10 node takes some 150 MB; a little more to do anything with."""

DISK_FAIL: Final = 200 << 20
"""RabbitMQ blocks publishers below 50 MB free (disk_free_limit); its own files come on top."""

DISK_WARN: Final = 2 * GIB
FILES_WARN: Final = 4096
"""Open files: two per session in the balancer."""


class Verdict(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; ``fix`` is what to type or change, empty when nothing is wrong."""

    name: str
    verdict: Verdict
    found: str
    fix: str = ""


def program(name: str, version: str | None, package: str, *, needed_for: str) -> Check:
    """A program that is needed only for some commands."""
    if version is not None:
        return Check(name, Verdict.OK, version)
    return Check(
        name,
        Verdict.WARN,
        f"not found; needed for {needed_for}",
        f"apt-get install --no-install-recommends {package}",
    )


def open_files(soft: int, hard: int) -> Check:
    """The limit on open files: each session takes two in the balancer."""
    found = f"{soft} (may be raised to {hard})" if soft < hard else str(soft)
    if soft >= FILES_WARN:
        return Check("open files", Verdict.OK, found)
    return Check(
        "open files",
        Verdict.WARN,
        f"{found}: enough for about {max(0, soft - 256) // 2} sessions",
        f"ulimit -n {min(65536, hard)} before `warrener up`"
        if hard > soft
        else "raise `nofile` in /etc/security/limits.conf",
    )


def disk(free: int, path: str) -> Check:
    """Room for data and logs where the state folder is."""
    found = f"{free / GIB:.1f} GiB free at {path}"
    if free >= DISK_WARN:
        return Check("disk", Verdict.OK, found)
    verdict = Verdict.FAIL if free < DISK_FAIL else Verdict.WARN
    return Check("disk", verdict, found, "make room, or choose another place with --state DIR")


def memory(available: int, nodes: int) -> Check:
    """Room for the nodes."""
    found = f"{available / GIB:.1f} GiB available for {nodes} nodes"
    if available >= nodes * NODE_MEMORY:
        return Check("memory", Verdict.OK, found)
    return Check("memory", Verdict.WARN, found, "end something, or start fewer nodes with --nodes")


def localhost(addresses: list[str]) -> Check:
    """Nodes are called n1@localhost, so that has to be this machine's loopback."""
    if "127.0.0.1" in addresses:
        return Check("localhost", Verdict.OK, "127.0.0.1")
    found = ", ".join(addresses) or "doesn't resolve"
    return Check("localhost", Verdict.FAIL, found, "add `127.0.0.1 localhost` to /etc/hosts")


def port(number: int, holder: str, *, ours: bool) -> Check:
    """The balancer's port, where warrener.toml asks for a certain one."""
    name = f"port {number}"
    if ours:
        return Check(name, Verdict.OK, "this cluster's balancer")
    if not holder:
        return Check(name, Verdict.OK, "free")
    return Check(
        name,
        Verdict.FAIL,
        f"taken: {holder}",
        "end that process, or choose another port under [balancer] in warrener.toml",
    )


def state(folder: StateFolder, holder: Holder | None, left: int) -> Check:
    """The state folder and what runs in it."""
    where = shown(folder.path)
    if holder is not None:
        return Check("state folder", Verdict.OK, f"{where}: running, daemon {holder.pid}")
    if left:
        return Check(
            "state folder",
            Verdict.WARN,
            f"{where}: {left} processes of a daemon that was killed",
            "warrener down",
        )
    if folder.is_ours():
        return Check("state folder", Verdict.OK, f"{where}: stopped, data kept")
    if folder.path.exists() and (not folder.path.is_dir() or any(folder.path.iterdir())):
        return Check(
            "state folder",
            Verdict.FAIL,
            f"{where}: something else's files are in it",
            "choose another with --state DIR",
        )
    return Check("state folder", Verdict.OK, f"{where}: not there yet")


def version_of(command: list[str]) -> str | None:
    """The first version number that a program prints about itself; None if it isn't there."""
    path = shutil.which(command[0]) or shutil.which(command[0], path="/usr/local/sbin:/usr/sbin")
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, *command[1:]], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{path} doesn't run: {error}"
    found = re.search(r"\d+\.\d+[\w.+-]*", done.stdout + done.stderr)
    return found.group() if found else path


def examine(folder: StateFolder, file: Path | None) -> Iterator[Check]:
    """Looks at this machine, for the cluster that ``file`` describes in ``folder``."""
    yield Check("Python", Verdict.OK, platform.python_version())
    spec = ClusterSpec()
    try:
        spec = read_spec(file, None)
    except DaemonError as error:
        yield Check("warrener.toml", Verdict.FAIL, str(error), "correct the file")
    else:
        if file is not None:
            yield Check("warrener.toml", Verdict.OK, f"{shown(file)}: {spec.nodes} nodes")
    yield from _hosts(spec) if spec.hosts else [_rabbitmq(spec)]
    yield _haproxy(spec)
    prometheus = version_of(["prometheus", "--version"])
    yield program("Prometheus", prometheus, "prometheus", needed_for="`make test` only")
    if not spec.hosts:
        yield localhost(_addresses("localhost"))
    yield open_files(*resource.getrlimit(resource.RLIMIT_NOFILE))
    holder = holder_of(folder.lock)
    if holder is None and not spec.hosts:
        yield memory(psutil.virtual_memory().available, spec.nodes)
    place = _nearest_existing(folder.path)
    yield disk(shutil.disk_usage(place).free, shown(place))
    if spec.balancer.port:
        ours = holder is not None and _remembered_port(folder) == spec.balancer.port
        number = spec.balancer.port
        used = taken(spec.balancer.host, [number])
        yield port(number, (port_holder(number) or "by another user") if used else "", ours=ours)
    left = 0 if holder is not None or not folder.is_ours() else count_leftovers(folder.path)
    yield state(folder, holder, left)


def _rabbitmq(spec: ClusterSpec) -> Check:
    try:
        found = find_installation(spec.rabbitmq, os.environ.get("PATH", ""))
        found.check_plugins(spec.plugins)
    except UnknownPlugin as error:
        return Check("RabbitMQ", Verdict.FAIL, str(error), "correct `plugins`")
    except ClusterError as error:
        fix = "apt-get install --no-install-recommends rabbitmq-server"
        return Check("RabbitMQ", Verdict.FAIL, str(error), fix)
    return Check("RabbitMQ", Verdict.OK, f"{found.version} in {found.root}, Erlang at {found.erl}")


def _hosts(spec: ClusterSpec) -> Iterator[Check]:
    """Each host as `up` looks at it, and what they should have in common."""
    seen, differing = look_at_hosts(spec)
    for one in seen:
        if not one.problems:
            yield Check(one.name, Verdict.OK, one.told)
        elif one.installable and set(one.problems) == set(one.installable):
            yield Check(one.name, Verdict.WARN, "; ".join(one.problems), "warrener up")
        else:
            for problem in one.problems:
                yield Check(
                    one.name,
                    Verdict.FAIL,
                    problem,
                    _command_in(problem) or "mend that, then `warrener doctor` again",
                )
    for problem in differing:
        yield Check("hosts", Verdict.FAIL, problem, "install the same version on all of them")


def _command_in(problem: str) -> str:
    """What is to be typed, which stands in a problem in quotes of its own."""
    found = re.search(r"`([a-z][^`]* [^`]*)`", problem)
    return found[1] if found else ""


def _haproxy(spec: ClusterSpec) -> Check:
    """Needed for `up` only as the data plane; it may be another one than the PATH's then."""
    if spec.balancer.data_plane is not DataPlane.HAPROXY:
        found = version_of(["haproxy", "-v"])
        return program("HAProxy", found, "haproxy", needed_for="`warrener bench` only")
    try:
        path = find_program(spec.balancer.haproxy, os.environ.get("PATH", ""))
    except HaproxyError as error:
        fix = "apt-get install --no-install-recommends haproxy, or correct `haproxy`"
        return Check("HAProxy", Verdict.FAIL, str(error), fix)
    return Check("HAProxy", Verdict.OK, f"{version_of([path, '-v'])} at {path}")


def _addresses(name: str) -> list[str]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _nearest_existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())


def _remembered_port(folder: StateFolder) -> int | None:
    record = PrivateFiles(folder.path).read_record()
    return record.balancer_port if record is not None else None
