"""The document of `warrener backup`: made, checked, read. Pure.

    {"warrener_backup": 1, "created": ..., "sha256": ..., "cluster": {...}, "balancer": {...},
     "config": {...}, "description": {...}, "passwords": {...}, "definitions": {...}}

``sha256`` is of everything else, as JSON with sorted keys and without blanks: reformatting the file
doesn't break it, changing it does. What RabbitMQ itself exports (`rabbitmqctl export_definitions`)
is read as well; it has no checksum and nothing of Warrener's.

A reader of version N refuses documents of a later version; fields that it doesn't know are none of
its business.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from warrener.cluster.definitions import BadDefinitions, Definitions, read_definitions

FORMAT: Final = 1

MAX_FILE: Final = 32 * 1024 * 1024
"""Bytes. A queue with a binding takes 250: this is over 100,000 of them."""

NOT_HELD: Final = (
    "messages",
    "offsets and positions of consumers",
    "data and logs of the nodes, the Erlang cookie",
    "TLS certificates and keys",
    "the password of Warrener's own user: each cluster has one of its own",
    "plugins' own files and community plugins: only the names of those enabled",
)
"""What no backup has."""


class BadBackup(Exception):
    """The file is no backup that can be restored; the text says why."""


class ClusterPart(msgspec.Struct, frozen=True, kw_only=True):
    """What the cluster was. ``own_user`` is Warrener's."""

    name: str
    rabbitmq: str
    erlang: str = ""
    nodes: list[str] = []
    plugins: list[str] = []
    own_user: str = ""


class BalancerPart(msgspec.Struct, frozen=True, kw_only=True):
    """How clients were spread, by hand or by warrener.toml. ``auto_weights``: weights follow what
    nodes can carry, and aren't in it."""

    policy: str
    weights: dict[str, int] = {}
    auto_weights: bool = False


class DescriptionPart(msgspec.Struct, frozen=True, kw_only=True):
    """The warrener.toml in force."""

    source: str
    text: str


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """The document. ``passwords``: of users whose password Warrener generated, only with secrets;
    ``left_out`` says what isn't in it for being secret."""

    warrener_backup: int
    created: str
    warrener: str
    sha256: str = ""
    not_held: list[str] = []
    left_out: list[str] = []
    cluster: ClusterPart
    balancer: BalancerPart
    config: dict[str, str] = {}
    description: DescriptionPart | None = None
    passwords: dict[str, str] | None = None
    definitions: dict[str, Any]

    def __repr__(self) -> str:
        return f"Backup(cluster={self.cluster.name!r}, created={self.created!r})"


@dataclass(frozen=True, slots=True)
class Document:
    """What is to be restored. ``backup`` is None where the file is RabbitMQ's own export."""

    backup: Backup | None
    definitions: Definitions = field(repr=False)


def encode(backup: Backup) -> bytes:
    """The document in one line, with its checksum."""
    plain = msgspec.to_builtins(backup)
    plain["sha256"] = checksum(plain)
    return msgspec.json.encode(plain)


def file_of(document: bytes) -> bytes:
    """What is written into a file: the same, for people to look at."""
    return msgspec.json.format(document, indent=1) + b"\n"


def checksum(plain: dict[str, Any]) -> str:
    """Of everything but the checksum itself."""
    rest = {key: value for key, value in plain.items() if key != "sha256"}
    return hashlib.sha256(msgspec.json.encode(rest, order="sorted")).hexdigest()


def read(raw: bytes) -> Document:
    """What a file has. Raises BadBackup; nothing of it is believed before it was checked."""
    if len(raw) > MAX_FILE:
        raise BadBackup(f"it is longer than {MAX_FILE // 1024 // 1024} MiB, which no backup is")
    if not raw.strip():
        raise BadBackup("it is empty")
    try:
        plain = msgspec.json.decode(raw)
    except UnicodeDecodeError:
        raise BadBackup("it isn't UTF-8 text") from None
    except RecursionError:
        raise BadBackup("it is nested too deeply") from None
    except msgspec.DecodeError as error:
        if "truncated" in str(error):
            raise BadBackup("it ends in the middle: only a part of it is here") from None
        raise BadBackup(f"it isn't JSON ({error})") from None
    if not isinstance(plain, dict):
        raise BadBackup("it isn't a backup: JSON, but not an object")
    try:
        return _read_backup(plain) if "warrener_backup" in plain else _read_export(plain)
    except BadDefinitions as error:
        raise BadBackup(f"its definitions aren't RabbitMQ's: {error}") from None
    except RecursionError:
        raise BadBackup("it is nested too deeply") from None


def _read_backup(plain: dict[str, Any]) -> Document:
    version = plain["warrener_backup"]
    if type(version) is not int or version < 1:
        raise BadBackup("its version (warrener_backup) is no number")
    if version > FORMAT:
        by = str(plain.get("warrener", "?"))[:20]
        raise BadBackup(
            f"it is of version {version}, made by Warrener {by!r}; "
            f"this one reads up to version {FORMAT}: restore it with a newer Warrener"
        )
    try:
        summed = checksum(plain)
    except (OverflowError, ValueError):
        raise BadBackup("it has a number in it that no backup has") from None
    if plain.get("sha256") != summed:
        raise BadBackup(
            "it is damaged or was changed: its checksum (sha256) isn't that of what is in it. If "
            "you changed it on purpose, restore its `definitions` alone, as a file of their own"
        )
    try:
        backup = msgspec.convert(plain, Backup)
    except msgspec.ValidationError as error:
        raise BadBackup(f"it isn't as backups are: {error}") from None
    return Document(backup, read_definitions(backup.definitions))


def _read_export(plain: dict[str, Any]) -> Document:
    try:
        return Document(None, read_definitions(plain))
    except BadDefinitions as error:
        raise BadBackup(
            f"it is neither a backup of Warrener's nor an export of RabbitMQ's: {error}"
        ) from None
