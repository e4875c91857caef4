"""Places of keys in TOML texts, and that every key tomllib sees has one."""

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.cluster.toml_places import Path, Place, places

CASES = {
    "plain key": ("a = 1\nbc = 2\n", ("bc",), (2, 1)),
    "indented key": ("[t]\n   key = 1", ("t", "key"), (2, 4)),
    "table": ("\n[balancer]\nport = 1", ("balancer",), (2, 2)),
    "dotted key": ("balancer.port = 1", ("balancer", "port"), (1, 10)),
    "dotted key with blanks": ("a . b . c = 1", ("a", "b", "c"), (1, 9)),
    "dotted table": ("[a.b]\nc = 1", ("a", "b", "c"), (2, 1)),
    "quoted key": ('[w]\n"n1@localhost" = 5', ("w", "n1@localhost"), (2, 1)),
    "quoted key with a dot and an escape": ('"a.\\u0062\\"" = 5', ('a.b"',), (1, 1)),
    "literal key": ("'a\\b'.c = 5", ("a\\b", "c"), (1, 7)),
    "inline table": ("w = { n1 = 1, n2 = { x = 3 } }", ("w", "n2", "x"), (1, 22)),
    "array": ('p = ["a", "]", 3]', ("p", 2), (1, 16)),
    "array over lines": ("p = [\n 1, # one ]\n 2,\n]\nq = 1", ("p", 1), (3, 2)),
    "after an array over lines": ("p = [\n 1, # one ]\n 2,\n]\nq = 1", ("q",), (5, 1)),
    "array of inline tables": ("p = [{a = 1}, {a = 2}]", ("p", 1, "a"), (1, 16)),
    "array of tables": ("[[n]]\na = 1\n[[n]]\na = 2", ("n", 1, "a"), (4, 1)),
    "table in an array of tables": ("[[n]]\n[[n]]\n[n.x]\ny = 1", ("n", 1, "x", "y"), (4, 1)),
    "multi-line string": ('a = """\nb = 1\n"""\nb = 2', ("b",), (4, 1)),
    "multi-line string that ends in quotes": ('a = """x"""""\nb = 2', ("b",), (2, 1)),
    "multi-line string with an escaped quote": ('a = """x\\"""" # "\nb = 2', ("b",), (2, 1)),
    "multi-line literal": ("a = '''\n[x]\n'''\nb = 2", ("b",), (4, 1)),
    "string with a comment sign": ('a = "# no"  # yes "\nb = 2', ("b",), (2, 1)),
    "string with an escaped quote": ('a = "\\"]"\nb = 2', ("b",), (2, 1)),
    "date": ("a = 2024-01-01 10:00:00\nb = 2", ("b",), (2, 1)),
    "Windows line ends": ("a = 1\r\nb = 2\r\n", ("b",), (2, 1)),
    "comment at the end without a newline": ("a = 1\nb = 2 # x", ("b",), (2, 1)),
    "characters, not bytes": ('"ä".b = 1', ("ä", "b"), (1, 5)),
}


@pytest.mark.parametrize("name", CASES)
def test_place_of_a_key(name: str) -> None:
    text, path, (line, column) = CASES[name]
    tomllib.loads(text)  # the case itself is sound
    assert places(text)[path] == Place(line, column)


def paths_in(value: Any, path: Path = ()) -> Iterator[Path]:
    """What tomllib makes of a text, as paths."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        yield (*path, key)
        yield from paths_in(inner, (*path, key))


bare_keys = st.text("abc_-1", min_size=1, max_size=3)
quoted_keys = st.text(
    st.characters(codec="utf-8", exclude_categories=["C"], exclude_characters='"\\'), max_size=4
).map(lambda key: f'"{key}"')
keys = st.lists(bare_keys | quoted_keys, min_size=1, max_size=3).map(".".join)
scalars = st.sampled_from(
    ["1", "-2.5", "true", '"x # [{"', "'y]'", '"""a\nb = 1\n"""', "'''\n[t]\n'''", "1979-05-27"]
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(inner, max_size=3).map(lambda items: "[\n" + ",\n # ]\n".join(items) + "\n]")
        | st.lists(st.tuples(keys, inner), max_size=3).map(
            lambda pairs: "{" + ", ".join(f"{key} = {value}" for key, value in pairs) + "}"
        )
    ),
    max_leaves=6,
)
lines = st.one_of(
    st.tuples(keys, values).map(lambda pair: f"{pair[0]} = {pair[1]}"),
    keys.map(lambda key: f"[{key}]  # [x]"),
    keys.map(lambda key: f"[[ {key} ]]"),
    st.just("# a = 1"),
)


@given(st.lists(lines, max_size=6).map("\n".join))
def test_every_key_has_a_place(text: str) -> None:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    found = places(text)
    assert set(found) == set(paths_in(document))
    split = text.split("\n")
    assert all(place.column <= len(split[place.line - 1]) for place in found.values())
