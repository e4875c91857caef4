"""A stand-in for HAProxy: its runtime API, as far as Warrener uses it, on a real socket.

It reads the configuration that it is started with, and keeps what it is told.
"""

import asyncio
import re
import signal
import socket
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from warrener.balancer.haproxy.process import Launch
from warrener.control.state_folder import socket_address

_SERVER = re.compile(r"server (\S+) (\S+):(\d+) weight (\d+).*?( disabled)?$")


class FakeHaproxy:
    """One process. ``servers``: (backend, slot) -> [host, port, state, weight]."""

    def __init__(self, launch: Launch, pid: int, *, mute: bool = False) -> None:
        self.pid = pid
        self.exited = asyncio.Event()
        self.returncode: int | None = None
        self.told: list[str] = []
        self.traffic: dict[tuple[str, str], tuple[int, int, int, int, int]] = {}
        self.clients = (0, 0, 0, 0)  # open, total, bytes in, out
        self.deaf = False  # says yes and does nothing
        self.ignores_term = False
        self.servers: dict[tuple[str, str], list[str]] = {}
        self.names: dict[str, str] = {}
        self.files: dict[str, bytes] = {}  # of TLS, as given
        self.refuses = ""  # what it says to whoever commits a file
        self._given: dict[str, bytes] = {}
        self._read_config((launch.folder / "haproxy.cfg").read_text())
        self.policy = (launch.folder / "policy.map").read_text().split()[1]
        names = launch.folder / "names.map"
        if names.exists():
            self.names = dict(line.split() for line in names.read_text().splitlines())
        launch.output.write_text("[NOTICE] : began\n")
        self._output = launch.output
        self._server: asyncio.Task[asyncio.Server] | None = None
        if not mute:
            listener = socket.socket(socket.AF_UNIX)
            with socket_address(launch.folder / "runtime.sock") as address:
                listener.bind(address)
            self._server = asyncio.get_running_loop().create_task(
                asyncio.start_unix_server(self._serve, sock=listener)
            )

    def _read_config(self, text: str) -> None:
        backend = ""
        for line in text.splitlines():
            if line.startswith("backend "):
                backend = line.split()[1]
            elif match := _SERVER.search(line):
                slot, host, port, weight, disabled = match.groups()
                state = "maint" if disabled else "ready"
                self.servers[backend, slot] = [host, port, state, weight]

    # -- as a process

    def send(self, number: signal.Signals) -> None:
        if number is signal.SIGKILL or not self.ignores_term:
            self.die(-number)

    async def wait(self, timeout: float) -> bool:
        if self.returncode is None:
            return False
        await self.exited.wait()
        return True

    def die(self, code: int, said: str = "") -> None:
        if self.returncode is not None:
            return
        self.returncode = code
        if said:
            with self._output.open("a") as log:
                log.write(said)
        if self._server is not None and self._server.done():
            self._server.result().close()
        elif self._server is not None:
            self._server.add_done_callback(lambda task: task.result().close())
        self.exited.set()

    # -- as a runtime API

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode().rstrip("\n")
        if line.endswith(" <<"):
            payload = (await reader.readuntil(b"\n\n"))[:-1]
            self.told.append(line)
            self._given[line.split()[3]] = payload
            writer.write(b"Transaction created!\n\n")
            writer.close()
            return
        for command in line.split(";"):
            writer.write(self._answer(command).encode() + b"\n")
        writer.close()

    def _answer(self, command: str) -> str:
        match command.split():
            case ["show", "info"]:
                return f"Version: 2.6.12\nPid: {self.pid}\n"
            case ["show", "map", "policy.map"]:
                return f"0x1 policy {self.policy}\n"
            case ["show", "stat", "-1", "7", "-1"]:
                return self._stat()
            case ["show", "servers", "state"]:
                return self._states()
            case ["show", "map", "names.map"]:
                return "".join(f"0x1 {slot} {name}\n" for slot, name in self.names.items())
            case ["show", "ssl", _, file]:
                return _fingerprints(self.files.get(file, b""))
        self.told.append(command)
        if self.deaf:
            return ""
        match command.split():
            case ["set", "map", "policy.map", "policy", policy]:
                self.policy = policy
            case ["set", "server", spot, "addr", host, "port", port]:
                self._at(spot)[:2] = [host, port]
            case ["set", "server", spot, "weight", weight]:
                self._at(spot)[3] = weight
            case ["set", "server", spot, "state", state]:
                self._at(spot)[2] = state
            case ["set", "map", "names.map", slot, name]:
                self.names[slot] = name
            case ["abort", "ssl", _, file]:
                self._given.pop(file, None)
            case ["commit", "ssl", _, file]:
                if self.refuses:
                    return self.refuses
                self.files[file] = self._given.pop(file)
                return "Committing..\nSuccess!\n"
            case ["shutdown", "sessions", "server", spot]:
                self._at(spot)
            case _:
                return "Unknown command\n"
        return ""

    def _at(self, spot: str) -> list[str]:
        backend, _, slot = spot.partition("/")
        return self.servers[backend, slot]

    def _states(self) -> str:
        rows = [
            "1",
            "# be_id be_name srv_id srv_name srv_addr srv_admin_state srv_uweight srv_port",
        ]
        bits = {"ready": 4, "drain": 12, "maint": 5}  # all had been disabled in the file
        for (backend, slot), (host, port, state, weight) in self.servers.items():
            rows.append(f"3 {backend} 1 {slot} {host} {bits[state]} {weight} {port}")
        return "\n".join(rows) + "\n"

    def _stat(self) -> str:
        columns = "# pxname,svname,scur,stot,bin,bout,econ,wretr,wredis,dcon,-,"
        now, total, bytes_in, bytes_out = self.clients
        rows = [columns, f"amqp,FRONTEND,{now},{total},{bytes_in},{bytes_out},,,,0,-,"]
        for backend, slot in self.servers:
            one = self.traffic.get((backend, slot), (0, 0, 0, 0, 0))
            rows.append(f"{backend},{slot},{one[0]},{one[1]},{one[2]},{one[3]},{one[4]},0,0,,-,")
        return "\n".join(rows) + "\n"


def _fingerprints(pem: bytes) -> str:
    if not pem:
        return "Can't display: not found!\n"
    found = x509.load_pem_x509_certificates(pem)
    raw = [one.fingerprint(hashes.SHA1()).hex().upper() for one in found]
    return "".join(f"Status: Used\nSHA1 FingerPrint: {one}\nSubject: /CN=x\n" for one in raw)


class Launcher:
    """Starts them; ``all`` are those so far. ``next_dies`` of them end at once."""

    def __init__(self) -> None:
        self.all: list[FakeHaproxy] = []
        self.launches: list[Launch] = []
        self.next_dies = 0
        self.mute = False
        self.fails: OSError | None = None

    def __call__(self, launch: Launch) -> FakeHaproxy:
        if self.fails is not None:
            raise self.fails
        self.launches.append(launch)
        dies = self.next_dies > 0
        made = FakeHaproxy(launch, 100 + len(self.all), mute=dies or self.mute)
        if dies:
            self.next_dies -= 1
            made.die(1, "[NOTICE] : x\n[ALERT] : cannot do it\n")
        self.all.append(made)
        return made

    @property
    def running(self) -> FakeHaproxy:
        return self.all[-1]


def program(folder: Path) -> str:
    """Something that can be found."""
    path = folder / "haproxy"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)
