"""What can be asked about keeping what a cluster is: its backup, and putting one back.

A document of definitions may be larger than a request line, so a restore names the file and the
SHA-256 of what was read in it by who asks; the daemon, on the same machine and of the same user,
reads it again and goes on only if it is still the same.
"""

from typing import Final

import msgspec

from warrener.control.describe_operations import StepLine
from warrener.control.operation import Operation, ProgressLine


class BackupRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``secrets``: also passwords that Warrener generated, secret settings, and a warrener.toml
    with passwords in it. Progress streams before the answer."""

    secrets: bool = False


class BackupAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``document`` is what belongs into the file. ``counts`` of definitions by kind; ``left_out``
    for being secret, ``not_held`` by any backup."""

    cluster: str
    created: str
    counts: dict[str, int]
    settings: int
    left_out: list[str]
    not_held: list[str]
    document: msgspec.Raw

    def __repr__(self) -> str:
        return f"BackupAnswer(cluster={self.cluster!r}, created={self.created!r})"


class RestoreRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``path`` is absolute, ``digest`` the SHA-256 of the file. ``dry_run`` tells the steps.
    ``agreed`` is the fingerprint of the steps that were shown, empty: whatever they are.
    ``timeout`` (s) is for each node's start, where a setting takes one. Hanging up ends it between
    two steps; said again, it goes on."""

    path: str
    digest: str
    dry_run: bool = False
    agreed: str = ""
    force: bool = False
    timeout: float = 120.0


class FailedLine(msgspec.Struct, frozen=True, kw_only=True):
    """A step that couldn't be taken, and why."""

    step: StepLine
    why: str


class RestoreAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``steps`` were taken, in a dry run would be; ``failed`` were tried; ``blocked`` can't be
    taken here. ``left``: not begun. ``same`` definitions and settings were so already. ``notes``
    are things to know before."""

    source: str  # what the document is, for people
    steps: list[StepLine]
    failed: list[FailedLine]
    blocked: list[StepLine]
    left: list[StepLine]
    same: int
    notes: list[str]
    fingerprint: str
    dry_run: bool = False
    called_off: bool = False
    seconds: float = 0.0


BACKUP: Final = Operation("backup", BackupRequest, BackupAnswer, ProgressLine)
RESTORE: Final = Operation("restore", RestoreRequest, RestoreAnswer, ProgressLine)
