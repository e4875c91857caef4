"""The channels of a session, as far as the balancer follows them.

The broker judges what may happen on a channel; frames are passed on whatever stands here. A move
that the table doesn't have is therefore no reason to stop: the broker is about to answer it.
"""

from typing import Final

from warrener.amqp.methods import ChannelClose, ChannelCloseOk, ChannelOpen, ChannelOpenOk
from warrener.balancer.core.states import CHANNEL, ChannelMove, ChannelState, allowed, follow
from warrener.facts.ids import ChannelNumber

FROM_CLIENT: Final = {
    ChannelOpen.ID: ChannelMove.OPEN,
    ChannelClose.ID: ChannelMove.CLIENT_CLOSE,
    ChannelCloseOk.ID: ChannelMove.CLIENT_CLOSE_OK,
}
FROM_BROKER: Final = {
    ChannelOpenOk.ID: ChannelMove.OPEN_OK,
    ChannelClose.ID: ChannelMove.BROKER_CLOSE,
    ChannelCloseOk.ID: ChannelMove.BROKER_CLOSE_OK,
}


class Channels:
    """States by number; a closed channel isn't kept."""

    __slots__ = ("_states",)

    def __init__(self) -> None:
        self._states: dict[ChannelNumber, ChannelState] = {}

    def __len__(self) -> int:
        return len(self._states)

    def state(self, number: ChannelNumber) -> ChannelState:
        """How far a channel is."""
        return self._states.get(number, ChannelState.CLOSED)

    def move(self, number: ChannelNumber, move: ChannelMove | None) -> None:
        """Note what happened on a channel; None, and what the table doesn't have, is ignored."""
        state = self.state(number)
        if move is None or not allowed(CHANNEL, state, move):
            return
        state = follow(CHANNEL, state, move)
        if state is ChannelState.CLOSED:
            del self._states[number]
        else:
            self._states[number] = state
