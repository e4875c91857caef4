"""``[attach]`` of ``warrener.toml`` as pydantic checks it, and what can't stand beside it.

Each field's description is what an error says is allowed there.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from warrener.cluster.attach import (
    AMQP_PORT,
    AMQPS_PORT,
    URL_ALLOWED,
    Attach,
    address_of,
    is_node_name,
    url_of,
)
from warrener.cluster.mistakes import Mistake, dotted
from warrener.cluster.toml_places import Path as KeyPath
from warrener.cluster.toml_places import Place
from warrener.cluster.topology_file import Section
from warrener.cluster.wanted import Password, PasswordKind
from warrener.facts.data_plane import DataPlane
from warrener.facts.ids import NodeName

_THEIRS: Final = "the cluster under [attach] is somebody else's"


def _password(value: object) -> Password:
    match value:
        case {"env": str(name), **rest} if name and not rest:
            return Password(PasswordKind.ENV, name)
        case {"file": str(path), **rest} if path and not rest:
            return Password(PasswordKind.FILE, path)
    raise PydanticCustomError("wrong", "can't be used")


def _urls(value: object) -> list[str]:
    urls = [value] if isinstance(value, str) else value
    if not isinstance(urls, list) or not urls or not all(isinstance(url, str) for url in urls):
        raise PydanticCustomError("wrong", "can't be used")
    return urls


def _address(value: object) -> tuple[str, int]:
    if isinstance(value, str):
        try:
            return address_of(value, usual=0)  # which one that is [tls] says
        except ValueError:
            pass
    raise PydanticCustomError("wrong", "can't be used")


_Address = Annotated[
    tuple[str, int],
    BeforeValidator(_address),
    Field(description='where AMQP is reached, such as "10.0.0.1:5672"'),
]


class AttachSection(Section):
    url: Annotated[list[str], BeforeValidator(_urls)] = Field(
        description=f"a list of management APIs: {URL_ALLOWED}"
    )
    user: str = Field("", description="the name of a user of the cluster's")
    password: Annotated[Password, BeforeValidator(_password)] | None = Field(
        None, description='{ env = "NAME" } or { file = "PATH" }'
    )
    ca: str | None = Field(None, min_length=1, description="a file with certificates in PEM form")
    certificate_name: str = Field(
        "", description='the name that nodes\' certificates are for, such as "mq.example.com"'
    )
    nodes: dict[str, _Address] = Field({}, description='a table: { "rabbit@a" = "10.0.0.1:5672" }')


def attach_of(section: AttachSection | None, folder: Path, *, tls: bool) -> Attach | None:
    """What the section describes, checked already; ``tls``: the nodes are spoken to with it."""
    if section is None:
        return None
    usual = AMQPS_PORT if tls else AMQP_PORT
    return Attach(
        urls=tuple(dict.fromkeys(url_of(url) for url in section.url)),
        user=section.user,
        password=section.password,
        ca=None if section.ca is None else folder / Path(section.ca).expanduser(),
        nodes={
            NodeName(name): (host, port or usual) for name, (host, port) in section.nodes.items()
        },
        certificate_name=section.certificate_name,
    )


def mistakes(document: Mapping[str, Any], where: Mapping[KeyPath, Place]) -> list[Mistake]:
    """What pydantic doesn't see: URLs, names of nodes, and tables that make no sense beside it."""
    attach = document.get("attach")
    if not isinstance(attach, dict):
        return []
    found = [*_in_urls(attach.get("url"), where)]
    for name in attach.get("nodes", {}) if isinstance(attach.get("nodes"), dict) else ():
        if not is_node_name(name):
            found.append(_mistake(("attach", "nodes", name), _NO_NODE, _NODES, where))
    balancer = document.get("balancer")
    balancer = balancer if isinstance(balancer, dict) else {}
    weights = balancer.get("weights")
    for name in weights if isinstance(weights, dict) else ():
        if not is_node_name(name):
            found.append(_mistake(("balancer", "weights", name), _NO_NODE, _NODES, where))
    for path, applies in _beside(document, balancer):
        if applies:
            found.append(_mistake(path, f"not beside [attach]: {_why(path)}", "", where))
    return found


_NO_NODE: Final = "isn't the full name of a node"
_NODES: Final = 'names as RabbitMQ has them, such as "rabbit@host"'


def _beside(document: Mapping[str, Any], balancer: Mapping[str, Any]) -> list[tuple[KeyPath, bool]]:
    tls = document.get("tls")
    theirs = [key for key in ("management", "inter_node") if isinstance(tls, dict) and key in tls]
    return [
        (("cluster",), bool(document.get("cluster"))),
        (("config",), bool(document.get("config"))),
        (("node",), bool(document.get("node"))),
        *((("tls", key), True) for key in theirs),
        (("balancer", "data_plane"), balancer.get("data_plane") == DataPlane.HAPROXY),
    ]


def _why(path: KeyPath) -> str:
    match path[0]:
        case "cluster":
            return f"{_THEIRS}; how many nodes and which plugins it has is settled there"
        case "node":
            return f"{_THEIRS}; which nodes it has is seen from its management API"
        case "tls":
            return f"{_THEIRS}; what its nodes speak there is set on their hosts"
        case "config":
            return f"{_THEIRS}; rabbitmq.conf is on its hosts. Policies can be set from here"
        case _:
            return f"{_THEIRS}; it takes Warrener's own balancer"


def _in_urls(given: object, where: Mapping[KeyPath, Place]) -> list[Mistake]:
    found = []
    for url in [given] if isinstance(given, str) else given if isinstance(given, list) else ():
        if isinstance(url, str):
            try:
                url_of(url)
            except ValueError as error:
                found.append(_mistake(("attach", "url"), str(error), URL_ALLOWED, where))
    return found


def _mistake(path: KeyPath, text: str, allowed: str, where: Mapping[KeyPath, Place]) -> Mistake:
    place: Callable[[KeyPath], Place | None] = where.get
    return Mistake(dotted(path), text, allowed, place=place(path) or place(path[:1]))
