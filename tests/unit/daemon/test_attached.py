"""The attached driver behind the service: what it is made of, what it tells of configuration."""

import ssl
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cluster.drivers.theirs import Theirs

from warrener.cluster.attach import Attach
from warrener.cluster.spec import ClusterSpec
from warrener.cluster.tls.certificates import make_authority
from warrener.cluster.tls.rotation import Act
from warrener.cluster.wanted import Password, PasswordKind
from warrener.control.state_folder import StateFolder
from warrener.daemon.attached import Attached, is_attached, make_attached, refuse_mixed
from warrener.daemon.errors import BAD_INPUT, DaemonError
from warrener.daemon.options import Options
from warrener.daemon.tls import balancer_tls
from warrener.facts.ids import NodeName
from warrener.facts.settings import BalancerSettings
from warrener.facts.tls import TlsSettings, TlsVersion

N1 = NodeName("n1@localhost")


def make(attach: Attach, state: Path, **options: Any) -> Attached:
    return make_of(ClusterSpec(attach=attach), state, **options)


def make_of(spec: ClusterSpec, state: Path, **options: Any) -> Attached:
    return make_attached(
        spec,
        Options(state, **options),
        state,
        progress=lambda step: None,
        on_event=lambda event: None,
    )


@pytest.mark.parametrize(
    ("attach", "told"),
    [
        (Attach(("http://a",)), "--user NAME"),
        (Attach(("http://a",), "ops"), "--password-file FILE, set WARRENER_PASSWORD"),
        (
            Attach(("http://a",), "ops", Password(PasswordKind.FILE, "none")),
            r"attach.password: .*none can't be read",
        ),
        (Attach(("https://a",), "ops", ca=Path("/none")), "/none can't be used.*PEM"),
    ],
)
def test_what_is_missing_is_named(attach: Attach, told: str, tmp_path: Path) -> None:
    with pytest.raises(DaemonError, match=told) as error:
        make(attach, tmp_path)
    assert error.value.exit_code == BAD_INPUT


def test_a_relative_file_starts_where_the_description_is(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("s3cret")
    attach = Attach(("http://a",), "ops", Password(PasswordKind.FILE, "pw"))
    made = make(attach, tmp_path, file=tmp_path / "w.toml")
    assert made.credentials() == ("ops", "s3cret")


async def test_configuration_as_far_as_the_api_tells(tmp_path: Path) -> None:
    async with Theirs().serving() as urls:
        cluster = make(Attach(tuple(urls), "ops"), tmp_path, password="right")
        await cluster.prepare()
        assert cluster.name == "warren"
        configuration = cluster.configuration
        assert configuration.running() == [N1]
        targets = [known.target for known in configuration.schema.known.values()]
        told = await configuration.values(N1, targets)
        found = {target: value.in_force for target, value in told.values.items()}
        assert found["kernel.net_ticktime"] == "60"
        assert found["rabbit.vm_memory_high_watermark"] == "1000"
        assert found["rabbit.tcp_listeners"] == "5001"
        assert found["rabbit.ssl_listeners"] is None
        assert found["rabbit.cluster_name"] == "warren"
        with pytest.raises(DaemonError, match="somebody else runs"):
            await configuration.apply(N1, targets)
        with pytest.raises(DaemonError, match="somebody else runs"):
            await cluster.restart_node(N1, 1.0)
        await cluster.stop()
    assert is_attached(tmp_path)


async def test_a_folder_that_was_attached_starts_no_cluster_of_its_own(tmp_path: Path) -> None:
    refuse_mixed(ClusterSpec(), StateFolder(tmp_path))
    async with Theirs().serving() as urls:
        cluster = make(Attach(tuple(urls), "ops"), tmp_path, password="right")
        await cluster.prepare()
        await cluster.stop()
    with pytest.raises(DaemonError, match=rf"warrener up --attach {urls[0]} --user ops"):
        refuse_mixed(ClusterSpec(), StateFolder(tmp_path))
    refuse_mixed(ClusterSpec(attach=Attach(tuple(urls))), StateFolder(tmp_path))


async def test_errors_of_the_driver_are_the_daemons(tmp_path: Path) -> None:
    cluster = make(Attach(("http://127.0.0.1:1",), "ops"), tmp_path, password="right")
    with pytest.raises(DaemonError, match="no connection"):
        await cluster.prepare()
    with pytest.raises(DaemonError, match="no member"):
        await cluster.drain_node(N1)
    with pytest.raises(DaemonError, match="no member"):
        await cluster.revive_node(N1)


# -- TLS


TLS = TlsSettings(enabled=True, management=False, inter_node=False)


async def test_clients_get_tls_before_nodes_without(tmp_path: Path) -> None:
    """The certificate is the balancer's own; nothing of the nodes' is made."""
    async with Theirs().serving() as urls:
        spec = ClusterSpec(
            attach=Attach(tuple(urls), "ops"),
            tls=replace(TLS, links=False),
            balancer=BalancerSettings(plain=True),
        )
        cluster = make_of(spec, tmp_path, password="right")
        await cluster.prepare()
        assert cluster.balancer_port != cluster.plain_port
        assert cluster.backends()[0].server_name == ""
        assert [one.whose for one in cluster.tls.listed()] == ["cluster", "balancer"]
        before = cluster.tls.shown
        for act in cluster.tls.rotation(authority=False):
            await (cluster.reload_tls() if act is Act.RELOAD else cluster.perform_tls(act))
        assert cluster.tls.shown is not before
        await cluster.stop()
    tls = balancer_tls(cluster.tls, cluster.trust.links)
    assert (tls.clients is not None, tls.links) == (True, None)


async def test_nodes_are_verified_with_the_file_that_is_named(tmp_path: Path) -> None:
    """By the host that is connected to, or the name that was given; and never with the CA that
    Warrener made for its balancer."""
    ca = tmp_path / "their-ca.pem"
    ca.write_bytes(make_authority("theirs", datetime.now(UTC)).certificate)
    async with Theirs(protocol="amqp/ssl").serving() as urls:
        for name, wanted in (("", "127.0.0.1"), ("mq.example.com", "mq.example.com")):
            attach = Attach(tuple(urls), "ops", ca=ca, certificate_name=name)
            spec = ClusterSpec(attach=attach, tls=replace(TLS, min_version=TlsVersion.V1_3))
            cluster = make_of(spec, tmp_path, password="right")
            await cluster.prepare()
            backend = cluster.backends()[0]
            assert (backend.port, backend.server_name) == (5001, wanted)
            links = balancer_tls(cluster.tls, cluster.trust.links).links
            assert links is not None
            first = links()
            assert first.minimum_version is ssl.TLSVersion.TLSv1_3
            subjects = [dict(pair[0] for pair in one["subject"]) for one in first.get_ca_certs()]
            assert [one["commonName"] for one in subjects] == ["theirs"]
            await cluster.reload_tls()
            assert links() is not first
            await cluster.stop()
    ca.write_text("nothing")
    with pytest.raises(DaemonError, match="can't be used"):
        await cluster.reload_tls()


def test_no_certificates_are_read_that_nobody_asks_for(tmp_path: Path) -> None:
    cluster = make(Attach(("http://a",), "ops", ca=tmp_path / "none"), tmp_path, password="x")
    assert (cluster.trust.web, cluster.trust.links) == (None, None)
