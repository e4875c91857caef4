"""`warrener backup` and `warrener restore`: a cluster is kept in a file, wiped, and made anew from
the file in another folder. The tests go on where the one before ended."""

import json
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pika
import pytest
from tests.integration.support import Place, balancer_place, eventually, management, tool
from tests.integration.warren import WARRENER, Warren, environment, running

pytestmark = pytest.mark.timeout(300)

TOML = """
name = "orders"

[balancer]
policy = "leastconn"

[[vhost]]
name = "shop"
description = "what is sold"
tags = ["sales", "eu"]

[[user]]
name = "app"
password = { generate = true }
permissions = { shop = { configure = ".*", write = ".*", read = ".*" } }
"""

OWN = "warrener"
PASSWORD = "a password of old"


@dataclass
class Kept:
    """What is left of the first cluster."""

    folder: Path
    export: dict[str, Any]
    password: str  # of app, which was generated

    @property
    def file(self) -> Path:
        return self.folder / "orders.backup.json"

    @property
    def secret(self) -> Path:
        return self.folder / "secret.backup.json"

    @property
    def plain(self) -> Path:
        return self.folder / "definitions.json"


def comparable(export: dict[str, Any]) -> dict[str, list[str]]:
    """RabbitMQ's export without what is each cluster's own, in no order."""
    found = {}
    for name, entries in export.items():
        if isinstance(entries, list):
            kept = [
                entry
                for entry in entries
                if OWN not in (entry.get("user"), name == "users" and entry.get("name"))
                and entry.get("name") != "internal_cluster_id"
            ]
            found[name] = sorted(json.dumps(entry, sort_keys=True) for entry in kept)
    return found


def furnish(warren: Warren) -> None:
    """One of everything."""
    api = management(warren)
    for path, body in {
        "/vhosts/more": {"description": "", "tags": "", "defaultqueuetype": "quorum"},
        "/users/ops": {"password": PASSWORD, "tags": "monitoring,policymaker"},
        "/user-limits/ops/max-connections": {"value": 7},
        "/vhost-limits/shop/max-queues": {"value": 50},
        "/permissions/shop/ops": {"configure": "^$", "write": ".*", "read": "^q"},
        "/topic-permissions/shop/ops": {"exchange": "news", "write": "^a", "read": ".*"},
        "/exchanges/shop/news": {"type": "topic", "durable": True},
        "/exchanges/shop/more": {
            "type": "headers", "durable": True, "arguments": {"alternate-exchange": "news"},
        },
        "/queues/shop/classic": {"durable": True, "arguments": {"x-max-length": 9}},
        "/queues/shop/quorum": {"durable": True, "arguments": {"x-queue-type": "quorum"}},
        "/queues/shop/stream": {"durable": True, "arguments": {"x-queue-type": "stream"}},
        "/policies/shop/ttl": {
            "pattern": "^q", "definition": {"message-ttl": 60000}, "apply-to": "queues",
            "priority": 3,
        },
        "/operator-policies/shop/length": {
            "pattern": ".*", "definition": {"max-length": 1000}, "apply-to": "queues",
        },
        "/global-parameters/team": {"value": {"pager": "555"}},
    }.items():  # fmt: skip
        api.call("PUT", path, body)
    for arguments in ({}, {"x-match": "all", "kind": 1}):
        api.call(
            "POST",
            "/bindings/shop/e/more/q/quorum",
            {"routing_key": "", "arguments": arguments},
        )
    api.call("POST", "/bindings/shop/e/news/e/more", {"routing_key": "a.#"})
    warren.ok("balance", "set-weight", "n1", "70")
    warren.ok("balance", "set-policy", "p2c")
    warren.ok("config", "set", "heartbeat", "33", "--yes")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """The first cluster lived, was kept in files, and is gone with its folder."""
    folder = tmp_path_factory.mktemp("kept")
    (folder / "orders.toml").write_text(TOML)
    with running(folder / "first", "-f", str(folder / "orders.toml"), "--nodes", "1") as warren:
        warren.ok("apply", "-f", str(folder / "orders.toml"), "--yes")
        furnish(warren)
        password = json.loads(warren.ok("url", "--user", "app", "--json"))["password"]
        found = Kept(folder, management(warren).get("/definitions"), password)
        said = json.loads(warren.ok("backup", str(found.file), "--json"))
        assert said["definitions"]["queues"] == 3
        assert (said["settings"], said["path"]) == (1, str(found.file))
        assert "messages" in said["not_held"]
        (left,) = said["left_out"]
        assert left.startswith("the generated passwords of app")
        with_secrets = warren.run("backup", "--with-secrets", str(found.secret))
        assert with_secrets.returncode == 0
        assert "has passwords in it as they are" in with_secrets.stderr
        tool(warren.status()["nodes"][0], "rabbitmqctl", "-q", "export_definitions",
             str(found.plain))  # fmt: skip
        default = warren.run("backup")
        (named,) = folder.glob("first/orders-20*Z.backup.json")
        assert named.name in default.stdout
        printed = warren.run("backup", "-")
        assert (
            json.loads(printed.stdout)["definitions"]
            == json.loads(named.read_text())["definitions"]
        )
    return found


