"""`warrener top`: one screen that follows a cluster, and acts on it.

    daemon ── control socket ─► Source ─── Reading ─► rows ─► columns, table.View ─► screen
                               (a thread)            (counters -> rates)  (pure)    (Textual)

``rows`` makes what is shown of two readings, ``columns`` says how each field is written, ``table``
sorts, filters and cuts out what is visible; none of them knows a terminal. ``acts`` says what a key
would do before it does it. ``frame`` is the same as text, for `--once` and for pipes. Only
``screen`` and ``dialogs`` import Textual, so no other command waits for it.

RabbitMQ is never asked: what the daemon knows already is enough, and a watcher is no load.
"""
