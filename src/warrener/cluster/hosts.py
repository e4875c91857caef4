"""The machines that a cluster's nodes are on, as ``warrener.toml`` names them: ``[[node]]``, with
``[ssh]`` for what they have in common.

    [[node]]
    name = "n1"
    host = "10.0.0.1"
    driver = "ssh"

    [ssh]
    user = "warrener"
    key = "~/.ssh/id_ed25519"
    supervision = "systemd"
    install = true

A node on another machine is called after it, n1@10.0.0.1: Erlang's long names, which want an IP
address or a name with a dot. Nodes on this machine need no tables.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from warrener.cluster.members import MAX_NODES, node_names
from warrener.cluster.mistakes import Mistake, dotted, nearest_place
from warrener.cluster.toml_places import Path as KeyPath
from warrener.cluster.toml_places import Place
from warrener.cluster.topology_file import Section
from warrener.facts.ids import NodeName

DEFAULT_FOLDER: Final = "~/.warrener"
DEFAULT_KNOWN_HOSTS: Final = "~/.ssh/known_hosts"
DEFAULT_PORT: Final = 22


class NodeDriver(StrEnum):
    """Who runs a node."""

    LOCAL = "local"
    SSH = "ssh"


class Supervision(StrEnum):
    """Who looks after a node's process on its host. ``AUTO``: systemd where the login may use one,
    else a shell of Warrener's beside the node."""

    AUTO = "auto"
    SYSTEMD = "systemd"
    OWN = "own"


@dataclass(frozen=True, slots=True)
class HostSpec:
    """A node on another machine, and how that is reached. Empty ``user``: who runs Warrener;
    empty ``key``: those of the SSH agent, and the usual files. ``folder`` is on the host, ``~``
    being the user's home there. ``install``: a RabbitMQ that is missing there may be installed."""

    name: NodeName
    host: str
    user: str = ""
    key: str = ""
    known_hosts: str = DEFAULT_KNOWN_HOSTS
    port: int = DEFAULT_PORT
    folder: str = DEFAULT_FOLDER
    supervision: Supervision = Supervision.AUTO
    install: bool = False


_LABEL: Final = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
_DOTTED_NAME: Final = re.compile(rf"{_LABEL}(\.{_LABEL})+")


def _host(value: object) -> str:
    if isinstance(value, str):
        try:
            if ipaddress.ip_address(value).version == 4:
                return value
        except ValueError:
            if _DOTTED_NAME.fullmatch(value) and not value.replace(".", "").isdigit():
                return value.lower()
    raise PydanticCustomError("wrong", "can't be used")


def _driver(value: object) -> NodeDriver:
    try:
        return NodeDriver(value)  # type: ignore[arg-type]  # anything else is what we refuse
    except ValueError:
        raise PydanticCustomError("wrong", "can't be used") from None


def _supervision(value: object) -> Supervision:
    try:
        return Supervision(value)  # type: ignore[arg-type]  # anything else is what we refuse
    except ValueError:
        raise PydanticCustomError("wrong", "can't be used") from None


_TEXT: Final = r"^[^\x00-\x1f\x7f]+$"


class SshSection(Section):
    user: str | None = Field(
        None, pattern=r"^[^\s@:/\x00-\x1f-][^\s@:/\x00-\x1f]*$", description="a user on the hosts"
    )
    key: str | None = Field(None, pattern=_TEXT, description="the file of a private key, here")
    known_hosts: str | None = Field(
        None, pattern=_TEXT, description="the file with the hosts' keys, here"
    )
    port: int | None = Field(None, ge=1, le=65_535, description="sshd's port, 1 to 65,535")
    folder: str | None = Field(
        None,
        pattern=r"^(/|~/)[^\x00-\x1f\x7f]*$",
        description='a folder on the hosts, such as "~/.warrener" or "/srv/warrener"',
    )
    supervision: Annotated[Supervision, BeforeValidator(_supervision)] | None = Field(
        None, description=", ".join(f'"{one}"' for one in Supervision)
    )
    install: bool | None = Field(
        None, description="true or false: RabbitMQ may be installed where it is missing"
    )


class NodeSection(SshSection):
    name: str = Field(pattern=rf"^n[1-{MAX_NODES}]$", description=f'"n1" to "n{MAX_NODES}"')
    host: Annotated[str, BeforeValidator(_host)] | None = Field(
        None, description='an IPv4 address, or a name with a dot such as "mq1.example.org"'
    )
    driver: Annotated[NodeDriver, BeforeValidator(_driver)] = Field(
        NodeDriver.LOCAL, description=", ".join(f'"{driver}"' for driver in NodeDriver)
    )


