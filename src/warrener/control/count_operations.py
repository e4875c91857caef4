"""RabbitMQ's own rebalancing of leaders: as many on each node, whatever they carry."""

from typing import Final

import msgspec

from warrener.control.operation import Operation, ProgressLine
from warrener.facts.ids import NodeName


class LeadersSpreadRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Asks for it and waits until leaders stay where they are. Hanging up ends the waiting: what
    RabbitMQ has begun it brings to its end."""


class CountLine(msgspec.Struct, frozen=True, kw_only=True):
    """Quorum queues that a node leads."""

    node: NodeName
    before: int
    after: int


class LeadersSpreadAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``moved``: queues that another node leads now. ``settled``: whether leaders stay where they
    are by now."""

    nodes: list[CountLine]
    moved: int
    settled: bool
    seconds: float


LEADERS_SPREAD: Final = Operation(
    "leaders-spread", LeadersSpreadRequest, LeadersSpreadAnswer, ProgressLine
)
