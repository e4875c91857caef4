"""HAProxy is kept as it should be, and says of itself what it knows."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.unit.balancer.haproxy.fake import FakeHaproxy, Launcher, program

from warrener.balancer.haproxy import balancer as module
from warrener.balancer.haproxy.balancer import HaproxyBalancer
from warrener.balancer.haproxy.plan import ALGORITHMS
from warrener.balancer.haproxy.tls import HaproxyTls
from warrener.cluster.tls.certificates import make_authority
from warrener.facts.balance import Backend
from warrener.facts.data_plane import Unsupported
from warrener.facts.happenings import Event
from warrener.facts.ids import NodeName
from warrener.facts.reasons import Unfit
from warrener.facts.settings import BalancerSettings, PolicyName
from warrener.facts.snapshot import ClusterSnapshot, NodeView

N1, N2 = NodeName("n1@localhost"), NodeName("n2@localhost")
NODES = (Backend(N1, "127.0.0.1", 5001), Backend(N2, "127.0.0.1", 5002))


@pytest.fixture(autouse=True)
def _no_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests say what probes found; looks follow one another without a pause."""
    monkeypatch.setattr(module.Probes, "set_backends", lambda self, backends: None)
    monkeypatch.setattr(module, "POLL", 0.01)
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.002)


class Scene:
    def __init__(
        self,
        folder: Path,
        settings: BalancerSettings,
        tls: HaproxyTls = module.NO_HAPROXY_TLS,
    ) -> None:
        self.launcher = Launcher()
        self.events: list[Event] = []
        self.balancer = HaproxyBalancer(
            settings,
            NODES,
            haproxy_tls=tls,
            folder=folder / "state",
            log_file=folder / "haproxy.log",
            launcher=self.launcher,
            path="",
            on_event=self.events.append,
        )

    @property
    def haproxy(self) -> FakeHaproxy:
        return self.launcher.running

    def fit(self, *names: NodeName) -> None:
        for name in names:
            self.balancer._probed(name, None, "")

    def unfit(self, name: NodeName, why: Unfit) -> None:
        for _ in range(2):
            self.balancer._probed(name, why, "because")

    def states(self, slot: str) -> set[str]:
        """Of that slot in all backends."""
        return {state for (_, one), (_, _, state, _) in self.haproxy.servers.items() if one == slot}

    def weights(self, slot: str) -> dict[str, str]:
        servers = self.haproxy.servers
        return {backend: servers[backend, one][3] for backend, one in servers if one == slot}

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - seen only from outside
                await asyncio.sleep(0.001)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def traffic(self, slot: str, **figures: int) -> None:
        keys = ("sessions", "total", "bytes_in", "bytes_out", "failures")
        one, two, three, four, five = (figures.get(key, 0) for key in keys)
        self.haproxy.traffic["roundrobin", slot] = (one, two, three, four, five)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """Two nodes, both fit, and HAProxy knows it."""
    settings = BalancerSettings(haproxy=program(tmp_path), link_heartbeat=10)
    made = Scene(tmp_path, settings)
    await made.balancer.start()
    made.balancer.set_backends(NODES)
    made.fit(N1, N2)
    assert await made.balancer.wait_ready(2, 5)
    yield made
    await made.balancer.close()


async def test_ready_means_that_haproxy_knows_the_fit_nodes(scene: Scene) -> None:
    assert scene.states("n1") == scene.states("n2") == {"ready"}
    assert scene.states("spare-1") == {"maint"}
    assert scene.haproxy.servers["p2c", "n2"][:2] == ["127.0.0.1", "5002"]


async def test_not_ready_while_a_node_is_not_fit(scene: Scene) -> None:
    scene.unfit(N2, Unfit.REFUSES)
    assert not await scene.balancer.wait_ready(2, 0.05)
    await scene.until(lambda: scene.states("n2") == {"maint"})


async def test_not_ready_while_haproxy_does_not_know(scene: Scene) -> None:
    scene.haproxy.deaf = True
    scene.balancer.set_weight(N1, 7)
    with pytest.raises(module.HaproxyError, match="hasn't taken that in after"):
        await scene.balancer.wait_ready(2, 0.05)


