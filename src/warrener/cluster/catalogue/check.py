"""One key and one value, before anything is touched. Pure.

What RabbitMQ's schema doesn't know is refused with the nearest key that it does; so is a value of
another type than the schema names, or outside of the range in the catalogue. What passes may still
be refused by RabbitMQ's own checks (a file that isn't there): a running node is asked for those.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from warrener.cluster.catalogue.entries import Entry
from warrener.cluster.catalogue.keys import ELSEWHERE, KEYS, entry_for
from warrener.cluster.catalogue.reserved import why_reserved
from warrener.cluster.catalogue.schema import Datatype, Known, Schema
from warrener.cluster.mistakes import nearest

MAX_VALUE: Final = 4096
"""Characters of a value. The longest that makes sense is a list of headers or a path."""


class Applies(StrEnum):
    """When a change of a key has its effect."""

    LIVE = "live"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Setting:
    """A key with a value that is right, written as ``rabbitmq.conf`` has it."""

    key: str
    value: str
    applies: Applies
    target: str
    secret: bool


class WrongSetting(Exception):
    """A key or a value that won't do. ``allowed`` and ``nearest`` are empty where there is nothing
    to name; ``str`` has all of it."""

    def __init__(self, key: str, text: str, allowed: str = "", nearest: str = "") -> None:
        self.key = key
        self.text = text
        self.allowed = allowed
        self.nearest = nearest
        told = f"{key}: {text}"
        if allowed:
            told += f"; allowed: {allowed}"
        if nearest:
            told += f"; did you mean {nearest!r}?"
        super().__init__(told)


@dataclass(frozen=True, slots=True)
class Description:
    """What there is to tell of a key: the schema's and the catalogue's word together."""

    key: str
    known: Known
    entry: Entry | None
    applies: Applies
    kind: str
    allowed: str
    secret: bool
    reserved: str  # why it can't be set; empty if it can


_SECRET: Final = re.compile(
    r"(^|[._])(pass|password|passphrase|passwd|secret|secret_key|session_token|acl_token|"
    r"private_key|client_secret|token|psk_identity)$|\.key\.\w+$|cookie$"
)


def is_secret(key: str) -> bool:
    """Whether the value of a key must not be shown."""
    return _SECRET.search(key) is not None


def describe(key: str, schema: Schema) -> Description:
    """All that is known of a key, also of one that may not be set. Raises WrongSetting if the
    installed RabbitMQ doesn't have it."""
    known = schema.find(key)
    if known is None:
        raise _unknown(key, schema)
    entry = entry_for(key)
    live = (
        entry is not None
        and entry.live is not None
        and entry.live.from_ <= schema.release
        and (entry.live.until is None or schema.release < entry.live.until)
    )
    return Description(
        key=key,
        known=known,
        entry=entry,
        applies=Applies.LIVE if live else Applies.RESTART,
        kind=_kind(known, entry),
        allowed=allowed(known, entry),
        secret=is_secret(key),
        reserved=why_reserved(key),
    )


def check_setting(key: str, value: object, schema: Schema) -> Setting:
    """The setting, written as ``rabbitmq.conf`` takes it. ``value`` may be text, a number or a
    boolean. Raises WrongSetting: the key isn't one, is Warrener's own, or the value won't do."""
    told = describe(key, schema)
    if told.reserved:
        raise WrongSetting(key, told.reserved)
    if told.known.is_pattern and told.known.key == key:
        raise WrongSetting(key, "stands for many keys", allowed=_instead_of(key))
    text = _text(key, value)
    for datatype in told.known.datatypes:
        written = _written(text, datatype)
        if written is not None:
            break
    else:
        near = nearest(text, [c for d in told.known.datatypes for c in d.choices])
        raise WrongSetting(key, f"{_shown(text, told)} is not {told.kind}", told.allowed, near)
    _check_range(written, told)
    return Setting(key, written, told.applies, told.known.target, told.secret)


def allowed(known: Known, entry: Entry | None) -> str:
    """What a value may be, in words."""
    ways = [_allowed(datatype, entry) for datatype in known.datatypes]
    if entry is not None and entry.size:
        ways = ["bytes, or a size such as 512MiB or 2GB"]
    low, high = _limits(known, entry)
    told = " or ".join(dict.fromkeys(ways))
    if low is not None and high is not None:
        told += f", {low:g} to {high:g}" if isinstance(high, float) else f", {low} to {high}"
    elif low is not None:
        told += f", {low} or more"
    if entry is not None and entry.unit and not entry.size:
        told += f" ({entry.unit})"
    return told


