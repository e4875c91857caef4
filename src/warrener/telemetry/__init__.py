"""What is told to Prometheus: metrics, their names, alert rules, and the configuration that scrapes
them.

    values (facts)  ──► collect ──► samples of registry's metrics ──► exposition ──► text
    registry        ──► alerts, recording rules ──► rule files
    addresses       ──► scrape ──► prometheus.yml, target files
    boards          ──► dashboards ──► Grafana's JSON ──► files, grafana_push

The daemon gathers the values and serves the text; nothing here does I/O or reads a clock, but for
grafana_push. The registry is the only place that names a metric: whatever asks for one (alerts,
dashboards) is checked against it.
"""
