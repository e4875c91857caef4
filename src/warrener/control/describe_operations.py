"""Asking for what differs between a description and the running cluster, and for it to be changed.

The daemon gets the description's text and reads it with the code that the command line has, too:
so both speak of the same. Passwords that the description only refers to are resolved by who asks,
and travel over the control socket, which only its owner can open; they are never logged.
"""

from typing import Final

import msgspec

from warrener.control.operations import Operation, ProgressLine
from warrener.control.spread import LeadersSpread


class DiffRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What differs? ``text`` is a warrener.toml, ``source`` its name for mistakes, ``folder`` where
    relative paths in it start. ``secrets``: user -> password. ``prune``: what isn't described goes.
    """

    source: str
    folder: str
    prune: bool = False
    text: str
    secrets: dict[str, str]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(source={self.source!r}, prune={self.prune})"


class ApplyRequest(DiffRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Change it. ``agreed`` is the ``fingerprint`` of the steps that were shown; if they are others
    by now nothing is done. Empty: whatever the steps are. Progress streams before the answer; when
    the asker hangs up, the step under way is finished and the rest is left."""

    agreed: str = ""


class ChangeLine(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that becomes another; empty: it isn't there."""

    what: str
    before: str
    after: str


class StepLine(msgspec.Struct, frozen=True, kw_only=True):
    """One step. ``danger`` says why to look twice, ``blocked`` why it can't be taken; both are
    mostly empty."""

    verb: str  # make, change, remove
    thing: str  # user, virtual host, policy, ...
    subject: str
    changes: list[ChangeLine]
    danger: str = ""
    blocked: str = ""


class LaterLine(msgspec.Struct, frozen=True, kw_only=True):
    """A setting that is taken at the next ``warrener up``."""

    thing: str
    what: str
    before: str
    after: str


class DiffAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The steps in the order in which they'd be taken. ``unlisted``: what is there and not in the
    file, by kind; it is left alone."""

    steps: list[StepLine]
    later: list[LaterLine]
    unlisted: dict[str, list[str]]
    fingerprint: str


class ApplyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``failed`` is the step that ended it, with ``why``; ``left`` are those after it.
    ``called_off``: the asker hung up or the daemon stops; ``blocked`` are steps that were passed
    over; ``leaders`` what became of them after nodes came, went or were restarted."""

    done: list[StepLine]
    failed: StepLine | None
    why: str
    left: list[StepLine]
    blocked: list[StepLine]
    later: list[LaterLine]
    unlisted: dict[str, list[str]]
    called_off: bool
    seconds: float
    leaders: LeadersSpread | None = None


DIFF: Final = Operation("diff", DiffRequest, DiffAnswer)
APPLY: Final = Operation("apply", ApplyRequest, ApplyAnswer, ProgressLine)
