"""What is special about a cluster that somebody else runs: its nodes come and go without a word to
Warrener, and a user's rights are what the cluster says. ``conformance`` has what every driver does.

One cluster for the module, two nodes run by another Warrener. How long things took is printed
(``pytest -rP``).
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from tests.integration.conformance.drivers import attaching
from tests.integration.support import Place, balancer_place, eventually, management
from tests.integration.tls_clients import ca, connection
from tests.integration.warren import Warren, running, warrener

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warren]:
    with running(tmp_path_factory.mktemp("estate"), "--nodes", "2") as warren:
        yield warren


def connect(place: Place) -> pika.BlockingConnection:
    return pika.BlockingConnection(pika.URLParameters(place.url()))


def rows(warren: Warren) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in warren.status()["nodes"]}


def events(warren: Warren) -> list[dict[str, Any]]:
    found = json.loads(warren.ok("events", "--json"))["events"]
    assert isinstance(found, list)
    return found


def test_how_long_it_takes_until_a_session_is_served(estate: Warren, tmp_path: Path) -> None:
    """From `up --attach` being typed; most of it is two Pythons that start."""
    began = time.monotonic()
    with attaching(estate, tmp_path) as warren:
        up = time.monotonic() - began
        with connect(balancer_place(warren)) as connection:
            connection.channel().queue_declare("first", exclusive=True)
            served = time.monotonic() - began
        ready = next(line["at"] for line in events(warren) if line["kind"] == "daemon.ready")
        first = events(warren)[0]["at"]
    print(f"up --attach and url: {up:.2f} s, first session served: {served:.2f} s")
    print(f"of that from the first probe's success to ready: {ready - first:.2f} s")
    assert served < 30


def test_nodes_that_somebody_adds_and_removes(estate: Warren, tmp_path: Path) -> None:
    """A session stays connected through both."""
    with attaching(estate, tmp_path) as warren:
        estate.ok("node", "add")
        joined = time.time()
        eventually("it serves", lambda: rows(warren).get("n3@localhost", {}).get("fit"))
        found = {line["kind"]: line["at"] for line in events(warren) if "n3" in line["subject"]}
        print(f"fit {found['node.fit'] - found['node.found']:.2f} s after it was found")
        assert found["node.fit"] < joined + 5
        place = balancer_place(warren)
        held = [connect(place) for _ in range(6)]
        channels = [connection.channel() for connection in held]
        for number, channel in enumerate(channels):
            arguments = {"x-queue-type": "quorum"}
            channel.queue_declare(f"own-{number}", durable=True, arguments=arguments)
            channel.basic_consume(f"own-{number}", lambda *_: None)
        assert rows(warren)["n3@localhost"]["sessions"] > 0
        estate.ok("node", "remove", "n3", "--force")
        eventually("it is no member", lambda: "n3@localhost" not in rows(warren))
        eventually("it left", lambda: "node.left" in [line["kind"] for line in events(warren)])
        status = warren.status()
        assert status["balancer"]["sessions"] == 6, status["balancer"]["sessions_ended"]
        assert sum(row["sessions"] for row in status["nodes"]) == 6
        for number, (connection, channel) in enumerate(zip(held, channels, strict=True)):
            connection.process_data_events(0)
            channel.queue_delete(f"own-{number}")
            connection.close()


def test_what_a_user_without_administrator_can_rely_on(estate: Warren, tmp_path: Path) -> None:
    api = management(estate)
    body = {"password": "watcher-pw", "tags": "monitoring"}
    own = {"configure": "^$", "write": "^$", "read": "^$"}
    with (
        api.thing("/users/watcher", body),
        api.thing("/permissions/%2F/watcher", own),
        attaching(estate, tmp_path, user="watcher", password="watcher-pw") as warren,
    ):
        # Its own clients have their own rights; locality is by the watcher's.
        place = balancer_place(estate)
        mine = balancer_place(warren).with_(user=place.user, password=place.password)
        with connect(mine) as connection:
            channel = connection.channel()
            for name in ("a", "b"):
                channel.queue_declare(
                    f"watched-{name}", durable=True, arguments={"x-queue-type": "quorum"}
                )
            channel.exchange_declare("watched", "direct")
            channel.queue_bind("watched-a", "watched", "a")
            channel.confirm_delivery()
            channel.basic_publish("watched", "a", b"one")
            channel.basic_consume("watched-b", lambda *_: None)

            def placed() -> Any:
                found = json.loads(warren.ok("explain", "--json"))["channels"]
                return [one for one in found if one["queue"] and one["node"] == one["leader"]]

            eventually("it is at the leader", placed)
            shown = json.loads(warren.ok("leaders", "show", "--sample", "0.5", "--json"))
            assert shown["queues_total"] >= 2
            for name in ("a", "b"):
                channel.queue_delete(f"watched-{name}")
            channel.exchange_delete("watched")
        file = tmp_path / "d.toml"
        file.write_text('[[vhost]]\nname = "v"\n')
        for command in (("diff", "-f", str(file)), ("leaders", "balance", "--by-count")):
            done = warren.run(*command)
            assert done.returncode == 1
            assert "`administrator`" in done.stderr


def test_a_start_that_cannot_be_says_why(estate: Warren, tmp_path: Path) -> None:
    row = estate.status()["nodes"][0]
    url = f"http://{row['host']}:{row['management_port']}"
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong-password")
    place = balancer_place(estate)
    cases = (
        (url, place.user, 1, "or its password is not accepted"),
        (f"http://{row['host']}:{row['amqp_port']}", place.user, 1, "not as RabbitMQ's management"),
    )
    for where, user, code, told in cases:
        arguments = ["--attach", where, "--user", user, "--password-file", str(wrong)]
        state = tmp_path / "state"
        done = warrener("--state", state, "up", "-d", *arguments, cwd=tmp_path)
        assert done.returncode == code, done.stderr
        assert told in done.stderr
        assert "wrong-password" not in done.stdout + done.stderr
        for log in (state / "log").glob("*"):
            assert "wrong-password" not in log.read_text()


def test_a_description_with_attach_in_it(estate: Warren, tmp_path: Path) -> None:
    """`apply` starts Warrener before the cluster by itself, as it does with one of its own; the
    user it logs in as isn't pruned, and neither are names and plugins of theirs."""
    row = estate.status()["nodes"][0]
    place = balancer_place(estate)
    (tmp_path / "pw").write_text(place.password)
    file = tmp_path / "warrener.toml"
    file.write_text(
        f"""
[attach]
url = "http://{row["host"]}:{row["management_port"]}"
user = "{place.user}"
password = {{ file = "pw" }}

[[queue]]
name = "described"
"""
    )
    state = tmp_path / "state"
    try:
        done = warrener("--state", state, "apply", "--yes", "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert [step["subject"] for step in json.loads(done.stdout)["done"]] == [
            "described in /"
        ] or "described" in done.stdout
        pruned = warrener("--state", state, "diff", "--prune", "--json", cwd=tmp_path)
        assert not [
            step
            for step in json.loads(pruned.stdout)["steps"]
            if step["thing"] in ("plugins", "cluster", "node") or step["subject"] == place.user
        ]
    finally:
        down = warrener("--state", state, "down", "--purge", cwd=tmp_path)
    assert "The cluster goes on" in down.stdout
    management(estate).call("DELETE", "/queues/%2F/described")


def test_clients_get_tls_before_nodes_without(estate: Warren, tmp_path: Path) -> None:
    """The balancer's certificate is made; the port without it is there if that was said."""
    file = tmp_path / "tls.toml"
    file.write_text("[tls]\nlinks = false\n[balancer]\nplain = true\n")
    with attaching(estate, tmp_path, "-f", str(file)) as warren:
        assert warren.url.startswith("amqps://")
        with connection(warren, ca(warren)) as made:
            made.channel().queue_declare("with-tls", exclusive=True)
        status = warren.status()
        assert status["tls"] == ["clients"]
        place = balancer_place(estate)
        plain = status["balancer"]["plain_port"]
        with connect(Place("plain", place.host, plain, place.user, place.password)) as made:
            assert made.is_open
