"""Keys and certificates: made, and read. Bytes in, values out; the time is passed in.

Keys are elliptic (P-256): every TLS library of the last ten years speaks it, Erlang's included, and
a handshake costs a tenth of what RSA's does. Serial numbers and keys come from the operating
system's source of chance, as they have to.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE: Final = timedelta(days=3650)
CERTIFICATE_LIFE: Final = timedelta(days=365)
"""Renewed by the daemon when a third of it is left, four months."""

CLOCKS_DIFFER: Final = timedelta(minutes=10)
"""A certificate is valid from so long ago: another machine's clock may be behind."""

_LONGEST_NAME: Final = 64  # RFC 5280: ub-common-name


class Use(StrEnum):
    """What a certificate is good for."""

    AUTHORITY = "authority"
    NODE = "node"  # server; and client, as nodes connect to one another
    BALANCER = "balancer"  # server
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key, PEM. ``repr`` leaves the key out."""

    certificate: bytes
    key: bytes = field(repr=False)

    @property
    def pem(self) -> bytes:
        """Both in one, as they are kept."""
        return self.key + self.certificate


@dataclass(frozen=True, slots=True)
class Wanted:
    """A certificate to be made. ``names`` are host names and addresses it is valid for."""

    common_name: str
    use: Use
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Described:
    """What a certificate says. Times are UTC; ``sha256`` is its fingerprint, ``AB:CD:...``."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    begins: datetime
    ends: datetime
    sha256: str
    authority: bool


class NotReadable(ValueError):
    """Bytes that hold no certificate or key; the text says what is wrong."""


def make_authority(name: str, now: datetime) -> Identity:
    """A new CA that may issue certificates and no further CAs."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    builder = (
        _begun(subject, subject, key.public_key(), now, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign=True), critical=True)
    )
    return _identity(builder.sign(key, hashes.SHA256()), key)


def make_certificate(authority: Identity, wanted: Wanted, now: datetime) -> Identity:
    """A certificate with a new key, signed by ``authority``, which it doesn't outlive."""
    signer = load_pem_private_key(authority.key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey), "authorities are made here"
    issuer = read_certificates(authority.certificate)[0]
    key = ec.generate_private_key(ec.SECP256R1())
    life = min(CERTIFICATE_LIFE, issuer.not_valid_after_utc - now)
    builder = (
        _begun(_name(wanted.common_name), issuer.subject, key.public_key(), now, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_EXTENDED[wanted.use]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if wanted.names:
        names = x509.SubjectAlternativeName(_generals(wanted))
        builder = builder.add_extension(names, critical=False)
    return _identity(builder.sign(signer, hashes.SHA256()), key)


_EXTENDED: Final = {
    Use.NODE: (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
    Use.BALANCER: (ExtendedKeyUsageOID.SERVER_AUTH,),
    Use.CLIENT: (ExtendedKeyUsageOID.CLIENT_AUTH,),
}


def describe(pem: bytes) -> Described:
    """The first certificate in ``pem``. NotReadable if there is none."""
    return _described(read_certificates(pem)[0])


def describe_all(pem: bytes) -> tuple[Described, ...]:
    """All of them, in their order. NotReadable if there is none."""
    return tuple(_described(one) for one in read_certificates(pem))


def read_certificates(pem: bytes) -> list[x509.Certificate]:
    """The certificates in ``pem``, in their order. NotReadable if there is none, or a broken
    one."""
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        raise NotReadable("holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise NotReadable(f"holds a certificate that can't be read: {error}") from None


def certificates_in(pem: bytes) -> bytes:
    """``pem`` without its keys, or anything else that isn't a certificate."""
    return b"".join(one.public_bytes(Encoding.PEM) for one in read_certificates(pem))


def key_matches(key: bytes, certificate: bytes) -> bool:
    """Whether a private key is that of the first certificate. NotReadable if either isn't one, or
    the key has a password."""
    try:
        private = load_pem_private_key(key, None)
    except TypeError:
        raise NotReadable("is protected by a password, which nobody is there to type") from None
    except (ValueError, UnsupportedAlgorithm):
        raise NotReadable("holds no private key in PEM that can be read") from None
    return _public(private.public_key()) == _public(read_certificates(certificate)[0].public_key())


def issued_within(certificate: bytes, authorities: bytes, now: datetime) -> bool:
    """Whether the first certificate leads, over those that come after it in the file, to one of
    ``authorities``, each step signed and valid at ``now``. NotReadable if either isn't one."""
    chain = read_certificates(certificate)
    trusted = read_certificates(authorities)
    at = chain[0]
    for _ in range(len(chain) + 1):
        if any(_signed_by(at, one) and _valid(one, now) for one in trusted) or at in trusted:
            return True
        issuer = next((one for one in chain[1:] if one != at and _signed_by(at, one)), None)
        if issuer is None or not _valid(issuer, now):
            return False
        at = issuer
    return False


# -- inside -------------------------------------------------------------------------------------


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    life: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now.astimezone(UTC) - CLOCKS_DIFFER)
        .not_valid_after(now.astimezone(UTC) + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign,
        key_cert_sign=sign,
        crl_sign=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _identity(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Identity:
    return Identity(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Warrener"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name[:_LONGEST_NAME]),
        ]
    )


def _generals(wanted: Wanted) -> list[x509.GeneralName]:
    """A node's addresses also as names: Erlang's distribution takes the host of a node's name
    (n1@10.0.0.1) for one, and compares it with names alone."""
    found = [_general(name) for name in wanted.names]
    if wanted.use is Use.NODE:
        addresses = [one.value for one in found if isinstance(one, x509.IPAddress)]
        # This machine's nodes are called n1@localhost; loopback addresses are in no node's name.
        found += [x509.DNSName(str(one)) for one in addresses if not one.is_loopback]
    return list(dict.fromkeys(found))


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _described(certificate: x509.Certificate) -> Described:
    raw = certificate.fingerprint(hashes.SHA256()).hex().upper()
    return Described(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        names=tuple(_names(certificate)),
        begins=certificate.not_valid_before_utc,
        ends=certificate.not_valid_after_utc,
        sha256=":".join(raw[at : at + 2] for at in range(0, len(raw), 2)),
        authority=_is_authority(certificate),
    )


def _names(certificate: x509.Certificate) -> Sequence[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    addresses = [str(one) for one in found.get_values_for_type(x509.IPAddress)]
    return [*found.get_values_for_type(x509.DNSName), *addresses]


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (x509.ExtensionNotFound, ValueError):
        return False


def _public(key: object) -> bytes:
    raw: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]  # every kind of public key has it
    return raw


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _valid(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
