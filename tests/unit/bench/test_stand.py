"""The cluster the bench measures, with the command line replaced: asked for, and put back."""

import contextlib
import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from warrener.bench import stand as module
from warrener.bench.stand import (
    NotRunning,
    Stand,
    StandNode,
    existing_stand,
    second_balancer,
    temporary_stand,
)
from warrener.bench.wire import BenchError, Target

STATUS = {
    "nodes": [
        {
            "name": f"n{i}@localhost",
            "host": "127.0.0.1",
            "amqp_port": 5000 + i,
            "management_port": 6000 + i,
            "weight": 100,
            "version": "3.10.8",
            "erlang_version": "25.2.3",
        }
        for i in (1, 2, 3)
    ],
    "balancer": {"pid": 77, "policy": "leastconn", "plain_port": None},
    "tls": [],
}


class Shell:
    """Stands for the command line and for the management API."""

    def __init__(self) -> None:
        self.said: list[tuple[str, ...]] = []
        self.managed = 0
        self.fails: dict[str, BenchError] = {}
        self.description = ""  # what stood beside the state folder when it was started

    def warrener(self, state: Path, *arguments: str, **_: object) -> str:
        self.said.append(arguments)
        if error := self.fails.get(arguments[0]):
            raise error
        file = state.parent / "warrener.toml"
        if arguments[0] == "up" and file.exists():
            self.description = file.read_text()
            self.secret = (state.parent / "password").read_text()
            self.mode = (state.parent / "password").stat().st_mode & 0o777
        if arguments[0] == "status":
            return json.dumps(STATUS)
        return "amqp://us:p%2Fw@127.0.0.1:5672/%2F\n" if arguments[0] == "url" else ""

    def manage(self, stand: Stand, ask: object) -> None:
        self.managed += 1


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    shell = Shell()
    monkeypatch.setattr(module, "_warrener", shell.warrener)
    monkeypatch.setattr(module, "_manage", shell.manage)
    return shell


def test_a_stand_knows_where_everything_is(shell: Shell, tmp_path: Path) -> None:
    with existing_stand(tmp_path) as stand:
        assert stand.balancer == Target("127.0.0.1", 5672, "us", "p/w", "warrener-bench")
        assert stand.balancer_pid == 77
        assert [node.short for node in stand.nodes] == ["n1", "n2", "n3"]
        assert stand.node_target(4) == Target("127.0.0.1", 5002, "us", "p/w", "warrener-bench")
        assert stand.at(99).port == 99


def test_nodes_of_a_stand_with_tls_are_verified(tmp_path: Path) -> None:
    stand = Stand(
        tmp_path,
        (StandNode("n1@localhost", "127.0.0.1", 5001, 5002, 100, "", ""),),
        Target("127.0.0.1", 5671, "u", "p", ca="/ca.pem"),
        1,
        "leastconn",
        tls=("clients", "links"),
    )
    assert stand.node_target(0).ca == "/ca.pem"
    assert replace(stand, tls=("clients",)).node_target(0).ca == ""


def test_a_running_cluster_is_left_as_it_was(shell: Shell, tmp_path: Path) -> None:
    with contextlib.suppress(ZeroDivisionError), existing_stand(tmp_path):
        assert shell.managed == 1  # the virtual host is made
        raise ZeroDivisionError
    assert shell.managed == 2  # and deleted
    assert ("down", "--purge") not in shell.said


def test_a_temporary_cluster_is_taken_down_whatever_happens(shell: Shell) -> None:
    with contextlib.suppress(ZeroDivisionError), temporary_stand() as stand:
        folder = stand.state.parent
        assert folder.is_dir()
        raise ZeroDivisionError
    assert shell.said[0] == ("up", "-d", "--nodes", "3")
    assert shell.said[-1] == ("down", "--purge")
    assert not folder.exists()


def test_a_cluster_that_does_not_start_is_cleared_away_and_its_error_kept(shell: Shell) -> None:
    shell.fails = {"up": BenchError("no RabbitMQ here"), "down": NotRunning("nothing runs")}
    with pytest.raises(BenchError, match="no RabbitMQ here"), temporary_stand():
        raise AssertionError("it didn't start")
    assert shell.said[-1] == ("down", "--purge")


def test_pinned_sets_the_others_to_zero_and_puts_everything_back(shell: Shell) -> None:
    nodes = tuple(
        StandNode(f"n{i}@localhost", "h", 1, 2, weight, "", "")
        for i, weight in ((1, 0), (2, 40), (3, 0))
    )
    stand = Stand(Path("/s"), nodes, Target("h", 1, "u", "p"), 1, "leastconn")
    with contextlib.suppress(ZeroDivisionError), stand.pinned(0):
        # n3 has no weight already; n1 needs one
        assert shell.said == [
            ("balance", "set-policy", "weighted"),
            ("balance", "set-weight", "n2@localhost", "0"),
            ("balance", "set-weight", "n1@localhost", "1"),
        ]
        shell.said.clear()
        raise ZeroDivisionError
    assert shell.said == [
        ("balance", "set-weight", "n2@localhost", "40"),
        ("balance", "set-weight", "n1@localhost", "0"),
        ("balance", "set-policy", "leastconn"),
    ]


def test_the_real_command_line_is_called_and_its_error_passed_on(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="no cluster is running"), existing_stand(tmp_path):
        raise AssertionError("nothing runs there")


def test_a_second_balancer_is_before_the_same_nodes_and_gone_afterwards(
    shell: Shell, tmp_path: Path
) -> None:
    with existing_stand(tmp_path) as stand:
        shell.said.clear()
        with (
            contextlib.suppress(ZeroDivisionError),
            second_balancer(stand, "[history]\nenabled = false\n") as second,
        ):
            folder = second.state.parent
            assert second.balancer_pid == 77
            raise ZeroDivisionError
    assert [said[0] for said in shell.said] == ["up", "status", "url", "down"]
    found = tomllib.loads(shell.description)
    assert found["attach"]["url"] == "http://127.0.0.1:6001"
    assert found["attach"]["user"] == "us"
    assert found["history"] == {"enabled": False}
    assert "p/w" not in shell.description
    assert (shell.secret, shell.mode) == ("p/w", 0o600)
    assert not folder.exists()


def test_a_second_balancer_wants_a_cluster_without_tls(shell: Shell, tmp_path: Path) -> None:
    with existing_stand(tmp_path) as stand:
        secret = replace(stand, tls=("clients",))
        with pytest.raises(BenchError, match="without TLS"), second_balancer(secret, ""):
            raise AssertionError("it didn't start")
