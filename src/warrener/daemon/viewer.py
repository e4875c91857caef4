"""Who is at the other end of a connection on loopback, for the record of what was done.

The page knows its viewers by a token that they all share. The kernel knows one thing more: which
login made the connection (of a tunnel: the login that came in by ssh). ``/proc/net/tcp`` has it.
"""

import pwd
import socket
import struct
from pathlib import Path
from typing import Final

TABLE: Final = Path("/proc/net/tcp")


def told(host: str, port: int, own_port: int, *, table: Path = TABLE) -> str:
    """``alice at 127.0.0.1:40312``; without the login where it can't be known. Reads a file."""
    where = f"{host}:{port}"
    try:
        found = uid_of(table.read_text(), host, port, own_port)
    except OSError:
        found = None
    if found is None:
        return where
    try:
        return f"{pwd.getpwuid(found).pw_name} at {where}"
    except KeyError:
        return f"user {found} at {where}"


def uid_of(table: str, host: str, port: int, own_port: int) -> int | None:
    """Whose the end at ``host``:``port`` of a connection to ``own_port`` is. ``table`` as proc(5)
    has it: sl local_address rem_address st queues timer retransmits uid ..."""
    try:
        ours = _address(host, own_port)
        theirs = _address(host, port)
    except (OSError, struct.error):
        return None
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) > 7 and words[1] == theirs and words[2].endswith(ours[-5:]):
            return int(words[7]) if words[7].isdigit() else None
    return None


def _address(host: str, port: int) -> str:
    """An address as the kernel prints it: the IPv4 address as a number of this machine's order."""
    (number,) = struct.unpack("=I", socket.inet_aton(host))
    return f"{number:08X}:{port:04X}"
