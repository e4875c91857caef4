"""What can be asked about the RabbitMQ that the nodes run: another one for all of them."""

from typing import Final

import msgspec

from warrener.control.operation import Operation, ProgressLine
from warrener.control.spread import LeadersSpread
from warrener.facts.ids import NodeName


class UpgradeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``to`` is the root of an installation, absolute. ``nodes`` empty: all. ``timeout`` s are for
    each node's start. ``dry_run`` tells the checks and what would be done. ``flags`` enables the
    stable feature flags at the end, once all nodes run it. ``force`` also where a check that isn't
    about versions says no. Progress streams before the answer; hanging up ends it between two
    nodes, or while the present one's sessions are moved."""

    to: str
    nodes: list[str] = []
    timeout: float = 120.0
    dry_run: bool = False
    flags: bool = False
    force: bool = False


class CheckLine(msgspec.Struct, frozen=True, kw_only=True):
    """One thing looked at before. ``problem`` is empty if it is as it should be; ``forcible``:
    --force passes over it."""

    what: str
    problem: str
    forcible: bool


class UpgradeNodeLine(msgspec.Struct, frozen=True, kw_only=True):
    """One node. ``state``: ``to do``, ``already``, ``done``, ``not asked for``. ``version`` and
    ``installation`` are what it runs when this is said."""

    node: NodeName
    state: str
    version: str
    installation: str
    seconds: float = 0.0


class UpgradeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``flags_off``: stable feature flags that are not enabled, by the end; ``flags_enabled`` those
    that were. ``mixed``: not all nodes run the same version. ``described``: whether the cluster's
    description leads to this installation, too; ``leaders`` what was done about leaders after."""

    to: str
    version: str
    checks: list[CheckLine]
    nodes: list[UpgradeNodeLine]
    flags_off: list[str]
    flags_enabled: list[str]
    mixed: bool
    described: bool
    leaders: LeadersSpread | None = None
    dry_run: bool = False
    seconds: float = 0.0


UPGRADE: Final = Operation("rolling-upgrade", UpgradeRequest, UpgradeAnswer, ProgressLine)
