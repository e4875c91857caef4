"""What went between clients and each node, asked for over the control socket."""

from pathlib import Path
from typing import Any

from tests.unit.daemon.scene import N1, N2, Scene, ask

from warrener.control.traffic_operations import TRAFFIC, TrafficAnswer, TrafficLine, TrafficRequest
from warrener.facts.telemetry import BalancerFigures, Direction, Locality, NodeFigures


async def traffic(scene: Scene) -> Any:
    return (await ask(scene.folder, TRAFFIC, TrafficRequest()))[-1]


async def test_each_count_keeps_its_name(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    pairs = [(way, place) for way in Direction for place in Locality]
    counted = tuple((way, place, count) for count, (way, place) in enumerate(pairs, 1))

    async def figures() -> BalancerFigures:
        return BalancerFigures(nodes=(NodeFigures(N1, 7, 8, 9, 10, counted), NodeFigures(N2)))

    async with scene.running() as balancer:
        balancer.figures = figures
        found = await traffic(scene)
    assert found == TrafficAnswer(
        nodes=[
            TrafficLine(
                node=N1,
                channels=7,
                links=8,
                bytes_in=9,
                bytes_out=10,
                in_local=1,
                in_remote=2,
                in_unknown=3,
                out_local=4,
                out_remote=5,
                out_unknown=6,
            ),
            TrafficLine(node=N2),
        ]
    )


async def test_a_data_plane_that_does_not_count_says_so(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.running():
        assert await traffic(scene) == TrafficAnswer(nodes=None)
