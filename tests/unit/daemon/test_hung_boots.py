"""Only a node that hangs is restarted, only after a while, and not for ever."""

from dataclasses import replace

import pytest

from warrener.daemon.hung_boots import (
    FORGOTTEN_AFTER,
    TRIES,
    Case,
    Verdict,
    hangs,
    judge,
)
from warrener.facts.booting import BootLook, BootState, BootWait
from warrener.facts.ids import NodeName

N1, N2, N3, N4, N5 = (NodeName(f"n{number}@h") for number in range(1, 6))
HUNG = BootLook(BootState.BOOTING, BootWait.NAMES, frozenset({N2, N3}))
PATIENCE = 60.0
THREE = (N1, N2, N3)


def test_a_boot_that_waits_for_names_with_everybody_there_hangs() -> None:
    assert hangs(HUNG, N1, (N2, N3), THREE)


@pytest.mark.parametrize("state", [state for state in BootState if state is not BootState.BOOTING])
def test_a_node_that_does_not_boot_does_not_hang(state: BootState) -> None:
    """Stopped by hand, or paused as a minority, above all."""
    assert not hangs(replace(HUNG, state=state), N1, (N2, N3), THREE)


@pytest.mark.parametrize("waits", [BootWait.TABLES, BootWait.OTHER])
def test_a_boot_that_waits_for_something_else_does_not_hang(waits: BootWait) -> None:
    assert not hangs(replace(HUNG, waits=waits), N1, (N2, N3), THREE)


def test_one_that_is_not_connected_with_all_who_serve_does_not_hang() -> None:
    assert not hangs(replace(HUNG, connected=frozenset({N2})), N1, (N2, N3), THREE)


def test_one_whose_others_are_no_majority_with_it_does_not_hang() -> None:
    assert not hangs(HUNG, N1, (), THREE)
    assert hangs(HUNG, N1, (N2,), THREE)  # n3 is down for another reason
    assert not hangs(HUNG, N1, (N2,), (N1, N2, N3, N4))
    assert not hangs(HUNG, N1, (N1, N2), (N1, N2, N3, N4, N5)), "itself it isn't"


def looks(case: Case, *, hung: bool, begin: float, end: float) -> tuple[Case, float | None]:
    """A look every 5 s, until something is to be done: when, and the case then."""
    at = begin
    while at <= end:
        case, verdict = judge(case, hung=hung, now=at, patience=PATIENCE)
        if verdict is not Verdict.NOTHING:
            return case, at
        at += 5
    return case, None


def test_it_is_restarted_after_a_minute() -> None:
    _, at = looks(Case(), hung=True, begin=1000, end=2000)
    assert at == 1000 + PATIENCE


def test_one_look_at_which_it_does_not_hang_begins_it_anew() -> None:
    case, at = looks(Case(), hung=True, begin=0, end=PATIENCE - 5)
    assert at is None
    case, _ = judge(case, hung=False, now=PATIENCE, patience=PATIENCE)
    _, at = looks(case, hung=True, begin=PATIENCE + 5, end=1000)
    assert at == PATIENCE + 5 + PATIENCE


def test_each_restart_doubles_the_patience_and_after_three_it_is_given_up_once() -> None:
    case, now = Case(), 0.0
    waited = []
    for _ in range(TRIES):
        case, at = looks(case, hung=True, begin=now, end=now + 1000)
        assert at is not None
        waited.append(at - now)
        now = at
    assert waited == [PATIENCE, 2 * PATIENCE, 4 * PATIENCE]
    case, at = looks(case, hung=True, begin=now, end=now + 1000)
    assert at == now + 8 * PATIENCE
    assert case.given_up
    _, at = looks(case, hung=True, begin=now + 1000, end=now + 2000)
    assert at is None, "told once"


def test_one_that_came_up_and_hangs_again_has_what_is_left_of_its_restarts() -> None:
    case, at = looks(Case(), hung=True, begin=0, end=1000)
    assert at is not None
    case, _ = judge(case, hung=False, now=at + 20, patience=PATIENCE)
    _, again = looks(case, hung=True, begin=100, end=1000)
    assert again == 100 + 2 * PATIENCE


def test_restarts_are_forgotten_after_an_hour() -> None:
    case, at = looks(Case(), hung=True, begin=0, end=1000)
    assert at is not None
    later = at + FORGOTTEN_AFTER
    _, again = looks(case, hung=True, begin=later, end=later + 1000)
    assert again == later + PATIENCE
