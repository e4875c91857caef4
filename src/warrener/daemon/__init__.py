"""The composition root: one process that owns a cluster, its balancer and what is asked of them.

    run.py             process concerns: event loop, signals, lock, logs, exit code
    service.py         the order in which the rooms are started, wired and stopped
    handlers.py        the control operations, carried out on the running parts
    control_server.py  the server side of the control socket
    observer.py        looks at the cluster every two seconds and tells the balancer
    report.py          puts what the parts say into one status (pure)
    event_log.py       what happened: a ring in memory, JSON lines on disk, followers
    log.py             structlog and standard logging into STATE/log/daemon.log
    launch.py          starts a daemon of its own session and follows its start (`up -d`)

Who stops what: a signal or a ``stop`` request turns the ``Switch``; nothing cancels the service
from outside. Whatever ``service.py`` started it stops, in the opposite order, however it ends.
"""
