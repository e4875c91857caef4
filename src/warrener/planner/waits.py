"""What the way through the broker adds to a queue's times, and what its stalls do. Pure."""

from typing import Final

from warrener.models.interruptions import Stalls, available
from warrener.planner.costs import Calibration, QueueType
from warrener.planner.load import QueueLoad

LEAST: Final = 0.01
"""The part of the time that consumers are taken to have at least: more stalls than that are an
outage, not a state to plan with."""


def occupied(queue: QueueLoad, calibration: Calibration) -> float | None:
    """Seconds that one message keeps a consumer from the next, stalls included; None if nobody
    knows. So many consumers over it is what they get through."""
    takes = undisturbed(queue, calibration)
    stalls = stalls_of(queue)
    if takes is None or stalls is None or not queue.service_time:
        return takes
    if queue.prefetch == 0:
        return takes  # while they can't keep up they always have something in hand
    return takes / max(LEAST, available(stalls, queue.prefetch * queue.service_time))


def undisturbed(queue: QueueLoad, calibration: Calibration) -> float | None:
    """The same while nothing stalls.

    With a prefetch of 1 the next comes when the broker has the ack: that is part of it, and isn't
    in its work as the balancer sees it. With more, the next is there already. How long it takes
    goes by what was seen of this queue's; else by the calibration, which measured it of one message
    alone: a busy quorum queue takes longer.
    """
    if queue.service_time is None:
        return None
    if queue.prefetch != 1 or not queue.seen_here:
        return queue.service_time
    if queue.turnaround is not None:
        return queue.service_time + queue.turnaround
    return queue.service_time + calibration.wait(queue.type).turnaround


def stalls_of(queue: QueueLoad) -> Stalls | None:
    """Those that hold up its messages and acks; None: none, or nobody knows. They were seen by
    confirms: only a quorum queue gives nothing to consumers that it couldn't confirm yet."""
    if queue.type is not QueueType.QUORUM or queue.stalls is None or queue.stalls.wait <= 0:
        return None
    return queue.stalls
