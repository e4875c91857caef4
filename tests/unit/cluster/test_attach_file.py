"""``[attach]`` in warrener.toml, and what can't stand beside it."""

from pathlib import Path

import pytest

from warrener.cluster.attach import Attach
from warrener.cluster.mistakes import SpecError
from warrener.cluster.passwords import password_to_attach, read_password
from warrener.cluster.spec import ClusterSpec, parse_spec
from warrener.cluster.wanted import Password, PasswordKind
from warrener.facts.data_plane import DataPlane
from warrener.facts.ids import NodeName
from warrener.facts.tls import TlsPart

WHOLE = """
[attach]
url = ["http://a:15672", "http://b:15672/"]
user = "ops"
password = { env = "OPS" }
ca = "ca.pem"
nodes = { "rabbit@a" = "10.0.0.1:5673" }
[balancer]
weights = { "rabbit@a" = 200 }
"""


def test_every_key() -> None:
    spec = parse_spec(WHOLE, folder=Path("/etc/w"))
    assert spec.attach == Attach(
        urls=("http://a:15672", "http://b:15672"),
        user="ops",
        password=Password(PasswordKind.ENV, "OPS"),
        ca=Path("/etc/w/ca.pem"),
        nodes={NodeName("rabbit@a"): ("10.0.0.1", 5673)},
    )
    assert spec.balancer.weights == {"rabbit@a": 200}
    assert not spec.name_given


def test_one_url_is_enough() -> None:
    spec = parse_spec('[attach]\nurl = "http://a:1"')
    assert spec.attach == Attach(("http://a:1",))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('url = "http://u:pw@a"', "attach.url: a user or password in the URL is not taken"),
        ("url = []", "attach.url: a list can't be used"),
        ("", "attach.url: is missing"),
        ('url = "http://a"\npassword = "s3cret"', "attach.password: this can't be used"),
        ('url = "http://a"\npassword = { generate = true }', "attach.password: this can't be"),
        ('url = "http://a"\nnodes = { a = "b" }', "attach.nodes.a: isn't the full name"),
        ('url = "http://a"\nnodes = { "r@a" = "b:x" }', '"b:x" can\'t be used; allowed: where'),
        ('url = "http://a"\n[cluster]\nnodes = 3', "cluster: not beside [attach]"),
        ('url = "http://a"\n[config]\nheartbeat = 3', "config: not beside [attach]"),
        ('url = "http://a"\n[balancer]\ndata_plane = "haproxy"', "balancer.data_plane: not beside"),
        ('url = "http://a"\n[tls]\ninter_node = true', "tls.inter_node: not beside [attach]"),
        ('url = "http://a"\n[tls]\nmanagement = false', "what its nodes speak there is set on"),
        ('url = "http://a"\n[balancer]\nweights = { n1 = 3 }', "balancer.weights.n1: isn't the"),
        ('url = "http://a"\nuri = "http://a"', "attach.uri: unknown key; allowed: url"),
    ],
)  # fmt: skip
def test_mistakes(text: str, told: str) -> None:
    with pytest.raises(SpecError) as error:
        parse_spec(f"[attach]\n{text}")
    assert told in str(error.value)
    assert "s3cret" not in str(error.value)


def test_tls_is_for_clients_and_for_links_that_the_nodes_offer() -> None:
    text = '[attach]\nurl = "https://a"\ncertificate_name = "mq"\nnodes = { "r@a" = "b" }\n'
    spec = parse_spec(f"{text}[tls]")
    assert [part.value for part in TlsPart if spec.tls.has(part)] == ["clients", "links"]
    assert spec.attach is not None
    assert spec.attach.certificate_name == "mq"
    assert spec.attach.nodes == {"r@a": ("b", 5671)}
    plain = parse_spec(f"{text}[tls]\nlinks = false").attach
    assert plain is not None
    assert plain.nodes == {"r@a": ("b", 5672)}
    typed = parse_spec("[tls]").with_attach(Attach(("http://a",)))
    assert typed.tls == spec.tls


def test_what_goes_with_a_cluster_of_ones_own_does_not_go_with_attach() -> None:
    spec = parse_spec('[attach]\nurl = "http://a"')
    with pytest.raises(SpecError, match="--nodes: somebody else runs the cluster"):
        spec.with_nodes(3)
    with pytest.raises(SpecError, match="--data-plane"):
        spec.with_data_plane(DataPlane.HAPROXY)
    with pytest.raises(SpecError, match=r"\[cluster\] is for a cluster that Warrener runs"):
        parse_spec("[cluster]\nnodes = 5").with_attach(Attach(("http://a",)))
    assert ClusterSpec().with_attach(Attach(("http://a",))).attach == Attach(("http://a",))


def test_the_password_is_where_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("from file\n")
    from_file = Attach((), password=Password(PasswordKind.FILE, "pw"))
    from_env = Attach((), password=Password(PasswordKind.ENV, "OPS"))
    assert read_password(tmp_path / "pw") == "from file"

    def find(attach: Attach, **environment: str) -> str | None:
        return password_to_attach(attach, source="w.toml", folder=tmp_path, environment=environment)

    assert find(from_file) == "from file"
    assert find(from_env, OPS="from env") == "from env"
    assert find(Attach(())) is None
    with pytest.raises(SpecError, match=r"w.toml: attach.password: the environment has no OPS"):
        find(from_env)
    with pytest.raises(ValueError, match="can't be read"):
        read_password(tmp_path / "none")
