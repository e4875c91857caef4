"""A question as it comes in a request: what is understood, and that nothing else is."""

import pytest

from warrener.dashboard.plan import MOST_LOAD, MOST_NODES, Question, read

VIEWER = ("viewer", "0123-abcd")


def test_everything_that_can_be_asked() -> None:
    question, viewer = read(
        [
            ("load", "1.5"),
            ("nodes", "-1"),
            ("kill", "n2"),
            ("kill", "n1"),
            ("kill", "n2"),
            ("queue", "shop/orders=1"),
            ("consumers", "7"),
            ("losses", "1"),
            VIEWER,
        ]
    )
    assert viewer == "0123-abcd"
    assert question == Question(
        load=1.5,
        nodes=-1,
        kill=("n1", "n2"),
        queue="shop/orders=1",
        consumers=7,
        losses=True,
    )
    assert question.changes


@pytest.mark.parametrize(
    "pairs",
    [(), (("queue", "a"),), (("consumers", "3"),), (("losses", "1"),), (("load", "1.0"),)],
)
def test_what_changes_nothing(pairs: tuple[tuple[str, str], ...]) -> None:
    assert not read([*pairs, VIEWER])[0].changes


@pytest.mark.parametrize(
    ("pairs", "what"),
    [
        ([("load", "x2")], "load"),
        ([("load", "0")], "load"),
        ([("load", "nan")], "load"),
        ([("load", "inf")], "load"),
        ([("load", str(MOST_LOAD + 1))], "load"),
        ([("load", "1"), ("load", "2")], "load is given twice"),
        ([("nodes", str(MOST_NODES + 1))], "nodes"),
        ([("nodes", "1.5")], "nodes"),
        ([("kill", "")], "kill"),
        ([("kill", "n" * 256)], "kill"),
        ([("kill", f"n{number}") for number in range(MOST_NODES + 1)], "kill"),
        ([("queue", "q" * 601)], "queue"),
        ([("consumers", "-1")], "consumers"),
        ([("consumers", "99999999999999999999")], "consumers"),
        ([("losses", "maybe")], "losses"),
        ([("token", "secret")], "token"),
    ],
)
def test_what_is_no_question(pairs: list[tuple[str, str]], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        read([*pairs, VIEWER])


@pytest.mark.parametrize("viewer", ["", "short", "x" * 41, "12345678\n", "<script>1"])
def test_who_asks_has_a_name(viewer: str) -> None:
    with pytest.raises(ValueError, match="viewer"):
        read([("viewer", viewer)])
    with pytest.raises(ValueError, match="viewer"):
        read([])