async def test_the_clusters_word_counts_as_well(scene: Scene) -> None:
    views = (NodeView(N1, running=True), NodeView(N2, running=True, being_drained=True))
    scene.balancer.apply_snapshot(ClusterSnapshot(N1, 1.0, "w", views))
    await scene.until(lambda: scene.states("n2") == {"drain"})
    scene.balancer.apply_snapshot(None)
    await scene.until(lambda: scene.states("n2") == {"ready"})


async def test_a_policy_is_told_and_nothing_else(scene: Scene) -> None:
    scene.haproxy.told.clear()
    scene.balancer.set_policy(PolicyName.SOURCE)
    await scene.until(lambda: scene.haproxy.policy == "source")
    assert scene.haproxy.told == ["set map policy.map policy source"]
    assert scene.balancer.statistics().policy is PolicyName.SOURCE


async def test_a_weight_is_told(scene: Scene) -> None:
    scene.balancer.set_weight(N2, 50)
    await scene.until(lambda: scene.weights("n2")["weighted"] == "100")
    assert scene.weights("n1")["weighted"] == "200"
    assert scene.weights("n2")["leastconn"] == "1"


async def test_a_wrong_weight_or_node_is_refused(scene: Scene) -> None:
    with pytest.raises(ValueError, match="0 to 1000"):
        scene.balancer.set_weight(N1, 1001)
    with pytest.raises(KeyError):
        scene.balancer.set_weight(NodeName("n9@localhost"), 1)


async def test_a_drain_leaves_what_is_open_and_says_why(scene: Scene) -> None:
    scene.traffic("n2", sessions=7, total=7)
    await scene.until(lambda: scene.balancer.statistics().backends[1].sessions == 7)
    result = await scene.balancer.drain(N2)
    assert scene.states("n2") == {"drain"}
    assert (result.moved, result.forced, result.left) == (0, 0, 7)
    assert "can't take an open session to another node" in result.why_left
    scene.balancer.revive(N2)
    await scene.until(lambda: scene.states("n2") == {"ready"})


async def test_a_drain_that_is_called_off_is_undone(scene: Scene) -> None:
    scene.haproxy.deaf = True
    draining = asyncio.create_task(scene.balancer.drain(N2))
    await scene.until(lambda: any("state drain" in told for told in scene.haproxy.told))
    draining.cancel()
    await asyncio.gather(draining, return_exceptions=True)
    assert scene.balancer.statistics().backends[1].unfit is None


async def test_what_takes_a_look_into_amqp_is_refused_with_the_reason(scene: Scene) -> None:
    with pytest.raises(Unsupported, match="can't take an open session"):
        await scene.balancer.rebalance()
    with pytest.raises(Unsupported, match="knows no channels"):
        scene.balancer.explain()
    with pytest.raises(Unsupported, match="knows no users, names or channels"):
        scene.balancer.sessions()


async def test_figures_are_haproxys_and_what_it_does_not_know_is_none(scene: Scene) -> None:
    scene.haproxy.clients = (3, 9, 100, 2000)
    scene.traffic("n1", sessions=3, total=8, bytes_in=100, bytes_out=2000, failures=2)
    await scene.until(lambda: scene.balancer.statistics().sessions == 3)
    found = scene.balancer.statistics()
    assert (found.data_plane, found.version, found.pid) == ("haproxy", "2.6.12", 100)
    assert (found.sessions_total, found.bytes_in, found.bytes_out) == (9, 100, 2000)
    assert (found.locality, found.locality_error) == (False, "")
    for name in ("sessions_ended", "published", "delivered", "moves", "moves_failed", "replayed",
                 "parked", "journal_bytes", "messages_local", "messages_remote"):  # fmt: skip
        assert getattr(found, name) is None, name
    row = found.backends[0]
    assert (row.sessions, row.sessions_total, row.failures_total) == (3, 6, 2)
    assert (row.bytes_in, row.bytes_out) == (100, 2000)


