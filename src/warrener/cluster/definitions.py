"""RabbitMQ's definitions: a document of them judged, and compared with what a cluster has. Pure.

    document -> read_definitions -> Definitions, each list in it checked
    Definitions + World -> compare -> steps: what isn't there is made, what differs is changed

A definition is one JSON object in one of the document's lists; a ``Kind`` says by what it is known,
what of it counts, and whether RabbitMQ changes one that is there. Queues and exchanges it never
does: it takes a definition with other arguments, answers that all is well and leaves the queue as
it is (tried on 3.10.8). So those are found here, by comparing. Nothing is ever removed.

Left out of every comparison: Warrener's own user, which each cluster makes for itself, and what
names the cluster (``cluster_name``, ``internal_cluster_id``).

The management API and `rabbitmqctl export_definitions` of one and the same RabbitMQ (3.10.8) write
them differently: the tool has objects as lists of pairs, what is said of a virtual host under
``metadata``, a queue's type beside its arguments. Reading makes both the same.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from warrener.cluster.password_hash import is_password
from warrener.cluster.topology_steps import Change, Verb

Entry = Mapping[str, Any]


class BadDefinitions(Exception):
    """The document isn't one of definitions; the text says where and what."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One list of a document. ``key``: what a definition is known by; ``compared``: what of it
    counts beside that; ``fixed``: RabbitMQ leaves one that is there as it is."""

    list: str
    thing: str
    key: tuple[str, ...]
    compared: tuple[str, ...]
    fixed: bool = False


VHOSTS: Final = Kind(
    "vhosts", "virtual host", ("name",), ("description", "tags", "default_queue_type")
)
USERS: Final = Kind(
    "users", "user", ("name",), ("password_hash", "hashing_algorithm", "tags", "limits")
)
PERMISSIONS: Final = Kind(
    "permissions", "permission", ("vhost", "user"), ("configure", "write", "read")
)
TOPIC_PERMISSIONS: Final = Kind(
    "topic_permissions", "topic permission", ("vhost", "user", "exchange"), ("write", "read")
)
EXCHANGES: Final = Kind(
    "exchanges",
    "exchange",
    ("vhost", "name"),
    ("type", "durable", "auto_delete", "internal", "arguments"),
    fixed=True,
)
POLICIES: Final = Kind(
    "policies", "policy", ("vhost", "name"), ("pattern", "apply-to", "priority", "definition")
)
QUEUES: Final = Kind(
    "queues", "queue", ("vhost", "name"), ("durable", "auto_delete", "arguments"), fixed=True
)
BINDINGS: Final = Kind(
    "bindings", "binding", ("vhost", "source", "destination_type", "destination", "routing_key"), ()
)
PARAMETERS: Final = Kind("parameters", "parameter", ("vhost", "component", "name"), ("value",))
GLOBAL_PARAMETERS: Final = Kind("global_parameters", "global parameter", ("name",), ("value",))

KINDS: Final = (
    VHOSTS, USERS, PERMISSIONS, TOPIC_PERMISSIONS, EXCHANGES, POLICIES, QUEUES, BINDINGS,
    PARAMETERS, GLOBAL_PARAMETERS,
)  # fmt: skip
"""In the order in which they are put back: what is named before what names it, policies before the
queues that they decide on, limits (which are parameters) after what they would stop."""

OF_THE_CLUSTER: Final = frozenset({"cluster_name", "internal_cluster_id"})
"""Global parameters that say which cluster this is."""

_PLUGIN_OF_EXCHANGE: Final = {
    "x-consistent-hash": "rabbitmq_consistent_hash_exchange",
    "x-delayed-message": "rabbitmq_delayed_message_exchange",
    "x-event": "rabbitmq_event_exchange",
    "x-federation-upstream": "rabbitmq_federation",
    "x-jms-topic": "rabbitmq_jms_topic_exchange",
    "x-modulus-hash": "rabbitmq_sharding",
    "x-random": "rabbitmq_random_exchange",
    "x-recent-history": "rabbitmq_recent_history_exchange",
}
_PLUGIN_OF_COMPONENT: Final = {
    "shovel": "rabbitmq_shovel",
    "federation": "rabbitmq_federation",
    "federation-upstream": "rabbitmq_federation",
    "federation-upstream-set": "rabbitmq_federation",
}
_PLUGIN_OF_POLICY_KEY: Final = {
    "federation-upstream": "rabbitmq_federation",
    "federation-upstream-set": "rabbitmq_federation",
    "federation-upstream-pattern": "rabbitmq_federation",
}
_SHOWN_COMPONENTS: Final = ("operator_policy", "vhost-limits")
_NO_MIRRORS: Final = (4, 0)  # from here on there are no mirrored classic queues

_SHOWN: Final = 60  # characters of a value


@dataclass(frozen=True, slots=True)
class Definitions:
    """A document, judged. ``version`` is the RabbitMQ it comes from, empty if it doesn't say."""

    version: str
    entries: Mapping[str, Sequence[Entry]] = field(repr=False)  # by Kind.list; has password hashes

    def of(self, kind: Kind) -> Sequence[Entry]:
        return self.entries.get(kind.list, ())

    def counts(self) -> dict[str, int]:
        """How many of each kind, of those there are any of."""
        return {kind.list: len(self.of(kind)) for kind in KINDS if self.of(kind)}


