"""Nodes that somebody else adds and takes away, behind the balancer."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.unit.daemon.scene import N1, N2, N3, FakeBalancer, Node, Scene, until

from warrener.daemon.errors import DaemonError
from warrener.daemon.parts import MoveSink
from warrener.facts.balance import Backend
from warrener.facts.capability import Capabilities
from warrener.facts.reasons import NodeState


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Two nodes of somebody else's."""
    made = Scene(tmp_path)
    made.cluster.capabilities = Capabilities(theirs=True)
    return made


@pytest.mark.parametrize("running", [0, 1, 2])
async def test_a_cluster_of_which_no_node_is_fit_is_no_success(scene: Scene, running: int) -> None:
    """Also where the cluster itself says that none runs, so there is none to wait for."""
    scene.on_balancer = lambda balancer: setattr(balancer, "ready", False)
    for name in (N1, N2)[running:]:
        scene.cluster.rows[name] = Node(name, state=NodeState.DOWN)
    who = "the nodes run, but" if running else "no node runs, as the cluster says, and"
    with pytest.raises(DaemonError, match=f"{who} the balancer can't reach any of them"):
        await scene.service.run()
    assert "daemon.ready" not in scene.kinds()


async def test_a_new_member_is_a_backend_at_the_next_look(scene: Scene) -> None:
    async with scene.running() as balancer:
        scene.cluster.rows[N3] = Node(N3)
        await scene.service.look_now()
        assert set(balancer.weights) == {N1, N2, N3}
        assert scene.story == []


async def test_one_that_leaves_goes_after_its_sessions(scene: Scene) -> None:
    go_on = asyncio.Event()

    async def move(on_progress: MoveSink) -> None:
        await go_on.wait()

    async with scene.running() as balancer:
        balancer.drain_with = move
        del scene.cluster.rows[N2]
        await scene.service.look_now()
        await until(lambda: bool(scene.story))
        assert scene.story == [f"balancer drains {N2} within 30 s"]
        await scene.service.look_now()  # not twice
        assert set(balancer.weights) == {N1, N2}
        go_on.set()
        await until(lambda: set(balancer.weights) == {N1})
        await until(lambda: "node.left" in scene.kinds())
        assert scene.story == [f"balancer drains {N2} within 30 s"]


async def test_one_that_comes_back_meanwhile_stays(scene: Scene) -> None:
    async def move(on_progress: MoveSink) -> None:
        await asyncio.Event().wait()

    async with scene.running() as balancer:
        balancer.drain_with = move
        row = scene.cluster.rows.pop(N2)
        await scene.service.look_now()
        await until(lambda: bool(scene.story))
        scene.cluster.rows[N2] = row
        await scene.service.look_now()
        await until(lambda: "moving stops" in scene.story)
        assert set(balancer.weights) == {N1, N2}
        assert "node.left" not in scene.kinds()


async def test_the_end_of_the_daemon_ends_it(scene: Scene) -> None:
    async def move(on_progress: MoveSink) -> None:
        await asyncio.Event().wait()

    async with scene.running() as balancer:
        balancer.drain_with = move
        del scene.cluster.rows[N2]
        await scene.service.look_now()
        await until(lambda: bool(scene.story))
    assert scene.story == [
        f"balancer drains {N2} within 30 s",
        "moving stops",
        "balancer closes",
        "cluster stops",
    ]


async def test_a_cluster_of_our_own_is_left_to_its_operations(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    told: list[int] = []

    def count(balancer: FakeBalancer) -> None:
        real = balancer.set_backends

        def set_backends(backends: Sequence[Backend]) -> None:
            told.append(len(backends))
            real(backends)

        balancer.set_backends = set_backends  # type: ignore[method-assign]

    scene.on_balancer = count
    async with scene.running():
        scene.cluster.rows[N3] = Node(N3)
        await scene.service.look_now()
    assert told == [2]
