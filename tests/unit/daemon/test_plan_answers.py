"""What the planner says, as the page shows it: the same figures as the outlook's."""

import math
from dataclasses import replace

import msgspec
import pytest
from tests.unit.planner.scene import N1, N2, NODES, calibration, load, queue

from warrener.daemon.plan_answers import MOST_NAMES, MOST_QUEUES, Reckoning
from warrener.dashboard.plan import Answer, Plan, Question
from warrener.models.interruptions import Stalls
from warrener.models.terms import WrongInput
from warrener.planner import question as questions
from warrener.planner.costs import QueueType
from warrener.planner.load import Load
from warrener.planner.outlook import outlook


def shop() -> Load:
    return load(
        queue("jobs", 100, N1, consumers=4, prefetch=1, service_time=0.02, ready=1.0, unacked=2.0),
        queue("mails", 40, N2, consumers=1, prefetch=1, service_time=0.02),
        queue("logs", 30, N2, type=QueueType.CLASSIC),
        queue("idle", 0, N1),
        through_balancer=340.0,
    )


def reckoning(now: Load | None = None, *, calibrated: bool = True) -> Reckoning:
    return Reckoning(now or shop(), calibration() if calibrated else None, 7)


def plan(one: Reckoning) -> Plan:
    return one.plan(at=5.0, window=300.0)


def test_as_it_is_are_the_figures_of_the_outlook() -> None:
    whole = outlook(shop(), calibration())
    told = reckoning().answer(Question(losses=True))
    assert (told.number, told.asked, told.after) == (7, "", None)
    before = told.before
    assert before.breaks_at == whole.reckoned.breaks_at
    assert before.capacity == whole.capacity
    assert whole.flow is not None
    assert before.max_flow == whole.flow.value
    assert before.losses is not None
    assert [loss.breaks_at for loss in before.losses] == [one.breaks_at for one in whole.losses]
    jobs = next(one for one in told.queues if one.name == "jobs")
    (outlook_of_it,) = (one for one in whole.queues if one.load.name == "jobs")
    assert jobs.before is not None
    assert jobs.before.time == outlook_of_it.response_time
    assert jobs.before.length == outlook_of_it.length
    assert (jobs.time_measured, jobs.length_measured) == (0.03, 3.0)
    assert (told.queues_total, told.queues_active) == (4, 3)
    first = before.nodes[0]
    assert (first.name, first.queues, first.arrivals) == ("n1", 2, 100)
    part = whole.reckoned.node(N1)
    assert part is not None
    assert first.rho == part.utilisation
    assert first.service == pytest.approx(100 * part.breaks_at)
    assert first.time_measured == pytest.approx(0.03)


def test_what_lies_in_streams_counts_for_no_node() -> None:
    log = queue("log", 50, N1, type=QueueType.STREAM, consumers=2, ready=9_000.0)
    told = reckoning(replace(shop(), queues=(*shop().queues, log))).answer(Question())
    first = told.before.nodes[0]
    assert (first.queues, first.arrivals, first.length_measured) == (3, 150, 3.0)
    assert first.time_measured == pytest.approx(0.03)
    line = next(one for one in told.queues if one.name == "log")
    assert (line.time_measured, line.length_measured) == (None, None)


def test_brokers_that_stall_are_told_the_worst_first() -> None:
    jobs, others = shop().queues[0], shop().queues[1:]
    bad, worse = Stalls(0.004, 0.02), Stalls(0.02, 0.05)
    there = replace(
        shop(), queues=(replace(jobs, stalls=bad), replace(jobs, name="b", stalls=worse), *others)
    )
    told = reckoning(there).answer(Question()).before.stalling
    assert [one.split(":")[0] for one in told] == ["b", "jobs"]
    assert "confirm nothing" in told[0]
    assert not reckoning().answer(Question()).before.stalling


def test_what_if_stands_beside_it() -> None:
    asked = Question(load=2.0, nodes=1, kill=("n2",), queue="jobs", consumers=9)
    told = reckoning().answer(asked)
    what = questions.WhatIf(load=2.0, nodes=1, kill=("n2",), consumers=(("jobs", "9"),))
    then = outlook(questions.asked(shop(), what, same_host=False), calibration())
    assert told.asked == "load x2, 1 node more, without n2, 9 consumers of jobs"
    assert told.after is not None
    assert told.after.breaks_at == then.reckoned.breaks_at
    assert told.after.losses is None
    assert told.before.losses is None
    assert told.after.nodes_running == 3
    jobs = told.queues[0]  # the one that was chosen comes first
    assert jobs.name == "jobs"
    assert jobs.before is not None
    assert jobs.after is not None
    assert (jobs.before.consumers, jobs.after.consumers) == (4, 9)
    assert told.after.nodes[0].rho_measured is None  # nobody can have measured it


