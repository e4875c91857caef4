"""What is asked of a host, as programs for a POSIX shell. Pure.

A host needs sshd, a POSIX ``sh``, the usual small tools (``env``, ``grep``, ``tr``, ``tail``,
``setsid``) and Linux's ``/proc``. Nothing is installed there.

Scripts are read by ``sh`` from its standard input: the user's own shell, whatever it is, only has
to start ``sh -s``, and no argument is seen among the host's processes. ``BEGIN`` is printed first:
what came before is a shell's greeting. Values are quoted, never pasted.

A process that outlives the connection (``spawn``) is looked after by a shell of its own, in a
session of its own: it waits for the process and writes how it ended into a file.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from warrener.cluster.drivers.marks import MARK_CLUSTER, MARK_PART

BEGIN: Final = "\x01warrener\n"
"""What a script prints before its answer."""

_PRELUDE: Final = """\
printf '\\001warrener\\n'
umask 077
"""


def quoted(value: str | Path) -> str:
    """One word of a script."""
    return shlex.quote(str(value))


def script(text: str, **values: str | int | Path) -> str:
    """A script that begins with its values as variables."""
    variables = "".join(f"{name}={quoted(str(value))}\n" for name, value in values.items())
    return _PRELUDE + variables + text


def put_command(path: Path, mode: int) -> str:
    """A command that replaces a file by what comes on its standard input, in one step."""
    text = 'umask 077 && cat >"$1.new" && chmod "$2" "$1.new" && mv -f "$1.new" "$1"'
    return " ".join(["sh", "-c", quoted(text), "sh", quoted(path), f"{mode:o}"])


def make_folders(paths: Iterable[Path]) -> str:
    """Folders, and those above them; private."""
    return script(f"mkdir -p -m 700 {' '.join(map(quoted, paths))}\n")


def remove(path: Path) -> str:
    """A file or a folder with all that is in it."""
    return script('rm -rf -- "$path"\n', path=path)


def has_entries(path: Path) -> str:
    """Prints ``yes`` if a folder is there and has something in it."""
    return script('[ -d "$path" ] && [ -n "$(ls -A "$path")" ] && echo yes; :\n', path=path)


def tail(path: Path, offset: int, limit: int) -> str:
    """Prints a file's size, and on the next line the end of what is behind ``offset``."""
    return script(
        """\
[ -f "$path" ] || { echo 0; exit; }
size=$(($(wc -c <"$path")))
[ "$offset" -le "$size" ] || offset=0
[ $((size - limit)) -le "$offset" ] || offset=$((size - limit))
echo "$size"
[ "$offset" -ge "$size" ] || tail -c +$((offset + 1)) "$path"
""",
        path=path,
        offset=offset,
        limit=limit,
    )


def read_files(paths: Sequence[Path]) -> str:
    """Prints the lines of small files, each after its file's number, and empty lines; what can't be
    read is left out."""
    commands = [
        f"sed {quoted(f's/^/{number} /')} {quoted(path)} 2>/dev/null; echo\n"
        for number, path in enumerate(paths)
    ]
    return script("".join(commands) + ":\n")


def environment_of(environment: Mapping[str, str]) -> list[str]:
    """Words to put in front of a command that is to have this environment and no other."""
    return ["env", "-i", *(f"{name}={value}" for name, value in environment.items())]


