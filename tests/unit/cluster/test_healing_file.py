"""``[healing]`` of warrener.toml."""

import pytest

from warrener.cluster.spec import SpecError, parse_spec
from warrener.facts.healing import HealingSettings


def test_nodes_are_healed_without_being_asked_for() -> None:
    assert parse_spec("").healing == HealingSettings(True, 60.0)


def test_every_key() -> None:
    spec = parse_spec('[healing]\nenabled = false\npatience = "2m"\n')
    assert spec.healing == HealingSettings(False, 120.0)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("patience = 5", "patience: 5 is out of range; allowed: seconds from 10 to 3600"),
        ('patience = "long"', 'patience: "long" can\'t be used'),
        ("enabled = 1", "enabled: 1 can't be used"),
        ("patient = 60", "patience"),
    ],
)
def test_mistakes_say_what_is_allowed(line: str, words: str) -> None:
    with pytest.raises(SpecError) as error:
        parse_spec(f"[healing]\n{line}\n")
    assert "healing." in str(error.value)
    assert words in str(error.value)
