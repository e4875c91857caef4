"""HAProxy's configuration: what is in it, and that HAProxy itself takes it."""

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from warrener.balancer.haproxy.config import (
    max_sessions_within,
    render,
    render_map,
    without_effect,
)
from warrener.balancer.haproxy.plan import Admission, Server, Slots
from warrener.balancer.haproxy.tls import HaproxyTls
from warrener.facts.balance import Backend
from warrener.facts.ids import NodeName
from warrener.facts.settings import BalancerSettings, PolicyName
from warrener.facts.tls import TlsVersion

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin")
SETTINGS = BalancerSettings(port=5673, connect_timeout=1.5)
SERVERS = (
    Server("n1", "127.0.0.1", 5001, Admission.READY, 1, 200),
    Server("n2", "127.0.0.1", 5002, Admission.MAINT, 0, 0),
    Server("n3", "::1", 5003, Admission.DRAIN, 1, 100),
)


def sections(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and not line.startswith((" ", "#")):
            lines = found.setdefault(line, [])
        elif line.startswith(" "):
            lines.append(line.strip())
    return found


@pytest.mark.skipif(HAPROXY is None, reason="needs the haproxy program")
@pytest.mark.parametrize("policy", PolicyName)
def test_haproxy_takes_it_without_a_warning(policy: PolicyName, tmp_path: Path) -> None:
    spare = Slots([Backend(NodeName("n1@x"), "127.0.0.1", 5001)]).plan([])
    assert HAPROXY is not None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        text = render(
            (*SERVERS, *spare[1:]), SETTINGS, listeners=[listener.fileno()], max_sessions=300
        )
        (tmp_path / "haproxy.cfg").write_text(text)
        (tmp_path / "policy.map").write_text(render_map(policy))
        done = subprocess.run(
            [HAPROXY, "-c", "-f", "haproxy.cfg"],
            cwd=tmp_path,
            pass_fds=[listener.fileno()],
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_frontend_has_the_daemons_sockets_and_a_limit() -> None:
    found = sections(render(SERVERS, SETTINGS, listeners=[7, 8], max_sessions=300))
    assert found["frontend amqp"] == [
        "bind fd@7",
        "bind fd@8",
        "backlog 1024",
        "maxconn 400",
        "tcp-request connection reject if { fe_conn gt 300 }",
        "use_backend %[str(policy),map(policy.map)]",
    ]
    assert "maxconn 500" in found["global"]


def test_there_is_a_backend_for_each_policy_with_every_node() -> None:
    found = sections(render(SERVERS, SETTINGS, listeners=[7], max_sessions=300))
    assert {name for name in found if name.startswith("backend")} == {
        f"backend {policy}" for policy in PolicyName
    }
    assert found["backend source"] == [
        "balance source",
        "hash-type consistent",
        "server n1 127.0.0.1:5001 weight 200",
        "server n2 127.0.0.1:5002 weight 0 disabled",
        "server n3 [::1]:5003 weight 100 disabled",
    ]
    assert found["backend leastconn"][1] == "server n1 127.0.0.1:5001 weight 1"


def test_time_limits_are_those_of_amqp() -> None:
    found = sections(render(SERVERS, SETTINGS, listeners=[7], max_sessions=300))["defaults"]
    assert "timeout connect 1500ms" in found
    assert {"timeout client 24d", "timeout server 24d", "option clitcpka"} <= set(found)
    assert "option redispatch 1" in found


def test_clients_with_tls_and_nodes_with_tls() -> None:
    tls = HaproxyTls(Path("/b"), Path("/c"), Path("/t"), b"", TlsVersion.V1_3)
    text = render(SERVERS, SETTINGS, listeners=[8], max_sessions=9, tls_listeners=[7], tls=tls)
    found = sections(text)
    assert found["frontend amqp"][:2] == [
        "bind fd@7 ssl crt certificate.pem ssl-min-ver TLSv1.3 no-tls-tickets "
        "ca-file client-ca.pem verify required",
        "bind fd@8",
    ]
    assert found["backend p2c"][1] == (
        "server n1 127.0.0.1:5001 weight 200 ssl verify required ca-file trust.pem "
        "crt placeholder.pem ssl-min-ver TLSv1.3 no-ssl-reuse verifyhost no.node "
        "sni str(n1),map(names.map)"
    )
    assert {"timeout client 10000ms", "timeout tunnel 24d"} <= set(found["defaults"])
    assert "tune.ssl.cachesize 0" in found["global"]
    assert "/" not in text.replace("/s", "")  # every file is in its folder


def test_either_side_alone_can_have_tls() -> None:
    tls = HaproxyTls(certificate=Path("/b"))
    clients = render(SERVERS, SETTINGS, listeners=[], max_sessions=9, tls_listeners=[7], tls=tls)
    assert "ssl" in sections(clients)["frontend amqp"][0]
    assert "ssl" not in " ".join(sections(clients)["backend p2c"])
    tls = HaproxyTls(trust=Path("/t"))
    links = sections(render(SERVERS, SETTINGS, listeners=[7], max_sessions=9, tls=tls))
    assert "ssl" not in " ".join(links["frontend amqp"])
    assert "ssl verify required" in links["backend p2c"][1]
    assert "timeout client 24d" in links["defaults"]


def test_nothing_is_outside_of_its_folder() -> None:
    text = render(SERVERS, SETTINGS, listeners=[7], max_sessions=300)
    paths = [line for line in text.splitlines() if "/" in line.partition("#")[0]]
    assert paths == []
    for word in ("chroot", "user ", "group ", "pidfile", "log ", "daemon"):
        assert f"    {word}" not in text
    assert "stats socket unix@runtime.sock mode 600 level admin" in text


@pytest.mark.parametrize(
    ("wanted", "files", "expected"),
    [(20_000, 1_048_576, 20_000), (20_000, 4_096, 1_798), (20_000, 600, 50), (100, 10, 1)],
)
def test_sessions_are_as_many_as_open_files_allow(wanted: int, files: int, expected: int) -> None:
    assert max_sessions_within(wanted, files) == expected


def test_what_was_set_and_has_no_effect_is_known() -> None:
    assert without_effect(BalancerSettings(port=1, max_sessions=7, probe_fall=9)) == ()
    changed = BalancerSettings(journal_limit=1024, outage_timeout=1.0)
    assert without_effect(changed) == ("outage_timeout", "journal_limit")
    changed = BalancerSettings(handshake_timeout=1.0)
    assert without_effect(changed) == ("handshake_timeout",)
    assert without_effect(changed, tls=True) == ()
