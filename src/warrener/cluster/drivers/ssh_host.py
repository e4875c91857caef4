"""A host over SSH: what ``Host`` promises, asked of a POSIX shell there (``host_scripts``).

The host's folder is laid out like the state folder. Nodes outlive the connection, and the daemon:
``SshProcess`` follows one as long as there is a connection, and takes it up again after it broke.
"""

import asyncio
import contextlib
import signal
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from warrener.cluster.drivers import host_install, host_scripts, systemd
from warrener.cluster.drivers.host import MAX_OUTPUT, Process, Ran
from warrener.cluster.drivers.node_config import NodeFiles
from warrener.cluster.drivers.ssh_connection import Connection
from warrener.cluster.errors import ClusterError, HostUnreachable
from warrener.cluster.hosts import HostSpec
from warrener.facts.ids import NodeName

_COOKIE: Final = ".erlang.cookie"
_AGAIN: Final = 0.5  # s; after a script that follows a process was cut off


class SshHost:
    """``state`` is the state folder here, ``root`` the cluster's folder there; ``address`` is the
    host's IP address; ``manager`` the systemd that its nodes are units of, None: there is none."""

    look_every: Final = 0.4  # s; a script each

    def __init__(
        self,
        connection: Connection,
        *,
        state: Path,
        root: Path,
        address: str,
        cluster: str,
        manager: systemd.Manager | None = None,
    ) -> None:
        self.manager = manager
        self.connection = connection
        self.root = root
        self.address = address
        self.cluster = cluster
        self._state = state

    @property
    def spec(self) -> HostSpec:
        return self.connection.spec

    def path(self, local: Path) -> Path:
        return self.root / local.relative_to(self._state)

    def told(self, path: Path) -> Path:
        return Path(f"{self.connection.spec.host}:{path}")

    # -- files

    async def deliver(self, files: NodeFiles) -> None:
        folders = [self.root, *map(self.path, (files.home, files.folder, files.logs, files.tls))]
        await self._ask(host_scripts.make_folders([*folders, self.path(files.shared / "conf.d")]))
        own = [files.home / _COOKIE, files.plugins, files.shared / "rabbitmq-env.conf"]
        own += [path for path in files.folder.iterdir() if path.is_file()]
        own += (files.shared / "conf.d").glob("*.conf")
        own += files.tls.glob("*")
        for path in own:  # one after the other: a hundredth of a second each
            await self.deliver_file(path)

    async def deliver_file(self, local: Path) -> None:
        data = await asyncio.to_thread(local.read_bytes)
        mode = 0o400 if local.name == _COOKIE else 0o600
        await self.connection.put(host_scripts.put_command(self.path(local), mode), data)

    async def remove_file(self, local: Path) -> None:
        with contextlib.suppress(HostUnreachable):  # it is private, and its like replaces it
            await self._ask(host_scripts.remove(self.path(local)))

    async def has_data(self, files: NodeFiles, name: NodeName) -> bool:
        told = await self._ask(host_scripts.has_entries(self.path(files.data) / name))
        return told.strip() == "yes"

    async def remove_folder(self, local: Path) -> None:
        path = self.path(local)
        assert len(path.parts) > len(self.root.parts), "a folder of the cluster, not all of it"
        await self._ask(host_scripts.remove(path))

    async def remove_all(self) -> None:
        """The cluster's whole folder."""
        await self._ask(host_scripts.remove(self.root))

    async def tail(self, local: Path, offset: int, limit: int) -> tuple[int, str]:
        try:
            text = await self._ask(host_scripts.tail(self.path(local), offset, limit))
        except HostUnreachable:
            return 0, ""
        size, _, end = text.partition("\n")
        return int(size or 0), end

    async def read(self, paths: Sequence[Path]) -> Mapping[Path, str]:
        try:
            text = await self._ask(host_scripts.read_files(paths))
        except HostUnreachable:
            return {}
        lines: dict[Path, list[str]] = {}
        for line in text.splitlines():
            number, _, rest = line.partition(" ")
            if number:
                lines.setdefault(paths[int(number)], []).append(rest)
        return {path: "\n".join(found) for path, found in lines.items()}

    # -- processes

    async def spawn(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        output: Path,
    ) -> Process:
        await self._ask(host_scripts.make_folders([self.path(output).parent]))
        there = (arguments, environment, self.path(folder), self.path(output))
        if self.manager is None:
            text = host_scripts.spawn(*there)
        else:
            unit = systemd.unit_name(self.root.name, name)
            told = f"{name} of the Warrener cluster {self.root.name[:8]}, in {self.path(folder)}"
            text = systemd.spawn(self.manager, unit, told, *there)
        # Whatever becomes of us meanwhile, its pid is learned: else nobody would know of it.
        asking = asyncio.ensure_future(self._ask(text))
        try:
            pid = await asyncio.shield(asking)
        except asyncio.CancelledError:
            with contextlib.suppress(OSError, ClusterError, ValueError):
                await self._send(int(await asking), signal.SIGKILL)
            raise
        if not pid.strip().isdigit():
            raise OSError(f"{self.connection.name} didn't tell the process id of {name}: {pid!r}")
        return SshProcess(self, name, int(pid), self.path(output))

    async def run(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        output: Path,
        timeout: float,
    ) -> Ran:
        await self._ask(host_scripts.make_folders([self.path(output).parent]))
        text = host_scripts.run(arguments, environment, self.path(folder), self.path(output))
        lines: list[bytes] = []
        size = 0

        async def read() -> None:
            nonlocal size
            async with contextlib.aclosing(self.connection.follow(text)) as told:
                async for line in told:
                    if size <= MAX_OUTPUT:
                        lines.append(line)
                        size += len(line)

        try:
            async with asyncio.timeout(timeout):
                await read()
        except TimeoutError:
            await self._kill(lines)
            return Ran(None, "")
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.ensure_future(self._kill(lines)))
            raise
        match lines:
            case [_, status, *printed] if status.strip().isdigit():
                told = b"".join(printed).decode("utf-8", "replace")
                return Ran(as_returncode(int(status)), told)
        raise HostUnreachable(f"{self.connection.name} didn't tell how {arguments[0]} ended")

    async def install(self, able: host_install.Able) -> None:
        """RabbitMQ by the host's package manager. OSError with apt's reason. It isn't called off
        once it has begun, whatever becomes of the connection: half-unpacked packages help nobody.
        """
        text = host_install.install(able, self.root.parent)
        await self.connection.ask(text, timeout=host_install.TIMEOUT)

    async def _kill(self, lines: Sequence[bytes]) -> None:
        if lines and lines[0].strip().isdigit():
            with contextlib.suppress(OSError, ClusterError):
                await self._ask(host_scripts.kill_group(int(lines[0])))

    async def _send(self, pid: int, number: signal.Signals) -> None:
        await self._ask(host_scripts.send(pid, self.cluster, number))

    async def kill_marked(self, cluster: str, part: str | None = None) -> int:
        return int(await self._ask(host_scripts.kill_marked(cluster, part)) or 0)

    async def stop_marked(self, timeout: float) -> int:
        """Ends the cluster's processes on this host, nodes in order for ``timeout`` seconds; how
        many there were."""
        text = host_scripts.stop_marked(self.cluster, timeout)
        return int((await self.connection.ask(text, timeout=timeout + 30)).split()[-1])

    async def find_marked(self) -> list[tuple[int, str, str]]:
        """Pid, part and program of each process of the cluster on this host."""
        rows = []
        for line in (await self._ask(host_scripts.find_marked(self.cluster))).splitlines():
            pid, part, program = line.split(" ", 2)
            rows.append((int(pid), part, program))
        return rows

    # -- ports

    async def taken(self, ports: Collection[int]) -> list[int]:
        listening = await self._listeners()
        return [port for port in ports if port in listening]

    async def holder(self, port: int) -> str:
        inode = (await self._listeners()).get(port)
        if inode is None:
            return ""
        pid, _, program = (await self._ask(host_scripts.holder(inode))).strip().partition(" ")
        return f"{program} (pid {pid})" if program else ""

    async def _listeners(self) -> dict[int, int]:
        """The inode of whoever listens on a port at our address, or at any."""
        return listeners(await self._ask(host_scripts.LISTENERS), self.address)

    async def _ask(self, text: str) -> str:
        return (await self.connection.ask(text)).decode("utf-8", "replace")


