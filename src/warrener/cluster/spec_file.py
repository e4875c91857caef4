"""``warrener.toml`` as pydantic checks it: types and ranges, key by key.

Each field's description is what an error says is allowed there.
"""

import ipaddress
import re
import types
from collections.abc import Mapping
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, Field
from pydantic_core import ErrorDetails

from warrener.cluster.attach_file import AttachSection
from warrener.cluster.file_values import Flag, wrong
from warrener.cluster.healing_file import HealingSection
from warrener.cluster.history_file import HistorySection
from warrener.cluster.hosts import NodeDriver, NodeSection, SshSection, Supervision
from warrener.cluster.members import MAX_NODES
from warrener.cluster.mistakes import Mistake, dotted, nearest, nearest_place
from warrener.cluster.policy_keys import APPLY_TO, QUEUE_TYPES
from warrener.cluster.telemetry_file import TelemetrySection
from warrener.cluster.tls_file import TlsSection
from warrener.cluster.toml_places import Path as KeyPath
from warrener.cluster.toml_places import Place
from warrener.cluster.topology_file import (
    PolicySection,
    QueueSection,
    Section,
    UserSection,
    VHostSection,
)
from warrener.facts.data_plane import DataPlane
from warrener.facts.settings import MAX_WEIGHT, BalancerSettings, PolicyName

_DEFAULTS: Final = BalancerSettings()
DEFAULT_NAME: Final = "warrener"
DEFAULT_NODES: Final = 3


def _duration(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m)", value)):
        return float(match[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0}[match[2]]
    wrong()


def _seconds(value: object) -> int:
    seconds = _duration(value)
    if seconds != int(seconds):
        wrong()
    return int(seconds)


_UNITS: Final = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_UNITS_2: Final = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def _size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+)\s*([A-Za-z]*)", value)):
        factor = (_UNITS | _UNITS_2).get(match[2])
        if factor is not None:
            return int(match[1]) * factor
    wrong()


def _data_plane(value: object) -> DataPlane:
    try:
        return DataPlane(value)  # type: ignore[arg-type]  # anything else is what we refuse
    except ValueError:
        wrong()


def _policy(value: object) -> PolicyName:
    try:
        return PolicyName(value)  # type: ignore[arg-type]  # anything else is what we refuse
    except ValueError:
        wrong()


_HOST_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")


def _host(value: object) -> str:
    if not isinstance(value, str):
        wrong()
    try:
        ipaddress.ip_address(value)
    except ValueError:
        if not _HOST_NAME.fullmatch(value) or value.replace(".", "").isdigit():
            wrong()
    return value


