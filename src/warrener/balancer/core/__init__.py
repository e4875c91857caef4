"""Every decision of the balancer: which node, what to forward, when to close. No I/O, no clock."""
