"""Certificates shown, rotated and renewed: in which order files, nodes and balancer get them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.daemon.scene import N1, N2, Scene, ask, until

from warrener.cluster.spec import ClusterSpec
from warrener.cluster.tls.cluster import ClusterTls
from warrener.control.node_operations import AddNodeRequest
from warrener.control.operations import STATUS, URL, StatusRequest, UrlRequest
from warrener.control.tls_operations import (
    TLS_ISSUE,
    TLS_ROTATE,
    TLS_SHOW,
    TlsIssueRequest,
    TlsRotateRequest,
    TlsShowRequest,
)
from warrener.control.wire import Refusal, Refused
from warrener.daemon import tls as daemon_tls
from warrener.daemon.errors import DaemonError
from warrener.daemon.tls import balancer_tls, with_ports
from warrener.facts.data_plane import DataPlane
from warrener.facts.settings import BalancerSettings
from warrener.facts.tls import TlsSettings

ON = TlsSettings(enabled=True)


def give(scene: Scene, path: Path, settings: TlsSettings = ON, **options: Any) -> ClusterTls:
    tls = ClusterTls(settings, path / "state", cluster="scene", **options)
    tls.prepare()
    for name in (N1, N2):
        tls.prepare_node(name)
    scene.cluster.tls = tls
    return tls


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    made = Scene(tmp_path)
    give(made, tmp_path)
    return made


async def rotate(scene: Scene, *, authority: bool = False) -> Any:
    return (await ask(scene.folder, TLS_ROTATE, TlsRotateRequest(authority)))[-1]


async def test_show(scene: Scene) -> None:
    async with scene.running():
        answer = (await ask(scene.folder, TLS_SHOW, TlsShowRequest()))[-1]
    assert [line.whose for line in answer.certificates] == ["cluster", "balancer", "n1", "n2"]
    assert all(answer.parts.values())
    assert not any(line.warning for line in answer.certificates)
    assert "PRIVATE" not in str(answer)


async def test_show_without_tls(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.running():
        answer = (await ask(scene.folder, TLS_SHOW, TlsShowRequest()))[-1]
        assert (answer.enabled, answer.certificates) == (False, [])
        with pytest.raises(Refused, match="started without TLS") as caught:
            await rotate(scene)
    assert caught.value.refusal is Refusal.BAD_ARGUMENT


async def test_damaged_files_are_told(scene: Scene) -> None:
    """A sentence with the file, for whoever looks or rotates; nothing else suffers."""
    async with scene.running():
        scene.cluster.tls.files.authority.write_bytes(b"half a fi")
        with pytest.raises(Refused, match="TLS files can't be used") as caught:
            await ask(scene.folder, TLS_SHOW, TlsShowRequest())
        assert caught.value.refusal is Refusal.FAILED
        with pytest.raises(Refused, match="TLS files can't be used"):
            await rotate(scene)
        assert (await ask(scene.folder, STATUS, StatusRequest()))[-1].tls


async def test_status_and_url_tell(scene: Scene) -> None:
    async with scene.running():
        status = (await ask(scene.folder, STATUS, StatusRequest()))[-1]
        url = (await ask(scene.folder, URL, UrlRequest()))[-1]
    assert status.tls == ["clients", "links", "management", "inter_node"]
    ca = str(scene.cluster.tls.files.ca)
    assert url.url == (f"amqps://warrener:p%2Fw@127.0.0.1:5672/%2F?cacertfile={ca}&cafile={ca}")
    assert url.ca == ca


async def test_files_first_then_nodes_and_balancer(scene: Scene) -> None:
    async with scene.running():
        answer = await rotate(scene)
        assert scene.story == ["tls: issue", "tls: nodes reload", "tls: balancer reloads"]
    assert set(answer.changed) == {f"{who} certificate" for who in ("balancer", "n1", "n2")}
    assert "tls.rotated" in scene.kinds()


async def test_a_ca_in_two_phases(scene: Scene) -> None:
    async with scene.running():
        first = await rotate(scene, authority=True)
        assert (first.phase, set(first.changed)) == ("both_trusted", {"cluster next CA"})
        second = await rotate(scene, authority=True)
        assert second.phase == "steady"
        assert set(second.changed) >= {"cluster CA", "n1 certificate"}
        acts = [line for line in scene.story if line != "tls: balancer reloads"]
    assert acts == [
        "tls: make_next",
        "tls: trust_both",
        "tls: nodes reload",
        "tls: trust_both",
        "tls: nodes reload",
        "tls: issue_by_next",
        "tls: nodes reload",
        "tls: drop_old",
        "tls: nodes reload",
    ]


async def test_nodes_that_cannot_reload_end_it_before_anything_is_dropped(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise DaemonError("n1 doesn't answer")

    async with scene.running():
        await rotate(scene, authority=True)
        monkeypatch.setattr(scene.cluster, "reload_tls", fail)
        with pytest.raises(Refused, match="n1 doesn't answer"):
            await rotate(scene, authority=True)
        assert scene.cluster.tls.files.next_authority.exists()
        monkeypatch.undo()
        assert (await rotate(scene, authority=True)).phase == "steady"


async def test_nothing_else_is_done_to_the_cluster_meanwhile(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    from warrener.control.node_operations import ADD_NODE

    goes_on = asyncio.Event()
    monkeypatch.setattr(scene.cluster, "reload_tls", goes_on.wait)
    async with scene.running():
        rotating = asyncio.create_task(rotate(scene))
        await until(lambda: "tls: issue" in scene.story)
        with pytest.raises(Refused, match="certificates are being rotated"):
            await ask(scene.folder, ADD_NODE, AddNodeRequest())
        goes_on.set()
        await rotating


@dataclass
class Clock:
    now: datetime

    def __call__(self) -> datetime:
        return self.now


async def test_what_is_due_is_renewed_by_itself(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(datetime.now(UTC))
    tls = give(scene, tmp_path, now=clock)
    monkeypatch.setattr(daemon_tls, "RENEWAL_POLL", 0.01)
    async with scene.running():
        await asyncio.sleep(0.05)
        assert scene.story == []  # nothing is due
        clock.now += timedelta(days=250)
        await until(lambda: "tls.renewed" in scene.kinds())
        assert tls.due() == []


async def test_a_renewal_that_fails_is_told_and_tried_again(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(datetime.now(UTC) + timedelta(days=250))
    give(scene, tmp_path, now=Clock(datetime.now(UTC)))
    scene.cluster.tls._now = clock
    monkeypatch.setattr(daemon_tls, "RENEWAL_POLL", 0.01)
    works = scene.cluster.reload_tls

    async def fail() -> None:
        scene.cluster.reload_tls = works  # type: ignore[method-assign]
        raise DaemonError("no node answers")

    scene.cluster.reload_tls = fail  # type: ignore[method-assign]
    async with scene.running():
        await until(lambda: "tls.renewal_failed" in scene.kinds())
        # The files are new already; what runs takes them with the next rotation or start.
        assert (await rotate(scene)).changed


async def test_a_client_s_certificate(scene: Scene) -> None:
    async with scene.running():
        answer = (await ask(scene.folder, TLS_ISSUE, TlsIssueRequest("orders")))[-1]
        assert "PRIVATE KEY" in answer.key
        assert "PRIVATE" not in answer.certificate + answer.ca
        with pytest.raises(Refused, match="a client's name"):
            await ask(scene.folder, TLS_ISSUE, TlsIssueRequest("../x"))
    assert "PRIVATE" not in scene.folder.events_log.read_text()


def test_the_ports_of_the_balancer() -> None:
    @dataclass
    class Cluster:
        tls: ClusterTls
        plain_port: int = 5672

    def ports(tls: TlsSettings, plain: bool | None) -> tuple[int, int, bool | None]:
        cluster = Cluster(ClusterTls(tls, Path("nowhere"), cluster="c"))
        spec = ClusterSpec(balancer=BalancerSettings(plain=plain), tls=tls)
        found = with_ports(spec, cluster, 7)
        return found.port, found.tls_port, found.plain

    assert ports(TlsSettings(), None) == (7, 0, True)
    assert ports(ON, None) == (0, 7, False)
    assert ports(ON, True) == (5672, 7, True)
    assert ports(replace(ON, clients=False), None) == (7, 0, True)


def test_what_the_balancer_speaks(scene: Scene) -> None:
    found = balancer_tls(scene.cluster.tls)
    assert found.clients is not None
    assert found.clients() is scene.cluster.tls.shown
    off: Callable[[TlsSettings], Any] = lambda settings: balancer_tls(  # noqa: E731
        ClusterTls(settings, Path("nowhere"), cluster="c")
    )
    assert off(TlsSettings()).clients is None
    assert off(replace(ON, links=False)).links is None


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        (TlsSettings(enabled=True, verify_clients=True), True),
        (ON, False),
    ],
)
async def test_haproxy_is_not_told_of_another_ca_for_clients(
    tmp_path: Path, settings: TlsSettings, refused: bool
) -> None:
    """Nothing is touched then; new certificates are no trouble."""
    scene = Scene(tmp_path)
    tls = give(scene, tmp_path, settings)
    async with scene.running():
        balancer = scene.balancers[0]
        usual = balancer.statistics()
        balancer.statistics = lambda: replace(usual, data_plane=DataPlane.HAPROXY)  # type: ignore[method-assign]
        await rotate(scene)
        scene.story.clear()
        if refused:
            with pytest.raises(Refused, match=r"`client_ca` under \[tls\]"):
                await rotate(scene, authority=True)
            assert scene.story == []
            assert not tls.files.next_authority.exists()
        else:
            assert (await rotate(scene, authority=True)).phase == "both_trusted"
