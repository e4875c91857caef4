"""What went between clients and each node, as it is counted for metrics: `warrener top` makes rates
of two such readings."""

from typing import Final

import msgspec

from warrener.control.operation import Operation
from warrener.facts.ids import NodeName


class TrafficRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Asks for the counts of this moment; adding them up takes the daemon some microseconds."""


class TrafficLine(msgspec.Struct, frozen=True, kw_only=True):
    """One node. ``channels`` and ``links`` are open now; the rest counts bytes and messages since
    the balancer started: in from clients, out to them. ``local`` went through the node that leads
    their queue, ``remote`` through another one; of ``unknown`` that can't be told."""

    node: NodeName
    channels: int = 0
    links: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    in_local: int = 0
    in_remote: int = 0
    in_unknown: int = 0
    out_local: int = 0
    out_remote: int = 0
    out_unknown: int = 0


class TrafficAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``nodes`` is None if the data plane doesn't count messages."""

    nodes: list[TrafficLine] | None


TRAFFIC: Final = Operation("traffic", TrafficRequest, TrafficAnswer)
