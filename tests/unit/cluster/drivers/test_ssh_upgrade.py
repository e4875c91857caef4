"""An installation that several hosts are to be given."""

from pathlib import Path

import pytest

from warrener.cluster.drivers.ssh_checks import Look
from warrener.cluster.drivers.ssh_upgrade import candidate, installations
from warrener.cluster.errors import ClusterError, RabbitMQMissing
from warrener.facts.ids import NodeName

N1, N2 = NodeName("n1@10.0.0.1"), NodeName("n2@10.0.0.2")
HOSTS = {N1: "10.0.0.1", N2: "10.0.0.2"}
PATH = Path("/opt/mq")


def look(version: str = "3.11.28", root: str = "/opt/mq", otp: str = "25.2", *more: str) -> Look:
    plugins = [f"{name}-{version}" for name in ("rabbit", *more)]
    return Look(roots=[(root, plugins)], erl="/e", epmd="/m", otp=otp)


def test_what_all_have_is_one_candidate() -> None:
    looks = {N1: look("3.11.28", "/opt/mq", "25.3", "a", "b"), N2: look(otp="25.2.3")}
    found = installations(looks, PATH, HOSTS)
    assert [str(found[name].server) for name in (N1, N2)] == ["/opt/mq/sbin/rabbitmq-server"] * 2
    there = candidate(found, looks, frozenset({"a", "rabbit"}), ["wrong"])
    assert (there.root, there.version, there.erlang) == (PATH, "3.11.28", "25.2.3")
    assert (there.missing_plugins, there.wrong_settings) == (("a",), ("wrong",))


def test_hosts_that_have_none_are_named() -> None:
    with pytest.raises(RabbitMQMissing, match=r"no RabbitMQ in /opt/mq on n2 \(10\.0\.0\.2\): "):
        installations({N1: look(), N2: Look(erl="/e", epmd="/m")}, PATH, HOSTS)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (look("3.11.27"), "isn't the same version on all hosts (n1: 3.11.28, n2: 3.11.27)"),
        (look(root="/srv/mq"), "isn't the same place, links resolved, on all hosts (n1: /opt/mq,"),
    ],
)
def test_hosts_that_differ_are_told(other: Look, told: str) -> None:
    with pytest.raises(ClusterError) as caught:
        installations({N1: look(), N2: other}, PATH, HOSTS)
    assert told in str(caught.value)
