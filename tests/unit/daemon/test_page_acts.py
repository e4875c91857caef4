"""What viewers of the page do: refused as commands are, seen by all, recorded with who it was."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.unit.daemon.scene import N1, N2, N3, Node, Scene, ask, until

from warrener.control import operations as ops
from warrener.control.page import page_folder
from warrener.control.wire import Refused
from warrener.daemon import leaders, page_acts, upkeep
from warrener.daemon.errors import DaemonError
from warrener.daemon.parts import MoveSink
from warrener.facts.capability import WITHOUT_HOSTS, Capabilities
from warrener.facts.data_plane import DataPlane
from warrener.facts.leaders import QueueRates
from warrener.facts.moves import MoveProgress, RebalanceResult, RebalanceShare
from warrener.facts.reasons import NodeState
from warrener.facts.settings import PolicyName
from warrener.facts.snapshot import QueueView

QUORUM = QueueView("/", "jobs", "quorum", N2, (N1, N2, N3), (N1, N2, N3))
DRAIN = {"act": "drain", "node": "n2"}
UNEVEN = RebalanceResult(
    (RebalanceShare(N1, 9, 4, 4), RebalanceShare(N2, 0, 5, 5)), 5, 0, 2.0, 1.1, "", 0.5
)


@pytest.fixture(autouse=True)
def _looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "LOOK", 0)
    monkeypatch.setattr(leaders, "SETTLE", 0)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Three nodes, one quorum queue on all of them."""
    made = Scene(tmp_path)
    made.cluster.rows[N3] = Node(N3)
    made.cluster.queues = (QUORUM,)
    return made


class Viewer:
    """Sends what the page sends."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.token = (page_folder(scene.folder.path) / "token").read_text()

    async def send(self, path: str, **body: Any) -> tuple[int, Any]:
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.token}"}) as session,
            session.post(f"{self.scene.service.page.url}api/{path}", json=body) as response,
        ):
            if response.content_type == "application/json":
                return response.status, json.loads(await response.read())
            return response.status, (await response.text()).strip()

    async def preview(self, **wanted: Any) -> dict[str, Any]:
        code, told = await self.send("preview", **wanted)
        assert code == 200, told
        assert isinstance(told, dict)
        return told

    async def confirm(self, **wanted: Any) -> int:
        """Of a preview that has just been made: the act's number."""
        made = await self.preview(**wanted)
        assert made["id"], made
        code, told = await self.send("act", preview=made["id"])
        assert code == 202, told
        return int(told["number"])

    async def documents(self) -> AsyncIterator[dict[str, Any]]:
        """What any viewer sees of acts, document after document."""
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.token}"}) as session,
            session.get(f"{self.scene.service.page.url}api/live?view=events") as response,
        ):
            while line := await response.content.readline():
                yield json.loads(line)["acts"]

    async def shown(
        self, wanted: Callable[[dict[str, Any]], bool] = lambda _: True
    ) -> dict[str, Any]:
        """The first that is as wanted."""
        async with asyncio.timeout(20), contextlib.aclosing(self.documents()) as documents:
            async for told in documents:
                if wanted(told):
                    return told
        raise AssertionError("the stream ended")

    async def ended(self, number: int) -> dict[str, Any]:
        """The act once it has ended."""

        def of(told: dict[str, Any]) -> list[dict[str, Any]]:
            return [one for one in told["acts"] if one["number"] == number and one["end"]]

        return of(await self.shown(lambda told: bool(of(told))))[0]

    def recorded(self, kind: str) -> list[ops.EventLine]:
        return [one for one in self.scene.service.events.recent(1000) if one.kind == kind]


