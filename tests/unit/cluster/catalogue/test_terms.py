"""Erlang terms out of source text: what is read, and that broken text is only ever BrokenTerm."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.cluster.catalogue.terms import Atom, BrokenTerm, Text, forms, term


def read(source: str) -> object:
    (form,) = forms(source)
    return term(form)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("{a, \"b\", 'C d', 1, -2.5, []}.", ("a", "b", "C d", 1, -2.5, [])),
        ('<<"x">>.', "x"),
        ('"a" "b".', "ab"),
        ('"\\033[1m\\n\\"".', '\x1b[1m\n"'),
        ("[{a, [{b, true}]}]. % the end", [("a", [("b", "true")])]),
        ("$a.", 97),
    ],
)
def test_terms(source: str, value: object) -> None:
    assert read(source) == value


def test_atoms_and_texts_are_told_apart() -> None:
    atom, text = read('{a, "a"}.')  # type: ignore[misc]
    assert (type(atom), type(text)) == (Atom, Text)


def test_code_is_passed_over_token_by_token() -> None:
    source = 'f(X) when X > 1 -> "a. b"; $" . \n{x}.'
    assert [len(form) for form in forms(source)] == [12, 3]


@pytest.mark.parametrize("source", ["{a.", "[1,,2].", '"no end', "{a b}.", "X.", "[" * 99 + "."])
def test_what_is_no_term_is_told(source: str) -> None:
    with pytest.raises(BrokenTerm):
        read(source)


@given(st.text(alphabet="{}[]<>,.\"'%$\\ \nab_A1-", max_size=60))
def test_broken_text_gives_nothing_but_broken_term(source: str) -> None:
    with contextlib.suppress(BrokenTerm):
        for form in forms(source):
            term(form)
