"""The web page: what is shown of a running cluster, and who gets to see it.

    Moment (all that the daemon knows just now) ─► document (what one view needs) ─► viewers
    live: one reading for all viewers, pushed      server: loopback, token, assets

``moment`` and ``document`` are values and pure functions. The page itself is in ``static``: plain
HTML, CSS and JavaScript modules, served as they are.
"""
