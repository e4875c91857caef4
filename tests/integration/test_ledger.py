"""Nothing confirmed is lost and no client notices: real clients on quorum queues, while nodes die,
freeze, drain and restart. In a cluster of this module's own.

Six publishers and six consumers (pika, aio-pika, amqplib) that recover from nothing keep books of
all they do and see; see ``warrener.drills.ledger`` for what the books are held to. Each failure
happens once; for the whole proof set ``WARRENER_LEDGER_ROUNDS=5``. Figures are printed
(``pytest -rP``).
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pamqp import commands
from tests.integration.ledger_crowd import Crowd, Member
from tests.integration.ledger_flood import FLOOD_BODY, Flood, flood_until_full
from tests.integration.ledger_load import (
    CALM,
    evidence,
    load_on,
    nodes_of,
    report_gap,
    wait_all_fit,
)
from tests.integration.ledger_set import CONSUMERS, PUBLISHERS, quorum_queues, standard_load
from tests.integration.raw import Raw
from tests.integration.support import (
    balancer_place,
    eventually,
    eventually_async,
    memory,
    node_place,
    tool,
)
from tests.integration.warren import Warren, running, wait_until_gone

from warrener.drills.ledger import Fault
from warrener.drills.messages import number_of
from warrener.drills.notes import TroubleKind
from warrener.drills.workload import NotInTime

ROUNDS = int(os.environ.get("WARRENER_LEDGER_ROUNDS", "1"))
SEED = int(os.environ.get("WARRENER_LEDGER_SEED", "1"))

GAP_AFTER_KILL = 1.5 if ROUNDS > 1 else 10.0
"""Seconds without a confirm after a SIGKILL. RabbitMQ itself needs 0.4; what a machine that does
other things at the same time adds says nothing about Warrener."""

FROZEN = 20.0
"""Seconds that a node stands still: longer than links' heartbeats."""

CROWD = 2000
"""Sessions that are rebalanced."""

MIB = 1024 * 1024
JOURNAL_LIMIT = 16 * MIB  # of one session, the default
HELD = 2 * MIB  # of one session, beside its journal: high water, a chunk, half a message
SLACK = 32 * MIB  # what Python's allocator doesn't fill

TERM_ON_DISK = 6.0
"""Seconds after which a new quorum queue's term is on disk: Ra writes it every 5. A queue whose
only replica is killed before has no leader when it is back, and elects none: straight to the node,
a publish is refused after 65 s."""

FLOODS = 4
"""Publishers that wait for nothing."""

FLOOD_END = 8 * FLOODS * JOURNAL_LIMIT
"""Bytes from all of them. There is no limit, if it comes that far."""

pytestmark = pytest.mark.timeout(600 + 180 * ROUNDS)  # a busy machine boots a node in 90 s


@pytest.fixture(scope="module")
def warren(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warren]:
    with running(tmp_path_factory.mktemp("ledger")) as made:
        yield made


@pytest.fixture
def nodes(warren: Warren) -> list[dict[str, Any]]:
    """All of them fit and running."""
    wait_all_fit(warren)
    return nodes_of(warren)


def beam(node: dict[str, Any]) -> int:
    """The process id of a node's Erlang VM."""
    process = psutil.Process(node["pid"])
    every = (process, *process.children(recursive=True))
    return next(one.pid for one in every if "beam" in one.name())


# -- the books themselves --------------------------------------------------------------------------


def test_books_of_a_calm_time(warren: Warren, nodes: list[dict[str, Any]], tmp_path: Path) -> None:
    """Nothing is broken: not one duplicate, and nothing is out of order."""
    with load_on(warren, tmp_path, duplicates=False) as load:
        pass
    verdict = load.verdict()
    assert verdict.marked == 0
    assert verdict.reordered == 0
    assert verdict.published > 1000


def test_the_books_show_a_theft_and_a_forgery(warren: Warren, tmp_path: Path) -> None:
    """Somebody takes confirmed messages away, and publishes one of them twice."""
    with standard_load(warren, tmp_path) as (load, queues), Raw(balancer_place(warren)) as thief:
        load.wait_flowing(60)
        thief.open()
        thief.channel()
        thief.send(commands.Basic.Consume(queue=queues[0], no_ack=True), channel=1)
        thief.expect(commands.Basic.ConsumeOk)
        stolen = []
        for _ in range(5):
            thief.expect(commands.Basic.Deliver)
            size = thief.receive()[1].body_size
            body = b""
            while len(body) < size:
                body += thief.receive()[1].value
            stolen.append(body)
        thief.socket.close()
        with Raw(balancer_place(warren)) as forger:
            forger.open()
            forger.channel()
            forged = min(stolen, key=len)  # one of a single frame
            forger.publish(queues[1], forged)
            forger.publish(queues[1], forged)
            forger.close()
        load.run_for(1)
        load.stop_publishers()
        load.wait_drained(timeout=3)
        load.stop_consumers()
        verdict = load.verdict()
    number = number_of(forged)
    others = {number_of(body) for body in stolen} - {number}
    objections = verdict.objections(duplicates=True)
    assert {message.number for message in verdict.lost} >= others
    assert {message.queue for message in verdict.lost} == {queues[0]}
    assert [message.number for message in verdict.duplicates.unexplained] == [number]
    assert f"message {number} of {queues[0]} delivered from {queues[1]}" in str(objections)
    assert verdict.troubles == ()


