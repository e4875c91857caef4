"""rabbitmq.conf and the environment of a node, by version."""

from pathlib import Path
from typing import Any

import pytest

from warrener.cluster.drivers.node_config import (
    ADVANCED_IS_OURS,
    advanced_config,
    config_text,
    enabled_plugins,
    environment,
    live_changes,
    node_files,
    own_settings,
    tool_environment,
)
from warrener.cluster.drivers.ports import NodePorts, layout
from warrener.cluster.members import node_names
from warrener.facts.ids import NodeName

PASSWORD = "dont-tell"


def settings(nodes: int = 3, release: tuple[int, int] = (3, 10)) -> dict[str, str]:
    text = config_text(
        own_settings(
            release=release,
            cluster_name="orders",
            members=node_names(nodes),
            ports=layout(20_000, nodes).nodes[0],
            user="warrener",
            password=PASSWORD,
        )
    )
    assert text.endswith("\n")
    pairs = [line.split(" = ", 1) for line in text.splitlines()]
    assert len({key for key, _ in pairs}) == len(pairs)
    return {key: value for key, value in pairs}


def test_everything_listens_on_loopback() -> None:
    found = settings()
    assert found["listeners.tcp.1"] == "127.0.0.1:20010"
    assert (found["management.tcp.ip"], found["management.tcp.port"]) == ("127.0.0.1", "20011")
    assert (found["prometheus.tcp.ip"], found["prometheus.tcp.port"]) == ("127.0.0.1", "20012")


def test_nodes_that_share_a_machine_share_its_memory() -> None:
    assert settings(1)["vm_memory_high_watermark.relative"] == "0.400"
    assert settings(3)["vm_memory_high_watermark.relative"] == "0.133"
    assert settings(9)["vm_memory_high_watermark.relative"] == "0.044"


@pytest.mark.parametrize(
    ("nodes", "handling"), [(1, "ignore"), (2, "autoheal"), (3, "pause_minority")]
)
def test_partition_handling_fits_the_number_of_nodes(nodes: int, handling: str) -> None:
    assert settings(nodes)["cluster_partition_handling"] == handling


def test_every_node_knows_its_peers() -> None:
    found = settings(3)
    for number, name in enumerate(node_names(3), start=1):
        assert found[f"cluster_formation.classic_config.nodes.{number}"] == name


@pytest.mark.parametrize("release", [(3, 10), (3, 12), (3, 13), (4, 0), (4, 3)])
def test_only_keys_that_the_version_knows(release: tuple[int, int]) -> None:
    found = settings(release=release)
    assert ("queue_master_locator" in found) is (release < (4, 0)), "gone with classic mirroring"
    assert ("cluster_formation.discovery_retry_limit" in found) is (release < (3, 13))
    assert found["queue_leader_locator"] == "balanced"


def test_plugins_are_an_erlang_term() -> None:
    assert enabled_plugins(["a", "b"]) == "[a,b].\n"


def env(**inherited: str) -> dict[str, str]:
    return environment(
        name=node_names(1)[0],
        files=node_files(Path("/s t"), node_names(1)[0]),
        distribution_port=20_013,
        epmd_port=20_000,
        path="/bin",
        mark={"WARRENER_CLUSTER": "x"},
        inherited=inherited,
    )


@pytest.mark.parametrize(
    "variable",
    [
        "RABBITMQ_NODENAME",
        "RABBITMQ_USE_LONGNAME",
        "RABBITMQ_SERVER_START_ARGS",
        "NODENAME",
        "CONFIG_FILE",
        "ERL_LIBS",
        "ERL_AFLAGS",
        "ERL_ZFLAGS",
        "ERL_EPMD_ADDRESS",
        "HOME",
        "LC_ALL",
        "NOTIFY_SOCKET",
    ],
)
def test_what_surrounds_warrener_does_not_reach_a_node(variable: str) -> None:
    assert env(**{variable: "evil"}) == env()


def test_time_zone_and_temporary_folder_are_kept() -> None:
    found = env(TZ="Europe/Vienna", TMPDIR="/scratch")
    assert (found["TZ"], found["TMPDIR"]) == ("Europe/Vienna", "/scratch")


def test_all_files_are_the_clusters_own() -> None:
    found = env()
    kinds: dict[str, Any] = {
        key: value for key, value in found.items() if value.startswith("/") and key != "PATH"
    }
    assert len(kinds) >= 10
    assert all(value.startswith("/s t/") for value in kinds.values())
    assert found["RABBITMQ_NODENAME"] == "n1@localhost"
    assert found["ERL_EPMD_PORT"] == "20000"
    assert "inet_dist_use_interface {127,0,0,1}" in found["ERL_FLAGS"]


