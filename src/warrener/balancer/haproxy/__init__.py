"""HAProxy as the data plane: bytes are passed in C, Warrener decides about nodes.

    plan         which server gets what, from what the ``NodeTable`` says of the nodes: pure
    config       HAProxy's configuration, with a plan in it: pure
    tls          what HAProxy's configuration and files say about TLS: pure
    figures      what its runtime API answers, as values: pure
    runtime_api  asks the runtime API
    renewal      gives a HAProxy that runs new certificates
    program      finds HAProxy
    process      one HAProxy, started, watched, started again
    balancer     the whole, as the daemon knows a balancer

    probes, the cluster's view ──► NodeTable ──► plan ──► runtime API ──► HAProxy

What HAProxy has is compared with what it should have once a second, and whenever something
changes; the difference is told to it. So it makes no odds why they differ: a new weight, a node
that died, a HAProxy that was started anew or that somebody else has spoken to.
"""
