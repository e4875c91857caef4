"""Finds the HAProxy program."""

import os
import shutil
from pathlib import Path
from typing import Final

_WHERE_DEBIAN_PUTS_IT: Final = "/usr/local/sbin:/usr/sbin:/sbin"
"""Not on the PATH of an ordinary user, who may run it all the same."""


class HaproxyError(Exception):
    """HAProxy can't be run; the text says why and what to do."""


def find_program(wanted: str, path: str) -> str:
    """Where HAProxy is: ``wanted`` (a path, or a name to look for), or ``haproxy`` on ``path`` and
    where Debian installs it. Raises HaproxyError."""
    name = wanted or "haproxy"
    found = shutil.which(name, path=f"{path}:{_WHERE_DEBIAN_PUTS_IT}")
    if found is not None:
        return found
    if not wanted:
        raise HaproxyError(
            'HAProxy is not installed, and data_plane = "haproxy" needs it: `apt-get install '
            "--no-install-recommends haproxy`, or say where it is with `haproxy` under [balancer] "
            'in warrener.toml. data_plane = "warrener" does without it'
        )
    there = Path(wanted).exists() if "/" in wanted else False
    what = (
        "can't be run by this user" if there and not os.access(wanted, os.X_OK) else "isn't there"
    )
    if there and Path(wanted).is_dir():
        what = "is a folder, not a program"
    raise HaproxyError(
        f"no HAProxy: {wanted} {what}; change or remove `haproxy` under [balancer] in warrener.toml"
    )
