"""The web page: what is shown of a running cluster, and who gets to see it.

    Moment (all that the daemon knows just now) ─► document (what one view needs) ─► viewers
    live: one reading for all viewers, pushed      server: loopback, token, assets
    plan: what the planner is asked and answers; who makes the server has one

``moment``, ``plan``, ``document`` and ``documents`` are values and pure functions. The page
itself is in ``static``: plain HTML, CSS and JavaScript modules, served as they are.
"""
