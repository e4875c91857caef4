"""The balancer: a load balancer that speaks AMQP 0-9-1.

``core`` decides (no I/O, no clock), ``shell`` does the waiting and the moving of bytes.
"""
