"""All dashboards, in the order in which they are shown."""

from typing import Final

from warrener.telemetry.dashboards import balancer, events, overview, planner, queues
from warrener.telemetry.dashboards.board import Board
from warrener.telemetry.dashboards.events import MARKS

BOARDS: Final[tuple[Board, ...]] = (
    overview.BOARD,
    balancer.BOARD,
    queues.BOARD,
    planner.BOARD,
    events.BOARD,
)

__all__ = ["BOARDS", "MARKS"]
