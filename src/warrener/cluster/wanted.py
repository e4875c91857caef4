"""What a cluster should hold: virtual hosts, users, policies, queues. Frozen values, as
``warrener.toml`` describes them; ``topology`` compares them with what is there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from warrener.cluster.policy_keys import Value

Scalar = str | int | float | bool

DEFAULT_VHOST: Final = "/"
OWN_USER: Final = "warrener"
"""The user that Warrener itself logs in with. It is never described, changed or removed."""

DEFAULTS_POLICY: Final = "warrener-queues"
"""What ``[queues]`` becomes in each virtual host: a policy of this name."""

DEFAULTS_PRIORITY: Final = -100
"""Of all policies that match a queue RabbitMQ applies the one of the highest priority; so every
``[[policy]]`` that isn't told otherwise (0) goes before the defaults."""

DEFAULTS_PATTERN: Final = r"^(?!amq\.)"
"""Every queue but those that RabbitMQ names itself: they are somebody's for the moment."""


class PasswordKind(StrEnum):
    """Where a password comes from."""

    PLAIN = "plain"  # it stands in the file
    ENV = "env"  # a variable of the environment of who runs `warrener apply`
    FILE = "file"
    GENERATED = "generated"  # made once, kept in the state folder


@dataclass(frozen=True, slots=True)
class Password:
    """Where a user's password comes from; ``value`` is the variable's name, the file's, the
    password itself, or nothing."""

    kind: PasswordKind
    value: str = field(default="", repr=False)

    @property
    def told(self) -> str:
        """For people, without the password."""
        match self.kind:
            case PasswordKind.PLAIN:
                return "the one in the file"
            case PasswordKind.ENV:
                return f"${self.value}"
            case PasswordKind.FILE:
                return f"the one in {self.value}"
            case PasswordKind.GENERATED:
                return "generated"


@dataclass(frozen=True, slots=True)
class Permission:
    """Of a user in a virtual host: regular expressions of names. An empty one matches none."""

    configure: str = ""
    write: str = ""
    read: str = ""


@dataclass(frozen=True, slots=True)
class User:
    """``permissions`` by virtual host; ``limits`` by RabbitMQ's names (``max-connections``)."""

    name: str
    password: Password
    tags: tuple[str, ...] = ()
    permissions: Mapping[str, Permission] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VHost:
    """``default_queue_type`` None: whatever it is."""

    name: str
    description: str = ""
    tags: tuple[str, ...] = ()
    default_queue_type: str | None = None
    limits: Mapping[str, int] = field(default_factory=dict)


class PolicyId(NamedTuple):
    """Policies and operator policies have names of their own in each virtual host."""

    vhost: str
    name: str
    operator: bool = False

    def __str__(self) -> str:
        return f"{self.name} in {self.vhost}"


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy, or an operator's."""

    id: PolicyId
    pattern: str
    definition: Mapping[str, Value]
    apply_to: str = "all"
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable queue. ``type`` None: the default of its virtual host."""

    vhost: str
    name: str
    type: str | None = None
    arguments: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """All of it, in the file's order. ``policies`` has operator policies and what ``[queues]``
    becomes among them."""

    vhosts: tuple[VHost, ...] = ()
    users: tuple[User, ...] = ()
    policies: tuple[Policy, ...] = ()
    queues: tuple[Queue, ...] = ()
