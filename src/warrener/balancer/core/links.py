"""The links of an open session: which there are, which of them is home, how they come and go.

A session has at most one link to a node, opened when a channel wants to go there, in the client's
name: the handshake that the client has had (``Agreement``) is said again, and nobody is asked
anything. So a link, from here, is one of these:

    wanted ──► on its way ──► open ──► closed: unused for a while, left for a drain, at the end
                   │            └────► lost: it broke, it hangs, the broker closed it
                   └─────────────────► refused: limits, login, a challenge; or lost as well

A node that refused a link is *avoided* for half a minute, one whose link was lost for a second: a
channel that wishes to be there stays where it is meanwhile. A node that is being drained is one to
be *left*: no channel goes there, and its link is closed as soon as no channel needs it.

The *home* is the link on which new channels begin; when it goes, another one is home. While no link
is open at all, the session waits, and is closed after ``outage_timeout``.

What is on the links is the ``Switchboard``'s business: it is told when a link is ready or gone, and
asked which are in use. What a broker says on channel 0 is for all channels, and read here.
"""

import math
from typing import Final, Protocol

from warrener.amqp.constants import HEARTBEAT, PROTOCOL_HEADER, ReplyCode
from warrener.amqp.errors import SyntaxViolation
from warrener.amqp.frames import payload_of
from warrener.amqp.methods import (
    ConnectionBlocked,
    ConnectionClose,
    ConnectionCloseOk,
    ConnectionOpenOk,
    ConnectionSecure,
    ConnectionStart,
    ConnectionTune,
    ConnectionUnblocked,
    ConnectionUpdateSecretOk,
    Method,
    decode_method,
    encode_method_frame,
)
from warrener.balancer.core.agreement import Agreement
from warrener.balancer.core.commands import AbortLink, CloseLink, Command, Connect
from warrener.balancer.core.directory import Directory
from warrener.balancer.core.home import Nodes as HomeNodes
from warrener.balancer.core.link import Link
from warrener.balancer.core.states import LinkMove, LinkState
from warrener.facts.balance import Backend
from warrener.facts.ids import NodeName, short_name
from warrener.facts.reasons import MoveReason, SessionEnd, Unfit
from warrener.facts.settings import BalancerSettings

AVOID_REFUSED: Final = 30.0
"""Seconds a node is left alone that has refused this session a link (its limits, its login)."""

AVOID_LOST: Final = 1.0
"""Seconds a node is left alone after a link to it broke."""

GOODBYE: Final = encode_method_frame(
    0, ConnectionClose(ReplyCode.SUCCESS, "the balancer needs this connection no more")
)
"""What a broker hears on a link that is closed without a word from the client."""

_NODE_GOES: Final = ("maintenance mode", "broker forced connection closure", "shutdown")
"""Words of a 320 that speaks of the node. Others ("Closed via management plugin") are meant for the
client."""


CRASHES_APART: Final = 60.0
"""Seconds. RabbitMQ closes the connection with 541 when a channel's process crashes there, as
happens when a node or a queue goes down at an awkward moment. Said again elsewhere it works; if it
doesn't, what the client says is what crashes it, and the client is told."""


class Around(Protocol):
    """What links need of the session around them."""

    out: list[Command]
    source: str
    client_writable: bool

    @property
    def is_live(self) -> bool: ...
    def links_closed(self, now: float) -> None: ...
    def broker_closes(self, close: ConnectionClose, now: float) -> None: ...
    def close_client(self, code: ReplyCode, text: str, reason: SessionEnd, now: float) -> None: ...


class Board(Protocol):
    """What they need of whoever uses them."""

    now: float
    directory: Directory

    def to_client(self, data: bytes) -> None: ...
    def to_link(self, link: Link, data: bytes) -> None: ...
    def used_links(self) -> set[Link | None]: ...
    def exclusives_of(self, link: Link) -> list[str]: ...
    def link_ready(self, link: Link) -> None: ...
    def link_dropped(self, link: Link) -> None: ...
    def link_gone(self, link: Link) -> None: ...
    def survives(self, link: Link, close: ConnectionClose) -> bool: ...
    def move_failed(self, reason: MoveReason, why: str) -> None: ...


