"""Hosts looked at: all at once, one report of what is in the way on any of them.

``look_at`` asks one over a connection that is there. ``look_around`` is for who drives no cluster
(`warrener doctor`, `apply` before it starts one): it connects, asks, and closes.
"""

import asyncio
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from warrener.cluster.drivers import host_look, ssh_checks
from warrener.cluster.drivers.ssh_checks import Look, Wanted
from warrener.cluster.drivers.ssh_connection import Connection
from warrener.cluster.errors import ClusterError, HostUnreachable
from warrener.cluster.hosts import HostSpec
from warrener.facts.ids import NodeName, short_name

_MORE_PATH: Final = "/usr/local/sbin:/usr/sbin:/sbin:/usr/lib/erlang/bin:/usr/local/lib/erlang/bin"


@dataclass(frozen=True, slots=True)
class Seen:
    """A host that was looked at. ``problems`` are sentences, ``installable``: of them, what is
    mended by installing RabbitMQ, which the description allows. ``at``: our clock then, s."""

    spec: HostSpec
    address: str = ""
    look: Look | None = None
    at: float = 0.0
    problems: Sequence[str] = ()
    installable: Sequence[str] = ()

    @property
    def told(self) -> str:
        """What a host that is ready has."""
        assert self.look is not None
        there = ssh_checks.installation(self.look)
        assert there is not None
        who = ssh_checks.manager(self.look, self.spec)
        under = "Warrener's own shell" if who is None else f"systemd ({who})"
        why = f" ({self.look.no_systemd})" if who is None and self.look.systemd is None else ""
        return (
            f"RabbitMQ {there.version} in {there.root}, Erlang {self.look.otp or '?'}; nodes are "
            f"looked after by {under}{why}"
        )

    @property
    def name(self) -> str:
        """For people: ``n1 (10.0.0.1)``."""
        return f"{short_name(self.spec.name)} ({self.spec.host})"


async def look_at(connection: Connection, spec: HostSpec, address: str, wanted: Wanted) -> Seen:
    """One host. Raises HostUnreachable or OSError."""
    root = str(wanted.root) if wanted.root is not None else ""
    began = time.time()
    text = await connection.ask(host_look.look(root, _MORE_PATH, spec.folder, address))
    look = ssh_checks.read_look(text.decode("utf-8", "replace"))
    problems = ssh_checks.problems(look, address, wanted, spec)
    missing = ssh_checks.missing(look, wanted, spec)
    is_installable = ssh_checks.can_install(look, wanted, spec)
    return Seen(
        spec,
        address=address,
        look=look,
        at=(began + time.time()) / 2,
        problems=problems,
        installable=missing if is_installable else (),
    )


async def look_around(specs: Sequence[HostSpec], rabbitmq: Path | None) -> list[Seen]:
    """All of them, at once; one that can't be asked has that for a problem."""

    async def look(spec: HostSpec) -> Seen:
        connection = Connection(spec, lambda event: None)
        try:
            address = await address_of(spec)
            await connection.open()
            return await look_at(connection, spec, address, Wanted(rabbitmq))
        except (ClusterError, OSError) as error:
            return Seen(spec, problems=[without_name(str(error))])
        finally:
            await connection.close()

    return await asyncio.gather(*map(look, specs))


def common(seen: Sequence[Seen], *, mixed: bool = False) -> list[str]:
    """What the hosts should have in common and haven't."""
    looks: dict[NodeName, Look] = {one.spec.name: one.look for one in seen if one.look is not None}
    return ssh_checks.differences(looks, mixed=mixed)


async def address_of(spec: HostSpec) -> str:
    """The IPv4 address of a host. Raises HostUnreachable."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(
            spec.host, None, family=socket.AF_INET, type=socket.SOCK_STREAM
        )
    except OSError as error:
        raise HostUnreachable(f"the name {spec.host} has no IPv4 address: {error}") from None
    return str(found[0][4][0])


def without_name(text: str) -> str:
    """Without ``n1 (HOST)`` in front: the report says it."""
    _, found, rest = text.partition(") ")
    return rest if found and " " not in text.partition(" (")[0] else text