@pytest.fixture(scope="module")
def warren(kept: Kept, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warren]:
    """The second cluster, in another folder, with nothing in it."""
    folder = tmp_path_factory.mktemp("second")
    (folder / "orders.toml").write_text('name = "orders"\n')
    with running(folder, "-f", str(folder / "orders.toml"), "--nodes", "1") as made:
        yield made


def definitions(warren: Warren) -> dict[str, Any]:
    found = management(warren).get("/definitions")
    assert isinstance(found, dict)
    return found


def login(warren: Warren, user: str, password: str, vhost: str) -> None:
    place: Place = balancer_place(warren).with_(user=user, password=password, vhost=vhost)
    with pika.BlockingConnection(pika.URLParameters(place.url())) as connection:
        assert connection.is_open


def test_a_backup_is_for_its_owner_alone_and_replaces_nothing(kept: Kept) -> None:
    assert stat.S_IMODE(kept.file.stat().st_mode) == 0o600
    document = json.loads(kept.file.read_text())
    assert document["cluster"]["name"] == "orders"
    assert document["cluster"]["nodes"] == ["n1@localhost"]
    assert document["config"] == {"heartbeat": "33"}
    assert document["balancer"] == {
        "policy": "p2c", "weights": {"n1@localhost": 70}, "auto_weights": False,
    }  # fmt: skip
    assert document["description"]["text"] == TOML
    assert document["passwords"] is None
    text = kept.file.read_text() + kept.plain.read_text()
    assert kept.password not in text
    assert PASSWORD not in text
    assert json.loads(kept.secret.read_text())["passwords"] == {"app": kept.password}


def test_the_description_can_be_had_without_a_cluster(kept: Kept) -> None:
    target = kept.folder / "again.toml"
    done = subprocess.run(
        [WARRENER, "restore", kept.file, "--toml", target],
        capture_output=True, text=True, env=environment(), cwd=kept.folder, check=False,
    )  # fmt: skip
    assert (done.returncode, target.read_text()) == (0, TOML), done.stderr


