"""What a killed daemon left on hosts, and where a cluster's things are there."""

import asyncio
from pathlib import Path

from warrener.cluster.drivers import host_scripts
from warrener.cluster.drivers.leftovers import STOP_TIMEOUT, Leftover
from warrener.cluster.drivers.private_files import PrivateFiles, Record
from warrener.cluster.drivers.ssh_connection import Connection
from warrener.cluster.drivers.ssh_host import SshHost
from warrener.cluster.hosts import HostSpec


def root_on(spec: HostSpec, home: str, cluster: str) -> Path:
    """A cluster's folder on a host."""
    folder = spec.folder
    if folder.startswith("~/"):
        folder = f"{home}/{folder[2:]}"
    return Path(folder) / cluster


def mark_on(files: PrivateFiles, record: Record, host: str) -> str:
    """What marks a cluster's processes on a host."""
    return f"{files.mark(record)}@{host}"


async def _each_host(state: Path) -> list[SshHost]:
    """Connected to; of a cluster that no daemon drives. Raises HostUnreachable or HostRefused."""
    files = PrivateFiles(state)
    record = files.read_record()
    machines: list[SshHost] = []
    if record is None:
        return machines
    try:
        for spec in record.hosts:
            connection = Connection(spec, lambda event: None)
            await connection.open()
            home = (await connection.ask(host_scripts.script("cd && pwd\n"))).decode().strip()
            machines.append(
                SshHost(
                    connection,
                    state=state,
                    root=root_on(spec, home, record.id),
                    address=spec.host,
                    cluster=mark_on(files, record, spec.host),
                )
            )
    except BaseException:
        for machine in machines:
            await machine.connection.close()
        raise
    return machines


async def stop_leftovers(state: Path, *, remove: bool = False) -> int:
    """Stops what a killed daemon left on the hosts; how many processes that were. ``remove``: and
    removes the cluster's folders there. Raises HostUnreachable or HostRefused."""
    machines = await _each_host(state)
    try:
        ended = await asyncio.gather(
            *(machine.stop_marked(0 if remove else STOP_TIMEOUT) for machine in machines)
        )
        if remove:
            await asyncio.gather(*(machine.remove_all() for machine in machines))
        return sum(ended)
    finally:
        for machine in machines:
            await machine.connection.close()


async def find_leftovers(state: Path) -> tuple[Leftover, ...]:
    """What a killed daemon left on the hosts. Raises HostUnreachable or HostRefused."""
    machines = await _each_host(state)
    try:
        rows = await asyncio.gather(*(machine.find_marked() for machine in machines))
        return tuple(
            Leftover(part, pid, program, 0.0) for row in rows for pid, part, program in row
        )
    finally:
        for machine in machines:
            await machine.connection.close()
