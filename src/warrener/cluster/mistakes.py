"""What is wrong with a description of a cluster, in words a person can act on."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from warrener.cluster.toml_places import Path as KeyPath
from warrener.cluster.toml_places import Place


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong. ``key`` is dotted, empty for the file itself; ``place`` if it has one."""

    key: str
    text: str
    allowed: str = ""
    nearest: str = ""
    place: Place | None = None

    def __str__(self) -> str:
        parts = [f"{self.key}: {self.text}" if self.key else self.text]
        if self.allowed:
            parts.append(f"allowed: {self.allowed}")
        if self.nearest:
            parts.append(f"did you mean {self.nearest!r}?")
        return "; ".join(parts)


class SpecError(Exception):
    """The description of the cluster is wrong. ``mistakes`` holds all of them, in file order."""

    def __init__(self, source: str, mistakes: Sequence[Mistake]) -> None:
        self.source = source
        self.mistakes = tuple(sorted(mistakes, key=in_file_order))
        super().__init__("\n".join(self._lines()))

    def _lines(self) -> Iterable[str]:
        for mistake in self.mistakes:
            where = self.source
            if mistake.place is not None:
                where += f":{mistake.place.line}:{mistake.place.column}"
            yield f"{where}: {mistake}"


def nearest(word: str, known: Sequence[str], cutoff: float = 0.6) -> str:
    """The spelling in ``known`` that comes closest; empty if none comes close."""
    lowered = {name.lower().replace("_", "-"): name for name in known}
    found = difflib.get_close_matches(word.lower().replace("_", "-"), lowered, n=1, cutoff=cutoff)
    return lowered[found[0]] if found else ""


def nearest_place(path: KeyPath, where: Mapping[KeyPath, Place]) -> Place | None:
    while path:
        if path in where:
            return where[path]
        path = path[:-1]
    return None


def dotted(path: KeyPath) -> str:
    out = ""
    for key in path:
        if isinstance(key, int):
            out += f"[{key}]"
        else:
            shown = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else f'"{key}"'
            out += f".{shown}" if out else shown
    return out


def in_file_order(mistake: Mistake) -> tuple[int, int, str]:
    if mistake.place is None:
        return (0, 0, mistake.key)
    return (mistake.place.line, mistake.place.column, mistake.key)
