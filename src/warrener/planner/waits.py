"""What the way through the broker adds to a queue's times: measured by the calibration. Pure."""

from warrener.planner.costs import Calibration
from warrener.planner.load import QueueLoad


def occupied(queue: QueueLoad, calibration: Calibration) -> float | None:
    """Seconds that one message keeps a consumer from the next; None if nobody knows.

    With a prefetch of 1 the next comes when the broker has the ack: that is part of it, and isn't
    seen at the balancer. With more, the next is there already.
    """
    if queue.service_time is None:
        return None
    if queue.prefetch != 1 or not queue.seen_here:
        return queue.service_time
    return queue.service_time + calibration.wait(queue.type).turnaround
