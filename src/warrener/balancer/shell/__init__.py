"""Every wait of the balancer: listener, transports, timers, probes. Decides nothing."""
