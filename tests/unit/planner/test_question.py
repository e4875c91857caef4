"""What is asked, as it is typed."""

import pytest
from tests.unit.planner.scene import N1, N2, load, queue

from warrener.models.terms import WrongInput
from warrener.planner import question
from warrener.planner.costs import QueueType
from warrener.planner.question import WhatIf, asked, factor, read, size, stopped


@pytest.mark.parametrize(("text", "value"), [("x2", 2), ("2", 2), ("X1.5", 1.5), ("150%", 1.5)])
def test_a_factor(text: str, value: float) -> None:
    assert factor(text) == value


@pytest.mark.parametrize("text", ["", "x", "x0", "-2", "twice", "x2x", "nan"])
def test_what_is_no_factor(text: str) -> None:
    with pytest.raises(WrongInput, match="isn't understood; say x2"):
        factor(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("100", 100), ("4KiB", 4096), ("1.5 kB", 1500), ("2MB", 2e6), ("1mib", 2**20)],
)
def test_a_size(text: str, value: float) -> None:
    assert size(text) == value


@pytest.mark.parametrize("text", ["", "KiB", "-1", "4GiBs", "1e9x", "four"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(WrongInput, match="isn't understood; say 100, 4KiB"):
        size(text)


@pytest.mark.parametrize(
    ("text", "value"), [("20ms", 0.02), ("1.5 s", 1.5), ("200us", 0.0002), ("2MIN", 120)]
)
def test_a_time(text: str, value: float) -> None:
    assert question.duration(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "20", "0ms", "-1s", "soon", "3 weeks"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(WrongInput, match="isn't understood; say 20ms"):
        question.duration(text)


def test_everything_that_can_be_asked() -> None:
    found = read(
        load="x2",
        nodes="+1",
        kill=["n2"],
        consumers=["billing=+3", "a=b=5"],
        queue_type=["orders=quorum"],
        body=["4KiB", "shop/orders=100"],
    )
    assert found == WhatIf(
        load=2,
        nodes=1,
        kill=("n2",),
        consumers=(("billing", "+3"), ("a=b", "5")),
        types=(("orders", QueueType.QUORUM),),
        body=(("*", 4096), ("shop/orders", 100)),
    )
    assert read() == WhatIf()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"nodes": "many"}, "'many'"),
        ({"consumers": ["billing"]}, "'billing' isn't understood; say --consumers"),
        ({"consumers": ["=3"]}, "'=3'"),
        ({"consumers": ["billing=lots"]}, "'lots' consumers of billing"),
        ({"queue_type": ["orders=fast"]}, "'fast' is no type of queue; there are classic"),
        ({"body": ["orders=big"]}, "'big'"),
    ],
)
def test_what_is_not_understood_is_named(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(WrongInput, match=words):
        read(**wrong)  # type: ignore[arg-type]


def test_a_question_is_carried_out() -> None:
    one = load(queue("a", 10, N1, consumers=2), queue("b", 10, N2, type=QueueType.CLASSIC))
    found = asked(
        one,
        read(load="x3", consumers=["a=+3"], body=["a=4KiB"], nodes="+1", kill=["n1"]),
        same_host=False,
    )
    a, b = found.queues
    assert (a.published, a.consumers, a.body, b.body) == (30, 5, 4096, 100)
    assert len(found.running()) == 3
    assert a.leader != N1
    assert len(a.members) == 3


def test_a_queue_that_nobody_serves_any_more_is_named() -> None:
    one = load(queue("a", 10, N1), queue("b", 10, N1, type=QueueType.CLASSIC))
    assert stopped(one, read(kill=["n1"]), same_host=False) == ["b"]
    assert stopped(one, read(kill=["n1"], queue_type=["b=quorum"]), same_host=False) == []


def test_a_node_that_there_is_not() -> None:
    with pytest.raises(WrongInput, match="there is no node n9; there are n1, n2, n3"):
        asked(load(queue("a", 1)), question.WhatIf(kill=("n9",)), same_host=False)


def test_a_question_in_words() -> None:
    asked = question.read(
        load="150%", nodes="+2", kill=["n2"], consumers=["b=+3"], queue_type=["*=classic"],
        body=["4KiB", "o=100"],
    )  # fmt: skip
    assert question.words(asked) == (
        "load x1.5, 2 nodes more, without n2, +3 consumers of b, all queues classic, "
        "bodies of all queues 4096 B, bodies of o 100 B"
    )
    assert question.words(question.WhatIf()) == ""


def test_nodes_that_leave_in_order_are_others_than_those_that_die() -> None:
    one = load(queue("a", 10, N1), queue("b", 10, N1, type=QueueType.CLASSIC))
    left = asked(one, read(nodes="-1"), same_host=False)
    assert [node.name for node in left.running()] == [N1, N2]
    assert stopped(one, read(nodes="-1"), same_host=False) == []
    left = asked(one, read(nodes="-1", kill=["n3"]), same_host=False)
    assert [node.name for node in left.running()] == [N1]
    assert question.words(read(nodes="-2")) == "2 nodes fewer"
