"""A cluster that speaks TLS wherever it can: who gets in, who doesn't, and certificates that change
while clients work.

One cluster for all; each test goes on where the one before ended, with all nodes fit. Clients here
are pika and aio-pika, and Python's own ``ssl``: nothing of Warrener's verifies itself.
"""

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import aio_pika
import pika
import pytest
from tests.integration.support import balancer_place, eventually, tool
from tests.integration.tls_clients import (
    QUORUM,
    Traffic,
    ca,
    connection,
    identity,
    listed,
    rejected,
    says,
    shown,
    trusting,
)
from tests.integration.warren import Warren, running, warrener

from warrener.cluster.tls.certificates import (
    Use,
    Wanted,
    make_authority,
    make_certificate,
)

pytestmark = pytest.mark.timeout(300)

HANDSHAKE = 3.0


@pytest.fixture(scope="module")
def warren(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warren]:
    folder = tmp_path_factory.mktemp("tls")
    file = folder / "tls.toml"
    file.write_text(f'[tls]\nenabled = true\n\n[balancer]\nhandshake_timeout = "{HANDSHAKE:g}s"\n')
    # The blank: a path that Erlang takes apart as a shell would has to survive that.
    with running(folder / "a cluster", "-f", str(file)) as made:
        yield made


def dist_port(warren: Warren, number: int = 0) -> int:
    return int(warren.status()["nodes"][number]["amqp_port"]) + 3


# -- turned on ----------------------------------------------------------------------------------


def test_turned_on_later_with_a_certificate_of_ones_own(tmp_path: Path) -> None:
    """A cluster that began without TLS keeps its data. Clients and the page see the user's
    certificate, links and distribution are the cluster's own; clients have to show one, too; and a
    port without TLS is there where it is asked for. First in this file: one cluster at a time."""
    now = datetime.now(UTC)
    company = make_authority("a company", now)
    (tmp_path / "ca.pem").write_bytes(company.certificate)

    def renew() -> None:
        wanted = Wanted("mq", Use.BALANCER, ("mq.example.com", "127.0.0.1"))
        made = make_certificate(company, wanted, datetime.now(UTC))
        (tmp_path / "mq.pem").write_bytes(made.certificate)
        (tmp_path / "mq.key").write_bytes(made.key)
        (tmp_path / "mq.key").chmod(0o600)

    renew()
    client = make_certificate(company, Wanted("a client", Use.CLIENT), now)
    (tmp_path / "client.pem").write_bytes(client.pem)
    file = tmp_path / "own.toml"
    file.write_text(
        '[tls]\nca = "ca.pem"\ncertificate = "mq.pem"\nkey = "mq.key"\nverify_clients = true\n'
        "[balancer]\nplain = true\n"
    )
    with running(tmp_path / "cluster", "--nodes", "1") as warren:
        assert warren.url.startswith("amqp://")
        with pika.BlockingConnection(pika.URLParameters(warren.url)) as made:
            made.channel().queue_declare("kept", durable=True, arguments=QUORUM)
            made.channel().basic_publish("", "kept", b"x", pika.BasicProperties(delivery_mode=2))
        told = warren.ok("diff", "-f", str(file))
        later = told.partition("At the next `warrener up`")[2]
        assert "tls.enabled" in later
        assert "plain" in later
        warren.ok("down")
        warren.ok("up", "-d", "-f", str(file))
        status = warren.status()
        port, plain_port = status["balancer"]["port"], status["balancer"]["plain_port"]
        place = balancer_place(warren)
        credentials = pika.PlainCredentials(place.user, place.password)
        context = trusting(tmp_path / "ca.pem")
        context.load_cert_chain(tmp_path / "client.pem")
        options = pika.SSLOptions(context, "mq.example.com")
        by_tls = pika.ConnectionParameters(
            "127.0.0.1", port, credentials=credentials, ssl_options=options
        )
        by_plain = pika.ConnectionParameters("127.0.0.1", plain_port, credentials=credentials)
        with pika.BlockingConnection(by_tls) as made, pika.BlockingConnection(by_plain) as other:
            assert made.channel().basic_get("kept", auto_ack=True)[2] == b"x"
            assert other.channel().basic_get("kept")[0] is None
        without = trusting(tmp_path / "ca.pem")
        without.maximum_version = ssl.TLSVersion.TLSv1_2  # where a refusal is in the handshake
        with (
            socket.create_connection(("127.0.0.1", port)) as raw,
            pytest.raises((ssl.SSLError, ConnectionError)),
        ):
            without.wrap_socket(raw, server_hostname="127.0.0.1")
        node = status["nodes"][0]
        now_shown = listed(warren)
        assert shown(node["management_port"]) == now_shown["balancer certificate"]
        assert shown(node["amqp_port"]) == now_shown["n1 certificate"]
        assert status["management"]["error"] == ""  # Warrener's own client verifies yours
        renew()
        warren.ok("tls", "rotate")
        renewed = listed(warren)
        assert renewed["balancer certificate"] != now_shown["balancer certificate"]
        assert shown(node["management_port"]) == renewed["balancer certificate"]
        (tmp_path / "mq.key").chmod(0o644)
        refused = warren.run("tls", "rotate")
        assert refused.returncode == 1
        assert "can be read by others" in refused.stderr


