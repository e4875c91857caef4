"""`warrener init`, `validate`, `diff`, `apply`: from an empty folder to a cluster as described, and
on from there after edits, failures and kill -9. One node: what is tested is RabbitMQ's answers.

The tests of the first part go on where the one before ended.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pika
import pytest
from tests.integration.support import Management, eventually, management
from tests.integration.warren import (
    WARRENER,
    Done,
    Warren,
    assert_gone,
    environment,
    wait_until_gone,
    warrener,
)

pytestmark = pytest.mark.timeout(300)

SECRET = "s3cret-of-the-auditor"


class Folder:
    """A user's folder: a description, and the state folder beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / ".warrener"
        self.file = path / "warrener.toml"

    def run(self, *arguments: str) -> Done:
        return warrener(*arguments, cwd=self.path)

    def ok(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, f"warrener {arguments}: {done.stdout}{done.stderr}"
        assert SECRET not in done.stdout + done.stderr
        return done.stdout

    def change(self, before: str, after: str) -> None:
        text = self.file.read_text()
        assert before in text
        self.file.write_text(text.replace(before, after, 1))

    def management(self) -> Management:
        return management(Warren(self.state, self.ok("url").strip()))

    def connect(self, user: str, password: str, vhost: str) -> pika.BlockingConnection:
        parts = urlsplit(self.ok("url").strip())
        return pika.BlockingConnection(
            pika.ConnectionParameters(
                host=parts.hostname,
                port=parts.port,
                virtual_host=vhost,
                credentials=pika.PlainCredentials(user, password),
            )
        )


@contextlib.contextmanager
def folder_at(path: Path) -> Iterator[Folder]:
    path.mkdir()
    folder = Folder(path)
    try:
        yield folder
    finally:
        folder.run("down", "--purge")
    assert not folder.state.exists()
    assert_gone(folder.state)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    with folder_at(tmp_path_factory.mktemp("described") / "mine") as made:
        yield made


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIT_PASSWORD", SECRET)


AUDITOR = """
[[user]]
name = "auditor"
password = { env = "AUDIT_PASSWORD" }
tags = ["monitoring"]
[user.permissions.orders]
read = "^audit"
"""


def test_from_an_empty_folder(folder: Folder) -> None:
    """init, apply: the cluster runs, and holds what the file says; again, nothing changes."""
    folder.ok("init")
    folder.change("nodes = 3", "nodes = 1")
    folder.file.write_text(folder.file.read_text() + AUDITOR)
    assert "2 users" in folder.ok("validate")
    refused = folder.run("apply")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--yes" in refused.stderr
    told = folder.ok("apply", "--yes")
    assert re.search(r"Done: \d+ steps", told)
    again = folder.ok("apply", "--yes")
    assert again == "Nothing to do: the cluster is as the file says.\n"
    document = json.loads(folder.ok("diff", "--json"))
    assert (document["steps"], document["later"], document["unlisted"]) == ([], [], {})


def refused(connection: pika.BlockingConnection, what: Any) -> int:
    """The code with which RabbitMQ closes a new channel on which ``what`` is done."""
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as caught:
        what(connection.channel())
    return int(caught.value.reply_code)


def test_users_may_what_is_written_and_no_more(folder: Folder) -> None:
    """Through the balancer, with the generated password and the one from the environment."""
    parts = urlsplit(folder.ok("url", "--user", "orders").strip())
    assert parts.path == "/orders"
    assert parts.password
    with folder.connect("orders", parts.password, "orders") as connection:
        channel = connection.channel()
        channel.queue_declare("audit-1", durable=True)
        channel.confirm_delivery()
        channel.basic_publish("", "audit-1", b"seen")
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        folder.connect("orders", parts.password, "/")
    with folder.connect("auditor", SECRET, "orders") as connection:
        assert connection.channel().basic_get("audit-1", auto_ack=True)[2] == b"seen"
        assert refused(connection, lambda c: c.queue_declare("mine")) == 403
        assert refused(connection, lambda c: c.basic_get("dead-letters")) == 403
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        folder.connect("auditor", "another", "orders")


def told_of(api: Management, queue: str, policy: str, vhost: str = "orders") -> dict[str, Any]:
    """A queue with its policy, which RabbitMQ tells some seconds late."""

    def ask() -> dict[str, Any] | None:
        found = api.get(f"/queues/{vhost}/{queue}")
        assert isinstance(found, dict)
        return found if found.get("policy") == policy else None

    found = eventually(f"{queue} has {policy}", ask, 20)
    assert found is not None
    return found


def test_defaults_and_policies_are_in_force(folder: Folder) -> None:
    """A queue that isn't told otherwise is a quorum queue; poison messages become dead letters."""
    api = folder.management()
    queue = told_of(api, "audit-1", "warrener-queues")
    assert queue["type"] == "quorum"
    assert queue["effective_policy_definition"]["delivery-limit"] == 20
    assert told_of(api, "dead-letters", "dead-letters")["type"] == "quorum"
    parts = urlsplit(folder.ok("url", "--user", "orders").strip())
    assert parts.password
    with folder.connect("orders", parts.password, "orders") as connection:
        channel = connection.channel()
        channel.basic_publish("", "audit-1", b"poison", pika.BasicProperties(delivery_mode=2))
        for method, _, _ in channel.consume("audit-1", inactivity_timeout=10):
            assert method is not None
            channel.basic_reject(method.delivery_tag, requeue=False)
            break
        channel.cancel()
        deadline = time.monotonic() + 10
        while (found := channel.basic_get("dead-letters", auto_ack=True))[0] is None:
            assert time.monotonic() < deadline, "no dead letter came"
        assert found[2] == b"poison"
    limits = {one["user"]: one["value"] for one in api.get("/user-limits")}
    assert limits == {"orders": {"max-connections": 500}}


def test_an_edit_is_shown_then_applied(folder: Folder) -> None:
    folder.change('tags = ["monitoring"]', "tags = []")
    folder.change("max_connections = 500", "max_channels = 50")
    folder.change("delivery-limit = 20", "delivery-limit = 7")
    folder.change('policy = "leastconn"', 'policy = "p2c"\nhigh_water = "1MiB"')
    folder.change('name = "orders"', 'name = "shop"')
    folder.change("[balancer]", 'plugins = ["rabbitmq_shovel"]\n[balancer]')
    document = json.loads(folder.ok("diff", "--json"))
    assert [(step["verb"], step["thing"], step["subject"]) for step in document["steps"]] == [
        ("change", "plugins", "on every node"),
        ("change", "cluster", "shop"),
        ("change", "user", "orders"),
        ("change", "user", "orders"),
        ("change", "user", "auditor"),
        ("change", "policy", "warrener-queues in orders"),
        ("change", "balancer", "policy"),
    ]
    assert document["later"] == [
        {"thing": "balancer", "what": "high_water", "before": "524288", "after": "1048576"}
    ]
    assert folder.ok("diff").count("->") == 8
    folder.ok("apply", "--yes")
    told = folder.ok("apply", "--yes")
    assert told.startswith("Nothing else to do")
    assert "high_water: 524288 -> 1048576" in told
    api = folder.management()
    eventually(
        "the new limit is told",
        lambda: (
            told_of(api, "audit-1", "warrener-queues")["effective_policy_definition"][
                "delivery-limit"
            ]
            == 7
        ),
        20,
    )
    assert api.get("/cluster-name")["name"] == "shop"
    status = json.loads(folder.ok("status", "--json"))
    assert (status["cluster"], status["balancer"]["policy"]) == ("shop", "p2c")
    folder.ok("node", "restart", "n1", "--force")
    assert api.get("/cluster-name")["name"] == "shop", "a node gives it the name it boots with"
    folder.connect("auditor", SECRET, "orders").close()  # the password stayed


def test_what_is_not_described_is_left_alone_or_pruned(folder: Folder) -> None:
    api = folder.management()
    api.call("PUT", "/users/intruder", {"password": "x", "tags": ""})
    api.call("PUT", "/vhosts/attic", {})
    api.call("PUT", "/policies/orders/odd", {"pattern": "x", "definition": {"max-length": 1}})
    done = folder.run("diff")
    assert done.stdout.startswith("Nothing else to do")
    assert (
        "1 user (intruder); 1 virtual host (attic); 1 policy (odd in orders). --prune removes them"
    ) in done.stderr
    told = folder.ok("diff", "--prune")
    assert told.count("! removes") == 3
    folder.ok("apply", "--yes", "--prune")
    assert {user["name"] for user in api.get("/users")} == {"warrener", "orders", "auditor"}
    assert {vhost["name"] for vhost in api.get("/vhosts")} == {"/", "orders"}
    assert folder.ok("apply", "--yes", "--prune").startswith("Nothing else to do")


def test_a_failure_in_the_middle_is_named_and_gone_on_from(folder: Folder) -> None:
    """RabbitMQ refuses a pattern that can't be judged here: what is done, what failed, what is
    left."""
    policies = """
[[policy]]
vhost = "orders"
name = "{name}"
pattern = '{pattern}'
definition = {{ max-length = 5 }}
"""
    good = policies.format(name="good", pattern="^good")
    bad = policies.format(name="bad", pattern=r"\Kx(")
    last = policies.format(name="last", pattern="^last")
    text = folder.file.read_text()
    folder.file.write_text(text + good + bad + last)
    done = folder.run("apply", "--yes")
    assert done.returncode == 1
    assert "make policy bad in orders failed: " in done.stderr
    assert "1 step done, 1 step left; `warrener apply` goes on from there" in done.stderr
    api = folder.management()
    names = {policy["name"] for policy in api.get("/policies")}
    assert {"good"} == names & {"good", "bad", "last"}
    folder.file.write_text(text + good + bad.replace("(", "") + last)
    folder.ok("apply", "--yes")
    names = {policy["name"] for policy in api.get("/policies")}
    assert {"good", "bad", "last"} <= names


@pytest.mark.parametrize("profile", ["logs", "realtime"])
def test_the_other_profiles_can_be_applied(folder: Folder, profile: str) -> None:
    """On top of what is there; and RabbitMQ has taken all of it: a second time changes nothing."""
    name = f"{profile}.toml"
    folder.ok("init", "--profile", profile, name)
    path = folder.path / name
    path.write_text(path.read_text().replace("nodes = 3", "nodes = 1"))
    told = folder.ok("apply", "--yes", "-f", name)
    assert f"+ virtual host {profile}" in told
    assert folder.ok("apply", "--yes", "-f", name).startswith("Nothing else to do")
    parts = urlsplit(folder.ok("url", "--user", profile).strip())
    assert parts.password
    with folder.connect(profile, parts.password, profile) as connection:
        connection.channel().queue_declare("anything", durable=True)
    policy = told_of(folder.management(), "anything", "warrener-queues", vhost=profile)
    assert policy["type"] == "classic"


def test_no_secret_is_on_disk_but_where_it_belongs(folder: Folder) -> None:
    """The password from the environment is nowhere; generated ones are in one private file."""
    found = subprocess.run(
        ["grep", "-rl", SECRET, folder.state], capture_output=True, text=True, check=False
    )
    assert found.stdout == ""
    kept = folder.state / "passwords.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    password = json.loads(kept.read_text())["orders"]
    found = subprocess.run(
        ["grep", "-rl", password, folder.state], capture_output=True, text=True, check=False
    )
    assert found.stdout.split() == [str(kept)]


WALKED = """
name = "walked"
[cluster]
nodes = 1
[[vhost]]
name = "w"
[[user]]
name = "walker"
password = { generate = true }
max_channels = 9
[user.permissions.w]
configure = ".*"
write = ".*"
read = ".*"
[[policy]]
vhost = "w"
name = "short"
pattern = ".*"
definition = { max-length = 3 }
"""


def test_killed_while_it_applies_it_goes_on_from_there(tmp_path: Path) -> None:
    """kill -9 of the daemon while steps are being taken: run again, apply starts the cluster anew
    and goes on; in the end all is as described. (tests/unit/daemon/test_describe.py walks through
    all steps.)"""
    with folder_at(tmp_path / "walk") as folder:
        folder.file.write_text(WALKED)
        # virtual host, user, its limit, its permissions, the policy
        assert _killed_in_second_step(folder) == 5
        assert _killed_in_second_step(folder, spare=True) in (None, 2, 3, 4)
        assert folder.ok("diff").startswith("Nothing to do")
        parts = urlsplit(folder.ok("url", "--user", "walker").strip())
        assert parts.password
        folder.connect("walker", parts.password, "w").close()


def _killed_in_second_step(folder: Folder, *, spare: bool = False) -> int | None:
    """Runs apply and kills the daemon when it says that it takes the second step: the first is
    done, the second anything. ``spare``d, it comes to its end. How many steps there were, None if
    less than two."""
    apply = subprocess.Popen(
        [WARRENER, "apply", "--yes"],
        cwd=folder.path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert apply.stderr
    total = None
    said = []
    with apply:
        for line in apply.stderr:
            said.append(line)
            found = re.match(r"2/(\d+) ", line)
            if found and total is None:
                total = int(found[1])
                if spare:
                    continue
                pid = int(json.loads((folder.state / "lock").read_text())["pid"])
                os.kill(pid, signal.SIGKILL)
                wait_until_gone(pid)
    # Killed so late that it was done already, it may have said so.
    assert apply.returncode in ((0,) if spare else (0, 1)), "".join(said)
    return total
