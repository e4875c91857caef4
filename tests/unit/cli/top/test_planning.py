"""The outlook on the screen: asked for seldom, by the calibration or else the history, in words."""

import math

import pytest
from tests.unit.cli.top.scene import Daemon, Figures
from tests.unit.planner.scene import N2, calibration, load, queue

from warrener.cli.top import columns, planning
from warrener.cli.top.planning import Plans, plan_of
from warrener.cli.top.readings import Pane, Source
from warrener.control import wire
from warrener.control.state_folder import StateFolder
from warrener.planner.calibration_file import write_calibration
from warrener.planner.load_wire import to_wire
from warrener.planner.outlook import outlook

LOAD = load(
    queue("jobs", 4_000),
    queue("billing", 90, N2, vhost="shop", consumers=4, service_time=0.02),
    warnings=("only 40 s of history",),
)
ONLY = frozenset({Pane.PLAN})


def figures() -> Figures:
    return Figures(answers={"plan-load": to_wire(LOAD)})


@pytest.fixture
def calibrated(folder: StateFolder) -> StateFolder:
    write_calibration(folder.path, calibration(warnings=("the machine was busy",)))
    return folder


def test_what_plan_show_says_is_in_it(calibrated: StateFolder) -> None:
    with Daemon(calibrated, figures()) as daemon:
        source = Source(calibrated, now=lambda: 1_764_200_000.0)
        reading = source.read(ONLY)
        source.close()
    assert [name for name, _ in daemon.asked] == ["status", "plan-load"]
    assert daemon.asked[1][1].window == 300.0
    plan = reading.plan
    assert plan is not None
    assert (plan.published, plan.carries, plan.breaks_at) == (4_090, 8_180, 2.0)
    parts = {part.key: part for part in plan.parts}
    assert parts["queue jobs"].breaks_at == 2.0
    assert parts["queue jobs"].remedy == "split it in two: one queue is one process"
    assert {"node n1", "node n2", "node n3", "consumers shop/billing"} <= set(parts)
    assert 0 < parts["node n1"].rho < 1
    assert [loss.node for loss in plan.without] == ["n1", "n2", "n3"]
    assert plan.warnings == ("only 40 s of history", "the machine was busy")


def test_it_is_reckoned_seldom_and_asked_again_soon_where_nothing_was_known(
    calibrated: StateFolder,
) -> None:
    clock = [100.0]
    told = figures()
    with Daemon(calibrated, told) as daemon:
        source = Source(calibrated, monotonic=lambda: clock[0])
        for clock[0] in (100.0, 102.0, 129.0, 131.0):
            assert source.read(ONLY).plan is not None
        assert [name for name, _ in daemon.asked].count("plan-load") == 2
        told.answers["plan-load"] = wire.Refused(wire.Refusal.NOT_YET, "no history yet")
        for clock[0] in (162.0, 164.0, 168.0):
            reading = source.read(ONLY)
            assert (reading.plan, reading.note(Pane.PLAN)) == (None, "no history yet")
        assert [name for name, _ in daemon.asked].count("plan-load") == 4
        source.close()


def test_nobody_asks_for_it_while_another_pane_is_looked_at(calibrated: StateFolder) -> None:
    with Daemon(calibrated, figures()) as daemon:
        source = Source(calibrated)
        assert source.read(frozenset({Pane.NODES})).plan is None
        source.close()
    assert "plan-load" not in [name for name, _ in daemon.asked]


def test_without_a_calibration_it_says_what_to_do(folder: StateFolder) -> None:
    with Daemon(folder, figures()) as daemon:
        source = Source(folder)
        reading = source.read(ONLY)
        source.close()
    assert reading.plan is None
    assert "`warrener plan calibrate" in reading.note(Pane.PLAN)
    assert "plan-load" not in [name for name, _ in daemon.asked]


def test_a_calibration_that_is_broken_is_told(calibrated: StateFolder) -> None:
    for file in calibrated.path.glob("*calibration*"):
        file.write_text("{")
    with Daemon(calibrated, figures()):
        source = Source(calibrated)
        reading = source.read(ONLY)
        source.close()
    assert "calibration" in reading.note(Pane.PLAN)


def test_costs_by_the_history_are_kept_for_a_while(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def ask(operation, request, /):
        asked.append(operation.name)
        return to_wire(LOAD) if operation.name == "plan-load" else object()

    monkeypatch.setattr("warrener.cli.plan_costs.by_history", lambda answer, command: calibration())
    clock = [0.0]
    plans = Plans(folder, ask, monotonic=lambda: clock[0], now=lambda: 0.0)
    for clock[0] in (0.0, 31.0, 62.0, planning.COSTS_EVERY + 1):
        assert plans.read()[0] is not None
    assert asked == ["plan-work", *["plan-load"] * 3, "plan-work", "plan-load"]


def lines(*queues, **changes) -> list[str]:
    found = outlook(load(*queues), calibration(**changes))
    return columns.plan_lines(plan_of(found, calibration(**changes), ("one", "two"), 0.0))


def test_the_first_lines_are_what_matters() -> None:
    told = lines(queue("jobs", 4_000), queue("billing", 90, N2, consumers=4, service_time=0.02))
    assert told[0] == "Carries 8180/s, 2.00 times the 4090/s of the last 5 min"
    assert told[1] == "First to break: queue jobs, whose own limit is 8,000 messages/s"
    assert told[2] == "What helps: split it in two: one queue is one process"
    assert told[3].startswith("Busy (rho): n1 ")
    assert told[4].startswith("Left of it without n1 ")
    assert told[5].startswith("costs measured 19")
    assert told[6] == "Note (and 1 more): one"
    assert len(told) == 7  # of the 18 lines that a screen of 24 has


def test_no_load_is_told() -> None:
    told = lines(queue("idle", 0.0))
    assert told[0].startswith("Nothing goes through, or nothing is known of what it costs")


def test_queues_that_stop_with_a_node_are_told() -> None:
    from warrener.planner.costs import QueueType

    told = lines(queue("a", 500, type=QueueType.CLASSIC), queue("b", 500, N2))
    assert "n1" in told[4]
    assert "(1 queue stops)" in told[4]


def test_a_part_that_is_used_up_is_red_and_one_that_is_nearly_so_yellow() -> None:
    found = outlook(load(queue("full", 9_000), queue("busy", 7_000, N2)), calibration())
    view = columns.plan_view()
    view.put(plan_of(found, calibration(), (), 0.0).parts)
    tones = {line.text.split()[1]: line.tone.value for line in view.lines(100, 40)[1:]}
    assert (tones["full"], tones["busy"], tones["n3"]) == ("bad", "odd", "plain")
    first = view.chosen
    assert first is not None
    assert first.name == "full"
    assert columns.part_detail(first).startswith("queue full: 9000/s of 8000/s used")


def test_no_bound_is_written() -> None:
    assert columns.busy(math.inf) == ">999%"
