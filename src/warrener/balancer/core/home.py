"""The search for a session's home: the first node that takes this client.

The policy chooses among the fit nodes, and a link to that node is opened. What is said on the link
is the business of whoever searches (``Handshake``, ``Foreign``); it comes back here when the node
won't do. A node that failed is passed over until all have been tried, and they are tried again
after a short pause. A client for which no node can be chosen waits for ``connect_timeout``, in all.

Words: the *home* is the node of the session's first link; a *refusal* is what a broker has said in
connection.close for a reason that is the node's own (it is full, it is in maintenance, a vhost is
down there). When every node has refused, the client hears the last of them in the broker's words.
"""

from collections.abc import Collection
from typing import Final, Protocol

from warrener.amqp.constants import ReplyCode
from warrener.amqp.methods import ConnectionClose, printable
from warrener.balancer.core.commands import AbortLink, CloseLink, Command, Connect
from warrener.balancer.core.link import Link
from warrener.balancer.core.nodes import Chosen
from warrener.balancer.core.states import LinkMove, LinkState
from warrener.facts.ids import NodeName
from warrener.facts.reasons import SessionEnd, Unfit
from warrener.facts.settings import BalancerSettings

RETRY_PAUSE: Final = 0.3
"""Seconds until nodes that failed in this handshake are tried again."""


class Around(Protocol):
    """What the search needs of the session around it."""

    out: list[Command]
    source: str

    def say_close(self, close: ConnectionClose, reason: SessionEnd, now: float) -> None: ...
    def close_client(self, code: ReplyCode, text: str, reason: SessionEnd, now: float) -> None: ...


class Nodes(Protocol):
    """What it needs of the node table."""

    def choose(self, source: str, tried: Collection[NodeName] = ()) -> Chosen | None: ...
    def handshake_failed(self, name: NodeName, why: Unfit, detail: str) -> None: ...
    def session_added(self, name: NodeName) -> None: ...
    def session_removed(self, name: NodeName) -> None: ...


class HomeSearch:
    """See the module. ``link`` is the one to the node that is being tried, ``deadline`` the time by
    which the client's handshake must be done (None: it can take as long as it likes)."""

    __slots__ = (
        "_around",
        "_last_link",
        "_last_refusal",
        "_nodes",
        "_retry_at",
        "_settings",
        "_tried",
        "_waiting_since",
        "deadline",
        "link",
    )

    def __init__(
        self, around: Around, nodes: Nodes, settings: BalancerSettings, now: float
    ) -> None:
        self.link: Link | None = None
        self.deadline: float | None = now + settings.handshake_timeout
        self._around = around
        self._nodes = nodes
        self._settings = settings
        self._last_link = 0
        self._tried: set[NodeName] = set()
        self._last_refusal: tuple[int, str] | None = None
        self._retry_at: float | None = None
        self._waiting_since: float | None = None  # no node could be chosen since then

    def numbered(self, number: int) -> Link | None:
        """The link of that number, unless it has been dropped since."""
        link = self.link
        return link if link is not None and link.id == number else None

    def overdue(self, now: float) -> bool:
        """Whether the client's time is up."""
        return self.deadline is not None and now >= self.deadline

    # -- nodes come and go ----------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """Choose a node and open a link to it."""
        chosen = self._nodes.choose(self._around.source, self._tried)
        if chosen is None:
            refusal = self._last_refusal
            if refusal is not None and refusal[0] != ReplyCode.CONNECTION_FORCED:
                self.give_up(now)  # every node has answered; asking again would change nothing
                return
            if self._waiting_since is None:
                self._waiting_since = now
            self._retry_at = now + RETRY_PAUSE
            if now - self._waiting_since >= self._settings.connect_timeout:
                self.give_up(now)
            return
        self._retry_at = None
        self._last_link += 1
        self.link = Link(self._last_link, chosen.backend, now, self._settings.connect_timeout)
        self._nodes.session_added(chosen.backend.name)
        self._around.out.append(Connect(self._last_link, chosen.backend))

    def refused(self, close: ConnectionClose) -> None:
        """A broker won't have this client, for a reason that is the node's own."""
        self._last_refusal = close.reply_code, close.reply_text

    def pass_over(self, node: NodeName, why: Unfit, detail: str, *, blame: bool) -> None:
        """A node won't do. ``blame``: that counts against its fitness."""
        if blame:
            self._nodes.handshake_failed(node, why, printable(detail))
        self._tried.add(node)

    def go_on(self, now: float) -> None:
        """The next node, within the client's time."""
        if self.overdue(now):
            self.give_up(now)
        else:
            self.begin(now)

    def tick(self, now: float) -> None:
        """Try them all again after a pause, while there is no link."""
        if self.link is None and self._retry_at is not None and now >= self._retry_at:
            self._tried.clear()
            self.begin(now)

    def give_up(self, now: float) -> None:
        """No node to be had."""
        tried = ", ".join(sorted(self._tried))
        detail = f"tried {tried}" if tried else "no node is up"
        if self._last_refusal is not None:
            code, text = self._last_refusal
            self._around.say_close(ConnectionClose(code, text), SessionEnd.NO_FIT_NODE, now)
            return
        self._around.close_client(
            ReplyCode.CONNECTION_FORCED,
            f"no node can take this connection now ({detail}); try again later",
            SessionEnd.NO_FIT_NODE,
            now,
        )

    # -- the end of the search ------------------------------------------------------------------

    def found(self) -> None:
        """The link is open, and its session's from now on."""
        self.link = None

    def drop(self, how: CloseLink | AbortLink | None) -> None:
        """The link is no longer the session's; the shell closes it as ``how`` says."""
        link = self.link
        if link is None:
            return
        self.link = None
        self._nodes.session_removed(link.backend.name)
        link.follow(LinkMove.END)
        if how is not None:
            self._around.out.append(how)

    def abort(self) -> None:
        """The client is told to close: what was still to be said to the node is for nobody."""
        if self.link is not None:
            self.drop(AbortLink(self.link.id))

    def end(self) -> None:
        """The session is over: what was said to the node still arrives, as far as it stands."""
        link = self.link
        if link is not None:
            connecting = link.state is LinkState.CONNECTING
            self.drop(AbortLink(link.id) if connecting else CloseLink(link.id))
