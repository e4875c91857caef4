"""diff and apply on a daemon whose cluster and balancer are stand-ins, over the control socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.unit.daemon.fake_management import FakeManagement
from tests.unit.daemon.scene import N1, N2, Scene, ask

from warrener.cluster.password_hash import is_password
from warrener.control.describe_operations import (
    APPLY,
    DIFF,
    ApplyAnswer,
    ApplyRequest,
    DiffAnswer,
    DiffRequest,
)
from warrener.control.operations import URL, UrlRequest
from warrener.control.wire import BadLine, Refusal, Refused
from warrener.daemon import applying, upkeep
from warrener.facts.ids import NodeName
from warrener.facts.settings import PolicyName

TEXT = """
name = "shop"
[cluster]
plugins = ["rabbitmq_shovel"]
[balancer]
policy = "p2c"
weights = { n1 = 50 }
[[vhost]]
name = "v"
tags = ["t"]
max_queues = 5
[[user]]
name = "u"
password = { generate = true }
tags = ["monitoring"]
max_channels = 3
[user.permissions.v]
read = "x"
[[user]]
name = "e"
password = { env = "E" }
[[policy]]
vhost = "v"
name = "p"
pattern = "x"
definition = { max-length = 1 }
[[operator_policy]]
vhost = "v"
name = "p"
pattern = "x"
definition = { expires = 1 }
[[queue]]
vhost = "v"
name = "q"
type = "quorum"
"""


class Stage:
    def __init__(self, scene: Scene, api: FakeManagement) -> None:
        self.scene = scene
        self.api = api

    def asked(self, kind: type[DiffRequest], text: str = TEXT, **more: Any) -> DiffRequest:
        return kind(source="w.toml", folder="/", text=text, secrets={"e": "s3cret"}, **more)

    async def diff(self, text: str = TEXT, **more: Any) -> DiffAnswer:
        answers = await ask(self.scene.folder, DIFF, self.asked(DiffRequest, text, **more))
        assert isinstance(answers[-1], DiffAnswer)
        return answers[-1]

    async def apply(self, text: str = TEXT, **more: Any) -> ApplyAnswer:
        answers = await ask(self.scene.folder, APPLY, self.asked(ApplyRequest, text, **more))
        assert isinstance(answers[-1], ApplyAnswer)
        return answers[-1]


@asynccontextmanager
async def stage(path: Path, made: FakeManagement | None = None) -> AsyncIterator[Stage]:
    scene, api = Scene(path), made or FakeManagement()
    async with api.serving() as client, scene.running():
        scene.cluster.clients = [client]
        yield Stage(scene, api)


async def test_all_is_made_and_then_there_is_nothing_to_do(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        shown = await on.diff()
        assert on.api.story == []
        answer = await on.apply(agreed=shown.fingerprint)
        assert [step.thing for step in answer.done] == [step.thing for step in shown.steps]
        assert (answer.failed, answer.left, answer.blocked) == (None, [], [])
        api = on.api
        assert api.cluster_name == "shop"
        assert api.vhosts["v"]["tags"] == ["t"]
        assert api.users["u"]["tags"] == ["monitoring"]
        assert api.permissions["v", "u"]["read"] == "x"
        assert api.queues["v", "q"]["type"] == "quorum"
        assert (
            set(api.policies["policies"]) == set(api.policies["operator-policies"]) == {("v", "p")}
        )
        assert api.limits == {"user": {("u", "max-channels"): 3}, "vhost": {("v", "max-queues"): 5}}
        balancer = on.scene.balancers[0]
        assert (balancer.policy, balancer.weights[N1]) == (PolicyName.P2C, 50)
        assert "plugins rabbitmq_management rabbitmq_prometheus rabbitmq_shovel" in on.scene.story
        assert (await on.diff()).steps == []
        again = await on.apply()
        assert (again.done, again.left) == ([], [])
        on.api.story.clear()


async def test_weights_become_automatic_and_are_by_hand_again(tmp_path: Path) -> None:
    auto = TEXT.replace("weights = { n1 = 50 }", 'weights = "auto"')
    async with stage(tmp_path) as on:
        await on.apply()
        shown = await on.diff(auto)
        assert [(step.subject, step.changes[0].after) for step in shown.steps] == [
            ("weights", "auto")
        ]
        await on.apply(auto)
        assert on.scene.service.weighing.on
        assert (await on.diff(auto)).steps == []
        on.scene.balancers[0].set_weight(N1, 130)
        assert (await on.diff(auto)).steps == []  # what it follows is nobody's wish
        await on.apply()
        assert not on.scene.service.weighing.on
        assert on.scene.balancers[0].weights[N1] == 50


async def test_a_failed_step_ends_it_and_the_next_run_goes_on(tmp_path: Path) -> None:
    """At each step in turn."""
    async with stage(tmp_path) as on:
        total = len((await on.diff()).steps)
        refusable = [
            "cluster-name", "vhosts/v", "vhost-limits/v/max-queues", "users/u",
            "user-limits/u/max-channels", "permissions/v/u", "users/e", "policies/v/p",
            "operator-policies/v/p", "queues/v/q",
        ]  # fmt: skip
        for done_before, path in enumerate(refusable, start=1):
            on.api.refuse = {path: 400}
            answer = await on.apply()
            assert answer.failed is not None
            assert path in answer.why
            assert "HTTP status 400: bad_request: no" in answer.why
            assert len(answer.done) == 1, path
            assert len(answer.left) == total - done_before - 1
        on.api.refuse = {}
        assert (await on.apply()).failed is None
        assert (await on.diff()).steps == []


CHANGES = 11
"""Of the management API that TEXT takes; what is done to the stand-ins comes at once."""


@pytest.mark.parametrize("made", [False, True])
@pytest.mark.parametrize("number", range(CHANGES))
async def test_ended_in_the_middle_of_any_step_another_daemon_goes_on(
    tmp_path: Path, number: int, made: bool
) -> None:
    """The daemon ends while RabbitMQ is asked for a change, which is made or not; nobody knows.
    Another one with the same folder and cluster comes to the same end, and the generated password
    is the one that the user has."""
    api = FakeManagement()
    api.hang_at, api.hangs_after = number, made
    async with stage(tmp_path, api) as on:
        applying = asyncio.create_task(on.apply())
        await api.hanging.wait()
    with pytest.raises((Refused, EOFError, ConnectionError, BadLine)):
        await applying
    api.hang_at = None
    before = dict(api.users.get("u", {}))
    async with stage(tmp_path, api) as on:
        assert (await on.apply()).failed is None
        assert (await on.diff()).steps == []
        assert api.users["u"]["password_hash"] == before.get(
            "password_hash", api.users["u"]["password_hash"]
        )
        (answer,) = await ask(on.scene.folder, URL, UrlRequest("u"))
        hashing = api.users["u"]["hashing_algorithm"]
        assert is_password(answer.password, api.users["u"]["password_hash"], hashing)


async def test_a_queue_that_comes_up_by_itself_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RabbitMQ knows it and says that nobody serves it: declared by half, or being recovered."""
    monkeypatch.setattr(applying, "RECOVERY_LOOK", 0.01)
    async with stage(tmp_path) as on:
        on.api.refuse = {"queues/v/q": 404}
        asyncio.get_running_loop().call_later(0.2, on.api.refuse.clear)
        assert (await on.apply()).failed is None
    assert ("v", "q") in on.api.queues


