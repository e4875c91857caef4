"""Grafana's dashboards, as data, and as the JSON that Grafana reads.

    registry ──► promql (selectors that can only name what exists) ──► boards: rows of panels
    boards   ──► placing (where each panel is) ──► grafana (Grafana's model) ──► files, push

A board is data like the alerts are: what is asked and how it is shown. Only ``grafana`` knows
Grafana's model, by the types that Grafana Labs generate from its own schema
(grafana-foundation-sdk). Nothing here does I/O or reads a clock, and the same boards give the same
bytes.
"""