def _shown(value: object) -> str:
    match value:
        case dict():
            return "a table"
        case list():
            return "a list"
        case bool():
            return str(value).lower()
        case str():
            shown = f'"{value}"'
        case _:
            shown = str(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


_Duration = Annotated[float, BeforeValidator(_duration)]


def _time(default: float, low: float, high: float) -> Any:
    return Field(
        default,
        ge=low,
        le=high,
        description=f'seconds from {low:g} to {high:g}, as a number or like "10s" or "500ms"',
    )


def _count(default: int, low: int, high: int) -> Any:
    return Field(default, ge=low, le=high, description=f"a whole number from {low:,} to {high:,}")


class ClusterSection(Section):
    nodes: int = _count(DEFAULT_NODES, 1, MAX_NODES)
    rabbitmq: str | None = Field(
        None,
        min_length=1,
        description='the folder of a RabbitMQ installation, such as "/opt/rabbitmq_server-4.1.0"',
    )
    plugins: list[
        Annotated[
            str,
            Field(
                pattern=r"^[a-z][a-z0-9_]*$",
                description='names of RabbitMQ plugins, such as "rabbitmq_shovel"',
            ),
        ]
    ] = Field([], description='a list of RabbitMQ plugins, such as ["rabbitmq_shovel"]')
    base_port: int | None = Field(
        None, ge=1024, le=65_000, description="a port from 1,024 to 65,000, the first of a block"
    )


class BalancerSection(Section):
    host: Annotated[str, BeforeValidator(_host)] = Field(
        _DEFAULTS.host, description='an IP address or host name, such as "127.0.0.1"'
    )
    port: int = Field(
        _DEFAULTS.port, ge=0, le=65_535, description="a port from 1 to 65,535; 0: choose a free one"
    )
    tls_port: int = Field(
        _DEFAULTS.tls_port,
        ge=0,
        le=65_535,
        description="a port from 1 to 65,535; 0: choose a free one",
    )
    plain: bool | None = Field(
        _DEFAULTS.plain, description="true or false: a port without TLS beside the one with it"
    )
    policy: Annotated[PolicyName, BeforeValidator(_policy)] = Field(
        _DEFAULTS.policy, description=", ".join(f'"{policy}"' for policy in PolicyName)
    )
    weights: dict[
        str,
        Annotated[
            int, Field(ge=0, le=MAX_WEIGHT, description=f"a whole number from 0 to {MAX_WEIGHT:,}")
        ],
    ] = Field(
        {}, description=f'"auto", or a table of node names and weights from 0 to {MAX_WEIGHT:,}'
    )
    handshake_timeout: _Duration = _time(_DEFAULTS.handshake_timeout, 0.5, 300)
    connect_timeout: _Duration = _time(_DEFAULTS.connect_timeout, 0.1, 60)
    link_heartbeat: Annotated[int, BeforeValidator(_seconds)] = Field(
        _DEFAULTS.link_heartbeat,
        ge=1,
        le=600,
        description='whole seconds from 1 to 600, as a number or like "10s"',
    )
    probe_interval: _Duration = _time(_DEFAULTS.probe_interval, 0.1, 3600)
    probe_timeout: _Duration = _time(_DEFAULTS.probe_timeout, 0.1, 60)
    probe_fall: int = _count(_DEFAULTS.probe_fall, 1, 100)
    probe_rise: int = _count(_DEFAULTS.probe_rise, 1, 100)
    max_sessions: int = _count(_DEFAULTS.max_sessions, 1, 1_000_000)
    high_water: Annotated[int, BeforeValidator(_size)] = Field(
        _DEFAULTS.high_water,
        ge=16 * 1024,
        le=1024**3,
        description='bytes from 16 KiB to 1 GiB, as a number or like "512KiB"',
    )
    locality: Flag = Field(_DEFAULTS.locality, description='true or false, "on" or "off"')
    outage_timeout: _Duration = _time(_DEFAULTS.outage_timeout, 0, 3600)
    park_timeout: _Duration = _time(_DEFAULTS.park_timeout, 0, 86_400)
    settle_timeout: _Duration = _time(_DEFAULTS.settle_timeout, 0, 3600)
    link_linger: _Duration = _time(_DEFAULTS.link_linger, 0, 3600)
    journal_limit: Annotated[int, BeforeValidator(_size)] = Field(
        _DEFAULTS.journal_limit,
        ge=64 * 1024,
        le=4 * 1024**3,
        description='bytes from 64 KiB to 4 GiB, as a number or like "16MiB"',
    )
    journal_total: Annotated[int, BeforeValidator(_size)] = Field(
        _DEFAULTS.journal_total,
        ge=64 * 1024,
        le=1024**4,
        description='bytes from 64 KiB to 1,024 GiB, as a number or like "512MiB"',
    )
    data_plane: Annotated[DataPlane, BeforeValidator(_data_plane)] = Field(
        _DEFAULTS.data_plane, description=", ".join(f'"{plane}"' for plane in DataPlane)
    )
    haproxy: str = Field(
        _DEFAULTS.haproxy,
        min_length=1,
        description='the HAProxy program, such as "/usr/sbin/haproxy"',
    )


class SpecFile(Section):
    name: str = Field(
        DEFAULT_NAME,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="up to 64 letters, digits, '.', '_' and '-'",
    )
    cluster: ClusterSection = Field(
        default_factory=lambda: ClusterSection.model_validate({}), description="a table: [cluster]"
    )
    balancer: BalancerSection = Field(
        default_factory=lambda: BalancerSection.model_validate({}),
        description="a table: [balancer]",
    )
    history: HistorySection = Field(
        default_factory=lambda: HistorySection.model_validate({}), description="a table: [history]"
    )
    healing: HealingSection = Field(
        default_factory=lambda: HealingSection.model_validate({}), description="a table: [healing]"
    )
    telemetry: TelemetrySection = Field(
        default_factory=lambda: TelemetrySection.model_validate({}),
        description="a table: [telemetry]",
    )
    tls: TlsSection | None = Field(None, description="a table: [tls]")
    node: list[NodeSection] = Field(
        [], max_length=MAX_NODES, description="tables, each headed [[node]]"
    )
    ssh: SshSection = Field(
        default_factory=lambda: SshSection.model_validate({}), description="a table: [ssh]"
    )
    attach: AttachSection | None = Field(None, description="a table: [attach]")
    vhost: list[VHostSection] = Field([], description="tables, each headed [[vhost]]")
    user: list[UserSection] = Field([], description="tables, each headed [[user]]")
    policy: list[PolicySection] = Field([], description="tables, each headed [[policy]]")
    operator_policy: list[PolicySection] = Field(
        [], description="tables, each headed [[operator_policy]]"
    )
    queue: list[QueueSection] = Field([], description="tables, each headed [[queue]]")
    queues: dict[str, Any] = Field({}, description="a table: [queues]")
    config: dict[str, Any] = Field({}, description="a table: [config]")


# -- from pydantic's findings to mistakes


def mistake_of(
    item: ErrorDetails, document: Mapping[str, Any], where: Mapping[KeyPath, Place]
) -> Mistake:
    """One of pydantic's findings in ``document``, with its place and in words for people."""
    path: KeyPath = tuple(item["loc"])
    key = dotted(path)
    place = nearest_place(path, where)
    if item["type"] == "extra_forbidden":
        known = list(_section_at(path[:-1]).model_fields)
        return Mistake(key, "unknown key", ", ".join(known), nearest(str(path[-1]), known), place)
    allowed = _allowed_at(path)
    if item["type"] == "missing":
        return Mistake(key, "is missing", allowed, place=place)
    given: Any = document  # as it stands there; what pydantic tells may have been converted
    for step in path:
        try:
            given = given[step]
        except (KeyError, IndexError, TypeError):  # a member of a union, named by pydantic
            break
    words = _WORDS.get(str(path[-1]), ())
    closest = nearest(given, words) if isinstance(given, str) else ""
    shown = "this" if path[-1] == "password" else _shown(given)
    too_far = ("greater_than", "less_than", "too_short", "string_too")
    problem = "is out of range" if item["type"].startswith(too_far) else "can't be used"
    return Mistake(key, f"{shown} {problem}", allowed, closest, place)


_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "policy": tuple(str(policy) for policy in PolicyName),
    "driver": tuple(str(driver) for driver in NodeDriver),
    "supervision": tuple(str(one) for one in Supervision),
    "data_plane": tuple(str(plane) for plane in DataPlane),
    "apply_to": tuple(APPLY_TO),
    "default_queue_type": QUEUE_TYPES,
    "type": QUEUE_TYPES,
}
"""Keys with a choice of words: the nearest right one is told."""


