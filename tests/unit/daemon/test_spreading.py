"""Leaders are spread again at the end of what changes nodes: by load, by number, or why not."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.daemon.scene import N1, N2, N3, Node, Scene, ask

from warrener.control import operations as ops
from warrener.control.node_operations import (
    ADD_NODE,
    REMOVE_NODE,
    REPLACE_NODE,
    AddNodeRequest,
    RemoveNodeRequest,
    ReplaceNodeRequest,
)
from warrener.control.spread import LeadersSpread, SpreadBy
from warrener.daemon import leaders, replica_moves, spreading, upkeep
from warrener.daemon.errors import DaemonError
from warrener.facts.leaders import QueueRates
from warrener.facts.snapshot import QueueView

ALL = (N1, N2, N3)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaders, "LOOK", 0)
    monkeypatch.setattr(upkeep, "LOOK", 0)
    monkeypatch.setattr(replica_moves, "SYNC_LOOK", 0)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Three nodes and six quorum queues, none led by n3; one is busier than the others together."""
    made = Scene(tmp_path)
    made.cluster.rows[N3] = Node(N3)
    made.cluster.queues = tuple(
        QueueView("/", f"q{n}", "quorum", (N1, N2)[n % 2], ALL, ALL) for n in range(6)
    )
    made.cluster.rates = {
        ("/", f"q{n}"): QueueRates(rate, rate, rate)
        for n, rate in enumerate((600, 200, 100, 100, 100, 100))
    }
    return made


async def restarted(scene: Scene, **options: Any) -> Any:
    request = ops.RestartRequest("n3", **options)
    return await ask(scene.folder, ops.RESTART, request)


def led(scene: Scene) -> Counter[Any]:
    return Counter(queue.leader for queue in scene.cluster.queues)


async def test_by_load_after_a_restart(scene: Scene) -> None:
    async with scene.running():
        *lines, answer = await restarted(scene)
    spread = answer.leaders
    assert (spread.by, spread.why, spread.more) == (SpreadBy.LOAD, "", False)
    assert spread.moved == spread.planned > 0
    assert spread.skew_expected < spread.skew_before
    assert scene.cluster.queues[0].leader == N1  # the busy one stays where it is
    assert led(scene)[N1] < 3
    assert led(scene)[N3] > 0
    assert "leaders.balanced" in scene.kinds()
    assert lines[-1].subject == "leaders"
    assert lines[-1].text == f"{spread.moved} of {spread.planned} moved, by load"


async def test_by_number_where_nothing_goes_on(scene: Scene) -> None:
    scene.cluster.rates = {}
    async with scene.running():
        answer = (await restarted(scene))[-1]
        assert (answer.leaders.by, answer.leaders.moved) == (SpreadBy.NUMBER, 2)
        assert answer.leaders.skew_before == pytest.approx(1.5)
        assert answer.leaders.skew_expected == pytest.approx(1.0)
        assert led(scene) == {N1: 2, N2: 2, N3: 2}
        again = (await restarted(scene))[-1]
    assert again.leaders == LeadersSpread(by=SpreadBy.NUMBER, skew_before=1.0, skew_expected=1.0)


async def test_classic_queues_do_not_count_by_number(scene: Scene) -> None:
    scene.cluster.rates = {}
    classic = tuple(QueueView("/", f"c{n}", "classic", N3) for n in range(9))
    scene.cluster.queues += classic
    async with scene.running():
        answer = (await restarted(scene))[-1]
    assert answer.leaders.moved == 2


async def test_not_if_it_is_not_wanted(scene: Scene) -> None:
    async with scene.running():
        answer = (await restarted(scene, balance=False))[-1]
    assert answer.leaders is None
    assert not any(line.startswith("measures") for line in scene.story)


async def test_no_more_than_a_few_at_a_time(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreading, "MAX_MOVES", 1)
    scene.cluster.rates = {}
    async with scene.running():
        answer = (await restarted(scene))[-1]
    assert (answer.leaders.moved, answer.leaders.more) == (1, True)


async def test_what_keeps_leaders_from_moving_does_not_fail_the_restart(scene: Scene) -> None:
    async def broken() -> None:
        raise DaemonError("nobody tells")

    scene.cluster.measure_with = broken
    async with scene.running():
        *lines, answer = await restarted(scene)
    assert answer.leaders == LeadersSpread(why="nobody tells")
    assert lines[-1] == ops.ProgressLine("leaders", "left as they are: nobody tells", done=True)


async def test_not_during_an_alarm(scene: Scene) -> None:
    scene.cluster.alarmed.add(N2)
    async with scene.running():
        answer = (await restarted(scene))[-1]
    assert answer.leaders.why == "n2 has a memory alarm, which blocks publishers"
    assert answer.leaders.moved == 0


async def test_leaders_that_do_not_move_are_told(scene: Scene, monkeypatch: Any) -> None:
    monkeypatch.setattr(leaders, "SEEN_WITHIN", -1)
    scene.cluster.rates = {}
    scene.cluster.stuck = {f"q{n}" for n in range(6)}
    async with scene.running():
        answer = (await restarted(scene))[-1]
    assert (answer.leaders.moved, answer.leaders.why) == (0, "2 didn't move")


async def test_after_each_change_of_the_nodes(scene: Scene) -> None:
    scene.cluster.rates = {}
    scene.cluster.queues = tuple(replace(queue, leader=N1) for queue in scene.cluster.queues)
    async with scene.running():
        answer = (await ask(scene.folder, ADD_NODE, AddNodeRequest("n4")))[-1]
        assert answer.leaders.moved > 0
        request = RemoveNodeRequest("n4", force=True)
        assert (await ask(scene.folder, REMOVE_NODE, request))[-1].leaders is not None
        request = ReplaceNodeRequest("n3", force=True)
        assert (await ask(scene.folder, REPLACE_NODE, request))[-1].leaders is not None
        scene.cluster.drained.add(N3)
        assert (await ask(scene.folder, ops.REVIVE, ops.ReviveRequest("n3")))[-1].leaders


async def test_a_node_that_is_alone_has_nothing_to_spread(scene: Scene) -> None:
    scene.cluster.rows = {N1: Node(N1)}
    async with scene.running():
        request = ops.RestartRequest("n1", force=True)
        answer = (await ask(scene.folder, ops.RESTART, request))[-1]
    assert answer.leaders is None
