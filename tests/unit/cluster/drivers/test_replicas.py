"""What is said to RabbitMQ about replicas, and what it says back."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.cluster.drivers.replicas import (
    Holding,
    adding,
    asking,
    deleting,
    failures,
    holdings,
    positions,
)
from warrener.facts.ids import NodeName
from warrener.facts.replicas import Position, ReplicaMove

N1, N4 = NodeName("n1@localhost"), NodeName("n4@localhost")
MOVES = (
    ReplicaMove("/", "jobs", "quorum", to=N4, away=N1),
    ReplicaMove("log", "s", "stream", to=N4, away=N1),
)


def test_names_go_in_as_base64_and_each_side_of_a_move_by_itself() -> None:
    assert '[{0,quorum,<<"Lw==">>,<<"am9icw==">>,\'n4@localhost\'}' in adding(MOVES)
    assert "'n1@localhost'" in deleting(MOVES)
    assert "'n4@localhost'" not in deleting(MOVES)
    assert '{1,stream,<<"bG9n">>,<<"cw==">>,\'n4@localhost\'}]' in asking(MOVES)


@given(st.text(), st.text())
def test_whatever_is_in_a_name_stays_inside_its_quotes(vhost: str, queue: str) -> None:
    text = adding([ReplicaMove(vhost, queue, "quorum", to=N4)])
    (term,) = re.findall(r"\[\{0,quorum,.*\}\]", text)
    assert re.fullmatch(
        r"\[\{0,quorum,<<\"[A-Za-z0-9+/=]*\">>,<<\"[A-Za-z0-9+/=]*\">>,'n4@localhost'\}\]", term
    )


@pytest.mark.parametrize("node", [None, "n1'", "n\\1"])
def test_only_a_nodes_name_is_one(node: str | None) -> None:
    with pytest.raises(ValueError, match="not a node's name"):
        adding([ReplicaMove("/", "q", "quorum", to=NodeName(node) if node else None)])


def test_what_failed_comes_back_by_number() -> None:
    assert failures("[]\n") == {}
    assert failures('[{3,<<"bm9kZV9ub3RfcnVubmluZw==">>}]\n') == {3: "node_not_running"}
    assert failures('[{0,<<"e3RpbWVvdXQs"\n      "eH0=">>},\n {12,<<"YQ==">>}]') == {
        0: "{timeout,x}",
        12: "a",
    }
    assert failures('[{0,<<"=A">>}]') == {0: "for a reason that isn't understood"}


def test_positions_come_back_in_order() -> None:
    assert positions("[{1,7,-2},{0,100,99}]\n", 2) == [Position(100, 99), Position(7, -2)]


@pytest.mark.parametrize("text", ["", "{0,1,1}", "[{0,1}]", "Error: {badrpc,nodedown}", "ok"])
def test_anything_else_is_not_understood(text: str) -> None:
    with pytest.raises(ValueError, match="not"):
        positions(text, 2)
    with pytest.raises(ValueError, match="not a list"):
        failures(text)


@given(st.text())
def test_no_answer_is_taken_for_success(text: str) -> None:
    try:
        found = failures(text)
    except ValueError:
        return
    assert found or text.strip() == "[]"


def listed(*lines: str) -> str:
    return f'<<"{base64.b64encode("".join(lines).encode()).decode()}">>'


def b(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_holdings_are_read_line_by_line() -> None:
    told = listed(
        f"{b('/')} {b('a queue')} n1@localhost n1@localhost,n4@localhost\n",
        f"{b('log')} {b('s')} none n4@localhost\n",
    )
    assert holdings(told) == [
        Holding("/", "a queue", N1, (N1, N4)),
        Holding("log", "s", None, (N4,)),
    ]
    pieces = told[:30] + '"\n  "' + told[30:]
    assert holdings(pieces) == holdings(told)
    assert holdings('<<"">>\n') == []
    assert holdings("<<>>") == []


@given(st.text())
def test_no_other_answer_is_a_list_of_holdings(text: str) -> None:
    if not text.strip().startswith("<<"):
        with pytest.raises(ValueError, match="not a text in base64"):
            holdings(text)
    with pytest.raises(ValueError, match="not a"):
        holdings(listed(text.replace("\n", "") + " too many words here\n"))
