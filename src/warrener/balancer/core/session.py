"""One client's connection, from its first byte to its last, without I/O.

Theory of operation
-------------------
The shell tells what happened (``client_data``, ``link_connected``, ``link_lost``, ``tick`` ...) and
carries out the commands it gets back, in order. Time comes in with each event. The session gives
the event to whoever has the links at the time:

    first bytes ──► Handshake ── open-ok ──► Switchboard       AMQP 0-9-1
                        └──────────────────► Foreign           anything else

The session itself keeps what is about the client whatever the links do: how far it is (``state``),
whether it is read, its heartbeats, its close, its end. The three get at that through a small
protocol each, and hold no state of it.

*End.* A session ends once, with one reason. A client is told why by connection.close where the
protocol has room for it: from start on. What a client said before it vanished is still said to the
broker, as a plain TCP proxy would do it.

This module is longer than others because it is the whole of what the shell sees: half of it answers
questions and passes events on, and would only be split from the state that it reads.
"""

from typing import Final

from warrener.amqp.constants import HEARTBEAT, ReplyCode
from warrener.amqp.errors import ProtocolViolation
from warrener.amqp.frames import Reassembly, Verdict, scan
from warrener.amqp.methods import (
    BY_ID,
    ConnectionClose,
    ConnectionCloseOk,
    encode_method_frame,
    printable,
    short_text,
)
from warrener.balancer.core.agreement import HANDSHAKE_FRAME_LIMIT, Agreement
from warrener.balancer.core.budget import Budget
from warrener.balancer.core.commands import (
    AbortClient,
    CloseClient,
    Command,
    Finished,
    HoldClient,
    SendClient,
    coalesced,
)
from warrener.balancer.core.directory import Directory
from warrener.balancer.core.foreign import Foreign
from warrener.balancer.core.handshake import Handshake
from warrener.balancer.core.home import HomeSearch
from warrener.balancer.core.link import Link
from warrener.balancer.core.links import Nodes
from warrener.balancer.core.states import (
    CLIENT,
    ClientMove,
    ClientState,
    allowed,
    follow,
)
from warrener.balancer.core.switchboard import Switchboard
from warrener.facts.balance import SessionStatistics
from warrener.facts.ids import NodeName, SessionId
from warrener.facts.moves import ChannelStatistics
from warrener.facts.places import Lookup
from warrener.facts.reasons import MoveReason, SessionEnd, Unfit
from warrener.facts.settings import BalancerSettings

_CLASS_CHANNEL: Final = 20

_CONTENT: Final = frozenset(id_ for id_ in BY_ID if id_ >> 16 > _CLASS_CHANNEL)
"""Methods of channels, which matter no more once the connection is being closed."""

CLOSE_TIMEOUT: Final = 5.0
"""Seconds a peer has for its close-ok before it is cut off."""

UNSAID_TIMEOUT: Final = 15.0
"""Seconds in which what a client said before its close must have found a node."""


