"""AMQP 0-9-1 on the wire: frames, methods, tables. Bytes in, values out.

No I/O, no clock, no session state. Three kinds of trouble are three kinds of type: "need more
bytes" is a value (``frames.Verdict.MORE``), "the peer broke the protocol" is a
``errors.ProtocolViolation``, and our own mistakes are ``AssertionError`` or ``ValueError``.
"""
