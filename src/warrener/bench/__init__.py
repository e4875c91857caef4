"""Measures Warrener beside HAProxy and beside straight connections, on one machine in one run.

The load generator is our own so that it is never what is measured: raw sockets, frames encoded
once and sent in batches, what comes back counted by stepping over fixed-size frames.

    cli       options, table, exit codes
    compare   the run: rounds interleaved over paths, seeded order, samples
    stand     what is measured: a cluster through the product's own command line, its vhost
    haproxy   a real HAProxy with a generated configuration
    paths     which address a client of a queue gets on each path
    workloads the names of workloads, their queues and sizes
    topology  queues declared where they should be led, and checked
    job       one measurement as a process of its own: spec on stdin, result on stdout
    load, latency, setup_rate, idle   the four kinds of measurement
    wire, counting   AMQP for the generator
    calibrate, calibration_plan, calibration_bench, cpu   `warrener plan calibrate`: the process,
              its steps, the measurements, the CPU of those who take part
    figures, report  medians, paired ratios, the document, the table
"""
