"""Where in a TOML text each key stands.

``tomllib`` says what a file means and where its syntax breaks, but not where a key that is well
formed and wrong stands. ``places`` walks a text that ``tomllib`` has already accepted and gives the
line and column of every key, table header and array element. Because the text is known to be
valid, the walk only has to know where strings, comments and brackets end; it never judges.

A path is a tuple of keys and list indexes: ``("balancer", "weights", "n1")``, ``("plugins", 0)``.
"""

from dataclasses import dataclass
from typing import Final

Path = tuple[str | int, ...]

_BLANK: Final = " \t"
_SPACE: Final = " \t\r\n"
_ESCAPES: Final = {
    "b": "\b",
    "t": "\t",
    "n": "\n",
    "f": "\f",
    "r": "\r",
    "e": "\x1b",
    '"': '"',
    "\\": "\\",
}
_HEX_DIGITS: Final = {"x": 2, "u": 4, "U": 8}


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a text; both count from 1, columns in characters."""

    line: int
    column: int


def places(text: str) -> dict[Path, Place]:
    """The place of every key in ``text``, which ``tomllib`` must have accepted.

    A table that is opened more than once (by dotted keys, say) has the place of its first mention.
    """
    walker = _Walker(text)
    walker.document()
    return walker.found


class _Walker:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line_starts = [0]
        self._line_starts.extend(i + 1 for i, c in enumerate(text) if c == "\n")
        self._line = 0
        self._arrays: dict[Path, int] = {}  # arrays of tables: how many elements so far
        self.found: dict[Path, Place] = {}

    def document(self) -> None:
        table: Path = ()
        while True:
            self._skip_space_and_comments()
            if self._at >= len(self._text):
                return
            if self._peek("[["):
                table = self._header("[[", "]]", is_array=True)
            elif self._peek("["):
                table = self._header("[", "]", is_array=False)
            else:
                self._pair(table)

    # -- the pieces of a document

    def _header(self, opening: str, closing: str, *, is_array: bool) -> Path:
        self._at += len(opening)
        path: Path = ()
        keys = self._dotted_key()
        for number, (key, place) in enumerate(keys):
            path = (*path, key)
            self._note(path, place)
            is_last = number == len(keys) - 1
            if is_last and is_array:
                index = self._arrays.get(path, 0)
                self._arrays[path] = index + 1
                path = (*path, index)
                self._note(path, place)
            elif path in self._arrays:  # [a.b] speaks of the last element of [[a]]
                path = (*path, self._arrays[path] - 1)
        self._skip(_BLANK)
        self._at += len(closing)
        return path

    def _pair(self, table: Path) -> None:
        path = table
        for key, place in self._dotted_key():
            path = (*path, key)
            self._note(path, place)
        self._skip(_BLANK)
        self._at += 1  # =
        self._skip(_BLANK)
        self._value(path)

    def _dotted_key(self) -> list[tuple[str, Place]]:
        keys = []
        while True:
            self._skip(_BLANK)
            place = self._place()
            if self._text[self._at] in "\"'":
                keys.append((self._string(), place))
            else:
                start = self._at
                while self._at < len(self._text) and self._text[self._at] not in " \t.=]\r\n":
                    self._at += 1
                keys.append((self._text[start : self._at], place))
            self._skip(_BLANK)
            if not self._peek("."):
                return keys
            self._at += 1

    def _value(self, path: Path) -> None:
        first = self._text[self._at]
        if first in "\"'":
            self._string()
        elif first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:  # a number, date, boolean: up to whatever ends a value
            while self._at < len(self._text) and self._text[self._at] not in ",]}#\r\n":
                self._at += 1

    def _array(self, path: Path) -> None:
        self._at += 1
        index = 0
        while True:
            self._skip_space_and_comments()
            if self._peek("]"):
                self._at += 1
                return
            if self._peek(","):
                self._at += 1
                continue
            self._note((*path, index), self._place())
            self._value((*path, index))
            index += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while True:
            self._skip_space_and_comments()
            if self._peek("}"):
                self._at += 1
                return
            if self._peek(","):
                self._at += 1
                continue
            self._pair(path)

    def _string(self) -> str:
        quote = self._text[self._at]
        if self._text.startswith(quote * 3, self._at):
            self._multi_line_string(quote)
            return ""  # can't be a key
        self._at += 1
        out = []
        while self._text[self._at] != quote:
            char = self._text[self._at]
            self._at += 1
            if char == "\\" and quote == '"':
                char = self._escape()
            out.append(char)
        self._at += 1
        return "".join(out)

    def _escape(self) -> str:
        kind = self._text[self._at]
        self._at += 1
        if kind in _HEX_DIGITS:
            digits = self._text[self._at : self._at + _HEX_DIGITS[kind]]
            self._at += _HEX_DIGITS[kind]
            return chr(int(digits, 16))
        return _ESCAPES[kind]

    def _multi_line_string(self, quote: str) -> None:
        self._at += 3
        while not self._text.startswith(quote * 3, self._at):
            self._at += 2 if quote == '"' and self._text[self._at] == "\\" else 1
        self._at += 3
        for _ in range(2):  # up to two quotes may stand just before the closing three
            if self._peek(quote):
                self._at += 1

    # -- reading on

    def _peek(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _skip(self, chars: str) -> None:
        while self._at < len(self._text) and self._text[self._at] in chars:
            self._at += 1

    def _skip_space_and_comments(self) -> None:
        while True:
            self._skip(_SPACE)
            if not self._peek("#"):
                return
            end = self._text.find("\n", self._at)
            self._at = len(self._text) if end < 0 else end

    def _place(self) -> Place:
        while (
            self._line + 1 < len(self._line_starts)
            and self._line_starts[self._line + 1] <= self._at
        ):
            self._line += 1
        return Place(self._line + 1, self._at - self._line_starts[self._line] + 1)

    def _note(self, path: Path, place: Place) -> None:
        self.found.setdefault(path, place)
