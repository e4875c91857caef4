"""One client's connection, from its first byte to its last, without I/O.

Theory of operation
-------------------
The shell tells what happened (``client_data``, ``link_connected``, ``link_lost``, ``tick`` ...) and
carries out the commands it gets back, in order. Time comes in with each event.

*Handshake.* The client's side and the link are two machines (``states``) that ``_advance`` keeps
in step. The client hears the broker's own connection.start and tune; what the client answers is
kept in an ``Agreement`` and played to the link. When a node fails half-way, a link to the next
node plays the same answers, and the client notices nothing but a pause. While it is the broker's
turn, what the client sends is held back and it isn't read.

*Open.* From open-ok on, a ``Switchboard`` has the session's channels and links; the session keeps
what is about the client: its heartbeats, its close, its end.

*End.* A session ends once, with one reason. A client is told why by connection.close where the
protocol has room for it: from start on. What a client said before it vanished is still said to the
broker, as a plain TCP proxy would do it.
"""

from collections.abc import Collection
from typing import Final, Protocol

from warrener.amqp.constants import (
    FRAME_METHOD,
    FRAME_OVERHEAD,
    HEARTBEAT,
    PROTOCOL_HEADER,
    PROTOCOL_HEADER_SIZE,
    ReplyCode,
)
from warrener.amqp.errors import ProtocolViolation, SyntaxViolation
from warrener.amqp.frames import Reassembly, Scan, Verdict, is_heartbeat, payload_of, scan
from warrener.amqp.methods import (
    BY_ID,
    ConnectionClose,
    ConnectionCloseOk,
    ConnectionOpen,
    ConnectionOpenOk,
    ConnectionSecure,
    ConnectionSecureOk,
    ConnectionStart,
    ConnectionStartOk,
    ConnectionTune,
    ConnectionTuneOk,
    decode_method,
    encode_method,
    encode_method_frame,
    printable,
    short_text,
)
from warrener.balancer.core.agreement import Agreement
from warrener.balancer.core.budget import Budget
from warrener.balancer.core.commands import (
    AbortClient,
    AbortLink,
    CloseClient,
    CloseLink,
    Command,
    Connect,
    Finished,
    HoldClient,
    SendClient,
    SendLink,
    coalesced,
)
from warrener.balancer.core.directory import Directory
from warrener.balancer.core.link import Link
from warrener.balancer.core.nodes import Chosen
from warrener.balancer.core.states import (
    CLIENT,
    HANDSHAKING,
    WAITING_FOR_BROKER,
    ClientMove,
    ClientState,
    LinkMove,
    LinkState,
    allowed,
    follow,
)
from warrener.balancer.core.switchboard import Switchboard
from warrener.facts.balance import Backend, SessionStatistics
from warrener.facts.ids import NodeName, SessionId
from warrener.facts.moves import ChannelStatistics
from warrener.facts.places import Lookup
from warrener.facts.reasons import MoveReason, SessionEnd, Unfit
from warrener.facts.settings import BalancerSettings

_CLASS_CHANNEL: Final = 20

_CONTENT: Final = frozenset(id_ for id_ in BY_ID if id_ >> 16 > _CLASS_CHANNEL)
"""Methods of channels, which matter no more once the connection is being closed."""

HANDSHAKE_FRAME_LIMIT: Final = 64 * 1024
"""Payload bytes of a frame before limits are agreed. Brokers take 4096 (newer ones 8192) and
answer larger ones themselves; this one only keeps memory bounded."""

CLOSE_TIMEOUT: Final = 5.0
"""Seconds a peer has for its close-ok before it is cut off."""

UNSAID_TIMEOUT: Final = 15.0
"""Seconds in which what a client said before its close must have found a node."""

RETRY_PAUSE: Final = 0.3
"""Seconds until nodes that failed in this handshake are tried again."""

_HEARD_THE_CLIENT: Final = frozenset(
    {LinkState.AWAIT_TUNE, LinkState.HAVE_SECURE, LinkState.HAVE_TUNE, LinkState.AWAIT_OPEN_OK}
)
"""A broker that hangs up here may do so for what the client said: RabbitMQ closes the socket
without a word, after 3 s, on a start-ok or tune-ok that it can't accept."""

_TUNE_OK: Final = (ConnectionTuneOk.ID >> 16, ConnectionTuneOk.ID & 0xFFFF)

HANG_UPS: Final = 2
"""So many brokers hang up on what a client says before it is taken for the client's fault."""

