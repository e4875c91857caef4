"""Units of systemd, with a `systemd-run` that stands for it: it writes down what it is given, and
does with it what systemd does. The real one is in tests/integration/test_ssh.py."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from warrener.cluster.drivers import systemd
from warrener.cluster.drivers.host_scripts import BEGIN
from warrener.cluster.drivers.systemd import Manager, spawn, unit_name

RUN = r"""#!/usr/bin/env python3
import os, shlex, subprocess, sys

words = sys.argv[1:]
options, variables, command = [], {}, []
while words:
    word = words.pop(0)
    if not word.startswith("--"):
        command = [word, *words]
        break
    options.append(word)
    if word.startswith("--setenv="):
        name, _, value = word.removeprefix("--setenv=").partition("=")
        variables[name] = value
with open(os.environ["TOLD"], "a") as told:
    print(*options, sep="\n", file=told)
if os.environ.get("FAILS"):
    sys.exit("Failed to start transient service unit: no")
expand = lambda word: word.replace("$$", "$")
post = next(o for o in options if "=ExecStopPost=" in o).partition("=ExecStopPost=")[2]
if os.fork() == 0:
    os.setsid()
    if os.environ.get("LATE"):
        sys.exit(0)
    environment = os.environ | variables
    ended = subprocess.run([expand(word) for word in command], env=environment).returncode
    names = {-9: "KILL", -11: "SEGV", -34: "RTMIN"}
    code = {"EXIT_CODE": "exited" if ended >= 0 else "killed"}
    code["EXIT_STATUS"] = str(ended) if ended >= 0 else names[ended]
    with open(os.environ["TOLD"] + ".journal", "w") as journal:
        words = [expand(word) for word in shlex.split(post)]
        subprocess.run(words, env=environment | code, stdout=journal)
"""


class Host:
    """A PATH with the stand-ins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told = folder / "told"
        self.output = folder / "it's $HOME %n" / "n1.log"
        self.output.parent.mkdir()
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.tool("systemd-run", RUN)
        self.tool("systemctl", '#!/bin/sh\necho "systemctl $*" >>"$TOLD"\n')

    def tool(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def sh(self, text: str, **more: str) -> "subprocess.CompletedProcess[str]":
        path = f"{self.bin}:{os.environ['PATH']}"
        environment = {"PATH": path, "TOLD": str(self.told), **more}
        return subprocess.run(
            ["sh", "-s"], input=text, env=environment, capture_output=True, text=True, check=False
        )

    def spawn(self, *words: str, manager: Manager = Manager.SYSTEM) -> str:
        where = (self.folder, self.output)
        return spawn(manager, "warrener-x-n1.service", "n1 of it", words, {"A": "$B c'"}, *where)

    def exit_status(self) -> str:
        path = Path(f"{self.output}.exit")
        deadline = time.monotonic() + 20
        while not path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return path.read_text().strip()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_unit_has_its_command_as_it_was_given(host: Host) -> None:
    """Whatever systemd would expand in it; with its environment and no other."""
    done = host.sh(
        host.spawn("sh", "-c", 'echo "$$ $A $1"; env | grep -c .; exit 3', "x", "${Y} %")
    )
    assert done.returncode == 0, done.stderr
    pid = done.stdout.partition(BEGIN)[2].strip()
    assert host.exit_status() == "3"
    first, number = host.output.read_text().splitlines()
    assert first == f"{pid} $B c' ${{Y}} %"
    assert int(number) <= 3  # A, and what a shell adds
    assert (host.told.parent / "told.journal").read_text() == host.output.read_text()
    assert not Path(f"{host.output}.pid").exists()
    told = host.told.read_text().splitlines()
    assert told[0] == "systemctl stop warrener-x-n1.service"
    for option in (
        "--collect",
        "--unit=warrener-x-n1.service",
        "--property=Restart=no",
        "--property=KillMode=mixed",
        "--property=UMask=0077",
        f"--property=WorkingDirectory={host.folder}",
    ):
        assert option in told
    assert "--user" not in told


@pytest.mark.parametrize(
    ("signal", "status"), [("KILL", "137"), ("SEGV", "139"), ("RTMIN", "unknown")]
)
def test_how_it_was_ended_is_written_down(host: Host, signal: str, status: str) -> None:
    number = {"KILL": 9, "SEGV": 11, "RTMIN": 34}[signal]
    host.sh(host.spawn("sh", "-c", f"kill -{number} $$"))
    assert host.exit_status() == status


def test_the_users_own_manager_is_asked_for(host: Host) -> None:
    done = host.sh(host.spawn("true", manager=Manager.USER))
    assert done.returncode == 0, done.stderr
    told = host.told.read_text().splitlines()
    assert told[0] == "systemctl --user stop warrener-x-n1.service"
    assert told[1] == "--user"


def test_what_systemd_refuses_is_told(host: Host) -> None:
    done = host.sh(host.spawn("true"), FAILS="yes")
    assert done.returncode == 72
    assert "Failed to start transient service unit: no" in done.stderr


def looked(host: Host, **more: str) -> str:
    text = systemd.LOOK.replace("/run/systemd/system", str(host.folder))
    return host.sh(text.replace("/var/lib/systemd/linger", str(host.folder)), **more).stdout


def test_whose_systemd_can_be_used(host: Host) -> None:
    def systemctl(version: str, answer: str = "exit 0") -> None:
        text = f"#!/bin/sh\ncase $1 in --version) echo 'systemd {version}' ;; *) {answer} ;; esac\n"
        host.tool("systemctl", text)

    systemctl("252 (252.38-1~deb12u1)")
    host.tool("id", "#!/bin/sh\ncase $1 in -u) echo 0 ;; *) echo root ;; esac\n")
    assert looked(host) == "systemd system\n"
    systemctl("229")
    assert looked(host) == "no-systemd its systemd 229 is older than 236\n"
    systemctl("252", 'echo "Failed to connect to bus: No such file"; exit 1')
    assert looked(host) == (
        "no-systemd it doesn't answer: Failed to connect to bus: No such file\n"
    )
    systemctl("252")
    host.tool("id", "#!/bin/sh\ncase $1 in -u) echo 1000 ;; *) echo mq ;; esac\n")
    told = looked(host)
    assert told == ("no-systemd mq doesn't linger there (`loginctl enable-linger mq`, as root)\n")
    (host.folder / "mq").touch()
    assert looked(host) == "systemd user\n"
    (host.bin / "systemd-run").unlink()
    assert looked(host, PATH=f"{host.bin}:{no_systemd(host)}") == (
        "no-systemd it has no systemd-run\n"
    )


def no_systemd(host: Host) -> str:
    """The usual tools without systemd's."""
    folder = host.folder / "tools"
    folder.mkdir()
    for name in ("sh", "sed", "tr", "cat"):
        (folder / name).symlink_to(f"/usr/bin/{name}")
    return str(folder)


def test_units_are_called_after_cluster_and_part() -> None:
    assert unit_name("0123456789abcdef", "n1") == "warrener-01234567-n1.service"