# -- who gets in --------------------------------------------------------------------------------


async def test_clients_verify_the_balancer_and_work(warren: Warren) -> None:
    """pika with a context of its own, pika by `url --pika`, aio-pika by `url`."""
    with connection(warren, ca(warren)) as made:
        channel = made.channel()
        channel.queue_declare("first")
        channel.confirm_delivery()
        channel.basic_publish("", "first", b"x" * 3_000_000)  # many TLS records, several frames
        _, _, body = channel.basic_get("first", auto_ack=True)
        assert body == b"x" * 3_000_000
    by_url = pika.URLParameters(warren.ok("url", "--pika").strip())
    with pika.BlockingConnection(by_url) as made:
        assert made.is_open
    assert warren.url.startswith("amqps://")
    client = await aio_pika.connect(warren.url)
    async with client:
        channel_ = await client.channel()
        queue = await channel_.declare_queue("second", auto_delete=True)
        await channel_.default_exchange.publish(aio_pika.Message(b"hello"), queue.name)
        assert (await queue.get()).body == b"hello"


def test_a_client_that_trusts_others_refuses_the_balancer(warren: Warren, tmp_path: Path) -> None:
    """A CA of the same name isn't the same CA; and the balancer counts who hangs up."""
    before = rejected(warren)
    other = make_authority("warrener CA", datetime.now(UTC))
    (tmp_path / "c").write_bytes(other.certificate)
    for authorities in (None, tmp_path / "c"):
        context = trusting(authorities)
        port = balancer_place(warren).port
        with (
            socket.create_connection(("127.0.0.1", port)) as raw,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            context.wrap_socket(raw, server_hostname="127.0.0.1")
    eventually("both are counted", lambda: rejected(warren) >= before + 2)


def test_without_tls_nobody_is_let_in(warren: Warren) -> None:
    """At the balancer and at a node: no connection.start for who speaks AMQP right away."""
    header = b"AMQP\x00\x00\x09\x01"
    for port in (balancer_place(warren).port, warren.status()["nodes"][0]["amqp_port"]):
        assert not says(port, header).startswith(b"\x01")
    status = warren.status()
    assert status["tls"] == ["clients", "links", "management", "inter_node"]
    assert status["balancer"]["tls"] is True
    assert status["balancer"]["plain_port"] is None


def test_untrusted_bytes_end_in_time_and_are_counted(warren: Warren) -> None:
    """Garbage, silence, half of a handshake, a record that never ends: each ends within
    handshake_timeout while others are served."""
    before = rejected(warren)
    port = balancer_place(warren).port
    assert says(port, os.urandom(4096))[:1] in (b"", b"\x15")  # nothing, or an alert
    began = time.monotonic()
    half = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(30)]
    for number, one in enumerate(half):
        # A ClientHello's head, cut off at different places; number 0 says nothing at all.
        one.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[: number % 12])
    with connection(warren, ca(warren)) as made:
        assert made.channel().is_open
    for one in half:
        with contextlib.suppress(ConnectionError):
            while one.recv(100):
                pass
        one.close()
    assert time.monotonic() - began < HANDSHAKE + 10
    eventually("all are counted", lambda: rejected(warren) >= before + 31)
    told = warren.ok("events", "--last", "200", "--json")
    assert "no TLS handshake within 3 s" in told


