"""A warrener.toml that says what a cluster holds already: the way from one that grew by hand to one
that a file describes. Pure: definitions in, text out.

What the description has words for is written: virtual hosts, users, policies, queues, chosen
settings. Passwords can't be had back from their hashes, so each becomes a reference to the
environment, to be filled in. What there are no words for (exchanges, bindings, topic permissions,
other parameters) is counted in a comment: a backup keeps it.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from warrener.cluster.backup_file import Document
from warrener.cluster.definitions import (
    BINDINGS,
    EXCHANGES,
    GLOBAL_PARAMETERS,
    OF_THE_CLUSTER,
    PARAMETERS,
    PERMISSIONS,
    POLICIES,
    QUEUES,
    TOPIC_PERMISSIONS,
    USERS,
    VHOSTS,
    Definitions,
    Entry,
    queue_type,
    without_own,
)
from warrener.cluster.spec import ALWAYS_ON
from warrener.cluster.wanted import DEFAULT_VHOST, OWN_USER
from warrener.facts.settings import DEFAULT_WEIGHT

_VHOST_LIMITS: Final = ("max-connections", "max-queues")
_USER_LIMITS: Final = ("max-connections", "max-channels")


def describe(document: Document) -> str:
    """The text."""
    backup = document.backup
    own = [OWN_USER] + ([backup.cluster.own_user] if backup is not None else [])
    definitions = without_own(document.definitions, own)
    lines = [
        "# What the cluster held when this was written. Look through it, set the variables that",
        "# the passwords refer to, and `warrener diff` shows what is still different.",
        *_left_out(definitions),
    ]
    if backup is not None:
        lines += ["", f"name = {_value(backup.cluster.name)}"]
        plugins = [name for name in backup.cluster.plugins if name not in ALWAYS_ON]
        lines += ["", "[cluster]", f"nodes = {len(backup.cluster.nodes) or 1}"]
        lines += [f"plugins = {_value(plugins)}"] if plugins else []
        lines += ["", "[balancer]", f"policy = {_value(backup.balancer.policy)}"]
        weights = {node: w for node, w in backup.balancer.weights.items() if w != DEFAULT_WEIGHT}
        if backup.balancer.auto_weights:
            lines += ['weights = "auto"']
        elif weights:
            lines += [f"weights = {_value(weights)}"]
        if backup.config:
            lines += ["", "[config]"]
            lines += [f"{_value(key)} = {_value(text)}" for key, text in backup.config.items()]
    limits = {
        entry["vhost"]: entry.get("value") or {}
        for entry in definitions.of(PARAMETERS)
        if entry["component"] == "vhost-limits"
    }
    for part in (
        *(_vhost(entry, limits.get(entry["name"], {})) for entry in definitions.of(VHOSTS)),
        *_users(definitions),
        *(_policy("policy", entry) for entry in definitions.of(POLICIES)),
        *_operator_policies(definitions),
        *(_queue(entry) for entry in definitions.of(QUEUES) if _lasts(entry)),
    ):
        lines += ["", *part]
    return "\n".join(lines) + "\n"


def _left_out(definitions: Definitions) -> Iterator[str]:
    others = [
        entry
        for entry in definitions.of(PARAMETERS)
        if entry["component"] not in ("vhost-limits", "operator_policy")
    ]
    globally = [
        one for one in definitions.of(GLOBAL_PARAMETERS) if one["name"] not in OF_THE_CLUSTER
    ]
    counts = {
        "exchanges": len(definitions.of(EXCHANGES)),
        "bindings": len(definitions.of(BINDINGS)),
        "topic permissions": len(definitions.of(TOPIC_PERMISSIONS)),
        "parameters (shovels, federation, ...)": len(others) + len(globally),
        "queues that don't last": sum(not _lasts(one) for one in definitions.of(QUEUES)),
    }
    told = ", ".join(f"{number} {what}" for what, number in counts.items() if number)
    if told:
        yield f"# There are no words here for: {told}. `warrener backup` keeps them."


def _vhost(entry: Entry, limits: Mapping[str, Any]) -> Iterator[str]:
    yield "[[vhost]]"
    yield f"name = {_value(entry['name'])}"
    if isinstance(text := entry.get("description"), str) and text:
        yield f"description = {_value(text)}"
    if tags := _words(entry.get("tags")):
        yield f"tags = {_value(tags)}"
    kind = entry.get("default_queue_type")
    if isinstance(kind, str) and kind not in ("", "undefined"):
        yield f"default_queue_type = {_value(kind.removeprefix('rabbit_').removesuffix('_queue'))}"
    yield from _limits(limits, _VHOST_LIMITS)


def _users(definitions: Definitions) -> Iterator[list[str]]:
    for entry in definitions.of(USERS):
        name = entry["name"]
        lines = ["[[user]]", f"name = {_value(name)}"]
        variable = re.sub(r"\W+", "_", name, flags=re.ASCII).upper() or "USER"
        lines.append(f"password = {{ env = {_value(f'{variable}_PASSWORD')} }}")
        if tags := _words(entry.get("tags")):
            lines.append(f"tags = {_value(tags)}")
        lines += _limits(entry.get("limits") or {}, _USER_LIMITS)
        for one in definitions.of(PERMISSIONS):
            if one["user"] == name:
                lines.append(f"[user.permissions.{_value(one['vhost'])}]")
                lines += [
                    f"{what} = {_value(str(one.get(what, '')))}"
                    for what in ("configure", "write", "read")
                ]
        yield lines


def _operator_policies(definitions: Definitions) -> Iterator[Iterator[str]]:
    for entry in definitions.of(PARAMETERS):
        value = entry.get("value")
        if entry["component"] == "operator_policy" and isinstance(value, dict):
            yield _policy(
                "operator_policy", {**value, "name": entry["name"], "vhost": entry["vhost"]}
            )


def _policy(table: str, entry: Entry) -> Iterator[str]:
    yield f"[[{table}]]"
    yield from _named(entry)
    yield f"pattern = {_value(str(entry.get('pattern', '')))}"
    if (apply_to := entry.get("apply-to", "all")) != "all":
        yield f"apply_to = {_value(str(apply_to))}"
    if priority := entry.get("priority"):
        yield f"priority = {_value(priority)}"
    yield f"definition = {_value(entry.get('definition') or {})}"


def _queue(entry: Entry) -> Iterator[str]:
    yield "[[queue]]"
    yield from _named(entry)
    yield f"type = {_value(queue_type(entry))}"
    arguments = {
        key: value for key, value in (entry.get("arguments") or {}).items() if key != "x-queue-type"
    }
    if arguments:
        yield f"arguments = {_value(arguments)}"


def _named(entry: Entry) -> Iterator[str]:
    yield f"name = {_value(entry['name'])}"
    if entry["vhost"] != DEFAULT_VHOST:
        yield f"vhost = {_value(entry['vhost'])}"


def _lasts(queue: Entry) -> bool:
    return bool(queue.get("durable", True)) and not queue.get("auto_delete", False)


def _limits(limits: Mapping[str, Any], known: Sequence[str]) -> list[str]:
    return [
        f"{name.replace('-', '_')} = {limits[name]}"
        for name in known
        if type(limits.get(name)) is int and limits[name] >= 0
    ]


def _words(tags: Any) -> list[str]:
    if isinstance(tags, str):
        tags = tags.split(",")
    return [tag.strip() for tag in tags or [] if isinstance(tag, str) and tag.strip()]


def _value(value: Any) -> str:
    """A JSON value as TOML has it: strings alike, but for DEL; no null."""
    match value:
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case bool():
            return "true" if value else "false"
        case list():
            return f"[{', '.join(_value(item) for item in value if item is not None)}]"
        case dict():
            inner = [f"{_value(k)} = {_value(v)}" for k, v in value.items() if v is not None]
            return f"{{ {', '.join(inner)} }}" if inner else "{}"
        case _:
            return json.dumps(value)