def _command(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    return " ".join(map(quoted, [*environment_of(environment), *arguments]))


def run(
    arguments: Sequence[str], environment: Mapping[str, str], folder: Path, output: Path
) -> str:
    """Runs a program to its end: its pid on a line, its exit status, then what it printed."""
    return script(
        f"""\
cd "$folder" || exit 71
setsid {_command(arguments, environment)} </dev/null >"$output" 2>&1 &
echo $!
wait $!
echo $?
cat "$output"
""",
        folder=folder,
        output=output,
    )


def kill_group(pid: int) -> str:
    """Ends a program that ``run`` started, with all that it started."""
    return script('kill -s KILL -- "-$pid" 2>/dev/null; :\n', pid=pid)


_SUPERVISOR: Final = """\
trap "" HUP
output=$1
shift
"$@" </dev/null >"$output" 2>&1 &
echo $!
exec >/dev/null
wait $!
echo $? >"$output.exit.new"
mv -f "$output.exit.new" "$output.exit"
"""


def spawn(
    arguments: Sequence[str], environment: Mapping[str, str], folder: Path, output: Path
) -> str:
    """Starts a process that stays; prints its pid. ``OUTPUT.exit`` will have its exit status."""
    supervisor = _command(
        ["setsid", "sh", "-c", _SUPERVISOR, "warrener", str(output), *arguments], environment
    )
    return script(
        f"""\
cd "$folder" || exit 71
rm -f "$output.exit"
pid=$({supervisor} 2>/dev/null </dev/null &)
echo "$pid"
""",
        folder=folder,
        output=output,
    )


def watch(pid: int, cluster: str, output: Path, pause: float = 0.3) -> str:
    """Prints the state of a process now and then, in one letter as ``/proc`` has it; at its end
    ``ended STATUS``, or ``gone`` if nobody can tell how. Whoever no longer reads ends it."""
    return script(
        f"""\
gone=0
while :; do
  if [ -s "$output.exit" ]; then
    read -r status <"$output.exit"
    echo "ended $status"
    exit
  fi
  if grep -qF "{MARK_CLUSTER}=$cluster" "/proc/$pid/environ" 2>/dev/null; then
    gone=0
    read -r stat <"/proc/$pid/stat"
    stat=${{stat##*) }}
    echo "${{stat%% *}}"
  else
    gone=$((gone + 1))
    [ $gone -lt 4 ] || {{ echo gone; exit; }}
  fi
  sleep "$pause" 2>/dev/null || sleep 1
done
""",
        pid=pid,
        cluster=cluster,
        output=output,
        pause=str(pause),
    )


def send(pid: int, cluster: str, number: int) -> str:
    """A signal to a process, if it is one of the cluster's: a pid may have another owner by now."""
    return script(
        f"""\
grep -qF "{MARK_CLUSTER}=$cluster" "/proc/$pid/environ" 2>/dev/null && kill -$number "$pid"
:
""",
        pid=pid,
        cluster=cluster,
        number=number,
    )


_MARKED: Final = f"""\
marked() {{
  found=
  for file in $(grep -lF "{MARK_CLUSTER}=$cluster" /proc/[0-9]*/environ 2>/dev/null); do
    variables="
$(tr '\\000' '\\n' <"$file" 2>/dev/null)
"
    case "$variables" in
      *"
{MARK_CLUSTER}=$cluster
"*) ;;
      *) continue ;;
    esac
    if [ -n "$part" ]; then
      case "$variables" in
        *"
{MARK_PART}=$part
"*) ;;
        *) continue ;;
      esac
    fi
    process=${{file%/environ}}
    found="$found ${{process#/proc/}}"
  done
}}
pause() {{ sleep 0.1 2>/dev/null || sleep 1; }}
end_marked() {{
  for round in 1 2 3 4 5; do
    marked
    [ -n "$found" ] || break
    kill -9 $found 2>/dev/null
    for process in $found; do
      ended=$((ended + 1))
      for turn in 1 2 3 4 5 6 7 8 9 10; do
        case $(cat "/proc/$process/stat" 2>/dev/null) in
          "" | *") Z "*) break ;;
        esac
        pause
      done
    done
  done
}}
"""
"""A file in /proc is only looked at closely if it has the mark at all: a fork for each process of a
busy machine takes seconds."""


def kill_marked(cluster: str, part: str | None) -> str:
    """Ends processes that carry the mark; prints how many there were."""
    return script(
        _MARKED + 'ended=0\nend_marked\necho "$ended"\n', cluster=cluster, part=part or ""
    )


def find_marked(cluster: str) -> str:
    """Prints pid, part and program of each process that carries the mark."""
    return script(
        _MARKED
        + f"""\
marked
for process in $found; do
  part=$(tr '\\000' '\\n' <"/proc/$process/environ" 2>/dev/null | sed -n 's/^{MARK_PART}=//p')
  read -r name <"/proc/$process/comm" && echo "$process ${{part:--}} $name"
done
:
""",
        cluster=cluster,
        part="",
    )


def stop_marked(cluster: str, timeout: float) -> str:
    """Ends them, Erlang VMs in order for a while; prints how many there were."""
    return script(
        _MARKED
        + """\
marked
all=$found
vms=
for process in $found; do
  read -r name <"/proc/$process/comm" || continue
  case $name in beam*) vms="$vms $process" ;; esac
done
if [ -n "$vms" ]; then
  kill -TERM $vms 2>/dev/null
  kill -CONT $vms 2>/dev/null
  left=$timeout
  while [ "$left" -gt 0 ]; do
    some=
    for process in $vms; do
      case $(cat "/proc/$process/stat" 2>/dev/null) in
        "" | *") Z "*) ;;
        *) some=yes ;;
      esac
    done
    [ -n "$some" ] || break
    sleep 1
    left=$((left - 1))
  done
fi
ended=0
end_marked
set -- $all
echo $#
""",
        cluster=cluster,
        part="",
        timeout=int(timeout),
    )


LISTENERS: Final = script(
    """\
for table in /proc/net/tcp /proc/net/tcp6; do
  [ -r $table ] || continue
  while read -r number local remote state rest; do
    [ "$state" = 0A ] || continue
    set -- $rest
    echo "$local $6"
  done <$table
done
"""
)
"""Prints the local address and the inode of each socket that listens, as the kernel spells them."""


def holder(inode: int) -> str:
    """Prints pid and program of who has a socket open."""
    return script(
        """\
for process in /proc/[0-9]*; do
  ls -l "$process/fd" 2>/dev/null | grep -qF "socket:[$inode]" || continue
  read -r name <"$process/comm" && echo "${process#/proc/} $name" && break
done
:
""",
        inode=inode,
    )


def schema_files(root: Path) -> str:
    """Prints what an installation knows of configuration: name and size of a file on a line, then
    its bytes."""
    return script(
        """\
cd "$root/plugins" || exit 71
for file in */priv/schema/*.schema */ebin/*.app *.ez; do
  [ -f "$file" ] || continue
  echo "$(($(wc -c <"$file"))) $file"
  cat "$file"
done
""",
        root=root,
    )
