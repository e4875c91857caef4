"""`warrener node` and `balance rebalance` against a scripted daemon."""

import json
import os
import signal
import threading
from typing import Any

import pytest

from warrener.control import operations as ops
from warrener.control import wire
from warrener.control.state_folder import StateFolder
from warrener.facts.ids import NodeName
from warrener.testing.scripted_daemon import answer, refusal, scripted_daemon

N1, N2 = NodeName("n1@localhost"), NodeName("n2@localhost")
DRAINED = ops.DrainAnswer(node=N2, moved=12, forced=0, left=0, seconds=1.25)


def sent(requests: list[bytes]) -> list[Any]:
    return [json.loads(line) for line in requests]


def test_drain(run, folder: StateFolder) -> None:
    steps = [
        ops.ProgressLine("n2", "gets no new sessions"),
        ops.ProgressLine("n2", "moves sessions", count=12, total=12),
        ops.ProgressLine("n2", "is in maintenance mode", done=True),
        ops.ProgressLine("n2", "is in maintenance mode", done=True),
    ]
    with scripted_daemon(folder, answer(DRAINED, *steps)) as requests:
        result = run("node", "drain", "n2", "--timeout", "5")
    assert result.code == 0
    assert result.out == (
        "n2@localhost is drained: 12 sessions moved in 1.2 s\n`warrener node revive n2` undoes it\n"
    )
    assert result.err == (
        "n2: gets no new sessions\nn2: moves sessions (12 of 12)\nn2: is in maintenance mode\n"
    )
    assert sent(requests) == [
        {"v": 1, "op": "drain-node", "args": {"node": "n2", "timeout": 5.0, "force": False}}
    ]


def test_what_a_drain_could_not_keep_is_said(run, folder: StateFolder) -> None:
    told = ops.DrainAnswer(node=N2, moved=1, forced=1, left=2, seconds=60.0)
    with scripted_daemon(folder, answer(told)):
        assert run("node", "drain", "n2").out.splitlines()[0] == (
            "n2@localhost is drained: 1 session moved in 60.0 s; 1 of them get unsettled "
            "deliveries again; 2 sessions couldn't be moved; RabbitMQ took them off"
        )


def test_a_drain_that_could_move_nothing_says_why(run, folder: StateFolder) -> None:
    why = "HAProxy passes bytes, it can't take an open session to another node"
    told = ops.DrainAnswer(node=N2, left=2, seconds=0.1, why_left=why)
    nobody = ops.DrainAnswer(node=N2, left=0, seconds=0.1, why_left=why)
    with scripted_daemon(folder, answer(told), answer(nobody)):
        assert run("node", "drain", "n2").out.splitlines()[0] == (
            "n2@localhost is drained: RabbitMQ disconnected its 2 sessions, which connect again "
            f"elsewhere ({why})"
        )
        assert run("node", "drain", "n2").out.splitlines()[0] == (
            "n2@localhost is drained: no session was on it"
        )


def test_drained_already(run, folder: StateFolder) -> None:
    already = answer(ops.DrainAnswer(node=N2, already=True))
    with scripted_daemon(folder, already, already):
        result = run("node", "drain", "n2")
        document = json.loads(run("node", "drain", "n2", "--json").out)
    assert (result.code, result.out) == (0, "n2@localhost is drained already\n")
    assert (document["node"], document["already"]) == ("n2@localhost", True)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (wire.Refusal.UNWISE, 1),
        (wire.Refusal.BUSY, 1),
        (wire.Refusal.FAILED, 1),
        (wire.Refusal.UNSUPPORTED, 1),
        (wire.Refusal.BAD_ARGUMENT, 2),
        (wire.Refusal.CALLED_OFF, 130),
    ],
)
def test_refusals_and_their_exit_codes(
    run, folder: StateFolder, kind: wire.Refusal, code: int
) -> None:
    with scripted_daemon(folder, refusal(kind, "because")):
        result = run("node", "drain", "n2", "--force")
    assert (result.code, result.out, result.err) == (code, "", "warrener: because\n")


def test_ctrl_c_calls_it_off_and_waits_for_the_last_word(run, folder: StateFolder) -> None:
    def interrupt(requests: list[bytes]) -> None:
        while not requests:
            pass
        os.kill(os.getpid(), signal.SIGINT)

    begun = wire.encode_answer(
        wire.AnswerKind.STREAM, ops.ProgressLine("n2", "moves sessions", count=1, total=9)
    )
    word = refusal(wire.Refusal.CALLED_OFF, "called off: n2@localhost takes sessions again")
    handler = signal.getsignal(signal.SIGINT)
    with scripted_daemon(folder, begun, last_word=word) as requests:
        thread = threading.Thread(target=interrupt, args=(requests,))
        thread.start()
        result = run("node", "drain", "n2")
        thread.join()
    assert result.code == 130
    assert result.err.endswith("warrener: called off: n2@localhost takes sessions again\n")
    assert signal.getsignal(signal.SIGINT) is handler


