"""The history in the daemon: sampled in the background, asked for over the control socket."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.daemon.scene import N1, N2, Scene, ask, until

from warrener.control.history_operations import (
    HISTORY,
    PLAN_LOAD,
    HistoryRequest,
    PlanLoadRequest,
)
from warrener.control.wire import Refusal, Refused
from warrener.daemon import history as module
from warrener.daemon.history_store import BROKEN, FILE
from warrener.facts.history import HistorySettings
from warrener.planner.load_wire import from_wire
from warrener.planner.samples import NodeSample, QueueSample, Sample


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(module, "FIRST", 3600.0)  # samples only when a test takes one
    return Scene(tmp_path)


def sample(at: float, published: float = 10.0) -> Sample:
    queues = tuple(
        QueueSample("/", name, "quorum", N2, (N1, N2), published, held=1.0, held_bytes=50.0)
        for name in ("jobs.a", "jobs.b", "other")
    )
    return Sample(at, 10, (NodeSample(N1, "127.0.0.1", cpu=0.5),), queues=queues)


async def keep(scene: Scene, *samples: Sample) -> None:
    for one in samples:
        await scene.service.history._keep(one)


async def test_a_sample_is_what_happened_since_the_reading_before(scene: Scene) -> None:
    async with scene.running():
        await scene.service.history.sample()
        scene.now += 10
        found = await scene.service.history.sample()
        assert found is not None
        assert found.seconds == 10
        assert [queue.name for queue in found.queues] == ["q"]
        (answer,) = await ask(scene.folder, HISTORY, HistoryRequest(60))
        assert answer.samples == 1
        assert [line.name for line in answer.queues] == ["q"]


async def test_without_a_recent_view_there_is_no_sample_and_the_next_one_is_longer(
    scene: Scene,
) -> None:
    async with scene.running():
        service = scene.service
        await service.history.sample()
        scene.now += 10
        view, service.last_view = service.last_view, lambda: None  # type: ignore[method-assign]  # a stand-in
        assert await service.history.sample() is None
        scene.now += 10
        service.last_view = view  # type: ignore[method-assign]  # as it was
        found = await service.history.sample()
        assert found is not None
        assert found.seconds == 20


async def test_means_of_the_queues_that_were_asked_for(scene: Scene) -> None:
    async with scene.running():
        await keep(scene, sample(81, 10), sample(91, 20), sample(101, 30))
        (answer,) = await ask(scene.folder, HISTORY, HistoryRequest(25, "jobs.*", 1))
        assert answer.queues_total == 2
        (line,) = answer.queues
        assert line.name == "jobs.a"
        assert (line.published.mean, line.published.min, line.published.max) == (
            pytest.approx(20),
            10,
            30,
        )
        assert (line.body, line.body_from) == (pytest.approx(50), "held")
        assert line.service_from == "no_traffic"
        assert answer.nodes[0].cpu.mean == pytest.approx(0.5)
        assert answer.nodes[0].memory_used is None
        assert answer.source == "warrener"


async def test_the_load_comes_over_the_wire_as_it_is(scene: Scene) -> None:
    async with scene.running():
        await keep(scene, sample(91), sample(101))
        (answer,) = await ask(scene.folder, PLAN_LOAD, PlanLoadRequest(600))
        load = await scene.service.history.load(600)
        assert from_wire(answer) == load
        assert load.published == pytest.approx(30)
        assert "only 20 s of history in the last 10 min" in load.warnings


async def test_without_history_it_is_said_when_there_will_be_some(scene: Scene) -> None:
    async with scene.running():
        with pytest.raises(Refused, match="there is no history of the last 10 min") as refused:
            await ask(scene.folder, HISTORY, HistoryRequest())
        assert refused.value.refusal is Refusal.NOT_YET


async def test_while_it_stops_nothing_is_looked_up(scene: Scene) -> None:
    async with scene.running():
        pass
    with pytest.raises(Refused, match="the cluster is stopping") as refused:
        await scene.service.history.look(60)
    assert refused.value.refusal is Refusal.NOT_YET


@pytest.mark.parametrize("window", [0.0, -5.0, 8 * 24 * 3600.0, float("nan")])
async def test_a_window_has_to_make_sense(scene: Scene, window: float) -> None:
    async with scene.running():
        with pytest.raises(Refused, match=r"1 s to 7 d") as refused:
            await scene.service.history.look(window)
        assert refused.value.refusal is Refusal.BAD_ARGUMENT


async def test_switched_off_there_is_neither_a_file_nor_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, history=HistorySettings(enabled=False))
    async with scene.running():
        await asyncio.wait_for(scene.service.history.run(), 5)
        with pytest.raises(Refused, match=r"`enabled = false` under \[history\]"):
            await ask(scene.folder, HISTORY, HistoryRequest())
    assert not (scene.folder.path / FILE).exists()


async def test_a_broken_file_is_an_event_and_sampling_goes_on(scene: Scene) -> None:
    (scene.folder.path / FILE).write_bytes(b"nonsense" * 1000)
    async with scene.running():
        await keep(scene, sample(101))
        await until(lambda: "history.broken" in scene.kinds())
        (answer,) = await ask(scene.folder, HISTORY, HistoryRequest(60))
        assert answer.samples == 1
    assert (scene.folder.path / BROKEN).exists()


async def test_what_cannot_be_written_is_told_once_until_it_can(scene: Scene) -> None:
    (scene.folder.path / FILE).mkdir()  # nothing that can be opened
    async with scene.running():
        await keep(scene, sample(91), sample(101))
        assert scene.kinds().count("history.not_written") == 1
        (scene.folder.path / FILE).rmdir()
        await keep(scene, sample(111))
        assert scene.kinds().count("history.written_again") == 1


async def test_an_error_of_ours_ends_one_sample_only(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    async def fail() -> None:
        nonlocal tries
        tries += 1
        raise RuntimeError("a bug")

    async with scene.running():
        monkeypatch.setattr(module, "FIRST", 0.0)
        history = module.History(scene.service)
        history._settings = replace(history._settings, every=0.0)
        monkeypatch.setattr(history, "sample", fail)
        task = asyncio.create_task(history.run())
        await until(lambda: tries >= 3)
        task.cancel()
        await asyncio.wait({task})
        await history.close()


async def test_it_samples_by_itself_while_the_cluster_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST", 0.01)
    scene = Scene(tmp_path)
    taken = asyncio.Event()
    sample_one = module.History.sample

    async def counted(self: module.History) -> Sample | None:
        scene.now += 10
        found = await sample_one(self)
        if found is not None:
            taken.set()
        return found

    monkeypatch.setattr(module.History, "sample", counted)
    async with scene.running():
        await asyncio.wait_for(taken.wait(), 5)
