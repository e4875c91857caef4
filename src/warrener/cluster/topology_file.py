"""The parts of ``warrener.toml`` about what a cluster holds, as pydantic checks them: users,
virtual hosts, policies, queues. ``spec_file`` has the rest, ``topology_checks`` what takes two keys
to see.

Each field's description is what an error says is allowed there.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from warrener.cluster.policy_keys import APPLY_TO, QUEUE_TYPES
from warrener.cluster.wanted import (
    DEFAULT_VHOST,
    DEFAULTS_PATTERN,
    DEFAULTS_POLICY,
    DEFAULTS_PRIORITY,
    Password,
    PasswordKind,
    Permission,
    Policy,
    PolicyId,
    Queue,
    User,
    VHost,
    Wanted,
)

PASSWORD_ALLOWED: Final = (
    '{ env = "NAME" }, { file = "PATH" }, { generate = true }, or the password itself'  # noqa: S105  # what one may write there
)
PASSWORD_KEYS: Final = ("env", "file", "generate")

QUEUES_OWN: Final = ("type", "pattern")
"""The keys of ``[queues]`` that aren't policy keys."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _password(value: object) -> Password:
    match value:
        case str() if value:
            return Password(PasswordKind.PLAIN, value)
        case {"env": str(name), **rest} if name and not rest:
            return Password(PasswordKind.ENV, name)
        case {"file": str(path), **rest} if path and not rest:
            return Password(PasswordKind.FILE, path)
        case {"generate": True, **rest} if not rest:
            return Password(PasswordKind.GENERATED)
    raise PydanticCustomError("wrong", "can't be used")


def _one_of(words: Any) -> BeforeValidator:
    def check(value: object) -> object:
        if value not in words:
            raise PydanticCustomError("wrong", "can't be used")
        return value

    return BeforeValidator(check)


def _quoted(words: Any) -> str:
    return ", ".join(f'"{word}"' for word in words)


def _named(what: str) -> Any:
    return Field(min_length=1, max_length=255, description=f"the name of {what}")


_MANY: Final = 2**31 - 1


def _limit(of: str) -> Any:
    return Field(
        None, ge=0, le=_MANY, description=f"a whole number of {of}, 0 or more; without it: no limit"
    )


_TypeName = Annotated[str, _one_of(QUEUE_TYPES)]
_Tag = Annotated[str, Field(pattern=r"^[^,\s]+$", description="words without blanks or commas")]
_Regex = Annotated[str, Field(description="a regular expression; an empty one matches nothing")]


class PermissionSection(Section):
    configure: _Regex = Field("", description="a regular expression of what may be made or removed")
    write: _Regex = Field("", description="a regular expression of what may be published to")
    read: _Regex = Field("", description="a regular expression of what may be consumed from")


class UserSection(Section):
    name: str = _named("a user")
    password: Annotated[Password, BeforeValidator(_password)] = Field(description=PASSWORD_ALLOWED)
    tags: list[_Tag] = Field([], description='a list such as ["monitoring"]')
    permissions: dict[str, PermissionSection] = Field(
        {}, description='a table of virtual hosts: { "/" = { configure = "", write = ".*" } }'
    )
    max_connections: int | None = _limit("connections")
    max_channels: int | None = _limit("channels")


class VHostSection(Section):
    name: str = _named("a virtual host")
    description: str = Field("", max_length=1000, description="a text")
    tags: list[_Tag] = Field([], description='a list such as ["production"]')
    default_queue_type: _TypeName | None = Field(None, description=_quoted(QUEUE_TYPES))
    max_connections: int | None = _limit("connections")
    max_queues: int | None = _limit("queues")


class PolicySection(Section):
    name: str = _named("a policy")
    vhost: str = Field(DEFAULT_VHOST, min_length=1, description="the name of a virtual host")
    pattern: str = Field(description="a regular expression of the names it is for")
    apply_to: Annotated[str, _one_of(APPLY_TO)] = Field("all", description=_quoted(APPLY_TO))
    priority: int = Field(
        0, ge=-_MANY, le=_MANY, description="a whole number; of several the highest is applied"
    )
    definition: dict[str, Any] = Field(
        min_length=1, description="a table of policy keys, such as { max-length = 1000 }"
    )


class QueueSection(Section):
    name: str = _named("a queue")
    vhost: str = Field(DEFAULT_VHOST, min_length=1, description="the name of a virtual host")
    type: _TypeName | None = Field(None, description=_quoted(QUEUE_TYPES))
    arguments: dict[
        str, Annotated[str | int | float | bool, Field(description="a text, a number, true, false")]
    ] = Field({}, description='a table of arguments, such as { "x-max-priority" = 5 }')


def wanted(
    *,
    users: list[UserSection],
    vhosts: list[VHostSection],
    policies: list[PolicySection],
    operator_policies: list[PolicySection],
    queues: list[QueueSection],
    defaults: Mapping[str, Any],
) -> Wanted:
    """What the sections describe. ``defaults`` is the table ``[queues]``, checked already."""
    described = [_vhost(section, defaults.get("type")) for section in vhosts]
    if not described and "type" in defaults:
        described = [VHost(DEFAULT_VHOST, default_queue_type=defaults["type"])]
    return Wanted(
        vhosts=tuple(described),
        users=tuple(_user(section) for section in users),
        policies=(
            *(_policy(section, operator=False) for section in policies),
            *_default_policies(defaults, [vhost.name for vhost in described]),
            *(_policy(section, operator=True) for section in operator_policies),
        ),
        queues=tuple(
            Queue(section.vhost, section.name, section.type, dict(section.arguments))
            for section in queues
        ),
    )


def _user(section: UserSection) -> User:
    return User(
        name=section.name,
        password=section.password,
        tags=tuple(dict.fromkeys(section.tags)),
        permissions={
            vhost: Permission(one.configure, one.write, one.read)
            for vhost, one in section.permissions.items()
        },
        limits=_limits(
            {
                "max-connections": section.max_connections,
                "max-channels": section.max_channels,
            }
        ),
    )


def _vhost(section: VHostSection, default_type: str | None) -> VHost:
    return VHost(
        name=section.name,
        description=section.description,
        tags=tuple(dict.fromkeys(section.tags)),
        default_queue_type=section.default_queue_type or default_type,
        limits=_limits(
            {"max-connections": section.max_connections, "max-queues": section.max_queues}
        ),
    )


def _policy(section: PolicySection, *, operator: bool) -> Policy:
    return Policy(
        id=PolicyId(section.vhost, section.name, operator),
        pattern=section.pattern,
        definition=dict(section.definition),
        # An operator's is for queues, whatever it says.
        apply_to="queues" if operator and section.apply_to == "all" else section.apply_to,
        priority=section.priority,
    )


def _default_policies(defaults: Mapping[str, Any], vhosts: list[str]) -> list[Policy]:
    definition = {key: value for key, value in defaults.items() if key not in QUEUES_OWN}
    if not definition:
        return []
    return [
        Policy(
            id=PolicyId(vhost, DEFAULTS_POLICY),
            pattern=defaults.get("pattern", DEFAULTS_PATTERN),
            definition=definition,
            apply_to="queues",
            priority=DEFAULTS_PRIORITY,
        )
        for vhost in vhosts or [DEFAULT_VHOST]
    ]


def _limits(given: Mapping[str, int | None]) -> dict[str, int]:
    return {name: value for name, value in given.items() if value is not None}
