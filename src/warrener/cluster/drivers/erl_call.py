"""Erlang evaluated on a node in a hundredth of a second, by ``erl_call``. Pure.

RabbitMQ's own tools boot an Erlang VM and load themselves: 1.1 s and 0.4 s of CPU for ``rabbitmqctl
eval`` on a machine with a load of 7, twice that at 9. ``erl_call``, a small C program that comes
with Erlang (Debian: erlang-base), takes 0.01 s and next to no CPU for the same. It finds the cookie
in the node's home folder. It speaks no TLS, and an Erlang without it is thinkable; then it is
``rabbitmqctl eval`` as before.

What an expression comes to is sent as base64, so that it is read as it was written whatever is in
it: ``erl_call`` prints a short answer as a string, a long one as a list of numbers.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from warrener.facts.ids import NodeName

PROGRAM: Final = "erl_call"

NOT_THERE: Final = frozenset({126, 127})
"""What a shell says of a program that it can't run."""

_SCRIPT: Final = 'exec "$0" -r "$1" "$2" -e <<END_OF_EXPRESSION\n$3\nEND_OF_EXPRESSION\n'
"""A here-document and not a pipe: nothing is left when the one process is killed."""

_WRAPPED: Final = (
    'base64:encode_to_string(unicode:characters_to_binary(io_lib:format("~0tp", '
    "[(fun() -> {text} end)()]))).\n"
)
_STRING: Final = re.compile(r'\{ok, "([A-Za-z0-9+/=]*)"\}\s*')
_NUMBERS: Final = re.compile(r"\{ok, \[([\d, ]*)\]\}\s*")


def can_reach(environment: Mapping[str, str]) -> bool:
    """Whether it can talk to a node that was started so: not to one whose Erlang speaks TLS."""
    return not any("inet_tls" in value for value in environment.values())


def command(node: NodeName, text: str) -> list[str]:
    """What to run, in the environment of the node's tools, for expressions that end with a dot."""
    kind = "-name" if "." in node.partition("@")[2] else "-sname"
    wrapped = _WRAPPED.format(text=text.strip().removesuffix("."))
    return ["/bin/sh", "-c", _SCRIPT, PROGRAM, kind, node, wrapped]


def of_file(path: Path) -> str:
    """Expressions that come to what those in a file do: what is in them is among no arguments."""
    encoded = base64.b64encode(str(path).encode("utf-8", "surrogateescape")).decode()
    name = f'unicode:characters_to_list(base64:decode("{encoded}"))'
    return f"{{ok, Answer}} = file:script({name}), Answer."


def answer(printed: str) -> str | None:
    """What the expressions came to, as ``~0tp`` writes it; None if that isn't an answer."""
    try:
        if (match := _STRING.fullmatch(printed)) is not None:
            encoded = match[1].encode()
        elif (match := _NUMBERS.fullmatch(printed)) is not None:
            encoded = bytes(int(number) for number in match[1].split(",") if number.strip())
        else:
            return None
        return base64.b64decode(encoded, validate=True).decode()
    except (ValueError, binascii.Error):
        return None


def unpacked(printed: str) -> str:
    """The text in a binary of base64, as Erlang prints one, a long one in pieces. ValueError if it
    isn't that."""
    match = re.fullmatch(r'<<((?:\s*"[A-Za-z0-9+/=]*")*)\s*>>', printed.strip())
    if match is None:
        raise ValueError(f"not a text in base64: {printed.strip()[:200]!r}")
    return decoded(match[1])


def decoded(encoded: str) -> str:
    """base64, a long one in pieces. ValueError if it isn't."""
    raw = base64.b64decode(re.sub(r"[\s\"]", "", encoded), validate=True)
    return raw.decode("utf-8", "surrogateescape")
