"""The operations one can ask a running daemon for.

A daemon listens on a unix socket in its state folder. A client sends one JSON object per line and
gets, for each, any number of progress or event lines and then one answer or one error:

    operations.py    what can be asked: the registry (name -> request, answer, what streams before)
    wire.py          the lines: envelope, version, limits, refusals
    state_folder.py  where a daemon lives: socket, lock, logs, marker, purge
    lock.py          who holds a state folder
    client.py        a plain blocking client, quick to import: the command line is built on it

The server side is ``warrener.daemon.control_server``.
"""
