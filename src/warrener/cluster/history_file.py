"""``[history]`` of ``warrener.toml`` as pydantic checks it.

Each field's description is what an error says is allowed there.
"""

from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field

from warrener.cluster.file_values import Duration, Flag, wrong
from warrener.cluster.topology_file import Section
from warrener.facts.history import HistorySettings

_DEFAULTS: Final = HistorySettings()


def _prometheus(value: object) -> str:
    """Without a slash at its end. A name and a password in it would end up in logs."""
    if not isinstance(value, str):
        wrong()
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        wrong()
    usable = parts.scheme in ("http", "https") and parts.hostname and port != 0
    if not usable or parts.username or parts.password or parts.query or parts.fragment:
        wrong()
    return value.rstrip("/")


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
