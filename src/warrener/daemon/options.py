"""What a daemon is started with."""

from dataclasses import dataclass, field
from pathlib import Path

from warrener.cluster.attach import Attach
from warrener.facts.data_plane import DataPlane


@dataclass(frozen=True, slots=True)
class Options:
    """What ``warrener up`` was asked for. ``nodes``, ``data_plane`` and ``attach`` override the
    file's; ``password`` is that of ``attach.user``, empty if it is where the file says.

    ``for_apply``: steps follow that take nodes away, so a cluster that has more than the file says
    is started with all of them. ``auto_weights``: as ``weights = "auto"`` in the file.
    ``prometheus``: whether one is run; None: as the file says.
    """

    state: Path
    file: Path | None = None
    nodes: int | None = None
    detached: bool = False
    data_plane: DataPlane | None = None
    for_apply: bool = False
    attach: Attach | None = None
    password: str = field(default="", repr=False)
    auto_weights: bool = False
    prometheus: bool | None = None
