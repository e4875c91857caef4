"""Another protocol than AMQP 0-9-1 on the client's side, passed on as a plain TCP proxy would.

AMQP 1.0, MQTT, TLS, garbage: whatever the first bytes were, a node is chosen as for any session, it
is given the client's bytes as they came, and what it answers goes back. A broker that doesn't speak
the protocol says so itself.

Until a node has taken the connection, the client's bytes are held and it isn't read; a node that
can't be connected is replaced by the next one. From then on nobody knows what was said and what it
meant: the session ends with its link.
"""

from typing import Protocol

from warrener.balancer.core.commands import AbortLink, CloseClient, Command, SendLink
from warrener.balancer.core.home import HomeSearch
from warrener.balancer.core.link import Link
from warrener.balancer.core.states import ClientState, LinkMove, LinkState
from warrener.facts.reasons import SessionEnd, Unfit


class Around(Protocol):
    """What it needs of the session around it."""

    out: list[Command]
    held: bytes  # of the client, while it isn't read

    @property
    def state(self) -> ClientState: ...
    def hold_client(self, data: bytes) -> None: ...
    def release_client(self) -> bytes: ...
    def to_client(self, data: bytes, now: float) -> None: ...
    def finish(self, reason: SessionEnd, detail: str, client: CloseClient) -> None: ...


class Foreign:
    """See the module."""

    __slots__ = ("_around", "search")

    def __init__(self, around: Around, search: HomeSearch) -> None:
        self.search = search
        self._around = around

    def client_data(self, data: bytes, now: float) -> None:
        """Bytes from the client."""
        link = self.search.link
        if link is not None and link.state is LinkState.FOREIGN:
            self._around.out.append(SendLink(link.id, data))
        else:
            self._around.hold_client(data)

    def link_connected(self, link: Link, now: float) -> None:
        """The TCP connection of the link stands."""
        link.follow(LinkMove.CONNECTED_FOREIGN)
        link.deadline = self.search.deadline = None
        if self._around.held:
            link.sent_at = now
            self._around.out.append(SendLink(link.id, self._around.held))
            self._around.release_client()

    def link_data(self, link: Link, data: bytes, now: float) -> None:
        """Bytes from the node."""
        self._around.to_client(data, now)

    def link_lost(self, link: Link, now: float, why: Unfit, detail: str) -> None:
        """The link couldn't be connected, or broke."""
        if link.state is LinkState.FOREIGN:
            self.search.drop(None)
            self._around.finish(SessionEnd.BROKER_CLOSED, detail, CloseClient())
        else:
            self._next(link, None, now, why, detail)

    def tick(self, now: float) -> None:
        """To be called about every half second."""
        link = self.search.link
        if link is None:
            self.search.tick(now)
        elif link.deadline is not None and now >= link.deadline:
            self._next(link, AbortLink(link.id), now, Unfit.HANGS, "no connection in time")
        if self._around.state is ClientState.FOREIGN and self.search.overdue(now):
            self.search.give_up(now)

    def _next(self, link: Link, how: AbortLink | None, now: float, why: Unfit, detail: str) -> None:
        self.search.drop(how)
        self.search.pass_over(link.backend.name, why, detail, blame=True)
        self.search.go_on(now)