def test_revive(run, folder: StateFolder) -> None:
    fit = ops.ReviveAnswer(node=N2, seconds=2.04, not_online=["a", "b"])
    already = ops.ReviveAnswer(node=N2, already=True)
    with scripted_daemon(folder, answer(fit), answer(already)) as requests:
        result = run("node", "revive", "n2")
        assert run("node", "revive", "n2").out == "n2@localhost is not drained, and fit\n"
    assert result.out == (
        "n2@localhost is fit again after 2.0 s\n"
        "`warrener leaders balance` spreads the leaders of queues by load again\n"
    )
    assert "its replicas of a, b are not online" in result.err
    assert sent(requests)[0]["args"] == {"node": "n2", "timeout": 30.0, "balance": True}


def test_restart(run, folder: StateFolder) -> None:
    plain = ops.RestartAnswer(node=N2, pid=77, drained=None, not_online=[], seconds=14.26)
    first = ops.RestartAnswer(node=N2, pid=77, drained=DRAINED, not_online=[], seconds=20.0)
    with scripted_daemon(folder, answer(plain), answer(first), answer(first)) as requests:
        assert run("node", "restart", "n2").out.splitlines() == [
            "n2@localhost runs again after 14.3 s, as process 77",
            "`warrener balance rebalance` spreads the open sessions evenly again",
            "`warrener leaders balance` spreads the leaders of queues by load again",
        ]
        assert run("node", "restart", "n2", "--drain", "--timeout", "9").out.startswith(
            "Before: 12 sessions moved in 1.2 s\nn2@localhost runs again"
        )
        document = json.loads(run("node", "restart", "n2", "--json").out)
    assert (document["pid"], document["drained"]["moved"]) == (77, 12)
    assert [line["args"] for line in sent(requests)[:2]] == [
        {"node": "n2", "timeout": 120.0, "drain": False, "force": False, "balance": True},
        {"node": "n2", "timeout": 9.0, "drain": True, "force": False, "balance": True},
    ]


def shares(after: int) -> list[ops.ShareLine]:
    return [
        ops.ShareLine(node=N1, before=10, wanted=5, after=10 - after),
        ops.ShareLine(node=N2, before=0, wanted=5, after=after),
    ]


def rebalanced(**changes: Any) -> ops.RebalanceAnswer:
    fields: dict[str, Any] = {
        "dry_run": False, "shares": shares(5), "moved": 5, "failed": 0, "skew_before": 2.0,
        "skew_after": 1.0, "stopped": "", "seconds": 0.25,
    }  # fmt: skip
    return ops.RebalanceAnswer(**(fields | changes))


def test_rebalance(run, folder: StateFolder) -> None:
    with scripted_daemon(folder, *[answer(rebalanced())] * 2) as requests:
        result = run("balance", "rebalance")
        document = json.loads(run("balance", "rebalance", "--json").out)
    assert result.code == 0
    assert [line.rstrip() for line in result.out.splitlines()] == [
        "node         before wanted after",
        "n1@localhost     10      5     5",
        "n2@localhost      0      5     5",
        "5 sessions moved in 0.2 s; the largest share was 2.00 times the mean, now 1.00.",
    ]
    assert document["shares"][1] == {"node": "n2@localhost", "before": 0, "wanted": 5, "after": 5}
    assert sent(requests)[0]["args"] == {"dry_run": False}


def test_a_dry_run_says_that_it_was_one(run, folder: StateFolder) -> None:
    told = rebalanced(dry_run=True, shares=shares(5), moved=0)
    with scripted_daemon(folder, answer(told)) as requests:
        result = run("balance", "rebalance", "--dry-run")
    assert "after" not in result.out
    assert result.out.splitlines()[-1] == (
        "Nothing was moved. 5 sessions would be; the largest share is 2.00 times the mean, and "
        "would be 1.00."
    )
    assert sent(requests)[0]["args"] == {"dry_run": True}


def test_an_uneven_spread_is_explained(run, folder: StateFolder) -> None:
    kept = [
        ops.ShareLine(node=N1, before=10, wanted=9, after=9),
        ops.ShareLine(node=N2, before=0, wanted=1, after=1),
    ]
    with scripted_daemon(folder, answer(rebalanced(shares=kept)), answer(rebalanced())):
        assert "Not even: a session stays that" in run("balance", "rebalance").out
        assert "Not even" not in run("balance", "rebalance").out


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_one_that_stopped_early_says_why_and_fails(
    run, folder: StateFolder, options: tuple[str, ...]
) -> None:
    told = rebalanced(stopped="n2@localhost is unfit: refuses", moved=2, failed=1, shares=shares(2))
    with scripted_daemon(folder, answer(told)):
        result = run("balance", "rebalance", *options)
    assert result.code == 1
    assert result.err == "warrener: stopped early: n2@localhost is unfit: refuses\n"
    if options:
        assert json.loads(result.out)["moved"] == 2
    else:
        assert "2 sessions moved in 0.2 s, 1 couldn't be" in result.out
