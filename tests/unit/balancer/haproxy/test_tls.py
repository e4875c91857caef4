"""What HAProxy is told about TLS, and whether it has taken that."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from warrener.balancer.haproxy.plan import Admission, Server
from warrener.balancer.haproxy.tls import (
    CERTIFICATE,
    TRUST,
    HaproxyTls,
    is_taken,
    kind,
    read_names,
    render_names,
)
from warrener.cluster.tls.certificates import make_authority

ONE, OTHER = (make_authority(name, datetime.now(UTC)).certificate for name in ("one", "other"))
SERVERS = (
    Server("n1", "127.0.0.1", 5001, Admission.READY, 1, 1, "n1"),
    Server("spare-1", "127.0.0.1", 1, Admission.MAINT, 1, 1),
)


def said(*pems: bytes) -> str:
    """As HAProxy 2.6.12 has it."""
    prints = [
        one.fingerprint(hashes.SHA1()).hex().upper()
        for pem in pems
        for one in x509.load_pem_x509_certificates(pem)
    ]
    return "Filename: x\nStatus: Used\n" + "".join(
        f"Certificate #1:\nSerial: 0\nSHA1 FingerPrint: {one}\nSubject: /CN=x\n" for one in prints
    )


def test_only_files_that_are_needed_are_there() -> None:
    shown, clients, trust = (Path(name) for name in ("/shown", "/clients", "/trust"))
    assert HaproxyTls().files(SERVERS) == {}
    assert HaproxyTls(shown).files(SERVERS) == {"certificate.pem": shown}
    assert HaproxyTls(shown, clients).files(SERVERS)["client-ca.pem"] == clients
    assert HaproxyTls(None, None, trust, b"any").files(SERVERS) == {
        "trust.pem": trust,
        "placeholder.pem": b"any",
        "names.map": "n1 n1\nspare-1 no.node\n",
    }


def test_what_clients_are_verified_with_is_never_given_to_one_that_runs() -> None:
    """HAProxy 2.6.12 ends by it."""
    tls = HaproxyTls(Path("/shown"), Path("/clients"), Path("/trust"), b"any")
    assert list(tls.changeable()) == [TRUST, CERTIFICATE]
    assert [kind(one) for one in tls.changeable()] == ["ca-file", "cert"]


def test_authorities_are_taken_if_all_of_them_are_there_and_no_other() -> None:
    assert is_taken(TRUST, ONE + OTHER, said(OTHER, ONE))
    assert not is_taken(TRUST, ONE + OTHER, said(ONE))
    assert not is_taken(TRUST, ONE, said(ONE, OTHER))
    assert not is_taken(TRUST, ONE, "Can't display the CA file : Not found!\n")


def test_a_certificate_is_taken_if_it_is_the_first_one() -> None:
    assert is_taken(CERTIFICATE, ONE + OTHER, said(ONE))
    assert not is_taken(CERTIFICATE, ONE, said(OTHER))
    assert not is_taken(CERTIFICATE, ONE, "")


@pytest.mark.parametrize("pem", [b"", b"nothing", b"-----BEGIN CERTIFICATE-----\nA\n"])
def test_no_certificate_is_never_taken(pem: bytes) -> None:
    assert not is_taken(CERTIFICATE, pem, "")
    assert not is_taken(TRUST, pem, "")


def test_a_key_is_not_in_what_is_shown_of_it() -> None:
    assert "secret" not in repr(HaproxyTls(placeholder=b"secret"))


def test_names_are_read_as_they_are_written() -> None:
    rows = [
        f"0x55d{number} {line}" for number, line in enumerate(render_names(SERVERS).split("\n"))
    ]
    assert read_names("\n".join(rows)) == {"n1": "n1", "spare-1": "no.node"}
    assert read_names("nonsense\n") == {}
