"""What a session asks its shell to do. Orders between commands of one batch are kept.

The two that carry traffic are msgspec structs: a frozen dataclass takes three times as long to
make.
"""

from dataclasses import dataclass

import msgspec

from warrener.facts.balance import Backend
from warrener.facts.places import Lookup
from warrener.facts.reasons import SessionEnd


class SendClient(msgspec.Struct, frozen=True, gc=False):
    """Write to the client."""

    data: bytes


class SendLink(msgspec.Struct, frozen=True, gc=False):
    """Write to a link."""

    link: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a link: a TCP connection to ``backend``. Answered by ``link_connected`` or
    ``link_lost``."""

    link: int
    backend: Backend


@dataclass(frozen=True, slots=True)
class CloseLink:
    """Write what is left, then close the link."""

    link: int


@dataclass(frozen=True, slots=True)
class AbortLink:
    """Drop the link and what is left to write."""

    link: int


@dataclass(frozen=True, slots=True)
class HoldClient:
    """Stop reading from the client, or go on: its next bytes can't be used yet."""

    hold: bool


@dataclass(frozen=True, slots=True)
class LookUp:
    """Look something up in the cluster; answered by ``looked_up`` once the directory knows."""

    lookup: Lookup


@dataclass(frozen=True, slots=True)
class Wake:
    """Call ``tick`` after so many seconds: the clock's next round would be too late."""

    after: float


@dataclass(frozen=True, slots=True)
class CloseClient:
    """Write what is left, then close the client's connection."""


@dataclass(frozen=True, slots=True)
class AbortClient:
    """Drop the client's connection and what is left to write."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The session is over; the last command a session ever gives."""

    reason: SessionEnd
    detail: str


Command = (
    SendClient
    | SendLink
    | Connect
    | CloseLink
    | AbortLink
    | HoldClient
    | LookUp
    | Wake
    | CloseClient
    | AbortClient
    | Finished
)


def coalesced(commands: list[Command]) -> list[Command]:
    """The same with neighbouring writes to one socket joined: a system call costs more than that,
    and a broker works better on larger pieces."""
    merged: list[Command] = []
    parts: list[bytes] = []  # of the write that is last in ``merged``
    for command in commands:
        last = merged[-1] if merged else None
        match last, command:
            case SendLink(link, _), SendLink(same, data) if link == same:
                parts.append(data)
                continue
            case SendClient(_), SendClient(data):
                parts.append(data)
                continue
        _join(merged, parts)
        merged.append(command)
        parts = [command.data] if isinstance(command, SendLink | SendClient) else []
    _join(merged, parts)
    return merged


def _join(merged: list[Command], parts: list[bytes]) -> None:
    """Give the last write everything that belongs to it."""
    if len(parts) > 1:
        match merged[-1]:
            case SendLink(link, _):
                merged[-1] = SendLink(link, b"".join(parts))
            case SendClient(_):
                merged[-1] = SendClient(b"".join(parts))
