"""A window of the history: means, what is lacking in words, and the load of the planner."""

import msgspec
import pytest

from warrener.control.history_operations import PlanLoadAnswer
from warrener.facts.ids import NodeName
from warrener.models.interruptions import Stalls
from warrener.planner import history
from warrener.planner.consumers import ServiceFrom
from warrener.planner.costs import QueueType
from warrener.planner.history import BodyFrom, Figure, NoHistory, load, look
from warrener.planner.load_wire import from_wire, to_wire
from warrener.planner.samples import (
    BalancerSample,
    HostSample,
    NodeSample,
    QueueSample,
    RestSample,
    Sample,
)

N1, N2 = NodeName("n1@localhost"), NodeName("n2@localhost")
NOW = 10_000.0


def queue(published: float, **more: object) -> QueueSample:
    fields = {
        "members": (N1, N2), "published": published, "delivered": published, "acked": published,
        "held": 2.0, "held_bytes": 800.0, **more,
    }  # fmt: skip
    return QueueSample("/", "jobs", str(fields.pop("type", "quorum")), N1, **fields)  # type: ignore[arg-type]  # by name


def series(*rates: float, seconds: float = 10.0, **more: object) -> list[Sample]:
    """One sample after the other, the last one now."""
    fields = {
        "nodes": (NodeSample(N1, "h", True, 0.5, 1000.0, 4000.0, 3, 1.5),),
        "hosts": (HostSample("h", 2, 0.25, 0.1),),
        "balancer": BalancerSample("h", 30_000, 30_000, 150, 150, 0.2, "h"),
        **more,
    }
    queues = fields.pop("queues", None)
    return [
        Sample(
            NOW - seconds * (len(rates) - 1 - number),
            seconds,
            queues=queues if queues is not None else (queue(rate),),  # type: ignore[arg-type]  # as given
            **fields,  # type: ignore[arg-type]  # by name
        )
        for number, rate in enumerate(rates)
    ]


def warned(samples: list[Sample], window: float = 60.0) -> str:
    return "\n".join(look(samples, window=window, now=NOW).warnings)


def test_means_and_their_spread() -> None:
    found = look(series(*[100, 200] * 3), window=60, now=NOW)
    (one,) = found.queues
    assert one.published == Figure(pytest.approx(150), 100, 200)
    assert found.samples == 6
    assert found.seconds == 60
    assert found.warnings == ()
    (node,) = found.nodes
    assert node.cpu == Figure(pytest.approx(0.5), 0.5, 0.5)
    assert node.published == pytest.approx(150)
    assert one.points == (100, 200, 100, 200, 100, 200)


def test_samples_outside_of_the_window_are_left_out() -> None:
    found = look(series(1000, *[10] * 6), window=60, now=NOW)
    assert found.samples == 6
    assert found.queues[0].published.mean == pytest.approx(10)


def test_a_queue_that_was_not_kept_for_a_while_had_nothing_then() -> None:
    samples = series(*[100] * 3) + [
        Sample(NOW + at, 10, series(0)[0].nodes, queues=()) for at in (10, 20, 30)
    ]
    (one,) = look(samples, window=60, now=NOW + 30).queues
    assert one.published == Figure(pytest.approx(50), 0, 100)


def test_nothing_at_all_is_said_with_what_to_do() -> None:
    with pytest.raises(NoHistory, match=r"no history of the last 10 min: the first sample"):
        look([], window=600, now=NOW)


def test_too_little_history_is_told() -> None:
    assert warned(series(*[5] * 4), 600).startswith("only 40 s of history in the last 10 min")
    assert "only 30 s of history: means of so little" in warned(series(5, 5, 5), 30)
    assert "of history" not in warned(series(*[5] * 6))


def test_old_history_is_told() -> None:
    found = look(series(*[5] * 6), window=600, now=NOW + 300)
    assert "the newest sample is 5 min old" in found.warnings


def test_bodies_are_those_that_lay_in_the_queue() -> None:
    (one,) = look(series(*[5] * 6), window=60, now=NOW).queues
    assert (one.body, one.body_from) == (pytest.approx(400), BodyFrom.HELD)


def test_else_they_are_the_mean_of_what_passed_the_balancer_and_that_is_said() -> None:
    samples = series(*[5] * 6, queues=(queue(5, held=0.0, held_bytes=0.0),))
    (one,) = look(samples, window=60, now=NOW).queues
    assert (one.body, one.body_from) == (pytest.approx(200 - history.AROUND), BodyFrom.BALANCER)
    assert "bodies of jobs are taken as 130 bytes, the mean" in warned(samples)
    samples = series(*[5] * 6, queues=(queue(5, held=0.0, held_bytes=0.0),), balancer=None)
    (one,) = look(samples, window=60, now=NOW).queues
    assert (one.body, one.body_from) == (0, BodyFrom.UNKNOWN)
    assert "the size of bodies isn't known for jobs" in warned(samples)