async def test_one_that_dies_is_started_anew_as_it_should_be(scene: Scene) -> None:
    scene.haproxy.clients = (3, 9, 100, 2000)
    scene.traffic("n1", sessions=3, total=9, bytes_in=100, bytes_out=2000)
    scene.balancer.set_policy(PolicyName.P2C)
    scene.unfit(N2, Unfit.REFUSES)
    await scene.until(lambda: scene.balancer.statistics().sessions == 3)
    scene.launcher.next_dies = 2
    scene.haproxy.die(-11, "[ALERT] : out of luck\n")
    await scene.until(lambda: len(scene.launcher.all) == 4)
    await scene.until(lambda: "haproxy.started" in scene.kinds())
    assert scene.kinds().count("haproxy.not_started") == 2
    exited = next(event for event in scene.events if event.kind == "haproxy.exited")
    assert exited.detail == {"exit_code": -11, "said": "[ALERT] : out of luck"}
    # Right from the start, without having been told anything.
    assert scene.haproxy.policy == "p2c"
    assert (scene.states("n1"), scene.states("n2")) == ({"ready"}, {"maint"})
    assert scene.haproxy.told == []
    found = scene.balancer.statistics()
    assert (found.sessions, found.sessions_total, found.bytes_out) == (0, 9, 2000)
    assert (found.backends[0].sessions, found.backends[0].sessions_total) == (0, 9)
    assert found.pid == scene.haproxy.pid


async def test_one_that_does_not_do_as_it_is_told_is_told_of(scene: Scene) -> None:
    scene.haproxy.deaf = True
    scene.balancer.set_weight(N1, 7)
    await scene.until(lambda: "haproxy.disobeys" in scene.kinds())
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert scene.kinds().count("haproxy.disobeys") == 1


async def test_somebody_elses_change_is_set_right(scene: Scene) -> None:
    scene.haproxy.servers["source", "n1"][2] = "maint"
    await scene.until(lambda: scene.haproxy.servers["source", "n1"][2] == "ready")


async def test_silence_is_told_once_and_its_end_too(scene: Scene) -> None:
    answer = scene.haproxy._answer
    scene.haproxy._answer = lambda command: "nonsense"  # type: ignore[method-assign]
    await scene.until(lambda: "haproxy.silent" in scene.kinds())
    for _ in range(20):
        await asyncio.sleep(0.005)
    scene.haproxy._answer = answer  # type: ignore[method-assign]
    await scene.until(lambda: "haproxy.answers" in scene.kinds())
    assert scene.kinds().count("haproxy.silent") == 1


async def test_sessions_of_a_node_that_hangs_are_cut_off_after_a_while(scene: Scene) -> None:
    scene.traffic("n2", sessions=7, total=7)
    await scene.until(lambda: scene.balancer.statistics().backends[1].sessions == 7)
    scene.unfit(N2, Unfit.HANGS)
    await scene.until(lambda: "sessions.cut_off" in scene.kinds())
    told = [one for one in scene.haproxy.told if one.startswith("shutdown")]
    assert told == [f"shutdown sessions server {policy}/n2" for policy in ALGORITHMS]
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert scene.kinds().count("sessions.cut_off") == 1


async def test_sessions_are_not_cut_off_when_there_is_no_other_node(scene: Scene) -> None:
    scene.traffic("n2", sessions=7, total=7)
    scene.unfit(N1, Unfit.REFUSES)
    scene.unfit(N2, Unfit.HANGS)
    await asyncio.sleep(0.6)
    assert "sessions.cut_off" not in scene.kinds()
    scene.fit(N1, N1)
    await scene.until(lambda: "sessions.cut_off" in scene.kinds())


async def test_sessions_of_a_node_that_is_back_in_time_are_left_alone(scene: Scene) -> None:
    scene.traffic("n2", sessions=7, total=7)
    scene.unfit(N2, Unfit.HANGS)
    await scene.until(lambda: scene.states("n2") == {"maint"})
    scene.fit(N2, N2)
    await asyncio.sleep(0.6)
    assert "sessions.cut_off" not in scene.kinds()


async def test_a_node_may_go_and_another_come(scene: Scene) -> None:
    new = Backend(NodeName("n7@localhost"), "127.0.0.1", 5007)
    scene.balancer.set_backends((NODES[0], new))
    scene.fit(new.name)
    await scene.until(lambda: scene.states("spare-1") == {"ready"})
    assert scene.states("n2") == {"maint"}
    assert scene.haproxy.servers["random", "spare-1"][:2] == ["127.0.0.1", "5007"]


async def test_nothing_is_left_of_a_start_that_fails(tmp_path: Path) -> None:
    scene = Scene(tmp_path, BalancerSettings(haproxy=program(tmp_path)))
    scene.launcher.next_dies = 1
    with pytest.raises(module.HaproxyError, match="cannot do it"):
        await scene.balancer.start()
    assert not (tmp_path / "state").exists()
    assert scene.balancer._tasks == set()