class Held:
    """Work that tells how far it is and then waits."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.go_on = asyncio.Event()

    async def move(self, on_progress: MoveSink) -> None:
        on_progress(MoveProgress(12, 40))
        self.began.set()
        await self.go_on.wait()


# -- each act, as the command does it


async def test_a_drain_and_a_revive(scene: Scene) -> None:
    async with scene.running():
        viewer = Viewer(scene)
        made = await viewer.preview(**DRAIN)
        assert made["title"] == f"Drain {N2}?"
        assert scene.story == []  # a preview does nothing
        number = await viewer.confirm(**DRAIN)
        done = await viewer.ended(number)
        assert (done["end"], done["outcome"].startswith("n2 is drained: 3 sessions moved")) == (
            "done",
            True,
        )
        assert scene.story[:3] == [
            f"{N2} hands over",
            f"balancer drains {N2} within 60 s",
            f"RabbitMQ drains {N2}",
        ]
        scene.cluster.change(N2, drained=True)
        assert (await viewer.preview(**DRAIN))["title"] == "n2 is drained already"
        revived = await viewer.ended(await viewer.confirm(act="revive", node="n2"))
        assert revived["end"] == "done"
        assert f"RabbitMQ revives {N2}" in scene.story
    assert [one.kind for one in scene.service.events.recent(1000) if one.subject == N2] == [
        "page.act_begun",
        "node.drained",
        "page.act_ended",
        "page.act_begun",
        "node.revived",
        "page.act_ended",
    ]


async def test_who_did_it_and_what_became_of_it_is_recorded(scene: Scene) -> None:
    async with scene.running():
        viewer = Viewer(scene)
        await viewer.ended(await viewer.confirm(**DRAIN))
        (begun,), (ended,) = viewer.recorded("page.act_begun"), viewer.recorded("page.act_ended")
    assert begun.detail["act"] == "drains n2"
    assert "127.0.0.1:" in str(begun.detail["viewer"])
    assert (ended.reason, ended.detail["viewer"]) == ("done", begun.detail["viewer"])
    assert str(ended.detail["outcome"]).startswith("n2 is drained")
    assert viewer.token not in str([begun, ended])


async def test_a_rebalancing(scene: Scene) -> None:
    async with scene.running() as balancer:
        balancer.rebalanced = UNEVEN
        viewer = Viewer(scene)
        made = await viewer.preview(act="rebalance")
        assert made["sheets"][0]["rows"] == [["n1", "9", "4"], ["n2", "0", "5"]]
        done = await viewer.ended(await viewer.confirm(act="rebalance"))
        assert done["outcome"].startswith("5 sessions moved")
        assert scene.story.count("balancer rebalances") == 1
        assert viewer.recorded("sessions.rebalanced")


async def test_a_policy_and_a_weight(scene: Scene) -> None:
    async with scene.running() as balancer:
        viewer = Viewer(scene)
        shown = await viewer.preview(act="policy")
        assert (shown["id"], len(shown["choices"])) == ("", len(PolicyName))
        done = await viewer.ended(await viewer.confirm(act="policy", policy="p2c"))
        assert done["outcome"] == "The policy is p2c (before: roundrobin)"
        assert balancer.policy is PolicyName.P2C
        assert (await viewer.preview(act="weight", node="n2"))["value"] == 100
        done = await viewer.ended(await viewer.confirm(act="weight", node="n2", weight=7))
        assert done["outcome"] == "n2 has weight 7 (before: 100)"
        assert balancer.weights[N2] == 7


async def test_leaders_are_moved_as_they_were_shown(scene: Scene) -> None:
    scene.cluster.queues = tuple(
        QueueView("/", name, "quorum", N1, (N1, N2, N3), (N1, N2, N3)) for name in "abc"
    )
    scene.cluster.rates = {("/", name): QueueRates(100.0, 100.0, 100.0) for name in "abc"}
    async with scene.running():
        viewer = Viewer(scene)
        made = await viewer.preview(act="leaders")
        assert len(made["sheets"][0]["rows"]) == 2
        code, told = await viewer.send("act", preview=made["id"])
        assert code == 202
        done = await viewer.ended(told["number"])
        assert (done["end"], done["outcome"].startswith("2 of 2 leaders moved")) == ("done", True)
        assert {queue.leader for queue in scene.cluster.queues} == {N1, N2, N3}


# -- what is refused


async def test_a_node_that_is_none(scene: Scene) -> None:
    async with scene.running():
        viewer = Viewer(scene)
        for act in ("drain", "revive", "weight"):
            code, told = await viewer.send("preview", act=act, node="n9")
            assert (code, "no node 'n9'" in told) == (404, True)
        code, told = await viewer.send("preview", act="weight", node="n1", weight=1001)
        assert (code, told.startswith("a weight is 0 to 1000")) == (400, True)


async def test_a_drain_that_would_be_refused_cannot_be_confirmed(scene: Scene) -> None:
    """The daemon's own check, not one of the page's."""
    async with scene.running():
        viewer = Viewer(scene)
        scene.cluster.queues = (replace(QUORUM, online=(N1, N2), members=(N1, N2, N3)),)
        scene.cluster.change(N3, state=NodeState.DOWN)
        made = await viewer.preview(**DRAIN)
        assert made["id"] == ""
        assert (
            "1 quorum queue (jobs) would lose the majority, as n3 doesn't run"
            in (made["refusals"][0])
        )
        assert "--force" in made["refusals"][0]
        with pytest.raises(Refused, match="would lose the majority, as n3 doesn't run"):
            await ask(scene.folder, ops.DRAIN, ops.DrainRequest("n2"))
        assert scene.story == []


async def test_a_preview_is_confirmed_once_and_not_for_ever(scene: Scene) -> None:
    async with scene.running():
        viewer = Viewer(scene)
        made = await viewer.preview(act="policy", policy="p2c")
        old = await viewer.preview(act="policy", policy="random")
        assert (await viewer.send("act", preview=made["id"]))[0] == 202
        code, told = await viewer.send("act", preview=made["id"])
        assert (code, "no such preview any more" in told) == (409, True)
        scene.now += page_acts.PREVIEW_AGE + 1
        assert (await viewer.send("act", preview=old["id"]))[0] == 409
        assert (await viewer.send("act", preview="never was"))[0] == 409
        assert len(viewer.recorded("page.act_begun")) == 1


async def test_previews_that_are_kept_are_bounded(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_acts, "MOST_KEPT", 2)
    async with scene.running():
        viewer = Viewer(scene)
        wanted = ("p2c", "random", "source")
        made = [(await viewer.preview(act="policy", policy=one))["id"] for one in wanted]
        codes = [(await viewer.send("act", preview=id_))[0] for id_ in (made[0], made[2])]
        assert codes == [409, 202]


async def test_nothing_is_done_once_the_cluster_is_another(scene: Scene) -> None:
    async with scene.running():
        viewer = Viewer(scene)
        made = await viewer.preview(**DRAIN)
        scene.cluster.change(N3, state=NodeState.DOWN)
        code, told = await viewer.send("act", preview=made["id"])
        assert code == 409
        assert told["message"].startswith("The cluster has changed since this was shown")
        assert told["preview"]["id"] == ""
        assert told["preview"]["refusals"]
        (refused,) = viewer.recorded("page.act_refused")
        assert (refused.subject, refused.reason) == (N2, "changed")
        assert scene.story == []
        assert (await viewer.shown())["acts"] == []


async def test_a_stale_preview_brings_one_that_can_be_confirmed(scene: Scene) -> None:
    async with scene.running() as balancer:
        viewer = Viewer(scene)
        made = await viewer.preview(act="policy", policy="p2c")
        balancer.policy = PolicyName.RANDOM
        code, told = await viewer.send("act", preview=made["id"])
        assert (code, balancer.policy) == (409, PolicyName.RANDOM)
        assert (await viewer.send("act", preview=told["preview"]["id"]))[0] == 202
        assert viewer.recorded("page.act_begun")


async def test_two_at_once(scene: Scene) -> None:
    """The second viewer is told what is under way, by the preview or else by the daemon's lock."""
    held = Held()
    async with scene.running() as balancer:
        balancer.drain_with = held.move
        one, two = Viewer(scene), Viewer(scene)
        before = await two.preview(**DRAIN)
        number = await one.confirm(**DRAIN)
        await held.began.wait()
        assert (await two.preview(**DRAIN))["refusals"] == [
            f"{N2} is being drained already; wait until that is done"
        ]
        code, told = await two.send("act", preview=before["id"])
        assert (code, "is being drained already" in told["message"]) == (409, True)
        for act in ({"act": "rebalance"}, {"act": "leaders"}):
            assert f"{N2} is being drained" in (await two.preview(**act))["refusals"][0]
        with pytest.raises(Refused, match="is being drained already"):
            await ask(scene.folder, ops.DRAIN, ops.DrainRequest("n2"))
        held.go_on.set()
        assert (await one.ended(number))["end"] == "done"
    assert scene.story.count(f"RabbitMQ drains {N2}") == 1


