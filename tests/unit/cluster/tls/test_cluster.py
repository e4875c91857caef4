"""The files of one cluster over its life: made once, renewed, rotated, whatever ends in between."""

import ssl
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from warrener.cluster.errors import ClusterError
from warrener.cluster.tls.certificates import (
    Use,
    Wanted,
    describe,
    issued_within,
    make_authority,
    make_certificate,
)
from warrener.cluster.tls.cluster import ClusterTls
from warrener.cluster.tls.rotation import Act, Phase
from warrener.facts.ids import NodeName
from warrener.facts.tls import TlsPart, TlsSettings

N1, N2 = NodeName("n1@localhost"), NodeName("n2@localhost")
ON = TlsSettings(enabled=True)


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start(tmp_path: Path, clock: Clock) -> Callable[..., ClusterTls]:
    """A start of the daemon, as far as its certificates go."""

    def begin(settings: TlsSettings = ON, host: str = "127.0.0.1") -> ClusterTls:
        tls = ClusterTls(settings, tmp_path, cluster="orders", host=host, now=clock)
        tls.prepare()
        for name in (N1, N2):
            tls.prepare_node(name)
        return tls

    return begin


def prints(tls: ClusterTls) -> dict[str, str]:
    return {f"{one.whose} {one.what}": one.described.sha256 for one in tls.listed()}


def rotate(tls: ClusterTls, *, authority: bool) -> None:
    for act in tls.rotation(authority=authority):
        if act is Act.RELOAD:
            tls.reload()
        else:
            tls.perform(act)


def all_lead_to_the_trust(tls: ClusterTls, now: datetime) -> bool:
    """What everybody verifies with lets everybody's certificate pass."""
    trusts = [tls.files.trust, *(tls.node_files(name).trust for name in (N1, N2))]
    shown = [tls.files.balancer, *(tls.node_files(name).identity for name in (N1, N2))]
    return all(
        issued_within(one.read_bytes(), trust.read_bytes(), now)
        for trust in trusts
        for one in shown
    )


def test_without_tls_nothing_is_made(tmp_path: Path) -> None:
    tls = ClusterTls(TlsSettings(), tmp_path, cluster="c")
    tls.prepare()
    tls.prepare_node(N1)
    assert list(tmp_path.iterdir()) == []
    assert (tls.listed(), tls.due(), tls.scheme) == ([], [], "http")
    assert tls.link(N1) is None
    assert tls.management(N1) is None


def test_another_start_keeps_what_there_is(start: Callable[..., ClusterTls]) -> None:
    first = prints(start())
    assert set(first) == {
        "cluster CA",
        "balancer certificate",
        "n1 certificate",
        "n2 certificate",
    }
    assert prints(start()) == first


