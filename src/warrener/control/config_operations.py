"""What can be asked of a daemon about RabbitMQ's configuration.

Values are text as ``rabbitmq.conf`` has it (``file``, ``value``) or as Erlang prints it
(``in_force``). A secret is ``SECRET`` wherever it would stand.
"""

from typing import Final

import msgspec

from warrener.control.operation import Operation, ProgressLine
from warrener.control.spread import LeadersSpread
from warrener.facts.ids import NodeName

SECRET: Final = "********"  # noqa: S105  what stands for one
"""What is shown of a password."""


class ConfigRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys that match ``pattern`` (``log.*``, or a part of a name; empty: all). ``every`` also
    those of the schema that the catalogue doesn't describe; ``exact``: ``pattern`` is one key,
    refused if there is none of that name. Progress streams before the answer."""

    pattern: str = ""
    every: bool = False
    exact: bool = False


class ConfigRow(msgspec.Struct, frozen=True, kw_only=True):
    """One key. ``in_force`` has the nodes that told it: None where the key has no value there.
    ``drift`` says what doesn't agree, empty if all does; ``source`` of the value in the file is
    ``set``, ``warrener.toml``, ``warrener`` or empty."""

    key: str
    purpose: str
    allowed: str
    unit: str
    file: str | None
    source: str
    in_force: dict[NodeName, str | None]
    default: str | None
    applies: str  # live, restart
    command: str  # what applies it live
    effect: str  # what a live change is effective for
    drift: str
    reserved: str  # why it can't be set; empty if it can
    since: str
    note: str
    described: bool  # the catalogue has an entry


class ConfigAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``silent``: nodes that couldn't be asked, with why."""

    version: str
    rows: list[ConfigRow]
    silent: dict[NodeName, str]


class SetConfigRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``value`` None takes the setting back. ``timeout`` (s) is for each node's start. ``dry_run``
    checks everything and tells what would be done. Hanging up ends it between two nodes."""

    key: str
    value: str | None
    dry_run: bool = False
    timeout: float = 120.0
    force: bool = False


class SetConfigAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``nodes`` got it (in a dry run: would get it), ``waiting`` don't run and get it when they
    start. ``already``: there was nothing to do. ``after`` is None if nothing is set now.
    ``leaders``: what became of them after restarts."""

    key: str
    before: str | None
    after: str | None
    default: str | None
    applies: str
    command: str
    effect: str
    note: str
    nodes: list[NodeName]
    waiting: list[NodeName]
    not_online: dict[NodeName, list[str]] = {}
    already: bool = False
    dry_run: bool = False
    seconds: float = 0.0
    leaders: LeadersSpread | None = None


CONFIG: Final = Operation("config", ConfigRequest, ConfigAnswer, ProgressLine)
SET_CONFIG: Final = Operation("set-config", SetConfigRequest, SetConfigAnswer, ProgressLine)
