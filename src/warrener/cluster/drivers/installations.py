"""Which node of a cluster runs which RabbitMQ.

Mostly all run the one that the description leads to (``rabbitmq`` under [cluster], or Debian's). A
rolling upgrade gives one node after the other another one; the record in the state folder
(``cluster.json``) says which, so that a node starts with what it ran last, whoever starts it:

    installations   node -> root and version, of nodes that were given one
    described       what the description said then; when it says something else, that counts again
    trial           a node that is to start with another one, and what it ran before. While this is
                    there nobody has seen it serve with the new one

A daemon that is killed during a trial leaves it behind. The next start then takes the old
installation if both are of the same version, since that one is proven; of another version it takes
the new one, since the node's data may be converted already, and RabbitMQ knows no way back.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from warrener.cluster.catalogue.check import WrongSetting, check_setting
from warrener.cluster.catalogue.schema import Schema
from warrener.cluster.drivers.installation import (
    Installation,
    erlang_version,
    find_installation,
)
from warrener.cluster.drivers.private_files import Record, Trial, Used
from warrener.cluster.drivers.schema_files import load_schema
from warrener.cluster.errors import ClusterError, RabbitMQMissing
from warrener.cluster.upgrade_paths import version_of
from warrener.facts.ids import NodeName, short_name

_KEY: Final = "`rabbitmq` under [cluster] in warrener.toml"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An installation that nodes could be given: what there is to know before."""

    root: Path
    version: str
    erlang: str  # the one on the PATH, on which it would run; empty: not known
    missing_plugins: tuple[str, ...]
    wrong_settings: tuple[str, ...]  # sentences


class Installations:
    """The installations of one cluster's nodes. ``remember`` keeps changes of the record."""

    def __init__(
        self,
        given: Path | None,
        described: Callable[[], Installation],
        record: Callable[[], Record],
        remember: Callable[..., None],
    ) -> None:
        self._given = str(given) if given is not None else ""
        self._described = described
        self._record = record
        self._remember = remember
        self._found: dict[str, Installation] = {}  # by root

    def settled(self, record: Record) -> Record:
        """The record with which a start goes on: no trial left, and what the description says by
        now. Raises ClusterError if it says an older version than a node has run."""
        record = after_trial(record)
        if is_described_anew(record, self._given):
            record = redescribed(record, dict.fromkeys(record.installations, self._described()))
        return record

    def of(self, name: NodeName) -> Installation:
        """What a node starts with. Raises RabbitMQMissing or ErlangMissing."""
        used = given_to(self._record(), name)
        if used is None:
            return self._described()
        found = self._found.get(used.root)
        if found is not None:
            return found
        try:
            found = find_installation(Path(used.root), os.environ.get("PATH", ""))
        except RabbitMQMissing:
            raise RabbitMQMissing(
                f"{short_name(name)} was upgraded to RabbitMQ {used.version} in {used.root}, which "
                f"is gone: put it back there, or set {_KEY} to where it is now"
            ) from None
        self._found[used.root] = found
        return found

    def common(self, names: Iterable[NodeName]) -> Installation:
        """The one that all run; the described one while they differ, or before there are any."""
        found = [self.of(name) for name in names]
        if found and all(one.root == found[0].root for one in found):
            return found[0]
        return self._described()

    def begin_trial(self, name: NodeName, installation: Installation) -> None:
        """From here on a node starts with this one."""
        changes = trial(self._record(), name, self.of(name), installation, self._given)
        self._remember(**changes)

    def end_trial(self, *, keep: bool) -> None:
        """The node serves with it, or is to have its old one again."""
        self._remember(**trial_ended(self._record(), keep=keep))


# -- what the record says; ``given`` is ``rabbitmq`` of the description, empty if it has none


def given_to(record: Record, name: NodeName) -> Used | None:
    """What a rolling upgrade gave a node, or all nodes of the cluster that it joins. None: it runs
    what the description leads to."""
    if name in record.installations:
        return record.installations[name]
    used = [record.installations.get(member) for member in record.members]
    return used[0] if used and all(one == used[0] for one in used) else None


def is_described_anew(record: Record, given: str) -> bool:
    """Whether the description says something else than when nodes were upgraded: it counts then."""
    return bool(record.installations) and record.described != given


def redescribed(record: Record, now: Mapping[NodeName, Installation]) -> Record:
    """The record without upgrades: what the description leads to counts, ``now``. Raises
    ClusterError if that is older than what a node has run."""
    for name, used in record.installations.items():
        found = now.get(name)
        if found is not None and version_of(found.version) < version_of(used.version):
            raise ClusterError(
                f"{short_name(name)} was upgraded to RabbitMQ {used.version} ({used.root}), and "
                f"{_KEY} leads to {found.version} ({found.root}): RabbitMQ can't go back. Set it "
                f"to {used.root}"
            )
    return _with(record, installations={}, described="")


def trial(
    record: Record, name: NodeName, before: Installation, new: Installation, given: str
) -> dict[str, Any]:
    """What changes of the record when a node is to start with another installation."""
    return {
        "installations": {**record.installations, name: Used(str(new.root), new.version)},
        "described": given,
        "trial": Trial(name, Used(str(before.root), before.version)),
    }


def trial_ended(record: Record, *, keep: bool) -> dict[str, Any]:
    """What changes when the node serves with it, or is to have its old one again."""
    assert record.trial is not None, "a trial begins first"
    changed = record if keep else _taken_back(record, record.trial)
    return {"installations": changed.installations, "trial": None}


def after_trial(record: Record) -> Record:
    """Of a daemon that was killed during one (see the module)."""
    if record.trial is None:
        return record
    new = record.installations.get(record.trial.node)
    if new is not None and new.version == record.trial.before.version:
        record = _taken_back(record, record.trial)
    return _with(record, trial=None)


def candidate(
    path: Path, plugins: frozenset[str], settings: Mapping[str, str]
) -> tuple[Installation, Candidate]:
    """What is at ``path``, and whether it has what this cluster uses. Takes half a second. Raises
    RabbitMQMissing or ErlangMissing."""
    found = find_installation(path, os.environ.get("PATH", ""))
    schema = load_schema(found.root, found.version, tuple(plugins))
    there = found.plugins()
    return found, Candidate(
        root=found.root,
        version=found.version,
        erlang=erlang_version(found.erl),
        missing_plugins=tuple(sorted(name for name in plugins if name not in there)),
        wrong_settings=wrong_settings(settings, schema),
    )


def wrong_settings(settings: Mapping[str, str], schema: Schema) -> tuple[str, ...]:
    """What an installation with this schema would not take, in sentences."""
    wrong = []
    for key, value in settings.items():
        try:
            check_setting(key, value, schema)
        except WrongSetting as error:
            wrong.append(str(error))
    return tuple(wrong)


def _taken_back(record: Record, trial: Trial) -> Record:
    installations = {**record.installations, trial.node: trial.before}
    return _with(record, installations=installations)


def _with(record: Record, **changes: object) -> Record:
    return msgspec.structs.replace(record, **changes)