# -- keys


def _unknown(key: str, schema: Schema) -> WrongSetting:
    if key in ELSEWHERE:
        return WrongSetting(key, f"RabbitMQ {schema.version} has no such key: {ELSEWHERE[key]}")
    entry = KEYS.get(key)
    if entry is not None and entry.since > schema.release:
        major, minor = entry.since
        return WrongSetting(
            key, f"RabbitMQ has it from {major}.{minor} on, and this is {schema.version}"
        )
    usual = [known for known in schema.known if known in KEYS]
    near = nearest(key, usual, cutoff=0.7) or nearest(key, list(schema.known), cutoff=0.5)
    if not near:
        beginning = [known for known in schema.known if known.startswith(f"{key}.")]
        near = beginning[0] if beginning else ""
    return WrongSetting(key, f"RabbitMQ {schema.version} has no such key", nearest=near)


def _instead_of(pattern: str) -> str:
    parts = ["NAME" if part.startswith("$") else part for part in pattern.split(".")]
    return ".".join(parts) + " with a name or number in place of NAME"


# -- values


def _text(key: str, value: object) -> str:
    match value:
        case bool():
            text = "true" if value else "false"
        case float():
            text = f"{value:f}".rstrip("0")
            text += "0" if text.endswith(".") else ""
        case int() | str():
            text = str(value)
        case _:
            raise WrongSetting(key, f"a {type(value).__name__} is no value", "text or a number")
    text = text.strip()
    if not text:
        raise WrongSetting(key, "the value is empty", "`warrener config unset` takes it back")
    if len(text) > MAX_VALUE:
        raise WrongSetting(key, f"the value has {len(text)} characters", f"up to {MAX_VALUE}")
    # The file's grammar (tried on cuttlefish 3.0.1): a # begins a comment wherever it is, and
    # there is no way to quote it; quotes are kept; bytes that aren't ASCII come out broken.
    if "#" in text:
        raise WrongSetting(key, "rabbitmq.conf takes what follows a # for a comment", "no #")
    if text[0] in "'\"":
        raise WrongSetting(key, "rabbitmq.conf keeps quotes as part of the value", "no quotes")
    if not (text.isascii() and text.isprintable()):
        raise WrongSetting(key, "there are characters in it that rabbitmq.conf can't hold",
                           "printable ASCII on one line")  # fmt: skip
    return text


def _whole(text: str, _: Datatype) -> str | None:
    match = re.fullmatch(r"([+-]?)0*(\d{1,18})", text)
    return f"{match[1].replace('+', '')}{match[2]}" if match else None


def _float(text: str, _: Datatype) -> str | None:
    # Erlang wants digits on both sides of the point, and a point.
    match = re.fullmatch(r"([+-]?)(\d{0,15})(?:\.(\d{0,15}))?", text)
    if match is None or not (match[2] or match[3]):
        return None
    return f"{match[1].replace('+', '')}{match[2] or '0'}.{match[3] or '0'}"


def _choice(text: str, datatype: Datatype) -> str | None:
    if text in datatype.choices:
        return text
    # TOML's true and on/off are the same to people.
    same = {"true": "on", "false": "off", "on": "true", "off": "false"}.get(text)
    return same if same in datatype.choices else None


def _bytesize(text: str, _: Datatype) -> str | None:
    return text if re.fullmatch(r"\d{1,18}(?:kb|KB|mb|MB|gb|GB)?", text) else None


def _duration(text: str, _: Datatype) -> str | None:
    return text if re.fullmatch(r"(?:\d{1,9}(?:f|w|d|h|ms|m|s))+", text) else None


def _ip(text: str, _: Datatype) -> str | None:
    match = re.fullmatch(r"(.+):(\d{1,5})", text)
    return text if match and 0 < int(match[2]) < 65536 else None


def _atom(text: str, datatype: Datatype) -> str | None:
    if datatype.choices:
        return text if text in datatype.choices else None
    return text if re.fullmatch(r"[\w@.:/+-]{1,255}", text) else None


def _percent(text: str, _: Datatype) -> str | None:
    return text if re.fullmatch(r"\d{1,3}%", text) else None


def _any(text: str, datatype: Datatype) -> str | None:
    return text


_FORMS: Final[dict[str, Callable[[str, Datatype], str | None]]] = {
    "integer": _whole,
    "float": _float,
    "enum": _choice,
    "flag": _choice,
    "bytesize": _bytesize,
    "duration": _duration,
    "ip": _ip,
    "fqdn": _ip,
    "atom": _atom,
    "percent": _percent,
}