def hosts(nodes: Sequence[NodeSection], common: SshSection, folder: Path) -> tuple[HostSpec, ...]:
    """One for each node on another machine, in the order of their numbers. Relative paths of files
    here start at ``folder``."""

    def here(path: str) -> str:
        return str(folder.absolute() / Path(path).expanduser())

    def made(node: NodeSection) -> HostSpec:
        def of(key: str, default: Any) -> Any:
            own, shared = getattr(node, key), getattr(common, key)
            return own if own is not None else shared if shared is not None else default

        key = of("key", "")
        return HostSpec(
            name=NodeName(f"{node.name}@{node.host}"),
            host=str(node.host),
            user=of("user", ""),
            key=here(key) if key else "",
            known_hosts=here(of("known_hosts", DEFAULT_KNOWN_HOSTS)),
            port=of("port", DEFAULT_PORT),
            folder=of("folder", DEFAULT_FOLDER),
            supervision=of("supervision", Supervision.AUTO),
            install=of("install", False),
        )

    remote = (node for node in nodes if node.driver is NodeDriver.SSH)
    return tuple(sorted(map(made, remote), key=lambda host: host.name))


def names_in(document: Mapping[str, Any]) -> tuple[NodeName, ...] | None:
    """The names of the nodes that have tables; None if none has, or they are wrong."""
    tables = document.get("node")
    if not isinstance(tables, list) or not tables:
        return None
    names = []
    for table in tables:
        if not isinstance(table, dict) or not isinstance(table.get("name"), str):
            return None
        host = str(table.get("host", "")).lower()
        remote = table.get("driver") == NodeDriver.SSH
        names.append(NodeName(f"{table['name']}@{host if remote else 'localhost'}"))
    return tuple(names)


def mistakes(document: Mapping[str, Any], where: Mapping[KeyPath, Place]) -> list[Mistake]:
    """What takes two keys to see."""
    found: list[Mistake] = []
    tables = document.get("node", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        return found

    def wrong(path: KeyPath, text: str, allowed: str = "") -> None:
        found.append(Mistake(dotted(path), text, allowed, place=nearest_place(path, where)))

    drivers = {str(table.get("driver", NodeDriver.LOCAL)) for table in tables}
    if drivers == {NodeDriver.LOCAL, NodeDriver.SSH}:
        number = next(at for at, table in enumerate(tables) if table.get("driver") != "ssh")
        text = "some nodes are on this machine and some on others; that isn't possible yet"
        wrong(("node", number, "driver"), text, 'driver = "ssh" for all nodes, or for none')
    for key in ("name", "host"):
        seen: dict[str, int] = {}
        for at, table in enumerate(tables):
            value = table.get(key)
            if isinstance(value, str) and seen.setdefault(value.lower(), at) != at:
                what = "two nodes have this name" if key == "name" else "two nodes are on this host"
                wrong(("node", at, key), what, "a different one for each")
    for at, table in enumerate(tables):
        remote = table.get("driver") == NodeDriver.SSH
        if remote and "host" not in table:
            wrong(("node", at, "host"), 'is missing; driver = "ssh" needs it', "an address")
        elif not remote and "host" in table and drivers == {NodeDriver.LOCAL}:
            wrong(("node", at, "host"), "a node on this machine has no host", 'driver = "ssh"')
    cluster = document.get("cluster", {})
    if isinstance(cluster, dict) and tables:
        nodes = cluster.get("nodes", len(tables))
        if isinstance(nodes, int) and nodes != len(tables):
            text = f"{nodes}, but {len(tables)} have a table [[node]]"
            wrong(("cluster", "nodes"), text, f"{len(tables)}, or no such line")
    if isinstance(cluster, dict) and "rabbitmq" in cluster:
        asking: list[tuple[KeyPath, Any]] = [(("ssh",), document.get("ssh", {}))]
        asking += [(("node", at), table) for at, table in enumerate(tables)]
        for path, table in asking:
            if isinstance(table, dict) and table.get("install") is True:
                text = "installs the host's own package, and `rabbitmq` names another RabbitMQ"
                wrong((*path, "install"), text, "false, or no `rabbitmq` under [cluster]")
    names = [str(table.get("name")) for table in tables]
    local = [name.partition("@")[0] for name in node_names(len(tables))] if tables else []
    if drivers == {NodeDriver.LOCAL} and tables and sorted(names) != local:
        text = "nodes on this machine are numbered from n1 on"
        wrong(("node", 0, "name"), text, ", ".join(local))
    return found
