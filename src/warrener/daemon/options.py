"""What a daemon is started with."""

from dataclasses import dataclass
from pathlib import Path

from warrener.facts.data_plane import DataPlane


@dataclass(frozen=True, slots=True)
class Options:
    """What ``warrener up`` was asked for. ``nodes`` and ``data_plane`` override the file's.

    ``for_apply``: steps follow that take nodes away, so a cluster that has more than the file says
    is started with all of them.
    """

    state: Path
    file: Path | None = None
    nodes: int | None = None
    detached: bool = False
    data_plane: DataPlane | None = None
    for_apply: bool = False
