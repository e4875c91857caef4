"""Reads Erlang terms out of source text: as much of the language as schema and application files
have. Pure.

A *form* is what stands between two full stops. Forms that hold code (``fun ... end``) aren't terms;
their tokens can still be looked at. Text that isn't Erlang gives ``BrokenTerm``, never another
exception.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

Term: TypeAlias = "str | int | float | tuple[Term, ...] | list[Term]"
"""Text is a ``Text`` or an ``Atom``, never just a ``str``."""

MAX_DEPTH: Final = 64
"""Nested brackets. Schemas have six; a limit keeps broken text from exhausting Python's stack."""


class BrokenTerm(ValueError):
    """The text isn't an Erlang term. ``at`` is the offset of the token that isn't understood."""

    def __init__(self, text: str, at: int) -> None:
        super().__init__(f"{text} at offset {at}")
        self.at = at


class Atom(str):
    """An Erlang atom."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Atom({str.__repr__(self)})"


class Text(str):
    """An Erlang string, or a binary."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Token:
    """``kind``: atom, text, number, var, mark (brackets, commas, operators), stop."""

    kind: str
    text: str
    at: int


_TOKEN: Final = re.compile(
    r"""
      (?P<skip>[\s]+|%[^\n]*)
    | (?P<stop>\.(?=\s|%|\Z))
    | "(?P<text>(?:[^"\\]|\\.)*)"
    | '(?P<quoted>(?:[^'\\]|\\.)*)'
    | \$(?P<char>\\.|[^\\])
    | (?P<number>-?\d+(?:\.\d+(?:[eE][+-]?\d+)?)?)
    | (?P<atom>[a-z][\w@]*)
    | (?P<var>[A-Z_][\w@]*)
    | (?P<mark><<|>>|->|[^\w\s"'$%])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "e": "\x1b", "s": " ", "0": "\0"}
_CLOSING: Final = {"{": "}", "[": "]", "<<": ">>"}


def tokens(source: str) -> Iterator[Token]:
    """Raises BrokenTerm at what isn't a token of Erlang's, such as a string without an end."""
    at = 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            raise BrokenTerm(f"{source[at : at + 20]!r} isn't understood", at)
        kind = match.lastgroup
        assert kind is not None
        text = match[kind]
        if kind == "quoted":
            yield Token("atom", _unescaped(text), at)
        elif kind == "text":
            yield Token("text", _unescaped(text), at)
        elif kind == "char":
            yield Token("number", str(ord(_unescaped(text)[:1] or "\0")), at)
        elif kind != "skip":
            yield Token(kind, text, at)
        at = match.end()


def forms(source: str) -> Iterator[list[Token]]:
    """The tokens of each form. What follows the last full stop is no form."""
    form: list[Token] = []
    for token in tokens(source):
        if token.kind == "stop":
            yield form
            form = []
        else:
            form.append(token)


def term(form: Sequence[Token]) -> Term:
    """The one term that a form is. Raises BrokenTerm if it is something else."""
    found, rest = _term(form, 0, 0)
    if rest != len(form):
        raise BrokenTerm(f"{form[rest].text!r} after the end of a term", form[rest].at)
    return found


def _term(form: Sequence[Token], here: int, depth: int) -> tuple[Term, int]:
    if here >= len(form):
        raise BrokenTerm("a term ends too early", form[-1].at if form else 0)
    if depth > MAX_DEPTH:
        raise BrokenTerm("brackets nested too deep", form[here].at)
    token = form[here]
    match token.kind:
        case "atom":
            return Atom(token.text), here + 1
        case "text":
            text, here = token.text, here + 1
            while here < len(form) and form[here].kind == "text":  # "a" "b" is "ab"
                text, here = text + form[here].text, here + 1
            return Text(text), here
        case "number":
            try:
                number = float(token.text) if "." in token.text else int(token.text)
            except ValueError:  # more digits than Python turns into a number
                raise BrokenTerm("a number is too long", token.at) from None
            return number, here + 1
        case "mark" if token.text in _CLOSING:
            items, here = _items(form, here + 1, _CLOSING[token.text], depth + 1)
            if token.text == "{":
                return tuple(items), here
            if token.text == "[":
                return items, here
            return Text("".join(item for item in items if isinstance(item, Text))), here
    raise BrokenTerm(f"{token.text!r} is no term", token.at)


def _items(form: Sequence[Token], here: int, closing: str, depth: int) -> tuple[list[Term], int]:
    items: list[Term] = []
    while here < len(form):
        token = form[here]
        if token.kind == "mark" and token.text == closing:
            return items, here + 1
        if items:
            if token.text != "," or token.kind != "mark":
                raise BrokenTerm(f"{token.text!r} where a comma should be", token.at)
            here += 1
        item, here = _term(form, here, depth)
        items.append(item)
    raise BrokenTerm(f"no {closing!r}", form[-1].at)


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    text = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)
    return re.sub(r"\\(.)", lambda one: _ESCAPES.get(one[1], one[1]), text, flags=re.DOTALL)
