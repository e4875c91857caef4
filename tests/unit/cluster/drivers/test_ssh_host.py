"""A host over SSH: asyncssh's own server on loopback, which starts real shells."""

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import asyncssh
import pytest
import pytest_asyncio

from warrener.cluster.drivers import ssh_connection
from warrener.cluster.drivers.cpu_share import Here, cpu_share
from warrener.cluster.drivers.marks import mark
from warrener.cluster.drivers.node_config import node_files
from warrener.cluster.drivers.private_files import PrivateFiles
from warrener.cluster.drivers.processes import kill_marked, marked
from warrener.cluster.drivers.ssh_connection import Connection
from warrener.cluster.drivers.ssh_host import SshHost
from warrener.cluster.errors import HostRefused, HostUnreachable
from warrener.cluster.hosts import HostSpec
from warrener.facts.happenings import Event
from warrener.facts.ids import NodeName

N1 = NodeName("n1@127.0.0.1")


async def serve(process: "asyncssh.SSHServerProcess[bytes]") -> None:
    """Runs a command as sshd does: by the user's shell, which says a word first."""
    shell = await asyncio.create_subprocess_shell(
        f"echo 'welcome!'; {process.command}",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )

    async def take() -> None:
        assert shell.stdin is not None
        with contextlib.suppress(OSError, asyncssh.Error):
            while data := await process.stdin.read(65536):
                shell.stdin.write(data)
                await shell.stdin.drain()
        shell.stdin.close()

    async def give() -> None:
        assert shell.stdout is not None
        while data := await shell.stdout.read(65536):
            with contextlib.suppress(OSError, asyncssh.Error):
                process.stdout.write(data)

    taking = asyncio.create_task(take())
    await give()
    process.exit(await shell.wait())
    taking.cancel()


@dataclass
class Server:
    """sshd's stand-in: a real SSH server, and what a client needs to know of it."""

    folder: Path
    host_key: asyncssh.SSHKey
    port: int = 0
    acceptor: asyncssh.SSHAcceptor | None = None
    connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)

    async def start(self) -> None:
        self.acceptor = await asyncssh.listen(
            "127.0.0.1",
            self.port,
            server_host_keys=[self.host_key],
            authorized_client_keys=str(self.folder / "key.pub"),
            process_factory=serve,
            acceptor=self.connections.append,
            encoding=None,
        )
        self.port = self.acceptor.get_port()

    async def stop(self) -> None:
        """Cuts every connection off."""
        assert self.acceptor is not None
        self.acceptor.close()
        for connection in self.connections:
            connection.abort()
        self.connections.clear()
        await self.acceptor.wait_closed()

    def trusted(self, key: asyncssh.SSHKey) -> None:
        line = f"[127.0.0.1]:{self.port} {key.export_public_key().decode()}"
        (self.folder / "known_hosts").write_text(line)

    @property
    def spec(self) -> HostSpec:
        return HostSpec(
            N1,
            "127.0.0.1",
            user="anybody",
            key=str(self.folder / "key"),
            known_hosts=str(self.folder / "known_hosts"),
            port=self.port,
        )


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(tmp_path / "key")
    key.write_public_key(tmp_path / "key.pub")
    server = Server(tmp_path, asyncssh.generate_private_key("ssh-ed25519"))
    await server.start()
    server.trusted(server.host_key)
    try:
        yield server
    finally:
        await server.stop()


@dataclass
class Far:
    """A host that is connected to."""

    host: SshHost
    state: Path
    events: list[Event]

    def environment(self, part: str = "n1") -> dict[str, str]:
        return {"PATH": os.environ["PATH"], **mark(self.host.cluster, part)}


@pytest_asyncio.fixture
async def far(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Far]:
    monkeypatch.setattr(ssh_connection, "FIRST_PAUSE", 0.02)
    events: list[Event] = []
    connection = Connection(server.spec, events.append)
    await connection.open()
    state = tmp_path / "state"
    files = PrivateFiles(state)
    files.prepare()
    files.prepare_cookie()
    host = SshHost(
        connection,
        state=state,
        root=tmp_path / "far" / "folder",
        address="127.0.0.1",
        cluster=secrets.token_hex(8),
    )
    try:
        yield Far(host, state, events)
    finally:
        await connection.close()
        kill_marked(host.cluster)


async def until(event: asyncio.Event) -> None:
    async with asyncio.timeout(20):
        await event.wait()


async def test_what_a_node_reads_is_delivered_private(far: Far) -> None:
    files = node_files(far.state, N1)
    files.folder.mkdir()
    files.config.write_text("password = secret\n" * 1000)
    files.plugins.write_text("[].\n")
    (far.state / "rabbitmq-env.conf").write_text("")
    await far.host.deliver(files)
    there = node_files(far.host.path(far.state), N1)
    for path, mode in ((there.config, 0o600), (there.home / ".erlang.cookie", 0o400)):
        assert path.stat().st_mode & 0o777 == mode
    assert there.config.read_text() == files.config.read_text()
    assert (there.home / ".erlang.cookie").read_text() == (
        files.home / ".erlang.cookie"
    ).read_text()
    assert there.logs.stat().st_mode & 0o777 == 0o700
    assert (there.shared / "rabbitmq-env.conf").read_bytes() == b""
    assert not await far.host.has_data(files, N1)
    (there.data / N1).mkdir(parents=True)
    (there.data / N1 / "x").touch()
    assert await far.host.has_data(files, N1)
    await far.host.remove_folder(files.data)
    assert not there.data.exists()
    there.log.write_text("starting\n")
    assert await far.host.tail(files.log, 0, 100) == (9, "starting\n")
    await far.host.remove_all()
    assert not there.shared.exists()


