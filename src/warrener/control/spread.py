"""What became of the queues' leaders after a change to the cluster's nodes: part of its answer."""

from enum import StrEnum

import msgspec


class SpreadBy(StrEnum):
    """What leaders were spread by."""

    LOAD = "load"  # as measured
    NUMBER = "number"  # next to nothing went through the queues


class LeadersSpread(msgspec.Struct, frozen=True, kw_only=True):
    """``moved`` of ``planned`` leaders; ``why``: why it didn't come to that, or ended early, mostly
    empty. ``skew`` is the busiest node over the mean (of load or number, see ``by``), 1.0 at best,
    as it was and as expected of the plan."""

    by: SpreadBy = SpreadBy.LOAD
    planned: int = 0
    moved: int = 0
    more: bool = False  # than are moved at once
    skew_before: float = 0.0
    skew_expected: float = 0.0
    why: str = ""
