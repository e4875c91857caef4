"""What a daemon is started with."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """What ``warrener up`` was asked for. ``nodes`` overrides the file's number."""

    state: Path
    file: Path | None = None
    nodes: int | None = None
    detached: bool = False