def test_files_are_private_and_no_node_has_the_ca_s_key(
    start: Callable[..., ClusterTls], tmp_path: Path
) -> None:
    tls = start()
    key = tls.files.authority.read_bytes().partition(b"-----END")[0]
    for path in tmp_path.rglob("*.*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        if path != tls.files.authority:
            assert key not in path.read_bytes()


def test_the_balancer_s_names(start: Callable[..., ClusterTls]) -> None:
    """Another host, or another name in the file, makes another certificate at the next start."""
    before = prints(start())
    tls = start(replace(ON, names=("mq.example.com",)), host="10.0.0.7")
    names = describe(tls.files.balancer.read_bytes()).names
    assert {"localhost", "127.0.0.1", "10.0.0.7", "mq.example.com"} <= set(names)
    after = prints(tls)
    assert {name for name in after if after[name] != before[name]} == {"balancer certificate"}


def test_a_damaged_or_strange_certificate_is_made_anew(start: Callable[..., ClusterTls]) -> None:
    tls = start()
    other = make_certificate(
        make_authority("orders CA", datetime.now(UTC)),
        Wanted(N1, Use.NODE, ("n1", "localhost", "127.0.0.1", "::1")),
        datetime.now(UTC),
    )
    tls.node_files(N1).identity.write_bytes(other.pem)
    tls.node_files(N2).identity.write_bytes(b"half a fi")
    again = start()
    assert all_lead_to_the_trust(again, datetime.now(UTC))


def test_renewed_with_a_third_of_its_life_left(
    start: Callable[..., ClusterTls], clock: Clock
) -> None:
    tls = start()
    assert tls.due() == []
    clock.now += timedelta(days=250)
    assert [one.whose for one in tls.due()] == ["balancer", "n1", "n2"]
    rotate(tls, authority=False)
    assert tls.due() == []
    clock.now += timedelta(days=250)
    assert start().due() == []  # at a start as well


def test_rotation_shows_the_new_one_to_who_comes_next(start: Callable[..., ClusterTls]) -> None:
    tls = start()
    shown, before = tls.shown, prints(tls)
    rotate(tls, authority=False)
    assert tls.shown is not shown
    after = prints(tls)
    assert before["cluster CA"] == after["cluster CA"]
    assert all(after[name] != before[name] for name in after if name != "cluster CA")


def test_a_new_ca_at_every_moment_everybody_lets_everybody_in(
    start: Callable[..., ClusterTls], clock: Clock
) -> None:
    tls = start()
    before = tls.files.ca.read_bytes()
    for number in (1, 2):
        for act in tls.rotation(authority=True):
            if act is not Act.RELOAD:
                tls.perform(act)
            assert all_lead_to_the_trust(tls, clock.now), (number, act)
        if number == 1:
            assert tls.phase is Phase.BOTH_TRUSTED
            assert tls.files.ca.read_bytes().startswith(before)
            # Clients that know the old one alone still get in, also after a rotation.
            rotate(tls, authority=False)
            assert issued_within(tls.files.balancer.read_bytes(), before, clock.now)
    assert tls.phase is Phase.STEADY
    assert not issued_within(tls.files.balancer.read_bytes(), before, clock.now)
    assert before not in tls.files.ca.read_bytes()


@pytest.mark.parametrize("phase", [1, 2])
@pytest.mark.parametrize("after", range(6))
def test_killed_in_a_rotation_of_the_ca(
    start: Callable[..., ClusterTls], clock: Clock, phase: int, after: int
) -> None:
    """After any step: the next start works, and saying it again gets there."""
    tls = start()
    if phase == 2:
        rotate(tls, authority=True)
    for act in [act for act in tls.rotation(authority=True) if act is not Act.RELOAD][:after]:
        tls.perform(act)
    tls = start()
    assert all_lead_to_the_trust(tls, clock.now)
    while tls.phase is not Phase.STEADY:
        rotate(tls, authority=True)
    assert all_lead_to_the_trust(tls, clock.now)


def test_killed_while_the_old_ca_was_dropped(
    start: Callable[..., ClusterTls], clock: Clock
) -> None:
    """Between the two files of that step."""
    tls = start()
    rotate(tls, authority=True)
    tls.perform(Act.ISSUE_BY_NEXT)
    tls.files.authority.write_bytes(tls.files.next_authority.read_bytes())
    again = start()
    assert again.phase is Phase.STEADY
    assert all_lead_to_the_trust(again, clock.now)


def test_an_expired_ca_ends_a_start(start: Callable[..., ClusterTls], clock: Clock) -> None:
    start()
    clock.now += timedelta(days=3700)
    with pytest.raises(ClusterError, match="has expired on"):
        start()


def test_a_node_that_is_added_gets_its_own(start: Callable[..., ClusterTls]) -> None:
    tls = start()
    n3 = NodeName("n3@localhost")
    tls.prepare_node(n3)
    assert "n3 certificate" in prints(tls)
    tls.forget_node(n3)
    assert "n3 certificate" not in prints(tls)
    tls.forget_node(n3)


def test_parts_that_are_off(start: Callable[..., ClusterTls]) -> None:
    tls = start(replace(ON, links=False, management=False))
    assert tls.link(N1) is None
    assert tls.management(N1) is None
    assert tls.has(TlsPart.CLIENTS)
    link = start().link(N1)
    assert link is not None
    assert link.server_name == "n1"
    assert link.context().verify_mode is ssl.CERT_REQUIRED
    assert link.context().check_hostname


# -- the user's own -----------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> TlsSettings:
    folder = tmp_path_factory.mktemp("own")
    now = datetime.now(UTC)
    authority = make_authority("a company", now)
    (folder / "company.pem").write_bytes(authority.pem)
    settings = replace(
        ON, ca=folder / "ca.pem", certificate=folder / "mq.pem", key=folder / "mq.key"
    )
    renew(settings)
    return settings


def renew(settings: TlsSettings) -> None:
    """The user gets another certificate of the company's."""
    from warrener.cluster.tls.files import read_identity

    assert settings.ca is not None
    assert settings.certificate is not None
    assert settings.key is not None
    authority = read_identity(settings.ca.with_name("company.pem"))
    assert authority is not None
    wanted = Wanted("mq", Use.BALANCER, ("*.example.com", "127.0.0.1"))
    made = make_certificate(authority, wanted, datetime.now(UTC))
    settings.ca.write_bytes(authority.certificate)
    settings.certificate.write_bytes(made.certificate)
    settings.key.write_bytes(made.key)
    settings.key.chmod(0o600)


def test_own_certificate_for_what_users_see(
    start: Callable[..., ClusterTls], own: TlsSettings
) -> None:
    """Clients and the page get the user's; what the parts say to one another is the cluster's."""
    tls = start(own)
    assert own.ca is not None
    assert tls.files.ca.read_bytes() == own.ca.read_bytes()
    files = tls.node_files(N1)
    assert describe(files.shown.read_bytes()).issuer == "CN=a company,O=Warrener"
    assert describe(files.identity.read_bytes()).issuer == "CN=orders CA,O=Warrener"
    management = tls.management(N1)
    assert management is not None
    assert management.server_name == "warrener.example.com"
    assert "user CA" in prints(tls)


def test_own_files_are_read_again(start: Callable[..., ClusterTls], own: TlsSettings) -> None:
    tls = start(own)
    before = prints(tls)
    renew(own)
    assert prints(tls) == before
    rotate(tls, authority=False)
    after = prints(tls)
    assert after["balancer certificate"] != before["balancer certificate"]
    assert own.certificate is not None
    shown = tls.node_files(N2).shown
    assert own.certificate.read_bytes() in shown.read_bytes()


def test_own_files_that_got_bad_change_nothing(
    start: Callable[..., ClusterTls], own: TlsSettings
) -> None:
    tls = start(own)
    before = prints(tls)
    assert own.key is not None
    own.key.chmod(0o644)
    with pytest.raises(ClusterError, match=r"tls\.key: .* can be read by others"):
        rotate(tls, authority=False)
    assert prints(tls) == before


def test_own_certificates_are_not_renewed_by_themselves(
    start: Callable[..., ClusterTls], own: TlsSettings, clock: Clock
) -> None:
    tls = start(own)
    clock.now += timedelta(days=250)
    assert [one.whose for one in tls.due()] == ["n1", "n2"]


def test_a_client_s_certificate_is_what_the_balancer_verifies(
    start: Callable[..., ClusterTls], clock: Clock
) -> None:
    tls = start(replace(ON, verify_clients=True))
    assert tls.shown.verify_mode is ssl.CERT_REQUIRED
    made, authorities = tls.issue_client("orders")
    assert issued_within(made.certificate, tls.files.client_ca.read_bytes(), clock.now)
    assert b"PRIVATE" not in authorities