# -- the nodes ----------------------------------------------------------------------------------


def test_management_and_metrics_are_https_alone(warren: Warren, tmp_path: Path) -> None:
    place = balancer_place(warren)
    node = warren.status()["nodes"][0]
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, "https://127.0.0.1", place.user, place.password)

    def opener(context: ssl.SSLContext) -> urllib.request.OpenerDirector:
        return urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=context),
            urllib.request.HTTPBasicAuthHandler(passwords),
        )

    for port, path in (
        (node["management_port"], "api/whoami"),
        (node["prometheus_port"], "metrics"),
    ):
        with pytest.raises((OSError, http.client.HTTPException)):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10)
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            opener(trusting(None)).open(f"https://127.0.0.1:{port}/{path}", timeout=10)
    base = f"https://127.0.0.1:{node['prometheus_port']}"
    with opener(trusting(ca(warren))).open(f"{base}/metrics", timeout=20) as answer:
        assert b"rabbitmq_build_info" in answer.read()
    # Warrener's own clients of both:
    assert warren.status()["management"]["error"] == ""
    assert json.loads(warren.ok("leaders", "show", "--sample", "0.5", "--json"))["nodes"]


def test_nodes_speak_tls_with_each_other(warren: Warren) -> None:
    """Erlang's distribution: verified with the CA, not for who has no certificate of it, and not in
    plain; RabbitMQ's own tools get in."""
    port = dist_port(warren)
    context = trusting(warren.state / "tls" / "trust.pem")
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # where a refusal is part of the handshake
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as raw,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(raw, server_hostname="localhost")
    context.load_cert_chain(identity(warren, "n2"))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as raw,
        context.wrap_socket(raw, server_hostname="n1") as made,
    ):
        assert made.version() == "TLSv1.2"
    # "N", flags, creation, name: how a node begins in plain. It would be answered "sok".
    name = b"x@localhost"
    plain = b"N" + bytes(8) + bytes(4) + len(name).to_bytes(2) + name
    assert b"sok" not in says(port, len(plain).to_bytes(2) + plain)
    assert "n3@localhost" in tool(warren.status()["nodes"][0], "rabbitmqctl", "cluster_status")


def test_keys_are_private(warren: Warren) -> None:
    """Of every file of TLS, and no key in the arguments or the environment of any process."""
    for path in [*warren.state.glob("tls/*"), *warren.state.glob("nodes/*/tls/*")]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert not list(warren.state.glob("nodes/*/tls/*authority*"))
    for node in warren.status()["nodes"]:
        process = Path(f"/proc/{node['pid']}")
        told = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        assert b"authority" not in told
        assert b"PRIVATE" not in told


# -- certificates change ------------------------------------------------------------------------


def test_new_certificates_under_traffic(warren: Warren) -> None:
    """No client is disconnected, and everybody shows the new one afterwards."""
    before = listed(warren)
    with Traffic(warren, "rotated-1") as one, Traffic(warren, "rotated-2") as two:
        one.goes_on()
        began = time.monotonic()
        warren.ok("tls", "rotate")
        print(f"rotate took {time.monotonic() - began:.2f} s")
        one.goes_on()
        two.goes_on()
    after = listed(warren)
    assert after["cluster CA"] == before["cluster CA"]
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {f"{whose} certificate" for whose in ("balancer", "n1", "n2", "n3")}
    assert shown(balancer_place(warren).port) == after["balancer certificate"]
    for number, node in enumerate(warren.status()["nodes"]):
        wanted = after[f"n{number + 1} certificate"]
        for port in ("amqp_port", "management_port", "prometheus_port"):
            assert shown(node[port]) == wanted, (node["name"], port)
        assert shown(dist_port(warren, number), identity(warren, "n2")) == wanted
    with connection(warren, ca(warren)) as made:
        assert made.is_open
    assert "tls.rotated" in warren.ok("events", "--last", "50", "--json")


