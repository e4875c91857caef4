"""What can be asked about the nodes that a cluster is made of: one more, one less, one made anew.

Like ``operations``, whose registry lists these. Each streams progress and goes on to the end of the
step that it is in when its asker hangs up. With ``balance`` the leaders of queues are spread again
at the end.
"""

from typing import Final

import msgspec

from warrener.control.operations import DrainAnswer, Operation, ProgressLine
from warrener.control.spread import LeadersSpread
from warrener.facts.ids import NodeName
from warrener.facts.replicas import Spread


class AddNodeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``node`` is the short or whole name, empty: the lowest that is free. ``timeout`` s are for
    its start. ``force`` also while other nodes are down."""

    node: str = ""
    replicas: Spread = Spread.SHARE
    timeout: float = 120.0
    force: bool = False
    balance: bool = True


class AddNodeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``replicas``: queues that have one on the node now; ``failed``: queues that were to get one
    and why they didn't."""

    node: NodeName
    pid: int | None
    nodes: int
    replicas: int = 0
    failed: dict[str, str] = {}
    stopped: bool = False  # while replicas moved, by its asker
    seconds: float = 0.0
    leaders: LeadersSpread | None = None


class RemoveNodeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``timeout`` s are for moving the sessions. ``force`` also where something is lost with it, or
    queues are left with fewer replicas."""

    node: str
    timeout: float = 60.0
    force: bool = False
    balance: bool = True


class RemoveNodeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``moved`` replicas have a successor elsewhere; ``thinned`` queues are left with one less,
    ``lost`` ones with none."""

    node: NodeName
    nodes: int
    drained: DrainAnswer | None
    moved: int = 0
    thinned: list[str] = []
    lost: list[str] = []
    seconds: float = 0.0
    leaders: LeadersSpread | None = None


class ReplaceNodeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node whose data is gone or broken; ``force`` also one that serves, or holds something
    alone. ``timeout`` s are for its start."""

    node: str
    timeout: float = 120.0
    force: bool = False
    balance: bool = True


class ReplaceNodeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``replicas``: queues that have their replica on the node again."""

    node: NodeName
    pid: int | None
    replicas: int = 0
    failed: dict[str, str] = {}
    lost: list[str] = []
    seconds: float = 0.0
    leaders: LeadersSpread | None = None


class StopAppRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Moves the sessions off, then stops RabbitMQ on the node; its process stays. ``timeout`` s are
    for the sessions."""

    node: str
    timeout: float = 60.0
    force: bool = False


class StopAppAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``drained`` is None if the node didn't serve."""

    node: NodeName
    drained: DrainAnswer | None
    seconds: float = 0.0


class StartAppRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Starts RabbitMQ on a node whose process runs; waits up to ``timeout`` s until it is fit."""

    node: str
    timeout: float = 60.0


class StartAppAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``not_online``: queues whose replica on the node isn't."""

    node: NodeName
    not_online: list[str] = []
    seconds: float = 0.0


ADD_NODE: Final = Operation("add-node", AddNodeRequest, AddNodeAnswer, ProgressLine)
REMOVE_NODE: Final = Operation("remove-node", RemoveNodeRequest, RemoveNodeAnswer, ProgressLine)
REPLACE_NODE: Final = Operation("replace-node", ReplaceNodeRequest, ReplaceNodeAnswer, ProgressLine)
STOP_APP: Final = Operation("stop-app", StopAppRequest, StopAppAnswer, ProgressLine)
START_APP: Final = Operation("start-app", StartAppRequest, StartAppAnswer, ProgressLine)