# -- TLS


def pem(path: Path) -> Path:
    """Any certificate with its key."""
    path.write_bytes(make_authority(path.stem, datetime.now(UTC)).pem)
    return path


@pytest.fixture
async def with_tls(tmp_path: Path) -> AsyncIterator[Scene]:
    """Clients and nodes speak it; there is a port without it as well."""
    settings = BalancerSettings(haproxy=program(tmp_path), plain=True)
    tls = HaproxyTls(pem(tmp_path / "shown.pem"), None, pem(tmp_path / "trust.pem"), b"any")
    made = Scene(tmp_path, settings, tls)
    await made.balancer.start()
    made.balancer.set_backends([replace(one, server_name=one.name[:2]) for one in NODES])
    made.fit(N1, N2)
    assert await made.balancer.wait_ready(2, 5)
    yield made
    await made.balancer.close()


async def test_two_ports_and_the_names_of_nodes(with_tls: Scene) -> None:
    found = with_tls.balancer.statistics()
    assert (found.tls, found.port) == (True, with_tls.balancer.address[1])
    assert found.plain_port not in (None, found.port)
    assert {name: with_tls.haproxy.names[name] for name in ("n1", "n2", "spare-1")} == {
        "n1": "n1",
        "n2": "n2",
        "spare-1": "no.node",
    }


async def test_a_new_node_is_verified_by_its_own_name(with_tls: Scene) -> None:
    """And HAProxy knows the name before anybody is sent there."""
    new = Backend(NodeName("n7@localhost"), "127.0.0.1", 5007, server_name="n7")
    with_tls.haproxy.told.clear()
    with_tls.balancer.set_backends([new])
    with_tls.fit(new.name)
    await with_tls.until(lambda: with_tls.states("spare-1") == {"ready"})
    assert with_tls.haproxy.names["spare-1"] == "n7"
    told = with_tls.haproxy.told
    assert told.index("set map names.map spare-1 n7") < told.index(
        "set server roundrobin/spare-1 state ready"
    )


async def test_new_certificates_are_given_and_looked_for(with_tls: Scene, tmp_path: Path) -> None:
    await with_tls.balancer.reload_tls()
    assert with_tls.haproxy.files == {
        name: (tmp_path / file).read_bytes()
        for name, file in (("trust.pem", "trust.pem"), ("certificate.pem", "shown.pem"))
    }
    told = [one for one in with_tls.haproxy.told if " ssl " in one]
    assert told == [
        "abort ssl ca-file trust.pem",
        "set ssl ca-file trust.pem <<",
        "commit ssl ca-file trust.pem",
        "abort ssl cert certificate.pem",
        "set ssl cert certificate.pem <<",
        "commit ssl cert certificate.pem",
    ]
    assert len(with_tls.launcher.all) == 1


async def test_what_haproxy_does_not_take_is_told_and_tried_again(
    with_tls: Scene, tmp_path: Path
) -> None:
    with_tls.haproxy.refuses = "Can't commit!"
    with pytest.raises(module.HaproxyError, match=r"hasn't taken .*trust\.pem .*Can't commit!"):
        await with_tls.balancer.reload_tls()
    with_tls.haproxy.refuses = ""
    await with_tls.until(lambda: "certificate.pem" in with_tls.haproxy.files)
    (tmp_path / "trust.pem").unlink()
    with pytest.raises(module.HaproxyError, match="hasn't taken a file that can't be read"):
        await with_tls.balancer.reload_tls()


async def test_a_haproxy_that_is_away_gets_new_certificates_when_it_is_back(
    with_tls: Scene,
) -> None:
    with_tls.launcher.next_dies = 2
    with_tls.haproxy.die(-11)
    await with_tls.balancer.reload_tls()
    assert len(with_tls.launcher.all) == 4
    assert "certificate.pem" in with_tls.haproxy.files


async def test_silence_is_no_yes(with_tls: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEWAL_TIMEOUT", 0.05)
    with_tls.haproxy._answer = lambda command: "nonsense"  # type: ignore[method-assign]
    with pytest.raises(module.HaproxyError, match="has no new certificates yet"):
        await with_tls.balancer.reload_tls()
