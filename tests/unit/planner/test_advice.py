"""Advice: what is found, and that nothing is said where nothing is amiss."""

from dataclasses import replace

import pytest
from tests.unit.planner.scene import N1, N2, N3, NODES, US, calibration, load, queue

from warrener.models.interruptions import Stalls
from warrener.models.queueing import mg1, mmc
from warrener.models.terms import Steady
from warrener.planner.advice import About, Advice, advise
from warrener.planner.costs import Cost, QueueType
from warrener.planner.load import HostLoad, Load, NodeLoad
from warrener.planner.sizing import Profile, prefetch_for

CLASSIC = QueueType.CLASSIC


def told(one: Load, profile: Profile | None = None) -> list[Advice]:
    return list(advise(one, calibration(), profile).pieces)


def only(one: Load, about: About, profile: Profile | None = None) -> Advice:
    (piece,) = (piece for piece in told(one, profile) if piece.about is about)
    return piece


EVEN = [queue(f"q{number}", 500, node) for number, node in enumerate(NODES)]


def test_a_cluster_that_is_well_gets_no_advice() -> None:
    assert told(load(*EVEN)) == []
    assert told(load()) == []
    calm = replace(EVEN[0], consumers=30, prefetch=2, service_time=0.01)
    assert told(load(calm, *EVEN[1:])) == []


def test_what_breaks_first() -> None:
    piece = only(load(queue("jobs", 6_000), *EVEN), About.LIMIT)
    assert piece.subject == "jobs"
    assert "used up at 1.33 times today's load" in piece.found
    assert piece.do == "split it in two: one queue is one process"
    assert not piece.urgent
    assert only(load(queue("jobs", 9_000), *EVEN), About.LIMIT).urgent


def test_consumers_that_are_too_busy() -> None:
    busy = queue("billing", 180, consumers=4, prefetch=1, service_time=0.02)
    piece = only(load(busy), About.CONSUMERS)
    assert (piece.subject, piece.do, piece.urgent) == ("billing", "1 consumer more", False)
    now, then = mmc(180, 50, 4), mmc(180, 50, 5)
    assert isinstance(now, Steady)
    assert isinstance(then, Steady)
    own = mg1(180, 8_000, 0.0)
    assert isinstance(own, Steady)
    before, after = (1e3 * (one.response_time + own.response_time) for one in (now, then))
    assert piece.found == "its 4 consumers are 90% busy"
    assert piece.brings == f"72% busy; R of {before:.3g} ms becomes R of {after:.3g} ms"


def test_consumers_that_do_not_keep_up_come_first() -> None:
    slow = queue("billing", 540, consumers=4, prefetch=1, service_time=0.02)
    first = told(load(queue("jobs", 6_000), slow))[0]
    assert (first.about, first.urgent) == (About.CONSUMERS, True)
    assert first.found.startswith("grows by 340 messages/s")
    assert "without end becomes R of" in first.brings


def test_a_prefetch_that_starves_consumers() -> None:
    fast = queue("jobs", 3_000, consumers=4, prefetch=1, service_time=0.001)
    piece = only(load(fast), About.PREFETCH)
    assert "waits 50% of its time" in piece.found  # a round trip of 1 ms for 1 ms of work
    assert piece.do == f"a prefetch of {prefetch_for(0.001, 0.001)} (basic.qos)"
    assert "up to 2.0 times as much" in piece.brings
    assert not [p for p in told(load(replace(fast, published=100.0))) if p.about is About.PREFETCH]


@pytest.mark.parametrize("prefetch", [0, 250])
def test_a_prefetch_that_piles_messages_up_behind_one(prefetch: int) -> None:
    slow = queue("jobs", 150, consumers=4, prefetch=prefetch, service_time=0.02)
    piece = only(load(slow), About.PREFETCH)
    assert "wait behind a busy consumer" in piece.found
    assert ("no limit" in piece.found) == (prefetch == 0)
    one = queue("jobs", 150, consumers=1, prefetch=prefetch, service_time=0.002)
    assert not [p for p in told(load(one)) if p.about is About.PREFETCH]


def test_leaders_that_are_piled_up() -> None:
    skewed = load(*[queue(f"q{number}", 2_000, N1) for number in range(6)])
    piece = only(skewed, About.LEADERS)
    assert (piece.subject, piece.command) == ("n1", "warrener leaders balance")
    idle = load(*[queue(f"q{number}", 10, N1) for number in range(6)])
    assert not [p for p in told(idle) if p.about is About.LEADERS]
    single = load(queue("hot", 4_000, N1))  # can't be spread
    assert not [p for p in told(single) if p.about is About.LEADERS]


def test_traffic_that_takes_a_detour() -> None:
    detour = {"entering": ((N2, 1.0),), "leaving": ((N3, 1.0),)}
    around = [queue(f"q{number}", 2_000, node, **detour) for number, node in enumerate(NODES)]
    piece = only(load(*around), About.LOCALITY)
    assert piece.found.startswith("100% of all messages")
    extra = 6_000 * (25 + 15) * US
    assert f"costs {extra:.2f} cores" in piece.found


def test_one_copy_is_not_for_orders() -> None:
    one = load(queue("orders", 10, type=CLASSIC), *EVEN)
    assert only(one, About.TYPE, Profile.ORDERS).subject == "orders"
    assert told(one, Profile.REALTIME) == []


def test_a_node_that_could_not_be_spared() -> None:
    one = load(
        *[queue(f"q{number}", 3_000, NODES[number % 2], type=CLASSIC) for number in range(4)],
        *[queue(f"r{number}", 2_400, NODES[number % 3]) for number in range(9)],
    )
    lost = [piece for piece in told(one) if piece.about is About.LOSS]
    assert lost
    assert all("can't carry today's load" in piece.found for piece in lost)


def test_types_side_by_side() -> None:
    lines = {line.type: line for line in advise(load(*EVEN), calibration()).types}
    assert lines[QueueType.QUORUM].cost == pytest.approx((61 + 40 + 2 * 50) * US)
    assert lines[CLASSIC].cost == pytest.approx(50 * US)
    assert (lines[QueueType.STREAM].cost, lines[QueueType.STREAM].limit) == (None, None)
    assert lines[QueueType.QUORUM].suits is Profile.ORDERS
    alone = load(queue("q", 1), nodes=(NodeLoad(N1, "h1"),), hosts=(HostLoad("h1", 2),))
    (quorum,) = (t for t in advise(alone, calibration()).types if t.type is QueueType.QUORUM)
    assert quorum.cost == pytest.approx(101 * US)  # nobody to copy to


def test_a_balancer_that_is_busy() -> None:
    one = load(*EVEN, through_balancer=30_000)
    piece = next(
        p for p in advise(one, calibration(balancer=Cost(25 * US))).pieces if p.about is About.LIMIT
    )
    assert piece.do.startswith("a second balancer")


def test_a_disk_that_does_not_sync() -> None:
    one = queue("jobs", 150, consumers=4, prefetch=1, service_time=0.02)
    well = load(replace(one, stalls=Stalls(0.00001, 0.0001)))
    assert not [piece for piece in told(well) if piece.about is About.STALLS]
    piece = only(load(replace(one, stalls=Stalls(0.004, 0.02))), About.STALLS)
    assert "confirm nothing, for 400 ms at a time" in piece.found
    assert "disk" in piece.do
    assert piece.brings.startswith("R of ")
    now, then = (float(part.split(" ms")[0]) for part in piece.brings.split("R of ")[1:])
    assert then < now
