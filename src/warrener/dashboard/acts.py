"""What a viewer of the page can do, and what is said of it: the words between page and daemon.

    Ask ─► Preview (with an id) ─► Confirmation of that id ─► an act ─► ActLine in every document

A preview changes nothing. Only what was shown can be confirmed: a confirmation has nothing in it
but the id of a preview, which the daemon keeps, and the daemon looks whether the cluster is still
as the preview had it. What goes on belongs to the daemon, not to the viewer: every viewer sees it,
and a viewer that goes away or reloads its page ends nothing.
"""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from warrener.facts.reasons import ActEnd
from warrener.facts.settings import PolicyName

NodeText = Annotated[str, Meta(min_length=1, max_length=200)]


class ActKind(StrEnum):
    """What can be done."""

    DRAIN = "drain"
    REVIVE = "revive"
    REBALANCE = "rebalance"
    POLICY = "policy"
    WEIGHT = "weight"
    LEADERS = "leaders"


# ------------------------------------------------------------------------ what is asked


class _Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="act"):
    """What they have in common."""


class AskDrain(_Ask, frozen=True, tag="drain"):
    """A node out of service."""

    node: NodeText


class AskRevive(_Ask, frozen=True, tag="revive"):
    """A node back."""

    node: NodeText


class AskRebalance(_Ask, frozen=True, tag="rebalance"):
    """Open sessions spread again."""


class AskPolicy(_Ask, frozen=True, tag="policy"):
    """Another policy. None: which there are; that can't be confirmed."""

    policy: PolicyName | None = None


class AskWeight(_Ask, frozen=True, tag="weight"):
    """Another weight. None: which it has; that can't be confirmed."""

    node: NodeText
    weight: int | None = None


class AskLeaders(_Ask, frozen=True, tag="leaders"):
    """Leaders of queues by load. Takes some seconds: it is measured."""


Ask = AskDrain | AskRevive | AskRebalance | AskPolicy | AskWeight | AskLeaders


class Confirmation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Do what that preview showed."""

    preview: Annotated[str, Meta(min_length=1, max_length=64)]


class CallOff(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """End the act of this number if it can still be ended without harm."""

    number: Annotated[int, Meta(ge=1)]


# ------------------------------------------------------------------------- what is told


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """A small table. ``numbers``: columns that are figures, counted from 0."""

    caption: str
    columns: list[str]
    numbers: list[int]
    rows: list[list[str]]


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One of several. ``now``: as it is set."""

    value: str
    hint: str
    now: bool = False


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What an act would come to. ``id`` is empty if there is nothing that could be confirmed: there
    is nothing to do, or it would be refused (``refusals`` say why)."""

    id: str
    act: ActKind
    node: str
    title: str
    lines: list[str]
    refusals: list[str]
    sheets: list[Sheet]
    button: str
    choices: list[Choice] = []
    value: int | None = None  # of what is set by a number, as it is now


class Said(msgspec.Struct, frozen=True):
    """A line of what goes on; a count is said again under its number."""

    number: int
    text: str


class ActLine(msgspec.Struct, frozen=True, kw_only=True):
    """An act under way, or one that ended lately. ``end`` None: it goes on; ``outcome`` says what
    became of it. ``node`` is empty where it concerns none; times since the epoch."""

    number: int
    act: ActKind
    node: str
    doing: str
    viewer: str
    began_at: float
    lines: list[Said]
    count: int
    total: int
    can_be_called_off: bool
    called_off: bool
    end: ActEnd | None
    outcome: str
    ended_at: float | None


class ActsShown(msgspec.Struct, frozen=True, kw_only=True):
    """What every viewer sees. ``others``: what is done to the cluster that no viewer began, in
    words. ``why_not``: acts that aren't possible here, and why."""

    acts: list[ActLine] = []
    others: list[str] = []
    why_not: dict[ActKind, str] = {}


class Began(msgspec.Struct, frozen=True):
    """The number of an act that was confirmed."""

    number: int


class Stale(msgspec.Struct, frozen=True):
    """Nothing was done: the cluster isn't as the preview had it. ``preview`` is one of now."""

    message: str
    preview: Preview
