"""Nodes on other machines, as warrener.toml names them."""

from pathlib import Path

import pytest

from warrener.cluster.hosts import HostSpec, Supervision
from warrener.cluster.mistakes import SpecError
from warrener.cluster.spec import ClusterSpec, parse_spec

TWO = """
[ssh]
user = "mq"
key = "keys/one"
known_hosts = "/etc/ssh/ssh_known_hosts"

[[node]]
name = "n2"
host = "MQ2.example.org"
driver = "ssh"
port = 2222
folder = "/srv/mq"
user = "other"

[[node]]
name = "n1"
host = "10.0.0.1"
driver = "ssh"
"""


def spec(text: str) -> ClusterSpec:
    return parse_spec(text, folder=Path("/here"))


def wrong(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        spec(text)
    return [f"{one.place.line if one.place else ''} {one}" for one in caught.value.mistakes]


def test_what_is_common_and_what_is_a_nodes_own() -> None:
    found = spec(TWO)
    assert found.hosts == (
        HostSpec("n1@10.0.0.1", "10.0.0.1", "mq", "/here/keys/one", "/etc/ssh/ssh_known_hosts"),
        HostSpec(
            "n2@mq2.example.org",
            "mq2.example.org",
            "other",
            "/here/keys/one",
            "/etc/ssh/ssh_known_hosts",
            2222,
            "/srv/mq",
        ),
    )
    assert (found.nodes, found.nodes_given) == (2, True)
    assert found.node_names == ("n1@10.0.0.1", "n2@mq2.example.org")
    assert found.with_nodes(1).node_names == ("n1@10.0.0.1",)
    with pytest.raises(SpecError, match=r"3 nodes, but warrener\.toml names hosts for 2"):
        found.with_nodes(3)


def test_what_is_left_out_has_its_default() -> None:
    (host,) = spec('[[node]]\nname = "n1"\nhost = "10.0.0.1"\ndriver = "ssh"\n').hosts
    assert (host.user, host.key, host.port, host.folder) == ("", "", 22, "~/.warrener")
    assert host.known_hosts == str(Path("~/.ssh/known_hosts").expanduser())


def test_weights_are_of_nodes_wherever_they_are() -> None:
    found = spec(TWO + "[balancer]\nweights = { n1 = 5 }\n")
    assert found.balancer.weights == {"n1@10.0.0.1": 5}
    (mistake,) = wrong(TWO + "[balancer]\nweights = { n3 = 5 }\n")
    assert "balancer.weights.n3: no such node; allowed: n2, n1" in mistake


def test_a_rabbitmq_on_hosts_is_a_path_there() -> None:
    found = spec(TWO + '[cluster]\nrabbitmq = "~/rabbitmq_server-3.12.0"\n')
    assert found.rabbitmq == Path("~/rabbitmq_server-3.12.0")


def test_nodes_on_this_machine_may_be_named_too() -> None:
    found = spec('[[node]]\nname = "n1"\n[[node]]\nname = "n2"\ndriver = "local"\n')
    assert (found.nodes, found.hosts, found.nodes_given) == (2, (), True)


def node(name: str, host: str = "", driver: str = "ssh") -> str:
    told = f'host = "{host}"\n' if host else ""
    return f'[[node]]\nname = "{name}"\n{told}driver = "{driver}"\n'


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (
            node("n1", "10.0.0.1") + node("n2", driver="local"),
            "7 node[1].driver: some nodes are on",
        ),
        (node("n1"), '1 node[0].host: is missing; driver = "ssh" needs it'),
        (node("n1", "10.0.0.1", "local"), "3 node[0].host: a node on this machine has no host"),
        (node("n1", "10.0.0.1") + node("n1", "10.0.0.2"), "6 node[1].name: two nodes have this"),
        (node("n1", "a.b") + node("n2", "A.b"), "7 node[1].host: two nodes are on this host"),
        (node("n0", "10.0.0.1"), '2 node[0].name: "n0" can\'t be used; allowed: "n1" to "n9"'),
        (node("n1", "mq1"), '3 node[0].host: "mq1" can\'t be used; allowed: an IPv4 address, or'),
        (node("n1", "fe80::1"), '3 node[0].host: "fe80::1" can\'t be used'),
        (node("n1", "10.0.0.1", "shs"), 'node[0].driver: "shs" can\'t be used; allowed: "local", '),
        (node("n1", "10.0.0.1") + "password = 'x'\n", "5 node[0].password: unknown key"),
        ("[ssh]\npassword = 'x'\n", "2 ssh.password: unknown key"),
        ("[ssh]\nfolder = 'x'\n", "2 ssh.folder: "),
        (node("n2", driver="local"), "2 node[0].name: nodes on this machine are numbered from n1"),
        ("[cluster]\nnodes = 2\n" + node("n1", "10.0.0.1"), "2 cluster.nodes: 2, but 1 have"),
    ],
)
def test_mistakes_are_told_with_their_place(text: str, mistake: str) -> None:
    found = wrong(text)
    assert any(mistake in one for one in found), found


def test_who_looks_after_nodes_and_what_may_be_installed() -> None:
    first, second = spec(TWO).hosts
    assert (first.supervision, first.install) == (Supervision.AUTO, False)
    text = TWO.replace("[ssh]", '[ssh]\nsupervision = "systemd"\ninstall = true')
    text = text.replace('name = "n1"', 'name = "n1"\nsupervision = "own"\ninstall = false')
    first, second = spec(text).hosts
    assert (first.supervision, first.install) == (Supervision.OWN, False)
    assert (second.supervision, second.install) == (Supervision.SYSTEMD, True)
    (told,) = wrong(TWO.replace("[ssh]", '[ssh]\nsupervision = "sytemd"'))
    assert 'allowed: "auto", "systemd", "own"; did you mean \'systemd\'?' in told


def test_packages_are_installed_or_another_rabbitmq_named() -> None:
    other = '[cluster]\nrabbitmq = "/opt/mq"\n'
    (told,) = wrong(other + TWO.replace("[ssh]", "[ssh]\ninstall = true"))
    assert "ssh.install: installs the host's own package, and `rabbitmq` names another" in told
    (told,) = wrong(other + TWO + "install = true\n")
    assert "node[1].install: installs" in told or "install" in told
