"""The keys of RabbitMQ's policies: what each may be, for which queues, since which version.

Taken from RabbitMQ 3.10.8's own validators (``rabbit_policies``, ``rabbit_mirror_queue_misc``,
``rabbit_queue_location_validator``, the plugins) and the release notes of later ones.

``types`` are the kinds of queues that RabbitMQ applies a policy with this key to. It applies a
policy whole or not at all: one key that a kind of queue doesn't know (its ``unsupported_policies``)
keeps the whole policy from every queue of that kind. So keys for different kinds belong into
different policies.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

Value = str | int | float | bool | list[str]
Release = tuple[int, int]

CLASSIC: Final = "classic"
QUORUM: Final = "quorum"
STREAM: Final = "stream"
QUEUE_TYPES: Final = (CLASSIC, QUORUM, STREAM)

APPLY_TO: Final[Mapping[str, Release]] = {
    "all": (3, 2),
    "queues": (3, 2),
    "exchanges": (3, 2),
    "classic_queues": (3, 12),
    "quorum_queues": (3, 12),
    "streams": (3, 12),
}
"""What ``apply_to`` may be, and since when."""

OPERATOR_MORE: Final = (3, 12)
"""From here on operator policies may have more keys than those marked so; RabbitMQ judges them."""

_ALL: Final = frozenset(QUEUE_TYPES)
_CLASSIC: Final = frozenset({CLASSIC})
_QUORUM: Final = frozenset({QUORUM})
_STREAM: Final = frozenset({STREAM})
_NOT_STREAM: Final = frozenset({CLASSIC, QUORUM})
_REPLICATED: Final = frozenset({QUORUM, STREAM})
_NONE: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class PolicyKey:
    """One key. ``low`` and ``high`` bound a number; ``choices`` are all there is if not empty."""

    name: str
    allowed: str  # for people
    types: frozenset[str] = _ALL
    exchanges: bool = False
    operator: bool = False  # operator policies may have it on every version
    low: int | None = None
    high: int | None = None
    choices: tuple[Value, ...] = ()
    pattern: str = ""
    list_too: bool = False
    since: Release = (3, 0)
    until: Release | None = None  # the first version without it
    plugin: str = ""
    without_effect: Release | None = field(default=None)  # accepted, but does nothing from here on

    def takes(self, value: object) -> bool:
        """Whether ``value`` may stand there."""
        if self.list_too and isinstance(value, list):
            return all(isinstance(item, str) for item in value)
        if self.choices:
            return any(value == choice and type(value) is type(choice) for choice in self.choices)
        if self.low is not None:
            if type(value) is not int or value < self.low:
                return False
            return self.high is None or value <= self.high
        if not isinstance(value, str):
            return False
        return not self.pattern or re.fullmatch(self.pattern, value) is not None


def _number(
    name: str, low: int = 0, *, of: str, high: int | None = None, **more: object
) -> PolicyKey:
    up_to = f" to {high:,}" if high is not None else " or more"
    allowed = (
        f"a whole number from {low}{up_to} ({of})"
        if high
        else f"a whole number, {low}{up_to} ({of})"
    )
    return PolicyKey(name, allowed, low=low, high=high, **more)  # type: ignore[arg-type]


def _text(name: str, allowed: str, **more: object) -> PolicyKey:
    return PolicyKey(name, allowed, **more)  # type: ignore[arg-type]


def _choice(name: str, *choices: Value, **more: object) -> PolicyKey:
    shown = ", ".join(
        f'"{choice}"' if isinstance(choice, str) else str(choice) for choice in choices
    )
    return PolicyKey(name, shown, choices=choices, **more)  # type: ignore[arg-type]


_KEYS: Final = (
    _text("alternate-exchange", "the name of an exchange", types=_NONE, exchanges=True),
    _text("dead-letter-exchange", 'an exchange\'s name; "" is the default one', types=_NOT_STREAM),
    _text("dead-letter-routing-key", "a routing key", types=_NOT_STREAM),
    _choice("dead-letter-strategy", "at-most-once", "at-least-once", types=_QUORUM, since=(3, 10)),
    _number("message-ttl", of="milliseconds", types=_NOT_STREAM, operator=True),
    _number("expires", 1, of="milliseconds without use", types=_NOT_STREAM, operator=True),
    _number("max-length", of="messages", types=_NOT_STREAM, operator=True),
    _number("max-length-bytes", of="bytes", operator=True),
    _number("max-in-memory-length", of="messages", types=_NOT_STREAM, operator=True),
    _number("max-in-memory-bytes", of="bytes", types=_NOT_STREAM, operator=True),
    _choice("overflow", "drop-head", "reject-publish", "reject-publish-dlx", types=_NOT_STREAM),
    _number("delivery-limit", of="deliveries", types=_QUORUM, operator=True),
    _choice("queue-mode", "default", "lazy", types=_CLASSIC, without_effect=(3, 12)),
    _choice("queue-version", 1, 2, since=(3, 10)),
    _choice(
        "queue-leader-locator",
        "client-local", "balanced", "random", "least-leaders",
        types=_REPLICATED,
    ),
    _choice(
        "queue-master-locator", "min-masters", "client-local", "random", types=_CLASSIC
    ),
    _text(
        "max-age",
        'an age such as "7D" (Y, M, D, h, m, s)',
        types=_STREAM,
        pattern=r"0*[1-9][0-9]*[YMDhms]",
    ),
    _number("stream-max-segment-size-bytes", of="bytes", high=3_000_000_000, types=_STREAM),
    _number("stream-filter-size-bytes", 16, of="bytes", high=255, types=_STREAM, since=(3, 13)),
    _number("initial-cluster-size", of="nodes", types=_STREAM),
    _number("consumer-timeout", of="milliseconds", types=_NOT_STREAM, since=(3, 12)),
    _number("target-group-size", 1, of="members", types=_QUORUM, since=(3, 13)),
    # Mirrored classic queues: gone with 4.0.
    _choice("ha-mode", "all", "exactly", "nodes", types=_CLASSIC, until=(4, 0)),
    PolicyKey(
        "ha-params",
        'a number of nodes, or a list of their names such as ["n1@localhost"]',
        types=_CLASSIC, low=1, list_too=True, until=(4, 0),
    ),
    _choice("ha-sync-mode", "manual", "automatic", types=_CLASSIC, until=(4, 0)),
    _number("ha-sync-batch-size", 1, of="messages", types=_CLASSIC, until=(4, 0)),
    _choice("ha-promote-on-shutdown", "when-synced", "always", types=_CLASSIC, until=(4, 0)),
    _choice("ha-promote-on-failure", "when-synced", "always", types=_CLASSIC, until=(4, 0)),
    _text(
        "federation-upstream", "the name of an upstream",
        exchanges=True, plugin="rabbitmq_federation",
    ),
    _text(
        "federation-upstream-set", 'the name of a set of upstreams, or "all"',
        exchanges=True, plugin="rabbitmq_federation",
    ),
    _text(
        "federation-upstream-pattern", "a regular expression of upstreams",
        exchanges=True, plugin="rabbitmq_federation",
    ),
    _number(
        "shards-per-node", 1, of="queues",
        types=_NONE, exchanges=True, plugin="rabbitmq_sharding",
    ),
    _text("routing-key", "a routing key", types=_NONE, exchanges=True, plugin="rabbitmq_sharding"),
)  # fmt: skip

POLICY_KEYS: Final[Mapping[str, PolicyKey]] = {key.name: key for key in _KEYS}


def types_for(keys: Iterable[str]) -> frozenset[str]:
    """The kinds of queues that a policy with these keys (known ones) is applied to."""
    found = _ALL
    for key in keys:
        found &= POLICY_KEYS[key].types
    return found
