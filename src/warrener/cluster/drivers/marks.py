"""What marks a cluster's processes in their environment, on any machine. See ``processes``."""

from typing import Final

MARK_CLUSTER: Final = "WARRENER_CLUSTER"
MARK_PART: Final = "WARRENER_PART"


def mark(cluster: str, part: str) -> dict[str, str]:
    """The environment variables that mark a part of a cluster."""
    return {MARK_CLUSTER: cluster, MARK_PART: part}
