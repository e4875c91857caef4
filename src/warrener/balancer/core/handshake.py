"""A session's handshake, from its first byte to open-ok: relayed, and repeated on another node.

The client's side and the link to a node are two machines (``states``) that ``_advance`` keeps in
step. The client hears the broker's own connection.start and tune; what it answers is kept in the
``Agreement`` and said to the link. When a node fails half-way, the next one (``HomeSearch``) hears
the same answers, and the client notices nothing but a pause:

    client ── start-ok, tune-ok, open ──► Agreement ── the same, and a little more ──► link
    client ◄── start, secure, tune, open-ok, each once, as the broker said it ──────── link

While it is the broker's turn, what the client sends is held back and it isn't read.

Not every end of a link speaks against its node. RabbitMQ hangs up without a word on a start-ok or
tune-ok that it can't accept (a *hang-up*): that is put down to the client when it happens twice. A
connection.close may be about the node (320, 541, its connection limit), and then the next node is
asked; or about the client (a wrong password, an unknown vhost), who is told as the broker told it.

With open-ok the link is handed to the session, which makes its ``Switchboard``, and the handshake
is forgotten; the agreement stays, for links to further nodes.
"""

from typing import Final, Protocol

from warrener.amqp.constants import (
    FRAME_METHOD,
    PROTOCOL_HEADER,
    PROTOCOL_HEADER_SIZE,
    ReplyCode,
)
from warrener.amqp.errors import ProtocolViolation, SyntaxViolation
from warrener.amqp.frames import Reassembly, Scan, Verdict, is_heartbeat, payload_of, scan
from warrener.amqp.methods import (
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
    encode_method_frame,
)
from warrener.balancer.core.agreement import Agreement
from warrener.balancer.core.commands import AbortLink, CloseClient, CloseLink, Command, SendLink
from warrener.balancer.core.home import HomeSearch
from warrener.balancer.core.link import Link
from warrener.balancer.core.states import (
    CLIENT,
    HANDSHAKING,
    WAITING_FOR_BROKER,
    ClientMove,
    ClientState,
    LinkMove,
    LinkState,
    allowed,
)
from warrener.facts.reasons import SessionEnd, Unfit
from warrener.facts.settings import BalancerSettings

HANG_UPS: Final = 2
"""So many brokers hang up on what a client says before it is taken for the client's fault."""

_HEARD_THE_CLIENT: Final = frozenset(
    {LinkState.AWAIT_TUNE, LinkState.HAVE_SECURE, LinkState.HAVE_TUNE, LinkState.AWAIT_OPEN_OK}
)
"""A broker that hangs up here may do so for what the client said: RabbitMQ closes the socket
without a word, after 3 s, on a start-ok or tune-ok that it can't accept."""

_CLIENTS_TURN: Final = HANDSHAKING - WAITING_FOR_BROKER

_TUNE_OK: Final = (ConnectionTuneOk.ID >> 16, ConnectionTuneOk.ID & 0xFFFF)

_NODE_TROUBLE: Final = frozenset({ReplyCode.CONNECTION_FORCED, ReplyCode.INTERNAL_ERROR})
"""Reply codes in a handshake that speak of the node, not of the client."""


class Around(Protocol):
    """What a handshake needs of the session around it."""

    out: list[Command]

    @property
    def state(self) -> ClientState: ...
    def follow(self, move: ClientMove) -> None: ...
    def hold_client(self, data: bytes) -> None: ...
    def release_client(self) -> bytes: ...
    def to_client(self, data: bytes, now: float) -> None: ...
    def speaks_foreign(self, search: HomeSearch, data: bytes, now: float) -> None: ...
    def opened(self, home: Link, rest: bytes, now: float) -> None: ...
    def client_violation(self, violation: ProtocolViolation, now: float) -> None: ...
    def close_client(self, code: ReplyCode, text: str, reason: SessionEnd, now: float) -> None: ...
    def say_close(self, close: ConnectionClose, reason: SessionEnd, now: float) -> None: ...
    def finish(self, reason: SessionEnd, detail: str, client: CloseClient) -> None: ...


