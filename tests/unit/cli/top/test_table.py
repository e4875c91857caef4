"""A table seen through a window: order, filter, the chosen row, what is cut off."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from warrener.cli.top.table import Column, Tone, View, fit, plain


@dataclass(frozen=True, slots=True)
class Pet:
    key: str
    legs: int | None
    home: str = "here"


COLUMNS: tuple[Column[Pet], ...] = (
    Column("NAME", 6, lambda r: r.key, lambda r: r.key, "", number=False, flexible=True),
    Column("LEGS", 4, lambda r: r.legs, lambda r: str(r.legs or "-"), ""),
    Column("HOME", 8, lambda r: r.home, lambda r: r.home, "", number=False, rank=1),
)
PETS = [Pet("Ant", 6), Pet("bird", 2), Pet("Cat", 4), Pet("fish", None), Pet("dog", 4)]


def view(sort_by: str = "NAME", follow: bool = False) -> View[Pet]:
    made = View(COLUMNS, sort_by=sort_by, searched=lambda r: f"{r.key} {r.home}", follow=follow)
    made.put(PETS)
    return made


def names(of: View[Pet]) -> str:
    return " ".join(pet.key for pet in of.visible())


def test_words_from_a_whatever_their_case_and_numbers_from_the_largest() -> None:
    assert names(view()) == "Ant bird Cat dog fish"
    assert names(view("LEGS")) == "Ant Cat dog bird fish"


def test_what_is_not_known_stays_last_the_other_way_round_too() -> None:
    pets = view("LEGS")
    pets.reverse()
    assert names(pets) == "bird Cat dog Ant fish"


def test_the_chosen_row_is_kept_by_its_key_when_rows_change_places() -> None:
    pets = view("LEGS")
    pets.move(1)
    assert pets.chosen == Pet("Cat", 4)
    pets.put([Pet("Ant", 6), Pet("Cat", 100), Pet("zebra", 50), Pet("dog", 4)])
    assert pets.chosen == Pet("Cat", 100)
    pets.put([Pet("Ant", 6)])  # it is gone: the nearest there is
    assert pets.chosen == Pet("Ant", 6)
    pets.put([])
    assert pets.chosen is None


def test_the_first_row_stays_chosen_until_another_is() -> None:
    pets = view("LEGS")
    pets.put([Pet("dog", 40), *PETS[:4]])
    assert pets.chosen == Pet("dog", 40)
    pets.move(2)
    pets.reverse()  # who sorts wants to see the beginning
    assert pets.chosen == Pet("bird", 2)


def test_a_filter_takes_all_words_in_any_case_and_any_column() -> None:
    pets = view()
    pets.find("HERE a")
    assert names(pets) == "Ant Cat"
    pets.find("nowhere")
    assert (pets.found, pets.total, pets.chosen) == (0, 5, None)
    pets.find("")
    assert pets.found == 5


def test_the_last_row_is_followed_until_another_is_chosen() -> None:
    pets = view(follow=True)
    assert pets.chosen == Pet("fish", None)
    pets.put([*PETS, Pet("zebra", 4)])
    assert pets.chosen == Pet("zebra", 4)
    pets.move(-1)
    pets.put([*PETS, Pet("zebra", 4), Pet("zebu", 4)])
    assert pets.chosen == Pet("fish", None)
    pets.move(100)
    pets.put([*PETS, Pet("zzz", 4)])
    assert pets.chosen == Pet("zzz", 4)


def test_columns_are_aligned_and_the_order_is_marked_beside_its_title() -> None:
    lines = view("LEGS").lines(20, 10)
    assert [line.text for line in lines] == [
        "NAME  vLEGS HOME    ",
        "Ant       6 here    ",
        "Cat       4 here    ",
        "dog       4 here    ",
        "bird      2 here    ",
        "fish      - here    ",
    ]
    assert [line.tone for line in lines] == [Tone.HEAD, *[Tone.PLAIN] * 5]
    assert [line.chosen for line in lines] == [False, True, False, False, False, False]


def test_what_has_no_room_is_left_out_by_rank_and_the_flexible_column_has_the_rest() -> None:
    assert view().lines(19, 2)[0].text == "NAME^          LEGS"


def test_the_next_column_to_sort_by_is_a_visible_one() -> None:
    pets = view("LEGS")
    pets.sort_next(1, 19)
    assert (pets.column.title, pets.descending) == ("NAME", False)
    pets.sort_next(-1, 30)
    assert pets.column.title == "HOME"


def test_only_what_is_visible_becomes_text() -> None:
    made = []

    def text(row: Pet) -> str:
        made.append(row.key)
        return row.key

    columns: list[Column[Pet]] = [Column("NAME", 6, lambda r: r.key, text, "", number=False)]
    pets = View(columns, sort_by="NAME", searched=lambda r: r.key)
    pets.put([Pet(f"{number:05}", 1) for number in range(2000)])
    pets.move(1000)
    lines = pets.lines(80, 20)
    assert len(made) == 19
    assert [line.text.strip() for line in lines if line.chosen] == ["01000"]


@given(st.lists(st.integers(-30, 30), max_size=40), st.integers(2, 12), st.integers(0, 30))
def test_the_chosen_row_is_always_in_the_window(moves: list[int], height: int, number: int) -> None:
    pets = view()
    pets.put([Pet(f"{at:02}", 1) for at in range(number)])
    for move in moves:
        pets.move(move)
        lines = pets.lines(30, height)
        assert len(lines) == min(height, number + 1)
        assert sum(line.chosen for line in lines) == (1 if number else 0)


@given(st.text(max_size=30), st.integers(1, 20))
def test_a_text_is_never_wider_than_its_room(text: str, width: int) -> None:
    assert cell_len(fit(text, width)) <= width


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\nb", "\x9b2J", "tab\t", "\u202ertl"])
def test_a_name_cannot_command_the_terminal(text: str) -> None:
    assert plain(text).isprintable()


def test_a_cut_is_marked() -> None:
    assert fit("connection", 6) == "conne~"
    assert fit("日本語日本語", 6) == "日本~"