def test_a_new_ca_in_two_phases(warren: Warren, tmp_path: Path) -> None:
    """In the first one old clients still get in and the bundle has both; after the second one only
    those who know the new CA. Who is connected stays so."""
    old = tmp_path / "old.pem"
    old.write_bytes(ca(warren).read_bytes())
    with Traffic(warren, "rotated-1") as one:
        one.goes_on()
        assert "Give" in warren.ok("tls", "rotate", "--ca")
        bundle = tmp_path / "bundle.pem"
        bundle.write_bytes(ca(warren).read_bytes())
        assert bundle.read_bytes().count(b"BEGIN CERTIFICATE") == 2
        for file in (old, bundle):
            connection(warren, file).close()
        warren.ok("tls", "rotate")  # certificates by the old CA, which clients know
        connection(warren, old).close()
        warren.ok("tls", "rotate", "--ca")
        one.goes_on()
        for file in (bundle, ca(warren)):
            connection(warren, file).close()
        with (
            socket.create_connection(("127.0.0.1", balancer_place(warren).port)) as raw,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            trusting(old).wrap_socket(raw, server_hostname="127.0.0.1")
        one.goes_on()
    assert ca(warren).read_bytes().count(b"BEGIN CERTIFICATE") == 1
    assert ca(warren).read_bytes() not in old.read_bytes()


def test_a_session_survives_its_node_and_the_node_comes_back(warren: Warren) -> None:
    """As without TLS. The node that comes back shakes hands with the others under the new CA, which
    they have trusted only since they run."""
    with Traffic(warren, "rotated-1") as one:
        one.goes_on()
        channels = json.loads(warren.ok("explain", "--json"))["channels"]
        at = next(line["node"] for line in channels if line["queue"] == "rotated-1")
        node = next(row for row in warren.status()["nodes"] if row["name"] == at)
        os.kill(node["pid"], signal.SIGKILL)
        one.goes_on()
        warren.ok("node", "restart", at)
        one.goes_on()
        print(f"slowest round trip of a client: {one.slowest:.2f} s")
    eventually("all nodes fit", lambda: all(row["fit"] for row in warren.status()["nodes"]), 60)
    told = tool(warren.status()["nodes"][0], "rabbitmqctl", "-q", "cluster_status")
    assert at in told


# -- before it, as if it were somebody else's -----------------------------------------------------


def test_attached_to_a_cluster_that_speaks_tls(warren: Warren, tmp_path: Path) -> None:
    """Its API and its AMQP ports are verified with its CA, clients with a certificate of the
    balancer's own, which is renewed without a session that ends. What its nodes show isn't ours to
    renew."""
    place = balancer_place(warren)
    node = warren.status()["nodes"][0]
    (tmp_path / "pw").write_text(place.password)
    file = tmp_path / "warrener.toml"
    text = (
        f'[attach]\nurl = "https://{node["host"]}:{node["management_port"]}"\n'
        f'user = "{place.user}"\npassword = {{ file = "pw" }}\nca = "{ca(warren)}"\n'
    )
    state = tmp_path / "state"
    before = listed(warren)
    try:
        file.write_text(f"{text}[tls]\n")
        done = warrener("--state", state, "up", "-d", "-f", file, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        url = warrener("--state", state, "url", cwd=tmp_path).stdout.strip()
        ours = Warren(state, url)
        assert ours.status()["tls"] == ["clients", "links"]
        assert set(listed(ours)) == {"cluster CA", "balancer certificate"}
        with Traffic(ours, "attached") as traffic:
            traffic.goes_on()
            port = balancer_place(ours).port
            first = shown(port)
            ours.ok("tls", "rotate")
            assert first != shown(port) == listed(ours)["balancer certificate"]
            traffic.goes_on()
        assert ca(ours).read_bytes() != ca(warren).read_bytes()
    finally:
        warrener("--state", state, "down", "--purge", cwd=tmp_path)
    assert listed(warren) == before
