"""One connection from a session to one node."""

from warrener.amqp.constants import FRAME_METHOD
from warrener.amqp.frames import Reassembly, encode_frame
from warrener.amqp.methods import encode_method
from warrener.balancer.core.agreement import Agreement
from warrener.balancer.core.states import LINK, LinkMove, LinkState, follow
from warrener.balancer.core.tally import NodeTally
from warrener.facts.balance import Backend


class Link:
    """State and counters of a link; the session drives it.

    Times are the shell's clock, seconds. ``deadline`` is when the step under way must be done, or
    None while the broker owes nothing.
    """

    __slots__ = (
        "backend",
        "blocked",
        "closing",
        "deadline",
        "empty_since",
        "heard_at",
        "heartbeat",
        "id",
        "inbox",
        "sent_at",
        "state",
        "tally",
        "writable",
    )

    def __init__(self, id_: int, backend: Backend, now: float, timeout: float) -> None:
        self.id = id_
        self.backend = backend
        self.state = LinkState.CONNECTING
        self.inbox = Reassembly()
        self.heartbeat = 0  # s; 0: none agreed
        self.heard_at = now
        self.sent_at = now
        self.deadline: float | None = now + timeout
        self.writable = True  # the node takes what is written to it
        self.blocked = False  # the broker has said so
        self.closing: set[int] = set()  # channels whose close the balancer sent, close-ok due
        self.empty_since: float | None = None  # no channel uses it
        self.tally = NodeTally()  # until it is open; then its node's

    def follow(self, move: LinkMove) -> None:
        """Take a step of the table. Raises IllegalMove."""
        self.state = follow(LINK, self.state, move)

    def says_start_ok(self, agreement: Agreement) -> bytes:
        """The frame of start-ok, in the client's name. Raises IllegalMove unless start has come."""
        self.follow(LinkMove.START_OK)
        return encode_frame(FRAME_METHOD, 0, agreement.link_start_ok)

    def says_open(self, agreement: Agreement, heartbeat: int) -> bytes:
        """The frames of tune-ok and open, with the link's own heartbeat (s). Raises IllegalMove
        unless tune has come."""
        if agreement.open is None:
            raise AssertionError("the client hasn't said yet what to open")
        self.follow(LinkMove.OPEN)
        self.heartbeat = heartbeat
        return encode_frame(FRAME_METHOD, 0, agreement.link_tune_ok(heartbeat)) + encode_frame(
            FRAME_METHOD, 0, encode_method(agreement.open)
        )

    def silent_since(self, now: float, suspected: bool) -> float | None:
        """For how long (s) the node has been silent, if that is too long; else None.

        Two heartbeat intervals, as everywhere in AMQP. When probes say that the node hangs, one
        missed heartbeat is enough: brokers send them twice an interval.
        """
        if self.heartbeat == 0:
            return None
        patience = self.heartbeat / 2 + 1.5 if suspected else 2.0 * self.heartbeat
        silence = now - self.heard_at
        return silence if silence > patience else None
