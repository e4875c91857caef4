"""Replicas of quorum queues and streams, added, waited for and taken away by RabbitMQ's own code.

The tools do it for one queue a call, and a call boots an Erlang VM: thousands of queues would take
an hour. So a batch of them is one ``rabbitmqctl eval``. Names go in as base64, whatever is in them;
what comes back is a list of numbers: ``[{3,-1,0}]``.

A stream's coordinator deletes a replica some time after that was said, and as long as it remembers
it, adding one on that node answers ok and does nothing (3.10.8); so it is asked for that first.

On 3.10.8: ``rabbit_quorum_queue:add_member/4`` starts the replica and tells the leader of it, and
returns before the replica has the queue's log: from then on it counts for the majority without
being able to help. So it is waited for until it has committed what the leader had when it was asked
first; only then another replica may go. ``delete_member/3`` refuses to take the last one.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from warrener.cluster.drivers.erl_call import decoded, unpacked
from warrener.facts.ids import NodeName
from warrener.facts.replicas import GOING, Position, ReplicaMove

BATCH: Final = 25
"""Queues a call: one call of 25 takes about as long as one of one, and progress is told between."""

_HELPERS: Final = """
    B = fun(X) -> base64:decode(X) end,
    Told = fun(F) -> try F() of
               ok -> ok;
               {ok, _} -> ok;
               {error, Why} -> {error, Why};
               Other -> {error, Other}
             catch _:Why -> {error, Why} end end,
    Shown = fun(E) -> base64:encode(unicode:characters_to_binary(io_lib:format("~0tp", [E]))) end,
    Failed = fun(L, F) -> [{I, Shown(E)}
                           || {I, {error, E}} <- [{element(1, X), Told(fun() -> F(X) end)}
                                                  || X <- L]] end,
"""

_ADD: Final = (
    _HELPERS
    + """
    Failed(%s, fun({_, quorum, V, N, Node}) ->
                      case rabbit_quorum_queue:add_member(B(V), B(N), Node, 10000) of
                        {error, already_a_member} -> ok;
                        R -> R
                      end;
                    ({_, stream, V, N, Node}) ->
                      {ok, Q} = rabbit_amqqueue:lookup({resource, B(V), queue, B(N)}),
                      #{name := Id, nodes := Nodes} = amqqueue:get_type_state(Q),
                      Kept = case catch rabbit_stream_coordinator:members(Id) of
                               {ok, M} -> maps:keys(M);
                               _ -> []
                             end,
                      case lists:member(Node, Kept -- Nodes) of
                        true -> {error, going};
                        false ->
                          case rabbit_stream_queue:add_replica(B(V), B(N), Node) of
                            {error, already_a_member} -> ok;
                            R -> R
                          end
                      end
                 end).
"""
)

_DELETE: Final = (
    _HELPERS
    + """
    Failed(%s, fun({_, quorum, V, N, Node}) ->
                      case rabbit_quorum_queue:delete_member(B(V), B(N), Node) of
                        {error, not_a_member} -> ok;
                        R -> R
                      end;
                    ({_, stream, V, N, Node}) ->
                      case rabbit_stream_queue:delete_replica(B(V), B(N), Node) of
                        {error, not_a_member} -> ok;
                        R -> R
                      end
                 end).
"""
)

_INDEXES: Final = """
    B = fun(X) -> base64:decode(X) end,
    Int = fun(X) when is_integer(X) -> X; (_) -> -1 end,
    Get = fun(K, P) -> case lists:keyfind(K, 1, P) of {_, X} -> X; false -> none end end,
    Of = fun(quorum, P) -> {Get(<<"Raft State">>, P) =:= leader, Get(<<"Node Name">>, P),
                            Int(Get(<<"Commit Index">>, P))};
            (stream, P) -> {lists:member(Get(role, P), [writer, leader]), Get(node, P),
                            Int(Get(committed_offset, P))} end,
    Ask = fun(quorum, V, N) -> rabbit_quorum_queue:status(B(V), B(N));
             (stream, V, N) -> rabbit_stream_queue:status(B(V), B(N)) end,
    [begin
       Rows = try Ask(T, V, N) of R when is_list(R) -> [Of(T, P) || P <- R]; _ -> [] catch _:_ -> []
              end,
       {I, lists:max([-1 | [X || {true, _, X} <- Rows]]),
           lists:max([-2 | [X || {_, At, X} <- Rows, At =:= Node]])}
     end || {I, T, V, N, Node} <- %s].
