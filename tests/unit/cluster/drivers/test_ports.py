"""Blocks of ports: none meets another, a taken one is seen and its holder named."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.cluster.drivers import ports
from warrener.cluster.drivers.ports import (
    BLOCK_SIZE,
    END,
    FIRST_BASE,
    PortLock,
    candidates,
    claim_balancer_port,
    claim_block,
    holder,
    layout,
    taken,
)
from warrener.cluster.errors import NoFreePorts, PortTaken

DEFAULT_EPHEMERAL = (32_768, 60_999)


@given(st.integers(0, 200).map(lambda n: FIRST_BASE + n * BLOCK_SIZE), st.integers(1, 9))
def test_a_layout_uses_each_port_of_its_block_once(base: int, nodes: int) -> None:
    block = layout(base, nodes)
    used = [
        *block.node_ports(),
        block.balancer,
        block.page,
        block.prometheus,
        block.grafana,
        block.metrics,
        *block.spares[1:],
    ]
    assert len(used) == len(set(used))
    assert all(base <= port < base + BLOCK_SIZE for port in used)
    assert len(block.nodes) == nodes


def test_a_nodes_ports_stay_when_nodes_are_added() -> None:
    assert layout(20_000, 9).nodes[:3] == layout(20_000, 3).nodes


@given(st.text(), st.tuples(st.integers(1024, 65_000), st.integers(0, 40_000)))
def test_candidates_avoid_the_ephemeral_range(seed: str, span: tuple[int, int]) -> None:
    low, high = span[0], span[0] + span[1]
    bases = candidates(seed, (low, high))
    assert len(bases) == len(set(bases))
    for base in bases:
        assert base >= FIRST_BASE
        assert base + BLOCK_SIZE <= END
        assert base + BLOCK_SIZE <= low or base > high


def test_candidates_depend_on_the_seed_only() -> None:
    assert candidates("a", DEFAULT_EPHEMERAL) == candidates("a", DEFAULT_EPHEMERAL)
    assert candidates("a", DEFAULT_EPHEMERAL) != candidates("b", DEFAULT_EPHEMERAL)
    assert sorted(candidates("a", DEFAULT_EPHEMERAL)) == sorted(candidates("b", DEFAULT_EPHEMERAL))


@pytest.fixture
def listener() -> Iterator[int]:
    """A port that somebody (this process) listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_somebody_listens_on_is_taken(listener: int) -> None:
    assert taken("127.0.0.1", [listener]) == [listener]
    assert taken("0.0.0.0", [listener]) == [listener]


def test_a_port_nobody_listens_on_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert taken("127.0.0.1", [port]) == []


def test_the_holder_of_a_port_is_named(listener: int) -> None:
    assert holder(listener).endswith(f"(pid {os.getpid()})")
    assert len(holder(listener)) > len(f"(pid {os.getpid()})")


def test_nobody_holds_a_free_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert holder(port) == ""


def test_a_lock_is_held_until_released() -> None:
    name = f"test-{os.getpid()}"
    lock = PortLock(name)
    with pytest.raises(BlockingIOError):
        PortLock(name)
    lock.release()
    PortLock(name).release()


def test_a_lock_goes_with_the_process_that_held_it() -> None:
    name = f"test-{os.getpid()}-child"
    code = (
        "import sys; from warrener.cluster.drivers.ports import PortLock;"
        f"lock = PortLock({name!r}); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError):
            PortLock(name)
        child.kill()
    PortLock(name).release()


def test_two_clusters_never_get_the_same_block() -> None:
    first, first_lock = claim_block(3, wanted=None, last=None, seed="same")
    second, second_lock = claim_block(3, wanted=None, last=None, seed="same")
    try:
        assert abs(first.base - second.base) >= BLOCK_SIZE
    finally:
        first_lock.release()
        second_lock.release()


def test_the_block_used_before_is_used_again() -> None:
    for last in (20_350, 31_950):
        block, lock = claim_block(3, wanted=None, last=last, seed="x")
        lock.release()
        assert block.base == last


def test_a_block_with_a_taken_port_is_left_out() -> None:
    block, lock = claim_block(3, wanted=None, last=None, seed="y")
    lock.release()
    with socket.create_server(("127.0.0.1", block.nodes[2].prometheus)):
        other, lock = claim_block(3, wanted=None, last=block.base, seed="y")
        lock.release()
    assert other.base != block.base
    PortLock(str(block.base)).release()  # the lock on the one left out isn't kept


def test_a_wanted_block_with_a_taken_port_names_the_holder() -> None:
    block, lock = claim_block(3, wanted=None, last=None, seed="z")
    lock.release()
    port = block.nodes[1].management
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(PortTaken) as caught,
    ):
        claim_block(3, wanted=block.base, last=None, seed="z")
    assert caught.value.port == port
    told = str(caught.value)
    assert told.startswith(f"port {port} (n2's management API) is taken by ")
    assert f"(pid {os.getpid()}); end that process, or choose another `base_port`" in told


def test_a_wanted_block_that_another_cluster_holds() -> None:
    block, lock = claim_block(3, wanted=None, last=None, seed="z")
    with pytest.raises(PortTaken, match="taken by another Warrener cluster"):
        claim_block(3, wanted=block.base, last=None, seed="z")
    lock.release()


def test_no_block_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "taken", lambda host, wanted: list(wanted))
    with pytest.raises(NoFreePorts, match="`base_port` under"):
        claim_block(3, wanted=None, last=None, seed="z")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_the_balancers_port_is_the_last_one_then_the_usual_then_a_spare(
    monkeypatch: pytest.MonkeyPatch, listener: int
) -> None:
    last, usual, spare = free_port(), free_port(), free_port()
    monkeypatch.setattr(ports, "USUAL_AMQP_PORT", usual)

    def claim(last: int | None, spares: list[int]) -> tuple[int, PortLock]:
        return claim_balancer_port("127.0.0.1", wanted=0, last=last, spares=spares)

    port, first = claim(last, [spare])
    assert port == last
    port, second = claim(last, [spare])
    assert port == usual, "the last one is held by another cluster"
    port, third = claim(listener, [listener, spare])
    assert port == spare, "the last one and the first spare are listened on"
    with pytest.raises(PortTaken, match="another Warrener cluster that starts just now"):
        claim(None, [spare])
    for lock in (first, second, third):
        lock.release()


def test_the_port_with_tls_has_a_usual_one_of_its_own(listener: int) -> None:
    usual = free_port()
    port, lock = claim_balancer_port("127.0.0.1", wanted=0, last=None, spares=[1], usual=usual)
    lock.release()
    assert port == usual
    with pytest.raises(PortTaken, match="another `tls_port` under"):
        claim_balancer_port("127.0.0.1", wanted=listener, last=None, spares=[], key="tls_port")


def test_a_balancers_port_that_is_asked_for_is_a_must(listener: int) -> None:
    with pytest.raises(PortTaken) as caught:
        claim_balancer_port("127.0.0.1", wanted=listener, last=1, spares=[2])
    assert str(caught.value).startswith(f"port {listener} (the balancer's) is taken by ")
    assert f"(pid {os.getpid()})" in str(caught.value)