class Nodes(HomeNodes, Protocol):
    """What they need of the node table."""

    def backend(self, name: NodeName) -> Backend | None: ...
    def unfit(self, name: NodeName) -> Unfit | None: ...
    def all_fit(self) -> bool: ...


class Links:
    """See the module. Made with the session's first link, which is open."""

    __slots__ = (
        "_agreement",
        "_around",
        "_avoid",
        "_board",
        "_crashed_at",
        "_last_link",
        "_new_secret",
        "_nodes",
        "_owes_secret_ok",
        "_settings",
        "_without_link_since",
        "blocked",
        "by_number",
        "closing",
        "home",
        "leaving",
        "wanted_home",
    )

    def __init__(
        self,
        around: Around,
        board: Board,
        first: Link,
        agreement: Agreement,
        nodes: Nodes,
        settings: BalancerSettings,
    ) -> None:
        self.by_number = {first.id: first}
        self.home: Link | None = first
        self.wanted_home: NodeName | None = None  # once there is a link to it
        self.leaving: set[NodeName] = set()  # nodes that are being drained
        self.closing = False  # the client's close has been passed on
        self.blocked = False  # the client was told so
        self._around = around
        self._board = board
        self._agreement = agreement
        self._nodes = nodes
        self._settings = settings
        self._last_link = first.id
        self._avoid: dict[NodeName, float] = {}  # until when
        self._new_secret = b""  # the client's last connection.update-secret
        self._owes_secret_ok = False  # the client waits for its answer
        self._without_link_since: float | None = None
        self._crashed_at = -math.inf  # when a broker has failed last

    # -- what can be asked ----------------------------------------------------------------------

    def nodes(self) -> tuple[NodeName, ...]:
        """Nodes that there is an open link to."""
        return tuple(
            link.backend.name for link in self.by_number.values() if link.state is LinkState.OPEN
        )

    def at(self, node: NodeName) -> Link | None:
        """The link to this node, open or not."""
        return next((link for link in self.by_number.values() if link.backend.name == node), None)

    @property
    def take_all(self) -> bool:
        """Whether every node takes what is written to it; else the client isn't read."""
        return all(link.writable for link in self.by_number.values())

    def fit(self, node: NodeName) -> bool:
        """Whether channels may go to this node."""
        return node not in self.leaving and self._nodes.unfit(node) is None

    def open_one(self) -> Link | None:
        """An open link, the home if it can be; None if there is none."""
        link = self.home
        if link is not None and link.state is LinkState.OPEN:
            return link
        return next((one for one in self.by_number.values() if one.state is LinkState.OPEN), None)

    # -- links that are wanted ------------------------------------------------------------------

    def link_to(self, node: NodeName) -> Link | None:
        """A link to a node, open or on its way; None if there can't be one now."""
        link = self.at(node)
        if link is not None:
            return link
        if self._avoid.get(node, 0.0) > self._board.now or not self._agreement.replayable:
            return None
        backend = self._nodes.backend(node)
        if backend is None or self.closing:
            return None
        self._last_link += 1
        link = Link(self._last_link, backend, self._board.now, self._settings.connect_timeout)
        self.by_number[link.id] = link
        self._around.out.append(Connect(link.id, backend))
        return link

    def refuge(self, wish: NodeName | None) -> Link | None:
        """A link for a channel that has lost its own; None if there is none to be had now."""
        if wish is not None and self.fit(wish) and (link := self.link_to(wish)) is not None:
            return link
        known = sorted(
            (link for link in self.by_number.values() if link.state is not LinkState.CLOSING),
            key=lambda link: (link.state is not LinkState.OPEN, link is not self.home),
        )
        for link in known:
            if self.fit(link.backend.name):
                return link
        avoided = {node for node, until in self._avoid.items() if until > self._board.now}
        chosen = self._nodes.choose(self._around.source, avoided | self.leaving)
        if chosen is not None and (link := self.link_to(chosen.backend.name)) is not None:
            return link
        return next((link for link in known if link.backend.name not in self.leaving), None)

    def set_home(self, link: Link | None) -> None:
        """New channels begin on this link from now on."""
        if self.home is not None:
            self._nodes.session_removed(self.home.backend.name)
        self.home = link
        if link is not None:
            self._nodes.session_added(link.backend.name)

    def _home_missed(self, node: NodeName) -> None:
        if self.wanted_home == node:
            self.wanted_home = None
            self._board.move_failed(MoveReason.REBALANCE, f"no link to {short_name(node)}")

    # -- what brokers say about a link as a whole -----------------------------------------------

    def connected(self, link: Link) -> None:
        """The TCP connection of a link stands."""
        link.follow(LinkMove.CONNECTED)
        self._board.to_link(link, PROTOCOL_HEADER)

    def broker_says(self, link: Link, frame: bytes) -> None:
        """Any frame in a link's handshake, or one on channel 0 of an open link."""
        method = decode_method(payload_of(frame, 0, len(frame)))
        if link.state is not LinkState.OPEN and not self.closing:
            self._handshake(link, method)
            return
        match method:
            case ConnectionClose():
                self._closed_by_broker(link, method)
            case ConnectionCloseOk():
                self._drop(link, CloseLink(link.id))
                if self.closing:
                    self._closed_if_none_is_left()
            case ConnectionBlocked() | ConnectionUnblocked():
                link.blocked = isinstance(method, ConnectionBlocked)
                self._tell_blocked(frame)
            case ConnectionUpdateSecretOk():
                if self._owes_secret_ok:  # the first answer is the client's
                    self._owes_secret_ok = False
                    self._board.to_client(frame)
            case _:
                self._board.to_client(frame)

    def _handshake(self, link: Link, method: Method) -> None:
        """The client's own handshake, said again to another node."""
        match method, link.state:
            case ConnectionStart(), LinkState.AWAIT_START:
                link.follow(LinkMove.START)
                self._board.to_link(link, link.says_start_ok(self._agreement))
            case ConnectionTune(), LinkState.AWAIT_TUNE:
                link.follow(LinkMove.TUNE)
                if not self._agreement.fits(method):
                    self._refused(link, AbortLink(link.id))  # offers smaller limits than agreed
                    return
                frames = link.says_open(self._agreement, self._settings.link_heartbeat)
                self._board.to_link(link, frames)
            case ConnectionOpenOk(), LinkState.AWAIT_OPEN_OK:
                link.follow(LinkMove.OPEN_OK)
                link.deadline = None
                self._ready(link)
            case ConnectionClose(), _:
                self._board.to_link(link, encode_method_frame(0, ConnectionCloseOk()))
                self._refused(link, CloseLink(link.id))
            case ConnectionSecure(), _:
                self._refused(link, AbortLink(link.id))  # nobody can answer a challenge again
            case _:
                raise SyntaxViolation(f"{method.name()} is out of place in a handshake")

    def _ready(self, link: Link) -> None:
        self._without_link_since = None
        # Its handshake may have begun before; or who should have answered is lost.
        self._board.to_link(link, self._new_secret)
        if self.home is None or self.home.state is not LinkState.OPEN:
            self.set_home(link)
        self._board.link_ready(link)

    def _refused(self, link: Link, how: CloseLink | AbortLink) -> None:
        """A node doesn't take this link: its limits, its login, its state."""
        node = link.backend.name
        self._avoid[node] = self._board.now + AVOID_REFUSED
        self._home_missed(node)
        self._drop(link, how)
        self._board.link_gone(link)
        if self._around.is_live:
            self._ensure_one()

    def _closed_by_broker(self, link: Link, close: ConnectionClose) -> None:
        """The broker closes an open link: for the node's sake, or because of the client?"""
        self._board.to_link(link, encode_method_frame(0, ConnectionCloseOk()))
        self._around.out.append(CloseLink(link.id))
        node_goes = close.reply_code == ReplyCode.CONNECTION_FORCED and any(
            word in close.reply_text for word in _NODE_GOES
        )
        if self.closing:
            self._drop(link, None)
            self._closed_if_none_is_left()
        elif node_goes or self._board.survives(link, close) or self._is_a_crash(link, close):
            self.lost(link, Unfit.REFUSES, close.reply_text, told=True)
        else:
            self._drop(link, None)
            self._around.broker_closes(close, self._board.now)

    def _is_a_crash(self, link: Link, close: ConnectionClose) -> bool:
        """Whether the broker has failed, and not for the second time in a row. Not if an exclusive
        queue goes with the link: then the broker's own words say it best."""
        if close.reply_code != ReplyCode.INTERNAL_ERROR or self._board.exclusives_of(link):
            return False
        before, self._crashed_at = self._crashed_at, self._board.now
        return self._agreement.replayable and self._board.now - before >= CRASHES_APART

    def _tell_blocked(self, frame: bytes) -> None:
        blocked = any(link.blocked for link in self.by_number.values())
        if blocked != self.blocked:
            self.blocked = blocked
            self._board.to_client(frame or encode_method_frame(0, ConnectionUnblocked()))

    def say_secret(self, frame: bytes) -> None:
        """The client's connection.update-secret goes to every link, now or when it opens."""
        self._new_secret = frame
        self._owes_secret_ok = True
        for link in self.by_number.values():
            if link.state is LinkState.OPEN:
                self._board.to_link(link, frame)

    # -- links that go --------------------------------------------------------------------------

    def _drop(self, link: Link, how: CloseLink | AbortLink | None) -> None:
        """A link is no longer the session's; the shell closes it as ``how`` says."""
        if self.by_number.pop(link.id, None) is None:
            return
        link.follow(LinkMove.END)
        if how is not None:
            self._around.out.append(how)
        if link is self.home:
            others = sorted(
                self.by_number.values(), key=lambda one: (one.state is not LinkState.OPEN, one.id)
            )
            self.set_home(next(iter(others), None))
        self._board.link_dropped(link)
        if link.blocked:
            self._tell_blocked(b"")

    def lost(self, link: Link, why: Unfit, detail: str, *, told: bool = False) -> None:
        """A link couldn't be opened, broke or hangs. ``told``: the broker said that it goes."""
        now = self._board.now
        node = link.backend.name
        was_open = link.state is LinkState.OPEN
        self._avoid[node] = now + AVOID_LOST
        exclusive = self._board.exclusives_of(link)
        self._drop(link, None)
        if self.closing:
            self._closed_if_none_is_left()
            return
        if not was_open:
            self._nodes.handshake_failed(node, why, detail)
            self._board.directory.node_refuses()
        elif not told:
            self._board.directory.node_lost(node)
        self._home_missed(node)
        if exclusive:
            self._around.close_client(
                ReplyCode.CONNECTION_FORCED,
                f"node {short_name(node)} was lost ({detail}), and exclusive queue "
                f"'{exclusive[0]}' with it; connect again",
                SessionEnd.NODE_LOST,
                now,
            )
            return
        if not self._agreement.replayable and not self.by_number:
            self._around.close_client(
                ReplyCode.CONNECTION_FORCED,
                f"node {node} was lost ({detail}); connect again to reach another node",
                SessionEnd.NODE_SILENT if why is Unfit.HANGS else SessionEnd.NODE_LOST,
                now,
            )
            return
        self._board.link_gone(link)
        if self._around.is_live:
            self._ensure_one()

    def impossible(self, link: Link) -> None:
        """This machine can't open one more link: channels stay where they are."""
        self._refused(link, AbortLink(link.id))

    def aborted(self, link: Link, why: Unfit, detail: str) -> None:
        """A link makes no sense any more, or hangs: nothing more is heard of it."""
        if link.id in self.by_number:
            self._around.out.append(AbortLink(link.id))
            self.lost(link, why, detail)

    def close_all(self, *, politely: bool) -> None:
        """Close them all for a reason that the client knows or will be told."""
        for link in list(self.by_number.values()):
            if politely and link.state is LinkState.OPEN and link.writable:
                self._board.to_link(link, GOODBYE)
                self._drop(link, CloseLink(link.id))
            elif link.state is LinkState.CLOSING or (link.state is LinkState.OPEN and not politely):
                self._drop(link, CloseLink(link.id))
            else:
                self._drop(link, AbortLink(link.id))

    def begin_close(self, goodbye: bytes) -> None:
        """Pass the client's connection.close on to every link; ``links_closed`` follows."""
        self.closing = True
        for link in list(self.by_number.values()):
            if link.state is LinkState.OPEN:
                self._board.to_link(link, goodbye)
                link.follow(LinkMove.CLOSE)
            else:
                self._drop(link, AbortLink(link.id))
        self._closed_if_none_is_left()

    def _closed_if_none_is_left(self) -> None:
        if not self.by_number:
            self._around.links_closed(self._board.now)

    # -- time -----------------------------------------------------------------------------------

    def heard_all(self, now: float) -> None:
        """The links weren't read, or are read again: silence says nothing about them."""
        for link in self.by_number.values():
            link.heard_at = now

    def check(self) -> bool:
        """Of each link: is an answer late, is it silent, does it need a heartbeat? False if the
        session has come to its end over that."""
        for link in list(self.by_number.values()):
            self._check(link)
            if not self._around.is_live:
                return False
        return True

    def _check(self, link: Link) -> None:
        now = self._board.now
        if link.deadline is not None and now >= link.deadline:
            self.aborted(link, Unfit.HANGS, "no answer in time")
            return
        if link.state is not LinkState.OPEN:
            return
        if self._around.client_writable:  # else the node isn't read, and says nothing for that
            suspected = self._nodes.unfit(link.backend.name) is Unfit.HANGS
            silence = link.silent_since(now, suspected)
            if silence is not None:
                self.aborted(link, Unfit.HANGS, f"silent for {silence:.0f} s")
                return
        if link.heartbeat and now - link.sent_at >= link.heartbeat / 2 - 0.5 and link.writable:
            self._board.to_link(link, HEARTBEAT)

    def tidy(self) -> None:
        """Open a link if there is none, close what nobody uses, give up after a long outage."""
        self._ensure_one()
        self.close_unused()
        self._check_outage()

    def _ensure_one(self) -> None:
        """A session keeps a link even when no channel needs one: it shows that the nodes serve
        this client, and the next channel opens at once."""
        if any(link.state is LinkState.OPEN for link in self.by_number.values()):
            self._without_link_since = None
            return
        if self._without_link_since is None:
            self._without_link_since = self._board.now
        if not self.by_number:
            self.refuge(None)

    def close_unused(self) -> None:
        """Links without channels go: at once from a node to be left, else after a while."""
        if len(self.by_number) < 2:
            return
        ready = [link for link in self.by_number.values() if link.state is LinkState.OPEN]
        if len(ready) < 2:
            return
        now = self._board.now
        used = self._board.used_links()
        for link in ready:
            if link in used or self.wanted_home is not None:
                link.empty_since = None
                continue
            if link.empty_since is None:
                link.empty_since = now
            leaving = link.backend.name in self.leaving
            if leaving or now - link.empty_since >= self._settings.link_linger:
                if not leaving and link is self.home and not used:
                    continue
                self._board.to_link(link, GOODBYE)
                self._drop(link, CloseLink(link.id))
                if len(self.by_number) < 2:
                    return

    def _check_outage(self) -> None:
        now = self._board.now
        since = self._without_link_since
        if since is not None and now - since >= self._settings.outage_timeout:
            self._around.close_client(
                ReplyCode.CONNECTION_FORCED,
                f"no node could be reached for {now - since:.0f} s; try again later",
                SessionEnd.NO_FIT_NODE,
                now,
            )

    def ended(self) -> None:
        """The session is over."""
        if self.home is not None:
            self._nodes.session_removed(self.home.backend.name)
            self.home = None