def _section_at(path: KeyPath) -> type[BaseModel]:
    """The section that stands at ``path``."""
    annotation: Any = SpecFile
    for key in path:
        annotation, _ = _inside(annotation, key)
    annotation = _plain(annotation)
    assert isinstance(annotation, type)
    assert issubclass(annotation, BaseModel), "only sections can have unknown keys"
    return annotation


def _allowed_at(path: KeyPath) -> str:
    """What may stand at ``path``: the description of the innermost field that has one."""
    annotation: Any = SpecFile
    allowed = ""
    for key in path:
        annotation, description = _inside(annotation, key)
        allowed = description or allowed
        if annotation is None:
            break
    return allowed


def _inside(annotation: Any, key: str | int) -> tuple[Any, str]:
    """What is declared for ``key`` of something declared so, and its description. (None, "") where
    nothing more is."""
    annotation = _plain(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(key))
        return (None, "") if field is None else (field.annotation, field.description or "")
    match get_origin(annotation), get_args(annotation):
        case (container, arguments) if container in (list, dict):
            return arguments[-1], _description(arguments[-1])
    return None, ""


def _plain(annotation: Any) -> Any:
    """Without what is said about it, and without "or None"."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            annotation = next(one for one in get_args(annotation) if one is not type(None))
        else:
            return annotation


def _description(annotation: Any) -> str:
    for extra in getattr(annotation, "__metadata__", ()):
        if description := getattr(extra, "description", None):
            return str(description)
    return ""
