"""Pictures of what the planner says: SVG or PNG, drawn by matplotlib (the extra ``plots``).

    curves.py     R and L of queues against load: what is drawn, as numbers
    flow_map.py   clients, balancer, nodes, queues, consumers and the min-cut: boxes and links
    picture.py    the file: looked at before anything is measured, written whole or not at all
    style.py      colours, fonts, numbers as they are written
    response.py, flow.py, policies.py   the drawings
    outlook.py    the figure of `plan show` and `plan what-if`

``curves`` and ``flow_map`` decide and don't know matplotlib; only what draws imports it, and only
when it draws, so that nothing else needs it.
"""
