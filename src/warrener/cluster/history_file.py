"""``[history]`` of ``warrener.toml`` as pydantic checks it.

Each field's description is what an error says is allowed there.
"""

import re
from typing import Annotated, Final, NoReturn
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from warrener.cluster.topology_file import Section
from warrener.facts.history import HistorySettings

_DEFAULTS: Final = HistorySettings()
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def _duration(value: object) -> float:
    """As elsewhere in the file, and with hours and days."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", value)):
        return float(match[1]) * _UNITS[match[2]]
    _wrong()


def _switch(value: object) -> bool:
    match value:
        case bool():
            return value
        case "on":
            return True
        case "off":
            return False
    _wrong()


def _prometheus(value: object) -> str:
    """Without a slash at its end. A name and a password in it would end up in logs."""
    if not isinstance(value, str):
        _wrong()
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        _wrong()
    usable = parts.scheme in ("http", "https") and parts.hostname and port != 0
    if not usable or parts.username or parts.password or parts.query or parts.fragment:
        _wrong()
    return value.rstrip("/")


def _wrong() -> NoReturn:
    raise PydanticCustomError("wrong", "can't be used")


Duration = Annotated[float, BeforeValidator(_duration)]
Flag = Annotated[bool, BeforeValidator(_switch)]


class HistorySection(Section):
    enabled: Flag = Field(_DEFAULTS.enabled, description='true or false, "on" or "off"')
    every: Duration = Field(
        _DEFAULTS.every,
        ge=1,
        le=300,
        description='seconds from 1 to 300, as a number or like "10s" or "1m"',
    )
    keep: Duration = Field(
        _DEFAULTS.keep,
        ge=600,
        le=366 * 86_400,
        description='10 minutes to 366 days, as seconds or like "12h" or "7d"',
    )
    prometheus: Annotated[str, BeforeValidator(_prometheus)] = Field(
        _DEFAULTS.prometheus,
        description="the URL of a Prometheus without a password in it, such as "
        '"http://127.0.0.1:9090"',
    )


def settings(section: HistorySection) -> HistorySettings:
    """What it comes to."""
    return HistorySettings(
        enabled=section.enabled,
        every=section.every,
        keep=section.keep,
        prometheus=section.prometheus,
    )