SIZE: Final = re.compile(
    r"(\d{1,18})(kB|KB|MB|GB|kb|mb|gb|Kb|Mb|Gb|kiB|KiB|MiB|GiB|kib|mib|gib|KIB|MIB|GIB|k|K|m|M|g|G)?"
)
"""A size as the keys that take memory units have it: their type in the schema is just text."""

_NUMBERS: Final = frozenset({"integer", "float", "bytesize"})


def _written(text: str, datatype: Datatype) -> str | None:
    """The value as this type has it; None if it isn't of this type."""
    return _FORMS.get(datatype.name, _any)(text, datatype)


# -- ranges

_RANGES: Final[dict[str, tuple[float | int, float | int | None]]] = {
    "non_negative_integer": (0, None),
    "non_zero_positive_integer": (1, None),
    "byte": (0, 255),
    "port": (1, 65534),
    "max_message_size": (1, 536870912),
    "mirroring_sync_batch_size": (1, 1000000),
}
"""The validators of RabbitMQ's schemas that are ranges."""


def _limits(known: Known, entry: Entry | None) -> tuple[float | int | None, float | int | None]:
    """Lowest and highest value; the narrower of the schema's and the catalogue's."""
    if not any(datatype.name in _NUMBERS for datatype in known.datatypes):
        return None, None
    ranges = [_RANGES[name] for name in known.validators if name in _RANGES]
    if entry is not None:
        ranges.append((entry.low if entry.low is not None else float("-inf"), entry.high))
    lows = [low for low, _ in ranges if low != float("-inf")]
    highs = [high for _, high in ranges if high is not None]
    return (max(lows) if lows else None), (min(highs) if highs else None)


def _check_range(written: str, told: Description) -> None:
    if told.entry is not None and told.entry.size:
        if not SIZE.fullmatch(written):
            raise WrongSetting(told.key, f"{written!r} is no size", told.allowed)
        return
    if "uri" in told.known.validators and not re.match(r"[a-z][a-z0-9+.-]*:", written):
        raise WrongSetting(told.key, f"{written!r} is no URI", "scheme://host...")
    number = _number(written)
    if number is None:
        return
    low, high = _limits(told.known, told.entry)
    if "less_than_1" in told.known.validators and not 0 < number < 1:
        raise WrongSetting(told.key, f"{written} is out of range", "more than 0, less than 1")
    if (low is not None and number < low) or (high is not None and number > high):
        raise WrongSetting(told.key, f"{written} is out of range", told.allowed)


def _number(written: str) -> float | int | None:
    match = re.fullmatch(r"(-?\d+)(kb|mb|gb)?", written, re.IGNORECASE)
    if match:
        power = {"kb": 1, "mb": 2, "gb": 3}.get((match[2] or "").lower(), 0)
        return int(match[1]) * int(1024**power)
    return float(written) if re.fullmatch(r"-?\d+\.\d+", written) else None


# -- words

_NAMES: Final = {
    "integer": "a whole number",
    "float": "a number with a point, such as 0.4",
    "bytesize": "bytes, or a size such as 64KB or 2MB",
    "duration": "a duration such as 500ms, 30s or 1h30m",
    "ip": "ADDRESS:PORT",
    "fqdn": "HOST:PORT",
    "atom": "a word",
    "percent": "a percentage such as 40%",
    "string": "text",
    "file": "a file",
    "directory": "a folder",
}


def _allowed(datatype: Datatype, entry: Entry | None) -> str:
    if datatype.choices:
        return ", ".join(datatype.choices)
    return _NAMES.get(datatype.name, "text")


def _kind(known: Known, entry: Entry | None) -> str:
    if entry is not None and entry.size:
        return "a size"
    names = [
        "one of its choices" if datatype.choices else _NAMES.get(datatype.name, "text")
        for datatype in known.datatypes
    ]
    return " or ".join(dict.fromkeys(names))


def _shown(text: str, told: Description) -> str:
    return "the value" if told.secret else repr(text)


def rivals(key: str, others: Iterable[str], schema: Schema) -> tuple[str, ...]:
    """Those of ``others`` that can't stand in one file with ``key``: of a relative and an absolute
    limit RabbitMQ takes the relative one, whichever was meant."""
    base, _, last = key.rpartition(".")
    if last not in ("relative", "absolute"):
        return ()
    other = f"{base}.{'absolute' if last == 'relative' else 'relative'}"
    return tuple(one for one in others if one == other)
