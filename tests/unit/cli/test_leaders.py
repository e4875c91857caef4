"""`warrener leaders` against a scripted daemon."""

import json
from typing import Any

import msgspec
import pytest

from warrener.cli import leaders
from warrener.control import leaders_operations as lo
from warrener.control import operations as ops
from warrener.control import wire
from warrener.control.spread import LeadersSpread, SpreadBy
from warrener.control.state_folder import StateFolder
from warrener.facts.ids import NodeName
from warrener.facts.leaders import LeaderReason, Short
from warrener.testing.scripted_daemon import answer, refusal, scripted_daemon

N1, N2 = NodeName("n1@localhost"), NodeName("n2@localhost")

SHOWN = lo.LeadersShowAnswer(
    nodes=[
        lo.LeaderNodeLine(
            node=N1, why_not="", weight=100, leaders={"classic": 1, "quorum": 12}, published=1234.5,
            delivered=7.25, load=3000.0, share=0.75, wanted=2000.0, skew=1.5,
        ),
        lo.LeaderNodeLine(
            node=N2, why_not="drained", weight=100, leaders={}, published=0, delivered=0,
            load=1000.0, share=0.25, wanted=0.0, skew=0.5,
        ),
    ],
    queues=[
        lo.LeaderQueueLine(
            vhost="/", name="jobs", type="quorum", leader=N1, members=(N1, N2), online=(N1,),
            published=500, delivered=500, acked=500, load=1500, fixed=None,
        )
    ],
    queues_total=13, queues_active=4, mean=2000, skew=1.5, moves=3, skew_after=1.02,
    short=Short.HOT_QUEUE, short_node=N1, short_queue="jobs", seconds=2.01, missing=(N2,),
)  # fmt: skip

MOVE = lo.LeaderMoveLine(
    vhost="/", name="jobs", source=N1, target=N2, load=1500, shift=900, reason=LeaderReason.BUSY
)
NODES = [
    lo.LeaderShareLine(
        node=N1, before=3000, wanted=2000, expected=2100, leaders_before=13, leaders_expected=12
    ),
    lo.LeaderShareLine(
        node=N2, before=1000, wanted=2000, expected=1900, leaders_before=0, leaders_expected=1
    ),
]
PLAN = lo.LeadersPlanAnswer(
    plan=7, moves=[MOVE], nodes=NODES, skew_before=1.5, skew_expected=1.05, short=None,
    short_node=None, short_queue="", obstacles=[], seconds=10.0,
)  # fmt: skip
DONE = lo.LeadersBalanceAnswer(
    moved=1, skipped=0, failed=0, planned=1,
    nodes=[
        msgspec.structs.replace(node, after=2000.0, leaders_after=node.leaders_expected)
        for node in NODES
    ],
    skew_before=1.5, skew_expected=1.05, skew_after=1.01, stopped="", seconds=13.2,
)  # fmt: skip


def sent(requests: list[bytes]) -> list[Any]:
    return [(one["op"], one["args"]) for one in map(json.loads, requests)]


def test_show(run, folder: StateFolder) -> None:
    with scripted_daemon(folder, answer(SHOWN)) as requests:
        result = run("leaders", "show", "--sample", "3", "--limit", "1")
    assert result.code == 0
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert "n1@localhost 1 12 1,234 7.2 3,000 75% 1.50" in lines
    assert "n2@localhost 0 0 0 0 1,000 25% 0.50 drained" in lines
    assert "jobs quorum n1 n1, (n2) 500 500 1,500" in lines
    assert "`warrener leaders balance` would move 3 leaders; then it would be 1.02." in result.out
    assert "n2 didn't tell:" in result.out
    assert "the queue jobs alone is more than a node's share" in result.out
    assert "and 3 more with less load" in result.out
    assert sent(requests) == [("leaders-show", {"sample": 3.0, "limit": 1})]


def test_show_of_nothing(run, folder: StateFolder) -> None:
    idle = msgspec.structs.replace(
        SHOWN, queues=[], queues_active=0, moves=0, short=None, missing=()
    )
    with scripted_daemon(folder, answer(idle)):
        out = run("leaders", "show").out
    assert "would move nothing" in out
    assert "Queues 13, 0 of them active" in out


def test_json(run, folder: StateFolder) -> None:
    with scripted_daemon(folder, answer(SHOWN), answer(PLAN), answer(PLAN), answer(DONE)):
        assert json.loads(run("leaders", "show", "--json").out)["nodes"][0]["share"] == 0.75
        assert json.loads(run("leaders", "balance", "--dry-run", "--json").out)["plan"] == 7
        assert json.loads(run("leaders", "balance", "--yes", "--json").out)["moved"] == 1


def test_a_dry_run(run, folder: StateFolder) -> None:
    plan = msgspec.structs.replace(PLAN, obstacles=["n3 has a memory alarm"])
    with scripted_daemon(folder, answer(plan)) as requests:
        result = run("leaders", "balance", "--dry-run", "--max-moves", "5", "--sample", "4")
    assert result.code == 0
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert "jobs n1 n2 1,500 900 busy" in lines
    assert "n1@localhost 3,000 2,000 2,100 13 12" in lines
    assert "1 move: the busiest node carries 1.50 times the mean, then 1.05." in result.out
    assert "Nothing was moved." in result.out
    assert "Not now: n3 has a memory alarm" in result.out
    assert sent(requests) == [("leaders-plan", {"sample": 4.0, "max_moves": 5, "dry_run": True})]


