"""`warrener init --from FILE` and `--from-cluster`."""

import json
from pathlib import Path

import msgspec

from warrener.cluster.backup_file import FORMAT, Backup, BalancerPart, ClusterPart, encode
from warrener.cluster.spec import load_spec
from warrener.control.backup_operations import BackupAnswer
from warrener.testing.scripted_daemon import answer, scripted_daemon

EXPORT = {
    "rabbitmq_version": "3.10.8",
    "users": [{"name": "app", "password_hash": "x", "tags": []}],
    "queues": [{"vhost": "/", "name": "q", "durable": True, "arguments": {}}],
}


def test_of_rabbitmqs_own_export(run, tmp_path: Path) -> None:
    (tmp_path / "definitions.json").write_text(json.dumps(EXPORT))
    result = run("init", "--from", "definitions.json")
    assert (result.code, result.err) == (0, "")
    assert "Wrote warrener.toml (definitions.json)" in result.out
    spec = load_spec(tmp_path / "warrener.toml")
    assert [user.name for user in spec.wanted.users] == ["app"]
    assert run("init", "--from", "definitions.json").code == 2  # it is there


def test_of_the_cluster_that_runs(run, folder, tmp_path: Path) -> None:
    document = encode(
        Backup(
            warrener_backup=FORMAT, created="", warrener="0.1.0",
            cluster=ClusterPart(
                name="orders", rabbitmq="3.10.8", nodes=["n1@localhost", "n2@localhost"],
                plugins=["rabbitmq_management", "rabbitmq_shovel"],
            ),
            balancer=BalancerPart(policy="p2c", weights={"n1@localhost": 7, "n2@localhost": 100}),
            config={"heartbeat": "33"},
            definitions=EXPORT,
        )
    )  # fmt: skip
    reply = BackupAnswer(
        cluster="orders", created="", counts={}, settings=0, left_out=[], not_held=[],
        document=msgspec.Raw(document),
    )  # fmt: skip
    with scripted_daemon(folder, answer(reply)) as requests:
        assert run("init", "--from-cluster", "found.toml").code == 0
    assert json.loads(requests[0])["args"] == {"secrets": False}
    spec = load_spec(tmp_path / "found.toml")
    assert (spec.name, spec.nodes, spec.balancer.policy) == ("orders", 2, "p2c")
    assert spec.balancer.weights == {"n1@localhost": 7}
    assert "rabbitmq_shovel" in spec.plugins
    assert spec.config == {"heartbeat": "33"}


def test_what_cannot_be_described_is_told(run, tmp_path: Path) -> None:
    policy = {"vhost": "/", "name": "p", "pattern": "x", "definition": {"no-such-key": 1}}
    (tmp_path / "d.json").write_text(json.dumps({**EXPORT, "policies": [policy]}))
    result = run("init", "--from", "d.json")
    assert result.code == 0
    assert "1 thing in it can't be described like that; `warrener validate" in result.err


def test_files_that_are_none(run, tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text("{")
    assert run("init", "--from", "d.json").code == 2
    assert run("init", "--from", "nowhere.json").code == 2
    assert run("init", "--from-cluster").code == 3
    assert not (tmp_path / "warrener.toml").exists()
