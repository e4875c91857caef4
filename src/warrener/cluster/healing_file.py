"""``[healing]`` of ``warrener.toml`` as pydantic checks it.

Each field's description is what an error says is allowed there.
"""

from typing import Final

from pydantic import Field

from warrener.cluster.file_values import Duration, Flag
from warrener.cluster.topology_file import Section
from warrener.facts.healing import HealingSettings

_DEFAULTS: Final = HealingSettings()


class HealingSection(Section):
    enabled: Flag = Field(_DEFAULTS.enabled, description='true or false, "on" or "off"')
    patience: Duration = Field(
        _DEFAULTS.patience,
        ge=10,
        le=3600,
        description='seconds from 10 to 3600, as a number or like "90s" or "2m"',
    )


def settings(section: HealingSection) -> HealingSettings:
    """What it comes to."""
    return HealingSettings(enabled=section.enabled, patience=section.patience)