def test_what_was_shown_is_carried_out(run, folder: StateFolder) -> None:
    steps = [ops.ProgressLine("leaders", "move", count=1, total=1)]
    with scripted_daemon(folder, answer(PLAN), answer(DONE, *steps)) as requests:
        result = run("leaders", "balance", "--yes")
    assert result.code == 0
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert "n1@localhost 3,000 2,000 2,100 13 12 2,000 12" in lines
    assert "1 of 1 leaders moved in 13.2 s." in result.out
    assert "expected 1.05, measured now 1.01." in result.out
    assert "leaders: move (1 of 1)" in result.err
    assert sent(requests)[1] == ("leaders-balance", {"plan": 7})


def test_nothing_to_move_asks_nobody(run, folder: StateFolder) -> None:
    even = msgspec.structs.replace(PLAN, moves=[], skew_before=1.04)
    with scripted_daemon(folder, answer(even)) as requests:
        result = run("leaders", "balance", "--yes")
    assert (result.code, len(requests)) == (0, 1)
    assert "Nothing to move: the busiest node carries 1.04 times the mean." in result.out


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_where_nobody_can_be_asked_it_wants_yes(
    run, folder: StateFolder, options: list[str]
) -> None:
    result = run("leaders", "balance", *options)
    assert (result.code, result.out) == (2, "")
    assert "give --yes, or --dry-run" in result.err


@pytest.mark.parametrize(("typed", "goes"), [("y\n", 2), ("yes\n", 2), ("\n", 1), ("", 1)])
def test_on_a_terminal_it_asks(
    run, folder: StateFolder, monkeypatch: pytest.MonkeyPatch, typed: str, goes: int
) -> None:
    import io

    monkeypatch.setattr(leaders, "_somebody_there", lambda: True)
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    with scripted_daemon(folder, answer(PLAN), answer(DONE)) as requests:
        result = run("leaders", "balance")
        assert len(requests) == goes
    assert result.code == 0
    assert "Move 1 leader? [y/N]" in result.err
    assert ("Nothing was moved." in result.out) == (goes == 1)


def test_obstacles_end_it_before_it_asks(run, folder: StateFolder) -> None:
    plan = msgspec.structs.replace(PLAN, obstacles=["n3 didn't tell what its clients do"])
    with scripted_daemon(folder, answer(plan)):
        result = run("leaders", "balance", "--yes")
    assert (result.code, result.err) == (
        1,
        "warrener: not now: n3 didn't tell what its clients do\n",
    )


def test_an_early_stop_is_exit_code_1(run, folder: StateFolder) -> None:
    early = msgspec.structs.replace(
        DONE, moved=0, failed=1, skipped=2, skew_after=None, stopped="n2 isn't fit any more"
    )
    with scripted_daemon(folder, answer(PLAN), answer(early)):
        result = run("leaders", "balance", "--yes")
    assert result.code == 1
    assert result.err.endswith("warrener: stopped early: n2 isn't fit any more\n")
    assert "2 skipped" in result.out
    assert "1 didn't move" in result.out


def test_a_busy_cluster_is_told(run, folder: StateFolder) -> None:
    busy = refusal(wire.Refusal.BUSY, "n2@localhost is being drained")
    with scripted_daemon(folder, busy):
        result = run("leaders", "balance", "--yes")
    assert (result.code, result.err) == (1, "warrener: n2@localhost is being drained\n")


@pytest.mark.parametrize(
    ("spread", "words"),
    [
        (None, "`warrener leaders balance` spreads the leaders of queues by load again"),
        (LeadersSpread(), "The leaders of queues are spread evenly"),
        (
            LeadersSpread(by=SpreadBy.NUMBER),
            "The leaders of queues are spread evenly (by number, as next to nothing went through "
            "their queues)",
        ),
        (
            LeadersSpread(planned=12, moved=12, skew_before=1.5, skew_expected=1.04),
            "12 of 12 leaders of queues moved to spread them: the busiest node had 1.50 times the "
            "mean, 1.04 by plan now",
        ),
        (
            LeadersSpread(planned=9, moved=9, skew_before=2, skew_expected=1.5, more=True),
            "9 of 9 leaders of queues moved to spread them: the busiest node had 2.00 times the "
            "mean, 1.50 by plan now. There are more to move: `warrener leaders balance`",
        ),
        (
            LeadersSpread(planned=9, moved=3, skew_before=2, skew_expected=1, why="called off"),
            "3 of 9 leaders of queues moved to spread them: the busiest node had 2.00 times the "
            "mean. It ended early: called off. `warrener leaders balance` goes on",
        ),
        (
            LeadersSpread(why="n2 has a memory alarm"),
            "The leaders of queues were left where they are: n2 has a memory alarm. `warrener "
            "leaders balance` spreads them",
        ),
    ],
)
def test_what_became_of_leaders_after_a_change(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch, spread: Any, words: str
) -> None:
    monkeypatch.setenv("WARRENER_STATE", str(folder.path))
    assert leaders.spread_told(folder, spread) == words