def test_further_flags_reach_a_node_and_its_tools() -> None:
    node = environment(
        name=node_names(1)[0],
        files=node_files(Path("/s"), node_names(1)[0]),
        distribution_port=1,
        epmd_port=2,
        path="/bin",
        mark={},
        inherited={},
        flags="-proto_dist inet_tls",
    )
    for found in (node, tool_environment(node, {})):
        assert "{127,0,0,1} -proto_dist inet_tls" in found["ERL_FLAGS"]
    assert env()["ERL_FLAGS"].endswith("{127,0,0,1}")


def test_the_password_is_in_the_file_only() -> None:
    assert settings()["default_pass"] == PASSWORD
    assert not any(PASSWORD in value for value in env().values())


def test_a_tool_finds_the_node_and_takes_nothing_of_its_own() -> None:
    node = env()
    found = tool_environment(node, {"WARRENER_CLUSTER": "x", "WARRENER_PART": "n1-tool"})
    for key in ("HOME", "RABBITMQ_NODENAME", "ERL_EPMD_PORT", "RABBITMQ_CONF_ENV_FILE", "PATH"):
        assert found[key] == node[key]
    for key in ("RABBITMQ_DIST_PORT", "RABBITMQ_PID_FILE", "ERL_CRASH_DUMP"):
        assert key in node
        assert key not in found
    assert found["WARRENER_PART"] == "n1-tool"
    assert found["ERL_FLAGS"] == f"{node['ERL_FLAGS']} -start_epmd false"


def test_what_runs_gets_the_share_that_the_file_would_give_it() -> None:
    for members in range(1, 10):
        found = settings(members)
        said = live_changes(members)
        assert f"[{found['vm_memory_high_watermark.relative']}]" in said
        assert f"cluster_partition_handling, {found['cluster_partition_handling']}]" in said


def test_a_node_on_another_host_listens_there_and_has_a_long_name() -> None:
    name = NodeName("n1@10.0.0.1")
    found = own_settings(
        release=(3, 10),
        cluster_name="far",
        members=(name,),
        ports=NodePorts(20_010, 20_011, 20_012, 20_013),
        user="u",
        password=PASSWORD,
        address="10.0.0.1",
        shared_by=1,
    )
    assert found["listeners.tcp.1"] == "10.0.0.1:20010"
    assert found["management.tcp.ip"] == found["prometheus.tcp.ip"] == "10.0.0.1"
    assert found["vm_memory_high_watermark.relative"] == "0.400"
    assert int(found["net_ticktime"]) < 10, "else a partition goes unnoticed for a minute"
    assert "net_ticktime" not in settings()
    assert "raft.adaptive_failure_detector.poll_interval" not in found, "3.10 has no such key"
    there = environment(
        name=name,
        files=node_files(Path("/s"), name),
        distribution_port=20_013,
        epmd_port=20_000,
        path="/bin",
        mark={},
        inherited={},
        address="10.0.0.1",
    )
    assert "inet_dist_use_interface {10,0,0,1}" in there["ERL_FLAGS"]
    assert "-kernel net_setuptime 2" in there["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"]
    assert there["RABBITMQ_USE_LONGNAME"] == "true"
    assert "RABBITMQ_USE_LONGNAME" not in env()


@pytest.mark.parametrize("release", [(3, 10), (3, 11), (3, 12), (4, 0)])
def test_followers_on_other_hosts_miss_their_leader_within_a_second(
    release: tuple[int, int],
) -> None:
    """By a key where RabbitMQ has one: advanced.config would have the last word over ``config
    set``."""
    key = "raft.adaptive_failure_detector.poll_interval"
    found = own_settings(
        release=release,
        cluster_name="far",
        members=(NodeName("n1@10.0.0.1"),),
        ports=NodePorts(20_010, 20_011, 20_012, 20_013),
        user="u",
        password=PASSWORD,
        address="10.0.0.1",
    )
    text = advanced_config(release, "10.0.0.1")
    assert text.startswith(ADVANCED_IS_OURS + "\n")
    assert ("{aten, [{poll_interval, 1000}]}" in text) == (key not in found)
    assert found.get(key, "1000") == "1000"
    assert advanced_config(release, "127.0.0.1") == ""
