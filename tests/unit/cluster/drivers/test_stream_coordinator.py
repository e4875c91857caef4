"""What the coordinator of streams says of itself, and when it follows the cluster."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.cluster.drivers.stream_coordinator import FOLLOW, Coordinator, seen
from warrener.facts.ids import NodeName

N1, N2, N3, N4 = (NodeName(f"n{number}@localhost") for number in (1, 2, 3, 4))


def printed(*lines: str) -> str:
    text = "".join(f"{line}\n" for line in lines)
    return f'<<"{base64.b64encode(text.encode()).decode()}">>'


def nodes(*names: NodeName) -> frozenset[NodeName]:
    return frozenset(names)


def test_who_takes_part_lives_runs_and_is_there() -> None:
    told = printed("led", f"{N1} {N2}", f"{N1}", f"{N1} {N3}", f"{N1} {N2} {N3}")
    assert seen(told) == Coordinator(
        True, nodes(N1, N2), nodes(N1), nodes(N1, N3), nodes(N1, N2, N3)
    )


def test_without_streams_there_is_none() -> None:
    assert seen(printed("none", "", "", f"{N1} {N2}", f"{N1} {N2}")) is None


def test_it_follows_when_all_that_run_take_part_and_nobody_else() -> None:
    it = Coordinator(True, nodes(N1, N2), nodes(N1, N2), nodes(N1, N2), nodes(N1, N2))
    assert it.follows()
    assert (it.missing(), it.left_over) == ((), ())


def test_a_member_that_is_down_does_not_keep_it_from_following() -> None:
    assert Coordinator(True, nodes(N1, N2), nodes(N1), nodes(N1), nodes(N1, N2)).follows()


@pytest.mark.parametrize(
    ("it", "missing", "left_over"),
    [
        (Coordinator(False, nodes(N1), nodes(N1), nodes(N1), nodes(N1)), (), ()),
        (Coordinator(True, nodes(N1, N4), nodes(N1), nodes(N1), nodes(N1)), (), (N4,)),
        (Coordinator(True, nodes(N1), nodes(N1), nodes(N1, N2), nodes(N1, N2)), (N2,), ()),
        (Coordinator(True, nodes(N1, N2), nodes(N1), nodes(N1, N2), nodes(N1, N2)), (N2,), ()),
    ],
)
def test_it_does_not_follow(
    it: Coordinator, missing: tuple[NodeName, ...], left_over: tuple[NodeName, ...]
) -> None:
    """Without a leader, with one too many, with one too few, with one that doesn't live."""
    assert not it.follows()
    assert (it.missing(), it.left_over) == (missing, left_over)


def test_a_node_that_goes_need_not_take_part() -> None:
    it = Coordinator(True, nodes(N1, N2), nodes(N1), nodes(N1, N2), nodes(N1, N2))
    assert it.follows([N2])
    assert not it.follows([N1])
    left = Coordinator(True, nodes(N1, N2, N4), nodes(N1), nodes(N1, N2), nodes(N1, N2))
    assert not left.follows([N2, N4]), "whoever is no more counts all the same"


@given(st.text())
def test_anything_else_is_not_understood(text: str) -> None:
    for wrong in (text, printed(text)):
        with pytest.raises(ValueError, match="not "):
            seen(wrong)


def test_it_is_one_expression() -> None:
    assert FOLLOW.rstrip().endswith(".")
    assert FOLLOW.count(".\n") == 1
