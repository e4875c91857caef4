"""What a host's RabbitMQ knows of configuration, brought here once for each version."""

import asyncio
from pathlib import Path
from typing import Final

from warrener.cluster.drivers import host_scripts
from warrener.cluster.drivers.ssh_connection import Connection
from warrener.cluster.errors import HostUnreachable

_TIMEOUT: Final = 120.0


async def fetch(connection: Connection, root: Path, folder: Path) -> None:
    """From the installation at ``root`` there into ``folder``, unless it is here already. Raises
    HostUnreachable or OSError."""
    if (folder / "plugins").is_dir():
        return
    data = await connection.ask(host_scripts.schema_files(root), timeout=_TIMEOUT)
    await asyncio.to_thread(unpack, data, folder)


def unpack(data: bytes, folder: Path) -> None:
    """What ``host_scripts.schema_files`` printed, as files below ``folder``/plugins."""
    new = folder.with_name(f"{folder.name}.new")
    plugins = new / "plugins"
    plugins.mkdir(mode=0o700, parents=True, exist_ok=True)
    at = 0
    while at < len(data):
        end = data.index(b"\n", at)
        size, _, name = data[at:end].decode("utf-8").partition(" ")
        path = plugins / name
        if ".." in path.parts or name.startswith("/"):
            raise HostUnreachable(f"a host names a file {name!r} of its RabbitMQ")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        at = end + 1 + int(size)
        path.write_bytes(data[end + 1 : at])
    new.replace(folder)
