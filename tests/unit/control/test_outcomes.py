"""What became of an operation, in sentences."""

from typing import Any

import pytest

from warrener.control import operations as ops
from warrener.control import outcomes
from warrener.control.leaders_operations import LeadersBalanceAnswer
from warrener.control.node_operations import AddNodeAnswer
from warrener.control.spread import LeadersSpread, SpreadBy
from warrener.facts.ids import NodeName
from warrener.facts.settings import PolicyName

N1 = NodeName("n1@localhost")


def told(answer: Any) -> tuple[str, bool]:
    found = outcomes.told(answer, again="Balance leaders", spread="leaders stay")
    return found.text, found.failed


def leaders(**changes: Any) -> LeadersBalanceAnswer:
    values: dict[str, Any] = {
        "moved": 2, "skipped": 0, "failed": 0, "planned": 2, "nodes": [], "skew_before": 1.5,
        "skew_expected": 1.1, "skew_after": 1.2, "stopped": "", "seconds": 3.0,
    }  # fmt: skip
    return LeadersBalanceAnswer(**(values | changes))


def test_each_act_in_a_sentence() -> None:
    assert told(
        ops.DrainAnswer(node=N1, moved=3, forced=1, left=2, seconds=0.5, note="no mode")
    ) == (
        "n1 is drained: 3 sessions moved in 0.5 s; 1 of them get unsettled deliveries again; "
        "2 sessions couldn't be moved; they stay. no mode",
        False,
    )
    assert told(ops.ReviveAnswer(node=N1, seconds=2.0)) == (
        "n1 is fit again after 2.0 s. leaders stay",
        False,
    )
    assert told(ops.SetPolicyAnswer(policy=PolicyName.P2C, before=PolicyName.RANDOM)) == (
        "The policy is p2c (before: random)",
        False,
    )
    assert told(ops.SetWeightAnswer(node=N1, weight=0, before=100)) == (
        "n1 has weight 0 (before: 100)",
        False,
    )
    assert told(leaders())[0] == (
        "2 of 2 leaders moved in 3.0 s. The busiest node carried 1.50 times the mean, expected "
        "1.10, measured now 1.20"
    )


def test_what_ended_early_has_failed() -> None:
    text, failed = told(leaders(stopped="n2 isn't fit any more", moved=1, failed=1, skipped=1))
    assert failed
    assert text.startswith("stopped early: n2 isn't fit any more. 1 of 2 leaders moved")
    assert "1 skipped: they were led by another node by then; 1 didn't move" in text


def test_what_next_is_said_in_the_words_of_who_shows_it() -> None:
    left = LeadersSpread(why="an alarm")
    assert outcomes.spread_told(left, "`x`") == (
        "The leaders of queues were left where they are: an alarm. `x` spreads them"
    )
    by_number = LeadersSpread(by=SpreadBy.NUMBER)
    assert "by number" in outcomes.spread_told(by_number, "`x`")


def test_an_answer_that_is_no_acts_is_our_bug() -> None:
    with pytest.raises(AssertionError, match="AddNodeAnswer"):
        told(AddNodeAnswer(node=N1, pid=None, nodes=1))


def test_names_are_bounded() -> None:
    assert outcomes.some(list("abcde")) == "a, b, c, d, e"
    assert outcomes.some(list("abcdefg")) == "a, b, c, d and 3 more"
    assert (outcomes.number(1, "queue"), outcomes.number(2000, "queue")) == (
        "1 queue",
        "2,000 queues",
    )
