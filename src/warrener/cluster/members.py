"""Which nodes a local cluster has: the ones it was made of, the ones it is to have. Pure.

Nodes are n1@localhost to n9@localhost. A cluster that was formed once has the members that its
record says, whatever number a file without a word on it would default to: a node holds data. It
grows to a larger number by itself when it is started; to a smaller one it has to be told which node
goes (``warrener node remove``, or ``apply``, which starts all and then takes one after the other
away), as that takes time and care.

A record may also say that a node was on its way when Warrener was killed: ``joining`` (it wasn't a
member yet, or its data was given up to make it anew) or ``leaving`` (it had nothing left). At the
next start both are brought to an end: see ``plan``. If it has data, it boots with the others all
the same: they may have stopped before it, and then wait for its tables. What it is comes out when
the others serve.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from warrener.cluster.errors import MembersDiffer
from warrener.facts.ids import NodeName, short_name

HOST: Final = "localhost"  # local nodes are n1@localhost, n2@localhost, ...
MAX_NODES: Final = 9  # on one machine; past it the ports of a block run out

_NAME: Final = re.compile(rf"n([1-{MAX_NODES}])@{HOST}")


def name_of(number: int) -> NodeName:
    """The name of a local node."""
    return NodeName(f"n{number}@{HOST}")


def number_of(name: NodeName) -> int:
    """The number in a local node's name. ValueError if it isn't one."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"a local node is n1 to n{MAX_NODES}, not '{short_name(name)}'")
    return int(match[1])


def node_names(nodes: int) -> tuple[NodeName, ...]:
    """The names of a new local cluster's nodes."""
    return tuple(name_of(number) for number in range(1, nodes + 1))


def by_number(names: Iterable[NodeName]) -> tuple[NodeName, ...]:
    """The same in order, n10 (should there ever be one) behind n9."""
    return tuple(sorted(set(names), key=number_of))


def next_name(names: Iterable[NodeName]) -> NodeName | None:
    """The name of one node more: the lowest that is free; None if there is none."""
    taken = set(names)
    return next((name for name in node_names(MAX_NODES) if name not in taken), None)


@dataclass(frozen=True, slots=True)
class StartPlan:
    """How a cluster starts: ``known`` and ``uncertain`` boot at once. Those uncertain that don't
    serve when the known do, or are ``leaving``, are cleared away, as is what is ``gone``. Then
    ``new`` nodes join, and of the cleared ones those that are ``wanted``.

    ``lost`` are members whose data isn't there: booted, they would found a cluster of their own.
    """

    known: tuple[NodeName, ...]
    new: tuple[NodeName, ...] = ()
    uncertain: tuple[NodeName, ...] = ()
    gone: tuple[NodeName, ...] = ()
    lost: tuple[NodeName, ...] = ()
    leaving: NodeName | None = None
    wanted: tuple[NodeName, ...] = ()

    @property
    def names(self) -> tuple[NodeName, ...]:
        """All nodes that are made ready; one that leaves is among them while it is uncertain."""
        return by_number((*self.known, *self.new, *self.uncertain, *self.lost))


def plan(
    members: Sequence[NodeName],
    *,
    joining: NodeName | None,
    leaving: NodeName | None,
    without_data: Iterable[NodeName],
    wanted: int,
    given: bool,
    more_may_run: bool = False,
    folder: str = "",
) -> StartPlan:
    """How to start. ``members`` is empty for a cluster that never was. ``given``: somebody asked
    for ``wanted`` nodes; else it is only a default. ``without_data``: nodes that have none.

    Raises MembersDiffer if fewer nodes are wanted than there are, unless ``more_may_run``: then all
    of them start.
    """
    if not members:
        return StartPlan(known=(), new=node_names(wanted))
    empty = set(without_data)
    stay = [name for name in members if name != leaving]
    if given and wanted < len(stay) and not more_may_run:
        names = ", ".join(short_name(name) for name in stay)
        over = len(stay) - wanted
        raise MembersDiffer(
            f"the cluster in {folder} has {len(stay)} nodes ({names}) and {wanted} are wanted: "
            f"starting fewer would lose the data on the rest. Start it with --nodes {len(stay)} "
            f"and take {'one' if over == 1 else over} out with `warrener node remove NODE`, or "
            f"remove the cluster and all its data first with `warrener down --purge`"
        )
    on_its_way = {name for name in (joining, leaving) if name is not None}
    uncertain = [name for name in on_its_way if name not in empty]
    new = [name for name in stay if name == joining and name in empty]
    for _ in range(wanted - len(stay) if given else 0):
        one_more = next_name([*stay, *new, *(on_its_way & {leaving})])
        if one_more is None:
            break
        new.append(one_more)
    lost = [name for name in stay if name in empty and name not in on_its_way]
    return StartPlan(
        known=by_number(name for name in stay if name not in (*on_its_way, *lost)),
        new=by_number(name for name in new if name not in uncertain),
        uncertain=by_number(uncertain),
        gone=by_number(on_its_way - {*uncertain, *new}),
        lost=by_number(lost),
        leaving=leaving,
        wanted=by_number(name for name in uncertain if name != leaving and name in (*stay, *new)),
    )
