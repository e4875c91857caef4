"""``[tls]`` of warrener.toml: short form, every key, and what is wrong told with line and fix."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from warrener.cluster.spec import SpecError, parse_spec
from warrener.cluster.tls.certificates import Use, Wanted, make_authority, make_certificate
from warrener.facts.data_plane import DataPlane
from warrener.facts.tls import TlsPart, TlsSettings, TlsVersion


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    now = datetime.now(UTC)
    authority = make_authority("a company", now)
    made = make_certificate(authority, Wanted("mq", Use.BALANCER, ("mq.example.com",)), now)
    for name, data in (
        ("ca.pem", authority.certificate),
        ("mq.pem", made.certificate),
        ("mq.key", made.key),
    ):
        (tmp_path / name).write_bytes(data)
        (tmp_path / name).chmod(0o600)
    return tmp_path


def mistakes(text: str, folder: Path = Path()) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_spec(text, source="w.toml", folder=folder)
    return str(caught.value).splitlines()


def test_off_without_the_table() -> None:
    spec = parse_spec("")
    assert spec.tls == TlsSettings()
    assert not any(spec.tls.has(part) for part in TlsPart)


@pytest.mark.parametrize("text", ["[tls]", "[tls]\nenabled = true", "tls = { enabled = true }"])
def test_the_short_form_is_everything(text: str) -> None:
    spec = parse_spec(text)
    assert spec.tls == TlsSettings(enabled=True)
    assert all(spec.tls.has(part) for part in TlsPart)
    assert spec.balancer.plain is None  # no plain port beside it


def test_every_key(folder: Path) -> None:
    spec = parse_spec(
        """
        [tls]
        enabled = true
        clients = true
        links = false
        management = false
        inter_node = false
        min_version = "1.3"
        verify_clients = true
        ca = "ca.pem"
        certificate = "mq.pem"
        key = "mq.key"
        client_ca = "ca.pem"
        [balancer]
        tls_port = 5671
        plain = true
        port = 5672
        """,
        folder=folder,
    )
    assert spec.tls == TlsSettings(
        enabled=True,
        links=False,
        management=False,
        inter_node=False,
        min_version=TlsVersion.V1_3,
        verify_clients=True,
        ca=folder / "ca.pem",
        certificate=folder / "mq.pem",
        key=folder / "mq.key",
        client_ca=folder / "ca.pem",
    )
    assert (spec.balancer.tls_port, spec.balancer.plain) == (5671, True)
    assert [part for part in TlsPart if spec.tls.has(part)] == [TlsPart.CLIENTS]


def test_names() -> None:
    assert parse_spec('[tls]\nnames = ["mq.example.com", "10.0.0.7"]').tls.names == (
        "mq.example.com",
        "10.0.0.7",
    )
    assert "allowed: host names and addresses" in mistakes('[tls]\nnames = ["a b"]')[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[tls]\nenable = true", "w.toml:2:1: tls.enable: unknown key"),
        (
            '[tls]\nmin_version = "1.1"',
            'w.toml:2:1: tls.min_version: "1.1" can\'t be used; allowed: "1.2", "1.3"',
        ),
        ("tls = true", "w.toml:1:1: tls: true can't be used; allowed: a table: [tls]"),
        ('[tls]\nca = "ca.pem"', "tls.ca: goes with `certificate` and `key`"),
        ("[tls]\nverify_clients = true\nclients = false", "goes with TLS for clients"),
        ('[tls]\nclient_ca = "x"', "goes with verify_clients = true"),
        ("[balancer]\ntls_port = 5671", "w.toml:2:1: balancer.tls_port: goes with TLS"),
        ("[balancer]\nplain = false", "balancer.plain: clients would have no port at all"),
        ("[tls]\n[balancer]\nport = 5672", "balancer.port: is the port without TLS"),
        (
            "[tls]\n[balancer]\nport = 5672\nplain = true\ntls_port = 5672",
            "w.toml:5:1: balancer.tls_port: is the plain port, too",
        ),
    ],
)
def test_mistakes_have_their_line_and_what_to_do(text: str, told: str) -> None:
    found = mistakes(text)
    assert told in found[0]
    assert "; allowed: " in found[0]
    assert found[0].startswith("w.toml:")


def test_haproxy_speaks_it_as_well() -> None:
    spec = parse_spec('[tls]\n[balancer]\ndata_plane = "haproxy"\ntls_port = 5671\nplain = true')
    assert all(map(spec.tls.has, TlsPart))
    assert parse_spec("[tls]").with_data_plane(DataPlane.HAPROXY).tls == spec.tls


OWN = '[tls]\nca = "ca.pem"\ncertificate = "mq.pem"\nkey = "mq.key"\n'


def test_files_are_looked_at_where_the_file_is_read(folder: Path) -> None:
    assert parse_spec(OWN, folder=folder).tls.own
    os.chmod(folder / "mq.key", 0o644)
    (folder / "ca.pem").write_bytes(make_authority("another", datetime.now(UTC)).certificate)
    key, authority = sorted(mistakes(OWN, folder), key=lambda line: "tls.ca" in line)
    assert key.startswith("w.toml:4:1: tls.key: ")
    assert "can be read by others (mode 0644); allowed: only its owner may read it" in key
    assert authority.startswith("w.toml:2:1: tls.ca: ")
    assert "doesn't lead to" in authority
    off = OWN.replace("[tls]", "[tls]\nenabled = false")
    assert not parse_spec(off, folder=folder).tls.enabled
