"""Python's own side of TLS: contexts for listening and for connecting."""

import ssl
from pathlib import Path

from warrener.facts.tls import TlsVersion

_VERSIONS = {
    TlsVersion.V1_2: ssl.TLSVersion.TLSv1_2,
    TlsVersion.V1_3: ssl.TLSVersion.TLSv1_3,
}


def least(version: TlsVersion) -> ssl.TLSVersion:
    """As ``ssl`` has it."""
    return _VERSIONS[version]


def server_context(identity: Path, version: TlsVersion, clients: Path | None) -> ssl.SSLContext:
    """Shows the certificate in ``identity``, which has its key as well; with ``clients`` it asks
    for a client's, issued by one of the authorities in there. OSError or ssl.SSLError if a file
    can't be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[version]
    context.load_cert_chain(identity)
    if clients is not None:
        context.load_verify_locations(cafile=clients)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(authorities: Path, version: TlsVersion) -> ssl.SSLContext:
    """Verifies a server's name and that its certificate was issued by one of ``authorities``; the
    system's own authorities count for nothing. OSError or ssl.SSLError if the file can't be
    used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies, and checks names
    context.minimum_version = _VERSIONS[version]
    context.load_verify_locations(cafile=authorities)
    return context
