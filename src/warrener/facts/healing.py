"""What can be set about repairs; ``cluster.spec`` reads it from ``warrener.toml``."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HealingSettings:
    """``[healing]``. ``patience``: seconds for which a node has to hang in its boot before it is
    restarted the first time."""

    enabled: bool = True
    patience: float = 60.0