async def test_a_queue_that_does_not_come_up_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "RECOVERY", -1)
    async with stage(tmp_path) as on:
        on.api.refuse = {"queues/v/q": 404}
        answer = await on.apply()
        assert answer.failed is not None
        assert (answer.failed.thing, answer.failed.subject) == ("queue", "q in v")


async def test_a_virtual_host_that_was_made_by_half_is_opened_to_warrener(tmp_path: Path) -> None:
    """RabbitMQ makes it, then lets its maker in: a daemon that dies in between leaves one in which
    no queue can be declared."""
    async with stage(tmp_path) as on:
        await on.apply()
        del on.api.permissions["v", "warrener"]
        del on.api.queues["v", "q"]
        vhost, _ = (await on.diff()).steps
        assert [change.what for change in vhost.changes] == ["Warrener's own access"]
        assert (await on.apply()).failed is None
        assert ("v", "q") in on.api.queues
        assert (await on.diff()).steps == []


async def test_other_steps_than_were_shown_are_not_taken(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        shown = await on.diff()
        on.api.vhosts["v"] = {"name": "v"}
        with pytest.raises(Refused, match="has changed since the steps were shown"):
            await on.apply(agreed=shown.fingerprint)
        assert on.api.story == []


async def test_a_caller_that_hangs_up_ends_it_between_two_steps(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        give_up = asyncio.Event()
        give_up.set()
        request = on.asked(ApplyRequest)
        answers = await ask(on.scene.folder, APPLY, request, give_up=give_up)
        assert answers[-1].called_off
        assert answers[-1].left
        assert (await on.apply()).failed is None


async def test_mistakes_are_the_askers(tmp_path: Path) -> None:
    """Also those that only the cluster's version makes."""
    async with stage(tmp_path) as on:
        text = (
            '[[policy]]\nname = "p"\npattern = ""\napply_to = "streams"\n'
            'definition = { max-age = "1D" }'
        )
        with pytest.raises(Refused, match=r"needs RabbitMQ 3\.12") as caught:
            await on.diff(text)
        assert caught.value.refusal is Refusal.BAD_ARGUMENT


async def test_what_is_not_described_is_named_or_pruned(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        await on.apply()
        passwords = (on.scene.folder.path / "passwords.json").read_text()
        assert '"u"' in passwords
        found = await on.diff("")
        assert found.unlisted == {
            "users": ["u", "e"],
            "virtual hosts": ["v"],
            "plugins": ["rabbitmq_shovel"],
        }
        await on.apply("", prune=True)
        assert list(on.api.users) == ["warrener"]
        assert list(on.api.vhosts) == ["/"]
        assert '"u"' not in (on.scene.folder.path / "passwords.json").read_text()


async def test_the_url_of_a_user_whose_password_was_generated(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        await on.apply()
        (answer,) = await ask(on.scene.folder, URL, UrlRequest("u"))
        assert (answer.user, answer.vhost) == ("u", "v")
        assert len(answer.password) > 20
        (answer,) = await ask(on.scene.folder, URL, UrlRequest("", "v"))
        assert (answer.user, answer.vhost) == ("warrener", "v")
        with pytest.raises(Refused, match="the password of user 'e' isn't known"):
            await ask(on.scene.folder, URL, UrlRequest("e"))


async def test_secrets_are_in_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with stage(tmp_path) as on:
        await on.apply()
        on.api.refuse = {"users/e": 400}
        answer = await on.apply(TEXT.replace('{ env = "E" }', '"other-s3cret"'))
        assert answer.failed is not None
        assert "s3cret" not in answer.why
    for path in on.scene.folder.path.rglob("*"):
        if path.is_file():
            assert "s3cret" not in path.read_text(), path
    assert "s3cret" not in caplog.text


# -- RabbitMQ's own settings

CONFIG = "[config]\nheartbeat = 30\nconnection_max = 100\n"


async def test_settings_are_put_in_force_live_or_by_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "LOOK", 0)
    async with stage(tmp_path) as on:
        cluster = on.scene.cluster
        configuration = cluster.configuration
        configuration.names = [N1, N2]
        restart = cluster.restart_node

        async def boots(name: NodeName, timeout: float) -> None:
            await restart(name, timeout)
            configuration.boot(name)

        cluster.restart_node = boots  # type: ignore[method-assign]
        shown = await on.diff(CONFIG)
        changes = [(change.what, change.after) for step in shown.steps for change in step.changes]
        assert changes == [("heartbeat", "30"), ("connection_max", "100")]
        answer = await on.apply(CONFIG, agreed=shown.fingerprint)
        assert (answer.failed, answer.left) == (None, [])
        for name in (N1, N2):
            assert configuration.in_force[name]["heartbeat"] == "30"
            assert configuration.in_force[name]["connection_max"] == "100"
        assert configuration.described == {"heartbeat": "30", "connection_max": "100"}
        assert configuration.chosen == configuration.described  # it stays without the file
        assert (await on.diff(CONFIG)).steps == []


async def test_a_setting_that_left_the_file_is_named_or_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "LOOK", 0)
    async with stage(tmp_path) as on:
        configuration = on.scene.cluster.configuration
        configuration.names = [N1, N2]
        await on.apply("[config]\nheartbeat = 30\n")
        found = await on.diff("")
        assert found.steps == []
        assert found.unlisted == {"settings": ["heartbeat"]}
        shown = await on.diff("", prune=True)
        assert [change.before for step in shown.steps for change in step.changes] == ["30"]
        answer = await on.apply("", prune=True)
        assert (answer.failed, answer.left, answer.unlisted) == (None, [], {})
        assert (configuration.described, configuration.chosen) == ({}, {})
        assert not (await on.diff("", prune=True)).steps


async def test_a_setting_that_rabbitmq_refuses_leaves_the_old_one(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        configuration = on.scene.cluster.configuration
        configuration.names = [N1, N2]
        shown = await on.diff("[config]\nheartbeat = 30\n")
        configuration.refuse = "RabbitMQ would not start with that"
        with pytest.raises(Refused, match="RabbitMQ would not start with that"):
            await on.apply("[config]\nheartbeat = 30\n", agreed=shown.fingerprint)
        assert configuration.described == {}
        assert configuration.chosen == {}
