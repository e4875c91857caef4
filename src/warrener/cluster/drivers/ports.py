"""A block of ports for each cluster, so that clusters side by side never meet.

A block is 50 ports long and starts at 20000, 20050, ... 31950: above the well-known ports, below
what Linux hands out to outgoing connections (blocks that overlap that range are left out), and away
from 35672 to 35682, which RabbitMQ's command-line tools use.

Between choosing ports and listening on them other processes have time to choose the same. Among
Warrener's own clusters that is settled by a lock per block: an abstract Unix socket, which the
kernel drops with the process that bound it, so that no file is left behind. Like the ports it
belongs to the network namespace. Other programs are found by trying to bind each port.
"""

import contextlib
import errno
import ipaddress
import socket
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from warrener.cluster.errors import NoFreePorts, PortTaken

LOOPBACK: Final = "127.0.0.1"
BLOCK_SIZE: Final = 50
FIRST_BASE: Final = 20_000
END: Final = 32_000
USUAL_AMQP_PORT: Final = 5672
USUAL_AMQPS_PORT: Final = 5671

_NODES_AT: Final = 10  # ports of the first node within the block; what is before is the cluster's
_PER_NODE: Final = 4


@dataclass(frozen=True, slots=True)
class NodePorts:
    """The ports of one node."""

    amqp: int
    management: int
    prometheus: int
    distribution: int


@dataclass(frozen=True, slots=True)
class ClusterPorts:
    """A block as it is used. ``metrics`` is the daemon's, ``prometheus`` that of one beside it;
    ``page`` and ``grafana`` are kept for later."""

    base: int
    epmd: int
    balancer: int
    page: int
    prometheus: int
    grafana: int
    metrics: int
    nodes: tuple[NodePorts, ...]

    @property
    def spares(self) -> tuple[int, ...]:
        """Where the balancer may go: its own port, then those nothing is meant for."""
        return (self.balancer, *range(self.metrics + 1, self.base + _NODES_AT))

    def node(self, number: int) -> NodePorts:
        """Those of node ``number``, counted from 1."""
        return self.nodes[number - 1]

    def node_ports(self) -> dict[int, str]:
        """Each port that RabbitMQ and its helpers take, and what for."""
        taken = {self.epmd: "epmd"}
        for number, node in enumerate(self.nodes, start=1):
            taken[node.amqp] = f"n{number}'s AMQP"
            taken[node.management] = f"n{number}'s management API"
            taken[node.prometheus] = f"n{number}'s metrics"
            taken[node.distribution] = f"n{number}'s Erlang distribution"
        return taken


def layout(base: int, nodes: int) -> ClusterPorts:
    """The block that starts at ``base``. Pure."""
    assert _NODES_AT + nodes * _PER_NODE <= BLOCK_SIZE, "the spec limits the number of nodes"
    first = base + _NODES_AT
    return ClusterPorts(
        base=base,
        epmd=base,
        balancer=base + 1,
        page=base + 2,
        prometheus=base + 3,
        grafana=base + 4,
        metrics=base + 5,
        nodes=tuple(
            NodePorts(*range(first + i * _PER_NODE, first + (i + 1) * _PER_NODE))
            for i in range(nodes)
        ),
    )


def extended(ports: ClusterPorts, number: int) -> ClusterPorts:
    """The same block with room for node ``number``, whose ports are free. Raises PortTaken."""
    wider = layout(ports.base, max(number, len(ports.nodes)))
    node = wider.node(number)
    for port in (node.amqp, node.management, node.prometheus, node.distribution):
        if taken(LOOPBACK, [port]):
            raise PortTaken(
                port,
                f"meant for n{number}",
                holder(port),
                "end that process, or add another node of the cluster's block, as in "
                "`warrener node add n9`",
            )
    return wider


def candidates(seed: str, ephemeral: tuple[int, int]) -> list[int]:
    """The bases of all usable blocks, starting at one that depends on ``seed``. Pure.

    The seed is the path of the state folder: a cluster tends to get the same ports again even if
    its folder was purged, and two clusters tend to different ones.
    """
    low, high = ephemeral
    bases = [
        base
        for base in range(FIRST_BASE, END - BLOCK_SIZE + 1, BLOCK_SIZE)
        if base + BLOCK_SIZE <= low or base > high
    ]
    if not bases:
        return []
    start = zlib.crc32(seed.encode()) % len(bases)
    return bases[start:] + bases[:start]


def ephemeral_range() -> tuple[int, int]:
    """What Linux hands out to outgoing connections."""
    try:
        low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
        return int(low), int(high)
    except (OSError, ValueError):
        return (32_768, 60_999)


