"""The command line: parse, ask the daemon through ``control``, render. One file per group.

    main.py        the entry point, global options, errors -> exit codes
    common.py      options every command has, what is printed where
    lifecycle.py   up, down
    inspect.py     status, url, sessions, events
    balance.py     balance set-policy, set-weight, show
    doctor.py      is this machine ready? (the checks are in checks.py)
    render.py      tables
    progress.py    progress on a terminal, or as plain lines

A result goes to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 bad usage or
input, 3 not running. Imports that take long (Rich, the daemon's rooms) are made where they are
used: `warrener url` is called from scripts and takes a fraction of a second.
"""
