"""RabbitMQ installed on a host by the host's own package manager (apt), as programs for a POSIX
shell (``host_scripts``). Pure.

Only where the description says so (``install = true``), RabbitMQ is missing, and nothing else is in
the way on any host. The packaged service is kept from starting, now and at the next boot: while
packages are unpacked by ``policy-rc.d`` (Debian's own way to say it; one that is there stays as it
is), for good by masking its unit. Nodes of Warrener's have their own ports and don't mind one that
runs; its owner might.

What is installed stays: ``down --purge`` doesn't remove it.
"""

from enum import StrEnum
from pathlib import Path
from typing import Final

from warrener.cluster.drivers.host_scripts import script

PACKAGE: Final = "rabbitmq-server"
COMMAND: Final = f"apt-get install --no-install-recommends {PACKAGE}"
"""For people; what brings Erlang along."""

TIMEOUT: Final = 900.0
"""Seconds. Some 60 MB are fetched; a slow mirror, and another apt that is waited for."""

_LOCK: Final = 300  # s that apt waits for another one


class Able(StrEnum):
    """As whom packages can be installed on a host."""

    ROOT = "root"
    SUDO = "sudo"  # without a password
    NO = "no"
    NO_APT = "no-apt"


LOOK: Final = """\
if ! command -v apt-get >/dev/null 2>&1; then echo "install no-apt"
elif [ "$(id -u)" = 0 ]; then echo "install root"
elif sudo -n true 2>/dev/null; then echo "install sudo"
else echo "install no"
fi
"""
"""Prints ``install`` and as whom."""

_POLICY: Final = "/usr/sbin/policy-rc.d"

_OURS: Final = "Made by Warrener, while it installs RabbitMQ."
"""So that one that a reboot left behind isn't taken for the host's own."""

_INSTALL: Final = f"""\
export DEBIAN_FRONTEND=noninteractive
policy={_POLICY}
done_with() {{ [ -z "$made" ] || rm -f "$policy"; }}
trap "" HUP
made=
if [ ! -e "$policy" ] || grep -qF "{_OURS}" "$policy"; then
  made=yes
  printf "#!/bin/sh\\n# {_OURS}\\nexit 101\\n" >"$policy" && chmod 755 "$policy" || exit 73
fi
trap done_with EXIT
masked=
if [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; then
  case $(systemctl is-active {PACKAGE} 2>/dev/null) in
    active | activating) ;;
    *) systemctl mask --quiet {PACKAGE} && masked=yes ;;
  esac
fi
install() {{
  apt-get -y -q -o DPkg::Lock::Timeout={_LOCK} install --no-install-recommends {PACKAGE}
}}
install || {{ apt-get -q -o DPkg::Lock::Timeout={_LOCK} update && install; }} || {{
  status=$?
  [ -z "$masked" ] || systemctl unmask --quiet {PACKAGE}
  exit $status
}}
if [ -z "$masked" ] && command -v update-rc.d >/dev/null 2>&1; then
  update-rc.d {PACKAGE} disable || :
fi
"""
"""Run as root; in a session of its own, since a connection that breaks must not leave packages half
unpacked."""


def install(able: Able, folder: Path) -> str:
    """Installs it; what apt says is in FOLDER/install.log, its end is printed if it failed."""
    assert able in {Able.ROOT, Able.SUDO}
    return script(
        """\
mkdir -p -m 700 "$folder"
log=$folder/install.log
if [ "$as" = sudo ]; then set -- sudo -n sh -c "$program"; else set -- sh -c "$program"; fi
setsid "$@" </dev/null >"$log" 2>&1 &
wait $! && exit 0
grep -E '^(E|W|Err|dpkg)' "$log" | tail -n 5 >&2
exit 74
""",
        folder=folder,
        program=_INSTALL,
        **{"as": str(able)},
    )
