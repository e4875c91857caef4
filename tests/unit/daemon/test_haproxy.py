"""How the daemon makes HAProxy its balancer, and what it says when it can't."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.unit.balancer.haproxy.fake import FakeHaproxy, Launcher, program

from warrener.balancer.haproxy.process import Launch
from warrener.cluster.spec import ClusterSpec
from warrener.cluster.tls.cluster import ClusterTls
from warrener.daemon.errors import DaemonError
from warrener.daemon.haproxy import haproxy_factory, haproxy_tls, remove_files
from warrener.facts.balance import Backend
from warrener.facts.happenings import Event, Progress
from warrener.facts.ids import NodeName
from warrener.facts.settings import BalancerSettings
from warrener.facts.tls import TlsSettings

OFF = TlsSettings()


class Host:
    """A cluster with one node."""

    def __init__(self, folder: Path, tls: TlsSettings = OFF) -> None:
        self.state = folder / "state"
        (self.state / "log").mkdir(parents=True)
        self.launcher = Launcher()
        self.tls = ClusterTls(tls, self.state, cluster="one")
        self.tls.prepare()
        self.plain_port = 0
        self.parts: list[str] = []

    def backends(self) -> tuple[Backend, ...]:
        return (Backend(NodeName("n1@localhost"), "127.0.0.1", 5001),)

    def credentials(self) -> tuple[str, str]:
        return ("warrener", "secret")

    def start_beside(
        self,
        part: str,
        arguments: Sequence[str],
        *,
        folder: Path,
        output: Path,
        descriptors: Sequence[int] = (),
    ) -> FakeHaproxy:
        self.parts.append(part)
        return self.launcher(Launch(arguments, folder, output, descriptors))


def spec(folder: Path, **changes: object) -> ClusterSpec:
    settings = {"haproxy": program(folder), **changes}
    return ClusterSpec(balancer=BalancerSettings(**settings))  # type: ignore[arg-type]


async def test_it_is_a_part_of_the_cluster_with_its_files_in_the_state_folder(
    tmp_path: Path,
) -> None:
    host = Host(tmp_path)
    events: list[Event] = []
    said: list[Progress] = []
    balancer = haproxy_factory(spec(tmp_path), host, events.append, said.append)(0)
    await balancer.start()
    assert host.parts == ["haproxy"]
    config = host.state / "haproxy" / "haproxy.cfg"
    assert "server n1 127.0.0.1:1 weight 1 disabled" in config.read_text()
    assert "secret" not in config.read_text()
    assert (host.state / "log" / "haproxy.log").exists()
    await balancer.close()
    assert not config.parent.exists()
    assert said == []


def test_what_a_killed_daemons_haproxy_left_can_be_removed(tmp_path: Path) -> None:
    (tmp_path / "haproxy").mkdir()
    (tmp_path / "haproxy" / "haproxy.cfg").write_text("x")
    (tmp_path / "log").mkdir()
    remove_files(tmp_path)
    remove_files(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


async def test_settings_that_mean_nothing_to_haproxy_are_named(tmp_path: Path) -> None:
    said: list[Progress] = []
    wanted = spec(tmp_path, settle_timeout=1.0)
    haproxy_factory(wanted, Host(tmp_path), lambda event: None, said.append)(0)
    assert [step.text for step in said] == ["HAProxy has no use for settle_timeout; left aside"]


async def test_no_haproxy_is_an_error_for_people(tmp_path: Path) -> None:
    wanted = spec(tmp_path, haproxy="/no/haproxy")
    balancer = haproxy_factory(wanted, Host(tmp_path), lambda event: None, lambda step: None)(0)
    with pytest.raises(DaemonError, match="no HAProxy: /no/haproxy isn't there"):
        await balancer.start()


async def test_a_haproxy_that_does_not_start_is_told_in_its_own_words(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.launcher.next_dies = 1
    balancer = haproxy_factory(spec(tmp_path), host, lambda event: None, lambda step: None)(0)
    with pytest.raises(DaemonError, match="ended with exit status 1"):
        await balancer.start()


async def test_with_tls_haproxy_reads_the_clusters_files(tmp_path: Path) -> None:
    """By links: a key is in one place. The CA's key isn't among them."""
    host = Host(tmp_path, TlsSettings(enabled=True, verify_clients=True))
    balancer = haproxy_factory(spec(tmp_path), host, lambda event: None, lambda step: None)(0)
    await balancer.start()
    folder = host.state / "haproxy"
    links = {path.name: path.readlink() for path in folder.iterdir() if path.is_symlink()}
    assert links == {
        "certificate.pem": host.tls.files.balancer,
        "client-ca.pem": host.tls.files.client_ca,
        "trust.pem": host.tls.files.trust,
    }
    assert host.tls.files.authority.read_bytes() not in (
        path.read_bytes() for path in folder.iterdir() if path.is_file()
    )
    assert balancer.statistics().tls
    assert balancer.statistics().plain_port is None
    await balancer.close()
    assert host.tls.files.balancer.exists()


def test_only_the_parts_that_are_on_have_files(tmp_path: Path) -> None:
    def parts(**parts: bool) -> tuple[bool, bool, bool]:
        tls = ClusterTls(TlsSettings(enabled=True, **parts), tmp_path, cluster="one")
        found = haproxy_tls(tls)
        return bool(found.certificate), bool(found.client_authorities), bool(found.trust)

    assert parts() == (True, False, True)
    assert parts(verify_clients=True) == (True, True, True)
    assert parts(clients=False) == (False, False, True)
    assert parts(links=False) == (True, False, False)


async def test_certificates_that_haproxy_does_not_take_are_told(tmp_path: Path) -> None:
    host = Host(tmp_path, TlsSettings(enabled=True))
    balancer = haproxy_factory(spec(tmp_path), host, lambda event: None, lambda step: None)(0)
    await balancer.start()
    host.launcher.running.refuses = "no"
    with pytest.raises(DaemonError, match="HAProxy hasn't taken"):
        await balancer.reload_tls()
    await balancer.close()
