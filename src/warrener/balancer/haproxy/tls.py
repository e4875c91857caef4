"""TLS in HAProxy: what its configuration says, which files it reads, how it takes new ones.

The files are links in HAProxy's folder to those of the cluster, so that there is no second copy of
a key, and HAProxy knows them by names that never change:

    certificate.pem   what clients are shown, with its key
    client-ca.pem     what clients' certificates are verified with, where they are asked for
    trust.pem         what nodes' certificates are verified with
    placeholder.pem   a certificate that nobody trusts or asks for, see below
    names.map         slot -> the name that the certificate of its node has to be for

Three habits of HAProxy 2.6 that are worked around here, all measured
(docs/decisions/0020-haproxy-with-tls.md):

- ``commit ssl ca-file`` reaches only servers that have a certificate of their own to show. So they
  are given one; RabbitMQ doesn't ask for it.
- A certificate that is replaced after the authorities of the same ``bind`` or server were kills
  HAProxy. So authorities are replaced only where the certificate never is: at the servers.
- A server's ``verifyhost`` can't be changed while HAProxy runs, but the name that it sends (SNI) is
  what the certificate is verified for, and that may come out of a map.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from warrener.balancer.haproxy.plan import NAMES_MAP, Server
from warrener.facts.tls import TlsVersion

CERTIFICATE: Final = "certificate.pem"
CLIENT_AUTHORITIES: Final = "client-ca.pem"
TRUST: Final = "trust.pem"
PLACEHOLDER: Final = "placeholder.pem"

NOBODY: Final = "no.node"
"""The name that is verified for where the map has none: no certificate is for it."""

_CERTIFICATES: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL
)
_SAID: Final = re.compile(r"^SHA1 FingerPrint: ([0-9A-F]{40})\s*$", re.MULTILINE)

Content = str | bytes | Path
"""Of a file in HAProxy's folder; a path: a link to it."""


@dataclass(frozen=True, slots=True)
class HaproxyTls:
    """``certificate``, with its key, is what clients are shown, None: they aren't served with TLS;
    ``client_authorities``: they have to show one, too. ``trust`` is what nodes are verified with,
    None: they are spoken to without TLS. ``placeholder`` is any certificate with its key."""

    certificate: Path | None = None
    client_authorities: Path | None = None
    trust: Path | None = None
    placeholder: bytes = field(default=b"", repr=False)
    min_version: TlsVersion = TlsVersion.V1_2

    def bind_options(self) -> str:
        """Of the ``bind`` for clients with TLS. Each of them shakes hands in full (no tickets; the
        cache is off as well): they are few and stay long, and so whoever is let in was verified
        by what counts at that moment."""
        options = f" ssl crt {CERTIFICATE} {self._version} no-tls-tickets"
        if self.client_authorities is not None:
            options += f" ca-file {CLIENT_AUTHORITIES} verify required"
        return options

    def server_options(self, slot: str) -> str:
        """Of a ``server``; empty without TLS."""
        if self.trust is None:
            return ""
        return (
            f" ssl verify required ca-file {TRUST} crt {PLACEHOLDER} {self._version} no-ssl-reuse"
            f" verifyhost {NOBODY} sni str({slot}),map({NAMES_MAP})"
        )

    @property
    def _version(self) -> str:
        return f"ssl-min-ver TLSv{self.min_version}"

    def files(self, servers: tuple[Server, ...]) -> dict[str, Content]:
        """What is in HAProxy's folder because of TLS."""
        found: dict[str, Content] = {}
        if self.certificate is not None:
            found[CERTIFICATE] = self.certificate
        if self.client_authorities is not None:
            found[CLIENT_AUTHORITIES] = self.client_authorities
        if self.trust is not None:
            found[TRUST] = self.trust
            found[PLACEHOLDER] = self.placeholder
            found[NAMES_MAP] = render_names(servers)
        return found

    def changeable(self) -> dict[str, Path]:
        """The files that HAProxy takes anew while it runs, by their names there. Authorities come
        first: nobody is to be shown a certificate that he can't verify yet."""
        found = {}
        if self.trust is not None:
            found[TRUST] = self.trust
        if self.certificate is not None:
            found[CERTIFICATE] = self.certificate
        return found


def render_names(servers: tuple[Server, ...]) -> str:
    """The map of names."""
    return "".join(f"{one.slot} {one.server_name or NOBODY}\n" for one in servers)


def kind(file: str) -> str:
    """What HAProxy calls such a file in its commands."""
    return "cert" if file == CERTIFICATE else "ca-file"


def is_taken(file: str, pem: bytes, said: str) -> bool:
    """Whether HAProxy has a file, by what it says of it (``show ssl cert``, ``show ssl ca-file``):
    of a certificate that comes with others only the first is told."""
    wanted = _fingerprints(pem)
    told = _SAID.findall(said)
    if not wanted:
        return False
    return told[:1] == wanted[:1] if file == CERTIFICATE else sorted(told) == sorted(wanted)


def _fingerprints(pem: bytes) -> list[str]:
    """SHA-1, as HAProxy tells it; nothing is trusted for it."""
    try:
        raw = [base64.b64decode(one) for one in _CERTIFICATES.findall(pem)]
    except binascii.Error:
        return []
    return [hashlib.sha1(one, usedforsecurity=False).hexdigest().upper() for one in raw]


def read_names(answer: str) -> Mapping[str, str]:
    """From ``show map`` of the names."""
    rows = (line.split() for line in answer.split("\n"))
    return {row[1]: row[2] for row in rows if len(row) == 3}
