"""A real systemd as the first process of a host of ``lan``: in namespaces of its own (processes,
mounts, control groups, host name) beside the host's network, with sshd as one of its units.

Units come from a folder of the test's (``SYSTEMD_UNIT_PATH``), so nothing of what the machine would
boot is booted. ``/run`` is the host's own, and what it writes to ``/etc``, ``/usr/sbin`` and
``/var/lib`` goes to an overlay: nothing of it is left on the machine. The host's control groups
are below one that is made for it.
"""

import contextlib
import functools
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

USER: Final = "warrener"
UID: Final = 1977
HOME: Final = f"/home/{USER}"

_SYSTEMD: Final = "/lib/systemd/systemd"
_GROUPS: Final = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))

_BOOT: Final = f"""\
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/sshd /run/over
for path in etc usr/sbin var/lib; do
  mkdir -p "/run/over/$path" "/run/over/$path.work"
  mount -t overlay overlay -o "lowerdir=/$path,upperdir=/run/over/$path,workdir=/run/over/$path.work" \\
    "/$path"
done
rm -f /usr/sbin/policy-rc.d /etc/machine-id
echo 0123456789abcdef0123456789abcdef >/etc/machine-id
echo "{USER}:x:{UID}:{UID}::{HOME}:/bin/sh" >>/etc/passwd
mount -t tmpfs tmpfs /home
mkdir -p {HOME} /var/lib/systemd/linger
touch /var/lib/systemd/linger/{USER}
mount --bind "$FOLDER" {HOME}
mkdir -p /run/user
install -d -o {UID} -g {UID} -m 700 /run/user/{UID}
mount -t cgroup2 cgroup2 /sys/fs/cgroup
hostname "$NAME"
if [ -n "$BARE" ]; then
  mount -t tmpfs tmpfs /usr/lib/rabbitmq
  mount --bind "$FOLDER/apt-get" /usr/bin/apt-get
fi
export container=warrener-test SYSTEMD_UNIT_PATH="$FOLDER/units"
exec {_SYSTEMD} --system --unit=host.target --log-target=journal --log-level=info
"""  # noqa: E501

_UNITS: Final = {
    "host.target": "[Unit]\nDefaultDependencies=no\n"
    "Wants=systemd-journald.service sshd.service user.service\n",
    **{
        f"{name}.target": "[Unit]\nDefaultDependencies=no\n"
        for name in ("sysinit", "basic", "shutdown")
    },
    "systemd-journald.socket": "[Unit]\nDefaultDependencies=no\n[Socket]\n"
    "ListenDatagram=/run/systemd/journal/socket\nListenStream=/run/systemd/journal/stdout\n"
    "PassCredentials=yes\nPassSecurity=yes\n",
    "systemd-journald.service": "[Unit]\nDefaultDependencies=no\n"
    "Requires=systemd-journald.socket\nAfter=systemd-journald.socket\n"
    "[Service]\nType=notify\nExecStart=/lib/systemd/systemd-journald\nStandardOutput=null\n"
    "Sockets=systemd-journald.socket\nFileDescriptorStoreMax=4224\n",
    "user.service": f"[Service]\nType=notify\nUser={UID}\nExecStart={_SYSTEMD} --user\n"
    f"Delegate=yes\nEnvironment=HOME={HOME} XDG_RUNTIME_DIR=/run/user/{UID}\n",
}

_APT_GET: Final = """\
#!/bin/sh
# Stands for apt: RabbitMQ is hidden until it is "installed". What it saw is written down.
echo "$*" >>/run/apt.calls
case " $* " in *" install "*) ;; *) exit 0 ;; esac
/usr/sbin/policy-rc.d rabbitmq-server start; echo "policy $?" >>/run/apt.calls
echo "unit $(readlink /etc/systemd/system/rabbitmq-server.service)" >>/run/apt.calls
umount /usr/lib/rabbitmq
"""


@functools.cache
def why_no_systemd() -> str:
    """Why no host can have a systemd here; empty if it can."""
    for program in (_SYSTEMD, "systemd-run", "unshare", "nsenter"):
        if shutil.which(program) is None:
            return f"{program} is missing (tools/setup integration)"
    if _group_root() is None:
        return "no control groups (v2) that can be written to"
    return ""


