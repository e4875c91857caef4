"""Where panels are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.telemetry.dashboards.board import Panel, Row
from warrener.telemetry.dashboards.placing import WIDTH, Place, placed


def panel(width: int, height: int) -> Panel:
    return Panel("p", "", (), width=width, height=height)


def test_lines_are_filled_and_go_below_the_highest() -> None:
    (first, second) = placed(
        [Row("a", (panel(8, 4), panel(16, 6), panel(12, 8))), Row("b", (panel(24, 2),))]
    )
    assert first.place == Place(1, 0, 0, 24, 1)
    assert [place for _, place in first.panels] == [
        Place(2, 0, 1, 8, 4), Place(3, 8, 1, 16, 6), Place(4, 0, 7, 12, 8),
    ]  # fmt: skip
    assert second.place == Place(5, 0, 15, 24, 1)
    assert second.panels[0][1] == Place(6, 0, 16, 24, 2)


def test_a_panel_that_is_wider_than_the_grid_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="25 wide"):
        placed([Row("a", (panel(25, 1),))])


@given(
    st.lists(st.lists(st.tuples(st.integers(1, WIDTH), st.integers(1, 10)), max_size=8), max_size=5)
)
def test_nothing_overlaps_or_sticks_out(sizes: list[list[tuple[int, int]]]) -> None:
    found = placed([Row("r", tuple(panel(w, h) for w, h in row)) for row in sizes])
    places = [place for row in found for place in (row.place, *(p for _, p in row.panels))]
    cells = [
        (x, y)
        for place in places
        for x in range(place.x, place.x + place.width)
        for y in range(place.y, place.y + place.height)
    ]
    assert len(cells) == len(set(cells))
    assert all(x < WIDTH for x, _ in cells)
    assert [place.number for place in places] == list(range(1, len(places) + 1))
