"""Policies beside each other, drawn."""

import pytest
from tests.unit.plots.scene import outside, overlapping, texts_of

from warrener.plots.policies import PolicyRow, figure_of
from warrener.plots.style import RED

ROWS = [
    PolicyRow("roundrobin", 0.012, 0.09, 0.011, 0.013, chosen=True),
    PolicyRow("weighted-leastconn", 0.009, 0.04, 0.0085, 0.0095),
    PolicyRow("leastconn", 0.008, 0.03, 0.0078, 0.0083, note="best"),
    PolicyRow("source", 0.05, 0.8, 0.02, 0.08),
]


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], ROWS[1:3]])
def test_they_can_be_read_the_quickest_first(rows: list[PolicyRow]) -> None:
    figure = figure_of(rows, title="Policies for the load of the last 5m")
    texts = texts_of(figure)
    assert overlapping(texts) == []
    assert outside(figure, texts) == []
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    order = sorted(rows, key=lambda row: row.mean)
    assert labels == [f"{row.name} (best)" if row.note else row.name for row in order]
    chosen = [text.get_color() for text, _ in texts if text.get_text() == "roundrobin"]
    assert chosen == [RED] * any(row.chosen for row in rows)


def test_an_axis_from_zero_unless_values_are_far_apart() -> None:
    assert figure_of(ROWS, title="t").axes[0].get_xscale() == "log"
    near = figure_of(ROWS[1:3], title="t").axes[0]
    assert (near.get_xscale(), near.get_xlim()[0]) == ("linear", 0)


def test_no_policies_are_refused() -> None:
    with pytest.raises(ValueError, match="no policies"):
        figure_of([], title="t")
