"""What nodes are told."""

from dataclasses import replace
from pathlib import Path

import pytest

from warrener.cluster.drivers.node_config import own_settings
from warrener.cluster.drivers.ports import NodePorts
from warrener.cluster.tls.node_settings import (
    NodeTlsFiles,
    distribution_options,
    erlang_flags,
    with_tls,
)
from warrener.facts.ids import NodeName
from warrener.facts.tls import TlsSettings, TlsVersion

FILES = NodeTlsFiles(
    Path("/s/identity.pem"),
    Path("/s/trust.pem"),
    Path("/s/shown.pem"),
    Path("/s/shown-trust.pem"),
    Path("/s/distribution.config"),
)
ON = TlsSettings(enabled=True)
OWN = own_settings(
    release=(3, 10),
    cluster_name="c",
    members=[NodeName("n1@localhost")],
    ports=NodePorts(1, 2, 3, 4),
    user="u",
    password="p",
)


def test_without_tls_nothing_changes() -> None:
    assert with_tls(OWN, TlsSettings(), FILES) == OWN
    off = replace(ON, clients=False, links=False, management=False, inter_node=False)
    assert with_tls(OWN, off, FILES) == OWN
    assert erlang_flags(off, FILES) == ""


def test_nothing_listens_in_plain() -> None:
    told = with_tls(OWN, ON, FILES)
    assert told["listeners.tcp"] == "none"
    assert told["listeners.ssl.1"] == "127.0.0.1:1"
    assert (told["management.ssl.port"], told["prometheus.ssl.port"]) == ("2", "3")
    assert not [key for key in told if ".tcp." in key]
    assert told["ssl_options.keyfile"] == told["ssl_options.certfile"] == "/s/identity.pem"
    assert told["management.ssl.certfile"] == "/s/shown.pem"


def test_each_part_by_itself() -> None:
    links = with_tls(OWN, replace(ON, management=False), FILES)
    assert links["management.tcp.port"] == "2"
    assert not [key for key in links if key.startswith(("management.ssl", "prometheus.ssl"))]
    web = with_tls(OWN, replace(ON, links=False), FILES)
    assert web["listeners.tcp.1"] == "127.0.0.1:1"
    assert not [key for key in web if key.startswith(("ssl_options", "listeners.ssl"))]


@pytest.mark.parametrize(
    ("version", "versions"),
    [(TlsVersion.V1_2, ["tlsv1.3", "tlsv1.2"]), (TlsVersion.V1_3, ["tlsv1.3"])],
)
def test_the_oldest_version(version: TlsVersion, versions: list[str]) -> None:
    settings = replace(ON, min_version=version)
    told = with_tls(OWN, settings, FILES)
    found = [value for key, value in told.items() if key.startswith("ssl_options.versions")]
    assert found == versions
    erlang = ",".join(f"'{one}'" for one in versions)
    assert f"{{versions, [{erlang}]}}" in distribution_options(settings, FILES)


def test_both_sides_of_a_distribution_are_verified() -> None:
    text = distribution_options(ON, FILES)
    assert text.count("{verify, verify_peer}") == 2
    assert "{fail_if_no_peer_cert, true}" in text
    assert "verify_none" not in text


def test_odd_paths_are_quoted() -> None:
    odd = replace(FILES, options=Path("/a b/it's"), trust=Path('/a"b\\c'))
    assert erlang_flags(ON, odd).endswith(r"-ssl_dist_optfile '/a b/it'\''s'")
    assert r'{cacertfile, "/a\"b\\c"}' in distribution_options(ON, odd)
