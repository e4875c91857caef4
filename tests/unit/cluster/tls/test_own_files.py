"""The user's own certificate: each thing that can be wrong with it is named, with its key."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from warrener.cluster.tls.certificates import (
    Identity,
    Use,
    Wanted,
    make_authority,
    make_certificate,
)
from warrener.cluster.tls.own_files import problems, read_own
from warrener.facts.tls import TlsSettings

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
AUTHORITY = make_authority("a company", NOW)
MADE = make_certificate(AUTHORITY, Wanted("mq", Use.BALANCER, ("mq.example.com",)), NOW)


@pytest.fixture
def settings(tmp_path: Path) -> TlsSettings:
    (tmp_path / "ca.pem").write_bytes(AUTHORITY.certificate)
    (tmp_path / "mq.pem").write_bytes(MADE.certificate)
    (tmp_path / "mq.key").write_bytes(MADE.key)
    (tmp_path / "mq.key").chmod(0o600)
    return TlsSettings(
        enabled=True,
        ca=tmp_path / "ca.pem",
        certificate=tmp_path / "mq.pem",
        key=tmp_path / "mq.key",
    )


def told(settings: TlsSettings, now: datetime = NOW) -> list[tuple[str, str]]:
    return [(one.key, one.text) for one in problems(settings, now)]


def test_nothing_is_wrong(settings: TlsSettings) -> None:
    assert told(settings) == []
    identity, authorities = read_own(settings)
    assert identity == Identity(MADE.certificate, MADE.key)
    assert authorities == AUTHORITY.certificate


def test_switched_off_nothing_is_looked_at(settings: TlsSettings) -> None:
    assert told(replace(settings, enabled=False, ca=Path("/nowhere"))) == []


def _remove_ca(settings: TlsSettings, folder: Path) -> None:
    (folder / "ca.pem").unlink()


def _open_key(settings: TlsSettings, folder: Path) -> None:
    (folder / "mq.key").chmod(0o640)


def _other_key(settings: TlsSettings, folder: Path) -> None:
    other = make_certificate(AUTHORITY, Wanted("mq", Use.BALANCER, ("x",)), NOW)
    (folder / "mq.key").write_bytes(other.key)


def _no_key(settings: TlsSettings, folder: Path) -> None:
    (folder / "mq.key").write_bytes(b"nothing")


def _other_ca(settings: TlsSettings, folder: Path) -> None:
    (folder / "ca.pem").write_bytes(make_authority("a company", NOW).certificate)


def _no_ca(settings: TlsSettings, folder: Path) -> None:
    (folder / "ca.pem").write_bytes(MADE.certificate)


def _no_certificate(settings: TlsSettings, folder: Path) -> None:
    (folder / "mq.pem").write_bytes(b"\x30\x82")


def _no_names(settings: TlsSettings, folder: Path) -> None:
    made = make_certificate(AUTHORITY, Wanted("mq", Use.BALANCER), NOW)
    (folder / "mq.pem").write_bytes(made.certificate)
    (folder / "mq.key").write_bytes(made.key)


@pytest.mark.parametrize(
    ("spoil", "key", "text"),
    [
        (_remove_ca, "ca", "can't be read: No such file"),
        (_open_key, "key", "can be read by others (mode 0640)"),
        (_other_key, "key", "isn't the key of"),
        (_no_key, "key", "holds no private key"),
        (_other_ca, "ca", "doesn't lead to"),
        (_no_ca, "ca", "is no authority"),
        (_no_certificate, "certificate", "holds no certificate"),
        (_no_names, "certificate", "names no host"),
    ],
)
def test_what_is_wrong_is_told(
    settings: TlsSettings,
    tmp_path: Path,
    spoil: Callable[[TlsSettings, Path], None],
    key: str,
    text: str,
) -> None:
    spoil(settings, tmp_path)
    found = told(settings)
    assert [one[0] for one in found] == [key]
    assert text in found[0][1]
    assert all(one.fix for one in problems(settings, NOW))


def test_out_of_its_time(settings: TlsSettings) -> None:
    late = told(settings, NOW + timedelta(days=366))
    assert [key for key, _ in late] == ["certificate"]
    assert "has expired on 2027-11-26" in late[0][1]
    early = dict(told(settings, NOW - timedelta(days=1)))
    assert "is valid from 2026-11-26" in early["certificate"]
    assert "is valid from" in early["ca"]


def test_an_authority_in_between_comes_after_the_certificate(
    settings: TlsSettings, tmp_path: Path
) -> None:
    """The file may hold a chain; here one that isn't needed does no harm."""
    with (tmp_path / "mq.pem").open("ab") as file:
        file.write(make_authority("another", NOW).certificate)
    assert told(settings) == []


def test_what_clients_are_verified_with_is_looked_at_without_a_certificate(
    tmp_path: Path,
) -> None:
    settings = TlsSettings(enabled=True, verify_clients=True, client_ca=tmp_path / "clients.pem")
    assert told(settings)[0][0] == "client_ca"
