"""A cluster that somebody else runs: where its management API is, and as whom Warrener logs in.

    [attach]
    url = ["http://a:15672", "http://b:15672"]
    user = "warrener"
    password = { env = "ORDERS_PASSWORD" }       # or { file = "PATH" }
    ca = "ca.pem"                                # for https and AMQPS: instead of the system's
    certificate_name = "mq.example.com"          # what nodes' certificates are for, if not the host
    nodes = { "rabbit@a" = "10.0.0.1:5672" }     # where AMQP is, if not where the node says

``Attach`` is that, without the password itself (``passwords.password_to_attach`` reads that). Pure.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from warrener.cluster.wanted import Password
from warrener.facts.ids import NodeName

PASSWORD_VARIABLE: Final = "WARRENER_PASSWORD"  # noqa: S105  a variable's name

URL_ALLOWED: Final = "http://HOST:PORT or https://HOST:PORT, as a browser has it"

AMQP_PORT: Final = 5672
AMQPS_PORT: Final = 5671
_NODE: Final = re.compile(r"[^@\s]+@[^@\s]+")


@dataclass(frozen=True, slots=True)
class Attach:
    """``urls`` are asked in this order. ``password`` is where it comes from, None: it is told.
    ``nodes`` overrides where a node's AMQP is. ``certificate_name`` is what the certificates at the
    nodes' AMQP ports have to be for, empty: the host that is connected to."""

    urls: tuple[str, ...]
    user: str = ""
    password: Password | None = None
    ca: Path | None = None
    nodes: Mapping[NodeName, tuple[str, int]] = field(default_factory=dict)
    certificate_name: str = ""


def url_of(text: str) -> str:
    """A management API's URL as it is used. ValueError says what is wrong with it."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f"{_masked(text)} is no URL") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "a user or password in the URL is not taken: everybody who lists processes or reads "
            "the shell's history would see it. Give --user NAME, and the password by "
            f"--password-file FILE or in {PASSWORD_VARIABLE} (in warrener.toml: user, password = "
            '{ env = "NAME" } or { file = "PATH" })'
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError(f"{_masked(text)} can't be used")
    if parts.query or parts.fragment:
        raise ValueError(f"{text} has more than an address in it")
    path = parts.path.rstrip("/")
    if path.endswith("/api"):
        path = path.removesuffix("/api")
    return f"{parts.scheme}://{parts.netloc}{path}"


def _masked(text: str) -> str:
    """What may be a password doesn't get into a message."""
    return f"...@{text.rpartition('@')[2]}" if "@" in text else text


def address_of(text: str, usual: int = AMQP_PORT) -> tuple[str, int]:
    """``HOST``, ``HOST:PORT`` or ``[IPV6]:PORT``; ``usual``: the port where none is said.
    ValueError if it isn't one."""
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        pass
    else:
        return text, usual
    parts = urlsplit(f"//{text}")
    host, port = parts.hostname, parts.port  # ValueError: not a port
    if not host or parts.path or parts.username is not None or "@" in text or port == 0:
        raise ValueError(text)
    return host, port or usual


def is_node_name(text: str) -> bool:
    """Whether it looks like one, such as ``rabbit@host``."""
    return _NODE.fullmatch(text) is not None
