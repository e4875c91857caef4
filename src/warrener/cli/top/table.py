"""A table that is looked at through a window: sorted, filtered, with a row that is chosen. Pure.

Rows are sorted as values and become text only while they are visible, so a table of thousands is as
quick as a small one. A row that was chosen is kept by its key: what a key acts on doesn't change
because rows changed places. Until one is, it is the first, whichever that is.
"""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Generic, Protocol, TypeVar

from rich.cells import cell_len, set_cell_size

GAP: Final = 1
"""Blanks between two columns."""

CUT: Final = "~"
"""What stands for the rest of a text that is too long; plain, so that every terminal has it."""


class Row(Protocol):
    """``key`` is unique among the rows of a table, and stays with what it stands for."""

    @property
    def key(self) -> str: ...


R = TypeVar("R", bound=Row)
R_contra = TypeVar("R_contra", bound=Row, contravariant=True)


class Tone(StrEnum):
    """How a line is meant; without colours the words say it, too."""

    PLAIN = "plain"
    HEAD = "head"
    CHOSEN = "chosen"
    BAD = "bad"
    ODD = "odd"


@dataclass(frozen=True, slots=True)
class Line:
    """A line as wide as was asked for. ``chosen`` besides its tone."""

    text: str
    tone: Tone = Tone.PLAIN
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Column(Generic[R_contra]):
    """``value`` is sorted by (None last, always), ``text`` shown. ``width`` in cells; the one
    column that is ``flexible`` has at least that, and what is left. Where there is no room for all,
    those of the highest ``rank`` are left out first. ``help`` is a line of `?`."""

    title: str
    width: int
    value: Callable[[R_contra], Any]
    text: Callable[[R_contra], str]
    help: str
    number: bool = True
    flexible: bool = False
    rank: int = 0


class View(Generic[R]):
    """One table. ``sort_by`` is a title; numbers begin with the largest. ``searched`` is the text
    that a filter is looked for in. ``follow``: the last row stays chosen as others come."""

    def __init__(
        self,
        columns: Sequence[Column[R]],
        *,
        sort_by: str,
        searched: Callable[[R], str],
        tone: Callable[[R], Tone] = lambda _: Tone.PLAIN,
        follow: bool = False,
        descending: bool | None = None,
    ) -> None:
        self.columns = columns
        self._searched = searched
        self._tone = tone
        self._follow = self._following = follow
        self._pinned = False  # a row was chosen; until then it is the first, whichever that is
        self._rows: Sequence[R] = ()
        self._visible: list[R] = []
        self._at = 0
        self._top = 0
        self.filter = ""
        self.column = self._by_title(sort_by)
        self.descending = self.column.number if descending is None else descending

    # -- what is in it

    @property
    def total(self) -> int:
        return len(self._rows)

    @property
    def found(self) -> int:
        """How many pass the filter."""
        return len(self._visible)

    @property
    def chosen(self) -> R | None:
        return self._visible[self._at] if self._visible else None

    def visible(self) -> Sequence[R]:
        """All that pass the filter, in order."""
        return self._visible

    def put(self, rows: Sequence[R]) -> None:
        """New rows; the chosen one stays so as long as it is there."""
        self._rows = rows
        self._arrange()

    def _arrange(self) -> None:
        key = self._visible[self._at].key if self._visible else None
        words = self.filter.casefold().split()
        rows = [row for row in self._rows if self._passes(row, words)]
        value = self.column.value
        known = [row for row in rows if value(row) is not None]
        known.sort(key=lambda row: _sortable(value(row)), reverse=self.descending)
        self._visible = known + [row for row in rows if value(row) is None]
        if self._following:
            self._at = len(self._visible) - 1
        elif not self._pinned:
            self._at = 0
        else:
            places = (at for at, row in enumerate(self._visible) if row.key == key)
            self._at = next(places, self._at)
        self._at = max(0, min(self._at, len(self._visible) - 1))

    def _passes(self, row: R, words: Sequence[str]) -> bool:
        text = self._searched(row).casefold() if words else ""
        return all(word in text for word in words)

    # -- how it is looked at

    def move(self, rows: int) -> None:
        """Up or down."""
        self._at = max(0, min(self._at + rows, len(self._visible) - 1))
        self._pinned = self._at > 0
        self._following = self._follow and self._at >= len(self._visible) - 1

    def find(self, text: str) -> None:
        """Shows only rows with all of these words in them, whatever their case."""
        self.filter = text
        self._arrange()

    def sort(self, title: str) -> None:
        """By another column; numbers from the largest on, words from A."""
        self.column = self._by_title(title)
        self.descending = self.column.number
        self._following = self._pinned = False
        self._arrange()

    def sort_next(self, step: int, width: int) -> None:
        """By the next column of those that are visible in ``width`` cells."""
        titles = [column.title for column, _ in self._fitting(width)]
        at = titles.index(self.column.title) if self.column.title in titles else -1
        self.sort(titles[(at + step) % len(titles)])

    def reverse(self) -> None:
        """The other way round."""
        self.descending = not self.descending
        self._following = self._pinned = False
        self._arrange()

    def _by_title(self, title: str) -> Column[R]:
        return next(column for column in self.columns if column.title == title)

    # -- what is drawn

    def lines(self, width: int, height: int) -> list[Line]:
        """The header and as many rows as there is room for, the chosen one among them."""
        room = max(1, height - 1)
        self._top = min(self._top, max(0, len(self._visible) - room))
        self._top = max(min(self._top, self._at), self._at - room + 1)
        columns = self._fitting(width)
        rows = self._visible[self._top : self._top + room]
        chosen = self.chosen
        body = [
            Line(
                _joined([_cell(column, size, column.text(row)) for column, size in columns], width),
                self._tone(row),
                row is chosen,
            )
            for row in rows
        ]
        return [self._header(columns, width), *body]

    def _header(self, columns: Sequence[tuple[Column[R], int]], width: int) -> Line:
        """The mark of the order stands beside its title, in the gap if need be."""
        text = _joined([_cell(column, size, column.title) for column, size in columns], width + GAP)
        at = 0
        for column, size in columns:
            if column is self.column:
                mark = "v" if self.descending else "^"
                first = at + size - len(column.title) if column.number else at
                place = first - 1 if column.number and first else first + len(column.title)
                text = f"{text[:place]}{mark}{text[place + 1 :]}"
            at += size + GAP
        return Line(text[:width], Tone.HEAD)

    def _fitting(self, width: int) -> list[tuple[Column[R], int]]:
        """The columns that there is room for, in their order, with their widths."""
        taken, chosen = -GAP, set()
        for column in sorted(self.columns, key=lambda column: column.rank):
            if column.rank and taken + GAP + column.width > width:
                break
            taken += GAP + column.width
            chosen.add(column.title)
        spare = max(0, width - taken)
        return [
            (column, column.width + (spare if column.flexible else 0))
            for column in self.columns
            if column.title in chosen
        ]


def _sortable(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def _joined(cells: Sequence[str], width: int) -> str:
    return set_cell_size((" " * GAP).join(cells), width)


def _cell(column: Column[Any], width: int, text: str) -> str:
    text = fit(text, width)
    if column.number:
        return " " * (width - cell_len(text)) + text
    return set_cell_size(text, width)


def fit(text: str, width: int) -> str:
    """At most so many cells, with a mark where something is cut off."""
    text = plain(text)
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)).rstrip() + CUT


def plain(text: str) -> str:
    """Without what a terminal would take for a command: clients choose the names that they have."""
    if text.isascii() and text.isprintable():
        return text
    return "".join("?" if unicodedata.category(sign)[0] == "C" else sign for sign in text)
