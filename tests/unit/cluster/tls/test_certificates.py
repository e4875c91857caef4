"""What is made can be used by Python's ``ssl``; what is read is told as it stands there."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from warrener.cluster.tls.certificates import (
    AUTHORITY_LIFE,
    CERTIFICATE_LIFE,
    CLOCKS_DIFFER,
    Identity,
    NotReadable,
    Use,
    Wanted,
    certificates_in,
    describe,
    describe_all,
    issued_within,
    key_matches,
    make_authority,
    make_certificate,
    read_certificates,
)

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
NODE = Wanted("n1@localhost", Use.NODE, ("n1", "localhost", "127.0.0.1", "::1"))


@pytest.fixture(scope="module")
def authority() -> Identity:
    return make_authority("orders CA", NOW)


@pytest.fixture(scope="module")
def node(authority: Identity) -> Identity:
    return make_certificate(authority, NODE, NOW)


def test_what_a_certificate_says(authority: Identity, node: Identity) -> None:
    said = describe(node.certificate)
    assert said.subject == "CN=n1@localhost,O=Warrener"
    assert said.issuer == describe(authority.certificate).subject == "CN=orders CA,O=Warrener"
    assert sorted(said.names) == sorted(NODE.names)
    assert (said.begins, said.ends) == (NOW - CLOCKS_DIFFER, NOW + CERTIFICATE_LIFE)
    assert not said.authority
    assert describe(authority.certificate).authority
    assert describe(authority.certificate).ends == NOW + AUTHORITY_LIFE
    assert len(said.sha256.split(":")) == 32


def test_a_nodes_address_is_also_a_name(authority: Identity) -> None:
    """As Erlang's distribution looks for it; loopback addresses are no node's name."""
    wanted = Wanted("n1@10.0.0.1", Use.NODE, ("n1", "10.0.0.1", "localhost", "127.0.0.1"))
    made = x509.load_pem_x509_certificate(make_certificate(authority, wanted, NOW).certificate)
    found = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert found.get_values_for_type(x509.DNSName) == ["n1", "localhost", "10.0.0.1"]
    addresses = map(str, found.get_values_for_type(x509.IPAddress))
    assert list(addresses) == ["10.0.0.1", "127.0.0.1"]


@pytest.mark.parametrize(
    ("use", "server", "client"),
    [(Use.NODE, True, True), (Use.BALANCER, True, False), (Use.CLIENT, False, True)],
)
def test_what_a_certificate_is_good_for(
    authority: Identity, use: Use, server: bool, client: bool
) -> None:
    made = make_certificate(authority, Wanted("x", use), NOW)
    extended = (
        read_certificates(made.certificate)[0]
        .extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        .value
    )
    assert (x509.ExtendedKeyUsageOID.SERVER_AUTH in extended) == server
    assert (x509.ExtendedKeyUsageOID.CLIENT_AUTH in extended) == client


def test_a_ca_issues_no_further_cas(authority: Identity) -> None:
    found = read_certificates(authority.certificate)[0].extensions
    assert found.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


def test_a_certificate_does_not_outlive_its_ca(authority: Identity) -> None:
    late = NOW + AUTHORITY_LIFE - timedelta(days=10)
    assert describe(make_certificate(authority, NODE, late).certificate).ends == (
        NOW + AUTHORITY_LIFE
    )


def test_python_shakes_hands_with_them(authority: Identity, tmp_path_factory: object) -> None:
    """Name and chain are verified, in memory; the time is the real one."""
    now = datetime.now(UTC)
    own = make_authority("a CA", now)
    made = make_certificate(own, NODE, now)
    _shake(made, own, "n1")
    _shake(made, own, "127.0.0.1")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        _shake(made, own, "n2")
    with pytest.raises(ssl.SSLCertVerificationError, match="verify failed"):
        _shake(made, authority, "n1")


def _shake(server: Identity, trusted: Identity, name: str) -> None:
    import tempfile

    shows = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(server.pem)
        file.flush()
        shows.load_cert_chain(file.name)
    verifies = ssl.create_default_context(cadata=trusted.certificate.decode())
    one, two = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = verifies.wrap_bio(one, two, server_hostname=name)
    listening = shows.wrap_bio(two, one, server_side=True)
    done: set[str] = set()
    for _ in range(10):
        for side, what in ((client, "client"), (listening, "server")):
            if what not in done:
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
                done.add(what)
    assert done == {"client", "server"}


def test_a_key_goes_with_its_certificate_alone(authority: Identity, node: Identity) -> None:
    other = make_certificate(authority, NODE, NOW)
    assert key_matches(node.key, node.certificate)
    assert not key_matches(other.key, node.certificate)
    assert not key_matches(
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ),
        node.certificate,
    )


def test_a_key_with_a_password_is_told(node: Identity) -> None:
    locked = load_pem_private_key(node.key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
    )
    with pytest.raises(NotReadable, match="password"):
        key_matches(locked, node.certificate)
    with pytest.raises(NotReadable, match="no private key"):
        key_matches(b"nothing", node.certificate)


def test_a_chain_leads_to_its_ca(authority: Identity, node: Identity) -> None:
    assert issued_within(node.certificate, authority.certificate, NOW)
    other = make_authority("orders CA", NOW)  # of the same name
    assert not issued_within(node.certificate, other.certificate, NOW)
    assert issued_within(node.certificate, other.certificate + authority.certificate, NOW)
    after = NOW + AUTHORITY_LIFE + timedelta(days=1)
    assert not issued_within(node.certificate, authority.certificate, after)


@pytest.mark.parametrize(
    "raw", [b"", b"\xff\xfe", b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_certificate(raw: bytes) -> None:
    with pytest.raises(NotReadable):
        describe(raw)


def test_only_certificates_are_handed_out(authority: Identity, node: Identity) -> None:
    """What is copied to be read by clients has no key in it, whatever was in the file."""
    found = certificates_in(node.pem + authority.pem)
    assert found.count(b"BEGIN CERTIFICATE") == 2
    assert b"PRIVATE" not in found
    assert [one.authority for one in describe_all(found)] == [False, True]


def test_a_key_is_not_shown(node: Identity) -> None:
    assert "PRIVATE" not in repr(node)
