"""backup and restore on a daemon whose cluster is a stand-in, over the control socket."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.daemon.fake_management import FakeManagement
from tests.unit.daemon.scene import N1, Scene, ask

from warrener.cluster.backup_file import file_of, read
from warrener.cluster.spec import parse_spec
from warrener.control.backup_operations import (
    BACKUP,
    RESTORE,
    BackupAnswer,
    BackupRequest,
    RestoreAnswer,
    RestoreRequest,
)
from warrener.control.wire import Refusal, Refused
from warrener.daemon import putting_back
from warrener.facts.settings import PolicyName

QUEUE = {"vhost": "/", "durable": True, "auto_delete": False, "arguments": {}}
USER = {"name": "app", "password_hash": "aGFzaA==", "tags": [], "limits": {},
        "hashing_algorithm": "rabbit_password_hashing_sha256"}  # fmt: skip
POLICY = {"vhost": "/", "apply-to": "all", "pattern": "x", "priority": 0,
          "definition": {"max-length": 1}}  # fmt: skip


class Stage:
    def __init__(self, scene: Scene, api: FakeManagement, folder: Path) -> None:
        self.scene = scene
        self.api = api
        self.folder = folder

    async def backup(self, *, secrets: bool = False) -> tuple[BackupAnswer, Path]:
        answer = (await ask(self.scene.folder, BACKUP, BackupRequest(secrets)))[-1]
        assert isinstance(answer, BackupAnswer)
        path = self.folder / "backup.json"
        path.write_bytes(file_of(bytes(answer.document)))
        return answer, path

    def file(self, **lists: Any) -> Path:
        path = self.folder / "definitions.json"
        path.write_text(json.dumps({"rabbitmq_version": "3.10.8", **lists}))
        return path

    async def restore(self, path: Path, **more: Any) -> RestoreAnswer:
        answer = (await ask(self.scene.folder, RESTORE, asked(path, **more)))[-1]
        assert isinstance(answer, RestoreAnswer)
        return answer


def asked(path: Path, **more: Any) -> RestoreRequest:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return RestoreRequest(**({"path": str(path), "digest": digest} | more))


def subjects(lines: Any) -> list[str]:
    return [f"{line.verb} {line.thing} {line.subject}" for line in lines]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    scene, api = Scene(tmp_path), FakeManagement()
    async with api.serving() as client:
        scene.cluster.clients = [client]
        async with scene.running():
            yield Stage(scene, api, tmp_path)


async def test_a_backup_has_what_the_cluster_is(stage: Stage) -> None:
    api = stage.api
    api.definitions = {"users": [USER], "queues": [{**QUEUE, "name": "q"}]}
    api.vhosts["v"] = {"name": "v", "description": "d", "tags": ["t"]}
    stage.scene.cluster.configuration.chosen = {"heartbeat": "30", "ssl_options.password": "x"}
    answer, path = await stage.backup()
    backup = read(path.read_bytes()).backup
    assert backup is not None
    assert answer.counts == {"vhosts": 2, "users": 1, "queues": 1}
    assert backup.created == "1970-01-01T00:01:41Z"
    assert backup.cluster.nodes == ["n1@localhost", "n2@localhost"]
    assert backup.config == {"heartbeat": "30"}
    assert answer.left_out == ["the value of ssl_options.password, chosen by `config set`"]
    assert backup.definitions["vhosts"][1] == {"name": "v", "description": "d", "tags": ["t"]}
    assert backup.balancer.policy == "roundrobin"
    answer, path = await stage.backup(secrets=True)
    backup = read(path.read_bytes()).backup
    assert backup is not None
    assert (backup.config["ssl_options.password"], answer.left_out) == ("x", [])


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ('name = "a"\n', False),
        ('[[user]]\nname = "u"\npassword = "plain"\n', True),
        ('[[user]]\nname = "u"\npassword = { env = "U" }\n', False),
        ('[config]\n"ssl_options.password" = "x"\n', True),
        ("[[[ no longer read by this version", True),
    ],
)
async def test_a_description_with_passwords_is_left_out(
    stage: Stage, text: str, secret: bool
) -> None:
    keeping = stage.scene.service.describe
    keeping.in_force = ("w.toml", text)
    answer, path = await stage.backup()
    backup = read(path.read_bytes()).backup
    assert backup is not None
    assert (backup.description is None) == secret
    assert answer.left_out == ["w.toml, which has passwords in it"] * secret
    _, path = await stage.backup(secrets=True)
    backup = read(path.read_bytes()).backup
    assert backup is not None
    assert backup.description is not None
    assert backup.description.text == text


async def test_generated_passwords_go_along_only_with_secrets(stage: Stage) -> None:
    passwords = stage.scene.service.describe.passwords
    made = passwords.make("app")
    answer, path = await stage.backup()
    assert made not in path.read_text()
    assert answer.left_out[0].startswith("the generated passwords of app")
    _, path = await stage.backup(secrets=True)
    passwords.forget("app")
    done = await stage.restore(path)
    assert subjects(done.steps) == ["make generated password app"]
    assert passwords.of("app") == made
    assert made not in repr(done)


async def test_everything_is_put_back_and_then_there_is_nothing_to_do(stage: Stage) -> None:
    api = stage.api
    api.definitions = {"users": [USER], "queues": [{**QUEUE, "name": "q"}]}
    api.vhosts["v"] = {"name": "v", "description": "d", "tags": ["t"]}
    stage.scene.cluster.configuration.chosen = {"heartbeat": "30"}
    _, path = await stage.backup()
    api.definitions, api.vhosts = {}, {"/": {"name": "/"}}
    configuration = stage.scene.cluster.configuration
    configuration.chosen = {}
    configuration.names = configuration.names[:2]
    balancer = stage.scene.balancers[0]
    balancer.policy = PolicyName.P2C
    balancer.set_weight(N1, 7)
    dry = await stage.restore(path, dry_run=True)
    assert api.story == []
    done = await stage.restore(path, agreed=dry.fingerprint)
    assert (
        subjects(done.steps)
        == subjects(dry.steps)
        == [
            "make virtual host v",
            "make user app",
            "make queue q",
            "make setting heartbeat",
            "change balancer policy",
            f"change balancer {N1}",
        ]
    )
    assert done.failed == []
    assert balancer.policy is PolicyName.ROUNDROBIN
    assert balancer.weights[N1] == 100
    assert configuration.chosen == {"heartbeat": "30"}
    assert api.vhosts["v"]["description"] == "d"
    again = await stage.restore(path)
    assert (again.steps, again.failed, again.blocked) == ([], [], [])
    assert again.same > 5


async def test_automatic_weights_are_kept_as_such(stage: Stage) -> None:
    weighing, balancer = stage.scene.service.weighing, stage.scene.balancers[0]
    _, path = await stage.backup()
    by_hand = path.rename(path.with_name("by-hand.json"))
    weighing.set(True)
    balancer.set_weight(N1, 140)
    backup = read((await stage.backup())[1].read_bytes()).backup
    assert backup is not None
    assert (backup.balancer.auto_weights, backup.balancer.weights) == (True, {})
    done = await stage.restore(by_hand)
    assert subjects(done.steps) == ["change balancer weights", f"change balancer {N1}"]
    assert (weighing.on, balancer.weights[N1]) == (False, 100)


async def test_what_is_refused_stands_alone_and_what_vanishes_is_told(stage: Stage) -> None:
    policies = [{**POLICY, "name": f"p{number}"} for number in range(9)]
    path = stage.file(policies=policies, queues=[{**QUEUE, "name": "ghost"}])
    stage.api.refuse_names = {"p3", "p7"}
    stage.api.ignore_names = {"ghost"}
    done = await stage.restore(path)
    assert len(done.steps) == 7
    failed = {line.step.subject: line.why for line in done.failed}
    assert set(failed) == {"p3", "p7", "ghost"}
    assert "<no>" in failed["p3"]
    assert "doesn't have it now" in failed["ghost"]


async def test_a_setting_that_fails_leaves_the_rest(stage: Stage) -> None:
    stage.scene.cluster.configuration.chosen = {"heartbeat": "30", "connection_max": "5"}
    _, path = await stage.backup()
    configuration = stage.scene.cluster.configuration
    configuration.chosen, configuration.described = {}, {"connection_max": "9"}
    configuration.refuse = "RabbitMQ would not start with that"
    stage.scene.balancers[0].policy = PolicyName.P2C
    done = await stage.restore(path)
    assert [(one.step.subject, one.why) for one in done.failed] == [
        ("heartbeat", "RabbitMQ would not start with that")
    ]
    assert [(one.subject, one.blocked) for one in done.blocked] == [
        ("connection_max", "it is set in warrener.toml, under [config]")
    ]
    assert subjects(done.steps) == ["change balancer policy"]


async def test_changed_meanwhile_nothing_is_done(stage: Stage) -> None:
    path = stage.file(queues=[{**QUEUE, "name": "q"}])
    dry = await stage.restore(path, dry_run=True)
    stage.api.definitions = {"queues": [{**QUEUE, "name": "q"}]}
    with pytest.raises(Refused, match="the cluster has changed since"):
        await stage.restore(path, agreed=dry.fingerprint)
    request = asked(path)
    path.write_text(path.read_text() + " ")
    with pytest.raises(Refused, match="has changed since it was looked at"):
        await ask(stage.scene.folder, RESTORE, request)
    assert stage.api.story == []


async def test_files_are_judged_again_by_the_daemon(stage: Stage) -> None:
    path = stage.file(users=7)
    with pytest.raises(Refused) as error:
        await stage.restore(path)
    assert error.value.refusal is Refusal.BAD_ARGUMENT
    newer = stage.file(queues=[])
    newer.write_text(newer.read_text().replace("3.10.8", "3.11.0"))
    with pytest.raises(Refused) as error:
        await stage.restore(newer)
    assert error.value.refusal is Refusal.UNWISE
    await stage.restore(newer, force=True)
    request = asked(newer)
    newer.unlink()
    with pytest.raises(Refused, match="the daemon can't read"):
        await ask(stage.scene.folder, RESTORE, request)


async def test_who_hangs_up_ends_it_between_two_batches(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(putting_back, "BATCH", 2)
    path = stage.file(queues=[{**QUEUE, "name": f"q{number}"} for number in range(6)])
    stage.api.hang_at, stage.api.hangs_after = 1, True
    give_up = asyncio.Event()
    asking = asyncio.create_task(
        ask(stage.scene.folder, RESTORE, asked(path), give_up=give_up), name="restore"
    )
    await stage.api.hanging.wait()
    give_up.set()
    await asyncio.sleep(0.05)
    stage.api.release.set()
    answer = (await asking)[-1]
    assert answer.called_off
    assert (len(answer.steps), len(answer.left)) == (4, 2)
    stage.api.hang_at = None
    again = await stage.restore(path)
    assert (len(again.steps), again.same) == (2, 4)


def test_the_text_of_a_description_goes_with_it() -> None:
    assert parse_spec('name = "a"\n').text == 'name = "a"\n'
    assert "name" not in repr(parse_spec('name = "a"\n')).partition("text")[2]
