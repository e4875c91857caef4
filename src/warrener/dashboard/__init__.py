"""The web page: what is shown of a running cluster, what viewers do to it, and who they are.

    Moment (all that the daemon knows just now) ─► document (what one view needs) ─► viewers
    live: one reading for all viewers, pushed      server: loopback, token, assets
    plan: what the planner is asked and answers; who makes the server has one
    acting: requests that act ─► Acts (the daemon) ─► previews (what it would come to)

``moment``, ``document``, ``documents``, ``plan``, ``acts`` and ``previews`` are values and pure
functions. The page itself is in ``static``: plain HTML, CSS and JavaScript modules, served as they
are.
"""
