"""What an entry of the catalogue says. Pure."""

from dataclasses import dataclass
from typing import Final

OLDEST: Final = (3, 9)
"""Keys of this release or an older one have no ``since`` of their own: it is the first whose
schema was compared."""


@dataclass(frozen=True, slots=True)
class Live:
    """How a running node takes a new value. ``command`` is what does it, in RabbitMQ's own words;
    ``effect`` is what it is effective for. It works from release ``from_`` to before ``until``."""

    command: str
    effect: str = "at once"
    from_: tuple[int, int] = OLDEST
    until: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One key. ``low`` and ``high`` bound a number, in the unit of the file (a size: bytes);
    ``default`` is RabbitMQ's where its application files don't say it; ``until`` is the first
    release without the key. ``size``: memory units are allowed although the schema says text."""

    key: str
    purpose: str
    unit: str = ""
    low: float | int | None = None
    high: float | int | None = None
    default: str = ""
    live: Live | None = None
    since: tuple[int, int] = OLDEST
    until: tuple[int, int] | None = None
    size: bool = False
    note: str = ""


def set_env(application: str, name: str, effect: str, until: tuple[int, int] | None = None) -> Live:
    """A value that RabbitMQ reads from its environment whenever it needs it."""
    command = f"rabbitmqctl eval 'application:set_env({application}, {name}, VALUE).'"
    return Live(command, effect, until=until)
