"""The coordinator of streams: which nodes take part in it, and that it follows the cluster. Pure.

One Raft group over the cluster's nodes decides where the streams' replicas are, and starts them. It
is there once a stream was declared. RabbitMQ has it follow the cluster's members by a look every
30 s (``stream_tick_interval``), and nothing makes that look at once. Until then a node that was
removed counts for the majority, and one that came doesn't take part:

    three nodes, two come, two go, one is killed, all within 30 s:  2 of 5, and no majority
    a node is made anew, and another one a quarter of a minute later:  1 of 3, for good

Without a majority no replica is started, moved or noticed to be gone, and no stream is declared. So
the look is asked for after each step (the word is the same in 3.9, 3.10, 3.11, 3.13 and the
newest), and its end is waited for before the next one.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from warrener.cluster.drivers.erl_call import unpacked
from warrener.facts.ids import NodeName

FOLLOW: Final = """
    Known = rabbit_nodes:all(),
    Running = rabbit_nodes:all_running(),
    Lives = fun(N) -> rpc:call(N, erlang, whereis, [rabbit_stream_coordinator], 2000) end,
    Alive = [N || N <- Running, is_pid(Lives(N))],
    Asked = case lists:member(node(), Alive) of true -> [node()]; false -> [] end ++ Alive,
    Told = case Asked of
             [] -> {none, []};
             [First | _] ->
               case catch ra:members({rabbit_stream_coordinator, First}, 2000) of
                 {ok, Members, {_, _} = Leader} ->
                   catch ra:cast_aux_command(Leader, maybe_resize_coordinator_cluster),
                   {led, [N || {_, N} <- Members]};
                 {ok, Members, _} -> {alone, [N || {_, N} <- Members]};
                 _ -> {alone, []}
               end
           end,
    {How, Taking_part} = Told,
    Line = fun(Nodes) -> [lists:join(" ", [atom_to_list(N) || N <- Nodes]), "\\n"] end,
    base64:encode(iolist_to_binary([atom_to_list(How), "\\n"
                                    | [Line(L) || L <- [Taking_part, Alive, Running, Known]]])).
"""
"""Asks the coordinator to follow the cluster, and prints how it was before: whether it has a
leader, who takes part, on which nodes that run it lives, which run, and all there are."""


@dataclass(frozen=True, slots=True)
class Coordinator:
    """Who takes part in it. ``alive``: the nodes on which it runs."""

    led: bool
    members: frozenset[NodeName]
    alive: frozenset[NodeName]
    running: frozenset[NodeName]
    known: frozenset[NodeName]

    def follows(self, without: Collection[NodeName] = ()) -> bool:
        """Whether all nodes that run take part, apart from those ``without`` which it goes, and
        nobody who is no member of the cluster."""
        return self.led and not self.left_over and not self.missing(without)

    def missing(self, without: Collection[NodeName] = ()) -> tuple[NodeName, ...]:
        """Nodes that run and don't take part."""
        taking_part = self.members & self.alive
        return tuple(sorted(self.running - taking_part - frozenset(without)))

    @property
    def left_over(self) -> tuple[NodeName, ...]:
        """Nodes that are no more and count all the same."""
        return tuple(sorted(self.members - self.known))


def seen(text: str) -> Coordinator | None:
    """What ``FOLLOW`` prints; None: there is no coordinator, as there was no stream yet. ValueError
    if it isn't understood."""
    lines = unpacked(text).split("\n")
    if len(lines) != 6 or lines[0] not in ("none", "led", "alone"):
        raise ValueError(f"not the word of a coordinator of streams: {lines[:6]!r:.200}")
    if lines[0] == "none":
        return None
    members, alive, running, known = (frozenset(map(NodeName, row.split())) for row in lines[1:5])
    return Coordinator(lines[0] == "led", members, alive, running, known)