class Session:
    """See the module. ``source`` is the client's address without its port."""

    __slots__ = (
        "_agreement",
        "_board",
        "_budget",
        "_client_gone",
        "_deadline",
        "_directory",
        "_end",
        "_finished",
        "_inbox",
        "_nodes",
        "_opened_at",
        "_opening",
        "_settings",
        "_state",
        "_was_open",
        "bytes_in",
        "bytes_out",
        "client",
        "client_heard_at",
        "client_sent_at",
        "client_writable",
        "held",
        "id",
        "out",
        "source",
    )

    def __init__(
        self,
        id_: SessionId,
        client: str,
        source: str,
        nodes: Nodes,
        settings: BalancerSettings,
        now: float,
        directory: Directory | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.id = id_
        self.client = client
        self.source = source
        self._nodes = nodes
        self._settings = settings
        self._state = ClientState.AWAIT_HEADER
        self._agreement = Agreement(client)
        self._directory = directory or Directory()
        self._budget = budget or Budget(settings.journal_total)
        self._opening: Handshake | Foreign | None = Handshake(
            self, HomeSearch(self, nodes, settings, now), self._agreement, settings
        )
        self._board: Switchboard | None = None  # once it is open
        self._client_gone = False
        self._deadline: float | None = None  # of a close
        self._end: tuple[SessionEnd, str] | None = None  # why it is closing
        self._finished = False
        self._was_open = False
        self._opened_at = now
        self._inbox = Reassembly()  # after the close; before it, whoever reads has one
        self.out: list[Command] = []
        self.held = b""  # sent by the client before it can be used; it isn't read meanwhile
        self.bytes_in = 0
        self.bytes_out = 0
        self.client_heard_at = now
        self.client_sent_at = now
        self.client_writable = True  # it takes what is written to it

    def __repr__(self) -> str:
        home = self.home
        where = f" home={home.backend.name} {home.state.name}" if home else ""
        return f"<Session {self.id} {self.client} {self._state.name}{where}>"

    # -- what can be asked ----------------------------------------------------------------------

    @property
    def state(self) -> ClientState:
        """The client's side."""
        return self._state

    @property
    def home(self) -> Link | None:
        """The link to the node that new channels begin on; before it is open, the one that is to
        be that."""
        if self._board is not None:
            return self._board.links.home
        return self._opening.search.link if self._opening is not None else None

    @property
    def node(self) -> NodeName | None:
        """The node of the session's home."""
        home = self.home
        return home.backend.name if home else None

    @property
    def was_open(self) -> bool:
        """Whether the handshake was ever done."""
        return self._was_open

    @property
    def finished(self) -> bool:
        """Whether ``Finished`` has been given."""
        return self._finished

    @property
    def is_open(self) -> bool:
        """Whether the client may say what it likes."""
        return self._state is ClientState.OPEN

    @property
    def is_live(self) -> bool:
        """Whether what it said is still to be carried out: it is open, or closes in order."""
        return self._state in (ClientState.OPEN, ClientState.CLOSING)

    @property
    def board(self) -> Switchboard | None:
        """The session's channels and links, once it is open."""
        return self._board

    @property
    def published(self) -> int:
        """Messages the client has published."""
        return self._board.published if self._board else 0

    @property
    def delivered(self) -> int:
        """Messages it was given."""
        return self._board.delivered if self._board else 0

    @property
    def local(self) -> int:
        """Messages that entered or left through the node that leads their queue."""
        return self._board.local if self._board else 0

    @property
    def remote(self) -> int:
        """Messages that entered or left through another node."""
        return self._board.remote if self._board else 0

    @property
    def parked(self) -> int:
        """Consumers that wait for their queue."""
        if self._board is None:
            return 0
        return sum(channel.consumers.parked() for channel in self._board.channels.values())

    @property
    def may_move_home(self) -> bool:
        """Whether its home may be moved for balance's sake."""
        return self.is_open and self._board is not None and self._board.free

    def uses(self, node: NodeName) -> bool:
        """Whether it has a link to this node."""
        if self._board is not None:
            return self._board.links.at(node) is not None
        return self.node == node

    def is_at(self, node: NodeName) -> bool:
        """Whether it and all its channels are on this node."""
        return self._board is not None and self._board.is_at(node)

    def goes_home_to(self, node: NodeName) -> bool:
        """Whether it has been told to have its home on this node, and still may."""
        board = self._board
        return board is not None and node in (board.links.wanted_home, self.node)

    def channels(self) -> tuple[ChannelStatistics, ...]:
        """Where each channel is and why."""
        if self._board is None:
            return ()
        return tuple(
            channel.statistics(self.id, self.client)
            for _, channel in sorted(self._board.channels.items())
        )

    def hand_in_work(self) -> None:
        """What its consumers did since the last time goes into the book that all share."""
        if self._board is not None:
            self._board.hand_in_work()

    def statistics(self) -> SessionStatistics:
        """A frozen view."""
        agreement = self._agreement
        board = self._board
        channels = list(board.channels.values()) if board else []
        return SessionStatistics(
            id=self.id,
            client=self.client,
            user=agreement.user,
            vhost=printable(agreement.open.virtual_host) if agreement.open else "",
            name=agreement.name,
            node=self.node,
            state="blocked" if board and board.links.blocked else self._state.name.lower(),
            channels=len(channels),
            opened_at=self._opened_at,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            published=self.published,
            delivered=self.delivered,
            links=board.links.nodes() if board else (),
            moves=sum(board.moves.values()) if board else 0,
            parked=sum(channel.consumers.parked() for channel in channels),
            journal_bytes=sum(channel.journal_bytes for channel in channels),
            messages_local=board.local if board else 0,
            messages_remote=board.remote if board else 0,
        )

    # -- events: the client ---------------------------------------------------------------------

    def client_data(self, data: bytes, now: float) -> list[Command]:
        """Bytes from the client."""
        self.bytes_in += len(data)
        self.client_heard_at = now
        state = self._state
        if state is ClientState.OPEN and self._board is not None:
            self._board.client_data(data, now)
        elif state is ClientState.CLOSED_BY_US:
            self._client_data_after_close(data, now)
        elif self._opening is not None:
            self._opening.client_data(data, now)
        return self._take_commands()

    def client_lost(self, now: float, detail: str = "") -> list[Command]:
        """The client's connection is gone (or its sending side is)."""
        if self._finished:
            return self._take_commands()
        reason = SessionEnd.CLIENT_LOST, detail or "the client closed its connection"
        board = self._board
        if self._state is ClientState.OPEN and board is not None and board.has_unsaid:
            self._end = reason
            self._client_gone = True
            self._begin_closing(now)
        elif self._waits_for_unsaid and not self._client_gone:
            self._client_gone = True  # it has closed in order, and doesn't wait for the answer
        elif self._client_gone or self._state is not ClientState.CLOSING:
            self.finish(*(self._end or reason))
        else:
            self.finish(*(self._end or (SessionEnd.CLIENT_CLOSED, "")))
        return self._take_commands()

    # -- events: the link -----------------------------------------------------------------------

    def link_connected(self, link: int, now: float) -> list[Command]:
        """The TCP connection of a link stands."""
        if (board := self._board) is not None:
            if (later := self._later_link(link)) is not None:
                later.heard_at = later.sent_at = now
                board.link_connected(later, now)
        elif (opening := self._opening) and (home := opening.search.numbered(link)):
            home.heard_at = home.sent_at = now
            opening.link_connected(home, now)
        return self._take_commands()

    def link_data(self, link: int, data: bytes, now: float) -> list[Command]:
        """Bytes from a node."""
        if (board := self._board) is not None:
            later = self._later_link(link)
            if later is not None and self._state is not ClientState.CLOSED_BY_US:
                later.heard_at = now
                board.link_data(later, data, now)
        elif (opening := self._opening) and (home := opening.search.numbered(link)):
            home.heard_at = now
            opening.link_data(home, data, now)
        return self._take_commands()

    def link_lost(
        self, link: int, now: float, detail: str, unfit: Unfit = Unfit.REFUSES
    ) -> list[Command]:
        """A link couldn't be connected, or broke."""
        if (board := self._board) is not None:
            if (later := self._later_link(link)) is not None:
                board.link_lost(later, now, unfit, detail)
        elif (opening := self._opening) and (home := opening.search.numbered(link)):
            opening.link_lost(home, now, unfit, detail)
        return self._take_commands()

    def link_impossible(self, link: int, now: float, detail: str) -> list[Command]:
        """A link couldn't be opened, and that is this machine's fault, not the node's."""
        if (board := self._board) is not None:
            if (later := self._later_link(link)) is not None:
                board.link_impossible(later, now)
        elif (opening := self._opening) and opening.search.numbered(link):
            opening.search.drop(None)
            self.close_client(ReplyCode.RESOURCE_ERROR, detail, SessionEnd.LIMIT, now)
        return self._take_commands()

    def set_client_writable(self, writable: bool, now: float) -> None:
        """Whether the client takes what is written to it; while it doesn't, the link isn't read."""
        self.client_writable = writable
        if self._board is not None:
            self._board.links.heard_all(now)
        elif (home := self.home) is not None:
            home.heard_at = now

    def set_link_writable(self, link: int, writable: bool, now: float) -> None:
        """Whether a node takes what is written to it; while it doesn't, the client isn't read."""
        opening = self._opening
        found = opening.search.numbered(link) if opening else self._later_link(link)
        if found is not None:
            found.writable = writable
            self.client_heard_at = now

    # -- events: time and the balancer ----------------------------------------------------------

    def tick(self, now: float) -> list[Command]:
        """To be called about every half second: deadlines and heartbeats."""
        if self._finished:
            return []
        if self._board is not None:
            if self._state in (ClientState.OPEN, ClientState.CLOSING):
                self._board.tick(now)
            if self._state is ClientState.CLOSING:
                self._check_closing(now)
        elif self._opening is not None:
            self._opening.tick(now)
        if self._deadline is not None and now >= self._deadline and not self._finished:
            self._deadline_passed(now)
        if self._state is ClientState.OPEN:
            self._check_client(now)
        return self._take_commands()

    def looked_up(self, lookup: Lookup, now: float) -> list[Command]:
        """A ``LookUp`` was carried out; the directory has what was found."""
        if self._board is not None and self._state is ClientState.OPEN:
            self._board.looked_up(lookup, now)
        return self._take_commands()

    def move_channels_off(self, node: NodeName, reason: MoveReason, now: float) -> list[Command]:
        """Leave a node, for as long as ``come_back`` isn't called."""
        if self._board is not None and self._state is ClientState.OPEN:
            self._board.now = now
            self._board.move_off(node, reason)
        return self._take_commands()

    def come_back(self, node: NodeName) -> None:
        """A node may be used again."""
        if self._board is not None:
            self._board.come_back(node)

    def move_home(self, node: NodeName, now: float) -> list[Command]:
        """Make another node the home of an open session."""
        if self._board is not None and self._state is ClientState.OPEN:
            self._board.now = now
            self._board.move_home(node)
        return self._take_commands()

    def shut_down(self, now: float, text: str) -> list[Command]:
        """The balancer stops, or this session must go: close it with 320."""
        if not self._finished and self._state is not ClientState.CLOSED_BY_US:
            self.close_client(ReplyCode.CONNECTION_FORCED, text, SessionEnd.SHUTDOWN, now)
        return self._take_commands()

    # -- for whoever has the links --------------------------------------------------------------

    def to_client(self, data: bytes, now: float) -> None:
        """Write to the client."""
        if data:
            self.bytes_out += len(data)
            self.client_sent_at = now
            self.out.append(SendClient(data))

    def hold_client(self, data: bytes) -> None:
        """Keep what can't be used yet, and read no more: at most one chunk is kept."""
        if not self.held:
            self.out.append(HoldClient(hold=True))
        self.held += data

    def release_client(self) -> bytes:
        """What was held; the client is read again."""
        held, self.held = self.held, b""
        if held:
            self.out.append(HoldClient(hold=False))
        return held

    def follow(self, move: ClientMove) -> None:
        """Take a step on the client's side. Raises IllegalMove."""
        self._state = follow(CLIENT, self._state, move)

    def speaks_foreign(self, search: HomeSearch, data: bytes, now: float) -> None:
        """The client's first bytes are of another protocol."""
        self.follow(ClientMove.FOREIGN_HEADER)
        self._opening = Foreign(self, search)
        self.hold_client(data)
        search.begin(now)

    def opened(self, home: Link, rest: bytes, now: float) -> None:
        """The handshake is done; ``rest`` is what the node has said since."""
        self._was_open = True
        self._budget.handshakes.add(now - self._opened_at)
        self._opening = None
        board = self._board = Switchboard(
            self,
            home,
            self._agreement,
            self._nodes,
            self._directory,
            self._budget,
            self._settings,
            now,
        )
        if held := self.release_client():
            board.client_data(held, now)
        if rest and board.link(home.id) is not None:
            board.link_data(home, rest, now)

    def client_closes(self, now: float) -> None:
        """connection.close came from the client."""
        self._end = SessionEnd.CLIENT_CLOSED, ""
        self._begin_closing(now)

    def _begin_closing(self, now: float) -> None:
        board = self._board
        if board is None:
            raise AssertionError("only an open session closes in order")
        self.follow(ClientMove.CLOSE)
        board.inbox.take()
        board.now = now
        board.hurry()
        if board.has_unsaid:
            self._deadline = now + UNSAID_TIMEOUT
        else:
            self._deadline = now + CLOSE_TIMEOUT
            board.begin_close()

    @property
    def _waits_for_unsaid(self) -> bool:
        board = self._board
        return self._state is ClientState.CLOSING and board is not None and not board.links.closing

    def _check_closing(self, now: float) -> None:
        """Go on with the close once everything the client said before it has been said."""
        board = self._board
        if board is not None and not board.links.closing and not board.has_unsaid:
            self._deadline = now + CLOSE_TIMEOUT
            board.begin_close()

    def links_closed(self, now: float) -> None:
        """Every node has answered the client's close."""
        self.to_client(encode_method_frame(0, ConnectionCloseOk()), now)
        self.finish(*(self._end or (SessionEnd.CLIENT_CLOSED, "")), CloseClient())

    def broker_closes(self, close: ConnectionClose, now: float) -> None:
        """A broker has closed the connection for a reason that is meant for the client."""
        if self._state is ClientState.OPEN:
            self.say_close(close, SessionEnd.BROKER_CLOSED, now)
            self._end = SessionEnd.BROKER_CLOSED, "the broker closed the connection"

    # -- closing --------------------------------------------------------------------------------

    def client_violation(self, violation: ProtocolViolation, now: float) -> None:
        """The client broke the protocol."""
        self.close_client(
            violation.code, violation.text, SessionEnd.CLIENT_BROKE_PROTOCOL, now, violation.method
        )

    def close_client(
        self,
        code: ReplyCode,
        text: str,
        reason: SessionEnd,
        now: float,
        method: tuple[int, int] = (0, 0),
    ) -> None:
        """Close for a reason of our own, with a text that says it."""
        reply = short_text(f"{code.name} - {text}")
        self.say_close(ConnectionClose(code, reply, *method), reason, now)

    def say_close(self, close: ConnectionClose, reason: SessionEnd, now: float) -> None:
        """Send connection.close if the protocol has room for it, and close either way."""
        detail = close.reply_text
        if self._board is not None:
            self._board.now = now
            self._board.links.close_all(politely=True)
        elif self._opening is not None:
            self._opening.search.abort()
            self._opening = None
        if self._state is ClientState.CLOSING:
            self.to_client(encode_method_frame(0, ConnectionCloseOk()), now)
        elif allowed(CLIENT, self._state, ClientMove.CLOSE_SENT):
            self.to_client(encode_method_frame(0, close), now)
            self.follow(ClientMove.CLOSE_SENT)
            self.release_client()
            self._end = reason, detail
            self._deadline = now + CLOSE_TIMEOUT
            return
        self.finish(reason, detail, CloseClient())

    def _client_data_after_close(self, data: bytes, now: float) -> None:
        """Only close-ok matters, or a close that crossed; the rest was sent before it knew."""
        joined = self._inbox.join(data)
        if joined is None:
            return
        pos = 0
        agreed = self._agreement.payload_limit(self._settings.max_frame)
        limit = max(agreed, HANDSHAKE_FRAME_LIMIT)
        reason, detail = self._end or (SessionEnd.BROKER_CLOSED, "")
        while True:
            try:
                found = scan(joined, pos, limit, _CONTENT)
            except ProtocolViolation:
                self.finish(reason, detail, AbortClient())
                return
            if found.verdict is Verdict.MORE:
                self._inbox.keep(joined[found.end :], found.next_end - found.end)
                return
            pos = found.next_end
            if found.channel == 0 and found.method in (ConnectionCloseOk.ID, ConnectionClose.ID):
                if found.method == ConnectionClose.ID:
                    self.to_client(encode_method_frame(0, ConnectionCloseOk()), now)
                self.finish(reason, detail, CloseClient())
                return

    def finish(
        self, reason: SessionEnd, detail: str, client: CloseClient | AbortClient | None = None
    ) -> None:
        """The one end. ``client`` says how its socket is closed; None: it is gone already."""
        if self._finished:
            raise AssertionError("a session ends once")
        self._finished = True
        self.follow(ClientMove.END)
        self._deadline = None
        self.held = b""
        self._inbox.take()
        if self._board is not None:
            self._board.links.close_all(politely=False)
            self._board.ended()
        elif self._opening is not None:
            self._opening.search.end()
            self._opening = None
        if client is not None:
            self.out.append(client)
        self.out.append(Finished(reason, printable(detail)))

    # -- time -----------------------------------------------------------------------------------

    def _check_client(self, now: float) -> None:
        tune_ok = self._agreement.tune_ok
        board = self._board
        if tune_ok is None or tune_ok.heartbeat == 0 or board is None:
            return
        interval = tune_ok.heartbeat
        if board.held_back or not board.links.take_all:
            self.client_heard_at = now  # it isn't read, and says nothing for that reason
        if now - self.client_heard_at > 2.0 * interval:
            silence = f"silent for {now - self.client_heard_at:.0f} s"
            self.finish(SessionEnd.CLIENT_SILENT, silence, AbortClient())
        elif self.client_writable and now - self.client_sent_at >= interval / 2 - 0.5:
            self.to_client(HEARTBEAT, now)

    def _deadline_passed(self, now: float) -> None:
        self._deadline = None
        if self._state is ClientState.CLOSING:
            self.to_client(encode_method_frame(0, ConnectionCloseOk()), now)
            self.finish(SessionEnd.CLIENT_CLOSED, "the broker's close-ok was late", CloseClient())
        else:
            self.finish(*(self._end or (SessionEnd.INTERNAL, "no reason kept")), AbortClient())

    # -- small things ---------------------------------------------------------------------------

    def _later_link(self, number: int) -> Link | None:
        """A link of an open session."""
        if self._board is None or self._finished:
            return None
        return self._board.link(number)

    def _take_commands(self) -> list[Command]:
        out, self.out = self.out, []
        return out if len(out) < 2 else coalesced(out)