async def test_one_preview_confirmed_twice_at_the_same_time_is_one_act(scene: Scene) -> None:
    async with scene.running():
        viewer = Viewer(scene)
        made = await viewer.preview(**DRAIN)
        answers = await asyncio.gather(*(viewer.send("act", preview=made["id"]) for _ in range(5)))
        assert sorted(code for code, _ in answers) == [202, 409, 409, 409, 409]
        await viewer.ended(next(told["number"] for code, told in answers if code == 202))
    assert scene.story.count(f"RabbitMQ drains {N2}") == 1


# -- what goes on


async def test_what_goes_on_is_seen_by_every_viewer_and_after_a_reload(scene: Scene) -> None:
    held = Held()
    async with scene.running() as balancer:
        balancer.drain_with = held.move
        number = await Viewer(scene).confirm(**DRAIN)  # and that one is gone
        await held.began.wait()
        told = await Viewer(scene).shown(lambda told: told["acts"][0]["total"])
        (act,) = told["acts"]
        assert (act["doing"], act["count"], act["total"]) == ("drains n2", 12, 40)
        assert (act["end"], act["can_be_called_off"]) == (None, True)
        assert act["lines"][-1]["text"] == "n2 moves sessions (12 of 40)"
        held.go_on.set()
        assert (await Viewer(scene).ended(number))["end"] == "done"
        scene.now += page_acts.SHOWN_FOR + 1
        assert (await Viewer(scene).shown(lambda told: not told["acts"]))["acts"] == []


