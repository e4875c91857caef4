"""Settings in warrener.toml are judged where it is known which RabbitMQ they are for."""

import pytest

from warrener.cluster import config_table
from warrener.cluster.catalogue.schema import Schema, read_schema
from warrener.cluster.config_table import Problem
from warrener.cluster.drivers import config_check
from warrener.cluster.spec import SpecError, parse_spec

SCHEMA = Schema.of(
    "3.10.8",
    read_schema('{mapping, "heartbeat", "rabbit.heartbeat", [{datatype, integer}]}.')[0],
)


@pytest.fixture(autouse=True)
def _one_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_check, "_installed", lambda: SCHEMA)
    monkeypatch.setattr(config_table, "CHECKS", [])
    monkeypatch.setattr(config_check, "CHECKS", config_table.CHECKS)


def test_a_right_setting_is_no_problem() -> None:
    assert config_check.check("heartbeat", 30, (3, 10)) is None


def test_a_wrong_key_and_a_wrong_value_are() -> None:
    assert isinstance(config_check.check("heartbaet", 30, (3, 10)), Problem)
    assert isinstance(config_check.check("heartbeat", "often", (3, 10)), Problem)


@pytest.mark.parametrize("release", [None, (3, 13)])
def test_of_another_release_nothing_is_known(release: tuple[int, int] | None) -> None:
    assert config_check.check("heartbaet", 30, release) is None


def test_without_an_installation_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_check, "_installed", lambda: None)
    assert config_check.check("heartbaet", 30, (3, 10)) is None


def test_plugged_in_it_names_the_place_in_the_file() -> None:
    config_check.plug_in()
    config_check.plug_in()
    assert len(config_table.CHECKS) == 1
    with pytest.raises(SpecError) as caught:
        parse_spec("[config]\nheartbaet = 30\n", release=(3, 10))
    assert "warrener.toml:2:1: config.heartbaet" in str(caught.value)
    assert "heartbeat" in str(caught.value)