async def test_a_process_is_followed_from_start_to_end(far: Far) -> None:
    process = await far.host.spawn(
        "n1",
        ["sleep", "60"],
        environment=far.environment(),
        folder=far.state,
        output=far.state / "nodes" / "out",
    )
    assert process.pid in {one.pid for one in marked(far.host.cluster)}
    process.send(signal.SIGSTOP)
    async with asyncio.timeout(10):
        while not process.frozen:  # noqa: ASYNC110  another process has to say so
            await asyncio.sleep(0.01)
    process.send(signal.SIGTERM)
    process.send(signal.SIGCONT)
    await until(process.exited)
    assert process.returncode == -signal.SIGTERM
    assert await process.wait(0)


async def test_a_process_outlives_the_connection(far: Far, server: Server) -> None:
    process = await far.host.spawn(
        "n1",
        ["sleep", "60"],
        environment=far.environment(),
        folder=far.state,
        output=far.state / "nodes" / "out",
    )
    await server.stop()
    async with asyncio.timeout(10):
        while process.reachable:  # noqa: ASYNC110  the network has to say so
            await asyncio.sleep(0.01)
    assert not process.exited.is_set()
    with pytest.raises(HostUnreachable, match=r"n1 \(127\.0\.0\.1\) is not reached over SSH"):
        await far.host.taken([1])
    os.kill(process.pid, signal.SIGKILL)  # nobody sees it
    await server.start()
    async with asyncio.timeout(20):
        await far.host.connection.wait_connected()
    await until(process.exited)
    assert process.returncode == -signal.SIGKILL
    assert [event.kind for event in far.events] == ["host.unreachable", "host.reachable"]


async def test_small_files_and_the_share_of_a_process(far: Far, tmp_path: Path) -> None:
    there = tmp_path / "small"
    there.write_text("one\n\ntwo\n")
    assert await far.host.read([tmp_path / "none", there]) == {there: "one\n\ntwo"}
    share = await cpu_share(far.host, os.getpid())
    assert share == await cpu_share(Here(), os.getpid())
    assert share is not None


async def test_a_tool_and_what_it_says(far: Far) -> None:
    (far.state / "log").mkdir()
    output = far.state / "log" / "tool.log"
    ran = await far.host.run(
        ["sh", "-c", "echo $0; exit 69", "hello"],
        environment=far.environment("n1-tool"),
        folder=far.state,
        output=output,
        timeout=20,
    )
    assert (ran.returncode, ran.text) == (69, "hello\n")
    assert far.host.path(output).read_text() == "hello\n"


async def test_a_tool_that_takes_too_long_or_is_called_off_is_ended(far: Far) -> None:
    async def run(timeout: float) -> object:
        return await far.host.run(
            ["sh", "-c", "sleep 60; :"],
            environment=far.environment("n1-tool"),
            folder=far.state,
            output=far.state / "tool.log",
            timeout=timeout,
        )

    ran = await run(0.5)
    assert ran == replace(ran, returncode=None)  # type: ignore[type-var]
    assert marked(far.host.cluster) == []
    running = asyncio.create_task(run(60))
    async with asyncio.timeout(20):
        while not marked(far.host.cluster):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    async with asyncio.timeout(10):
        while marked(far.host.cluster):  # noqa: ASYNC110  the kernel, a moment later
            await asyncio.sleep(0.01)


async def test_an_unknown_host_key_is_refused_with_its_fingerprint(server: Server) -> None:
    (server.folder / "known_hosts").unlink()
    with pytest.raises(HostRefused) as caught:
        await Connection(server.spec, lambda _: None).open()
    text = str(caught.value)
    assert text.startswith("the host key of n1 (127.0.0.1) is not known: ssh-ed25519 SHA256:")
    assert server.host_key.get_fingerprint() in text
    assert f"ssh-keyscan -p {server.port} 127.0.0.1 >> " in text


async def test_a_changed_host_key_is_refused_with_both(server: Server) -> None:
    before = asyncssh.generate_private_key("ssh-ed25519")
    server.trusted(before)
    with pytest.raises(HostRefused, match="has CHANGED") as caught:
        await Connection(server.spec, lambda _: None).open()
    assert before.get_fingerprint() in str(caught.value)
    assert server.host_key.get_fingerprint() in str(caught.value)
    assert f"ssh-keygen -R '[127.0.0.1]:{server.port}'" in str(caught.value)


async def test_a_key_that_is_not_let_in(server: Server, tmp_path: Path) -> None:
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "other")
    spec = replace(server.spec, key=str(tmp_path / "other"))
    with pytest.raises(HostRefused, match=r"doesn't let anybody in with the key .*other"):
        await Connection(spec, lambda _: None).open()


async def test_keys_that_can_not_be_used(server: Server, tmp_path: Path) -> None:
    with pytest.raises(HostRefused, match=r"the key for n1 .* is missing"):
        await Connection(replace(server.spec, key=str(tmp_path / "no")), lambda _: None).open()
    locked = asyncssh.generate_private_key("ssh-ed25519")
    locked.write_private_key(tmp_path / "locked", "pkcs8-pem", passphrase="secret")
    with pytest.raises(HostRefused, match="ssh-add"):
        await Connection(replace(server.spec, key=str(tmp_path / "locked")), lambda _: None).open()


async def test_a_host_that_is_not_there(server: Server) -> None:
    await server.stop()
    with pytest.raises(HostUnreachable, match=r"127\.0\.0\.1, port \d+: Connection refused"):
        await Connection(server.spec, lambda _: None).open()