async def test_acts_that_have_ended_are_bounded(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_acts, "MOST_ENDED", 2)
    async with scene.running():
        viewer = Viewer(scene)
        for policy in ("p2c", "random", "source", "leastconn"):
            number = await viewer.confirm(act="policy", policy=policy)
            await viewer.ended(number)
        told = await viewer.shown(lambda told: len(told["acts"]) == 2)
        assert [act["number"] for act in told["acts"]] == [3, 4]


async def test_any_viewer_can_call_off_what_can_be(scene: Scene) -> None:
    held = Held()
    async with scene.running() as balancer:
        balancer.drain_with = held.move
        one, two = Viewer(scene), Viewer(scene)
        number = await one.confirm(**DRAIN)
        await held.began.wait()
        assert (await two.send("call-off", number=number))[0] == 204
        done = await one.ended(number)
        assert (done["end"], done["outcome"].startswith("called off: ")) == ("called_off", True)
        assert N2 not in balancer.drained
        assert f"RabbitMQ drains {N2}" not in scene.story
        code, told = await two.send("call-off", number=number)
        assert (code, "it has ended" in told) == (409, True)
        assert (await two.send("call-off", number=99))[0] == 404
    (called_off,) = one.recorded("page.act_called_off")
    assert called_off.detail["number"] == number
    assert "node.drain_undone" in scene.kinds()


async def test_calling_off_too_late_is_told(scene: Scene) -> None:
    held = Held()

    async def slowly() -> None:
        held.began.set()
        await held.go_on.wait()

    async with scene.running():
        scene.cluster.drain_with = slowly
        viewer = Viewer(scene)
        number = await viewer.confirm(**DRAIN)
        await held.began.wait()
        assert (await viewer.send("call-off", number=number))[0] == 204
        held.go_on.set()
        done = await viewer.ended(number)
    assert (done["end"], done["outcome"].split(". ")[0]) == (
        "done",
        "It was too late to call it off",
    )