class Handshake:
    """See the module. It ends when the session is told that it is open, speaks another protocol, or
    has to close."""

    __slots__ = ("_agreement", "_around", "_hang_ups", "_inbox", "_settings", "search")

    def __init__(
        self, around: Around, search: HomeSearch, agreement: Agreement, settings: BalancerSettings
    ) -> None:
        self.search = search
        self._around = around
        self._agreement = agreement
        self._settings = settings
        self._inbox = Reassembly()
        self._hang_ups = 0  # after the client was heard

    # -- events ---------------------------------------------------------------------------------

    def client_data(self, data: bytes, now: float) -> None:
        """Bytes from the client."""
        if self._around.state in WAITING_FOR_BROKER:
            self._around.hold_client(data)
            return
        joined = self._inbox.join(data)
        if joined is not None:
            self._client_frames(joined, now)

    def link_connected(self, link: Link, now: float) -> None:
        """The TCP connection of the link stands."""
        link.follow(LinkMove.CONNECTED)
        self._to_link(link, PROTOCOL_HEADER, now)

    def link_data(self, link: Link, data: bytes, now: float) -> None:
        """Bytes from the node."""
        joined = link.inbox.join(data)
        if joined is None:
            return
        if link.state is LinkState.AWAIT_START and joined.startswith(b"AMQP"):
            self._node_failed(link, now, Unfit.NOT_AMQP, "offers another protocol version")
        else:
            self._link_frames(link, joined, now)

    def link_lost(self, link: Link, now: float, why: Unfit, detail: str) -> None:
        """The link couldn't be connected, or broke."""
        hung_up = link.state in _HEARD_THE_CLIENT
        self.search.drop(None)
        self._retry(link, now, why, detail, hung_up=hung_up, blame=not hung_up)

    def tick(self, now: float) -> None:
        """To be called about every half second."""
        link = self.search.link
        if link is None:
            self.search.tick(now)
        elif link.deadline is not None and now >= link.deadline:
            step = "connection" if link.state is LinkState.CONNECTING else "answer"
            self._node_failed(link, now, Unfit.HANGS, f"no {step} in time")
        state = self._around.state
        if state in HANDSHAKING and self.search.overdue(now):
            if state in WAITING_FOR_BROKER:
                self.search.give_up(now)
            else:
                detail = f"{state.name.lower()} for too long"
                self._around.finish(SessionEnd.CLIENT_SLOW_HANDSHAKE, detail, CloseClient())

    # -- the client's side ----------------------------------------------------------------------

    def _client_frames(self, data: bytes, now: float) -> None:
        """Bytes from the client, while it is the client's turn."""
        around = self._around
        pos = 0
        if around.state is ClientState.AWAIT_HEADER:
            head = data[:PROTOCOL_HEADER_SIZE]
            if head != PROTOCOL_HEADER[: len(head)]:
                around.speaks_foreign(self.search, data, now)
                return
            if len(head) < PROTOCOL_HEADER_SIZE:
                self._inbox.keep(data, PROTOCOL_HEADER_SIZE)
                return
            pos = PROTOCOL_HEADER_SIZE
            around.follow(ClientMove.HEADER)
            self.search.begin(now)
        while pos < len(data) and around.state in HANDSHAKING:
            if around.state in WAITING_FOR_BROKER:
                around.hold_client(data[pos:])
                return
            limit = self._agreement.payload_limit(self._settings.max_frame)
            try:
                found = scan(data, pos, limit, ())
                if found.verdict is Verdict.MORE:
                    self._inbox.keep(data[pos:], found.next_end - pos)
                    return
                payload = payload_of(data, found.end, found.next_end)
                pos = found.next_end
                if not is_heartbeat(found.kind):
                    self._client_method(found, payload, now)
            except ProtocolViolation as violation:
                around.client_violation(violation, now)
                return
        if pos < len(data) and around.state is ClientState.OPEN:
            raise AssertionError("a session opens when the broker speaks, not when the client does")

    def _client_method(self, found: Scan, payload: bytes, now: float) -> None:
        if found.kind != FRAME_METHOD or found.channel:
            raise ProtocolViolation(
                ReplyCode.UNEXPECTED_FRAME,
                f"frame type {found.kind} on channel {found.channel} before connection.open",
            )
        method = decode_method(payload)
        around = self._around
        agreement = self._agreement
        match method, around.state:
            case ConnectionStartOk(), ClientState.AWAIT_START_OK:
                agreement.take_start_ok(method, payload)
                around.follow(ClientMove.START_OK)
            case ConnectionSecureOk(), ClientState.AWAIT_SECURE_OK:
                around.follow(ClientMove.SECURE_OK)
                link = self.search.link
                if link is None or link.state is not LinkState.HAVE_SECURE:
                    raise AssertionError("a challenge without the link it came from")
                link.follow(LinkMove.SECURE_OK)
                self._set_step_deadline(link, now)
                self._to_link(link, encode_method_frame(0, method), now)
            case ConnectionTuneOk(), ClientState.AWAIT_TUNE_OK:
                if objection := agreement.objection(method):
                    raise ProtocolViolation(ReplyCode.NOT_ALLOWED, objection, _TUNE_OK)
                agreement.tune_ok = method
                around.follow(ClientMove.TUNE_OK)
            case ConnectionOpen(), ClientState.AWAIT_OPEN:
                agreement.open = method
                around.follow(ClientMove.OPEN)
            case ConnectionClose(), state if allowed(CLIENT, state, ClientMove.CLOSE):
                around.to_client(encode_method_frame(0, ConnectionCloseOk()), now)
                around.finish(SessionEnd.CLIENT_CLOSED, "before it was open", CloseClient())
            case _:
                raise ProtocolViolation(
                    ReplyCode.COMMAND_INVALID,
                    f"{method.name()} may not come in a handshake at this point",
                    (method.ID >> 16, method.ID & 0xFFFF),
                )
        self._advance(now)

    # -- the link's side ------------------------------------------------------------------------

    def _link_frames(self, link: Link, data: bytes, now: float) -> None:
        """Frames from the node."""
        pos = 0
        limit = self._settings.max_frame
        while True:
            try:
                found = scan(data, pos, limit, ())
                if found.verdict is Verdict.MORE:
                    break
                pos = found.next_end
                if not is_heartbeat(found.kind):
                    self._link_method(link, found, data, now)
            except ProtocolViolation as violation:
                self._node_failed(link, now, Unfit.NOT_AMQP, violation.text)
                return
            if self.search.link is not link:
                return  # it is open, or has been dropped: what is left is not for the handshake
        link.inbox.keep(data[pos:], found.next_end - pos)

    def _link_method(self, link: Link, found: Scan, data: bytes, now: float) -> None:
        if found.kind != FRAME_METHOD:
            raise SyntaxViolation(f"frame type {found.kind} in a handshake")
        frame = data[found.end : found.next_end]
        method = decode_method(payload_of(frame, 0, len(frame)))
        around = self._around
        match method, link.state:
            case ConnectionStart(), LinkState.AWAIT_START:
                link.follow(LinkMove.START)
                link.deadline = None
                if around.state is ClientState.AWAIT_START:
                    around.follow(ClientMove.START)
                    around.to_client(frame, now)
            case ConnectionSecure(), LinkState.AWAIT_TUNE:
                link.follow(LinkMove.SECURE)
                link.deadline = None
                if around.state is not ClientState.AWAIT_TUNE:
                    raise SyntaxViolation("a challenge that the client can't be asked any more")
                self._agreement.replayable = False
                around.follow(ClientMove.SECURE)
                around.to_client(frame, now)
            case ConnectionTune(), LinkState.AWAIT_TUNE:
                link.follow(LinkMove.TUNE)
                link.deadline = None
                if not self._agreement.fits(method):
                    text = "offers smaller limits than were agreed"
                    self._node_failed(link, now, Unfit.NOT_AMQP, text, blame=False)
                    return
                if around.state is ClientState.AWAIT_TUNE:
                    self._agreement.tune = method
                    around.follow(ClientMove.TUNE)
                    around.to_client(frame, now)
            case ConnectionOpenOk(), LinkState.AWAIT_OPEN_OK:
                link.follow(LinkMove.OPEN_OK)
                link.deadline = None
                if around.state is not ClientState.AWAIT_OPEN_OK:
                    raise AssertionError(f"a link opened for a client in {around.state}")
                around.follow(ClientMove.OPEN_OK)
                around.to_client(frame, now)
                self.search.found()
                around.opened(link, data[found.next_end :], now)
                return
            case ConnectionClose(), _:
                self._refused(link, method, now)
            case _:
                raise SyntaxViolation(f"{method.name()} is out of place in a handshake")
        self._advance(now)

    def _advance(self, now: float) -> None:
        """Give each side what the other has ready, until nothing moves."""
        link = self.search.link
        if link is None:
            return
        agreement = self._agreement
        if link.state is LinkState.HAVE_START and agreement.link_start_ok:
            self._set_step_deadline(link, now)
            self._to_link(link, link.says_start_ok(agreement), now)
        if link.state is LinkState.HAVE_TUNE and agreement.open is not None:
            self._set_step_deadline(link, now)
            self._to_link(link, link.says_open(agreement, self._settings.link_heartbeat), now)
        if self._around.state in _CLIENTS_TURN and (held := self._around.release_client()):
            self._client_frames(held, now)

    def _to_link(self, link: Link, data: bytes, now: float) -> None:
        link.sent_at = now
        self._around.out.append(SendLink(link.id, data))

    def _set_step_deadline(self, link: Link, now: float) -> None:
        """Half of the time that is left: enough for slow authentication, and for another node."""
        left = (self.search.deadline or now) - now
        link.deadline = now + max(left / 2, 1.0)

    # -- nodes that won't do --------------------------------------------------------------------

    def _refused(self, link: Link, close: ConnectionClose, now: float) -> None:
        """The broker closed a link in its handshake: for the node's sake, or the client's?"""
        self._to_link(link, encode_method_frame(0, ConnectionCloseOk()), now)
        full = "node connection limit" in close.reply_text
        if close.reply_code in _NODE_TROUBLE or full:
            self.search.refused(close)
            # A vhost that is down, or a full node, is passed over; that says nothing against the
            # node as a whole. 320 does: it is shutting down or in maintenance.
            blame = close.reply_code == ReplyCode.CONNECTION_FORCED
            self.search.drop(CloseLink(link.id))
            self._retry(link, now, Unfit.REFUSES, close.reply_text, blame=blame)
            return
        denied = close.reply_code in (ReplyCode.ACCESS_REFUSED, ReplyCode.NOT_ALLOWED)
        reason = SessionEnd.ACCESS_REFUSED if denied else SessionEnd.BROKER_CLOSED
        silent = link.state is LinkState.AWAIT_TUNE and not self._agreement.announces_auth_close
        self.search.drop(CloseLink(link.id))
        if silent:
            self._around.finish(reason, close.reply_text, CloseClient())
        else:
            self._around.say_close(close, reason, now)

    def _node_failed(
        self, link: Link, now: float, why: Unfit, detail: str, *, blame: bool = True
    ) -> None:
        """A link hangs or makes no sense."""
        self.search.drop(AbortLink(link.id))
        self._retry(link, now, why, detail, blame=blame)

    def _retry(
        self,
        link: Link,
        now: float,
        why: Unfit,
        detail: str,
        *,
        hung_up: bool = False,
        blame: bool = True,
    ) -> None:
        """A node failed in the handshake: the next one, within the client's time.

        ``blame``: it counts against the node's fitness. ``hung_up``: it may have done so because of
        the client. That is no evidence against the node (else one bad client would make them all
        unfit), and after a second one it is evidence against the client.
        """
        node = link.backend.name
        agreement = self._agreement
        if agreement.link_start_ok and not agreement.tells_auth_failures and why is not Unfit.HANGS:
            # A broker that closes without a word after start-ok may mean the password.
            self._around.finish(SessionEnd.ACCESS_REFUSED, detail, CloseClient())
            return
        self._hang_ups += hung_up
        if self._hang_ups >= HANG_UPS:
            self._around.close_client(
                ReplyCode.CONNECTION_FORCED,
                f"{HANG_UPS} times a node hung up on this handshake without a word, the last time "
                f"{node} ({detail}); its log says why",
                SessionEnd.BROKER_CLOSED,
                now,
            )
            return
        self.search.pass_over(node, why, detail, blame=blame)
        if not agreement.replayable:
            self._around.close_client(
                ReplyCode.CONNECTION_FORCED,
                f"node {node} ended this handshake ({detail}), and a handshake of this kind can't "
                f"be repeated on another node",
                SessionEnd.NODE_LOST,
                now,
            )
            return
        self.search.go_on(now)
