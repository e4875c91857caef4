"""`warrener balance auto-weights` and what `balance show` and `status` say of it."""

import json

import msgspec
from tests.unit.cli.test_inspect import status

from warrener.control.balance_operations import AutoWeightsAnswer
from warrener.control.state_folder import StateFolder
from warrener.facts.ids import NodeName
from warrener.testing.scripted_daemon import answer, scripted_daemon

ON = AutoWeightsAnswer(on=True, before=False, weights={NodeName("n1@localhost"): 100})


def test_auto_weights(run, folder: StateFolder) -> None:
    with scripted_daemon(folder, answer(ON), answer(ON)) as requests:
        result = run("balance", "auto-weights", "on")
        told = json.loads(run("balance", "auto-weights", "on", "--json").out)
    assert json.loads(requests[0])["args"] == {"on": True}
    assert result.out == "weights follow what nodes can carry (before: off)\n"
    assert told == {"on": True, "before": False, "weights": {"n1@localhost": 100}}
    result = run("balance", "auto-weights", "maybe")
    assert (result.code, "not 'maybe'" in result.err) == (2, True)


def test_weights_and_what_they_go_by(run, folder: StateFolder) -> None:
    plain = status()
    assert plain.balancer is not None
    why = "1.20 cores (its quota): 1.20 for sessions, fits 150"
    first, *others = plain.nodes
    auto = msgspec.structs.replace(
        plain,
        nodes=[msgspec.structs.replace(first, weight=125, weight_reason=why), *others],
        balancer=msgspec.structs.replace(plain.balancer, auto_weights=True),
    )
    with scripted_daemon(folder, answer(auto), answer(auto), answer(auto), answer(plain)):
        shown, state = run("balance", "show").out, run("status").out
        told = json.loads(run("balance", "show", "--json").out)
        by_hand = run("balance", "show").out
    for text in (shown, state):
        assert "weights follow what nodes can carry:" in text
        assert f"n1 125: {why}" in text
        assert "n2 100: not measured yet" in text
    assert told["auto_weights"] is True
    assert told["nodes"][0]["weight_reason"] == why
    assert "follow" not in by_hand
