"""The expression that hands leaders over. That RabbitMQ understands it, integration tests say."""

import re

from hypothesis import given
from hypothesis import strategies as st

from warrener.cluster.drivers.leadership import MAX_EXPRESSION, expressions, not_moved
from warrener.facts.ids import NodeName
from warrener.facts.leaders import LeaderMove, NotMoved

N1, N2 = NodeName("n1@localhost"), NodeName("n2@localhost")


def move(name: str, vhost: str = "/") -> LeaderMove:
    return LeaderMove(vhost, name, "quorum", N1, N2)


def test_nothing_takes_no_expression() -> None:
    assert list(expressions([])) == []


def test_many_moves_are_one_call() -> None:
    moves = [move(f"q{number}") for number in range(20)]
    ((expression, part),) = expressions(moves)
    assert part == moves
    assert expression.count("{19, <<") == 1
    assert "transfer_leadership" in expression


@given(st.text(max_size=20))
def test_a_name_can_not_become_part_of_the_program(name: str) -> None:
    ((expression, _),) = expressions([move(name, vhost=name)])
    ((empty, _),) = expressions([move("", vhost="")])
    assert re.sub(r"<<[\d,]*>>", "", expression) == re.sub(r"<<[\d,]*>>", "", empty)


def test_long_names_are_spread_over_several_calls() -> None:
    moves = [move("ü" * 127 + str(number)) for number in range(300)]
    parts = list(expressions(moves))
    assert len(parts) > 1
    assert [one for _, part in parts for one in part] == moves
    for expression, part in parts:
        assert len(expression) < MAX_EXPRESSION + 2000
        assert len(re.findall(r"\{\d+, <<", expression)) == len(part)
        assert "{0, <<" in expression


def test_what_did_not_move_is_read_from_the_answer() -> None:
    moves = [move("a"), move("b"), move("c")]
    assert not_moved("[]\n", moves) == []
    told = '[{not_moved,0,"because {not_migrated,timeout}"},\n {not_moved,\n  2,"because x"}]\n'
    assert not_moved(told, moves) == [
        NotMoved(moves[0], "{not_migrated,timeout}"),
        NotMoved(moves[2], "x"),
    ]
    assert not_moved('[{not_moved,7,"because x"}]', moves) == []
