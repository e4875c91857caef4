"""Where an exchange leads, held against a regular expression for every binding."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.balancer.core.routes import Routes, Target, words_of
from warrener.facts.places import Binding, ExchangeRoutes


def queues(*bindings: tuple[str, str]) -> tuple[Binding, ...]:
    return tuple(Binding(queue, False, key) for queue, key in bindings)


def led_to(type_: str, key: str, *bindings: tuple[str, str]) -> set[str]:
    targets = Routes(ExchangeRoutes(type_, queues(*bindings))).targets(key)
    assert targets is not None
    return {target.name for target in targets}


def test_a_direct_exchange_compares_whole_keys() -> None:
    bindings = ("q1", "a"), ("q2", "a"), ("q3", "a.b"), ("q4", "#"), ("q5", "")
    assert led_to("direct", "a", *bindings) == {"q1", "q2"}
    assert led_to("direct", "#", *bindings) == {"q4"}
    assert led_to("direct", "", *bindings) == {"q5"}
    assert led_to("direct", "A", *bindings) == set()


def test_a_fanout_exchange_takes_no_notice_of_keys() -> None:
    assert led_to("fanout", "x", ("q1", "a"), ("q1", "b"), ("q2", "")) == {"q1", "q2"}
    assert led_to("fanout", "x") == set()


@pytest.mark.parametrize(
    ("binding", "led", "not_led"),
    [
        ("#", ["", "a", "a.b", ".", "#"], []),
        ("*", ["a", "*", "#"], ["", "a.b", "."]),
        ("", [""], ["a", "."]),
        ("a", ["a"], ["", "a.", ".a", "aa", "*"]),
        ("a.*", ["a.b", "a."], ["a", "a.b.c", "b.a"]),
        ("a.#", ["a", "a.b", "a.b.c", "a."], ["b.a", ".a"]),
        ("#.a", ["a", "b.a", ".a"], ["a.b", "a."]),
        ("#.a.#", ["a", "b.a.c", "a.a"], ["", "b", "ba"]),
        ("*.#", ["a", "a.b", "."], [""]),
        ("#.*", ["a", "a.b", "."], [""]),
        ("a.#.b", ["a.b", "a.x.b", "a.x.y.b", "a..b"], ["a", "b", "ab"]),
        ("#.#", ["", "a", "a.b"], []),
        ("*.*", ["a.b", "."], ["a", "a.b.c"]),
        ("a*", ["a*"], ["ab", "a"]),  # no wildcard inside a word
    ],
)
def test_a_topic_exchange_compares_words(binding: str, led: list[str], not_led: list[str]) -> None:
    """As RabbitMQ 3.10.8 routed these; tests/integration/test_places.py asks a real one."""
    assert [key for key in led if not led_to("topic", key, ("q", binding))] == []
    assert [key for key in not_led if led_to("topic", key, ("q", binding))] == []


def oracle(binding: str, key: str) -> bool:
    """The same by a regular expression over words that end in a dot."""
    pattern = "".join(
        {"#": r"(?:[^.]*\.)*", "*": r"[^.]*\."}.get(word, re.escape(word) + r"\.")
        for word in words_of(binding)
    )
    return re.fullmatch(pattern, "".join(word + "." for word in words_of(key))) is not None


KEYS = st.lists(st.sampled_from(["a", "b", "ab", "*", "#", ""]), max_size=6).map(".".join)


@given(bindings=st.lists(KEYS, max_size=8), key=KEYS)
def test_topics_against_regular_expressions(bindings: list[str], key: str) -> None:
    numbered = [(f"q{number}", binding) for number, binding in enumerate(bindings)]
    expected = {queue for queue, binding in numbered if oracle(binding, key)}
    assert led_to("topic", key, *numbered) == expected


def test_every_key_of_three_words_against_regular_expressions() -> None:
    """Exhaustive where mistakes hide: all bindings and keys of up to three words."""
    alphabet = ["a", "*", "#", ""]
    one = list(alphabet)
    two = [f"{x}.{y}" for x in alphabet for y in alphabet]
    three = [f"{x}.{y}" for x in two for y in alphabet]
    keys = ["", *one, *two, *three]
    numbered = [(binding, binding) for binding in keys]
    routes = Routes(ExchangeRoutes("topic", queues(*numbered)))
    for key in keys:
        targets = routes.targets(key)
        assert targets is not None
        wrong = {target.name for target in targets} ^ {b for b in keys if oracle(b, key)}
        assert not wrong, f"{key!r} and the bindings {wrong}"


def test_a_walk_is_not_exponential() -> None:
    """Twenty ``#`` and a key of two hundred words: as many paths as there are atoms."""
    binding = ".".join(["#", "a"] * 20)
    routes = Routes(ExchangeRoutes("topic", queues(("q", binding))))
    assert routes.targets(".".join(["a"] * 200)) == {Target("q", False)}
    assert routes.targets(".".join(["a"] * 199 + ["b"])) == set()


def test_exchanges_are_told_from_queues_of_the_same_name() -> None:
    bindings = (Binding("x", False, "k"), Binding("x", True, "k"))
    routes = Routes(ExchangeRoutes("direct", bindings))
    assert routes.targets("k") == {Target("x", False), Target("x", True)}


@pytest.mark.parametrize("type_", ["headers", "x-consistent-hash", ""])
def test_of_other_types_nothing_is_said(type_: str) -> None:
    routes = Routes(ExchangeRoutes(type_, queues(("q", "a"))))
    assert not routes.understood
    assert routes.targets("a") is None


@pytest.mark.parametrize("type_", ["direct", "topic"])
def test_an_alternate_exchange_gets_what_nothing_else_gets(type_: str) -> None:
    routes = Routes(ExchangeRoutes(type_, queues(("q", "a")), plain=False))
    assert routes.targets("a") == {Target("q", False)}
    assert routes.targets("b") is None
