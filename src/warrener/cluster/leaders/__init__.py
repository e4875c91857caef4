"""Leaders of queues spread by what they cost: measured, planned, moved.

    measure   asks the cluster for counters, twice, a while apart
    rates     messages a second of each queue, and what they cost the nodes (pure)
    plan      the fewest leaders to move (pure)

Moving them is the driver's (``cluster.drivers.upkeep``), pacing and caution the daemon's
(``daemon.leaders``).
"""
