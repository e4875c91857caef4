"""Kinds of values that several sections of ``warrener.toml`` have, as pydantic takes them in.

What is wrong is told by the field's own description, so they only say that it is.
"""

import re
from typing import Annotated, Final, NoReturn

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def wrong() -> NoReturn:
    """The value can't be used."""
    raise PydanticCustomError("wrong", "can't be used")


def _duration(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", value)):
        return float(match[1]) * _UNITS[match[2]]
    wrong()


def _flag(value: object) -> bool:
    match value:
        case bool():
            return value
        case "on":
            return True
        case "off":
            return False
    wrong()


Duration = Annotated[float, BeforeValidator(_duration)]
"""Seconds: a number, or with a unit up to days ("10s", "1.5h")."""

Flag = Annotated[bool, BeforeValidator(_flag)]
"""TOML has no ``off``; who writes it as a word means it all the same."""
