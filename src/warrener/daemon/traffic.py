"""What went between clients and each node: what the balancer counts for metrics."""

from typing import TYPE_CHECKING, Final

from warrener.control.traffic_operations import TrafficAnswer, TrafficLine, TrafficRequest
from warrener.daemon.control_server import Call
from warrener.facts.telemetry import NodeFigures

if TYPE_CHECKING:  # the service makes this
    from warrener.daemon.service import Service

_NOT_YET: Final = TrafficAnswer(nodes=[])


class Traffic:
    """Answers before the balancer listens, too: nothing went through it then."""

    def __init__(self, service: "Service") -> None:
        self._service = service

    async def show(self, request: TrafficRequest, call: Call) -> TrafficAnswer:
        balancer = self._service.balancer
        if balancer is None:
            return _NOT_YET
        nodes = (await balancer.figures()).nodes
        return TrafficAnswer(nodes=None if nodes is None else [line(node) for node in nodes])


def line(figures: NodeFigures) -> TrafficLine:
    """One node on the wire."""
    counts = {f"{way}_{locality}": count for way, locality, count in figures.messages}
    return TrafficLine(
        node=figures.node,
        channels=figures.channels,
        links=figures.links,
        bytes_in=figures.bytes_in,
        bytes_out=figures.bytes_out,
        **counts,
    )