_NODE_TROUBLE: Final = frozenset({ReplyCode.CONNECTION_FORCED, ReplyCode.INTERNAL_ERROR})
"""Reply codes in a handshake that speak of the node, not of the client."""


class NodeChooser(Protocol):
    """What a session needs of the node table."""

    def choose(self, source: str, tried: Collection[NodeName] = ()) -> Chosen | None: ...
    def backend(self, name: NodeName) -> Backend | None: ...
    def all_fit(self) -> bool: ...
    def handshake_failed(self, name: NodeName, why: Unfit, detail: str) -> None: ...
    def session_added(self, name: NodeName) -> None: ...
    def session_removed(self, name: NodeName) -> None: ...
    def unfit(self, name: NodeName) -> Unfit | None: ...


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
        "_hang_ups",
        "_held",
        "_home",
        "_last_link",
        "_last_refusal",
        "_limit",
        "_nodes",
        "_opened_at",
        "_retry_at",
        "_settings",
        "_state",
        "_tried",
        "_waiting_since",
        "_was_open",
        "bytes_in",
        "bytes_out",
        "client",
        "client_heard_at",
        "client_sent_at",
        "client_writable",
        "id",
        "inbox",
        "out",
        "source",
    )

    def __init__(
        self,
        id_: SessionId,
        client: str,
        source: str,
        nodes: NodeChooser,
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
        self._home: Link | None = None
        self._last_link = 0
        self._agreement = Agreement(client)
        self._directory = directory or Directory()
        self._budget = budget or Budget(settings.journal_total)
        self._board: Switchboard | None = None  # once it is open
        self._client_gone = False
        self.out: list[Command] = []
        self._held = b""  # sent by the client while it is the broker's turn
        self._limit = HANDSHAKE_FRAME_LIMIT  # largest payload from the client
        self._tried: set[NodeName] = set()
        self._last_refusal: tuple[int, str] | None = None
        self._retry_at: float | None = None
        self._waiting_since: float | None = None  # no node could be chosen since then
        self._deadline: float | None = now + settings.handshake_timeout
        self._end: tuple[SessionEnd, str] | None = None  # why it is closing
        self._finished = False
        self._hang_ups = 0  # in this handshake, after the client was heard
        self._was_open = False
        self._opened_at = now
        self.inbox = Reassembly()
        self.bytes_in = 0
        self.bytes_out = 0
        self.client_heard_at = now
        self.client_sent_at = now
        self.client_writable = True  # it takes what is written to it

    def __repr__(self) -> str:
        home = self._first_link()
        where = f" home={home.backend.name} {home.state.name}" if home else ""
        return f"<Session {self.id} {self.client} {self._state.name}{where}>"

    # -- what can be asked ----------------------------------------------------------------------

    @property
    def state(self) -> ClientState:
        """The client's side."""
        return self._state

    @property
    def node(self) -> NodeName | None:
        """The node of the session's home."""
        home = self._first_link()
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
            return self._board.uses(node)
        return self._home is not None and self._home.backend.name == node

    def is_at(self, node: NodeName) -> bool:
        """Whether it and all its channels are on this node."""
        return self._board is not None and self._board.is_at(node)

    def goes_home_to(self, node: NodeName) -> bool:
        """Whether it has been told to have its home on this node, and still may."""
        board = self._board
        return board is not None and node in (board.wanted_home, self.node)

    def channels(self) -> tuple[ChannelStatistics, ...]:
        """Where each channel is and why."""
        if self._board is None:
            return ()
        return tuple(
            channel.statistics(self.id, self.client)
            for _, channel in sorted(self._board.channels.items())
        )

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
            state="blocked" if board and board.blocked else self._state.name.lower(),
            channels=len(channels),
            opened_at=self._opened_at,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            published=self.published,
            delivered=self.delivered,
            links=board.links() if board else (),
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
        elif state is ClientState.FOREIGN:
            self._foreign_data(data)
        elif state in WAITING_FOR_BROKER:
            self._hold(data)
        elif state is ClientState.CLOSED_BY_US:
            self._client_data_after_close(data, now)
        elif state in HANDSHAKING:
            joined = self.inbox.join(data)
            if joined is not None:
                self._client_handshake(joined, now)
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
            self._finish(*(self._end or reason))
        else:
            self._finish(*(self._end or (SessionEnd.CLIENT_CLOSED, "")))
        return self._take_commands()

    # -- events: the link -----------------------------------------------------------------------

    def link_connected(self, link: int, now: float) -> list[Command]:
        """The TCP connection of a link stands."""
        if (later := self._later_link(link)) is not None and self._board is not None:
            later.heard_at = later.sent_at = now
            self._board.now = now
            self._board.link_connected(later, now)
            self._send_link(later, PROTOCOL_HEADER, now)
            return self._take_commands()
        home = self._link(link)
        if home is not None:
            home.heard_at = home.sent_at = now
            if self._state is ClientState.FOREIGN:
                home.follow(LinkMove.CONNECTED_FOREIGN)
                home.deadline = self._deadline = None
                if self._held:
                    self._send_link(home, self._held, now)
                    self._release()
            else:
                home.follow(LinkMove.CONNECTED)
                self._send_link(home, PROTOCOL_HEADER, now)
        return self._take_commands()

    def link_data(self, link: int, data: bytes, now: float) -> list[Command]:
        """Bytes from a node."""
        if (board := self._board) is not None:
            later = self._later_link(link)
            if later is not None and self._state is not ClientState.CLOSED_BY_US:
                later.heard_at = now
                board.link_data(later, data, now)
            return self._take_commands()
        home = self._link(link)
        if home is None:
            return []
        home.heard_at = now
        if home.state is LinkState.FOREIGN:
            self._send_client(data, now)
            return self._take_commands()
        joined = home.inbox.join(data)
        if joined is not None:
            if home.state is LinkState.AWAIT_START and joined.startswith(b"AMQP"):
                self._node_failed(home, Unfit.NOT_AMQP, "offers another protocol version", now)
            else:
                self._link_frames(joined, home, now)
        return self._take_commands()

    def link_lost(
        self, link: int, now: float, detail: str, unfit: Unfit = Unfit.REFUSES
    ) -> list[Command]:
        """A link couldn't be connected, or broke."""
        if self._board is not None:
            if (later := self._later_link(link)) is not None:
                self._board.link_lost(later, now, unfit, detail)
            return self._take_commands()
        home = self._link(link)
        if home is not None:
            self._node_failed(home, unfit, detail, now, gone=True)
        return self._take_commands()

    def link_impossible(self, link: int, now: float, detail: str) -> list[Command]:
        """A link couldn't be opened, and that is this machine's fault, not the node's."""
        if self._board is not None:
            if (later := self._later_link(link)) is not None:
                self._board.link_impossible(later, now)
            return self._take_commands()
        home = self._link(link)
        if home is not None:
            self._drop_home(None)
            self._close_client(ReplyCode.RESOURCE_ERROR, detail, SessionEnd.LIMIT, now)
        return self._take_commands()

    def set_client_writable(self, writable: bool, now: float) -> None:
        """Whether the client takes what is written to it; while it doesn't, the link isn't read."""
        self.client_writable = writable
        if self._board is not None:
            self._board.heard_all(now)
        elif self._home is not None:
            self._home.heard_at = now

    def set_link_writable(self, link: int, writable: bool, now: float) -> None:
        """Whether a node takes what is written to it; while it doesn't, the client isn't read."""
        home = self._later_link(link) or self._link(link)
        if home is not None:
            home.writable = writable
            self.client_heard_at = now

    # -- events: time and the balancer ----------------------------------------------------------

    def tick(self, now: float) -> list[Command]:
        """To be called about every half second: deadlines and heartbeats."""
        if self._finished:
            return []
        home = self._home
        if self._board is not None:
            if self._state in (ClientState.OPEN, ClientState.CLOSING):
                self._board.tick(now)
            if self._state is ClientState.CLOSING:
                self._check_closing(now)
        elif home is not None:
            self._check_link(home, now)
        elif self._retry_at is not None and now >= self._retry_at:
            self._tried.clear()
            self._open_home(now)
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
            self._close_client(ReplyCode.CONNECTION_FORCED, text, SessionEnd.SHUTDOWN, now)
        return self._take_commands()

    # -- the link until it is open --------------------------------------------------------------

    def _link_frames(self, data: bytes, home: Link, now: float) -> None:
        """Frames from a node in the handshake."""
        pos = 0
        limit = self._settings.max_frame
        while self._state is not ClientState.CLOSED_BY_US:
            try:
                found = scan(data, pos, limit, ())
                if found.verdict is Verdict.MORE:
                    break
                pos = found.next_end
                if not is_heartbeat(found.kind):
                    self._link_method_in_handshake(found, data, home, now)
            except ProtocolViolation as violation:
                self._node_failed(home, Unfit.NOT_AMQP, violation.text, now)
                return
            if self._board is not None:
                if pos < len(data) and self._board.link(home.id) is not None:
                    self._board.link_data(home, data[pos:], now)
                return
            if self._home is not home or self._finished:
                return
        else:
            return  # the client was told to close: what the broker still says is for nobody
        home.inbox.keep(data[pos:], found.next_end - pos)

    def _send_client(self, data: bytes, now: float) -> None:
        if data:
            self.bytes_out += len(data)
            self.client_sent_at = now
            self.out.append(SendClient(data))

    def _send_link(self, link: Link, data: bytes, now: float) -> None:
        if data:
            link.sent_at = now
            self.out.append(SendLink(link.id, data))

    # -- the client's handshake -----------------------------------------------------------------

    def _client_handshake(self, data: bytes, now: float) -> None:
        """Bytes from a client that isn't open yet, while it is the client's turn."""
        pos = 0
        if self._state is ClientState.AWAIT_HEADER:
            head = data[:PROTOCOL_HEADER_SIZE]
            if head != PROTOCOL_HEADER[: len(head)]:
                self._follow(ClientMove.FOREIGN_HEADER)
                self._hold(data)
                self._open_home(now)
                return
            if len(head) < PROTOCOL_HEADER_SIZE:
                self.inbox.keep(data, PROTOCOL_HEADER_SIZE)
                return
            pos = PROTOCOL_HEADER_SIZE
            self._follow(ClientMove.HEADER)
            self._open_home(now)
        while pos < len(data) and self._state in HANDSHAKING:
            if self._state in WAITING_FOR_BROKER:
                self._hold(data[pos:])
                return
            try:
                found = scan(data, pos, self._limit, ())
                if found.verdict is Verdict.MORE:
                    self.inbox.keep(data[pos:], found.next_end - pos)
                    return
                payload = payload_of(data, found.end, found.next_end)
                pos = found.next_end
                if not is_heartbeat(found.kind):
                    self._client_method_in_handshake(found, payload, now)
            except ProtocolViolation as violation:
                self._client_violation(violation, now)
                return
        if pos < len(data) and self._state is ClientState.OPEN:
            raise AssertionError("a session opens when the broker speaks, not when the client does")

    def _client_method_in_handshake(self, found: Scan, payload: bytes, now: float) -> None:
        if found.kind != FRAME_METHOD or found.channel:
            raise ProtocolViolation(
                ReplyCode.UNEXPECTED_FRAME,
                f"frame type {found.kind} on channel {found.channel} before connection.open",
            )
        method = decode_method(payload)
        agreement = self._agreement
        match method, self._state:
            case ConnectionStartOk(), ClientState.AWAIT_START_OK:
                agreement.take_start_ok(method, payload)
                self._follow(ClientMove.START_OK)
            case ConnectionSecureOk(), ClientState.AWAIT_SECURE_OK:
                self._follow(ClientMove.SECURE_OK)
                home = self._home
                if home is None or home.state is not LinkState.HAVE_SECURE:
                    raise AssertionError("a challenge without the link it came from")
                home.follow(LinkMove.SECURE_OK)
                self._set_step_deadline(home, now)
                self._send_link(home, encode_method_frame(0, method), now)
            case ConnectionTuneOk(), ClientState.AWAIT_TUNE_OK:
                if objection := agreement.objection(method):
                    raise ProtocolViolation(ReplyCode.NOT_ALLOWED, objection, _TUNE_OK)
                agreement.tune_ok = method
                frame_max = method.frame_max or self._settings.max_frame
                self._limit = max(frame_max - FRAME_OVERHEAD, 0)
                self._follow(ClientMove.TUNE_OK)
            case ConnectionOpen(), ClientState.AWAIT_OPEN:
                agreement.open = method
                self._follow(ClientMove.OPEN)
            case ConnectionClose(), _ if allowed(CLIENT, self._state, ClientMove.CLOSE):
                self._send_client(encode_method_frame(0, ConnectionCloseOk()), now)
                self._finish(SessionEnd.CLIENT_CLOSED, "before it was open", CloseClient())
            case _:
                raise ProtocolViolation(
                    ReplyCode.COMMAND_INVALID,
                    f"{method.name()} may not come in a handshake at this point",
                    (method.ID >> 16, method.ID & 0xFFFF),
                )
        self._advance(now)

    def _hold(self, data: bytes) -> None:
        """Keep what can't be used yet, and read no more: at most one chunk is kept."""
        if not self._held:
            self.out.append(HoldClient(hold=True))
        self._held += data

    def _release(self) -> bytes:
        """What was held; the client is read again."""
        held, self._held = self._held, b""
        if held:
            self.out.append(HoldClient(hold=False))
        return held

    def _foreign_data(self, data: bytes) -> None:
        home = self._home
        if home is not None and home.state is LinkState.FOREIGN:
            self.out.append(SendLink(home.id, data))
        else:
            self._hold(data)

    # -- the link's handshake -------------------------------------------------------------------

    def _link_method_in_handshake(self, found: Scan, data: bytes, home: Link, now: float) -> None:
        if found.kind != FRAME_METHOD:
            raise SyntaxViolation(f"frame type {found.kind} in a handshake")
        payload = payload_of(data, found.end, found.next_end)
        method = decode_method(payload)
        match method, home.state:
            case ConnectionStart(), LinkState.AWAIT_START:
                home.follow(LinkMove.START)
                home.deadline = None
                if self._state is ClientState.AWAIT_START:
                    self._follow(ClientMove.START)
                    self._send_client(data[found.end : found.next_end], now)
            case ConnectionSecure(), LinkState.AWAIT_TUNE:
                home.follow(LinkMove.SECURE)
                home.deadline = None
                if self._state is ClientState.AWAIT_TUNE:
                    self._agreement.replayable = False
                    self._follow(ClientMove.SECURE)
                    self._send_client(data[found.end : found.next_end], now)
                else:
                    raise SyntaxViolation("a challenge that the client can't be asked any more")
            case ConnectionTune(), LinkState.AWAIT_TUNE:
                home.follow(LinkMove.TUNE)
                home.deadline = None
                if not self._agreement.fits(method):
                    text = "offers smaller limits than were agreed"
                    self._node_failed(home, Unfit.NOT_AMQP, text, now, blame=False)
                    return
                if self._state is ClientState.AWAIT_TUNE:
                    self._agreement.tune = method
                    self._follow(ClientMove.TUNE)
                    self._send_client(data[found.end : found.next_end], now)
            case ConnectionOpenOk(), LinkState.AWAIT_OPEN_OK:
                home.follow(LinkMove.OPEN_OK)
                home.deadline = None
                if self._state is not ClientState.AWAIT_OPEN_OK:
                    raise AssertionError(f"a link opened for a client in {self._state}")
                self._follow(ClientMove.OPEN_OK)
                self._was_open = True
                self._deadline = None
                self._send_client(data[found.end : found.next_end], now)
                self._board = Switchboard(
                    self,
                    home,
                    self._agreement,
                    self._nodes,
                    self._directory,
                    self._budget,
                    self._settings,
                    self._limit,
                    now,
                )
                self._home = None  # the switchboard's now
                if held := self._release():
                    self._board.client_data(held, now)
                return
            case ConnectionClose(), _:
                self._refused(method, home, now)
            case _:
                raise SyntaxViolation(f"{method.name()} is out of place in a handshake")
        self._advance(now)

    def _refused(self, close: ConnectionClose, home: Link, now: float) -> None:
        """The broker closed a link in its handshake: for the node's sake, or the client's?"""
        self._send_link(home, encode_method_frame(0, ConnectionCloseOk()), now)
        full = "node connection limit" in close.reply_text
        if close.reply_code in _NODE_TROUBLE or full:
            self._last_refusal = close.reply_code, close.reply_text
            # A vhost that is down, or a full node, is passed over; that says nothing against the
            # node as a whole. 320 does: it is shutting down or in maintenance.
            blame = close.reply_code == ReplyCode.CONNECTION_FORCED
            self._node_failed(home, Unfit.REFUSES, close.reply_text, now, polite=True, blame=blame)
            return
        denied = close.reply_code in (ReplyCode.ACCESS_REFUSED, ReplyCode.NOT_ALLOWED)
        reason = SessionEnd.ACCESS_REFUSED if denied else SessionEnd.BROKER_CLOSED
        silent = home.state is LinkState.AWAIT_TUNE and not self._agreement.announces_auth_close
        self._drop_home(CloseLink(home.id))
        if silent:
            self._finish(reason, close.reply_text, CloseClient())
        else:
            self._say_close(close, reason, now)

    def _advance(self, now: float) -> None:
        """Give each side what the other has ready, until nothing moves."""
        home = self._home
        if home is None or self._finished:
            return
        agreement = self._agreement
        if home.state is LinkState.HAVE_START and agreement.link_start_ok:
            home.follow(LinkMove.START_OK)
            self._set_step_deadline(home, now)
            self._send_link_method(home, agreement.link_start_ok, now)
        if home.state is LinkState.HAVE_TUNE and agreement.open is not None:
            home.follow(LinkMove.OPEN)
            self._set_step_deadline(home, now)
            home.heartbeat = self._settings.link_heartbeat
            self._send_link_method(home, agreement.link_tune_ok(home.heartbeat), now)
            self._send_link_method(home, encode_method(agreement.open), now)
        if self._held and self._state in HANDSHAKING - WAITING_FOR_BROKER:
            self._client_handshake(self._release(), now)

    def _send_link_method(self, link: Link, payload: bytes, now: float) -> None:
        frame = b"\x01\x00\x00" + len(payload).to_bytes(4) + payload + b"\xce"
        self._send_link(link, frame, now)

    def _set_step_deadline(self, link: Link, now: float) -> None:
        """Half of the time that is left: enough for slow authentication, and for another node."""
        left = (self._deadline or now) - now
        link.deadline = now + max(left / 2, 1.0)

    # -- homes come and go ----------------------------------------------------------------------

    def _open_home(self, now: float) -> None:
        """Choose a node and open a link to it."""
        chosen = self._nodes.choose(self.source, self._tried)
        if chosen is None:
            refusal = self._last_refusal
            if refusal is not None and refusal[0] != ReplyCode.CONNECTION_FORCED:
                self._give_up(now)  # every node has answered; asking again would change nothing
                return
            if self._waiting_since is None:
                self._waiting_since = now
            self._retry_at = now + RETRY_PAUSE
            if now - self._waiting_since >= self._settings.connect_timeout:
                self._give_up(now)
            return
        self._retry_at = None
        self._last_link += 1
        self._home = Link(self._last_link, chosen.backend, now, self._settings.connect_timeout)
        self._nodes.session_added(chosen.backend.name)
        self.out.append(Connect(self._last_link, chosen.backend))

    def _drop_home(self, how: CloseLink | AbortLink | None) -> None:
        """The home is no longer the session's; the shell closes it as ``how`` says."""
        home = self._home
        if home is None:
            return
        self._home = None
        self._nodes.session_removed(home.backend.name)
        home.follow(LinkMove.END)
        if how is not None:
            self.out.append(how)

    def _node_failed(
        self,
        home: Link,
        why: Unfit,
        detail: str,
        now: float,
        *,
        gone: bool = False,
        polite: bool = False,
        blame: bool = True,
    ) -> None:
        """A link broke, hangs or makes no sense. ``gone``: its socket is closed already.

        ``blame``: in a handshake, it counts against the node's fitness.
        """
        name = home.backend.name
        was_connected = home.state is not LinkState.CONNECTING
        hung_up = gone and home.state in _HEARD_THE_CLIENT
        self._drop_home(None if gone else CloseLink(home.id) if polite else AbortLink(home.id))
        if self._state is ClientState.CLOSED_BY_US:
            return  # the client knows why already
        if self._state is ClientState.CLOSING:
            self._send_client(encode_method_frame(0, ConnectionCloseOk()), now)
            self._finish(SessionEnd.CLIENT_CLOSED, "", CloseClient())
            return
        if self._state is ClientState.FOREIGN and was_connected:
            reason = SessionEnd.BROKER_CLOSED if gone else SessionEnd.NODE_SILENT
            self._finish(reason, detail, CloseClient())
            return
        if self._state in HANDSHAKING or self._state is ClientState.FOREIGN:
            self._retry(name, why, detail, now, hung_up=hung_up, blame=blame and not hung_up)
            return
        silent = why is Unfit.HANGS
        self._close_client(
            ReplyCode.CONNECTION_FORCED,
            f"node {name} was lost ({detail}); connect again to reach another node",
            SessionEnd.NODE_SILENT if silent else SessionEnd.NODE_LOST,
            now,
        )

    def _retry(
        self, name: NodeName, why: Unfit, detail: str, now: float, *, hung_up: bool, blame: bool
    ) -> None:
        """A node failed in the handshake: the next one, within the client's time.

        ``hung_up``: it may have done so because of the client. That is no evidence against the
        node (else one bad client would make them all unfit), and after a second one it is evidence
        against the client.
        """
        agreement = self._agreement
        if agreement.link_start_ok and not agreement.tells_auth_failures and why is not Unfit.HANGS:
            # A broker that closes without a word after start-ok may mean the password.
            self._finish(SessionEnd.ACCESS_REFUSED, detail, CloseClient())
            return
        self._hang_ups += hung_up
        if self._hang_ups >= HANG_UPS:
            self._close_client(
                ReplyCode.CONNECTION_FORCED,
                f"{HANG_UPS} times a node hung up on this handshake without a word, the last time "
                f"{name} ({detail}); its log says why",
                SessionEnd.BROKER_CLOSED,
                now,
            )
            return
        if blame:
            self._nodes.handshake_failed(name, why, printable(detail))
        self._tried.add(name)
        if not agreement.replayable:
            self._close_client(
                ReplyCode.CONNECTION_FORCED,
                f"node {name} ended this handshake ({detail}), and a handshake of this kind can't "
                f"be repeated on another node",
                SessionEnd.NODE_LOST,
                now,
            )
            return
        if self._deadline is not None and now >= self._deadline:
            self._give_up(now)
            return
        self._open_home(now)

    def _give_up(self, now: float) -> None:
        """No node to be had."""
        tried = ", ".join(sorted(self._tried))
        detail = f"tried {tried}" if tried else "no node is up"
        if self._last_refusal is not None:
            code, text = self._last_refusal
            self._say_close(ConnectionClose(code, text), SessionEnd.NO_FIT_NODE, now)
            return
        self._close_client(
            ReplyCode.CONNECTION_FORCED,
            f"no node can take this connection now ({detail}); try again later",
            SessionEnd.NO_FIT_NODE,
            now,
        )

    # -- open: what the switchboard can't decide ------------------------------------------------

    def client_closes(self, now: float) -> None:
        """connection.close came from the client."""
        self._end = SessionEnd.CLIENT_CLOSED, ""
        self._begin_closing(now)

    def _begin_closing(self, now: float) -> None:
        board = self._board
        if board is None:
            raise AssertionError("only an open session closes in order")
        self._follow(ClientMove.CLOSE)
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
        return self._state is ClientState.CLOSING and board is not None and not board.closing

    def _check_closing(self, now: float) -> None:
        """Go on with the close once everything the client said before it has been said."""
        board = self._board
        if board is not None and not board.closing and not board.has_unsaid:
            self._deadline = now + CLOSE_TIMEOUT
            board.begin_close()

    def links_closed(self, now: float) -> None:
        """Every node has answered the client's close."""
        self._send_client(encode_method_frame(0, ConnectionCloseOk()), now)
        self._finish(*(self._end or (SessionEnd.CLIENT_CLOSED, "")), CloseClient())

    def broker_closes(self, close: ConnectionClose, now: float) -> None:
        """A broker has closed the connection for a reason that is meant for the client."""
        if self._state is ClientState.OPEN:
            self._say_close(close, SessionEnd.BROKER_CLOSED, now)
            self._end = SessionEnd.BROKER_CLOSED, "the broker closed the connection"

    def client_violation(self, violation: ProtocolViolation, now: float) -> None:
        """The client broke the protocol."""
        self._client_violation(violation, now)

    def close_client(self, code: ReplyCode, text: str, reason: SessionEnd, now: float) -> None:
        """Close for a reason of the balancer's."""
        self._close_client(code, text, reason, now)

    # -- closing --------------------------------------------------------------------------------

    def _client_violation(self, violation: ProtocolViolation, now: float) -> None:
        self._close_client(
            violation.code, violation.text, SessionEnd.CLIENT_BROKE_PROTOCOL, now, violation.method
        )

    def _close_client(
        self,
        code: ReplyCode,
        text: str,
        reason: SessionEnd,
        now: float,
        method: tuple[int, int] = (0, 0),
    ) -> None:
        """Close for a reason of our own, with a text that says it."""
        reply = short_text(f"{code.name} - {text}")
        self._say_close(ConnectionClose(code, reply, *method), reason, now)

    def _say_close(self, close: ConnectionClose, reason: SessionEnd, now: float) -> None:
        """Send connection.close if the protocol has room for it, and close either way."""
        detail = close.reply_text
        home = self._home
        if self._board is not None:
            self._board.now = now
            self._board.close_links(politely=True)
        elif home is not None:
            self._drop_home(AbortLink(home.id))
        if self._state is ClientState.CLOSING:
            self._send_client(encode_method_frame(0, ConnectionCloseOk()), now)
        elif allowed(CLIENT, self._state, ClientMove.CLOSE_SENT):
            self._send_client(encode_method_frame(0, close), now)
            self._follow(ClientMove.CLOSE_SENT)
            self._retry_at = None
            self._release()
            self.inbox.take()
            self._end = reason, detail
            self._deadline = now + CLOSE_TIMEOUT
            return
        self._finish(reason, detail, CloseClient())

    def _client_data_after_close(self, data: bytes, now: float) -> None:
        """Only close-ok matters, or a close that crossed; the rest was sent before it knew."""
        joined = self.inbox.join(data)
        if joined is None:
            return
        pos = 0
        reason, detail = self._end or (SessionEnd.BROKER_CLOSED, "")
        while True:
            try:
                found = scan(joined, pos, max(self._limit, HANDSHAKE_FRAME_LIMIT), _CONTENT)
            except ProtocolViolation:
                self._finish(reason, detail, AbortClient())
                return
            if found.verdict is Verdict.MORE:
                self.inbox.keep(joined[found.end :], found.next_end - found.end)
                return
            pos = found.next_end
            if found.channel == 0 and found.method in (ConnectionCloseOk.ID, ConnectionClose.ID):
                if found.method == ConnectionClose.ID:
                    self._send_client(encode_method_frame(0, ConnectionCloseOk()), now)
                self._finish(reason, detail, CloseClient())
                return

    def _finish(
        self, reason: SessionEnd, detail: str, client: CloseClient | AbortClient | None = None
    ) -> None:
        """The one end. ``client`` says how its socket is closed; None: it is gone already."""
        if self._finished:
            raise AssertionError("a session ends once")
        self._finished = True
        self._follow(ClientMove.END)
        self._deadline = None
        self._retry_at = None
        self._held = b""
        self.inbox.take()
        if self._board is not None:
            self._board.close_links(politely=False)
            self._board.ended()
        home = self._home
        if home is not None:
            connecting = home.state is LinkState.CONNECTING
            self._drop_home(AbortLink(home.id) if connecting else CloseLink(home.id))
        if client is not None:
            self.out.append(client)
        self.out.append(Finished(reason, printable(detail)))

    # -- time -----------------------------------------------------------------------------------

    def _check_link(self, home: Link, now: float) -> None:
        if home.deadline is not None and now >= home.deadline:
            step = "connection" if home.state is LinkState.CONNECTING else "answer"
            self._node_failed(home, Unfit.HANGS, f"no {step} in time", now)
            return

    def _check_client(self, now: float) -> None:
        tune_ok = self._agreement.tune_ok
        board = self._board
        if tune_ok is None or tune_ok.heartbeat == 0 or board is None:
            return
        interval = tune_ok.heartbeat
        if board.held_back or not board.takes_all:
            self.client_heard_at = now  # it isn't read, and says nothing for that reason
        if now - self.client_heard_at > 2.0 * interval:
            silence = f"silent for {now - self.client_heard_at:.0f} s"
            self._finish(SessionEnd.CLIENT_SILENT, silence, AbortClient())
        elif self.client_writable and now - self.client_sent_at >= interval / 2 - 0.5:
            self._send_client(HEARTBEAT, now)

    def _deadline_passed(self, now: float) -> None:
        self._deadline = None
        state = self._state
        if state in WAITING_FOR_BROKER or state is ClientState.FOREIGN:
            self._give_up(now)
        elif state in HANDSHAKING:
            detail = f"{state.name.lower()} for too long"
            self._finish(SessionEnd.CLIENT_SLOW_HANDSHAKE, detail, CloseClient())
        elif state is ClientState.CLOSING:
            self._send_client(encode_method_frame(0, ConnectionCloseOk()), now)
            self._finish(SessionEnd.CLIENT_CLOSED, "the broker's close-ok was late", CloseClient())
        else:
            self._finish(*(self._end or (SessionEnd.INTERNAL, "no reason kept")), AbortClient())

    # -- small things ---------------------------------------------------------------------------

    def _first_link(self) -> Link | None:
        return self._board.home if self._board is not None else self._home

    def _later_link(self, number: int) -> Link | None:
        """A link of an open session."""
        if self._board is None or self._finished:
            return None
        return self._board.link(number)

    def _link(self, number: int) -> Link | None:
        """The link of that number, unless the session has dropped it since."""
        home = self._home
        return home if home is not None and home.id == number and not self._finished else None

    def _follow(self, move: ClientMove) -> None:
        self._state = follow(CLIENT, self._state, move)

    def _take_commands(self) -> list[Command]:
        out, self.out = self.out, []
        return out if len(out) < 2 else coalesced(out)
