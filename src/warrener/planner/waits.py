"""What the way through the broker adds to a queue's times. Pure."""

from warrener.planner.costs import Calibration
from warrener.planner.load import QueueLoad


def occupied(queue: QueueLoad, calibration: Calibration) -> float | None:
    """Seconds that one message keeps a consumer from the next; None if nobody knows.

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
