"""``[telemetry]`` of ``warrener.toml`` as pydantic checks it.

Each field's description is what an error says is allowed there.
"""

import re
from typing import Annotated, Final, NoReturn

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from warrener.cluster.topology_file import Section
from warrener.facts.telemetry import TelemetrySettings

_DEFAULTS: Final = TelemetrySettings()
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}

MOST_QUEUES: Final = 5000
"""Queues with metrics of their own: seven series each, and 0.1 s of a scrape for 2,000."""


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


def _wrong() -> NoReturn:
    raise PydanticCustomError("wrong", "can't be used")


_Duration = Annotated[float, BeforeValidator(_duration)]
_Switch = Annotated[bool, BeforeValidator(_switch)]


class TelemetrySection(Section):
    enabled: _Switch = Field(_DEFAULTS.enabled, description='true or false, "on" or "off"')
    port: int = Field(_DEFAULTS.port, ge=1, le=65_535, description="a port from 1 to 65535")
    queue_metrics: int = Field(
        _DEFAULTS.queue_metrics, ge=0, le=MOST_QUEUES, description=f"0 to {MOST_QUEUES} queues"
    )
    prometheus: _Switch = Field(_DEFAULTS.prometheus, description='true or false, "on" or "off"')
    scrape_interval: _Duration = Field(
        _DEFAULTS.scrape_interval,
        ge=1,
        le=300,
        description='1 second to 5 minutes, as seconds or like "15s"',
    )
    retention: _Duration = Field(
        _DEFAULTS.retention,
        ge=600,
        le=366 * 86_400,
        description='10 minutes to 366 days, as seconds or like "12h" or "15d"',
    )
    alert_after: _Duration = Field(
        _DEFAULTS.alert_after,
        ge=0,
        le=86_400,
        description='up to a day, as seconds or like "30s"; 0: as each rule has it',
    )


def settings(section: TelemetrySection) -> TelemetrySettings:
    """What it comes to."""
    return TelemetrySettings(**section.model_dump())