"""

LISTING: Final = """
    B = fun(X) -> base64:encode(X) end,
    At = fun(P) when is_pid(P) -> node(P); ({_, N}) when is_atom(N) -> N; (_) -> none end,
    Lines = [begin
               {resource, V, queue, N} = amqqueue:get_name(Q),
               #{nodes := M} = amqqueue:get_type_state(Q),
               Nodes = case is_map(M) of true -> maps:keys(M); false -> M end,
               [B(V), " ", B(N), " ", atom_to_list(At(amqqueue:get_pid(Q))), " ",
                lists:join(",", [atom_to_list(X) || X <- Nodes]), "\\n"]
             end || Q <- rabbit_amqqueue:list(), is_map_key(nodes, amqqueue:get_type_state(Q))],
    base64:encode(iolist_to_binary(Lines)).
"""
"""Prints each replicated queue with its leader's node and its members, as RabbitMQ itself has them.
What the management API tells of members comes from statistics: of quorum queues some seconds old,
of streams (3.10.8) older than a minute."""

_FAILURE: Final = re.compile(r"\{(\d+),\s*<<\"([A-Za-z0-9+/=\s\"]*)\">>\}")
_FAILURES: Final = re.compile(rf"\[(?:{_FAILURE.pattern}(?:,\s*(?=\{{))?)*\]")
_TRIPLE: Final = re.compile(r"\{(\d+),(-?\d+),(-?\d+)\}")


def adding(moves: Sequence[ReplicaMove]) -> str:
    """The text that adds the replicas on ``to``; it prints those that failed."""
    return _ADD % _terms(moves, "to")


def deleting(moves: Sequence[ReplicaMove]) -> str:
    """The text that takes those on ``away`` away; it prints those that failed."""
    return _DELETE % _terms(moves, "away")


def asking(moves: Sequence[ReplicaMove]) -> str:
    """The text that prints how far the replicas on ``to`` are, and their leaders."""
    return _INDEXES % _terms(moves, "to")


@dataclass(frozen=True, slots=True)
class Holding:
    """One replicated queue: who leads it, if anybody does, and who has a replica."""

    vhost: str
    queue: str
    leader: NodeName | None
    members: tuple[NodeName, ...]


def holdings(text: str) -> list[Holding]:
    """What ``LISTING`` prints. ValueError if it isn't understood."""
    return [_holding(line) for line in unpacked(text).splitlines()]


def _holding(line: str) -> Holding:
    words = line.split(" ")
    if len(words) != 4:
        raise ValueError(f"not a queue: {line[:200]!r}")
    vhost, queue, leader, members = words
    return Holding(
        decoded(vhost),
        decoded(queue),
        None if leader == "none" else NodeName(leader),
        tuple(NodeName(member) for member in members.split(",") if member),
    )


def failures(text: str) -> dict[int, str]:
    """What ``adding`` and ``deleting`` print: numbers of moves, and why each failed. ValueError if
    it isn't understood."""
    told = text.strip()
    if not _FAILURES.fullmatch(told):
        raise ValueError(f"not a list of failures: {told[:200]!r}")
    reasons = {int(match[1]): _reason(match[2]) for match in _FAILURE.finditer(told)}
    return {number: GOING if why == "going" else why for number, why in reasons.items()}


def _reason(encoded: str) -> str:
    """A long one is printed in pieces: ``<<"aaa"`` and in the next line ``"bbb">>``."""
    try:
        return " ".join(decoded(encoded).split())[:200]
    except binascii.Error:
        return "for a reason that isn't understood"


def positions(text: str, number: int) -> list[Position]:
    """What ``asking`` prints, for so many moves. ValueError if it isn't understood."""
    found = {int(m[1]): Position(int(m[2]), int(m[3])) for m in _TRIPLE.finditer(text)}
    if sorted(found) != list(range(number)):
        raise ValueError(f"not the positions of {number} replicas: {text.strip()[:200]!r}")
    return [found[at] for at in range(number)]


def _terms(moves: Sequence[ReplicaMove], side: str) -> str:
    return (
        "[" + ",".join(_term(at, move, getattr(move, side)) for at, move in enumerate(moves)) + "]"
    )


def _term(at: int, move: ReplicaMove, node: str | None) -> str:
    if node is None or "'" in node or "\\" in node:
        raise ValueError(f"not a node's name: {node!r}")
    return f"{{{at},{move.type},{_binary(move.vhost)},{_binary(move.queue)},'{node}'}}"


def _binary(text: str) -> str:
    return f'<<"{base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()}">>'
