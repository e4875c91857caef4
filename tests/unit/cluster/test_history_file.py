"""``[history]`` of warrener.toml."""

import pytest

from warrener.cluster.spec import SpecError, parse_spec
from warrener.facts.history import HistorySettings


def test_history_is_kept_without_being_asked_for() -> None:
    assert parse_spec("").history == HistorySettings(True, 10.0, 7 * 24 * 3600.0, "")


def test_every_key() -> None:
    spec = parse_spec(
        '[history]\nenabled = "off"\nevery = "1m"\nkeep = "12h"\nprometheus = "http://h:9090/"\n'
    )
    assert spec.history == HistorySettings(False, 60.0, 12 * 3600.0, "http://h:9090")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('every = "0.5s"', 'every: "0.5s" is out of range; allowed: seconds from 1 to 300'),
        ('every = "often"', 'every: "often" can\'t be used'),
        ("keep = 60", "keep: 60 is out of range; allowed: 10 minutes to 366 days"),
        ("enabled = 1", "enabled: 1 can't be used"),
        ('prometheus = "localhost:9090"', "the URL of a Prometheus"),
        ('prometheus = "ftp://h:9090"', "the URL of a Prometheus"),
        ('prometheus = "http://u:secret@h:9090"', "without a password in it"),
        ('prometheus = "http://h:99999"', "the URL of a Prometheus"),
        ('prometheus = "http://h?x=1"', "the URL of a Prometheus"),
        ("prometheus = 9090", "the URL of a Prometheus"),
        ('promtheus = "http://h"', "prometheus"),
    ],
)
def test_mistakes_say_what_is_allowed(line: str, words: str) -> None:
    with pytest.raises(SpecError) as error:
        parse_spec(f"[history]\n{line}\n")
    assert "history." in str(error.value)
    assert words in str(error.value)