def _group_root() -> Path | None:
    for path in _GROUPS:
        if (path / "cgroup.subtree_control").exists() and os.access(path / "cgroup.procs", os.W_OK):
            return path
    return None


@dataclass
class Systemd:
    """One host's. ``bare``: it has no RabbitMQ until its apt-get "installs" one."""

    name: str
    space: str
    folder: Path
    sshd: str
    bare: bool = False
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    _init: int = field(default=0, init=False)

    def boot(self) -> None:
        """sshd is started with it."""
        units = self.folder / "units"
        units.mkdir()
        for name, text in _UNITS.items():
            (units / name).write_text(text)
        (units / "sshd.service").write_text(f"[Service]\nExecStart={self.sshd}\n")
        (self.folder / "apt-get").write_text(_APT_GET)
        (self.folder / "apt-get").chmod(0o755)
        root = _group_root()
        assert root is not None
        self._group = root / f"warrener-{self.space}"
        self._group.mkdir()
        enter = f'echo $$ >{self._group}/cgroup.procs; exec "$@"'
        spaces = ["unshare", "--cgroup", "--mount", "--pid", "--fork", "--uts", "--ipc"]
        words = ["sh", "-c", enter, "sh", "ip", "netns", "exec", self.space, *spaces]
        with (self.folder / "systemd.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*words, "--mount-proc", "--kill-child", "sh", "-c", _BOOT],
                env={
                    "PATH": os.environ["PATH"],
                    "FOLDER": str(self.folder),
                    "NAME": self.name,
                    "BARE": "yes" if self.bare else "",
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._wait("it boots", lambda: self._found() and self.run("true", check=False) == "")
        self._wait("sshd runs", lambda: self.state("sshd.service") == "active")

    def _found(self) -> bool:
        assert self._process is not None
        below = psutil.Process(self._process.pid).children()
        if below and below[0].name() == "systemd":
            self._init = below[0].pid
        return bool(self._init)

    def _wait(self, what: str, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not done():
            if time.monotonic() > deadline:
                log = (self.folder / "systemd.log").read_text()
                raise AssertionError(f"{self.name}: not within 30 s: {what}\n{log}")
            time.sleep(0.05)

    def run(self, *words: str, check: bool = True) -> str:
        """A command on the host, as root."""
        done = subprocess.run(
            ["nsenter", "-t", str(self._init), "-a", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert not check or done.returncode == 0, f"{self.name}: {words}: {done}"
        return done.stdout

    def run_as_user(self, *words: str, check: bool = True) -> str:
        """A command on the host, as the user whose manager lingers."""
        environment = ["env", f"XDG_RUNTIME_DIR=/run/user/{UID}", f"HOME={HOME}"]
        user = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
        return self.run(*user, *environment, *words, check=check)

    def state(self, unit: str) -> str:
        return self.run("systemctl", "is-active", unit, check=False).strip()

    def start_sshd(self) -> None:
        self.run("systemctl", "start", "sshd.service")

    def stop_sshd(self) -> None:
        """With all that belongs to it: a node that it had started would end, too."""
        self.run("systemctl", "kill", "--signal=KILL", "sshd.service")
        self._wait("sshd ends", lambda: self.state("sshd.service") != "active")

    def pid_here(self, pid: int) -> int:
        """What the machine calls a process of the host's."""
        space = os.readlink(f"/proc/{self._init}/ns/pid")
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if not process.name.isdigit() or os.readlink(process / "ns/pid") != space:
                    continue
                lines = (process / "status").read_text().splitlines()
                known = next(line.split() for line in lines if line.startswith("NSpid:"))
                if int(known[-1]) == pid:
                    return int(process.name)
        raise ProcessLookupError(f"{self.name} has no process {pid}")

    def halt(self) -> None:
        """All of it ends at once, and nothing is left."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._init or self._process.pid, 9)
        self._process.wait(30)
        for turn in range(100):
            for folder in sorted(self._group.rglob("*"), key=lambda path: -len(path.parts)):
                if folder.is_dir():
                    with contextlib.suppress(OSError):
                        folder.rmdir()
            try:
                self._group.rmdir()
                return
            except OSError:
                if turn == 99:
                    raise
                time.sleep(0.05)