def listeners(text: str, address: str) -> dict[int, int]:
    """Port -> inode of what ``host_scripts.LISTENERS`` prints, as far as it keeps one from
    listening on ``address`` (IPv4)."""
    ours = "".join(f"{int(part):02X}" for part in reversed(address.split(".")))
    found = {}
    for line in text.splitlines():
        local, _, inode = line.partition(" ")
        where, _, port = local.rpartition(":")
        at_any = set(where) == {"0"}
        if at_any or where == ours or where.endswith("FFFF0000" + ours):
            found[int(port, 16)] = int(inode or 0)
    return found


def as_returncode(status: int) -> int:
    """A shell's word on how a process ended, as Python says it."""
    return 128 - status if status > 128 else status


class SshProcess:
    """A process on a host, followed for as long as the host is reached."""

    def __init__(self, host: SshHost, name: str, pid: int, output: Path) -> None:
        self.name = name
        self.pid = pid
        self.exited = asyncio.Event()
        self.returncode: int | None = None
        self._host = host
        self._output = output
        self._state = ""
        self._sending: set[asyncio.Task[None]] = set()
        self._order = asyncio.Lock()
        self._follower = asyncio.create_task(self._follow(), name=f"follow:{name}")

    @property
    def vm_pid(self) -> int:
        """RabbitMQ's script execs into the Erlang VM."""
        return self.pid

    @property
    def frozen(self) -> bool:
        return self._state == "T"

    @property
    def reachable(self) -> bool:
        return self._host.connection.connected or self.exited.is_set()

    def send(self, number: signal.Signals) -> None:
        if self.exited.is_set():
            return
        task = asyncio.create_task(self._send(number), name=f"{number.name}:{self.name}")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, number: signal.Signals) -> None:
        async with self._order:
            with contextlib.suppress(OSError, ClusterError):
                await self._host._send(self.pid, number)

    async def wait(self, timeout: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self.exited.wait()
        return self.exited.is_set()

    def let_go(self) -> None:
        """It is no longer followed."""
        self._follower.cancel()

    async def _follow(self) -> None:
        connection = self._host.connection
        script = host_scripts.watch(self.pid, self._host.cluster, self._output)
        while not self.exited.is_set():
            await connection.wait_connected()
            with contextlib.suppress(HostUnreachable):
                async with contextlib.aclosing(connection.follow(script)) as lines:
                    async for line in lines:
                        self._heard(line.decode("ascii", "replace").strip())
            if not self.exited.is_set():
                await asyncio.sleep(_AGAIN)

    def _heard(self, line: str) -> None:
        word, _, status = line.partition(" ")
        if word == "ended":
            self.returncode = as_returncode(int(status)) if status.isdigit() else None
            self.exited.set()
        elif word == "gone":
            self.exited.set()
        elif line:
            self._state = line