class PortLock:
    """Holds ports against other Warreners until ``release`` or the end of the process."""

    def __init__(self, name: str) -> None:
        """Raises BlockingIOError if another process holds ``name``."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.bind(f"\0warrener-ports-{name}")
        except OSError as error:
            self._socket.close()
            if error.errno == errno.EADDRINUSE:
                raise BlockingIOError(errno.EAGAIN, f"ports {name} are held") from None
            raise

    def release(self) -> None:
        """Lets others have the ports."""
        self._socket.close()


@contextlib.contextmanager
def released_on_error(lock: PortLock) -> Iterator[None]:
    """Releases ``lock`` if the block raises."""
    try:
        yield
    except BaseException:
        lock.release()
        raise


def claim_block(
    nodes: int, *, wanted: int | None, last: int | None, seed: str
) -> tuple[ClusterPorts, PortLock]:
    """A block whose ports are free, locked.

    ``wanted`` (from warrener.toml) is a must: PortTaken if it can't be had. ``last`` (used before)
    is preferred. Raises NoFreePorts.
    """
    if wanted is not None:
        return _claim_wanted(layout(wanted, nodes))
    bases = candidates(seed, ephemeral_range())
    for base in [*([last] if last is not None else []), *bases]:
        ports = layout(base, nodes)
        try:
            lock = PortLock(str(base))
        except BlockingIOError:
            continue
        with released_on_error(lock):
            if not taken(LOOPBACK, ports.node_ports()):
                return ports, lock
        lock.release()
    raise NoFreePorts(
        f"all {len(bases)} blocks of {BLOCK_SIZE} ports between {FIRST_BASE} and {END} have ports "
        f"in use; choose one yourself with `base_port` under [cluster] in warrener.toml"
    )


def _claim_wanted(ports: ClusterPorts) -> tuple[ClusterPorts, PortLock]:
    advice = "end that process, or choose another `base_port` under [cluster] in warrener.toml"
    try:
        lock = PortLock(str(ports.base))
    except BlockingIOError:
        raise PortTaken(ports.base, "base_port", "another Warrener cluster", advice) from None
    with released_on_error(lock):
        for port in taken(LOOPBACK, ports.node_ports()):
            raise PortTaken(port, ports.node_ports()[port], holder(port), advice)
    return ports, lock


def claim_balancer_port(
    host: str,
    *,
    wanted: int,
    last: int | None,
    spares: Sequence[int],
    usual: int | None = None,
    key: str = "port",
) -> tuple[int, PortLock]:
    """The balancer's port, locked: ``wanted`` if not 0 (else PortTaken); else the one it had, the
    ``usual`` one (None: 5672), or the first of ``spares`` from the cluster's own block that is
    free. ``key`` is what chooses it in warrener.toml."""
    advice = f"end that process, or choose another `{key}` under [balancer] in warrener.toml"
    found = [*([last] if last else []), usual or USUAL_AMQP_PORT, *spares]
    choices = [wanted] if wanted else found
    for port in choices:
        try:
            lock = PortLock(f"balancer-{port}")
        except BlockingIOError:
            continue
        with released_on_error(lock):
            if not taken(host, [port]):
                return port, lock
        lock.release()
    port = choices[-1]
    raise PortTaken(port, "the balancer's", holder(port) or _other_warrener(port), advice)


def _other_warrener(port: int) -> str:
    try:
        PortLock(f"balancer-{port}").release()
    except BlockingIOError:
        return "another Warrener cluster that starts just now"
    return ""


def taken(host: str, ports: Iterable[int]) -> list[int]:
    """Those of ``ports`` that can't be listened on at ``host``."""
    return [port for port in ports if not _can_bind(host, port)]


def _can_bind(host: str, port: int) -> bool:
    family, address = _address(host)
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        # As Erlang's and asyncio's listeners do: connections that linger in TIME_WAIT don't count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise
    return True


def _address(host: str) -> tuple[socket.AddressFamily, str]:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return socket.AF_INET, LOOPBACK if host == "localhost" else host
    return (socket.AF_INET6 if version == 6 else socket.AF_INET), host


def holder(port: int) -> str:
    """Who listens on ``port``: ``"redis-server (pid 712)"``; empty if that can't be seen."""
    try:
        connections = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        return ""
    for connection in connections:
        listens = connection.status == psutil.CONN_LISTEN
        if listens and connection.laddr and connection.laddr.port == port and connection.pid:
            try:
                name = psutil.Process(connection.pid).name()
            except psutil.Error:
                continue
            return f"{name} (pid {connection.pid})"
    return ""
