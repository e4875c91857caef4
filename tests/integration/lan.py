"""Hosts of one's own: network namespaces on a bridge, each with an address and an sshd.

    10.77.0.1 to .9   hosts          10.77.0.10   where Warrener, its balancer and the clients are

Nothing of it is seen by the machine itself, or by another ``Lan`` at the same time (names have a
random part, and the bridge is in a namespace of its own); and nothing is left of it: namespaces,
interfaces and processes end with the ``with``. The hosts share the machine's files and its process
numbers; each has a folder of its own. ``partition`` cuts hosts off from one another by nftables, in
both directions, as a broken switch does: packets vanish, nobody is told.
"""

import contextlib
import ctypes
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from tests.integration import systemd_host
from tests.integration.systemd_host import Systemd

CLIENT = "client"
NET = 77
_CLONE_NEWNET = 0x40000000


def why_not() -> str:
    """Why there can't be hosts here; empty if there can."""
    if os.geteuid() != 0:
        return "network namespaces take root"
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    for program in ("ip", "nft", "sshd", "ssh-keygen"):
        if shutil.which(program, path=path) is None:
            return f"{program} is missing (tools/setup integration)"
    name = f"wr{secrets.token_hex(3)}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"no network namespace can be made: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", name], check=False)
    return ""


@dataclass(frozen=True)
class Machine:
    """One host."""

    name: str  # n1
    address: str
    space: str
    folder: Path
    port: int = 22
    user: str = ""  # empty: root
    systemd: Systemd | None = None  # it was booted with one

    def pid_here(self, pid: int) -> int:
        """What this machine calls one of its processes."""
        return pid if self.systemd is None else self.systemd.pid_here(pid)

    def run(self, *words: str, text: str = "") -> str:
        """A command in its network, to its end."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.space, *words],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, f"{self.name}: {words}: {done.stdout}{done.stderr}"
        return done.stdout

    def table(self) -> str:
        """Its ``[[node]]``."""
        return (
            f'[[node]]\nname = "{self.name}"\nhost = "{self.address}"\ndriver = "ssh"\n'
            f'folder = "{systemd_host.HOME if self.user else self.folder}"\nport = {self.port}\n'
            + (f'user = "{self.user}"\n' if self.user else "")
            + ("install = true\n" if self.systemd is not None and self.systemd.bare else "")
            + "\n"
        )


class Lan:
    """See the module."""

    def __init__(
        self, folder: Path, hosts: int = 3, systemd: Mapping[str, str] | None = None
    ) -> None:
        """``systemd``: hosts that are booted with one, and who logs in there: ``root``, ``user``,
        or ``bare`` for root where RabbitMQ is missing until it is installed."""
        assert 1 <= hosts <= 9, "the addresses below the clients'"
        self.folder = folder
        self.token = secrets.token_hex(2)
        self.key = folder / "key"
        self.known_hosts = folder / "known_hosts"
        self.machines = [
            self._machine(n, (systemd or {}).get(f"n{n}", "")) for n in range(1, hosts + 1)
        ]
        self.members = self.machines  # those that a description names by default
        self.client = f"10.{NET}.0.10"
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def _machine(self, number: int, systemd: str) -> Machine:
        name, folder = f"n{number}", self.folder / f"h{number}"
        space = self._space(f"h{number}")
        booted = None
        if systemd and not systemd_host.why_no_systemd():
            sshd = f"{_sshd()} -D -e -f {folder / 'sshd_config'}"
            booted = Systemd(name, space, folder, sshd, bare=systemd == "bare")
        user = systemd_host.USER if booted is not None and systemd == "user" else ""
        return Machine(name, f"10.{NET}.0.{number}", space, folder, user=user, systemd=booted)

    def _space(self, name: str) -> str:
        return f"wr{self.token}-{name}"

    # -- life

    def make(self) -> None:
        """Everything is there afterwards."""
        self.folder.mkdir(parents=True, exist_ok=True)
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        _keygen(self.key)
        hub = self._space("hub")
        _ip("netns", "add", hub)
        _ip("-n", hub, "link", "add", "br0", "type", "bridge")
        _ip("-n", hub, "link", "set", "br0", "up")
        for machine in self.machines:
            self._join(machine.space, machine.address)
            machine.folder.mkdir()
            _keygen(machine.folder / "host_key")
            self._configure_sshd(machine)
            if machine.systemd is None:
                self.start_sshd(machine)
        for booted in self._booted():
            booted.boot()
        self._join(self._space(CLIENT), self.client)
        self.trust(self.machines)

    def _join(self, space: str, address: str) -> None:
        hub = self._space("hub")
        port = f"p{address.rpartition('.')[2]}"
        _ip("netns", "add", space)
        _ip("-n", space, "link", "set", "lo", "up")
        _ip("-n", space, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", hub)
        _ip("-n", hub, "link", "set", port, "master", "br0", "up")
        _ip("-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
        _ip("-n", space, "link", "set", "eth0", "up")

    def _booted(self) -> list[Systemd]:
        return [machine.systemd for machine in self.machines if machine.systemd is not None]

    def unmake(self) -> None:
        """Nothing is left of it."""
        for booted in self._booted():
            booted.halt()
        for name in list(self._daemons):
            self.stop_sshd(next(one for one in self.machines if one.name == name))
        listed = subprocess.run(
            ["ip", "netns", "list"], capture_output=True, text=True, check=True
        ).stdout
        for line in listed.splitlines():
            space = line.split()[0]
            if space.startswith(f"wr{self.token}-"):
                pids = subprocess.run(
                    ["ip", "netns", "pids", space], capture_output=True, text=True, check=False
                ).stdout.split()
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), 9)
                _ip("netns", "del", space)

    @contextlib.contextmanager
    def at_client(self) -> Iterator[None]:
        """This thread, and all that it starts, is where the clients are."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/self/ns/net") as ours, open(f"/run/netns/{self._space(CLIENT)}") as there:
            assert libc.setns(there.fileno(), _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert libc.setns(ours.fileno(), _CLONE_NEWNET) == 0

    # -- ssh

    def _configure_sshd(self, machine: Machine) -> None:
        keys = Path(f"{self.key}.pub")
        if machine.user:  # who can't read what is in our folders
            shutil.copy(keys, machine.folder / "authorized_keys")
            os.chown(machine.folder, systemd_host.UID, systemd_host.UID)
            keys = Path(systemd_host.HOME) / "authorized_keys"
        (machine.folder / "sshd_config").write_text(
            f"Port {machine.port}\nListenAddress {machine.address}\n"
            f"HostKey {machine.folder / 'host_key'}\nAuthorizedKeysFile {keys}\n"
            "PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
        )

    def start_sshd(self, machine: Machine) -> None:
        """With the key that is in its folder."""
        if machine.systemd is not None:
            machine.systemd.start_sshd()
            return
        config = machine.folder / "sshd_config"
        with (machine.folder / "sshd.log").open("ab") as log:
            self._daemons[machine.name] = subprocess.Popen(
                ["ip", "netns", "exec", machine.space, _sshd(), "-D", "-e", "-f", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop_sshd(self, machine: Machine, *, connections: bool = True) -> None:
        """Nobody can log in any more; connections are cut off as well. Nodes stay."""
        if machine.systemd is not None:
            machine.systemd.stop_sshd()
            return
        daemon = self._daemons.pop(machine.name)
        if connections:
            for pid in _children(daemon.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
        daemon.kill()
        daemon.wait()

    def trust(self, machines: Sequence[Machine]) -> None:
        """The hosts' keys are known from here on, and no others."""
        lines = []
        for machine in machines:
            key = (machine.folder / "host_key.pub").read_text().split()
            where = machine.address if machine.port == 22 else f"[{machine.address}]:{machine.port}"
            lines.append(f"{where} {key[0]} {key[1]}\n")
        self.known_hosts.write_text("".join(lines))

    def new_host_key(self, machine: Machine) -> None:
        """As if it had been set up anew; sshd has to be started again."""
        for path in machine.folder.glob("host_key*"):
            path.unlink()
        _keygen(machine.folder / "host_key")

    # -- the network

    @contextlib.contextmanager
    def partition(self, machine: Machine, others: Sequence[str]) -> Iterator[None]:
        """Nothing gets from the machine to these addresses, or back."""
        hook = "type filter hook"
        them = f"{{ {', '.join(others)} }}"
        machine.run(
            "nft",
            "-f",
            "-",
            text=(
                "table inet cut {\n"
                f"chain in {{ {hook} input priority 0; ip saddr {them} drop; }}\n"
                f"chain out {{ {hook} output priority 0; ip daddr {them} drop; }}\n}}\n"
            ),
        )
        try:
            yield
        finally:
            machine.run("nft", "delete", "table", "inet", "cut")

    # -- warrener.toml

    def description(self, machines: Sequence[Machine] | None = None, more: str = "") -> str:
        """The cluster on these machines."""
        chosen = self.members if machines is None else machines
        common = f'[ssh]\nuser = "root"\nkey = "{self.key}"\nknown_hosts = "{self.known_hosts}"\n\n'
        return more + common + "".join(machine.table() for machine in chosen)


@contextlib.contextmanager
def lan(folder: Path, hosts: int = 3, systemd: Mapping[str, str] | None = None) -> Iterator[Lan]:
    """Hosts, until the block ends; ``Lan`` says what can be asked for."""
    made = Lan(folder, hosts, systemd)
    try:
        made.make()
        yield made
    finally:
        made.unmake()


def _sshd() -> str:
    return str(shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin"))


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


def _keygen(path: Path) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)], check=True
    )


def _children(pid: int) -> list[int]:
    """All below a process, nodes excepted: those have sessions of their own, under no sshd."""
    with contextlib.suppress(psutil.Error):
        return [one.pid for one in psutil.Process(pid).children(recursive=True)]
    return []
