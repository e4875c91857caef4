"""The channels of a session: whatever crosses on the wire, the count is right in the end."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from warrener.amqp.methods import BY_ID
from warrener.balancer.core.channels import FROM_BROKER, FROM_CLIENT, Channels
from warrener.balancer.core.states import CHANNEL, ChannelMove, ChannelState, allowed
from warrener.facts.ids import ChannelNumber

ONE = ChannelNumber(1)
OPEN, OPEN_OK = ChannelMove.OPEN, ChannelMove.OPEN_OK
CLIENT_CLOSE, CLIENT_CLOSE_OK = ChannelMove.CLIENT_CLOSE, ChannelMove.CLIENT_CLOSE_OK
BROKER_CLOSE, BROKER_CLOSE_OK = ChannelMove.BROKER_CLOSE, ChannelMove.BROKER_CLOSE_OK


def states_after(*moves: ChannelMove) -> list[ChannelState]:
    """The states in which these moves, each of which the table has, leave the channel."""
    channels = Channels()
    states = []
    for move in moves:
        assert allowed(CHANNEL, channels.state(ONE), move), moves
        channels.move(ONE, move)
        states.append(channels.state(ONE))
        assert len(channels) == (states[-1] is not ChannelState.CLOSED)
    return states


def orders(
    left: tuple[ChannelMove, ...], needs: dict[ChannelMove, set[ChannelMove]]
) -> Iterator[tuple[ChannelMove, ...]]:
    """All orders in which each move comes after those that it needs."""
    if not left:
        yield ()
    for move in left:
        if not needs.get(move, set()) & set(left):
            rest = tuple(each for each in left if each is not move)
            for tail in orders(rest, needs):
                yield (move, *tail)


def test_a_channel_opens_and_is_closed_by_either_side() -> None:
    S = ChannelState
    assert states_after(OPEN, OPEN_OK, CLIENT_CLOSE, BROKER_CLOSE_OK) == [
        S.OPENING,
        S.OPEN,
        S.CLOSING,
        S.CLOSED,
    ]
    assert states_after(OPEN, OPEN_OK, BROKER_CLOSE, CLIENT_CLOSE_OK) == [
        S.OPENING,
        S.OPEN,
        S.CLOSED_BY_BROKER,
        S.CLOSED,
    ]


# Both sides have closed before they hear of the other's close, and then both answer.
CROSSING = {
    CLIENT_CLOSE_OK: {CLIENT_CLOSE, BROKER_CLOSE},
    BROKER_CLOSE_OK: {CLIENT_CLOSE, BROKER_CLOSE},
}
ALL_FOUR = (CLIENT_CLOSE, BROKER_CLOSE, CLIENT_CLOSE_OK, BROKER_CLOSE_OK)


def test_crossing_closes_end_closed_in_every_order_and_not_before() -> None:
    found = list(orders(ALL_FOUR, CROSSING))
    assert len(found) == 4
    for order in found:
        states = states_after(OPEN, OPEN_OK, *order)
        assert states[-1] is ChannelState.CLOSED, order
        assert ChannelState.CLOSED not in states[:-1], order


def test_crossing_closes_before_open_ok_end_closed_in_every_order() -> None:
    """A client needn't wait for open-ok; the broker says it before its close, or never."""
    late = list(orders((OPEN_OK, *ALL_FOUR), {**CROSSING, BROKER_CLOSE: {OPEN_OK}}))
    assert len(late) == 6
    for order in [*late, *orders(ALL_FOUR, CROSSING)]:
        states = states_after(OPEN, *order)
        assert states[-1] is ChannelState.CLOSED, order
        assert ChannelState.CLOSED not in states[:-1], order


def test_a_close_that_overtakes_open_ok_is_answered_after_it() -> None:
    assert states_after(OPEN, CLIENT_CLOSE, OPEN_OK, BROKER_CLOSE_OK)[-1] is ChannelState.CLOSED


def test_a_number_can_be_used_again_as_soon_as_it_is_closed() -> None:
    channels = Channels()
    for closing in ((CLIENT_CLOSE, BROKER_CLOSE_OK), (BROKER_CLOSE, CLIENT_CLOSE_OK)):
        for move in (OPEN, OPEN_OK, *closing, OPEN, OPEN_OK):
            channels.move(ONE, move)
        assert channels.state(ONE) is ChannelState.OPEN
        assert len(channels) == 1


@given(st.lists(st.tuples(st.integers(1, 2), st.sampled_from([None, *ChannelMove])), max_size=60))
def test_any_moves_at_all_are_taken_and_only_open_channels_are_kept(
    moves: list[tuple[int, ChannelMove | None]],
) -> None:
    """The broker judges; a move that makes no sense changes nothing, and a closed channel costs
    no memory."""
    channels = Channels()
    model: dict[int, ChannelState] = {}
    for number, move in moves:
        channels.move(ChannelNumber(number), move)
        before = model.get(number, ChannelState.CLOSED)
        model[number] = CHANNEL[before].get(move, before) if move else before
        assert channels.state(ChannelNumber(number)) is model[number]
        assert len(channels) == sum(state is not ChannelState.CLOSED for state in model.values())


def test_which_methods_are_moves_of_whom() -> None:
    names = {BY_ID[id_].name(): move for id_, move in FROM_CLIENT.items()}
    assert names == {
        "channel.open": OPEN,
        "channel.close": CLIENT_CLOSE,
        "channel.close-ok": CLIENT_CLOSE_OK,
    }
    names = {BY_ID[id_].name(): move for id_, move in FROM_BROKER.items()}
    assert names == {
        "channel.open-ok": OPEN_OK,
        "channel.close": BROKER_CLOSE,
        "channel.close-ok": BROKER_CLOSE_OK,
    }
