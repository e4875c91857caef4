"""The state tables: complete, closed, and without dead ends."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

import pytest

from warrener.balancer.core.states import (
    CLIENT,
    HANDSHAKING,
    LINK,
    WAITING_FOR_BROKER,
    ClientMove,
    ClientState,
    IllegalMove,
    LinkMove,
    LinkState,
    allowed,
    follow,
)

Rows = Mapping[Any, Mapping[Any, Any]]

TABLES = [
    pytest.param(CLIENT, ClientState, ClientMove, ClientState.DONE, id="client"),
    pytest.param(LINK, LinkState, LinkMove, LinkState.CLOSED, id="link"),
]
STARTS = {
    ClientState: ClientState.AWAIT_HEADER,
    LinkState: LinkState.CONNECTING,
}
every_table = pytest.mark.parametrize(("table", "states", "moves", "last"), TABLES)


def reachable(table: Rows, start: Enum) -> set[Enum]:
    found, new = {start}, [start]
    while new:
        for target in table[new.pop()].values():
            if target not in found:
                found.add(target)
                new.append(target)
    return found


@every_table
def test_every_state_has_a_row_and_every_target_is_a_state(
    table: Rows, states: type[Enum], moves: type[Enum], last: Enum
) -> None:
    assert set(table) == set(states)
    for row in table.values():
        assert set(row) <= set(moves)
        assert set(row.values()) <= set(states)


@every_table
def test_every_state_can_be_reached_and_every_move_is_used(
    table: Rows, states: type[Enum], moves: type[Enum], last: Enum
) -> None:
    assert reachable(table, STARTS[states]) == set(states)
    assert {move for row in table.values() for move in row} == set(moves)


@every_table
def test_the_last_state_can_be_reached_from_every_state(
    table: Rows, states: type[Enum], moves: type[Enum], last: Enum
) -> None:
    for state in states:
        assert last in reachable(table, state), state


@pytest.mark.parametrize(
    ("table", "end", "last"),
    [(CLIENT, ClientMove.END, ClientState.DONE), (LINK, LinkMove.END, LinkState.CLOSED)],
)
def test_the_end_may_come_in_every_state_but_the_last_and_only_once(
    table: Rows, end: Enum, last: Enum
) -> None:
    for state in table:
        if state is last:
            assert table[state] == {}
        else:
            assert table[state][end] is last


@every_table
def test_a_move_that_the_table_does_not_have_raises(
    table: Rows, states: type[Enum], moves: type[Enum], last: Enum
) -> None:
    for state in states:
        for move in moves:
            if allowed(table, state, move):
                assert follow(table, state, move) is table[state][move]
            else:
                with pytest.raises(IllegalMove, match=f"{move.name} may not happen in .*{state}"):
                    follow(table, state, move)


def test_an_illegal_move_is_our_bug_and_not_the_peers() -> None:
    assert issubclass(IllegalMove, AssertionError)


def test_the_handshake_of_a_client_in_order() -> None:
    state = ClientState.AWAIT_HEADER
    path = [state]
    M = ClientMove
    challenge = (M.SECURE, M.SECURE_OK)
    for move in (M.HEADER, M.START, M.START_OK, *challenge, M.TUNE, M.TUNE_OK, M.OPEN, M.OPEN_OK):
        state = follow(CLIENT, state, move)
        path.append(state)
    assert " ".join(each.name for each in path) == (
        "AWAIT_HEADER AWAIT_START AWAIT_START_OK AWAIT_TUNE AWAIT_SECURE_OK AWAIT_TUNE "
        "AWAIT_TUNE_OK AWAIT_OPEN AWAIT_OPEN_OK OPEN"
    )
    assert set(path[:-1]) == HANDSHAKING


def test_the_handshake_of_a_link_in_order() -> None:
    state = LinkState.CONNECTING
    path = [state]
    M = LinkMove
    login = (M.START, M.START_OK, M.SECURE, M.SECURE_OK, M.TUNE)
    for move in (M.CONNECTED, *login, M.OPEN, M.OPEN_OK, M.CLOSE, M.END):
        state = follow(LINK, state, move)
        path.append(state)
    assert " ".join(each.name for each in path) == (
        "CONNECTING AWAIT_START HAVE_START AWAIT_TUNE HAVE_SECURE AWAIT_TUNE HAVE_TUNE "
        "AWAIT_OPEN_OK OPEN CLOSING CLOSED"
    )


def test_a_client_can_be_told_why_from_start_on_and_not_after_a_close() -> None:
    """connection.close has a place in the protocol only after connection.start."""
    may = {state for state in ClientState if allowed(CLIENT, state, ClientMove.CLOSE_SENT)}
    assert may == (HANDSHAKING | {ClientState.OPEN}) - {
        ClientState.AWAIT_HEADER,
        ClientState.AWAIT_START,
    }


def test_it_is_the_brokers_turn_where_only_the_broker_or_a_close_can_go_on() -> None:
    by_broker = {ClientMove.START, ClientMove.SECURE, ClientMove.TUNE, ClientMove.OPEN_OK}
    for state in HANDSHAKING:
        forward = set(CLIENT[state]) - {ClientMove.CLOSE, ClientMove.CLOSE_SENT, ClientMove.END}
        assert (forward <= by_broker) == (state in WAITING_FOR_BROKER)