async def test_what_a_command_does_is_shown_as_well(scene: Scene) -> None:
    held = Held()
    async with scene.running() as balancer:
        balancer.drain_with = held.move
        command = asyncio.create_task(ask(scene.folder, ops.DRAIN, ops.DrainRequest("n2")))
        await held.began.wait()
        assert await Viewer(scene).shown() == {
            "acts": [],
            "others": [f"{N2} is being drained"],
            "why_not": {},
        }
        held.go_on.set()
        await command


async def test_what_fails_is_told_and_recorded(scene: Scene) -> None:
    async def fails() -> None:
        raise DaemonError("rabbitmq-upgrade: no such node")

    async def breaks() -> None:
        raise RuntimeError("a bug")

    async with scene.running():
        viewer = Viewer(scene)
        for how, words in (
            (fails, "rabbitmq-upgrade: no such node"),
            (breaks, "a bug in Warrener"),
        ):
            scene.cluster.drain_with = how
            done = await viewer.ended(await viewer.confirm(**DRAIN))
            assert (done["end"], words in done["outcome"]) == ("failed", True)
        assert [one.reason for one in viewer.recorded("page.act_ended")] == ["failed"] * 2
        assert (await viewer.preview(**DRAIN))["id"]  # nothing is left locked


async def test_when_the_cluster_stops_it_is_called_off_and_recorded(scene: Scene) -> None:
    held = Held()
    async with scene.running() as balancer:
        balancer.drain_with = held.move
        await Viewer(scene).confirm(**DRAIN)
        await held.began.wait()
    (ended,) = [one for one in scene.service.events.recent(1000) if one.kind == "page.act_ended"]
    assert ended.reason == "called_off"
    assert "the cluster is being stopped" in str(ended.detail["outcome"])


async def test_while_the_cluster_starts_nothing_can_be_done(scene: Scene) -> None:
    starts = asyncio.Event()
    scene.cluster.start_with = lambda: _wait(starts)  # type: ignore[assignment,return-value]
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.service.run())
        await until(lambda: scene.service.page.url != "")
        code, told = await Viewer(scene).send("preview", **DRAIN)
        assert (code, "the cluster is starting" in told) == (409, True)
        starts.set()
        await scene.is_ready.wait()
        scene.switch.turn()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


# -- what isn't possible here


async def test_with_a_cluster_that_somebody_else_runs(scene: Scene) -> None:
    scene.cluster.capabilities = Capabilities(WITHOUT_HOSTS, theirs=True, driver="attached")
    async with scene.running():
        viewer = Viewer(scene)
        assert set((await viewer.shown())["why_not"]) == {"leaders"}
        made = await viewer.preview(act="leaders")
        assert (made["id"], "--by-count" in made["refusals"][0]) == ("", True)
        drain = await viewer.preview(**DRAIN)
        assert "maintenance mode isn't switched on" in drain["lines"][-1]
        assert drain["id"]


async def test_with_haproxy(scene: Scene) -> None:
    async with scene.running() as balancer:
        told = balancer.statistics
        balancer.statistics = lambda: replace(  # type: ignore[method-assign]
            told(), data_plane=DataPlane.HAPROXY
        )
        viewer = Viewer(scene)
        assert set((await viewer.shown())["why_not"]) == {"rebalance"}
        made = await viewer.preview(act="rebalance")
        assert (made["id"], "HAProxy passes bytes" in made["refusals"][0]) == ("", True)


async def test_while_weights_follow_what_nodes_can_carry(scene: Scene) -> None:
    async with scene.running():
        viewer = Viewer(scene)
        before = await viewer.preview(act="weight", node="n1", weight=50)
        scene.service.weighing.set(on=True)
        made = await viewer.preview(act="weight", node="n1", weight=50)
        assert (made["id"], "auto-weights off" in made["refusals"][0]) == ("", True)
        assert (await viewer.send("act", preview=before["id"]))[0] == 409
