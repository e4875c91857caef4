"""A node as a unit of its host's systemd, as programs for a POSIX shell (``host_scripts``). Pure.

    root          the system's own manager
    anybody else  the user's (``systemctl --user``), if that lingers: else it ends with the login,
                  and everything that it runs

Units are transient (``systemd-run``): there is no file to be written, reloaded, and left behind. A
unit is there from the process's start until its end, and is forgotten then however that was
(``--collect``). It has ``Restart=no``, so one party alone starts a node: Warrener, which knows what
a start takes (data that is there, peers that run, a new certificate). Its end is seen as without
systemd, by the file with the exit status; here ``ExecStopPost`` writes it, and puts the end of what
the process printed into the journal.

Whatever systemd would expand in a command ($) is doubled; values travel as one word each.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

from warrener.cluster.drivers.host_scripts import environment_of, quoted, script

STOP_SECONDS: Final = 60
"""What a node gets to stop in order when its host is shut down, as ``systemctl stop`` of the unit.
Warrener itself signals the process, and waits as long as it does without systemd."""

OPEN_FILES: Final = 65_536
"""As Debian's own unit of RabbitMQ has it: systemd's usual limit of 1,024 is 500 connections."""

NEEDED: Final = 236
"""The version of systemd that has ``--collect``."""


class Manager(StrEnum):
    """Whose systemd runs the units."""

    SYSTEM = "system"
    USER = "user"


LOOK: Final = f"""\
why_no_systemd() {{
  [ -d /run/systemd/system ] || {{ echo "it was not booted with systemd"; return; }}
  for tool in systemctl systemd-run; do
    command -v $tool >/dev/null 2>&1 || {{ echo "it has no $tool"; return; }}
  done
  version=$(systemctl --version | sed -n '1s/^systemd \\([0-9]*\\).*/\\1/p')
  [ "${{version:-0}}" -ge {NEEDED} ] || {{ echo "its systemd $version is older than {NEEDED}"; return; }}
  manager=
  if [ "$(id -u)" != 0 ]; then
    [ -e "/var/lib/systemd/linger/$(id -un)" ] || {{
      echo "$(id -un) doesn't linger there (\\`loginctl enable-linger $(id -un)\\`, as root)"
      return
    }}
    export XDG_RUNTIME_DIR="${{XDG_RUNTIME_DIR:-/run/user/$(id -u)}}"
    manager=--user
  fi
  answer=$(systemctl $manager show --property=Version 2>&1) || echo "it doesn't answer: $answer"
}}
why=$(why_no_systemd | tr '\\n' ' ')
case $why in
  ?*) echo "no-systemd ${{why% }}" ;;
  *) if [ "$(id -u)" = 0 ]; then echo "systemd system"; else echo "systemd user"; fi ;;
esac
"""  # noqa: E501
"""Prints ``systemd MANAGER``, or ``no-systemd WHY``."""


def unit_name(cluster: str, part: str) -> str:
    """The unit of a part (``n1``, ``epmd``) of the cluster with this id."""
    return f"warrener-{cluster[:8]}-{part}.service"


_START: Final = 'echo $$ >"$OUTPUT.pid"; out=$OUTPUT; exec "$@" >"$out" 2>&1'

_NUMBERS: Final = (
    "HUP:1 INT:2 QUIT:3 ILL:4 TRAP:5 ABRT:6 BUS:7 FPE:8 KILL:9 USR1:10 SEGV:11 USR2:12 PIPE:13 "
    "ALRM:14 TERM:15"
)
"""Linux's; systemd tells the names."""

_ENDED: Final = (
    '[ -e "$OUTPUT" ] || exit 0; status=$EXIT_STATUS; '
    f'if [ "$EXIT_CODE" != exited ]; then status=unknown; for one in {_NUMBERS}; do '
    '[ "${one%%:*}" != "$EXIT_STATUS" ] || status=$((128 + ${one##*:})); done; fi; '
    'echo "$status" >"$OUTPUT.exit.new"; mv -f "$OUTPUT.exit.new" "$OUTPUT.exit"; '
    'tail -c 65536 "$OUTPUT"'
)
"""Run by systemd when the process has ended, in the unit. A shell's word for a signal is 128 and
its number."""


def spawn(
    manager: Manager,
    unit: str,
    described: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    output: Path,
) -> str:
    """Starts a process as a unit of its own; prints its pid. ``OUTPUT.exit`` will have its exit
    status. A unit of this name that is still ending is waited for."""
    options = {
        "Restart": "no",
        "KillMode": "mixed",
        "TimeoutStopSec": str(STOP_SECONDS),
        "LimitNOFILE": str(OPEN_FILES),
        "UMask": "0077",
        "WorkingDirectory": str(folder),
        "ExecStopPost": f"/bin/sh -c '{_doubled(_ENDED)}'",
    }
    words = [
        "systemd-run",
        *(["--user"] if manager is Manager.USER else []),
        "--quiet",
        "--collect",
        f"--unit={unit}",
        f"--description={described}",
        *(f"--property={key}={value}" for key, value in options.items()),
        f"--setenv=OUTPUT={output}",
        *map(_doubled, ["/bin/sh", "-c", _START, "sh", *environment_of(environment), *arguments]),
    ]
    return script(
        f"""\
cd "$folder" || exit 71
rm -f "$output.exit" "$output.pid"
[ -z "$user" ] || export XDG_RUNTIME_DIR="${{XDG_RUNTIME_DIR:-/run/user/$(id -u)}}"
systemctl $user stop "$unit" 2>/dev/null
{" ".join(map(quoted, words))} >&2 || exit 72
turn=0
until [ -s "$output.pid" ]; do
  turn=$((turn + 1))
  if [ $turn -gt 100 ]; then
    echo "systemd didn't start $unit; its journal has more" >&2
    systemctl $user stop "$unit" 2>/dev/null
    exit 72
  fi
  sleep 0.1 2>/dev/null || sleep 1
done
cat "$output.pid"
rm -f "$output.pid"
""",
        folder=folder,
        output=output,
        unit=unit,
        user="--user" if manager is Manager.USER else "",
    )


def _doubled(word: str) -> str:
    return word.replace("$", "$$")
