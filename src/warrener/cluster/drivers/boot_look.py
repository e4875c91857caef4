"""How far a node's RabbitMQ is with its boot, and what it waits for. Pure.

Asked of the Erlang VM, which answers also while RabbitMQ boots, has stopped or hangs. RabbitMQ runs
its boot steps in the process that it registers as ``rabbit``; where that one is says what is waited
for. Seen on 3.10.8 after a partition: ``rabbit_node_monitor:global_sync/0`` waits for ever in a
call of Erlang's name service (``global``), which is answered only when this node's and each
connected node's have told one another what they know.
"""

import base64
import re
from collections.abc import Sequence
from typing import Final

from warrener.facts.booting import BootLook, BootState, BootWait
from warrener.facts.ids import NodeName

LOOK: Final = r"""
    State = rabbit_boot_state:get(),
    Frames = case {State, whereis(rabbit)} of
               {booting, P} when is_pid(P) ->
                 case process_info(P, current_stacktrace) of
                   {_, S} -> [{M, F, A} || {M, F, A, _} <- S];
                   undefined -> []
                 end;
               _ -> []
             end,
    Lines = [io_lib:format("state ~ts\n", [State]),
             [io_lib:format("node ~ts\n", [N]) || N <- nodes()],
             [io_lib:format("in ~ts:~ts/~b\n", [M, F, A]) || {M, F, A} <- Frames]],
    base64:encode(unicode:characters_to_binary(Lines)).
"""
"""Prints RabbitMQ's state, the connected nodes, and the functions the boot is in, the innermost
first; Erlang tells eight of them."""

_TABLES: Final = re.compile(r"(rabbit_table|rabbit_khepri|mnesia\w*|khepri\w*):")
_NAMES: Final = re.compile(r"global:sync/|rabbit_node_monitor:global_sync/")
"""Either: Erlang drops a function that ends with a call of another one from the stack."""

_SHOWN: Final = 3
_ANSWER: Final = re.compile(r'<<((?:\s*"[A-Za-z0-9+/=]*")*)\s*>>')
_PLUMBING: Final = re.compile(r"(gen|gen_server|proc_lib|lists):")


def parse(text: str) -> BootLook:
    """What ``LOOK`` prints. ValueError if it isn't understood."""
    match = _ANSWER.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not a look at a boot: {text.strip()[:200]!r}")
    told = base64.b64decode(re.sub(r"[\s\"]", "", match[1]), validate=True).decode()
    words = [line.partition(" ") for line in told.splitlines()]
    states = [value for key, _, value in words if key == "state"]
    if len(states) != 1:
        raise ValueError(f"a look at a boot without its state: {told[:200]!r}")
    functions = [value for key, _, value in words if key == "in"]
    known = states[0] in [*BootState]
    return BootLook(
        state=BootState(states[0]) if known else BootState.OTHER,
        waits=_waits(functions),
        connected=frozenset(NodeName(value) for key, _, value in words if key == "node"),
        where=" > ".join(_telling(functions)),
    )


def _waits(functions: Sequence[str]) -> BootWait:
    if any(_TABLES.match(function) for function in functions):
        return BootWait.TABLES
    if any(_NAMES.match(function) for function in functions):
        return BootWait.NAMES
    return BootWait.OTHER


def _telling(functions: Sequence[str]) -> Sequence[str]:
    """The innermost that aren't Erlang's own machinery, outermost first."""
    kept = [function for function in functions if not _PLUMBING.match(function)]
    return kept[:_SHOWN][::-1]