@dataclass(frozen=True, slots=True)
class World:
    """What decides whether a definition can be taken by this cluster. ``queue_types`` is empty
    where they aren't known: RabbitMQ judges them then."""

    version: str
    release: tuple[int, int]
    nodes: frozenset[str]
    exchange_types: frozenset[str]
    queue_types: frozenset[str]
    plugins: frozenset[str]
    own_user: str


@dataclass(frozen=True, slots=True)
class PutBack:
    """One definition to be made or changed. ``blocked``: why it can't be, empty if it can."""

    kind: Kind
    verb: Verb
    subject: str
    changes: tuple[Change, ...]
    danger: str
    blocked: str
    entry: Entry = field(repr=False)


# -- judging


def read_definitions(document: Any) -> Definitions:
    """The definitions in a decoded JSON document. Raises BadDefinitions at the first mistake."""
    if not isinstance(document, dict):
        raise BadDefinitions("the document is not a JSON object")
    found: dict[str, list[Entry]] = {}
    for kind in KINDS:
        entries = document.get(kind.list, [])
        if not isinstance(entries, list):
            raise BadDefinitions(f"{kind.list} is not a list")
        found[kind.list] = [
            _read(kind, entry, f"{kind.list}[{number}]") for number, entry in enumerate(entries)
        ]
    if not any(kind.list in document for kind in KINDS):
        raise BadDefinitions("it has none of RabbitMQ's lists (users, vhosts, queues, ...)")
    version = document.get("rabbitmq_version", document.get("rabbit_version", ""))
    return Definitions(version if isinstance(version, str) else "", found)


def _read(kind: Kind, entry: Any, where: str) -> Entry:
    if not isinstance(entry, dict):
        raise BadDefinitions(f"{where} is not an object")
    for key in kind.key:
        value = entry.get(key)
        if isinstance(value, str):
            continue
        if key == "vhost" and value is None:
            raise BadDefinitions(
                f"{where} doesn't say of which virtual host it is: this is the export of a single "
                f"one. Export all of them (`rabbitmqctl export_definitions FILE`)"
            )
        raise BadDefinitions(f"{where} has no {key}, or one that isn't text")
    read = dict(entry)
    for key in ("arguments", "definition", "limits", "metadata"):
        if key in read:
            read[key] = _object(read[key])
            if not isinstance(read[key], dict):
                raise BadDefinitions(f"{where}: {key} is not an object")
    if "value" in read:
        read["value"] = _object(read["value"], empty=[])
        if isinstance(read["value"], dict) and "definition" in read["value"]:
            read["value"] = {**read["value"], "definition": _object(read["value"]["definition"])}
    if kind is VHOSTS:
        read = {**read.pop("metadata", {}), **read}
        read.pop("limits", None)  # parameters have them as well
    if kind is QUEUES and "type" in read and not isinstance(read["type"], str):
        raise BadDefinitions(f"{where}: type is not text")
    tags = read.get("tags")
    if not isinstance(tags, str | None) and not _is_words(tags):
        raise BadDefinitions(f"{where}: tags is neither a text nor a list of texts")
    return read


