"""warrener.toml: defaults, what each key means, and every mistake told with its place."""

from dataclasses import fields
from pathlib import Path

import pytest

from warrener.cluster.spec import ClusterSpec, SpecError, load_spec, parse_spec
from warrener.cluster.spec_file import BalancerSection
from warrener.facts.data_plane import DataPlane
from warrener.facts.ids import NodeName
from warrener.facts.settings import BalancerSettings, PolicyName


def mistakes(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_spec(text, source="w.toml")
    assert str(caught.value) == "\n".join(str(caught.value).splitlines())
    return str(caught.value).splitlines()


def test_no_file_is_all_defaults() -> None:
    assert load_spec(None) == ClusterSpec()
    assert load_spec(None).node_names == ("n1@localhost", "n2@localhost", "n3@localhost")
    assert load_spec(None).balancer == BalancerSettings()


def test_an_empty_file_is_all_defaults() -> None:
    assert parse_spec("", source="") == ClusterSpec()


def test_everything_can_be_set() -> None:
    spec = parse_spec(
        """
        name = "orders"
        [cluster]
        nodes = 5
        rabbitmq = "rmq"
        plugins = ["rabbitmq_shovel", "rabbitmq_management"]
        base_port = 25000
        [balancer]
        host = "0.0.0.0"
        port = 5673
        policy = "weighted-leastconn"
        weights = { n1 = 0, "n5@localhost" = 1000 }
        handshake_timeout = "1.5m"
        connect_timeout = "500ms"
        link_heartbeat = "30s"
        probe_interval = 2
        probe_timeout = 0.5
        probe_fall = 3
        probe_rise = 1
        max_sessions = 100
        high_water = "1MiB"
        locality = "off"
        outage_timeout = "2m"
        park_timeout = 0
        settle_timeout = "1.5s"
        link_linger = 0.5
        journal_limit = "64KiB"
        journal_total = "2GiB"
        """,
        folder=Path("/etc/w"),
    )
    assert spec.name == "orders"
    assert spec.nodes == 5
    assert spec.rabbitmq == Path("/etc/w/rmq")
    assert spec.plugins == ("rabbitmq_management", "rabbitmq_prometheus", "rabbitmq_shovel")
    assert spec.base_port == 25000
    assert spec.balancer == BalancerSettings(
        host="0.0.0.0",
        port=5673,
        policy=PolicyName.WEIGHTED_LEASTCONN,
        weights={NodeName("n1@localhost"): 0, NodeName("n5@localhost"): 1000},
        handshake_timeout=90.0,
        connect_timeout=0.5,
        link_heartbeat=30,
        probe_interval=2.0,
        probe_timeout=0.5,
        probe_fall=3,
        probe_rise=1,
        max_sessions=100,
        high_water=1024 * 1024,
        locality=False,
        outage_timeout=120.0,
        park_timeout=0.0,
        settle_timeout=1.5,
        link_linger=0.5,
        journal_limit=64 * 1024,
        journal_total=2 * 1024**3,
    )


def test_the_balancers_keys_are_settings_and_have_their_defaults() -> None:
    names = {field.name for field in fields(BalancerSettings)}
    assert set(BalancerSection.model_fields) == names - {"max_frame", "backlog", "auto_weights"}
    section = BalancerSection.model_validate({})
    for name in BalancerSection.model_fields:
        assert getattr(section, name) == getattr(BalancerSettings(), name)


def test_haproxys_program_is_a_name_or_a_path_from_the_files_folder_on() -> None:
    def program(given: str) -> str:
        text = f'balancer.haproxy = "{given}"'
        return parse_spec(text, folder=Path("/etc/w")).balancer.haproxy

    assert program("haproxy-2.9") == "haproxy-2.9"
    assert program("bin/haproxy") == "/etc/w/bin/haproxy"
    assert program("/usr/sbin/haproxy") == "/usr/sbin/haproxy"


def test_another_data_plane_leaves_the_rest_as_it_is() -> None:
    spec = parse_spec('balancer.policy = "p2c"').with_data_plane(DataPlane.HAPROXY)
    assert (spec.balancer.data_plane, spec.balancer.policy) == ("haproxy", PolicyName.P2C)


@pytest.mark.parametrize(
    ("size", "number"),
    [("20000", 20_000), ('"512KiB"', 524_288), ('"1 MB"', 1_000_000), ('"64kB"', 64_000)],
)
def test_sizes(size: str, number: int) -> None:
    assert parse_spec(f"balancer.high_water = {size}").balancer.high_water == number


CASES = {
    "a data plane that isn't there": (
        'balancer.data_plane = "ha-proxy"',
        [
            'w.toml:1:10: balancer.data_plane: "ha-proxy" can\'t be used; allowed: "warrener", '
            "\"haproxy\"; did you mean 'haproxy'?"
        ],
    ),
    "locality from HAProxy": (
        '[balancer]\ndata_plane = "haproxy"\nlocality = true',
        [
            'w.toml:3:1: balancer.locality: not with data_plane "haproxy": HAProxy passes bytes, '
            "it knows no channels: each client's are all on the node that the policy gave its "
            "connection; allowed: false, or no such line"
        ],
    ),
    "unknown key at the top": (
        'nmae = "x"',
        [
            "w.toml:1:1: nmae: unknown key; allowed: name, cluster, balancer, history, healing, "
            "telemetry, tls, node, ssh, attach, vhost, user, policy, operator_policy, queue, "
            "queues, config; "
            "did you mean 'name'?"
        ],
    ),
    "unknown table": (
        "\n[balancers]\nport = 1",
        [
            "w.toml:2:2: balancers: unknown key; allowed: name, cluster, balancer, history, "
            "healing, telemetry, tls, node, ssh, attach, vhost, user, policy, operator_policy, "
            "queue, queues, config; did you mean 'balancer'?"
        ],
    ),
    "nothing near": (
        "zzz = 1",
        [
            "w.toml:1:1: zzz: unknown key; allowed: name, cluster, balancer, history, healing, "
            "telemetry, tls, node, ssh, attach, vhost, user, policy, operator_policy, queue, "
            "queues, config"
        ],
    ),
    "unknown key in a section": (
        "[cluster]\nnode = 3",
        [
            "w.toml:2:1: cluster.node: unknown key; allowed: nodes, rabbitmq, plugins, base_port; "
            "did you mean 'nodes'?"
        ],
    ),
    "dashes for underscores": (
        "cluster.base-port = 3",
        [
            "w.toml:1:9: cluster.base-port: unknown key; allowed: nodes, rabbitmq, plugins, "
            "base_port; did you mean 'base_port'?"
        ],
    ),
    "out of range": (
        "[cluster]\nnodes = 10",
        ["w.toml:2:1: cluster.nodes: 10 is out of range; allowed: a whole number from 1 to 9"],
    ),
    "wrong type": (
        '[cluster]\nnodes = "3"',
        ['w.toml:2:1: cluster.nodes: "3" can\'t be used; allowed: a whole number from 1 to 9'],
    ),
    "a boolean is no number": (
        "cluster.nodes = true",
        ["w.toml:1:9: cluster.nodes: true can't be used; allowed: a whole number from 1 to 9"],
    ),
    "not a table": (
        "balancer = 5672",
        ["w.toml:1:1: balancer: 5672 can't be used; allowed: a table: [balancer]"],
    ),
    "an array of tables": (
        "[[balancer]]\nport = 1",
        ["w.toml:1:3: balancer: a list can't be used; allowed: a table: [balancer]"],
    ),
    "unknown policy": (
        'balancer = { policy = "leastcon" }',
        [
            'w.toml:1:14: balancer.policy: "leastcon" can\'t be used; allowed: "roundrobin", '
            '"weighted", "random", "source", "leastconn", "weighted-leastconn", "p2c"; '
            "did you mean 'leastconn'?"
        ],
    ),
    "time without a sense": (
        '[balancer]\nprobe_interval = "1 day"',
        [
            'w.toml:2:1: balancer.probe_interval: "1 day" can\'t be used; allowed: '
            'seconds from 0.1 to 3600, as a number or like "10s" or "500ms"'
        ],
    ),
    "time out of range, in another unit": (
        '[balancer]\nprobe_interval = "99ms"',
        [
            'w.toml:2:1: balancer.probe_interval: "99ms" is out of range; allowed: '
            'seconds from 0.1 to 3600, as a number or like "10s" or "500ms"'
        ],
    ),
    "not a number": (
        "[balancer]\nprobe_interval = nan\nconnect_timeout = inf",
        [
            "w.toml:2:1: balancer.probe_interval: nan is out of range; allowed: "
            'seconds from 0.1 to 3600, as a number or like "10s" or "500ms"',
            "w.toml:3:1: balancer.connect_timeout: inf is out of range; allowed: "
            'seconds from 0.1 to 60, as a number or like "10s" or "500ms"',
        ],
    ),
    "half a heartbeat": (
        "[balancer]\nlink_heartbeat = 2.5",
        [
            "w.toml:2:1: balancer.link_heartbeat: 2.5 can't be used; allowed: "
            'whole seconds from 1 to 600, as a number or like "10s"'
        ],
    ),
    "size with an unknown unit": (
        '[balancer]\nhigh_water = "5 XB"',
        [
            'w.toml:2:1: balancer.high_water: "5 XB" can\'t be used; allowed: '
            'bytes from 16 KiB to 1 GiB, as a number or like "512KiB"'
        ],
    ),
    "not a host": (
        '[balancer]\nhost = "300.1.2.3"',
        [
            'w.toml:2:1: balancer.host: "300.1.2.3" can\'t be used; allowed: '
            'an IP address or host name, such as "127.0.0.1"'
        ],
    ),
    "port out of range": (
        "[balancer]\nport = 65536",
        [
            "w.toml:2:1: balancer.port: 65536 is out of range; allowed: "
            "a port from 1 to 65,535; 0: choose a free one"
        ],
    ),
    "an element of a list": (
        '[cluster]\nplugins = [\n  "rabbitmq_shovel",\n  3,\n  "Bad-Name",\n]',
        [
            "w.toml:4:3: cluster.plugins[1]: 3 can't be used; allowed: "
            'names of RabbitMQ plugins, such as "rabbitmq_shovel"',
            'w.toml:5:3: cluster.plugins[2]: "Bad-Name" can\'t be used; allowed: '
            'names of RabbitMQ plugins, such as "rabbitmq_shovel"',
        ],
    ),
    "a weight of no node": (
        "[cluster]\nnodes = 2\n[balancer.weights]\nn1 = 1\nn3 = 1",
        [
            "w.toml:5:1: balancer.weights.n3: no such node; allowed: n1, n2; did you mean 'n2'?",
        ],
    ),
    "a node on another host": (
        '[balancer.weights]\n"n1@elsewhere" = 1',
        [
            'w.toml:2:1: balancer.weights."n1@elsewhere": no such node; allowed: n1, n2, n3; '
            "did you mean 'n1'?",
        ],
    ),
    "a weight given twice": (
        '[balancer.weights]\nn1 = 1\n"n1@localhost" = 1',
        [
            'w.toml:3:1: balancer.weights."n1@localhost": this node\'s weight is given twice',
        ],
    ),
    "a weight out of range": (
        "balancer.weights.n1 = 1001",
        [
            "w.toml:1:18: balancer.weights.n1: 1001 is out of range; allowed: "
            "a whole number from 0 to 1,000"
        ],
    ),
    "a weight in words": (
        'balancer.weights = "automatic"',
        [
            'w.toml:1:10: balancer.weights: "automatic" can\'t be used; allowed: "auto", or a '
            "table of node names and weights from 0 to 1,000"
        ],
    ),
    "weights that follow nothing": (
        '[balancer]\nweights = "auto"\n[history]\nenabled = false',
        [
            'w.toml:2:1: balancer.weights: "auto" needs a history: weights follow it, and '
            "`enabled = false` stands under [history]; allowed: a table of weights"
        ],
    ),
    "a share longer than the whole": (
        "[balancer]\nconnect_timeout = 20",
        [
            "w.toml:2:1: balancer.connect_timeout: one node's share (20 s) is longer than the "
            "whole handshake (10 s); allowed: a connect_timeout up to handshake_timeout"
        ],
    ),
    "a whole shorter than the share": (
        "[balancer]\nhandshake_timeout = 2",
        [
            "w.toml:2:1: balancer.handshake_timeout: one node's share (3 s) is longer than the "
            "whole handshake (2 s); allowed: a connect_timeout up to handshake_timeout"
        ],
    ),
    "a switch that is none": (
        '[balancer]\nlocality = "yes"\nsettle_timeout = -1',
        [
            'w.toml:2:1: balancer.locality: "yes" can\'t be used; allowed: true or false, '
            '"on" or "off"',
            "w.toml:3:1: balancer.settle_timeout: -1 is out of range; allowed: "
            'seconds from 0 to 3600, as a number or like "10s" or "500ms"',
        ],
    ),
    "a bare word for a switch": (
        "[balancer]\nlocality = off",
        ["w.toml:2:12: not TOML: Invalid value"],
    ),
    "a journal larger than all": (
        '[balancer]\njournal_limit = "1GiB"',
        [
            "w.toml:2:1: balancer.journal_limit: one session's journal (1,073,741,824 bytes) is "
            "larger than all of them together (536,870,912 bytes); allowed: a journal_limit up to "
            "journal_total"
        ],
    ),
    "all journals smaller than one": (
        '[balancer]\nconnect_timeout = "11s"\njournal_total = "1MiB"',
        [
            "w.toml:2:1: balancer.connect_timeout: one node's share (11 s) is longer than the "
            "whole handshake (10 s); allowed: a connect_timeout up to handshake_timeout",
            "w.toml:3:1: balancer.journal_total: one session's journal (16,777,216 bytes) is "
            "larger than all of them together (1,048,576 bytes); allowed: a journal_limit up to "
            "journal_total",
        ],
    ),
    "a journal out of range": (
        '[balancer]\njournal_limit = "1KiB"',
        [
            'w.toml:2:1: balancer.journal_limit: "1KiB" is out of range; allowed: '
            'bytes from 64 KiB to 4 GiB, as a number or like "16MiB"'
        ],
    ),
    "a bad name": (
        'name = "a b"',
        [
            'w.toml:1:1: name: "a b" can\'t be used; allowed: '
            "up to 64 letters, digits, '.', '_' and '-'"
        ],
    ),
    "syntax": (
        "[cluster\nnodes = 3",
        ["w.toml:1:9: not TOML: Expected ']' at the end of a table declaration"],
    ),
    "syntax at the end": ('name = "x', ["w.toml:1:10: not TOML: Unterminated string"]),
    "a key given twice": (
        "[cluster]\nnodes = 3\nnodes = 4",
        ["w.toml:3:10: not TOML: Cannot overwrite a value"],
    ),
    "everything at once, in the file's order": (
        "[balancer]\nprot = 1\nconnect_timeout = 20\nweights = { n9 = 1, n1 = -1 }\n"
        "[cluster]\nnodes = 3\nbase_port = 1\n",
        [
            "w.toml:2:1: balancer.prot: unknown key; allowed: host, port, "
            "tls_port, plain, policy, weights, handshake_timeout, connect_timeout, "
            "link_heartbeat, probe_interval, probe_timeout, "
            "probe_fall, probe_rise, max_sessions, high_water, locality, outage_timeout, "
            "park_timeout, settle_timeout, link_linger, journal_limit, journal_total, "
            "data_plane, haproxy; "
            "did you mean 'port'?",
            "w.toml:3:1: balancer.connect_timeout: one node's share (20 s) is longer than the "
            "whole handshake (10 s); allowed: a connect_timeout up to handshake_timeout",
            "w.toml:4:13: balancer.weights.n9: no such node; allowed: n1, n2, n3; "
            "did you mean 'n3'?",
            "w.toml:4:21: balancer.weights.n1: -1 is out of range; allowed: "
            "a whole number from 0 to 1,000",
            "w.toml:7:1: cluster.base_port: 1 is out of range; allowed: "
            "a port from 1,024 to 65,000, the first of a block",
        ],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_mistakes(name: str) -> None:
    text, expected = CASES[name]
    assert mistakes(text) == expected


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert str(caught.value) == f"{path}: can't be read: No such file or directory"


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "w.toml"
    path.write_bytes(b'name = "x"\n# \xff\xfe\n')
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert str(caught.value) == f"{path}:2:3: is not UTF-8 text, as TOML has to be"


def test_a_file_that_is_too_long(tmp_path: Path) -> None:
    path = tmp_path / "w.toml"
    path.write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(SpecError, match="is longer than 1024 KiB"):
        load_spec(path)


def test_a_file_nested_too_deeply(tmp_path: Path) -> None:
    path = tmp_path / "w.toml"
    path.write_text("a = " + "[" * 5000 + "]" * 5000)
    with pytest.raises(SpecError, match="nested too deeply"):
        load_spec(path)


def test_a_number_of_nodes_from_the_command_line() -> None:
    assert ClusterSpec().with_nodes(5).nodes == 5


@pytest.mark.parametrize("nodes", [0, 10, -1])
def test_a_number_of_nodes_out_of_range(nodes: int) -> None:
    with pytest.raises(SpecError, match=f"--nodes: {nodes} is out of range; allowed: 1 to 9"):
        ClusterSpec().with_nodes(nodes)


def test_fewer_nodes_than_have_weights() -> None:
    spec = parse_spec("balancer.weights.n3 = 5", source="w.toml")
    with pytest.raises(SpecError) as caught:
        spec.with_nodes(2)
    assert str(caught.value) == (
        "w.toml: balancer.weights.n3: no such node with --nodes 2; allowed: n1, n2"
    )


def test_automatic_weights() -> None:
    spec = parse_spec('[balancer]\nweights = "auto"\npolicy = "p2c"')
    assert spec.balancer.auto_weights
    assert spec.balancer.weights == {}
    assert not parse_spec("balancer.weights = { n1 = 5 }").balancer.auto_weights
    by_hand = parse_spec("balancer.weights = { n1 = 5 }").with_auto_weights()
    assert (by_hand.balancer.auto_weights, by_hand.balancer.weights) == (True, {})
    with pytest.raises(SpecError, match="--weights auto: not without a history"):
        parse_spec("history.enabled = false").with_auto_weights()
