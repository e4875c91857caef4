"""What `warrener plan calibrate` and the process that measures say to each other.

A calibration is a process of its own (``python -m warrener.bench.calibrate``), as the generator is
part of the bench: one ``CalibrateSpec`` on its stdin, ``CalibrateLine`` after ``CalibrateLine`` on
its stdout, the last with a plan (dry run), a calibration or an error. It clears up when it gets
SIGINT, and when nobody reads what it says.
"""

import msgspec

from warrener.control.operation import ProgressLine

MODULE = "warrener.bench.calibrate"


class CalibrateSpec(msgspec.Struct, frozen=True, kw_only=True):
    """``seconds`` for all of it; ``types``, ``nodes`` (short names will do) and ``bodies`` (bytes)
    choose; no types or nodes: all. ``dry_run``: only say what would be done."""

    state: str
    seconds: float = 90.0
    types: list[str] = []
    nodes: list[str] = []
    bodies: list[int]
    dry_run: bool = False


class CalibratePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run does: the nodes it uses, how long each measurement takes and all together (s),
    and the measurements in words, in order."""

    nodes: list[str]
    window: float
    seconds: float
    steps: list[str]


class CalibrateLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Exactly one of them. ``calibration`` is the document that is kept, as JSON; ``error`` a
    sentence, and ``code`` the exit code that goes with it."""

    progress: ProgressLine | None = None
    plan: CalibratePlan | None = None
    calibration: str = ""
    error: str = ""
    code: int = 1
