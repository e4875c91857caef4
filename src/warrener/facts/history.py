"""What can be set about the history of rates; ``cluster.spec`` reads it from ``warrener.toml``."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """``[history]``. Times in seconds. ``every``: from one sample to the next; ``keep``: how long
    they are kept. ``prometheus``: the URL of a Prometheus that has the history instead; empty:
    Warrener keeps its own."""

    enabled: bool = True
    every: float = 10.0
    keep: float = 7 * 24 * 3600.0
    prometheus: str = ""
