"""``[telemetry]`` of ``warrener.toml`` as pydantic checks it.

Each field's description is what an error says is allowed there.
"""

from typing import Final

from pydantic import Field

from warrener.cluster.file_values import Duration, Flag
from warrener.cluster.topology_file import Section
from warrener.facts.telemetry import TelemetrySettings

_DEFAULTS: Final = TelemetrySettings()

MOST_QUEUES: Final = 5000
"""Queues with metrics of their own: seven series each, and 0.1 s of a scrape for 2,000."""


class TelemetrySection(Section):
    enabled: Flag = Field(_DEFAULTS.enabled, description='true or false, "on" or "off"')
    port: int = Field(_DEFAULTS.port, ge=1, le=65_535, description="a port from 1 to 65535")
    queue_metrics: int = Field(
        _DEFAULTS.queue_metrics, ge=0, le=MOST_QUEUES, description=f"0 to {MOST_QUEUES} queues"
    )
    prometheus: Flag = Field(_DEFAULTS.prometheus, description='true or false, "on" or "off"')
    scrape_interval: Duration = Field(
        _DEFAULTS.scrape_interval,
        ge=1,
        le=300,
        description='1 second to 5 minutes, as seconds or like "15s"',
    )
    retention: Duration = Field(
        _DEFAULTS.retention,
        ge=600,
        le=366 * 86_400,
        description='10 minutes to 366 days, as seconds or like "12h" or "15d"',
    )
    alert_after: Duration = Field(
        _DEFAULTS.alert_after,
        ge=0,
        le=86_400,
        description='up to a day, as seconds or like "30s"; 0: as each rule has it',
    )


def settings(section: TelemetrySection) -> TelemetrySettings:
    """What it comes to."""
    return TelemetrySettings(**section.model_dump())
