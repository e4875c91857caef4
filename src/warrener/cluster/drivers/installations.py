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
from typing import Final

import msgspec

from warrener.cluster.catalogue.check import WrongSetting, check_setting
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
        if record.trial is not None:
            record = _after_trial(record, record.trial)
        if record.installations and record.described != self._given:
            now = self._described()
            for name, used in record.installations.items():
                if version_of(now.version) < version_of(used.version):
                    raise ClusterError(
                        f"{short_name(name)} was upgraded to RabbitMQ {used.version} "
                        f"({used.root}), and {_KEY} leads to {now.version} ({now.root}): RabbitMQ "
                        f"can't go back. "
                        f"Set it to {used.root}"
                    )
            record = _with(record, installations={}, described="")
        return record

    def of(self, name: NodeName) -> Installation:
        """What a node starts with. Raises RabbitMQMissing or ErlangMissing."""
        used = self._record().installations.get(name) or self._of_all_members()
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

    def _of_all_members(self) -> Used | None:
        """What a node gets that joins a cluster whose nodes were all given the same one."""
        record = self._record()
        used = [record.installations.get(member) for member in record.members]
        return used[0] if used and all(one == used[0] for one in used) else None

    def begin_trial(self, name: NodeName, installation: Installation) -> None:
        """From here on a node starts with this one."""
        before = self.of(name)
        record = self._record()
        new = Used(str(installation.root), installation.version)
        self._remember(
            installations={**record.installations, name: new},
            described=self._given,
            trial=Trial(name, Used(str(before.root), before.version)),
        )

    def end_trial(self, *, keep: bool) -> None:
        """The node serves with it, or is to have its old one again."""
        record = self._record()
        assert record.trial is not None, "begin_trial() first"
        changed = record if keep else _taken_back(record, record.trial)
        self._remember(installations=changed.installations, trial=None)


def candidate(
    path: Path, plugins: frozenset[str], settings: Mapping[str, str]
) -> tuple[Installation, Candidate]:
    """What is at ``path``, and whether it has what this cluster uses. Takes half a second. Raises
    RabbitMQMissing or ErlangMissing."""
    found = find_installation(path, os.environ.get("PATH", ""))
    schema = load_schema(found.root, found.version, tuple(plugins))
    wrong = []
    for key, value in settings.items():
        try:
            check_setting(key, value, schema)
        except WrongSetting as error:
            wrong.append(str(error))
    there = found.plugins()
    return found, Candidate(
        root=found.root,
        version=found.version,
        erlang=erlang_version(found.erl),
        missing_plugins=tuple(sorted(name for name in plugins if name not in there)),
        wrong_settings=tuple(wrong),
    )


def _after_trial(record: Record, trial: Trial) -> Record:
    new = record.installations.get(trial.node)
    if new is not None and new.version == trial.before.version:
        record = _taken_back(record, trial)
    return _with(record, trial=None)


def _taken_back(record: Record, trial: Trial) -> Record:
    installations = {**record.installations, trial.node: trial.before}
    return _with(record, installations=installations)


def _with(record: Record, **changes: object) -> Record:
    return msgspec.structs.replace(record, **changes)
