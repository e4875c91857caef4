"""HAProxy as a process: its port, its files, its start and its end."""

import errno
import socket
from pathlib import Path

import pytest
from tests.unit.balancer.haproxy.fake import Launcher

from warrener.balancer.haproxy import process as module
from warrener.balancer.haproxy.process import HaproxyProcess
from warrener.balancer.haproxy.program import HaproxyError

LOOPBACK = "127.0.0.1"


@pytest.fixture
def launcher() -> Launcher:
    return Launcher()


@pytest.fixture
def haproxy(tmp_path: Path, launcher: Launcher) -> HaproxyProcess:
    return HaproxyProcess(
        "/usr/sbin/haproxy",
        tmp_path / "haproxy",
        tmp_path / "haproxy.log",
        launcher,
        lambda listening: {
            "haproxy.cfg": f"# {list(listening.plain)} {list(listening.tls)}\n",
            "policy.map": "policy p2c\n",
            "secret.pem": b"secret",
            "link.pem": tmp_path / "there.pem",
        },
    )


async def test_a_port_is_taken_before_haproxy_runs_but_not_listened_on(
    haproxy: HaproxyProcess,
) -> None:
    host, port = await haproxy.bind(LOOPBACK, 0)
    assert host == LOOPBACK
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((LOOPBACK, port))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOOPBACK, port), 1)
    await haproxy.close()
    with socket.socket() as other:
        other.bind((LOOPBACK, port))


async def test_all_addresses_of_a_name_get_the_same_port(
    haproxy: HaproxyProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def two(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
        assert (host, port) == ("name", 0)
        return [(socket.AF_INET, (address, 0)) for address in (LOOPBACK, "127.0.0.2")]

    monkeypatch.setattr(module, "_addresses", two)
    _, port = await haproxy.bind("name", 0)
    assert [bound.getsockname() for bound in haproxy._sockets] == [
        (LOOPBACK, port),
        ("127.0.0.2", port),
    ]
    await haproxy.close()


async def test_a_port_that_is_taken(haproxy: HaproxyProcess) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        with pytest.raises(OSError) as caught:
            await haproxy.bind(LOOPBACK, taken.getsockname()[1])
        assert caught.value.errno == errno.EADDRINUSE


async def test_it_inherits_the_port_and_has_private_files(
    haproxy: HaproxyProcess, launcher: Launcher, tmp_path: Path
) -> None:
    await haproxy.bind(LOOPBACK, 0)
    info = await haproxy.start()
    assert (info.version, info.pid, haproxy.info) == ("2.6.12", 100, info)
    launch = launcher.launches[0]
    assert launch.arguments == ("/usr/sbin/haproxy", "-db", "-f", "haproxy.cfg")
    config = tmp_path / "haproxy" / "haproxy.cfg"
    assert config.read_text() == f"# {list(launch.descriptors)} []\n"
    assert (config.parent / "link.pem").readlink() == tmp_path / "there.pem"
    private = (config.parent, config, config.parent / "secret.pem")
    assert [path.stat().st_mode & 0o777 for path in private] == [0o700, 0o600, 0o600]
    await haproxy.close()
    assert not config.parent.exists()
    assert launcher.running.returncode == -15


async def test_a_port_with_tls_and_one_without(haproxy: HaproxyProcess, launcher: Launcher) -> None:
    """Each any free one; which is which goes by their descriptors."""
    first = await haproxy.bind(LOOPBACK, 0, tls=True)
    second = await haproxy.bind(LOOPBACK, 0)
    assert first != second
    await haproxy.start()
    tls, plain = launcher.launches[0].descriptors
    config = launcher.launches[0].folder / "haproxy.cfg"
    assert config.read_text() == f"# [{plain}] [{tls}]\n"
    with socket.socket(fileno=socket.dup(tls)) as one:
        assert one.getsockname() == first
    with socket.create_server((LOOPBACK, 0)) as taken, pytest.raises(OSError, match="in use"):
        await haproxy.bind(LOOPBACK, taken.getsockname()[1])
    await haproxy.close()


async def test_it_is_killed_if_it_does_not_end(haproxy: HaproxyProcess, launcher: Launcher) -> None:
    await haproxy.start()
    launcher.running.ignores_term = True
    await haproxy.close()
    assert launcher.running.returncode == -9


async def test_one_that_ends_at_once_is_told_in_its_own_words(
    haproxy: HaproxyProcess, launcher: Launcher
) -> None:
    launcher.next_dies = 1
    with pytest.raises(HaproxyError, match=r"ended with exit status 1: \[ALERT\] : cannot do it$"):
        await haproxy.start()
    assert haproxy.info is None


async def test_one_that_cannot_be_run(haproxy: HaproxyProcess, launcher: Launcher) -> None:
    launcher.fails = PermissionError(errno.EACCES, "Permission denied")
    with pytest.raises(HaproxyError, match="can't be run: Permission denied"):
        await haproxy.start()


async def test_one_that_never_answers_is_ended(
    haproxy: HaproxyProcess, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "START_TIMEOUT", 0.05)
    launcher.mute = True
    with pytest.raises(HaproxyError, match=r"doesn't answer on its socket after 0\.05 s"):
        await haproxy.start()
    assert launcher.running.returncode == -15


async def test_what_the_one_before_said_is_kept(
    haproxy: HaproxyProcess, launcher: Launcher, tmp_path: Path
) -> None:
    await haproxy.start()
    launcher.running.die(1, "its last words\n")
    assert await haproxy.wait_ended() == 1
    await haproxy.start()
    assert (tmp_path / "haproxy.log.1").read_text().endswith("its last words\n")
    assert haproxy.last_words() == "[NOTICE] : began"
    await haproxy.close()
