"""Writes that go to one socket one after the other are one write."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from warrener.balancer.core.commands import (
    CloseClient,
    CloseLink,
    Command,
    HoldClient,
    SendClient,
    SendLink,
    coalesced,
)


def test_neighbours_to_one_socket_are_joined() -> None:
    assert coalesced(
        [
            SendLink(1, b"a"),
            SendLink(1, b"b"),
            SendClient(b"c"),
            SendClient(b"d"),
            SendClient(b"e"),
            SendLink(1, b"f"),
        ]
    ) == [SendLink(1, b"ab"), SendClient(b"cde"), SendLink(1, b"f")]


def test_writes_to_different_links_are_kept_apart() -> None:
    commands: list[Command] = [SendLink(1, b"a"), SendLink(2, b"b"), SendLink(1, b"c")]
    assert coalesced(commands) == commands


def test_nothing_is_written_past_another_command() -> None:
    """What closes a socket must find written what came before, and nothing after."""
    commands: list[Command] = [
        SendLink(1, b"a"),
        CloseLink(1),
        SendLink(1, b"b"),
        SendClient(b"c"),
        HoldClient(True),
        SendClient(b"d"),
        CloseClient(),
    ]
    assert coalesced(commands) == commands


def test_nothing_is_nothing() -> None:
    assert coalesced([]) == []


commands = st.lists(
    st.one_of(
        st.builds(SendLink, st.integers(1, 2), st.binary(min_size=1, max_size=3)),
        st.builds(SendClient, st.binary(min_size=1, max_size=3)),
        st.builds(CloseLink, st.integers(1, 2)),
        st.just(CloseClient()),
    ),
    max_size=12,
)


def octets(given_: list[Command]) -> list[object]:
    """Each octet with its socket, and each other command, in order."""
    found: list[object] = []
    for command in given_:
        match command:
            case SendLink(link, data):
                found += [(link, octet) for octet in data]
            case SendClient(data):
                found += [("client", octet) for octet in data]
            case _:
                found.append(command)
    return found


@given(commands)
def test_every_octet_goes_to_its_socket_in_its_order(given_: list[Command]) -> None:
    merged = coalesced(given_)
    assert octets(merged) == octets(given_)
    for one, next_one in pairwise(merged):
        match one, next_one:
            case SendLink(link, _), SendLink(same, _):
                assert link != same
            case SendClient(_), SendClient(_):
                raise AssertionError("two writes to the client in a row")