def _object(value: Any, empty: Any = None) -> Any:
    """A list of pairs as the object that it stands for; so is an empty list, unless it may be
    ``empty`` itself. None: an object without anything."""
    if value is None or value == []:
        return {} if empty is None else value
    if isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in value
    ):
        return dict(value)
    return value


def _is_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def without_own(definitions: Definitions, own_users: Iterable[str]) -> Definitions:
    """The same without what each cluster makes for itself."""
    own = set(own_users)
    kept: dict[str, list[Entry]] = {}
    for kind in KINDS:
        entries = list(definitions.of(kind))
        if kind is USERS:
            entries = [entry for entry in entries if entry["name"] not in own]
        elif kind in (PERMISSIONS, TOPIC_PERMISSIONS):
            entries = [entry for entry in entries if entry["user"] not in own]
        elif kind is GLOBAL_PARAMETERS:
            entries = [entry for entry in entries if entry["name"] not in OF_THE_CLUSTER]
        kept[kind.list] = entries
    return Definitions(definitions.version, kept)


# -- comparing


def compare(wanted: Definitions, found: Definitions, world: World) -> list[PutBack]:
    """What there is to do until the cluster has all that is wanted, in the order to do it in."""
    wanted = without_own(wanted, [world.own_user])
    steps = []
    for kind in KINDS:
        there = {_key(kind, entry): entry for entry in found.of(kind)}
        seen = set()
        for entry in wanted.of(kind):
            key = _key(kind, entry)
            if key in seen:
                continue  # twice in the document: RabbitMQ takes the first of queues as well
            seen.add(key)
            step = _step(kind, entry, there.get(key), world)
            if step is not None:
                steps.append(step)
    return steps


def _step(kind: Kind, entry: Entry, there: Entry | None, world: World) -> PutBack | None:
    subject = _subject(kind, entry)
    if there is None:
        blocked = _why_impossible(kind, entry, world)
        return PutBack(kind, Verb.MAKE, subject, (), _danger(kind, entry, world), blocked, entry)
    changes = tuple(_changes(kind, entry, there))
    if not changes:
        return None
    blocked = _why_impossible(kind, entry, world)
    if kind.fixed:
        blocked = (
            f"there is one that was declared otherwise, and RabbitMQ would keep it without a word; "
            f"delete that {kind.thing} first if it may go"
        )
    return PutBack(kind, Verb.CHANGE, subject, changes, _danger(kind, entry, world), blocked, entry)


def _changes(kind: Kind, entry: Entry, there: Entry) -> Iterator[Change]:
    for what in kind.compared:
        if what not in entry:
            continue
        before, after = _normal(what, there.get(what)), _normal(what, entry[what])
        if kind is QUEUES and what == "arguments":
            before, after = _with_type(there), _with_type(entry)
        if before == after:
            continue
        if _is_secret(kind, entry, what):
            yield Change(what.replace("_", " "), "another", "the document's")
        else:
            yield Change(what, _shown(before), _shown(after))

    if kind is USERS and isinstance(password := entry.get("password"), str):
        hashed, hashing = there.get("password_hash"), there.get("hashing_algorithm")
        if not is_password(password, str(hashed), str(hashing)):
            yield Change("password", "another", "the document's")


def _is_secret(kind: Kind, entry: Entry, what: str) -> bool:
    """Whether a value must not be shown: a shovel's URIs have passwords in them."""
    if what == "value":
        return kind is GLOBAL_PARAMETERS or entry["component"] not in _SHOWN_COMPONENTS
    return what in ("password_hash", "hashing_algorithm")


def _key(kind: Kind, entry: Entry) -> tuple[Any, ...]:
    key = tuple(entry[part] for part in kind.key)
    if kind is BINDINGS:  # one binding for each set of arguments
        return (*key, msgspec.json.encode(entry.get("arguments") or {}, order="sorted"))
    return key


