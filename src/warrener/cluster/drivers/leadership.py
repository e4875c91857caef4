"""Handing the leadership of queues to other nodes, by an expression for ``rabbitmqctl eval``. Pure.

There is no command for it: ``rabbitmq-queues rebalance`` chooses by itself. What it uses for one
queue, ``rabbit_quorum_queue:transfer_leadership/2``, is there from 3.8 to 4.3 and answers
``{migrated, Node}``, from 4.3 on maybe ``{ok, Node}``. The leader stays until the other one is
there, so nobody's request fails in between.

Streams are left alone. Up to 3.11 there is no way; from 3.12 on ``rabbit_stream_queue`` has a
function of the same name, but it restarts the stream: its clients would notice.

A tool call boots an Erlang VM, 0.35 s and more; so many moves go into one. Names come as numbers
of bytes, never as text inside the expression.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from warrener.facts.leaders import LeaderMove, NotMoved

MAX_EXPRESSION: Final = 64 * 1024
"""Bytes; Linux takes 128 KiB in one argument. A name of 255 bytes takes 1 KiB here."""

_EXPRESSION: Final = """
    Transfer = fun(VHost, Name, Node) ->
      try
        To = binary_to_existing_atom(Node, utf8),
        {{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(VHost, queue, Name)),
        rabbit_quorum_queue = amqqueue:get_type(Q),
        case rabbit_quorum_queue:transfer_leadership(Q, To) of
          {{migrated, To}} -> moved;
          {{ok, To}} -> moved;
          Other -> Other
        end
      catch _:Why -> Why end
    end,
    Short = fun(Term) ->
      Text = lists:flatten(io_lib:format("~0p", [Term])),
      lists:sublist([C || C <- Text, C > 31, C < 127, C =/= $", C =/= $\\\\], 60)
    end,
    [{{not_moved, Number, "because " ++ Short(Why)}}
     || {{Number, VHost, Name, Node}} <- [{moves}],
        Why <- [Transfer(VHost, Name, Node)], Why =/= moved].
"""

_ANSWER: Final = re.compile(r'\{not_moved,\s*(\d+),\s*"because ([^"]*)"\s*\}')


def expressions(moves: Sequence[LeaderMove]) -> Iterator[tuple[str, Sequence[LeaderMove]]]:
    """What to evaluate, and the moves that each does. On any node that runs."""
    begin, size, words = 0, 0, list[str]()
    for number, move in enumerate(moves):
        fields = ", ".join(_binary(text) for text in (move.vhost, move.name, move.target))
        word = f"{{{number - begin}, {fields}}}"
        if words and size + len(word) > MAX_EXPRESSION:
            yield _EXPRESSION.format(moves=", ".join(words)), moves[begin:number]
            begin, size = number, 0
            words = [f"{{0, {fields}}}"]
        else:
            words.append(word)
        size += len(word) + 2
    if words:
        yield _EXPRESSION.format(moves=", ".join(words)), moves[begin:]


def _binary(text: str) -> str:
    return f"<<{','.join(map(str, text.encode()))}>>"


def not_moved(answer: str, moves: Sequence[LeaderMove]) -> list[NotMoved]:
    """Which of the expression's moves RabbitMQ says it didn't make."""
    told = ((int(number), why) for number, why in _ANSWER.findall(answer))
    return [NotMoved(moves[number], why) for number, why in told if number < len(moves)]