def test_the_books_show_that_clients_of_a_lost_node_notice(
    warren: Warren, nodes: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Straight to one node, without a balancer between: every one of them is thrown out."""
    url = node_place(warren, nodes[2]).url()
    with standard_load(warren, tmp_path, url=url) as (load, _):
        load.wait_flowing(60)
        tool(nodes[2], "rabbitmqctl", "stop_app")
        try:
            with pytest.raises(NotInTime, match="nothing moves"):
                load.wait_flowing(8)
        finally:
            tool(nodes[2], "rabbitmqctl", "start_app")
        load.run_for(CALM)
        verdict = load.verdict()
    noticed = {trouble.client for trouble in verdict.troubles}
    assert len(noticed) == len(PUBLISHERS) + len(CONSUMERS)
    closed = {one.client for one in verdict.troubles if one.kind is TroubleKind.CONNECTION_CLOSED}
    assert closed == noticed


# -- failures --------------------------------------------------------------------------------------


def victims(nodes: list[dict[str, Any]], failure: str) -> Iterator[dict[str, Any]]:
    """A node for each round; which ones is decided by the seed."""
    chance = random.Random(f"{SEED} {failure}")
    for number in range(ROUNDS):
        victim = chance.choice(nodes)
        print(f"{failure}, round {number + 1} of {ROUNDS}: {victim['name']}")
        yield victim


def current(warren: Warren, name: str) -> dict[str, Any]:
    return next(row for row in nodes_of(warren) if row["name"] == name)


def test_a_node_is_killed(warren: Warren, nodes: list[dict[str, Any]], tmp_path: Path) -> None:
    """SIGKILL, and a restart after it."""
    gaps = []
    with load_on(warren, tmp_path, duplicates=True) as load:
        for node in victims(nodes, "SIGKILL"):
            with load.fault(f"SIGKILL {node['name']}"):
                at = time.monotonic()
                os.kill(beam(current(warren, node["name"])), signal.SIGKILL)
                took = load.wait_flowing(60)
                load.run_for(CALM)
                print(f"everybody worked again after {took:.2f} s")
                gaps.append(report_gap(load, "SIGKILL", at))
            warren.ok("node", "restart", node["name"])
            wait_all_fit(warren)
            report_gap(load, "and restart", at + took + CALM)
    assert max(gaps) <= GAP_AFTER_KILL


def test_a_node_is_frozen(warren: Warren, nodes: list[dict[str, Any]], tmp_path: Path) -> None:
    """SIGSTOP for longer than a heartbeat, then SIGCONT."""
    with load_on(warren, tmp_path, duplicates=True) as load:
        for node in victims(nodes, "SIGSTOP"):
            pid = beam(current(warren, node["name"]))
            with load.fault(f"SIGSTOP {node['name']}"):
                at = time.monotonic()
                os.kill(pid, signal.SIGSTOP)
                try:
                    load.run_for(FROZEN)
                finally:
                    os.kill(pid, signal.SIGCONT)
                load.wait_flowing(60)
                load.run_for(CALM)
                report_gap(load, "SIGSTOP", at)
            wait_all_fit(warren)


def test_a_node_is_restarted(warren: Warren, nodes: list[dict[str, Any]], tmp_path: Path) -> None:
    """``warrener node restart`` of a node that serves."""
    with load_on(warren, tmp_path, duplicates=True) as load:
        for node in victims(nodes, "restart"):
            with load.fault(f"restart {node['name']}"):
                at = time.monotonic()
                warren.ok("node", "restart", node["name"])
                load.wait_flowing(60)
                report_gap(load, "restart", at)
            wait_all_fit(warren)


def test_all_nodes_are_drained_and_restarted_in_turn(
    warren: Warren, nodes: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Planned: not one duplicate either."""
    with load_on(warren, tmp_path, duplicates=False) as load:
        for node in nodes:
            at = time.monotonic()
            for verb in ("drain", "restart", "revive"):
                begun = time.monotonic()
                print(warren.ok("node", verb, node["name"]).strip())
                load.read()
                print(f"{verb} {node['name']}: {time.monotonic() - begun:.1f} s")
            wait_all_fit(warren)
            load.wait_flowing(60)
            report_gap(load, f"rolling, {node['name']}", at)


# -- many sessions, and much that is unconfirmed ---------------------------------------------------


@pytest.mark.alone  # 2,000 clients in this process, and links that are lost after 6 s of silence
async def test_sessions_are_rebalanced_live(
    warren: Warren, nodes: list[dict[str, Any]], tmp_path: Path
) -> None:
    """A node with a third of 2,000 sessions is killed and comes back; then they are spread again.
    Nobody notices either, and every session works afterwards."""
    place = balancer_place(warren)
    with quorum_queues(warren, 6) as queues:
        async with Crowd(place, queues, CROWD, busy=60) as crowd:
            ledger = crowd.ledger
            await asyncio.sleep(CALM)
            print(f"sessions by node: {await asyncio.to_thread(spread, warren)}")
            begin = time.monotonic()
            os.kill(beam(nodes[1]), signal.SIGKILL)
            await asyncio.to_thread(warren.ok, "node", "restart", nodes[1]["name"])
            await asyncio.to_thread(wait_all_fit, warren)
            ledger.fault(Fault("SIGKILL", begin, time.monotonic()))
            assert ledger.troubles == ()
            before = await asyncio.to_thread(spread, warren)
            print(f"one node killed and back: {before}")
            begin = time.monotonic()
            told = await asyncio.to_thread(warren.ok, "balance", "rebalance", "--json")
            result = json.loads(told)
            after = await asyncio.to_thread(spread, warren)
            print(f"rebalanced in {time.monotonic() - begin:.1f} s: {after}; {result}")
            assert ledger.troubles == ()
            await crowd.rest()
            begin = time.monotonic()
            for member in crowd.members:
                member.publish()

            async def idle() -> bool:
                return not crowd.busy_with()

            with contextlib.suppress(AssertionError):  # the verdict has more to say
                await eventually_async("all confirmed, delivered, acked", idle, 60, every=0.5)
            print(f"a message from each at once: {time.monotonic() - begin:.1f} s")
            await crowd.each(Member.close)
        verdict = ledger.verdict()
        print(verdict.summary())
        assert not verdict.objections(duplicates=True), evidence(warren, verdict, True)
        assert skew(before) > 1.2, "nothing to be shown"
        assert result["stopped"] == ""
        assert skew(after) <= 1.1


def spread(warren: Warren) -> list[int]:
    """Open sessions by node."""
    return [row["sessions"] for row in nodes_of(warren)]


def skew(counts: list[int]) -> float:
    """Max by mean."""
    return max(counts) * len(counts) / sum(counts)


def test_the_journal_has_limits(
    fresh_cluster: Callable[..., contextlib.AbstractContextManager[Warren]],
) -> None:
    """No node is up, and nobody waits for confirms: publishers are no longer read before the
    balancer has kept more than it should. When the node is back, all that it took is confirmed."""
    with fresh_cluster("--nodes", "1") as warren, quorum_queues(warren, 1) as queues:
        (node,) = nodes_of(warren)
        daemon = warren.status()["balancer"]["pid"]
        floods = [Flood(balancer_place(warren), queues[0]) for _ in range(FLOODS)]
        try:
            time.sleep(TERM_ON_DISK)
            before = memory(daemon)
            victim = beam(node)
            os.kill(victim, signal.SIGKILL)
            killed_at = time.monotonic()
            wait_until_gone(victim)
            eventually("nobody there", lambda: not nodes_of(warren)[0]["fit"])
            counts, grown = flood_until_full(floods, daemon, FLOOD_END)
            taken = [count * FLOOD_BODY for count in counts]
            sessions = json.loads(warren.ok("sessions", "--json"))["sessions"]
            read = [line["bytes_in"] for line in sessions]
            kept = [line["journal_bytes"] for line in sessions]
            for what, sizes in (("taken", taken), ("read", read), ("kept", kept)):
                print(f"{what}: {', '.join(f'{size / MIB:.1f}' for size in sizes)} MiB")
            print(f"the daemon grew by {grown / MIB:.1f} MiB")
            warren.ok("node", "restart", node["name"])
            back_at = time.monotonic()
            print(f"down for {back_at - killed_at:.1f} s")
            for flood in floods:
                flood.stop()
            for flood in floods:
                flood.take_confirms()
            print(
                f"all {sum(flood.sent for flood in floods)} messages confirmed "
                f"{time.monotonic() - back_at:.1f} s later, "
                f"the daemon's growth is {(memory(daemon) - before) / MIB:.1f} MiB"
            )
        finally:
            for flood in floods:
                flood.end()
        assert max(kept) <= max(read) <= JOURNAL_LIMIT + HELD
        assert min(kept) > JOURNAL_LIMIT / 2, "nothing to be shown"
        assert grown <= FLOODS * (JOURNAL_LIMIT + HELD) + SLACK