def _normal(what: str, value: Any) -> Any:
    """The same for what comes to the same."""
    if what == "tags":
        words = value.split(",") if isinstance(value, str) else value or []
        return sorted({word.strip() for word in words if word.strip()})
    if what in ("arguments", "limits"):
        return value or {}
    if what in ("durable", "auto_delete", "internal"):
        return bool(value)
    if what == "apply-to":
        return value or "all"
    if what in ("description", "default_queue_type"):
        # "undefined" is Erlang's word for none; a type may be told by its module's name
        text = value if isinstance(value, str) and value != "undefined" else ""
        return (
            text.removeprefix("rabbit_").removesuffix("_queue") if what != "description" else text
        )
    if what == "value" and value == []:
        return {}
    return value


def _with_type(queue: Entry) -> dict[str, Any]:
    """A queue's arguments, its type always among them."""
    return {"x-queue-type": queue_type(queue), **(queue.get("arguments") or {})}


def queue_type(queue: Entry) -> str:
    """What kind of queue a definition makes."""
    arguments = queue.get("arguments") or {}
    return str(arguments.get("x-queue-type") or queue.get("type") or "classic")


def _subject(kind: Kind, entry: Entry) -> str:
    if kind is PERMISSIONS:
        return f"{entry['user']} in {entry['vhost']}"
    if kind is TOPIC_PERMISSIONS:
        return f"{entry['user']} in {entry['vhost']}, {entry['exchange']}"
    if kind is BINDINGS:
        return _named(entry["vhost"], f"{entry['source']} -> {entry['destination']}")
    if kind is PARAMETERS:
        return _named(entry["vhost"], f"{entry['component']} {entry['name']}")
    return _named(entry.get("vhost", "/"), entry["name"]) if "vhost" in kind.key else entry["name"]


def _named(vhost: str, name: str) -> str:
    return name if vhost == "/" else f"{vhost}/{name}"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value, order="sorted").decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


# -- what this cluster can't take


def _why_impossible(kind: Kind, entry: Entry, world: World) -> str:
    if kind is EXCHANGES:
        type_ = entry.get("type")
        if type_ not in world.exchange_types:
            return _lacks(f"an exchange of type {type_!r}", _PLUGIN_OF_EXCHANGE.get(str(type_)))
    elif kind is QUEUES:
        type_ = queue_type(entry)
        if world.queue_types and type_ not in world.queue_types:
            allowed = ", ".join(sorted(world.queue_types))
            return f"RabbitMQ {world.version} has no queues of type {type_!r}, only {allowed}"
    elif kind is PARAMETERS:
        plugin = _PLUGIN_OF_COMPONENT.get(entry["component"])
        if plugin and not _enabled(plugin, world):
            return _lacks(f"a parameter of {entry['component']}", plugin)
    elif kind is POLICIES:
        keys = entry.get("definition") or {}
        if world.release >= _NO_MIRRORS and any(key.startswith("ha-") for key in keys):
            return f"RabbitMQ {world.version} has no mirrored classic queues (ha-...)"
        for key in keys:
            plugin = _PLUGIN_OF_POLICY_KEY.get(key)
            if plugin and not _enabled(plugin, world):
                return _lacks(f"a policy with {key}", plugin)
    return ""


def _lacks(what: str, plugin: str | None) -> str:
    where = f" ({plugin})" if plugin else ""
    return f"{what} needs a plugin{where} that isn't enabled; `plugins` under [cluster] names them"


def _enabled(plugin: str, world: World) -> bool:
    """Its management part brings it along."""
    return any(name.startswith(plugin) for name in world.plugins)


def _danger(kind: Kind, entry: Entry, world: World) -> str:
    """Why to look twice; empty if there is nothing."""
    if kind is POLICIES:
        keys = entry.get("definition") or {}
        named = keys.get("ha-params") if keys.get("ha-mode") == "nodes" else None
        if isinstance(named, list):
            strange = [str(name) for name in named if name not in world.nodes]
            if strange:
                return f"names nodes that aren't here: {', '.join(strange[:5])}"
    if kind is USERS and not entry.get("password_hash") and not entry.get("password"):
        return "has no password in the document: nobody can log in with one"
    return ""
