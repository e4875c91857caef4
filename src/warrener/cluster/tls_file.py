"""``[tls]`` of ``warrener.toml``: the table as pydantic checks it, and what takes more than one key
to see. Whether the files that it names can be used is looked at here as well, so that `validate`
finds what would end `up`.

    [tls]
    enabled = true                     # alone: the cluster makes its own CA and certificates
    ca = "ca.pem"                      # or bring one: paths from this file on
    certificate = "mq.pem"
    key = "mq.key"
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from warrener.cluster.mistakes import Mistake, dotted
from warrener.cluster.toml_places import Path as KeyPath
from warrener.cluster.toml_places import Place
from warrener.cluster.topology_file import Section
from warrener.facts.tls import TlsPart, TlsSettings, TlsVersion

_TOGETHER: Final = ("certificate", "key", "ca")
_LABEL: Final = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
_HOST_NAME: Final = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")


def _version(value: object) -> TlsVersion:
    try:
        return TlsVersion(str(value))  # 1.2 as a number as well
    except ValueError:
        raise PydanticCustomError("wrong", "can't be used") from None


def _name(value: object) -> str:
    if isinstance(value, str):
        try:
            return str(ipaddress.ip_address(value))
        except ValueError:
            if _HOST_NAME.fullmatch(value):
                return value
    raise PydanticCustomError("wrong", "can't be used")


def _switch(of: str) -> Any:
    return Field(True, description=f"true or false: TLS {of}")


def _file(of: str) -> Any:
    return Field(None, min_length=1, description=f"the path of a PEM file: {of}")


class TlsSection(Section):
    enabled: bool = Field(True, description="true or false")
    clients: bool = _switch("for clients at the balancer")
    links: bool = _switch("between the balancer and the nodes")
    management: bool = _switch("for the management API, its page and the metrics")
    inter_node: bool = _switch("among the nodes")
    min_version: Annotated[TlsVersion, BeforeValidator(_version)] = Field(
        TlsVersion.V1_2, description=", ".join(f'"{version}"' for version in TlsVersion)
    )
    verify_clients: bool = Field(
        False, description="true or false: clients have to show a certificate"
    )
    ca: str | None = _file("the authorities that issued the certificate")
    certificate: str | None = _file("the certificate, and authorities in between after it")
    key: str | None = _file("the certificate's key")
    client_ca: str | None = _file("the authorities that issued the clients' certificates")
    names: list[
        Annotated[
            str,
            BeforeValidator(_name),
            Field(description='host names and addresses, such as "mq.example.com"'),
        ]
    ] = Field([], description='a list of host names and addresses, such as ["mq.example.com"]')


def settings(section: TlsSection | None, folder: Path) -> TlsSettings:
    """What the table says; relative paths start at ``folder``."""
    if section is None:
        return TlsSettings()

    def path(given: str | None) -> Path | None:
        return None if given is None else (folder / Path(given).expanduser()).absolute()

    return TlsSettings(
        enabled=section.enabled,
        clients=section.clients,
        links=section.links,
        management=section.management,
        inter_node=section.inter_node,
        min_version=section.min_version,
        verify_clients=section.verify_clients,
        ca=path(section.ca),
        certificate=path(section.certificate),
        key=path(section.key),
        client_ca=path(section.client_ca),
        names=tuple(section.names),
    )


def beside_attach(wanted: TlsSettings) -> TlsSettings:
    """As it is before a cluster that somebody else runs: the rest is set on its hosts."""
    return replace(wanted, management=False, inter_node=False)


def mistakes(
    document: Mapping[str, Any], where: Mapping[KeyPath, Place], folder: Path
) -> list[Mistake]:
    """What takes two keys, or a look at files, to see. Keys that are wrong by themselves are left
    to pydantic."""
    balancer = document.get("balancer", {})
    given = document.get("tls")
    try:
        section = None if given is None else TlsSection.model_validate(given)
    except ValidationError:
        return []
    wanted = settings(section, folder)
    found = list(_between(given or {}, balancer if isinstance(balancer, dict) else {}, wanted))
    if not found and wanted.enabled:
        found = list(_in_files(wanted))
    return [
        Mistake(dotted(path), text, allowed, place=where.get(path) or where.get(path[:1]))
        for path, text, allowed in found
    ]


_Found = tuple[KeyPath, str, str]


def _between(
    given: Mapping[str, Any], balancer: Mapping[str, Any], wanted: TlsSettings
) -> Iterator[_Found]:
    there = [key for key in _TOGETHER if key in given]
    if there and len(there) < len(_TOGETHER):
        missing = " and ".join(f"`{key}`" for key in _TOGETHER if key not in given)
        yield ("tls", there[0]), f"goes with {missing}", ", ".join(_TOGETHER)
    if there and "names" in given:
        yield ("tls", "names"), "a certificate of yours has its own names", "no such line"
    if "client_ca" in given and not wanted.verify_clients:
        yield ("tls", "client_ca"), "goes with verify_clients = true", "verify_clients = true"
    on = wanted.has(TlsPart.CLIENTS)
    if wanted.verify_clients and not on:
        yield ("tls", "verify_clients"), "goes with TLS for clients", "clients = true"
    if "tls_port" in balancer and not on:
        yield ("balancer", "tls_port"), "goes with TLS for clients", "[tls] with enabled = true"
    if balancer.get("plain") is False and not on:
        text = "clients would have no port at all"
        yield ("balancer", "plain"), text, "true, or [tls] with enabled = true"
    port = balancer.get("port")
    if on and port and balancer.get("tls_port") == port and balancer.get("plain") is True:
        yield ("balancer", "tls_port"), "is the plain port, too", "another port"
    if on and "port" in balancer and not balancer.get("plain"):
        yield (
            ("balancer", "port"),
            "is the port without TLS, which isn't open while clients speak TLS",
            "tls_port, or plain = true beside it",
        )


def _in_files(wanted: TlsSettings) -> Iterator[_Found]:
    if wanted.ca is None and wanted.client_ca is None:
        return
    from warrener.cluster.tls import own_files  # noqa: PLC0415  takes 40 ms that few need

    for one in own_files.problems(wanted, datetime.now(UTC)):
        yield ("tls", one.key), one.text, one.fix
