"""Costs that can't be negative, out of more measurements than unknowns.

Weighted least squares over non-negative values (Lawson and Hanson 1974, ch. 23, in
``scipy.optimize.nnls``). A weight is 1 over the square of a measurement's standard deviation:
``SPREAD`` of what is expected, and the noise that a row says it has. Standard errors are those of
ordinary least squares over the values that aren't zero; their scale is what is left over, but at
least what the weights say. What the measurements can't tell apart is found by the singular values
of the matrix.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

SPREAD: Final = 0.05
"""Of a measurement, as its standard deviation. What is left over may say more, never less."""

SINGULAR: Final = 1e-3
"""Smallest over largest singular value, columns scaled to length 1: below it, what is measured
can't tell the columns apart. At 5 % noise, an error is then far above the value anyway."""

ENTANGLED: Final = 0.01
"""Of the projection onto what can't be seen: a column with less has a value of its own."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: ``value`` CPU seconds are the sum of ``terms``, each times what it costs.
    ``noise``: standard deviation of what has nothing to do with them, s."""

    terms: Mapping[str, float]
    value: float
    noise: float


@dataclass(frozen=True, slots=True)
class Solved:
    """Values by name, their covariance, and groups of names that can't be told apart."""

    names: tuple[str, ...]
    values: Floats
    covariance: Floats
    together: tuple[frozenset[str], ...]
    unseen: Floats  # what sums of values can't be told: directions of coefficients, length 1
    lengths: Floats

    def value(self, name: str) -> float:
        """0 for what is no unknown."""
        return float(self.values[self.names.index(name)]) if name in self.names else 0.0

    def told(self, name: str) -> bool:
        """Whether it has a value of its own."""
        return not any(name in group for group in self.together)

    def determined(self, parts: Mapping[str, float]) -> bool:
        """Whether a sum of values, each times a number, has a value of its own, even if they
        haven't."""
        vector = np.array([parts.get(name, 0.0) for name in self.names]) / self.lengths
        whole = float(np.linalg.norm(vector))
        return whole > 0 and float(np.linalg.norm(self.unseen @ vector)) <= ENTANGLED * whole

    def error(self, parts: Mapping[str, float]) -> float:
        """Standard error of a sum of values, each times a number."""
        vector = np.array([parts.get(name, 0.0) for name in self.names])
        return float(np.sqrt(max(0.0, vector @ self.covariance @ vector)))


def solve(rows: Sequence[Row]) -> Solved:
    """Weighted least squares over values from 0 up. A name that no row has is no unknown.

    Weights go by what was found, not by what was measured: a measurement that is too low by chance
    would get a larger weight, and all costs would come out too low. So it is solved three times.
    """
    names = tuple(dict.fromkeys(name for row in rows for name, x in row.terms.items() if x))
    if not names:
        return Solved((), np.zeros(0), np.zeros((0, 0)), (), np.zeros((0, 0)), np.zeros(0))
    terms = np.array([[row.terms.get(name, 0.0) for name in names] for row in rows])
    values = np.array([row.value for row in rows])
    noise = np.array([row.noise for row in rows])
    expected = values
    for _ in range(3):
        weights = 1 / np.hypot(SPREAD * expected, noise)
        matrix = terms * weights[:, np.newaxis]
        lengths = np.linalg.norm(matrix, axis=0)
        scaled = matrix / lengths
        found, residual = nnls(scaled, values * weights)  # residual: its norm
        expected = terms @ (found / lengths)
    active = np.flatnonzero(found > 0)
    freedom = len(rows) - len(active)
    scale = max(1.0, residual**2 / freedom) if freedom > 0 else 1.0
    covariance = np.zeros((len(names), len(names)))
    part = scaled[:, active]
    covariance[np.ix_(active, active)] = scale * np.linalg.pinv(part.T @ part)
    unseen = _unseen(scaled)
    return Solved(
        names,
        found / lengths,
        covariance / np.outer(lengths, lengths),
        _together(unseen, names),
        unseen,
        lengths,
    )


def _unseen(scaled: Floats) -> Floats:
    """The directions in which nothing changes that was measured."""
    rows, columns = scaled.shape
    _, singular, directions = np.linalg.svd(scaled, full_matrices=rows < columns)
    singular = np.concatenate([singular, np.zeros(columns - len(singular))])
    return np.asarray(directions[singular < SINGULAR * singular[0]], dtype=np.float64)


def _together(unseen: Floats, names: Sequence[str]) -> tuple[frozenset[str], ...]:
    """Groups of columns of which each can stand for the others: those that the directions in which
    nothing changes have in common, by the projection onto them (which directions span the same
    space makes no difference to it)."""
    projection = np.abs(unseen.T @ unseen)
    groups: list[set[str]] = []
    for row in projection:
        group = {name for name, part in zip(names, row, strict=True) if part > ENTANGLED}
        if group:
            touching = [other for other in groups if other & group]
            groups = [other for other in groups if not other & group] + [group.union(*touching)]
    return tuple(frozenset(group) for group in groups)
