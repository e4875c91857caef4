"""A node that hangs in its boot is restarted by itself, and nobody else's business is disturbed."""

import asyncio
from pathlib import Path

import pytest
from tests.unit.daemon.scene import N1, N2, N3, FakeBalancer, Node, Scene, ask, until

from warrener.control import operations as ops
from warrener.daemon import healing, upkeep
from warrener.daemon.errors import DaemonError
from warrener.daemon.healing import Healing
from warrener.daemon.hung_boots import TRIES
from warrener.facts.booting import BootLook, BootState, BootWait
from warrener.facts.capability import Can, Capabilities
from warrener.facts.healing import HealingSettings
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState, Unfit

PATIENCE = 60.0
HUNG = BootLook(
    BootState.BOOTING, BootWait.NAMES, frozenset({N2, N3}), "rabbit_mnesia:init/0 > global:sync/0"
)


@pytest.fixture(autouse=True)
def _looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "LOOK", 0)
    monkeypatch.setattr(healing, "LOOK", 1e6)  # these tests look themselves


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Three nodes."""
    made = Scene(tmp_path)
    made.cluster.rows[N3] = Node(N3)
    made.cluster.queues = ()
    return made


def hang(scene: Scene, balancer: FakeBalancer, node: NodeName = N1) -> None:
    balancer.unfit[node] = Unfit.REFUSES
    scene.cluster.boots[node] = HUNG


def heals_at(scene: Scene, balancer: FakeBalancer) -> None:
    """A restart mends it."""

    async def mend() -> None:
        balancer.unfit.clear()
        scene.cluster.boots.clear()

    scene.cluster.restart_with = mend


def healing_of(scene: Scene) -> Healing:
    return scene.service._healing


async def looks(scene: Scene, seconds: float) -> None:
    """A look every five seconds."""
    end = scene.now + seconds
    while scene.now <= end:
        await healing_of(scene).look()
        scene.now += 5


def told(scene: Scene, kind: str) -> list[dict[str, object]]:
    return [
        {"subject": line.subject, "reason": line.reason, **line.detail}
        for line in scene.service.events.recent(100)
        if line.kind == kind
    ]


async def test_it_is_restarted_after_a_minute_and_that_is_told(scene: Scene) -> None:
    async with scene.running() as balancer:
        hang(scene, balancer)
        heals_at(scene, balancer)
        await looks(scene, PATIENCE - 5)
        assert not any(one.startswith("restart") for one in scene.story)
        await looks(scene, 5)
        assert f"restart of {N1} within 120 s" in scene.story
        (hangs,) = told(scene, "node.hangs")
        assert (hangs["subject"], hangs["reason"]) == (N1, "boot_hangs")
        assert hangs["where"] == HUNG.where
        assert "although n2, n3 serve and are connected with it" in str(hangs["why"])
        (repaired,) = told(scene, "node.repaired")
        assert repaired["pid"] == 8
        await looks(scene, 600)
        assert len(told(scene, "node.hangs")) == 1


async def test_a_healthy_cluster_is_asked_nothing(scene: Scene) -> None:
    async with scene.running():
        scene.cluster.boots = dict.fromkeys((N1, N2, N3), HUNG)
        await looks(scene, 600)
        assert scene.story == []


@pytest.mark.parametrize(
    "change",
    [
        {"state": NodeState.DOWN, "pid": None},
        {"state": NodeState.STOPPED, "pid": None},
        {"state": NodeState.UNREACHABLE},
        {"state": NodeState.STARTING},
        {"frozen": True},
    ],
)
async def test_only_a_node_that_runs_is_asked(scene: Scene, change: dict[str, object]) -> None:
    async with scene.running() as balancer:
        hang(scene, balancer)
        scene.cluster.change(N1, **change)
        await looks(scene, 600)
        assert scene.story == []


@pytest.mark.parametrize(
    "look",
    [
        BootLook(BootState.STOPPED),  # by stop-app, or paused as a minority
        BootLook(BootState.BOOTING, BootWait.TABLES, frozenset({N2, N3})),
        BootLook(BootState.BOOTING, BootWait.OTHER, frozenset({N2, N3})),
        BootLook(BootState.BOOTING, BootWait.NAMES, frozenset({N2})),
        BootLook(BootState.READY),
    ],
)
async def test_who_waits_for_good_reason_is_left_alone(scene: Scene, look: BootLook) -> None:
    async with scene.running() as balancer:
        hang(scene, balancer)
        scene.cluster.boots[N1] = look
        await looks(scene, 600)
        assert told(scene, "node.hangs") == []


async def test_where_no_majority_would_serve_nothing_is_done(scene: Scene) -> None:
    async with scene.running() as balancer:
        for node in (N1, N2, N3):
            hang(scene, balancer, node)
        await looks(scene, 600)
        assert told(scene, "node.hangs") == []


async def test_no_answer_counts_for_nothing(scene: Scene) -> None:
    async with scene.running() as balancer:
        hang(scene, balancer)
        await looks(scene, PATIENCE - 5)
        del scene.cluster.boots[N1]
        await looks(scene, 0)
        hang(scene, balancer)
        await looks(scene, PATIENCE - 5)
        assert told(scene, "node.hangs") == []


async def test_nothing_is_done_beside_an_operation(scene: Scene) -> None:
    go_on = asyncio.Event()

    async def held() -> None:
        await go_on.wait()

    async with scene.running() as balancer:
        hang(scene, balancer)
        scene.cluster.restart_with = held
        request = ops.RestartRequest("n2", force=True, balance=False)
        asking = asyncio.create_task(ask(scene.folder, ops.RESTART, request))
        await until(lambda: f"restart of {N2} within 120 s" in scene.story)
        await looks(scene, 600)
        assert told(scene, "node.hangs") == []
        go_on.set()
        await asking
        await looks(scene, PATIENCE - 5)
        assert told(scene, "node.hangs") == [], "it is seen anew from here on"


async def test_it_is_given_up_after_three_restarts_that_do_not_help(scene: Scene) -> None:
    async with scene.running() as balancer:
        hang(scene, balancer)

        async def hangs_again() -> None:
            raise DaemonError("n1 did not come up within 120 s")

        scene.cluster.restart_with = hangs_again
        await looks(scene, 30 * PATIENCE)
        assert len(told(scene, "node.hangs")) == TRIES
        failed = told(scene, "node.repair_failed")
        assert [one["error"] for one in failed] == ["n1 did not come up within 120 s"] * TRIES
        (given_up,) = told(scene, "node.repair_given_up")
        assert "warrener node replace n1" in str(given_up["advice"])


async def test_a_node_that_its_restart_left_down_is_tried_again(scene: Scene) -> None:
    async with scene.running() as balancer:
        hang(scene, balancer)

        async def fails() -> None:
            scene.cluster.change(N1, state=NodeState.STOPPED, pid=None)
            heals_at(scene, balancer)
            raise DaemonError("n1 did not come up within 120 s")

        scene.cluster.restart_with = fails
        await looks(scene, 4 * PATIENCE)
        assert len(told(scene, "node.hangs")) == 2
        assert len(told(scene, "node.repaired")) == 1


async def test_a_node_that_was_stopped_by_hand_stays_stopped(scene: Scene) -> None:
    async with scene.running() as balancer:
        balancer.unfit[N1] = Unfit.REFUSES
        scene.cluster.change(N1, state=NodeState.STOPPED, pid=None)
        await looks(scene, 600)
        assert scene.story == []


async def test_a_cluster_that_somebody_else_runs_is_not_looked_at(scene: Scene) -> None:
    scene.cluster.capabilities = Capabilities(lacks={Can.RESTART_NODE: "it is theirs"})
    async with scene.running():
        await healing_of(scene).run()  # returns at once


async def test_it_can_be_switched_off(tmp_path: Path) -> None:
    scene = Scene(tmp_path, healing=HealingSettings(enabled=False))
    async with scene.running():
        await healing_of(scene).run()  # returns at once