def test_wrong_files_are_refused_and_nothing_is_touched(
    kept: Kept, warren: Warren, tmp_path: Path
) -> None:
    before = definitions(warren)
    good = kept.file.read_text()
    changed = json.loads(good)
    changed["definitions"]["users"][0]["tags"] = ["administrator"]
    of_newer = json.loads(kept.plain.read_text()) | {"rabbitmq_version": "4.2.1"}
    for content, code, told in (
        (good[: len(good) // 2], 2, "it ends in the middle"),
        (json.dumps({"some": "thing"}), 2, "neither a backup of Warrener's nor an export"),
        (json.dumps(changed), 2, "its checksum (sha256) isn't that of what is in it"),
        (json.dumps(of_newer), 1, "are of RabbitMQ 4.2.1, and this cluster runs 3.10.8"),
    ):
        file = tmp_path / "wrong.json"
        file.write_text(content)
        done = warren.run("restore", str(file), "--yes")
        assert (done.returncode, told in done.stderr) == (code, True), (told, done.stderr)
        assert "Traceback" not in done.stderr
    unasked = warren.run("restore", str(kept.file))
    assert (unasked.returncode, "nobody can be asked" in unasked.stderr) == (2, True)
    assert definitions(warren) == before


def test_a_dry_run_shows_it_and_does_nothing(kept: Kept, warren: Warren) -> None:
    before = definitions(warren)
    shown = warren.ok("restore", str(kept.file), "--dry-run")
    for line in (
        "+ virtual host shop", "+ user ops", "+ queue shop/quorum", "+ setting heartbeat",
        "policy: roundrobin -> p2c", "not in it: the generated passwords of app",
    ):  # fmt: skip
        assert line in shown, shown
    assert f"user {OWN}" not in shown
    assert definitions(warren) == before


def test_a_wiped_cluster_is_as_it_was(kept: Kept, warren: Warren) -> None:
    began = time.monotonic()
    answer = json.loads(warren.ok("restore", str(kept.secret), "--yes", "--json"))
    print(f"{len(answer['steps'])} steps in {time.monotonic() - began:.1f} s")
    assert answer["failed"] == answer["blocked"] == answer["left"] == []
    now = comparable(definitions(warren))
    assert now == comparable(kept.export)
    (shop,) = [v for v in management(warren).get("/vhosts") if v["name"] == "shop"]
    assert (shop["description"], sorted(shop["tags"])) == ("what is sold", ["eu", "sales"])
    login(warren, "ops", PASSWORD, "shop")
    login(warren, "app", kept.password, "shop")
    assert json.loads(warren.ok("url", "--user", "app", "--json"))["password"] == kept.password
    (row,) = json.loads(warren.ok("config", "get", "heartbeat", "--json"))["rows"]
    assert set(row["in_force"].values()) == {"33"}
    status = warren.status()
    assert status["balancer"]["policy"] == "p2c"
    assert status["nodes"][0]["weight"] == 70


def test_a_second_time_there_is_nothing_to_do(kept: Kept, warren: Warren) -> None:
    for file in (kept.secret, kept.plain):
        done = warren.run("restore", str(file), "--yes")
        assert done.returncode == 0, done.stderr
        assert "Nothing to do" in done.stdout, done.stdout


def test_rabbitmqs_own_export_mends_what_is_missing_or_differs(kept: Kept, warren: Warren) -> None:
    api = management(warren)
    api.call("DELETE", "/queues/shop/stream")
    api.call("DELETE", "/users/ops")
    api.call("PUT", "/policies/shop/ttl", {"pattern": "^z", "definition": {"expires": 5000}})
    text = warren.ok("restore", str(kept.plain), "--yes")
    assert "~ policy shop/ttl" in text
    assert comparable(definitions(warren)) == comparable(kept.export)
    login(warren, "ops", PASSWORD, "shop")


def test_a_description_of_what_is_there_differs_in_nothing(
    kept: Kept, warren: Warren, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_PASSWORD", kept.password)
    monkeypatch.setenv("OPS_PASSWORD", PASSWORD)
    file = tmp_path / "found.toml"
    warren.ok("init", "--from-cluster", str(file))
    print(file.read_text())
    assert kept.password not in file.read_text()
    warren.ok("validate", str(file))
    found = json.loads(warren.ok("diff", "-f", str(file), "--json"))
    assert [(step["thing"], step["subject"]) for step in found["steps"]] == []


def test_a_queue_declared_otherwise_is_named_and_left(kept: Kept, warren: Warren) -> None:
    """RabbitMQ itself takes the definition, says nothing and keeps its queue."""
    api = management(warren)
    api.call("DELETE", "/queues/shop/classic")
    api.call("PUT", "/queues/shop/classic", {"durable": True, "arguments": {"x-max-length": 4}})
    done = warren.run("restore", str(kept.file), "--yes")
    assert done.returncode == 1
    assert "Not possible:" in done.stdout
    differs = '{"x-max-length":4,"x-queue-type":"classic"} -> {"x-max-length":9,'
    assert f"arguments: {differs}" in done.stdout
    assert "1 step can't be taken on this cluster" in done.stderr
    assert api.get("/queues/shop/classic")["arguments"]["x-max-length"] == 4
    api.call("DELETE", "/queues/shop/classic")
    warren.ok("restore", str(kept.file), "--yes")
    assert comparable(definitions(warren)) == comparable(kept.export)


def test_what_rabbitmq_refuses_stands_alone_and_the_own_user_is_left(
    warren: Warren, tmp_path: Path
) -> None:
    """One policy of four is wrong, one binding leads nowhere, one exchange needs a plugin, and
    somebody would like to have Warrener's account."""
    policy = {"vhost": "/", "apply-to": "queues", "priority": 0, "pattern": "^x"}
    document = {
        "rabbitmq_version": "3.10.8",
        "users": [{"name": OWN, "password": "taken", "tags": []}],
        "permissions": [
            {"user": OWN, "vhost": "/", "configure": "^$", "write": "^$", "read": "^$"}
        ],
        "policies": [
            {**policy, "name": f"p{n}", "definition": {"max-length": 5}} for n in range(3)
        ]
        + [{**policy, "name": "bad", "definition": {"no-such-key": 5}}],
        "bindings": [
            {
                "vhost": "/", "source": "amq.topic", "destination": "gone", "routing_key": "a",
                "destination_type": "queue", "arguments": {},
            }
        ],
        "exchanges": [
            {"vhost": "/", "name": "late", "type": "x-delayed-message", "durable": True,
             "auto_delete": False, "internal": False, "arguments": {}}
        ],
    }  # fmt: skip
    file = tmp_path / "hostile.json"
    file.write_text(json.dumps(document))
    done = warren.run("restore", str(file), "--yes", "--json")
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert [step["subject"] for step in answer["steps"]] == ["p0", "p1", "p2"]
    failed = {one["step"]["subject"]: one["why"] for one in answer["failed"]}
    assert '[{<<"no-such-key">>,5}] are not recognised policy settings' in failed["bad"]
    assert "its queue or exchange isn't there" in failed["amq.topic -> gone"]
    (blocked,) = answer["blocked"]
    assert "needs a plugin (rabbitmq_delayed_message_exchange)" in blocked["blocked"]
    warren.ok("status")
    assert management(warren).get("/whoami")["tags"] == ["administrator"]
    login(warren, OWN, balancer_place(warren).password, "/")
    for name in ("p0", "p1", "p2"):
        management(warren).call("DELETE", f"/policies/%2F/{name}")


def test_interrupted_it_goes_on_the_next_time(warren: Warren, tmp_path: Path) -> None:
    number = 600
    document = {
        "rabbitmq_version": "3.10.8",
        "queues": [
            {"vhost": "/", "name": f"many-{n}", "durable": True, "auto_delete": False,
             "arguments": {}}
            for n in range(number)
        ],
    }  # fmt: skip
    file = tmp_path / "many.json"
    file.write_text(json.dumps(document))
    process = subprocess.Popen(
        [WARRENER, "--state", warren.state, "restore", file, "--yes", "--json"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(),
    )  # fmt: skip
    eventually(
        "some are back",
        lambda: len(management(warren).get("/queues?disable_stats=true&columns=name")) > 50,
        every=0.02,
    )
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    first = json.loads(out)
    assert first["called_off"]
    assert len(first["steps"]) + len(first["left"]) == number
    assert 0 < len(first["left"]) < number
    second = json.loads(warren.ok("restore", str(file), "--yes", "--json"))
    assert (len(second["steps"]), second["same"]) == (len(first["left"]), len(first["steps"]))
    names = {queue["name"] for queue in definitions(warren)["queues"]}
    assert {f"many-{n}" for n in range(number)} <= names
