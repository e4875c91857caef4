"""The ``[config]`` table: RabbitMQ's own settings, by their names in ``rabbitmq.conf``.

    [config]
    vm_memory_high_watermark.relative = 0.4
    "log.file.level" = "debug"

Dotted keys come from TOML as nested tables; ``flatten`` makes them into names again.

``CHECKS`` is the one place where a catalogue of RabbitMQ's settings is plugged in: what it holds is
asked about every setting, with the version of RabbitMQ where that is known.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from warrener.cluster.mistakes import Mistake, dotted, nearest_place
from warrener.cluster.policy_keys import Release
from warrener.cluster.toml_places import Path as KeyPath
from warrener.cluster.toml_places import Place
from warrener.cluster.wanted import Scalar


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a setting."""

    text: str
    allowed: str = ""
    nearest: str = ""


Check = Callable[[str, Scalar, Release | None], Problem | None]

CHECKS: Final[list[Check]] = []
"""Plug in a catalogue here: ``CHECKS.append(check)``; the first problem found is told."""


def flatten(table: Mapping[str, Any]) -> dict[str, Scalar]:
    """The settings by name. Whatever isn't a plain value is left out: ``mistakes`` tells it."""
    return {name: value for name, value, _ in _leaves(table) if _is_scalar(value)}


def mistakes(
    document: Mapping[str, Any], where: Mapping[KeyPath, Place], release: Release | None
) -> list[Mistake]:
    """What is wrong in ``[config]``."""
    table = document.get("config")
    if not isinstance(table, dict):
        return []
    found = []
    seen: set[str] = set()
    for name, value, steps in _leaves(table):
        path = ("config", *steps)
        problem = _problem(name, value, release)
        if name in seen:
            problem = Problem("is set twice")
        seen.add(name)
        if problem is not None:
            place = nearest_place(path, where)
            found.append(
                Mistake(dotted(path), problem.text, problem.allowed, problem.nearest, place)
            )
    return found


def _problem(name: str, value: object, release: Release | None) -> Problem | None:
    if isinstance(value, list):
        return Problem("a list can't be used", f"one key for each, such as {name}.1")
    if not _is_scalar(value):
        return Problem("can't be used", "a text, a number, true or false")
    assert isinstance(value, str | int | float | bool)
    if isinstance(value, str) and ("\n" in value or "\r" in value):
        return Problem("can't have more than one line")
    for check in CHECKS:
        if (problem := check(name, value, release)) is not None:
            return problem
    return None


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int | float | bool)


def _leaves(
    table: Mapping[str, Any], above: tuple[str, ...] = ()
) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    for key, value in table.items():
        steps = (*above, key)
        if isinstance(value, dict) and value:
            yield from _leaves(value, steps)
        else:
            yield ".".join(steps), value, steps
