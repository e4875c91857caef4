"""Which series a PromQL expression asks for, so that none can ask for one that nobody exports."""

import re
from typing import Final

_AWAY: Final = re.compile(
    r"""
    "(?:[^"\\]|\\.)*"                                                   # a string
    | \{ (?:[^{}"]|"(?:[^"\\]|\\.)*")* \}                               # matchers
    | \[ [^\]]* \]                                                      # a range
    | \b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)   # labels
    """,
    re.VERBOSE,
)
_NAME: Final = re.compile(r"(?<![\w:.])([a-zA-Z_:][\w:]*)(?!\s*\()(?![\w:])")
_WORDS: Final = frozenset(
    {"and", "or", "unless", "offset", "bool", "by", "without", "on", "ignoring"}
    | {"group_left", "group_right", "inf", "Inf", "nan", "NaN", "start", "end"}
)
_DURATION: Final = re.compile(r"\boffset\s+\w+")


def names_in(expression: str) -> set[str]:
    """The names of series in it. It goes by their place in the text: what is no function, no word
    of the language, and not inside of matchers, ranges, strings or lists of labels."""
    text = _DURATION.sub(" ", _AWAY.sub(" ", expression))
    return {name for name in _NAME.findall(text) if name not in _WORDS}
