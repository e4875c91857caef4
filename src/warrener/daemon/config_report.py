"""What `config list`, `get` and `diff` tell of each key: the file beside what is in force. Pure.

Two things are *drift*: a node that doesn't have in force what its file comes to (or, where the file
says nothing, RabbitMQ's default), and nodes that differ among themselves.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

from warrener.cluster.catalogue.check import (
    Applies,
    Description,
    describe,
    is_secret,
    rivals,
)
from warrener.cluster.catalogue.entries import OLDEST
from warrener.cluster.catalogue.keys import KEYS
from warrener.cluster.catalogue.schema import Schema
from warrener.cluster.drivers.config_scripts import MEMORY, Told
from warrener.control.config_operations import SECRET, ConfigRow
from warrener.facts.ids import NodeName, short_name

CHANGED_BY_RABBITMQ: Final = frozenset({"rabbit.collect_statistics"})
"""Targets that RabbitMQ itself sets to something else than their default: the management plugin
turns fine statistics on."""

Layers = Mapping[str, tuple[str, str]]
"""Key -> (value in the file, where it comes from)."""


def layers(
    own: Mapping[str, str], described: Mapping[str, str], chosen: Mapping[str, str],
    settings: Mapping[str, str],
) -> dict[str, tuple[str, str]]:  # fmt: skip
    """What a node's file has, with the layer that each value comes from."""
    found = {}
    for key, value in settings.items():
        source = "warrener" if own.get(key) == value else ""
        source = "set" if chosen.get(key) == value else source
        source = "warrener.toml" if described.get(key) == value else source
        found[key] = (value, source or "set")
    return found


def choose(schema: Schema, files: Iterable[str], pattern: str, every: bool) -> list[str]:
    """The keys to tell of, those of the catalogue first and in its order: what it describes and
    what the files have; with ``every``, and where a pattern finds none there, also the rest of the
    schema."""
    in_files = list(dict.fromkeys(files))
    usual = [key for key in KEYS if key in schema.known and "$" not in key]
    keys = list(dict.fromkeys([*usual, *in_files]))
    rest = [key for key, one in schema.known.items() if key not in keys and not one.is_pattern]
    found = [key for key in keys if _matches(key, pattern)]
    if every or (pattern and not found):
        found += [key for key in rest if _matches(key, pattern)]
    return found


def _matches(key: str, pattern: str) -> bool:
    if not pattern:
        return True
    if any(sign in pattern for sign in "*?["):
        return fnmatchcase(key, pattern)
    return pattern in key


def row(
    key: str,
    schema: Schema,
    files: Mapping[NodeName, Layers],
    told: Mapping[NodeName, Told],
) -> ConfigRow:
    """One key. Raises WrongSetting if the schema doesn't know it."""
    known = describe(key, schema)
    values = {name: files[name][key][0] for name in files if key in files[name]}
    sources = [files[name][key][1] for name in files if key in files[name]]
    in_force = {} if _is_the_others(key, schema, files) else _in_force(known, told)
    file = _one(list(values.values()), len(files))
    entry, live = known.entry, known.entry.live if known.entry else None
    is_live = known.applies is Applies.LIVE and live is not None
    return ConfigRow(
        key=key,
        purpose=entry.purpose if entry else "",
        allowed=known.allowed,
        unit=entry.unit if entry else "",
        file=SECRET if known.secret and file else file,
        source=sources[0] if sources else "",
        in_force=in_force,
        default=default(known, schema),
        applies=known.applies.value,
        command=live.command if live and is_live else "",
        effect=live.effect if live and is_live else "",
        drift=_drift(known, values, in_force, told),
        reserved=known.reserved,
        since="{}.{}".format(*entry.since) if entry and entry.since > OLDEST else "",
        note=entry.note if entry else "",
        described=entry is not None,
    )


def _one(values: Sequence[str], nodes: int) -> str | None:
    """The value that all files have; where they differ (ports), all of them."""
    return ", ".join(dict.fromkeys(values)) if values else None


def _is_the_others(key: str, schema: Schema, files: Mapping[NodeName, Layers]) -> bool:
    """Whether what is in force belongs to the key's rival (relative and absolute limits)."""
    return any(key not in layer and rivals(key, tuple(layer), schema) for layer in files.values())


def _in_force(known: Description, told: Mapping[NodeName, Told]) -> dict[NodeName, str | None]:
    found: dict[NodeName, str | None] = {}
    for name, one in told.items():
        value = one.values.get(known.known.target)
        if value is not None:
            found[name] = plain(value.in_force, known.known.target)
    return found


def plain(text: str | None, target: str = "") -> str | None:
    """Erlang's way of writing a value made into RabbitMQ's configuration's."""
    if text is None:
        return None
    match = re.fullmatch(r'<<"(.*)">>|"(.*)"', text, re.DOTALL)
    if match:
        return match[1] if match[1] is not None else match[2]
    if target == MEMORY and (match := re.fullmatch(r'\{absolute,"?(\w+)"?\}', text)):
        return match[1]
    return text


def default(known: Description, schema: Schema) -> str | None:
    if known.secret:
        return None
    if known.key in ("vm_memory_high_watermark.absolute", "disk_free_limit.relative"):
        return None  # the other form has it
    shipped = schema.defaults.get(known.known.target)
    if shipped is not None and shipped != "undefined":
        return plain(shipped)
    return (known.entry.default if known.entry else "") or None


def _drift(
    known: Description,
    files: Mapping[NodeName, str],
    in_force: Mapping[NodeName, str | None],
    told: Mapping[NodeName, Told],
) -> str:
    target = known.known.target
    off: list[NodeName] = []
    for name in in_force:
        value = told[name].values[target]
        if value.same or told[name].error or not told[name].uses(target):
            continue
        if name in files:
            # A value that RabbitMQ works out at its start isn't comparable with none.
            if value.wanted is not None:
                off.append(name)
        elif (
            target not in CHANGED_BY_RABBITMQ
            and value.wanted is not None
            and value.in_force is not None
        ):
            off.append(name)
    if known.reserved and known.key.startswith("cluster_formation."):
        return ""  # of who was there when each node joined: matters only then
    if off:
        nodes = ", ".join(short_name(name) for name in off)
        than = "the file" if any(name in files for name in off) else "the default"
        return f"{nodes}: other than {than}"
    distinct = {in_force[name] for name in in_force if told[name].uses(target)}
    # What each node has of its own (ports, folders) is Warrener's to set, and reserved.
    if len(distinct) > 1 and not known.reserved:
        return "nodes differ"
    return ""


def hidden(key: str, value: str | None) -> str | None:
    """A value as it may be shown."""
    return SECRET if value is not None and is_secret(key) else value