def test_more_than_goes_is_an_answer() -> None:
    told = reckoning().answer(Question(load=3.0))
    assert told.after is not None
    assert told.after.growing_total == 2
    assert "grows by" in told.after.growing[0]
    assert "memory alarm in" in told.after.growing[0]
    pair = next(one for one in told.queues if one.name == "mails")
    assert pair.after is not None
    assert (pair.after.time, pair.after.length) == (None, None)
    assert pair.after.grows > 0
    assert math.isfinite(pair.after.memory_alarm_in or math.nan)
    assert b"Infinity" not in msgspec.json.encode(told)


def test_queues_that_stop_are_named() -> None:
    told = reckoning().answer(Question(kill=("n2",)))
    assert (list(told.stopped), told.stopped_total) == (["logs"], 1)
    assert next(one for one in told.queues if one.name == "logs").after is None


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        (Question(kill=("n9",)), "no node n9"),
        (Question(queue="none", consumers=2), "no queue none"),
        (Question(nodes=-3), "one has to stay"),
    ],
)
def test_what_there_is_not_is_named(asked: Question, what: str) -> None:
    with pytest.raises(WrongInput, match=what):
        reckoning().answer(asked)


def test_nobody_is_left() -> None:
    told = reckoning().answer(Question(kill=("n1", "n2", "n3"), losses=True))
    assert told.after is not None
    assert (told.after.nodes_running, told.stopped_total) == (0, 4)
    assert told.after.losses == []


def test_without_calibration_there_is_what_was_measured() -> None:
    one = reckoning(calibrated=False)
    told = one.answer(Question())
    assert not told.calibrated
    assert told.before.nodes[0].rho is None
    assert told.before.nodes[0].time_measured == pytest.approx(0.03)
    assert told.before.busiest == {}
    assert {part.kind for part in told.before.parts} == {"consumers"}
    assert not any("isn't known" in text for text in told.warnings)
    made = plan(one)
    assert (made.calibrated, made.taken_at, dict(made.node_rho)) == (False, None, {})


def test_without_load_nothing_is_divided_by_nothing() -> None:
    for now in (load(), load(queue("a", 0))):
        told = reckoning(now).answer(Question(load=2.0, losses=True))
        assert told.before.capacity is None
        assert told.before.first == ""
        made = plan(reckoning(now))
        assert (made.breaks_at, list(made.marks)) == (None, [])
        msgspec.json.encode((told, made))


def test_the_map_gets_the_cut_and_what_breaks_first() -> None:
    made = plan(reckoning())
    assert made.first.startswith("the consumers of mails")
    (first,) = (mark for mark in made.marks if mark.first)
    assert (first.kind, first.leader, first.type, list(first.names)) == (
        "consumers",
        "n2",
        "quorum",
        ["mails"],
    )
    whole = outlook(shop(), calibration())
    assert whole.flow is not None
    assert made.cut_total == len(whole.flow.cut)
    assert made.max_flow == whole.flow.value
    assert set(made.node_rho) == {"n1", "n2", "n3"}


def test_a_cut_through_many_queues_is_told_by_group() -> None:
    slow = [
        queue(f"q{number}", 10, NODES[number % 3], consumers=1, prefetch=1, service_time=0.09)
        for number in range(30)
    ]
    made = plan(reckoning(load(*slow)))
    assert made.cut_total == 30
    assert len(made.cut) == MOST_NAMES
    assert [(mark.kind, mark.leader, mark.queues) for mark in made.marks] == [
        ("consumers", f"n{number}", 10) for number in (1, 2, 3)
    ]
    assert all(mark.cut and len(mark.names) == MOST_NAMES for mark in made.marks)


def test_a_host_marks_all_its_nodes() -> None:
    made = plan(reckoning(load(queue("a", 1000, N1))))
    hosts = [mark for mark in made.marks if mark.kind == "host"]
    assert all(list(mark.nodes) == ["n" + mark.names[0][1:]] for mark in hosts)
    assert any(mark.kind in ("host", "node", "queue") for mark in made.marks)


def test_answers_are_bounded() -> None:
    many = load(
        *(queue(f"q{number:04}", 1, NODES[number % 3], consumers=1) for number in range(2000))
    )
    one = reckoning(many)
    told = one.answer(Question(load=2.0))
    assert len(told.queues) == MOST_QUEUES
    assert len(msgspec.json.encode(told)) < 64 * 1024
    again = msgspec.json.decode(msgspec.json.encode(told), type=Answer)
    assert again.queues_total == 2000
    assert len(plan(one).queues) == 2000