def test_what_no_queue_counted_is_told() -> None:
    assert "queues counted 100 msg/s in, the balancer 150" in warned(series(*[100] * 6))
    assert "queues counted" not in warned(series(*[140] * 6))


def test_what_nobody_tells_is_told() -> None:
    samples = series(
        *[150] * 6,
        nodes=(NodeSample(N1, "h"),),
        hosts=(HostSample("h", 2), HostSample("i", 2, 0.5)),
        missing=(N2,),
        rest=RestSample(7, 9, 8, 8),
    )
    told = warned(samples)
    assert "nobody tells how much CPU n1 used" in told
    assert "nobody tells what else uses CPU on h" in told
    assert "clients on i can't be told" in told
    assert "n2 didn't tell" in told
    assert "7 queues with 9 msg/s in and 8 out" in told


def test_the_load_of_the_planner() -> None:
    samples = series(
        *[100] * 6,
        queues=(
            queue(
                100, consumers=2.0, prefetch=1, unacked=1.5, backlog=0.0, ready=4.0,
                entering={N2: 25.0}, leaving={N1: 10.0, N2: 50.0},
            ),
            QueueSample("/", "odd", "mqtt", N1, published=3.0),
        ),
    )  # fmt: skip
    found = look(samples, window=60, now=NOW)
    load = history.load(found)
    (one,) = load.queues
    assert one.type is QueueType.QUORUM
    assert (one.leader, one.members, one.consumers, one.prefetch) == (N1, (N1, N2), 2, 1)
    assert one.entering == ((N2, pytest.approx(0.25)),)
    assert one.leaving == ((N2, pytest.approx(0.5)),)  # its leader by now is no detour
    assert one.service_time == pytest.approx(0.015)
    assert found.queues[0].service.why is ServiceFrom.LITTLE
    assert (load.balancer_host, load.clients_on) == ("h", "h")
    assert load.through_balancer == pytest.approx(300)
    assert load.hosts[0].others == pytest.approx(0.25)
    assert load.nodes[0].cpu == pytest.approx(0.5)
    assert load.nodes[0].cores == 1.5
    assert (load.nodes[0].mem_used, load.nodes[0].mem_limit) == (1000, 4000)
    assert "queues of the type mqtt are left out" in load.warnings
    assert from_wire(to_wire(load)) == load


def test_what_warrener_measured_with_is_nobodys_load() -> None:
    own = QueueSample("warrener-calibration-1f", "q", "classic", N1, published=9_000.0)
    samples = series(*[100] * 6, queues=(queue(100), own))
    found = look(samples, window=60, now=NOW)
    assert len(found.queues) == 2  # `warrener history` shows it
    assert [one.full_name for one in history.load(found).queues] == ["jobs"]


def test_a_data_plane_that_counts_bytes_only_is_taken_to_carry_everything() -> None:
    haproxy = BalancerSample("h", 1000, 1000, None, None, None)
    load = history.load(look(series(*[100] * 6, balancer=haproxy), window=60, now=NOW))
    assert load.through_balancer == pytest.approx(200)
    idle = BalancerSample("h", 0, 0, None, None, None)
    load = history.load(look(series(*[100] * 6, balancer=idle), window=60, now=NOW))
    assert load.through_balancer == 0


def test_many_samples_become_few_points() -> None:
    found = look(series(*range(300), seconds=2.0), window=600, now=NOW)
    points = found.queues[0].points
    assert len(points) == history.POINTS
    assert points == tuple(sorted(points))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(40, "40 s"), (60, "1 min"), (90, "90 s"), (600, "10 min"), (7200, "2 h"), (604_800, "7 d")],
)
def test_spans_in_words(seconds: float, words: str) -> None:
    assert history.span(seconds) == words


@pytest.mark.parametrize(
    ("confirmed", "expected"),
    [(100.0, Stalls(0.005, 0.02)), (20.0, None), (0.0, None)],
)
def test_stalls_where_most_of_the_confirms_were_seen(
    confirmed: float, expected: Stalls | None
) -> None:
    seen = queue(
        100.0, confirmed=confirmed, stalled=confirmed / 50, stalled_seconds=confirmed * 0.005
    )
    (told,) = load(look(series(100, 100, queues=(seen,)), window=60, now=NOW)).queues
    assert told.stalls == expected
    answer = msgspec.json.decode(
        msgspec.json.encode(to_wire(load(look(series(100, queues=(seen,)), window=60, now=NOW)))),
        type=PlanLoadAnswer,
    )
    assert from_wire(answer).queues[0].stalls == expected
